"""The threat models of one audit: a norm and a radius each, and how they are named in evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from modelward.errors import InputError

if TYPE_CHECKING:
    from modelward.core.canonical import JSON
    from modelward.core.check import Norm, Settings
    from modelward.core.data import Box

DEFAULT_EPS: Final[dict[tuple[str, str], float]] = {
    ("box width", "linf"): 8 / 255,
    ("box width", "l2"): 0.5,
    ("box width", "l1"): 12.0,
    ("box width", "l0"): 5.0,
    ("box width", "patch"): 0.02,
    ("training range", "linf"): 0.05,
    ("training range", "l2"): 0.1,
    ("training range", "l1"): 0.1,
    ("training range", "l0"): 1.0,
    ("data range", "linf"): 0.05,
    ("data range", "l2"): 0.1,
    ("data range", "l1"): 0.1,
    ("data range", "l0"): 1.0,
}
"""Radius per unit and norm where the user states none.

Images: the radii of RobustBench's leaderboards (Croce et al. 2021, arXiv 2010.09670v3) for Linf and L2, and
of APGD for L1 (Croce and Hein 2021, arXiv 2103.01208v2, table 1), which are stated for a box of width 1 as
here; a few pixels, or a square of 2 % of the area, are what a sticker covers. Tables have no such convention:
every feature by 5 % of its training range, or all together by 10 % in the Euclidean sense, or one feature at
will, is what a measurement error or a small lie explains.
"""


@final
@dataclass(frozen=True, slots=True)
class Threat:
    """One ball.

    Attributes:
        norm: how the size of a change is measured, after dividing by the box's scale. ``l0`` counts the
            pixels or features that changed, a one-hot group as one; ``patch`` is the area of the smallest
            square that holds the change, as a share of the image's area.
        eps: the largest size, in the box's unit, > 0.
    """

    norm: Norm
    eps: float

    @property
    def graded(self) -> bool:
        """Whether a single feature may change by eps at most, and not at will."""
        return self.norm in {"linf", "l2", "l1"}


def threats(settings: Settings, box: Box) -> tuple[Threat, ...]:
    """All balls to examine: per norm, radii ascending, each once.

    Ascending, so that what broke a point within a small ball is known to break it within the next.

    Raises:
        InputError: a patch is asked of inputs that are no images.
    """
    if "patch" in settings.norms and box.unit != "box width":
        raise InputError("a patch needs images, and these inputs are rows of a table")
    return tuple(
        Threat(norm, eps)
        for norm in dict.fromkeys(settings.norms)
        for eps in sorted(set(settings.eps)) or [DEFAULT_EPS[box.unit, norm]]
    )


def scope(threat: Threat, box: Box) -> dict[str, JSON]:
    """What evidence must agree on to speak of the same thing."""
    unit = {"l0": "pixels" if box.unit == "box width" else "features", "patch": "of the area"}
    return {
        "norm": threat.norm,
        "eps": threat.eps,
        "unit": unit.get(threat.norm, box.unit),
        "box": {**box.describe()},
    }
