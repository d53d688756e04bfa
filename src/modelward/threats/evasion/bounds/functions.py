"""Functions of single entries, and softmax: what they do to an enclosure; torch's names and arguments."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from modelward.threats.evasion.bounds.curves import Shape, bent
from modelward.threats.evasion.bounds.enclosure import (
    TINY,
    Enclosure,
    Softmax,
    U,
    intersected,
    widened,
)
from modelward.threats.evasion.bounds.moves import picked
from modelward.threats.evasion.bounds.steps import (
    Rectified,
)
from modelward.threats.evasion.bounds.sums import average, exact, negative, plus, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.steps import Step
    from modelward.threats.evasion.bounds.sums import Operand

    Bend: TypeAlias = Callable[[Tensor, Tensor], Tensor | float] | float

LIBRARY_ULPS: Final = 16.0
"""Error granted to a float32 routine for a transcendental function, in units of u; libraries stay below 8."""

_SOFTMAX_WIDTH: Final = 64
"""Attention over more entries than this has no linear rule: its square of differences would not fit."""

_GELU_VALLEY: Final = {"none": (-0.7517915924, -0.1699712075), "tanh": (-0.7524614233, -0.1700407505)}
_SILU_VALLEY: Final = (-1.2784645428, -0.2784645428)
_HARDSWISH_VALLEY: Final = (-1.5, -0.375)
_GELU_BEND: Final = 0.85
_SILU_BEND: Final = 0.501
"""Bounds on the second derivative: GELU's is (2 - x^2) phi(x) <= 2 phi(0) = 0.798, that of its tanh variant
stays below 0.81; SiLU's is largest at 0, where it is 1/2."""


def valley(
    x: Enclosure, function: Callable[[Tensor], Tensor], bottom: tuple[float, float], bend: float | None = None
) -> Enclosure:
    """The image under a function that falls up to a point and rises after it.

    Args:
        x: the argument.
        function: applied in float64.
        bottom: where it is lowest, to 1e-6, and a value that it does not fall below by more than 1e-9.
        bend: Lipschitz constant of its derivative, or null: it has no linear rule.
    """
    ends = (function(x.lower), function(x.upper))
    inside = (x.lower <= bottom[0] + 1e-6) & (x.upper >= bottom[0] - 1e-6)
    low = torch.where(inside, torch.full_like(ends[0], bottom[1] - 1e-9), torch.minimum(*ends))
    # The factors cancel where the result is small, so the error is measured on the argument too.
    scale = torch.maximum(x.largest, torch.maximum(ends[0].abs(), ends[1].abs()))
    found = widened(low, torch.maximum(*ends), ulps=LIBRARY_ULPS, scale=scale)
    if bend is None:
        return found
    return bent(found, x, Shape(function, curvature=bend), LIBRARY_ULPS * U * scale + TINY)


def gelu(x: Enclosure, approximate: str = "none") -> Enclosure:
    """Both GELU variants."""
    return valley(x, partial(functional.gelu, approximate=approximate), _GELU_VALLEY[approximate], _GELU_BEND)


