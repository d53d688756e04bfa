"""Calibration of predicted probabilities: how far stated confidence is from what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, final

import numpy as np

from modelward.errors import InputError
from modelward.numeric.roc import midranks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import FloatArray, IntArray

Scheme: TypeAlias = Literal["mass", "width"]


@final
@dataclass(frozen=True, slots=True)
class Reliability:
    """What a reliability diagram draws; one entry per non-empty bin.

    Attributes:
        bin_of: bin of each prediction, shape (n,).
        count: predictions per bin, shape (b,), each >= 1.
        confidence: mean stated probability per bin, shape (b,).
        frequency: share of correct predictions per bin, shape (b,).
    """

    bin_of: IntArray
    count: IntArray
    confidence: FloatArray
    frequency: FloatArray


def reliability(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, scheme: Scheme = "mass"
) -> Reliability:
    """Group predictions by stated probability.

    Args:
        confidence: stated probability of the predicted class, shape (n,), in [0, 1].
        correct: whether the prediction was right, shape (n,), 0/1 or bool.
        bins: number of bins; equal confidences are never split, so "mass" may give fewer.
        scheme: "mass" puts equally many predictions in each bin, "width" cuts [0, 1] in equal parts
            ((0, 1/bins], ..., as in the source).

    Returns:
        The non-empty bins.

    Raises:
        InputError: shapes differ, no rows, a confidence outside [0, 1], or bins < 1.

    Source: DeGroot and Fienberg (1983), The Statistician 32; bins: Guo et al. (2017), ICML, section 2
    ("width"); Nguyen and O'Connor (2015), EMNLP ("mass").
    """
    stated, hit = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if stated.ndim != 1 or stated.shape != hit.shape or stated.size == 0:
        raise InputError(f"confidences of shape {stated.shape} do not fit outcomes of shape {hit.shape}")
    if not np.all((stated >= 0) & (stated <= 1)):
        raise InputError("a confidence is not between 0 and 1")
    if not np.all((hit == 0) | (hit == 1)):
        raise InputError("an outcome is neither 0 nor 1")
    if bins < 1:
        raise InputError(f"{bins} bins: at least 1 is needed")
    if scheme == "width":
        place = np.searchsorted(np.arange(1, bins) / bins, stated, side="left")
    else:  # equal confidences share a rank, so they share a bin
        place = ((midranks(stated) - 0.5) * bins / stated.size).astype(np.int64)
    _, bin_of = np.unique(place, return_inverse=True)
    count = np.bincount(bin_of)
    return Reliability(
        bin_of=bin_of.astype(np.int64),
        count=count.astype(np.int64),
        confidence=np.bincount(bin_of, stated) / count,
        frequency=np.bincount(bin_of, hit) / count,
    )


def expected_calibration_error(table: Reliability) -> float:
    """Mean |stated - observed| of the bins by weight, in [0, 1]; biased upward for few rows per bin.

    Source: Naeini, Cooper and Hauskrecht (2015), AAAI (ECE).
    """
    gap = np.abs(table.confidence - table.frequency)
    return float(np.average(gap, weights=table.count))


def squared_calibration_error(table: Reliability) -> float:
    """Mean squared gap less the bias that sampling adds to each bin; at or below 0, none is visible.

    Bins with a single prediction carry no estimate of their noise and are left out with their weight.

    Returns:
        Estimate of the squared L2 calibration error of the binned predictor, in [-1, 1]; NaN without a bin
        of two.

    Source: Kumar, Liang and Ma (2019), NeurIPS, section 5 (debiased estimator), arXiv 1909.10155v2.
    """
    usable = table.count > 1
    if not usable.any():
        return float("nan")
    count, frequency = table.count[usable], table.frequency[usable]
    gap = table.confidence[usable] - frequency
    noise = frequency * (1.0 - frequency) / (count - 1)
    return float(np.average(gap**2 - noise, weights=count))


def calibration_interval(
    stated: ArrayLike, correct: ArrayLike, table: Reliability, level: float, *, draws: int = 1000, seed: int
) -> tuple[float, float]:
    """Interval for the expected calibration error in the population, the bins of `table` taken as fixed.

    A percentile interval of the error itself fails near 0, where resampling only ever adds error. So the
    vector of signed bin gaps, a mean over rows, is simulated instead from its normal limit (a parametric
    bootstrap, O(n) once and then independent of n): with r the `level` quantile of its L1 deviation, the
    true vector lies within r of the observed one, hence the true error within r of the observed error. Each
    bin's variance is that of its rows and one right and one wrong answer more, so that a bin without a
    mistake keeps its width (after Agresti and Coull's interval).

    Args:
        stated: the confidences that `table` was made from, shape (n,).
        correct: the outcomes, shape (n,).
        table: their reliability table.
        level: confidence of the interval, in (0, 1).
        draws: simulated gap vectors.
        seed: fixes the samples.

    Returns:
        Lower and upper end in [0, 1].

    Raises:
        InputError: shapes do not fit, level or draws out of range.

    Source: multivariate central limit theorem: van der Vaart (1998), Asymptotic Statistics, Example 2.18;
    triangle inequality in L1; Agresti and Coull (1998), The American Statistician 52(2), 119-126. The error
    itself: Naeini et al. (2015), AAAI.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"a confidence of {level} is not between 0 and 1")
    if draws < 1:
        raise InputError(f"{draws} draws: at least 1 is needed")
    gap = np.asarray(stated, np.float64) - np.asarray(correct, np.float64)
    if gap.shape != table.bin_of.shape:
        raise InputError(f"{gap.shape} predictions do not fit a table of {table.bin_of.shape}")
    n, size = gap.size, table.count.size
    centre = np.bincount(table.bin_of, gap, minlength=size) / n
    # One right and one wrong answer more per bin: a bin that was always right must not look certain.
    added = table.confidence**2 + (1.0 - table.confidence) ** 2
    # Per row the gap stands in one bin only, so the second moments are diagonal.
    second = np.diag((np.bincount(table.bin_of, gap**2, minlength=size) + added) / n)
    covariance = second - np.outer(centre, centre)
    rng = np.random.default_rng(seed)
    deviation = rng.multivariate_normal(np.zeros(size), covariance / n, size=draws, method="eigh")
    radius = float(np.quantile(np.abs(deviation).sum(axis=1), level, method="higher"))
    error = float(np.abs(centre).sum())
    return max(0.0, error - radius), min(1.0, error + radius)
