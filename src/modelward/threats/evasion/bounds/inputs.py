"""The first enclosure: everything an attacker may make of the points, as the network receives it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modelward.threats.evasion.bounds.enclosure import TINY, Ball, Enclosure, U
from modelward.threats.evasion.bounds.steps import Errors, total
from modelward.threats.evasion.geometry import plane

if TYPE_CHECKING:
    from modelward.core.check import Norm
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.bounds.rows import Rows
    from modelward.threats.evasion.reach import Reach

_ROUND: Final = 1 + 2.0**-40
"""Covers the float64 rounding with which the size of a change is measured elsewhere."""
_SEARCH: Final = 12
"""Bisections for the multiplier of the L2 constraint; any multiplier is sound."""


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Source:
    """The admissible inputs: a box, and within it a ball of the threat's norm.

    Attributes:
        norm: of the ball.
        eps: its radius, in units.
        lower: (n, *shape) float64 the box.
        upper: likewise.
        origin: (n, *shape) float64 the points.
        scale: (n, *shape) float64 size of a unit, 0 where nothing may change.
        blur: (n, *shape) float64 rounding of the conversion to float32.
        cells: (*shape) int64 which features count as one for L0 and patches.
        plane: height and width of the cells, for patches.
    """

    norm: Norm
    eps: float
    lower: Tensor
    upper: Tensor
    origin: Tensor
    scale: Tensor
    blur: Tensor
    cells: Tensor
    plane: tuple[int, int] = (1, 1)

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """None: it is the first."""
        return ()

    @property
    def errors(self) -> Errors:
        """The products are exact in float64; sums of coefficients over several consumers are not."""
        return Errors(size=torch.maximum(self.lower.abs(), self.upper.abs()), count=2)

    def value(self, *parents: Tensor) -> Tensor:
        """Never asked: values start here."""
        raise AssertionError(f"an input computed from {len(parents)} values")

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """The least value of a . x, or a bound on it."""
        wide = a.double()
        if self.norm == "linf" and rows.least is None:
            centre = rows.shared((self, "centre"), lambda: (self.lower + self.upper) / 2)
            half = rows.shared((self, "half"), self._half)
            return (), total(wide * centre) - total(wide.abs() * half)
        lower, upper = rows.gather(self.lower), rows.gather(self.upper)
        found = torch.where(wide > 0, lower, upper)
        bound = total(wide * found)
        if self.norm != "linf":
            move, tighter = self._within_ball(wide, rows, found)
            better = (tighter > bound).reshape(-1, *[1] * (a.dim() - 1))
            found, bound = torch.where(better, move, found), torch.maximum(tighter, bound)
        if rows.least is not None:
            rows.least.append(found.detach())
        size = torch.maximum(lower.abs(), upper.abs())
        return (), bound - 2.0**-38 * total(wide.abs() * (size + TINY))

    def _half(self) -> Tensor:
        """Half widths, and what the float64 rounding of products with them and the centres may cost."""
        size = torch.maximum(self.lower.abs(), self.upper.abs())
        return (self.upper - self.lower) / 2 + 2.0**-38 * (size + TINY)

    def _within_ball(self, a: Tensor, rows: Rows, corner: Tensor) -> tuple[Tensor, Tensor]:
        """An input and the bound of a . x within ball and box; `corner` is where the box alone is least."""
        origin, scale = rows.gather(self.origin), rows.gather(self.scale)
        base = total(a * origin) - total(a.abs() * rows.gather(self.blur))
        full = corner - origin
        if self.norm == "l2":
            gain, move = _euclidean(a, scale, full, self.eps)
        elif self.norm == "l1":
            gain, move = _knapsack(a, scale, full, self.eps)
        else:
            share = self._chosen((-a * full).clamp_min(0).flatten(1))
            move = (full.flatten(1) * share).reshape(full.shape)
            gain = -total(a * move)
        return origin + move, base - gain

    def _chosen(self, gains: Tensor) -> Tensor:
        """(r, features) 1 where the best pixels, or the best square of them, are changed."""
        cells = self.cells.flatten()
        height, width = self.plane
        count = int(cells.max()) + 1
        with torch.no_grad():
            sums = gains.new_zeros(len(gains), count).index_add(1, cells, gains)
            if self.norm == "l0":
                worth = min(count, math.floor(self.eps * _ROUND))
                chosen = torch.zeros_like(sums).scatter(1, sums.topk(worth, dim=1).indices, 1.0)
                return chosen[:, cells]
            side = math.isqrt(math.floor(self.eps * _ROUND * height * width))
            tall, wide = min(side, height), min(side, width)
            if side == 0:
                return torch.zeros_like(gains)
            image = sums.reshape(-1, 1, height, width)
            best = functional.avg_pool2d(image, (tall, wide), 1).flatten(1).argmax(dim=1)
            columns = width - wide + 1
            down, across = (
                torch.arange(height) - (best // columns)[:, None],
                torch.arange(width) - (best % columns)[:, None],
            )
            rows, cols = (down >= 0) & (down < tall), (across >= 0) & (across < wide)
            inside = rows[:, :, None] & cols[:, None, :]
            return inside.flatten(1)[:, cells].to(gains.dtype)


def _euclidean(a: Tensor, scale: Tensor, full: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """How far a . d can fall for |d / scale| <= eps between 0 and the corner, from above, and where.

    For any multiplier m > 0, a . d >= min over the box of a . d + m (|d / scale|^2 - eps^2), whose minimum is
    found entry by entry (Lagrangian duality; Boyd and Vandenberghe 2004, Convex Optimization, section 5.1).
    """
    wide = (-1, *[1] * (a.dim() - 1))
    with torch.no_grad():
        norm = total((a * scale).square()).sqrt().clamp_min(TINY)
        high = norm / (2 * eps)  # the multiplier where the box does not matter
        low = high * 2.0**-8
        for _ in range(_SEARCH):
            trial = (low * high).sqrt()
            size = total((_least_move(a, scale, full, trial.reshape(wide)) / scale.clamp_min(TINY)).square())
            long = size > eps**2
            low, high = torch.where(long, trial, low), torch.where(long, high, trial)
        chosen = high.reshape(wide)
        move = _least_move(a, scale, full, chosen)
    units = torch.where(scale > 0, move / scale.clamp_min(TINY), 0.0)
    return -total(a * move) + high * (eps**2 - total(units.square())), move


def _least_move(a: Tensor, scale: Tensor, full: Tensor, multiplier: Tensor) -> Tensor:
    ideal = -a * scale.square() / (2 * multiplier)
    return torch.where(full > 0, torch.minimum(ideal, full), torch.maximum(ideal, full))


def _knapsack(a: Tensor, scale: Tensor, full: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """How far a . d can fall for sum |d| / scale <= eps between 0 and the corner: a fractional knapsack.

    Exact: the features are filled in order of |a| scale, the gain per unit (Dantzig 1957, Operations Research
    5(2), p. 275).
    """
    with torch.no_grad():
        worth = (a.abs() * scale).flatten(1)
        cost = torch.where(scale > 0, full.abs() / scale.clamp_min(TINY), 0.0).flatten(1)
        rank = worth.argsort(dim=1, descending=True)
        sorted_cost = cost.gather(1, rank)
        before = sorted_cost.cumsum(dim=1) - sorted_cost
        share = ((eps - before) / sorted_cost.clamp_min(TINY)).clamp(0, 1)
        share = torch.zeros_like(share).scatter(1, rank, share)
        move = (full.flatten(1) * share).reshape(full.shape)
    return -total(a * move), move


def enclosed(reach: Reach, index: IntArray) -> Enclosure:
    """Enclose the admissible inputs of some points, after their conversion to float32.

    Whole numbers, categories and one-hot groups only make the admissible set smaller, so the enclosure holds
    for them too. Under L2 the ball is kept beside its box.

    Args:
        reach: what may change.
        index: (m,) points without missing values.
    """
    low, high = reach.outer_limits(index)
    # Conversion to float32 is monotone, so it maps the ends to the ends of what it makes of the interval.
    low32, high32 = (end.astype(np.float32).astype(np.float64) for end in (low, high))
    lower, upper = (torch.from_numpy(end) for end in (np.minimum(low, low32), np.maximum(high, high32)))
    origin = torch.from_numpy(reach.points[index].astype(np.float64))
    # Another category is one unit away, however far its code is.
    span = np.maximum(high - origin.numpy(), origin.numpy() - low)
    unit = np.where(reach.category, span * reach.scale, reach.scale)
    scale = torch.from_numpy(np.where(reach.free, unit, 0.0))
    exact = reach.points.dtype == np.float32
    blur = torch.zeros_like(origin) if exact else U * torch.maximum(lower.abs(), upper.abs()) + TINY
    source = Source(
        norm=reach.threat.norm,
        eps=reach.threat.eps * _ROUND,
        lower=lower,
        upper=upper,
        origin=origin,
        scale=scale,
        blur=blur,
        cells=torch.from_numpy(np.ascontiguousarray(reach.cells)),
        plane=plane(reach.shape) if reach.threat.norm == "patch" else (1, 1),
    )
    ball = Ball(origin, scale, blur, source.eps) if reach.threat.norm == "l2" else None
    return Enclosure(lower, upper, ball, source)
