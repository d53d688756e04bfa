"""Rewrite an fx graph into the form that attacks and bounds want: whole GELUs, scores for probabilities."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from math import isclose, sqrt
from typing import TYPE_CHECKING, Final, Literal, final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.adapters.onnx_import.builder import Signal

MASKED: Final = -1e30
"""What stands for minus infinity in attention: beside it, every float32 score vanishes in the softmax."""


@final
@dataclass(frozen=True)
class Tail:
    """What stood after the scores: a softmax along `dim`, or a sigmoid of each score."""

    kind: Literal["softmax", "sigmoid"]
    dim: int

    def apply(self, scores: Tensor) -> Tensor:
        """The probabilities that the file's graph gives for these scores."""
        return torch.softmax(scores, self.dim) if self.kind == "softmax" else torch.sigmoid(scores)


def strip_tail(root: nn.Module, graph: fx.Graph, score: Signal) -> tuple[fx.Node, Tail | None]:
    """The node of the scores before a final Softmax or Sigmoid, and what was taken off.

    The pair (1 - sigmoid(z), sigmoid(z)), which binary classifiers of scikit-learn are exported with, is the
    softmax of (-z/2, z/2); these two are returned as scores.
    """
    node, dims = score.node, score.probes[0].dim()
    if node.target is functional.softmax and node.kwargs["dim"] in {1, dims - 1}:
        return _first(node), Tail("softmax", int(str(node.kwargs["dim"])))
    if node.target is torch.sigmoid:
        return _first(node), Tail("sigmoid", 1)
    if node.target is torch.cat and node.args[1] == 1:
        parts = node.args[0]
        if isinstance(parts, (tuple, list)) and len(parts) == 2:
            complement, positive = parts
            if _is_complement(root, complement, positive) and isinstance(positive, fx.Node):
                logit = _first(positive)
                with graph.inserting_after(node):
                    halves = [graph.call_function(torch.mul, (logit, sign)) for sign in (-0.5, 0.5)]
                with graph.inserting_after(halves[0]):
                    return graph.call_function(torch.cat, (tuple(halves), 1)), Tail("softmax", 1)
    return node, None


def _is_complement(root: nn.Module, complement: object, positive: object) -> bool:
    """Whether the two nodes are 1 - sigmoid(z) and sigmoid(z)."""
    if not (
        isinstance(positive, fx.Node) and positive.target is torch.sigmoid and isinstance(complement, fx.Node)
    ):
        return False
    return (
        complement.target is torch.sub
        and complement.args[1] is positive
        and _number(root, complement.args[0]) == 1
    )


def fuse_gelu(module: fx.GraphModule) -> None:
    """Replace x/2 (1 + erf(x / sqrt 2)), in any order of its factors, by one `functional.gelu`.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv:1606.08415v5, section 2. A bound on the
    whole function is tight where bounds on its factors are not.
    """
    root, graph = module, module.graph
    for erf in list(graph.nodes):
        if erf.target is not torch.erf:
            continue
        x = _scaled(root, _first(erf), lambda c: isclose(c, sqrt(0.5), rel_tol=1e-6))
        gate = _only_user(erf, torch.add)
        if x is None or gate is None or 1.0 not in {_number(root, argument) for argument in gate.args}:
            continue
        end = _only_user(gate, torch.mul)
        if end is None:
            continue
        other = next(iter(argument for argument in end.args if argument is not gate), None)
        if other is x:  # (x gate) / 2
            end = _only_user(end, torch.mul, torch.div)
            whole = end is not None and _scaled(root, end, lambda c: c == 0.5) is not None
        elif _number(root, other) == 0.5:  # x (gate / 2)
            end = _only_user(end, torch.mul)
            whole = end is not None and x in end.args
        else:  # (x / 2) gate
            whole = isinstance(other, fx.Node) and _scaled(root, other, lambda c: c == 0.5) is x
        if end is None or not whole:
            continue
        with graph.inserting_after(end):
            gelu = graph.call_function(functional.gelu, (x,), {"approximate": "none"})
        gelu.meta.update(end.meta)
        end.replace_all_uses_with(gelu)
        graph.eliminate_dead_code()


