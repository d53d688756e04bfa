import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from modelward.adapters.data.arrow import as_numbers, as_words, first_text, plain, text_bytes, text_codes
from modelward.errors import InputError


def texts(*cells):
    return pa.array(cells, pa.large_string())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        (" 1", 1.0),
        ("1 ", 1.0),
        ("+1", 1.0),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
        ("007", 7.0),
        ("\t2", 2.0),
    ],
)
def test_texts_that_are_numbers(text, number):
    assert as_numbers(texts(text)).tolist() == [number]


@pytest.mark.parametrize(
    "text", ["", "a", "1_0", "0x10", "1,5", "1 2", "1d5", "--1", "e5", ".", "\uff11", "True", "?"]
)
def test_texts_that_are_no_numbers(text):
    assert as_numbers(texts("1", text)) is None


def test_missing_cells_are_nan():
    assert np.isnan(as_numbers(texts("1", None))).tolist() == [False, True]
    assert np.isnan(as_numbers(texts(" 1", None))).tolist() == [False, True]


@pytest.mark.parametrize(
    "pair", [("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("no", "yes"), ("No", "Yes")]
)
def test_words(pair):
    words, values = as_words(texts(pair[1], None, pair[0]), None)
    assert words == pair
    assert values[0] == 1
    assert np.isnan(values[1])
    assert values[2] == 0


@pytest.mark.parametrize(
    "cells", [("true", "False"), ("true", "no"), ("true", "maybe"), ("t", "f"), ("maybe", "true")]
)
def test_words_of_two_spellings_are_texts(cells):
    assert as_words(texts(*cells), None) is None


def test_words_keep_to_the_spelling_of_earlier_rows():
    assert as_words(texts("no"), ("no", "yes"))[1].tolist() == [0]
    assert as_words(texts("no"), ("false", "true")) is None


@pytest.mark.parametrize(
    ("cells", "answer"),
    [
        (("1", "2", "x", "3"), (2, "x", True)),
        (("x", "1"), (0, "x", False)),
        ((None, "y", "1"), (1, "y", False)),
        (("nan", "x"), (1, "x", True)),
        (("-inf", "?"), (1, "?", True)),
        (("1e5", None, "1e"), (2, "1e", True)),
    ],
)
def test_first_text(cells, answer):
    assert first_text(texts(*cells)) == answer


def test_text_codes():
    distinct, codes = text_codes(texts("b", None, "a", "b"))
    assert distinct == ["b", "a"]
    assert codes.tolist() == [0, -1, 1, 0]


def test_text_bytes_tell_missing_from_empty():
    lengths, content = text_bytes(texts("é", None, "", "ab"))
    assert np.frombuffer(lengths, "<i8").tolist() == [2, -1, 0, 2]
    assert bytes(content) == "éab".encode()


def test_text_bytes_of_a_slice_and_of_nothing():
    lengths, content = text_bytes(texts("aa", "b", "ccc").slice(1))
    assert np.frombuffer(lengths, "<i8").tolist() == [1, 3]
    assert bytes(content) == b"bccc"
    lengths, content = text_bytes(texts("aa", None, "ccc").slice(1, 2))
    assert bytes(content) == b"ccc"
    assert text_bytes(texts()) == (b"", memoryview(b""))


@pytest.mark.parametrize(
    ("cells", "result"),
    [
        (pa.array([1, None], pa.int8()), [1.0, None]),
        (pa.array([2**60], pa.int64()), [float(2**60)]),
        (pa.array([2**53 + 1], pa.uint64()), [float(2**53)]),
        (pa.array([0.5], pa.float32()), [0.5]),
        (pa.array(np.array([0.5], np.float16)), [0.5]),
        (pa.array([decimal.Decimal("1.25")]), [1.25]),
        (pa.array(["a", None]), ["a", None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([5, 6]).dictionary_encode(), [5.0, 6.0]),
        (pa.array([dt.date(2020, 1, 2)]), ["2020-01-02"]),
        (pa.array([True, None]), [True, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_plain(cells, result):
    assert plain(cells, "c").to_pylist() == result


@pytest.mark.parametrize("cells", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"x"])])
def test_types_that_are_no_features(cells):
    with pytest.raises(InputError, match=r"^column 'c' is of type .*, which is neither a number nor a text$"):
        plain(cells, "c")


def test_invalid_utf8_is_refused_before_any_kernel_sees_it():
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], "<i4")), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(pa.ArrowInvalid):
        plain(broken, "c")
