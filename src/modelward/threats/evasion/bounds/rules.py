"""What each operation does to an enclosure. Every function takes its torch namesake's arguments.

An argument that depends on the input arrives as an `Enclosure`, a constant as a tensor or number.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import (
    Affine,
    Ball,
    Enclosure,
    Softmax,
    products,
    rounding,
    widened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule: TypeAlias = Callable[..., Enclosure]
    Operand: TypeAlias = Enclosure | Tensor | float

LIBRARY_ULPS: Final = 16.0
"""Error granted to a float32 routine for a transcendental function, in units of u; libraries stay below 8."""

_GELU_VALLEY: Final = {"none": (-0.7517915924, -0.1699712075), "tanh": (-0.7524614233, -0.1700407505)}
_SILU_VALLEY: Final = (-1.2784645428, -0.2784645428)
_HARDSWISH_VALLEY: Final = (-1.5, -0.375)


def refused(what: str) -> OperatorUnsupported:
    """The error for something that has no sound rule here."""
    return OperatorUnsupported(f"no interval rule for {what}")


def exact(value: Operand) -> Tensor:
    """A constant in float64, which holds every float32 exactly."""
    if isinstance(value, Enclosure):
        raise refused("an operation on two values that both depend on the input")
    tensor = torch.as_tensor(value).detach()
    if tensor.dtype in {torch.float16, torch.bfloat16}:
        raise refused(f"weights of {tensor.dtype}, whose rounding is coarser than that of float32")
    return tensor.to(torch.float64)


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Enclosure:
    """X W^T + b over the last axis."""
    if not isinstance(x, Enclosure):
        raise refused("a linear layer whose weights depend on the input")
    w = exact(weight)
    b = None if bias is None else exact(bias)
    count = w.shape[1] + 1
    result = products(x, lambda values, weights: values @ weights.T, w, b, count)
    if len(x.shape) != 2:
        return result
    offset = torch.zeros(len(w), dtype=torch.float64) if b is None else b
    return Enclosure(result.lower, result.upper, Affine(x, w, offset, 0))


def matmul(x: Operand, other: Operand) -> Enclosure:
    """A product with a constant matrix on the right."""
    if not isinstance(x, Enclosure) or isinstance(other, Enclosure) or exact(other).dim() != 2:
        raise refused("a matrix product other than with a constant matrix on the right")
    return linear(x, exact(other).T)


def addmm(bias: Operand, x: Operand, other: Operand, *, beta: float = 1, alpha: float = 1) -> Enclosure:
    """Bias + x @ other with constant bias and other."""
    if beta != 1 or alpha != 1:
        raise refused("addmm with beta or alpha")
    return add(matmul(x, other), bias)


def convolution(
    x: Enclosure,
    weight: Tensor,
    bias: Tensor | None = None,
    *args: int | str | tuple[int, ...],
    axes: int,
    **kwargs: int | str | tuple[int, ...],
) -> Enclosure:
    """Conv1d, 2d and 3d with constant weights."""
    function: Callable[..., Tensor] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[axes]
    w = exact(weight)
    b = None if bias is None else exact(bias).reshape(-1, *[1] * axes)

    def apply(values: Tensor, weights: Tensor) -> Tensor:
        return function(values, weights, None, *args, **kwargs)

    return products(x, apply, w, b, math.prod(w.shape[1:]) + 1)


def affine(x: Enclosure, factor: Tensor, offset: Tensor, operations: int) -> Enclosure:
    """Factor * x + offset per entry, with at most so many roundings of either term."""
    ends = (factor * x.lower, factor * x.upper)
    low, high = torch.minimum(*ends) + offset, torch.maximum(*ends) + offset
    slack = rounding(factor.abs() * x.largest + offset.abs(), operations)
    # Where broadcasting repeats entries, they share a part of the ball's radius, and the form is lost.
    ball = x.form if isinstance(x.form, Ball) and low.shape == x.shape else None
    return Enclosure(low - slack, high + slack, ball and ball.affine(factor, offset, operations))


def batch_norm(
    x: Enclosure,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    **options: float,
) -> Enclosure:
    """Batch normalisation with fixed statistics; options are torch's training, momentum and eps."""
    if options.get("training"):
        raise refused("batch normalisation with the batch's own statistics")
    eps = options.get("eps", 1e-5)
    shape = (-1, *[1] * (len(x.shape) - 2))
    mean, variance = exact(running_mean), exact(running_var)
    factor = (exact(weight) if weight is not None else 1.0) / torch.sqrt(variance + eps)
    offset = exact(bias) if bias is not None else torch.zeros_like(mean)
    centred = (-mean * factor).reshape(shape)
    result = affine(x, factor.reshape(shape), centred + offset.reshape(shape), 8)
    # The shift -mean * factor + bias may cancel, its rounding does not.
    slack = rounding(centred.abs() + offset.abs().reshape(shape), 8)
    form = result.form
    if isinstance(form, Ball):
        form = Ball(form.centre, form.scale, form.blur + slack, form.radius)
    return Enclosure(result.lower - slack, result.upper + slack, form)


