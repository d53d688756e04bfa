import os
import subprocess
import sys

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.examine import examine
from modelward.adapters.opening import ModelOptions, open_file
from modelward.core.model import Differentiable
from modelward.errors import FileDamaged, ModelRaised, ShapeMismatch

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto
numpy_helper = onnx.numpy_helper


def save(path, nodes, inputs, outputs, weights=(), *, opsets=()):
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), *opsets], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def weights():
    return np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def linear(path, weights, batch="n", tail=None, name="score"):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if tail else name])]
    if tail:
        nodes.append(helper.make_node(tail, ["z"], [name]))
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, weights.shape[1]])],
        [("w", weights)],
    )


def data(n=20, d=4):
    rng = np.random.default_rng(1)
    return from_arrays(rng.normal(size=(n, d)), np.arange(n) % 3, options=DataOptions())


def opened(path, samples=None, **options):
    return open_file(path, examine(path), samples or data(), None, ModelOptions(**options))


def test_logits_with_a_differentiable_copy(tmp_path, weights):
    torch = pytest.importorskip("torch")
    found = opened(linear(tmp_path / "m.onnx", weights))
    x = found.data.x.astype(np.float32)
    np.testing.assert_allclose(found.model.scores(x), x @ weights, rtol=1e-5, atol=1e-6)
    assert found.model.outputs.kind == "logits"
    assert isinstance(found.model, Differentiable)
    assert 0 < found.model.tolerance <= 1e-4
    leaf = torch.from_numpy(x).requires_grad_()
    found.model.module()(leaf)[:, 0].sum().backward()
    np.testing.assert_allclose(leaf.grad, np.tile(weights[:, 0], (len(x), 1)), rtol=1e-5)


def test_probabilities_decide_as_the_copy_does(tmp_path, weights):
    torch = pytest.importorskip("torch")
    found = opened(linear(tmp_path / "m.onnx", weights, tail="Softmax"))
    assert found.model.outputs.kind == "probabilities"
    x = found.data.x.astype(np.float32)
    copy = found.model.module()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(copy.argmax(1), found.model.scores(x).argmax(1))


@pytest.mark.parametrize("tail", [None, "Sigmoid"])
def test_one_number_for_two_classes(tmp_path, weights, tail):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    samples = from_arrays(rng.normal(size=(20, 4)), np.arange(20) % 2, options=DataOptions())
    found = opened(linear(tmp_path / "m.onnx", weights[:, :1], tail=tail), samples)
    x = samples.x.astype(np.float32)
    decided = (x @ weights[:, 0] > 0).astype(int)
    np.testing.assert_array_equal(found.model.scores(x).argmax(1), decided)
    copy = found.model.module()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(copy.argmax(1), decided)


def test_a_fixed_batch_is_filled_up(tmp_path, weights):
    free = opened(linear(tmp_path / "free.onnx", weights))
    fixed = opened(linear(tmp_path / "fixed.onnx", weights, batch=8))
    x = free.data.x
    assert len(x) % 8
    np.testing.assert_allclose(fixed.model.scores(x), free.model.scores(x), rtol=1e-6)


def test_a_zipmap_names_the_classes(tmp_path, weights):
    path = save(
        tmp_path / "z.onnx",
        [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["p"]),
            helper.make_node("ArgMax", ["s"], ["label"], axis=1, keepdims=0),
            helper.make_node(
                "ZipMap", ["p"], ["zip"], domain="ai.onnx.ml", classlabels_strings=["c", "a", "b"]
            ),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_value_info(
                "zip",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
                    )
                ),
            ),
        ],
        [("w", weights)],
        opsets=[helper.make_opsetid("ai.onnx.ml", 3)],
    )
    rng = np.random.default_rng(1)
    samples = from_arrays(rng.normal(size=(9, 4)), np.array(["a", "b", "c"] * 3), options=DataOptions())
    found = opened(path, samples)
    assert sorted(found.model.outputs.classes) == ["a", "b", "c"]  # a map has an order of its own
    np.testing.assert_array_equal(np.array(found.data.labels)[found.data.y], ["a", "b", "c"] * 3)
    x = samples.x.astype(np.float32)
    said = np.array(found.model.outputs.classes)[found.model.scores(x).argmax(1)]
    np.testing.assert_array_equal(said, np.array(["c", "a", "b"])[(x @ weights).argmax(1)])


def test_what_the_importer_does_not_know_can_still_be_queried(tmp_path):
    path = save(
        tmp_path / "t.onnx",
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [("axis", np.array(1, np.int64))],
    )
    found = opened(path, outputs=_logits())
    assert not isinstance(found.model, Differentiable)
    assert "CumSum" in found.absent["gradients"]
    assert found.model.scores(found.data.x).shape == (20, 4)


def _logits():
    from modelward.adapters.outputs import OutputOptions

    return OutputOptions(outputs="logits", classes=("0", "1", "2", "3"))


def test_shapes_that_do_not_fit(tmp_path, weights):
    with pytest.raises(ShapeMismatch, match="takes 4 features"):
        opened(linear(tmp_path / "m.onnx", weights), data(d=5))


def test_damaged_files(tmp_path, weights):
    path = linear(tmp_path / "m.onnx", weights)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((FileDamaged, ShapeMismatch)):
        open_file(path, examine(path), data(), None, ModelOptions())


def test_text_is_refused_by_the_runtime(tmp_path, weights):
    found = opened(linear(tmp_path / "m.onnx", weights))
    with pytest.raises(ModelRaised, match="takes numbers"):
        found.model.scores(np.array([["a"] * 4]))


def test_no_thread_reports_home():
    code = (
        "import os; from modelward.adapters.ort import onnxruntime; "
        "print(len(os.listdir('/proc/self/task')), os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy's own threads are not what is counted
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=alone)
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8])
def test_a_model_of_whole_numbers_is_asked_about_whole_numbers(tmp_path, weights, kind):
    nodes = [
        helper.make_node("Cast", ["x"], ["z"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["z", "w"], ["score"]),
    ]
    scores = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 3])
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [scores],
        [("w", weights)],
    )
    with pytest.raises(ShapeMismatch, match="whole numbers"):
        opened(path)
    x = np.arange(80).reshape(20, 4) % 7
    found = opened(path, from_arrays(x, np.arange(20) % 3, options=DataOptions()))
    np.testing.assert_allclose(found.model.scores(found.data.x), x @ weights, rtol=1e-5, atol=1e-5)
