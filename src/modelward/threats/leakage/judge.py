"""From the ranking of members and others to what an attacker learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from modelward.core.claim import Claim, Interval, Judgement
from modelward.core.finding import Finding
from modelward.numeric.roc import auc, auc_interval, tpr_at_fpr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.evidence import Evidence
    from modelward.core.finding import Severity
    from modelward.numeric.types import IntArray

RATES = (0.01, 0.001)
"""False-positive rates at which exposure is stated."""

_TECHNIQUES = ("AML.T0024.000",)
_CONTROLS = (
    "ID.RA-01",
    "GV.OC-03",
    "riskSensitiveDataDisclosure",
    "controlModelPrivacyEnhancingTechnologies",
)
_REMEDY = (
    "Regularise or stop training earlier, train with differential privacy, and answer with labels or coarse "
    "scores instead of full confidences."
)


def judge_auc(evidence: Sequence[Evidence]) -> Judgement:
    """AUC of telling training rows from others.

    Findings: ``leakage.membership`` medium when the interval's lower end exceeds 0.6, high above 0.75;
    ``leakage.overlap`` when rows occur in both sets, low, medium above 5 % of the data.

    Args:
        evidence: of the check ``leakage.membership``, in any order.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in _mine(evidence):
        members, others = _scores(item)
        value, level = auc(members, others), _level(item)
        lower, upper = auc_interval(members, others, level)
        claims.append(
            Claim(
                id="membership-auc",
                statement=f"A training row is ranked above another row with probability {value:.4g}.",
                scope={"attack": "confidence threshold", "signal": item.parameters["signal"]},
                value=value,
                interval=Interval(lower, upper, level),
                n=item.n,
                cost=item.cost,
                evidence=(item.digest,),
                better="lower",
                note=_note(item),
            )
        )
        if lower > 0.6:
            findings.append(_ranked(item, value, lower))
        findings += _overlap(item)
    return Judgement(tuple(claims), tuple(findings))


def judge_tpr(evidence: Sequence[Evidence]) -> Judgement:
    """Share of training rows exposed at a false-positive rate of 1 % and of 0.1 %.

    The finding ``leakage.exposed`` fires when the interval's lower end exceeds ten times the rate: medium,
    and high when it exceeds a quarter of the training rows.

    Args:
        evidence: of the check ``leakage.membership``, in any order.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in _mine(evidence):
        exposed = [_exposed(item, rate) for rate in RATES]
        claims += exposed
        bad = [
            c
            for c in exposed
            if c.interval is not None and c.interval.lower > 10 * cast("float", c.scope["fpr"])
        ]
        findings += [_exposure(item, claim) for claim in bad[-1:]]  # the lowest rate says most
    return Judgement(tuple(claims), tuple(findings))


def _mine(evidence: Sequence[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda e: e.digest)


def _level(item: Evidence) -> float:
    return float(cast("float", item.parameters["confidence"]))


def _scores(item: Evidence) -> tuple[IntArray, IntArray]:
    """Ranks of members and of others; only their order matters."""
    table = np.array(item.outcome["runs"], np.int64)
    place = np.arange(len(table))
    return np.repeat(place, table[:, 0]), np.repeat(place, table[:, 1])


def _note(item: Evidence) -> str:
    shared = cast("dict[str, int]", item.outcome["shared"])
    parts = [f"{item.outcome['members']} training rows and {item.outcome['others']} others were compared."]
    if shared["data"]:
        parts.append(f"{shared['data']} rows that occur in both sets are left out.")
    if item.parameters["signal"] == "correctness":
        parts.append("The model tells only labels, so all that is used is whether they are right.")
    if item.cut:
        parts.append(f"Cut short by {item.cut}: a uniform sample of both.")
    return " ".join(parts)


def _exposed(item: Evidence, rate: float) -> Claim:
    members, others = _scores(item)
    level = _level(item)
    scope = {"attack": "confidence threshold", "signal": item.parameters["signal"], "fpr": rate}
    if len(others) < round(1 / rate):
        return Claim(
            id="membership-tpr",
            statement=f"How many training rows are exposed at a false-positive rate of {rate:g} is unknown.",
            scope=scope,
            n=item.n,
            cost=item.cost,
            evidence=(item.digest,),
            better="lower",
            note=f"Only {len(others)} others; a rate of {rate:g} needs {round(1 / rate)}. {_note(item)}",
        )
    point = tpr_at_fpr(members, others, rate, level)
    return Claim(
        id="membership-tpr",
        statement=f"{point.tpr:.3g} of the training rows are exposed at a false-positive rate of {rate:g}.",
        scope=scope,
        value=point.tpr,
        interval=Interval(*point.at_rate, level),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=_note(item),
    )


def _ranked(item: Evidence, value: float, lower: float) -> Finding:
    return Finding(
        rule="leakage.membership",
        severity="high" if lower > 0.75 else "medium",
        confidence="high",
        title="Confidence tells training rows from others",
        message=(
            f"AUC {value:.3g}, at least {lower:.3g} with confidence {_level(item):g}, between "
            f"{item.outcome['members']} training rows and {item.outcome['others']} others; 0.5 is chance."
        ),
        evidence=(item.digest,),
        remedy=_REMEDY,
        techniques=_TECHNIQUES,
        controls=_CONTROLS,
    )


def _exposure(item: Evidence, claim: Claim) -> Finding:
    lower = claim.interval.lower if claim.interval else 0.0
    rate = cast("float", claim.scope["fpr"])
    return Finding(
        rule="leakage.exposed",
        severity="high" if lower > 0.25 else "medium",
        confidence="high",
        title="Single training rows can be pointed at",
        message=(
            f"{claim.value:.3g} of the training rows, at least {lower:.3g} with confidence {_level(item):g}, "
            f"are recognised while {rate:g} of the others are mistaken for training rows."
        ),
        evidence=(item.digest,),
        remedy=_REMEDY,
        techniques=_TECHNIQUES,
        controls=_CONTROLS,
    )


def _overlap(item: Evidence) -> list[Finding]:
    shared = cast("dict[str, int]", item.outcome["shared"])
    if not shared["data"]:
        return []
    share = shared["data"] / shared["data rows"]
    severity: Severity = "medium" if share > 0.05 else "low"
    return [
        Finding(
            rule="leakage.overlap",
            severity=severity,
            confidence="medium",
            title="Evaluation data contains training rows",
            message=(
                f"{shared['data']} of {shared['data rows']} data rows ({share:.2%}) have the same input as a "
                "training row, so numbers measured on them are too good."
            ),
            evidence=(item.digest,),
            remedy="Split before duplicating, and remove rows of the evaluation set that occur in training.",
            controls=("ID.AM-07", "riskEvaluationBenchmarkManipulation", "controlTrainingDataManagement"),
        )
    ]
