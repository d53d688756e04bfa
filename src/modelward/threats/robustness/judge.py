"""From what the model did with each unusual input to the share of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from modelward.core.claim import Claim, Judgement
from modelward.core.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence
    from modelward.core.finding import Severity

    Probed: TypeAlias = dict[str, JSON]

Verdict: TypeAlias = Literal[
    "crash", "hang", "non-finite", "silent", "refused", "answered", "by design", "slow"
]

_CHECK_FIRST = "Check shape, type and finiteness before the model sees an input"
_VALIDATE = ("ID.RA-01", "controlInputValidationAndSanitization")
_DENIAL = ("AML.T0029",)
_DENIAL_CONTROLS = ("ID.RA-01", "PR.IR-03", "riskDenialOfMLService", "controlInputValidationAndSanitization")


def judge_inputs(evidence: Sequence[Evidence]) -> Judgement:
    """Share of unusual inputs that led to a crash, a hang, a non-finite answer or silent acceptance.

    Findings, each with its cases: ``robustness.crash`` (high; critical when a float input of the right shape
    does it), ``robustness.hang`` (high), ``robustness.non-finite`` (medium), ``robustness.silent`` (medium
    for NaN and infinities, else low).

    Args:
        evidence: of the check ``robustness.inputs``, in any order.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in sorted(evidence, key=lambda e: e.digest):
        probes = cast("list[Probed]", item.outcome["probes"])
        sorted_out: dict[Verdict, list[Probed]] = {}
        for probed in probes:
            kind = verdict(probed, missing_by_design=bool(item.parameters["missing by design"]))
            sorted_out.setdefault(kind, []).append(probed)
        found = (
            _crash(item, sorted_out),
            _hang(item, sorted_out),
            _odd(item, sorted_out),
            _silent(item, sorted_out),
        )
        claims.append(_claim(item, sorted_out))
        findings += [finding for finding in found if finding is not None]
    return Judgement(tuple(claims), tuple(findings))


def verdict(probed: Probed, *, missing_by_design: bool) -> Verdict:
    """What one recorded probe amounts to.

    Args:
        probed: one entry of the evidence's ``probes``.
        missing_by_design: NaN stands for a missing value, which the model is made to take.
    """
    if probed["answer"] == "crashed":
        return "crash"
    shape = cast("list[int]", probed["shape"])
    if probed["answer"] == "hung":
        # Every model is too slow for some number of rows.
        return "slow" if probed["family"] == "size" and shape[0] > 0 else "hang"
    if probed["answer"] == "raised":
        return "refused"
    if probed["finite"] is False:
        return "non-finite"
    if shape and shape[0] == 0:
        return "answered" if probed["numbers"] == 0 else "silent"
    if probed["valid"]:
        return "answered"
    return "by design" if probed["family"] == "missing" and missing_by_design else "silent"


def _names(probes: list[Probed]) -> str:
    return "; ".join(cast("str", probed["case"]) for probed in probes)


def _families(probes: list[Probed]) -> str:
    """What kind of input, in a word or two; the message names each."""
    return "inputs: " + ", ".join(dict.fromkeys(cast("str", probed["family"]) for probed in probes))


def _claim(item: Evidence, sorted_out: dict[Verdict, list[Probed]]) -> Claim:
    faults = sum(len(sorted_out.get(kind, [])) for kind in ("crash", "hang", "non-finite", "silent"))
    notes = [f"A fixed list of {item.outcome['planned']} inputs, not a sample."]
    if by_design := sorted_out.get("by design"):
        notes.append(f"Taken as a missing value, by design: {_names(by_design)}.")
    if slow := sorted_out.get("slow"):
        notes.append(f"Not answered within {item.parameters['seconds']:g} s: {_names(slow)}.")
    if item.cut:
        notes.append(f"Cut short by {item.cut}: the first {item.n} were sent.")
    return Claim(
        id="input-faults",
        statement=f"{faults} of {item.n} unusual inputs were neither refused nor answered soundly.",
        scope={"seconds": item.parameters["seconds"]},
        value=faults / item.n,
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=" ".join(notes),
    )


def _crash(item: Evidence, sorted_out: dict[Verdict, list[Probed]]) -> Finding | None:
    probes = sorted_out.get("crash")
    if not probes:
        return None
    easy = any(probed["family"] in {"missing", "infinite", "extreme"} for probed in probes)
    return Finding(
        rule="robustness.crash",
        severity="critical" if easy else "high",
        confidence="high",
        title="An input crashes the model's process",
        message=f"{len(probes)} of {item.n} unusual inputs crashed the process: {_names(probes)}.",
        location=_families(probes),
        evidence=(item.digest,),
        remedy=f"{_CHECK_FIRST}; update the runtime library.",
        techniques=_DENIAL,
        controls=_DENIAL_CONTROLS,
    )


def _hang(item: Evidence, sorted_out: dict[Verdict, list[Probed]]) -> Finding | None:
    probes = sorted_out.get("hang")
    if not probes:
        return None
    return Finding(
        rule="robustness.hang",
        severity="high",
        confidence="high",
        title="An input makes the model hang",
        message=(
            f"{len(probes)} of {item.n} unusual inputs were not answered within "
            f"{item.parameters['seconds']:g} s: {_names(probes)}."
        ),
        location=_families(probes),
        evidence=(item.digest,),
        remedy=f"{_CHECK_FIRST}, and bound the time per request.",
        techniques=_DENIAL,
        controls=_DENIAL_CONTROLS,
    )


def _odd(item: Evidence, sorted_out: dict[Verdict, list[Probed]]) -> Finding | None:
    probes = sorted_out.get("non-finite")
    if not probes:
        return None
    return Finding(
        rule="robustness.non-finite",
        severity="medium",
        confidence="high",
        title="The model answers NaN or an infinity",
        message=(
            f"{len(probes)} of {item.n} unusual inputs were answered with NaN or an infinity: "
            f"{_names(probes)}."
        ),
        location=_families(probes),
        evidence=(item.digest,),
        remedy="Refuse inputs that are not finite or far out of range, and answers that are not finite.",
        controls=(*_VALIDATE, "riskInsecureModelOutput", "controlOutputValidationAndSanitization"),
    )


def _silent(item: Evidence, sorted_out: dict[Verdict, list[Probed]]) -> Finding | None:
    probes = sorted_out.get("silent")
    if not probes:
        return None
    baseless = any(probed["family"] in {"missing", "infinite"} for probed in probes)
    severity: Severity = "medium" if baseless else "low"
    return Finding(
        rule="robustness.silent",
        severity=severity,
        confidence="high",
        title="Malformed inputs get an ordinary answer",
        message=(
            f"{len(probes)} of {item.n} unusual inputs should be refused but were answered as if they were "
            f"valid: {_names(probes)}."
        ),
        location=_families(probes),
        evidence=(item.digest,),
        remedy=f"{_CHECK_FIRST}, and refuse what does not fit.",
        controls=_VALIDATE,
    )