def add(a: Operand, b: Operand, *, alpha: float = 1) -> Enclosure:
    """A + alpha b, of enclosures or constants."""
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Enclosure) else alpha * exact(b)
    if isinstance(a, Enclosure) and isinstance(b, Enclosure):
        return widened(a.lower + b.lower, a.upper + b.upper, ulps=2)
    x, constant = (a, exact(b)) if isinstance(a, Enclosure) else (b, exact(a))
    if not isinstance(x, Enclosure):
        raise refused("a sum of constants")
    result = affine(x, torch.ones((), dtype=torch.float64), constant, 1)
    form = x.form
    if isinstance(form, Affine) and result.shape == x.shape and constant.dim() <= 1:
        wider = Affine(form.source, form.weight, form.bias + constant, form.roundings + 1)
        return Enclosure(result.lower, result.upper, wider)
    return result


def negative(x: Enclosure) -> Enclosure:
    """-x, exact."""
    form = x.form
    ball = Ball(-form.centre, form.scale, form.blur, form.radius) if isinstance(form, Ball) else None
    return Enclosure(-x.upper, -x.lower, ball)


def subtract(a: Operand, b: Operand, *, alpha: float = 1) -> Enclosure:
    """A - alpha b."""
    return add(a, negative(b) if isinstance(b, Enclosure) else -exact(b), alpha=alpha)


def mul(a: Operand, b: Operand) -> Enclosure:
    """Entrywise product of enclosures or constants."""
    if isinstance(a, Enclosure) and isinstance(b, Enclosure):
        ends = torch.stack([a.lower * b.lower, a.lower * b.upper, a.upper * b.lower, a.upper * b.upper])
        return widened(ends.amin(dim=0), ends.amax(dim=0), ulps=2)
    x, constant = (a, exact(b)) if isinstance(a, Enclosure) else (b, exact(a))
    if not isinstance(x, Enclosure):
        raise refused("a product of constants")
    return affine(x, constant, torch.zeros((), dtype=torch.float64), 2)


