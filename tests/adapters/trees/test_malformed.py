"""Documents, texts and messages that lie: an error of ours, and never trees."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.adapters.trees import catboost_trees, lightgbm_trees, message, xgboost_trees
from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.faithful import require_faithful
from modelward.adapters.trees.inputs import as_float32, plain, pulled_back, unchanged
from modelward.adapters.trees.onnx_trees import _read as onnx_read
from modelward.core.trees import Forest
from modelward.errors import FileDamaged, InputError, OperatorUnsupported
from modelward.numeric.forests import raw_scores
from modelward.sandbox import RawArray


@pytest.fixture(scope="session")
def booster(stump):
    """Write XGBoost's document of one stump, changed."""

    def document(tree=None, **changes):
        learner = {
            "gradient_booster": {
                "name": "gbtree",
                "model": {"trees": [{**stump, **(tree or {})}], "tree_info": [0]},
            },
            "learner_model_param": {"num_class": "0", "num_feature": "2", "base_score": "5E-1"},
            "objective": {"name": "binary:logistic"},
        }
        return json.dumps({"learner": learner | changes}).encode()

    return document


def test_the_plain_stump_is_read(booster):
    forest = xgboost_trees.read(booster())
    assert forest.feature.tolist() == [0, -1, -1]
    assert forest.base.tolist() == [0.0, 0.0]
    assert forest.value[:, 1].tolist() == [0.0, -1.0, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"left_children": [1, -1]},
        {"left_children": [0, -1, -1]},
        {"left_children": [2, -1, -1]},
        {"left_children": [7, -1, -1]},
        {"right_children": [-5, -1, -1]},
        {"split_indices": [9, 0, 0]},
        {"split_conditions": [0.5, 1e39, 0.0]},
        {"default_left": []},
        {"split_type": [1, 0, 0]},
        {"categories_nodes": [0], "categories_segments": [0], "categories_sizes": [3], "categories": [1]},
        {"categories_nodes": [0], "categories_segments": [0], "categories_sizes": [1], "categories": [10**9]},
        {"left_children": [[1]]},
    ],
)
def test_broken_trees_of_xgboost(booster, change):
    with np.errstate(all="ignore"), pytest.raises(FileDamaged):
        xgboost_trees.read(booster(change))


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"learner": 3}', b"\xff\xfe", b"null"])
def test_broken_documents(document):
    for read in (xgboost_trees.read, catboost_trees.read):
        with pytest.raises(FileDamaged):
            read(document)


def test_other_lies_of_xgboost(booster):
    with pytest.raises(FileDamaged, match="base score"):
        xgboost_trees.read(booster(learner_model_param={"num_feature": "2", "base_score": "x"}))
    with pytest.raises(FileDamaged, match="probability"):
        xgboost_trees.read(booster(learner_model_param={"num_feature": "2", "base_score": "7"}))
    with pytest.raises(OperatorUnsupported, match="gblinear"):
        xgboost_trees.read(booster(gradient_booster={"name": "gblinear"}))
    with pytest.raises(OperatorUnsupported, match="vector"):
        xgboost_trees.read(booster({"tree_param": {"size_leaf_vector": "3"}}))


LIGHT = """tree
num_class=1
num_tree_per_iteration=1
max_feature_idx=1
objective=binary sigmoid:1

Tree=0
num_leaves=2
num_cat=0
split_feature=0
threshold=0.5
decision_type=2
left_child=-1
right_child=-2
leaf_value=-1 1
is_linear=0

end of trees
"""


def test_the_plain_text_is_read():
    forest = lightgbm_trees.read(LIGHT)
    assert (forest.feature.tolist(), forest.threshold[0]) == ([0, -1, -1], 0.5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=-1", "left_child=0"),
        ("left_child=-1", "left_child=9"),
        ("right_child=-2", "right_child=-1"),
        ("leaf_value=-1 1", "leaf_value=-1"),
        ("leaf_value=-1 1", "leaf_value=nan 1"),
        ("threshold=0.5", "threshold=nan"),
        ("threshold=0.5", "threshold=a"),
        ("num_leaves=2", "num_leaves=3"),
        ("num_leaves=2", "num_leaves=-4"),
        ("split_feature=0", "split_feature=5"),
        ("decision_type=2", "decision_type=1"),
        ("max_feature_idx=1", "max=1"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=0"),
        ("Tree=0", "Three=0"),
    ],
)
def test_broken_texts(old, new):
    with pytest.raises((FileDamaged, OperatorUnsupported)):
        lightgbm_trees.read(LIGHT.replace(old, new))


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, len(LIGHT)), size=st.integers(0, 12), new=st.text("0123456789-=. \naetl", max_size=6)
)
def test_mutated_texts_never_surprise(at, size, new):
    try:
        forest = lightgbm_trees.read(LIGHT[:at] + new + LIGHT[at + size :])
    except (InputError, OperatorUnsupported):
        return
    message.require_sound(forest)


