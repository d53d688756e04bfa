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
