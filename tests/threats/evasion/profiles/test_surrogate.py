"""Gradients through the factorisation, against differences and against the trained thing itself."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.threats.evasion.profiles.inject import Attack, invent
from modelward.threats.evasion.profiles.surrogate import Surrogate
from modelward.threats.evasion.profiles.table import Scale

SCALE = Scale(1.0, 5.0, 1.0)


@pytest.fixture
def surrogate(table):
    return Surrogate(table, np.random.default_rng(0))


def test_factors_are_stationary(table, surrogate):
    """Each item's factor solves its own ridge regression: the gradient of the loss by it is zero."""
    rated = ~np.isnan(table)
    for item in range(30):
        voters = rated[:, item]
        rest = table[voters, item] - surrogate.mean - surrogate.users[voters] @ surrogate.items[item]
        np.testing.assert_allclose(surrogate.users[voters].T @ rest, surrogate.items[item], atol=1e-9)


def test_it_learns_the_two_kinds(table, surrogate):
    rated = ~np.isnan(table)
    answers = surrogate.mean + surrogate.users @ surrogate.items.T
    error = np.sqrt(np.mean((answers - table)[rated] ** 2))
    assert error < 0.6 * table[rated].std()


def random_profiles(surrogate, random, target=7, count=5):
    rated = random.random((count, 30)) < 0.4
    rated[:, target] = True
    return np.where(rated, random.uniform(-2, 2, (count, 30)), 0.0), rated


def test_the_gain_is_the_targets_score_over_those_who_want_it(table, surrogate):
    """By hand, one least-squares problem at a time."""
    centred, rated = random_profiles(surrogate, np.random.default_rng(3))
    invented = []
    for row, known in zip(centred, rated, strict=True):
        factors = surrogate.items[known]
        invented.append(np.linalg.solve(np.eye(8) + factors.T @ factors, factors.T @ row[known]))
    voters = ~np.isnan(table[:, 7])
    people = np.concatenate([surrogate.users[voters], invented])
    votes = np.concatenate([table[voters, 7] - surrogate.mean, centred[:, 7]])
    factor = np.linalg.solve(np.eye(8) + people.T @ people, people.T @ votes)
    expected = (surrogate.users[~voters] @ factor).sum()
    assert surrogate.gain(centred, rated, 7)[0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_differences(surrogate, seed):
    random = np.random.default_rng(seed)
    centred, rated = random_profiles(surrogate, random)
    _, slope = surrogate.gain(centred, rated, 7)
    assert (slope[~rated] == 0).all()
    for _ in range(6):
        step = 1e-5 * random.normal(size=centred.shape) * rated
        higher, lower = (surrogate.gain(centred + sign * step, rated, 7)[0] for sign in (1, -1))
        assert (slope * step).sum() == pytest.approx((higher - lower) / 2, rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("goal", ["push", "nuke"])
def test_ascent_moves_the_surrogate_more_than_chance_does(table, surrogate, goal):
    attack, sign = Attack(goal, 7, 4, 12), 1 if goal == "push" else -1
    gains = {}
    for strategy in ("optimised", "random", "average"):
        random = np.random.default_rng(5)
        profiles = invent(strategy, table, attack, scale=SCALE, surrogate=surrogate, random=random)
        rated = ~np.isnan(profiles)
        centred = np.where(rated, profiles - surrogate.mean, 0.0)
        gains[strategy] = sign * surrogate.gain(centred, rated, 7)[0]
    assert gains["optimised"] > max(gains["random"], gains["average"])


def test_profiles_keep_the_target_extreme_and_within_the_scale(surrogate):
    profiles = surrogate.profiles(Attack("nuke", 2, 3, 10), SCALE, np.random.default_rng(0))
    assert np.nanmin(profiles) >= 1 - 1e-9
    assert np.nanmax(profiles) <= 5 + 1e-9
    np.testing.assert_allclose(profiles[:, 2], 1.0)
