"""The ball and the box in float32: steps, projections and starts. The arena makes every candidate exact."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch.nn import functional

from modelward.threats.evasion.geometry import channel_axis, plane, spatial

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.reach import Reach

_TINY: Final = 1e-30
_SPARSE: Final = 0.1
"""Share of the features that an L1 step moves at first."""


@final
class Ball:
    """What may become of points under one threat, as tensors.

    Args:
        reach: the threat, whose numeric features alone are moved.
        device: of the tensors.

    Attributes:
        norm: of the threat.
        eps: its radius.
        units: (1, *shape) float32 size of a unit, 0 where a feature is not moved.
    """

    def __init__(self, reach: Reach, device: torch.device) -> None:
        self._reach, self._device = reach, device
        self.norm, self.eps = reach.threat.norm, float(reach.threat.eps)
        self.units = self.tensor(np.where(reach.numeric, reach.scale, 0.0))[None]
        self.graded = reach.threat.graded

    def tensor(self, array: np.ndarray) -> Tensor:
        """As float32 on the device."""
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)

    def corners(self, point: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Centre and limits of some points, (m, *shape) each; missing values count as 0."""
        low, high = self._reach.limits(point)
        parts = (self._reach.points[point].astype(np.float64), low, high)
        centre, lower, upper = (self.tensor(np.nan_to_num(part)) for part in parts)
        still = self.units == 0
        return centre, torch.where(still, centre, lower), torch.where(still, centre, upper)

    def box(self, point: np.ndarray) -> tuple[Tensor, Tensor]:
        """Limits of some points without the ball, (m, *shape) each."""
        origin = np.nan_to_num(self._reach.points[point].astype(np.float64))
        low, high = np.minimum(self._reach.lower, origin), np.maximum(self._reach.upper, origin)
        still = ~self._reach.numeric
        falls, grows = self._reach.direction < 0, self._reach.direction > 0
        low = np.where(still | grows, origin, low)
        return self.tensor(low), self.tensor(np.where(still | falls, origin, high))

    def change(self, x: Tensor, centre: Tensor) -> Tensor:
        """Changes in units, (b, features); 0 where nothing is moved."""
        return torch.where(self.units > 0, (x - centre) / self.units.clamp_min(_TINY), 0.0).flatten(1)

    def size(self, x: Tensor, centre: Tensor) -> Tensor:
        """(b,) size of changes in the threat's norm: Linf, L2 or L1."""
        order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[self.norm]
        size: Tensor = torch.linalg.vector_norm(self.change(x, centre), order, dim=1)
        return size

    def inside(self, x: Tensor, centre: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Back into ball and box, up to rounding.

        L1: the nearest point of ball and box together (Croce and Hein 2021, arXiv 2103.01208v2, section 3.1).
        """
        low, high = limits
        if self.norm == "l2":
            size = self.size(x, centre).clamp_min(_TINY)
            ratio = (self.eps / size).clamp_max(1.0).reshape(-1, *[1] * (x.dim() - 1))
            x = centre + (x - centre) * ratio
        elif self.norm == "l1":
            change = self.change(x, centre)
            room = torch.where(change < 0, -self.change(low, centre), self.change(high, centre))
            size = _capped(change.abs(), room, self.eps)
            x = centre + (change.sign() * size).reshape(x.shape) * self.units
        elif self.norm == "l0":
            x = torch.where(self._kept(x, centre), x, centre)
        return torch.minimum(torch.maximum(x, low), high)

    def direction(self, slope: Tensor, part: float | Tensor = _SPARSE) -> Tensor:
        """The unit step along a slope, in units: signs for Linf, the slope itself for L2, few signs for L1.

        Args:
            slope: (b, *shape) with respect to changes in units.
            part: share of the features that an L1 step moves, or one per sample.
        """
        if self.norm == "l2":
            return slope / _length(slope, 2.0)
        if self.norm != "l1":
            return slope.sign()
        flat = slope.flatten(1)
        count = (torch.as_tensor(part, device=flat.device) * flat.shape[1]).long().clamp(1, flat.shape[1])
        ordered = flat.abs().sort(dim=1, descending=True).values
        bound = ordered.gather(1, (count.reshape(-1, 1) - 1).expand(len(flat), 1))
        chosen = torch.where(flat.abs() >= bound, flat.sign(), 0.0).reshape(slope.shape)
        return chosen / _length(chosen, 1.0)

    def start(self, kind: str, seeds: list[int], centre: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Where searches begin.

        Args:
            kind: ``centre``; ``noise``: anywhere in the ball; ``stripes``: a sign per column, the full radius
                (Andriushchenko et al. 2020, arXiv 1912.00049v3, section 3.2); ``blocks``: a sign per block
                of a random side; ``corner``: a sign per feature, the full radius.
            seeds: one per sample, so that a start does not depend on what else is in the batch.
            centre: (b, *shape).
            limits: likewise.
        """
        if kind == "centre":
            return centre.clone()
        changes = [self._drawn(kind, torch.Generator().manual_seed(seed)) for seed in seeds]
        change = torch.stack(changes).to(self._device).reshape(centre.shape)
        wide = (-1, *[1] * (centre.dim() - 1))
        if self.norm == "l2":
            change = change / _length(change, 2.0)
        elif self.norm == "l1":
            change = change / change.flatten(1).abs().sum(dim=1).clamp_min(_TINY).reshape(wide)
        span = self.eps if self.graded else 1.0
        return self.inside(centre + span * change * self.units, centre, limits)

    def _drawn(self, kind: str, random: torch.Generator) -> Tensor:
        shape = self.units.shape[1:]
        if kind == "noise" or not spatial(shape):
            value = torch.rand(shape, generator=random) * 2 - 1
            return value if kind == "noise" else value.sign()
        axis, (height, width) = channel_axis(shape), plane(shape)
        channels = 1 if axis is None else shape[axis]
        tall, wide = {"stripes": (1, width), "corner": (height, width)}.get(kind, (0, 0))
        if not tall:
            side = int(torch.randint(2, max(3, min(height, width) // 2 + 1), (1,), generator=random))
            tall, wide = math.ceil(height / side), math.ceil(width / side)
        signs = torch.rand((1, channels, tall, wide), generator=random).sub(0.5).sign()
        image = functional.interpolate(signs, size=(height, width), mode="nearest")[0]
        return image[0] if axis is None else image.movedim(0, axis)

    def _kept(self, x: Tensor, centre: Tensor) -> Tensor:
        """(b, *shape) whether a feature is of the eps cells that change most."""
        cells = torch.from_numpy(np.ascontiguousarray(self._reach.cells)).flatten().to(x.device)
        change = self.change(x, centre).abs()
        mass = change.new_zeros(len(x), int(cells.max()) + 1).index_add(1, cells, change)
        best = mass.topk(min(int(self.eps), mass.shape[1]), dim=1).indices
        kept = torch.zeros_like(mass, dtype=torch.bool).scatter(1, best, True)  # noqa: FBT003 - a tensor's value
        return kept[:, cells].reshape(x.shape)


def _length(x: Tensor, order: float) -> Tensor:
    """Norm of each sample, shaped to divide by."""
    size: Tensor = torch.linalg.vector_norm(x.flatten(1), order, dim=1).clamp_min(_TINY)
    return size.reshape(-1, *[1] * (x.dim() - 1))


def _capped(size: Tensor, room: Tensor, total: float) -> Tensor:
    """The nearest numbers in [0, room] with a sum of at most `total`; exact, by sorting the breakpoints.

    The sum of min(room, max(size - cut, 0)) falls piecewise linearly in the cut, with one more feature
    falling from size - room on, and one less from size on.

    Args:
        size: (b, d) >= 0.
        room: (b, d) >= 0.
        total: > 0.
    """
    begin, end = (size - room).clamp_min(0), size
    places = torch.cat([begin, end], dim=1)
    turns = torch.cat([torch.ones_like(begin), -torch.ones_like(end)], dim=1)
    order = places.argsort(dim=1)
    places, falling = places.gather(1, order), turns.gather(1, order).cumsum(dim=1)
    gaps = functional.pad(places[:, 1:] - places[:, :-1], (1, 0))
    lost = (gaps * functional.pad(falling[:, :-1], (1, 0))).double().cumsum(dim=1)
    excess = (torch.minimum(size, room).double().sum(dim=1) - total).clamp_min(0)
    at = torch.searchsorted(lost, excess[:, None]).clamp(1, places.shape[1] - 1)
    before = at - 1
    rate = falling.gather(1, before).clamp_min(1)
    cut = places.gather(1, before) + ((excess[:, None] - lost.gather(1, before)) / rate).float()
    cut = torch.where(excess[:, None] > 0, cut, 0.0)
    return torch.minimum((size - cut).clamp_min(0), room)
