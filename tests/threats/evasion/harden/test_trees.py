"""Trees grown again: by the library and parameters that were given, and standing where the first ones fell."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.adapters.data import from_arrays
from modelward.adapters.data.options import DataOptions
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.budget import Budget, Meter
from modelward.core.check import Subjects
from modelward.errors import FileDamaged, ModelRaised, ShapeMismatch
from modelward.threats.evasion.harden.methods import Training
from modelward.threats.evasion.harden.trees.control import Ground, TreeControl, divided, trees_of
from modelward.threats.evasion.harden.trees.growers import deepest, grower
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")
ensembles = pytest.importorskip("sklearn.ensemble")


def clouds(n=300, seed=1):
    """Feature 0 tells the classes apart even after a change of 0.1, but for a tenth; 1 always, but barely."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    side = 2 * y - 1
    first = 0.5 + np.where(random.random(n) < 0.1, -1, 1) * side * random.uniform(0.2, 0.4, n)
    second = 0.5 + side * random.uniform(0.01, 0.03, n)
    return np.stack([first, second], 1).astype(np.float32), y


def apart(n):
    """One feature, 0.6 between the classes: no change of 0.1 turns a sample."""
    y = np.arange(n) % 2
    return (0.5 + (2 * y[:, None] - 1) * 0.3).astype(np.float32), y


def xgb(x, y, **more):
    return xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "eta": 0.5, "nthread": 1} | more,
        xgboost.DMatrix(x, label=y), 8,
    )  # fmt: skip


def lgb(x, y, **more):
    stated = {"objective": "binary", "verbose": -1, "num_leaves": 5, "learning_rate": 0.3, "num_threads": 1}
    return lightgbm.train(stated | more, lightgbm.Dataset(x, label=y), 8)


def forest(x, y):
    return ensembles.RandomForestClassifier(8, max_depth=4, random_state=0).fit(x, y)


MODELS = {"xgboost": xgb, "lightgbm": lgb, "forest": forest}


def subjects(model, data, *, train=True):
    stated = DataOptions(bounds=(0.0, 1.0))
    samples = from_arrays(*data, name="data", options=stated)
    opened = open_live(model, samples, samples if train else None, ModelOptions(gradients=False))
    return Subjects(
        model=opened.model, data=opened.data, train=opened.train, attachments=SimpleNamespace(put=None)
    )


def hardened(model, given, *, limit=None, seed=0, **choices):
    stated = {"method": "trees", "eps": 0.1, "rounds": 3, "held_out": 60} | choices
    control = TreeControl(Training(**stated), grower(model, given.model.subject.format))
    return control, control.apply(given, budget=Meter(limit or Budget()), seed=seed)


def ground(given, y, norm="linf", eps=0.1):
    return Ground(given.data, y, Threat(norm, eps))


@pytest.mark.parametrize("kind", MODELS)
def test_trees_that_all_fall_stand_after_growing_again(kind):
    x, y = clouds()
    model = MODELS[kind](x, y)
    given = subjects(model, (x, y))
    _, made = hardened(model, given)
    history = [item for item in made.evidence.outcome["history"] if "round" in item]
    assert history[0]["standing"] < 0.5
    best = history[made.evidence.outcome["chosen"]]
    assert best["standing"] == max(item["standing"] for item in history) > 0.75
    test = clouds(100, seed=2)
    fresh = ground(subjects(made.model, test), test[1])
    grove = fresh.assessed(made.model, trees_of(made.model, fresh.data), Meter())
    first = fresh.assessed(model, trees_of(model, fresh.data), Meter())
    assert first.standing < 50
    assert grove.standing > 75


@pytest.mark.parametrize("kind", MODELS)
def test_equal_seeds_grow_equal_trees(kind):
    x, y = clouds(120)
    model = MODELS[kind](x, y)
    one, two = (hardened(model, subjects(model, (x, y)), rounds=1)[1] for _ in range(2))
    assert one.evidence.outcome == two.evidence.outcome
    a, b = (trees_of(made.model, subjects(model, (x, y)).train) for made in (one, two))
    assert np.array_equal(a.threshold, b.threshold)
    assert np.array_equal(a.value, b.value)


def test_the_given_model_is_left_alone():
    x, y = clouds(120)
    model = xgb(x, y)
    before = bytes(model.save_raw("json"))
    hardened(model, subjects(model, (x, y)), rounds=1)
    assert bytes(model.save_raw("json")) == before


def test_what_is_added_lies_in_the_ball_and_the_witnesses_are_wrong():
    x, y = clouds(80)
    model = xgb(x, y)
    for norm in ("linf", "l2"):
        place = ground(subjects(model, (x, y)), y, norm)
        trees = trees_of(model, place.data)
        found, index = place.witnesses(trees, np.arange(80), Meter())
        copies, origin = place.copies(seed=0)
        around = reach(place.data, Threat(norm, 0.1))
        assert around.admits(found, index).all()
        assert around.admits(copies, origin).all()
        assert len(copies) == 6 * 80
        assert 0.08 < around.size(copies, origin).max() <= 0.1
        answered = model.predict(xgboost.DMatrix(found)) > 0.5
        assert len(set(index[answered != y[index]].tolist())) == len(set(index.tolist())) > 40


def test_samples_without_a_witness_add_nothing():
    x, y = apart(60)
    model = forest(x, y)
    place = ground(subjects(model, (x, y)), y, eps=1e-6)
    found, index = place.witnesses(trees_of(model, place.data), np.arange(60), Meter())
    assert found.shape == (0, 1)
    assert len(index) == 0


