"""Texts that a program or an array file holds, and files of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.adapters.data.labels import labels_of_array
from modelward.adapters.data.limits import GRACE
from modelward.adapters.data.sample import sample_rows
from modelward.adapters.texts.texts import Texts, digest_of, plain_texts, text_dataset
from modelward.artifact.sniff import sniff
from modelward.core.digest import array_digest
from modelward.errors import FileDamaged, FileMissing, FormatUnknown, InputError, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from modelward.adapters.data.labels import Labels
    from modelward.adapters.data.options import DataOptions
    from modelward.core.data import Dataset

_TABLES: Final = ("parquet", "npy", "npz", "compressed")


def texts_of_array(
    name: str, form: str, texts: Sequence[str], y: NDArray[np.generic] | None, options: DataOptions
) -> Dataset:
    """Texts and labels that a program or an array file holds.

    Raises:
        ShapeMismatch: there are not as many labels as texts.
        InputError: there are no texts, or the labels are none.
    """
    if not len(texts):
        raise InputError(f"{name}: holds no texts", advice="Give at least one sample.")
    if y is not None and (y.ndim == 0 or len(y) != len(texts)):
        raise ShapeMismatch(f"{name}: {len(texts):,} texts and {y.shape[0] if y.ndim else 'no'} labels")
    rows = sample_rows(len(texts), options.rows)
    labels: Labels | None = None if y is None else labels_of_array(y, rows, name=options.label or "y")
    found = Texts(
        name=name,
        format=form,
        column="x",
        texts=[texts[row] for row in rows],
        digest=digest_of(texts),
        rows=rows,
        total=len(texts),
        labels=labels,
        label_digest=None if y is None else _label_digest(y),
    )
    return text_dataset(found, options)


def open_lines(texts: Path, labels: Path, options: DataOptions) -> Dataset:
    """Texts, one a line, and their labels, one a line, of two files in UTF-8.

    Raises:
        FileMissing: one cannot be read.
        FileDamaged: one is not UTF-8, or too large.
        ShapeMismatch: they have not as many lines.
    """
    y = np.array(_lines(labels), dtype=np.str_)
    return texts_of_array(f"{texts},{labels}", "txt", _lines(texts), y, options)


def texts_of_npy(
    name: str, form: str, x: NDArray[np.generic], y: NDArray[np.generic] | None, options: DataOptions
) -> Dataset:
    """Texts of an array of fixed-width strings.

    Raises:
        InputError: one is no valid text.
    """
    return texts_of_array(name, form, plain_texts(x, name), y, options)


def _label_digest(y: NDArray[np.generic]) -> str:
    little = y.dtype.newbyteorder("<")
    return array_digest(little.str, y.shape, [np.ascontiguousarray(y, dtype=little).tobytes()])


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > GRACE:
            raise FileDamaged(f"{path}: is over {GRACE:,} bytes", advice="Give a csv or parquet file.")
        content = path.read_bytes()
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = sniff(content).format
        if found in _TABLES:
            raise FormatUnknown(
                f"{path}: is {found}, where lines of text are expected",
                advice="Give a table alone, and name its columns: --data FILE --text COLUMN --label COLUMN.",
            ) from error
        raise FileDamaged(f"{path}: byte {error.start:,} is not UTF-8 text") from error
    # Not splitlines: a text may hold characters that Unicode calls line ends.
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
