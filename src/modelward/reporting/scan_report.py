"""Scan results as the documented JSON (``modelward.scan/1``), and what they mean for an exit code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

import msgspec

from modelward.core.evidence import to_json as plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.finding import Finding, Location
    from modelward.artifact.verdict import ArtifactReport
    from modelward.core.canonical import JSON

Refusal: TypeAlias = Literal["dangerous", "unproven"]
Bar: TypeAlias = Literal["critical", "high", "medium", "low", "never"]
_REFUSED: Final = {"dangerous": {"dangerous"}, "unproven": {"dangerous", "unproven"}}
_SEVERITIES: Final = ("critical", "high", "medium", "low")


def scan_json(reports: Sequence[ArtifactReport]) -> bytes:
    """The documented JSON: one entry per file, and a count per verdict."""
    content: dict[str, JSON] = {
        "schema": "modelward.scan/1",
        "artifacts": [cast("JSON", plain(report)) for report in reports],
        "summary": {
            "files": len(reports),
            "verdicts": cast("JSON", dict(Counter(report.verdict or "null" for report in reports))),
            "findings": cast("JSON", dict(Counter(f.severity for r in reports for f in r.findings))),
            "accepted": sum(finding.accepted is not None for r in reports for finding in r.findings),
        },
    }
    return msgspec.json.format(msgspec.json.encode(content))


def refused(report: ArtifactReport, verdict: Refusal, bar: Bar) -> bool:
    """Whether a report has a finding that fails a scan; accepted findings do not.

    Args:
        report: of one file.
        verdict: the mildest verdict that fails; what could not be read counts as unproven.
        bar: the mildest severity of a finding beside the verdict that fails.
    """
    return any(_counts(finding, verdict, bar) for finding in report.findings if finding.accepted is None)


def _counts(finding: Finding, verdict: Refusal, bar: Bar) -> bool:
    if finding.level != "note":
        return finding.level in _REFUSED[verdict]
    return bar != "never" and finding.severity in _SEVERITIES[: _SEVERITIES.index(bar) + 1]


def place(location: Location) -> str:
    """Member, line and offset in words."""
    line = "" if location.line is None else f"line {location.line}"
    offset = "" if location.offset is None else f"byte {location.offset}"
    return " ".join(part for part in (location.member, line, offset) if part)
