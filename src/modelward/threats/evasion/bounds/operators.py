"""Which rule stands for which torch function, tensor method and layer."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelward.threats.evasion.bounds import functions, moves, normal, steps, sums
from modelward.threats.evasion.bounds.enclosure import Ball, Enclosure
from modelward.threats.evasion.bounds.sums import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.functions import Bend

    Rule: TypeAlias = Callable[..., Enclosure]


def _same(x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    """Dropout in evaluation mode, contiguous, detach and the like."""
    if kwargs.get("training"):
        raise refused("dropout in training mode")
    del args
    return x


def _moved(
    function: Callable[..., Tensor], x: Enclosure, *args: object, repeats: bool = False, **kwargs: object
) -> Enclosure:
    """A function that rearranges entries within each sample; each point's number moves along as a check."""
    numbers = torch.arange(x.shape[0])
    marks = numbers.reshape(-1, *[1] * (len(x.shape) - 1)).expand(x.shape)
    moved = function(marks, *args, **kwargs)
    kept = moved.dim() >= 1 and len(moved) == len(numbers)
    if not kept or (moved != numbers.reshape(-1, *[1] * (moved.dim() - 1))).any():
        raise refused("a rearrangement across the batch")

    def apply(part: Tensor) -> Tensor:
        return function(part, *args, **kwargs)

    shape = tuple(moved.shape[1:])
    places = torch.arange(math.prod(x.shape[1:])).reshape(1, *x.shape[1:]).expand(x.shape)
    step = steps.moved(x, apply(places)[0].flatten(), shape)
    # A ball does not survive repeated entries: its radius is spent only once.
    form = x.form.map(apply) if isinstance(x.form, Ball) and not repeats else None
    return Enclosure(apply(x.lower), apply(x.upper), form, step)


