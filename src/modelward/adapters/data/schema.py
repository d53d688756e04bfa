"""What kind of feature a column is, and which columns encode one category together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modelward.core.data import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from modelward.adapters.data.options import DataOptions
    from modelward.adapters.data.scan import ColumnScan
    from modelward.core.data import ColumnKind

MISSING = "(missing)"
"""The category of rows that have none; a text that reads so counts as missing too."""
_SEPARATORS = "_=.:-/| "


def number_column(name: str, *, lower: float, upper: float, whole: bool, missing: int) -> Column:
    """A column of numbers.

    Whole numbers are ``integer`` however they are written (``2.0`` too), and ``boolean`` if all are 0 or 1.

    Args:
        name: from the header.
        lower: smallest value; above `upper` if there is no value.
        upper: largest value.
        whole: whether every value is a whole number.
        missing: rows without a value.
    """
    if lower > upper:
        return Column(name=name, kind="real", lower=0.0, upper=0.0, missing=missing)
    kind: ColumnKind = "real"
    if whole:
        kind = "boolean" if lower >= 0 and upper <= 1 else "integer"
    return Column(name=name, kind=kind, lower=lower, upper=upper, missing=missing)


def finish(scan: ColumnScan, values: NDArray[np.float64]) -> tuple[Column, NDArray[np.float64]]:
    """Turn a scanned column into a feature.

    Args:
        scan: after all rows.
        values: (n,) float64 as `ColumnScan.add` returned them.

    Returns:
        The column and (n,) float64: numbers, 0 and 1 of booleans with NaN for missing; indices into the
        categories, of which `MISSING` is one if any row is missing.
    """
    tally = scan.numbers
    if scan.form != "text":
        lower, upper = (tally.lower, tally.upper) if scan.form != "empty" else (0.0, -1.0)
        column = number_column(scan.name, lower=lower, upper=upper, whole=tally.whole, missing=scan.missing)
        return replace(column, categories=scan.words or ()), values
    texts = set(scan.texts.codes) | ({MISSING} if scan.missing else set())
    categories = tuple(sorted(texts))
    index = {text: place for place, text in enumerate(categories)}
    # One more entry at the end: NaN is sent there.
    remap = np.array([index[text] for text in scan.texts.codes] + [index.get(MISSING, 0)], dtype=np.float64)
    codes = np.where(np.isnan(values), len(remap) - 1, values).astype(np.int64)
    column = Column(
        name=scan.name,
        kind="category",
        lower=0.0,
        upper=float(len(categories) - 1),
        categories=categories,
        missing=scan.missing,
    )
    return column, remap[codes]


def onehot_candidates(columns: Sequence[Column]) -> list[tuple[str, list[int]]]:
    """Sets of 0/1 columns whose names share what stands before a separator, the largest sets first.

    Args:
        columns: the features.

    Returns:
        Common prefix and positions of each set of at least two; sets may overlap.
    """
    groups: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column.kind != "boolean" or column.missing:
            continue
        for cut, sign in enumerate(column.name[:-1]):
            if cut and sign in _SEPARATORS:
                groups.setdefault(column.name[:cut], []).append(place)
    found = [(prefix, places) for prefix, places in groups.items() if len(places) > 1]
    return sorted(found, key=lambda group: (-len(group[1]), group[0]))


def onehot_groups(
    candidates: Sequence[tuple[str, list[int]]], blocks: Iterable[NDArray[np.float64]]
) -> list[tuple[str, list[int]]]:
    """The candidates that hold: each row has exactly one 1.

    Args:
        candidates: from `onehot_candidates`.
        blocks: (m, columns) arrays that together are the rows to check.
    """
    alive = list(candidates)
    for block in blocks:
        alive = [group for group in alive if bool((block[:, group[1]].sum(axis=1) == 1).all())]
        if not alive:
            break
    return alive


def disjoint(groups: Sequence[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """The groups in order, without those that share a column with an earlier one."""
    taken: set[int] = set()
    chosen = []
    for prefix, places in groups:
        if taken.isdisjoint(places):
            taken.update(places)
            chosen.append((prefix, places))
    return chosen


def mark(
    columns: Sequence[Column], options: DataOptions, groups: Sequence[tuple[str, list[int]]]
) -> tuple[Column, ...]:
    """The columns with what the user said of them and their one-hot groups."""
    member = {place: prefix for prefix, places in groups for place in places}
    limits = options.constraints
    return tuple(
        replace(
            column,
            immutable=column.name in options.immutable,
            sensitive=column.name in options.sensitive,
            onehot=member.get(place),
            direction="up" if column.name in limits.up else "down" if column.name in limits.down else "any",
            cost=limits.cost.get(column.name, 1.0),
        )
        for place, column in enumerate(columns)
    )
