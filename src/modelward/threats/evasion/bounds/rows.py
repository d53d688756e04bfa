"""Rows: a batch of linear functions to bound, each of one point, with what may be chosen for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from modelward.threats.evasion.bounds.steps import Rectified, Step
    from modelward.threats.evasion.bounds.windows import Window


@final
@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """The lines around ReLU.

    Attributes:
        below: slope of the lower line through 0: 0 or 1, whichever leaves the smaller area.
        above: slope of the upper line.
        height: intercept of the upper line.
    """

    below: Tensor
    above: Tensor
    height: Tensor


@final
@dataclass(frozen=True, eq=False, slots=True)
class Slopes:
    """Which slopes the lower line around ReLU may have: from 0 to 1 where the sign is open, else one.

    Attributes:
        least: smallest slope.
        most: largest slope.
    """

    least: Tensor
    most: Tensor

    @property
    def open(self) -> Tensor:
        """Where the sign of the argument is not known."""
        return self.least < self.most


def drawn(lower: Tensor, upper: Tensor) -> tuple[Lines, Slopes]:
    """The lines around ReLU between two ends, and which other lower lines there are."""
    unknown = (lower < 0) & (upper > 0)
    active = ((lower >= 0) & (upper > 0)).to(lower.dtype)
    slope = torch.where(unknown, upper / (upper - lower), active)
    below = torch.where(unknown, (upper > -lower).to(lower.dtype), slope)
    height = torch.where(unknown, -slope * lower, 0)
    return Lines(below, slope, height), Slopes(active, torch.where(unknown, 1, active))


@final
@dataclass(eq=False, slots=True)
class Known:
    """What is computed once for all points, and shared by the rows of one value."""

    _kept: dict[Hashable, tuple[object, Tensor]] = field(default_factory=dict)
    _lines: dict[tuple[Rectified, torch.dtype], tuple[Lines, Slopes]] = field(default_factory=dict)

    def keep(self, key: Hashable, owner: object, compute: Callable[[], Tensor]) -> Tensor:
        """What was computed under a key; its owner is kept so that ids in the key stay its own."""
        if key not in self._kept:
            self._kept[key] = (owner, compute())
        return self._kept[key][1]

    def cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor in a precision."""
        return self.keep((id(tensor), dtype), tensor, lambda: tensor.to(dtype))

    def lines(self, step: Rectified, dtype: torch.dtype) -> tuple[Lines, Slopes]:
        """The lines around one ReLU and the slopes it may have, (n, *shape) each."""
        key = (step, dtype)
        if key not in self._lines:
            ends = step.source.lower, step.source.upper
            self._lines[key] = drawn(*(end.to(dtype) for end in ends))
        return self._lines[key]


