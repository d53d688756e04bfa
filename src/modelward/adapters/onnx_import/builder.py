"""Build an fx graph and fold constants with one set of operators.

A value is either a `Constant` (known without the input) or a `Signal` (computed from it). Every value is
tracked at two batch sizes at once, so that what follows the batch shows, and a reshape is written with
-1 where the batch stands: the module is batch-general although ONNX spells shapes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias, final

import torch
from torch import Tensor, fx, nn

from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx.node import Argument

LARGEST: Final = 2**28  # elements of one tensor at the probing batch sizes; beyond it a file is refused


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor known without the input; `probes` holds its value at each probing batch size."""

    probes: tuple[Tensor, ...]

    @property
    def static(self) -> bool:
        """Whether the value is the same at every batch size."""
        first = self.probes[0]
        return all(probe is first or torch.equal(probe, first) for probe in self.probes)

    def row(self) -> Constant | None:
        """The value with the axis that follows the batch cut to one entry; None where its entries differ."""
        if self.static:
            return self
        first, *others = (tuple(probe.shape) for probe in self.probes)
        if any(len(other) != len(first) for other in others):
            return None
        moving = [i for i, lengths in enumerate(zip(first, *others, strict=True)) if len(set(lengths)) > 1]
        if len(moving) != 1:
            return None
        row = self.probes[0].narrow(moving[0], 0, 1)
        same = all(torch.equal(probe, row.expand_as(probe)) for probe in self.probes)
        return Constant((row,) * len(self.probes)) if same else None


@final
@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor computed from the input; `probes` holds its shape and dtype (meta tensors)."""

    probes: tuple[Tensor, ...]
    node: fx.Node


Value: TypeAlias = Constant | Signal


def shapes(value: Value) -> tuple[tuple[int, ...], ...]:
    """The shape at each probing batch size."""
    return tuple(tuple(probe.shape) for probe in value.probes)


def rank(value: Value) -> int:
    """Number of axes."""
    return value.probes[0].dim()


def fixed_dims(value: Value, start: int) -> tuple[int, ...]:
    """The lengths of the axes from `start` on, which must not depend on the batch size.

    Raises:
        OperatorUnsupported: they do.
    """
    first, *others = (shape[start:] for shape in shapes(value))
    if any(other != first for other in others):
        raise OperatorUnsupported("an axis other than the first depends on the batch size")
    return first


def fixed_length(value: Value, axis: int) -> int:
    """The length of one axis, which must not depend on the batch size.

    Raises:
        OperatorUnsupported: it does.
    """
    lengths = {shape[axis] for shape in shapes(value)}
    if len(lengths) != 1:
        raise OperatorUnsupported(f"the length of axis {axis} depends on the batch size")
    return lengths.pop()


def axis_of(axis: int, dims: int) -> int:
    """A possibly negative axis as 0 .. dims - 1.

    Raises:
        OperatorUnsupported: it is out of range.
    """
    if not -dims <= axis < dims:
        raise OperatorUnsupported(f"axis {axis} does not exist in a tensor of {dims} axes")
    return axis % dims


def bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, refused where a tensor of it would be too large to be meant."""
    if any(length < 0 for length in shape) or prod(shape) > LARGEST:
        raise OperatorUnsupported(f"a tensor of shape {shape} is too large to import")
    return shape


