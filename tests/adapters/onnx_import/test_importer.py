"""Whole networks: exported by torch and scikit-learn converters, and built by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.adapters.onnx_import import operators
from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import ExtraMissing, OperatorUnsupported, ShapeMismatch

RNG = np.random.default_rng(3)

exports = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # torch 2.9 and later deprecate the TorchScript exporter that files still come from
    "ignore::FutureWarning",  # the dynamo exporter uses parts of torch that are being replaced
    "ignore::UserWarning",  # the TorchScript exporter warns of constants it folds
)


def f32(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


class Residual(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.skip = nn.Conv2d(inner, outer, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return functional.relu(self.path(x) + self.skip(x))


class View(nn.Module):
    """Flattens with the size of its input, which exporters write as Shape, Gather and Concat, or as numbers."""

    def forward(self, x):
        return x.view(x.size(0), -1)


def mlp():
    return nn.Sequential(
        nn.Linear(5, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
    )


def cnn():
    first = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.LeakyReLU(0.1)]
    return nn.Sequential(*first, nn.AvgPool2d(2), View(), nn.Dropout(), nn.Linear(8, 3))


def resnet():
    stem = [nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Residual(8, 8, 1), Residual(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    return nn.Sequential(*stem, *blocks)


NETWORKS = {"mlp": (mlp, (5,)), "cnn": (cnn, (1, 8, 8)), "resnet": (resnet, (3, 32, 32))}


def trained(name):
    """A network whose running statistics and weights are not the initial ones."""
    torch.manual_seed(0)
    make, row = NETWORKS[name]
    network = make()
    network(torch.randn(8, *row))
    return network.eval(), row


@pytest.fixture
def export(tmp_path):
    def write(network, row, *, dynamo, batch=None):
        path = tmp_path / "exported.onnx"
        free = {}
        if batch is None and dynamo:
            free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
        elif batch is None:
            free = {"dynamic_axes": {"x": {0: "n"}}}
        dtype = next(network.parameters()).dtype
        x = torch.randn(batch or 2, *row, dtype=dtype)
        torch.onnx.export(network, (x,), str(path), dynamo=dynamo, input_names=["x"], verbose=False, **free)
        return path

    return write


@exports
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_exported_networks_come_back(export, name, batch, dynamo):
    if dynamo:
        pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")
    network, row = trained(name)
    samples = f32(20, *row)
    imported = import_onnx(export(network, row, dynamo=dynamo, batch=batch), samples=samples)
    x = torch.from_numpy(f32(7, *row)).requires_grad_()
    assert imported.input_shape == (None, *row)  # batch-general, also where the file fixes the batch
    assert imported.tail is None
    assert imported.output_kind == "logits"
    assert imported.measured_gap < 1e-5
    torch.testing.assert_close(imported.module(x), network(x), rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(imported.module(x).square().sum(), x)
    theirs = torch.autograd.grad(network(x).square().sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@exports
@pytest.mark.parametrize(("layer", "tail"), [(nn.Softmax(1), "softmax"), (nn.Sigmoid(), "sigmoid")])
def test_a_final_softmax_or_sigmoid_is_taken_off(export, layer, tail):
    network, row = trained("mlp")
    imported = import_onnx(export(nn.Sequential(*network, layer), row, dynamo=False), samples=None)
    assert (imported.tail, imported.output_kind) == (tail, "probabilities")
    assert tail in imported.detection
    x = torch.from_numpy(100 * f32(7, *row))
    torch.testing.assert_close(imported.module(x), network(x))


@exports
def test_float64(export):
    row = (5,)
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    imported = import_onnx(export(network.double(), row, dynamo=False), samples=f32(9, *row))
    assert imported.input_dtype == "float64"
    assert imported.measured_gap < 1e-13
    x = torch.randn(4, *row, dtype=torch.float64)
    torch.testing.assert_close(imported.module(x), network(x))


@exports
@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
def test_gelu_is_one_node_at_every_opset(tmp_path, opset):
    network, row = trained("mlp")
    path = tmp_path / "gelu.onnx"
    torch.onnx.export(network, (torch.randn(2, *row),), str(path), dynamo=False, opset_version=opset)
    targets = [node.target for node in import_onnx(path, samples=None).module.graph.nodes]
    assert functional.gelu in targets
    assert torch.erf not in targets


INNER = [("Div", ["x", "root"], ["d"], {}), ("Erf", ["d"], ["e"], {}), ("Add", ["e", "one"], ["g"], {})]
ORDERS = {
    "product-then-half": [("Mul", ["x", "g"], ["m"], {}), ("Mul", ["m", "half"], ["y"], {})],
    "product-then-division": [("Mul", ["g", "x"], ["m"], {}), ("Div", ["m", "two"], ["y"], {})],
    "half-of-gate": [("Mul", ["half", "g"], ["m"], {}), ("Mul", ["x", "m"], ["y"], {})],
    "half-of-x": [("Mul", ["x", "half"], ["m"], {}), ("Mul", ["m", "g"], ["y"], {})],
}


@pytest.mark.parametrize("order", ORDERS)
def test_gelu_in_any_order_of_factors(save, order):
    constants = {"root": np.sqrt(2.0), "one": 1.0, "half": 0.5, "two": 2.0}
    path = save(INNER + ORDERS[order], {k: np.float32(v) for k, v in constants.items()})
    module = import_onnx(path, samples=None).module
    assert [node.target for node in module.graph.nodes][1:-1] == [functional.gelu]


@pytest.mark.parametrize("changed", ["root", "one", "half"])
def test_what_only_looks_like_gelu_is_left_alone(save, run, changed):
    constants = {"root": np.sqrt(2.0), "one": 1.0, "half": 0.5}
    constants[changed] *= 1.1
    path = save(INNER + ORDERS["half-of-gate"], {k: np.float32(v) for k, v in constants.items()})
    module = import_onnx(path, samples=None).module
    assert torch.erf in [node.target for node in module.graph.nodes]
    x = f32(4, 3)
    np.testing.assert_allclose(module(torch.from_numpy(x)), run(path, x), rtol=1e-5, atol=1e-6)


def test_the_module_is_frozen_and_in_eval_mode(save):
    path = save([("MatMul", ["x", "w"], ["y"], {})], {"w": f32(3, 2)})
    module = import_onnx(path, samples=None).module
    assert isinstance(module, torch.fx.GraphModule)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert [type(layer) for layer in module.children()] == [nn.Linear]


def test_channels_last_transposes_of_tensorflow(save, run):
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["t", "w"], ["c"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("Transpose", ["c"], ["l"], {"perm": [0, 2, 3, 1]}),
        ("Add", ["l", "b"], ["a"], {}),
        ("Relu", ["a"], ["r"], {}),
        ("Reshape", ["r", "flat"], ["f"], {}),
        ("MatMul", ["f", "d"], ["m"], {}),
        ("Softmax", ["m"], ["y"], {"axis": -1}),
    ]
    constants = {"w": f32(4, 3, 3, 3), "b": f32(4), "flat": np.array([-1, 64]), "d": f32(64, 5)}
    path = save(nodes, constants, (None, 8, 8, 3))
    imported = import_onnx(path, samples=f32(10, 8, 8, 3))
    x = f32(6, 8, 8, 3)
    assert imported.tail == "softmax"
    np.testing.assert_allclose(
        torch.softmax(imported.module(torch.from_numpy(x)), 1), run(path, x), rtol=1e-4, atol=1e-6
    )


@exports
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", ["mlp", "logistic"])
def test_scikit_learn_exports(tmp_path, zipmap, classes, model):
    skl2onnx = pytest.importorskip("skl2onnx", reason="scikit-learn models are exported with skl2onnx")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = RNG.standard_normal((80, 4)).astype(np.float32)
    y = (np.abs(x @ [1.0, 2.0, -1.0, 0.5]) * 2).astype(int).clip(0, classes - 1)
    last = (
        MLPClassifier((6,), max_iter=400, tol=1e-2, random_state=0)
        if model == "mlp"
        else LogisticRegression()
    )
    fitted = make_pipeline(StandardScaler(), last).fit(x, y)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 4])
    options = {id(fitted): {"zipmap": zipmap}}
    exported = skl2onnx.convert_sklearn(fitted, initial_types=[("X", kind)], options=options, target_opset=17)
    path = tmp_path / "sklearn.onnx"
    path.write_bytes(exported.SerializeToString())
    imported = import_onnx(path, samples=x)
    assert ("ZipMap" in imported.detection) == zipmap
    assert imported.output_kind == "probabilities"
    assert imported.tail in {"softmax", "sigmoid"}
    scores = imported.module(torch.from_numpy(x))
    probabilities = torch.softmax(scores, 1) if imported.tail == "softmax" else torch.sigmoid(scores)
    np.testing.assert_allclose(probabilities, fitted.predict_proba(x), atol=1e-5)
    np.testing.assert_array_equal(scores.argmax(1), fitted.predict(x))


def test_a_pair_of_sigmoids_becomes_two_scores(save, run):
    nodes = [
        ("MatMul", ["x", "w"], ["z"], {}),
        ("Sigmoid", ["z"], ["p"], {}),
        ("Sub", ["one", "p"], ["q"], {}),
        ("Concat", ["q", "p"], ["y"], {"axis": 1}),
    ]
    path = save(nodes, {"w": f32(3, 1), "one": np.float32(1)})
    imported = import_onnx(path, samples=None)
    x = 50 * f32(8, 3)
    scores = imported.module(torch.from_numpy(x))
    assert imported.tail == "softmax"
    np.testing.assert_allclose(torch.softmax(scores, 1), run(path, x), atol=1e-6)
    assert (scores[:, 0] == -scores[:, 1]).all()


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"post_transform": "PROBIT"}, "PROBIT"),
        ({"coefficients": [1.0] * 5}, "5 coefficients for 2 outputs and 3 features"),
        ({"classlabels_ints": [1]}, "two class labels"),
    ],
)
def test_linear_classifiers_that_are_refused(save, attributes, reason):
    plain = {"coefficients": [1.0] * 6, "intercepts": [0.0, 0.0], "classlabels_ints": [0, 1]}
    node = ("ai.onnx.ml::LinearClassifier", ["x"], ["label", "y"], plain | attributes)
    with pytest.raises(OperatorUnsupported, match=reason):
        import_onnx(save([node], domains=("ai.onnx.ml",)), samples=None)


def test_a_normalizer_of_anything_but_a_softmax_is_refused(save):
    path = save([("ai.onnx.ml::Normalizer", ["x"], ["y"], {"norm": "L1"})], domains=("ai.onnx.ml",))
    with pytest.raises(OperatorUnsupported, match="Normalizer"):
        import_onnx(path, samples=None)


def test_no_text_of_the_file_reaches_the_generated_code(save):
    evil = "__import__('os').system('false')\nimport os"
    nodes = [
        ("MatMul", ["x", evil], ["a" + evil], {"name": evil}),
        ("Relu", ["a" + evil], ["y"], {"name": "b" + evil}),
    ]
    code = import_onnx(save(nodes, {evil: f32(3, 2)}), samples=None).module.code
    assert "system" not in code


def test_labels_are_imported_as_the_scores_behind_them(save):
    nodes = [
        ("MatMul", ["x", "w"], ["z"], {}),
        ("Softmax", ["z"], ["p"], {}),
        ("ArgMax", ["p"], ["a"], {"axis": 1, "keepdims": 0}),
        ("Identity", ["a"], ["y"], {}),
    ]
    weights = f32(3, 4)
    imported = import_onnx(save(nodes, {"w": weights}, output_type=7), samples=None)
    assert "ArgMax" in imported.detection
    x = f32(5, 3)
    np.testing.assert_allclose(imported.module(torch.from_numpy(x)), x @ weights, rtol=1e-5, atol=1e-6)


def test_a_graph_that_only_works_at_its_own_batch_size(save):
    path = save([("Add", ["x", "c"], ["y"], {})], {"c": f32(4, 3)}, (4, 3))
    imported = import_onnx(path, samples=f32(10, 3))
    assert imported.input_shape == (4, 3)
    assert imported.measured_gap == 0


def test_literal_batch_sizes_of_fixed_files_are_lifted(save, run):
    nodes = [("Reshape", ["x", "s"], ["r"], {}), ("MatMul", ["r", "w"], ["y"], {})]
    path = save(nodes, {"s": np.array([1, -1]), "w": f32(12, 2)}, (1, 3, 4))
    imported = import_onnx(path, samples=f32(3, 3, 4))
    assert imported.input_shape == (None, 3, 4)
    x = f32(5, 3, 4)
    expected = np.concatenate([run(path, row[None]) for row in x])
    np.testing.assert_allclose(imported.module(torch.from_numpy(x)), expected, rtol=1e-5, atol=1e-6)


def test_free_axes_take_their_length_from_the_samples(save):
    path = save([("GlobalAveragePool", ["x"], ["y"], {})], {}, (None, 3, None, None))
    assert import_onnx(path, samples=f32(2, 3, 4, 5)).input_shape == (None, 3, 4, 5)
    with pytest.raises(ShapeMismatch, match="free axes"):
        import_onnx(path, samples=None)


def test_an_undeclared_shape_is_that_of_the_samples(save):
    path = save([("Relu", ["x"], ["y"], {})], {}, None)
    assert import_onnx(path, samples=f32(2, 3)).input_shape == (None, 3)
    with pytest.raises(ShapeMismatch, match="declares no shape"):
        import_onnx(path, samples=None)


@pytest.mark.parametrize("samples", [f32(4, 5), f32(4, 3, 1), np.array([["a", "b", "c"]])])
def test_samples_that_do_not_fit(save, samples):
    with pytest.raises(ShapeMismatch):
        import_onnx(save([("Relu", ["x"], ["y"], {})]), samples=samples)


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([("ReduceMean", ["x"], ["y"], {"axes": [1], "keepdims": 0}), ("Relu", ["y"], ["z"], {})], {}, None),
        ([("Relu", ["c"], ["y"], {})], {"c": f32(2, 3)}, "does not depend on the input"),
        ([("Transpose", ["x"], ["y"], {})], {}, "one row for each"),
        ([("Relu", ["nothing"], ["y"], {})], {}, "'nothing', which is not computed"),
    ],
)
def test_outputs_that_are_no_scores(save, nodes, constants, reason):
    path = save(nodes, constants)
    if reason is None:  # a vector of one score per row is fine
        assert import_onnx(path, samples=None).module(torch.ones(4, 3)).shape == (4,)
        return
    with pytest.raises(OperatorUnsupported, match=reason):
        import_onnx(path, samples=None)


CHAIN = [
    ("MatMul", ["x", "w"], ["a"], {}),
    ("Tanh", ["a"], ["b"], {}),
    ("Sigmoid", ["b"], ["c"], {}),
    ("LeakyRelu", ["c"], ["d"], {"alpha": 0.1}),
    ("Softmax", ["d"], ["y"], {}),
]


@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid", "LeakyRelu", "MatMul"])
@pytest.mark.parametrize("batch", [None, 4])
def test_wrong_semantics_are_found_and_named(save, monkeypatch, operator, batch):
    right = operators.TRANSLATORS[operator]

    def wrong(b, op):
        return b.call(torch.mul, right(b, op), 1.01)

    path = save(CHAIN, {"w": f32(3, 4)}, (batch, 3))
    assert import_onnx(path, samples=f32(6, 3)).measured_gap < 1e-6
    monkeypatch.setitem(operators.TRANSLATORS, operator, wrong)
    with pytest.raises(
        OperatorUnsupported, match=rf"^operator {operator} .* differs from onnxruntime by 0\.0"
    ):
        import_onnx(path, samples=f32(6, 3))


def test_wrong_scores_that_a_softmax_hides_are_found(save, monkeypatch):
    right = operators.TRANSLATORS["MatMul"]
    monkeypatch.setitem(operators.TRANSLATORS, "MatMul", lambda b, op: b.call(torch.add, right(b, op), 5.0))
    path = save([("MatMul", ["x", "w"], ["a"], {}), ("Softmax", ["a"], ["y"], {})], {"w": f32(3, 4)})
    with pytest.raises(OperatorUnsupported, match="MatMul"):
        import_onnx(path, samples=None)


def test_samples_reach_what_random_inputs_miss(save, monkeypatch):
    monkeypatch.setitem(
        operators.TRANSLATORS, "Tanh", lambda b, op: b.call(torch.clamp, op.value(0), -1.0, 1.0)
    )
    path = save([("Tanh", ["x"], ["y"], {})])
    tiny = np.full((4, 3), 1e-4, dtype=np.float32)
    with pytest.raises(OperatorUnsupported, match="Tanh"):
        import_onnx(path, samples=np.concatenate([tiny, tiny + 0.5]))


def test_the_tolerance_decides(save, monkeypatch):
    monkeypatch.setitem(operators.TRANSLATORS, "Relu", lambda b, op: b.call(torch.add, op.value(0), 1e-3))
    path = save([("Relu", ["x"], ["y"], {})])
    samples = 2 + np.abs(f32(3, 3))
    loose = import_onnx(path, samples=samples, tolerance=1e-2)
    assert loose.tolerance == 1e-2
    assert 1e-4 < loose.measured_gap < 1e-3
    with pytest.raises(OperatorUnsupported, match=r"more than 0\.0001"):
        import_onnx(path, samples=samples)


def test_the_same_seed_gives_the_same_gap(save):
    path = save(CHAIN, {"w": f32(3, 4)})
    gaps = [import_onnx(path, samples=None, seed=seed).measured_gap for seed in (1, 1)]
    assert gaps[0] == gaps[1]


@pytest.mark.parametrize("library", ["torch", "onnx", "onnxruntime"])
def test_a_missing_library_is_named(save, monkeypatch, library):
    path = save([("Relu", ["x"], ["y"], {})])
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtraMissing, match=library) as caught:
        import_onnx(path, samples=None)
    assert "modelward[torch]" in caught.value.advice


def test_the_import_of_the_importer_loads_nothing_heavy():
    code = (
        "import sys, modelward.adapters.onnx_import.importer\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
