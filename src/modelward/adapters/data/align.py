"""Data in the terms of the set its model was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from modelward.adapters.data.boxes import STATED, TRAINED, table_box
from modelward.adapters.data.schema import MISSING
from modelward.errors import ShapeMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.core.data import Box, Column, Dataset

_GENERAL = {"boolean": 0, "integer": 1, "real": 2}


def with_training_range(data: Dataset, train: Dataset) -> Dataset:
    """The same samples with the columns, categories, labels and eps units of the training set.

    - Columns come in the order of the training set; categories and labels get its indices, and those that it
      lacks come after.
    - One eps unit is the range in the training set. The box covers both sets, so that every sample lies in
      it. A stated box is kept.
    - Groupings, and what is sensitive or immutable, stay as they are in `data`.

    Args:
        data: the samples to measure on.
        train: the samples that the model was trained on.

    Raises:
        ShapeMismatch: the two have different columns or shapes, or a column is a category in only one.
    """
    if bool(data.columns) != bool(train.columns) or (
        not data.columns and data.x.shape[1:] != train.x.shape[1:]
    ):
        raise ShapeMismatch(
            f"{data.subject.name} has samples of shape {data.x.shape[1:]} and {train.subject.name} of shape "
            f"{train.x.shape[1:]}"
        )
    y, labels = _labels(data, train)
    x: NDArray[np.generic] = data.x
    columns = data.columns
    if columns:
        x, columns = _columns(data, train)
    box = data.box if data.box.source == STATED else _box(data, train, columns)
    details = data.subject.details | {"box": dict(box.describe()), "training data": train.subject.digest}
    return replace(
        data,
        subject=msgspec.structs.replace(data.subject, details=details),
        x=x,
        y=y,
        labels=labels,
        columns=columns,
        box=box,
    )


def _labels(data: Dataset, train: Dataset) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if data.y is None or train.y is None:
        return data.y, data.labels if data.y is not None else train.labels
    labels = train.labels + tuple(text for text in data.labels if text not in train.labels)
    remap = np.array([labels.index(text) for text in data.labels], dtype=np.int64)
    return remap[data.y], labels


def _columns(data: Dataset, train: Dataset) -> tuple[NDArray[np.float64], tuple[Column, ...]]:
    places = {column.name: place for place, column in enumerate(data.columns)}
    wanted = {column.name for column in train.columns}
    if odd := sorted(places.keys() ^ wanted):
        where, other = (data, train) if odd[0] in places else (train, data)
        raise ShapeMismatch(f"column {odd[0]!r} is in {where.subject.name} but not in {other.subject.name}")
    x = np.empty(data.x.shape)
    columns = []
    for target, known in enumerate(train.columns):
        place = places[known.name]
        column, x[:, target] = _column(data.columns[place], known, data.x[:, place], data.total)
        columns.append(column)
    return x, tuple(columns)


def _column(
    column: Column, known: Column, values: NDArray[np.generic], total: int
) -> tuple[Column, NDArray[np.float64]]:
    """One column in the terms of the training set."""
    numbers = np.asarray(values, dtype=np.float64)
    onehot = known.onehot if known.onehot == column.onehot else None
    if "category" not in {column.kind, known.kind}:
        kind = max(column.kind, known.kind, key=lambda kind: _GENERAL[kind])
        if column.missing == total:
            kind = known.kind
        return replace(column, kind=kind, categories=known.categories, onehot=onehot), numbers
    empty = column.missing == total and not column.categories
    if not (known.categories and (column.categories or empty)):
        raise ShapeMismatch(
            f"column {column.name!r} is of kind {known.kind} in the training data, {column.kind} in the data"
        )
    have = (MISSING,) if empty else column.categories + ((MISSING,) if np.isnan(numbers).any() else ())
    categories = known.categories + tuple(text for text in have if text not in known.categories)
    remap = np.array([categories.index(text) for text in have], dtype=np.float64)
    codes = np.where(np.isnan(numbers), len(have) - 1, numbers).astype(np.int64)
    seen = remap[codes]
    column = replace(
        column,
        kind="category",
        lower=0.0,
        upper=float(len(categories) - 1),
        categories=categories,
        onehot=None,
    )
    return column, seen


def _box(data: Dataset, train: Dataset, columns: tuple[Column, ...]) -> Box:
    if train.box.source == STATED or not columns:
        lower, upper = (
            np.minimum(train.box.lower, data.box.lower),
            np.maximum(train.box.upper, data.box.upper),
        )
        return replace(train.box, lower=lower, upper=upper, source=TRAINED)
    box = table_box(train.columns, source=TRAINED)
    lower = np.minimum(box.lower, [column.lower for column in columns])
    upper = np.maximum(box.upper, [column.upper for column in columns])
    return replace(box, lower=lower, upper=upper)
