"""Statistics of profiles by hand, and who they tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.threats.evasion.profiles.visible import deviation, similarity, told_apart

NAN = np.nan


def test_deviation_by_hand():
    table = np.array([[1.0, 4.0], [3.0, NAN], [5.0, 4.0], [NAN, NAN]])
    # Means 3 and 4, rated by 3 and by 2.
    np.testing.assert_allclose(deviation(table), [(2 / 3 + 0) / 2, 0.0, (2 / 3 + 0) / 2, 0.0])


def test_similarity_by_hand():
    table = np.array([[1.0, 3.0, 5.0], [1.0, 3.0, 5.0], [5.0, 3.0, 1.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(similarity(table, 1), [1.0, 1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(similarity(table, 3), [0.0, 0.0, -2 / 3, 0.0], atol=1e-12)
    np.testing.assert_allclose(similarity(table, 99), similarity(table, 3))


def test_similarity_agrees_with_a_loop(table):
    centred = [np.where(np.isnan(row), 0, row - np.nanmean(row)) for row in table]
    for user, found in enumerate(similarity(table, 5)):
        cosines = [
            a @ centred[user] / (np.linalg.norm(a) * np.linalg.norm(centred[user]))
            for other, a in enumerate(centred)
            if other != user
        ]
        assert found == pytest.approx(np.mean(sorted(cosines)[-5:]))


def test_copies_of_one_profile_stand_out_by_their_likeness(table):
    copies = np.tile(table[3], (12, 1))
    copies[:, 0] = 5
    assert told_apart(table, copies)["degsim"] > 0.95


def test_profiles_against_all_opinion_stand_out_by_their_deviation(table):
    contrary = np.where(np.isnan(table[:5]), NAN, 6 - 2 * (np.nanmean(table, axis=0) > 3) * 2.5)
    assert told_apart(table, contrary)["rdma"] > 0.8


def test_more_of_the_same_people_are_not_told_apart():
    rng = np.random.default_rng(0)
    people = rng.integers(1, 6, (400, 25)).astype(float)
    people[rng.random(people.shape) < 0.5] = NAN
    for area in told_apart(people[:200], people[200:]).values():
        assert 0.4 < area < 0.6
