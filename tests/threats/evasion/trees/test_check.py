"""The check: what it proves, breaks and leaves open, and that neither ever contradicts the model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import InputError
from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.judge import judge_robust_accuracy
from modelward.threats.evasion.trees.check import TreesCheck


class Store:
    def __init__(self):
        self.kept = {}

    def put(self, arrays):
        name = f"sha256:{len(self.kept):064x}"
        self.kept[name] = dict(arrays)
        return name


def run(model, data, *, budget=None, **options):
    store = Store()
    subjects = Subjects(model=model, data=data, attachments=store)
    check = TreesCheck(Settings(**options))
    assert check.declines(subjects) is None
    meter = Meter(budget or Budget())
    evidence = list(check.run(subjects, budget=meter, seed=1))
    return SimpleNamespace(
        evidence=evidence, store=store, meter=meter, outcomes=[e.outcome for e in evidence]
    )


@pytest.fixture
def case(wood):
    rng = np.random.default_rng(11)
    forest = wood.random(rng, 3, trees=9, depth=4, grid=12)
    x = rng.random((20, 3))
    y = raw_scores(forest, x).argmax(axis=1)
    y[:3] = 1 - y[:3]  # wrong from the start
    return wood.model(forest), wood.table(x, y=y), forest


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_every_point_is_broken_or_proved_as_brute_force_says(wood, case, norm):
    model, data, forest = case
    radii = (1.0, 2.0) if norm == "l0" else (0.05, 0.15, 0.3)
    result = run(model, data, norms=(norm,), eps=radii)
    for eps, outcome in zip(radii, result.outcomes, strict=True):
        assert outcome["correct"] == list(range(3, 20))
        smallest = {row: wood.brute(forest, data, row, norm, int(data.y[row])) for row in outcome["correct"]}
        assert outcome["broken"] == [row for row, size in smallest.items() if size <= eps]
        assert outcome["certified"] == [row for row, size in smallest.items() if size > eps]
        assert outcome["undecided"] == []
        assert outcome["proofs"] == {"tree search": outcome["certified"]}
        assert outcome["attacked"] == outcome["correct"]
        lower, upper = outcome["distances"]["lower"], outcome["distances"]["upper"]
        for row, low, high in zip(outcome["distances"]["rows"], lower, upper, strict=True):
            assert low <= smallest[row] * (1 + 1e-8)
            assert high is None or high == pytest.approx(smallest[row], rel=1e-8)
        assert outcome["sizes"] == pytest.approx([smallest[row] for row in outcome["broken"]], rel=1e-8)
    assert any(0 < len(outcome["broken"]) < 17 for outcome in result.outcomes)
    judged = judge_robust_accuracy(result.evidence)
    for claim, outcome in zip(judged.claims, result.outcomes, strict=True):
        assert claim.bracket.lower == claim.bracket.upper == len(outcome["certified"]) / 20
    assert not [f for f in judged.findings if f.rule == "evasion.contradiction"]


def test_witnesses_are_wrong_and_within_reach(case):
    model, data, _ = case
    result = run(model, data, norms=("linf",), eps=(0.3,))
    kept = result.store.kept[result.evidence[0].attachments["witnesses"]]
    assert len(kept["x"]) == len(result.outcomes[0]["broken"]) > 0
    assert (model.scores(kept["x"]).argmax(axis=1) != kept["label"]).all()
    assert (np.abs(kept["x"] - kept["original"]) <= 0.3).all()


def test_quick_says_less_and_never_another_thing(case):
    model, data, _ = case
    quick = run(model, data, norms=("l2",), eps=(0.2,), preset="quick").outcomes[0]
    whole = run(model, data, norms=("l2",), eps=(0.2,), preset="thorough").outcomes[0]
    assert set(quick["broken"]) <= set(whole["broken"])
    assert set(quick["certified"]) <= set(whole["certified"])


def test_a_model_that_disagrees_with_its_trees_is_not_called_broken(wood, case):
    _, data, forest = case
    stubborn = wood.model(forest, answer=lambda raw: np.eye(2)[np.zeros(len(raw), int)])
    stubborn_data = wood.table(data.x, y=np.zeros(len(data.x)))
    outcome = run(stubborn, stubborn_data, norms=("linf",), eps=(0.3,)).outcomes[0]
    assert outcome["broken"] == []
    assert len(outcome["undecided"]) > 0
    assert not set(outcome["undecided"]) & set(outcome["certified"])


def test_budgets_are_kept_and_said(case):
    model, data, _ = case
    whole = run(model, data, norms=("linf",), eps=(0.3,))
    spent = whole.meter.cost
    assert spent.forward > 50
    cut = run(model, data, norms=("linf",), eps=(0.3,), budget=Budget(passes=40))
    assert cut.meter.cost.forward <= 40
    assert cut.evidence[0].cut == "passes"
    assert set(cut.outcomes[0]["certified"]) <= set(whole.outcomes[0]["certified"])
    few = run(model, data, norms=("linf",), eps=(0.3,), budget=Budget(queries=21))
    assert few.meter.cost.queries <= 21
    assert few.evidence[0].cut == "queries"


def test_norms_that_are_not_searched_are_declined(case):
    model, data, _ = case
    subjects = Subjects(model=model, data=data, attachments=Store())
    pictures = replace(data, box=replace(data.box, unit="box width"))
    settings = Settings(norms=("patch",), eps=(0.1,))
    assert "linf" in TreesCheck(settings).declines(replace(subjects, data=pictures))
    with pytest.raises(InputError, match="rows of a table"):
        TreesCheck(settings).declines(subjects)


def test_sets_on_real_columns_are_declined(wood):
    forest = wood.random(np.random.default_rng(0), 2, trees=6, coded=(0, 1))
    subjects = Subjects(model=wood.model(forest), data=wood.table([[0.1, 0.2]]), attachments=Store())
    assert "sets of codes" in TreesCheck(Settings()).declines(subjects)


def test_an_image_of_one_colour_and_whole_numbers(wood):
    rng = np.random.default_rng(3)
    forest = wood.random(rng, 4, trees=8, grid=2)
    forest.threshold[forest.feature >= 0] *= 255
    x = rng.integers(0, 256, (12, 4)).astype(np.uint8)
    y = raw_scores(forest, x.astype(float)).argmax(axis=1)
    data = wood.table(x, y=y, dtype=np.uint8)
    from dataclasses import replace

    edge = np.zeros(())
    data = replace(
        data,
        x=x.reshape(12, 1, 2, 2),
        columns=(),
        box=replace(data.box, lower=edge, upper=edge + 255, scale=edge + 255, unit="box width"),
    )
    outcome = run(wood.model(forest), data, norms=("linf",), eps=(0.1,)).outcomes[0]
    assert set(outcome["broken"]) | set(outcome["certified"]) == set(range(12))
    assert outcome["undecided"] == []
