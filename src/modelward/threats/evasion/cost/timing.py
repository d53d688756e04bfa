"""How much longer one input takes than another, told apart from noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelward.numeric.types import FloatArray


@final
@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of paired ratios.

    Attributes:
        value: median.
        lower: lower end of its interval, 0 where there are too few pairs.
        upper: upper end, infinite where there are too few pairs.
    """

    value: float
    lower: float
    upper: float


def ratio(pairs: Sequence[float], confidence: float) -> Ratio:
    """Median of ratios with the interval that holds whatever their distribution.

    The interval lies between two order statistics, by the sign test: Conover 1999, "Practical Nonparametric
    Statistics", 3rd edition, section 3.2.

    Args:
        pairs: ratios, at least one.
        confidence: coverage in (0, 1).
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(pairs, np.float64))
    n = len(ordered)
    rank = int(binom.ppf((1 - confidence) / 2, n, 0.5))
    inside = rank >= 1 and 2 * binom.cdf(rank - 1, n, 0.5) <= 1 - confidence
    low = float(ordered[rank - 1]) if inside else 0.0
    high = float(ordered[n - rank]) if inside else float("inf")
    return Ratio(float(np.median(ordered)), low, high)


def interleaved(
    first: Sequence[Callable[[], float]], second: Sequence[Callable[[], float]]
) -> tuple[FloatArray, FloatArray]:
    """Cost of pairs measured back to back, their order turned every time.

    What slows a machine for longer than a pair takes slows both of it; what one leaves behind in caches is as
    often for the other's good as for its own.

    Args:
        first: measures, in pairs with those of `second`.
        second: as many.

    Returns:
        Two (n,) float64 arrays.
    """
    times = np.zeros((2, len(first)))
    for i, pair in enumerate(zip(first, second, strict=True)):
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            times[which, i] = pair[which]()
    return times[0], times[1]
