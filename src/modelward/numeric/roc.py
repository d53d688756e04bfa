"""Ranking quality of a score: area under the ROC curve, and single points on it. Larger means positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from scipy import special

from modelward.errors import InputError
from modelward.numeric.proportion import clopper_pearson, z_score

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import FloatArray


def midranks(values: ArrayLike) -> FloatArray:
    """Ranks from 1; tied values share the mean of the ranks they cover. Shape (n,), O(n log n).

    Source: Sun and Xu (2014), IEEE Signal Processing Letters 21(11), 1389-1393.
    """
    _, inverse, count = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2.0)[inverse])


def _classes(positives: ArrayLike, negatives: ArrayLike) -> tuple[FloatArray, FloatArray]:
    pos, neg = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    if pos.ndim != 1 or neg.ndim != 1 or pos.size == 0 or neg.size == 0:
        raise InputError("a ROC curve needs scores of at least one positive and one negative, as vectors")
    if np.isnan(pos).any() or np.isnan(neg).any():
        raise InputError("a score is NaN: it has no place in a ranking")
    return pos, neg


def _placements(pos: FloatArray, neg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share of negatives below each positive, and of positives above each negative; ties count half."""
    joint = midranks(np.concatenate([pos, neg]))
    above = (joint[: pos.size] - midranks(pos)) / neg.size
    below = 1.0 - (joint[pos.size :] - midranks(neg)) / pos.size
    return above, below


def auc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """P(positive score > negative score) + P(equal) / 2 over all pairs, in O((m + n) log (m + n)).

    Args:
        positives: scores of the positives, shape (m,), m >= 1; infinities are allowed.
        negatives: scores of the negatives, shape (n,), n >= 1.

    Returns:
        Area under the empirical ROC curve, in [0, 1].

    Raises:
        InputError: a class is empty or a score is NaN.

    Source: Mann and Whitney (1947), Ann. Math. Stat. 18(1); Hanley and McNeil (1982), Radiology 143(1).
    """
    pos, neg = _classes(positives, negatives)
    joint = midranks(np.concatenate([pos, neg]))
    pairs = joint[: pos.size].sum() - pos.size * (pos.size + 1) / 2.0
    return float(pairs / (pos.size * neg.size))


