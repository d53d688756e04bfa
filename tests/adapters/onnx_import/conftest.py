"""Small ONNX files for the importer's tests."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip, so that a missing extra skips

ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}


@pytest.fixture
def save(tmp_path):
    """save(nodes, constants, shape, ...) writes a model with input 'x' and output 'y' and returns its path."""

    def build(
        nodes,
        constants=(),
        shape=(None, 3),
        *,
        opset=17,
        dtype="float32",
        outputs=("y",),
        domains=(),
        name="model.onnx",
        output_type=None,
    ):
        kind = ELEMENTS[dtype]
        named = dict(constants)
        graph = helper.make_graph(
            [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes],
            "graph",
            [
                helper.make_tensor_value_info(
                    "x", kind, ["n" if d is None else d for d in shape] if shape else None
                )
            ],
            [helper.make_tensor_value_info(out, output_type or kind, None) for out in outputs],
            [numpy_helper.from_array(np.asarray(array), key) for key, array in named.items()],
        )
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        for node in model.graph.node:  # nodes of ai.onnx.ml or custom domains are given as 'domain::Op'
            if "::" in node.op_type:
                node.domain, node.op_type = node.op_type.split("::")
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return build


@pytest.fixture
def run():
    """run(path, x, output=None) is what onnxruntime answers."""

    def answer(path, x, output=None):
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run([output] if output else None, {"x": x})[0]

    return answer
