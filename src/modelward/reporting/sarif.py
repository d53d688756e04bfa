"""SARIF 2.1.0 of an audit: findings as results, what was not looked at as notifications.

Source of every field: OASIS Standard "Static Analysis Results Interchange Format (SARIF) Version 2.1.0 plus
Errata 01"; sections are named where a rule of it is not obvious. The field ``security-severity`` is what code
scanning services read to rank security results.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from modelward.core.evidence import to_json as struct_json
from modelward.core.finding import severity_rank
from modelward.reporting.text import clean, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelward.core.canonical import JSON
    from modelward.core.finding import Finding, Severity
    from modelward.core.subject import Subject
    from modelward.reporting.result import AuditResult

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
INFORMATION_URI = "https://github.com/modelward/modelward"
FINGERPRINT = "modelward/v1"
"""Version of the fingerprint's recipe: rule, location, subject's name, and count among equals."""

_LEVELS: Final[Mapping[Severity, str]] = {
    "info": "note",
    "low": "note",
    "medium": "warning",
    "high": "error",
    "critical": "error",
}
# Middle of each CVSS v3.1 qualitative band (section 5); it ranks, it is not a computed score.
_SCORES: Final[Mapping[Severity, str]] = {
    "info": "0.0",
    "low": "2.0",
    "medium": "5.5",
    "high": "8.0",
    "critical": "9.5",
}


def to_sarif(result: AuditResult, *, glossary: Mapping[str, str] | None = None) -> bytes:
    """The findings as one SARIF run, ASCII JSON ending in a newline.

    Args:
        result: the audit.
        glossary: technique or control id to its short title, for the rules' help text.
    """
    titles = glossary or {}
    rules = _rules(result.findings, titles)
    order = {str(rule["id"]): index for index, rule in enumerate(rules)}
    driver: dict[str, JSON] = {
        "name": "modelward",
        "informationUri": INFORMATION_URI,
        "rules": list(rules),
    }
    if version := result.versions.get("modelward"):
        driver["version"] = version
    run: dict[str, JSON] = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"modelward/audit/{result.run}"},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(result)],
        "artifacts": [_artifact(subject) for subject in result.subjects],
        "results": _results(result, order),
        "properties": {
            "ledgerHead": result.ledger_head,
            "verdict": result.verdict.outcome,
            "policy": result.verdict.policy,
            "reasons": [struct_json(reason) for reason in result.verdict.reasons],
            "complete": result.complete,
            "seed": result.seed,
        },
    }
    document: dict[str, JSON] = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}
    text = json.dumps(plain(document), ensure_ascii=True, allow_nan=False, indent=2)
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _message(text: str) -> dict[str, JSON]:
    """A message that shows its text as it is: no placeholder (3.11.5), no embedded link (3.11.6)."""
    shown = clean(text, 4000).replace("{", "{{").replace("}", "}}").replace("](", "] (")
    return {"text": shown or "(no text)"}


def _rules(findings: tuple[Finding, ...], titles: Mapping[str, str]) -> list[dict[str, JSON]]:
    """One descriptor per rule, in order of id; the rule is as severe as its worst finding."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        known = worst.get(finding.rule)
        if known is None or severity_rank(finding.severity) > severity_rank(known.severity):
            worst[finding.rule] = finding
    return [_rule(worst[rule], titles) for rule in sorted(worst)]


def _rule(finding: Finding, titles: Mapping[str, str]) -> dict[str, JSON]:
    references = [*finding.techniques, *finding.controls]
    named = [f"{ref}: {titles[ref]}" if ref in titles else ref for ref in references]
    helping = finding.remedy + (f" References: {'; '.join(named)}." if named else "")
    return {
        "id": finding.rule,
        "shortDescription": {"text": clean(finding.title, 200) or finding.rule},
        "help": {"text": clean(helping, 4000) or finding.rule},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {
            "tags": list(dict.fromkeys(["security", "machine-learning", *references])),
            "security-severity": _SCORES[finding.severity],
            "precision": {"low": "low", "medium": "medium", "high": "high"}[finding.confidence],
        },
    }


