"""Boosters: real models are inert, and each index that native code would follow out of a tree is found."""

import copy
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import catboost, lightgbm, ubjson, xgboost
from modelward.artifact.reading import Malformed, Reading

TREE = {
    "left_children": [1, 3, -1, -1, -1],
    "right_children": [2, 4, -1, -1, -1],
    "parents": [2147483647, 0, 0, 1, 1],
    "split_indices": [0, 2, 0, 0, 0],
    "split_conditions": [0.5] * 5,
    "base_weights": [0.0] * 5,
    "categories": [],
    "categories_nodes": [],
    "categories_segments": [],
    "categories_sizes": [],
    "tree_param": {"num_nodes": "5", "num_feature": "3"},
}


def model(*trees, booster="gbtree", objective="binary:logistic", features="3", **more):
    trees = trees or (TREE,)
    inner = {"model": {"trees": list(trees), "tree_info": [0] * len(trees)} | more, "name": booster}
    if booster == "dart":
        inner = {"gbtree": {**inner, "name": "gbtree"}, "name": "dart", "weight_drop": [1.0]}
    return {
        "learner": {
            "attributes": {},
            "feature_names": ["a", "b", "c"],
            "gradient_booster": inner,
            "learner_model_param": {"num_feature": features, "num_class": "0", "base_score": "5E-1"},
            "objective": {"name": objective},
        },
        "version": [3, 0, 0],
    }


def ubj(value):
    """Universal binary JSON, with typed arrays of integers as XGBoost writes them."""
    if isinstance(value, dict):
        return b"{" + b"".join(length(key) + ubj(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        if value and all(type(item) is int for item in value):
            return b"[$l#L" + struct.pack(f">q{len(value)}i", len(value), *value)
        if value and all(type(item) is float for item in value):
            return b"[$d#L" + struct.pack(f">q{len(value)}f", len(value), *value)
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(ubj, value))
    if isinstance(value, str):
        return b"S" + length(value)
    return b"L" + struct.pack(">q", value)


def length(text):
    return b"L" + struct.pack(">q", len(text.encode())) + text.encode()


def as_json(value):
    return json.dumps(value).encode()


@pytest.mark.parametrize("write", [as_json, ubj])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_a_model_is_inert(verdict, write, booster):
    data = write(model(booster=booster))
    assert verdict(data) == ("inert", set())
    into = Reading()
    xgboost.read(data, into)
    assert into.facts["producer"] == "3.0.0"
    assert into.facts["operators"] == [booster, "binary:logistic"]
    assert into.facts["inputs"] == ["a", "b", "c"]
    assert (into.facts["tensors"], into.facts["parameters"]) == (1, 5)


def changed(**fields):
    return model({**copy.deepcopy(TREE), **fields})


@pytest.mark.parametrize("write", [as_json, ubj])
@pytest.mark.parametrize(
    "value",
    [
        changed(left_children=[99, 3, -1, -1, -1]),
        changed(right_children=[2, 1 << 30, -1, -1, -1]),
        changed(left_children=[-5, 3, -1, -1, -1]),
        changed(left_children=[1, 0, -1, -1, -1]),
        changed(left_children=[1, 1, -1, -1, -1]),
        changed(right_children=[2, -1, -1, -1, -1]),
        changed(split_indices=[0, 3, 0, 0, 0]),
        changed(split_indices=[-1, 2, 0, 0, 0]),
        changed(split_indices=[0, 2]),
        changed(parents=[2147483647, 0, 0, 1]),
        changed(categories_nodes=[0], categories_segments=[0], categories_sizes=[9], categories=[1, 2]),
        changed(categories_nodes=[9], categories_segments=[0], categories_sizes=[1], categories=[1, 2]),
        changed(categories_nodes=[0], categories_segments=[-4], categories_sizes=[1], categories=[1, 2]),
        changed(categories_nodes=[0, 1], categories_segments=[0], categories_sizes=[1], categories=[1, 2]),
        model(TREE, tree_info=[7]),
        model(TREE, tree_info=[-1]),
        model(TREE, tree_info=[]),
        model(TREE, iteration_indptr=[0, 9]),
        model(TREE, iteration_indptr=[1, 0]),
    ],
)
def test_indices_that_lead_out_of_a_tree_are_unproven(verdict, write, value):
    assert verdict(write(value)) == ("unproven", {"xgboost.index"})


@pytest.mark.parametrize("write", [as_json, ubj])
def test_unknown_boosters_and_objectives_are_unproven(verdict, write):
    assert verdict(write(model(objective="evil:plugin"))) == ("unproven", {"xgboost.objective"})
    assert verdict(write(model(booster="evil"))) == ("unproven", {"xgboost.booster"})


@pytest.mark.parametrize(
    "value",
    [
        {"learner": {}},
        {"learner": {"gradient_booster": {"name": "gbtree"}, "objective": {"name": "x"}}},
        changed(left_children="text"),
        changed(left_children=[0.5, 1.5]),
        changed(left_children=None),
        model(features="many"),
    ],
)
def test_what_is_no_model_is_unproven(verdict, value):
    assert verdict(as_json(value))[0] == "unproven"


def test_a_linear_booster(verdict):
    value = model(booster="gblinear")
    value["learner"]["gradient_booster"]["model"] = {"weights": [0.5, 1.0, 0.0, 0.25]}
    assert verdict(as_json(value)) == ("inert", set())


def test_truncated_json_is_unproven(verdict):
    data = as_json(model())
    assert verdict(data[:-1])[0] == "unproven"
    assert verdict(data[: len(data) // 2])[0] in {"unproven", None}


def binary(nodes=None, *, objective=b"binary:logistic", booster=b"gbtree", features=3, info=0, magic=b"binf"):
    nodes = nodes or [(-1, 1, 2, 0, 0.5), (0 | 1 << 31, -1, -1, 0, 1.0), (0, -1, -1, 0, 1.0)]
    out = magic + struct.pack("<fIi", 0.5, features, 0) + b"\0" * 124
    out += struct.pack("<Q", len(objective)) + objective + struct.pack("<Q", len(booster)) + booster
    out += struct.pack("<i", 1) + b"\0" * 156
    out += struct.pack("<ii", 1, len(nodes)) + b"\0" * 140
    for parent, left, right, split, value in nodes:
        out += struct.pack("<IiiIf", parent & 0xFFFFFFFF, left, right, split, value)
    return out + b"\0" * 16 * len(nodes) + struct.pack("<i", info)


@pytest.mark.parametrize("magic", [b"binf", b""])
def test_the_binary_format(verdict, magic):
    assert verdict(binary(magic=magic)) == ("inert", set())
    leaf = (0, -1, -1, 0, 1.0)
    assert verdict(binary([(-1, 9, 2, 0, 0.5), leaf, leaf], magic=magic)) == ("unproven", {"xgboost.index"})
    assert verdict(binary([(-1, 1, 2, 7, 0.5), leaf, leaf], magic=magic)) == ("unproven", {"xgboost.index"})
    assert verdict(binary(info=5, magic=magic)) == ("unproven", {"xgboost.index"})
    assert verdict(binary(magic=magic)[:-30])[0] == "unproven"


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 1500), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_mutations(survives, mutated, edits):
    survives(xgboost.read, mutated(as_json(model()), edits))
    survives(xgboost.read, mutated(ubj(model()), edits))
    survives(xgboost.read, mutated(binary(), edits))
    survives(lightgbm.read, mutated(TEXT, edits))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes(survives, data):
    for read in (xgboost.read, lightgbm.read, catboost.read):
        survives(read, data)
        survives(read, b"{" + data)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.integers(-(2**63), 2**63 - 1) | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=15,
    ).filter(lambda value: not _small_ints(value))
)
def test_ubjson_round_trip(value):
    decoded = ubjson.decode(ubj(value), Reading())
    assert _plain(decoded) == value


