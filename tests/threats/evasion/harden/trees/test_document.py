"""What is written, by XGBoost itself, by our reader and by the definition."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelward.adapters.trees import xgboost_trees
from modelward.artifact.verdict import inspect_bytes
from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.harden.trees.document import document
from modelward.threats.evasion.harden.trees.forest import forest
from modelward.threats.evasion.harden.trees.grid import grid

xgboost = pytest.importorskip("xgboost")


def grown(k, *, seed=0, trees=5, gaps=False):
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 3))
    y = np.clip(np.rint(x[:, 0] + random.normal(0, 0.3, 200) + (k - 1) / 2), 0, k - 1).astype(np.int64)
    y[:k] = np.arange(k)
    if gaps:
        x[random.random(x.shape) < 0.2] = np.nan
    return x, list(forest(grid(x, x - 0.1, x + 0.1), y, trees=trees, depth=4, seed=seed))


def mean_shares(trees, x):
    """Rows through trees by definition."""
    total = np.zeros((len(x), trees[0].shares.shape[1]))
    for tree in trees:
        for i, row in enumerate(x.astype(np.float32)):
            node = 0
            while tree.feature[node] >= 0:
                value = row[tree.feature[node]]
                below = tree.missing_left[node] if np.isnan(value) else value < tree.threshold[node]
                node = int(tree.left[node] if below else tree.right[node])
            total[i] += tree.shares[node]
    return total / len(trees)


def loaded(content):
    found = xgboost.Booster({"nthread": 1})
    found.load_model(bytearray(content))
    return found


def edges(trees, x):
    """The rows, and rows on thresholds and just below them."""
    on = np.concatenate([tree.threshold[tree.feature >= 0] for tree in trees]).astype(np.float32)
    values = np.concatenate([on, np.nextafter(on, np.float32(-np.inf))])
    return np.concatenate([x, np.repeat(values[:, None], 3, axis=1)])


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("gaps", [False, True])
def test_xgboost_answers_the_mean_shares(k, gaps):
    x, trees = grown(k, gaps=gaps)
    content, x = document(trees, ["a", "b", "c"], 3), edges(trees, x)
    shares = mean_shares(trees, x)
    answered = loaded(content).predict(xgboost.DMatrix(x.astype(np.float32), feature_names=["a", "b", "c"]))
    if k == 2:
        expected = 1 / (1 + np.exp(-4 * (shares[:, 1] - 0.5)))
        np.testing.assert_allclose(answered, expected, atol=1e-6)
    else:
        powers = np.exp(k * shares)
        np.testing.assert_allclose(answered, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
    raw = raw_scores(xgboost_trees.read(content), x)
    ordered = np.sort(shares, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-6
    assert clear.sum() > 100
    assert (raw.argmax(axis=1) == shares.argmax(axis=1))[clear].all()


@pytest.mark.parametrize("k", [2, 3])
def test_to_first_order_the_probabilities_are_the_shares(k):
    x, trees = grown(k, trees=20)
    shares = mean_shares(trees, x)
    answered = loaded(document(trees, [], 3)).predict(xgboost.DMatrix(x.astype(np.float32)))
    answered = np.stack([1 - answered, answered], 1) if k == 2 else answered
    undecided = np.argsort(np.abs(shares - 1 / k).max(axis=1))[:20]
    gap = np.abs(shares - 1 / k).max(axis=1)[undecided]
    assert (np.abs(answered - shares).max(axis=1)[undecided] <= 2 * gap**2).all()


@pytest.mark.parametrize("k", [2, 4])
def test_xgboost_writes_the_same_model_again(k):
    _, trees = grown(k)
    booster = loaded(document(trees, ["a", "b", "c"], 3))
    assert booster.num_boosted_rounds() == 5
    assert booster.num_features() == 3
    assert booster.feature_names == ["a", "b", "c"]
    one, two = (xgboost_trees.read(c) for c in (document(trees, [], 3), bytes(booster.save_raw("json"))))
    for name in ("feature", "threshold", "left", "right", "missing_left", "value", "base"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_scan_finds_it_inert():
    for k in (2, 3):
        report = inspect_bytes(document(grown(k)[1], [], 3), "model.json")
        assert (report.format, report.verdict) == ("xgboost-json", "inert")


@pytest.mark.parametrize(
    "names", [[], ["a", "b"], ["a", "b", "a"], ["a", "b<3", "c"], ["a[0]", "b", "c"], ["a", "]", "c"]]
)
def test_names_that_xgboost_would_refuse_are_left_out(names):
    x, trees = grown(2)
    content = document(trees, names, 3)
    assert json.loads(content)["learner"]["feature_names"] == []
    assert len(loaded(content).predict(xgboost.DMatrix(x.astype(np.float32)))) == len(x)


def test_a_tree_without_a_question_answers_the_shares_of_its_classes():
    x = np.zeros((10, 1))
    y = np.array([0] * 7 + [1] * 3)
    trees = list(forest(grid(x, x, x), y, trees=1, depth=3, seed=0))
    assert len(trees[0].feature) == 1
    answered = loaded(document(trees, [], 1)).predict(xgboost.DMatrix(np.zeros((2, 1), np.float32)))
    np.testing.assert_allclose(answered, 1 / (1 + np.exp(0.8)), atol=1e-6)
