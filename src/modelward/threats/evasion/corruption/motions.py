"""Turning, shifting and scaling images, by bilinear interpolation about the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray


def moved(
    planes: FloatArray, *, degrees: FloatArray, shift: FloatArray, scale: FloatArray | float = 1.0
) -> FloatArray:
    """Turn about the centre, scale, then shift; what comes from outside is 0.

    Args:
        planes: (n, colours, height, width) in [0, 1].
        degrees: (n,) counter-clockwise.
        shift: (n, 2) pixels down and right, fractions allowed.
        scale: size of the result in units of the original, > 0.
    """
    height, width = planes.shape[2:]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    down = rows[None] - centre[0] - shift[:, 0, None, None]
    right = columns[None] - centre[1] - shift[:, 1, None, None]
    angle = np.deg2rad(degrees)[:, None, None]
    size = np.broadcast_to(np.asarray(scale, np.float64), len(planes))[:, None, None]
    source_row = (np.cos(angle) * down + np.sin(angle) * right) / size + centre[0]
    source_column = (-np.sin(angle) * down + np.cos(angle) * right) / size + centre[1]
    # A quarter turn meets pixels exactly; the ninth decimal is the cosine's rounding.
    return sampled(planes, np.round(source_row, 9), np.round(source_column, 9))


def sampled(planes: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Values between pixels, 0 beyond the border.

    Args:
        planes: (n, colours, height, width).
        rows: (n, height, width) where to look.
        columns: likewise.
    """
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = planes.shape[2:]
    rows = np.clip(rows + 1, 0.0, height + 1.0)
    columns = np.clip(columns + 1, 0.0, width + 1.0)
    top = np.minimum(np.floor(rows), height).astype(np.int64)
    left = np.minimum(np.floor(columns), width).astype(np.int64)
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    sample = np.arange(len(planes))[:, None, None]
    corners = [
        np.moveaxis(padded[sample, :, top + below, left + beside], 3, 1)
        for below in (0, 1)
        for beside in (0, 1)
    ]
    upper = corners[0] * (1 - right) + corners[1] * right
    lower = corners[2] * (1 - right) + corners[3] * right
    return np.asarray(upper * (1 - down) + lower * down)
