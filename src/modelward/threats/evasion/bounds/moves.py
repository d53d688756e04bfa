"""Rearrangements and choices: what they do to an enclosure; torch's names and arguments."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from modelward.threats.evasion.bounds.enclosure import (
    Ball,
    Enclosure,
)
from modelward.threats.evasion.bounds.steps import (
    Errors,
    Join,
    Largest,
    moved,
)
from modelward.threats.evasion.bounds.sums import axes_of, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.sums import Operand


def keeps(function: Callable[..., Tensor], x: Enclosure, *args: object, **kwargs: object) -> bool:
    """Whether a rearrangement leaves each entry to its point: each point's number moves along."""
    numbers = torch.arange(x.shape[0])
    moved = _marked(function, x, *args, **kwargs)
    if moved.dim() < 1 or len(moved) != len(numbers):
        return False
    return torch.equal(moved, numbers.reshape(-1, *[1] * (moved.dim() - 1)).expand_as(moved))


def _marked(function: Callable[..., Tensor], x: Enclosure, *args: object, **kwargs: object) -> Tensor:
    marks = torch.arange(x.shape[0]).reshape(-1, *[1] * (len(x.shape) - 1)).expand(x.shape)
    return function(marks, *args, **kwargs)


def shifted(
    function: Callable[..., Tensor], x: Enclosure, *args: object, repeats: bool = False, **kwargs: object
) -> Enclosure:
    """A function that rearranges entries within each sample.

    Args:
        function: takes tensors, points first.
        x: its first argument.
        args: the others.
        repeats: whether entries may be repeated.
        kwargs: more of the others.

    Raises:
        OperatorUnsupported: it moves entries to other points.
    """
    if not keeps(function, x, *args, **kwargs):
        raise refused("a rearrangement across the batch")

    def apply(part: Tensor) -> Tensor:
        return function(part, *args, **kwargs)

    shape = tuple(_marked(function, x, *args, **kwargs).shape[1:])
    places = torch.arange(math.prod(x.shape[1:])).reshape(1, *x.shape[1:]).expand(x.shape)
    step = moved(x, apply(places)[0].flatten(), shape)
    # A ball does not survive repeated entries: its radius is spent only once.
    form = x.form.map(apply) if isinstance(x.form, Ball) and not repeats else None
    return Enclosure(apply(x.lower), apply(x.upper), form, step)


def extreme(
    x: Enclosure,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - as in torch
    *,
    largest: bool,
) -> Enclosure:
    """Amax or amin over axes other than the points'; exact."""
    function = torch.amax if largest else torch.amin
    axes = axes_of(x, dim)
    return x.monotone(lambda end: function(end, dim=axes, keepdim=keepdim))


def pad(x: Enclosure, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Enclosure:
    """Padding of any mode; a constant, as float32 holds it, is put on both ends."""
    if value is not None:
        value = float(torch.tensor(value, dtype=torch.float32))
    low, high = (functional.pad(end, pad, mode, value) for end in (x.lower, x.upper))
    form = x.form
    places = torch.arange(math.prod(x.shape[1:]), dtype=torch.float64).reshape(1, *x.shape[1:])
    index = functional.pad(places, pad, mode, -1.0 if mode == "constant" else None)[0]
    step = None
    if value is None or math.isfinite(value):
        step = moved(x, index.flatten().long(), tuple(index.shape), value or 0.0)
    if not isinstance(form, Ball) or mode != "constant":
        return Enclosure(low, high, step=step)
    scale, blur = (functional.pad(part, pad) for part in (form.scale, form.blur))
    ball = Ball(functional.pad(form.centre, pad, mode, value), scale, blur, form.radius)
    return Enclosure(low, high, ball, step)


def concatenate(tensors: tuple[Operand, ...], dim: int = 0) -> Enclosure:
    """Join along an axis other than the points'."""
    parts = [part for part in tensors if isinstance(part, Enclosure)]
    if dim % len(parts[0].shape) == 0 or len(parts) != len(tensors):
        raise refused("a concatenation along the batch or with constants")
    low, high = (torch.cat([getattr(part, end) for part in parts], dim) for end in ("lower", "upper"))
    return Enclosure(low, high, step=Join(tuple(parts), dim % low.dim()))


def picked(x: Enclosure, index: Tensor, shape: tuple[int, ...]) -> Enclosure:
    """Entries of each sample by their position in the flat sample.

    Args:
        x: the argument.
        index: (entries of the result,) int64.
        shape: of one result.
    """
    low, high = (end.flatten(1)[:, index].reshape(-1, *shape) for end in (x.lower, x.upper))
    return Enclosure(low, high, step=moved(x, index, tuple(shape)))


def largest_of(x: Enclosure, found: Enclosure, windows: Tensor) -> Enclosure:
    """Add the step of a maximum over windows to its interval.

    Args:
        x: the argument.
        found: the interval.
        windows: (entries of the result, width) int64 positions in the flat sample, -1 for none.
    """
    none = windows < 0
    low, high = (
        end.flatten(1)[:, windows.clamp_min(0)].where(~none, -torch.inf) for end in (x.lower, x.upper)
    )
    pick = (low + high).where(~none, -torch.inf).argmax(dim=-1, keepdim=True)
    others = high.scatter(-1, pick, -torch.inf).amax(dim=-1)
    lower, upper = (end.gather(-1, pick)[..., 0] for end in (low, high))
    chosen = windows.expand(len(low), *windows.shape).gather(-1, pick)[..., 0]
    # The chord of max(x, others) over [lower, upper].
    alone, never = others <= lower, others >= upper
    slope = torch.where(alone, 1.0, torch.where(never, 0.0, (upper - others) / (upper - lower)))
    height = torch.where(alone, 0.0, torch.where(never, others, others - slope * lower))
    # At others the chord is slope * (others - lower) above it, at the upper end it meets x.
    errors = Errors(
        size=found.largest + x.largest.flatten(1)[:, windows.clamp_min(0)].amax(-1).reshape(found.shape),
        count=16 + windows.shape[1],
    )
    shape = tuple(found.shape[1:])
    return replace(found, step=Largest(x, windows, shape, chosen, (slope, height), errors))
