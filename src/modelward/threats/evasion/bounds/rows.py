"""Rows: a batch of linear functions to bound, each of one point, with what may be chosen for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.steps import Geometry, Rectified, Step


@final
@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """The lines around ReLU for each row.

    Attributes:
        open: where the sign of the argument is not known.
        below: slope of the lower line through 0: 0 or 1, whichever leaves the smaller area.
        above: slope of the upper line.
        height: intercept of the upper line.
    """

    open: Tensor
    below: Tensor
    above: Tensor
    height: Tensor


@final
@dataclass(eq=False, slots=True)
class Window:
    """Where in the plane the coefficients of each row are, when the rest of them is 0.

    A neuron behind convolutions depends on a small part of the image, so its coefficients fit in a window
    that grows with each layer that is passed.

    Attributes:
        start: (r, 2) int64 place of the neurons that are bounded.
        origin: (r, 2) int64 upper left corner of the window now, possibly outside the plane.
        size: height and width of the window now.
    """

    start: Tensor
    origin: Tensor
    size: tuple[int, int] = (1, 1)

    def reset(self) -> None:
        """Back to the neurons themselves."""
        self.origin, self.size = self.start, (1, 1)

    def grow(self, geometry: Geometry) -> None:
        """Pass a convolution backward."""
        stride, padding, reach = (
            torch.tensor(part) for part in (geometry.stride, geometry.padding, geometry.reach)
        )
        self.origin = self.origin * stride - padding
        height, width = (
            (size - 1) * int(step) + int(span) + 1
            for size, step, span in zip(self.size, stride, reach, strict=True)
        )
        self.size = (height, width)

    def gather(self, tensor: Tensor, point: Tensor) -> Tensor:
        """(r, channels, height, width) the windows of an (n, channels, ...) tensor; anything outside it."""
        across = [self._places(axis).clamp(0, tensor.shape[axis + 2] - 1) for axis in (0, 1)]
        channel = torch.arange(tensor.shape[1])[:, None, None]
        return tensor[
            point[:, None, None, None], channel, across[0][:, None, :, None], across[1][:, None, None, :]
        ]

    def inside(self, shape: tuple[int, ...]) -> Tensor:
        """(r, 1, height, width) which parts of the windows lie in the plane."""
        fine = [(self._places(a) >= 0) & (self._places(a) < shape[a + 2]) for a in (0, 1)]
        return fine[0][:, None, :, None] & fine[1][:, None, None, :]

    def _places(self, axis: int) -> Tensor:
        return self.origin[:, axis, None] + torch.arange(self.size[axis])


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
    """

    point: Tensor
    dtype: torch.dtype = torch.float64
    alpha: dict[Rectified, Tensor] = field(default_factory=dict)
    sign: dict[Rectified, Tensor] = field(default_factory=dict)
    beta: dict[Rectified, Tensor] = field(default_factory=dict)
    seen: dict[Rectified, Tensor] | None = None
    least: list[Tensor] | None = None
    window: Window | None = None
    _kept: dict[tuple[int, bool], tuple[object, Tensor]] = field(default_factory=dict)
    _lines: dict[Rectified, Lines] = field(default_factory=dict)
    _slack: dict[Step, Tensor | None] = field(default_factory=dict)

    def cast(self, tensor: Tensor) -> Tensor:
        """A constant in the precision of the coefficients."""
        key = (id(tensor), False)
        if key not in self._kept:
            # The tensor itself is kept so that its id stays its own.
            self._kept[key] = (tensor, tensor.to(self.dtype))
        return self._kept[key][1]

    def of(self, tensor: Tensor) -> Tensor:
        """Each row's part of an (n, ...) tensor, in the precision of the coefficients."""
        key = (id(tensor), True)
        if key not in self._kept:
            self._kept[key] = (tensor, self.gather(tensor.to(self.dtype)))
        return self._kept[key][1]

    def gather(self, tensor: Tensor) -> Tensor:
        """Each row's part of an (n, ...) tensor."""
        return tensor[self.point] if self.window is None else self.window.gather(tensor, self.point)

    def ends(self, step: Rectified) -> tuple[Tensor, Tensor]:
        """Both ends of a ReLU's argument for each row, its splits applied."""
        lower, upper = (self.gather(end.to(self.dtype)) for end in (step.source.lower, step.source.upper))
        sign = self.sign.get(step)
        if sign is not None:
            lower = torch.where(sign > 0, lower.clamp_min(0), lower)
            upper = torch.where(sign < 0, upper.clamp_max(0), upper)
        return lower, upper

    def lines(self, step: Rectified) -> Lines:
        """The lines around one ReLU, computed once."""
        if step not in self._lines:
            lower, upper = self.ends(step)
            unknown = (lower < 0) & (upper > 0)
            active = (lower >= 0) & (upper > 0)
            slope = torch.where(unknown, upper / (upper - lower), active.to(self.dtype))
            below = torch.where(unknown, (upper > -lower).to(self.dtype), slope)
            height = torch.where(unknown, -slope * lower, 0)
            self._lines[step] = Lines(unknown, below, slope, height)
        return self._lines[step]

    def slack(self, step: Step, bound: Callable[[Step, torch.dtype], Tensor | None]) -> Tensor | None:
        """(r, *shape) what each unit of coefficient at a step's result may cost, computed once."""
        if step not in self._slack:
            found = bound(step, self.dtype)
            if found is not None and found.dim() > 0:
                found = self.gather(found.to(self.dtype))
            self._slack[step] = found
        return self._slack[step]
