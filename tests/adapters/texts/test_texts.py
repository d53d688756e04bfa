import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.adapters.data import DataOptions, from_arrays, open_data, with_training_range
from modelward.adapters.data.options import Constraints
from modelward.adapters.texts.texts import LONGEST, digest_of, is_texts
from modelward.errors import (
    ColumnMissing,
    ConfigInvalid,
    FileDamaged,
    FileMissing,
    InputError,
    ShapeMismatch,
)

CSV = 'label,text,sender\nham,"hello, how are you",1\nspam,None,2\nham,,3\nspam,a free prize,4\n'
TEXTS = ["hello, how are you", "None", "", "a free prize"]
SMS = Path(__file__).parents[4] / "shared/data/sms_spam.csv.gz"
STATED = DataOptions(label="label", text="text")


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(CSV)
    return path


def test_csv_texts_are_taken_verbatim(csv):
    data = open_data(csv, STATED)
    assert data.textual
    assert data.x.tolist() == TEXTS
    assert (data.y.tolist(), data.labels, data.total) == ([0, 1, 0, 1], ("ham", "spam"), 4)
    assert (data.columns, data.groupings, data.box.unit) == ((), (), "edits")
    details = data.subject.details
    assert (details["rows"], details["text"], details["classes"]) == (4, "text", {"ham": 2, "spam": 2})
    assert details["characters"] == {"mean": 8.5, "most": 18}


def test_csv_gz_parquet_table_and_arrays_agree(csv, tmp_path):
    zipped = tmp_path / "data.csv.gz"
    zipped.write_bytes(gzip.compress(csv.read_bytes()))
    table = pa.table({"label": ["ham", "spam"] * 2, "text": TEXTS})
    pq.write_table(table, tmp_path / "data.parquet")
    same = [
        open_data(csv, STATED),
        open_data(zipped, STATED),
        open_data(tmp_path / "data.parquet", STATED),
        from_arrays(table, options=STATED),
        from_arrays(table.to_pandas(), options=STATED),
    ]
    for data in same:
        assert data.x.tolist() == TEXTS
        assert data.subject.digest == same[0].subject.digest
    held = [
        from_arrays(TEXTS, ["ham", "spam"] * 2),
        from_arrays(np.array(TEXTS), np.array(["ham", "spam"] * 2)),
        from_arrays(np.array(TEXTS, dtype=object), ["ham", "spam"] * 2),
        from_arrays(pd.Series(TEXTS), pd.Series(["ham", "spam"] * 2)),
        from_arrays(tuple(TEXTS), ["ham", "spam"] * 2),
    ]
    for data in held:
        assert data.x.tolist() == TEXTS
        assert data.y.tolist() == [0, 1, 0, 1]
        assert data.subject.digest == held[0].subject.digest


def test_missing_text_of_parquet_is_empty(tmp_path):
    pq.write_table(pa.table({"text": ["a", None], "label": [0, 1]}), tmp_path / "data.parquet")
    assert open_data(tmp_path / "data.parquet", STATED).x.tolist() == ["a", ""]


def test_a_table_of_nothing_but_free_text_is_recognised(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f"message number {i} of the day,{i % 2}" for i in range(30)]
    path.write_text("text,label\n" + "\n".join(rows))
    assert open_data(path, DataOptions(label="label")).textual
    assert not open_data(path, DataOptions()).textual  # nothing says which of the two columns is the label


@pytest.mark.parametrize(
    "cells", [["red"] * 30, [str(i) for i in range(30)], ["one two three four"] * 30, [""] * 30]
)
def test_other_single_columns_are_features(tmp_path, cells):
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "\n".join(f"{cell},{i % 2}" for i, cell in enumerate(cells)))
    assert not open_data(path, DataOptions(label="label")).textual


def test_a_sample_is_uniform_and_the_digest_covers_all(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "\n".join(f"text number {i},{i % 3}" for i in range(100)))
    whole, part = (open_data(path, DataOptions(label="label", text="text", rows=n)) for n in (100, 10))
    assert (len(part), part.total) == (10, 100)
    assert part.subject.digest == whole.subject.digest
    assert part.x.tolist() == [f"text number {row}" for row in part.rows]
    assert part.y.tolist() == [row % 3 for row in part.rows]
    unlabelled = open_data(path, DataOptions(text="text", rows=10))
    assert (unlabelled.rows.tolist(), unlabelled.y) == (part.rows.tolist(), None)


@pytest.mark.skipif(not SMS.exists(), reason="the SMS spam data is not here")
def test_public_messages():
    data = open_data(SMS, DataOptions(label="label"))
    assert (data.textual, data.total, data.labels) == (True, 5574, ("ham", "spam"))
    assert data.subject.details["classes"] == {"ham": 4827, "spam": 747}


