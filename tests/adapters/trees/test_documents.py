"""Random documents against their formats' rules, read literally: one node, one row at a time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.adapters.trees import lightgbm_trees, xgboost_trees
from modelward.adapters.trees.onnx_trees import _read as onnx_read
from modelward.adapters.trees.onnx_trees import read_file
from modelward.errors import FileDamaged, OperatorUnsupported
from modelward.numeric.forests import raw_scores

SEEDS = st.integers(0, 2**32)
WIDTH = 3


def shape(random, depth):
    """A tree as nested pairs; a leaf is null."""
    if depth == 0 or random.random() < 0.2:
        return None
    return (shape(random, depth - 1), shape(random, depth - 1))


def listed(tree):
    """[(left, right)] in the order of first visits, null at leaves."""
    found = []

    def visit(node):
        at = len(found)
        found.append(None)
        if node is not None:
            found[at] = (visit(node[0]), visit(node[1]))
        return at

    visit(tree)
    return found


def xgboost_tree(random):
    nodes = listed(shape(random, 3))
    m = len(nodes)
    tree = {
        "left_children": [-1 if n is None else n[0] for n in nodes],
        "right_children": [-1 if n is None else n[1] for n in nodes],
        "split_conditions": [float(np.float32(v)) for v in random.normal(size=m)],
        "split_indices": random.integers(0, WIDTH, m).tolist(),
        "default_left": random.integers(0, 2, m).tolist(),
        "split_type": [0] * m,
    }
    coded = [i for i, n in enumerate(nodes) if n is not None and tree["split_indices"][i] == WIDTH - 1]
    tree |= {
        name: [] for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    }
    for node in coded:
        codes = sorted(set(random.integers(0, 6, 3).tolist()))
        tree["split_type"][node] = 1
        tree["categories_nodes"].append(node)
        tree["categories_segments"].append(len(tree["categories"]))
        tree["categories_sizes"].append(len(codes))
        tree["categories"] += codes
    return tree


def walk_xgboost(tree, row):
    """`include/xgboost/tree_model.h`, GetNextNode: missing, category or x < condition."""
    node = 0
    while tree["left_children"][node] != -1:
        value = np.float32(row[tree["split_indices"][node]])
        if np.isnan(value):
            left = tree["default_left"][node] == 1
        elif tree["split_type"][node] == 1:
            at = tree["categories_nodes"].index(node)
            start = tree["categories_segments"][at]
            left = int(value) not in tree["categories"][start : start + tree["categories_sizes"][at]]
        else:
            left = value < np.float32(tree["split_conditions"][node])
        node = tree["left_children" if left else "right_children"][node]
    return tree["split_conditions"][node]


def xgboost_document(trees, info, *, classes=0, base="5E-1", objective="binary:logistic", drop=None):
    model = {"name": "gbtree", "model": {"trees": trees, "tree_info": info}}
    booster = model if drop is None else {"name": "dart", "gbtree": model, "weight_drop": drop}
    parameters = {"num_class": str(classes), "num_feature": str(WIDTH), "base_score": base}
    learner = {
        "gradient_booster": booster,
        "learner_model_param": parameters,
        "objective": {"name": objective},
    }
    return json.dumps({"learner": learner}).encode()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, classes=st.sampled_from([0, 3]), dart=st.booleans())
def test_xgboost_node_by_node(near, seed, classes, dart):
    random = np.random.default_rng(seed)
    trees = [xgboost_tree(random) for _ in range(2 * max(1, classes))]
    info = [i % classes for i in range(len(trees))] if classes else [0] * len(trees)
    drop = [float(np.float32(w)) for w in random.random(len(trees))] if dart else None
    objective = "multi:softprob" if classes else "binary:logistic"
    base = "[0.25,-1.5,3.0]" if classes else "[2.5E-1]"
    document = xgboost_document(trees, info, classes=classes, base=base, objective=objective, drop=drop)
    forest = xgboost_trees.read(document)
    x = near(random, [c for tree in trees for c in tree["split_conditions"]])
    x[:, WIDTH - 1] = random.choice([0, 1, 2, 3, 4, 5, 9, np.nan], len(x))
    expected = np.tile([0.25, -1.5, 3.0] if classes else [0.0, math.log(0.25 / 0.75)], (len(x), 1))
    for i, tree in enumerate(trees):
        weight = drop[i] if dart else 1.0
        expected[:, info[i] if classes else 1] += [weight * walk_xgboost(tree, row) for row in x]
    np.testing.assert_allclose(raw_scores(forest, x), expected, atol=1e-6)


@pytest.mark.parametrize("base", ["[]", "{}", "null", '["a"]', "[[1]]", "nonsense", "1e999", "[" * 5000])
def test_a_base_score_of_xgboost_that_is_no_number(stump, base):
    with pytest.raises(FileDamaged):
        xgboost_trees.read(xgboost_document([stump], [0], base=base, objective="multi:softprob"))


@pytest.mark.parametrize("name", ["num_class", "num_feature"])
@pytest.mark.parametrize("count", ["abc", "-4", "", "1.5", "٣", "9" * 30])
def test_counts_of_xgboost_that_are_none(stump, name, count):
    document = json.loads(xgboost_document([stump], [0]))
    document["learner"]["learner_model_param"][name] = count
    with pytest.raises(FileDamaged, match=name):
        xgboost_trees.read(json.dumps(document).encode())


def test_huge_counts_are_refused_before_memory_is_asked_for(stump):
    with pytest.raises(FileDamaged, match="999999999 classes"):
        xgboost_trees.read(xgboost_document([stump], [0], classes=999_999_999))
    document = json.loads(xgboost_document([stump], [0]))
    document["learner"]["learner_model_param"]["num_feature"] = "999999999"
    with pytest.raises(OperatorUnsupported, match="999999999 features"):
        xgboost_trees.read(json.dumps(document).encode())
    with pytest.raises(FileDamaged, match="999999999 trees per iteration"):
        lightgbm_trees.read(lightgbm_text(["num_leaves=1\nleaf_value=1"], per=999_999_999))


@pytest.mark.parametrize(
    "change",
    [{"split_indices": [-1, 0, 0]}, {"left_children": [2**64, -1, -1]}, {"split_indices": [2**63, 0, 0]}],
)
def test_nodes_of_xgboost_out_of_range(stump, change):
    with pytest.raises(FileDamaged):
        xgboost_trees.read(xgboost_document([stump | change], [0]))


def lightgbm_tree(random):
    """The fields of one tree; decision types with every way of missing values that is read."""
    tree = shape(random, 3) or (None, None)
    inner, leaf, fields = [], [], {"left_child": [], "right_child": []}

    def visit(node):
        if node is None:
            leaf.append(float(random.normal()))
            return ~(len(leaf) - 1)
        at = len(inner)
        inner.append(node)
        fields["left_child"].append(0)
        fields["right_child"].append(0)
        fields["left_child"][at] = visit(node[0])
        fields["right_child"][at] = visit(node[1])
        return at

    visit(tree)
    n = len(inner)
    feature = random.integers(0, WIDTH, n)
    threshold = random.normal(size=n)
    kind = np.zeros(n, np.int64)
    edges, words, sets = [0], [], 0
    for i in range(n):
        if feature[i] == WIDTH - 1:
            kind[i], threshold[i] = 1, sets
            words += random.integers(0, 2**32, int(random.integers(1, 3))).tolist()
            edges.append(len(words))
            sets += 1
            continue
        missing = int(random.integers(3))
        default = bool(random.integers(2)) if missing != 1 else bool(threshold[i] >= 0)
        kind[i] = (missing << 2) | (2 if default else 0)
    fields |= {
        "split_feature": feature.tolist(),
        "threshold": threshold.tolist(),
        "decision_type": kind.tolist(),
    }
    fields |= {"leaf_value": leaf, "cat_boundaries": edges, "cat_threshold": words}
    return fields


def walk_lightgbm(tree, row):
    """`include/LightGBM/tree.h`: NumericalDecision and CategoricalDecision."""
    node = 0
    while node >= 0:
        value, kind = row[tree["split_feature"][node]], tree["decision_type"][node]
        if kind & 1:
            at = int(tree["threshold"][node])
            part = tree["cat_threshold"][tree["cat_boundaries"][at] : tree["cat_boundaries"][at + 1]]
            code = -1 if np.isnan(value) else int(value)
            left = 0 <= code < 32 * len(part) and bool(part[code // 32] >> (code % 32) & 1)
        else:
            missing = (kind >> 2) & 3
            if np.isnan(value) and missing != 2:
                value = 0.0
            gap = (missing == 1 and abs(value) <= 1e-35) or (missing == 2 and np.isnan(value))
            left = bool(kind & 2) if gap else value <= tree["threshold"][node]
        node = tree["left_child" if left else "right_child"][node]
    return tree["leaf_value"][~node]


def written(tree):
    lines = [f"num_leaves={len(tree['leaf_value'])}"]
    return "\n".join([*lines, *(f"{name}={' '.join(map(repr, values))}" for name, values in tree.items())])


def lightgbm_text(trees, *, per=1, objective="binary sigmoid:1", more=""):
    head = f"tree\nnum_class={per}\nnum_tree_per_iteration={per}\nmax_feature_idx={WIDTH - 1}\n"
    blocks = "".join(f"\nTree={i}\n{tree}\n" for i, tree in enumerate(trees))
    return f"{head}objective={objective}\n{more}{blocks}\nend of trees\n"


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, per=st.sampled_from([1, 3]), averaged=st.booleans(), slope=st.sampled_from([1.0, 0.5]))
def test_lightgbm_node_by_node(near, seed, per, averaged, slope):
    random = np.random.default_rng(seed)
    trees = [lightgbm_tree(random) for _ in range(2 * per)]
    objective = f"binary sigmoid:{slope}" if per == 1 else "multiclass num_class:3"
    text = lightgbm_text(
        map(written, trees), per=per, objective=objective, more="average_output\n" if averaged else ""
    )
    forest = lightgbm_trees.read(text)
    x = near(random, [t for tree in trees for t in tree["threshold"]])
    x[:, WIDTH - 1] = random.choice([0, 3, 31, 32, 63, 64, 1000, -1, np.nan], len(x))
    expected = np.zeros((len(x), max(2, per)))
    for i, tree in enumerate(trees):
        expected[:, i % per if per > 1 else 1] += [walk_lightgbm(tree, row) for row in x]
    expected *= (0.5 if averaged else 1.0) * (slope if per == 1 else 1.0)
    np.testing.assert_allclose(raw_scores(forest, x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split_feature", "nan"),
        ("split_feature", "-1"),
        ("split_feature", "0.5"),
        ("split_feature", "1e30"),
        ("left_child", "nan"),
        ("left_child", "-1.5"),
        ("decision_type", "inf"),
        ("cat_threshold", "-3"),
        ("cat_boundaries", "0 7"),
        ("cat_boundaries", "1 0"),
    ],
)
def test_numbers_of_lightgbm_that_are_not_whole_or_out_of_range(name, values):
    fine = {
        "num_leaves": "2",
        "split_feature": "2",
        "threshold": "0",
        "decision_type": "1",
        "left_child": "-1",
        "right_child": "-2",
        "leaf_value": "-1 1",
        "cat_boundaries": "0 1",
        "cat_threshold": "5",
    }
    document = {**fine, name: values}
    assert (
        lightgbm_trees.read(lightgbm_text(["\n".join(f"{k}={v}" for k, v in fine.items())])).subset >= 0
    ).any()
    with pytest.raises(FileDamaged):
        lightgbm_trees.read(lightgbm_text(["\n".join(f"{k}={v}" for k, v in document.items())]))


@pytest.mark.parametrize(
    "change",
    [
        {"nodes_falsenodeids": [2]},
        {"nodes_values": []},
        {"nodes_values": [float("nan"), 0, 0]},
        {"nodes_modes": [b"BRANCH_LEQ"]},
        {"nodes_modes": [b"\xff", b"LEAF", b"LEAF"]},
        {"nodes_featureids": [-3, 0, 0]},
        {"nodes_featureids": [0]},
        {"nodes_featureids": ["a", "b", "c"]},
        {"nodes_missing_value_tracks_true": [1]},
        {"nodes_nodeids": [0, 1, 1]},
        {"class_weights": [1.0]},
        {"class_weights": [1e39, 1.0]},
        {"class_treeids": [0]},
        {"base_values": [1.0, 2.0, 3.0]},
        {"base_values": [float("nan"), 0.0]},
        {"post_transform": b"\xff"},
    ],
)
def test_attributes_that_do_not_fit(attributes, change):
    with pytest.raises(FileDamaged):
        onnx_read(attributes | change, 2)


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"]


def onnx_attributes(random, names, classes, mode, *, tracks):
    """Three random trees; every leaf weighs every class."""
    found = {name: [] for name in names if not name.startswith("classlabels")}
    found["nodes_missing_value_tracks_true"] = []
    for tree in range(3):
        nodes = listed(shape(random, 3))
        for number, node in enumerate(nodes):
            found["nodes_treeids"].append(tree)
            found["nodes_nodeids"].append(number)
            found["nodes_featureids"].append(0 if node is None else int(random.integers(WIDTH)))
            found["nodes_modes"].append("LEAF" if node is None else mode)
            found["nodes_values"].append(0.0 if node is None else float(np.float32(random.normal())))
            found["nodes_truenodeids"].append(0 if node is None else node[0])
            found["nodes_falsenodeids"].append(0 if node is None else node[1])
            found["nodes_missing_value_tracks_true"].append(int(tracks and random.integers(2)))
            for label in range(classes) if node is None else ():
                found["class_treeids"].append(tree)
                found["class_nodeids"].append(number)
                found["class_ids"].append(label)
                found["class_weights"].append(float(np.float32(random.random())))
    return found | {"classlabels_int64s": list(range(classes))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("tracks", [False, True])
def test_onnx_as_its_runtime_computes_it(tmp_path, attributes, near, mode, *, classes, tracks):
    """Every kind of comparison, on thresholds and beside them, and missing values, at onnxruntime itself."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper = onnx.helper
    for seed in range(4):
        random = np.random.default_rng(seed)
        given_ = onnx_attributes(random, attributes, classes, mode, tracks=tracks)
        post = "NONE" if seed % 2 else "SOFTMAX"
        node = helper.make_node(
            "TreeEnsembleClassifier",
            ["x"],
            ["label", "p"],
            domain="ai.onnx.ml",
            post_transform=post,
            **given_,
        )
        graph = helper.make_graph(
            [node],
            "trees",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, WIDTH])],
            [
                helper.make_tensor_value_info("label", onnx.TensorProto.INT64, [None]),
                helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, [None, classes]),
            ],
        )
        operators = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=9)
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(model.SerializeToString())
        forest = read_file(path)
        with np.errstate(over="ignore"):
            x = near(random, given_["nodes_values"]).astype(np.float32)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        # The label is not asked for: with two classes it is whether the second's score is above 1/2.
        (scores,) = session.run(["p"], {"x": x})
        raw = raw_scores(forest, x.astype(np.float64))
        gap = np.sort(raw, axis=1)
        clear = gap[:, -1] - gap[:, -2] > max(forest.slack, 1e-6)
        assert clear.sum() > 20
        assert (raw.argmax(axis=1) == scores.argmax(axis=1))[clear].all()
        expected = raw if post == "NONE" else np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_graphs_that_do_more_than_trees(tmp_path, attributes):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def saved(operators, *, dims=(None, WIDTH), kind=onnx.TensorProto.FLOAT):
        nodes, name = [], "x"
        for number, operator in enumerate(operators):
            last = operator == "TreeEnsembleClassifier"
            outputs = [f"l{number}", f"p{number}"] if last else [f"v{number}"]
            stated = {"domain": "ai.onnx.ml", **attributes} if last else {}
            nodes.append(helper.make_node(operator, [name], outputs, **stated))
            name = name if last else outputs[0]
        given_ = [helper.make_tensor_value_info("x", kind, list(dims))]
        graph = helper.make_graph(nodes, "g", given_, [helper.make_empty_tensor_value_info("l0")])
        path = tmp_path / "m.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        return path

    trees = "TreeEnsembleClassifier"
    assert read_file(saved(["Identity", trees])).width == WIDTH
    assert read_file(saved([trees], dims=(None, None))).width == 1  # as many as the nodes look at
    for path, match in [
        (lambda: saved(["Identity"]), "0 tree ensembles"),
        (lambda: saved([trees, trees]), "2 tree ensembles"),
        (lambda: saved(["Sqrt", trees]), "operator Sqrt"),
        (lambda: saved([trees], dims=(WIDTH,)), "matrix of float32"),
        (lambda: saved([trees], kind=onnx.TensorProto.DOUBLE), "matrix of float32"),
    ]:
        with pytest.raises(OperatorUnsupported, match=match):
            read_file(path())
    (tmp_path / "broken.onnx").write_bytes(b"\x07\xffno file of this kind")
    with pytest.raises(FileDamaged, match="no ONNX file"):
        read_file(tmp_path / "broken.onnx")
