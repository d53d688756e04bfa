"""More functions of single entries: logarithms, quotients, powers and activations made of simpler ones."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from modelward.threats.evasion.bounds.curves import Shape, bent
from modelward.threats.evasion.bounds.enclosure import TINY, Enclosure, U, widened
from modelward.threats.evasion.bounds.functions import (
    LIBRARY_ULPS,
    clamp,
    power,
    rectified,
    rising,
    square_root,
    valley,
)
from modelward.threats.evasion.bounds.moves import shifted
from modelward.threats.evasion.bounds.sums import add, mul, negative, refused

if TYPE_CHECKING:
    from modelward.threats.evasion.bounds.sums import Operand

_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_ALPHA: Final = 1.6732632423543772848170429916717
_MISH_VALLEY: Final = (-1.1924312, -0.308843413)
_MISH_BEND: Final = 0.66
"""Mish's second derivative is largest near -0.088, where it is 0.6442."""
_TANHSHRINK_BEND: Final = 0.7699


def positive(x: Enclosure, what: str) -> None:
    """Require values above 0.

    Raises:
        OperatorUnsupported: some may be 0 or negative, where the function is not defined.
    """
    if not (x.lower > 0).all():
        raise refused(f"{what} of a value that may be 0 or negative")


def reciprocal(x: Enclosure) -> Enclosure:
    """1 / x for values of one sign."""
    if (x.upper < 0).all():
        return negative(reciprocal(negative(x)))
    positive(x, "the reciprocal")
    found = widened(1 / x.upper, 1 / x.lower, ulps=4)
    shape = Shape(torch.reciprocal, curvature=lambda lower, upper: 2 / lower.pow(3) + 0 * upper)
    return bent(found, x, shape, 4 * U * found.largest + TINY)


def inverse_root(x: Enclosure) -> Enclosure:
    """1 / sqrt(x) for positive values."""
    positive(x, "the inverse square root")
    found = widened(x.upper.rsqrt(), x.lower.rsqrt(), ulps=LIBRARY_ULPS)
    shape = Shape(torch.rsqrt, curvature=lambda lower, upper: 0.75 * lower.pow(-2.5) + 0 * upper)
    return bent(found, x, shape, LIBRARY_ULPS * U * found.largest + TINY)


def quotient(a: Operand, b: Enclosure) -> Enclosure:
    """A / b for values b of one sign, as a product with the inverse."""
    return mul(reciprocal(b), a) if isinstance(a, Enclosure) else mul(reciprocal(b), torch.as_tensor(a))


def logarithm(x: Enclosure) -> Enclosure:
    """Natural logarithm of positive values; near 1 the error is absolute."""
    positive(x, "the logarithm")
    ends = torch.maximum(x.lower.log().abs(), x.upper.log().abs())
    return rising(x, torch.log, lambda lower, upper: lower.pow(-2) + 0 * upper, scale=ends + 1)


def logarithm_1p(x: Enclosure) -> Enclosure:
    """Log(1 + x) for x > -1."""
    positive(Enclosure(x.lower + 1, x.upper + 1), "the logarithm")
    ends = torch.maximum(x.lower.log1p().abs(), x.upper.log1p().abs())
    return rising(x, torch.log1p, lambda lower, upper: (1 + lower).pow(-2) + 0 * upper, scale=ends + 1)


def exponential_m1(x: Enclosure) -> Enclosure:
    """Exp(x) - 1, with an absolute error."""
    scale = x.upper.exp() + 1
    return rising(x, torch.expm1, lambda lower, upper: upper.exp() + 0 * lower, scale=scale)


def powered(x: Enclosure, exponent: Operand) -> Enclosure:
    """1, 2, 3, 4, -1 and halves; other exponents are refused."""
    if isinstance(exponent, Enclosure):
        raise refused("a power whose exponent depends on the input")
    number = float(exponent)
    rules = {
        1.0: lambda: x,
        2.0: lambda: power(x, 2),
        3.0: lambda: mul(power(x, 2), x),
        4.0: lambda: power(power(x, 2), 2),
        0.5: lambda: square_root(x),
        -0.5: lambda: inverse_root(x),
        -1.0: lambda: reciprocal(x),
    }
    if number not in rules:
        raise refused(f"a power of {number:g}")
    return rules[number]()


def softsign(x: Enclosure) -> Enclosure:
    """X / (1 + |x|), whose slope 1 / (1 + |x|)^2 changes by at most 2 per unit."""
    return rising(x, functional.softsign, 2.0)


