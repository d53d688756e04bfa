"""The ball an attacker may move in, as tensors of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.reach import Reach

_TINY: Final = 1e-12


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Ball:
    """Changes of norm at most eps, measured in units, that stay in the box.

    Attributes:
        norm: ``linf`` or ``l2``.
        eps: radius in units.
        lower: (*shape) float32 the box; a value beyond it may stay.
        upper: likewise.
        unit: (*shape) float32 size of a unit, 0 where nothing may change.
    """

    norm: Literal["linf", "l2"]
    eps: float
    lower: Tensor
    upper: Tensor
    unit: Tensor

    def scaled(self, share: float) -> Ball:
        """The ball of a part of the radius."""
        return replace(self, eps=self.eps * share)

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest value of each feature, (n, *shape) each."""
        low = torch.maximum(torch.minimum(self.lower, x), x - self.eps * self.unit)
        high = torch.minimum(torch.maximum(self.upper, x), x + self.eps * self.unit)
        return low, high

    def inside(self, moved: Tensor, x: Tensor) -> Tensor:
        """The nearest points of the ball, scaled back for L2, around x; up to rounding."""
        if self.norm == "l2":
            change = torch.where(self.unit > 0, (moved - x) / self.unit.clamp_min(_TINY), 0.0)
            ratio = (self.eps / _size(change)).clamp_max(1.0)
            moved = x + change * ratio * self.unit
        low, high = self.limits(x)
        return torch.minimum(torch.maximum(moved, low), high)

    def random(self, x: Tensor) -> Tensor:
        """A point of the ball around each x: uniform in linf, a uniform direction and radius in l2."""
        if self.norm == "linf":
            noise = 2 * torch.rand_like(x) - 1
        else:
            noise = torch.randn_like(x)
            share = torch.rand(len(x), device=x.device).reshape(-1, *[1] * (x.dim() - 1))
            noise = noise / _size(noise) * share
        return self.inside(x + self.eps * noise * self.unit, x)

    def step(self, gradient: Tensor, length: float) -> Tensor:
        """The move of a length (in units) along which a linear function rises fastest."""
        slope = torch.nan_to_num(gradient * self.unit)
        if self.norm == "linf":
            return length * slope.sign() * self.unit
        return length * slope / _size(slope) * self.unit


def ball(reach: Reach, norm: Literal["linf", "l2"]) -> Ball:
    """The ball of a threat, without what only switches (categories, one-hot groups)."""
    shape = reach.shape

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.broadcast_to(values, shape).astype(np.float32))

    return Ball(
        norm=norm,
        eps=reach.threat.eps,
        lower=tensor(reach.lower),
        upper=tensor(reach.upper),
        unit=tensor(np.where(reach.numeric, reach.scale, 0.0)),
    )


def _size(change: Tensor) -> Tensor:
    norm: Tensor = change.flatten(1).norm(dim=1).clamp_min(_TINY)
    return norm.reshape(-1, *[1] * (change.dim() - 1))
