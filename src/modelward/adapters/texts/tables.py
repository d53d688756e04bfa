"""Texts in a column of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import pyarrow as pa

from modelward.adapters.data.labels import labels_of_column
from modelward.adapters.data.options import require_column
from modelward.adapters.data.sample import sample_rows
from modelward.adapters.data.scan import profile
from modelward.adapters.texts.texts import Texts, digest_of, text_dataset
from modelward.errors import FileDamaged, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.adapters.data.options import DataOptions
    from modelward.adapters.data.scan import Source
    from modelward.core.data import Dataset

_GLANCE = 200
_WORDS = 3.0


def free_text(source: Source, label: str | None) -> str | None:
    """The column of texts that a table consists of, where that is beyond doubt.

    It is the only one besides a named label, its first cells are all texts, hardly one of them twice, and of
    `_WORDS` words or more in the mean.
    """
    names = [name for name in source.columns if name != label]
    if label not in source.columns or len(names) != 1:
        return None
    first = next(source.batches([source.columns.index(names[0])]), None)
    cells = [] if first is None else first[0].slice(0, _GLANCE).to_pylist()
    texts = [cell for cell in cells if isinstance(cell, str)]
    if len(texts) < 0.9 * len(cells) or len(set(texts)) < 0.5 * len(texts):
        return None
    words = sum(len(text.split()) for text in texts)
    return names[0] if texts and words >= _WORDS * len(texts) else None


def open_texts(source: Source, verbatim: Source, column: str, options: DataOptions) -> Dataset:
    """The texts and labels of a table; its other columns are left out.

    Args:
        source: the table.
        verbatim: the same table, in which every cell of texts is one, however it reads.
        column: which holds the texts; a missing one is an empty text.
        options: what the user says.

    Raises:
        ColumnMissing: the text or the label column is not in the table.
        InputError: the text column holds something else, or the labels are none.
    """
    require_column(column, source.columns, "text")
    labels, rows, label_digest = None, None, None
    if options.label is not None:
        require_column(options.label, source.columns, "label")
        if options.label == column:
            raise InputError(f"column {column!r} cannot be both text and label", advice="Name two columns.")
        one = _Only(source, options.label)
        seen = profile(one, label=options.label, capacity=options.rows)
        labels, rows = labels_of_column(seen.scans[0], seen.values[:, 0]), seen.rows
        label_digest = seen.scans[0].digest()
    place = source.columns.index(column)
    if rows is None:
        rows = sample_rows(sum(len(cells[0]) for cells in verbatim.batches([place])), options.rows)
    wanted, texts, total = rows, [], 0

    def cells() -> Iterator[str]:
        nonlocal total
        held = 0
        for batch in verbatim.batches([place]):
            for text in _strings(batch[0], column, source.name):
                if held < len(wanted) and wanted[held] == total:
                    texts.append(text)
                    held += 1
                total += 1
                yield text

    digest = digest_of(cells())
    if total == 0:
        raise FileDamaged(f"{source.name}: has a header but no rows")
    found = Texts(
        name=source.name,
        format=source.format,
        column=column,
        texts=texts,
        digest=digest,
        rows=rows,
        total=total,
        labels=labels,
        label_digest=label_digest,
    )
    return text_dataset(found, options)


@final
class _Only:
    """One column of a source."""

    def __init__(self, source: Source, column: str) -> None:
        self.name, self.format, self.typed = source.name, source.format, source.typed
        self.columns = (column,)
        self._source, self._place = source, source.columns.index(column)

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Read the rows from the first."""
        del only  # there is one
        return self._source.batches([self._place])


def _strings(cells: pa.Array, column: str, name: str) -> list[str]:
    if not (pa.types.is_large_string(cells.type) or pa.types.is_null(cells.type)):
        raise InputError(
            f"{name}: column {column!r} holds {cells.type} values, where texts are expected",
            advice="Name the column of texts with --text.",
        )
    return [text or "" for text in cells.to_pylist()]
