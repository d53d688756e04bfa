"""Data files, recognised by their content."""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from modelward.adapters.data.arrays import Arrays, open_arrays
from modelward.adapters.data.npy import MAGIC, open_npy, open_npz
from modelward.adapters.data.options import require_column, require_valid
from modelward.adapters.texts.arrays import open_lines, texts_of_npy
from modelward.artifact.sniff import sniff
from modelward.errors import FileDamaged, FileMissing, FormatUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.adapters.data.options import DataOptions
    from modelward.adapters.data.scan import Source
    from modelward.core.data import Dataset

    Observer: TypeAlias = Callable[[int, int], None] | None

Format: TypeAlias = Literal["npz", "npy", "parquet", "csv.gz", "csv"]

_HEAD = 4096
_OTHER_TEXTS = ("json", "lightgbm", "xgboost-json", "catboost-json")


def open_data(
    path: Path | tuple[Path, Path], options: DataOptions, *, observe: Callable[[int, int], None] | None = None
) -> Dataset:
    """Open a data file: npz, npy, a pair of npy or txt files, csv, csv.gz or parquet.

    Nothing is unpickled, no array is allocated and no stream is unzipped beyond what the size of the file
    makes plausible, and tables are streamed: at most `options.rows` rows are held.

    Args:
        path: a file; ``x.npy,y.npy``, a pair of paths or a directory with ``x.npy`` and ``y.npy``; texts and
            labels one a line as ``texts.txt,labels.txt``.
        options: what the user says about the data.
        observe: told how much of how much was read (bytes or rows); a table whose column turns from numbers
            to texts late is read twice, and then counts from the start again.

    Returns:
        A data set. Missing numbers are NaN; missing categories are a category of their own.

    Raises:
        FileMissing: the path does not exist, is no file or cannot be read.
        FileDamaged: the file is empty, truncated or damaged, or is a decompression bomb.
        FormatUnknown: its content is no data format.
        ColumnMissing: the label, a sensitive or an immutable column is not in it.
        ShapeMismatch: x and y do not have the same length, or not the shapes of samples and labels.
        InputError: a column cannot be a feature, or the labels are no class labels.
        ConfigInvalid: an option is out of range.
    """
    require_valid(options)
    if isinstance(path, tuple):
        return _open_pair(path, ",".join(str(part) for part in path), options, observe)
    if path.is_dir():
        y = path / "y.npy"
        return _open_pair((path / "x.npy", y if y.exists() else None), str(path), options, observe)
    if not path.exists() and "," in str(path):
        parts = str(path).split(",")
        if len(parts) == 2:
            return _open_pair((Path(parts[0]), Path(parts[1])), str(path), options, observe)
    found = recognise(path)
    if found == "npy":
        return _open_pair((path, None), str(path), options, observe)
    if found == "npz":
        x, y_array, ignored = open_npz(path, options.label)
        data = _open_arrays(Arrays(name=str(path), format="npz", x=x, y=y_array), options, observe)
        if ignored:
            data.subject.details["ignored"] = list(ignored)
        return data
    return _open_table(path, found, options, observe)


def _open_table(path: Path, found: Format, options: DataOptions, observe: Observer) -> Dataset:
    """A table of features, or the texts in it."""
    from modelward.adapters.data.csv_source import CsvSource
    from modelward.adapters.data.parquet_source import ParquetSource
    from modelward.adapters.texts.tables import free_text, open_texts

    zipped = found == "csv.gz"
    source: Source
    verbatim: Source
    if found == "parquet":
        source = verbatim = ParquetSource(path, observe=observe)
    else:
        source = CsvSource(path, zipped=zipped, observe=observe)
        verbatim = CsvSource(path, zipped=zipped, observe=observe, verbatim=True)
    column = options.text or free_text(source, options.label)
    if column is not None:
        return open_texts(source, verbatim, column, options)
    from modelward.adapters.data.tables import open_table

    return open_table(source, options)


def _open_arrays(arrays: Arrays, options: DataOptions, observe: Observer) -> Dataset:
    """Numbers, or texts of fixed width."""
    if arrays.x.ndim == 1 and arrays.x.dtype.kind in "US":
        return texts_of_npy(arrays.name, arrays.format, arrays.x, arrays.y, options)
    return open_arrays(arrays, options, observe=observe)


def recognise(path: Path) -> Format:
    """The format of a file, by its first bytes.

    Wider than `modelward.artifact.sniff`, which calls text csv only if its lines are alike: a table with one
    column, quoted line ends or a damaged row is recognised here, and its reader says what is wrong with it.

    Raises:
        FileMissing: it does not exist, is no file or cannot be read.
        FileDamaged: it is empty or damaged.
        FormatUnknown: its content is no data format.
    """
    if not path.exists():
        raise FileMissing(f"{path}: does not exist")
    if not path.is_file():
        raise FileMissing(f"{path}: is not a regular file")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        raise FileDamaged(f"{path}: is empty")
    if head.startswith(MAGIC):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        try:
            inner = zlib.decompressobj(wbits=31).decompress(head, _HEAD)
        except zlib.error as error:
            raise FileDamaged(f"{path}: the gzip stream is damaged") from error
        if _is_text(inner):
            return "csv.gz"
    elif _is_text(head) and sniff(head).format not in _OTHER_TEXTS:
        return "csv"
    raise FormatUnknown(f"{path}: its content is none of npz, npy, csv, csv.gz and parquet{_named(path)}")


def _named(path: Path) -> str:
    """What the content is instead, if it is known."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            found = sniff(content).format
        except FileDamaged:
            return ""
    if found == "csv":
        return " (text with control characters)"
    return "" if found in {"unknown", "compressed"} else f", but {found}"


def _is_text(head: bytes) -> bool:
    """Whether bytes look like text; single bytes that are not UTF-8 are left for the reader to report."""
    controls = sum(byte < 9 or 13 < byte < 32 for byte in head)
    broken = head.decode("utf-8", errors="replace").count("\ufffd")
    return not controls and broken <= max(1, len(head) // 20)


def _open_pair(pair: tuple[Path, Path | None], name: str, options: DataOptions, observe: Observer) -> Dataset:
    if pair[1] is not None and all(path is not None and path.suffix == ".txt" for path in pair):
        return open_lines(pair[0], pair[1], options)
    for path in pair:
        if path is not None and (found := recognise(path)) != "npy":
            raise FormatUnknown(f"{path}: is {found}, where an npy array is expected")
    x, y = open_npy(pair[0]), None if pair[1] is None else open_npy(pair[1])
    if options.label is not None:
        require_column(options.label, ("y",) if y is not None else (), "label")
    return _open_arrays(Arrays(name=name, format="npy", x=x, y=y), options, observe)
