"""Numbers and texts of R's three encodings, each written here as `serialize.c` writes them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats.rstream import KEPT, Stream
from modelward.artifact.reading import Malformed

MISSING = -(1 << 31)


def big(data):
    return Stream(data, 0, "X")


def text(data):
    return Stream(data, 0, "A")


@pytest.mark.parametrize("value", [0, 1, -1, 258, 2**31 - 1, -(2**31)])
def test_an_integer_in_each_encoding(value):
    assert big(struct.pack(">i", value)).integer() == value
    # a native stream tells its order by its first byte: the version number of a file stands there
    assert Stream(struct.pack("<i", 2) + struct.pack("<i", value), 0, "B").integer() == 2
    little = Stream(struct.pack("<ii", 2, value), 0, "B")
    assert [little.integer(), little.integer()] == [2, value]
    swapped = Stream(struct.pack(">ii", 2, value), 0, "B")
    assert [swapped.integer(), swapped.integer()] == [2, value]
    assert text(f"{value}\n".encode()).integer() == value


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"1 2\n3", [1, 2, 3]),
        (b"\n\n 7\t-8", [7, -8]),
        (b"NA\n", [MISSING]),
        (b"+5", [5]),
        (b"2147483647 -2147483648", [2**31 - 1, -(2**31)]),
        (b"0000000001", [1]),
    ],
)
def test_words_are_parted_by_space(data, values):
    stream = text(data)
    assert [stream.integer() for _ in values] == values


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"  ",
        b"x",
        b"1.5",
        b"1e3",
        b"2147483648",
        b"-2147483649",
        b"12345678901",
        b"NAN",
        b"\xb2",
        b"0x1",
    ],
)
def test_words_that_are_no_integer(data):
    with pytest.raises(Malformed):
        text(data).integer()


@pytest.mark.parametrize("size", range(4))
def test_an_integer_that_is_cut_off(size):
    stream = big(b"\0" * size)
    with pytest.raises(Malformed, match=f"4 bytes are needed at offset 0, and {size} are left"):
        stream.integer()
    assert stream.pos == 0


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ((5,), 5),
        ((0,), 0),
        ((2**31 - 1,), 2**31 - 1),
        ((-1, 1, 0), 1 << 32),
        ((-1, 0, -1), (1 << 32) - 1),
        ((-1, 1, -(2**31)), (1 << 32) + (1 << 31)),
    ],
)
def test_lengths_of_31_and_64_bits(words, size):
    assert big(struct.pack(f">{len(words)}i", *words)).length() == size
    assert text(" ".join(map(str, words)).encode()).length() == size


@pytest.mark.parametrize("words", [(-2,), (MISSING,), (-1, -1, 0), (-1, -(2**31), 5)])
def test_lengths_below_zero_are_malformed(words):
    with pytest.raises(Malformed, match="a length of -"):
        big(struct.pack(f">{len(words)}i", *words)).length()


@pytest.mark.parametrize(("count", "width", "left"), [(2, 4, 0), (1, 8, 0), (0, 8, 8), (1, 4, 4), (8, 1, 0)])
def test_vectors_are_stepped_over(count, width, left):
    stream = big(b"\1" * 8)
    stream.vector(count, width)
    assert stream.end - stream.pos == left


@pytest.mark.parametrize(("count", "width"), [(3, 4), (2, 8), (9, 1), (1 << 40, 8)])
def test_vectors_that_do_not_fit(count, width):
    with pytest.raises(Malformed):
        big(b"\1" * 8).vector(count, width)
    with pytest.raises(Malformed):
        text(b"1").vector(count, width)


def test_complex_numbers_are_two_words():
    stream = text(b"1.5 -2\nNA NaN\nInf")
    stream.vector(2, 16)
    assert stream.word() == b"Inf"


def packed(content):
    return struct.pack(">i", len(content)) + content


@pytest.mark.parametrize(
    ("content", "found"), [(b"os", "os"), ("é".encode(), "é"), (b"a\xff", "a\\xff"), (b"a b\n", "a b\n")]
)
def test_texts(content, found):
    assert big(packed(content)).text() == found


@pytest.mark.parametrize("size", [0, -1, MISSING])
def test_a_text_that_is_not_stated(size):
    stream = big(struct.pack(">i", size) + b"rest")
    assert (stream.text(), stream.pos) == ("", 4)


def test_a_long_text_is_cut_and_stepped_over():
    content = b"x" * (KEPT + 9)
    stream = big(packed(content) + b"\0\0\0\7")
    assert len(stream.text()) == KEPT
    assert stream.integer() == 7
    letters = text(b"%d\n" % len(content) + content + b"\n7")
    assert len(letters.text()) == KEPT
    assert letters.integer() == 7


def test_a_text_that_is_cut_off():
    content = packed(b"system")
    for end in range(len(content)):
        with pytest.raises(Malformed):
            big(content[:end]).text()
    for end in range(1, len(b"6\nsystem")):
        with pytest.raises(Malformed):
            text(b"6\nsystem"[:end]).text()


ESCAPES = [
    (rb"\n", b"\n"),
    (rb"\t", b"\t"),
    (rb"\v", b"\v"),
    (rb"\b", b"\b"),
    (rb"\r", b"\r"),
    (rb"\f", b"\f"),
    (rb"\a", b"\a"),
    (rb"\\", b"\\"),
    (rb"\?", b"?"),
    (rb"\'", b"'"),
    (rb"\"", b'"'),
    (rb"\040", b" "),
    (rb"\101", b"A"),
    (rb"\7", b"\x07"),
    (rb"\0", b"\0"),
    (rb"\1018", b"A8"),
    (b"\xc3\\251", "é".encode()),
]


@pytest.mark.parametrize(("written", "content"), ESCAPES)
def test_escapes_of_the_textual_encoding(written, content):
    stream = text(b"%d\n" % len(content) + written + b"\n9")
    assert stream.text() == content.decode()
    assert stream.integer() == 9


def escaped(content):
    """As `OutString` of serialize.c writes it."""
    names = dict(zip(b"\n\t\v\b\r\f\a\\?'\"", b"ntvbrfa\\?'\"", strict=True))
    out = bytearray()
    for byte in content:
        if byte in names:
            out += bytes([92, names[byte]])
        elif byte <= 32 or byte > 126:
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return bytes(out)


@given(st.text(min_size=1, max_size=40))
def test_any_text_survives_each_encoding(value):
    raw = value.encode("utf-8", "surrogatepass")
    shown = raw.decode("utf-8", "backslashreplace")
    assert big(packed(raw)).text() == shown
    assert text(b"%d\n" % len(raw) + escaped(raw) + b"\n").text() == shown


CHAR = struct.pack(">i", 0x40009)


def test_plain_texts_of_a_vector_are_stepped_over():
    one, missing = CHAR + packed(b"ab"), CHAR + struct.pack(">i", -1)
    for data, count, done in [
        (one * 3, 3, 3),
        (one * 3, 2, 2),
        (one + missing + one, 3, 3),
        (one + struct.pack(">ii", 0xFE, 0), 2, 1),
        (one + CHAR + struct.pack(">i", -2), 2, 1),
        (one + CHAR + struct.pack(">i", 9) + b"short", 2, 1),
        (struct.pack(">ii", 0x209, 0), 1, 0),
        (one[:7], 1, 0),
        (b"", 1, 0),
    ]:
        stream = big(data)
        assert stream.texts(count) == done
        assert 0 <= stream.pos <= len(data)
    assert text(b"262153\n2\nab\n").texts(1) == 0


@given(
    st.binary(max_size=40),
    st.sampled_from("XBA"),
    st.lists(st.sampled_from(["integer", "length", "text"]), max_size=6),
)
def test_any_bytes_are_read_or_malformed_and_never_left(data, encoding, steps):
    stream = Stream(data, 0, encoding)
    at = 0
    try:
        for step in steps:
            getattr(stream, step)()
            assert at <= stream.pos <= len(data)
            at = stream.pos
    except Malformed:
        assert stream.pos <= len(data)
