"""Translate activations, arithmetic, comparisons and casts.

Source: ONNX operator specification (docs/Operators.md), at the opset of the file.
"""

from __future__ import annotations

import operator
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Final

import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from modelward.adapters.onnx_import.builder import Builder, Constant, Signal, Value, axis_of, rank, shapes
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.adapters.onnx_import.operation import Operation

    Translator = Callable[[Builder, Operation], Value]
    TensorFunction = Callable[..., Tensor]

DTYPES: Final[dict[int, torch.dtype]] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.BOOL: torch.bool,
}


_SELU: Final = (1.6732632423543772, 1.0507009873554805)
"""Alpha and gamma (Klambauer et al. 2017, arXiv 1706.02515v5, equation 2)."""


def _unary(function: TensorFunction, b: Builder, op: Operation) -> Value:
    return b.call(function, op.value(0))


def _binary(function: TensorFunction, b: Builder, op: Operation) -> Value:
    return b.call(function, op.value(0), op.value(1))


def _folded(function: TensorFunction, b: Builder, op: Operation) -> Value:
    """An operator that is understood on constants only (it has no gradient)."""
    return b.call(function, *op.constants_only())


def _variadic(function: TensorFunction, b: Builder, op: Operation) -> Value:
    result = op.value(0)
    for i in range(1, len(op.inputs)):
        result = b.call(function, result, op.value(i))
    return result


def _identity(b: Builder, op: Operation) -> Value:
    del b
    return op.value(0)


def _dropout(b: Builder, op: Operation) -> Value:
    """The identity at inference; its ratio and seed matter in training only."""
    op.real("ratio", 0.5)
    op.integer("seed", 0)
    if op.has(2) and op.tensor(2).any():
        raise OperatorUnsupported("training_mode")
    return _identity(b, op)


def _leaky_relu(b: Builder, op: Operation) -> Value:
    return b.call(functional.leaky_relu, op.value(0), op.real("alpha", 0.01))


def _elu(b: Builder, op: Operation) -> Value:
    return b.call(functional.elu, op.value(0), op.real("alpha", 1.0))


def _selu(b: Builder, op: Operation) -> Value:
    """Gamma max(x, 0) + gamma alpha (exp(min(x, 0)) - 1); torch has its own for the usual numbers."""
    x = op.value(0)
    alpha, gamma = op.real("alpha", _SELU[0]), op.real("gamma", _SELU[1])
    if isclose(alpha, _SELU[0], rel_tol=1e-6) and isclose(gamma, _SELU[1], rel_tol=1e-6):
        return b.call(functional.selu, x)
    return b.call(torch.mul, b.call(functional.elu, x, alpha), gamma)


def _celu(b: Builder, op: Operation) -> Value:
    return b.call(functional.celu, op.value(0), op.real("alpha", 1.0))


def _prelu(b: Builder, op: Operation) -> Value:
    """max(x, 0) + slope min(x, 0), which holds for any broadcastable slope."""
    x = op.value(0)
    negative = b.call(torch.mul, b.call(torch.clamp, x, None, 0.0), op.value(1))
    return b.call(torch.add, b.call(functional.relu, x), negative)


def _hard_sigmoid(b: Builder, op: Operation) -> Value:
    """max(0, min(1, alpha x + beta)); opset 6 fixes the defaults 0.2 and 0.5."""
    scaled = b.call(torch.mul, op.value(0), op.real("alpha", 0.2))
    return b.call(torch.clamp, b.call(torch.add, scaled, op.real("beta", 0.5)), 0.0, 1.0)


def _gelu(b: Builder, op: Operation) -> Value:
    approximate = op.text("approximate", "none")
    if approximate not in {"none", "tanh"}:
        raise OperatorUnsupported(f"attribute approximate is {approximate!r}")
    return b.call(functional.gelu, op.value(0), approximate=approximate)


def _clip(b: Builder, op: Operation) -> Value:
    """Limits are attributes up to opset 10, inputs from 11 on."""
    limits: list[float | None] = [None, None]
    for i, name in enumerate(("min", "max")):
        if op.has(i + 1):
            limits[i] = op.scalar(i + 1)
        elif op.opset < 11 and op.attribute(name) is not None:
            limits[i] = op.real(name, 0.0)
    if limits == [None, None]:
        return op.value(0)
    return b.call(torch.clamp, op.value(0), *limits)


