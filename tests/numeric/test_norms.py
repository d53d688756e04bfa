import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize

from modelward.errors import InputError
from modelward.numeric.norms import distance, project_l2, project_linf

unit = hnp.arrays(float, (3, 5), elements=st.floats(0, 1))
any_points = hnp.arrays(float, (3, 5), elements=st.floats(-3, 3))
radii = st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0, 10.0])
BOX = (0.0, 1.0)


def test_known_distances():
    x, y = [[0.0, 0.0], [1.0, 2.0]], [[3.0, -4.0], [1.0, 2.0]]
    assert distance(x, y, "l0").tolist() == [2, 0]
    assert distance(x, y, "l1").tolist() == [7, 0]
    assert distance(x, y, "l2").tolist() == [5, 0]
    assert distance(x, y, "linf").tolist() == [4, 0]
    assert distance(x, y, "l1", scale=[3.0, 2.0]).tolist() == [3, 0]


@given(any_points, any_points)
def test_distances_against_numpy(x, y):
    for norm, order in (("l1", 1), ("l2", 2), ("linf", np.inf), ("l0", 0)):
        assert distance(x, y, norm) == pytest.approx(
            np.linalg.norm(x - y, order, axis=1), rel=1e-12, abs=1e-150
        )
        images = distance(x.reshape(3, 1, 5), y.reshape(3, 1, 5), norm)
        assert np.array_equal(images, distance(x, y, norm))


@given(any_points, any_points, any_points)
def test_distances_are_metrics_and_ordered(x, y, z):
    for norm in ("l0", "l1", "l2", "linf"):
        assert np.array_equal(distance(x, y, norm), distance(y, x, norm))
        assert np.all(distance(x, z, norm) <= distance(x, y, norm) + distance(y, z, norm) + 1e-12)
    assert np.all(distance(x, y, "linf") <= distance(x, y, "l2") * (1 + 1e-12))
    assert np.all(distance(x, y, "l2") <= distance(x, y, "l1") * (1 + 1e-12))


def test_l2_neither_overflows_nor_underflows():
    assert distance([[3e300, 4e300]], [[0.0, 0.0]], "l2")[0] == pytest.approx(5e300)
    assert distance([[3e-300, 4e-300]], [[0.0, 0.0]], "l2")[0] == pytest.approx(5e-300)
    assert distance([[np.inf, 1.0]], [[0.0, 0.0]], "l2")[0] == np.inf


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_nan_is_not_a_small_distance(norm):
    assert np.isnan(distance([[np.nan, 1.0]], [[0.0, 1.0]], norm)[0])


@given(any_points, unit, radii)
@settings(deadline=None)
def test_projections_are_feasible_and_idempotent(y, x, eps):
    for project, norm in ((project_l2, "l2"), (project_linf, "linf")):
        z = project(y, x, eps, BOX)
        assert np.all((z >= 0) & (z <= 1))
        assert np.all(distance(z, x, norm) <= eps * (1 + 1e-9) + 1e-15)
        assert project(z, x, eps, BOX) == pytest.approx(z, abs=1e-9)
        inside = (distance(np.clip(y, 0, 1), x, norm) <= eps * (1 - 1e-9))[:, None]
        assert np.where(inside, z, 0) == pytest.approx(np.where(inside, np.clip(y, 0, 1), 0), abs=1e-12)


@given(any_points, unit, radii, unit)
@settings(deadline=None)
def test_projections_satisfy_the_variational_inequality(y, x, eps, other):
    # z is the projection exactly when (y - z) . (w - z) <= 0 for every feasible w.
    for project in (project_l2, project_linf):
        z = project(y, x, eps, BOX)
        for candidate in (x, project(other, x, eps, BOX)):
            assert np.all(((y - z) * (candidate - z)).sum(axis=1) <= 1e-8)


def test_l2_projection_against_a_general_solver():
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, y = rng.random(4), rng.normal(0.5, 1.5, 4)
        eps = rng.uniform(0.1, 0.8)
        ball = {"type": "ineq", "fun": lambda z, x=x, eps=eps: eps**2 - ((z - x) ** 2).sum()}
        solved = minimize(
            lambda z, y=y: ((z - y) ** 2).sum(),
            x,
            bounds=[(0, 1)] * 4,
            constraints=[ball],
            options={"ftol": 1e-14},
        )
        assert project_l2(y[None], x[None], eps, BOX)[0] == pytest.approx(solved.x, abs=1e-4)


def test_l2_projection_by_hand_beats_clip_after_scaling():
    # From (0.9, 0) towards (+10, +10) the first coordinate stops at the wall; the second takes what is left of 0.5.
    z = project_l2([[10.9, 10.0]], [[0.9, 0.0]], 0.5, BOX)
    assert z[0] == pytest.approx([1.0, np.sqrt(0.25 - 0.01)])


def test_boxes_per_feature_and_without_limit():
    box = (np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    z = project_l2([[5.0, 50.0]], [[1.0, 0.0]], 2.0, box)
    assert z[0] == pytest.approx([1.0, 2.0])
    assert project_l2([[5.0, 50.0]], [[1.0, 0.0]], 1e9, box)[0].tolist() == [1.0, 50.0]
    assert project_linf([[5.0, 50.0]], [[1.0, 0.0]], 2.0, box)[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: distance([1.0], [1.0], "l2"),
        lambda: distance([[1.0]], [[1.0, 2.0]], "l2"),
        lambda: distance([[1.0]], [[1.0]], "l2", scale=0.0),
        lambda: project_l2([[1.0]], [[1.0]], -1.0, BOX),
        lambda: project_linf([[1.0]], [[1.0]], float("nan"), BOX),
        lambda: project_l2([[1.0]], [[2.0]], 1.0, BOX),
        lambda: project_linf([[1.0]], [[2.0]], 1.0, BOX),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
