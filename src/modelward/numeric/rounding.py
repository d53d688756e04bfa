"""What rounding in floating point can have done to a result."""

from __future__ import annotations

import numpy as np

from modelward.errors import InputError


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
