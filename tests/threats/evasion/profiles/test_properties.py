"""What holds for any table of ratings: statistics by loops, and what no change of names or scale can alter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.data import Ratings
from modelward.core.subject import Subject
from modelward.threats.evasion.profiles.table import (
    Scale,
    as_table,
    hits,
    item_deviations,
    item_means,
    scale_of,
    trained,
)
from modelward.threats.evasion.profiles.visible import deviation, similarity, told_apart


@st.composite
def tables(draw, fewest=2):
    users, items = draw(st.integers(fewest, 7)), draw(st.integers(1, 6))
    cells = st.none() | st.integers(1, 5)
    rows = draw(st.lists(st.lists(cells, min_size=items, max_size=items), min_size=users, max_size=users))
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows])


@given(tables())
def test_means_and_deviations_of_items_by_a_loop(table):
    means = item_means(table)
    spread = item_deviations(table, means)
    given_ = table[~np.isnan(table)]
    for item, column in enumerate(table.T):
        rated = column[~np.isnan(column)]
        wanted = rated.mean() if len(rated) else (given_.mean() if len(given_) else 0.0)
        assert means[item] == pytest.approx(wanted)
        assert spread[item] == pytest.approx(rated.std() if len(rated) else 0.0)


@given(tables())
def test_rating_deviation_by_a_loop(table):
    counts, means = (~np.isnan(table)).sum(axis=0), item_means(table)
    for user, found in enumerate(deviation(table)):
        rated = np.flatnonzero(~np.isnan(table[user]))
        terms = [abs(table[user, i] - means[i]) / counts[i] for i in rated]
        assert found == pytest.approx(np.mean(terms) if terms else 0.0)


@given(tables(), st.randoms(use_true_random=False), st.integers(1, 8))
def test_names_and_order_of_users_and_items_do_not_matter(table, random, neighbours):
    users, items = [*range(table.shape[0])], [*range(table.shape[1])]
    random.shuffle(users)
    random.shuffle(items)
    shuffled = table[np.ix_(users, items)]
    np.testing.assert_allclose(deviation(shuffled), deviation(table)[users], atol=1e-12)
    np.testing.assert_allclose(
        similarity(shuffled, neighbours), similarity(table, neighbours)[users], atol=1e-9
    )


@given(tables(), st.floats(0.5, 3), st.floats(-5, 5), st.integers(1, 8))
def test_another_scale_of_ratings_stretches_deviations_and_leaves_likeness(table, factor, shift, neighbours):
    other = table * factor + shift
    np.testing.assert_allclose(deviation(other), factor * deviation(table), atol=1e-9)
    np.testing.assert_allclose(similarity(other, neighbours), similarity(table, neighbours), atol=1e-6)


@given(tables(), st.integers(1, 9))
def test_likeness_is_a_mean_of_cosines(table, neighbours):
    found = similarity(table, neighbours)
    assert (np.abs(found) <= 1 + 1e-9).all()
    if neighbours > 1:  # more neighbours are less alike on average, since the nearest come first
        assert (found <= similarity(table, neighbours - 1) + 1e-9).all()


@given(tables(), st.integers(1, 6))
def test_areas_are_areas_and_trading_places_turns_them_round(table, first):
    real, invented = table[: min(first, len(table) - 1)], table[min(first, len(table) - 1) :]
    there, back = told_apart(real, invented), told_apart(invented, real)
    for name, area in there.items():
        assert 0 <= area <= 1
        assert back[name] == pytest.approx(1 - area, abs=1e-6)


@given(
    st.lists(st.floats(-20, 20) | st.just(np.nan), min_size=1, max_size=12),
    st.integers(-3, 3), st.integers(1, 9), st.sampled_from([0.5, 1.0, 0.25]),
)  # fmt: skip
def test_snapped_ratings_are_the_nearest_that_can_be_given(values, lower, width, step):
    scale, values = Scale(float(lower), float(lower + width), step), np.array(values)
    allowed = lower + step * np.arange(round(width / step) + 1)
    for value, found in zip(values, scale.snapped(values), strict=True):
        if np.isnan(value):
            assert np.isnan(found)
            continue
        assert found in allowed
        assert abs(found - value) <= np.abs(allowed - value).min() + 1e-9
    np.testing.assert_array_equal(scale.snapped(scale.snapped(values)), scale.snapped(values))


def test_a_scale_whose_steps_do_not_reach_its_end_is_capped():
    """Ratings 1, 4 and 6 were seen: steps of two from 1 would go on to 7."""
    scale = Scale(1.0, 6.0, 2.0)
    assert scale.snapped(np.array([-9.0, 3.9, 99.0])).tolist() == [1.0, 3.0, 5.0]
    assert Scale(1.0, 6.0, 3.0).snapped(np.array([5.9])).tolist() == [6.0]


def ratings(table):
    users, items = np.nonzero(~np.isnan(table))
    return Ratings(
        subject=Subject(kind="dataset", name="r", digest="sha256:0"), users=users, items=items,
        values=table[users, items], user_names=tuple(map(str, range(len(table)))),
        item_names=tuple(map(str, range(table.shape[1]))),
    )  # fmt: skip


@given(tables())
def test_a_table_is_its_ratings(table):
    np.testing.assert_array_equal(as_table(ratings(table)), table)
    seen = np.unique(table[~np.isnan(table)])
    scale = scale_of(ratings(table))
    if len(seen) < 2:
        assert scale is None
    else:
        assert (scale.lower, scale.upper) == (seen[0], seen[-1])
        assert scale.step == min(b - a for a, b in pairwise(seen))


@given(tables(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_hits_by_sorting(table, k, random):
    """The target is hit where fewer than k of the user's open items score as well as it does."""
    target = random.randrange(table.shape[1])
    table[:, target] = np.nan
    scores = np.array([[random.randrange(4) for _ in row] for row in table], float)
    for user, found in enumerate(hits(scores, table, target, k)):
        open_items = [i for i in np.flatnonzero(np.isnan(table[user])) if i != target]
        ahead = sum(scores[user, i] >= scores[user, target] for i in open_items)
        assert found == (ahead < k)


@given(tables())
def test_a_longer_list_never_loses_a_hit(table):
    table[:, 0] = np.nan
    scores = np.nan_to_num(table[:, ::-1], nan=2.5)
    found = np.array([hits(scores, table, 0, k) for k in range(1, 8)])
    assert (np.diff(found.astype(int), axis=0) >= 0).all()
    assert found[-1].all()


def test_training_hears_every_rating_once_and_nothing_else(table):
    class Ear:
        def fit(self, users, items, values):
            self.heard = sorted(zip(users.tolist(), items.tolist(), values.tolist(), strict=True))

        def predict(self, users):
            return np.zeros((len(users), table.shape[1]))

    ear = Ear()
    assert trained(ear, table, np.array([3, 1])).shape == (2, table.shape[1])
    rows, columns = np.nonzero(~np.isnan(table))
    assert ear.heard == sorted(
        zip(rows.tolist(), columns.tolist(), table[rows, columns].tolist(), strict=True)
    )
