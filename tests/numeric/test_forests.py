"""Evaluating trees: a stump by hand, and a recursive walk as a second route."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.trees import Forest
from modelward.numeric.forests import goes_left, leaves, raw_scores


def stump(**changes):
    parts = {
        "width": 1,
        "roots": np.array([0]),
        "feature": np.array([0, -1, -1]),
        "threshold": np.array([0.5, 0.0, 0.0]),
        "left": np.array([1, 1, 2]),
        "right": np.array([2, 1, 2]),
        "missing_left": np.array([True, False, False]),
        "subset": np.array([-1, -1, -1]),
        "codes": np.zeros((0, 0), np.bool_),
        "other_left": np.zeros(0, np.bool_),
        "value": np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 5.0]]),
        "base": np.array([10.0, 20.0]),
        "link": "identity",
        "slack": 0.0,
    }
    return Forest(**parts | changes)


def test_a_threshold_belongs_to_the_left():
    x = np.array([[0.5], [np.nextafter(0.5, 1)], [np.nan], [-np.inf], [np.inf]])
    assert leaves(stump(), x)[:, 0].tolist() == [1, 2, 1, 1, 2]
    assert raw_scores(stump(), x)[:2].tolist() == [[11.0, 22.0], [13.0, 25.0]]


@pytest.mark.parametrize("other", [False, True])
def test_codes_fractions_and_what_is_outside(other):
    forest = stump(
        subset=np.array([0, -1, -1]), codes=np.array([[True, False, True]]), other_left=np.array([other])
    )
    x = np.array([[0.0], [1.0], [2.0], [3.0], [-1.0], [0.5], [np.nan], [1e300]])
    expected = [True, False, True, other, other, other, True, other]
    assert goes_left(forest, np.zeros(8, np.int64), x[:, 0]).tolist() == expected
    assert (leaves(forest, x)[:, 0] == np.where(expected, 1, 2)).all()


@pytest.mark.parametrize("other", [False, True])
def test_where_every_set_is_empty_all_codes_go_the_other_way(other):
    forest = stump(
        subset=np.array([0, -1, -1]), codes=np.zeros((1, 0), np.bool_), other_left=np.array([other])
    )
    x = np.array([[0.0], [1.0], [-1.0], [np.inf], [np.nan]])
    expected = [other, other, other, other, True]
    assert goes_left(forest, np.zeros(5, np.int64), x[:, 0]).tolist() == expected
    assert (leaves(forest, x)[:, 0] == np.where(expected, 1, 2)).all()


def walked(forest, row):
    total = forest.base.copy()
    for root in forest.roots:
        node = root
        while forest.feature[node] >= 0:
            value = row[forest.feature[node]]
            left = forest.missing_left[node] if np.isnan(value) else value <= forest.threshold[node]
            node = forest.left[node] if left else forest.right[node]
        total += forest.value[node]
    return total


def test_a_recursive_walk_agrees_in_parts_too(monkeypatch):
    from modelward.numeric import forests

    rng = np.random.default_rng(0)
    m, trees = 15, 6  # complete trees of depth three in heap order
    inner = np.arange(m) < 7
    one = np.where(inner, 2 * np.arange(m) + 1, np.arange(m))
    shift = np.repeat(np.arange(trees) * m, m)
    forest = stump(
        width=3,
        roots=np.arange(trees) * m,
        feature=np.where(np.tile(inner, trees), rng.integers(0, 3, m * trees), -1),
        threshold=rng.random(m * trees),
        left=np.tile(one, trees) + shift,
        right=np.tile(np.where(inner, one + 1, one), trees) + shift,
        missing_left=rng.random(m * trees) < 0.5,
        subset=np.full(m * trees, -1),
        value=rng.normal(size=(m * trees, 2)),
    )
    x = rng.random((50, 3))
    x[::5, 1] = np.nan
    whole = raw_scores(forest, x)
    np.testing.assert_allclose(whole, [walked(forest, row) for row in x], atol=1e-12)
    monkeypatch.setattr(forests, "_CELLS", 20)
    np.testing.assert_array_equal(raw_scores(forest, x), whole)
    assert raw_scores(forest, x[:0]).shape == (0, 2)
