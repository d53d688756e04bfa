"""Tables of ratings: every form, and what is refused with a sentence."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.adapters.recommenders import ratings as module
from modelward.adapters.recommenders.ratings import read_ratings
from modelward.errors import ColumnMissing, FileDamaged, FileMissing, ModelwardError, ShapeMismatch

COLUMNS = ("who", "what", "stars")
TEXT = "when,who,stars,what\n1,ann,4,tea\n2,bob,2.5,tea\n3,ann,1,milk\n"


def written(tmp_path, content, name="ratings.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def check(found):
    assert found.user_names == ("ann", "bob")
    assert found.item_names == ("tea", "milk")
    assert found.users.tolist() == [0, 1, 0]
    assert found.items.tolist() == [0, 0, 1]
    assert found.values.tolist() == [4.0, 2.5, 1.0]
    assert (found.users.dtype, found.values.dtype) == (np.int64, np.float64)
    assert len(found) == 3
    assert found.subject.details["users"] == 2


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv(tmp_path, mark, ending):
    check(read_ratings(written(tmp_path, mark + TEXT.replace("\n", ending)), COLUMNS))


def test_zipped_csv_by_content_and_not_by_name(tmp_path):
    check(read_ratings(written(tmp_path, gzip.compress(TEXT.encode())), COLUMNS))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"stars": [4, 2.5, 1], "who": ["ann", "bob", "ann"], "what": ["tea", "tea", "milk"]})
    parquet.write_table(table, tmp_path / "ratings.bin")
    check(read_ratings(tmp_path / "ratings.bin", COLUMNS))
    with pytest.raises(ColumnMissing, match="no column 'where'"):
        read_ratings(tmp_path / "ratings.bin", ("who", "where", "stars"))
    whole = (tmp_path / "ratings.bin").read_bytes()
    with pytest.raises(FileDamaged, match="not a readable parquet"):
        read_ratings(written(tmp_path, whole[:60]), COLUMNS)


def test_numbers_as_names_and_quoted_cells(tmp_path):
    path = written(tmp_path, 'who,what,stars\n7,"a, b",1\n\n 7 ,c,2\n')
    found = read_ratings(path, COLUMNS)
    assert (found.user_names, found.item_names) == (("7",), ("a, b", "c"))


def test_the_last_of_several_ratings_counts(tmp_path):
    path = written(tmp_path, "who,what,stars\na,x,1\nb,x,2\na,x,5\na,y,3\n")
    found = read_ratings(path, COLUMNS)
    assert list(zip(found.users.tolist(), found.items.tolist(), found.values.tolist(), strict=True)) == [
        (1, 0, 2.0),
        (0, 0, 5.0),
        (0, 1, 3.0),
    ]


@pytest.mark.parametrize(
    ("content", "error", "why"),
    [
        ("who,what\n1,2\n", ColumnMissing, "no column 'stars'"),
        ("who,what,stars,who\n1,2,3,4\n", ColumnMissing, "several columns 'who'"),
        ("", ColumnMissing, "no column 'who'"),
        ("who,what,stars\n", ShapeMismatch, "holds no ratings"),
        ("who,what,stars\na,b\n", ShapeMismatch, "line 2 has 2 cells, not 3"),
        ("who,what,stars\na,b,good\n", ShapeMismatch, "rating 1 is 'good', not a number"),
        ("who,what,stars\na,b,1\na,c,nan\n", ShapeMismatch, "rating 2 is nan, not a finite"),
        ("who,what,stars\na,b,1e999\n", ShapeMismatch, "not a finite"),
        ("who,what,stars\na,,1\n", ShapeMismatch, "nothing in column 'what'"),
        (b"who,what,stars\n\xff,b,1\n", FileDamaged, "cannot be read to its end"),
        (gzip.compress(TEXT.encode())[:30], FileDamaged, "cannot be read to its end"),
    ],
)
def test_what_is_refused(tmp_path, content, error, why):
    with pytest.raises(error, match=why):
        read_ratings(written(tmp_path, content), COLUMNS)


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        read_ratings(tmp_path / "none.csv", COLUMNS)
    with pytest.raises(FileMissing, match="is a folder"):
        read_ratings(tmp_path, COLUMNS)


def test_too_many_ratings(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    with pytest.raises(ShapeMismatch, match="more than 2 ratings"):
        read_ratings(written(tmp_path, TEXT), COLUMNS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = written(tmp_path, b"who,what,stars\n" + content)
    try:
        found = read_ratings(path, COLUMNS)
    except ModelwardError as error:
        sentence = str(error)
    else:
        sentence = ""
        assert len(set(zip(found.users.tolist(), found.items.tolist(), strict=True))) == len(found)
        assert set(found.users.tolist()) == set(range(len(found.user_names)))
        assert np.isfinite(found.values).all()
    assert "\n" not in sentence
