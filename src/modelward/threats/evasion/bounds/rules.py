"""What each operation does to an enclosure. Every function takes its torch namesake's arguments.

An argument that depends on the input arrives as an `Enclosure`, a constant as a tensor or number.
"""

from __future__ import annotations

import math
from dataclasses import replace
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
    U,
    TINY,
    intersected,
    rounding,
    widened,
)
from modelward.threats.evasion.bounds.curves import Shape, bent
from modelward.threats.evasion.bounds.steps import (
    Errors,
    Geometry,
    Join,
    Largest,
    Linear,
    Product,
    Rectified,
    Scaled,
    Sum,
    moved,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.steps import Step

    Rule: TypeAlias = Callable[..., Enclosure]
    Operand: TypeAlias = Enclosure | Tensor | float
    Map: TypeAlias = Callable[[Tensor, Tensor], Tensor]
    Width: TypeAlias = int | tuple[int, ...]
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


def products(
    x: Enclosure, maps: tuple[Map, Map], weight: Tensor, bias: Tensor | None, counts: tuple[int, int]
) -> Enclosure:
    """Sums of products with constant weights: linear layers and convolutions of any kind.

    With centre c and half width r the exact values lie in W c + b +- |W| r. Where the input is a Euclidean
    ball, they also lie in W c + b +- radius * (row norms of W diag(scale)), by the Cauchy-Schwarz inequality.

    Args:
        x: the input.
        maps: map(values, weights) computes the sums without a bias, linear in each argument; and its
            transpose.
        weight: float64.
        bias: float64, shaped to broadcast against the result, or null.
        counts: products in one sum, bias included; and in one sum of the transpose.
    """
    apply, adjoint = maps
    size = weight.abs()
    offset = torch.zeros((), dtype=torch.float64) if bias is None else bias
    centre, half = (x.lower + x.upper) / 2, (x.upper - x.lower) / 2
    largest = apply(x.largest, size) + offset.abs()
    slack = rounding(largest, counts[0])
    middle, reach = apply(centre, weight) + offset, apply(half, size) + slack
    step = Linear(x, apply, adjoint, weight, bias, Errors(slack, largest, counts[1]))
    result = Enclosure(middle - reach, middle + reach, step=step)
    if isinstance(x.form, Ball):
        ball = x.form
        norm = apply(ball.scale.square(), weight.square()).clamp_min(0).sqrt()
        reach = ball.radius * norm * (1 + 4 * U) + apply(ball.blur, size) + slack
        middle = apply(ball.centre, weight) + offset
        result = intersected(result, middle - reach, middle + reach)
    return result


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Enclosure:
    """X W^T + b over the last axis."""
    if not isinstance(x, Enclosure):
        raise refused("a linear layer whose weights depend on the input")
    w = exact(weight)
    b = None if bias is None else exact(bias)
    maps = (lambda values, weights: values @ weights.T, lambda values, weights: values @ weights)
    result = products(x, maps, w, b, (w.shape[1] + 1, w.shape[0]))
    if len(x.shape) != 2:
        return result
    offset = torch.zeros(len(w), dtype=torch.float64) if b is None else b
    return replace(result, form=Affine(x, w, offset, 0))


def matmul(x: Operand, other: Operand) -> Enclosure:
    """A product with a constant matrix on the right, or of two values over their last two axes.

    For two values in c +- r each, the product lies in c c' +- (|c| r' + r |c'| + r r') (Rump 1999, BIT 39(3),
    section 2).
    """
    if not isinstance(x, Enclosure):
        raise refused("a matrix product with a constant on the left")
    if not isinstance(other, Enclosure):
        if exact(other).dim() != 2:
            raise refused("a matrix product other than with a constant matrix on the right")
        return linear(x, exact(other).T)
    if len(x.shape) != len(other.shape) or len(x.shape) < 3 or x.shape[:-2] != other.shape[:-2]:
        raise refused("a matrix product of two values other than over their last two axes")
    (c, r), (d, s) = (((part.lower + part.upper) / 2, (part.upper - part.lower) / 2) for part in (x, other))
    count = x.shape[-1]
    largest = x.largest @ other.largest
    slack = rounding(largest, count + 1)
    middle, reach = c @ d, c.abs() @ s + r @ (d.abs() + s) + slack
    errors = Errors(slack, 4 * largest, 2 * (count + x.shape[-2] + other.shape[-1]))
    return Enclosure(middle - reach, middle + reach, step=Product((x, other), True, errors))  # noqa: FBT003 - named by the class


def addmm(bias: Operand, x: Operand, other: Operand, *, beta: float = 1, alpha: float = 1) -> Enclosure:
    """Bias + x @ other with constant bias and other."""
    if beta != 1 or alpha != 1:
        raise refused("addmm with beta or alpha")
    return add(matmul(x, other), bias)


def convolution(
    x: Enclosure,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Width = 1,
    padding: Width | str = 0,
    dilation: Width = 1,
    groups: int = 1,
    *,
    axes: int,
) -> Enclosure:
    """Conv1d, 2d and 3d with constant weights."""
    function: Callable[..., Tensor] = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    back: Callable[..., Tensor] = (
        functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
    )[axes - 1]  # fmt: skip
    w = exact(weight)
    b = None if bias is None else exact(bias).reshape(-1, *[1] * axes)
    steps, gaps = _each(stride, axes), _each(dilation, axes)
    spans = [gap * (size - 1) for gap, size in zip(gaps, w.shape[2:], strict=True)]

    def apply(values: Tensor, weights: Tensor) -> Tensor:
        return function(values, weights, None, stride, padding, dilation, groups)

    def adjoint(values: Tensor, weights: Tensor) -> Tensor:
        extra = [
            size - ((out - 1) * step - 2 * side + span + 1)
            for size, out, step, side, span in zip(
                x.shape[2:], values.shape[2:], steps, sides, spans, strict=True
            )
        ]
        return back(values, weights, None, steps, sides, extra, groups, gaps)

    counts = (math.prod(w.shape[1:]) + 1, len(w) // groups * math.prod(w.shape[2:]))
    if isinstance(padding, str):
        sides = tuple(span // 2 if padding == "same" else 0 for span in spans)
        if padding == "same" and any(span % 2 for span in spans):  # one side gets more than the other
            return replace(products(x, (apply, adjoint), w, b, counts), step=None)
    else:
        sides = _each(padding, axes)
    found = products(x, (apply, adjoint), w, b, counts)
    if axes == 2 and isinstance(found.step, Linear):
        geometry = Geometry(steps, sides, gaps, tuple(spans), groups)
        return replace(found, step=replace(found.step, geometry=geometry))
    return found


def _each(width: Width, axes: int) -> tuple[int, ...]:
    return (width,) * axes if isinstance(width, int) else tuple(width) * (axes if len(width) == 1 else 1)


def affine(
    x: Enclosure, factor: Tensor, offset: Tensor, operations: int, *, more: Tensor | None = None
) -> Enclosure:
    """Factor * x + offset per entry, with at most so many roundings of either term, and more error."""
    ends = (factor * x.lower, factor * x.upper)
    low, high = torch.minimum(*ends) + offset, torch.maximum(*ends) + offset
    size = factor.abs() * x.largest + offset.abs()
    slack = rounding(size, operations)
    slack = slack if more is None else slack + more
    # Where broadcasting repeats entries, they share a part of the ball's radius, and the form is lost.
    ball = (
        x.form.affine(factor, offset, operations)
        if isinstance(x.form, Ball) and low.shape == x.shape
        else None
    )
    if ball is not None and more is not None:
        ball = replace(ball, blur=ball.blur + more)
    step = None
    if low.dim() == len(x.shape) and all(
        part.dim() < low.dim() or len(part) == 1 for part in (factor, offset)
    ):
        repeats = low.numel() // max(1, x.lower.numel())
        step = Scaled(x, factor, offset, Errors(slack.expand_as(low), size.expand_as(low), 3 + repeats))
    return Enclosure(low - slack, high + slack, ball, step)


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
    # The shift -mean * factor + bias may cancel, its rounding does not.
    slack = rounding(centred.abs() + offset.abs().reshape(shape), 8)
    return affine(x, factor.reshape(shape), centred + offset.reshape(shape), 8, more=slack)


def add(a: Operand, b: Operand, *, alpha: float = 1) -> Enclosure:
    """A + alpha b, of enclosures or constants."""
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Enclosure) else alpha * exact(b)
    if isinstance(a, Enclosure) and isinstance(b, Enclosure):
        return _sum(a, b, ulps=2)
    x, constant = (a, exact(b)) if isinstance(a, Enclosure) else (b, exact(a))
    if not isinstance(x, Enclosure):
        raise refused("a sum of constants")
    result = affine(x, torch.ones((), dtype=torch.float64), constant, 1)
    form = x.form
    if isinstance(form, Affine) and result.shape == x.shape and constant.dim() <= 1:
        wider = Affine(form.source, form.weight, form.bias + constant, form.roundings + 1)
        return replace(result, form=wider)
    return result


def _sum(a: Enclosure, b: Enclosure, *, ulps: float) -> Enclosure:
    """The sum of two values; 0 ulps where the network rounds it elsewhere or not at all."""
    found = widened(a.lower + b.lower, a.upper + b.upper, ulps=ulps)
    if len(a.shape) != len(b.shape):
        return found
    size = a.largest + b.largest
    error = ulps * U * found.largest + TINY if ulps else None
    step = Sum((a, b), Errors(error, size, found.lower.numel() // min(a.lower.numel(), b.lower.numel())))
    return replace(found, step=step)


def negative(x: Enclosure) -> Enclosure:
    """-x, exact."""
    form = x.form
    ball = Ball(-form.centre, form.scale, form.blur, form.radius) if isinstance(form, Ball) else None
    minus, zero = (torch.tensor(value, dtype=torch.float64) for value in (-1.0, 0.0))
    return Enclosure(-x.upper, -x.lower, ball, Scaled(x, minus, zero, Errors()))


def subtract(a: Operand, b: Operand, *, alpha: float = 1) -> Enclosure:
    """A - alpha b."""
    return add(a, negative(b) if isinstance(b, Enclosure) else -exact(b), alpha=alpha)


def mul(a: Operand, b: Operand) -> Enclosure:
    """Entrywise product of enclosures or constants."""
    if isinstance(a, Enclosure) and isinstance(b, Enclosure):
        ends = torch.stack([a.lower * b.lower, a.lower * b.upper, a.upper * b.lower, a.upper * b.upper])
        found = widened(ends.amin(dim=0), ends.amax(dim=0), ulps=2)
        if len(a.shape) != len(b.shape):
            return found
        size = a.largest * b.largest
        repeats = size.numel() // min(a.lower.numel(), b.lower.numel())
        errors = Errors(2 * U * size + TINY, 4 * size, 4 + repeats)
        return replace(found, step=Product((a, b), False, errors))  # noqa: FBT003 - named by the class
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
    more = rectified(_sum(a, negative(b), ulps=0))
    return replace(found, step=_sum(b, more, ulps=0).step)


def minimum(a: Operand, b: Operand) -> Enclosure:
    """Smaller of two, entrywise; exact."""
    return negative(maximum(*(negative(v) if isinstance(v, Enclosure) else -exact(v) for v in (a, b))))


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

    def apply(end: Tensor, weight: Tensor) -> Tensor:
        return function(end, dim=axes, keepdim=keepdim) * weight

    return _averaged(x, apply, count, 1 if total else count)


def _averaged(x: Enclosure, apply: Map, count: int, divisor: int) -> Enclosure:
    """Sums of at most `count` entries each, of weights that are not negative, over a divisor."""
    one = torch.ones((), dtype=torch.float64)
    low, high, size = (apply(end, one) for end in (x.lower, x.upper, x.largest))
    slack = rounding(size * divisor, count + 1) / divisor

    def adjoint(values: Tensor, weight: Tensor) -> Tensor:
        with torch.enable_grad():
            start = values.new_zeros(len(values), *x.shape[1:]).requires_grad_()
            again = apply(start, weight)
            (back,) = torch.autograd.grad(again, start, values, create_graph=values.requires_grad)
        return back

    # Windows overlap at most as often as they have entries.
    step = Linear(x, apply, adjoint, one, None, Errors(slack, size, count + 4))
    return Enclosure(low - slack, high + slack, step=step)


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
    if (pool(x.lower) > pool(x.upper)).any():
        raise refused("average pooling with a negative divisor")
    return _averaged(x, lambda end, weight: pool(end) * weight, count, count)


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


def pad(x: Enclosure, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Enclosure:
    """Padding of any mode; a constant, as float32 holds it, is put on both ends."""
    if value is not None:
        value = float(torch.tensor(value, dtype=torch.float32))
    low, high = (functional.pad(end, pad, mode, value) for end in (x.lower, x.upper))
    form = x.form
    places = torch.arange(math.prod(x.shape[1:]), dtype=torch.float64).reshape(1, *x.shape[1:])
    index = functional.pad(places, pad, mode, -1.0 if mode == "constant" else None)[0]
    step = None
    if value is None or math.isfinite(value):
        step = moved(x, index.flatten().long(), tuple(index.shape), value or 0.0)
    if not isinstance(form, Ball) or mode != "constant":
        return Enclosure(low, high, step=step)
    scale, blur = (functional.pad(part, pad) for part in (form.scale, form.blur))
    ball = Ball(functional.pad(form.centre, pad, mode, value), scale, blur, form.radius)
    return Enclosure(low, high, ball, step)


def concatenate(tensors: tuple[Operand, ...], dim: int = 0) -> Enclosure:
    """Join along an axis other than the points'."""
    parts = [part for part in tensors if isinstance(part, Enclosure)]
    if dim % len(parts[0].shape) == 0 or len(parts) != len(tensors):
        raise refused("a concatenation along the batch or with constants")
    low, high = (torch.cat([getattr(part, end) for part in parts], dim) for end in ("lower", "upper"))
    return Enclosure(low, high, step=Join(tuple(parts), dim % low.dim()))


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
    change = _sum(one, negative(two), ulps=0)
    same = torch.eye(k, dtype=torch.bool)
    change = replace(change, lower=change.lower.where(~same, 0), upper=change.upper.where(~same, 0))
    powers = rising(change, torch.exp, lambda lower, upper: upper.exp() + 0 * lower)
    whole = average(powers, -1, total=True)
    whole = intersected(
        whole, 1 / found.upper.clamp(TINY, 1) * (1 - 2.0**-40), torch.full_like(found.lower, torch.inf)
    )
    shape_of = Shape(torch.reciprocal, curvature=lambda lower, upper: 2 / lower.pow(3) + 0 * upper)
    return bent(found, whole, shape_of, torch.full_like(found.lower, error)).step


def picked(x: Enclosure, index: Tensor, shape: tuple[int, ...]) -> Enclosure:
    """Entries of each sample by their position in the flat sample.

    Args:
        x: the argument.
        index: (entries of the result,) int64.
        shape: of one result.
    """
    low, high = (end.flatten(1)[:, index].reshape(-1, *shape) for end in (x.lower, x.upper))
    return Enclosure(low, high, step=moved(x, index, tuple(shape)))


def largest_of(x: Enclosure, found: Enclosure, windows: Tensor) -> Enclosure:
    """Add the step of a maximum over windows to its interval.

    Args:
        x: the argument.
        found: the interval.
        windows: (entries of the result, width) int64 positions in the flat sample, -1 for none.
    """
    none = windows < 0
    low, high = (
        end.flatten(1)[:, windows.clamp_min(0)].where(~none, -torch.inf) for end in (x.lower, x.upper)
    )
    pick = (low + high).where(~none, -torch.inf).argmax(dim=-1, keepdim=True)
    others = high.scatter(-1, pick, -torch.inf).amax(dim=-1)
    lower, upper = (end.gather(-1, pick)[..., 0] for end in (low, high))
    chosen = windows.expand(len(low), *windows.shape).gather(-1, pick)[..., 0]
    # The chord of max(x, others) over [lower, upper].
    alone, never = others <= lower, others >= upper
    slope = torch.where(alone, 1.0, torch.where(never, 0.0, (upper - others) / (upper - lower)))
    height = torch.where(alone, 0.0, torch.where(never, others, others - slope * lower))
    # At others the chord is slope * (others - lower) above it, at the upper end it meets x.
    errors = Errors(
        size=found.largest + x.largest.flatten(1)[:, windows.clamp_min(0)].amax(-1).reshape(found.shape),
        count=16,
    )
    shape = tuple(found.shape[1:])
    return replace(found, step=Largest(x, windows, shape, chosen, (slope, height), errors))


def _softmax_ends(own: Tensor, others: Tensor) -> Tensor:
    """Log-softmax of each entry at one end, with all other entries at the other end."""
    k = own.shape[-1]
    table = others.unsqueeze(-2).expand(*others.shape[:-1], k, k)
    mixed = torch.where(torch.eye(k, dtype=torch.bool), own.unsqueeze(-1), table)
    return own - torch.logsumexp(mixed, dim=-1)