def test_onnx_attributes_that_lie(attributes):
    assert onnx_read(attributes, 2).feature.tolist() == [0, -1, -1]
    for change in (
        {"class_nodeids": [1, 9]},
        {"class_ids": [0, 4]},
        {"nodes_truenodeids": [0, 0, 0]},
        {"classlabels_int64s": [0]},
        {"nodes_nodeids": [0, 1]},
        {"nodes_nodeids": [5, 1, 2]},
    ):
        with pytest.raises(FileDamaged):
            onnx_read(attributes | change, 2)
    with pytest.raises(OperatorUnsupported, match="BRANCH_NEQ"):
        onnx_read(attributes | {"nodes_modes": [b"BRANCH_NEQ", b"LEAF", b"LEAF"]}, 2)
    with pytest.raises(OperatorUnsupported, match="PROBIT"):
        onnx_read(attributes | {"post_transform": b"PROBIT"}, 2)


@pytest.fixture
def forest():
    return lightgbm_trees.read(LIGHT)


@pytest.mark.parametrize(
    "document",
    [b'{"\x80": 1}', b'{"learner": {"\xff": 1}}', b'{"learner": "\xff"}', b'{"x": ' + b"[" * 50_000],
)
def test_bytes_that_are_no_text_and_depths_without_end(document):
    for read in (xgboost_trees.read, catboost_trees.read):
        with pytest.raises((FileDamaged, OperatorUnsupported)):
            read(document)


def test_messages_come_back_as_they_went(forest):
    back = message.unpacked(message.packed(forest))
    for name in ("feature", "threshold", "left", "right", "value", "base", "codes"):
        np.testing.assert_array_equal(getattr(back, name), getattr(forest, name))
    assert (back.width, back.link, back.slack) == (forest.width, forest.link, forest.slack)


@pytest.mark.parametrize(
    "change",
    [
        {"left": [0, 1, 2]},
        {"left": [9, 1, 2]},
        {"right": [1, 1, 2]},
        {"left": [1, 0, 2]},
        {"feature": [7, -1, -1]},
        {"feature": [0, -1]},
        {"roots": [3]},
        {"roots": []},
        {"subset": [4, -1, -1]},
        {"threshold": [float("nan"), 0, 0]},
        {"value": [[0, 0], [float("inf"), 0], [0, 0]]},
    ],
)
def test_messages_that_lie_about_arrays(forest, change):
    (name, value), *_ = change.items()
    kind = getattr(forest, name).dtype
    with pytest.raises(OperatorUnsupported, match="sandboxed process sent"):
        message.unpacked(message.packed(replace(forest, **{name: np.array(value, kind)})))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"width": "x"},
        {"link": "none"},
        {"slack": -1.0},
        {"slack": None},
        {"slack": True},
        {"slack": float("nan")},
        {"width": True},
        {"link": []},
        {"link": {"softmax": 1}},
        {"value": 3},
        {"roots": None},
    ],
)
def test_messages_that_lie_about_the_rest(forest, change):
    with pytest.raises(OperatorUnsupported, match="sandboxed process sent"):
        message.unpacked({**message.packed(forest), **change})
    with pytest.raises(OperatorUnsupported):
        message.unpacked([1, 2])
    other = RawArray("<f4", (3,), bytes(12))
    with pytest.raises(OperatorUnsupported, match="array"):
        message.unpacked({**message.packed(forest), "threshold": other})


@pytest.mark.parametrize("name", list(message._ARRAYS))
def test_a_single_number_where_a_list_belongs(forest, name):
    kind = message._ARRAYS[name]
    alone = RawArray(kind, (), bytes(np.dtype(kind).itemsize))
    with pytest.raises(OperatorUnsupported, match="sandboxed process sent"):
        message.unpacked({**message.packed(forest), name: alone})


@pytest.mark.parametrize("shape", [(3,), (0, 2**31 - 1), (2, 5), (0,), (1, 1, 0)])
def test_codes_of_another_shape(forest, shape):
    """There are no sets here, so any table with rows, and any that is no table, is a lie."""
    codes = RawArray("|b1", shape, bytes(int(np.prod(shape))))
    sent = {**message.packed(forest), "codes": codes}
    if shape == (0, 2**31 - 1):
        assert message.unpacked(sent).codes.shape == shape  # no bytes and no sets: no harm
        return
    with pytest.raises(OperatorUnsupported, match="sandboxed process sent"):
        message.unpacked(sent)


