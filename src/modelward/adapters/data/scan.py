"""One pass over a table, or two: types, extremes, digests and a sample, from all rows.

What a column is gets decided by all of its rows, in this order: every value is a number; every value is a
word of one spelling of true and false; anything else is text. The first pass assumes what the rows so far
allow. If a later row proves an assumption wrong, a second pass starts with what is then known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelward.adapters.data.arrow import WORDS, as_numbers, as_words, first_text, is_text
from modelward.adapters.data.limits import LARGEST, MAX_CATEGORIES
from modelward.adapters.data.sample import Reservoir
from modelward.adapters.data.tally import NumberTally, TextTally
from modelward.core.canonical import digest
from modelward.errors import FileDamaged, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Form: TypeAlias = Literal["empty", "number", "boolean", "text"]


class Source(Protocol):
    """A table that can be read again from its start."""

    @property
    def name(self) -> str:
        """As the user gave it."""
        ...

    @property
    def format(self) -> str:
        """As recognised."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The header; all different, none empty."""
        ...

    @property
    def typed(self) -> bool:
        """Whether the file declares types; otherwise a text may stand for a number."""
        ...

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Read the rows from the first.

        Args:
            only: positions of the columns wanted, increasing; null for all.

        Returns:
            For each next few rows the cells of each column, null, bool, float64 or large_string.
        """
        ...


@final
class ColumnScan:
    """One column while its rows stream by.

    Attributes:
        name: from the header.
        form: what the rows so far allow; ``empty`` while all of them are missing.
        words: the spelling of a boolean column of words; null otherwise.
        stale: rows were counted under a form that later rows ruled out.
        mixed: row number and text of the first text in a column that began with numbers, or null.
        numbers: what was counted of a number or boolean column.
        texts: what was counted of a text column.
    """

    def __init__(self, name: str, *, typed: bool, label: bool, known: ColumnScan | None = None) -> None:
        self.name = name
        self.form: Form = known.form if known else "empty"
        self.words: tuple[str, str] | None = known.words if known else None
        self.mixed: tuple[int, str] | None = known.mixed if known else None
        self.stale = False
        self.rows = 0
        self.numbers = NumberTally(distinct=label)
        self.texts = TextTally()
        self.label = label
        self._typed = typed

    def again(self) -> ColumnScan:
        """The same column before a second pass."""
        return ColumnScan(self.name, typed=self._typed, label=self.label, known=self)

    def add(self, cells: pa.Array) -> NDArray[np.float64]:
        """Count the next rows.

        Returns:
            (n,) float64: numbers, 0 and 1, or indices into the texts; NaN is missing.
        """
        values = self._read(cells)
        if self.form == "text":
            values = self.texts.add(pc.cast(cells, pa.large_string()))
        elif self.form != "empty":
            self.numbers.add(self.rows, values)
        self.rows += len(cells)
        return values

    def _read(self, cells: pa.Array) -> NDArray[np.float64]:
        """Settle the form that holds for these rows and all before, and read them unless it is text."""
        nothing = np.full(len(cells), np.nan)
        if cells.null_count == len(cells):
            return nothing
        if pa.types.is_boolean(cells.type):
            self._become("boolean", WORDS[0])
            return _numbers(cells)
        if not is_text(cells):
            self._become("number")
            return _numbers(cells)
        if self.form in {"empty", "number"} and not self._typed:
            numbers = as_numbers(cells)
            if numbers is not None:
                self._become("number")
                return numbers
        if self.form in {"empty", "boolean"}:
            read = as_words(cells, self.words)
            if read is not None:
                self._become("boolean", read[0])
                return read[1]
        if self.form in {"empty", "number"} and not self._typed:
            place, text, began_with_numbers = first_text(cells)
            if self.form == "number" or began_with_numbers:
                self.mixed = (self.rows + place, text)
        self._become("text")
        return nothing

    def _become(self, form: Form, words: tuple[str, str] | None = None) -> None:
        if form != self.form:
            self.stale = self.stale or self.rows > 0
            self.form, self.words = form, words

    @property
    def missing(self) -> int:
        """Rows without a value."""
        if self.form == "empty":
            return self.rows
        return self.texts.missing if self.form == "text" else self.numbers.missing

    def digest(self) -> str:
        """Identity of the values in row order: the form, the rows, and SHA-256 over the values."""
        if self.missing == self.rows:
            return digest({"form": "empty", "rows": self.rows})
        if self.form == "text":
            lengths, content = self.texts.hexdigests()
            return digest({"form": "text", "rows": self.rows, "lengths": lengths, "bytes": content})
        return digest({"form": self.form, "rows": self.rows, "values": self.numbers.hexdigest()})

    def require_feature(self) -> None:
        """Refuse what cannot be a feature.

        Raises:
            InputError: a number beyond `LARGEST`, or more than `MAX_CATEGORIES` distinct texts.
        """
        if self.form == "text" and self.texts.crowded:
            if self.mixed:
                row, text = self.mixed
                raise InputError(
                    f"column {self.name!r} begins with numbers but holds {_short(text)} in row {row + 1}, "
                    f"and has more than {MAX_CATEGORIES:,} distinct values as texts",
                    advice="Correct the row, or drop the column.",
                )
            raise InputError(
                f"column {self.name!r} has more than {MAX_CATEGORIES:,} distinct texts, like an identifier, "
                "so it is not used as a feature",
                advice="Drop the column, or make fewer categories of it, or name it with --text.",
            )
        if self.form == "number" and self.numbers.infinite is not None:
            raise InputError(
                f"column {self.name!r} holds an infinity or a number beyond {LARGEST:g} "
                f"in row {self.numbers.infinite + 1}",
                advice="Replace it by a smaller number or leave the cell empty.",
            )


class Profile(NamedTuple):
    """What is known of a table after reading all rows.

    Attributes:
        scans: one per column.
        total: rows in the table.
        rows: (n,) int64 numbers of the rows held, increasing.
        values: (n, columns) float64, as `ColumnScan.add` returns them.
    """

    scans: list[ColumnScan]
    total: int
    rows: NDArray[np.int64]
    values: NDArray[np.float64]


def profile(source: Source, *, label: str | None, capacity: int) -> Profile:
    """Read a whole table.

    Args:
        source: the table.
        label: name of the label column, of which distinct values are counted.
        capacity: at most this many rows are held.

    Raises:
        FileDamaged: there are no rows, or the rows cannot be read.
        InputError: a column cannot be a feature.
    """
    scans = [ColumnScan(name, typed=source.typed, label=name == label) for name in source.columns]
    while True:
        reservoir = Reservoir(capacity)
        total = 0
        for cells in source.batches():
            values = [scan.add(column) for scan, column in zip(scans, cells, strict=True)]
            stale = any(scan.stale for scan in scans)
            if not stale:
                reservoir.offer(total, values)
            total += len(cells[0])
            for scan in scans:
                if not (scan.stale or scan.label):
                    _refuse_crowded(scan)
        if not total:
            raise FileDamaged(f"{source.name}: has a header but no rows")
        if not any(scan.stale for scan in scans):
            break
        scans = [scan.again() for scan in scans]
    for scan in scans:
        if not scan.label:
            scan.require_feature()
    rows, held = reservoir.take()
    return Profile(scans, total, rows, held)


def _refuse_crowded(scan: ColumnScan) -> None:
    """End early: a text column only ever gets more texts."""
    if scan.form == "text":
        scan.require_feature()


def _numbers(cells: pa.Array) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:27] + "...")