def test_held_out_samples_are_apart_and_of_every_class():
    y = np.array([0] * 90 + [1] * 9 + [2])
    fit, held = divided(y, 50, seed=3)
    assert sorted([*fit.tolist(), *held.tolist()]) == list(range(100))
    assert np.bincount(y[held], minlength=3).tolist() == [18, 1, 0]
    assert len(divided(y, 10, seed=3)[1]) <= 11
    assert divided(y, 50, seed=4)[1].tolist() != held.tolist()


def test_an_ended_budget_is_said_and_a_model_is_there_all_the_same():
    x, y = clouds(100)
    model = xgb(x, y)
    _, made = hardened(model, subjects(model, (x, y)), limit=Budget(passes=1))
    assert made.evidence.cut == "passes"
    assert made.evidence.outcome["chosen"] is None
    assert made.model.num_boosted_rounds() == 8


def test_when_no_round_is_better_it_says_so():
    x, y = apart(100)
    model = forest(x, y)
    _, made = hardened(model, subjects(model, (x, y)))
    assert made.evidence.outcome["chosen"] == 0
    assert "no round withstood more" in made.evidence.outcome["history"][-1]["event"]


def test_xgboost_keeps_its_parameters(tmp_path):
    x, y = clouds(100)
    model = xgb(x, y, eta=0.25, reg_lambda=3.0)
    grown = grower(model, "xgboost-booster").grow(x, y, seed=0)
    said = json.loads(grown.save_config())["learner"]["gradient_booster"]["tree_train_param"]
    assert float(said["eta"]) == 0.25
    assert float(said["lambda" if "lambda" in said else "reg_lambda"]) == 3.0
    assert grown.num_boosted_rounds() == 8
    for suffix in ("json", "ubj"):
        path = tmp_path / f"model.{suffix}"
        model.save_model(path)
        again = grower(path, f"xgboost-{suffix}")
        document = again.document(again.grow(x, y, seed=0))
        assert (document[:1] == b"{") is True
        read = xgboost.Booster()
        read.load_model(bytearray(document))
        assert read.num_boosted_rounds() == 8
        assert deepest(trees_of(read, from_arrays(x, y, name="d", options=DataOptions()))) <= 3


def test_lightgbm_keeps_its_parameters(tmp_path):
    x, y = clouds(100)
    model = lgb(x, y, lambda_l2=2.5)
    path = tmp_path / "model.txt"
    model.save_model(path)
    for given, format_ in ((model, "lightgbm-booster"), (path, "lightgbm")):
        again = grower(given, format_)
        grown = again.grow(x, y, seed=0)
        text = again.document(grown).decode()
        assert grown.num_trees() == 8
        assert "[lambda_l2: 2.5]" in text
        assert "[learning_rate: 0.3]" in text
        assert "[num_leaves: 5]" in text


def test_several_classes_and_names_of_classes():
    x, _ = clouds(120)
    y = np.array(["low", "mid", "top"])[np.arange(120) % 3]
    model = ensembles.ExtraTreesClassifier(5, random_state=0).fit(x, y)
    given = subjects(model, (x, y))
    control, made = hardened(model, given, rounds=1, eps=0.02)
    assert made.model.classes_.tolist() == ["low", "mid", "top"]
    suffix, document = control.file(made.model)
    assert suffix == "skops"
    assert document[:2] == b"PK"


@pytest.mark.parametrize(
    ("kind", "suffix"), [(xgboost.XGBClassifier, "json"), (lightgbm.LGBMClassifier, "txt")]
)
def test_boosters_with_the_interface_of_scikit_learn(kind, suffix):
    x, y = clouds(100)
    quiet = {"verbose": -1} if suffix == "txt" else {}
    model = kind(n_estimators=4, max_depth=2, n_jobs=1, **quiet).fit(x, y)
    again = grower(model, "estimator")
    grown = again.grow(x, y, seed=1)
    assert grown is not model
    assert grown.get_params()["max_depth"] == 2
    assert again.suffix == suffix
    assert again.document(grown)[:4] in {b'{"le', b"tree"}


def test_what_cannot_be_grown_again_is_refused(tmp_path):
    x, y = clouds(60)
    model = xgb(x, y)
    with pytest.raises(ShapeMismatch, match="skops file are not grown again"):
        grower(tmp_path / "model.skops", "skops")
    with pytest.raises(ShapeMismatch, match="no fit and get_params"):
        grower(object(), "callable")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(FileDamaged, match="xgboost cannot open"):
        grower(tmp_path / "bad.json", "xgboost-json")
    with pytest.raises(ModelRaised, match="xgboost cannot grow"):
        grower(model, "xgboost-booster").grow(x, y + 7, seed=0)


def test_why_subjects_are_declined():
    x, y = clouds(60)
    model = xgb(x, y)
    control = TreeControl(Training(method="trees", eps=0.1), grower(model, "xgboost-booster"))
    assert control.declines(subjects(model, (x, y))) is None
    assert "no training data" in control.declines(subjects(model, (x, y), train=False))
    assert "10 rows" in control.declines(subjects(model, (x[:10], y[:10])))
    assert "no sample of '1'" in control.declines(subjects(model, (x[::2], y[::2])))
    assert "no tree ensemble" in TreeControl(Training(eps=0.1), None).declines(subjects(model, (x, y)))
    with pytest.raises(ShapeMismatch, match="no training data"):
        control.apply(subjects(model, (x, y), train=False), budget=Meter(), seed=0)
