"""From counts of rows that stay right to the share of accuracy that one feature carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from modelward.core.claim import Claim, Interval, Judgement
from modelward.core.finding import Finding
from modelward.core.seeds import child_seed
from modelward.numeric.bootstrap import count_bootstrap, percentile_interval
from modelward.numeric.proportion import z_score
from modelward.numeric.simultaneous import sidak_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence
    from modelward.numeric.types import FloatArray, IntArray

DRAWS = 2000
_SHOWN = 5


def judge_shortcut(evidence: Sequence[Evidence]) -> Judgement:
    """Share of the accuracy above the majority class that survives on the strongest feature alone.

    The finding ``opacity.shortcut`` fires when the interval's lower end exceeds 0.7 (medium) or 0.9 (high).

    Args:
        evidence: of the check ``opacity.importance``, in any order.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in sorted(evidence, key=lambda e: e.digest):
        claim = _shortcut(item)
        claims.append(claim)
        if claim.interval is not None and claim.interval.lower > 0.7:
            findings.append(_finding(item, claim, claim.interval))
    return Judgement(tuple(claims), tuple(findings))


def _level(item: Evidence) -> float:
    return float(cast("float", item.parameters["confidence"]))


def _shortcut(item: Evidence) -> Claim:
    strongest = cast("dict[str, JSON] | None", item.outcome.get("strongest"))
    notes = [_importances(item)]
    if item.cut:
        notes.append(f"Cut short by {item.cut}: fewer permutations.")
    name = None if strongest is None else cast("str", strongest["name"])
    known = None if strongest is None else surviving_share(strongest, _features(item), _level(item))
    if strongest is None:
        notes.insert(0, "Cut before every feature was asked alone.")
        statement = "What survives on the strongest feature alone is unknown."
    elif known is None:
        notes.insert(
            0, "The model is not shown to beat the majority class, so there is no accuracy to share out."
        )
        statement = f"What survives on {name} alone is unknown."
    elif known[2] <= 0:
        # The share is below 0 and cut there, so its interval has no width.
        statement = f"Nothing survives on {name} alone: the model then does worse than the majority class."
    else:
        statement = f"{known[0]:.1%} of the accuracy above the majority class survives on {name} alone."
    scope: dict[str, JSON] = {"features": item.outcome["of"]}
    return Claim(
        id="shortcut",
        statement=statement,
        scope=scope if name is None else scope | {"feature": name},
        value=None if known is None else known[0],
        interval=None if known is None else Interval(known[1], known[2], _level(item)),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=" ".join(note for note in notes if note),
    )


def _features(item: Evidence) -> int:
    return cast("int", item.outcome["of"])


def surviving_share(
    strongest: dict[str, JSON], features: int, confidence: float
) -> tuple[float, float, float] | None:
    """(alone - majority) / (whole - majority) in accuracies, with its interval, all cut to [0, 1].

    The strongest feature was chosen among `features` on the same rows, so the interval is taken at the Sidak
    level of that many: it holds for every feature, hence for the chosen one.

    Args:
        strongest: the evidence's entry.
        features: how many it was chosen from.
        confidence: of the interval, in (0, 1).

    Returns:
        Share, lower and upper end; null when the whole accuracy is not shown to exceed the majority class.

    Source: Fieller (1954), JRSS B 16(2), 175-185: the ratios t for which the mean of u - t v is within z
    standard errors of 0, with u = alone - majority and v = whole - majority per row; Sidak (1967), JASA
    62(318).
    """
    u, v = _rows(strongest)
    n, z = len(u), z_score(sidak_level(confidence, features))
    if n < 2:
        return None
    covariance = np.cov(u, v) * z * z / n
    # t^2 (V^2 - c_vv) - 2 t (U V - c_uv) + (U^2 - c_uu) <= 0
    square = v.mean() ** 2 - covariance[1, 1]
    middle = u.mean() * v.mean() - covariance[0, 1]
    rest = u.mean() ** 2 - covariance[0, 0]
    if v.mean() <= 0 or square <= 0:
        return None
    radius = float(np.sqrt(max(0.0, middle**2 - square * rest)))
    ends = (u.mean() / v.mean(), (middle - radius) / square, (middle + radius) / square)
    share, lower, upper = (float(np.clip(end, 0.0, 1.0)) for end in ends)
    return share, lower, upper


