"""Each operator, with its attributes, against onnxruntime: independent of the importer's own comparison."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.adapters.onnx_import import operators, validate
from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import OperatorUnsupported

RNG = np.random.default_rng(7)


def f32(*shape, low=-1.0, high=1.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def i64(*values):
    return np.array(values, dtype=np.int64)


IMAGE, ROW = (3, 9, 8), (6,)
POSITIVE = ("Abs", ["x"], ["p"], {})  # square roots and logarithms of what is above a half
SHIFT = ("Add", ["p", "half"], ["q"], {})
HALF = {"half": np.float32(0.5)}


def case(name, op, shape, constants=(), *, opset=17, **attributes):
    """One node y = op(x, constants...)."""
    named = {f"c{i}": array for i, array in enumerate(constants) if array is not None}
    inputs = ["x", *(f"c{i}" if array is not None else "" for i, array in enumerate(constants))]
    return pytest.param(([(op, inputs, ["y"], attributes)], named, shape, opset), id=f"{op}-{name}")


def graph(name, nodes, shape, constants, *, opset=17):
    return pytest.param((nodes, constants, shape, opset), id=name)


W = f32(4, 3, 3, 3)
TRIANGLE = np.triu(np.ones((3, 3), dtype=bool), 1)
C33 = {"c": f32(3, 3)}
CASES = [
    case("plain", "Conv", IMAGE, [W]),
    case("bias", "Conv", IMAGE, [W, f32(4)]),
    case("pads", "Conv", IMAGE, [W], pads=[1, 2, 1, 2]),
    case("uneven-pads", "Conv", IMAGE, [W, f32(4)], pads=[0, 1, 2, 0], strides=[2, 1]),
    case("strides-dilations", "Conv", IMAGE, [W], strides=[2, 3], dilations=[2, 1], pads=[2, 1, 2, 1]),
    case("groups", "Conv", (4, 6, 6), [f32(8, 2, 3, 3)], group=2),
    case("depthwise", "Conv", (4, 6, 6), [f32(4, 1, 3, 3)], group=4),
    case("kernel-shape", "Conv", IMAGE, [W], kernel_shape=[3, 3]),
    case("same-upper", "Conv", IMAGE, [f32(4, 3, 2, 4)], auto_pad="SAME_UPPER", strides=[2, 3]),
    case("same-lower", "Conv", IMAGE, [f32(4, 3, 2, 4)], auto_pad="SAME_LOWER", strides=[2, 2]),
    case("valid", "Conv", IMAGE, [W], auto_pad="VALID", strides=[2, 2]),
    case("1d", "Conv", (3, 9), [f32(4, 3, 3)], pads=[1, 1]),
    case("3d", "Conv", (2, 5, 5, 5), [f32(3, 2, 2, 2, 2)], strides=[2, 1, 1]),
    case("plain", "Gemm", ROW, [f32(6, 4), f32(4)]),
    case("transB", "Gemm", ROW, [f32(4, 6), f32(1, 4)], transB=1, alpha=0.5, beta=2.0),
    case("no-c", "Gemm", ROW, [f32(6, 4)], opset=11),
    case("scalar-c", "Gemm", ROW, [f32(6, 4), np.float32(0.3)], opset=11),
    case("opset7", "Gemm", ROW, [f32(6, 4), f32(4)], opset=7),
    graph(
        "Gemm-transA",
        [
            ("Transpose", ["x"], ["t"], {"perm": [1, 0]}),
            ("Gemm", ["t", "w", "c"], ["y"], {"transA": 1, "alpha": 2.0}),
        ],
        ROW,
        {"w": f32(6, 4), "c": f32(4)},
    ),
    graph(
        "Gemm-computed-B",
        [
            ("MatMul", ["x", "w"], ["m"], {}),
            ("Transpose", ["x"], ["t"], {"perm": [1, 0]}),
            ("Gemm", ["t", "m", "c"], ["g"], {"alpha": 0.5, "beta": 0.25}),
            ("MatMul", ["x", "g"], ["y"], {}),
        ],
        (6,),
        {"w": f32(6, 4), "c": f32(6, 4)},
    ),
    case("right", "MatMul", ROW, [f32(6, 4)]),
    case("right-3d", "MatMul", (5, 6), [f32(6, 4)]),
    case("right-batched", "MatMul", (2, 5, 6), [f32(2, 6, 4)]),
    graph("MatMul-left", [("MatMul", ["w", "x"], ["y"], {})], (5, 6), {"w": f32(4, 5)}),
    case("2d", "BatchNormalization", IMAGE, [f32(3), f32(3), f32(3), f32(3, low=0.5)], epsilon=1e-3),
    case("row", "BatchNormalization", ROW, [f32(6), f32(6), f32(6), f32(6, low=0.5)]),
    case("1d", "BatchNormalization", (3, 5), [f32(3), f32(3), f32(3), f32(3, low=0.5)], momentum=0.5),
    case("3d", "BatchNormalization", (3, 2, 2, 2), [f32(3), f32(3), f32(3), f32(3, low=0.5)]),
    case("opset8", "BatchNormalization", IMAGE, [f32(3), f32(3), f32(3), f32(3, low=0.5)], opset=8),
    case("last", "LayerNormalization", (5, 6), [f32(6), f32(6)], epsilon=1e-3),
    case("axis", "LayerNormalization", (5, 6), [f32(5, 6)], axis=1),
    case("plain", "MaxPool", IMAGE, kernel_shape=[2, 2]),
    case("stride-pads", "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("uneven", "MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
    case("ceil", "MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    case("ceil-pads", "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1),
    case("dilated", "MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[3, 2]),
    case("same-upper", "MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 3], auto_pad="SAME_UPPER"),
    case("same-lower", "MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("1d", "MaxPool", (3, 9), kernel_shape=[3], strides=[2]),
    case("plain", "AveragePool", IMAGE, kernel_shape=[2, 2]),
    case("pads", "AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("counted", "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("uneven", "AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[0, 1, 2, 0]),
    case("uneven-counted", "AveragePool", IMAGE, kernel_shape=[3, 2], pads=[0, 1, 2, 0], count_include_pad=1),
    case("ceil", "AveragePool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    case("same-upper", "AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("global", "GlobalAveragePool", IMAGE),
    case("global", "GlobalMaxPool", IMAGE),
    *(
        case("plain", op, ROW)
        for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Erf", "Softplus", "Identity")
    ),
    *(
        graph(op, [POSITIVE, SHIFT, (op, ["q"], ["y"], {})], ROW, HALF)
        for op in ("Log", "Sqrt", "Reciprocal")
    ),
    case("default", "LeakyRelu", ROW),
    case("alpha", "LeakyRelu", ROW, alpha=0.3),
    case("alpha", "Elu", ROW, alpha=0.7),
    case("default", "HardSigmoid", ROW),
    case("alpha-beta", "HardSigmoid", ROW, alpha=0.4, beta=0.1),
    case("plain", "HardSwish", ROW),
    case("plain", "Mish", ROW, opset=18),
    case("none", "Gelu", ROW, opset=20),
    case("tanh", "Gelu", ROW, opset=20, approximate="tanh"),
    case("channel", "PRelu", IMAGE, [f32(3, 1, 1)]),
    case("attributes", "Clip", ROW, opset=7, min=-0.3, max=0.4),
    case("inputs", "Clip", ROW, [np.float32(-0.3), np.float32(0.4)]),
    case("min-only", "Clip", ROW, [np.float32(0.1)]),
    case("max-only", "Clip", ROW, [None, np.float32(0.1)]),
    case("opset7", "Dropout", ROW, opset=7, ratio=0.4),
    case("opset13", "Dropout", ROW, [np.float32(0.4), np.array(False)], opset=13),
    case("vector", "Add", ROW, [f32(6)]),
    case("scalar", "Sub", ROW, [np.float32(0.3)]),
    case("channel", "Mul", IMAGE, [f32(3, 1, 1)]),
    case("vector", "Div", ROW, [f32(6, low=0.5)]),
    case("three", "Max", ROW, [f32(6), f32(6)]),
    case("two", "Min", ROW, [f32(6)]),
    case("three", "Sum", ROW, [f32(6), f32(6)]),
    case("square", "Pow", ROW, [np.float32(2)]),
    graph("Add-itself", [("Add", ["x", "x"], ["y"], {})], ROW, {}),
    graph("Sub-constant-left", [("Sub", ["c", "x"], ["y"], {})], ROW, {"c": np.float32(1)}),
    case("old-default", "Softmax", (2, 3), opset=11),
    case("old-axis", "Softmax", (2, 3), opset=11, axis=2),
    case("new-default", "Softmax", (2, 3), opset=13),
    case("new-axis", "Softmax", (4, 2, 3), opset=13, axis=1),
    case("new-default", "LogSoftmax", ROW, opset=13),
    case("old-default", "LogSoftmax", (2, 3), opset=11),
    case("zero-minus-one", "Reshape", IMAGE, [i64(0, -1)]),
    case("minus-one-first", "Reshape", IMAGE, [i64(-1, 216)]),
    case("split-axis", "Reshape", (6,), [i64(0, 2, 3)]),
    case("default", "Flatten", IMAGE),
    case("negative", "Flatten", (2, 3), axis=-2),
    case("perm", "Transpose", IMAGE, perm=[0, 2, 3, 1]),
    graph(
        "Transpose-default-twice",
        [("Transpose", ["x"], ["t"], {}), ("Transpose", ["t"], ["y"], {})],
        (2, 3),
        {},
    ),
    case("input", "Unsqueeze", ROW, [i64(1, -1)]),
    case("attribute", "Unsqueeze", ROW, opset=11, axes=[1, 3]),
    case("input", "Squeeze", (1, 6, 1), [i64(1, -1)]),
    case("attribute", "Squeeze", (1, 6, 1), opset=11, axes=[1]),
    case("pads", "Pad", IMAGE, [i64(0, 0, 1, 2, 0, 0, 3, 0)]),
    case("value", "Pad", IMAGE, [i64(0, 0, 1, 2, 0, 0, 3, 0), np.float32(0.7)]),
    case("axes", "Pad", IMAGE, [i64(1, 2, 2, 0), np.float32(0), i64(2, -1)], opset=18),
    case("reflect", "Pad", IMAGE, [i64(0, 0, 1, 2, 0, 0, 3, 0)], mode="reflect"),
    case("edge", "Pad", IMAGE, [i64(0, 0, 1, 2, 0, 0, 3, 0)], mode="edge"),
    case("attributes", "Pad", IMAGE, opset=7, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.25),
    case("crop", "Pad", IMAGE, [i64(0, 0, -1, 0, 0, 0, 0, -2)]),
    case("steps", "Slice", IMAGE, [i64(1, 6), i64(9, 0), i64(2, 3), i64(2, -2)]),
    case("to-the-end", "Slice", IMAGE, [i64(-4), i64(2**63 - 1), i64(3)]),
    case("reversed", "Slice", ROW, [i64(-1), i64(-(2**63)), i64(1), i64(-1)]),
    case("attributes", "Slice", IMAGE, opset=7, starts=[1], ends=[-1], axes=[2]),
    case("one", "Gather", IMAGE, [np.int64(-1)], axis=1),
    case("many", "Gather", ROW, [i64(3, 0, 3)], axis=1),
    graph("Split-input", [("Split", ["x", "s"], ["a", "y"], {"axis": 1})], ROW, {"s": i64(2, 4)}),
    graph("Split-attribute", [("Split", ["x"], ["y", "b"], {"axis": 1, "split": [2, 4]})], ROW, {}, opset=11),
    graph("Split-equal", [("Split", ["x"], ["a", "y"], {"axis": 1})], ROW, {}),
    graph("Split-num", [("Split", ["x"], ["a", "y"], {"axis": 1, "num_outputs": 2})], (7,), {}, opset=18),
    graph("Concat", [("Relu", ["x"], ["r"], {}), ("Concat", ["x", "r"], ["y"], {"axis": -1})], ROW, {}),
    *(
        case("attribute", f"Reduce{k}", IMAGE, opset=12, axes=[2, -1], keepdims=0)
        for k in ("Mean", "Sum", "Max", "Min")
    ),
    case("input", "ReduceSum", IMAGE, [i64(1)], opset=13),
    case("input", "ReduceMean", IMAGE, [i64(2, 3)], opset=18, keepdims=0),
    case("noop", "ReduceMax", IMAGE, [i64()], opset=18, noop_with_empty_axes=1),
    case("offset-scale", "ai.onnx.ml::Scaler", ROW, offset=[0.1] * 6, scale=[2.0] * 6),
    case(
        "regressor",
        "ai.onnx.ml::LinearRegressor",
        ROW,
        coefficients=[0.5] * 12,
        intercepts=[1.0, 2.0],
        targets=2,
    ),
    graph(
        "Cast-there-and-back",
        [("Cast", ["x"], ["d"], {"to": 11}), ("Exp", ["d"], ["e"], {}), ("Cast", ["e"], ["y"], {"to": 1})],
        ROW,
        {},
    ),
    graph(
        "Shape-Gather-Concat-Reshape",
        [
            ("Shape", ["x"], ["s"], {}),
            ("Gather", ["s", "zero"], ["n"], {"axis": 0}),
            ("Unsqueeze", ["n", "axis"], ["m"], {}),
            ("Concat", ["m", "rest"], ["t"], {"axis": 0}),
            ("Reshape", ["x", "t"], ["y"], {}),
        ],
        IMAGE,
        {"zero": np.int64(0), "axis": i64(0), "rest": i64(9, 24)},
    ),
    graph(
        "Shape-arithmetic",
        [
            ("Shape", ["x"], ["s"], {"start": 1}),
            ("Slice", ["s", "zero", "one"], ["c"], {}),
            ("Mul", ["c", "c"], ["c2"], {}),
            ("Div", ["c2", "c"], ["c3"], {}),
            ("ConstantOfShape", ["c3"], ["k"], {}),
            ("Reshape", ["k", "k_shape"], ["r"], {}),
            ("Add", ["x", "r"], ["y"], {}),
        ],
        (3, 4),
        {"zero": i64(0), "one": i64(1), "k_shape": i64(3, 1)},
    ),
    graph(
        "Constant-node",
        [("Constant", [], ["k"], {"value_floats": [1.0, 2.0, 3.0]}), ("Mul", ["x", "k"], ["y"], {})],
        (3,),
        {},
    ),
    graph(
        "Expand-Tile-Range-Where-Cast",
        [
            ("Range", ["zero", "three", "one"], ["r"], {}),
            ("Cast", ["r"], ["f"], {"to": 1}),
            ("Expand", ["f", "target"], ["e"], {}),
            ("Tile", ["e", "twice"], ["t"], {}),
            ("Greater", ["t", "half"], ["g"], {}),
            ("Where", ["g", "t", "half"], ["w"], {}),
            ("Mul", ["x", "w"], ["y"], {}),
        ],
        (2, 6),
        {
            "zero": np.int64(0),
            "three": np.int64(3),
            "one": np.int64(1),
            "target": i64(2, 3),
            "twice": i64(1, 2),
        }
        | HALF,
    ),
    case("repeats-an-axis", "Expand", (1, 4), [i64(1, 3, 1)]),
    case("adds-an-axis-of-one", "Expand", (3,), [i64(1, 3)]),
    case("signal", "Tile", (2, 3), [i64(1, 2, 1)]),
    case("signal-both", "Tile", (2, 3), [i64(1, 3, 2)]),
    graph("Where-constant-first", [("Where", ["m", "c", "x"], ["y"], {})], (3, 3), {"m": TRIANGLE} | C33),
    graph("Where-constant-last", [("Where", ["m", "x", "c"], ["y"], {})], (3, 3), {"m": TRIANGLE} | C33),
    graph(
        "Where-two-signals",
        [("Relu", ["x"], ["r"], {}), ("Where", ["m", "x", "r"], ["y"], {})],
        (3, 3),
        {"m": TRIANGLE},
    ),
    graph(
        "Where-attention",
        [("Where", ["m", "never", "x"], ["w"], {}), ("Softmax", ["w"], ["s"], {}), ("Neg", ["s"], ["y"], {})],
        (3, 3),
        {"m": TRIANGLE, "never": np.float32(-np.inf)},
    ),
    graph(
        "Trilu-Where",
        [
            ("Trilu", ["c", "k"], ["t"], {"upper": 0}),
            ("Trilu", ["t"], ["u"], {}),
            ("Add", ["x", "u"], ["y"], {}),
        ],
        (3, 3),
        {"k": i64(1)[0]} | C33,
    ),
    graph(
        "Mod",
        [
            ("Mod", ["a", "b"], ["r"], {}),
            ("Mod", ["a", "b"], ["f"], {"fmod": 1}),
            ("Add", ["r", "f"], ["s"], {}),
            ("Cast", ["s"], ["c"], {"to": 1}),
            ("Mul", ["x", "c"], ["y"], {}),
        ],
        (4,),
        {"a": i64(-7, 7, -7, 7), "b": i64(3, 3, -3, -3)},
    ),
    case("weights", "Einsum", (3, 4), [f32(4, 5)], equation=b"bid,de->bie"),
    case("weights-of-heads", "Einsum", (3, 4), [f32(4, 2, 5)], equation=b"bid,dhe -> bhie"),
    case("constant-per-head", "Einsum", (3, 4), [f32(3, 5)], equation=b"bid,ik->bkd"),
    graph("Einsum-scores", [("Einsum", ["x", "x"], ["y"], {"equation": b"bid,bjd->bij"})], (3, 4), {}),
    graph("Einsum-flipped", [("Einsum", ["x", "x"], ["y"], {"equation": b"bid,bjd->bji"})], (3, 4), {}),
    graph("Einsum-heads", [("Einsum", ["x", "x"], ["y"], {"equation": b"bnhd,bmhd->bhnm"})], (3, 2, 4), {}),
    graph("Einsum-two-sums", [("Einsum", ["x", "x"], ["y"], {"equation": b"bihd,bjhd->bij"})], (3, 2, 4), {}),
    graph("Einsum-dot", [("Einsum", ["x", "x"], ["y"], {"equation": b"bid,bid->bi"})], (3, 4), {}),
    *(
        graph(
            f"Concat-{name}",
            [
                ("Shape", ["x"], ["s"], {}),
                ("Gather", ["s", "zero"], ["n"], {"axis": 0}),
                ("Concat", ["n", "rest"], ["t"], {"axis": 0}),
                ("Expand", ["token", "t"], ["tokens"], {}),
                ("Concat", parts, ["y"], {"axis": 1}),
            ],
            (2, 3),
            {"zero": i64(0), "rest": i64(1, 3), "token": f32(1, 1, 3)},
        )
        for name, parts in {
            "before": ["tokens", "x"],
            "after": ["x", "tokens"],
            "between": ["x", "tokens", "x", "tokens"],
        }.items()
    ),
    graph(
        "Add-repeated-constant",
        [
            ("Shape", ["x"], ["s"], {}),
            ("Expand", ["row", "s"], ["rows"], {}),
            ("Sub", ["rows", "x"], ["y"], {}),
        ],
        (2, 3),
        {"row": f32(1, 2, 3)},
    ),
]


@pytest.mark.parametrize("cell", CASES)
@pytest.mark.parametrize("batch", [None, 1, 4], ids=["free", "one", "four"])
def test_operator_agrees_with_onnxruntime(save, run, cell, batch):
    nodes, constants, row, opset = cell
    path = save(nodes, constants, (batch, *row), opset=opset, domains=("ai.onnx.ml",))
    imported = import_onnx(path, samples=None)
    x = f32(batch or 5, *row, low=-2, high=2)
    ours = imported.module(torch.from_numpy(x))
    if imported.tail == "softmax":
        ours = torch.softmax(ours, 1 if nodes[-1][3].get("axis") == 1 or ours.dim() == 2 else ours.dim() - 1)
    elif imported.tail == "sigmoid":
        ours = torch.sigmoid(ours)
    expected = run(path, x, "y")
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert imported.measured_gap < 1e-5


@pytest.mark.parametrize("cell", CASES)
def test_operator_has_gradients_like_finite_differences(save, cell):
    nodes, constants, row, opset = cell
    imported = import_onnx(
        save(nodes, constants, (None, *row), opset=opset, domains=("ai.onnx.ml",)), samples=None
    )
    module = imported.module.double()
    for node in module.graph.nodes:
        if node.op == "call_method":
            pytest.skip("a cast pins float32, too coarse for finite differences")
    x = torch.from_numpy(f32(2, *row)).double().requires_grad_()
    weights = torch.from_numpy(RNG.standard_normal(module(x).shape))
    (analytic,) = torch.autograd.grad((module(x) * weights).sum(), x)
    direction = torch.from_numpy(RNG.standard_normal(x.shape))
    step = 1e-7
    with torch.no_grad():
        difference = ((module(x + step * direction) - module(x - step * direction)) * weights).sum() / (
            2 * step
        )
    assert float((analytic * direction).sum()) == pytest.approx(float(difference), rel=1e-4, abs=1e-5)


MODULES = {
    *(nn.Linear, nn.LayerNorm, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}
FUNCTIONS = {
    *(functional.relu, functional.leaky_relu, functional.elu, functional.gelu, functional.hardswish),
    *(functional.mish, functional.softplus, functional.softmax, functional.log_softmax, functional.pad),
    *(torch.abs, torch.erf, torch.exp, torch.log, torch.neg, torch.reciprocal, torch.sqrt),
    *(torch.sigmoid, torch.tanh, torch.clamp, torch.pow, torch.maximum, torch.minimum),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.matmul),
    *(torch.permute, torch.flatten, torch.reshape, torch.cat),
    *(torch.narrow, torch.index_select, torch.select, torch.mean, torch.sum, torch.amax, torch.amin),
}


@pytest.mark.parametrize("cell", CASES)
def test_modules_are_made_of_a_known_vocabulary(save, cell):
    """What walks the graph (bound propagation, for one) has to understand this much and no more."""
    nodes, constants, row, opset = cell
    module = import_onnx(
        save(nodes, constants, (None, *row), opset=opset, domains=("ai.onnx.ml",)), samples=None
    ).module
    for node in module.graph.nodes:
        if node.op == "call_module":
            assert type(module.get_submodule(node.target)) in MODULES
        elif node.op == "call_function":
            assert node.target in FUNCTIONS
        else:
            assert node.op in {"placeholder", "get_attr", "output"} or node.target == "to"


def test_every_translator_is_in_the_table():
    used = {node[0].split("::")[-1] for parameters in CASES for node in parameters.values[0][0]}
    elsewhere = {"LinearClassifier", "Normalizer", "CastLike", "Size"}  # test_importer and below
    elsewhere |= {"Celu", "ConvTranspose", "GroupNormalization", "InstanceNormalization"}  # test_norms
    elsewhere |= {"RMSNormalization", "Selu", "Softsign"}
    folded = {"And", "Ceil", "Equal", "Floor", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"}  # below
    assert set(operators.TRANSLATORS) == used | elsewhere | folded


@pytest.mark.parametrize(
    ("op", "arity"),
    [("Equal", 2), ("Less", 2), ("LessOrEqual", 2), ("GreaterOrEqual", 2), ("Floor", 1), ("Ceil", 1)],
)
def test_operators_that_are_folded(save, run, op, arity):
    nodes = [
        (op, ["a", "b"][:arity], ["t"], {}),
        ("CastLike", ["t", "x"], ["f"], {}),
        ("Mul", ["x", "f"], ["y"], {}),
    ]
    path = save(nodes, {"a": f32(6, high=2), "b": f32(6)}, (None, 6))
    x = f32(5, 6)
    np.testing.assert_allclose(
        import_onnx(path, samples=x).module(torch.from_numpy(x)), run(path, x), rtol=1e-6
    )


@pytest.mark.parametrize("op", ["And", "Or", "Not"])
def test_logic_that_is_folded(save, run, op):
    inputs = ["a"] if op == "Not" else ["a", "b"]
    nodes = [(op, inputs, ["t"], {}), ("Cast", ["t"], ["f"], {"to": 1}), ("Mul", ["x", "f"], ["y"], {})]
    path = save(nodes, {"a": np.array([True, True, False]), "b": np.array([True, False, False])})
    x = f32(5, 3)
    np.testing.assert_array_equal(import_onnx(path, samples=x).module(torch.from_numpy(x)), run(path, x))


def test_size_follows_the_batch(save, run):
    nodes = [
        ("Size", ["x"], ["s"], {}),
        ("Unsqueeze", ["s", "zero"], ["t"], {}),
        ("Reshape", ["x", "t"], ["r"], {}),
        ("Reshape", ["r", "back"], ["y"], {}),
    ]
    path = save(nodes, {"zero": i64(0), "back": i64(-1, 3)})
    x = f32(5, 3)
    np.testing.assert_array_equal(import_onnx(path, samples=x).module(torch.from_numpy(x)), run(path, x))


REFUSED = [
    ("BatchNormalization", {"training_mode": 1}, [f32(3), f32(3), f32(3), f32(3)], IMAGE, "training_mode"),
    ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, [], IMAGE, "dilations"),
    ("Pad", {"mode": "wrap"}, [i64(0, 0, 1, 1, 0, 0, 1, 1)], IMAGE, "wrap"),
    ("Pad", {}, [i64(1, 0, 0, 0)], ROW, "depends on the batch size"),
    ("Cast", {"to": 7}, [], ROW, "int64"),
    ("Floor", {}, [], ROW, "computed from the data"),
    ("ReduceSum", {}, [i64(0)], ROW, "batch axis"),
    ("Gather", {"axis": 0}, [i64(0)], ROW, "batch"),
    ("LSTM", {"hidden_size": 2}, [f32(1, 8, 6), f32(1, 8, 2)], (4, 6), "LSTM .* is not supported"),
    ("Conv", {"auto_pad": "SAME_UPPER", "kernel_shape": [2, 2]}, [W], IMAGE, "kernel_shape"),
    ("Conv", {}, [W, f32(5)], IMAGE, "bias of 5 for 4 channels"),
    ("Clip", {}, [f32(2)], ROW, "2 elements"),
    ("Add", {}, [f32(5)], ROW, "cannot be applied to its inputs"),
    ("Transpose", {"perm": [0, 0]}, [], ROW, "cannot be applied to its inputs"),
    ("MaxPool", {"kernel_shape": [20, 2]}, [], IMAGE, "does not fit"),
    ("MaxPool", {"kernel_shape": [2]}, [], IMAGE, "1 axes on an input of 2"),
    ("MaxPool", {"kernel_shape": [0, 2]}, [], IMAGE, "below one"),
    ("LeakyRelu", {"alpha": float("nan")}, [], ROW, "attribute is nan"),
    ("Softmax", {"axis": 5}, [], ROW, "axis 5 does not exist"),
    ("Squeeze", {}, [i64(1)], ROW, "length one"),
    ("Split", {"axis": 1}, [i64(2, 3)], ROW, "lengths"),
    ("Unsqueeze", {}, [i64(1, 1)], ROW, "repeat"),
    ("Gather", {"axis": 1}, [np.array([[0, 1]])], ROW, "indices of 2 axes"),
    ("Reshape", {}, [f32(2)], ROW, "not a list of integers"),
    ("Dropout", {}, [np.float32(0.5), np.array(True)], ROW, "training_mode"),
    ("Tile", {}, [i64(2, 1)], ROW, "depends on the batch size"),
    ("Trilu", {}, [], (6, 6), "computed from the data"),
    ("Mod", {}, [f32(6)], ROW, "computed from the data"),
    ("Where", {}, [f32(6), f32(6)], ROW, "computed from the data"),
    ("Einsum", {"equation": b"bi->b"}, [], ROW, "no product of two factors"),
    ("Einsum", {"equation": b"bi,ij"}, [f32(6, 2)], ROW, "no product of two factors"),
    ("Einsum", {"equation": b"...i,ij->...j"}, [f32(6, 2)], ROW, "ellipsis"),
    ("Einsum", {"equation": b"bi,ii->b"}, [f32(6, 6)], ROW, "a letter twice"),
    ("Einsum", {"equation": b"bi,ij->b"}, [f32(6, 2)], ROW, "one factor alone"),
    ("Einsum", {"equation": b"bi,ijk->bjk"}, [f32(6, 2)], ROW, "does not fit 2 and 2 axes"),
    ("ConstantOfShape", {}, [], ROW, "computed from the data"),
    ("Expand", {}, [i64(4, 6)], ROW, "cannot be applied"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=[f"{r[0]}-{r[4]}" for r in REFUSED])
def test_what_is_not_understood_is_refused_by_name(save, refused):
    op, attributes, constants, row, reason = refused
    named = {f"c{i}": array for i, array in enumerate(constants)}
    path = save([(op, ["x", *named], ["y"], attributes)], named, (None, *row), opset=19)
    with pytest.raises(OperatorUnsupported, match=reason) as caught:
        import_onnx(path, samples=None)
    assert op in str(caught.value)


def test_an_attribute_nobody_looked_at_is_refused(save, monkeypatch):
    monkeypatch.setitem(operators.TRANSLATORS, "LeakyRelu", operators.TRANSLATORS["Relu"])
    path = save([("LeakyRelu", ["x"], ["y"], {"alpha": 0.2})])
    with pytest.raises(OperatorUnsupported, match=r"LeakyRelu .*alpha is not understood"):
        import_onnx(path, samples=None)


def test_gap_is_scaled_and_counts_non_finite_entries():
    def pair(a, b):
        return validate.gap(np.array(a, dtype=np.float64), np.array(b, dtype=np.float64))

    assert pair([1.0, 1000.0], [1.0, 1001.0]) == pytest.approx(1 / 1001)
    assert pair([0.1], [0.3]) == pytest.approx(0.2)
    assert pair([np.nan, np.inf], [np.nan, np.inf]) == 0
    assert pair([np.nan], [1.0]) == np.inf
    assert pair([-np.inf], [np.inf]) == np.inf
    assert pair([1.0], [1.0, 1.0]) == np.inf
