"""Robust trees in place of a model: before and after by exact search, what is declined, what is said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import check_entry, load_check
from modelward.core.check import Settings
from modelward.errors import ConfigInvalid, ShapeMismatch
from modelward.threats.evasion.harden.methods import Training
from modelward.threats.evasion.harden.trees.control import TreeControl, attacked
from modelward.threats.evasion.threat import Threat

xgboost = pytest.importorskip("xgboost")
ensembles = pytest.importorskip("sklearn.ensemble")


def boosted(x, y):
    stated = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.5, "nthread": 1}
    return xgboost.train(stated, xgboost.DMatrix(x, label=y), 8)


def forested(x, y):
    return ensembles.RandomForestClassifier(8, max_depth=4, random_state=0).fit(x, y)


def hardened(given, *, limit=None, seed=0, **choices):
    training = Training(**({"method": "trees", "eps": 0.1, "trees": 9, "depth": 3} | choices))
    return TreeControl(training).apply(given, budget=Meter(limit or Budget()), seed=seed)


def robust(made):
    found = xgboost.Booster({"nthread": 1})
    found.load_model(bytearray(made.model.document))
    return found


def predicted(booster, x):
    return booster.predict(xgboost.DMatrix(x, feature_names=booster.feature_names))


def searched(given, *, norm="linf", eps=0.1):
    """Shares that stay right, certified, and right without an attack."""
    settings = Settings(norms=(norm,), eps=(eps,), preset="standard")
    check = load_check(check_entry("evasion.trees"))(settings)
    (evidence,) = check.run(given, budget=Meter(), seed=0)
    found, n = evidence.outcome, len(given.data)
    assert not set(found["broken"]) & set(found["certified"])
    correct = len(found["correct"])
    return (correct - len(found["broken"])) / n, len(found["certified"]) / n, correct / n


@pytest.mark.parametrize("fit", [boosted, forested])
@pytest.mark.parametrize("trees", [1, 9])
def test_trees_that_all_fall_are_replaced_by_trees_that_stand(subjects, clouds, fit, trees):
    x, y = clouds()
    made = hardened(subjects(fit(x, y), (x, y)), trees=trees)
    test = clouds(100, seed=2)
    before = searched(subjects(fit(x, y), test))
    after = searched(subjects(robust(made), test))
    assert before[0] < 0.5
    assert before[2] == 1.0
    assert after[0] == after[1] > 0.8
    assert after[2] > 0.85
    assert made.evidence.outcome["trees"] == trees
    assert made.evidence.outcome["depth"] <= 3
    assert made.evidence.check == "evasion.robust-trees"


def test_the_given_model_is_left_alone_and_equal_seeds_give_equal_trees(subjects, clouds):
    x, y = clouds()
    model = boosted(x, y)
    before = bytes(model.save_raw("json"))
    given = subjects(model, (x, y))
    one, two, other = (hardened(given, seed=seed).model.document for seed in (3, 3, 4))
    assert bytes(model.save_raw("json")) == before
    assert one == two != other


def test_classes_keep_their_order_and_names(subjects):
    x = np.random.default_rng(0).uniform(size=(150, 2)).astype(np.float32)
    level = np.minimum((x[:, 0] * 3).astype(int), 2)
    y = np.array(["low", "mid", "top"])[level]
    model = forested(x, y)
    made = hardened(subjects(model, (x, y)), eps=0.01)
    assert made.model.classes == ("low", "mid", "top")
    answered = predicted(robust(made), x).argmax(axis=1)
    assert (answered == level).mean() > 0.9


def test_what_cannot_be_moved_may_decide(subjects, clouds):
    """Feature 1 is told apart by 0.02 only, but is immutable here; as a number that only grows it is not."""
    x, y = clouds()
    test = clouds(100, seed=2)
    model = forested(x, y)
    fixed = {"immutable": ("x1",)}
    made = hardened(subjects(model, (x, y), **fixed))
    assert searched(subjects(robust(made), test, **fixed))[1] == 1.0
    assert searched(subjects(robust(made), test))[0] < 0.6


def test_the_smaller_ball_of_l2_is_withstood_too(subjects, clouds):
    x, y = clouds()
    made = hardened(subjects(forested(x, y), (x, y)), norm="l2")
    test = subjects(robust(made), clouds(100, seed=2))
    assert searched(test, norm="l2")[1] > 0.8
    assert searched(test, norm="linf")[1] > 0.8


def test_what_the_attacker_can_do_is_what_the_threat_admits(subjects, clouds):
    x, y = clouds(40)
    x[0, 0] = np.nan
    given = subjects(forested(*clouds(40)), (x, y))
    around = attacked(given.train, Threat("linf", 0.1))
    edges = around.thresholds[0]
    for i in range(1, 40):
        low, high = max(0.0, x[i, 0] - 0.1), min(1.0, x[i, 0] + 0.1)
        assert around.low[i, 0] == pytest.approx(np.searchsorted(edges, low, "right"), abs=1)
        assert around.high[i, 0] == pytest.approx(np.searchsorted(edges, high, "right"), abs=1)
    assert around.missing[0].tolist() == [True, False]


def test_when_nothing_holds_it_says_so(subjects, clouds):
    x, y = clouds()
    made = hardened(subjects(boosted(x, y), (x, y)), eps=0.9)
    assert made.evidence.outcome["depth"] == 0
    assert "answer all inputs alike" in made.evidence.outcome["history"][0]["event"]
    answered = predicted(robust(made), x)
    assert len(np.unique(answered)) == 1


def test_an_ended_budget_is_said_and_a_model_is_there_all_the_same(subjects, clouds):
    x, y = clouds()
    ticks = iter(range(1000))
    given = subjects(boosted(x, y), (x, y))
    control = TreeControl(Training(method="trees", eps=0.1, trees=50, depth=2))
    meter = Meter(Budget(seconds=4.0), clock=lambda: float(next(ticks)))
    made = control.apply(given, budget=meter, seed=0)
    assert made.evidence.cut == "seconds"
    assert 1 <= made.evidence.outcome["trees"] < 50
    assert len(json.loads(made.model.document)["learner"]["gradient_booster"]["model"]["trees"]) < 50
    assert robust(made).num_features() == 2


def test_progress_is_told_tree_by_tree(subjects, clouds):
    x, y = clouds(60)
    seen = []
    control = TreeControl(Training(method="trees", eps=0.1, trees=4, depth=2))
    meter = Meter(Budget(), observe=lambda done, *_: seen.append(done))
    control.apply(subjects(boosted(x, y), (x, y)), budget=meter, seed=0)
    assert seen == sorted(seen)
    assert len(seen) >= 4


def test_why_subjects_are_declined(subjects, clouds):
    x, y = clouds(60)
    model = boosted(x, y)
    control = TreeControl(Training(method="trees", eps=0.1))
    assert control.declines(subjects(model, (x, y))) is None
    assert "no training data" in control.declines(subjects(model, (x, y), train=False))
    assert "10 rows" in control.declines(subjects(model, (x[:10], y[:10])))
    assert "no sample of '1'" in control.declines(subjects(model, (x[::2], y[::2])))

    def steep(rows):
        return np.stack([1 - rows[:, 0], rows[:, 0]], 1).astype(np.float64)

    assert "no tree ensemble" in control.declines(subjects(steep, (x, y)))
    with pytest.raises(ShapeMismatch, match="no training data"):
        control.apply(subjects(model, (x, y), train=False), budget=Meter(), seed=0)


@pytest.mark.parametrize("change", [{"trees": 0}, {"depth": 0}, {"trees": 10**6}, {"depth": 31}])
def test_numbers_out_of_range_are_refused(change):
    with pytest.raises(ConfigInvalid, match=f"{next(iter(change))} is"):
        TreeControl(Training(method="trees", eps=0.1, **change))
