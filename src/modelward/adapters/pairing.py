"""Fit data to a model: which columns it takes, in which order, and which label is which score column."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modelward.adapters.runtime import class_text
from modelward.adapters.texts.texts import as_texts
from modelward.errors import ShapeMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.adapters.outputs import Reading
    from modelward.adapters.runtime import Facts
    from modelward.core.data import Box, Dataset


def fit_features(data: Dataset, facts: Facts) -> Dataset:
    """Select and order a table's columns as the model wants them; check the shape of arrays.

    A model of texts is given the one column of texts that a table has.

    By name where both know names. Otherwise by number: all columns, or all but the sensitive ones (a column
    may be there only to form groups).

    Raises:
        ShapeMismatch: nothing fits, or names fit in part, or the model takes whole numbers and there are
            others; the message says what the model wants and what there is.
    """
    if facts.strings is not None and facts.strings != data.textual:
        read = as_texts(data) if facts.strings else None
        if read is None:
            raise _other_kind(data, facts)
        return read
    if facts.whole and not data.textual and not np.all(data.x == np.floor(data.x)):
        raise ShapeMismatch(
            f"the model takes whole numbers, and {data.subject.name} holds fractions, which it would cut off"
        )
    if not data.columns:
        _check_shape(data.x.shape[1:], facts)
        return data
    names = [column.name for column in data.columns]
    if facts.features is not None and set(facts.features) <= set(names):
        return _columns(data, [names.index(name) for name in facts.features])
    absent = sorted(set(facts.features or ()) - set(names))
    if absent and len(absent) < len(facts.features or ()):
        raise ShapeMismatch(f"the model wants columns that the data lacks: {', '.join(absent[:5])}")
    wanted = facts.n_features
    others = [j for j, column in enumerate(data.columns) if not column.sensitive]
    if wanted is None or wanted == len(names):
        return data
    if wanted == len(others):
        return _columns(data, others)
    raise ShapeMismatch(f"the model takes {wanted} features, the data has {len(names)} besides the label")


def fit_labels(data: Dataset, classes: tuple[str, ...]) -> Dataset:
    """Let a label's number be its score column.

    Raises:
        ShapeMismatch: a label is none of the model's classes.
    """
    if data.y is None:
        return replace(data, labels=classes)
    index = {name: column for column, name in enumerate(classes)}
    columns = [index.get(class_text(label)) for label in data.labels]
    unknown = [label for label, column in zip(data.labels, columns, strict=True) if column is None]
    if unknown:
        raise ShapeMismatch(
            f"the data has labels that the model does not know: {', '.join(unknown[:5])} "
            f"(its classes: {', '.join(classes[:10])})",
            advice="State the classes in the order of the model's outputs with --classes.",
        )
    mapping: NDArray[np.int64] = np.array([c for c in columns if c is not None], dtype=np.int64)
    return replace(data, y=mapping[data.y] if len(mapping) else data.y, labels=classes)


def name_classes(
    reading: Reading, facts: Facts, stated: tuple[str, ...], labels: tuple[str, ...]
) -> tuple[str, ...]:
    """Find the class labels in the order of the score columns.

    In this order: what the user states, what the model states (unless it only numbers its classes and the
    data's labels are as many words), the data's labels.

    Raises:
        ShapeMismatch: their number is not that of the columns.
    """
    count = {"logit": 2, "probability": 2}.get(reading.statement, reading.columns)
    if stated:
        if count and len(stated) != count:
            raise ShapeMismatch(f"{len(stated)} classes were stated, but the model answers {count}")
        return stated
    known = facts.classes
    if known is not None and (not count or len(known) == count):
        numbered = known == tuple(map(str, range(len(known))))
        if set(map(class_text, labels)) <= set(known) or not (numbered and len(labels) == len(known)):
            return known
        return labels
    if count in {0, len(labels)}:
        if len(labels) < 2:
            raise ShapeMismatch("the data has one class and the model does not name its classes")
        return labels
    numbers = tuple(map(str, range(count)))
    if set(labels) <= set(numbers):
        return numbers
    raise ShapeMismatch(f"the model answers {count} classes, the data has {len(labels)} labels")


def _other_kind(data: Dataset, facts: Facts) -> ShapeMismatch:
    name = data.subject.name
    if facts.strings:
        return ShapeMismatch(
            f"the model takes texts, and {name} has no column of texts, or several",
            advice="Name the column of texts: --text COLUMN.",
        )
    return ShapeMismatch(
        f"the model takes numbers, and {name} holds texts", advice="Leave --text out, or give another model."
    )


def _columns(data: Dataset, keep: list[int]) -> Dataset:
    if keep == list(range(len(data.columns))):
        return data

    def cut(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[keep] if values.shape == (len(data.columns),) else values

    box: Box = replace(
        data.box, lower=cut(data.box.lower), upper=cut(data.box.upper), scale=cut(data.box.scale)
    )
    return replace(data, x=data.x[:, keep], columns=tuple(data.columns[j] for j in keep), box=box)


def _check_shape(shape: tuple[int, ...], facts: Facts) -> None:
    if facts.shape is not None:
        fits = len(shape) == len(facts.shape) and all(
            want is None or want == have for want, have in zip(facts.shape, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if d is None else str(d) for d in facts.shape)
            raise ShapeMismatch(f"the model takes samples of shape ({wanted}), the data has {shape}")
    elif facts.n_features is not None and shape != (facts.n_features,):
        raise ShapeMismatch(
            f"the model takes {facts.n_features} features, the data has samples of shape {shape}"
        )
