"""Layer, group, instance and root-mean-square normalisation: what they do to an enclosure.

Ba, Kiros and Hinton 2016, "Layer Normalization" (arXiv 1607.06450v1, equation 4): with c = x - mean(x) and
v = mean(c^2) over d entries, y = weight * c / sqrt(v + eps) + bias.

The interval. With S the sum of the other squares, c_i / sqrt((c_i^2 + S) / d + eps) rises in c_i, and falls
in S where c_i > 0 and rises in S where c_i < 0. Since the entries of c add up to 0, S >= c_i^2 / (d - 1),
which also keeps every quotient within sqrt(d - 1). The linear bounds are those of a product of c and
1 / sqrt(v + eps). Without the mean (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", arXiv
1910.07467v1, equation 4) c = x, and S may be 0. Groups of channels (Wu and He 2018, "Group Normalization",
arXiv 1803.08494v3, section 3.1) are normalised as the entries of one layer.

Rounding. With X the largest |x|, sums, Welford's recurrence and E[x^2] - E[x]^2 leave the mean within
gamma(2 d + 16) X of what it is, and the variance within gamma(24 d + 64) X^2 (compare Chan, Golub and LeVeque
1983, The American Statistician 37(3), table 1; a step of Welford's leaves the mean within (k + 13) u X / 2
after k entries, and so each of the d products within 4 X times that). The computed variance is taken not to
be negative, which holds for torch: each product of Welford's has factors of one sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.numeric.rounding import gamma
from modelward.threats.evasion.bounds.curves import Shape, bent
from modelward.threats.evasion.bounds.enclosure import TINY, Enclosure, U, intersected
from modelward.threats.evasion.bounds.functions import power
from modelward.threats.evasion.bounds.moves import shifted
from modelward.threats.evasion.bounds.steps import Errors, Product
from modelward.threats.evasion.bounds.sums import affine, average, exact, linear, refused

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.bounds.steps import Step

_ULPS: Final = 16.0
"""Of the inverse square root and the product with it, in units of u."""
_LARGE: Final = 2.0**59
"""Up to here the sum of squares does not overflow float32."""
_WIDE: Final = 4096
"""Entries normalised together, at most: their centring takes the square of that."""
_OUT: Final = 2.0**-40
"""Relative rounding of the bounds themselves, in float64."""


@final
@dataclass(frozen=True, slots=True)
class _Spread:
    """What is known of the variance.

    Attributes:
        lower: (n, ..., 1) float64 least variance.
        error: likewise, how far the computed variance may be off.
        eps: added to it.
    """

    lower: Tensor
    error: Tensor
    eps: float

    @property
    def steepest(self) -> Tensor:
        """Largest factor 1 / sqrt(v + eps) that may be computed."""
        return ((self.lower - self.error).clamp_min(0) + self.eps).rsqrt() * (1 + _ULPS * U)

    @property
    def relative(self) -> Tensor:
        """How far the computed factor may be from the exact one, relative to that.

        (v + eps) / (max(v - error, 0) + eps) is largest at v = error, or at the least v beyond.
        """
        worst = torch.maximum(self.lower, self.error)
        above = ((worst + self.eps) / (worst - self.error + self.eps)).sqrt() * (1 + _ULPS * U) - 1
        below = 1 - ((self.lower + self.eps) / (self.lower + self.error + self.eps)).sqrt() * (1 - _ULPS * U)
        return torch.maximum(above, below) * (1 + _OUT) + _OUT


def layer_norm(x: Enclosure, weight: Tensor | None, bias: Tensor | None, eps: float) -> Enclosure:
    """Over the last axis.

    Args:
        x: (n, ..., d).
        weight: (d,), or null: 1.
        bias: likewise, or null: 0.
        eps: added to the variance.
    """
    return _scaled(_normalised(x, eps), weight, bias)


def rms_norm(x: Enclosure, weight: Tensor | None, eps: float | None) -> Enclosure:
    """Over the last axis, by the root of the mean square.

    Args:
        x: (n, ..., d).
        weight: (d,), or null: 1.
        eps: added to the mean square; null: the spacing of float32 at 1.
    """
    return _scaled(_normalised(x, 2.0**-23 if eps is None else eps, centre=False), weight, None)


def group_norm(
    x: Enclosure, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Enclosure:
    """Over groups of channels, which are the second axis, and all axes after it.

    Args:
        x: (n, channels, ...).
        groups: that the channels are cut into.
        weight: (channels,), or null: 1.
        bias: likewise, or null: 0.
        eps: added to the variance.
    """
    shape = x.shape[1:]
    if groups < 1 or shape[0] % groups:
        raise refused(f"a normalisation of {shape[0]} channels in {groups} groups")
    flat = shifted(torch.reshape, x, (x.shape[0], groups, math.prod(shape) // groups))
    found = shifted(torch.reshape, _normalised(flat, eps), x.shape)
    wide = (-1, *[1] * (len(shape) - 1))
    weight, bias = (None if part is None else part.reshape(wide) for part in (weight, bias))
    return _scaled(found, weight, bias)


def _scaled(x: Enclosure, weight: Tensor | None, bias: Tensor | None) -> Enclosure:
    one, zero = (torch.full((), value, dtype=torch.float64) for value in (1.0, 0.0))
    factor, offset = (
        default if part is None else exact(part) for part, default in ((weight, one), (bias, zero))
    )
    return affine(x, factor, offset, 4)


def _normalised(x: Enclosure, eps: float, *, centre: bool = True) -> Enclosure:
    """C / sqrt(v + eps)."""
    d = x.shape[-1]
    if not eps >= 0:
        raise refused("a normalisation with a negative eps")
    if d > _WIDE:
        raise refused(f"a normalisation of {d} entries together, more than {_WIDE}")
    largest = x.largest.amax(dim=-1, keepdim=True)
    centred = linear(x, torch.eye(d, dtype=torch.float64) - 1.0 / d) if centre else x
    low, high = centred.lower, centred.upper
    crosses = (low <= 0) & (high >= 0)
    least = torch.where(crosses, 0.0, torch.minimum(low.abs(), high.abs())).square()
    most = centred.largest.square()
    error = gamma(24 * d + 64, np.float32) * largest.square() + d * TINY
    spread = _Spread(least.mean(dim=-1, keepdim=True) * (1 - _OUT), error, eps)
    others = (_others(least, -1).clamp_min(0), _others(most, 1))
    lowest, highest = (
        -_highest(-low, others, eps, centre=centre),
        _highest(high, others, eps, centre=centre),
    )
    size = torch.maximum(lowest.abs(), highest.abs())
    shift = 2 * gamma(2 * d + 24, np.float32) * largest + TINY if centre else torch.zeros_like(largest)
    slack = size * spread.relative + shift * spread.steepest + TINY
    slack = torch.where(slack.isfinite() & (largest * math.sqrt(d) <= _LARGE), slack, torch.inf)
    found = Enclosure(lowest - slack, highest + slack)
    return replace(found, step=_product(centred, spread, slack))


def _others(squares: Tensor, side: int) -> Tensor:
    """Sum of the others' squares, rounded down or up."""
    total = squares.sum(dim=-1, keepdim=True)
    return total - squares + side * squares.shape[-1] * 2.0**-50 * total


