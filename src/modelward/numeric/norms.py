"""Distances per sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from modelward.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import FloatArray

Norm: TypeAlias = Literal["l1", "l2", "linf"]


def _flat(x: ArrayLike) -> FloatArray:
    values = np.asarray(x, np.float64)
    if values.ndim < 2:
        raise InputError(f"an array of shape {values.shape} is no batch: the first axis must count samples")
    return values.reshape(values.shape[0], -1)


def distance(x: ArrayLike, y: ArrayLike, norm: Norm) -> FloatArray:
    """Norm of x - y for each sample.

    Args:
        x: batch of shape (n, ...).
        y: same shape.
        norm: "l1", "l2" or "linf".

    Returns:
        Shape (n,), each >= 0; NaN where a difference is NaN.

    Raises:
        InputError: shapes differ, or the first axis does not count samples.

    Source: definitions.
    """
    left, right = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if left.shape != right.shape:
        raise InputError(f"samples of shape {left.shape} and {right.shape} cannot be compared")
    size = np.abs(_flat(left - right))
    largest = np.asarray(size.max(axis=1, initial=0.0))
    if norm == "linf":
        return largest
    if norm == "l1":
        return np.asarray(size.sum(axis=1))
    # Squares of the ratio to the largest entry can neither overflow nor underflow to 0.
    safe = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(safe * np.sqrt(np.square(size / safe[:, None]).sum(axis=1)))
