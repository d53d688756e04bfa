"""What counts as one feature: a column, a one-hot group, or a patch of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from modelward.core.data import Dataset
    from modelward.numeric.types import IntArray

PATCHES = 16
"""An image is cut into at most this many patches, a long nameless vector into this many stretches."""

NAMELESS = 64
"""A vector without column names is taken feature by feature up to this length."""


@final
@dataclass(frozen=True, slots=True)
class Part:
    """One feature.

    Attributes:
        name: column, one-hot group, or place in the sample.
        where: flat positions within one sample, (p,) int64.
        sensitive: groups of people are formed by it.
    """

    name: str
    where: IntArray
    sensitive: bool = False


def parts(data: Dataset) -> tuple[Part, ...]:
    """The features of one sample; every position belongs to exactly one.

    Tables: one per column, the columns of a one-hot group together (permuted apart they make rows that cannot
    exist). Other vectors: one per entry, or stretches. Anything else: a grid over its two longest axes.
    """
    shape = data.x.shape[1:]
    size = int(np.prod(shape))
    if len(shape) == 1 and len(data.columns) == size:
        return _columns(data)
    if len(shape) <= 1:
        cuts = np.array_split(np.arange(size), size if size <= NAMELESS else PATCHES)
        return tuple(Part(_span("feature", cut), cut) for cut in cuts if len(cut))
    return _grid(shape)


def _columns(data: Dataset) -> tuple[Part, ...]:
    groups: dict[str, list[int]] = {}
    for i, column in enumerate(data.columns):
        groups.setdefault(column.onehot or column.name, []).append(i)
    return tuple(
        Part(name, np.array(where, np.int64), any(data.columns[i].sensitive for i in where))
        for name, where in groups.items()
    )


def _grid(shape: tuple[int, ...]) -> tuple[Part, ...]:
    down, across = sorted(sorted(range(len(shape)), key=lambda axis: -shape[axis])[:2])
    place = np.arange(int(np.prod(shape))).reshape(shape)
    side = int(PATCHES**0.5)
    found = []
    for rows in np.array_split(np.arange(shape[down]), side):
        for columns in np.array_split(np.arange(shape[across]), side):
            if len(rows) and len(columns):
                where = place.take(rows, axis=down).take(columns, axis=across).ravel()
                found.append(Part(f"{_span('row', rows)}, {_span('column', columns)}", np.sort(where)))
    return tuple(found)


def _span(word: str, index: IntArray) -> str:
    return f"{word} {index[0]}" if len(index) == 1 else f"{word}s {index[0]} to {index[-1]}"