def _highest(c: Tensor, others: tuple[Tensor, Tensor], eps: float, *, centre: bool) -> Tensor:
    """Largest quotient for an entry of at most c, with the least and the largest sum of other squares."""
    own, d = c.square(), c.shape[-1]
    least = torch.maximum(others[0], own / (d - 1)) if centre and d > 1 else others[0]
    variance = (own + torch.where(c > 0, least, others[1])) / d
    return torch.where(c == 0, 0.0, c * (variance + eps).rsqrt())


def _product(centred: Enclosure, spread: _Spread, slack: Tensor) -> Step:
    """The quotient as a product of c and 1 / sqrt(v + eps), between planes."""
    eps, d = spread.eps, centred.shape[-1]
    variance = average(power(centred, 2), -1, keepdim=True)
    variance = intersected(variance, spread.lower, torch.full_like(spread.lower, torch.inf))
    # Rounding may part the two lower ends by a hair where nothing varies.
    variance = replace(variance, upper=torch.maximum(variance.lower, variance.upper))

    def function(value: Tensor) -> Tensor:
        return (value + eps).rsqrt()

    def bend(lower: Tensor, upper: Tensor) -> Tensor:
        return 0.75 * (lower + eps).pow(-2.5) + 0 * upper

    ends = Enclosure(function(variance.upper) * (1 - _OUT), function(variance.lower) * (1 + _OUT))
    factor = bent(ends, variance, Shape(function, curvature=bend), torch.zeros_like(ends.lower))
    size = centred.largest * factor.largest
    return Product((centred, factor), matrices=False, errors=Errors(slack + TINY, 4 * size, 4 + d))
