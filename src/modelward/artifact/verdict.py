"""The verdict on one file: what loading it could do.

The values have the shape of the scan document: `path, format, verdict, coverage, findings`.
"""

from __future__ import annotations

import mmap
import re
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.artifact.containers import Collected, Limits, collect, recognise
from modelward.artifact.finding import Finding, Location
from modelward.artifact.format import AROUND, PASSIVE, TEXTUAL, Format, Sniffed
from modelward.artifact.numbers import described
from modelward.core.canonical import JSON
from modelward.core.files import open_plain
from modelward.errors import FileDamaged, FileMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.artifact.events import Level, Severity
    from modelward.artifact.pickle.values import Buffer

Verdict: TypeAlias = Literal["inert", "dangerous", "unproven", "error"]

_SEVERITY: Final[dict[str, Severity]] = {"dangerous": "critical", "unproven": "medium", "note": "info"}
_ORDER: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low", "info")
_BESIDE: Final = 16 << 20
"""Largest file beside the one that is inspected that a reader may look at, in bytes."""
MARKER: Final = b"modelward: ignore"
"""What a suppression inside a text starts with (`suppress.py`)."""


class Contained(msgspec.Struct, frozen=True):
    """A member of an archive that was recognised.

    Attributes:
        path: of the member within the file, with `/` for archives and `!` for compression.
        format: by content.
        verdict: as of a file.
    """

    path: str
    format: Format
    verdict: Verdict | None


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
            code of the file, or takes it as a model).
        coverage: what was read.
        findings: most severe first.
        members: members of an archive that were recognised.
        facts: what the content says about itself (framework, tensors, parameters, licence), unverified.
    """

    path: str
    format: Format
    verdict: Verdict | None
    coverage: Coverage
    findings: tuple[Finding, ...]
    members: tuple[Contained, ...] = ()
    facts: dict[str, JSON] = {}


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
        with open_plain(Path(path)) as file:
            if not file.seek(0, 2):
                raise FileDamaged(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                folder = Path(path).absolute().parent
                return _inspect(
                    data, str(path), limits, partial(_beside, folder), around=partial(_around, folder)
                )
    except OSError as error:
        raise FileMissing(f"{path} cannot be read: {error.strerror or error}") from error


def inspect_bytes(
    data: bytes,
    name: str,
    *,
    limits: Limits | None = None,
    beside: Callable[[str], bytes | None] | None = None,
) -> ArtifactReport:
    """Inspect content that is already in memory.

    Args:
        data: the whole content.
        name: what the report calls it; texts are recognised by it.
        limits: budgets.
        beside: content of a file beside it, by relative path.

    Raises:
        FileDamaged: it is empty, or is truncated so that its format cannot be read at all.
    """
    return _inspect(data, name, limits, beside)


def _beside(folder: Path, name: str) -> bytes | None:
    """A regular file below the folder, no link on the way leading out of it."""
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        return path.read_bytes() if path.stat().st_size <= _BESIDE else None
    except (OSError, ValueError):
        return None


def _around(folder: Path, name: str) -> bytes | None:
    """A regular file below the folder, or below one around it; for names that no file can choose."""
    while name.startswith("../"):
        folder, name = folder.parent, name.removeprefix("../")
    return _beside(folder, name)


def _inspect(
    data: Buffer,
    name: str,
    limits: Limits | None,
    beside: Callable[[str], bytes | None] | None,
    *,
    around: Callable[[str], bytes | None] | None = None,
) -> ArtifactReport:
    try:
        found = recognise(data, name)
    except FileDamaged as error:
        raise FileDamaged(f"{name}: {error}") from error
    if found.format in {"unknown", "compressed"} and beside is not None:
        found = described(found, data, name, around or beside)
    seen = collect(data, found, limits or Limits(), name=name, beside=beside)
    levels = {event.level for _, event in seen.events}
    verdict = _verdict(found, levels, proven=bool(seen.streams) or seen.proven)
    if verdict == "unproven" and "unproven" not in levels:
        seen.missed("", f"nothing in this {found.format} content was proven harmless")
    coverage = Coverage(len(data), seen.members, seen.streams, seen.arrays, tuple(seen.unread))
    findings = _findings(seen)
    if found.format in TEXTUAL and len(data) <= _BESIDE and data.find(MARKER) >= 0:
        from modelward.artifact.suppress import suppress

        findings = suppress(findings, bytes(data), date.today())  # noqa: DTZ011 - a comment's date has no zone
    return ArtifactReport(
        name, found.format, verdict, coverage, findings, tuple(_contained(seen)), seen.facts
    )


def _verdict(found: Sniffed, levels: set[Level], *, proven: bool) -> Verdict | None:
    if "dangerous" in levels:
        return "dangerous"
    if "unproven" in levels:
        return "unproven"
    if proven:
        return "inert"
    return None if found.format in PASSIVE | AROUND else "unproven"


def _contained(seen: Collected) -> Iterator[Contained]:
    """The members with their verdicts; what is found in a member counts for those around it as well."""
    levels: dict[str, set[Level]] = {name: set() for name in seen.contained}
    for member, event in seen.events:
        for end in [len(member), *(match.start() for match in re.finditer("[/!]", member))]:
            levels.get(member[:end], set()).add(event.level)
    for name, kind in seen.contained.items():
        yield Contained(name, kind, _verdict(Sniffed(kind, ""), levels[name], proven=name in seen.harmless))


def _findings(seen: Collected) -> tuple[Finding, ...]:
    made = [
        Finding(
            event.rule,
            event.severity or _SEVERITY[event.level],
            event.message,
            Location(member, event.pos if event.pos >= 0 else None, event.line),
            event.call,
            event.remedy,
            event.level,
        )
        for member, event in seen.events
    ]
    return tuple(sorted(made, key=lambda finding: _ORDER.index(finding.severity)))
