"""Walk a torch.fx graph with enclosures in place of tensors (interval bound propagation).

Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation" (arXiv 1810.12715v4, section
3).
"""

from __future__ import annotations

import operator
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import torch
from torch import fx, nn

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.laid import WITHHELD, Laid, applied
from modelward.threats.evasion.bounds.operators import BENT, FUNCTIONS, LAYERS, METHODS, VIEWS, WHOLE
from modelward.threats.evasion.bounds.sums import refused
from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Refine: TypeAlias = Callable[[Enclosure, bool], Enclosure]

METHOD: Final = "the tensor method "


def traced(module: nn.Module) -> fx.GraphModule:
    """The module's graph; the module itself when it already is one.

    Raises:
        OperatorUnsupported: its forward function depends on values, is replaced or completed from outside, or
            draws random numbers, or cannot be traced for another reason.
    """
    for part in module.modules():
        if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):  # noqa: SLF001 - torch offers no public way to see hooks
            raise refused(f"{type(part).__name__} with hooks or a forward function of its own")
    if isinstance(module, fx.GraphModule):
        return module
    try:
        with as_evaluated(module):
            before = _random_state()
            graph = fx.symbolic_trace(module)
    except (
        fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NameError, AttributeError, LookupError,
        AssertionError,
    ) as error:  # fmt: skip
        first = str(error).partition("\n")[0]
        raise OperatorUnsupported(f"the model cannot be traced ({type(error).__name__}: {first})") from error
    if _random_state() != before:  # what was drawn now is in the graph as a constant
        raise refused("a forward function that draws random numbers")
    return graph


def _random_state() -> tuple[object, ...]:
    """Of the generators that every program shares."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), str(np.random.get_state())  # noqa: NPY002 - the shared generator is what is looked at


def propagate(graph: fx.GraphModule, x: Enclosure, refine: Refine | None = None) -> Enclosure:
    """Enclose the scores of everything enclosed; without bounds where an intermediate value may overflow.

    Args:
        graph: takes one input; in evaluation mode.
        x: (n, *shape) the inputs.
        refine: tightens the arguments of operations that are not linear, before these are bounded.

    Returns:
        (n, k).

    Raises:
        OperatorUnsupported: names the operation without a sound rule.
    """
    values: dict[fx.Node, Any] = {}  # whatever the graph computes
    held = x.held
    for node in graph.graph.nodes:
        if refine is not None and node.op not in {"output", "placeholder", "get_attr"}:
            _refine(graph, node, values, refine)
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
            low, high = (
                end.where(held[:, None], -sign * torch.inf)
                for end, sign in ((result.lower, 1), (result.upper, -1))
            )
            return replace(result, lower=low, upper=high)
        if node.op == "placeholder":
            if values:
                raise refused("a model with several inputs")
            values[node] = x
        else:
            values[node] = value = _value(graph, node, args, kwargs)
            inner = value.inner if isinstance(value, Laid) else value
            if isinstance(inner, Enclosure):
                if len(inner.lower) != len(held):
                    raise refused("a value whose first axis is not that of the points")
                held = held & inner.held
    raise refused("a graph without an output")


def _refine(graph: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], refine: Refine) -> None:
    kind = type(graph.get_submodule(str(node.target))) if node.op == "call_module" else node.target
    bent = BENT.get(kind)
    arguments = [a for a in node.all_input_nodes if isinstance(values.get(a), (Enclosure, Laid))]
    if bent is None or (bent == "product" and len(arguments) < 2):
        return
    for argument in arguments:
        value = values[argument]
        if isinstance(value, Laid):
            values[argument] = replace(value, inner=refine(value.inner, bent == "relu"))
        else:
            values[argument] = refine(value, bent == "relu")


def _value(
    graph: fx.GraphModule, node: fx.Node, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    if node.op == "get_attr":
        return _attribute(graph, str(node.target))
    if node.target is not operator.getitem and any(leaf is WITHHELD for leaf in _leaves((args, kwargs))):
        raise refused("what uses the weights of an attention or the positions of extremes")
    depends = any(isinstance(leaf, (Enclosure, Laid)) for leaf in _leaves((args, tuple(kwargs.values()))))
    _require_unshared(graph, node)
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        rule = LAYERS.get(type(layer))
        return _applied(rule, type(layer).__name__, (layer, *args), kwargs)
    if node.op == "call_method":
        name = str(node.target)
        if not depends:
            return getattr(args[0], name)(*args[1:], **kwargs)
        if isinstance(args[0], (Enclosure, Laid)) and name in {"size", "dim"}:
            return getattr(_bare(args[0]), name)(*args[1:], **kwargs)
        return _applied(METHODS.get(name), METHOD + name, args, kwargs)
    function = cast("Callable[..., object]", node.target)
    name = getattr(function, "__name__", str(function))
    if (
        function is getattr
        and isinstance(args[0], (Enclosure, Laid))
        and args[1] in {"shape", "ndim", "dtype", "device"}
    ):
        return torch.float32 if args[1] == "dtype" else getattr(_bare(args[0]), str(args[1]))
    if not depends:
        return function(*args, **kwargs)
    return _applied(FUNCTIONS.get(function), name, args, kwargs)


def _require_unshared(graph: fx.GraphModule, node: fx.Node) -> None:
    """Refuse an operation in place whose argument, or what that is a view of, is used elsewhere too.

    The rules compute new values; where others still read the old one, they would see what torch overwrote.
    """
    layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    flag = node.kwargs.get("inplace", False) if layer is None else getattr(layer, "inplace", False)
    if flag is False and node.target is not operator.iadd:
        return
    source = node.args[0] if node.args else node.kwargs.get("input")
    while isinstance(source, fx.Node):
        if len(source.users) > 1:
            raise refused("an operation in place on a value that is used again")
        kind = type(graph.get_submodule(str(source.target))) if source.op == "call_module" else source.target
        source = source.args[0] if kind in VIEWS and source.args else None


def _bare(value: Enclosure | Laid) -> torch.Tensor:
    """Something with the shape of a value."""
    return torch.empty(value.shape, device="meta", dtype=torch.float32)


def _applied(
    rule: Callable[..., Any] | None, name: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    shifted = any(isinstance(arg, Laid) for arg in (*args, *kwargs.values()))
    if rule is None and not shifted:
        raise refused(name)
    try:
        if shifted and name not in WHOLE:
            return applied(name.removeprefix(METHOD), rule, args, kwargs)
        if rule is None:
            raise refused(name)
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