def silu(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """X sigmoid(x)."""
    del inplace
    return valley(x, functional.silu, _SILU_VALLEY, _SILU_BEND)


def hardswish(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """X relu6(x + 3) / 6."""
    del inplace
    return valley(x, functional.hardswish, _HARDSWISH_VALLEY)


def absolute(x: Enclosure) -> Enclosure:
    """|x|, exact."""
    crosses = (x.lower <= 0) & (x.upper >= 0)
    nearest = torch.where(crosses, 0.0, torch.minimum(x.lower.abs(), x.upper.abs()))
    return kinked(Enclosure(nearest, x.largest), x, torch.abs, (0.0,))


def kinked(
    found: Enclosure,
    x: Enclosure,
    function: Callable[[Tensor], Tensor],
    kinks: tuple[float, ...],
    ulps: float = 0,
) -> Enclosure:
    """Add the step of a piecewise linear function to its interval."""
    return bent(found, x, Shape(function, kinks), ulps * U * found.largest + TINY)


def rising(
    x: Enclosure, function: Callable[[Tensor], Tensor], bend: Bend, *, scale: Tensor | None = None
) -> Enclosure:
    """A smooth function that never decreases, as a library routine computes it.

    Args:
        x: the argument.
        function: applied in float64.
        bend: Lipschitz constant of its derivative, or what computes it from both ends.
        scale: magnitude that the routine's error refers to; null: the result's.
    """
    found = widened(function(x.lower), function(x.upper), ulps=LIBRARY_ULPS, scale=scale)
    error = LIBRARY_ULPS * U * (found.largest if scale is None else scale) + TINY
    return bent(found, x, Shape(function, curvature=bend), error)


def leaky_relu(x: Enclosure, negative_slope: float = 0.01, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """Leaky ReLU with a slope that is not negative."""
    del inplace
    if negative_slope < 0:
        raise refused("a leaky ReLU with a negative slope")
    function = partial(functional.leaky_relu, negative_slope=negative_slope)
    return kinked(x.monotone(function, ulps=3), x, function, (0.0,), 3)


def elu(x: Enclosure, alpha: float = 1.0, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """ELU with a scale that is not negative; exp(x) - 1 may cancel, so the error is absolute."""
    del inplace
    if alpha < 0:
        raise refused("an ELU with a negative scale")
    found = rising(x, partial(functional.elu, alpha=alpha), 1.0, scale=x.largest + alpha)
    return found if alpha == 1 else replace(found, step=None)  # else its slope jumps at 0


def clamp(x: Enclosure, min: Operand | None = None, max: Operand | None = None) -> Enclosure:  # noqa: A002 - as in torch
    """Limits are constants; the error is that of a limit which float32 cannot hold."""
    low = None if min is None else exact(min)
    high = None if max is None else exact(max)

    def function(end: Tensor) -> Tensor:
        return torch.clamp(end, low, high)

    found = x.monotone(function, ulps=2)
    limits = [limit for limit in (low, high) if limit is not None]
    if any(limit.numel() != 1 for limit in limits):
        return found
    return kinked(found, x, function, tuple(float(limit) for limit in limits), 2)


def rectified(x: Enclosure) -> Enclosure:
    """ReLU; exact."""
    return Enclosure(x.lower.clamp_min(0), x.upper.clamp_min(0), step=Rectified(x))


def maximum(a: Operand, b: Operand) -> Enclosure:
    """Larger of two, entrywise; exact. As a step it is b + relu(a - b), without that rounding."""
    one, two = _pair(a, b)
    found = Enclosure(torch.maximum(one.lower, two.lower), torch.maximum(one.upper, two.upper))
    if not (isinstance(a, Enclosure) and isinstance(b, Enclosure)) or one.shape != two.shape:
        return found
    more = rectified(plus(a, negative(b), ulps=0))
    return replace(found, step=plus(b, more, ulps=0).step)


def minimum(a: Operand, b: Operand) -> Enclosure:
    """Smaller of two, entrywise; exact."""
    return negative(maximum(*(negative(v) if isinstance(v, Enclosure) else -exact(v) for v in (a, b))))


def _pair(a: Operand, b: Operand) -> tuple[Enclosure, Enclosure]:
    both = [
        value if isinstance(value, Enclosure) else Enclosure(exact(value), exact(value)) for value in (a, b)
    ]
    return both[0], both[1]


def power(x: Enclosure, exponent: Operand) -> Enclosure:
    """Squares only."""
    if isinstance(exponent, Enclosure) or float(exponent) != 2:
        raise refused("a power other than 2")
    size = absolute(x)
    found = widened(size.lower.square(), size.upper.square(), ulps=2)
    return bent(found, x, Shape(torch.square, curvature=2.0), 2 * U * found.largest + TINY)


def square_root(x: Enclosure) -> Enclosure:
    """Of values that cannot be negative."""
    if (x.lower < 0).any():
        raise refused("the square root of a value that may be negative")
    found = x.monotone(torch.sqrt, ulps=4)
    shape = Shape(torch.sqrt, curvature=lambda lower, upper: lower.pow(-1.5) / 4 + 0 * upper)
    return bent(found, x, shape, 4 * U * found.largest + TINY)


def softmax(
    x: Enclosure,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
    *,
    logarithm: bool,
) -> Enclosure:
    """Softmax over the last axis: each entry grows with its own score and falls with every other."""
    if dim is None or dim % len(x.shape) != len(x.shape) - 1 or dtype not in {None, torch.float32}:
        raise refused("a softmax that is not over the last axis in float32")
    low, high = _softmax_ends(x.lower, x.upper), _softmax_ends(x.upper, x.lower)
    form = Softmax(x, logarithm) if len(x.shape) == 2 else None
    if logarithm:
        size = x.largest.amax(dim=-1, keepdim=True) + 1 + math.log(x.shape[-1])
        return widened(low, high, ulps=LIBRARY_ULPS, scale=size.expand_as(low), form=form)
    ulps = (LIBRARY_ULPS + 2 * x.shape[-1]) * 1.01
    found = widened(low.exp(), high.exp(), ulps=ulps, scale=torch.ones_like(low), form=form)
    if form is not None or x.shape[-1] > _SOFTMAX_WIDTH:
        return found
    return replace(found, step=_softmax_step(found, x, ulps * U + TINY))


def _softmax_step(found: Enclosure, x: Enclosure, error: float) -> Step | None:
    """1 / sum_j exp(x_j - x_i), each function between two lines (Shi et al. 2020, arXiv 2002.06622v2)."""
    shape, k = x.shape[1:], x.shape[-1]
    places, square = torch.arange(math.prod(shape)).reshape(shape), (*shape, k)
    others, own = (places.unsqueeze(axis).expand(square).flatten() for axis in (-2, -1))
    one, two = (picked(x, index, square) for index in (others, own))
    change = plus(one, negative(two), ulps=0)
    same = torch.eye(k, dtype=torch.bool)
    change = replace(change, lower=change.lower.where(~same, 0), upper=change.upper.where(~same, 0))
    powers = rising(change, torch.exp, lambda lower, upper: upper.exp() + 0 * lower)
    whole = average(powers, -1, total=True)
    whole = intersected(
        whole, 1 / found.upper.clamp(TINY, 1) * (1 - 2.0**-40), torch.full_like(found.lower, torch.inf)
    )
    shape_of = Shape(torch.reciprocal, curvature=lambda lower, upper: 2 / lower.pow(3) + 0 * upper)
    return bent(found, whole, shape_of, torch.full_like(found.lower, error)).step


def _softmax_ends(own: Tensor, others: Tensor) -> Tensor:
    """Log-softmax of each entry at one end, with all other entries at the other end."""
    k = own.shape[-1]
    table = others.unsqueeze(-2).expand(*others.shape[:-1], k, k)
    mixed = torch.where(torch.eye(k, dtype=torch.bool), own.unsqueeze(-1), table)
    return own - torch.logsumexp(mixed, dim=-1)
