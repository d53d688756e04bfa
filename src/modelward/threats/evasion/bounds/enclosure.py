"""Enclosures: intervals that hold every value a float32 network can compute from a set of inputs.

All bounds are computed in float64 and widened by proven bounds on float32 rounding, so they enclose what the
network computes and not only what it would compute in exact arithmetic. Throughout, u = 2**-24 is the unit
roundoff of float32, and for a sum of n products in any order, with or without fused operations,

    |computed - exact| <= gamma(n) * sum |terms|,   gamma(n) = n u / (1 - n u)

(Higham 2002, Accuracy and Stability of Numerical Algorithms, 2nd ed., equation 3.5). Counting two more
operations than there are also covers the float64 rounding of the bounds themselves, which is 2**-29 of it.
None of this holds where float32 overflows, so no end is trusted beyond `LIMIT`. Algorithms that are not sums
of these products (Winograd or FFT convolution, TF32) are outside this statement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from modelward.numeric.rounding import gamma

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.steps import Step

U: Final = 2.0**-24
"""Unit roundoff of float32."""
TINY: Final = 2.0**-126
"""Smallest normal float32: bounds the absolute error of one operation that underflows or is flushed to 0."""
LIMIT: Final = 2.0**120
"""Magnitude up to which no float32 routine overflows, whatever it computes on its way (the largest float32
is just below 2**128)."""


def rounding(total: Tensor, operations: int) -> Tensor:
    """Bound on the error of a float32 sum; infinite where a partial sum could overflow.

    Args:
        total: sum of the terms' magnitudes.
        operations: rounded operations per term, at most; two are added to spare.
    """
    error = gamma(operations + 2, np.float32) * total + operations * TINY
    return torch.where(total <= LIMIT, error, torch.inf)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Ball:
    """All values centre + scale * d + e with the Euclidean norm of d at most radius and |e| <= blur.

    Holds as long as only elementwise affine operations and rearrangements were applied to the input.

    Attributes:
        centre: (n, ...) float64.
        scale: same shape, >= 0.
        blur: same shape, >= 0: accumulated rounding.
        radius: of the ball.
    """

    centre: Tensor
    scale: Tensor
    blur: Tensor
    radius: float

    def map(self, rearrange: Callable[[Tensor], Tensor]) -> Ball:
        """The ball after a rearrangement of its entries."""
        return Ball(rearrange(self.centre), rearrange(self.scale), rearrange(self.blur), self.radius)

    def affine(self, factor: Tensor, offset: Tensor, operations: int) -> Ball:
        """The ball after x -> factor * x + offset, computed in float32 with some roundings.

        Args:
            factor: broadcasts against the ball.
            offset: likewise.
            operations: bound on relative roundings of either term.
        """
        centre = factor * self.centre + offset
        size = factor.abs()
        largest = size * (self.centre.abs() + self.scale * self.radius + self.blur) + offset.abs()
        blur = size * self.blur + rounding(largest, operations)
        return Ball(centre, (size * self.scale).expand_as(centre), blur.expand_as(centre), self.radius)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Affine:
    """The enclosure is source @ weight.T + bias, so differences of its entries can be bounded more tightly.

    Attributes:
        source: of shape (n, inputs).
        weight: (k, inputs) float64.
        bias: (k,) float64.
        roundings: operations beyond the products that the result was computed with.
    """

    source: Enclosure
    weight: Tensor
    bias: Tensor
    roundings: int


@final
@dataclass(frozen=True, eq=False, slots=True)
class Softmax:
    """The enclosure is a softmax, or its logarithm, over the columns of (n, k) scores.

    Attributes:
        source: the scores.
        logarithm: whether the logarithm was taken.
    """

    source: Enclosure
    logarithm: bool


Form: TypeAlias = Ball | Affine | Softmax


@final
@dataclass(frozen=True, eq=False, slots=True)
class Enclosure:
    """Every value lies in [lower, upper]; `form` and `step`, where known, say more.

    Attributes:
        lower: (n, ...) float64.
        upper: same shape, >= lower.
        form: a tighter description, or null.
        step: how the values depend on those that they were computed from, or null: nothing but the interval.
    """

    lower: Tensor
    upper: Tensor
    form: Form | None = None
    step: Step | None = None

    @property
    def shape(self) -> torch.Size:
        """Shape, the points first."""
        return self.lower.shape

    @property
    def largest(self) -> Tensor:
        """Largest magnitude of each entry."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    @property
    def held(self) -> Tensor:
        """(n,) whether float32 holds every value of a point without overflow, or exactly an infinity."""
        constant = (self.lower == self.upper) & self.lower.isinf()
        inside = (self.lower >= -LIMIT) & (self.upper <= LIMIT)
        return (inside | constant).reshape(len(inside), -1).all(dim=1)

    def monotone(self, function: Callable[[Tensor], Tensor], *, ulps: float = 0.0) -> Enclosure:
        """The image under a function that never decreases in any entry.

        Args:
            function: applied to both ends in float64.
            ulps: error of the float32 routine in units of u times the result; 0 for one that is exact.
        """
        return widened(function(self.lower), function(self.upper), ulps=ulps)


def widened(
    lower: Tensor, upper: Tensor, *, ulps: float, scale: Tensor | None = None, form: Form | None = None
) -> Enclosure:
    """Move both ends outward by a float32 error.

    Args:
        lower: lower ends before rounding.
        upper: upper ends before rounding.
        ulps: error in units of u times the magnitude; 0: none at all.
        scale: magnitude the error refers to; null: that of the end itself.
        form: kept on the result.
    """
    if ulps == 0:
        return Enclosure(lower, upper, form)
    unit = ulps * U
    low = lower - unit * (lower.abs() if scale is None else scale) - TINY
    high = upper + unit * (upper.abs() if scale is None else scale) + TINY
    return Enclosure(low, high, form)


def intersected(one: Enclosure, lower: Tensor, upper: Tensor) -> Enclosure:
    """Both enclosures hold, so their intersection does."""
    return replace(one, lower=torch.maximum(one.lower, lower), upper=torch.minimum(one.upper, upper))
