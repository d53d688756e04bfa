"""The canonical form of rows, against an encoder written anew from the specification."""

import datetime as dt
import decimal
import hashlib
import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import InputError
from modelward.ledger.merkle import Frontier
from modelward.vault.tables.rows import BLOCK, EMPTY, root_of, row_bytes, row_digests, type_name

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)


def cell(value, kind):
    """One cell, value by value: (head, tail). Nothing here is shared with the source."""
    types = pa.types
    if types.is_null(kind):
        return b"\0", b""
    if types.is_string(kind) or types.is_binary(kind):
        if value is None:
            return bytes(9), b""
        raw = value.encode() if isinstance(value, str) else value
        return b"\1" + struct.pack("<Q", len(raw)), raw
    if types.is_map(kind):
        value = None if value is None else [{"key": key, "value": item} for key, item in value]
        kind = pa.list_(pa.struct([kind.key_field, kind.item_field]))
    if types.is_list(kind):
        if value is None:
            return bytes(9), b""
        parts = [cell(item, kind.value_type) for item in value]
        return b"\1" + struct.pack("<Q", len(value)), b"".join(head + tail for head, tail in parts)
    if types.is_struct(kind):
        parts = [cell(None if value is None else value[field.name], field.type) for field in kind.fields]
        inner = b"".join(head for head, _ in parts) + b"".join(tail for _, tail in parts)
        return (b"\0" if value is None else b"\1"), inner
    width = 32 if types.is_decimal(kind) else 4 if types.is_date(kind) else max(1, kind.bit_width // 8)
    if value is None:
        return bytes(1 + width), b""
    return b"\1" + fixed(value, kind, width), b""


def fixed(value, kind, width):
    types = pa.types
    if types.is_floating(kind):
        if math.isnan(value):
            return {4: b"\0\0\xc0\x7f", 8: b"\0\0\0\0\0\0\xf8\x7f"}[width]
        return struct.pack({4: "<f", 8: "<d"}[width], value)
    if types.is_decimal(kind):
        number = int(value.scaleb(kind.scale))
    elif types.is_date(kind):
        number = (value - EPOCH.date()).days
    elif types.is_timestamp(kind):
        plain = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
        micro = (plain.replace(tzinfo=None) - EPOCH) // dt.timedelta(microseconds=1)
        number = micro * {"us": 1, "ns": 1000}[kind.unit]
    elif types.is_time(kind):
        number = ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    else:
        number = int(value)
    return number.to_bytes(
        width, "little", signed=not types.is_unsigned_integer(kind) and not types.is_boolean(kind)
    )


def encoded(table):
    rows = []
    for row in table.to_pylist():
        parts = [cell(row[field.name], field.type) for field in table.schema]
        rows.append(b"\0" + b"".join(head for head, _ in parts) + b"".join(tail for _, tail in parts))
    return rows


def columns(table):
    return [column.combine_chunks() for column in table.columns]


def test_rows_are_encoded_as_specified(typed):
    assert row_bytes(columns(typed), len(typed)).to_pylist() == encoded(typed)


@pytest.mark.parametrize("start", [1, 3, 6])
def test_a_slice_has_the_bytes_of_its_rows(typed, start):
    """Offsets of slices are the classical fault of readers of Arrow buffers."""
    part = typed.slice(start)
    sliced = row_bytes([column.chunk(0) for column in part.columns], len(part))
    assert sliced.to_pylist() == encoded(typed)[start:]


def test_a_row_digest_is_sha256_of_the_row(typed):
    expected = [hashlib.sha256(row).digest() for row in encoded(typed)]
    assert row_digests(columns(typed), len(typed)) == expected


def test_known_answer():
    row = row_bytes([pa.array([258]), pa.array(["ab"]), pa.array([True])], 1)[0].as_py()
    assert row.hex() == "0001020100000000000001020000000000000001016162"
    digest = row_digests([pa.array([258]), pa.array(["ab"]), pa.array([True])], 1)[0]
    assert digest == hashlib.sha256(bytes.fromhex("0001020100000000000001020000000000000001016162")).digest()


@pytest.mark.parametrize(
    "stored",
    [
        lambda a: a.dictionary_encode(),
        lambda a: a.cast(pa.large_string()),
        lambda a: a.cast(pa.string_view()),
        pa.compute.run_end_encode,
        lambda a: a.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.large_string())),
    ],
)
def test_how_texts_are_stored_does_not_count(stored):
    plain = pa.array(["a", "a", None, "b", ""])
    other = stored(plain)
    assert type_name(other.type) == type_name(plain.type) == "string"
    assert row_bytes([other], 5) == row_bytes([plain], 5)


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.int64()),
        pa.list_(pa.int64(), 2),
        pa.list_view(pa.int64()),
        pa.large_list_view(pa.int64()),
    ],
)
def test_how_lists_are_stored_does_not_count(kind):
    values = [[1, 2], None, [3, None], [5, 6]]
    plain, other = pa.array(values, pa.list_(pa.int64())), pa.array(values, kind)
    assert type_name(other.type) == type_name(plain.type)
    assert row_bytes([other], 4) == row_bytes([plain], 4)
    assert row_bytes([other.slice(1)], 3) == row_bytes([plain.slice(1)], 3)


def test_what_a_null_hides_does_not_count():
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(struct.pack("<qq", 7, 99))]
    )
    assert hidden.to_pylist() == [7, None]
    assert row_bytes([hidden], 2) == row_bytes([pa.array([7, None])], 2)
    lists = pa.ListArray.from_arrays(
        pa.array([0, 2, 4]), pa.array([1, 2, 3, 4]), mask=pa.array([False, True])
    )
    assert row_bytes([lists], 2) == row_bytes([pa.array([[1, 2], None])], 2)
    record = pa.StructArray.from_arrays([pa.array([1, 2])], names=["x"], mask=pa.array([False, True]))
    assert row_bytes([record], 2) == row_bytes([pa.array([{"x": 1}, None])], 2)


