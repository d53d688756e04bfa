"""Witnesses of a whole audit, checked against the deployed ONNX file by onnxruntime and the definitions.

Nothing of modelward takes part in the checking: data, ball, box, types and labels are what this file wrote.
"""

from __future__ import annotations

import csv
import json
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import modelward
from modelward.verbs.witnesses import save_witnesses

EDGE = 6
RADII = {"linf": (0.02, 0.15), "l2": (0.1, 0.6), "l1": (1.0, 6.0), "l0": (1.0, 5.0), "patch": (0.03, 0.12)}
NAMES = ("age", "income", "score")
"""Columns of the table: whole numbers that stay as they are, whole numbers, real numbers."""


def bars(n, seed):
    """Pictures of 6 x 6: a bright bar on the left, in the middle or on the right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.uniform(0.0, 0.5, (n, 1, EDGE, EDGE)).astype(np.float32)
    for i, label in enumerate(y):
        x[i, 0, :, 2 * label : 2 * label + 2] += np.float32(0.25)
    return x, y.astype(np.int64)


def saved(graph, path, domain=None):
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 3)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def network(path):
    """Averages of each third, and the smallest of noise on top: two layers with a rectifier between."""
    rng = np.random.default_rng(0)
    columns = np.arange(EDGE * EDGE) % EDGE // 2
    first = np.stack([np.where(columns == k, 1.0, -0.5) / 12 for k in range(3)], axis=1)
    first = np.concatenate([first, rng.normal(0, 0.02, (EDGE * EDGE, 5))], axis=1)
    second = np.concatenate([8 * np.eye(3), rng.normal(0, 0.3, (5, 3))])
    weights = [
        numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in (("a", first), ("b", np.zeros(8)), ("c", second), ("d", np.zeros(3)))
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "a", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "c", "d"], ["scores"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, EDGE, EDGE])
    told = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    return saved(helper.make_graph(nodes, "net", [given], [told], weights), path)


def forest(path):
    """Three stumps that vote: old, rich, high score."""
    stumps = [(0, 45.5), (1, 50.5), (2, 0.6)]
    ids, nodes, modes = [], [], []
    for tree in range(3):
        ids += [tree] * 3
        nodes += [0, 1, 2]
        modes += ["BRANCH_LEQ", "LEAF", "LEAF"]
    each = {"feature": [], "value": []}
    for feature, value in stumps:
        each["feature"] += [feature, 0, 0]
        each["value"] += [value, 0.0, 0.0]
    leaves = [(t, node, k) for t in range(3) for node in (1, 2) for k in (0, 1)]
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        nodes_treeids=ids,
        nodes_nodeids=nodes,
        nodes_featureids=each["feature"],
        nodes_values=each["value"],
        nodes_modes=modes,
        nodes_hitrates=[1.0] * 9,
        nodes_truenodeids=[1, 0, 0] * 3,
        nodes_falsenodeids=[2, 0, 0] * 3,
        nodes_missing_value_tracks_true=[0] * 9,
        class_treeids=[t for t, _, _ in leaves],
        class_nodeids=[node for _, node, _ in leaves],
        class_ids=[k for _, _, k in leaves],
        class_weights=[1.0 / 3 if (node == 2) == (k == 1) else 0.0 for _, node, k in leaves],
        classlabels_int64s=[0, 1],
        post_transform="NONE",
    )
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])
    return saved(helper.make_graph([node], "forest", [given], [label, scores]), path, "ai.onnx.ml")


def oblivious(path):
    """The same stumps as CatBoost's JSON."""
    borders = [45.5, 50.5, float(np.float32(0.6))]
    features = [
        {"borders": [border], "feature_id": "", "feature_index": i, "flat_feature_index": i, "has_nans": False,
         "nan_value_treatment": "AsIs"}
        for i, border in enumerate(borders)
    ]  # fmt: skip
    trees = [
        {"leaf_values": [-1.0, 1.0], "leaf_weights": [1, 1], "splits": [
            {"border": border, "float_feature_index": i, "split_index": i, "split_type": "FloatFeature"}]}
        for i, border in enumerate(borders)
    ]  # fmt: skip
    loss = {"params": {"loss_function": {"type": "Logloss", "params": {}}}}
    document = {"features_info": {"float_features": features}, "model_info": loss}
    path.write_text(json.dumps(document | {"oblivious_trees": trees, "scale_and_bias": [1, [0.0]]}))
    return path


def people(n, seed):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(20, 80, n), rng.integers(0, 100, n), rng.random(n).round(3)])
    y = ((x[:, 0] > 45) + (x[:, 1] > 50) + (x[:, 2] > 0.6) >= 2).astype(np.int64)
    return x, y


def answers(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"x": x.astype(np.float32)})[0]


