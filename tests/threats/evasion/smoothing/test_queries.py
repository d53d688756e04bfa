"""What smoothing asks, when it abstains, what a cut leaves: with models whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.smoothing.certify import Sampling, certified
from modelward.threats.evasion.smoothing.check import SmoothingCheck
from modelward.threats.evasion.smoothing.judge import judge_smoothed_accuracy

ANSWERS = {"quick": 166, "standard": 432}


def run(model, points, *, budget=None, seed=3, **settings):
    check = SmoothingCheck(Settings(norms=("l2",), **settings))
    subjects = Subjects(model=model, data=points, attachments=None)
    return list(check.run(subjects, budget=Meter(budget or Budget()), seed=seed))


def half_space(room, kind="logits"):
    """Class 1 where the first feature is above a half."""
    if kind == "labels":
        return room.callable(lambda x: np.eye(2)[(x[:, 0] > 0.5).astype(int)], kind=kind)
    return room.callable(lambda x: np.column_stack([0.5 - x[:, 0], x[:, 0] - 0.5]), kind=kind)


def line(room, count=9):
    x = np.column_stack([np.linspace(0.1, 0.9, count), np.full(count, 0.5)]).astype(np.float32)
    return room.data(x, (x[:, 0] > 0.5).astype(int))


def test_a_model_that_only_gives_labels_gets_the_certificates_of_one_with_scores(room):
    """Only decisions are counted, so the scores cannot matter."""
    outcomes = [run(half_space(room, kind), line(room), eps=(0.1,)) for kind in ("logits", "labels")]
    assert outcomes[0][0].outcome == outcomes[1][0].outcome
    assert outcomes[0][0].outcome["certified"]


@pytest.mark.parametrize("preset", ANSWERS)
def test_each_point_costs_what_the_preset_says(room, preset):
    model = half_space(room)
    (item,) = run(model, line(room, 4), eps=(0.1,), preset=preset)
    assert model.asked == 4 * ANSWERS[preset]
    assert item.cost.queries == model.asked
    assert item.parameters["n0"] + item.parameters["n"] == ANSWERS[preset]


@pytest.mark.parametrize("queries", [0, 1, 431, 432, 433, 1300, 3887, 3888])
def test_a_cut_leaves_the_points_before_it_as_they_are(room, queries):
    points = line(room)
    (whole,) = run(half_space(room), points, eps=(0.1,))
    model = half_space(room)
    (cut,) = run(model, points, eps=(0.1,), budget=Budget(queries=queries))
    done = min(queries // 432, 9)
    assert model.asked == done * 432 <= queries
    assert (cut.cut is None) == (done == 9)
    assert cut.outcome["radii"] == whole.outcome["radii"][:done]
    for name in ("certified", "correct", "abstained", "sampled"):
        assert cut.outcome[name] == [row for row in whole.outcome[name] if row < done]
    claim = judge_smoothed_accuracy([cut]).claims[0]
    assert claim.bracket.lower == (len(cut.outcome["certified"]) / 9 if done else None)


def test_every_point_is_certified_abstained_on_or_neither_but_never_both(room):
    (item,) = run(half_space(room), line(room, 21), eps=(0.3,))
    lists = {name: set(item.outcome[name]) for name in ("certified", "correct", "abstained")}
    assert lists["certified"] <= lists["correct"]
    assert not lists["correct"] & lists["abstained"]
    for row, radius in zip(item.outcome["rows"], item.outcome["radii"], strict=True):
        assert (radius == 0) == (row in lists["abstained"])
        assert (row in lists["certified"]) == (row in lists["correct"] and radius >= 0.3)


def test_a_coin_is_abstained_on(room):
    """The sign of the noise alone decides: no class has a majority."""
    points = room.data(np.full((12, 2), 0.5, np.float32), [0] * 12)
    (item,) = run(half_space(room), points, eps=(0.2,))
    assert len(item.outcome["abstained"]) >= 11  # each is certified with probability 0.001 at most
    assert item.outcome["certified"] == []


def test_radii_grow_with_the_distance_to_the_border(room):
    x = np.column_stack([[0.55, 0.7, 0.95], [0.5] * 3]).astype(np.float32)
    (item,) = run(half_space(room), room.data(x, [1, 1, 1]), eps=(0.3,))
    assert item.outcome["radii"] == sorted(item.outcome["radii"])
    assert item.outcome["radii"][0] < item.outcome["radii"][2]


@given(
    k=st.integers(1, 999), n=st.sampled_from([1, 10, 400, 999]), alpha=st.sampled_from([0.05, 0.001]),
)  # fmt: skip
def test_the_radius_is_the_quantile_of_the_lower_bound(k, n, alpha):
    """Clopper and Pearson 1934: the lower bound is the alpha quantile of Beta(k, n - k + 1), in scipy."""
    k = min(k, n)
    counted = np.repeat([2, 0], [k, n - k])
    found = certified(np.full(4, 2), counted, Sampling(sigma=0.7, select=4, estimate=n, alpha=alpha))
    lower = stats.beta.ppf(alpha, k, n - k + 1)
    peer = stats.binomtest(k, n).proportion_ci(1 - 2 * alpha, method="exact").low
    assert peer == pytest.approx(lower, rel=1e-6)
    if lower > 0.5 + 1e-9:
        assert found.decision == 2
        assert found.radius == pytest.approx(0.7 * stats.norm.ppf(lower), rel=1e-6, abs=1e-8)
    elif lower < 0.5 - 1e-9:
        assert (found.decision, found.radius) == (-1, 0.0)


@given(k=st.integers(60, 99), missing=st.integers(0, 40))
def test_missing_answers_count_against_the_class(k, missing):
    """An answer that is not there cannot make a certificate larger than a wrong one would."""
    sampling = Sampling(sigma=1.0, select=3, estimate=100, alpha=0.01)
    missing = min(missing, 100 - k)
    none = np.repeat([1, -1, 0], [k, missing, 100 - k - missing])
    wrong = np.repeat([1, 0], [k, 100 - k])
    assert certified(np.ones(3, int), none, sampling) == certified(np.ones(3, int), wrong, sampling)


def test_more_agreement_never_shrinks_a_radius():
    sampling = Sampling(sigma=1.0, select=3, estimate=200, alpha=0.001)
    radii = [certified(np.ones(3, int), np.repeat([1, 0], [k, 200 - k]), sampling).radius for k in range(201)]
    assert radii == sorted(radii)
    assert radii[0] == radii[100] == 0
    assert radii[200] > 1.5