def test_every_nan_is_one_nan():
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], np.uint64).view(np.float64)
    rows = row_bytes([pa.array(odd)], 3).to_pylist()
    assert len(set(rows)) == 1
    assert rows[0] != row_bytes([pa.array([None], pa.float64())], 1)[0].as_py()
    assert len(set(row_bytes([pa.array([0.0, -0.0])], 2).to_pylist())) == 2


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([pa.array(["ab"]), pa.array(["c"])], [pa.array(["a"]), pa.array(["bc"])]),
        ([pa.array([""])], [pa.array([None], pa.string())]),
        ([pa.array([0])], [pa.array([None], pa.int64())]),
        ([pa.array([[[]]])], [pa.array([[]], pa.list_(pa.list_(pa.null())))]),
        (
            [pa.array([[1], [2]])[:1], pa.array([[2]])],
            [pa.array([[1, 2]]), pa.array([[]], pa.list_(pa.int64()))],
        ),
        (
            [pa.array([{"x": None}], pa.struct([("x", pa.int64())]))],
            [pa.array([None], pa.struct([("x", pa.int64())]))],
        ),
    ],
)
def test_values_that_differ_have_other_bytes(left, right):
    assert row_bytes(left, 1) != row_bytes(right, 1)


def test_dates_of_both_widths_and_seconds_and_milliseconds_are_alike():
    days = pa.array([1, None, 20000], pa.date32())
    assert type_name(pa.date64()) == type_name(pa.date32()) == "date"
    assert row_bytes([days.cast(pa.date64())], 3) == row_bytes([days], 3)
    seconds = pa.array([1, None], pa.timestamp("s"))
    assert type_name(seconds.type) == "timestamp[ms]"
    assert row_bytes([seconds], 2) == row_bytes([seconds.cast(pa.timestamp("ms"))], 2)
    small = pa.array([decimal.Decimal("1.5"), None], pa.decimal128(5, 1))
    assert row_bytes([small], 2) == row_bytes([small.cast(pa.decimal256(5, 1))], 2)


def test_a_time_that_does_not_fit_is_an_error_of_arrow():
    with pytest.raises(pa.ArrowException):
        row_bytes([pa.array([2**62], pa.timestamp("s"))], 1)


@pytest.mark.parametrize(
    "kind",
    [
        pa.month_day_nano_interval(),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.list_(pa.month_day_nano_interval()),
    ],
    ids=str,
)
def test_types_without_a_canonical_form_are_refused(kind):
    with pytest.raises(InputError, match="canonical form"):
        type_name(kind)
    with pytest.raises(InputError, match="canonical form"):
        row_bytes([pa.nulls(1, kind)] if not pa.types.is_list(kind) else [pa.array([[]], kind)], 1)


def test_types_nested_too_deep_are_refused():
    kind = pa.int8()
    for _ in range(40):
        kind = pa.list_(kind)
    with pytest.raises(InputError, match="more than 32 deep"):
        type_name(kind)
    with pytest.raises(InputError, match="more than 32 deep"):
        row_bytes([pa.array([[]], kind)], 1)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.float16(), "float16"), (pa.float32(), "float32"), (pa.float64(), "float64"), (pa.bool_(), "bool"),
        (pa.binary(16), "binary"), (pa.uuid(), "binary"), (pa.timestamp("us", tz="Europe/Berlin"), "timestamp[us, tz=Europe/Berlin]"),
        (pa.time32("s"), "time32[ms]"), (pa.duration("ns"), "duration[ns]"), (pa.null(), "null"),
        (pa.decimal256(40, 3), "decimal(40, 3)"), (pa.map_(pa.string(), pa.int8()), "map<string, int8>"),
        (pa.struct([('a"b', pa.list_(pa.date64()))]), 'struct<"a\\"b": list<date>>'),
    ],
)  # fmt: skip
def test_names_of_types(kind, name):
    assert type_name(kind) == name


def test_an_extension_is_what_it_stores():
    stored = pa.array([b"0123456789abcdef", None], pa.binary(16))
    assert row_bytes([pa.ExtensionArray.from_storage(pa.uuid(), stored)], 2) == row_bytes([stored], 2)


def test_the_root_is_that_of_rfc_6962_wherever_pieces_are_cut():
    rows = [str(place).encode() for place in range(3 * BLOCK + 77)]
    leaves = [hashlib.sha256(b"\0" + row).digest() for row in rows]
    frontier = Frontier()
    for row in rows:
        frontier.append(row)
    for cut in (1000, BLOCK, BLOCK + 1, len(leaves)):
        pieces = (leaves[start : start + cut] for start in range(0, len(leaves), cut))
        assert root_of(pieces) == frontier.root()
    assert root_of([]) == root_of([[], []]) == EMPTY == Frontier().root()


VALUES = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=6).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6).map(
        lambda v: pa.array(v, pa.string())
    ),
    st.lists(st.none() | st.lists(st.none() | st.binary(max_size=3), max_size=3), max_size=6).map(
        lambda v: pa.array(v, pa.list_(pa.binary()))
    ),
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_rows_of_any_values_are_encoded_as_specified(left, right):
    rows = min(len(left), len(right))
    table = pa.table({"a": left.slice(0, rows), "b": right.slice(0, rows)})
    assert row_bytes([left.slice(0, rows), right.slice(0, rows)], rows).to_pylist() == encoded(table)