@final
class Builder:
    """Collects the nodes, submodules and constants of one fx graph.

    Args:
        name: name of the placeholder.
        probes: meta tensors of the input at each probing batch size.
    """

    def __init__(self, name: str, probes: tuple[Tensor, ...]) -> None:
        self.graph: Final = fx.Graph()
        self.root: Final = nn.Module()
        self.input: Final = Signal(probes, self.graph.placeholder(name))
        self._counts: dict[str, int] = {}

    def constant(self, tensor: Tensor) -> Constant:
        """A value that is the same at every batch size."""
        return Constant((tensor,) * len(self.input.probes))

    def call(self, function: Callable[..., Tensor], *args: object, **kwargs: object) -> Value:
        """Apply a torch function: at once where all arguments are constants, else as a graph node."""
        probes = tuple(self._measure(function, args, kwargs, i) for i in range(len(self.input.probes)))
        if any(isinstance(value, Signal) for value in _flat(args)):
            args = self._broadcast(function, args, kwargs, probes)
            written = tuple(self._operand(argument) for argument in args)
            plain = {name: self._operand(value) for name, value in kwargs.items()}
            return Signal(probes, self.graph.call_function(function, written, plain))
        if all(value.static for value in _flat(args) if isinstance(value, Constant)):
            return self.constant(function(*_pick(args, 0), **kwargs))
        return Constant(tuple(function(*_pick(args, i), **kwargs) for i in range(len(probes))))

    def module(self, layer: nn.Module, x: Value) -> Value:
        """Apply a layer. On a constant it is computed at once."""
        layer.eval().requires_grad_(requires_grad=False)
        if isinstance(x, Constant):
            return self.call(layer, x)
        state = {name: tensor.to("meta") for name, tensor in layer.state_dict().items()}
        probes = tuple(torch.func.functional_call(layer, state, (probe,)) for probe in x.probes)
        for probe in probes:
            bounded(tuple(probe.shape))
        name = self._name(type(layer).__name__.lower())
        self.root.add_module(name, layer)
        return Signal(probes, self.graph.call_module(name, (x.node,)))

    def cast(self, x: Value, dtype: torch.dtype) -> Value:
        """Change the element type; signals stay floating."""
        if isinstance(x, Constant):
            return Constant(tuple(probe.to(dtype) for probe in x.probes))
        if x.probes[0].dtype == dtype:
            return x
        if not dtype.is_floating_point:
            raise OperatorUnsupported(f"computed values are cast to {str(dtype).removeprefix('torch.')}")
        return Signal(tuple(p.to(dtype) for p in x.probes), self.graph.call_method("to", (x.node, dtype)))

    def reshape(self, x: Value, targets: tuple[tuple[int, ...], ...]) -> Value:
        """Reshape to a target per probing batch size; the axis that varies with the batch becomes -1."""
        probes = tuple(probe.reshape(target) for probe, target in zip(x.probes, targets, strict=True))
        if isinstance(x, Constant):
            return Constant(probes)
        results = [tuple(probe.shape) for probe in probes]
        if len(results) == 1:
            spec = results[0]
        else:
            pairs = list(zip(*results, strict=True))
            if sum(a != b for a, b in pairs) != 1:
                raise OperatorUnsupported("the batch size is spread over several axes")
            spec = tuple(a if a == b else -1 for a, b in pairs)
        if all(result == shape for result, shape in zip(results, shapes(x), strict=True)):
            return x
        if spec == (-1, prod(results[0][1:])) and shapes(x)[0][0] == results[0][0]:
            return Signal(probes, self.graph.call_function(torch.flatten, (x.node, 1)))
        return Signal(probes, self.graph.call_function(torch.reshape, (x.node, spec)))

    def take(self, x: Value, axis: int, picks: tuple[list[int], ...]) -> Value:
        """The entries `picks` (one list per probing batch size) along an axis."""
        lengths = [shape[axis] for shape in shapes(x)]
        if all(pick == list(range(length)) for pick, length in zip(picks, lengths, strict=True)):
            return x
        if isinstance(x, Constant):
            pairs = zip(x.probes, picks, strict=True)
            return Constant(
                tuple(p.index_select(axis, torch.tensor(pick, dtype=torch.int64)) for p, pick in pairs)
            )
        if len(set(lengths)) != 1 or any(pick != picks[0] for pick in picks):
            raise OperatorUnsupported("entries are picked along the batch axis")
        pick = picks[0]
        if pick and pick == list(range(pick[0], pick[0] + len(pick))):
            return self.call(torch.narrow, x, axis, pick[0], len(pick))
        return self.call(torch.index_select, x, axis, self.constant(torch.tensor(pick, dtype=torch.int64)))

    def _broadcast(
        self,
        function: Callable[..., Tensor],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        probes: tuple[Tensor, ...],
    ) -> tuple[object, ...]:
        """The arguments with constants repeated over the batch cut to one row, where that broadcasts."""
        rows = {
            value: value.row() for value in _flat(args) if isinstance(value, Constant) and not value.static
        }
        if not rows or None in rows.values():
            return args
        cut = tuple(rows.get(arg, arg) if isinstance(arg, Constant) else arg for arg in args)
        try:
            measured = [self._measure(function, cut, kwargs, i).shape for i in range(len(probes))]
        except RuntimeError:  # the function does not broadcast
            return args
        return cut if measured == [probe.shape for probe in probes] else args

    def _measure(
        self, function: Callable[..., Tensor], args: tuple[object, ...], kwargs: dict[str, object], i: int
    ) -> Tensor:
        """Shape and dtype of a result, found without computing it, and refused where it is too large."""
        if isinstance(function, nn.Module):  # a layer on a constant: its weights are real
            real: Tensor = function(*_pick(args, i), **kwargs)
            return real
        result = function(*_pick(args, i, meta=True), **kwargs)
        bounded(tuple(result.shape))
        return result

    def _operand(self, argument: object) -> Argument:
        if isinstance(argument, Signal):
            return argument.node
        if isinstance(argument, Constant):
            if not argument.static:
                raise OperatorUnsupported("a constant depends on the batch size")
            name = self._name("constant")
            self.root.register_buffer(name, argument.probes[0].contiguous().clone())
            return self.graph.get_attr(name)
        if isinstance(argument, tuple):
            return tuple(self._operand(item) for item in argument)
        if argument is None or isinstance(argument, (int, float, str)):
            return argument
        raise OperatorUnsupported(f"an argument of type {type(argument).__name__}")

    def _name(self, stem: str) -> str:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return f"{stem}_{self._counts[stem]}"


def _flat(args: tuple[object, ...]) -> list[object]:
    return [leaf for arg in args for leaf in (_flat(arg) if isinstance(arg, tuple) else [arg])]


def _pick(args: tuple[object, ...], i: int, *, meta: bool = False) -> tuple[object, ...]:
    """The arguments with every value replaced by its tensor at probe `i`."""
    picked: list[object] = []
    for arg in args:
        if isinstance(arg, tuple):
            picked.append(_pick(arg, i, meta=meta))
        elif isinstance(arg, (Constant, Signal)):
            picked.append(arg.probes[i].to("meta") if meta else arg.probes[i])
        else:
            picked.append(arg)
    return tuple(picked)
