"""Translate a network, node by node, into an fx graph."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

import torch

from modelward.adapters.onnx_import import layers, norms, products
from modelward.adapters.onnx_import.builder import Builder, Signal, Value, bounded, shapes
from modelward.adapters.onnx_import.elementwise import ELEMENTWISE
from modelward.adapters.onnx_import.graph import Node, first_line
from modelward.adapters.onnx_import.linear_models import LINEAR_MODELS
from modelward.adapters.onnx_import.operation import Operation, to_torch
from modelward.adapters.onnx_import.shapes import SHAPES
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelward.adapters.onnx_import.graph import Network

DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}

TRANSLATORS: Final[dict[str, Callable[[Builder, Operation], Value | tuple[Value | None, ...]]]] = {
    "AveragePool": layers.average_pool,
    "BatchNormalization": layers.batch_norm,
    "Conv": layers.conv,
    "ConvTranspose": norms.conv_transpose,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_average,
    "GlobalMaxPool": layers.global_max,
    "GroupNormalization": norms.group_norm,
    "InstanceNormalization": norms.instance_norm,
    "LayerNormalization": layers.layer_norm,
    "Einsum": products.einsum,
    "MatMul": layers.matmul,
    "MaxPool": layers.max_pool,
    "RMSNormalization": norms.rms_norm,
    **ELEMENTWISE,
    **LINEAR_MODELS,
    **SHAPES,
}


def translate(network: Network, shape: tuple[int, ...], batches: tuple[int, ...]) -> tuple[Builder, Signal]:
    """Build the fx graph of a network.

    Args:
        network: what was read from the file.
        shape: of one input row, without the batch axis.
        batches: the batch sizes at which shapes are followed; two for a batch-general module, the first of
            them the file's own where that is fixed, or that one alone.

    Returns:
        The builder and the value of the scores. Each node has `meta["onnx"] = Node` and `meta["tensor"]`,
        the name of the ONNX tensor it computes.

    Raises:
        OperatorUnsupported: names the operator, and the attribute or input that is not understood.
    """
    dtype = DTYPES[network.dtype]
    builder = Builder(
        "x", tuple(torch.empty(bounded((batch, *shape)), dtype=dtype, device="meta") for batch in batches)
    )
    values: dict[str, Value] = {network.input_name: builder.input}
    builder.input.node.meta["shape"] = shapes(builder.input)[0]
    fixed = network.dims[0] if network.dims else None
    for node in network.nodes:
        if node.operator not in TRANSLATORS:
            raise OperatorUnsupported(f"operator {node} is not supported")
        for name in node.inputs:
            if name and name not in values:
                values[name] = _constant(builder, network.constants, name, node)
        inputs = tuple(values[name] if name else None for name in node.inputs)
        results = _apply(builder, Operation(node, inputs, network.opset, fixed))
        for name, result in zip(node.outputs, results, strict=False):
            if result is not None:
                values[name] = result
            if isinstance(result, Signal):
                result.node.meta.setdefault("shape", shapes(result)[0])
            if isinstance(result, Signal) and result is not builder.input:
                result.node.meta.setdefault("onnx", node)
                result.node.meta.setdefault("tensor", name)
    score = values.get(network.score)
    if not isinstance(score, Signal):
        raise OperatorUnsupported(f"output {network.output_name!r} does not depend on the input")
    if any(
        not probe.dim() or len(probe) != batch for probe, batch in zip(score.probes, batches, strict=True)
    ):
        first = tuple(score.probes[0].shape)
        raise OperatorUnsupported(
            f"output {network.output_name!r} has shape {first} for {batches[0]} inputs, not one row for each"
        )
    return builder, score


def _constant(builder: Builder, unread: Mapping[str, object], name: str, node: Node) -> Value:
    if name not in unread:
        raise OperatorUnsupported(
            f"operator {node} needs {name!r}, which is not computed before it or not imported"
        )
    try:
        return builder.constant(to_torch(unread[name]))
    except OperatorUnsupported as error:
        raise OperatorUnsupported(f"operator {node}: {error}") from error


def _apply(builder: Builder, operation: Operation) -> tuple[Value | None, ...]:
    """Translate one node; whatever its parameters break in torch is reported in its name."""
    node = operation.node
    for value in node.attributes.values():
        if isinstance(value, float) and not isfinite(value) and node.operator != "Clip":
            raise OperatorUnsupported(f"operator {node}: an attribute is {value}")
    try:
        result = TRANSLATORS[node.operator](builder, operation)
        operation.refuse_unused()
    except OperatorUnsupported as error:
        raise OperatorUnsupported(f"operator {node}: {error}") from error
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        raise OperatorUnsupported(
            f"operator {node} cannot be applied to its inputs: {first_line(error)}"
        ) from error
    results = result if isinstance(result, tuple) else (result,)
    for value in results:
        if isinstance(value, Signal) and not value.probes[0].is_floating_point():
            raise OperatorUnsupported(f"operator {node} computes {value.probes[0].dtype} from the data")
    return results
