"""Texts from arrays, lines and tables: what is taken for texts, what is refused, and what the digest covers."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.data import DataOptions, from_arrays, open_data
from modelward.adapters.texts.texts import (
    LONGEST,
    as_texts,
    digest_of,
    is_texts,
    plain_texts,
    text_array,
    text_box,
)
from modelward.errors import ConfigInvalid, FileDamaged, InputError, ModelwardError, ShapeMismatch

ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None), max_size=20)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["a", "b"], True), (("a",), True), ([], False), ((), False), (["a", None], False), (["a", b"b"], False),
        ("ab", False), (None, False), ({"a": 1}, False), (np.array(["a"]), True), (np.array([], np.str_), True),
        (np.array(["a", 1], object), False), (np.array(["a", "b"], object), True), (np.array([], object), False),
        (np.array([b"a"]), False), (np.array([["a"]]), False), (np.array("a"), False), (np.array([1.0]), False),
    ],
)  # fmt: skip
def test_what_is_taken_for_texts(values, texts):
    assert is_texts(values) is texts


@given(st.lists(ANY))
def test_arrays_of_texts_hold_them_exactly(texts):
    array = text_array(texts)
    assert (array.shape, array.dtype) == ((len(texts),), np.dtype(object))
    assert all(held is text for held, text in zip(array, texts, strict=True))
    assert text_array(iter(texts)).tolist() == texts


def test_texts_of_one_length_are_no_matrix():
    """numpy would make rows of letters of lists of equal length."""
    assert text_array(["ab", "cd"]).shape == (2,)
    assert text_array([]).shape == (0,)


@given(st.lists(ANY, max_size=6), st.lists(ANY, max_size=6))
def test_digests_are_equal_for_equal_texts_only(one, other):
    assert (digest_of(one) == digest_of(other)) == (one == other)
    assert digest_of(one).startswith("sha256:")
    assert digest_of(iter(one)) == digest_of(one)


@given(st.lists(ANY.map(lambda text: text.rstrip("\0")), min_size=1, max_size=5))
def test_arrays_of_fixed_width_are_read_back(texts):
    assert plain_texts(np.array(texts, np.str_), "x") == texts


@pytest.mark.parametrize("order", ["<", ">", "="])
def test_either_byte_order_is_read(order):
    array = np.array(["é", "字ab"]).astype(np.dtype("U3").newbyteorder(order))
    assert plain_texts(array, "x") == ["é", "字ab"]


def test_bytes_are_utf_8_or_nothing():
    assert plain_texts(np.array(["é".encode(), b"a"]), "x") == ["é", "a"]
    with pytest.raises(InputError, match="mine: holds a text that is no valid Unicode"):
        plain_texts(np.array(["é".encode("latin-1")]), "mine")
    assert plain_texts(np.array([], np.str_), "x") == []


def test_texts_have_no_bounds():
    box = text_box()
    assert (box.unit, float(box.lower), float(box.upper), float(box.scale)) == ("edits", 0.0, 0.0, 1.0)


@pytest.mark.parametrize("y", [[0], [0, 1, 0], []])
def test_labels_must_be_as_many(y):
    with pytest.raises(ShapeMismatch, match=r"2 texts and \d labels"):
        from_arrays(["a", "b"], y)


def test_texts_without_labels_have_none():
    data = from_arrays(["a", "b c"])
    assert (data.y, data.labels, data.textual) == (None, (), True)
    assert "classes" not in data.subject.details


def test_the_longest_text_allowed_is_allowed():
    data = from_arrays(["a" * LONGEST, ""], [0, 1])
    assert data.subject.details["characters"] == {"mean": LONGEST / 2, "most": LONGEST}
    with pytest.raises(InputError, match=r"row 1 holds a text of 100,001"):
        from_arrays(["a" * (LONGEST + 1), ""], [0, 1])


@pytest.mark.parametrize("held", [1, 3, 10, 50])
def test_a_sample_keeps_texts_labels_and_rows_together(held):
    texts, labels = [f"text {i}" for i in range(40)], [i % 2 for i in range(40)]
    data = from_arrays(texts, labels, options=DataOptions(rows=held))
    assert len(data) == min(held, 40)
    assert data.total == 40
    assert data.x.tolist() == [f"text {row}" for row in data.rows]
    assert [data.labels[code] for code in data.y] == [str(row % 2) for row in data.rows]
    assert data.subject.digest == from_arrays(texts, labels).subject.digest


def test_digests_cover_texts_and_labels():
    plain = from_arrays(["a", "b"], [0, 1]).subject.digest
    others = [
        from_arrays(["a", "c"], [0, 1]), from_arrays(["a", "b"], [1, 0]), from_arrays(["b", "a"], [0, 1]),
        from_arrays(["a", "b"]), from_arrays(["ab", ""], [0, 1]),
    ]  # fmt: skip
    assert len({plain, *(data.subject.digest for data in others)}) == 6


def lines(tmp_path, x, y, options=None):
    (tmp_path / "x.txt").write_bytes(x)
    (tmp_path / "y.txt").write_bytes(y)
    return open_data((tmp_path / "x.txt", tmp_path / "y.txt"), options or DataOptions())


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        (b"\n\n", ["", ""]),
        (b"a\n\n", ["a", ""]),
        ("a\u2028x\nb\x0by\n".encode(), ["a\u2028x", "b\x0by"]),
        (b"a\rb\nc\n", ["a\rb", "c"]),
        (b"a\0\n b \n", ["a\0", " b "]),
    ],
)
def test_a_line_ends_at_its_line_feed_and_nowhere_else(tmp_path, content, texts):
    data = lines(tmp_path, content, b"0\n1\n")
    assert data.x.tolist() == texts
    assert data.labels == ("0", "1")


def test_empty_files_are_no_texts(tmp_path):
    with pytest.raises(InputError, match="holds no texts"):
        lines(tmp_path, b"", b"")


def accepted(content):
    """Whether bytes are UTF-8 of two lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return text.count("\n") + (text[-1:] not in {"", "\n"}) == 2


