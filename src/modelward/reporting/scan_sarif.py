"""Scan results as SARIF 2.1.0."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from modelward.artifact.finding import fingerprints
from modelward.reporting.scan_report import place
from modelward.reporting.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.finding import Finding
    from modelward.artifact.verdict import ArtifactReport
    from modelward.core.canonical import JSON

_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0", "info": "0.0"}
"""`security-severity` of the rule, as GitHub code scanning sorts by it."""


def scan_sarif(reports: Sequence[ArtifactReport]) -> bytes:
    """SARIF 2.1.0 with one result per finding, its line where it has one, and stable fingerprints.

    Source: OASIS SARIF 2.1.0, sections 3.27 (result), 3.27.17 (fingerprints), 3.35 (suppression).
    """
    rules: dict[str, JSON] = {}
    results: list[JSON] = []
    for report in reports:
        for finding, mark in zip(report.findings, fingerprints(report.findings), strict=True):
            rules.setdefault(finding.rule, _rule(finding))
            results.append(_result(report, finding, mark))
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


def _rule(finding: Finding) -> dict[str, JSON]:
    words = finding.rule.replace(".", ": ").replace("-", " ")
    rule: dict[str, JSON] = {
        "id": finding.rule,
        "shortDescription": {"text": words},
        "properties": {"security-severity": _SCORES[finding.severity], "tags": ["security"]},
    }
    if finding.remedy:
        rule["help"] = {"text": clean(finding.remedy, 1000)}
    return rule


def _result(report: ArtifactReport, finding: Finding, mark: str) -> dict[str, JSON]:
    physical: dict[str, JSON] = {"artifactLocation": {"uri": _uri(report.path)}}
    if not finding.location.member and finding.location.line is not None:
        physical["region"] = {"startLine": finding.location.line}
    elif not finding.location.member and finding.location.offset is not None:
        physical["region"] = {"byteOffset": finding.location.offset}
    where = clean(place(finding.location), 300)
    text = f"{finding.message}: {finding.call}" if finding.call else finding.message
    result: dict[str, JSON] = {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": clean(text, 1000)},
        "locations": [
            {
                "physicalLocation": physical,
                **({"logicalLocations": [{"fullyQualifiedName": where}]} if where else {}),
            }
        ],
        "partialFingerprints": {"modelward/v1": mark},
    }
    if finding.accepted is not None:
        kind = "inSource" if finding.accepted.startswith("suppressed") else "external"
        result["suppressions"] = [{"kind": kind, "justification": clean(finding.accepted, 500)}]
    return result


def _uri(path: str) -> str:
    return path if "://" in path else quote(PurePath(path).as_posix())
