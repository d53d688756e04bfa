import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.data.parquet_source import ParquetSource
from modelward.adapters.data.scan import profile
from modelward.errors import ColumnMissing, FileDamaged, FileMissing, InputError

COLUMNS = {
    "age": pa.array([39, 50, 38, 53], pa.int16()),
    "sex": ["M", "F", None, "F"],
    "score": [0.5, 1.5, None, -2.0],
    "member": [True, False, True, False],
    "y": ["no", "yes", "no", "no"],
}


def test_known_answers(parquet):
    data = open_data(parquet(COLUMNS), DataOptions(label="y", sensitive=("member",)))
    assert [(c.name, c.kind, c.missing) for c in data.columns] == [
        ("age", "integer", 0),
        ("sex", "category", 1),
        ("score", "real", 1),
        ("member", "boolean", 0),
    ]
    expected = [[39, 2, 0.5, 1], [50, 1, 1.5, 0], [38, 0, np.nan, 1], [53, 1, -2, 0]]
    np.testing.assert_array_equal(data.x, expected)
    assert data.labels == ("no", "yes")
    assert data.subject.format == "parquet"
    assert data.groupings[0].levels == ("False", "True")


def test_texts_of_digits_stay_texts(parquet):
    data = open_data(parquet({"zip": ["01", "10", "2"], "n": [1, 2, 3]}), DataOptions())
    assert data.columns[0].categories == ("01", "10", "2")


def test_labels_that_are_texts_of_digits_sort_as_numbers(parquet):
    data = open_data(parquet({"a": [1, 2, 3], "y": ["10", "9", "1"]}), DataOptions(label="y"))
    assert data.labels == ("1", "9", "10")
    assert data.y.tolist() == [2, 1, 0]


def test_boolean_labels(parquet):
    data = open_data(parquet({"a": [1, 2], "y": [True, False]}), DataOptions(label="y"))
    assert (data.labels, data.y.tolist()) == (("False", "True"), [1, 0])


def test_nan_and_null_are_both_missing(parquet):
    one = open_data(parquet({"a": [1.5, None, 2.0]}), DataOptions())
    two = open_data(parquet({"a": [1.5, np.nan, 2.0]}), DataOptions())
    assert one.columns[0].missing == two.columns[0].missing == 1
    assert one.subject.digest == two.subject.digest


def test_dictionary_columns_equal_plain_ones(parquet):
    plain = pa.array(["a", "b", None, "a"])
    one = open_data(parquet({"c": plain, "n": [1, 2, 3, 4]}), DataOptions())
    two = open_data(parquet({"c": plain.dictionary_encode(), "n": [1, 2, 3, 4]}), DataOptions())
    assert one.subject.digest == two.subject.digest
    np.testing.assert_array_equal(one.x, two.x)


def test_dates_are_texts(parquet):
    data = open_data(parquet({"d": [dt.date(2020, 1, 2)] * 2, "n": [1, 2]}), DataOptions())
    assert data.columns[0].categories == ("2020-01-02",)


@pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"x", b"y"]])
def test_nested_columns_are_refused_by_name(parquet, cells):
    with pytest.raises(InputError, match="column 'odd' is of type"):
        open_data(parquet({"odd": cells, "n": [1, 2]}), DataOptions())


@pytest.mark.parametrize("group", [1, 7, 100, 10_000])
@pytest.mark.parametrize("batch", [3, 1 << 16])
def test_row_groups_and_batches_do_not_matter(parquet, group, batch):
    rng = np.random.default_rng(5)
    table = {
        "a": pa.array(rng.normal(size=500), mask=rng.random(500) < 0.1),
        "t": pa.array(rng.choice(["x", "yy", "zzz"], 500), mask=rng.random(500) < 0.1),
        "b": rng.random(500) < 0.5,
    }
    reference = profile(ParquetSource(parquet(table)), label=None, capacity=50)
    again = profile(
        ParquetSource(parquet(table, row_group_size=group, name="b.parquet"), batch=batch),
        label=None,
        capacity=50,
    )
    assert [s.digest() for s in again.scans] == [s.digest() for s in reference.scans]
    assert [s.missing for s in again.scans] == [s.missing for s in reference.scans]
    np.testing.assert_array_equal(again.rows, reference.rows)
    np.testing.assert_array_equal(again.values, reference.values)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
def test_compression_does_not_matter(parquet, codec):
    path = parquet(COLUMNS, compression=codec)
    assert (
        open_data(path, DataOptions()).subject.digest
        == open_data(parquet(COLUMNS), DataOptions()).subject.digest
    )


def test_progress(parquet):
    calls = []
    open_data(parquet(COLUMNS), DataOptions(), observe=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4)


def test_damage(parquet, write):
    body = parquet(COLUMNS).read_bytes()
    for content in (body[:-10], body[:50], b"PAR1" + bytes(20), b"PAR1"):
        with pytest.raises(FileDamaged, match="is a truncated or damaged parquet file"):
            open_data(write("bad.parquet", content), DataOptions())


def test_damaged_pages(parquet, write):
    path = parquet({"a": np.arange(1000.0), "t": ["abc"] * 1000}, compression="gzip", use_dictionary=False)
    body = bytearray(path.read_bytes())
    body[100:140] = bytes(40)
    with pytest.raises(FileDamaged, match="is a truncated or damaged parquet file"):
        open_data(write("bad.parquet", bytes(body)), DataOptions())


def test_no_rows_no_columns_and_repeated_names(parquet):
    with pytest.raises(FileDamaged, match="has a header but no rows"):
        open_data(parquet({"a": pa.array([], pa.float64())}), DataOptions())
    with pytest.raises(InputError, match="two columns are named 'a'"):
        open_data(parquet(pa.table([[1], [2]], names=["a", "a"])), DataOptions())
    with pytest.raises(InputError, match="has no columns"):
        open_data(parquet(pa.table({})), DataOptions())


def test_missing_label(parquet):
    with pytest.raises(ColumnMissing, match="the nearest are 'y'"):
        open_data(parquet(COLUMNS), DataOptions(label="Y"))


def test_implausibly_many_cells(parquet, monkeypatch):
    monkeypatch.setattr("modelward.adapters.data.parquet_source.GRACE", 1000)
    path = parquet({"a": np.zeros(2_000_000)})
    with pytest.raises(FileDamaged, match=r"claim to hold 2,000,000 cells, more than 200 per byte"):
        open_data(path, DataOptions())


def test_a_file_that_goes_away(parquet):
    path = parquet(COLUMNS)
    source = ParquetSource(path)
    path.unlink()
    with pytest.raises(FileMissing, match="cannot be read"):
        list(source.batches())


def test_file_written_in_parts_reads_as_one(tmp_path):
    table = pa.table(COLUMNS)
    path = tmp_path / "parts.parquet"
    with pq.ParquetWriter(path, table.schema) as writer:
        for row in range(4):
            writer.write_table(table.slice(row, 1))
    whole = tmp_path / "whole.parquet"
    pq.write_table(table, whole)
    assert open_data(path, DataOptions()).subject.digest == open_data(whole, DataOptions()).subject.digest
