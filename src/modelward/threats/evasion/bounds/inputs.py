"""The first enclosure: everything an attacker may make of the points, as the network receives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from modelward.threats.evasion.bounds.enclosure import TINY, Ball, Enclosure, U

if TYPE_CHECKING:
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.reach import Reach

_ROUND: Final = 1 + 2.0**-40
"""Covers the float64 rounding with which the size of a change is measured elsewhere."""


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
    if reach.threat.norm != "l2":
        return Enclosure(lower, upper)
    origin = torch.from_numpy(reach.points[index].astype(np.float64))
    # Another category is one unit away, however far its code is.
    unit = np.where(reach.category, reach.upper - reach.lower, reach.scale)
    scale = torch.from_numpy(np.where(reach.free, unit, 0.0)).expand_as(origin)
    exact = reach.points.dtype == np.float32
    blur = torch.zeros_like(origin) if exact else U * torch.maximum(lower.abs(), upper.abs()) + TINY
    return Enclosure(lower, upper, Ball(origin, scale, blur, reach.threat.eps * _ROUND))
