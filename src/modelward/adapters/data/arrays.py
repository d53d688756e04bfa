"""Arrays as data sets: images, and tables without a header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelward.adapters.data.boxes import feature_box, image_box, stated_box
from modelward.adapters.data.details import describe
from modelward.adapters.data.groupings import groupings
from modelward.adapters.data.labels import labels_of_array
from modelward.adapters.data.limits import EXACT, LARGEST
from modelward.adapters.data.options import require_columns
from modelward.adapters.data.relations import relation
from modelward.adapters.data.sample import sample_rows
from modelward.adapters.data.schema import disjoint, mark, number_column, onehot_candidates, onehot_groups
from modelward.core.data import Dataset
from modelward.core.digest import CHUNK, array_digest, table_digest
from modelward.core.subject import Subject, named
from modelward.errors import InputError, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from modelward.adapters.data.options import DataOptions
    from modelward.core.data import Box, Column

_PART = 8 * CHUNK


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Samples as they were found.

    Attributes:
        name: as the user gave it.
        format: as recognised.
        x: (n, *shape) of any number type.
        y: (n,) labels, or null.
        columns: names of the features of a table; null for ``x0``, ``x1``, ...
    """

    name: str
    format: str
    x: NDArray[np.generic]
    y: NDArray[np.generic] | None = None
    columns: Sequence[str] | None = None


def open_arrays(
    arrays: Arrays, options: DataOptions, *, observe: Callable[[int, int], None] | None = None
) -> Dataset:
    """Turn arrays into a data set: a table if x has two dimensions, images if it has more.

    Args:
        arrays: the samples.
        options: what the user says about them.
        observe: told how many rows of how many were read.

    Raises:
        InputError: see `modelward.adapters.data.open.open_data`.
    """
    _require_samples(arrays)
    x, y = arrays.x, arrays.y
    rows = sample_rows(len(x), options.rows)
    labels = None if y is None else labels_of_array(y, rows, name=options.label or "y")
    columns: tuple[Column, ...] = ()
    if x.ndim > 2:
        require_columns(options, (), None)
        held = np.ascontiguousarray(x[rows]).astype(x.dtype.newbyteorder("="), copy=False)
        box = _image_box(x, options, observe)
    else:
        columns = _columns(arrays, options, observe)
        held = _floats(x[rows])
        box = feature_box(columns, options)
    digests = {"x": digest_of(x)} | ({} if y is None else {"y": digest_of(y)})
    shape = x.shape[1:]
    details = describe(rows=len(x), held=len(rows), columns=columns, box=box, labels=labels, shape=shape)
    return Dataset(
        subject=Subject(
            kind="dataset",
            name=named(arrays.name),
            digest=table_digest(digests),
            format=arrays.format,
            details=details,
        ),
        x=held,
        y=labels.y if labels else None,
        labels=labels.texts if labels else (),
        rows=rows,
        total=len(x),
        columns=columns,
        box=box,
        groupings=groupings(columns, held) if columns else (),
        relations=tuple(relation(text, columns) for text in options.constraints.relations),
    )


def digest_of(array: NDArray[np.generic]) -> str:
    """Identity of an array: its type, shape and values, whatever its memory order or byte order."""
    little = array.dtype.newbyteorder("<")
    parts = (np.ascontiguousarray(part, dtype=little).tobytes() for part in _parts(array))
    return array_digest(little.str, array.shape, parts)


def _parts(array: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """The rows in order, some megabytes at a time."""
    step = max(1, _PART // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _floats(x: NDArray[np.generic]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # a signalling NaN is missing like any other
        return x.astype(np.float64)


def _require_samples(arrays: Arrays) -> None:
    x, y, name = arrays.x, arrays.y, arrays.name
    if x.ndim < 2:
        raise ShapeMismatch(
            f"{name}: x has shape {x.shape}, where (samples, features) or images are expected"
        )
    if x.size == 0:
        raise InputError(
            f"{name}: x has shape {x.shape}, so it holds no values", advice="Give at least one sample."
        )
    if x.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: x holds values of type {x.dtype}, where numbers are expected",
            advice="Encode texts as numbers, or give a table with a header.",
        )
    if y is not None and (y.ndim == 0 or len(y) != len(x)):
        raise ShapeMismatch(
            f"{name}: x has {len(x):,} samples and y has {y.shape[0] if y.ndim else 'no'} rows"
        )


def _image_box(
    x: NDArray[np.generic], options: DataOptions, observe: Callable[[int, int], None] | None
) -> Box:
    lower, upper, done = np.inf, -np.inf, 0
    for part in _parts(x):
        least, most = float(part.min()), float(part.max())
        if not (least >= -LARGEST and most <= LARGEST):  # both are NaN for a part that holds one
            # In float64, because LARGEST does not fit into float32.
            fits = (np.abs(part.astype(np.float64)) <= LARGEST).reshape(len(part), -1).all(axis=1)
            at = done + int(np.flatnonzero(~fits)[0])
            raise InputError(
                f"x holds an infinity, a NaN or a number beyond {LARGEST:g} in row {at + 1}",
                advice="Remove or repair the sample.",
            )
        lower, upper, done = min(lower, least), max(upper, most), done + len(part)
        if observe is not None:
            observe(done, len(x))
    if options.bounds is not None:
        return stated_box(options.bounds, lower, upper)
    return image_box(x.dtype, lower, upper)


def _columns(
    arrays: Arrays, options: DataOptions, observe: Callable[[int, int], None] | None
) -> tuple[Column, ...]:
    """One column per feature, from all rows."""
    x = arrays.x
    names = tuple(arrays.columns) if arrays.columns else tuple(f"x{place}" for place in range(x.shape[1]))
    if len(names) != x.shape[1] or len(set(names)) != len(names):
        raise ShapeMismatch(
            f"{arrays.name}: {len(set(names))} different column names for {x.shape[1]} columns of x"
        )
    require_columns(options, names, None)
    lower, upper = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    whole, missing, done = np.full(len(names), fill_value=True), np.zeros(len(names), dtype=np.int64), 0
    for part in _parts(x):
        values = _floats(part)
        gaps = np.isnan(values)
        infinite = np.abs(values) > LARGEST
        if infinite.any():
            row, place = np.argwhere(infinite)[0]
            raise InputError(
                f"column {names[place]!r} holds an infinity or a number beyond {LARGEST:g} "
                f"in row {done + row + 1}",
                advice="Replace it by a smaller number, or by NaN for missing.",
            )
        # Adding 0 turns -0 into 0.
        lower = np.minimum(lower, np.where(gaps, np.inf, values).min(axis=0)) + 0.0
        upper = np.maximum(upper, np.where(gaps, -np.inf, values).max(axis=0)) + 0.0
        whole &= (gaps | ((values == np.floor(values)) & (np.abs(values) <= EXACT))).all(axis=0)
        missing += gaps.sum(axis=0)
        done += len(part)
        if observe is not None:
            observe(done, len(x))
    found = [
        number_column(name, lower=float(lo), upper=float(hi), whole=bool(is_whole), missing=int(gone))
        for name, lo, hi, is_whole, gone in zip(names, lower, upper, whole, missing, strict=True)
    ]
    groups = onehot_groups(onehot_candidates(found), (_floats(part) for part in _parts(x)))
    return mark(found, options, disjoint(groups))
