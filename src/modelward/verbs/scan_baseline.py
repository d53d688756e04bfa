"""Findings that were looked at and accepted: a file beside the code, so that a scan fails on new ones alone.

A finding about what loading can do is accepted for the very bytes it was made about; other bytes at the same
path are not covered.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from modelward.artifact.finding import fingerprints
from modelward.core.digest import file_digest
from modelward.errors import ConfigInvalid, FileMissing
from modelward.verbs.report import write_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.artifact.finding import Finding
    from modelward.artifact.verdict import ArtifactReport

SCHEMA: Final = "modelward.baseline/1"


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One accepted finding.

    Attributes:
        path: as the scan printed it.
        rule: for the reader.
        fingerprint: of `artifact.finding.fingerprints`.
        digest: `sha256:<hex>` of the file where the finding is about loading it, else None.
        reason: why, in the words of who accepted it.
        until: last day it counts, or None.
    """

    path: str
    rule: str
    fingerprint: str
    digest: str | None = None
    reason: str = ""
    until: date | None = None


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All accepted findings."""

    schema: Literal["modelward.baseline/1"]
    accepted: tuple[Accepted, ...]


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        FileMissing: it cannot be read.
        ConfigInvalid: it is no baseline.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except OSError as error:
        raise FileMissing(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigInvalid(
            f"{path}: is no baseline: {error}",
            advice="`modelward scan PATH --write-baseline FILE` writes one.",
        ) from error


def write_baseline(path: Path, reports: Sequence[ArtifactReport]) -> int:
    """Accept everything that these reports found; reasons are left for the reader to fill in.

    Returns:
        the number of findings accepted.

    Raises:
        OutputUnwritable: the file cannot be written.
    """
    accepted = tuple(
        Accepted(report.path, finding.rule, mark, _digest(report) if finding.level != "note" else None)
        for report in reports
        for finding, mark in zip(report.findings, fingerprints(report.findings), strict=True)
        if finding.level != "note" or finding.severity != "info"
    )
    write_report(path, msgspec.json.format(msgspec.json.encode(Baseline(SCHEMA, accepted))) + b"\n")
    return len(accepted)


def accept(reports: Iterable[ArtifactReport], baseline: Baseline, today: date) -> list[ArtifactReport]:
    """Mark the findings that a baseline accepts; the verdicts stay.

    Args:
        reports: of a scan from the same folder as the baseline's.
        baseline: what was accepted.
        today: entries count up to and on their last day.
    """
    known = {(entry.path, entry.fingerprint): entry for entry in baseline.accepted}
    paths = {entry.path for entry in baseline.accepted}
    return [_marked(report, known, today) if report.path in paths else report for report in reports]


def _marked(report: ArtifactReport, known: dict[tuple[str, str], Accepted], today: date) -> ArtifactReport:
    found = []
    for finding, mark in zip(report.findings, fingerprints(report.findings), strict=True):
        entry = known.get((report.path, mark))
        if entry is not None and _covers(entry, finding, report, today):
            why = f"accepted in the baseline{': ' + entry.reason if entry.reason else ''}"
            found.append(msgspec.structs.replace(finding, accepted=why))
        else:
            found.append(finding)
    return msgspec.structs.replace(report, findings=tuple(found))


def _covers(entry: Accepted, finding: Finding, report: ArtifactReport, today: date) -> bool:
    if entry.until is not None and entry.until < today:
        return False
    return finding.level == "note" or (entry.digest is not None and entry.digest == _digest(report))


def _digest(report: ArtifactReport) -> str | None:
    """Of a file on disk; what came from a pipe or a URL is never accepted beforehand."""
    path = Path(report.path)
    return file_digest(path) if path.is_file() else None
