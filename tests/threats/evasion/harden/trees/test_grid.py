"""Samples among thresholds: as float32 compares, and as far as an attacker can move them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.threats.evasion.harden.trees.grid import grid

SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, radius=st.sampled_from([0.0, 1e-9, 0.1, 3.0]), coarse=st.booleans())
def test_a_position_counts_the_thresholds_that_a_value_reaches(seed, radius, coarse):
    random = np.random.default_rng(seed)
    x = random.normal(size=(30, 3))
    x = np.rint(x * 2) / 2 if coarse else x
    found = grid(x, x - radius, x + radius)
    for values, position in ((x, found.own), (x - radius, found.low), (x + radius, found.high)):
        for f, edges in enumerate(found.thresholds):
            below = values[:, f].astype(np.float32)[:, None] < edges.astype(np.float32)
            np.testing.assert_array_equal(below, position[:, f][:, None] <= np.arange(len(edges)))
    assert (found.low <= found.own).all()
    assert (found.own <= found.high).all()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, exponent=st.integers(-30, 30))
def test_thresholds_rise_are_float32_and_tell_neighbours_apart(seed, exponent):
    random = np.random.default_rng(seed)
    x = random.normal(size=(20, 1)) * 2.0**exponent
    x[1] = np.nextafter(np.float32(x[0, 0]), np.float32(np.inf))
    (edges,) = grid(x, x, x).thresholds
    assert (np.diff(edges) > 0).all()
    assert (edges == edges.astype(np.float32)).all()
    values = np.unique(x.astype(np.float32))
    assert len(edges) == len(values) - 1
    assert ((values[:-1] < edges) & (edges <= values[1:])).all()


def test_thresholds_lie_halfway_between_what_the_attacker_can_do():
    x = np.array([[1.0], [4.0]])
    (edges,) = grid(x, x - 0.5, x + 0.5).thresholds
    assert edges.tolist() == [1.0, 2.5, 4.0]


@pytest.mark.parametrize("n", [400, 5000])
def test_many_values_give_a_bounded_number_of_thresholds_spread_over_the_samples(n):
    x = np.random.default_rng(0).exponential(size=(n, 1))
    found = grid(x, x, x)
    assert 200 < found.width <= 255
    cells = np.bincount(found.own[:, 0], minlength=found.width + 1)
    assert cells.max() < 10 * n / found.width
    # One value that most samples have does not take the place of the others.
    x[: n * 3 // 4] = 0.0
    assert grid(x, x, x).width > 50


def test_features_without_two_values_have_no_thresholds():
    x = np.array([[1.0, np.nan], [1.0, np.nan], [1.0, np.nan]])
    found = grid(x, x, x)
    assert [len(t) for t in found.thresholds] == [0, 0]
    assert found.width == 0
    assert found.missing.tolist() == [[False, True]] * 3


def test_with_gaps_one_threshold_is_above_all_values():
    x = np.array([[1.0], [2.0], [np.nan]])
    (edges,) = grid(x, x - 0.25, x + 0.25).thresholds
    assert edges.tolist() == [1.0, 1.5, 2.0, float(np.nextafter(np.float32(2.25), np.float32(3)))]
    endless = np.array([[1.0], [np.finfo(np.float32).max], [np.nan]], np.float64)
    assert np.isfinite(grid(endless, endless, endless).thresholds[0]).all()


def test_values_beyond_float32_are_beyond_every_threshold():
    x = np.array([[1e300], [-1e300], [1.0], [2.0]])
    found = grid(x, x, x)
    assert found.thresholds[0].tolist() == [1.5]
    assert found.own[:, 0].tolist() == [1, 0, 0, 1]