def _results(result: AuditResult, order: Mapping[str, int]) -> list[JSON]:
    primary = _primary(result.subjects)
    seen: Counter[tuple[str, str]] = Counter()
    answers: list[JSON] = []
    for finding in result.findings:
        key = (finding.rule, finding.location)
        name = result.subjects[primary].name if primary is not None else ""
        raw = json.dumps([finding.rule, finding.location, name, seen[key]])
        seen[key] += 1
        answers.append(
            {
                "ruleId": finding.rule,
                "ruleIndex": order[finding.rule],
                "kind": "fail",
                "level": _LEVELS[finding.severity],
                "message": _message(f"{finding.title}: {finding.message}"),
                "locations": [_location(finding, result.subjects, primary)],
                "partialFingerprints": {FINGERPRINT: hashlib.sha256(raw.encode()).hexdigest()},
                "properties": {
                    "severity": finding.severity,
                    "confidence": finding.confidence,
                    "security-severity": _SCORES[finding.severity],
                    "remedy": finding.remedy,
                    "evidence": list(finding.evidence),
                    "techniques": list(finding.techniques),
                    "controls": list(finding.controls),
                },
            }
        )
    return answers


def _primary(subjects: tuple[Subject, ...]) -> int | None:
    """The subject that a finding is shown at: the artifact, else the model, else the first."""
    for kind in ("artifact", "model"):
        for index, subject in enumerate(subjects):
            if subject.kind == kind:
                return index
    return 0 if subjects else None


def _location(finding: Finding, subjects: tuple[Subject, ...], primary: int | None) -> dict[str, JSON]:
    location: dict[str, JSON] = {}
    if primary is not None:
        uri = _uri(subjects[primary].name)
        location["physicalLocation"] = {"artifactLocation": {"uri": uri, "index": primary}}
    if finding.location:
        location["logicalLocations"] = [{"fullyQualifiedName": clean(finding.location, 1000)}]
    return location


def _uri(name: str) -> str:
    """A subject's name as a URI reference (RFC 3986): a path keeps its slashes, all else is escaped."""
    if name.startswith(("https://", "http://")):
        return quote(name, safe="/:?#[]@!$&'()*+,;=%", errors="surrogatepass")
    path = quote(name or "unnamed", safe="/", errors="surrogatepass")
    return f"file://{path}" if path.startswith("/") else path


def _artifact(subject: Subject) -> JSON:
    artifact: dict[str, JSON] = {
        "location": {"uri": _uri(subject.name)},
        "properties": {
            "kind": subject.kind,
            "digest": subject.digest,
            "identity": subject.identity,
            "format": subject.format,
        },
    }
    if subject.identity == "digest" and subject.digest.startswith("sha256:"):
        artifact["hashes"] = {"sha-256": subject.digest.removeprefix("sha256:")}
    return artifact


def _invocation(result: AuditResult) -> JSON:
    """How the run went: a check that was not run, cut or failed is never silent (3.20.21)."""
    notes: list[JSON] = [
        _note("not-run", "note", f"{skipped.check} was not run: {skipped.reason}")
        for skipped in result.skipped
    ]
    for run in result.checks:
        if run.state != "finished":
            level = "error" if run.state == "failed" else "warning"
            reason = f" ({run.cut})" if run.cut else ""
            notes.append(_note(run.state, level, f"{run.check} was {_STATES[run.state]}{reason}"))
    return {
        "executionSuccessful": all(run.state in {"finished", "cut"} for run in result.checks),
        "commandLine": result.command,
        "endTimeUtc": result.created.replace("+00:00", "Z"),  # 3.9: the UTC form ends in Z
        "toolExecutionNotifications": notes,
    }


_STATES = {"cut": "cut short", "failed": "ended by an error", "interrupted": "interrupted"}


def _note(what: str, level: str, text: str) -> JSON:
    return {"descriptor": {"id": f"check-{what}"}, "level": level, "message": _message(text)}
