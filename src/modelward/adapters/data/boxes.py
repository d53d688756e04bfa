"""Where inputs may lie, and what one unit of eps means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from modelward.core.data import Box
from modelward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.adapters.data.options import DataOptions
    from modelward.core.data import Column

INFERRED = "inferred from the data"
STATED = "stated"
TRAINED = "training data"


def table_box(columns: Sequence[Column], *, source: str) -> Box:
    """One interval per feature; an eps of 1 is the whole range of values seen.

    A feature that happens to be constant at v is not frozen: its scale is max(1, |v|), and the interval
    reaches one scale to both sides. A boolean always has the interval [0, 1]. A category with one value
    keeps its interval (no other value is known) and has scale 1.

    Args:
        columns: the features.
        source: who says so.

    Returns:
        Box with arrays of shape (features,).
    """
    lower = np.array([0.0 if column.kind == "boolean" else column.lower for column in columns])
    upper = np.array([1.0 if column.kind == "boolean" else column.upper for column in columns])
    category = np.array([column.kind == "category" for column in columns], dtype=bool)
    constant = lower == upper
    scale = np.where(constant, np.maximum(1.0, np.abs(lower)), upper - lower)
    scale[constant & category] = 1.0
    widen = np.where(constant & ~category, scale, 0.0)
    unit: Literal["training range", "data range"] = "training range" if source == TRAINED else "data range"
    return Box(lower=lower - widen, upper=upper + widen, scale=scale, unit=unit, source=source)


def feature_box(columns: Sequence[Column], options: DataOptions) -> Box:
    """The box of a table: as stated, else one interval per feature.

    Args:
        columns: the features.
        options: what the user said.

    Raises:
        InputError: the data reaches beyond the stated bounds.
    """
    if options.bounds is None:
        return table_box(columns, source=INFERRED)
    lower, upper = min(column.lower for column in columns), max(column.upper for column in columns)
    return stated_box(options.bounds, lower, upper, shape=(len(columns),))


def global_box(lower: float, upper: float, *, shape: tuple[int, ...] = (), source: str) -> Box:
    """One interval for all features; an eps of 1 is its width.

    Args:
        lower: smallest allowed value.
        upper: largest allowed value; where it equals `lower`, the box is widened as in `table_box`.
        shape: of the arrays in the box.
        source: who says so.
    """
    scale = upper - lower
    if scale == 0:
        scale = max(1.0, abs(lower))
        lower, upper = lower - scale, upper + scale
    return Box(
        lower=np.full(shape, lower),
        upper=np.full(shape, upper),
        scale=np.full(shape, scale),
        unit="box width",
        source=source,
    )


def image_box(dtype: np.dtype[np.generic], lower: float, upper: float) -> Box:
    """The box of images whose bounds nobody stated.

    Bytes lie in [0, 255], booleans and numbers seen within [0, 1] in [0, 1], others between the extremes.

    Args:
        dtype: of the pixels.
        lower: smallest value seen.
        upper: largest value seen.
    """
    if dtype == np.uint8:
        return global_box(0.0, 255.0, source=INFERRED)
    if dtype.kind in "bf" and lower >= 0 and upper <= 1:
        return global_box(0.0, 1.0, source=INFERRED)
    return global_box(lower, upper, source=INFERRED)


def stated_box(
    bounds: tuple[float, float], lower: float, upper: float, *, shape: tuple[int, ...] = ()
) -> Box:
    """The box that the user stated.

    Args:
        bounds: as stated.
        lower: smallest value in the data.
        upper: largest value in the data.
        shape: of the arrays in the box.

    Raises:
        InputError: the data reaches beyond the bounds by more than a millionth of their width.
    """
    slack = 1e-6 * (bounds[1] - bounds[0])
    if lower < bounds[0] - slack or upper > bounds[1] + slack:
        raise InputError(
            f"the data reaches from {lower:.6g} to {upper:.6g}, outside the stated bounds {bounds[0]:.6g} to "
            f"{bounds[1]:.6g}",
            advice="State the bounds in the units of the data.",
        )
    return global_box(*bounds, shape=shape, source=STATED)