def divide(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Enclosure:
    """A / b for a constant b without zeros."""
    if not isinstance(a, Enclosure) or isinstance(b, Enclosure) or rounding_mode is not None:
        raise refused("a division other than by a constant")
    divisor = exact(b)
    if (divisor == 0).any():
        raise refused("a division by zero")
    return affine(a, 1 / divisor, torch.zeros((), dtype=torch.float64), 2)


def valley(x: Enclosure, function: Callable[[Tensor], Tensor], bottom: tuple[float, float]) -> Enclosure:
    """The image under a function that falls up to a point and rises after it.

    Args:
        x: the argument.
        function: applied in float64.
        bottom: where it is lowest, to 1e-6, and a value that it does not fall below by more than 1e-9.
    """
    ends = (function(x.lower), function(x.upper))
    inside = (x.lower <= bottom[0] + 1e-6) & (x.upper >= bottom[0] - 1e-6)
    low = torch.where(inside, torch.full_like(ends[0], bottom[1] - 1e-9), torch.minimum(*ends))
    # The factors cancel where the result is small, so the error is measured on the argument too.
    scale = torch.maximum(x.largest, torch.maximum(ends[0].abs(), ends[1].abs()))
    return widened(low, torch.maximum(*ends), ulps=LIBRARY_ULPS, scale=scale)


def gelu(x: Enclosure, approximate: str = "none") -> Enclosure:
    """Both GELU variants."""
    return valley(x, partial(functional.gelu, approximate=approximate), _GELU_VALLEY[approximate])


def silu(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """X sigmoid(x)."""
    del inplace
    return valley(x, functional.silu, _SILU_VALLEY)


def hardswish(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """X relu6(x + 3) / 6."""
    del inplace
    return valley(x, functional.hardswish, _HARDSWISH_VALLEY)


def absolute(x: Enclosure) -> Enclosure:
    """|x|, exact."""
    crosses = (x.lower <= 0) & (x.upper >= 0)
    nearest = torch.where(crosses, 0.0, torch.minimum(x.lower.abs(), x.upper.abs()))
    return Enclosure(nearest, x.largest)


def leaky_relu(x: Enclosure, negative_slope: float = 0.01, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """Leaky ReLU with a slope that is not negative."""
    del inplace
    if negative_slope < 0:
        raise refused("a leaky ReLU with a negative slope")
    return x.monotone(partial(functional.leaky_relu, negative_slope=negative_slope), ulps=3)


def elu(x: Enclosure, alpha: float = 1.0, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """ELU with a scale that is not negative; exp(x) - 1 may cancel, so the error is absolute."""
    del inplace
    if alpha < 0:
        raise refused("an ELU with a negative scale")
    low, high = (functional.elu(end, alpha) for end in (x.lower, x.upper))
    return widened(low, high, ulps=LIBRARY_ULPS, scale=x.largest + alpha)


def clamp(x: Enclosure, min: Operand | None = None, max: Operand | None = None) -> Enclosure:  # noqa: A002 - as in torch
    """Limits are constants; the error is that of a limit which float32 cannot hold."""
    low = None if min is None else exact(min)
    high = None if max is None else exact(max)
    return x.monotone(lambda end: torch.clamp(end, low, high), ulps=2)


def maximum(a: Operand, b: Operand) -> Enclosure:
    """Larger of two, entrywise; exact."""
    one, two = _pair(a, b)
    return Enclosure(torch.maximum(one.lower, two.lower), torch.maximum(one.upper, two.upper))


def minimum(a: Operand, b: Operand) -> Enclosure:
    """Smaller of two, entrywise; exact."""
    one, two = _pair(a, b)
    return Enclosure(torch.minimum(one.lower, two.lower), torch.minimum(one.upper, two.upper))


def _pair(a: Operand, b: Operand) -> tuple[Enclosure, Enclosure]:
    both = [
        value if isinstance(value, Enclosure) else Enclosure(exact(value), exact(value)) for value in (a, b)
    ]
    return both[0], both[1]


def average(
    x: Enclosure,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - as in torch
    *,
    total: bool = False,
) -> Enclosure:
    """Mean, or sum, over axes other than the points'."""
    axes = _axes(x, dim)
    count = math.prod(x.shape[axis] for axis in axes)
    function = torch.sum if total else torch.mean
    low, high, size = (function(end, dim=axes, keepdim=keepdim) for end in (x.lower, x.upper, x.largest))
    slack = rounding(size if total else size * count, count + 1) / (1 if total else count)
    return Enclosure(low - slack, high + slack)


def extreme(
    x: Enclosure,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - as in torch
    *,
    largest: bool,
) -> Enclosure:
    """Amax or amin over axes other than the points'; exact."""
    function = torch.amax if largest else torch.amin
    axes = _axes(x, dim)
    return x.monotone(lambda end: function(end, dim=axes, keepdim=keepdim))


def _axes(x: Enclosure, dim: int | tuple[int, ...] | None) -> tuple[int, ...]:
    listed = tuple(range(len(x.shape))) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(axis % len(x.shape) for axis in listed)
    if 0 in axes or not axes:  # torch takes no axes for all of them
        raise refused("a reduction over the batch")
    return axes


def average_pool(x: Enclosure, pool: Callable[[Tensor], Tensor]) -> Enclosure:
    """A pooling whose weights are not negative and cover at most a sample's spatial axes."""
    count = math.prod(x.shape[2:]) + 1
    slack = rounding(pool(x.largest) * count, count) / count
    low, high = pool(x.lower), pool(x.upper)
    if (low > high).any():
        raise refused("average pooling with a negative divisor")
    return Enclosure(low - slack, high + slack)


def power(x: Enclosure, exponent: Operand) -> Enclosure:
    """Squares only."""
    if isinstance(exponent, Enclosure) or float(exponent) != 2:
        raise refused("a power other than 2")
    size = absolute(x)
    return widened(size.lower.square(), size.upper.square(), ulps=2)


def square_root(x: Enclosure) -> Enclosure:
    """Of values that cannot be negative."""
    if (x.lower < 0).any():
        raise refused("the square root of a value that may be negative")
    return x.monotone(torch.sqrt, ulps=4)


def pad(x: Enclosure, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Enclosure:
    """Padding of any mode; a constant, as float32 holds it, is put on both ends."""
    if value is not None:
        value = float(torch.tensor(value, dtype=torch.float32))
    low, high = (functional.pad(end, pad, mode, value) for end in (x.lower, x.upper))
    form = x.form
    if not isinstance(form, Ball) or mode != "constant":
        return Enclosure(low, high)
    scale, blur = (functional.pad(part, pad) for part in (form.scale, form.blur))
    return Enclosure(low, high, Ball(functional.pad(form.centre, pad, mode, value), scale, blur, form.radius))


def concatenate(tensors: tuple[Operand, ...], dim: int = 0) -> Enclosure:
    """Join along an axis other than the points'."""
    parts = [part for part in tensors if isinstance(part, Enclosure)]
    if dim % len(parts[0].shape) == 0 or len(parts) != len(tensors):
        raise refused("a concatenation along the batch or with constants")
    low, high = (torch.cat([getattr(part, end) for part in parts], dim) for end in ("lower", "upper"))
    return Enclosure(low, high)


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
    ulps = LIBRARY_ULPS + 2 * x.shape[-1]
    return widened(low.exp(), high.exp(), ulps=ulps * 1.01, scale=torch.ones_like(low), form=form)


def _softmax_ends(own: Tensor, others: Tensor) -> Tensor:
    """Log-softmax of each entry at one end, with all other entries at the other end."""
    k = own.shape[-1]
    table = others.unsqueeze(-2).expand(*others.shape[:-1], k, k)
    mixed = torch.where(torch.eye(k, dtype=torch.bool), own.unsqueeze(-1), table)
    return own - torch.logsumexp(mixed, dim=-1)
