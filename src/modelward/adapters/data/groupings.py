"""Sensitive columns as groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelward.adapters.data.schema import MISSING
from modelward.core.data import Grouping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from modelward.core.data import Column

MAX_LEVELS = 10
"""A column of numbers with more distinct values than this is cut into quartiles."""


def groupings(columns: Sequence[Column], x: NDArray[np.float64]) -> tuple[Grouping, ...]:
    """One grouping per sensitive column.

    Categories and booleans of words are levels as they are; numbers with at most `MAX_LEVELS` distinct
    values (among the rows held) are a level each; more are cut into quartiles of the rows held.

    Args:
        columns: the features.
        x: (n, features) float64.
    """
    return tuple(_grouping(column, x[:, place]) for place, column in enumerate(columns) if column.sensitive)


def _grouping(column: Column, values: NDArray[np.float64]) -> Grouping:
    gaps = np.isnan(values)
    if column.categories:
        levels = list(column.categories)
        codes = np.where(gaps, 0, values).astype(np.int64)
    else:
        present = values[~gaps]
        distinct = np.unique(present)
        edges = distinct[1:]
        if len(distinct) > MAX_LEVELS:
            edges = np.unique(np.quantile(present, (0.25, 0.5, 0.75), method="higher"))
            edges = edges[edges > distinct[0]]  # so that the first bin is not empty
            if not len(edges):  # over three quarters are the least value: it against the rest
                edges = distinct[1:2]
        codes = np.searchsorted(edges, values, side="right").astype(np.int64)
        levels = _names(column.name, distinct, edges) if len(distinct) else []
    if gaps.any():
        codes[gaps] = len(levels)
        levels.append(MISSING)
    return Grouping(name=column.name, codes=codes, levels=tuple(levels))


def _names(name: str, distinct: NDArray[np.float64], edges: NDArray[np.float64]) -> list[str]:
    """Name of each bin: its value, or the column and the least and the greatest value in it."""
    bins = np.split(distinct, np.searchsorted(distinct, edges))
    if len(bins) == len(distinct):
        return [_text(float(value), 17) for value in distinct]
    for digits in (4, 8, 17):
        ends = [(_text(float(cut[0]), digits), _text(float(cut[-1]), digits)) for cut in bins]
        names = [f"{name} {low} to {high}" if low != high else f"{name} {low}" for low, high in ends]
        if len(set(names)) == len(names):
            break
    return names


def _text(value: float, digits: int) -> str:
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if digits == 17 else f"{value:.{digits}g}"
