"""A network of ReLUs as what it is: affine maps with a corner between each two."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
from torch import fx, nn

from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.numeric.types import FloatArray

_RELUS: Final = (torch.relu, torch.nn.functional.relu, torch.relu_)
_ENTRIES: Final = 1 << 23
_UNITS: Final = 2048
_CLOSE: Final = 1e-6


@final
@dataclass(frozen=True, slots=True)
class Affine:
    """One map between two layers of ReLUs.

    Attributes:
        weight: (outputs, inputs) float64, on flat samples.
        bias: (outputs,).
    """

    weight: FloatArray
    bias: FloatArray


@final
@dataclass(frozen=True, slots=True)
class Pieces:
    """A chain of affine maps with ReLUs between them.

    Attributes:
        maps: at least one; all but the last are followed by a ReLU.
    """

    maps: tuple[Affine, ...]

    def arguments(self, x: FloatArray) -> list[FloatArray]:
        """What each map gives for one flat input: the arguments of the ReLUs, and at last the scores."""
        found = []
        for affine in self.maps:
            found.append(affine.weight @ x + affine.bias)
            x = np.maximum(found[-1], 0.0)
        return found

    def limits(self, low: FloatArray, high: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Intervals of the same for all inputs of a box (interval arithmetic)."""
        found = []
        for affine in self.maps:
            centre = affine.weight @ ((low + high) / 2) + affine.bias
            half = np.abs(affine.weight) @ ((high - low) / 2)
            found.append((centre - half, centre + half))
            low, high = (np.maximum(end, 0.0) for end in found[-1])
        return found


def pieces(module: nn.Module, shape: tuple[int, ...]) -> Pieces | None:
    """Take a small network apart; null where it is no chain of affine maps and ReLUs, or too large.

    Args:
        module: in evaluation mode.
        shape: of one sample.
    """
    from modelward.threats.evasion.bounds.propagate import traced

    try:
        graph = copy.deepcopy(traced(module)).double().cpu()
    except OperatorUnsupported:
        return None
    maps: list[Affine] = []
    part: list[fx.Node] = []
    units = 0
    with torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                continue
            if node.op != "output" and not _relu(graph, node):
                part.append(node)
                continue
            found = _affine(graph, part, shape)
            if found is None:
                return None
            affine, shape = found
            maps.append(affine)
            units += len(affine.bias)
            part = []
            if units > _UNITS:
                return None
    return Pieces(tuple(maps))


def _relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph.get_submodule(str(node.target)), nn.ReLU)
    if node.op == "call_method":
        return node.target in {"relu", "relu_"}
    return node.op == "call_function" and node.target in _RELUS


def _affine(
    graph: fx.GraphModule, part: list[fx.Node], shape: tuple[int, ...]
) -> tuple[Affine, tuple[int, ...]] | None:
    """The map of some nodes on flat samples and the shape of its outputs; null where it is not affine."""
    inputs = int(np.prod(shape))
    zero = torch.zeros((1, *shape), dtype=torch.float64)
    base = _through(graph, part, zero)
    if base is None or inputs * base[0].numel() > _ENTRIES:
        return None
    ends = _through(graph, part, torch.eye(inputs, dtype=torch.float64).reshape(-1, *shape))
    probe = torch.linspace(-3, 5, inputs, dtype=torch.float64)
    seen = _through(graph, part, probe.reshape(1, *shape))
    if ends is None or seen is None:
        return None
    weight = (ends - base).flatten(1).T
    bias = base.flatten()
    wanted = weight @ probe + bias
    if not torch.allclose(wanted, seen.flatten(), rtol=_CLOSE, atol=_CLOSE):
        return None
    return Affine(weight.numpy().copy(), bias.numpy().copy()), tuple(base.shape[1:])


def _through(graph: fx.GraphModule, part: list[fx.Node], x: torch.Tensor) -> torch.Tensor | None:
    """Compute some nodes that follow each other; null where one needs more than the value before it."""
    value: Any = x  # whatever the nodes compute
    before: fx.Node | None = None
    for node in part:
        needed = node.all_input_nodes
        if len(needed) != 1 or (before is not None and needed[0] is not before):
            return None
        known: dict[fx.Node, Any] = {needed[0]: value}
        given: tuple[Any, ...] = fx.node.map_arg(node.args, known.__getitem__)
        named: dict[str, Any] = fx.node.map_arg(node.kwargs, known.__getitem__)
        if node.op == "call_module":
            value = graph.get_submodule(str(node.target))(*given, **named)
        elif node.op == "call_function" and callable(node.target):
            value = node.target(*given, **named)
        elif node.op == "call_method":
            value = getattr(given[0], str(node.target))(*given[1:], **named)
        else:
            return None
        before = node
    return value if isinstance(value, torch.Tensor) and len(value) == len(x) else None


def flat(x: NDArray[np.generic]) -> FloatArray:
    """One sample as a flat float64 vector."""
    return np.asarray(x, np.float64).reshape(-1)