def test_scores_that_overflow_when_they_are_added(forest):
    huge = np.full(forest.value.shape, 1.7e308)
    for change in ({"value": huge}, {"base": np.full(2, np.inf)}, {"value": huge / 4, "base": huge[0]}):
        with pytest.raises(OperatorUnsupported, match="too large to be added up"):
            message.unpacked(message.packed(replace(forest, **change)))


def chain(depth):
    """One tree whose right children go on and on."""
    inner = np.arange(depth)
    last = 2 * depth
    feature, left, right = np.full(last + 1, -1), np.arange(last + 1), np.arange(last + 1)
    feature[2 * inner], left[2 * inner], right[2 * inner] = 0, 2 * inner + 1, 2 * inner + 2
    blank = np.zeros(last + 1)
    return Forest(
        width=1, roots=np.array([0]), feature=feature, threshold=blank, left=left, right=right,
        missing_left=blank > 0, subset=np.full(last + 1, -1), codes=np.zeros((0, 0), np.bool_),
        other_left=np.zeros(0, np.bool_), value=np.zeros((last + 1, 2)), base=np.zeros(2),
        link="softmax", slack=0.0,
    )  # fmt: skip


def test_trees_so_deep_that_rows_never_arrive():
    assert message.unpacked(message.packed(chain(10_000))).feature.size == 20_001
    with pytest.raises(OperatorUnsupported, match="deeper than 10,000 nodes"):
        message.unpacked(message.packed(chain(10_001)))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_a_message_says_it_is_trees_that_answer_or_refused(data):
    """Any array replaced by any other of its type: what is let in can be asked."""
    forest = lightgbm_trees.read(LIGHT)
    sent = message.packed(forest)
    for name in data.draw(st.sets(st.sampled_from(list(message._ARRAYS)), min_size=1, max_size=3)):
        kind = np.dtype(message._ARRAYS[name])
        shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
        numbers = st.floats() if kind.kind == "f" else st.integers(-3, 4)
        size = int(np.prod(shape))
        values = data.draw(st.lists(numbers, min_size=size, max_size=size))
        array = np.array(values).astype(kind)
        sent[name] = RawArray(message._ARRAYS[name], shape, array.tobytes())
    try:
        back = message.unpacked(sent)
    except OperatorUnsupported:
        return
    x = np.array([[0.0] * back.width, [np.nan] * back.width, [3.0] * back.width])
    assert np.isfinite(raw_scores(back, x)).all()


@settings(max_examples=200, deadline=None)
@given(t=st.floats(allow_nan=False), scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_pulled_back_thresholds_decide_alike(t, scale, shift):
    def step(x):
        return as_float32((x - shift) / scale)

    edge = pulled_back(step, np.array([t]))[0]
    with np.errstate(all="ignore"):
        if np.isfinite(edge):
            assert step(np.array([edge]))[0] <= t
            assert not step(np.array([np.nextafter(edge, np.inf)]))[0] <= t
        elif edge > 0:
            assert step(np.array([np.finfo(float).max]))[0] <= t
        else:
            assert not step(np.array([-np.finfo(float).max]))[0] <= t


def test_a_decreasing_step_is_refused():
    with pytest.raises(OperatorUnsupported, match="increasing"):
        pulled_back(lambda x: -x, np.array([0.5]))


def test_logistic_functions_that_saturate_are_refused():
    one = np.zeros(1, np.int64)
    leaf = Tree(
        column=one - 1,
        threshold=np.zeros(1),
        left=one,
        right=one,
        missing_left=one > 0,
        value=np.array([[40.0, 0]]),
    )
    with pytest.raises(OperatorUnsupported, match="logistic"):
        assemble([leaf], plain(1, unchanged), Sum(base=np.zeros(2), link="sigmoid"), 1)


def test_trees_that_answer_otherwise_are_refused(live, table):
    from sklearn.ensemble import RandomForestClassifier

    x, y, _ = table
    found = live(RandomForestClassifier(5, max_depth=3, random_state=0).fit(x, y), x, y)
    true = found.model.forest()
    require_faithful(true, found.model, found.data)
    inner = true.feature >= 0
    for wrong in (
        replace(true, value=true.value[:, ::-1]),
        replace(true, threshold=np.where(inner, true.threshold + 0.05, 0.0)),
        replace(true, value=true.value * [1.0, 1.1]),
        replace(true, width=4),
    ):
        with pytest.raises(OperatorUnsupported):
            require_faithful(wrong, found.model, found.data)
