"""Lines around functions of one variable, sound by construction.

For any slope s the line s x + min(f(t) - s t) lies below f on an interval, whatever s is; only how tight it
is depends on the choice. So a few slopes are tried per entry (chord, tangents at the ends and in the middle,
0) and the line that is highest in the middle is kept. The minimum is taken over a grid: where f' has the
Lipschitz constant L, f - s t cannot fall below its grid values by more than L h^2 / 8 between two grid points
h apart (the error of linear interpolation; de Boor 1978, A Practical Guide to Splines, chapter III, eq. (7)).
Piecewise linear functions attain it at a kink or an end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.enclosure import TINY
from modelward.threats.evasion.bounds.steps import Between, Curve, Errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.enclosure import Enclosure

_GRID: Final = 48
_SMALL: Final = 2.0**-44
"""Relative rounding of a handful of float64 operations and library functions."""
_DELTA: Final = 2.0**-12
"""Share of an interval over which a tangent's slope is measured; slopes need not be exact."""


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a function of one variable.

    Attributes:
        function: computes it in float64.
        kinks: where its slope may jump, for a piecewise linear function; else empty.
        curvature: Lipschitz constant of its derivative, or what computes it from both ends; null for a
            piecewise linear function.
    """

    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    curvature: Callable[[Tensor, Tensor], Tensor | float] | float | None = None


def bent(found: Enclosure, x: Enclosure, shape: Shape, error: Tensor) -> Enclosure:
    """Add the step of a function between two lines to its interval.

    Args:
        found: the result's interval, errors included; its ends stand where no line is found.
        x: the argument.
        shape: of the function.
        error: (n, *shape) what the float32 routine may be off by.
    """
    return replace(found, step=Curve(x, shape.function, partial(_drawn, found, x, shape, error)))


def _drawn(found: Enclosure, x: Enclosure, shape: Shape, error: Tensor) -> Between:
    lower, upper = x.lower, x.upper
    places, values, sag = _sampled(shape, lower, upper)
    width = (upper - lower).clamp_min(TINY)
    middle = (lower + upper) / 2
    slopes = [(values[-1] - values[0]) / width, torch.zeros_like(width)]
    for place in (lower, middle - _DELTA * width / 2, upper - _DELTA * width):
        rise = shape.function(place + _DELTA * width) - shape.function(place)
        slopes.append(rise / (_DELTA * width))
    below = _best(slopes, places, values - sag, middle)
    above = _best([-slope for slope in slopes], places, -values - sag, middle)
    size = torch.maximum(below[0].abs(), above[0].abs()) * x.largest + values.abs().amax(dim=0) + x.largest
    size = size + torch.maximum(below[1].abs(), above[1].abs())
    known = size.isfinite()
    size = torch.where(known, size, found.largest)
    lines = []
    for (slope, height), end in ((below, found.lower), (above, -found.upper)):
        # Where the function is almost flat, its interval may be tighter than what the grid can tell.
        tighter = known & (slope * middle + height > end)
        lines.append((torch.where(tighter, slope, 0.0), torch.where(tighter, height, end)))
    upper_line = (-lines[1][0], -lines[1][1])
    return Between(lines[0], upper_line, Errors(runtime=error + _SMALL * size, size=size, count=8))


def _sampled(shape: Shape, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
    """Places, the function there, and how far below their polygon the function may go."""
    if shape.curvature is None:
        inner = [torch.full_like(lower, kink).clamp(lower, upper) for kink in shape.kinks]
        places = torch.stack([lower, *inner, upper])
        return places, shape.function(places), 0.0
    share = torch.linspace(0, 1, _GRID + 1, dtype=torch.float64).reshape(-1, *[1] * lower.dim())
    places = torch.lerp(lower.expand(1, *lower.shape), upper.expand(1, *upper.shape), share)
    step = (upper - lower) / _GRID * (1 + _SMALL)
    bend = shape.curvature if isinstance(shape.curvature, float) else shape.curvature(lower, upper)
    return places, shape.function(places), bend * step.square() / 8


def _best(slopes: list[Tensor], places: Tensor, values: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
    """The line below all points that is highest in the middle."""
    slope = slopes[0]
    height = (values - slope * places).amin(dim=0)
    for steep in slopes[1:]:
        low = (values - steep * places).amin(dim=0)
        better = low + steep * middle > height + slope * middle
        slope, height = torch.where(better, steep, slope), torch.where(better, low, height)
    return slope, height
