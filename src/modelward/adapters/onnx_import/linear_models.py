"""Translate the linear operators of the `ai.onnx.ml` set, with which scikit-learn pipelines are exported.

Source: ONNX-ML operator specification (docs/Operators-ml.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from modelward.adapters.onnx_import.builder import Builder, Signal, Value, fixed_dims, rank
from modelward.adapters.onnx_import.layers import linear
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from modelward.adapters.onnx_import.operation import Operation


def _numbers(op: Operation, name: str) -> Tensor:
    values = op.attribute(name)
    if not isinstance(values, list) or not all(isinstance(value, float) for value in values):
        raise OperatorUnsupported(f"attribute {name} is not a list of numbers")
    return torch.tensor(values, dtype=torch.float32)


def scaler(b: Builder, op: Operation) -> Value:
    """Scaler: (x - offset) * scale, in float32."""
    x = b.cast(op.value(0), torch.float32)
    shifted = b.call(torch.sub, x, b.constant(_numbers(op, "offset")))
    return b.call(torch.mul, shifted, b.constant(_numbers(op, "scale")))


def _scores(b: Builder, op: Operation, outputs: int) -> Value:
    """X coefficients^T + intercepts, one row of coefficients per output."""
    x = b.cast(op.value(0), torch.float32)
    if rank(x) != 2:
        raise OperatorUnsupported(f"an input of {rank(x)} axes")
    (features,) = fixed_dims(x, 1)
    weights = _numbers(op, "coefficients")
    bias = _numbers(op, "intercepts") if op.attribute("intercepts") is not None else None
    if weights.numel() != outputs * features or (bias is not None and bias.numel() != outputs):
        raise OperatorUnsupported(
            f"{weights.numel()} coefficients for {outputs} outputs and {features} features"
        )
    return linear(b, x, weights.reshape(outputs, features), bias)


def linear_regressor(b: Builder, op: Operation) -> Value:
    """LinearRegressor without a transform after it."""
    if op.text("post_transform", "NONE") != "NONE":
        raise OperatorUnsupported("attribute post_transform")
    return _scores(b, op, op.integer("targets", 1))


def linear_classifier(b: Builder, op: Operation) -> tuple[Value | None, ...]:
    """LinearClassifier with one row of coefficients per class; its labels (output 0) are not computed."""
    op.integer("multi_class", 0)  # how it was trained; no effect on the scores
    labels = op.attribute("classlabels_ints") or op.attribute("classlabels_strings")
    if not isinstance(labels, list) or len(labels) < 2:
        raise OperatorUnsupported("fewer than two class labels")
    for name in ("classlabels_ints", "classlabels_strings"):
        op.attribute(name)
    scores = _scores(b, op, len(labels))
    transform = op.text("post_transform", "NONE")
    if transform == "SOFTMAX":
        return None, b.call(functional.softmax, scores, dim=1)
    if transform == "LOGISTIC":
        return None, b.call(torch.sigmoid, scores)
    if transform == "NONE":
        return None, scores
    raise OperatorUnsupported(f"attribute post_transform is {transform!r}")


def normalizer(b: Builder, op: Operation) -> Value:
    """Normalizer L1 after a softmax, where it changes nothing: the row already sums to one."""
    del b
    x = op.value(0)
    norm = op.text("norm", "MAX")
    after_softmax = (
        isinstance(x, Signal) and x.node.target is functional.softmax and x.node.kwargs["dim"] == 1
    )
    if norm != "L1" or not after_softmax:
        raise OperatorUnsupported(f"norm {norm!r} of values other than probabilities")
    return x


LINEAR_MODELS: Final[dict[str, Callable[[Builder, Operation], Value | tuple[Value | None, ...]]]] = {
    "LinearClassifier": linear_classifier,
    "LinearRegressor": linear_regressor,
    "Normalizer": normalizer,
    "Scaler": scaler,
}
