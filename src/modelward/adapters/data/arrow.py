"""Cells of Arrow columns as numbers and texts. All work is done by Arrow's kernels, none per row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelward.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS = (("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("no", "yes"), ("No", "Yes"), ("NO", "YES"))
"""Spellings of a boolean column, false first; a column keeps to one of them."""

_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))\s*$"


def is_text(array: pa.Array) -> bool:
    """Whether the cells are texts."""
    kind = array.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def plain(array: pa.Array, name: str) -> pa.Array:
    """Reduce the many Arrow types to four: null, bool, float64 and large_string.

    Numbers of every width become float64 (whole numbers beyond 2**53 are rounded), dates and times become
    their ISO texts, dictionaries are decoded.

    Args:
        array: the cells, as the file declares them.
        name: the column, for the sentence.

    Raises:
        InputError: the cells are lists, records, raw bytes or another type that is no feature.
        pyarrow.ArrowException: the cells are damaged.
    """
    array.validate(full=True)
    kind, types = array.type, pa.types
    if types.is_dictionary(kind):
        return plain(array.dictionary_decode(), name)
    if types.is_null(kind) or types.is_boolean(kind):
        return array
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return pc.cast(array, pa.float64(), safe=False)
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_temporal(kind)
        or str(kind) == "string_view"
    ):
        return pc.cast(array, pa.large_string())
    raise InputError(
        f"column {name!r} is of type {kind}, which is neither a number nor a text",
        advice="Drop the column or unpack it into columns of numbers and texts.",
    )


def as_numbers(array: pa.Array) -> NDArray[np.float64] | None:
    """Cells as numbers, if all are.

    A text is a number when it is one after blanks around it are removed: decimal digits with an optional
    sign, point and exponent, ``inf`` or ``nan``, in any case.

    Args:
        array: (n,) bool, float64 or text.

    Returns:
        (n,) float64 with NaN for missing; null when a cell is no number.
    """
    try:
        numbers = pc.cast(array, pa.float64())
    except pa.ArrowInvalid:
        try:
            numbers = pc.cast(pc.utf8_trim_whitespace(array), pa.float64())
        except pa.ArrowInvalid:
            return None
    found: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return found


def as_words(
    texts: pa.Array, words: tuple[str, str] | None
) -> tuple[tuple[str, str], NDArray[np.float64]] | None:
    """Cells as booleans, if all are words of one spelling.

    Args:
        texts: (n,) large_string, at least one not missing.
        words: the spelling that the rows before keep to, or null.

    Returns:
        The spelling and (n,) float64 of 0, 1 and NaN; null when a cell is another text.
    """
    present = texts.drop_null()
    for pair in WORDS if words is None else (words,):
        # The first cell decides cheaply for columns of many distinct texts.
        if present[0].as_py() not in pair:
            continue
        codes = pc.index_in(present, value_set=pa.array(pair, pa.large_string()))
        if codes.null_count == 0:
            found = pc.index_in(texts, value_set=pa.array(pair, pa.large_string()), skip_nulls=True)
            return pair, pc.cast(found, pa.float64()).to_numpy(zero_copy_only=False)
    return None


def first_text(texts: pa.Array) -> tuple[int, str, bool]:
    """The first cell that is no number, in a column of texts that holds one.

    Args:
        texts: (n,) large_string.

    Returns:
        Its position, its text, and whether a cell before it is a number.
    """
    numeric = pc.fill_null(pc.match_substring_regex(texts, _NUMBER), fill_value=False)
    other = pc.and_(pc.is_valid(texts), pc.invert(numeric))
    place = max(0, pc.index(other, value=True).as_py())
    return place, texts[place].as_py() or "", bool(pc.any(numeric.slice(0, place)).as_py())


def text_codes(texts: pa.Array) -> tuple[list[str], NDArray[np.int64]]:
    """Cells as indices of distinct texts.

    Args:
        texts: (n,) large_string.

    Returns:
        The distinct texts and (n,) int64 indices, -1 for missing.
    """
    encoded = texts.dictionary_encode()
    codes: NDArray[np.int64] = (
        pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return encoded.dictionary.to_pylist(), codes


def text_bytes(texts: pa.Array) -> tuple[bytes, memoryview]:
    """Cells as bytes.

    Args:
        texts: (n,) large_string.

    Returns:
        Lengths in bytes (``<i8`` each, -1 for missing), and the UTF-8 of all texts, joined.
    """
    lengths = pc.fill_null(pc.binary_length(texts), -1).to_numpy(zero_copy_only=False)
    filled = pc.fill_null(texts, "") if texts.null_count else texts
    _, offsets, content = filled.buffers()
    if content is None or not len(filled):
        return lengths.astype("<i8").tobytes(), memoryview(b"")
    ends = np.frombuffer(offsets, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    return lengths.astype("<i8").tobytes(), memoryview(content)[int(ends[0]) : int(ends[-1])]
