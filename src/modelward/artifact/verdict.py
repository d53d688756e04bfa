"""The verdict on one file: what loading it could do.

The values have the shape of the scan document: `path, format, verdict, coverage, findings`.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from modelward.artifact.containers import Collected, Limits, collect
from modelward.artifact.sniff import Format, Sniffed, sniff
from modelward.errors import FileDamaged, FileMissing

Verdict: TypeAlias = Literal["inert", "dangerous", "unproven", "error"]
Severity: TypeAlias = Literal["critical", "medium", "info"]

_SEVERITY: Final[dict[str, Severity]] = {"dangerous": "critical", "unproven": "medium", "note": "info"}
PASSIVE: Final[frozenset[Format]] = frozenset(
    {
        "npy",
        "npz",
        "safetensors",
        "onnx",
        "xgboost-json",
        "xgboost-ubj",
        "lightgbm",
        "parquet",
        "csv",
        "csv-compressed",
        "json",
        "text",
        "sqlite",
        "image",
    }
)
"""Formats whose loaders run no code of the file, unless the file holds a pickle."""


class Location(msgspec.Struct, frozen=True):
    """Where in a file something stands.

    Attributes:
        member: path of the member inside archives, "" for the file itself.
        offset: byte offset in the member's (decompressed) content, or None.
    """

    member: str
    offset: int | None


class Finding(msgspec.Struct, frozen=True):
    """One thing that loading would do, or that could not be decided.

    Attributes:
        rule: identifier, e.g. `pickle.payload`.
        severity: `critical` makes the verdict dangerous, `medium` unproven, `info` changes nothing.
        message: one sentence.
        location: member and offset.
        call: the reconstructed call, e.g. `os.system('id')`, or None.
    """

    rule: str
    severity: Severity
    message: str
    location: Location
    call: str | None = None


class Coverage(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        bytes: size of the file.
        members: archive members looked at.
        streams: complete pickle streams walked.
        arrays: joblib arrays passed over by their computed size.
        unread: sentences on what was not read; empty when everything that can hold code was.
    """

    bytes: int
    members: int
    streams: int
    arrays: int
    unread: tuple[str, ...]


class ArtifactReport(msgspec.Struct, frozen=True):
    """The verdict on one file.

    Attributes:
        path: as given.
        format: by content.
        verdict: `inert` (every effect of loading is proven harmless), `dangerous` (a payload or gadget was
            found), `unproven` (the findings say what is unknown), or None (no loader of this format runs
            code of the file, and it holds no pickle).
        coverage: what was read.
        findings: most severe first.
    """

    path: str
    format: Format
    verdict: Verdict | None
    coverage: Coverage
    findings: tuple[Finding, ...]


def inspect(path: Path | str, *, limits: Limits | None = None) -> ArtifactReport:
    """Inspect a file without loading it.

    Args:
        path: the file.
        limits: budgets; the defaults suit model files of any size.

    Raises:
        FileMissing: the file does not exist or cannot be read.
        FileDamaged: it is empty, or is truncated so that its format cannot be read at all.
    """
    try:
        with Path(path).open("rb") as file:
            if not file.seek(0, 2):
                raise FileDamaged(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _inspect(data, str(path), limits)
    except OSError as error:
        raise FileMissing(f"{path} cannot be read: {error.strerror or error}") from error


def inspect_bytes(data: bytes, name: str, *, limits: Limits | None = None) -> ArtifactReport:
    """Inspect content that is already in memory.

    Args:
        data: the whole content.
        name: what the report calls it.
        limits: budgets.

    Raises:
        FileDamaged: it is empty, or is truncated so that its format cannot be read at all.
    """
    return _inspect(data, name, limits)


def _inspect(data: bytes | mmap.mmap, name: str, limits: Limits | None) -> ArtifactReport:
    try:
        found = sniff(data)
    except FileDamaged as error:
        raise FileDamaged(f"{name}: {error}") from error
    collected = collect(data, found, limits or Limits())
    coverage = Coverage(
        len(data), collected.members, collected.streams, collected.arrays, tuple(collected.unread)
    )
    return ArtifactReport(name, found.format, _verdict(found, collected), coverage, _findings(collected))


def _verdict(found: Sniffed, collected: Collected) -> Verdict | None:
    levels = {event.level for _, event in collected.events}
    if "dangerous" in levels:
        return "dangerous"
    if "unproven" in levels:
        return "unproven"
    if collected.streams or collected.proven:
        return "inert"
    return None if found.format in PASSIVE else "unproven"


def _findings(collected: Collected) -> tuple[Finding, ...]:
    order = {"critical": 0, "medium": 1, "info": 2}
    made = [
        Finding(
            event.rule,
            _SEVERITY[event.level],
            event.message,
            Location(member, event.pos if event.pos >= 0 else None),
            event.call,
        )
        for member, event in collected.events
    ]
    return tuple(sorted(made, key=lambda finding: order[finding.severity]))
