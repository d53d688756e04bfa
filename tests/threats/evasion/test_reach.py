from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.check import Settings
from modelward.core.data import Box, Column, Dataset
from modelward.core.subject import Subject
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