_SCALINGS: Final = {torch.mul, torch.div}


def _scaled(root: nn.Module, node: fx.Node, accept: Callable[[float], bool]) -> fx.Node | None:
    """X where the node is x times an accepted constant (or divided by its inverse)."""
    if node.target not in _SCALINGS:
        return None
    left, right = node.args
    pairs = [(left, right)] if node.target is torch.div else [(left, right), (right, left)]
    for x, constant in pairs:
        factor = _number(root, constant)
        if factor and node.target is torch.div:
            factor = 1 / factor
        if factor is not None and isinstance(x, fx.Node) and x.op != "get_attr" and accept(factor):
            return x
    return None


def _number(root: nn.Module, argument: object) -> float | None:
    """The value of a constant of one element."""
    if isinstance(argument, (int, float)):
        return float(argument)
    if isinstance(argument, fx.Node) and argument.op == "get_attr":
        tensor = operator.attrgetter(str(argument.target))(root)
        return float(tensor.item()) if tensor.numel() == 1 else None
    return None


def _only_user(node: fx.Node, *targets: Callable[..., Tensor]) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in targets else None


def _first(node: fx.Node) -> fx.Node:
    argument = node.args[0]
    if not isinstance(argument, fx.Node):
        raise TypeError(f"{node.name} has no computed input")
    return argument


def fuse_layer_norm(module: fx.GraphModule) -> None:
    """Replace (x - mean) / sqrt(variance + eps), and a constant factor and term after it, by one LayerNorm.

    Source: Ba, Kiros and Hinton, Layer Normalization, arXiv:1607.06450v1, section 3; exporters before opset
    17 write it out.
    """
    for root in [node for node in module.graph.nodes if node.target is torch.sqrt]:
        found = _standardised(module, root)
        if found is None:
            continue
        x, shape, eps, end = found
        tensors: dict[str, Tensor] = {}
        for name, target in (("weight", torch.mul), ("bias", torch.add)):
            after = _only_user(end, target)
            tensor = None if after is None else _trailing(module, after, end, shape)
            if after is not None and tensor is not None:
                tensors[name], end = tensor, after
        layer = nn.LayerNorm(shape, eps=eps, dtype=next(iter(tensors.values())).dtype if tensors else None)
        with torch.no_grad():
            for name, tensor in tensors.items():
                layer.get_parameter(name).copy_(tensor.broadcast_to(shape))
        name = f"layer_norm_{root.name}"
        module.add_submodule(name, layer.eval().requires_grad_(requires_grad=False))
        with module.graph.inserting_after(end):
            whole = module.graph.call_module(name, (x,))
        whole.meta.update(end.meta)
        end.replace_all_uses_with(whole)
        module.graph.eliminate_dead_code()


def select_early(module: fx.GraphModule) -> None:
    """Write select(permute(x)) as permute(select(x)), which leaves the batch where it is.

    Queries, keys and values that are computed together are told apart by a leading axis, in front of which
    the batch is moved only to be moved back.
    """
    for node in [node for node in module.graph.nodes if node.target is torch.select]:
        source, axis, place = _first(node), node.args[1], node.args[2]
        if source.target is torch.narrow and source.args[1] == axis and source.args[3] == 1:
            source, place = _first(source), source.args[2]
        if source.target is not torch.permute:
            continue
        order = source.args[1]
        if not isinstance(order, tuple) or not isinstance(axis, int):
            continue
        axes = [old for old in order if isinstance(old, int)]
        taken = axes.pop(axis)
        rest = tuple(old - (old > taken) for old in axes)
        with module.graph.inserting_before(node):
            early = module.graph.call_function(torch.select, (_first(source), taken, place))
            whole = early
            if rest != tuple(range(len(rest))):
                whole = module.graph.call_function(torch.permute, (early, rest))
        whole.meta.update(node.meta)
        node.replace_all_uses_with(whole)
    module.graph.eliminate_dead_code()


