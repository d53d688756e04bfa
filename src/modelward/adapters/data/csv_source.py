"""Comma-separated values, plain or gzipped, as a stream of text columns."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import pyarrow as pa
import pyarrow.csv as pv

from modelward.adapters.data.limits import GRACE, MAX_RATIO
from modelward.errors import FileDamaged, FileMissing, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MISSING_TEXTS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Cells that mean "no value", quoted or not: those of pandas.read_csv 2.2."""

BLOCK = 1 << 22
"""Bytes parsed at a time, and so the longest row; it does not influence any result."""

_HEAD = 1 << 18
_SPLIT = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")


@final
class _Bytes(io.RawIOBase):
    """Reads a file, unzips it if need be, and bounds what it unzips.

    Attributes:
        done: bytes of the file read so far.
        size: bytes of the file.
    """

    def __init__(self, path: Path, *, zipped: bool) -> None:
        self.done = 0
        self.size = path.stat().st_size
        self._path = path
        self._file = path.open("rb")
        self._stream = gzip.GzipFile(fileobj=self._file) if zipped else self._file
        self._zipped = zipped
        self._given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes.

        Raises:
            FileDamaged: the file is truncated, does not unzip, or unzips to implausibly much.
        """
        try:
            data = self._stream.read(min(size, BLOCK) if size >= 0 else BLOCK)
        except EOFError as error:
            raise FileDamaged(f"{self._path}: the gzip stream is truncated") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise FileDamaged(f"{self._path}: the gzip stream is damaged") from error
        self._given += len(data)
        self.done = min(self._file.tell(), self.size)
        if self._zipped and self._given > max(GRACE, MAX_RATIO * self.done):
            raise FileDamaged(
                f"{self._path}: {self.done:,} bytes unzip to {self._given:,}, over {MAX_RATIO} times as much",
                advice="If the file is genuine, unzip it yourself and give the csv.",
            )
        return data

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        io.RawIOBase.close(self)


@final
class CsvSource:
    """A csv file with a header, in UTF-8, separated by commas, semicolons or tabs.

    Verbatim, no text means "no value": a message may read "None".

    Raises:
        FileMissing: it cannot be read.
        FileDamaged: it is empty, truncated, not UTF-8, or its rows differ in length.
        InputError: the header is missing, or has empty or repeated names.
    """

    typed = False

    def __init__(
        self,
        path: Path,
        *,
        zipped: bool,
        observe: Callable[[int, int], None] | None = None,
        block: int = BLOCK,
        verbatim: bool = False,
    ) -> None:
        self.name = str(path)
        self.format = "csv.gz" if zipped else "csv"
        self._path = path
        self._zipped = zipped
        self._observe = observe
        self._block = block
        self._verbatim = verbatim
        self._delimiter, self.columns = self._header()

    def _header(self) -> tuple[str, tuple[str, ...]]:
        with self._open() as stream:
            head = stream.read(_HEAD)
        if not head.strip(b"\xef\xbb\xbf \r\n\t"):
            raise FileDamaged(f"{self.name}: is empty")
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=False)
        except UnicodeDecodeError as error:
            raise FileDamaged(f"{self.name}: byte {error.start:,} is not UTF-8 text") from error
        delimiter, names = _dialect(text)
        _require_header(self.name, names)
        return delimiter, tuple(names)

    @contextmanager
    def _open(self) -> Iterator[_Bytes]:
        try:
            stream = _Bytes(self._path, zipped=self._zipped)
        except OSError as error:
            raise FileMissing(f"{self._path}: cannot be read ({error.strerror})") from error
        try:
            yield stream
        finally:
            stream.close()

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Read the rows from the first, as text columns with missing cells."""
        wanted = self.columns if only is None else [self.columns[place] for place in only]
        with self._open() as stream:
            try:
                reader = pv.open_csv(
                    stream,
                    read_options=pv.ReadOptions(block_size=self._block),
                    parse_options=pv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                    convert_options=pv.ConvertOptions(
                        column_types=dict.fromkeys(self.columns, pa.large_string()),
                        null_values=list(MISSING_TEXTS),
                        strings_can_be_null=not self._verbatim,
                        include_columns=wanted,
                    ),
                )
                for batch in reader:
                    if batch.num_rows:
                        yield batch.columns
                    if self._observe is not None:
                        self._observe(stream.done, stream.size)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise FileDamaged(f"{self.name}: {_reason(str(error), self._block)}") from error


def _dialect(text: str) -> tuple[str, list[str]]:
    """Delimiter and header: the delimiter that splits most of the first rows alike, into most cells."""
    scores = []
    for delimiter in ",;\t":
        rows = _first_rows(text, delimiter)
        width = len(rows[0])
        alike = sum(len(row) == width for row in rows)
        scores.append((width > 1, alike, width, delimiter, rows[0]))
    *_, delimiter, header = max(scores, key=lambda score: score[:3])
    return delimiter, header


def _first_rows(text: str, delimiter: str, count: int = 20) -> list[list[str]]:
    """The first rows that are not blank, at least one; fewer where a cell exceeds what `csv` reads."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == count:
                break
    except csv.Error:
        pass
    return rows or [[""]]


def _require_header(name: str, names: Sequence[str]) -> None:
    if all(_is_number(column) for column in names):
        raise InputError(
            f"{name}: the first line is all numbers, where column names are expected",
            advice="Write a header line with one name per column.",
        )
    for place, column in enumerate(names):
        if not column.strip():
            raise InputError(
                f"{name}: column {place + 1} has no name in the header",
                advice="Name it; pandas writes its index like that unless told `to_csv(..., index=False)`.",
            )
        if column in names[:place]:
            raise InputError(
                f"{name}: two columns are named {column!r}", advice="Give each column its own name."
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _reason(message: str, block: int) -> str:
    """The parser's complaint without the cells it quotes."""
    if split := _SPLIT.search(message):
        line = f"record {split[1]}" if split[1] else "a record"
        return f"{line} has {split[3]} cells where the header has {split[2]}"
    if "UTF8" in message or "utf-8" in message:
        return "holds bytes that are not UTF-8 text"
    if "Empty CSV" in message:
        return f"has a header but no rows, or a header longer than {block:,} bytes"
    if "straddl" in message:
        return f"a record is longer than {block:,} bytes, or a quote is never closed"
    return "is not a table of separated values"
