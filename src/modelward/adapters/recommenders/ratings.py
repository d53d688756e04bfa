"""Read a table of ratings: one row for each user and item."""

from __future__ import annotations

import csv
import gzip
import zlib
from array import array
from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.core.data import Ratings
from modelward.core.digest import file_digest
from modelward.core.subject import Subject, named
from modelward.errors import ColumnMissing, ExtraMissing, FileDamaged, FileMissing, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Row = tuple[object, object, object]

MOST: Final = 20_000_000
"""Ratings in one file; beyond it the table would not fit in memory."""


def read_ratings(path: Path, columns: tuple[str, str, str]) -> Ratings:
    """Read csv, csv.gz or parquet; of several ratings of one user for one item the last one counts.

    Args:
        path: the file; its content tells what it is.
        columns: names of the columns of users, items and ratings.

    Raises:
        FileMissing: it cannot be read.
        FileDamaged: it is not what its first bytes announce, or is not UTF-8.
        ColumnMissing: a named column is not there.
        ShapeMismatch: a rating is no finite number, a name is empty, or there are none or too many.
        ExtraMissing: it is parquet, and pyarrow is not installed.
    """
    known: tuple[dict[str, int], dict[str, int]] = ({}, {})
    pairs = (array("q"), array("q"))
    values = array("d")
    try:
        for number, row in enumerate(_rows(path, columns), 1):
            if number > MOST:
                raise ShapeMismatch(f"{path}: has more than {MOST:,} ratings")
            for names, codes, cell, column in zip(known, pairs, row[:2], columns[:2], strict=True):
                text = "" if cell is None else str(cell).strip()
                if not text:
                    raise ShapeMismatch(f"{path}: rating {number} has nothing in column {column!r}")
                codes.append(names.setdefault(text, len(names)))
            values.append(_number(row[2], f"{path}: rating {number}"))
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror or error})") from error
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise FileDamaged(f"{path}: cannot be read to its end ({str(error)[:100]})") from error
    if not values:
        raise ShapeMismatch(f"{path}: holds no ratings")
    users, items = (np.array(codes, dtype=np.int64) for codes in pairs)
    # The last of each pair is the first from behind.
    _, behind = np.unique((users * len(known[1]) + items)[::-1], return_index=True)
    kept = np.sort(len(users) - 1 - behind)
    subject = Subject(
        kind="dataset",
        name=named(path),
        digest=file_digest(path),
        format="ratings",
        details={
            "users": len(known[0]),
            "items": len(known[1]),
            "ratings": len(kept),
            "columns": list(columns),
        },
    )
    return Ratings(
        subject=subject,
        users=users[kept],
        items=items[kept],
        values=np.array(values, dtype=np.float64)[kept],
        user_names=tuple(known[0]),
        item_names=tuple(known[1]),
    )


def _number(cell: object, where: str) -> float:
    try:
        value = float(str(cell))
    except ValueError as error:
        raise ShapeMismatch(f"{where} is {str(cell)[:40]!r}, not a number") from error
    if not np.isfinite(value):
        raise ShapeMismatch(f"{where} is {value}, not a finite number")
    return value


def _rows(path: Path, columns: tuple[str, str, str]) -> Iterator[Row]:
    if path.is_dir():
        raise FileMissing(f"{path}: is a folder, not a file of ratings")
    with path.open("rb") as stream:
        start = stream.read(4)
    return (
        _parquet(path, columns) if start == b"PAR1" else _csv(path, columns, zipped=start[:2] == b"\x1f\x8b")
    )


def _csv(path: Path, columns: tuple[str, str, str], *, zipped: bool) -> Iterator[Row]:
    with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, strict=True)
        header = [name.strip() for name in next(lines, [])]
        first, second, third = _places(path, header, columns)
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ShapeMismatch(
                    f"{path}: line {lines.line_num} has {len(cells)} cells, not {len(header)}"
                )
            yield cells[first], cells[second], cells[third]


def _parquet(path: Path, columns: tuple[str, str, str]) -> Iterator[Row]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissing("pyarrow", "tables") from error
    try:
        file = parquet.ParquetFile(path)
        _places(path, file.schema_arrow.names, columns)
        for batch in file.iter_batches(columns=list(columns)):
            table = batch.to_pydict()
            yield from zip(*(table[name] for name in columns), strict=True)
    except pa.ArrowException as error:
        raise FileDamaged(f"{path}: is not a readable parquet file ({str(error)[:100]})") from error


def _places(path: Path, header: list[str], columns: tuple[str, str, str]) -> tuple[int, int, int]:
    for name in columns:
        if header.count(name) != 1:
            raise ColumnMissing(
                f"{path}: has {'no column' if name not in header else 'several columns'} {name!r}",
                advice=f"Columns: {', '.join(header[:20])}.",
            )
    first, second, third = (header.index(name) for name in columns)
    return first, second, third
