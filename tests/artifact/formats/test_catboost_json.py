"""CatBoost's JSON: real models are inert, and each index that native code would follow out of it is found."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import catboost_json
from modelward.artifact.reading import Reading
from modelward.artifact.sniff import sniff

FLOAT = {"split_type": "FloatFeature", "float_feature_index": 1, "border": 0.5, "split_index": 0}
CODED = {"split_type": "OneHotFeature", "cat_feature_index": 0, "value": 7}
TREE = {"leaf_values": [0.5, -1.0, 2.0, 0.0], "leaf_weights": [1, 1, 1, 1], "splits": [FLOAT, CODED]}
LEAF = {"value": 0.5, "weight": 1}
NESTED = {"split": FLOAT, "left": LEAF, "right": {"split": CODED, "left": LEAF, "right": LEAF}}


def document(**changes):
    features = {
        "float_features": [
            {"feature_id": name, "feature_index": i, "flat_feature_index": i, "borders": [0.5]}
            for i, name in enumerate("ab")
        ],
        "categorical_features": [{"feature_id": "c", "feature_index": 0, "flat_feature_index": 2}],
    }
    whole = {"features_info": features, "oblivious_trees": [TREE], "scale_and_bias": [1, [0]]}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def as_json(**changes):
    return json.dumps(document(**changes)).encode()


def test_a_model_is_inert_and_described(verdict):
    data = as_json()
    assert sniff(data).format == "catboost-json"
    assert verdict(data) == ("inert", set())
    into = Reading()
    catboost_json.read(data, into)
    assert into.facts == {"framework": "catboost", "inputs": ["a", "b"], "tensors": 1, "parameters": 4}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("first", ["features_info", "oblivious_trees", "scale_and_bias", "model_info"])
def test_keys_come_in_any_order(first, indent):
    whole = document(model_info={"params": {}})
    order = [first, *(name for name in whole if name != first)]
    text = json.dumps({name: whole[name] for name in order}, indent=indent)
    assert sniff(text.encode()).format == "catboost-json"


@pytest.mark.parametrize("gone", ["features_info", "scale_and_bias"])
def test_json_without_its_keys_is_json(gone):
    assert sniff(as_json(**{gone: None})).format == "json"
    assert sniff(b'[{"features_info": 1, "scale_and_bias": 2}]').format == "json"


def test_real_models(tmp_path, verdict):
    library = pytest.importorskip("catboost", reason="catboost is not installed")
    np = pytest.importorskip("numpy")
    X = np.random.default_rng(0).random((60, 3))
    y = (X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0.7)
    options = {"iterations": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    for more in ({}, {"grow_policy": "Depthwise"}, {"grow_policy": "Lossguide"}, {"nan_mode": "Max"}):
        fitted = library.CatBoostClassifier(**options, **more).fit(X, y)
        fitted.save_model(str(tmp_path / "m.json"), format="json")
        assert verdict((tmp_path / "m.json").read_bytes()) == ("inert", set()), more
    rows = [[str(round(v, 1)), w] for v, w, _ in X.tolist()]
    pool = library.Pool(rows, y, cat_features=[0])
    coded = library.CatBoostClassifier(one_hot_max_size=2, **options).fit(pool)
    coded.save_model(str(tmp_path / "c.json"), format="json", pool=pool)
    assert verdict((tmp_path / "c.json").read_bytes()) == ("inert", set())


def changed(tree, *path, value):
    found = copy.deepcopy(tree)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


@pytest.mark.parametrize(
    "tree",
    [
        changed(TREE, "leaf_values", value=[1.0]),
        changed(TREE, "leaf_values", value=[1.0] * 8),
        changed(TREE, "splits", value=None),
        changed(TREE, "splits", value=[FLOAT] * 17),
        changed(TREE, "splits", 0, "float_feature_index", value=2),
        changed(TREE, "splits", 0, "float_feature_index", value=-1),
        changed(TREE, "splits", 1, "cat_feature_index", value=1),
        changed(TREE, "splits", 1, "split_type", value="OfAPlugIn"),
    ],
)
def test_an_oblivious_tree_that_leads_out(verdict, tree):
    assert verdict(as_json(oblivious_trees=[TREE, tree])) == ("unproven", {"catboost.index"})


@pytest.mark.parametrize(
    "tree",
    [
        changed(NESTED, "split", "float_feature_index", value=9),
        changed(NESTED, "left", value={}),
        changed(NESTED, "left", value=None),
        changed(NESTED, "left", "value", value=[1.0, 2.0]),
        changed(NESTED, "right", "split", "split_type", value="?"),
        {},
    ],
)
def test_a_nested_tree_that_leads_out(verdict, tree):
    fine = as_json(oblivious_trees=None, trees=[NESTED])
    assert verdict(fine) == ("inert", set())
    assert verdict(as_json(oblivious_trees=None, trees=[NESTED, tree])) == ("unproven", {"catboost.index"})


def test_leaves_of_several_scores(verdict):
    many = changed(TREE, "leaf_values", value=[0.5] * 12)
    assert verdict(as_json(oblivious_trees=[many], scale_and_bias=[1, [0, 0, 0]])) == ("inert", set())
    assert verdict(as_json(oblivious_trees=[many]))[0] == "unproven"


@pytest.mark.parametrize(
    "data",
    [
        as_json()[:-1],
        as_json(features_info=[]),
        as_json(oblivious_trees=[3]),
        as_json(scale_and_bias="x"),
        b'{"features_info": {}, "scale_and_bias": [1, [0]], "trees": [' + b'{"left":' * 50_000,
        b'{"features_info": {"float_features": ' + b"[" * 50_000,
    ],
)
def test_what_is_no_model_is_unproven(survives, data):
    assert survives(catboost_json.read, data) == "unproven"


def test_more_trees_than_are_looked_at_are_unproven(survives):
    data = as_json(oblivious_trees=[{"leaf_values": [0.0]}])
    many = data.replace(b'{"leaf_values": [0.0]}', b",".join([b'{"leaf_values":[0]}'] * 3_000_001))
    assert survives(catboost_json.read, many) == "unproven"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2), st.integers(0, 255)), max_size=5))
def test_mutations(survives, mutated, edits):
    survives(catboost_json.read, mutated(as_json(), edits))
    survives(catboost_json.read, mutated(as_json(oblivious_trees=None, trees=[NESTED]), edits))
