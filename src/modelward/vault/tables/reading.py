"""Tables in files, as groups of rows: the row groups of parquet, the batches of Arrow, blocks of csv."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelward.adapters.data.csv_source import CsvSource
from modelward.adapters.data.limits import GRACE, MAX_RATIO
from modelward.adapters.data.open import recognise
from modelward.adapters.data.parquet_source import ParquetSource, require_names
from modelward.errors import ConfigInvalid, ContentUnstable, FileDamaged, FileMissing
from modelward.vault.tables.rows import BLOCK, type_name
from modelward.vault.tables.widths import is_view, shares, widths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUP_ROWS: Final = BLOCK
"""Rows of a block where the format has no groups of its own."""
PIECE: Final = 1 << 22
"""Bytes of cells digested at a time, about, once nothing is shared; it does not influence any result."""

_PARTS: Final = 16  # of a long row group: each costs once what was read of its texts before
_LONGEST: Final = 1 << 20  # rows of a part
_NUMBER: Final = 32  # bytes; values of a fixed width beyond are no decimals
_ARROW_FILE, _ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"


class Piece(NamedTuple):
    """Rows that follow one another within one group.

    Attributes:
        group: the group's place.
        columns: validated arrays.
        rows: how many; 0 says that the group exists and is empty.
    """

    group: int
    columns: list[pa.Array]
    rows: int


class TableOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file is read.

    Attributes:
        group_rows: rows of a group, instead of the groups that the file has.
        types: for csv, the Arrow type of columns that are not texts (``int64``, ``float64``, ``bool``,
            ``date32``, ``timestamp[us]``); an empty cell of such a column is null.
    """

    group_rows: int | None = None
    types: dict[str, str] = {}


class Table(Protocol):
    """An open file."""

    @property
    def format(self) -> str:
        """``parquet``, ``arrow`` or ``csv``."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, as the file declares them."""
        ...

    def pieces(self, groups: range | None = None) -> Iterator[Piece]:
        """All rows in order, or those of some groups that follow one another."""
        ...

    @property
    def direct(self) -> bool:
        """Whether a group can be read without those before it."""
        ...


def columns_of(schema: pa.Schema) -> list[tuple[str, str]]:
    """Name and logical type of each column, in order.

    Raises:
        InputError: a type has no canonical form.
    """
    return [(field.name, type_name(field.type)) for field in schema]


@contextmanager
def open_table(path: Path, options: TableOptions) -> Iterator[Table]:
    """Open a parquet, Arrow (file, feather or stream), csv or csv.gz file; say if it changes meanwhile.

    Raises:
        FileMissing: it does not exist or cannot be read.
        FileDamaged: it is truncated, damaged or would expand to implausibly much.
        FormatUnknown: it is none of these.
        InputError: two columns have one name, or a type has no canonical form.
        ConfigInvalid: an option does not fit.
        ContentUnstable: it was written to while it was read.
    """
    before = _state(path)
    table = _open(path, options)
    columns_of(table.schema)  # a type without a canonical form is refused before anything is read
    yield table if options.group_rows is None else _Regrouped(table, options.group_rows)
    if _state(path) != before:
        raise ContentUnstable(f"{path}: was written to while it was read")


