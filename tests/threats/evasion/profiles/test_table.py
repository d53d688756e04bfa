"""Tables of ratings, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.profiles.table import (
    Scale,
    as_table,
    hits,
    item_deviations,
    item_means,
    scale_of,
    trained,
)

NAN = np.nan
SMALL = np.array([[1.0, 5.0, NAN], [3.0, NAN, NAN], [NAN, 4.0, NAN]])


def test_means_and_deviations_by_hand():
    means = item_means(SMALL)
    np.testing.assert_allclose(means, [2.0, 4.5, 13 / 4])  # nobody rated the last: the overall mean
    np.testing.assert_allclose(item_deviations(SMALL, means), [1.0, 0.5, 0.0])


def test_the_scale_is_what_the_ratings_show(as_ratings):
    assert scale_of(as_ratings(SMALL)) == Scale(1.0, 5.0, 1.0)
    assert scale_of(as_ratings(SMALL / 2)) == Scale(0.5, 2.5, 0.5)
    assert scale_of(as_ratings(np.where(np.isnan(SMALL), NAN, 1.0))) is None


@given(st.floats(-10, 10), st.sampled_from([0.5, 1.0, 3.0]))
def test_what_is_snapped_is_a_rating_and_near(value, step):
    scale = Scale(1.0, 5.0, step)
    (snapped,) = scale.snapped(np.array([value]))
    assert 1 <= snapped <= 5
    assert abs(snapped - np.clip(value, 1, 5)) <= step / 2 + 1e-12 or snapped == 5
    on_grid = np.isclose((snapped - 1) / step, round((snapped - 1) / step))
    assert on_grid or snapped == 5


def test_what_is_not_rated_stays_so():
    assert np.isnan(Scale(1, 5, 1).snapped(np.array([NAN]))).all()


def test_a_table_and_its_ratings_say_the_same(as_ratings):
    np.testing.assert_array_equal(as_table(as_ratings(SMALL)), SMALL)


def test_hits_by_hand():
    scores = np.array(
        [[9.0, 5.0, 4.0, 3.0], [9.0, 5.0, 4.0, 6.0], [1.0, 4.0, 4.0, 0.0], [0.0, 1.0, 9.0, 2.0]]
    )
    rated = np.full((4, 4), NAN)
    rated[0, 0] = 1  # what a user rated is not recommended again
    assert hits(scores, rated, 2, 1).tolist() == [False, False, False, True]
    assert hits(scores, rated, 2, 2).tolist() == [True, False, True, True]
    assert hits(scores, rated, 2, 4).all()


def test_a_tie_counts_against_the_target():
    scores, rated = np.full((1, 3), 2.0), np.full((1, 3), NAN)
    assert [bool(hits(scores, rated, 0, k)[0]) for k in (1, 2, 3)] == [False, False, True]


class Recorder:
    def fit(self, users, items, ratings):
        self.given = users, items, ratings

    def predict(self, users):
        return np.outer(users, [1.0, 10.0, 100.0])


def test_training_gives_every_rating_once():
    recorder = Recorder()
    scores = trained(recorder, SMALL, np.array([2, 0]))
    users, items, ratings = recorder.given
    assert users.dtype == items.dtype == np.int64
    assert dict(zip(zip(users.tolist(), items.tolist(), strict=True), ratings.tolist(), strict=True)) == {
        (0, 0): 1.0,
        (0, 1): 5.0,
        (1, 0): 3.0,
        (2, 1): 4.0,
    }
    np.testing.assert_array_equal(scores, [[2, 20, 200], [0, 0, 0]])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_hits_agree_with_sorting(k):
    rng = np.random.default_rng(k)
    scores = rng.normal(size=(50, 8))
    rated = np.where(rng.random((50, 8)) < 0.4, 3.0, NAN)
    rated[:, 5] = NAN
    for user, found in enumerate(hits(scores, rated, 5, k)):
        free = np.flatnonzero(np.isnan(rated[user]))
        best = free[np.argsort(-scores[user, free])][:k]
        assert found == (5 in best)
