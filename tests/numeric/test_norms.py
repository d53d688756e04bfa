import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.errors import InputError
from modelward.numeric.norms import distance

any_points = hnp.arrays(float, (3, 5), elements=st.floats(-3, 3))


def test_known_distances():
    x, y = [[0.0, 0.0], [1.0, 2.0]], [[3.0, -4.0], [1.0, 2.0]]
    assert distance(x, y, "l2").tolist() == [5, 0]
    assert distance(x, y, "linf").tolist() == [4, 0]


@given(any_points, any_points)
def test_distances_against_numpy(x, y):
    for norm, order in (("l2", 2), ("linf", np.inf)):
        assert distance(x, y, norm) == pytest.approx(
            np.linalg.norm(x - y, order, axis=1), rel=1e-12, abs=1e-150
        )
        images = distance(x.reshape(3, 1, 5), y.reshape(3, 1, 5), norm)
        assert np.array_equal(images, distance(x, y, norm))


@given(any_points, any_points, any_points)
def test_distances_are_metrics_and_ordered(x, y, z):
    for norm in ("l2", "linf"):
        assert np.array_equal(distance(x, y, norm), distance(y, x, norm))
        assert np.all(distance(x, z, norm) <= distance(x, y, norm) + distance(y, z, norm) + 1e-12)
    assert np.all(distance(x, y, "linf") <= distance(x, y, "l2") * (1 + 1e-12))


def test_l2_neither_overflows_nor_underflows():
    assert distance([[3e300, 4e300]], [[0.0, 0.0]], "l2")[0] == pytest.approx(5e300)
    assert distance([[3e-300, 4e-300]], [[0.0, 0.0]], "l2")[0] == pytest.approx(5e-300)
    assert distance([[np.inf, 1.0]], [[0.0, 0.0]], "l2")[0] == np.inf


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_nan_is_not_a_small_distance(norm):
    assert np.isnan(distance([[np.nan, 1.0]], [[0.0, 1.0]], norm)[0])


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0]), ([[1.0]], [[1.0, 2.0]])])
def test_bad_input_is_refused(x, y):
    with pytest.raises(InputError):
        distance(x, y, "l2")
