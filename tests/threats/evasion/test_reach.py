from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.check import Settings
from modelward.core.data import Box, Column, Dataset
from modelward.core.subject import Subject
from modelward.errors import InputError
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import DEFAULT_EPS, Threat, scope, threats

ALL = np.arange(1)


def test_default_radii_follow_the_unit(room):
    images, tables = room.box(), room.box(unit="training range")
    assert threats(Settings(), images) == (Threat("linf", 8 / 255), Threat("l2", 0.5))
    assert threats(Settings(), tables) == (Threat("linf", 0.05), Threat("l2", 0.1))
    assert all(eps > 0 for eps in DEFAULT_EPS.values())


def test_stated_radii_ascend_once_per_norm(room):
    wanted = Settings(norms=("l2", "linf", "l2"), eps=(0.3, 0.1, 0.3))
    assert threats(wanted, room.box()) == tuple(
        Threat(norm, eps) for norm in ("l2", "linf") for eps in (0.1, 0.3)
    )


def test_scope_names_norm_radius_unit_and_box(room):
    assert scope(Threat("linf", 0.1), room.box(0, 2)) == {
        "norm": "linf",
        "eps": 0.1,
        "unit": "box width",
        "box": {"lower": 0.0, "upper": 2.0, "unit": "box width", "source": "stated"},
    }


def test_linf_limits_are_ball_within_box(room):
    points = room.data(np.array([[0.05, 0.5, 1.0]], np.float32), [0])
    low, high = reach(points, Threat("linf", 0.25)).limits(ALL)
    np.testing.assert_allclose(low, [[0.0, 0.25, 0.75]], atol=1e-7)
    np.testing.assert_allclose(high, [[0.3, 0.75, 1.0]], atol=1e-7)