def _item(x: Enclosure, index: object) -> Enclosure:
    """Plain slices and integers; others could repeat entries."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = all(isinstance(part, (slice, int)) or part in {None, Ellipsis} for part in parts)
    if not plain:
        raise refused("indexing other than by slices and numbers")
    return _moved(operator.getitem, x, index)


def _cast(x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    wanted = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
    if any(dtype not in {torch.float32, torch.float64} for dtype in wanted):
        raise refused(f"a cast to {wanted[0]}")
    return x


def _stack(tensors: tuple[Enclosure, ...], dim: int = 0) -> Enclosure:
    axis = dim % (len(tensors[0].shape) + 1)
    return moves.concatenate(tuple(_moved(torch.unsqueeze, part, axis) for part in tensors), axis)


def _rising(function: Callable[[Tensor], Tensor], bend: Bend) -> Rule:
    """A smooth function that never decreases."""

    def rule(x: Enclosure) -> Enclosure:
        return functions.rising(x, function, bend)

    return rule


def _kinked(function: Callable[[Tensor], Tensor], kinks: tuple[float, ...], ulps: float) -> Rule:
    """A piecewise linear function that never decreases; `inplace` means nothing here."""

    def rule(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
        del inplace
        return functions.kinked(x.monotone(function, ulps=ulps), x, function, kinks, ulps)

    return rule


def _relu(x: Enclosure, inplace: bool = False) -> Enclosure:  # noqa: FBT001, FBT002 - as in torch
    del inplace
    return functions.rectified(x)


def _hardtanh(
    x: Enclosure, min_val: float = -1.0, max_val: float = 1.0, *, inplace: bool = False
) -> Enclosure:
    del inplace
    return functions.clamp(x, min_val, max_val)


def _pooled(pool: Callable[[Tensor], Tensor], x: Enclosure) -> Enclosure:
    """Maxima over windows, whose entries are found by pooling samples that mark one entry each."""
    found = x.monotone(pool)
    count = math.prod(x.shape[1:])
    if count > _POOL_ENTRIES:
        return found
    marks = pool(torch.eye(count).reshape(count, *x.shape[1:]) - 0.5).flatten(1) > 0
    width = int(marks.sum(dim=0).max())
    order = marks.T.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    return moves.largest_of(x, found, order.where(marks.T.gather(1, order), -1))


def _max_pool(function: Callable[..., Tensor], x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    if kwargs.get("return_indices"):
        raise refused("max pooling that returns indices")
    return _pooled(lambda end: function(end, *args, **kwargs), x)


def _avg_pool(function: Callable[..., Tensor], x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    if kwargs.get("divisor_override") is not None:
        raise refused("average pooling with a divisor of its own")
    return sums.average_pool(x, lambda end: function(end, *args, **kwargs))


def _softplus(x: Enclosure, beta: float = 1.0, threshold: float = 20.0) -> Enclosure:
    """Beyond the threshold torch returns x itself, which is 3e-9 below; far within the error granted."""
    if beta != 1 or threshold < 20:
        raise refused("a softplus with beta or a low threshold")
    return functions.rising(x, partial(functional.softplus, threshold=1e9), 0.2501, scale=x.largest + 1)


def _layer_norm(  # noqa: PLR0917 - as in torch
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
    flat = _moved(torch.flatten, x, -len(shape))
    weight, bias = (None if part is None else part.flatten() for part in (weight, bias))
    return _moved(torch.unflatten, normal.layer_norm(flat, weight, bias, eps), -1, shape)


_AXES: Final = (1, 2, 3)
_POOL_ENTRIES: Final = 4096
"""Larger arguments of a maximum get no linear rule: finding its windows would take too much memory."""
_SIGMOID: Final = _rising(torch.sigmoid, 0.0963)
_TANH: Final = _rising(torch.tanh, 0.7699)
_HARDSIGMOID: Final = _kinked(functional.hardsigmoid, (-3.0, 3.0), functions.LIBRARY_ULPS)
_RELU6: Final = _kinked(functional.relu6, (0.0, 6.0), 0)

FUNCTIONS: Final[dict[object, Rule]] = {
    functional.linear: sums.linear,
    torch.matmul: sums.matmul,
    operator.matmul: sums.matmul,
    torch.mm: sums.matmul,
    torch.addmm: sums.addmm,
    functional.batch_norm: sums.batch_norm,
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    torch.add: sums.add,
    operator.add: sums.add,
    operator.iadd: sums.add,
    torch.sub: sums.subtract,
    operator.sub: sums.subtract,
    torch.mul: sums.mul,
    operator.mul: sums.mul,
    torch.div: sums.divide,
    operator.truediv: sums.divide,
    torch.neg: sums.negative,
    operator.neg: sums.negative,
    torch.pow: functions.power,
    operator.pow: functions.power,
    torch.square: partial(functions.power, exponent=2),
    torch.sqrt: functions.square_root,
    torch.abs: functions.absolute,
    torch.clamp: functions.clamp,
    torch.clip: functions.clamp,
    torch.maximum: functions.maximum,
    torch.minimum: functions.minimum,
    torch.mean: sums.average,
    torch.sum: partial(sums.average, total=True),
    torch.amax: partial(moves.extreme, largest=True),
    torch.amin: partial(moves.extreme, largest=False),
    functional.pad: moves.pad,
    torch.cat: moves.concatenate,
    torch.concat: moves.concatenate,
    torch.stack: _stack,
    functional.relu: _relu,
    torch.relu: _relu,
    functional.relu6: _RELU6,
    torch.sigmoid: _SIGMOID,
    functional.sigmoid: _SIGMOID,
    torch.tanh: _TANH,
    functional.tanh: _TANH,
    torch.exp: _rising(torch.exp, lambda lower, upper: upper.exp() + 0 * lower),
    torch.erf: _rising(torch.erf, 0.9679),
    functional.hardsigmoid: _HARDSIGMOID,
    functional.hardtanh: _hardtanh,
    functional.leaky_relu: functions.leaky_relu,
    functional.elu: functions.elu,
    functional.gelu: functions.gelu,
    functional.silu: functions.silu,
    functional.hardswish: functions.hardswish,
    functional.softplus: _softplus,
    functional.softmax: partial(functions.softmax, logarithm=False),
    torch.softmax: partial(functions.softmax, logarithm=False),
    functional.log_softmax: partial(functions.softmax, logarithm=True),
    torch.log_softmax: partial(functions.softmax, logarithm=True),
    functional.dropout: _same,
    functional.dropout2d: _same,
    torch.flatten: partial(_moved, torch.flatten),
    torch.reshape: partial(_moved, torch.reshape),
    torch.squeeze: partial(_moved, torch.squeeze),
    torch.unsqueeze: partial(_moved, torch.unsqueeze),
    torch.permute: partial(_moved, torch.permute),
    torch.transpose: partial(_moved, torch.transpose),
    torch.narrow: partial(_moved, torch.narrow),
    torch.select: partial(_moved, torch.select),
    torch.index_select: partial(_moved, torch.index_select, repeats=True),
    operator.getitem: _item,
    **{getattr(functional, f"conv{i}d"): partial(sums.convolution, axes=i) for i in _AXES},
    **{getattr(torch, f"conv{i}d"): partial(sums.convolution, axes=i) for i in _AXES},
    **{
        getattr(functional, f"max_pool{i}d"): partial(_max_pool, getattr(functional, f"max_pool{i}d"))
        for i in _AXES
    },
    **{
        getattr(functional, f"avg_pool{i}d"): partial(_avg_pool, getattr(functional, f"avg_pool{i}d"))
        for i in _AXES
    },
    **{
        getattr(functional, f"adaptive_avg_pool{i}d"): partial(
            _avg_pool, getattr(functional, f"adaptive_avg_pool{i}d")
        )
        for i in _AXES
    },
}

METHODS: Final[dict[str, Rule]] = {
    **{
        name: FUNCTIONS[getattr(torch, name)]
        for name in (
            *("matmul", "add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "abs", "clamp", "clip"),
            *("mean", "sum", "amax", "amin", "relu", "sigmoid", "tanh", "exp", "softmax", "log_softmax"),
        )
    },
    **{
        name: partial(_moved, getattr(Tensor, name))  # the methods also take their numbers one by one
        for name in (
            *("flatten", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "narrow", "select"),
            *("unflatten", "contiguous"),
        )
    },
    "view": partial(_moved, Tensor.reshape),
    "expand": partial(_moved, Tensor.expand, repeats=True),
    "detach": _same,
    "float": _same,
    "to": _cast,
}


def _batch_norm(layer: nn.BatchNorm2d, x: Enclosure) -> Enclosure:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise refused("batch normalisation with the batch's own statistics")
    return sums.batch_norm(x, mean, variance, layer.weight, layer.bias, eps=layer.eps)


def _convolution(layer: nn.Conv2d, x: Enclosure, *, axes: int) -> Enclosure:
    padding: str | int | tuple[int, ...] = layer.padding
    if layer.padding_mode != "zeros":
        if isinstance(padding, (str, int)):
            raise refused(f"{layer.padding_mode} padding given as {padding!r}")
        x = moves.pad(x, tuple(width for width in reversed(padding) for _ in range(2)), layer.padding_mode)
        padding = 0
    return sums.convolution(
        x, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups, axes=axes
    )


def _plain(rule: Rule) -> Callable[..., Enclosure]:
    """A layer without settings that matter."""

    def apply(layer: nn.Module, x: Enclosure) -> Enclosure:
        del layer
        return rule(x)

    return apply


LAYERS: Final[dict[type[nn.Module], Callable[..., Enclosure]]] = {
    nn.Linear: lambda layer, x: sums.linear(x, layer.weight, layer.bias),
    **{getattr(nn, f"Conv{i}d"): partial(_convolution, axes=i) for i in _AXES},
    **{getattr(nn, f"BatchNorm{i}d"): _batch_norm for i in _AXES},
    **{getattr(nn, f"MaxPool{i}d"): _pooled for i in _AXES},
    **{getattr(nn, f"AdaptiveMaxPool{i}d"): _pooled for i in _AXES},
    **{getattr(nn, f"AvgPool{i}d"): lambda layer, x: sums.average_pool(x, layer) for i in _AXES},
    **{getattr(nn, f"AdaptiveAvgPool{i}d"): lambda layer, x: sums.average_pool(x, layer) for i in _AXES},
    nn.LayerNorm: lambda layer, x: _layer_norm(
        x, layer.normalized_shape, layer.weight, layer.bias, layer.eps
    ),
    nn.ReLU: _plain(FUNCTIONS[torch.relu]),
    nn.ReLU6: _plain(_RELU6),
    nn.Hardtanh: lambda layer, x: _hardtanh(x, layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer, x: functions.leaky_relu(x, layer.negative_slope),
    nn.ELU: lambda layer, x: functions.elu(x, layer.alpha),
    nn.Sigmoid: _plain(FUNCTIONS[torch.sigmoid]),
    nn.Tanh: _plain(FUNCTIONS[torch.tanh]),
    nn.GELU: lambda layer, x: functions.gelu(x, layer.approximate),
    nn.SiLU: _plain(functions.silu),
    nn.Hardswish: _plain(functions.hardswish),
    nn.Softplus: lambda layer, x: _softplus(x, layer.beta, layer.threshold),
    nn.Softmax: lambda layer, x: functions.softmax(x, layer.dim, logarithm=False),
    nn.LogSoftmax: lambda layer, x: functions.softmax(x, layer.dim, logarithm=True),
    nn.Flatten: lambda layer, x: _moved(torch.flatten, x, layer.start_dim, layer.end_dim),
    nn.Unflatten: lambda layer, x: _moved(torch.unflatten, x, layer.dim, layer.unflattened_size),
    nn.Identity: _plain(_same),
    nn.Dropout: _plain(_same),
    nn.Dropout1d: _plain(_same),
    nn.Dropout2d: _plain(_same),
    nn.ConstantPad1d: lambda layer, x: moves.pad(x, layer.padding, value=layer.value),
    nn.ConstantPad2d: lambda layer, x: moves.pad(x, layer.padding, value=layer.value),
    nn.ZeroPad2d: lambda layer, x: moves.pad(x, layer.padding),
}

VIEWS: Final[frozenset[object]] = frozenset(
    {
        *(
            name
            for table in (FUNCTIONS, METHODS)
            for name, rule in table.items()
            if rule in {_same, _cast, _item} or getattr(rule, "func", None) is _moved
        ),
        *(nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d),
    }
)
"""Functions, methods and layers whose result may share its memory with their first argument."""

_CURVES: Final = (
    *("sigmoid", "tanh", "exp", "erf", "gelu", "silu", "softplus", "elu", "leaky_relu", "hardtanh", "clamp"),
    *("clip", "pow", "square", "sqrt", "abs", "softmax", "relu6", "hardsigmoid", "hardswish", "log_softmax"),
    "layer_norm",
)

BENT: Final[dict[object, str]] = {
    **dict.fromkeys((functional.relu, torch.relu, "relu", nn.ReLU), "relu"),
    **dict.fromkeys((*_CURVES, "max_pool1d", "max_pool2d", "max_pool3d", "amax", "amin"), "curve"),
    **{
        vars(place)[name]: "curve" for place in (torch, functional) for name in _CURVES if name in vars(place)
    },
    **{getattr(functional, f"max_pool{i}d"): "curve" for i in _AXES},
    **{getattr(nn, f"{name}MaxPool{i}d"): "curve" for name in ("", "Adaptive") for i in _AXES},
    **dict.fromkeys(
        (
            *(
                nn.Sigmoid,
                nn.Tanh,
                nn.GELU,
                nn.SiLU,
                nn.Softplus,
                nn.ELU,
                nn.LeakyReLU,
                nn.Hardtanh,
                nn.ReLU6,
            ),
            *(nn.Softmax, nn.LayerNorm, torch.maximum, torch.minimum, "maximum", "minimum", operator.pow),
        ),
        "curve",
    ),
    **dict.fromkeys((operator.mul, torch.mul, operator.matmul, torch.matmul, "mul", "matmul"), "product"),
}
"""Operations that are not linear, whose arguments are worth tight bounds: how they bend."""
