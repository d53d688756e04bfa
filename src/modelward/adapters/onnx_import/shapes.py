"""Translate operators that move, cut, join, pad or reduce axes, and the shape arithmetic around them.

Source: ONNX operator specification (docs/Operators.md), at the opset of the file.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modelward.adapters.onnx_import.builder import (
    Builder,
    Constant,
    Signal,
    Value,
    axis_of,
    bounded,
    fixed_dims,
    fixed_length,
    rank,
    shapes,
)
from modelward.adapters.onnx_import.operation import to_torch
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.adapters.onnx_import.elementwise import Translator
    from modelward.adapters.onnx_import.operation import Operation

_PAD_MODES: Final = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def _axes(op: Operation, index: int, since: int, dims: int) -> list[int] | None:
    """Axes, an attribute before opset `since` and input `index` from it on; None where not given."""
    if op.opset >= since:
        listed = op.listing(index) if op.has(index) else None
    else:
        listed = op.integers("axes") if op.attribute("axes") is not None else None
    return None if listed is None else [axis_of(axis, dims) for axis in listed]


def _reshape(b: Builder, op: Operation) -> Value:
    """0 copies the input's axis (unless allowzero), -1 is inferred.

    A file with a fixed batch size spells it out; there it stands for the batch.
    """
    x, targets = op.value(0), op.listings(1)
    if not op.integer("allowzero", 0):
        pairs = zip(targets, shapes(x), strict=True)
        targets = tuple([s[i] if d == 0 and i < len(s) else d for i, d in enumerate(t)] for t, s in pairs)
    batch = op.fixed_batch
    if isinstance(x, Signal) and batch is not None and targets[0] and len(targets) > 1:
        first = tuple(x.probes[0].reshape(targets[0]).shape)
        if first[0] == batch:
            targets = tuple([shape[0], *first[1:]] for shape in shapes(x))
    return b.reshape(x, tuple(tuple(target) for target in targets))


def _flatten(b: Builder, op: Operation) -> Value:
    x = op.value(0)
    axis = op.integer("axis", 1)
    axis = rank(x) if axis == rank(x) else axis_of(axis, rank(x))
    return b.reshape(x, tuple((prod(shape[:axis]), prod(shape[axis:])) for shape in shapes(x)))


def _transpose(b: Builder, op: Operation) -> Value:
    x = op.value(0)
    perm = op.integers("perm", list(reversed(range(rank(x)))))
    return x if perm == list(range(rank(x))) else b.call(torch.permute, x, tuple(perm))


def _squeeze(b: Builder, op: Operation) -> Value:
    x = op.value(0)
    axes = _axes(op, 1, 13, rank(x))
    if axes is None:
        axes = [i for i in range(rank(x)) if all(shape[i] == 1 for shape in shapes(x))]
    if any(shape[axis] != 1 for shape in shapes(x) for axis in axes):
        raise OperatorUnsupported(f"axes {axes} are not all of length one")
    if isinstance(x, Signal) and x.node.target is torch.narrow and list(x.node.args[1:2]) == axes:
        return b.call(torch.select, x, axes[0], 0)  # one part of a split
    return b.reshape(x, tuple(tuple(n for i, n in enumerate(shape) if i not in axes) for shape in shapes(x)))


def _unsqueeze(b: Builder, op: Operation) -> Value:
    x = op.value(0)
    listed = op.listing(1) if op.opset >= 13 else op.integers("axes")
    axes = {axis_of(axis, rank(x) + len(listed)) for axis in listed}
    if len(axes) != len(listed):
        raise OperatorUnsupported(f"axes {listed} repeat")
    targets = []
    for shape in shapes(x):
        rest = iter(shape)
        targets.append(tuple(1 if i in axes else next(rest) for i in range(len(shape) + len(axes))))
    return b.reshape(x, tuple(targets))


def _concat(b: Builder, op: Operation) -> Value:
    parts = tuple(op.value(i) for i in range(len(op.inputs)))
    axis = axis_of(op.integer("axis"), rank(parts[0]))
    if len(parts) == 1:
        return parts[0]
    kinds = {type(part) for part in parts}
    return b.call(torch.cat, parts, axis) if len(kinds) == 1 else _around(b, parts, axis)


def _around(b: Builder, parts: tuple[Value, ...], axis: int) -> Value:
    """Signals and constants (a class token, say) joined: each padded with zeros to the whole, and added.

    A constant stands for every row of the batch, so its batch axis is left to broadcasting.
    """
    lengths = [fixed_length(part, axis) for part in parts]
    inner = rank(parts[0]) - 1 - axis
    whole: Value | None = None
    for i, part in sorted(enumerate(parts), key=lambda pair: isinstance(pair[1], Constant)):
        cut = part if isinstance(part, Signal) else part.row()
        if cut is None:
            raise OperatorUnsupported("a constant part depends on the batch size")
        amounts = (0, 0) * inner + (sum(lengths[:i]), sum(lengths[i + 1 :]))
        padded = b.call(functional.pad, cut, amounts)
        whole = padded if whole is None else b.call(torch.add, whole, padded)
    if whole is None:
        raise OperatorUnsupported("nothing is joined")
    return whole


def _split(b: Builder, op: Operation) -> tuple[Value, ...]:
    """Equal parts (the last smaller, opset 18) or stated lengths."""
    x = op.value(0)
    axis = axis_of(op.integer("axis", 0), rank(x))
    length, count = fixed_length(x, axis), len(op.node.outputs)
    if op.opset >= 13:
        sizes = op.listing(1) if op.has(1) else None
    else:
        sizes = op.integers("split") if op.attribute("split") is not None else None
    if op.opset >= 18:
        op.integer("num_outputs", count)
    if sizes is None:
        chunk = -(-length // count)
        sizes = [min(chunk, length - i * chunk) for i in range(count)]
    if len(sizes) != count or sum(sizes) != length or min(sizes) < 0:
        raise OperatorUnsupported(f"parts of lengths {sizes} of an axis of length {length}")
    starts = [sum(sizes[:i]) for i in range(count)]
    return tuple(
        b.take(x, axis, (list(range(start, start + size)),) * len(x.probes))
        for start, size in zip(starts, sizes, strict=True)
    )


def _slice(b: Builder, op: Operation) -> Value:
    """Python's slicing per axis; attributes before opset 10, inputs from it on."""
    x = op.value(0)
    if op.opset >= 10:
        starts, ends = op.listings(1), op.listings(2)
        axes = op.listing(3) if op.has(3) else list(range(len(starts[0])))
        steps = op.listing(4) if op.has(4) else [1] * len(axes)
    else:
        starts = (op.integers("starts"),) * len(x.probes)
        ends = (op.integers("ends"),) * len(x.probes)
        axes = op.integers("axes", list(range(len(starts[0]))))
        steps = [1] * len(axes)
    for i, (raw, step) in enumerate(zip(axes, steps, strict=True)):
        axis = axis_of(raw, rank(x))
        picks = []
        for probe, shape in enumerate(shapes(x)):
            start, end = starts[probe][i], ends[probe][i]
            stop = None if step < 0 and end < -shape[axis] else end  # -2**63 means: to the first entry
            picks.append(list(range(shape[axis]))[start:stop:step])
        x = b.take(x, axis, tuple(picks))
    return x