def log_sigmoid(x: Enclosure) -> Enclosure:
    """-log(1 + exp(-x)), with an absolute error."""
    return rising(x, functional.logsigmoid, 0.2501, scale=x.largest + 1)


def tanhshrink(x: Enclosure) -> Enclosure:
    """X - tanh(x), with the error of a difference."""
    return rising(x, functional.tanhshrink, _TANHSHRINK_BEND, scale=x.largest + 1)


def softshrink(x: Enclosure, lambd: float = 0.5) -> Enclosure:
    """X moved towards 0 by lambd, and 0 where it would pass it."""
    if lambd < 0:
        raise refused("a softshrink with a negative threshold")
    function = partial(functional.softshrink, lambd=lambd)
    scale = x.largest + lambd
    found = widened(function(x.lower), function(x.upper), ulps=4, scale=scale)
    return bent(found, x, Shape(function, (-lambd, lambd)), 4 * U * scale + TINY)


def mish(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """X tanh(softplus(x))."""
    del inplace
    return valley(x, functional.mish, _MISH_VALLEY, _MISH_BEND)


def celu(x: Enclosure, alpha: float = 1.0, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """Max(x, 0) + min(alpha (exp(x / alpha) - 1), 0), smooth for every positive alpha."""
    del inplace
    if alpha <= 0:
        raise refused("a CELU with a scale that is not positive")
    return rising(x, partial(functional.celu, alpha=alpha), 1.01 / alpha, scale=x.largest + alpha)


def selu(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """Its slope jumps at 0, so lines go around two parts (Klambauer et al. 2017, arXiv 1706.02515v5)."""
    del inplace
    return scaled_elu(x, _SELU_ALPHA, _SELU_SCALE)


def scaled_elu(x: Enclosure, alpha: float, scale: float) -> Enclosure:
    """Scale * max(x, 0) + scale * alpha * (exp(min(x, 0)) - 1)."""
    below = mul(exponential_m1(clamp(x, max=0.0)), alpha * scale)
    found = add(mul(rectified(x), scale), below)

    def function(end: Tensor) -> Tensor:
        return scale * functional.elu(end, alpha)

    error = scale * (x.largest + alpha)
    tight = widened(function(x.lower), function(x.upper), ulps=LIBRARY_ULPS, scale=error)
    return replace(tight, step=found.step)


def parametric(x: Enclosure, weight: Operand) -> Enclosure:
    """PReLU: max(x, 0) + weight * min(x, 0), one weight for all or one per channel (the second axis)."""
    if isinstance(weight, Enclosure):
        raise refused("a PReLU whose slope depends on the input")
    slope = torch.as_tensor(weight)
    if slope.numel() > 1:
        slope = slope.reshape(-1, *[1] * (len(x.shape) - 2))
    return add(rectified(x), mul(clamp(x, max=0.0), slope))


def gated(x: Enclosure, dim: int = -1) -> Enclosure:
    """GLU: one half times the sigmoid of the other."""
    axis = dim % len(x.shape)
    length = x.shape[axis] // 2
    if axis == 0 or 2 * length != x.shape[axis]:
        raise refused("a gate over the batch or an odd number of entries")
    halves = [shifted(torch.narrow, x, axis, start, length) for start in (0, length)]
    return mul(halves[0], rising(halves[1], torch.sigmoid, 0.0963))


def chosen(mask: Operand, one: Operand, other: Operand) -> Enclosure:
    """Where with a constant mask, as sums of products with 0 and 1."""
    if isinstance(mask, Enclosure):
        raise refused("a choice by a mask that depends on the input")
    parts: list[Operand] = []
    for side, keep in ((one, mask), (other, ~torch.as_tensor(mask))):
        share = torch.as_tensor(keep).double()
        if isinstance(side, Enclosure):
            parts.append(mul(side, share))
            continue
        constant = torch.as_tensor(side, dtype=torch.float64)
        if not constant.isfinite().all():
            raise refused("a choice of constants that are not finite")
        parts.append(constant * share)
    return add(parts[0], parts[1])


def filled(x: Enclosure, mask: Operand, value: float) -> Enclosure:
    """Masked_fill with a constant mask; an infinite value leaves nothing but the interval."""
    if isinstance(mask, Enclosure) or math.isfinite(float(value)):
        return chosen(mask, value, x)
    low, high = (torch.where(torch.as_tensor(mask), float(value), end) for end in (x.lower, x.upper))
    return Enclosure(low, high)