@final
@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Which point each row belongs to, in which precision to work, and the free choices.

    Attributes:
        point: (r,) int64 index of each row's point in the enclosures.
        dtype: float32 or float64, of the coefficients.
        alpha: lower slopes of unstable ReLUs, (r, *shape) each; where absent, the better of 0 and 1.
        sign: splits, (r, *shape) of -1, 0 and 1 each: the argument is known to be <= 0, unknown, >= 0.
        beta: multipliers >= 0 of the splits, (r, *shape) each.
        seen: filled with the coefficients at the result of each ReLU when it is not null.
        least: filled with the input at which the linear bound is attained when it is not null.
        window: where the coefficients are, or null: anywhere.
        known: what does not depend on the rows.
    """

    point: Tensor
    dtype: torch.dtype = torch.float64
    alpha: dict[Rectified, Tensor] = field(default_factory=dict)
    sign: dict[Rectified, Tensor] = field(default_factory=dict)
    beta: dict[Rectified, Tensor] = field(default_factory=dict)
    seen: dict[Rectified, Tensor] | None = None
    least: list[Tensor] | None = None
    window: Window | None = None
    known: Known = field(default_factory=Known)
    _kept: dict[int, tuple[object, Tensor]] = field(default_factory=dict)
    _lines: dict[Rectified, Lines] = field(default_factory=dict)
    _slopes: dict[Rectified, Slopes] = field(default_factory=dict)

    def cast(self, tensor: Tensor) -> Tensor:
        """A constant in the precision of the coefficients."""
        return self.known.cast(tensor, self.dtype)

    def of(self, tensor: Tensor) -> Tensor:
        """Each row's part of an (n, ...) tensor that stays as it is, in the precision of the coefficients."""
        if id(tensor) not in self._kept:
            self._kept[id(tensor)] = (tensor, self._taken(self.cast(tensor)))
        return self._kept[id(tensor)][1]

    def gather(self, tensor: Tensor) -> Tensor:
        """Each row's part of an (n, ...) tensor."""
        if self.window is None:
            return tensor.index_select(0, self.point)
        return self.window.gather(tensor, self.point, lambda compute: compute())

    def _taken(self, tensor: Tensor) -> Tensor:
        """The same, of a tensor that is kept: so are the windows cut out of it."""
        window, known = self.window, self.known
        if window is None:
            return self.gather(tensor)
        key = (id(tensor), window.key)
        return window.gather(tensor, self.point, lambda compute: known.keep(key, tensor, compute))

    def lines(self, step: Rectified) -> Lines:
        """The lines around one ReLU for each row, its splits applied; computed once."""
        if step not in self._lines:
            if step in self.sign:
                self._split(step)
            else:
                whole, _ = self.known.lines(step, self.dtype)
                parts = (self._taken(part) for part in (whole.below, whole.above, whole.height))
                self._lines[step] = Lines(*parts)
        return self._lines[step]

    def slopes(self, step: Rectified) -> Slopes:
        """The slopes that the lower line of one ReLU may have in each row; computed once."""
        if step not in self._slopes:
            if step in self.sign:
                self._split(step)
            else:
                _, whole = self.known.lines(step, self.dtype)
                self._slopes[step] = Slopes(self._taken(whole.least), self._taken(whole.most))
        return self._slopes[step]

    def _split(self, step: Rectified) -> None:
        sign = self.sign[step]
        lower, upper = (self.gather(self.cast(end)) for end in (step.source.lower, step.source.upper))
        lower = torch.where(sign > 0, lower.clamp_min(0), lower)
        upper = torch.where(sign < 0, upper.clamp_max(0), upper)
        self._lines[step], self._slopes[step] = drawn(lower, upper)

    def slack(self, step: Step, bound: Callable[[Step, torch.dtype], Tensor]) -> Tensor:
        """What each unit of coefficient at a step's result may cost, from what bounds it for all points.

        It broadcasts against (r, *shape); in windows it is the largest of each channel.
        """
        flat = self.window is not None

        def compute() -> Tensor:
            found = bound(step, self.dtype)
            found = found.amax(dim=(2, 3), keepdim=True) if flat and found.dim() else found
            return found.to(self.dtype)

        found = self.known.keep((step, flat, self.dtype), step, compute)
        return found.index_select(0, self.point) if found.dim() else found

    def shared(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """Each row's part of what is computed once for all points, in the precision it has."""
        return self._taken(self.known.keep(key, None, compute))

    def floor(self, step: Step) -> Tensor:
        """(r,) sum of the magnitudes of a step's arguments, wherever the coefficients are."""

        def compute() -> Tensor:
            parts = [parent.largest.flatten(1).sum(dim=1) for parent in step.parents]
            return torch.stack(parts).sum(dim=0)

        return self.known.keep((step, "floor"), step, compute).index_select(0, self.point)

    def inside(self, shape: tuple[int, ...]) -> Tensor:
        """(r, 1, height, width) 1 where windows lie in the plane of an (n, channels, ...) value, else 0."""
        window, key = self.window, ("inside", tuple(shape[2:]), self.dtype)
        if window is None:
            raise AssertionError("rows without windows")
        plane = self.known.keep(key, None, lambda: torch.ones((1, 1, *shape[2:]), dtype=self.dtype))
        none = torch.zeros_like(self.point)
        return window.gather(plane, none, lambda compute: self.known.keep((*key, window.key), None, compute))