def _gather(b: Builder, op: Operation) -> Value:
    """Constant indices; one index drops the axis."""
    x, indices = op.value(0), op.value(1)
    axis = axis_of(op.integer("axis", 0), rank(x))
    if isinstance(indices, Signal):
        raise OperatorUnsupported("input 1 is computed from the data, not a constant")
    bounded((indices.probes[0].numel(), *(max(sizes) for sizes in zip(*shapes(x), strict=True))))
    if isinstance(x, Constant):
        pairs = zip(x.probes, indices.probes, strict=True)
        return Constant(tuple(probe[(slice(None),) * axis + (index.long(),)] for probe, index in pairs))
    listed = op.listing(1)
    length = fixed_length(x, axis)
    listed = [axis_of(index, length) for index in listed]
    if indices.probes[0].dim() == 0:
        return b.call(torch.select, x, axis, listed[0])
    if indices.probes[0].dim() != 1:
        raise OperatorUnsupported(f"indices of {indices.probes[0].dim()} axes")
    return b.take(x, axis, (listed,) * len(x.probes))


def _pad(b: Builder, op: Operation) -> Value:
    x = op.value(0)
    mode = op.text("mode", "constant")
    if mode not in _PAD_MODES:
        raise OperatorUnsupported(f"attribute mode is {mode!r}")
    pads = op.listing(1) if op.opset >= 11 else op.integers("pads")
    value = op.scalar(2) if op.opset >= 11 and op.has(2) else 0.0
    if op.opset < 11:
        value = op.real("value", 0.0)
    axes = _axes(op, 3, 18, rank(x)) if op.opset >= 18 and op.has(3) else list(range(rank(x)))
    if axes is None or len(pads) != 2 * len(axes):
        raise OperatorUnsupported(f"{len(pads)} pads for {rank(x)} axes")
    begin, end = [0] * rank(x), [0] * rank(x)
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = pads[i], pads[len(axes) + i]
    padded = [i for i in range(rank(x)) if begin[i] or end[i]]
    if not padded:
        return x
    if isinstance(x, Signal):
        fixed_dims(x, padded[0])
    amounts = tuple(n for i in reversed(range(padded[0], rank(x))) for n in (begin[i], end[i]))
    if mode == "constant":
        return b.call(functional.pad, x, amounts, "constant", value)
    return b.call(functional.pad, x, amounts, _PAD_MODES[mode])


