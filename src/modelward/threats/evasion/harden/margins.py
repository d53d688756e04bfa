"""Bounds on the margins of a network, by intervals alone or with lines around each ReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, fx, nn

from modelward.threats.evasion.harden.intervals import (
    ADDING,
    MOVED,
    MOVING,
    NORMALISED,
    RECTIFIED,
    STILL,
    WEIGHTED,
    Interval,
    affine,
    channels,
    enclose,
    kind,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def interval_margins(graph: fx.GraphModule, x: Interval, y: Tensor) -> Tensor:
    """Lower bounds of the label's score minus each other's, (n, k), 0 in the label's own column.

    Where the scores are a linear layer's, the difference is taken in its weights ("elision of the last
    layer", Gowal et al. 2018, arXiv 1810.12715v4, section 3).
    """
    values = enclose(graph, x)
    last = _last(graph)
    layer = graph.get_submodule(str(last.target)) if last.op == "call_module" else None
    scores = values[last]
    if isinstance(layer, nn.Linear):
        before = values[last.all_input_nodes[0]]
        weight = layer.weight[y][:, None] - layer.weight[None]
        found = (weight @ before.centre[:, :, None])[:, :, 0]
        found = found - (weight.abs() @ before.radius[:, :, None])[:, :, 0]
        bias = cast("Tensor | None", layer.bias)
        return found if bias is None else found + bias[y][:, None] - bias[None]
    rows = torch.arange(len(y))
    own = torch.nn.functional.one_hot(y, scores.centre.shape[1]).bool()
    return (scores.lower[rows, y][:, None] - scores.upper).masked_fill(own, 0.0)


def relaxed_margins(graph: fx.GraphModule, x: Interval, y: Tensor) -> Tensor:
    """The same by one backward pass from the margins, with intervals for what lies between.

    An unstable ReLU is enclosed by the line through its ends from above, and from below by 0 or the identity,
    whichever leaves the smaller area (Zhang et al. 2018, arXiv 1811.00866v1, section 3.3, and CROWN-IBP,
    arXiv 1906.06316v2, section 3.2).

    Returns:
        (n, k), 0 in the label's own column.

    Raises:
        OperatorUnsupported: an operation has no linear rule.
    """
    values = enclose(graph, x)
    last = _last(graph)
    k = values[last].centre.shape[1]
    eye = torch.eye(k, dtype=x.centre.dtype)
    a = (eye[y][:, None] - eye[None]).reshape(-1, k)  # one row per sample and rival, samples outermost
    offset = a.new_zeros(len(a))
    waiting = {last: a}
    for node in reversed(list(graph.graph.nodes)):
        rows = waiting.pop(node, None)
        if rows is None or node.op == "output":
            continue
        if node.op == "placeholder":
            centre, radius = (part.repeat_interleave(k, dim=0) for part in (x.centre, x.radius))
            offset = offset + _dot(rows, centre) - _dot(rows.abs(), radius)
            continue
        for parent, part, more in _pulled(graph, node, rows, values):
            waiting[parent] = part if parent not in waiting else waiting[parent] + part
            offset = offset + more
    return offset.reshape(-1, k)


def _last(graph: fx.GraphModule) -> fx.Node:
    output = next(node for node in reversed(list(graph.graph.nodes)) if node.op == "output")
    last = output.args[0]
    if not isinstance(last, fx.Node):
        raise refused("an output that is not one tensor of scores")
    return last


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(dim=1)


def _pulled(
    graph: fx.GraphModule, node: fx.Node, a: Tensor, values: dict[fx.Node, Interval]
) -> list[tuple[fx.Node, Tensor, Tensor | float]]:
    """Coefficients at the parents of a node, and offsets."""
    what = kind(graph, node)
    parents = [parent for parent in node.all_input_nodes if parent in values]
    if what in ADDING:
        return [(parent, a, 0.0) for parent in parents]
    parent, before = parents[0], values[parents[0]]
    if what in RECTIFIED:
        return [(parent, *_rectified(a, before))]
    layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(layer, nn.LeakyReLU):  # slope x + (1 - slope) max(x, 0)
        bent, offset = _rectified((1 - layer.negative_slope) * a, before)
        return [(parent, layer.negative_slope * a + bent, offset)]
    if isinstance(layer, STILL):
        return [(parent, a, 0.0)]
    if what in MOVING:
        return [(parent, a.reshape(len(a), *before.centre.shape[1:]), 0.0)]
    if isinstance(layer, NORMALISED):
        factor, offset = (channels(part, before.centre) for part in affine(layer))
        return [(parent, a * factor, _dot(a, offset.expand_as(a)))]
    if isinstance(layer, (*WEIGHTED, *MOVED)):
        return [(parent, *_transposed(layer, a, before.centre))]
    raise refused(f"a linear relaxation of {getattr(what, '__name__', what)}")


def _transposed(layer: Callable[[Tensor], Tensor], a: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """A layer that is affine, applied to coefficients backward; differentiable in its weights."""
    zero = like.new_zeros(len(a), *like.shape[1:]).requires_grad_()
    with torch.enable_grad():
        out = layer(zero)
        (back,) = torch.autograd.grad(out, zero, a, create_graph=True)
    return back, _dot(a, out)


def _rectified(a: Tensor, before: Interval) -> tuple[Tensor, Tensor]:
    repeat = len(a) // len(before.centre)
    low, high = (end.repeat_interleave(repeat, dim=0) for end in (before.lower, before.upper))
    unknown = (low < 0) & (high > 0)
    slope = torch.where(unknown, high / (high - low).clamp_min(1e-12), (low >= 0).to(a.dtype))
    below = torch.where(unknown, (high > -low).to(a.dtype), slope)
    height = torch.where(unknown, -slope * low, torch.zeros_like(low))
    up, down = a.clamp_min(0), a.clamp_max(0)
    return up * below + down * slope, _dot(down, height)
