"""Translate normalisations by each point's own statistics, and transposed convolutions.

Source: ONNX operator specification (docs/Operators.md), at the opset of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from modelward.adapters.onnx_import.builder import axis_of, fixed_dims, rank
from modelward.adapters.onnx_import.layers import load
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelward.adapters.onnx_import.builder import Builder, Value
    from modelward.adapters.onnx_import.operation import Operation

_UP: Final[Mapping[int, Callable[..., nn.Module]]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def instance_norm(b: Builder, op: Operation) -> Value:
    """InstanceNormalization: every channel is a group of its own, with its factor and term."""
    return _grouped(b, op, op.tensor(1).numel())


def group_norm(b: Builder, op: Operation) -> Value:
    """GroupNormalization; from opset 21 with a factor per channel, before with one per group."""
    op.integer("stash_type", 1)  # the precision of the statistics; float32 at least, as in torch
    return _grouped(b, op, op.integer("num_groups"))


def _grouped(b: Builder, op: Operation, groups: int) -> Value:
    x, weight, bias = op.value(0), op.tensor(1), op.tensor(2)
    channels = fixed_dims(x, 1)[0]
    if weight.shape != bias.shape or tuple(weight.shape) != (channels,):
        raise OperatorUnsupported(
            f"{weight.numel()} factors and {bias.numel()} terms for {channels} channels"
        )
    layer = nn.GroupNorm(groups, channels, eps=op.real("epsilon", 1e-5), device="meta")
    return b.module(load(layer, {"weight": weight, "bias": bias}), x)


def rms_norm(b: Builder, op: Operation) -> Value:
    """RMSNormalization over the trailing axes."""
    x = op.value(0)
    op.integer("stash_type", 1)
    trailing = fixed_dims(x, axis_of(op.integer("axis", -1), rank(x)))
    layer = nn.RMSNorm(list(trailing), eps=op.real("epsilon", 1e-5), device="meta")
    return b.module(load(layer, {"weight": op.tensor(1).broadcast_to(trailing)}), x)


def conv_transpose(b: Builder, op: Operation) -> Value:
    """ConvTranspose with constant weights and padding that is the same on both sides."""
    x, weight = op.value(0), op.tensor(1)
    bias = op.tensor(2) if op.has(2) else None
    count = len(fixed_dims(x, 2))
    if count not in _UP or weight.dim() != count + 2:
        raise OperatorUnsupported(f"weights of {weight.dim()} axes on an input of {count} spatial axes")
    if op.attribute("output_shape") is not None or op.text("auto_pad", "NOTSET") != "NOTSET":
        raise OperatorUnsupported("attribute output_shape or auto_pad")
    if op.integers("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
        raise OperatorUnsupported("attribute kernel_shape differs from the weights'")
    pads, groups = op.integers("pads", [0] * (2 * count)), op.integer("group", 1)
    if len(pads) != 2 * count or pads[:count] != pads[count:]:
        raise OperatorUnsupported("pads that differ between the sides")
    layer = _UP[count](
        weight.shape[0],
        weight.shape[1] * groups,
        tuple(weight.shape[2:]),
        stride=tuple(op.integers("strides", [1] * count)),
        padding=tuple(pads[:count]),
        output_padding=tuple(op.integers("output_padding", [0] * count)),
        dilation=tuple(op.integers("dilations", [1] * count)),
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    return b.module(load(layer, {"weight": weight, "bias": bias}), x)