@given(st.one_of(st.binary(max_size=40), st.text("ab\r\né\ufeff", max_size=6).map(str.encode)))
def test_any_bytes_are_texts_or_a_sentence(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        valid = accepted(content)
        if not valid:
            with pytest.raises(ModelwardError):
                lines(Path(folder), content, b"0\n1\n")
            return
        data = lines(Path(folder), content, b"0\n1\n")
    assert len(data) == 2
    assert "\n".join(data.x).encode() in content.replace(b"\r\n", b"\n")


def test_one_column_of_words_is_what_a_model_of_texts_reads():
    table = pa.table({"n": [1.0, 2.0, 3.0], "words": ["a b", None, "c"], "y": [0, 1, 0]})
    data = from_arrays(table, options=DataOptions(label="y"))
    found = as_texts(data)
    assert found.x.tolist() == ["a b", "", "c"]
    assert (found.columns, found.box.unit, found.subject.details["text"]) == ((), "edits", "words")
    assert found.subject.digest == data.subject.digest
    assert found.y.tolist() == data.y.tolist()
    assert as_texts(found) is None


@pytest.mark.parametrize("columns", [{}, {"a": ["x", "y", "z"], "b": ["p", "q", "r"]}])
def test_no_column_of_words_or_two_are_not_guessed(columns):
    table = pa.table({"n": [1.0, 2.0, 3.0], **columns, "y": [0, 1, 0]})
    assert as_texts(from_arrays(table, options=DataOptions(label="y"))) is None


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_every_form_of_table_gives_the_same_texts(tmp_path, form):
    texts = ["plain", "with, comma", 'with "quotes"', "two\nlines", "nan", "1.5", " blank ", "字"]
    table, path = pa.table({"t": texts, "y": ["a", "b"] * 4}), tmp_path / f"data.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        content = table.to_pandas().to_csv(index=False).encode()
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    data = open_data(path, DataOptions(text="t", label="y"))
    assert data.x.tolist() == texts
    assert data.subject.digest == from_arrays(table, options=DataOptions(text="t", label="y")).subject.digest


def test_a_header_alone_is_damage(tmp_path):
    (tmp_path / "data.csv").write_text("t,y\n")
    with pytest.raises((FileDamaged, InputError)):
        open_data(tmp_path / "data.csv", DataOptions(text="t", label="y"))


@pytest.mark.parametrize("given_", [{"bounds": (0.0, 1.0)}, {"immutable": ("a",)}, {"sensitive": ("a",)}])
def test_options_of_numbers_are_refused_for_arrays_too(given_):
    with pytest.raises(ConfigInvalid, match="the data is texts"):
        from_arrays(["a", "b"], [0, 1], options=DataOptions(**given_))
