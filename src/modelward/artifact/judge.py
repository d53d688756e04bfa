"""What the walk means: the claim `load-is-inert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from modelward.core.claim import Bracket, Claim, Judgement
from modelward.core.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence

_TECHNIQUES = ("AML.T0011.000", "AML.T0010.003", "AML.T0018.002")
_CONTROLS = (
    "ID.RA-09",
    "PR.PS-05",
    "riskMaliciousLoaderDeserialization",
    "controlSecureByDefaultMLTooling",
)
_STATEMENTS = {
    "inert": "Loading the file only builds data: everything that loading acts on is proven harmless.",
    "dangerous": "Loading the file runs a payload.",
    "unproven": "Loading the file could not be proven harmless.",
}
_BRACKETS = {"inert": Bracket(1.0, 1.0), "dangerous": Bracket(0.0, 0.0), "unproven": Bracket(0.0, 1.0)}


def judge_load(evidence: Sequence[Evidence]) -> Judgement:
    """Derive the claim and one finding per distinct problem.

    The bracket is 1 where inertness is proved, 0 where a payload was found, [0, 1] where neither succeeded.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in evidence:
        if item.check != "artifact.pickle":
            continue
        verdict = str(item.outcome["verdict"])
        claims.append(
            Claim(
                id="load-is-inert",
                statement=_STATEMENTS.get(verdict, _STATEMENTS["unproven"]),
                scope={"format": item.outcome["format"], "coverage": item.outcome["coverage"]},
                bracket=_BRACKETS.get(verdict, _BRACKETS["unproven"]),
                basis="proved" if verdict == "inert" else "measured",
                n=item.n,
                cost=item.cost,
                evidence=(item.digest,),
            )
        )
        if verdict != "inert":
            findings.append(_finding(item, verdict))
    return Judgement(tuple(claims), tuple(findings))


def _finding(item: Evidence, verdict: str) -> Finding:
    every = cast("list[dict[str, JSON]]", item.outcome["findings"])
    details = [detail for detail in every if detail.get("level") != "note"] or every
    seen = "; ".join(_said(detail) for detail in details[:5])
    more = f" (and {len(details) - 5} more)" if len(details) > 5 else ""
    dangerous = verdict == "dangerous"
    return Finding(
        rule=f"artifact.pickle.{'dangerous' if dangerous else 'unproven'}",
        severity="critical" if dangerous else "high",
        confidence="high",
        title="Loading runs a payload" if dangerous else "Loading is not proven harmless",
        message=(seen or _STATEMENTS[verdict]) + more,
        location=_place(details[0]) if details else "",
        evidence=(item.digest,),
        remedy=(
            "Do not load it. Delete the file, find out where it came from and rotate what it could have read."
            if dangerous
            else "Save the model as safetensors, ONNX or skops, or from library types alone."
        ),
        techniques=_TECHNIQUES,
        controls=_CONTROLS,
    )


def _said(detail: dict[str, JSON]) -> str:
    call = detail.get("call")
    return f"{detail['message']}: {call}" if call else str(detail["message"])


def _place(detail: dict[str, JSON]) -> str:
    where = cast("dict[str, JSON]", detail["location"])
    offset = "" if where["offset"] is None else f"byte {where['offset']}"
    return " ".join(part for part in (str(where["member"]), offset) if part)
