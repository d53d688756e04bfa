"""The search against brute force over every cell, in each norm and under every kind of constraint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat
from modelward.threats.evasion.trees.distance import Distance, measured, polished, smallest

NORMS = ["linf", "l2", "l1", "l0"]
LIMIT = {"linf": 2.0, "l2": 4.0, "l1": 8.0, "l0": 9.0}


def compare(wood, forest, data, norm):
    """Distances and decisions of every row against brute force; returns how many rows can be broken."""
    broken = 0
    for row in range(len(data.x)):
        target = int(raw_scores(forest, data.x[row : row + 1].astype(np.float64)).argmax())
        expected = wood.brute(forest, data, row, norm, target)
        point = wood.point(forest, data, row, norm, target)
        found = smallest(point, wood.effort, Distance(0.0, np.inf), LIMIT[norm])
        assert np.isinf(found.upper) == np.isinf(expected)
        if np.isinf(expected):
            assert found.lower >= LIMIT[norm]
            continue
        broken += 1
        assert found.upper == pytest.approx(expected, rel=1e-7)
        assert found.exact
        wide = reach(data, Threat(norm, found.upper * (1 + 1e-12)))
        assert wide.admits(found.x[None].astype(data.x.dtype), np.array([row]))[0]
        assert point.wrong(found.x[None])[0]
        below = expected - 1 if norm == "l0" else expected * (1 - 1e-6)
        assert point.decide(below, wood.effort).verdict == "none"
        assert point.decide(expected * (1 + 1e-6), wood.effort).verdict == "found"
    return broken


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(6))
def test_real_numbers(wood, norm, seed):
    rng = np.random.default_rng(seed)
    forest = wood.random(rng, trees=6, k=2 + seed % 2)
    assert compare(wood, forest, wood.table(rng.random((6, 3))), norm) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_scales_differ_and_a_column_is_fixed(wood, norm):
    rng = np.random.default_rng(3)
    forest = wood.random(rng, trees=8)
    data = wood.table(rng.random((8, 3)), scale=[0.2, 1.0, 7.0], immutable=(1,))
    assert compare(wood, forest, data, norm) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_float32_points(wood, norm):
    rng = np.random.default_rng(5)
    data = wood.table(rng.random((6, 3)), dtype=np.float32)
    assert compare(wood, wood.random(rng, trees=6), data, norm) > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_categories_whole_numbers_and_missing_values(wood, norm, seed):
    rng = np.random.default_rng(seed)
    kinds = ["real", "category", "integer", "real"]
    x = np.column_stack([rng.random(8), rng.integers(0, 4, 8), rng.integers(0, 4, 8), rng.random(8)]).astype(
        float
    )
    x[::3, 3] = np.nan
    x[1, 1] = np.nan
    forest = wood.random(rng, 4, trees=7, coded=(1,), grid=2)
    forest.threshold[forest.feature == 2] *= 3
    assert compare(wood, forest, wood.table(x, kinds=kinds), norm) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_whole_numbers_split_by_sets(wood, norm):
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.random(8), rng.integers(0, 4, 8)]).astype(float)
    forest = wood.random(rng, 2, trees=7, coded=(1,))
    assert compare(wood, forest, wood.table(x, kinds=["real", "integer"]), norm) > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_one_hot_groups_move_together(wood, norm, seed):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.random(8), np.eye(3)[rng.integers(0, 3, 8)]])
    kinds = ["real", "boolean", "boolean", "boolean"]
    data = wood.table(x, kinds=kinds, onehot={1: "g", 2: "g", 3: "g"})
    assert compare(wood, wood.random(rng, 4, trees=7), data, norm) > 0


def test_a_point_outside_its_cells_is_open(wood):
    rng = np.random.default_rng(0)
    x = np.array([[0.5, 0.0, 0.0, 0.0]])  # no member of the group is chosen
    data = wood.table(x, kinds=["real", *["boolean"] * 3], onehot={1: "g", 2: "g", 3: "g"})
    forest = wood.random(rng, 4, trees=7)
    assert wood.point(forest, data, 0, "linf", 0).decide(2.0, wood.effort).verdict == "open"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), norm=st.sampled_from(NORMS), trees=st.integers(1, 6), k=st.integers(2, 4))
def test_any_forest(wood, seed, norm, trees, k):
    rng = np.random.default_rng(seed)
    forest = wood.random(rng, 3, trees=trees, k=k, coded=(2,), depth=2)
    x = np.column_stack([rng.random((2, 2)), rng.integers(0, 4, 2)])
    compare(wood, forest, wood.table(x, kinds=["real", "real", "category"], k=k), norm)


@pytest.mark.parametrize("rival_first", [False, True])
def test_exact_ties_go_to_the_first_column(wood, rival_first):
    grower = wood.grower(1, 2)
    grower.roots = [0]
    grower.add(0, 0.5)
    one, two = ([1.0, 0.0], [1.0, 1.0]) if not rival_first else ([0.0, 1.0], [1.0, 1.0])
    grower.add(value=one)
    grower.add(value=two)
    forest = grower.forest({0: (1, 2)}, slack=0.0)
    data = wood.table([[0.2]])
    target = int(rival_first)
    verdict = wood.point(forest, data, 0, "linf", target).decide(1.0, wood.effort).verdict
    assert verdict == ("found" if rival_first else "none")


def test_margins_within_the_slack_are_not_proved(wood):
    grower = wood.grower(1, 2)
    grower.roots = [0]
    grower.add(0, 0.5)
    grower.add(value=[1.0, 0.0])
    grower.add(value=[1e-6, 0.0])
    data = wood.table([[0.2]])
    sure = wood.point(grower.forest({0: (1, 2)}, slack=1e-7), data, 0, "linf", 0)
    vague = wood.point(grower.forest({0: (1, 2)}, slack=1e-5), data, 0, "linf", 0)
    assert sure.decide(1.0, wood.effort).verdict == "none"
    answer = vague.decide(1.0, wood.effort)
    assert answer.verdict == "found"
    assert not vague.wrong(answer.x[None])[0]


def test_effort_and_budget_end_a_search(wood):
    from modelward.threats.evasion.trees.search import Effort

    rng = np.random.default_rng(1)
    forest = wood.random(rng, 6, trees=60, depth=4, grid=40)
    data = wood.table(rng.random((10, 6)))
    verdicts = {"few": set(), "none": set()}
    for row in range(10):
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        point = wood.point(forest, data, row, "l2", target)
        verdicts["few"].add(point.decide(0.3, Effort(states=0, take=lambda _: True)).verdict)
        verdicts["none"].add(point.decide(0.3, Effort(states=10**6, take=lambda _: False)).verdict)
    assert "open" in verdicts["few"]
    assert "open" in verdicts["none"]
    assert "found" not in verdicts["none"]


def test_polishing_never_grows_a_change(wood):
    rng = np.random.default_rng(7)
    forest = wood.random(rng, 3, trees=5, depth=4)
    data = wood.table(rng.random((10, 3)))
    tried = shrunk = 0
    for row in range(10):
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        for norm in NORMS:
            point = wood.point(forest, data, row, norm, target)
            for x in rng.random((20, 3)):
                if point.wrong(x[None])[0]:
                    better = polished(point, x)
                    assert point.wrong(better[None])[0]
                    assert measured(point, better) <= measured(point, x)
                    tried += 1
                    shrunk += measured(point, better) < measured(point, x)
    assert tried > 5
    assert shrunk > tried / 2