def test_lines(tmp_path):
    (tmp_path / "x.txt").write_text("first text\nsecond\u2028text\r\n\nlast", newline="")
    (tmp_path / "y.txt").write_text("ham\nspam\nham\nspam\n")
    data = open_data((tmp_path / "x.txt", tmp_path / "y.txt"), DataOptions())
    assert data.x.tolist() == ["first text", "second\u2028text", "", "last"]
    assert data.labels == ("ham", "spam")


@pytest.mark.parametrize(
    ("x", "y", "error", "said"),
    [
        (b"a\nb\n", b"0\n", ShapeMismatch, "2 texts and 1 labels"),
        (b"\xff\xfe\n", b"0\n", FileDamaged, "byte 0 is not UTF-8"),
        (b"a\n", None, FileMissing, "cannot be read"),
    ],
)
def test_lines_that_are_none(tmp_path, x, y, error, said):
    (tmp_path / "x.txt").write_bytes(x)
    if y is not None:
        (tmp_path / "y.txt").write_bytes(y)
    with pytest.raises(error, match=said):
        open_data((tmp_path / "x.txt", tmp_path / "y.txt"), DataOptions())


def test_npz_and_npy(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.array(TEXTS), y=np.array([0, 1, 0, 1]))
    data = open_data(tmp_path / "data.npz", DataOptions())
    assert data.x.tolist() == TEXTS
    assert data.labels == ("0", "1")
    np.save(tmp_path / "x.npy", np.array([text.encode() for text in TEXTS]))
    np.save(tmp_path / "y.npy", np.array([0, 1, 0, 1]))
    assert open_data((tmp_path / "x.npy", tmp_path / "y.npy"), DataOptions()).x.tolist() == TEXTS


def test_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.array(TEXTS, dtype=object), y=np.array([0, 1, 0, 1]))
    with pytest.raises(InputError, match="unpickling"):
        open_data(tmp_path / "data.npz", DataOptions())


@pytest.mark.parametrize("content", [b"\xff\xff", "\U0010ffff"])
def test_arrays_that_hold_no_valid_text(tmp_path, content):
    array = np.array([content])
    if isinstance(content, str):
        array.view(np.uint32)[0] = 0x110000  # beyond the last code point
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match="no valid Unicode"):
        open_data(tmp_path / "x.npy", DataOptions())


def test_odd_texts_are_held_as_they_are(surrogates):
    data = from_arrays(list(surrogates), [0, 1] * 3)
    assert data.x.tolist() == list(surrogates)
    assert data.take(np.array([1, 3])).x.tolist() == [surrogates[1], surrogates[3]]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"text": "texts"}, ColumnMissing, "'text'"),
        ({"text": "text", "label": "labl"}, ColumnMissing, "'label'"),
        ({"text": "text", "label": "text"}, InputError, "both text and label"),
        ({"bounds": (0.0, 1.0)}, ConfigInvalid, "bounds"),
        ({"immutable": ("sender",)}, ConfigInvalid, "immutable"),
        ({"sensitive": ("sender",)}, ConfigInvalid, "sensitive"),
        ({"constraints": Constraints(up=("sender",))}, ConfigInvalid, "constraints"),
    ],
)
def test_options_that_do_not_fit(csv, options, error, said):
    with pytest.raises(error, match=said):
        open_data(csv, DataOptions(**({"label": "label", "text": "text"} | options)))


def test_numbers_are_no_texts(tmp_path):
    pq.write_table(pa.table({"text": [1.0, 2.0], "label": [0, 1]}), tmp_path / "data.parquet")
    with pytest.raises(InputError, match="where texts are expected"):
        open_data(tmp_path / "data.parquet", STATED)


def test_too_long_or_none():
    with pytest.raises(InputError, match=r"row 2 holds a text of 100,001 characters"):
        from_arrays(["a", "b" * (LONGEST + 1)], [0, 1])
    with pytest.raises(ShapeMismatch, match="2 texts and 3 labels"):
        from_arrays(["a", "b"], [0, 1, 2])
    assert not is_texts([])
    assert not is_texts(["a", 1])
    assert not is_texts(np.array([["a"]]))
    assert not is_texts(np.zeros(3))


def test_digest_separates_texts():
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])
    assert digest_of(["a"]) != digest_of(["a", ""])
    assert digest_of(["\ud800"]) != digest_of(["\ud801"])


def test_labels_follow_the_training_data():
    data = from_arrays(["a b", "c d"], ["spam", "ham"])
    train = from_arrays(["e", "f", "g"], ["x", "spam", "ham"])
    aligned = with_training_range(data, train)
    assert aligned.labels == ("ham", "spam", "x")
    assert aligned.box.unit == "edits"
    with pytest.raises(ShapeMismatch):
        with_training_range(data, from_arrays(np.zeros((4, 2)), [0, 1, 0, 1]))
