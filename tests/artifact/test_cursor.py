"""The bounded reader of binary content: the module struct is the independent route."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.cursor import Cursor
from modelward.artifact.reading import Malformed

NUMBERS = [
    ("B", 0),
    ("B", 255),
    ("b", -128),
    ("b", 127),
    ("H", 65_535),
    ("h", -32_768),
    ("I", 0),
    ("I", 4_294_967_295),
    ("i", -2_147_483_648),
    ("i", -1),
    ("Q", 18_446_744_073_709_551_615),
    ("q", -9_223_372_036_854_775_808),
    ("q", 9_223_372_036_854_775_807),
]


@pytest.mark.parametrize(("code", "value"), NUMBERS)
def test_integers_are_little_endian(code, value):
    raw = struct.pack("<" + code, value)
    cursor = Cursor(b"\xaa" + raw + b"\xbb", 1)
    assert cursor.number(code) == value
    assert (cursor.pos, cursor.left) == (1 + len(raw), 1)


@pytest.mark.parametrize("code", ["e", "f", "d"])
@pytest.mark.parametrize("value", [0.0, -1.5, 2.0**-14, 65_504.0, float("inf")])
def test_reals_are_little_endian(code, value):
    assert Cursor(struct.pack("<" + code, value)).real(code) == value


def test_a_word_of_known_bytes():
    assert Cursor(b"\x01\x02\x03\x04").number("I") == 0x04030201
    assert Cursor(b"\xff\xfe").number("h") == -257


@pytest.mark.parametrize("code", sorted("bBhHiIqQ"))
def test_a_number_that_is_cut_off_is_malformed_and_moves_nothing(code):
    size = struct.calcsize("<" + code)
    for have in range(size):
        cursor = Cursor(b"\1" * have)
        with pytest.raises(Malformed, match=f"{size} bytes are needed at offset 0, and {have} are left"):
            cursor.number(code)
        assert cursor.pos == 0


@pytest.mark.parametrize(("pos", "end"), [(-1, None), (5, None), (3, 2), (1, 0), (0, -1)])
def test_a_start_outside_is_malformed(pos, end):
    with pytest.raises(Malformed, match=f"offset {pos} lies outside"):
        Cursor(b"1234", pos, end)


@pytest.mark.parametrize(("end", "left"), [(None, 3), (4, 3), (99, 3), (2, 1), (1, 0)])
def test_the_end_is_within_the_data(end, left):
    cursor = Cursor(b"1234", 1, end)
    assert cursor.left == left
    assert cursor.take(left) == b"1234"[1 : 1 + left]
    with pytest.raises(Malformed):
        cursor.take(1)


@pytest.mark.parametrize("size", [-1, -(1 << 40), 5, 1 << 62])
def test_a_size_that_does_not_fit_is_malformed(size):
    cursor = Cursor(b"1234")
    with pytest.raises(Malformed, match=f"{size} bytes are needed"):
        cursor.need(size)
    assert cursor.take(4) == b"1234"


def test_need_gives_the_start_and_moves_over():
    cursor = Cursor(b"12345678", 2)
    assert [cursor.need(0), cursor.need(3), cursor.need(3)] == [2, 2, 5]
    assert cursor.left == 0


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"abc", "abc"),
        ("é".encode(), "é"),
        (b"a\xff", "a\\xff"),
        (b"\xc3", "\\xc3"),
        (b"", ""),
        (b"a\0", "a\0"),
    ],
)
def test_texts_are_utf_8_and_anything_else_is_escaped(raw, text):
    assert Cursor(raw).text(len(raw)) == text


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read_and_bytes_come_out(kind):
    cursor = Cursor(kind(b"\x07\0abc"))
    assert (cursor.number("H"), cursor.take(3)) == (7, b"abc")
    assert type(Cursor(kind(b"abc")).take(2)) is bytes


@given(st.binary(max_size=40), st.lists(st.sampled_from("bBhHiIqQefd") | st.integers(0, 9), max_size=12))
def test_it_agrees_with_struct_and_never_leaves_the_data(data, steps):
    cursor, at = Cursor(data), 0
    for step in steps:
        size = step if isinstance(step, int) else struct.calcsize("<" + step)
        if at + size > len(data):
            with pytest.raises(Malformed):
                cursor.take(size)
            break
        if isinstance(step, int):
            assert cursor.take(step) == data[at : at + step]
        else:
            (expected,) = struct.unpack_from("<" + step, data, at)
            found = cursor.real(step) if step in "efd" else cursor.number(step)
            assert found == expected or expected != expected  # noqa: PLR0124 - NaN differs from itself
        at += size
        assert (cursor.pos, cursor.left) == (at, len(data) - at)
