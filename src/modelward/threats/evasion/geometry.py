"""What is spatial about a sample: which axes are height and width, and which pixel a feature belongs to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.numeric.types import FloatArray, IntArray


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of one sample holds colours: the shorter of first and last, or null for (height, width).

    Args:
        shape: of one sample, two or three axes.
    """
    if len(shape) == 2:
        return None
    return 0 if shape[0] <= shape[-1] else 2


def spatial(shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape have two spatial axes, so that squares mean something."""
    return len(shape) in {2, 3}


def plane(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of one sample.

    Args:
        shape: of one sample, spatial.
    """
    axis = channel_axis(shape)
    height, width = (size for i, size in enumerate(shape) if i != axis)
    return height, width


def planes(x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(m, *shape) as (m, colours, height, width).

    Args:
        x: samples.
        shape: of one sample, spatial.
    """
    axis = channel_axis(shape)
    return x[:, None] if axis is None else np.moveaxis(x, axis + 1, 1)


def samples(x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(m, colours, height, width) back as (m, *shape)."""
    axis = channel_axis(shape)
    return x[:, 0] if axis is None else np.moveaxis(x, 1, axis + 1)


def pixels(shape: tuple[int, ...]) -> IntArray:
    """(*shape) number of the pixel that each feature belongs to, row by row; all colours share one."""
    height, width = plane(shape)
    numbers = np.arange(height * width).reshape(height, width)
    axis = channel_axis(shape)
    return numbers if axis is None else np.broadcast_to(np.expand_dims(numbers, axis), shape).copy()


def units(shape: tuple[int, ...], groups: Iterable[IntArray]) -> IntArray:
    """(*shape) number of the unit that each feature of a table belongs to: itself, or its one-hot group.

    Args:
        shape: of one sample.
        groups: feature positions of each group.
    """
    numbers = np.arange(math.prod(shape)).reshape(shape)
    for group in groups:
        numbers[group] = numbers[group].min()
    return numbers