def _div(b: Builder, op: Operation) -> Value:
    """Integers are divided towards zero, as in C."""
    left = op.value(0)
    if left.probes[0].is_floating_point():
        return b.call(torch.div, left, op.value(1))
    divisor = op.value(1)
    if any((probe == 0).any() for probe in divisor.probes):
        raise OperatorUnsupported("an integer is divided by zero")
    return b.call(torch.div, left, divisor, rounding_mode="trunc")


def _pow(b: Builder, op: Operation) -> Value:
    """A constant exponent of one element is written as a number, so that its sign and parity are seen."""
    base, exponent = op.value(0), op.value(1)
    if isinstance(base, Signal) and isinstance(exponent, Constant) and exponent.probes[0].numel() == 1:
        power = op.scalar(1)
        return b.call(torch.pow, base, int(power) if power.is_integer() else power)
    return b.call(torch.pow, base, exponent)


def _softmax(function: TensorFunction, b: Builder, op: Operation) -> Value:
    """From opset 13 along one axis (default the last); before, over all axes from `axis` (default 1) on."""
    x = op.value(0)
    axis = axis_of(op.integer("axis", -1 if op.opset >= 13 else 1), rank(x))
    if op.opset >= 13 or axis == rank(x) - 1:
        return b.call(function, x, dim=axis)
    joined = b.reshape(x, tuple((*shape[:axis], torch.Size(shape[axis:]).numel()) for shape in shapes(x)))
    return b.reshape(b.call(function, joined, dim=axis), shapes(x))


def _where(b: Builder, op: Operation) -> Value:
    """A choice by a constant mask, written as products with 0 and 1: exact, and linear in the sides.

    A constant that is chosen (minus infinity in attention) is added, never multiplied.
    """
    mask, *sides = (op.value(i) for i in range(3))
    if isinstance(mask, Signal):
        raise OperatorUnsupported("input 0 is computed from the data, not a constant")
    if not any(isinstance(side, Signal) for side in sides):
        return b.call(torch.where, mask, *sides)
    parts = []
    for side, chosen in zip(sides, (mask, b.call(torch.logical_not, mask)), strict=True):
        if isinstance(side, Constant):
            zero = b.constant(torch.zeros((), dtype=side.probes[0].dtype))
            parts.append(b.call(torch.where, chosen, side, zero))
        else:
            parts.append(b.call(torch.mul, side, b.cast(chosen, side.probes[0].dtype)))
    return b.call(torch.add, *parts)


def _mod(b: Builder, op: Operation) -> Value:
    """On constants: the remainder with the divisor's sign, or with fmod the dividend's, as in C."""
    function = torch.fmod if op.integer("fmod", 0) else torch.remainder
    _, divisor = op.constants_only()
    if any((probe == 0).any() for probe in divisor.probes):
        raise OperatorUnsupported("a remainder of a division by zero")
    return _folded(function, b, op)


def _cast(b: Builder, op: Operation) -> Value:
    op.integer("saturate", 1)  # concerns 8-bit floats only, which are refused
    target = op.integer("to")
    if target not in DTYPES:
        raise OperatorUnsupported(f"attribute to is the element type {target}")
    return b.cast(op.value(0), DTYPES[target])


def _cast_like(b: Builder, op: Operation) -> Value:
    return b.cast(op.value(0), op.value(1).probes[0].dtype)


_UNARY: Final[dict[str, TensorFunction]] = {
    "Abs": torch.abs,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "HardSwish": functional.hardswish,
    "Log": torch.log,
    "Mish": functional.mish,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Relu": functional.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}
_BINARY: Final[dict[str, TensorFunction]] = {"Add": torch.add, "Mul": torch.mul, "Sub": torch.sub}
_VARIADIC: Final[dict[str, TensorFunction]] = {"Max": torch.maximum, "Min": torch.minimum, "Sum": torch.add}
_FOLDED: Final[dict[str, TensorFunction]] = {
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Equal": operator.eq,
    "Floor": torch.floor,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
}
_OTHERS: Final[dict[str, Translator]] = {
    "Cast": _cast,
    "Celu": _celu,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": partial(_softmax, functional.log_softmax),
    "Mod": _mod,
    "PRelu": _prelu,
    "Pow": _pow,
    "Selu": _selu,
    "Softmax": partial(_softmax, functional.softmax),
    "Where": _where,
}

ELEMENTWISE: Final[dict[str, Translator]] = {
    **{name: partial(_unary, function) for name, function in _UNARY.items()},
    **{name: partial(_binary, function) for name, function in _BINARY.items()},
    **{name: partial(_variadic, function) for name, function in _VARIADIC.items()},
    **{name: partial(_folded, function) for name, function in _FOLDED.items()},
    **_OTHERS,
}