def _rows(strongest: dict[str, JSON]) -> tuple[FloatArray, FloatArray]:
    """Per row, accuracy alone and accuracy as a whole, each less that of the majority class."""
    repeats = cast("int", strongest["repeats"])
    alone, whole = [], []
    for key, majority in (("majority", 1.0), ("minority", 0.0)):
        table = np.array(strongest[key], np.int64)
        before, after = np.indices(table.shape).reshape(2, -1)
        alone.append(np.repeat(after / repeats - majority, table.ravel()))
        whole.append(np.repeat(before - majority, table.ravel()))
    return np.concatenate(alone), np.concatenate(whole)


def importance(kept: JSON, repeats: int, confidence: float, *, seed: int) -> tuple[float, float, float]:
    """Accuracy lost when a feature is permuted, with a bootstrap interval over rows.

    Args:
        kept: rows by [right before][permutations after which it was right].
        repeats: permutations.
        confidence: of the interval, in (0, 1).
        seed: fixes the resampled tables.

    Returns:
        Loss, lower and upper end, in [-1, 1].
    """
    table = np.array(kept, np.int64)
    before, after = np.indices(table.shape).reshape(2, -1)
    loss = before - after / repeats

    def mean(tables: IntArray) -> FloatArray:
        return np.asarray(tables @ loss / table.sum())[:, None]

    lower, upper = percentile_interval(count_bootstrap(table, mean, draws=DRAWS, seed=seed), confidence)
    return float(table.ravel() @ loss / table.sum()), float(lower[0]), float(upper[0])


def _importances(item: Evidence) -> str:
    """The features whose permutation costs most, in words."""
    listed = cast("list[dict[str, JSON]]", item.outcome["features"])
    losses = []
    for entry in listed:
        table, repeats = np.array(entry["kept"], np.int64), cast("int", entry["repeats"])
        losses.append(float((table[1].sum() - (table * np.arange(repeats + 1)).sum() / repeats) / item.n))
    order = np.argsort([-loss for loss in losses], kind="stable")[:_SHOWN]
    shown = []
    for i in order:
        entry, seed = listed[i], child_seed(item.seed, f"importance/{listed[i]['name']}")
        loss, lower, upper = importance(entry["kept"], cast("int", entry["repeats"]), _level(item), seed=seed)
        shown.append(f"{entry['name']} {loss:.3g} ({lower:.3g} to {upper:.3g})")
    return f"Accuracy lost when permuted: {'; '.join(shown)}." if shown else ""


def _finding(item: Evidence, claim: Claim, interval: Interval) -> Finding:
    strongest = cast("dict[str, JSON]", item.outcome["strongest"])
    sensitive = " It is a sensitive column." if strongest["sensitive"] else ""
    whole, majority = cast("int", item.outcome["right"]), cast("int", item.outcome["majority"])
    return Finding(
        rule="opacity.shortcut",
        severity="high" if interval.lower > 0.9 else "medium",
        confidence="medium",
        title="One feature carries the decision",
        message=(
            f"With all other features permuted, {strongest['name']} alone keeps {claim.value:.3g} (at least "
            f"{interval.lower:.3g}, confidence {interval.confidence:g}) of what the accuracy of "
            f"{whole / item.n:.3g} is above the majority's {majority / item.n:.3g}; n = {item.n}.{sensitive}"
        ),
        location=cast("str", strongest["name"]),
        evidence=(item.digest,),
        remedy=(
            "Find out whether the feature leaks the label or marks where a row comes from; if so, remove it "
            "and train again. Otherwise guard it: who controls this feature controls the decision."
        ),
        techniques=("AML.T0015",),
        controls=("ID.RA-01", "riskModelEvasion", "controlAdversarialTrainingAndTesting"),
    )
