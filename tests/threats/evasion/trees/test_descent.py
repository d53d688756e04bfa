"""Descents: always within reach, and exact about what one change does."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.data import Relation
from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat
from modelward.threats.evasion.trees.descent import descended
from modelward.threats.evasion.trees.search import Effort

RADII = {"linf": 0.4, "l2": 0.6, "l1": 0.8, "l0": 2.0}


def mixed(wood, rng):
    x = np.column_stack([rng.random((12, 2)), rng.integers(0, 4, 12), np.eye(3)[rng.integers(0, 3, 12)]])
    kinds = ["real", "real", "category", *["boolean"] * 3]
    return wood.table(x, kinds=kinds, onehot={3: "g", 4: "g", 5: "g"}), wood.random(
        rng, 6, trees=10, coded=(2,)
    )


@pytest.mark.parametrize("norm", list(RADII))
@pytest.mark.parametrize("kind", ["real", "mixed"])
def test_what_it_finds_is_wrong_and_admitted(wood, norm, kind):
    rng = np.random.default_rng(1)
    if kind == "mixed":
        data, forest = mixed(wood, rng)
    else:
        data, forest = wood.table(rng.random((12, 3))), wood.random(rng, 3, trees=10, grid=20)
    eps = RADII[norm] * (2 if kind == "mixed" else 1)
    found = missed = 0
    for row in range(12):
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        point = wood.point(forest, data, row, norm, target)
        x = descended(point, eps, wood.effort, starts=4)
        smallest = wood.brute(forest, data, row, norm, target)
        if x is None:
            missed += smallest <= eps
            continue
        found += 1
        assert point.wrong(x[None])[0]
        assert reach(data, Threat(norm, eps)).admits(x[None], np.array([row]))[0]
        assert smallest <= eps
    assert found > 0
    assert missed <= found


def test_one_step_is_the_best_single_change(wood):
    """Under L0 with one change allowed, a single step must find whatever exists."""
    rng = np.random.default_rng(2)
    forest = wood.random(rng, 4, trees=9, grid=9)
    data = wood.table(rng.random((20, 4)))
    broken = 0
    for row in range(20):
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        point = wood.point(forest, data, row, "l0", target)
        exists = wood.brute(forest, data, row, "l0", target) <= 1
        assert (descended(point, 1.0, wood.effort, starts=1) is not None) == exists
        broken += exists
    assert 0 < broken < 20


def test_every_step_is_booked_and_a_refusal_ends_it(wood):
    rng = np.random.default_rng(3)
    forest, data = wood.random(rng, 3, trees=10), wood.table(rng.random((5, 3)))
    booked = []

    def take(samples):
        booked.append(samples)
        return len(booked) <= 2

    for row in range(5):
        booked.clear()
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        point = wood.point(forest, data, row, "linf", target)
        descended(point, 0.01, Effort(states=0, take=take), starts=1)
        assert 1 <= len(booked) <= 3


def test_witnesses_satisfy_relations(wood):
    from dataclasses import replace

    from modelward.core.budget import Meter
    from modelward.core.check import Settings, Subjects
    from modelward.threats.evasion.trees.check import TreesCheck

    class Store:
        kept = None

        def put(self, arrays):
            self.kept = arrays
            return "sha256:" + "0" * 64

    rng = np.random.default_rng(6)
    part = rng.random((30, 2)) / 2
    x = np.column_stack([part.sum(axis=1), part])
    forest = wood.random(rng, 3, trees=9, depth=4, grid=15)
    law = Relation(
        text="c0 = c1 + c2", terms=(("c0", 1.0), ("c1", -1.0), ("c2", -1.0)), equal=True, bound=0.0
    )
    data = replace(wood.table(x, y=raw_scores(forest, x).argmax(axis=1)), relations=(law,))
    store = Store()
    check = TreesCheck(Settings(norms=("linf",), eps=(0.2,)))
    (evidence,) = check.run(
        Subjects(model=wood.model(forest), data=data, attachments=store), budget=Meter(), seed=1
    )
    outcome = evidence.outcome
    assert len(outcome["broken"]) > 0
    found = store.kept["x"]
    np.testing.assert_allclose(found[:, 0], found[:, 1] + found[:, 2], rtol=1e-5)
    assert not set(outcome["broken"]) & set(outcome["certified"])
    free = check.run(
        Subjects(model=wood.model(forest), data=replace(data, relations=()), attachments=Store()),
        budget=Meter(),
        seed=1,
    )
    assert set(outcome["certified"]) == set(next(free).outcome["certified"])