def _small_ints(value):
    """Lists of integers alone are written with 32 bits by the writer above."""
    if isinstance(value, dict):
        return any(map(_small_ints, value.values()))
    if isinstance(value, list):
        if value and all(type(item) is int for item in value):
            return any(abs(item) >= 2**31 for item in value)
        return any(map(_small_ints, value))
    return False


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if not isinstance(value, str | int) else value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[$l#L\x7f\xff\xff\xff\xff\xff\xff\xff", b"[" * 500, b"[$Z#L\0\0\0\1\0\0\0\0", b"[}", b"{i\xff", b"[$l", b"Q", b"TT"],
)  # fmt: skip
def test_damaged_ubjson_is_malformed(data):
    with pytest.raises(Malformed):
        ubjson.decode(data, Reading())


def test_ubjson_types():
    data = b"[i\xffU\xffI\x00\x01l\x00\x00\x00\x02D" + struct.pack(">d", 1.5) + b"TFZNCx[#i\x02TF]"
    assert ubjson.decode(data, Reading()) == [-1, 255, 1, 2, 1.5, True, False, None, "x", [True, False]]


def test_real_models(tmp_path, verdict):
    np, library = pytest.importorskip("numpy"), pytest.importorskip("xgboost")
    X = np.random.default_rng(0).random((60, 3))
    y = (X[:, 0] > 0.5).astype(int)
    for options in (
        {},
        {"booster": "dart"},
        {"booster": "gblinear"},
        {"num_parallel_tree": 2, "subsample": 0.5},
    ):
        fitted = library.XGBClassifier(n_estimators=2, n_jobs=1, **options).fit(X, y)
        for suffix in ("json", "ubj"):
            fitted.save_model(tmp_path / f"m.{suffix}")
            assert verdict((tmp_path / f"m.{suffix}").read_bytes()) == ("inert", set()), options


# --- LightGBM -----------------------------------------------------------------------------------------------

