"""From what the model did with each unusual input to the share of faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, final

from modelward.core.claim import Claim, Judgement
from modelward.core.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence
    from modelward.core.finding import Severity
    from modelward.threats.robustness.cases import Family

    Probed: TypeAlias = dict[str, JSON]

Verdict: TypeAlias = Literal[
    "crash", "hang", "non-finite", "silent", "refused", "answered", "by design", "slow"
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How one kind of fault is reported; `worse` is its severity when a family of `worse_for` shows it."""

    verdict: Verdict
    severity: Severity
    worse: Severity
    worse_for: frozenset[Family] = frozenset()
    title: str
    message: str
    remedy: str
    techniques: tuple[str, ...] = ()
    controls: tuple[str, ...]


_CHECK_FIRST = "Check shape, type and finiteness before the model sees an input"
_VALIDATE = ("ID.RA-01", "controlInputValidationAndSanitization")
_DENIAL = ("AML.T0029",)
_DENIAL_CONTROLS = ("ID.RA-01", "PR.IR-03", "riskDenialOfMLService", "controlInputValidationAndSanitization")
_RULES = (
    _Rule(
        verdict="crash",
        severity="high",
        worse="critical",
        worse_for=frozenset({"missing", "infinite", "extreme", "text"}),
        title="An input crashes the model's process",
        message="crashed the process",
        remedy=f"{_CHECK_FIRST}; update the runtime library.",
        techniques=_DENIAL,
        controls=_DENIAL_CONTROLS,
    ),
    _Rule(
        verdict="hang",
        severity="high",
        worse="high",
        title="An input makes the model hang",
        message="were not answered within {seconds}",
        remedy=f"{_CHECK_FIRST}, and bound the time per request.",
        techniques=_DENIAL,
        controls=_DENIAL_CONTROLS,
    ),
    _Rule(
        verdict="non-finite",
        severity="medium",
        worse="medium",
        title="The model answers NaN or an infinity",
        message="were answered with NaN or an infinity",
        remedy="Refuse inputs that are not finite or far out of range, and answers that are not finite.",
        controls=(*_VALIDATE, "riskInsecureModelOutput", "controlOutputValidationAndSanitization"),
    ),
    _Rule(
        verdict="silent",
        severity="low",
        worse="medium",
        worse_for=frozenset({"missing", "infinite"}),
        title="Malformed inputs get an ordinary answer",
        message="should be refused but were answered as if they were valid",
        remedy=f"{_CHECK_FIRST}, and refuse what does not fit.",
        controls=_VALIDATE,
    ),
)


def judge_inputs(evidence: Sequence[Evidence]) -> Judgement:
    """Share of unusual inputs that led to a crash, a hang, a non-finite answer or silent acceptance.

    Findings, each with its cases: ``robustness.crash`` (high; critical when a float input of the right shape
    or a text does it), ``robustness.hang`` (high), ``robustness.non-finite`` (medium), ``robustness.silent``
    (medium for NaN and infinities, else low).

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
        claims.append(_claim(item, sorted_out))
        findings += [
            _finding(item, rule, found) for rule in _RULES if (found := sorted_out.get(rule.verdict))
        ]
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


def _finding(item: Evidence, rule: _Rule, probes: list[Probed]) -> Finding:
    families = {cast("Family", probed["family"]) for probed in probes}
    what = rule.message.format(seconds=f"{item.parameters['seconds']:g} s")
    return Finding(
        rule=f"robustness.{rule.verdict}",
        severity=rule.worse if families & rule.worse_for else rule.severity,
        confidence="high",
        title=rule.title,
        message=f"{len(probes)} of {item.n} unusual inputs {what}: {_names(probes)}.",
        location=_families(probes),
        evidence=(item.digest,),
        remedy=rule.remedy,
        techniques=rule.techniques,
        controls=rule.controls,
    )
