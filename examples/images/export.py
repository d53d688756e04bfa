"""Write a sequential network as an ONNX file, layer by layer, with nothing but the `onnx` package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17
IR_VERSION = 8  # the version that came with the opset; every onnxruntime since 1.15 reads it


def write_onnx(network: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """Write a network of convolutions, linear layers, ReLU and Flatten.

    Args:
        network: takes (n, *shape) float32, answers (n, k) scores.
        shape: of one input.
        path: file to write.

    Raises:
        TypeError: a layer is of another kind.
    """
    nodes, weights = [], []
    name = "input"
    for i, layer in enumerate(network):
        inputs, output = [name], f"layer{i}"
        if isinstance(layer, nn.Conv2d | nn.Linear):
            for part, value in layer.named_parameters():
                weights.append(numpy_helper.from_array(value.detach().numpy(), f"{output}.{part}"))
                inputs.append(f"{output}.{part}")
        nodes.append(_node(layer, inputs, output))
        name = output
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *shape])
    scores = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None])
    graph = helper.make_graph(nodes, "network", [given], [scores], weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _node(layer: nn.Module, inputs: list[str], output: str) -> onnx.NodeProto:
    match layer:
        case nn.Conv2d():
            return helper.make_node(
                "Conv",
                inputs,
                [output],
                kernel_shape=layer.kernel_size,
                strides=layer.stride,
                pads=[*layer.padding, *layer.padding],
                dilations=layer.dilation,
                group=layer.groups,
            )
        case nn.Linear():
            return helper.make_node("Gemm", inputs, [output], transB=1)
        case nn.ReLU():
            return helper.make_node("Relu", inputs, [output])
        case nn.Flatten():
            return helper.make_node("Flatten", inputs, [output])
    raise TypeError(f"a layer of type {type(layer).__name__} is not exported")