def delong_variance(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Variance of the AUC, by the fast algorithm of Sun and Xu; 0 when the classes are fully separated.

    Args:
        positives: scores of the positives, shape (m,), m >= 2.
        negatives: scores of the negatives, shape (n,), n >= 2.

    Returns:
        Estimated variance, >= 0.

    Raises:
        InputError: a class has fewer than two scores, or a score is NaN.

    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44(3), 837-845; Sun and Xu (2014), IEEE
    Signal Processing Letters 21(11), 1389-1393.
    """
    pos, neg = _classes(positives, negatives)
    if min(pos.size, neg.size) < 2:
        raise InputError(f"{pos.size} positives and {neg.size} negatives: a variance needs two of each")
    above, below = _placements(pos, neg)
    return float(above.var(ddof=1) / pos.size + below.var(ddof=1) / neg.size)


def _newcombe(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    """All areas within z model standard errors of the observed one: has width also at 0 and 1."""

    def inside(candidate: float) -> bool:
        mean_size = (m + n) / 2.0 - 1.0
        spread = (1.0 - candidate) / (2.0 - candidate) + candidate / (1.0 + candidate)
        variance = candidate * (1.0 - candidate) * (1.0 + mean_size * spread) / (m * n)
        return (candidate - area) ** 2 <= z * z * variance

    ends = []
    for limit in (0.0, 1.0):
        near, far = area, limit
        for _ in range(60):
            middle = (near + far) / 2.0
            near, far = (middle, far) if inside(middle) else (near, middle)
        ends.append(far if area != limit else limit)
    return ends[0], ends[1]


def auc_interval(positives: ArrayLike, negatives: ArrayLike, confidence: float) -> tuple[float, float]:
    """Confidence interval of the AUC: from the lower to the higher end of two intervals.

    DeLong's variance on the logit of the AUC follows the scores' own distributions but has too little to go
    by where few pairs are misranked; Newcombe's score-type interval does not, but assumes a distribution.
    Neither keeps its level alone, and near 1 DeLong's interval without the logit does so least. Fully
    separated classes have no variance; there the lower end is also at most that of the share of one class
    that does not lie beyond the other, by Clopper and Pearson.

    Args:
        positives: scores of the positives, shape (m,).
        negatives: scores of the negatives, shape (n,).
        confidence: in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        InputError: a class is empty, a score is NaN, or confidence out of range.

    Source: DeLong et al. (1988), Biometrics 44(3), 837-845; its logit: Pepe (2003), The Statistical
    Evaluation of Medical Tests for Classification and Prediction; Newcombe (2006), Stat. Med. 25(4), 559-573,
    method 5.
    """
    pos, neg = _classes(positives, negatives)
    area, z, fewest = auc(pos, neg), z_score(confidence), min(pos.size, neg.size)
    lower, upper = _newcombe(area, pos.size, neg.size, z)
    if area in {0.0, 1.0}:
        seldom = 1.0 - clopper_pearson(fewest, fewest, confidence)[0]
        return min(lower, 1.0 - seldom) if area else 0.0, max(upper, seldom) if not area else 1.0
    variance = delong_variance(pos, neg) if fewest >= 2 else 0.0
    radius = z * float(np.sqrt(variance)) / (area * (1.0 - area))
    low, high = special.expit(special.logit(area) + np.array([-radius, radius]))
    return min(lower, float(low)), max(upper, float(high))


@final
@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """True-positive rate where the false-positive rate is limited, and what the sample says about it.

    Attributes:
        threshold: a score above it is called positive; -inf when the limit lets all negatives pass.
        tpr: share of positives above the threshold.
        fpr: share of negatives above the threshold; at most the limit (less where ties or n force it).
        at_threshold: exact interval for the TPR of this threshold taken as fixed; leaves out that the
            threshold was itself estimated from the negatives.
        at_rate: exact interval for the TPR at the population's false-positive rate limit, threshold
            uncertainty included. Its lower end is 0 when the negatives are too few to show that any
            threshold keeps the limit.
    """

    threshold: float
    tpr: float
    fpr: float
    at_threshold: tuple[float, float]
    at_rate: tuple[float, float]


def tpr_at_fpr(positives: ArrayLike, negatives: ArrayLike, fpr: float, confidence: float) -> OperatingPoint:
    """TPR of the rule "score > threshold" at the lowest threshold whose empirical FPR is at most `fpr`.

    Ties are never split, so the empirical FPR is at most the limit. `at_rate` holds for any score
    distributions, also discrete: with error probability a, thresholds that are order statistics of the
    negatives bracket the population's 1 - fpr quantile with a/4 on each side (binomial tail), and
    Clopper-Pearson bounds of the independent positives take a/4 on each side.

    Args:
        positives: scores of the positives, shape (m,).
        negatives: scores of the negatives, shape (n,).
        fpr: limit on the false-positive rate, in (0, 1).
        confidence: in (0, 1), of each of the two intervals.

    Returns:
        The operating point with both intervals.

    Raises:
        InputError: a class is empty, a score is NaN, fpr or confidence out of range.

    Source: Carlini et al. (2022), IEEE S&P, arXiv 2112.03570 (TPR at low FPR); quantile bounds: David and
    Nagaraja (2003), Order Statistics, 3rd ed., section 7.1; Clopper and Pearson (1934), Biometrika 26(4);
    union bound.
    """
    pos, neg = _classes(positives, negatives)
    z_score(confidence)  # refuses a confidence out of range
    if not 0.0 < fpr < 1.0:
        raise InputError(f"a false-positive rate of {fpr} is not between 0 and 1")
    descending = np.concatenate([[np.inf], np.sort(neg)[::-1], [-np.inf]])
    ascending = np.sort(pos)

    def caught(threshold: float) -> int:
        return int(pos.size - np.searchsorted(ascending, threshold, side="right"))

    # 1e-9 forgives the rounding of products like 0.07 * 100 = 7.000000000000001.
    threshold = float(descending[int(fpr * neg.size + 1e-9) + 1])
    tail = (1.0 - confidence) / 4.0
    below = special.bdtr(np.arange(neg.size + 1), neg.size, fpr)  # P(Bin(n, fpr) <= j)
    strict = float(descending[np.searchsorted(below, tail, side="right")])
    # The last element is 1 by definition whatever rounding says, hence the search over the first n.
    loose = float(descending[np.searchsorted(below[:-1], 1.0 - tail, side="left") + 1])
    hits = caught(threshold)
    return OperatingPoint(
        threshold=threshold,
        tpr=hits / pos.size,
        fpr=float((neg > threshold).mean()),
        at_threshold=clopper_pearson(hits, pos.size, confidence),
        at_rate=(
            clopper_pearson(caught(strict), pos.size, 1.0 - tail, side="lower")[0],
            clopper_pearson(caught(loose), pos.size, 1.0 - tail, side="upper")[1],
        ),
    )
