"""Rows of Arrow columns as bytes and as digests; docs/formats/table-manifest.md is the specification.

A row is a head of fixed width (for each column a tag and its value, or the length of it) followed by what
varies in length. Both are put together by numpy and by Arrow's kernels; per row only the hash is called.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelward.errors import InputError
from modelward.ledger.proof import tree_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

BLOCK: Final = 1 << 16
"""Leaves reduced at a time; a power of two, so that it does not influence any root."""
MAX_DEPTH: Final = 32
"""Types nested deeper are refused."""
EMPTY: Final = sha256(b"").digest()
"""Root of a tree without leaves (RFC 6962)."""

_EMPTY_TEXT: Final = pa.scalar(b"", pa.large_binary())


class _Cells(NamedTuple):
    """One column: (n, w) bytes of the head, and what follows it, if its type varies in length."""

    head: NDArray[np.uint8]
    tail: pa.Array | None


def type_name(kind: pa.DataType, depth: int = 0) -> str:
    """The logical type of a column, as text.

    How values are stored does not count: dictionaries, views, run-end encodings and 64-bit offsets have the
    name of what they hold.

    Raises:
        InputError: the type has no canonical form here (unions, month intervals), or is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"a column's type is nested more than {MAX_DEPTH} deep", advice="Flatten it.")
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return type_name(kind.storage_type, depth + 1)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return type_name(kind.value_type, depth + 1)
    if _is_text(kind):
        return "string"
    if _is_binary(kind):
        return "binary"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if types.is_date(kind):
        return "date"
    if types.is_map(kind):
        return f"map<{type_name(kind.key_type, depth + 1)}, {type_name(kind.item_type, depth + 1)}>"
    if _is_list(kind):
        return f"list<{type_name(kind.value_type, depth + 1)}>"
    if types.is_struct(kind):
        fields = (f"{_quoted(field.name)}: {type_name(field.type, depth + 1)}" for field in kind.fields)
        return f"struct<{', '.join(fields)}>"
    kind = _milliseconds(kind)
    if types.is_null(kind) or (types.is_primitive(kind) and not types.is_interval(kind)):
        return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))
    raise InputError(
        f"a column is of type {kind}, which has no canonical form", advice="Write it as another type."
    )