@given(
    centre=st.floats(0, 1, width=32),
    eps=st.floats(1e-4, 0.5),
    wide=st.floats(1e-3, 255),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_limits_survive_rounding_to_the_points_type(centre, eps, wide, dtype):
    x = np.array([[centre * wide]], dtype)
    bounds = Box(
        lower=np.zeros(()),
        upper=np.full((), 2.0 * wide),
        scale=np.full((), wide),
        unit="box width",
        source="",
    )
    points = Dataset(
        subject=Subject(kind="dataset", name="p", digest="d"),
        x=x,
        y=None,
        labels=(),
        rows=ALL,
        total=1,
        box=bounds,
    )
    within = reach(points, Threat("linf", eps))
    for end in within.limits(ALL):
        assert (end == end.astype(dtype)).all()
        assert within.admits(end.astype(dtype), ALL).all()


def test_a_value_outside_the_box_may_only_return(room):
    points = room.data(np.array([[1.5], [-0.5]]), [0, 0])
    low, high = reach(points, Threat("linf", 0.2)).limits(np.arange(2))
    np.testing.assert_allclose(low, [[1.3], [-0.5]])
    np.testing.assert_allclose(high, [[1.5], [-0.3]])


def test_whole_numbers_immutable_and_constant_columns(room):
    x = [[5.0, 3.0, 7.0, 2.0], [0.0, 0.0, 0.0, 2.0], [20.0, 10.0, 10.0, 2.0]]
    points = room.table(x, [0, 0, 0], ["integer", "real", "real", "real"], immutable=(2,))
    within = reach(points, Threat("linf", 0.12))
    low, high = within.limits(ALL)
    # 0.12 of a range of 20 is 2.4: two whole steps. The constant column has range 0 but a unit of 1 here, and
    # its box is a point, so the box and not the sample holds it.
    np.testing.assert_allclose(low, [[3.0, 1.8, 7.0, 2.0]])
    np.testing.assert_allclose(high, [[7.0, 4.2, 7.0, 2.0]])
    assert within.free.tolist() == [True, True, False, True]
    assert not within.continuous


def test_a_constant_column_moves_where_the_box_lets_it(room):
    bounds = room.box([0.0], [1.0], unit="training range")
    points = room.table([[0.5], [0.5]], [0, 0], ["real"], bounds=bounds)
    low, high = reach(points, Threat("linf", 0.1)).limits(ALL)
    np.testing.assert_allclose([low[0, 0], high[0, 0]], [0.4, 0.6])


def test_a_missing_value_stays_missing(room):
    points = room.table([[np.nan, 1.0], [0.0, 0.0]], [0, 0], ["real", "real"])
    for norm in ("linf", "l2"):
        within = reach(points, Threat(norm, 0.5))
        x = within.project(np.array([[0.3, 0.8]]), ALL)
        assert np.isnan(x[0, 0])
        assert x[0, 1] == 0.8
        assert within.admits(x, ALL).all()
        assert not within.admits(np.array([[0.0, 1.0]]), ALL).any()


def test_a_candidate_that_is_not_finite_falls_back(room):
    points = room.data(np.array([[0.5, 0.5]]), [0])
    x = reach(points, Threat("linf", 0.1)).project(np.array([[np.nan, np.inf]]), ALL)
    assert x.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("eps", [0.9, 1.0])
def test_categories_and_onehot_groups_are_whole_units(room, eps):
    x = [[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [3.0, 0.0, 0.0, 1.0]]
    kinds = ["category", "boolean", "boolean", "boolean"]
    points = room.table(x, [0, 0, 0], kinds, onehot={1: "g", 2: "g", 3: "g"})
    within = reach(points, Threat("linf", eps))
    other = np.array([[0.0, 0.0, 0.0, 1.0]])
    assert within.admits(other, ALL).tolist() == [eps >= 1]
    assert (within.project(other, ALL) == (other if eps >= 1 else points.x[:1])).all()
    for wrong in ([2.0, 1.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0], [7.0, 1.0, 0.0, 0.0], [1.5, 1.0, 0.0, 0.0]):
        assert not within.admits(np.array([wrong]), ALL).any()


def test_a_group_with_an_immutable_member_is_frozen(room):
    x = [[1.0, 0.0], [0.0, 1.0]]
    points = room.table(x, [0, 0], ["boolean"] * 2, onehot={0: "g", 1: "g"}, immutable=(1,))
    assert not reach(points, Threat("linf", 1.0)).free.any()


def test_l2_counts_a_category_as_one_and_a_group_as_root_two(room):
    x = [[0.0, 1.0, 0.0], [3.0, 0.0, 1.0]]
    points = room.table(x, [0, 0], ["category", "boolean", "boolean"], onehot={1: "g", 2: "g"})
    within = reach(points, Threat("l2", 1.5))
    assert within.size(np.array([[2.0, 1.0, 0.0]]), ALL) == pytest.approx(1.0)
    assert within.size(np.array([[0.0, 0.0, 1.0]]), ALL) == pytest.approx(np.sqrt(2))
    assert not within.admits(np.array([[1.0, 0.0, 1.0]]), ALL).any()
    assert within.project(np.array([[1.0, 0.0, 1.0]]), ALL).tolist() == [[0.0, 1.0, 0.0]]


def test_images_of_whole_numbers_stay_whole(room):
    points = room.data(np.full((1, 1, 2, 2), 100, np.uint8), [0], bounds=room.box(0, 255))
    within = reach(points, Threat("linf", 8 / 255))
    x = within.project(np.full((1, 1, 2, 2), 120.7), ALL)
    assert x.dtype == np.uint8
    assert (x == 108).all()
    assert within.admits(x, ALL).all()


KINDS = ("real", "integer", "boolean", "category")


@st.composite
def tables(draw):
    count = draw(st.integers(1, 5))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(count)]
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    columns, values, low, high = [], [], [], []
    for i, kind in enumerate(kinds):
        top = {
            "real": 10 ** random.uniform(-2, 3),
            "integer": random.integers(1, 50),
            "boolean": 1,
            "category": 4,
        }
        upper = float(top[kind])
        value = random.uniform(0, upper) if kind == "real" else float(random.integers(0, int(upper) + 1))
        columns.append(
            Column(name=str(i), kind=kind, lower=0.0, upper=upper, immutable=bool(random.random() < 0.2))
        )
        values.append(value)
        low.append(0.0)
        high.append(upper)
    if draw(st.booleans()):
        columns += [Column(name=f"g{i}", kind="boolean", lower=0, upper=1, onehot="g") for i in range(3)]
        values += [0.0, 1.0, 0.0]
        low, high = low + [0.0] * 3, high + [1.0] * 3
    bounds = Box(
        lower=np.array(low),
        upper=np.array(high),
        scale=np.array(high),
        unit="training range",
        source="stated",
    )
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    points = Dataset(
        subject=Subject(kind="dataset", name="p", digest="d"),
        x=np.array([values]).astype(dtype),
        y=None,
        labels=(),
        rows=ALL,
        total=1,
        columns=tuple(columns),
        box=bounds,
    )
    eps = draw(st.floats(0.001, 3.0))
    return points, Threat(draw(st.sampled_from(["linf", "l2"])), eps), random


@settings(max_examples=300, deadline=None)
@given(tables())
def test_whatever_is_projected_is_admitted(case):
    points, threat, random = case
    within = reach(points, threat)
    wild = points.x.astype(np.float64) + random.normal(
        0, 1, points.x.shape
    ) * within.scale * 10 ** random.uniform(-3, 2)
    x = within.project(wild, ALL)
    assert x.dtype == points.x.dtype
    assert within.admits(x, ALL).all()
    again = within.project(x, ALL)
    assert within.admits(again, ALL).all()
    for i, column in enumerate(points.columns):
        value = float(x[0, i])
        if column.immutable:
            assert value == points.x[0, i]
        if column.kind != "real":
            assert value == round(value)
        assert min(column.lower, points.x[0, i]) <= value <= max(column.upper, points.x[0, i])
    group = [i for i, column in enumerate(points.columns) if column.onehot]
    assert not group or sorted(x[0, group]) == [0, 0, 1]
    numbers = np.array([column.kind != "category" for column in points.columns])
    change = (x.astype(np.float64) - points.x.astype(np.float64))[0] / within.scale
    change = np.where(numbers, change, x[0] != points.x[0])
    size = np.abs(change).max() if threat.norm == "linf" else np.sqrt(np.square(change).sum())
    assert size <= threat.eps * (1 + 1e-12)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_outer_limits_hold_every_admitted_value(case):
    points, threat, random = case
    within = reach(points, threat)
    low, high = within.outer_limits(ALL)
    for _ in range(10):
        x = within.project(points.x + random.normal(0, 1, points.x.shape) * within.scale, ALL)
        assert ((low <= x) & (x <= high)).all()


def test_the_point_itself_is_always_admitted(room):
    points = room.data(np.array([[0.2, 0.9], [1.4, -3.0]]), [0, 0])
    for norm in ("linf", "l2"):
        assert reach(points, Threat(norm, 1e-9)).admits(points.x, np.arange(2)).all()


def images(shape, seed=0, n=4):
    x = np.random.default_rng(seed).random((n, *shape)).astype(np.float32)
    box = Box(lower=np.zeros(()), upper=np.ones(()), scale=np.ones(()), unit="box width", source="stated")
    subject = Subject(kind="dataset", name="images", digest="d")
    return Dataset(subject=subject, x=x, y=None, labels=(), rows=np.arange(n), total=n, box=box)


@pytest.mark.parametrize("norm", ["l1", "l0", "patch"])
@given(
    seed=st.integers(0, 2**31), shape=st.sampled_from([(5, 4), (3, 4, 4), (6, 5, 3)]), size=st.floats(0.02, 1)
)
def test_what_is_projected_is_admitted(norm, seed, shape, size):
    points = images(shape, seed)
    eps = {"l1": 4 * size, "l0": float(round(1 + 7 * size)), "patch": size}[norm]
    ball = reach(points, Threat(norm, eps))
    index = np.arange(4)
    wanted = np.random.default_rng(seed + 1).normal(size=(4, *shape))
    x = ball.project(wanted, index)
    assert ball.admits(x, index).all()
    assert (x != points.x).any() or norm == "patch"


def test_l1_moves_to_the_nearest_point_of_the_ball():
    points = images((1, 3), n=1)
    points.x[:] = 0.5
    x = reach(points, Threat("l1", 0.5)).project(np.array([[[0.9, 0.8, 0.5]]]), ALL)
    np.testing.assert_allclose(x, [[[0.8, 0.7, 0.5]]], atol=1e-5)


def test_l0_counts_pixels_whatever_their_colours():
    points = images((3, 4, 4), n=1)
    ball = reach(points, Threat("l0", 2))
    x = points.x.copy()
    x[0, :, 1, 1] = 1 - x[0, :, 1, 1]
    x[0, 0, 2, 3] = 0
    assert ball.size(x, ALL).tolist() == [2]
    x[0, 1, 0, 0] = 0
    assert not ball.admits(x, ALL).any()
    kept = ball.project(x, ALL)
    assert ball.size(kept, ALL).tolist() == [2]
    assert (kept[0, :, 1, 1] == x[0, :, 1, 1]).all(), "the largest change stays"


def test_l0_counts_a_one_hot_group_once_and_a_category_once():
    points = Dataset(
        subject=Subject(kind="dataset", name="table", digest="d"),
        x=np.array([[1.0, 0.0, 2.0, 0.3]]),
        y=None,
        labels=(),
        rows=ALL,
        total=1,
        columns=(
            Column(name="a=x", kind="boolean", lower=0, upper=1, onehot="a"),
            Column(name="a=y", kind="boolean", lower=0, upper=1, onehot="a"),
            Column(name="b", kind="category", lower=0, upper=3, categories=("p", "q", "r", "s")),
            Column(name="c", kind="real", lower=0, upper=1),
        ),
        box=Box(
            lower=np.zeros(4), upper=np.array([1.0, 1, 3, 1]), scale=np.array([1.0, 1, 3, 1]),
            unit="data range", source="",
        ),
    )  # fmt: skip
    ball = reach(points, Threat("l0", 2))
    x = np.array([[0.0, 1.0, 0.0, 0.3]])
    assert ball.size(x, ALL).tolist() == [2]
    assert ball.admits(x, ALL).all()
    x[0, 3] = 0.4
    assert not ball.admits(x, ALL).any()
    with pytest.raises(InputError, match="patch needs images"):
        reach(points, Threat("patch", 0.1))


def test_a_patch_is_one_square():
    points = images((1, 10, 10), n=1)
    ball = reach(points, Threat("patch", 0.04))
    x = points.x.copy()
    x[0, 0, 3:5, 3:5] = 1 - x[0, 0, 3:5, 3:5]
    assert ball.admits(x, ALL).all()
    assert ball.size(x, ALL).tolist() == [0.04]
    x[0, 0, 9, 9] = 1 - x[0, 0, 9, 9]
    assert not ball.admits(x, ALL).any()
    kept = ball.project(x, ALL)
    assert (kept[0, 0, 3:5, 3:5] == x[0, 0, 3:5, 3:5]).all()
    assert kept[0, 0, 9, 9] == points.x[0, 0, 9, 9]
    assert (reach(points, Threat("patch", 0.009)).project(x, ALL) == points.x).all(), "not one pixel"


def test_a_patch_on_a_table_is_refused_before_anything_is_planned(room):
    with pytest.raises(InputError, match="rows of a table"):
        threats(Settings(norms=("patch",)), room.box(unit="data range"))