BLOCK = {
    "num_leaves": "3",
    "num_cat": "0",
    "split_feature": "0 1",
    "threshold": "0.5 0.25",
    "decision_type": "2 2",
    "left_child": "1 -1",
    "right_child": "-2 -3",
    "leaf_value": "0.1 0.2 0.3",
}


def text(*, objective="binary sigmoid:1", names="a b", last=1, **block):
    lines = "".join(f"{key}={value}\n" for key, value in {**BLOCK, **block}.items() if value is not None)
    return (
        f"tree\nversion=v4\nnum_class=1\nmax_feature_idx={last}\nobjective={objective}\nfeature_names={names}\n\n"
        f"Tree=0\n{lines}\n\nend of trees\n\nfeature_importances:\na=1\n"
    ).encode()


TEXT = text()


def test_a_text_model_is_inert(verdict):
    assert verdict(TEXT) == ("inert", set())
    assert verdict(TEXT.replace(b"\n", b"\r\n")) in [("inert", set()), (None, set())]
    into = Reading()
    lightgbm.read(TEXT, into)
    assert into.facts["inputs"] == ["a", "b"]
    assert (into.facts["tensors"], into.facts["parameters"]) == (1, 3)


@pytest.mark.parametrize(
    "block",
    [
        {"left_child": "7 -1"},
        {"right_child": "-2 -9"},
        {"left_child": "0 -1"},
        {"left_child": "1 0"},
        {"left_child": "1"},
        {"split_feature": "0 2"},
        {"split_feature": "0 -1"},
        {"decision_type": "2"},
        {"leaf_value": "0.1"},
        {"decision_type": "1 2"},
        {
            "num_cat": "1",
            "decision_type": "1 2",
            "threshold": "5 0.25",
            "cat_boundaries": "0 1",
            "cat_threshold": "3",
        },
        {
            "num_cat": "1",
            "decision_type": "1 2",
            "threshold": "0 0.25",
            "cat_boundaries": "0 9",
            "cat_threshold": "3",
        },
        {
            "num_cat": "1",
            "decision_type": "1 2",
            "threshold": "0 0.25",
            "cat_boundaries": "4 1",
            "cat_threshold": "3",
        },
        {"leaf_features": "0 9"},
    ],
)
def test_indices_of_text_models(verdict, block):
    assert verdict(text(**block)) == ("unproven", {"lightgbm.index"})


@pytest.mark.parametrize(
    "block",
    [
        {"num_leaves": None},
        {"num_leaves": "0"},
        {"num_leaves": "x"},
        {"left_child": "1 x"},
        {"num_cat": None},
    ],
)
def test_blocks_that_cannot_be_read(verdict, block):
    assert verdict(text(**block)) == ("unproven", {"artifact.unread"})


def test_headers_of_text_models(verdict):
    assert verdict(text(objective="evil")) == ("unproven", {"lightgbm.objective"})
    assert verdict(text(names="a b c")) == ("unproven", {"lightgbm.index"})
    good = {
        "num_cat": "1",
        "decision_type": "1 2",
        "threshold": "0 0.25",
        "cat_boundaries": "0 1",
        "cat_threshold": "3",
    }
    assert verdict(text(**good)) == ("inert", set())
    single = {
        "num_leaves": "1",
        "split_feature": "",
        "left_child": "",
        "right_child": "",
        "decision_type": "",
        "leaf_value": "1",
    }
    assert verdict(text(**single, threshold="")) == ("inert", set())


def test_real_text_models(tmp_path, verdict):
    np, library = pytest.importorskip("numpy"), pytest.importorskip("lightgbm")
    X = np.random.default_rng(0).random((200, 3))
    y = (X[:, 0] > 0.5).astype(int)
    for options in ({}, {"boosting_type": "dart"}, {"linear_tree": True}):
        fitted = library.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, **options).fit(X, y)
        fitted.booster_.save_model(tmp_path / "m.txt")
        assert verdict((tmp_path / "m.txt").read_bytes()) == ("inert", set()), options


# --- CatBoost -----------------------------------------------------------------------------------------------


def test_catboost_models(tmp_path, verdict, survives, mutated):
    library = pytest.importorskip("catboost", reason="catboost is not installed")
    np = pytest.importorskip("numpy")
    X = np.random.default_rng(0).random((60, 3))
    options = {"iterations": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    library.CatBoostRegressor(**options).fit(X, X[:, 0]).save_model(str(tmp_path / "m.cbm"))
    data = (tmp_path / "m.cbm").read_bytes()
    assert verdict(data) == ("inert", set())
    for end in range(8, len(data) - 1, 97):
        assert survives(catboost.read, data[:end]) == "unproven"
    for place in range(8, len(data), 61):
        survives(catboost.read, mutated(data, [(place, 0, 255)]))


def test_a_core_that_is_cut_off_is_unproven(survives):
    assert survives(catboost.read, b"CBM1" + struct.pack("<I", 1 << 30) + b"\0" * 40) == "unproven"
    assert survives(catboost.read, b"CBM1" + struct.pack("<I", 8) + b"\xff" * 40) == "unproven"
