"""Parquet files and live Arrow tables as a stream of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import pyarrow as pa
import pyarrow.parquet as pq

from modelward.adapters.data.arrow import plain
from modelward.adapters.data.limits import GRACE, MAX_RATIO
from modelward.errors import FileDamaged, FileMissing, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BATCH = 1 << 16
"""Rows decoded at a time; it does not influence any result."""


@final
class ParquetSource:
    """A parquet file.

    Raises:
        FileMissing: it cannot be read.
        FileDamaged: it is truncated or damaged, or would expand to implausibly much.
        InputError: two columns have the same name, or a column is neither number nor text.
    """

    typed = True
    format = "parquet"

    def __init__(
        self, path: Path, *, observe: Callable[[int, int], None] | None = None, batch: int = BATCH
    ) -> None:
        self.name = str(path)
        self._path = path
        self._observe = observe
        self._batch = batch
        with self._open() as file:
            self.columns = tuple(file.schema_arrow.names)
            self._require_plausible(file.metadata, path.stat().st_size)
        require_names(self.name, self.columns)

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._path, memory_map=False, buffer_size=1 << 20, pre_buffer=False)
        except OSError as error:
            if error.errno is not None:
                raise FileMissing(f"{self.name}: cannot be read ({error.strerror})") from error
            raise FileDamaged(f"{self.name}: is a truncated or damaged parquet file") from error
        except (pa.ArrowException, ValueError) as error:
            raise FileDamaged(f"{self.name}: is a truncated or damaged parquet file") from error

    def _require_plausible(self, metadata: pq.FileMetaData, size: int) -> None:
        cells = metadata.num_rows * max(1, metadata.num_columns)
        if cells > max(GRACE, MAX_RATIO * size):
            raise FileDamaged(
                f"{self.name}: {size:,} bytes claim to hold {cells:,} cells, more than {MAX_RATIO} per byte"
            )

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Read the rows from the first."""
        wanted = list(self.columns) if only is None else [self.columns[place] for place in only]
        done = 0
        with self._open() as file:
            total = file.metadata.num_rows
            try:
                for batch in file.iter_batches(batch_size=self._batch, columns=wanted, use_threads=False):
                    if batch.num_rows:
                        yield [plain(batch.column(name), name) for name in wanted]
                    done += batch.num_rows
                    if self._observe is not None:
                        self._observe(done, total)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise FileDamaged(f"{self.name}: is a truncated or damaged parquet file") from error


@final
class TableSource:
    """An Arrow table in memory."""

    typed = True
    format = "table"

    def __init__(self, table: pa.Table, *, name: str) -> None:
        self.name = name
        self.columns = tuple(table.column_names)
        self._table = table
        require_names(name, self.columns)

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Read the rows from the first."""
        table = self._table if only is None else self._table.select(list(only))
        for batch in table.to_batches(max_chunksize=BATCH):
            if batch.num_rows:
                yield [
                    plain(cells, name) for name, cells in zip(table.column_names, batch.columns, strict=True)
                ]


def require_names(name: str, columns: Sequence[str]) -> None:
    """Refuse a table with two columns of the same name, or none.

    Raises:
        InputError: there is no column, or two have the same name.
    """
    if not columns:
        raise InputError(f"{name}: has no columns", advice="Give a table with at least one feature.")
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise InputError(
                f"{name}: two columns are named {column!r}", advice="Give each column its own name."
            )