def answered_by_catboost(path, x):
    model = pytest.importorskip("catboost", reason="catboost is not installed").CatBoost()
    model.load_model(str(path), format="json")
    return model.predict(x, prediction_type="Probability")


def size(units, norm):
    """Of one change in units of the box, by the definition."""
    if norm == "linf":
        return np.abs(units).max()
    if norm == "l2":
        return np.sqrt((units**2).sum())
    if norm == "l1":
        return np.abs(units).sum()
    if norm == "l0":
        return np.count_nonzero(units)
    rows, columns = np.nonzero(units.reshape(EDGE, EDGE))
    return max(np.ptp(rows) + 1, np.ptp(columns) + 1) ** 2 / EDGE**2


def witnesses(result, folder):
    """The saved file, one witness after the other: of attacks, and of corruptions, which keep to no ball."""
    count = save_witnesses(result, folder / "store", folder / "witnesses.npz")
    stored = np.load(folder / "witnesses.npz", allow_pickle=False)
    sized = [e.outcome for run in result.checks for e in run.evidence if "sizes" in e.outcome]
    expected = sum(len(outcome["broken"]) for outcome in sized)
    assert count == expected > 0
    names = ("index", "x", "original", "label", "prediction", "norm", "eps", "check")
    found, damaged = (
        [dict(zip(names, one, strict=True)) for one in zip(*(stored[prefix + n] for n in names), strict=True)]
        for prefix in ("", "evasion.corruption/")
    )
    assert len(found) + len(damaged) == count
    assert {str(one["check"]) for one in damaged} == {"evasion.corruption"}
    return found, damaged


def require_wrong(one, asked, x, y):
    """The file gets the plain row right and the changed one wrong, as the witness says it does."""
    row = one["index"]
    assert np.array_equal(one["original"], x[row])
    assert one["x"].dtype == x.dtype
    assert asked(x[row][None])[0].argmax() == one["label"] == y[row]
    assert asked(one["x"][None])[0].argmax() == one["prediction"] != y[row]


@pytest.mark.parametrize("norm", RADII)
def test_a_network_in_a_file_gets_every_witness_wrong(tmp_path, norm):
    path = network(tmp_path / "net.onnx")
    x, y = bars(60, 1)
    np.savez(tmp_path / "test.npz", x=x, y=y)
    options = modelward.AuditOptions(
        checks=("evasion",),
        norm=(norm,),
        eps=RADII[norm],
        bounds=(0.0, 1.0),
        limit=8,
        preset="quick",
        store=tmp_path / "store",
    )
    result = modelward.audit(path, tmp_path / "test.npz", options)
    found, damaged = witnesses(result, tmp_path)
    assert not [finding for finding in result.findings if finding.rule == "evasion.contradiction"]
    assert {one["check"] for one in found} >= {"evasion.gradient"}
    assert {one["norm"] for one in damaged} >= {"shot noise", "shifts"}
    for one in (*found, *damaged):
        require_wrong(one, partial(answers, path), x, y)
    for one in found:
        row = one["index"]
        assert one["x"].min() >= 0
        assert one["x"].max() <= 1
        assert 0 < size(one["x"].astype(np.float64) - x[row].astype(np.float64), norm) <= one["eps"]
        assert one["norm"] == norm


FOREST = (forest, "forest.onnx", answers)
CATBOOST = (oblivious, "forest.json", answered_by_catboost)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("kind", [FOREST, CATBOOST], ids=["onnx", "catboost"])
def test_trees_in_a_file_get_every_witness_wrong(tmp_path, norm, kind):
    write, name, asked = kind
    path = write(tmp_path / name)
    x, y = people(80, 2)
    with (tmp_path / "test.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [(*NAMES, "label"), *([*row, label] for row, label in zip(x, y, strict=True))]
        )
    options = modelward.AuditOptions(
        checks=("evasion",),
        norm=(norm,),
        eps=(1.0, 2.0) if norm == "l0" else (0.05, 0.3),
        label="label",
        immutable=("age",),
        limit=12,
        preset="quick",
        store=tmp_path / "store",
    )
    result = modelward.audit(path, tmp_path / "test.csv", options)
    found, damaged = witnesses(result, tmp_path)
    assert not [finding for finding in result.findings if finding.rule == "evasion.contradiction"]
    assert {one["check"] for one in found} >= {"evasion.trees"}
    assert {one["norm"] for one in damaged} >= {"noise"}
    low, high = x.min(axis=0), x.max(axis=0)
    for one in (*found, *damaged):
        require_wrong(one, partial(asked, path), x, y)
    for one in found:
        row = one["index"]
        assert one["x"][0] == x[row, 0]
        assert one["x"][1] == round(one["x"][1])
        assert (one["x"] >= low).all()
        assert (one["x"] <= high).all()
        assert 0 < size((one["x"] - x[row]) / (high - low), norm) <= one["eps"]