def _shape(b: Builder, op: Operation) -> Value:
    del b
    x = op.value(0)
    start, end = op.integer("start", 0), op.integer("end", rank(x))
    return Constant(tuple(torch.tensor(shape[start:end], dtype=torch.int64) for shape in shapes(x)))


def _size(b: Builder, op: Operation) -> Value:
    del b
    return Constant(tuple(torch.tensor(prod(shape)) for shape in shapes(op.value(0))))


def _constant(b: Builder, op: Operation) -> Value:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = op.attribute(name)
        if value is not None:
            floating = name.startswith("value_float")
            array = value if name == "value" else np.array(value, dtype=np.float32 if floating else np.int64)
            return b.constant(to_torch(array))
    raise OperatorUnsupported("a constant without a numeric value")


def _constant_of_shape(b: Builder, op: Operation) -> Value:
    raw = op.attribute("value")
    value = torch.zeros(1) if raw is None else to_torch(raw)
    del b
    return Constant(tuple(value.reshape(()).expand(bounded(tuple(shape))) for shape in op.listings(0)))


def _expand(b: Builder, op: Operation) -> Value:
    """Two-way broadcasting; of a computed value, any axis but that of the batch is repeated."""
    x = op.value(0)
    targets = [
        np.broadcast_shapes(shape, bounded(tuple(target)))
        for shape, target in zip(shapes(x), op.listings(1), strict=True)
    ]
    if isinstance(x, Constant):
        return Constant(tuple(p.expand(bounded(tuple(t))) for p, t in zip(x.probes, targets, strict=True)))
    extra = len(targets[0]) - rank(x)
    x = b.reshape(x, tuple((1,) * extra + shape for shape in shapes(x)))
    for axis in range(len(targets[0])):
        lengths = [shape[axis] for shape in shapes(x)]
        if lengths != [target[axis] for target in targets]:  # then each is 1
            wanted = {target[axis] for target in targets}
            if len(wanted) != 1:
                raise OperatorUnsupported("computed values are repeated over the batch")
            x = b.take(x, axis, ([0] * wanted.pop(),) * len(x.probes))
    return x


def _tile(b: Builder, op: Operation) -> Value:
    x, repeats = op.value(0), op.listings(1)
    for shape, repeat in zip(shapes(x), repeats, strict=True):
        bounded(tuple(n * r for n, r in zip(shape, repeat, strict=True)))
    if isinstance(x, Constant):
        return Constant(tuple(probe.tile(repeat) for probe, repeat in zip(x.probes, repeats, strict=True)))
    for axis, counts in enumerate(zip(*repeats, strict=True)):
        if set(counts) != {1}:
            length = fixed_length(x, axis)
            x = b.take(x, axis, tuple(list(range(length)) * count for count in counts))
    return x


def _trilu(b: Builder, op: Operation) -> Value:
    """The upper (or lower) triangle of constant matrices, from the k-th diagonal on."""
    upper, k = bool(op.integer("upper", 1)), int(op.scalar(1)) if op.has(1) else 0
    x = op.value(0)
    if isinstance(x, Signal):
        raise OperatorUnsupported("input 0 is computed from the data, not a constant")
    return b.call(torch.triu if upper else torch.tril, x, k)


def _range(b: Builder, op: Operation) -> Value:
    values = []
    for start, limit, delta in zip(*(value.probes for value in op.constants_only()), strict=True):
        if not delta.item():
            raise OperatorUnsupported("a step of zero")
        count = max(int(-(-(limit.double() - start.double()).item() // delta.item())), 0)
        bounded((count,))
        values.append(start + delta * torch.arange(count).to(start.dtype))
    del b
    return Constant(tuple(values))


def _reduce(function: Callable[..., Tensor], since: int, b: Builder, op: Operation) -> Value:
    """Axes are an attribute before opset `since`, an input from it on; none given means all of them."""
    x = op.value(0)
    keep = bool(op.integer("keepdims", 1))
    axes = _axes(op, 1, since, rank(x))
    noop = bool(op.integer("noop_with_empty_axes", 0)) if op.opset >= since else False
    if not axes:
        if noop:
            return x
        axes = list(range(rank(x)))
    if isinstance(x, Signal) and 0 in axes and len({shape[0] for shape in shapes(x)}) > 1:
        raise OperatorUnsupported("a reduction over the batch axis")
    return b.call(function, x, tuple(axes), keepdim=keep) if axes else x


SHAPES: Final[dict[str, Translator | Callable[[Builder, Operation], tuple[Value, ...]]]] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "ReduceMax": partial(_reduce, torch.amax, 18),
    "ReduceMean": partial(_reduce, torch.mean, 18),
    "ReduceMin": partial(_reduce, torch.amin, 18),
    "ReduceSum": partial(_reduce, torch.sum, 13),
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
