"""Intervals through a network, as functions of its weights: what certified training minimises.

These bounds train; they prove nothing. They are computed in float32 and ignore rounding, which the check
`evasion.certified` accounts for when it examines the trained network.

Source: Gowal et al. 2018 (arXiv 1810.12715v4, section 3).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast, final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional

from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTED: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
NORMALISED: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
STILL: Final = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
MOVED: Final = (
    nn.Flatten, nn.Unflatten, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
"""Linear layers without weights that never decrease in any entry."""
_RISING: Final = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.ELU, nn.SELU, nn.Softplus, nn.Hardtanh,
    nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
RECTIFIED: Final = {nn.ReLU, functional.relu, torch.relu, "relu"}
MOVING: Final = {torch.flatten, "flatten", "view", "reshape", "contiguous"}
_RISING_FUNCTIONS: Final = {
    torch.tanh, torch.sigmoid, functional.leaky_relu, functional.max_pool2d, functional.avg_pool2d, "tanh",
    "sigmoid",
}  # fmt: skip
ADDING: Final = {operator.add, torch.add, "add"}


@final
@dataclass(frozen=True, eq=False, slots=True)
class Interval:
    """Centre and radius of every value, (n, ...) each."""

    centre: Tensor
    radius: Tensor

    @property
    def lower(self) -> Tensor:
        """Lower ends."""
        return self.centre - self.radius

    @property
    def upper(self) -> Tensor:
        """Upper ends."""
        return self.centre + self.radius

    @classmethod
    def between(cls, lower: Tensor, upper: Tensor) -> Interval:
        """From both ends."""
        return cls((lower + upper) / 2, (upper - lower) / 2)


def kind(graph: fx.GraphModule, node: fx.Node) -> object:
    """What a node applies: a layer's type, a function, or a method's name."""
    return type(graph.get_submodule(str(node.target))) if node.op == "call_module" else node.target


def enclose(graph: fx.GraphModule, x: Interval) -> dict[fx.Node, Interval]:
    """Every value that depends on the input, by the node that computes it.

    Args:
        graph: of a module with one input.
        x: the inputs.

    Raises:
        OperatorUnsupported: names what has no rule.
    """
    values: dict[fx.Node, Any] = {}  # intervals, and the sizes and constants that nodes compute
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = x
        elif node.op == "get_attr":
            values[node] = operator.attrgetter(str(node.target))(graph)
        elif node.op == "output":
            break
        else:
            values[node] = _value(graph, node, values)
    return {node: value for node, value in values.items() if isinstance(value, Interval)}


def affine(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and offset per channel of batch normalisation with its running statistics."""
    if not isinstance(layer, NORMALISED) or layer.running_var is None or layer.running_mean is None:
        raise refused(f"{type(layer).__name__} without running statistics")
    factor = (layer.running_var + layer.eps).rsqrt()
    if layer.affine:
        factor = factor * layer.weight
    offset = -layer.running_mean * factor
    return factor, offset + layer.bias if layer.affine else offset


def channels(values: Tensor, like: Tensor) -> Tensor:
    """(c,) values shaped to meet the channels of (n, c, ...)."""
    return values.reshape(1, -1, *[1] * (like.dim() - 2))


def refused(what: str) -> OperatorUnsupported:
    """The error for something without a rule."""
    return OperatorUnsupported(
        f"training of bounds has no rule for {what}",
        advice="Use a method without bounds (pgd, trades, awp, fast), or layers that have one.",
    )


def _value(graph: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any]) -> object:
    args = cast("tuple[object, ...]", fx.node.map_arg(node.args, values.__getitem__))
    kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
    what = kind(graph, node)
    x, *more = args
    if node.op == "call_module":
        return _through(graph.get_submodule(str(node.target)), cast("Interval", x))
    call = cast("Callable[..., Any]", operator.methodcaller(what, *more, **kwargs) if isinstance(what, str)
                else lambda value: cast("Callable[..., Any]", what)(value, *more, **kwargs))  # fmt: skip
    if not any(isinstance(arg, Interval) for arg in args):
        return call(x)
    if isinstance(x, Interval):
        if what in {"size", "dim"} or (what is getattr and more[0] in {"shape", "ndim"}):
            return call(x.centre)
        if what in ADDING and isinstance(more[0], Interval) and not kwargs:
            return Interval(x.centre + more[0].centre, x.radius + more[0].radius)
        if what in RECTIFIED | MOVING | _RISING_FUNCTIONS:
            return _ends(call, x)
    raise refused(getattr(what, "__name__", str(what)))


def _through(layer: nn.Module, x: Interval) -> Interval:
    if isinstance(layer, WEIGHTED):
        sizes = {"weight": layer.weight.abs()}
        if layer.bias is not None:
            sizes["bias"] = torch.zeros_like(layer.bias)
        return Interval(layer(x.centre), functional_call(layer, sizes, (x.radius,)))
    if isinstance(layer, NORMALISED):
        factor, offset = (channels(part, x.centre) for part in affine(layer))
        return Interval(x.centre * factor + offset, x.radius * factor.abs())
    if isinstance(layer, STILL):
        return x
    if isinstance(layer, MOVED):
        return Interval(layer(x.centre), layer(x.radius))
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope < 0:
        raise refused("LeakyReLU with a negative slope")
    if isinstance(layer, _RISING):
        # In place, a layer would overwrite what its neighbours still need.
        return _ends(lambda end: layer(end.clone()), x)
    raise refused(type(layer).__name__)


def _ends(function: Callable[[Tensor], Tensor], x: Interval) -> Interval:
    return Interval.between(function(x.lower), function(x.upper))
