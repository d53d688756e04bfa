"""The threat models of one audit: a norm and a radius each, and how they are named in evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from modelward.core.canonical import JSON
    from modelward.core.check import Norm, Settings
    from modelward.core.data import Box

DEFAULT_EPS: Final[dict[tuple[str, str], float]] = {
    ("box width", "linf"): 8 / 255,
    ("box width", "l2"): 0.5,
    ("training range", "linf"): 0.05,
    ("training range", "l2"): 0.1,
    ("data range", "linf"): 0.05,
    ("data range", "l2"): 0.1,
}
"""Radius per unit and norm where the user states none.

Images: the radii of RobustBench's leaderboards (Croce et al. 2021, arXiv 2010.09670v3), which are
stated for a box of width 1 as here. Tables have no such convention: every feature by 5 % of its training
range, or all together by 10 % in the Euclidean sense, is what a measurement error or a small lie explains.
"""


@final
@dataclass(frozen=True, slots=True)
class Threat:
    """One ball.

    Attributes:
        norm: how the size of a change is measured, after dividing by the box's scale.
        eps: the largest size, in the box's unit, > 0.
    """

    norm: Norm
    eps: float


def threats(settings: Settings, box: Box) -> tuple[Threat, ...]:
    """All balls to examine: per norm, radii ascending, each once.

    Ascending, so that what broke a point within a small ball is known to break it within the next.
    """
    return tuple(
        Threat(norm, eps)
        for norm in dict.fromkeys(settings.norms)
        for eps in sorted(set(settings.eps)) or [DEFAULT_EPS[box.unit, norm]]
    )


def scope(threat: Threat, box: Box) -> dict[str, JSON]:
    """What evidence must agree on to speak of the same thing."""
    return {"norm": threat.norm, "eps": threat.eps, "unit": box.unit, "box": {**box.describe()}}
