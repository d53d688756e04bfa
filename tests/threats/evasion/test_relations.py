"""Directions, costs and relations: what is admitted by definition, and that repairs stay admitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.data import Box, Column, Dataset, Relation
from modelward.core.subject import Subject
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.relations import linear, satisfied
from modelward.threats.evasion.threat import Threat

NAMES = ("total", "a", "b", "c")
SUM = Relation(text="total = a + b", terms=(("total", 1.0), ("a", -1.0), ("b", -1.0)), equal=True, bound=0.0)
ORDER = Relation(text="a <= c", terms=(("a", 1.0), ("c", -1.0)), equal=False, bound=0.0)


def rows(x, *, relations=(), **changes):
    x = np.asarray(x, np.float64)
    columns = tuple(
        replace(Column(name=name, kind="real", lower=0.0, upper=10.0), **changes.get(name, {}))
        for name in NAMES
    )
    edge = np.zeros(4)
    return Dataset(
        subject=Subject(kind="dataset", name="points", digest="sha256:p"),
        x=x,
        y=np.zeros(len(x), np.int64),
        labels=("0", "1"),
        rows=np.arange(len(x)),
        total=len(x),
        columns=columns,
        box=Box(lower=edge, upper=edge + 10, scale=edge + 1, unit="training range", source="stated"),
        relations=relations,
    )


FIRST = np.zeros(1, np.int64)


def admitted(data, x, norm="linf", eps=1.0):
    return bool(reach(data, Threat(norm, eps)).admits(np.array([x], np.float64), FIRST)[0])


def test_directions():
    data = rows([[3, 1, 2, 5]], a={"direction": "up"}, b={"direction": "down"})
    assert admitted(data, [3, 1.5, 1.5, 5])
    assert not admitted(data, [3, 0.5, 2, 5])
    assert not admitted(data, [3, 1, 2.5, 5])
    low, high = reach(data, Threat("linf", 1.0)).limits(FIRST)
    assert (low[0, 1], high[0, 1]) == (1.0, 2.0)
    assert (low[0, 2], high[0, 2]) == (1.0, 2.0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_costs_multiply_sizes(norm):
    data = rows([[3, 1, 2, 5]], a={"cost": 4.0})
    assert admitted(data, [3, 1.25, 2, 5], norm)
    assert not admitted(data, [3, 1.3, 2, 5], norm)
    assert admitted(data, [3, 1, 3, 5], norm)


def test_costs_do_not_change_counts():
    data = rows([[3, 1, 2, 5]], a={"cost": 4.0})
    assert admitted(data, [3, 9, 2, 5], "l0")
    assert not admitted(data, [3, 9, 3, 5], "l0")


def test_a_category_costs_what_is_said():
    data = rows([[3, 1, 2, 5]], c={"kind": "category", "cost": 2.0, "categories": tuple("abcdefghijk")})
    assert not admitted(data, [3, 1, 2, 6], eps=1.5)
    assert admitted(data, [3, 1, 2, 9], eps=2.0)
    assert not reach(data, Threat("linf", 1.5)).free[3]
    cheap = rows([[3, 1, 2, 5]], c={"kind": "category", "cost": 0.5, "categories": tuple("abcdefghijk")})
    assert admitted(cheap, [3, 1, 2, 6], eps=0.5)


def test_relations_hold_after_a_change():
    data = rows([[3, 1, 2, 5]], relations=(SUM, ORDER))
    assert admitted(data, [3.5, 1.5, 2, 5])
    assert not admitted(data, [3, 1.5, 2, 5])
    assert not admitted(data, [3.5, 1.0, 2, 5])
    assert admitted(data, [3, 1, 2, 4])
    near = rows([[3, 1, 2, 1.5]], relations=(ORDER,))
    assert not admitted(near, [3, 1.9, 2, 1.0])


def test_a_row_that_never_satisfied_them_may_stay_or_come_nearer():
    data = rows([[9, 1, 2, 5]], relations=(SUM,))
    assert admitted(data, [9, 1, 2, 4.5])
    assert admitted(data, [8.5, 1, 2, 5])
    assert not admitted(data, [9.5, 1, 2, 5])


def test_the_first_column_of_an_equality_follows():
    space = reach(rows([[3, 1, 2, 5]], relations=(SUM,)), Threat("linf", 1.0))
    x = space.project(np.array([[3, 1.4, 2.3, 5.0]]), FIRST)
    np.testing.assert_allclose(x, [[3.7, 1.4, 2.3, 5.0]])
    assert space.admits(x, FIRST)[0]
    far = space.project(np.array([[3, 2.0, 3.0, 5.5]]), FIRST)  # total would have to grow by 2
    np.testing.assert_allclose(far, [[3, 1, 2, 5.5]])


def test_a_relation_of_columns_that_the_model_does_not_take_is_left_out():
    data = rows([[3, 1, 2, 5]])
    other = Relation(text="z <= a", terms=(("z", 1.0), ("a", -1.0)), equal=False, bound=0.0)
    assert linear(replace(data, relations=(other, ORDER)))[0].features.tolist() == [1, 3]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), norm=st.sampled_from(["linf", "l2", "l1", "l0"]), eps=st.floats(0.5, 3))
def test_what_is_projected_is_admitted(seed, norm, eps):
    rng = np.random.default_rng(seed)
    part = rng.uniform(0, 4, (6, 3))
    x = np.column_stack([part[:, 0] + part[:, 1], part])
    data = rows(
        x,
        relations=(SUM, ORDER),
        a={"direction": "up", "cost": 1.5},
        b={"direction": "down"},
        c={"cost": 0.5},
    )
    space = reach(data, Threat(norm, np.ceil(eps) if norm == "l0" else eps))
    index = rng.integers(0, 6, 30)
    found = space.project(x[index] + rng.normal(0, 2, (30, 4)), index)
    assert space.admits(found, index).all()
    assert satisfied(space.relations, found, x[index]).all()
    assert (found[:, 1] >= x[index, 1]).all()
    assert (found[:, 2] <= x[index, 2]).all()
