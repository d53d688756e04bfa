"""From counts to accuracy, AUC and calibration, each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from modelward.core.claim import Claim, Interval, Judgement
from modelward.core.finding import Finding
from modelward.core.seeds import child_seed
from modelward.numeric.calibration import (
    calibration_interval,
    expected_calibration_error,
    reliability,
    squared_calibration_error,
)
from modelward.numeric.proportion import clopper_pearson
from modelward.numeric.roc import auc, auc_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence
    from modelward.core.finding import Severity

BINS = 15


def judge_accuracy(evidence: Sequence[Evidence]) -> Judgement:
    """Share of rows that are answered right, and whether that beats a constant answer.

    Args:
        evidence: of the check ``quality``, in any order.
    """
    items = _ordered(evidence)
    claims = tuple(_accuracy(item) for item in items)
    findings = (_majority(item, claim, _auc(item)) for item, claim in zip(items, claims, strict=True))
    return Judgement(claims, tuple(f for f in findings if f is not None))


def judge_auc(evidence: Sequence[Evidence]) -> Judgement:
    """How well the scores rank, where the model states scores.

    Args:
        evidence: of the check ``quality``, in any order.
    """
    claims = (_auc(item) for item in _ordered(evidence))
    return Judgement(tuple(claim for claim in claims if claim is not None))


def judge_calibration(evidence: Sequence[Evidence]) -> Judgement:
    """Expected calibration error, where the model states probabilities.

    Args:
        evidence: of the check ``quality``, in any order.
    """
    found = [(item, claim) for item in _ordered(evidence) if (claim := _calibration(item)) is not None]
    findings = (_miscalibrated(item, claim) for item, claim in found)
    return Judgement(tuple(claim for _, claim in found), tuple(f for f in findings if f is not None))


def _ordered(evidence: Sequence[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda item: item.digest)


def _counts(item: Evidence, key: str) -> list[int]:
    return cast("list[int]", item.outcome[key])


def _level(item: Evidence) -> float:
    return float(cast("float", item.parameters["confidence"]))


def _cut(item: Evidence) -> str:
    return f"Cut short by {item.cut}: a uniform sample of the rows." if item.cut else ""


def _accuracy(item: Evidence) -> Claim:
    hits, level = sum(_counts(item, "hits")), _level(item)
    lower, upper = clopper_pearson(hits, item.n, level)
    classes = sum(count > 0 for count in _counts(item, "truth"))
    single = "All rows have the same label." if classes == 1 else ""
    return Claim(
        id="accuracy",
        statement=f"The model gets {hits} of {item.n} rows right.",
        scope={},
        value=hits / item.n,
        interval=Interval(lower, upper, level),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        note=" ".join(part for part in (single, _cut(item)) if part),
    )


def _area(ranking: dict[str, JSON], level: float) -> tuple[float, float, float] | None:
    """AUC and interval of one class against the rest; null without both kinds of row.

    Pairs inside a group of neighbouring scores count half. Where groups hold different scores, the true count
    lies within half of these pairs, by which the interval is widened.
    """
    ups = np.array(ranking["positives"], np.int64)
    downs = np.array(ranking["negatives"], np.int64)
    if ups.sum() == 0 or downs.sum() == 0:
        return None
    group = np.arange(ups.size)
    pos, neg = np.repeat(group, ups), np.repeat(group, downs)
    lower, upper = auc_interval(pos, neg, level)
    blur = 0.0 if ranking["exact"] else float((ups * downs).sum() / (2 * ups.sum() * downs.sum()))
    return auc(pos, neg), max(0.0, lower - blur), min(1.0, upper + blur)


def _auc(item: Evidence) -> Claim | None:
    rankings = cast("dict[str, dict[str, JSON]] | None", item.outcome.get("ranking"))
    if rankings is None:
        return None
    level = _level(item)
    areas = [area for area in (_area(ranking, level) for ranking in rankings.values()) if area is not None]
    if not areas:
        return None
    # The standard deviation of a mean is at most the mean of the standard deviations, whatever the
    # dependence, so the mean of the ends is a conservative interval of the mean.
    value, lower, upper = (float(number) for number in np.mean(areas, axis=0))
    scope: dict[str, JSON] = {}
    if len(rankings) == 1:
        scope["positive"] = next(iter(rankings))
        statement = (
            f"A row of class {scope['positive']!r} scores above one of the other class with {value:.4g}."
        )
    else:
        scope["average"] = "macro one-vs-rest"
        statement = (
            f"A row of a class scores above one of another class with {value:.4g}, averaged over classes."
        )
    absent = len(rankings) - len(areas)
    note = f"Classes without rows, left out: {absent}." if absent else ""
    return Claim(
        id="auc",
        statement=statement,
        scope=scope,
        value=value,
        interval=Interval(lower, upper, level),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        note=" ".join(part for part in (note, _cut(item)) if part),
    )


def _calibration(item: Evidence) -> Claim | None:
    groups = cast("dict[str, list[float]] | None", item.outcome.get("calibration"))
    if groups is None:
        return None
    rows, hits = np.array(groups["rows"], np.int64), np.array(groups["right"], np.int64)
    # Within a group the right answers come first; nothing below depends on the order.
    stated = np.repeat(np.clip(np.array(groups["stated"], np.float64), 0.0, 1.0), rows)
    within = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
    correct = within < np.repeat(hits, rows)
    level = _level(item)
    table = reliability(stated, correct, bins=BINS)
    value = expected_calibration_error(table)
    seed = child_seed(item.seed, "calibration")
    lower, upper = calibration_interval(stated, correct, table, level, seed=seed)
    squared = squared_calibration_error(table)
    root = f"{max(0.0, squared) ** 0.5:.3g}" if np.isfinite(squared) else "unknown"
    note = f"Without the bias that sampling adds, the root mean square error is {root}."
    return Claim(
        id="calibration-error",
        statement=f"Stated confidence and frequency of being right differ by {value:.3g} on average.",
        scope={"bins": BINS, "binning": "equal mass"},
        value=value,
        interval=Interval(lower, upper, level),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=" ".join(part for part in (note, _cut(item)) if part),
    )


def _majority(item: Evidence, accuracy: Claim, area: Claim | None) -> Finding | None:
    """Fires when neither the accuracy nor the paired comparison beats always answering the commonest label.

    Rows that model and constant answer both get right or wrong say nothing; of the others, the model must win
    more than half (sign test by Clopper-Pearson).
    """
    truth, hits, level = _counts(item, "truth"), _counts(item, "hits"), _level(item)
    top = truth.index(max(truth))
    share = truth[top] / item.n
    wins, losses = sum(hits) - hits[top], truth[top] - hits[top]
    won = clopper_pearson(wins, wins + losses, level)
    known = accuracy.interval
    if truth[top] == item.n or known is None or known.lower > share or won[0] > 0.5:
        return None
    ranks = area is not None and area.interval is not None and area.interval.lower > 0.5
    severity: Severity = "medium" if ranks else "high"
    classes = cast("list[str]", item.outcome["classes"])
    return Finding(
        rule="quality.no-better-than-majority",
        severity=severity,
        confidence="high" if won[1] < 0.5 or item.n >= 1000 else "medium",
        title="No better than always giving the same answer",
        message=(
            f"Accuracy {sum(hits) / item.n:.4g} (at least {known.lower:.4g}) does not exceed the {share:.4g} "
            f"of always answering {classes[top]!r}; where the two differ the model is right {wins} times "
            f"and wrong {losses} times (n = {item.n})."
            + (" Its scores do rank the rows, so the decision threshold is at fault." if ranks else "")
        ),
        evidence=(item.digest,),
        remedy=(
            "Choose the decision threshold on validation data."
            if ranks
            else "Check the label column and the input space, train again, or measure on more rows."
        ),
        controls=("ID.IM-01", "controlRiskGovernance"),
    )


def _miscalibrated(item: Evidence, error: Claim | None) -> Finding | None:
    """Low when the calibration error is certainly above 0.05, medium above 0.15."""
    if error is None or error.interval is None or error.value is None or error.interval.lower <= 0.05:
        return None
    return Finding(
        rule="quality.miscalibrated",
        severity="medium" if error.interval.lower > 0.15 else "low",
        confidence="high",
        title="Stated confidence is not to be believed",
        message=(
            f"Expected calibration error {error.value:.3g}, at least {error.interval.lower:.3g} with "
            f"confidence {error.interval.confidence:g} (n = {item.n}, {BINS} bins of equal mass)."
        ),
        evidence=(item.digest,),
        remedy="Fit a temperature or an isotonic map on held-out data, or do not show the confidence.",
        controls=("ID.IM-01", "controlRiskGovernance"),
    )
