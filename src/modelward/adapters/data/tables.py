"""Tables, from whatever source, as data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelward.adapters.data.boxes import feature_box
from modelward.adapters.data.details import describe
from modelward.adapters.data.groupings import groupings
from modelward.adapters.data.labels import labels_of_column
from modelward.adapters.data.options import require_column, require_columns
from modelward.adapters.data.relations import relation
from modelward.adapters.data.scan import profile
from modelward.adapters.data.schema import disjoint, finish, mark, onehot_candidates, onehot_groups
from modelward.core.data import Dataset
from modelward.core.digest import table_digest
from modelward.core.subject import Subject, named
from modelward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from modelward.adapters.data.options import DataOptions
    from modelward.adapters.data.scan import ColumnScan, Profile, Source
    from modelward.core.data import Column


def open_table(source: Source, options: DataOptions) -> Dataset:
    """Read a whole table and hold a uniform sample of its rows.

    Args:
        source: the table.
        options: what the user says about it.

    Raises:
        InputError: see `modelward.adapters.data.open.open_data`.
    """
    if options.label is not None:
        require_column(options.label, source.columns, "label")
    require_columns(options, source.columns, options.label)
    if not [name for name in source.columns if name != options.label]:
        raise InputError(
            f"{source.name}: has no column besides the label", advice="Give at least one feature."
        )
    seen = profile(source, label=options.label, capacity=options.rows)
    places = [place for place, scan in enumerate(seen.scans) if not scan.label]
    x = np.empty((len(seen.rows), len(places)))
    plain: list[Column] = []
    for target, place in enumerate(places):
        column, x[:, target] = finish(seen.scans[place], seen.values[:, place])
        plain.append(column)
    groups = _onehot(source, seen, plain, x)
    columns = mark(plain, options, groups)
    labels = next(
        (labels_of_column(s, v) for s, v in zip(seen.scans, seen.values.T, strict=True) if s.label), None
    )
    box = feature_box(columns, options)
    details = describe(rows=seen.total, held=len(x), columns=columns, box=box, labels=labels)
    if mixed := {scan.name: scan.mixed[0] + 1 for scan in seen.scans if scan.mixed}:
        details["mixed"] = {name: f"row {row} is not a number" for name, row in mixed.items()}
    return Dataset(
        subject=Subject(
            kind="dataset",
            name=named(source.name),
            digest=table_digest({scan.name: scan.digest() for scan in seen.scans}),
            format=source.format,
            details=details,
        ),
        x=x,
        y=labels.y if labels else None,
        labels=labels.texts if labels else (),
        rows=seen.rows,
        total=seen.total,
        columns=columns,
        box=box,
        groupings=groupings(columns, x),
        relations=tuple(relation(text, columns) for text in options.constraints.relations),
    )


def _onehot(
    source: Source, seen: Profile, columns: Sequence[Column], x: NDArray[np.float64]
) -> list[tuple[str, list[int]]]:
    """One-hot groups that hold in every row of the file, not only in those held."""
    groups = disjoint(onehot_groups(onehot_candidates(columns), [x]))
    if not groups or seen.total == len(x):
        return groups
    features = [place for place, scan in enumerate(seen.scans) if not scan.label]
    members = sorted({place for _, group in groups for place in group})
    local = {place: position for position, place in enumerate(members)}
    only = [features[place] for place in members]
    packed = [(prefix, [local[place] for place in group]) for prefix, group in groups]
    alive = {prefix for prefix, _ in onehot_groups(packed, _blocks(source, seen.scans, only))}
    return [group for group in groups if group[0] in alive]


def _blocks(
    source: Source, scans: Sequence[ColumnScan], only: Sequence[int]
) -> Iterator[NDArray[np.float64]]:
    chosen = [scans[place].again() for place in only]
    for cells in source.batches(only):
        yield np.column_stack([scan.add(column) for scan, column in zip(chosen, cells, strict=True)])
