"""Sound bounds in floating point: what rounding can have taken away is given back.

IEEE 754 round-to-nearest errs by at most half a unit in the last place per operation, so one step of
`nextafter` outward after each operation, or a gamma factor after a long sum, keeps a bound a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from modelward.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Real = TypeVar("_Real", np.float32, np.float64)


def outward(
    lower: NDArray[_Real], upper: NDArray[_Real], *, steps: int = 1
) -> tuple[NDArray[_Real], NDArray[_Real]]:
    """Move both ends outward by a number of representable values; dtype and shape are kept.

    One step covers one correctly rounded operation. Infinite ends stay.

    Raises:
        InputError: steps < 0.

    Source: IEEE Std 754-2019, section 4.3.1 (a result rounded to nearest lies between its neighbours);
    Rump (2010), Acta Numerica 19 (bounds by predecessor and successor).
    """
    if steps < 0:
        raise InputError(f"{steps} rounding steps: at least 0 are needed")
    low, high = lower, upper
    for _ in range(steps):
        low, high = np.nextafter(low, -np.inf, dtype=low.dtype), np.nextafter(high, np.inf, dtype=high.dtype)
    return low, high


def gamma(n: int, dtype: type[np.float32 | np.float64] = np.float64) -> float:
    """Relative error factor of n rounded operations.

    A dot product of length n, summed in any order, errs by at most this factor times |x|.|y|.

    Args:
        n: number of operations; the length of a dot product. n * u < 1.
        dtype: float32 or float64, the format that the sum was computed in.

    Returns:
        n u / (1 - n u), u the unit roundoff, rounded up. Holds absent underflow.

    Raises:
        InputError: n < 0, or so large that the factor is not defined.

    Source: Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd ed., Lemma 3.1 and eq. (3.5).
    """
    unit = float(np.finfo(dtype).eps) / 2
    if n < 0 or n * unit >= 1:
        raise InputError(f"no rounding bound for {n} operations in {np.dtype(dtype).name}")
    # Three rounded operations: product, difference, quotient.
    return float(n * unit / (1 - n * unit) * (1 + 4 * np.finfo(np.float64).eps))