def row_bytes(columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """Encode rows so that two rows have the same bytes exactly when their values are equal.

    Args:
        columns: validated Arrow arrays of `rows` cells each.
        rows: how many.

    Returns:
        (rows,) large_binary without nulls; each begins with 0x00, the prefix of a leaf.

    Raises:
        InputError: a type has no canonical form.
        pyarrow.ArrowException: a value does not fit its canonical type.
    """
    return _encode([_cells(column, 0) for column in columns], rows, prefix=True)


def row_digests(columns: Sequence[pa.Array], rows: int) -> list[bytes]:
    """SHA-256 of each row, 32 bytes: the leaves of its group's tree.

    Args:
        columns: validated Arrow arrays of `rows` cells each.
        rows: how many.

    Raises:
        InputError: a type has no canonical form.
        pyarrow.ArrowException: a value does not fit its canonical type.
    """
    encoded = row_bytes(columns, rows)
    offsets = _offsets(encoded)
    data = bytes(memoryview(encoded.buffers()[2] or b"")[: offsets[-1]])  # slices of bytes are cheapest
    return [sha256(data[start:stop]).digest() for start, stop in pairwise(offsets.tolist())]


def root_of(digests: Iterable[list[bytes]]) -> bytes:
    """RFC 6962 root over row digests that come in pieces; memory does not grow with their number.

    Args:
        digests: leaves in order, cut anywhere.
    """
    roots: list[bytes] = []
    waiting: list[bytes] = []
    for piece in digests:
        waiting += piece
        while len(waiting) >= BLOCK:
            roots.append(tree_root(waiting[:BLOCK]))
            del waiting[:BLOCK]
    if waiting:
        roots.append(tree_root(waiting))
    return tree_root(roots) if roots else EMPTY


def _encode(cells: Sequence[_Cells], rows: int, *, prefix: bool) -> pa.Array:
    """Join heads and tails row by row."""
    width = prefix + sum(cell.head.shape[1] for cell in cells)
    head = np.zeros((rows, width), np.uint8)
    place = int(prefix)
    for cell in cells:
        head[:, place : place + cell.head.shape[1]] = cell.head
        place += cell.head.shape[1]
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    heads = _binary(offsets, pa.py_buffer(head))
    tails = [cell.tail for cell in cells if cell.tail is not None]
    return pc.binary_join_element_wise(heads, *tails, _EMPTY_TEXT) if tails else heads


def _cells(array: pa.Array, depth: int) -> _Cells:  # one branch for each kind of type
    if depth > MAX_DEPTH:
        raise InputError(f"a column's type is nested more than {MAX_DEPTH} deep", advice="Flatten it.")
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _cells(array.storage, depth + 1)
    if types.is_dictionary(kind):
        return _cells(array.dictionary_decode(), depth + 1)
    if types.is_run_end_encoded(kind):
        return _cells(pc.run_end_decode(array), depth + 1)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if types.is_null(kind):
        return _Cells(valid.astype(np.uint8)[:, None], None)
    if _is_text(kind) or _is_binary(kind):
        tail = array.cast(pa.large_string()) if _is_text(kind) else array.cast(pa.large_binary())
        tail = tail.cast(pa.large_binary()).fill_null(b"")
        return _Cells(_head(valid, np.diff(_offsets(tail))), tail)
    if _is_list(kind):
        return _list_cells(array, valid, depth)
    if types.is_struct(kind):
        fields = [_cells(part, depth + 1) for part in array.flatten()]
        return _Cells(valid.astype(np.uint8)[:, None], _encode(fields, len(array), prefix=False))
    return _Cells(_head(valid, _fixed(array)), None)


def _list_cells(array: pa.Array, valid: NDArray[np.bool_], depth: int) -> _Cells:
    """A list is its length, then its elements' rows one after another."""
    if pa.types.is_map(array.type):
        array = array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    elements = array.flatten()  # without what nulls hide, in the order of the lists
    inner = _encode([_cells(elements, depth + 1)], len(elements), prefix=False)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return _Cells(_head(valid, lengths), _binary(_offsets(inner)[ends], inner.buffers()[2]))


def _fixed(array: pa.Array) -> NDArray[np.generic]:
    """(n,) or (n, bytes) little-endian values of a type of fixed width; what stands under a null is noise."""
    kind, types = array.type, pa.types
    dtype: np.dtype[np.generic]
    if types.is_boolean(kind):
        array, dtype = array.cast(pa.uint8()), np.dtype(np.uint8)
    elif types.is_decimal(kind):
        array, dtype = array.cast(pa.decimal256(kind.precision, kind.scale)), np.dtype("V32")
    elif types.is_date(kind):
        array, dtype = array.cast(pa.date32()), np.dtype("<i4")
    elif types.is_floating(kind):
        dtype = np.dtype(f"<f{kind.bit_width // 8}")
    elif types.is_unsigned_integer(kind):
        dtype = np.dtype(f"<u{kind.bit_width // 8}")
    elif types.is_integer(kind) or (types.is_temporal(kind) and not types.is_interval(kind)):
        array, dtype = array.cast(_milliseconds(kind)), np.dtype(f"<i{kind.bit_width // 8}")
    else:
        raise InputError(
            f"a column is of type {kind}, which has no canonical form", advice="Write it as another type."
        )
    buffer = array.buffers()[1]
    values = np.frombuffer(buffer or b"", dtype, count=len(array), offset=array.offset * dtype.itemsize)
    if dtype.kind == "f" and np.isnan(values).any():
        values = np.where(np.isnan(values), np.array(np.nan, dtype), values)  # one spelling of NaN
    return values


def _head(valid: NDArray[np.bool_], values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """A tag (0 null, 1 present) and the value, zeros under a null."""
    count = len(valid)
    raw = (
        np.ascontiguousarray(values).view(np.uint8).reshape(count, -1)
        if count
        else np.zeros((0, 0), np.uint8)
    )
    head = np.empty((count, 1 + raw.shape[1]), np.uint8)
    head[:, 0] = valid
    head[:, 1:] = raw
    if not valid.all():
        head[~valid] = 0
    return head


def _binary(offsets: NDArray[np.int64], data: pa.Buffer | None) -> pa.Array:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), data]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _offsets(array: pa.Array) -> NDArray[np.int64]:
    """(n + 1,) where each value of a large_binary begins in its buffer."""
    return np.frombuffer(array.buffers()[1], np.int64, count=len(array) + 1, offset=array.offset * 8)


def _milliseconds(kind: pa.DataType) -> pa.DataType:
    """Parquet knows no seconds, so a time in seconds is one in milliseconds."""
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", tz=kind.tz)
    return pa.time32("ms") if pa.types.is_time32(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
        or types.is_map(kind)
    )


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
