"""Walk a torch.fx graph with enclosures in place of tensors (interval bound propagation).

Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation" (arXiv 1810.12715v4, section
3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx, nn

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.operators import FUNCTIONS, LAYERS, METHODS
from modelward.threats.evasion.bounds.rules import refused
from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def traced(module: nn.Module) -> fx.GraphModule:
    """The module's graph; the module itself when it already is one.

    Raises:
        OperatorUnsupported: its forward function depends on values, or cannot be traced for another reason.
    """
    if isinstance(module, fx.GraphModule):
        return module
    try:
        with as_evaluated(module):
            return fx.symbolic_trace(module)
    except (
        fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError
    ) as error:  # fmt: skip
        first = str(error).partition("\n")[0]
        raise OperatorUnsupported(f"the model cannot be traced ({type(error).__name__}: {first})") from error


def propagate(graph: fx.GraphModule, x: Enclosure) -> Enclosure:
    """Enclose the scores of everything enclosed.

    Args:
        graph: takes one input; in evaluation mode.
        x: (n, *shape) the inputs.

    Returns:
        (n, k).

    Raises:
        OperatorUnsupported: names the operation without a sound rule.
    """
    values: dict[fx.Node, Any] = {}  # whatever the graph computes
    for node in graph.graph.nodes:
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
        if node.op == "output":
            result = args[0]
            if (
                not isinstance(result, Enclosure)
                or len(result.shape) != 2
                or len(result.lower) != len(x.lower)
            ):
                raise refused("an output that is not one row of scores per input")
            return result
        if node.op == "placeholder":
            if values:
                raise refused("a model with several inputs")
            values[node] = x
        else:
            values[node] = _value(graph, node, args, kwargs)
    raise refused("a graph without an output")


def _value(
    graph: fx.GraphModule, node: fx.Node, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    if node.op == "get_attr":
        return _attribute(graph, str(node.target))
    depends = any(isinstance(leaf, Enclosure) for leaf in _leaves((args, tuple(kwargs.values()))))
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        rule = LAYERS.get(type(layer))
        return _applied(rule, type(layer).__name__, (layer, *args), kwargs)
    if node.op == "call_method":
        name = str(node.target)
        if not depends:
            return getattr(args[0], name)(*args[1:], **kwargs)
        if isinstance(args[0], Enclosure) and name in {"size", "dim"}:
            return getattr(args[0].lower, name)(*args[1:], **kwargs)
        return _applied(METHODS.get(name), f"the tensor method {name}", args, kwargs)
    function = cast("Callable[..., object]", node.target)
    name = getattr(function, "__name__", str(function))
    if (
        function is getattr
        and isinstance(args[0], Enclosure)
        and args[1] in {"shape", "ndim", "dtype", "device"}
    ):
        return torch.float32 if args[1] == "dtype" else getattr(args[0].lower, str(args[1]))
    if not depends:
        return function(*args, **kwargs)
    return _applied(FUNCTIONS.get(function), name, args, kwargs)


def _applied(
    rule: Callable[..., Enclosure] | None, name: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> Enclosure:
    if rule is None:
        raise refused(name)
    try:
        return rule(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        first = str(error).partition("\n")[0]
        raise refused(f"{name} called like this ({first})") from error


def _attribute(graph: fx.GraphModule, path: str) -> object:
    value: object = graph
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _leaves(value: object) -> Iterable[object]:
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value
