"""What lies in a folder, from the reports of a scan: models, data, packages and other files."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

import msgspec

from modelward.artifact.format import AROUND, PASSIVE
from modelward.artifact.verdict import Verdict
from modelward.core.canonical import JSON, digest
from modelward.core.digest import file_digest
from modelward.vault.tree.pool import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelward.artifact.verdict import ArtifactReport

Kind: TypeAlias = Literal["model", "data", "file"]
_DATA: Final = frozenset({"npy", "npz", "parquet", "arrow", "csv", "csv-compressed", "sqlite", "image"})
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,212}[A-Za-z0-9])?")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        name: path below the root, with forward slashes.
        kind: `model` for what a loader takes as one, `data` for arrays and tables, `file` for the rest.
        format: as the scan recognised it.
        verdict: of loading it.
        size: in bytes.
        sha256: hexadecimal.
        facts: what the content says about itself.
        findings: number of findings by severity.
        training: whether the user named it as training data.
    """

    name: str
    kind: Kind
    format: str
    verdict: Verdict | None
    size: int
    sha256: str
    facts: dict[str, JSON]
    findings: dict[str, int]
    training: bool = False


class Package(msgspec.Struct, frozen=True, order=True):
    """A Python package that a requirements or lock file names.

    Attributes:
        name: normalised (PEP 503).
        version: exact version, or "" when it is not pinned.
        sha256: of its distributions, sorted.
        source: name of the file that names it.
    """

    name: str
    version: str
    sha256: tuple[str, ...]
    source: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a bill of materials lists.

    Attributes:
        name: of the whole.
        version: of the whole, "" when nobody stated it.
        supplier: who supplies it, "" when nobody stated it.
        entries: files by name.
        packages: by name and version.
        licences: of the whole, as files and model cards state them.
        datasets: names of data sets that model cards state.
    """

    name: str
    version: str
    supplier: str
    entries: tuple[Entry, ...]
    packages: tuple[Package, ...]
    licences: tuple[str, ...]
    datasets: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over names and digests of all files; the same files give the same."""
        content = cast("JSON", [[self.name, self.version], *([e.name, e.sha256] for e in self.entries)])
        return digest(content).removeprefix("sha256:")


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says about the whole."""

    name: str = ""
    version: str = ""
    supplier: str = ""


def take(
    root: Path,
    reports: Sequence[ArtifactReport],
    training: Sequence[ArtifactReport],
    stated: Stated,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Inventory:
    """Make the inventory of a file or folder that was scanned.

    Args:
        root: the file or folder.
        reports: of every file in it.
        training: of files that the model was trained on, in or outside the root.
        stated: name, version and supplier.
        progress: called with (bytes hashed, bytes in all).

    Raises:
        FileMissing: a file disappeared since it was scanned.
    """
    meter = Meter(sum(report.coverage.bytes for report in (*reports, *training)), progress)
    entries = [_entry(root, report, meter, training=False) for report in reports]
    entries += [_entry(Path(report.path).parent, report, meter, training=True) for report in training]
    facts = [entry.facts for entry in entries]
    return Inventory(
        name=stated.name or root.resolve().name,
        version=stated.version or _one(_texts(facts, "version")),
        supplier=stated.supplier,
        entries=tuple(sorted(entries, key=lambda entry: (entry.training, entry.name))),
        packages=tuple(sorted(set(_packages(entries)))),
        licences=tuple(sorted(set(_texts(facts, "licence")))),
        datasets=tuple(sorted(set(_texts(facts, "datasets")))),
    )


def _entry(root: Path, report: ArtifactReport, meter: Meter, *, training: bool) -> Entry:
    path = Path(report.path)
    name = path.relative_to(root).as_posix() if path != root else path.name
    data = report.format in _DATA or training
    other = report.format in AROUND | PASSIVE and report.verdict is None
    counts: dict[str, int] = {}
    for finding in report.findings:
        counts[finding.severity] = counts.get(finding.severity, 0) + 1
    return Entry(
        name=name,
        kind="data" if data else "file" if other else "model",
        format=report.format,
        verdict=report.verdict,
        size=report.coverage.bytes,
        sha256=file_digest(path, meter.add).removeprefix("sha256:"),
        facts=report.facts,
        findings=counts,
        training=training,
    )


def _texts(facts: Iterable[dict[str, JSON]], key: str) -> list[str]:
    """Every text under a key, alone or in a list."""
    found: list[str] = []
    for fact in facts:
        value = fact.get(key)
        values = value if isinstance(value, list) else [value]
        found += [item for item in values if isinstance(item, str) and item]
    return found


def _one(texts: list[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""


def _packages(entries: Iterable[Entry]) -> Iterable[Package]:
    for entry in entries:
        listed = entry.facts.get("packages")
        for item in listed if isinstance(listed, list) else []:
            if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
                continue
            if _NAME.fullmatch(name):
                version, hashes = item.get("version"), item.get("hashes")
                yield Package(
                    re.sub(r"[-_.]+", "-", name).lower(),
                    version if isinstance(version, str) else "",
                    tuple(sorted(_sha256(hashes if isinstance(hashes, list) else []))),
                    str(PurePosixPath(entry.name)),
                )


def _sha256(hashes: list[JSON]) -> list[str]:
    texts = [item.removeprefix("sha256:") for item in hashes if isinstance(item, str)]
    return [text for text in texts if re.fullmatch(r"[0-9a-f]{64}", text)]
