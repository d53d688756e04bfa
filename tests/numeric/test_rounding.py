from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.errors import InputError
from modelward.numeric.rounding import gamma


@given(hnp.arrays(np.float32, (2, 60), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False)))
def test_gamma_bounds_a_float32_dot_product_in_exact_arithmetic(pair):
    x, y = pair
    x = np.where(np.abs(x) < 1e-6, np.float32(0), x)  # the bound holds absent underflow
    y = np.where(np.abs(y) < 1e-6, np.float32(0), y)
    exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True))
    size = sum(abs(Fraction(float(a)) * Fraction(float(b))) for a, b in zip(x, y, strict=True))
    error = abs(Fraction(float(np.dot(x, y))) - exact)
    assert error <= Fraction(gamma(60, np.float32)) * size


def test_gamma_is_above_the_exact_factor_and_grows():
    for n in (0, 1, 10, 1000, 10**6):
        for dtype, unit in ((np.float32, Fraction(1, 2**24)), (np.float64, Fraction(1, 2**53))):
            exact = n * unit / (1 - n * unit)
            assert exact <= Fraction(gamma(n, dtype)) <= exact * (1 + Fraction(1, 10**12))
    assert gamma(5) < gamma(6)


@pytest.mark.parametrize(("n", "dtype"), [(-1, np.float64), (2**24, np.float32)])
def test_gamma_refuses_what_has_no_bound(n, dtype):
    with pytest.raises(InputError, match="no rounding bound"):
        gamma(n, dtype)
