"""How torch calls operations: its names, order and defaults of arguments, and several results."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelward.threats.evasion.bounds import functions, moves, normal, shapes, sums
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.laid import WITHHELD
from modelward.threats.evasion.bounds.sums import refused

if TYPE_CHECKING:
    from modelward.threats.evasion.bounds.sums import Operand


def arguments(order: tuple[str, ...], given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, those given by position in torch's order; ValueError where there are too many."""
    return dict(zip(order[: len(given)], given, strict=True)) | named


def convolution(
    x: Enclosure, weight: Tensor, bias: Tensor | None = None, *sizes: Any, axes: int, **named: Any
) -> Enclosure:
    """See `sums.convolution`."""
    slide = sums.Slide(**arguments(("stride", "padding", "dilation", "groups"), sizes, named))
    return sums.convolution(x, weight, bias, slide, axes=axes)


def transposed(
    x: Enclosure, weight: Tensor, bias: Tensor | None = None, *sizes: Any, axes: int, **named: Any
) -> Enclosure:
    """See `sums.transposed`."""
    order = ("stride", "padding", "output_padding", "groups", "dilation")
    return sums.transposed(x, weight, bias, sums.Slide(**arguments(order, sizes, named)), axes=axes)


def elu(x: Enclosure, alpha: float = 1.0, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    """Where its slope jumps at 0, lines go around its two parts."""
    found = functions.elu(x, alpha, inplace)
    return found if alpha == 1 else shapes.scaled_elu(x, alpha, 1.0)


def divided(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Enclosure:
    """By a constant, or by values of one sign."""
    if isinstance(b, Enclosure) and rounding_mode is None:
        return shapes.quotient(a, b)
    return sums.divide(a, b, rounding_mode=rounding_mode)


def softmax(x: Enclosure, dim: int | None = None, *args: Any, logarithm: bool, **kwargs: Any) -> Enclosure:
    """Over any axis but the points', which is turned to the end."""
    rank = len(x.shape)
    if dim is None or dim % rank in {0, rank - 1}:
        return functions.softmax(x, dim, *args, logarithm=logarithm, **kwargs)
    found = functions.softmax(
        moves.shifted(torch.transpose, x, dim, -1), -1, *args, logarithm=logarithm, **kwargs
    )
    return moves.shifted(torch.transpose, found, dim, -1)


def _parts(x: Enclosure, lengths: list[int], dim: int) -> tuple[Enclosure, ...]:
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    pairs = zip(starts, lengths, strict=True)
    return tuple(moves.shifted(torch.narrow, x, dim, start, length) for start, length in pairs)


def split(x: Enclosure, split_size_or_sections: int | list[int], dim: int = 0) -> tuple[Enclosure, ...]:
    """Parts of one length, the last perhaps shorter, or of the lengths given."""
    whole, sizes = x.shape[dim], split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, whole - start) for start in range(0, whole, sizes)]
    return _parts(x, list(sizes), dim)


def chunk(x: Enclosure, chunks: int, dim: int = 0) -> tuple[Enclosure, ...]:
    """So many parts at most, of one length but for the last."""
    return split(x, -(-x.shape[dim] // chunks), dim)


def unbind(x: Enclosure, dim: int = 0) -> tuple[Enclosure, ...]:
    """Every slice along an axis."""
    return tuple(moves.shifted(torch.select, x, dim, i) for i in range(x.shape[dim]))


def extreme(x: Enclosure, *args: Any, largest: bool, **kwargs: Any) -> object:
    """Max or min: of two values, or along an axis, where positions come with the values and are refused."""
    if args and isinstance(args[0], (Enclosure, Tensor)):
        return (functions.maximum if largest else functions.minimum)(x, args[0])
    if not args and "dim" not in kwargs:
        raise refused("an extreme over the batch")
    return moves.extreme(x, *args, largest=largest, **kwargs), WITHHELD


def group_norm(  # noqa: PLR0917 - as in torch
    x: Enclosure,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: FBT001, FBT002 - as in torch
) -> Enclosure:
    """See `normal.group_norm`."""
    del cudnn_enabled
    return normal.group_norm(x, num_groups, weight, bias, eps)


def instance_norm(layer: nn.InstanceNorm2d, x: Enclosure) -> Enclosure:
    """Each channel of each point by itself, or by running statistics."""
    if len(x.shape) < 3 or x.shape[1] != layer.num_features:
        raise refused("InstanceNorm without an axis of points and one of channels")
    mean, variance = layer.running_mean, layer.running_var
    if layer.track_running_stats and mean is not None and variance is not None:
        return sums.batch_norm(x, mean, variance, layer.weight, layer.bias, eps=layer.eps)
    return normal.group_norm(x, x.shape[1], layer.weight, layer.bias, layer.eps)


def rms_norm(
    x: Enclosure, normalized_shape: tuple[int, ...], weight: Tensor | None = None, eps: float | None = None
) -> Enclosure:
    """Several axes are taken as one."""
    shape = tuple(normalized_shape)
    if not shape or tuple(x.shape[1:][-len(shape) :]) != shape:
        raise refused("RMSNorm over other axes than the last ones of each point")
    flat = moves.shifted(torch.flatten, x, -len(shape))
    found = normal.rms_norm(flat, None if weight is None else weight.flatten(), eps)
    return moves.shifted(torch.unflatten, found, -1, shape)


def softplus(x: Enclosure, beta: float = 1.0, threshold: float = 20.0) -> Enclosure:
    """Beyond the threshold torch returns x itself, which is 3e-9 below; far within the error granted."""
    if beta != 1 or threshold < 20:
        raise refused("a softplus with beta or a low threshold")
    return functions.rising(x, partial(functional.softplus, threshold=1e9), 0.2501, scale=x.largest + 1)


def layer_norm(  # noqa: PLR0917 - as in torch
    x: Enclosure,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: FBT001, FBT002 - as in torch
) -> Enclosure:
    """Several axes are taken as one."""
    del cudnn_enable
    shape = tuple(normalized_shape)
    if not shape or tuple(x.shape[1:][-len(shape) :]) != shape:
        raise refused("layer normalisation over other axes than the last ones of each point")
    if len(shape) == 1:
        return normal.layer_norm(x, weight, bias, eps)
    flat = moves.shifted(torch.flatten, x, -len(shape))
    weight, bias = (None if part is None else part.flatten() for part in (weight, bias))
    return moves.shifted(torch.unflatten, normal.layer_norm(flat, weight, bias, eps), -1, shape)
