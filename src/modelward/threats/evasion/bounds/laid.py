"""Values whose first axis is not that of the points: the sequence before the batch, heads joined with it.

What torch's attention computes moves the batch behind the sequence and joins it with the heads. Nothing is
computed across points by that, so such a value is kept as an enclosure with the points first, and as the way
in which its axes are ordered and joined in the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

import torch

from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.functions import softmax
from modelward.threats.evasion.bounds.moves import shifted
from modelward.threats.evasion.bounds.sums import exact, matmul, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rule: TypeAlias = Callable[..., Enclosure]
    Groups: TypeAlias = tuple[tuple[int, ...], ...]

WITHHELD: Final = object()
"""In place of a result that has no bounds; whatever uses it is refused."""
_ENTRIES: Final = frozenset(
    {
        *(
            "relu",
            "gelu",
            "silu",
            "tanh",
            "sigmoid",
            "leaky_relu",
            "elu",
            "exp",
            "erf",
            "abs",
            "clamp",
            "clip",
        ),
        *(
            "square",
            "sqrt",
            "neg",
            "pow",
            "softplus",
            "hardswish",
            "dropout",
            "contiguous",
            "detach",
            "float",
        ),
        *("to", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "Softplus", "Hardswish"),
        *("Dropout", "Identity"),
    }
)
"""Functions of single entries."""
_PAIRS: Final = frozenset({"add", "iadd", "sub", "mul", "div", "truediv", "maximum", "minimum"})
_LAST: Final = frozenset({"Linear", "linear", "LayerNorm", "layer_norm", "RMSNorm", "rms_norm"})
"""Functions along the last axis."""
_SOFTMAX: Final = frozenset({"softmax", "log_softmax", "Softmax", "LogSoftmax"})
_FOLDS: Final = frozenset({"mean", "sum", "amax", "amin"})
_MOVES: Final = frozenset(
    {
        "permute",
        "transpose",
        "reshape",
        "view",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "select",
        "narrow",
    }
)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Laid:
    """A value as the network holds it.

    Attributes:
        inner: (n, ...), the points first and the other axes in the order in which the value has them.
        groups: for each axis of the value, the axes of `inner` that are joined in it, in order; none is left
            out or named twice.
    """

    inner: Enclosure
    groups: Groups

    @property
    def shape(self) -> torch.Size:
        """As the network has it."""
        return torch.Size(math.prod(self.inner.shape[a] for a in group) for group in self.groups)

    def axis(self, dim: int) -> int:
        """The axis of `inner` that alone is an axis of the value.

        Raises:
            OperatorUnsupported: the axis is that of the points, or joined with it.
        """
        group = self.groups[dim % len(self.groups)]
        if len(group) != 1 or group[0] == 0:
            raise refused("an operation along an axis that holds the batch")
        return group[0]


def settled(inner: Enclosure, groups: Sequence[Sequence[int]]) -> Enclosure | Laid:
    """A value in its one form: axes in the order of the groups, neighbours joined; plain where it is."""
    order = [0, *(axis for group in groups for axis in group if axis)]
    inner = shifted(torch.permute, inner, order)
    lengths, joined, count = [inner.shape[0]], [], 0
    for group in groups:
        parts: list[int] = []
        for axis in group:
            if axis == 0:
                parts.append(0)
                continue
            count += 1
            length = inner.shape[count]
            if parts and parts[-1]:
                lengths[-1] *= length
            elif length > 1 or len(group) == 1:
                lengths.append(length)
                parts.append(len(lengths) - 1)
        if not parts:
            lengths.append(1)
            parts.append(len(lengths) - 1)
        joined.append(tuple(parts))
    inner = shifted(torch.reshape, inner, lengths)
    plain = tuple((i,) for i in range(len(lengths)))
    return inner if tuple(joined) == plain else Laid(inner, tuple(joined))


def spread(x: Enclosure | Laid) -> Laid:
    """A value with its groups, also where it is plain."""
    return x if isinstance(x, Laid) else Laid(x, tuple((i,) for i in range(len(x.shape))))


def regrouped(x: Enclosure | Laid, target: Sequence[int]) -> Enclosure | Laid:
    """Reshape, as long as the axis of the points is not cut.

    Args:
        x: the value.
        target: lengths; at most one is -1. Where there is one point, its axis goes where -1 stands, or else
            as far ahead as it can.
    """
    value = spread(x)
    whole = math.prod(value.shape)
    rest = math.prod(t for t in target if t != -1)
    known = [t if t != -1 else whole // max(1, rest) for t in target]
    if math.prod(known) != whole:
        raise refused(f"a reshape of {tuple(value.shape)} to {tuple(target)}")
    waiting = [(axis == 0, value.inner.shape[axis]) for group in value.groups for axis in group]
    lengths, groups = [value.inner.shape[0]], []
    for place, want in enumerate(known):
        group: list[int] = []
        have, open_ended = 1, -1 not in target or target[place] == -1
        while waiting and (have < want or (waiting[0] == (True, 1) and open_ended)):
            batch, size = waiting.pop(0)
            part = size if batch else math.gcd(size, want // have)
            if want % (have * part) or (part == 1 and size > 1):
                raise refused("a reshape that cuts the axis of the points")
            if part < size:
                waiting.insert(0, (False, size // part))
            have *= part
            if batch:
                group.append(0)
            else:
                lengths.append(part)
                group.append(len(lengths) - 1)
        groups.append(group)
    for batch, _ in waiting:  # nothing but axes of length one
        if batch:
            groups[-1].append(0)
    return settled(shifted(torch.reshape, value.inner, lengths), groups)


def rearranged(name: str, x: Enclosure | Laid, *args: object, **kwargs: object) -> Enclosure | Laid:
    """A torch function or method that orders, joins, parts or drops axes."""
    if name not in _MOVES:
        raise refused("a rearrangement across the batch")
    value = spread(x)
    rank = len(value.groups)
    numbers = _numbers([*args, *kwargs.values()])
    if name == "permute":
        return settled(value.inner, [value.groups[axis % rank] for axis in numbers])
    if name == "transpose":
        groups = list(value.groups)
        one, other = (axis % rank for axis in numbers)
        groups[one], groups[other] = groups[other], groups[one]
        return settled(value.inner, groups)
    if name in {"select", "narrow"}:
        axis = value.axis(numbers[0])
        part = shifted(
            torch.narrow, value.inner, axis, numbers[1] % value.inner.shape[axis], (*numbers, 1)[2]
        )
        groups = list(value.groups)
        if name == "narrow":
            return settled(part, groups)
        del groups[numbers[0] % rank]
        flat = shifted(torch.select, part, axis, 0)
        return settled(flat, [[a - (a > axis) for a in group] for group in groups])
    shape = list(value.shape)
    if name == "unsqueeze":
        shape.insert(numbers[0] % (rank + 1), 1)
    elif name == "squeeze":
        axis = numbers[0] % rank
        if 0 in value.groups[axis]:
            raise refused("a squeeze of the batch")
        del shape[axis : axis + (shape[axis] == 1)]
    elif name == "flatten":
        first, last = (axis % rank for axis in (*numbers, *(0, -1)[len(numbers) :]))
        shape[first : last + 1] = [math.prod(shape[first : last + 1])]
    elif name == "unflatten":
        axis = numbers[0] % rank
        shape[axis : axis + 1] = numbers[1:]
    else:
        shape = numbers
    return regrouped(value, shape)


def _numbers(values: Sequence[object]) -> list[int]:
    """All whole numbers, also those in tuples."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _numbers(value)
        else:
            raise refused(f"a rearrangement by {value!r}")
    return found


