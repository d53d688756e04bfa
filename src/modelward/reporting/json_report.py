"""JSON of an audit: schema ``modelward.audit/1``, described in ``docs/formats/audit-json.md``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelward.core.evidence import to_json as struct_json
from modelward.reporting.text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.claim import Claim
    from modelward.core.evidence import Cost, Evidence
    from modelward.engine.outcome import CheckRun
    from modelward.reporting.exhibit import Exhibit
    from modelward.reporting.result import AuditResult

SCHEMA = "modelward.audit/1"
"""Within this version fields are added, never changed or removed."""


def to_json(result: AuditResult, exhibits: Sequence[Exhibit] | None = None) -> bytes:
    """The result as ASCII JSON, indented, ending in a newline.

    The outcomes of evidence (per-point results, which may hold rows of data) stay in the ledger; the JSON
    names them by digest. ASCII keeps control and bidirectional characters escaped wherever it is printed.

    Args:
        result: the audit.
        exhibits: witnesses to list; null lists none.
    """
    document: dict[str, JSON] = {
        "schema": SCHEMA,
        "ledger_head": result.ledger_head,
        "subjects": [struct_json(subject) for subject in result.subjects],
        "claims": [_with_cost(claim) for claim in result.claims],
        "findings": [struct_json(finding) for finding in result.findings],
        "skipped": [struct_json(skipped) for skipped in result.skipped],
        "verdict": result.verdict.outcome,
        "policy": result.verdict.policy,
        "reasons": [struct_json(reason) for reason in result.verdict.reasons],
        "complete": result.complete,
        "run": result.run,
        "seed": result.seed,
        "created": result.created,
        "command": result.command,
        "versions": dict(sorted(result.versions.items())),
        "checks": [_check(run) for run in result.checks],
        "witnesses": None if exhibits is None else [exhibit.to_json() for exhibit in exhibits],
    }
    text = json.dumps(plain(document), ensure_ascii=True, allow_nan=False, indent=2)
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _with_cost(claim: Claim) -> JSON:
    return {**struct_json(claim), "cost": _cost(claim.cost)}


def _cost(cost: Cost) -> JSON:
    """A sum of times shows the rounding of its parts in digits that no clock gave; microseconds are kept."""
    return {**struct_json(cost), "seconds": round(cost.seconds, 6)}


def _check(run: CheckRun) -> JSON:
    return {
        "check": run.check,
        "summary": run.summary,
        "state": run.state,
        "cut": run.cut,
        "cost": _cost(run.cost),
        "resumed": run.resumed,
        "evidence": [_evidence(evidence) for evidence in run.evidence],
    }


def _evidence(evidence: Evidence) -> JSON:
    whole = struct_json(evidence)
    del whole["outcome"]
    return {"digest": evidence.digest, **whole}
