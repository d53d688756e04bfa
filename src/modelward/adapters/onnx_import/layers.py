"""Translate operators that carry weights or slide windows: Conv, Gemm, MatMul, norms, pools.

Source: ONNX operator specification (docs/Operators.md), at the opset of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelward.adapters.onnx_import.builder import (
    Builder,
    Constant,
    Value,
    axis_of,
    bounded,
    fixed_dims,
    rank,
)
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelward.adapters.onnx_import.operation import Operation

_CONV: Final[Mapping[int, Callable[..., nn.Module]]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_MAX_POOL: Final = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOL: Final = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH_NORM: Final = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@final
@dataclass(frozen=True)
class _Window:
    """A sliding window, one entry per spatial axis; `size` is the input's, `out` the output's length."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How far beyond the declared end padding the last window reads (ceil_mode)."""
        span = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        last = [(o - 1) * s + n for o, s, n in zip(self.out, self.strides, span, strict=True)]
        have = [i + b + e for i, b, e in zip(self.size, self.begin, self.end, strict=True)]
        return tuple(max(need - length, 0) for need, length in zip(last, have, strict=True))

    def padding(self) -> list[int]:
        """Argument of functional.pad (last axis first) that covers every window."""
        ends = [e + more for e, more in zip(self.end, self.reach, strict=True)]
        pairs = zip(reversed(self.begin), reversed(ends), strict=True)
        return [amount for pair in pairs for amount in pair]


