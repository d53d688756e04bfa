"""What happens to a value between the model's input and a node that looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

import numpy as np

from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.numeric.types import FloatArray

    Step: TypeAlias = Callable[[FloatArray], FloatArray]

_SIGN = np.int64(-(2**63))
_MOST_FEATURES: Final = 1 << 21


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one column that nodes look at comes from.

    Attributes:
        feature: the model's input feature.
        step: float64 to float64: what is done to it, element by element; never decreasing when `codes` is 0.
        codes: 0, or how many whole numbers from 0 on the feature may be: then `step` is any function of them.
        other: what `step` makes of a code outside of them.
        missing: what nodes see of a missing value: NaN when it stays one.
    """

    feature: int
    step: Step
    codes: int = 0
    other: float = float("nan")
    missing: float = float("nan")


def as_float32(x: FloatArray) -> FloatArray:
    """Round to float32, as XGBoost and scikit-learn's trees do with their input."""
    with np.errstate(over="ignore"):
        return np.asarray(x.astype(np.float32).astype(np.float64))


def unchanged(x: FloatArray) -> FloatArray:
    """Take a value as it is."""
    return x


def plain(width: int, step: Step) -> tuple[Source, ...]:
    """Every feature for itself.

    Raises:
        OperatorUnsupported: there are more features than are searched.
    """
    if width > _MOST_FEATURES:
        raise OperatorUnsupported(
            f"{width} features are more than the {_MOST_FEATURES} that are searched",
            advice="Train on fewer features.",
        )
    return tuple(Source(feature=i, step=step) for i in range(width))


def pulled_back(step: Step, threshold: FloatArray) -> FloatArray:
    """The largest input whose image is at most the threshold, by bisection over all float64 numbers.

    ``step(x) <= t`` is then the same as ``x <= pulled_back(step, t)``, for every float64 x.

    Args:
        step: never decreasing.
        threshold: (n,) not NaN.

    Returns:
        (n,) float64; -inf where no finite number is low enough.

    Raises:
        OperatorUnsupported: the step decreases somewhere near a threshold.
    """
    low = np.full(len(threshold), _ordered(np.array([-np.inf]))[0])
    high = np.full(len(threshold), _ordered(np.array([np.inf]))[0])
    while True:
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        open_ = middle > low
        if not open_.any():
            break
        with np.errstate(all="ignore"):
            fits = step(_number(middle)) <= threshold
        low = np.where(open_ & fits, middle, low)
        high = np.where(open_ & ~fits, middle, high)
    found = _number(low)
    with np.errstate(all="ignore"):
        below, above = step(found), step(_number(high))
        ends = (np.full(len(threshold), sign * np.finfo(np.float64).max) for sign in (-1, 1))
        lowest, highest = (step(end) <= threshold for end in ends)
    rising = (~np.isfinite(found) | (below <= threshold)) & (highest | ~(above <= threshold))
    rising &= lowest | ~highest
    if not rising.all():
        raise OperatorUnsupported("a step before the trees is not increasing")
    return np.where(highest, np.inf, found)


def _ordered(x: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Integers in the order of the numbers."""
    bits = x.view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def _number(order: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> FloatArray:
    return np.where(order < 0, _SIGN - order, order).view(np.float64)
