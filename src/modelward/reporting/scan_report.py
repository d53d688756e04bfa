"""Scan results: text, JSON (``modelward.scan/1``) and SARIF 2.1.0."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.core.evidence import to_json as plain
from modelward.reporting.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.finding import Location
    from modelward.artifact.verdict import ArtifactReport

_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_MARKS = {"inert": "ok", "dangerous": "DANGEROUS", "unproven": "unproven", "error": "error", None: "-"}


def scan_json(reports: Sequence[ArtifactReport]) -> bytes:
    """The documented JSON: one entry per file, and a count per verdict."""
    counts: dict[str, JSON] = {}
    for report in reports:
        key = report.verdict or "null"
        counts[key] = cast("int", counts.get(key, 0)) + 1
    content: dict[str, JSON] = {
        "schema": "modelward.scan/1",
        "artifacts": [cast("JSON", plain(report)) for report in reports],
        "summary": {"files": len(reports), "verdicts": counts},
    }
    return msgspec.json.format(msgspec.json.encode(content))


def scan_text(reports: Sequence[ArtifactReport]) -> str:
    """One line per file, its findings below, control characters made visible."""
    lines: list[str] = []
    for report in reports:
        lines.append(f"{_MARKS[report.verdict]:<10} {clean(str(report.path), 200)}  ({report.format})")
        for finding in report.findings:
            lines.append(f"    {finding.severity}: {clean(finding.message, 300)}")
            place = clean(_place(finding.location), 120)
            call = clean(finding.call, 200) if finding.call else ""
            if place or call:
                lines.append("        " + ": ".join(part for part in (place, call) if part))
    unsafe = sum(report.verdict in {"dangerous", "unproven", "error"} for report in reports)
    lines.append(f"{len(reports)} files, {unsafe} not proven harmless")
    return "\n".join(lines)


def scan_sarif(reports: Sequence[ArtifactReport]) -> bytes:
    """SARIF 2.1.0 with one result per finding; fingerprints do not depend on the folder scanned from."""
    rules: dict[str, JSON] = {}
    results: list[JSON] = []
    for report in reports:
        for finding in report.findings:
            rules.setdefault(finding.rule, {"id": finding.rule})
            stable = canonical([finding.rule, _place(finding.location), finding.call or ""])
            results.append(
                {
                    "ruleId": finding.rule,
                    "level": _LEVELS[finding.severity],
                    "message": {"text": clean(finding.message, 1000)},
                    "locations": [
                        {
                            "physicalLocation": {"artifactLocation": {"uri": _uri(str(report.path))}},
                            "logicalLocations": [
                                {"fullyQualifiedName": clean(_place(finding.location), 300)}
                            ],
                        }
                    ],
                    "partialFingerprints": {"modelward/v1": hashlib.sha256(stable).hexdigest()},
                }
            )
    content: dict[str, JSON] = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "modelward", "rules": list(rules.values())}},
                "results": results,
                "columnKind": "unicodeCodePoints",
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content))


def _place(location: Location) -> str:
    offset = "" if location.offset is None else f"byte {location.offset}"
    return " ".join(part for part in (location.member, offset) if part)


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
