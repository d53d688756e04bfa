"""Which rule stands for which torch function, tensor method and layer."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelward.threats.evasion.bounds import attention, calls, functions, moves, normal, shapes, sums
from modelward.threats.evasion.bounds.laid import Laid, rearranged
from modelward.threats.evasion.bounds.sums import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.functions import Bend

    Rule: TypeAlias = Callable[..., object]


def _same(x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    """Dropout in evaluation mode, contiguous, detach and the like."""
    if kwargs.get("training"):
        raise refused("dropout in training mode")
    del args
    return x


def _moved(
    function: Callable[..., Tensor], x: Enclosure, *args: object, repeats: bool = False, **kwargs: object
) -> Enclosure | Laid:
    """A function that rearranges entries, of each sample or with the points' axis."""
    if moves.keeps(function, x, *args, **kwargs):
        return moves.shifted(function, x, *args, repeats=repeats, **kwargs)
    if repeats:
        raise refused("a rearrangement across the batch")
    return rearranged(function.__name__, x, *args, **kwargs)


def _item(x: Enclosure | tuple[object, ...], index: object) -> object:
    """Plain slices and integers; others could repeat entries."""
    if isinstance(x, tuple):
        return x[index] if isinstance(index, (int, slice)) else None  # one result of several
    parts = index if isinstance(index, tuple) else (index,)
    plain = all(part is None or part is Ellipsis or isinstance(part, (slice, int)) for part in parts)
    if not plain and not all(isinstance(part, (slice, int, list)) for part in parts):
        raise refused("indexing other than by slices, numbers and lists")
    return _moved(operator.getitem, x, index, repeats=not plain)


def _cast(x: Enclosure, *args: object, **kwargs: object) -> Enclosure:
    wanted = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
    if any(dtype not in {torch.float32, torch.float64} for dtype in wanted):
        raise refused(f"a cast to {wanted[0]}")
    return x