def _open(path: Path, options: TableOptions) -> Table:
    if options.group_rows is not None and options.group_rows < 1:
        raise ConfigInvalid(f"a group of {options.group_rows} rows is none")
    if not path.is_file():
        raise FileMissing(f"{path}: is not a regular file")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_ARROW_FILE))
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    if head.startswith((_ARROW_FILE, _ARROW_STREAM)):
        found = "arrow"
    else:
        found = recognise(path).removesuffix(".gz")
        if found not in {"parquet", "csv"}:
            raise FileDamaged(
                f"{path}: is {found}, no table with named columns",
                advice="A manifest of rows is made of parquet, csv and Arrow files; seal others as they are.",
            )
    if options.types and found != "csv":
        raise ConfigInvalid(f"{path}: types are stated for csv alone; {found} has its own")
    if found == "arrow":
        return _Arrow(path, stream=head.startswith(_ARROW_STREAM))
    return _Parquet(path) if found == "parquet" else _Regrouped(_Csv(path, options), GROUP_ROWS)


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@final
class _Parquet:
    """Its row groups."""

    format = "parquet"
    direct = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: list[str] = []
        ParquetSource(path)  # its refusals of damaged, implausible and ambiguous files are these
        with self._reading() as file:
            columns = [file.schema.column(place) for place in range(len(file.schema))]
            self._texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
            self._fixed = sum(  # bytes of a row that is nothing but these, which a page may hold once for all
                column.length
                for column in columns
                if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and column.length > _NUMBER
            )
            self.schema: pa.Schema = file.schema_arrow

    @contextmanager
    def _reading(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(
                self._path,
                memory_map=False,
                buffer_size=1 << 20,
                pre_buffer=False,
                read_dictionary=self._texts,  # a text that stands a million times is held once
            ) as file:
                yield file
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise FileDamaged(f"{self._path}: is a truncated or damaged parquet file") from error

    def pieces(self, groups: range | None = None) -> Iterator[Piece]:
        allowed = _Allowance(self._path)
        with self._reading() as file:
            count = file.metadata.num_row_groups
            for place in _among(groups, count):
                yield Piece(place, [], 0)
                rows = self._at_a_time(file.metadata.row_group(place))
                for batch in file.iter_batches(batch_size=rows, row_groups=[place], use_threads=False):
                    allowed.take(self._fixed * batch.num_rows)
                    yield from _pieces(batch, place, allowed)

    def _at_a_time(self, group: pq.RowGroupMetaData) -> int:
        per_row = max(1, group.total_byte_size // max(1, group.num_rows))
        rows: int = min(_LONGEST, max(PIECE // per_row, group.num_rows // _PARTS))
        rows = min(rows, PIECE // self._fixed) if self._fixed else rows
        return max(1, rows)


@final
class _Arrow:
    """Its record batches. Those of a file can be reached alone; a stream is read from its beginning."""

    format = "arrow"

    def __init__(self, path: Path, *, stream: bool) -> None:
        self._path, self._stream, self.direct = path, stream, not stream
        with self._reading() as reader:
            self.schema: pa.Schema = reader.schema
            names = self.schema.names  # decoded only now
        require_names(str(path), names)

    @contextmanager
    def _reading(self) -> Iterator[pa.RecordBatchFileReader | pa.RecordBatchStreamReader]:
        try:
            # Not mapped: who cuts a mapped file meanwhile ends the process.
            with pa.OSFile(str(self._path)) as source:
                yield pa.ipc.open_stream(source) if self._stream else pa.ipc.open_file(source)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise FileDamaged(f"{self._path}: is a truncated or damaged Arrow file") from error

    def pieces(self, groups: range | None = None) -> Iterator[Piece]:
        allowed = _Allowance(self._path)
        with self._reading() as reader:
            for place, batch in _batches(reader, groups):
                views = [widths(column).sum() for column in batch.columns if is_view(column.type)]
                _Allowance(self._path).take(sum(views))  # before each is checked to be UTF-8
                batch.validate(full=True)  # before its size is asked for: offsets may lead anywhere
                allowed.take(max(batch.nbytes, batch.num_rows * batch.num_columns))
                if groups is None or place in groups:
                    yield Piece(place, [], 0)
                    yield from _pieces(batch, place, allowed)


@final
class _Csv:
    """One group of rows; texts, or what `types` says."""

    format = "csv"
    direct = False

    def __init__(self, path: Path, options: TableOptions) -> None:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        self._path = path
        self._source = CsvSource(path, zipped=zipped, verbatim=True)
        for name in options.types:
            if name not in self._source.columns:
                raise ConfigInvalid(f"{path}: has no column {name!r}, for which a type is stated")
        self.schema = pa.schema(
            [(name, _stated(options.types.get(name, "string"))) for name in self._source.columns]
        )

    def pieces(self, groups: range | None = None) -> Iterator[Piece]:
        if groups is not None and 0 not in groups:
            return
        for batch in self._source.batches():
            columns = [self._typed(cells, field) for cells, field in zip(batch, self.schema, strict=True)]
            yield Piece(0, columns, len(columns[0]))

    def _typed(self, cells: pa.Array, field: pa.Field) -> pa.Array:
        if pa.types.is_string(field.type):
            return cells
        filled = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
        try:
            return filled.cast(field.type)
        except pa.ArrowException as error:
            raise FileDamaged(
                f"{self._path}: column {field.name!r} holds a text that is no {field.type}",
                advice="State another type for the column, or none to keep its texts.",
            ) from error


@final
class _Regrouped:
    """A table whose groups are blocks of so many rows."""

    direct = False

    def __init__(self, table: Table, rows: int) -> None:
        self.format, self.schema = table.format, table.schema
        self._table, self._rows = table, rows

    def pieces(self, groups: range | None = None) -> Iterator[Piece]:
        first = 0
        for piece in self._table.pieces():
            start = 0
            while start < piece.rows:
                place, inside = divmod(first + start, self._rows)
                count = min(piece.rows - start, self._rows - inside)
                if groups is not None and place >= groups.stop:
                    return
                if groups is None or place in groups:
                    yield Piece(place, [column.slice(start, count) for column in piece.columns], count)
                start += count
            first += piece.rows


def _batches(
    reader: pa.RecordBatchFileReader | pa.RecordBatchStreamReader, groups: range | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with their places; of a file, only those asked for."""
    if not isinstance(reader, pa.RecordBatchFileReader):
        yield from enumerate(reader)
        return
    for place in _among(groups, reader.num_record_batches):
        yield place, reader.get_batch(place)


def _among(groups: range | None, count: int) -> range:
    return range(count) if groups is None else range(groups.start, min(groups.stop, count))


@final
class _Allowance:
    """How much a file may expand to, of which what is read takes away."""

    def __init__(self, path: Path) -> None:
        self._path, self._size, self._taken = path, path.stat().st_size, 0.0

    def take(self, expanded: float) -> None:
        self._taken += expanded
        if self._taken > max(GRACE, MAX_RATIO * self._size):
            raise FileDamaged(f"{self._path}: {self._size:,} bytes expand to over {self._taken:,.0f}")


def _pieces(batch: pa.RecordBatch, group: int, allowed: _Allowance) -> Iterator[Piece]:
    """Cut a batch so that what is computed for one piece stays small; check it, for it is not trusted."""
    batch.validate(full=True)
    sharing = [column for column in batch.columns if shares(column.type)]
    ends = np.cumsum(sum(map(widths, sharing), np.zeros(batch.num_rows)))
    if sharing and batch.num_rows:
        allowed.take(float(ends[-1]))
    own = sum(column.nbytes for column in batch.columns if not shares(column.type))
    ends += np.linspace(0, own, batch.num_rows)
    first, before = 0, 0.0
    while first < batch.num_rows:
        last = max(first + 1, int(np.searchsorted(ends, before + PIECE, "right")))
        last = min(last, first + BLOCK)
        yield Piece(group, batch.slice(first, last - first).columns, last - first)
        first, before = last, float(ends[last - 1])


def _stated(name: str) -> pa.DataType:
    try:
        kind = pa.type_for_alias(name)
    except ValueError as error:
        raise ConfigInvalid(f"{name!r} is no type of Arrow") from error
    return kind