def keep_heads(module: fx.GraphModule) -> None:
    """Transpose the last two of four axes at once, where the others were joined for it and parted again."""
    for end in [node for node in module.graph.nodes if node.target is torch.reshape]:
        middle = _first(end)
        start = _first(middle) if middle.target is torch.permute else None
        if start is None or start.target is not torch.reshape or middle.args[1] != (0, 2, 1):
            continue
        sizes = [tuple(node.meta.get("shape", ())) for node in (_first(start), start, end)]
        if any(len(size) != length for size, length in zip(sizes, (4, 3, 4), strict=True)):
            continue
        n, heads, rows, columns = sizes[0]
        if sizes[1:] == [(n * heads, rows, columns), (n, heads, columns, rows)]:
            with module.graph.inserting_before(end):
                whole = module.graph.call_function(torch.permute, (_first(start), (0, 1, 3, 2)))
            whole.meta.update(end.meta)
            end.replace_all_uses_with(whole)
    module.graph.eliminate_dead_code()


def finite_masks(module: fx.GraphModule) -> None:
    """Replace minus infinity by -1e30 where it is added to what a softmax over the last axis takes.

    The softmax gives 0 there all the same (a row that is masked whole is left alone), and a bound on it stays
    finite.
    """
    for node in list(module.graph.nodes):
        if node.target is not functional.softmax or _first(node).target is not torch.add:
            continue
        gate = _first(node)
        for argument in gate.args:
            if not (isinstance(argument, fx.Node) and argument.op == "get_attr"):
                continue
            mask = operator.attrgetter(str(argument.target))(module)
            hidden = torch.isneginf(mask)
            last = node.kwargs["dim"] == len(node.meta.get("shape", ())) - 1
            if last and list(gate.users) == [node] and hidden.any() and not hidden.all(-1).any():
                name = f"mask_{argument.target}"
                module.register_buffer(name, mask.masked_fill(hidden, MASKED))
                with module.graph.inserting_before(gate):
                    gate.replace_input_with(argument, module.graph.get_attr(name))


def _standardised(module: nn.Module, root: fx.Node) -> tuple[fx.Node, list[int], float, fx.Node] | None:
    """X, the lengths of the normalised axes, eps and the quotient, where `root` is its standard deviation."""
    gate = root.args[0]
    if not isinstance(gate, fx.Node) or gate.target is not torch.add:
        return None
    eps = next((number for number in (_number(module, a) for a in gate.args) if number is not None), None)
    variance = next((a for a in gate.args if isinstance(a, fx.Node) and a.target is torch.mean), None)
    square = None if variance is None else _first(variance)
    if eps is None or variance is None or square is None:
        return None
    centred = _first(square)
    squared = (square.target is torch.pow and square.args[1] == 2) or (
        square.target is torch.mul and square.args == (centred, centred)
    )
    if not squared or centred.target is not torch.sub:
        return None
    x, mean = centred.args
    if not isinstance(x, fx.Node) or not isinstance(mean, fx.Node) or mean.target is not torch.mean:
        return None
    axes, sizes = mean.args[1], x.meta.get("shape", ())
    same = (
        mean.args[0] is x and variance.args[1] == axes and mean.kwargs == variance.kwargs == {"keepdim": True}
    )
    if not same or not isinstance(axes, tuple) or axes != tuple(range(len(sizes) - len(axes), len(sizes))):
        return None
    end = _only_user(root, torch.div)
    if end is None and (inverse := _only_user(root, torch.reciprocal)) is not None:
        end = _only_user(inverse, torch.mul)
        return (x, list(sizes[axes[0] :]), eps, end) if end is not None and centred in end.args else None
    whole = end is not None and end.args == (centred, root)
    return (x, list(sizes[axes[0] :]), eps, end) if whole and end is not None else None


def _trailing(module: nn.Module, node: fx.Node, end: fx.Node, shape: list[int]) -> Tensor | None:
    """The constant that is multiplied with or added to `end`, where it varies over the last axes alone."""
    others = [argument for argument in node.args if argument is not end]
    if len(others) != 1 or not isinstance(others[0], fx.Node) or others[0].op != "get_attr":
        return None
    tensor: Tensor = operator.attrgetter(str(others[0].target))(module)
    extra = tensor.dim() - len(shape)
    if any(length != 1 for length in tensor.shape[: max(extra, 0)]):
        return None
    return tensor.reshape(tensor.shape[max(extra, 0) :])
