"""Confidence intervals for a proportion: k successes in n independent trials.

Both methods work on scalars and on arrays that broadcast. With `side="lower"` the whole error probability
is below and the upper end is 1; with `side="upper"` the lower end is 0. Without any trial (n = 0) the
interval is (0, 1): nothing is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, overload

import numpy as np
from scipy import special

from modelward.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import BoolArray, FloatArray

Side: TypeAlias = Literal["two", "lower", "upper"]


def _require_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence of {confidence} is not between 0 and 1")


def z_score(confidence: float, *, side: Side = "two") -> float:
    """Standard normal critical value: 1.95996... at 0.95 two-sided.

    Raises:
        InputError: confidence outside (0, 1).

    Source: definition of the standard normal quantile; scipy.special.ndtri.
    """
    _require_confidence(confidence)
    return float(-special.ndtri((1.0 - confidence) / (2.0 if side == "two" else 1.0)))


def _counts(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    successes, trials = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    whole = (successes == np.floor(successes)) & (trials == np.floor(trials))
    wrong = ~(whole & (successes >= 0) & (successes <= trials))
    if np.any(wrong):
        first = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{successes.flat[first]:g} successes in {trials.flat[first]:g} trials: "
            "counts must be whole numbers with 0 <= k <= n"
        )
    return successes, trials


def _one_sided(
    lower: FloatArray, upper: FloatArray, unknown: BoolArray, side: Side
) -> tuple[FloatArray, FloatArray]:
    low = np.where(unknown | (side == "upper"), 0.0, np.clip(lower, 0.0, 1.0))
    high = np.where(unknown | (side == "lower"), 1.0, np.clip(upper, 0.0, 1.0))
    return low, high


def score_interval(k: ArrayLike, n: ArrayLike, z: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """All p with |k/n - p| <= z sqrt(p (1 - p) / n): the score test inverted at a given critical value.

    Args:
        k: successes, any shape.
        n: trials, broadcasts against k.
        z: critical value >= 0, broadcasts.

    Returns:
        Lower and upper ends in [0, 1]; (0, 1) where n = 0.

    Raises:
        InputError: counts are negative, not whole, or k > n.

    Source: Wilson (1927), JASA 22(158), 209-212; closed form: Brown, Cai and DasGupta (2001), Stat. Sci.
    16(2), section 3.1.1.
    """
    successes, trials = _counts(k, n)
    critical = np.asarray(z, np.float64)
    unknown = trials == 0
    size = np.where(unknown, 1.0, trials)
    share = successes / size
    square = critical**2
    centre = (share + square / (2 * size)) / (1 + square / size)
    radius = critical / (1 + square / size) * np.sqrt(share * (1 - share) / size + square / (4 * size * size))
    # The roots at k = 0 and k = n are exactly 0 and 1; rounding must not move them inside.
    lower = np.where(successes == 0, 0.0, centre - radius)
    upper = np.where(successes == trials, 1.0, centre + radius)
    return _one_sided(lower, upper, np.broadcast_to(unknown, lower.shape), "two")


@overload
def wilson(k: int, n: int, confidence: float, *, side: Side = "two") -> tuple[float, float]: ...
@overload
def wilson(
    k: ArrayLike, n: ArrayLike, confidence: float, *, side: Side = "two"
) -> tuple[FloatArray, FloatArray]: ...
def wilson(
    k: ArrayLike, n: ArrayLike, confidence: float, *, side: Side = "two"
) -> tuple[float, float] | tuple[FloatArray, FloatArray]:
    """Wilson score interval: coverage near nominal on average, short; may be below nominal for single p.

    Args:
        k: successes, scalar or array.
        n: trials, broadcasts against k.
        confidence: in (0, 1).
        side: "two", or the end that carries all of the error probability.

    Returns:
        Lower and upper ends in [0, 1], floats for scalar input; (0, 1) where n = 0.

    Raises:
        InputError: counts or confidence out of range.

    Source: Wilson (1927), JASA 22(158), 209-212; coverage: Brown, Cai and DasGupta (2001), Stat. Sci.
    16(2), section 3.1.1.
    """
    lower, upper = score_interval(k, n, z_score(confidence, side=side))
    lower, upper = _one_sided(lower, upper, np.zeros(lower.shape, np.bool_), side)
    return (float(lower), float(upper)) if lower.ndim == 0 else (lower, upper)


@overload
def clopper_pearson(k: int, n: int, confidence: float, *, side: Side = "two") -> tuple[float, float]: ...
@overload
def clopper_pearson(
    k: ArrayLike, n: ArrayLike, confidence: float, *, side: Side = "two"
) -> tuple[FloatArray, FloatArray]: ...
def clopper_pearson(
    k: ArrayLike, n: ArrayLike, confidence: float, *, side: Side = "two"
) -> tuple[float, float] | tuple[FloatArray, FloatArray]:
    """Clopper-Pearson interval: exact, its coverage is at least nominal for every p and n.

    Args:
        k: successes, scalar or array.
        n: trials, broadcasts against k.
        confidence: in (0, 1).
        side: "two", or the end that carries all of the error probability.

    Returns:
        Lower and upper ends in [0, 1], floats for scalar input; (0, 1) where n = 0.

    Raises:
        InputError: counts or confidence out of range.

    Source: Clopper and Pearson (1934), Biometrika 26(4), 404-413; beta quantile form: Brown, Cai and
    DasGupta (2001), Stat. Sci. 16(2), section 4.2.1.
    """
    _require_confidence(confidence)
    successes, trials = _counts(k, n)
    tail = (1.0 - confidence) / (2.0 if side == "two" else 1.0)
    none, every = successes == 0, successes == trials
    # The beta parameters of a bound that is 0 or 1 by definition are replaced by 1: the value is unused.
    lower = special.betaincinv(np.where(none, 1.0, successes), trials - successes + 1.0, tail)
    upper = special.betainccinv(successes + 1.0, np.where(every, 1.0, trials - successes), tail)
    lower, upper = _one_sided(np.where(none, 0.0, lower), np.where(every, 1.0, upper), trials == 0, side)
    return (float(lower), float(upper)) if lower.ndim == 0 else (lower, upper)
