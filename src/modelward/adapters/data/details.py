"""What was found on opening, for reports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.adapters.data.labels import Labels
    from modelward.core.canonical import JSON
    from modelward.core.data import Box, Column


def describe(
    *,
    rows: int,
    held: int,
    columns: Sequence[Column],
    box: Box,
    labels: Labels | None,
    shape: tuple[int, ...] = (),
) -> dict[str, JSON]:
    """Summarise a data set.

    Args:
        rows: in the file.
        held: of these, in memory.
        columns: the features of a table; empty for images.
        box: where inputs may lie.
        labels: null when there are none.
        shape: of one sample, for images.
    """
    details: dict[str, JSON] = {"rows": rows, "held": held, "box": dict(box.describe())}
    if columns:
        details["features"] = len(columns)
        details["kinds"] = dict(sorted(Counter(column.kind for column in columns).items()))
        details["missing"] = {column.name: column.missing for column in columns if column.missing}
        onehot: dict[str, JSON] = dict(sorted(Counter(c.onehot for c in columns if c.onehot).items()))
        if onehot:
            details["onehot"] = onehot
    else:
        details["shape"] = list(shape)
    if labels is not None:
        details["classes"] = dict(labels.counts)
    return details