def _stack(tensors: tuple[Enclosure, ...], dim: int = 0) -> Enclosure:
    axis = dim % (len(tensors[0].shape) + 1)
    return moves.concatenate(tuple(moves.shifted(torch.unsqueeze, part, axis) for part in tensors), axis)


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
    torch.bmm: sums.matmul,
    functional.scaled_dot_product_attention: attention.scaled_dot_product,
    torch.mm: sums.matmul,
    torch.addmm: sums.addmm,
    functional.batch_norm: sums.batch_norm,
    functional.layer_norm: calls.layer_norm,
    torch.layer_norm: calls.layer_norm,
    torch.add: sums.add,
    operator.add: sums.add,
    operator.iadd: sums.add,
    torch.sub: sums.subtract,
    operator.sub: sums.subtract,
    torch.mul: sums.mul,
    operator.mul: sums.mul,
    torch.div: calls.divided,
    operator.truediv: calls.divided,
    torch.true_divide: calls.divided,
    torch.reciprocal: shapes.reciprocal,
    torch.rsqrt: shapes.inverse_root,
    torch.log: shapes.logarithm,
    torch.log1p: shapes.logarithm_1p,
    torch.expm1: shapes.exponential_m1,
    torch.where: shapes.chosen,
    torch.masked_fill: shapes.filled,
    torch.split: calls.split,
    torch.chunk: calls.chunk,
    torch.unbind: calls.unbind,
    torch.max: partial(calls.extreme, largest=True),
    torch.min: partial(calls.extreme, largest=False),
    torch.neg: sums.negative,
    operator.neg: sums.negative,
    torch.pow: shapes.powered,
    operator.pow: shapes.powered,
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
    functional.elu: calls.elu,
    functional.selu: shapes.selu,
    torch.selu: shapes.selu,
    functional.celu: shapes.celu,
    functional.mish: shapes.mish,
    functional.prelu: shapes.parametric,
    torch.prelu: shapes.parametric,
    functional.softsign: shapes.softsign,
    functional.softshrink: shapes.softshrink,
    functional.tanhshrink: shapes.tanhshrink,
    functional.logsigmoid: shapes.log_sigmoid,
    functional.glu: shapes.gated,
    functional.group_norm: calls.group_norm,
    torch.group_norm: calls.group_norm,
    functional.rms_norm: calls.rms_norm,
    torch.rms_norm: calls.rms_norm,
    functional.gelu: functions.gelu,
    functional.silu: functions.silu,
    functional.hardswish: functions.hardswish,
    functional.softplus: calls.softplus,
    functional.softmax: partial(calls.softmax, logarithm=False),
    torch.softmax: partial(calls.softmax, logarithm=False),
    functional.log_softmax: partial(calls.softmax, logarithm=True),
    torch.log_softmax: partial(calls.softmax, logarithm=True),
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
    **{getattr(functional, f"conv{i}d"): partial(calls.convolution, axes=i) for i in _AXES},
    **{getattr(torch, f"conv{i}d"): partial(calls.convolution, axes=i) for i in _AXES},
    **{getattr(functional, f"conv_transpose{i}d"): partial(calls.transposed, axes=i) for i in _AXES},
    torch.flip: partial(_moved, torch.flip),
    functional.pixel_shuffle: partial(_moved, functional.pixel_shuffle),
    functional.channel_shuffle: partial(_moved, functional.channel_shuffle),
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
            *(
                "reciprocal",
                "rsqrt",
                "log",
                "log1p",
                "expm1",
                "masked_fill",
                "split",
                "chunk",
                "unbind",
                "max",
            ),
            *("min", "bmm", "true_divide"),
        )
    },
    **{
        name: partial(_moved, getattr(Tensor, name))  # the methods also take their numbers one by one
        for name in (
            *("flatten", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "narrow", "select"),
            *("unflatten", "contiguous", "flip"),
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
    slide = sums.Slide(stride=layer.stride, padding=padding, dilation=layer.dilation, groups=layer.groups)
    return sums.convolution(x, layer.weight, layer.bias, slide, axes=axes)


def _up(layer: nn.ConvTranspose2d, x: Enclosure, *, axes: int) -> Enclosure:
    slide = sums.Slide(
        stride=layer.stride, padding=layer.padding, output_padding=layer.output_padding,
        dilation=layer.dilation, groups=layer.groups,
    )  # fmt: skip
    return sums.transposed(x, layer.weight, layer.bias, slide, axes=axes)


def _padded(mode: str) -> Callable[[nn.ReflectionPad2d, Enclosure], Enclosure]:
    return lambda layer, x: moves.pad(x, layer.padding, mode)


def _plain(rule: Rule) -> Rule:
    """A layer without settings that matter."""

    def apply(layer: nn.Module, x: Enclosure) -> object:
        del layer
        return rule(x)

    return apply


LAYERS: Final[dict[type[nn.Module], Rule]] = {
    nn.Linear: lambda layer, x: sums.linear(x, layer.weight, layer.bias),
    **{getattr(nn, f"Conv{i}d"): partial(_convolution, axes=i) for i in _AXES},
    **{getattr(nn, f"BatchNorm{i}d"): _batch_norm for i in _AXES},
    **{getattr(nn, f"MaxPool{i}d"): _pooled for i in _AXES},
    **{getattr(nn, f"AdaptiveMaxPool{i}d"): _pooled for i in _AXES},
    **{getattr(nn, f"AvgPool{i}d"): lambda layer, x: sums.average_pool(x, layer) for i in _AXES},
    **{getattr(nn, f"AdaptiveAvgPool{i}d"): lambda layer, x: sums.average_pool(x, layer) for i in _AXES},
    nn.LayerNorm: lambda layer, x: calls.layer_norm(
        x, layer.normalized_shape, layer.weight, layer.bias, layer.eps
    ),
    nn.ReLU: _plain(FUNCTIONS[torch.relu]),
    nn.ReLU6: _plain(_RELU6),
    nn.Hardtanh: lambda layer, x: _hardtanh(x, layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer, x: functions.leaky_relu(x, layer.negative_slope),
    nn.ELU: lambda layer, x: calls.elu(x, layer.alpha),
    nn.SELU: _plain(shapes.selu),
    nn.CELU: lambda layer, x: shapes.celu(x, layer.alpha),
    nn.Mish: _plain(shapes.mish),
    nn.PReLU: lambda layer, x: shapes.parametric(x, layer.weight),
    nn.Softsign: _plain(shapes.softsign),
    nn.Softshrink: lambda layer, x: shapes.softshrink(x, layer.lambd),
    nn.Tanhshrink: _plain(shapes.tanhshrink),
    nn.LogSigmoid: _plain(shapes.log_sigmoid),
    nn.Hardsigmoid: _plain(_HARDSIGMOID),
    nn.GLU: lambda layer, x: shapes.gated(x, layer.dim),
    nn.GroupNorm: lambda layer, x: normal.group_norm(
        x, layer.num_groups, layer.weight, layer.bias, layer.eps
    ),
    nn.RMSNorm: lambda layer, x: calls.rms_norm(x, layer.normalized_shape, layer.weight, layer.eps),
    **{getattr(nn, f"InstanceNorm{i}d"): calls.instance_norm for i in _AXES},
    **{getattr(nn, f"ConvTranspose{i}d"): partial(_up, axes=i) for i in _AXES},
    **{getattr(nn, f"ReflectionPad{i}d"): _padded("reflect") for i in _AXES},
    **{getattr(nn, f"ReplicationPad{i}d"): _padded("replicate") for i in _AXES},
    nn.PixelShuffle: lambda layer, x: _moved(functional.pixel_shuffle, x, layer.upscale_factor),
    nn.ChannelShuffle: lambda layer, x: _moved(functional.channel_shuffle, x, layer.groups),
    nn.Sigmoid: _plain(FUNCTIONS[torch.sigmoid]),
    nn.Tanh: _plain(FUNCTIONS[torch.tanh]),
    nn.GELU: lambda layer, x: functions.gelu(x, layer.approximate),
    nn.SiLU: _plain(functions.silu),
    nn.Hardswish: _plain(functions.hardswish),
    nn.Softplus: lambda layer, x: calls.softplus(x, layer.beta, layer.threshold),
    nn.Softmax: lambda layer, x: calls.softmax(x, layer.dim, logarithm=False),
    nn.LogSoftmax: lambda layer, x: calls.softmax(x, layer.dim, logarithm=True),
    nn.Flatten: lambda layer, x: _moved(torch.flatten, x, layer.start_dim, layer.end_dim),
    nn.Unflatten: lambda layer, x: _moved(torch.unflatten, x, layer.dim, layer.unflattened_size),
    nn.Identity: _plain(_same),
    nn.Dropout: _plain(_same),
    nn.Dropout1d: _plain(_same),
    nn.Dropout2d: _plain(_same),
    nn.ConstantPad1d: lambda layer, x: moves.pad(x, layer.padding, value=layer.value),
    nn.ConstantPad2d: lambda layer, x: moves.pad(x, layer.padding, value=layer.value),
    **{getattr(nn, f"ZeroPad{i}d"): lambda layer, x: moves.pad(x, layer.padding) for i in _AXES},
    nn.AlphaDropout: _plain(_same),
    nn.Dropout3d: _plain(_same),
}


def _run(part: object, x: Enclosure) -> Enclosure:
    """Apply a layer or a function."""
    rule = LAYERS.get(type(part)) if isinstance(part, nn.Module) else FUNCTIONS.get(part)
    if rule is None:
        raise refused(type(part).__name__ if isinstance(part, nn.Module) else f"the activation {part}")
    found = rule(part, x) if isinstance(part, nn.Module) else rule(x)
    return cast("Enclosure", found)


LAYERS[nn.MultiheadAttention] = attention.heads
LAYERS[nn.TransformerEncoderLayer] = partial(attention.encoder_layer, _run)
LAYERS[nn.TransformerEncoder] = partial(attention.encoder, _run)
WHOLE: Final = frozenset({"MultiheadAttention", "TransformerEncoderLayer", "TransformerEncoder"})
"""Layers that find the axis of the points themselves."""
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
    *("sigmoid", "tanh", "exp", "erf", "gelu", "silu", "softplus", "leaky_relu", "hardtanh", "clamp"),
    *("clip", "pow", "square", "sqrt", "abs", "softmax", "relu6", "hardsigmoid", "hardswish", "log_softmax"),
    *("layer_norm", "group_norm", "rms_norm", "elu", "selu", "celu", "mish", "softsign", "logsigmoid", "log"),
    *("log1p", "expm1", "rsqrt", "reciprocal", "tanhshrink", "softshrink", "glu"),
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
            *(nn.SELU, nn.CELU, nn.Mish, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.GLU),
            *(nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
            *(nn.Softmax, nn.LayerNorm, torch.maximum, torch.minimum, "maximum", "minimum", operator.pow),
        ),
        "curve",
    ),
    **dict.fromkeys((operator.mul, torch.mul, operator.matmul, torch.matmul, "mul", "matmul"), "product"),
}
"""Operations that are not linear, whose arguments are worth tight bounds: how they bend."""
