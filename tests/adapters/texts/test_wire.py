import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.texts.texts import text_array
from modelward.adapters.texts.wire import pack_texts, unpack_texts
from modelward.sandbox import RawArray

ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None))


@given(st.lists(ANY))
def test_texts_come_back_as_they_went(texts):
    back = unpack_texts(*pack_texts(text_array(texts)))
    assert back.dtype == object
    assert back.tolist() == texts


def test_odd_texts(surrogates):
    assert unpack_texts(*pack_texts(surrogates)).tolist() == surrogates.tolist()


@pytest.mark.parametrize("lengths", [[4], [1, 1], [5, -2], []])
def test_lengths_that_do_not_fit(lengths):
    joined = RawArray("|u1", (3,), b"abc")
    counted = np.array(lengths, "<i8")
    with pytest.raises(ValueError, match="lengths"):
        unpack_texts(joined, RawArray("<i8", counted.shape, counted.tobytes()))


@pytest.mark.parametrize(
    "lengths", [[-1, 4], [-3, 3, 3], [4, -1], [0, -1, 4], [2**62, 2**62, 2**62, 2**62 + 3]]
)
def test_no_length_is_negative_wherever_it_stands(lengths):
    """A first negative length and a later one that makes up for it would give out bytes twice."""
    counted = np.array(lengths, "<i8")
    with pytest.raises(ValueError, match="lengths"):
        unpack_texts(RawArray("|u1", (3,), b"abc"), RawArray("<i8", counted.shape, counted.tobytes()))


@given(st.binary(max_size=12), st.lists(st.integers(-8, 12), max_size=5))
def test_whatever_arrives_is_cut_into_what_it_was_or_refused(content, lengths):
    """Bytes of every text, put behind one another, are the bytes that came; nothing is lost or given twice."""
    counted = np.array(lengths, "<i8")
    arrived = RawArray("|u1", (len(content),), content), RawArray("<i8", counted.shape, counted.tobytes())
    try:
        texts = unpack_texts(*arrived)
    except ValueError:
        return
    assert len(texts) == len(lengths)
    assert [len(text.encode("utf-8", "surrogatepass")) for text in texts] == lengths
    assert b"".join(text.encode("utf-8", "surrogatepass") for text in texts) == content


@pytest.mark.parametrize("content", [b"\xff", b"\xc3", b"\xf5\x80\x80\x80", b"\xc0\x80"])
def test_bytes_that_are_no_text_are_refused(content):
    one = np.array([len(content)], "<i8")
    with pytest.raises(ValueError, match="decode"):
        unpack_texts(RawArray("|u1", (len(content),), content), RawArray("<i8", (1,), one.tobytes()))


def test_a_length_cut_short_is_refused():
    with pytest.raises(ValueError, match="need 8 bytes"):
        unpack_texts(RawArray("|u1", (3,), b"abc"), RawArray("<i8", (1,), b"\x03\0\0\0"))


def test_a_character_never_straddles_two_texts():
    """Two bytes of one letter given to two texts are no letter any more."""
    one = np.array([1, 1], "<i8")
    with pytest.raises(ValueError, match="decode"):
        unpack_texts(RawArray("|u1", (2,), "é".encode()), RawArray("<i8", (2,), one.tobytes()))