def _window(op: Operation, x: Value, kernel: list[int], *, ceil: bool = False) -> _Window:
    """Read strides, dilations, pads and auto_pad.

    Source: Operators.md, Conv and MaxPool; with ceil_mode a window that would start in the end padding is
    dropped (MaxPool-22 and AveragePool-22, "sliding windows that would start in the right padded region are
    ignored").
    """
    size = fixed_dims(x, 2)
    count = len(size)
    if count not in _CONV or len(kernel) != count:
        raise OperatorUnsupported(f"a window of {len(kernel)} axes on an input of {count} spatial axes")
    strides = op.integers("strides", [1] * count)
    dilations = op.integers("dilations", [1] * count)
    pads = op.integers("pads", [0] * (2 * count))
    mode = op.text("auto_pad", "NOTSET")
    if len(strides) != count or len(dilations) != count or len(pads) != 2 * count:
        raise OperatorUnsupported("strides, dilations or pads do not fit the number of axes")
    if min(*kernel, *strides, *dilations, 1) < 1 or min(*pads, 0) < 0:
        raise OperatorUnsupported("a kernel, stride or dilation below one, or a negative pad")
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        out = [-(-i // s) for i, s in zip(size, strides, strict=True)]
        total = [max((o - 1) * s + n - i, 0) for o, s, n, i in zip(out, strides, span, size, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if mode == "SAME_UPPER" else (large, small)
        return _Window(size, *map(tuple, (kernel, strides, dilations, begin, end, out)))
    if mode not in {"NOTSET", "VALID", ""}:
        raise OperatorUnsupported(f"attribute auto_pad is {mode!r}")
    begin, end = (pads[:count], pads[count:]) if mode != "VALID" else ([0] * count, [0] * count)
    out = []
    for i, b, e, n, s in zip(size, begin, end, span, strides, strict=True):
        steps, rest = divmod(i + b + e - n, s)
        extra = 1 if ceil and rest > 0 and (steps + 1) * s < i + b else 0
        out.append(steps + 1 + extra)
    if min(out) < 1:
        raise OperatorUnsupported(f"a window of {span} does not fit an input of {list(size)}")
    return _Window(size, *map(tuple, (kernel, strides, dilations, begin, end, out)))


def load(layer: nn.Module, tensors: Mapping[str, Tensor | None]) -> nn.Module:
    """Give a layer made on the meta device its weights and statistics, without initialising it first."""
    buffers = dict(layer.named_buffers())
    for name, tensor in tensors.items():
        if name in buffers:
            setattr(layer, name, tensor)
        elif tensor is not None:
            setattr(layer, name, nn.Parameter(tensor.contiguous(), requires_grad=False))
    return layer


def linear(b: Builder, x: Value, weight: Tensor, bias: Tensor | None) -> Value:
    """Y = x weight^T + bias, weight of shape (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return b.module(load(layer, {"weight": weight, "bias": bias}), x)


def conv(b: Builder, op: Operation) -> Value:
    """Conv with constant weights; uneven padding becomes a pad before it."""
    x, weight = op.value(0), op.tensor(1)
    bias = op.tensor(2) if op.has(2) else None
    kernel = op.integers("kernel_shape", list(weight.shape[2:]))
    if kernel != list(weight.shape[2:]):
        raise OperatorUnsupported(
            f"attribute kernel_shape {kernel} differs from the weights' {list(weight.shape[2:])}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise OperatorUnsupported(f"a bias of {bias.numel()} for {weight.shape[0]} channels")
    groups = op.integer("group", 1)
    window = _window(op, x, kernel)
    even = window.begin == window.end
    if not even:
        x = b.call(functional.pad, x, tuple(window.padding()))
    layer = _CONV[len(kernel)](
        weight.shape[1] * groups,
        weight.shape[0],
        window.kernel,
        stride=window.strides,
        padding=window.begin if even else 0,
        dilation=window.dilations,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    return b.module(load(layer, {"weight": weight, "bias": bias}), x)


def gemm(b: Builder, op: Operation) -> Value:
    """Alpha A' B' + beta C: a Linear where B is constant, else products and sums."""
    a, weight = op.value(0), op.value(1)
    alpha, beta = op.real("alpha", 1.0), op.real("beta", 1.0)
    flip_a, flip_b = op.integer("transA", 0), op.integer("transB", 0)
    if flip_a:
        a = b.call(torch.permute, a, (1, 0))
    if isinstance(weight, Constant) and weight.static:
        matrix = weight.probes[0] if flip_b else weight.probes[0].T
        bias = _bias(op.value(2), matrix.shape[0]) if op.has(2) else None
        if bias is not None or not op.has(2):
            return linear(b, a, alpha * matrix, None if bias is None else beta * bias)
    if flip_b:
        weight = b.call(torch.permute, weight, (1, 0))
    y = b.call(torch.matmul, a, weight)
    if alpha != 1:
        y = b.call(torch.mul, y, alpha)
    if op.has(2):
        c = op.value(2)
        y = b.call(torch.add, y, c if beta == 1 else b.call(torch.mul, c, beta))
    return y


def _bias(c: Value, width: int) -> Tensor | None:
    """C of Gemm as a bias vector, or None where it varies by row or with the data."""
    if not (isinstance(c, Constant) and c.static):
        return None
    tensor = c.probes[0]
    if (
        tensor.dim() > 2
        or (tensor.dim() == 2 and tensor.shape[0] != 1)
        or tensor.shape[-1:] not in {(), (1,), (width,)}
    ):
        return None
    return tensor.reshape(-1).expand(width)


def matmul(b: Builder, op: Operation) -> Value:
    """A Linear without bias where the right factor is a constant matrix."""
    left, right = op.value(0), op.value(1)
    if isinstance(right, Constant) and right.static and rank(right) == 2 and rank(left) >= 2:
        return linear(b, left, right.probes[0].T, None)
    return b.call(torch.matmul, left, right)


def batch_norm(b: Builder, op: Operation) -> Value:
    """BatchNormalization with its running statistics."""
    x = op.value(0)
    op.real("momentum", 0.9)  # matters in training only
    if op.integer("training_mode", 0) or op.integer("spatial", 1) != 1:
        raise OperatorUnsupported("training_mode or per-activation statistics")
    if rank(x) not in _BATCH_NORM:
        raise OperatorUnsupported(f"an input of {rank(x)} axes")
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {name: op.tensor(i + 1).clone() for i, name in enumerate(names)}
    layer = _BATCH_NORM[rank(x)](tensors["weight"].numel(), eps=op.real("epsilon", 1e-5), device="meta")
    return b.module(load(layer, tensors | {"num_batches_tracked": torch.tensor(0)}), x)


def layer_norm(b: Builder, op: Operation) -> Value:
    """LayerNormalization over the trailing axes."""
    x = op.value(0)
    op.integer("stash_type", 1)  # the precision of the statistics; float32 at least, as in torch
    trailing = fixed_dims(x, axis_of(op.integer("axis", -1), rank(x)))
    weight = op.tensor(1).broadcast_to(trailing)
    bias = op.tensor(2).broadcast_to(trailing) if op.has(2) else None
    eps = op.real("epsilon", 1e-5)
    layer = nn.LayerNorm(list(trailing), eps=eps, bias=bias is not None, device="meta")
    return b.module(load(layer, {"weight": weight, "bias": bias}), x)


def max_pool(b: Builder, op: Operation) -> Value:
    """MaxPool; padding that torch cannot express is written out with the lowest number."""
    x = op.value(0)
    op.integer("storage_order", 0)  # concerns the indices output only, which is not imported
    window = _window(op, x, op.integers("kernel_shape"), ceil=bool(op.integer("ceil_mode", 0)))
    native = window.begin == window.end and not any(window.reach)
    native = native and all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True))
    if not native:
        x = b.call(functional.pad, x, tuple(window.padding()), "constant", torch.finfo(x.probes[0].dtype).min)
    layer = _MAX_POOL[len(window.kernel)](
        window.kernel, window.strides, padding=window.begin if native else 0, dilation=window.dilations
    )
    return b.module(layer, x)


def average_pool(b: Builder, op: Operation) -> Value:
    """AveragePool; where torch counts padding differently, the padded input is pooled and rescaled."""
    x = op.value(0)
    counted = bool(op.integer("count_include_pad", 0))
    window = _window(op, x, op.integers("kernel_shape"), ceil=bool(op.integer("ceil_mode", 0)))
    if set(window.dilations) != {1}:
        raise OperatorUnsupported("attribute dilations")
    count = len(window.kernel)
    native = window.begin == window.end and not any(window.reach)
    native = native and all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True))
    if native:
        layer = _AVERAGE_POOL[count](window.kernel, window.strides, window.begin, count_include_pad=counted)
        return b.module(layer, x)
    pooled = b.module(
        _AVERAGE_POOL[count](window.kernel, window.strides),
        b.call(functional.pad, x, tuple(window.padding())),
    )
    shares = torch.ones((), dtype=x.probes[0].dtype)
    for axis in range(count):
        shares = shares.unsqueeze(-1) * _share(window, axis, counted=counted).to(shares.dtype)
    return b.call(torch.mul, pooled, b.constant(shares.reshape(1, 1, *shares.shape)))


def _share(window: _Window, axis: int, *, counted: bool) -> Tensor:
    """Kernel / (entries that count) for each output position along one axis."""
    bounded((window.out[axis],))
    low = 0 if counted else window.begin[axis]
    high = window.begin[axis] + window.size[axis] + (window.end[axis] if counted else 0)
    start = torch.arange(window.out[axis]) * window.strides[axis]
    inside = (start + window.kernel[axis]).clamp(max=high) - start.clamp(min=low)
    return window.kernel[axis] / inside.clamp(min=1).double()


def global_average(b: Builder, op: Operation) -> Value:
    """GlobalAveragePool: the mean over all spatial axes, kept as axes of length one."""
    x = op.value(0)
    return b.call(torch.mean, x, tuple(range(2, rank(x))), keepdim=True)


def global_max(b: Builder, op: Operation) -> Value:
    """GlobalMaxPool: the maximum over all spatial axes, kept as axes of length one."""
    x = op.value(0)
    if prod(fixed_dims(x, 2)) == 0:
        raise OperatorUnsupported("an empty input")
    return b.call(torch.amax, x, tuple(range(2, rank(x))), keepdim=True)
