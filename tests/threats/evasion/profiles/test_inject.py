"""Invented profiles: what they rate, and how."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.threats.evasion.profiles.inject import GOALS, STRATEGIES, Attack, invent, known_items
from modelward.threats.evasion.profiles.surrogate import Surrogate
from modelward.threats.evasion.profiles.table import Scale, item_means

SCALE = Scale(1.0, 5.0, 1.0)


def made(strategy, table, attack, seed=0):
    surrogate = Surrogate(table, np.random.default_rng(1))
    random = np.random.default_rng(seed)
    return invent(strategy, table, attack, scale=SCALE, surrogate=surrogate, random=random)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("filler", [1, 9, 29, 500])
def test_profiles_are_what_an_attacker_could_submit(table, goal, strategy, filler):
    profiles = made(strategy, table, Attack(goal, 7, 6, filler))
    assert profiles.shape == (6, 30)
    assert (profiles[:, 7] == (5 if goal == "push" else 1)).all()
    given = profiles[~np.isnan(profiles)]
    assert set(given) <= {1, 2, 3, 4, 5}
    assert ((~np.isnan(profiles)).sum(axis=1) == min(filler, 29) + 1).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_seed_fixes_them_and_another_changes_them(table, strategy):
    attack = Attack("push", 3, 5, 8)
    first, again, other = (made(strategy, table, attack, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_random_profiles_follow_the_overall_mean_and_average_ones_each_items():
    rng = np.random.default_rng(0)
    table = np.clip(np.rint(np.linspace(1.5, 4.5, 20) + rng.normal(0, 0.3, (60, 20))), 1, 5)
    table[0, 0] = np.nan
    attack = Attack("push", 0, 400, 19)
    means = item_means(table)[1:]
    random, average = (made(strategy, table, attack)[:, 1:] for strategy in ("random", "average"))
    assert np.nanmean(random, axis=0).std() < 0.2 * means.std()
    assert np.nanmean(random) == pytest.approx(means.mean(), abs=0.15)
    np.testing.assert_allclose(np.nanmean(average, axis=0), means, atol=0.15)


def test_a_bandwagon_rates_what_everybody_knows(table):
    attack = Attack("push", 29, 4, 20)
    selected = known_items(table, attack)
    counts = (~np.isnan(table)).sum(axis=0)
    assert len(selected) == 2
    assert counts[selected].min() >= np.sort(counts)[-2]
    assert (made("bandwagon", table, attack)[:, selected] == 5).all()


def test_a_nuke_rides_on_what_is_known_and_not_liked(table):
    attack = Attack("nuke", 29, 4, 20)
    selected = known_items(table, attack)
    counts, means = (~np.isnan(table)).sum(axis=0), item_means(table)
    assert (counts[selected] >= np.median(counts)).all()
    assert means[selected].max() < np.median(means)
    assert (made("bandwagon", table, attack)[:, selected] == 1).all()


@pytest.mark.parametrize("goal", GOALS)
def test_the_target_is_never_among_the_known_items(table, goal):
    for target in range(30):
        assert target not in known_items(table, Attack(goal, target, 1, 300))