def applied(name: str, rule: Rule | None, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """An operation with an argument that is laid out otherwise than points first.

    Args:
        name: of the function, the method or the layer's class.
        rule: what does it on enclosures.
        args: the layer itself first where it is one.
        kwargs: likewise.
    """
    found = next(((i, arg) for i, arg in enumerate(args) if isinstance(arg, (Laid, Enclosure))), None)
    if rule is None or found is None:
        raise refused(name)
    place, x = found
    before, rest, value = args[:place], args[place + 1 :], spread(x)
    if name in _MOVES:
        return rearranged(name, value, *rest, **kwargs)
    if name == "getitem":
        return _item(value, rest[0])
    if name in {"matmul", "bmm"}:
        return _product(value, rest[0], rule)
    if name in _SOFTMAX:
        return _softmax(name, value, before, (*rest, *kwargs.items()))
    if name in _PAIRS:
        return _paired(rule, (*before, x, *rest), kwargs)
    if name in _ENTRIES and not any(_shaped(arg) for arg in (*rest, *kwargs.values())):
        return settled(rule(*before, value.inner, *rest, **kwargs), value.groups)
    if name in _LAST:
        value.axis(-1)
        shape = next(iter((*rest, kwargs.get("normalized_shape"))), None)
        shape = getattr(before[0], "normalized_shape", ()) if before else shape
        if name not in {"Linear", "linear"} and (not isinstance(shape, (tuple, list)) or len(shape) != 1):
            raise refused(f"{name} over several axes of a value whose first axis is not that of the points")
        return settled(rule(*before, value.inner, *rest, **kwargs), value.groups)
    if name in _FOLDS and set(kwargs) <= {"dim", "keepdim"}:
        return _folded(rule, value, rest, kwargs)
    raise refused(f"{name} of a value whose first axis is not that of the points")


def _shaped(argument: object) -> bool:
    """Whether an argument has axes of its own, which would have to follow those of the value."""
    held = isinstance(argument, torch.Tensor) and argument.numel() > 1
    return held or isinstance(argument, (Laid, Enclosure))


def _softmax(
    name: str, value: Laid, before: tuple[object, ...], rest: tuple[object, ...]
) -> Enclosure | Laid:
    """Over the last axis, in float32."""
    value.axis(-1)
    named = [item for item in rest if isinstance(item, tuple)]
    dims: list[object] = [item for item in rest if not isinstance(item, tuple)]
    dims += [part for key, part in named if key == "dim"]
    if before:
        dims.append(getattr(before[0], "dim", None))
    other = [key for key, part in named if key not in {"dim", "_stacklevel"} and part is not None]
    last = len(value.groups) - 1
    if other or not dims or not isinstance(dims[0], int) or dims[0] % (last + 1) != last:
        raise refused("a softmax that is not over the last axis in float32")
    found = softmax(value.inner, -1, logarithm="log" in name.lower())
    return settled(found, value.groups)


def _item(value: Laid, index: object) -> Enclosure | Laid:
    """Numbers and slices of step one."""
    parts = index if isinstance(index, tuple) else (index,)
    found: Enclosure | Laid = value
    axis = 0
    for part in parts:
        now = spread(found)
        if isinstance(part, int) and not isinstance(part, bool):
            found = rearranged("select", now, axis, part)
            continue
        if not isinstance(part, slice):
            raise refused("indexing other than by slices and numbers")
        if part != slice(None):
            start, stop, step = part.indices(now.shape[axis])
            if step != 1 or stop <= start:
                raise refused("indexing by steps where the first axis is not that of the points")
            found = rearranged("narrow", now, axis, start, stop - start)
        axis += 1
    return found


def _product(left: Laid, right: object, rule: Rule | None) -> Enclosure | Laid:
    if not isinstance(right, (Laid, Enclosure)):
        left.axis(-1)
        if rule is None:
            raise refused("a matrix product")
        return settled(rule(left.inner, right), left.groups)
    other = spread(right)
    for value in (left, other):
        value.axis(-1)
        value.axis(-2)
    if left.groups != other.groups:
        raise refused("a matrix product of two values whose batches lie in different axes")
    return settled(matmul(left.inner, other.inner), left.groups)


def _paired(rule: Rule, args: tuple[object, ...], kwargs: dict[str, object]) -> Enclosure | Laid:
    """Entries of two values that are laid out alike, or of one and a constant."""
    values = [spread(arg) for arg in args if isinstance(arg, (Laid, Enclosure))]
    groups = values[0].groups
    if any(value.groups != groups for value in values):
        raise refused("entries of two values whose batches lie in different axes")
    inside = (
        spread(arg).inner if isinstance(arg, (Laid, Enclosure)) else _aligned(arg, values[0]) for arg in args
    )
    found = rule(*inside, **kwargs)
    if len(found.shape) != len(values[0].inner.shape):
        raise refused("a constant with more axes than the value that it meets")
    return settled(found, groups)


def _aligned(constant: object, value: Laid) -> object:
    """A constant with its axes where `inner` has them; numbers and single entries stay."""
    if not isinstance(constant, torch.Tensor) or constant.numel() == 1:
        return constant if not isinstance(constant, torch.Tensor) else exact(constant).reshape(())
    if constant.dim() > len(value.groups):
        raise refused("a constant with more axes than the value that it meets")
    lengths = [1] * len(value.inner.shape)
    wide = constant.reshape((1,) * (len(value.groups) - constant.dim()) + tuple(constant.shape))
    for length, group, have in zip(wide.shape, value.groups, value.shape, strict=True):
        if length == 1:
            continue
        if len(group) != 1 or group[0] == 0 or length != have:
            raise refused("a constant that differs between points")
        lengths[group[0]] = length
    return wide.reshape(lengths)


def _folded(rule: Rule, value: Laid, rest: tuple[object, ...], kwargs: dict[str, object]) -> Enclosure | Laid:
    """A sum, mean or extreme over axes that do not hold the batch."""
    keep = bool(kwargs.get("keepdim", rest[1] if len(rest) > 1 else False))
    dims = [d % len(value.groups) for d in _numbers([kwargs.get("dim", rest[0] if rest else ())])]
    if not dims:
        raise refused("a reduction over the batch")
    axes = tuple(value.axis(dim) for dim in dims)
    found = rule(value.inner, axes, keepdim=True)
    if keep:
        return settled(found, value.groups)
    kept = [group for dim, group in enumerate(value.groups) if dim not in dims]
    lengths = [length for axis, length in enumerate(found.shape) if axis not in axes]
    new = {axis: i for i, axis in enumerate(a for a in range(len(found.shape)) if a not in axes)}
    return settled(shifted(torch.reshape, found, lengths), [[new[a] for a in group] for group in kept])
