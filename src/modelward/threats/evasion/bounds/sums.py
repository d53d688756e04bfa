"""Sums and products: what linear layers and arithmetic do to an enclosure; torch's names and arguments.

An argument that depends on the input arrives as an `Enclosure`, a constant as a tensor or number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import (
    TINY,
    Affine,
    Ball,
    Enclosure,
    U,
    intersected,
    rounding,
    widened,
)
from modelward.threats.evasion.bounds.steps import (
    Errors,
    Linear,
    Product,
    Scaled,
    Sum,
)
from modelward.threats.evasion.bounds.windows import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    Operand: TypeAlias = Enclosure | Tensor | float
    Map: TypeAlias = Callable[[Tensor, Tensor], Tensor]
    Width: TypeAlias = int | tuple[int, ...]


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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """How a convolution moves over its input; torch's names and meanings.

    Attributes:
        stride: step of the window, per axis or for all.
        padding: on each side; `same` and `valid` of plain convolutions alone.
        output_padding: of transposed convolutions alone.
        dilation: step within the window.
        groups: of channels that are convolved by themselves.
    """

    stride: Width = 1
    padding: Width | str = 0
    output_padding: Width = 0
    dilation: Width = 1
    groups: int = 1


def convolution(x: Enclosure, weight: Tensor, bias: Tensor | None, slide: Slide, *, axes: int) -> Enclosure:
    """Conv1d, 2d and 3d with constant weights."""
    stride, padding, dilation, groups = slide.stride, slide.padding, slide.dilation, slide.groups
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
    if axes != 2 or not isinstance(found.step, Linear):
        return found
    geometry, plane = Geometry(steps, sides, gaps, tuple(spans), groups), (x.shape[2], x.shape[3])

    def spread(values: Tensor, weights: Tensor) -> Tensor:
        return geometry.spread(values, weights, plane)

    return replace(found, step=replace(found.step, adjoint=spread, geometry=geometry))


def transposed(x: Enclosure, weight: Tensor, bias: Tensor | None, slide: Slide, *, axes: int) -> Enclosure:
    """Transposed convolutions with constant weights."""
    if isinstance(slide.padding, str):
        raise refused(f"a transposed convolution with padding {slide.padding!r}")
    stride, padding, dilation, groups = slide.stride, slide.padding, slide.dilation, slide.groups
    function: Callable[..., Tensor] = (
        functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
    )[axes - 1]  # fmt: skip
    back: Callable[..., Tensor] = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    w = exact(weight)
    b = None if bias is None else exact(bias).reshape(-1, *[1] * axes)

    def apply(values: Tensor, weights: Tensor) -> Tensor:
        return function(values, weights, None, stride, padding, slide.output_padding, groups, dilation)

    def adjoint(values: Tensor, weights: Tensor) -> Tensor:
        found = back(values, weights, None, stride, padding, dilation, groups)
        for axis, length in enumerate(x.shape[2:], 2):  # what output_padding added is no product of these
            found = found.narrow(axis, 0, length)
        return found

    counts = (len(w) // groups * math.prod(w.shape[2:]) + 1, math.prod(w.shape[1:]))
    return products(x, (apply, adjoint), w, b, counts)


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
        return plus(a, b, ulps=2)
    x, constant = (a, exact(b)) if isinstance(a, Enclosure) else (b, exact(a))
    if not isinstance(x, Enclosure):
        raise refused("a sum of constants")
    result = affine(x, torch.ones((), dtype=torch.float64), constant, 1)
    form = x.form
    if isinstance(form, Affine) and result.shape == x.shape and constant.dim() <= 1:
        wider = Affine(form.source, form.weight, form.bias + constant, form.roundings + 1)
        return replace(result, form=wider)
    return result


def plus(a: Enclosure, b: Enclosure, *, ulps: float) -> Enclosure:
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
        raise refused("a division of integers, or by what depends on the input")
    divisor = exact(b)
    if (divisor == 0).any():
        raise refused("a division by zero")
    return affine(a, 1 / divisor, torch.zeros((), dtype=torch.float64), 2)


def average(
    x: Enclosure,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - as in torch
    *,
    total: bool = False,
) -> Enclosure:
    """Mean, or sum, over axes other than the points'."""
    axes = axes_of(x, dim)
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


def axes_of(x: Enclosure, dim: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Axes of a reduction, which may not be the points'."""
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
