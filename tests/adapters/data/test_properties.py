"""Random tables: what is found does not depend on how the rows reach us."""

import csv
import gzip
import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.data.arrow import WORDS
from modelward.adapters.data.csv_source import MISSING_TEXTS, CsvSource
from modelward.adapters.data.parquet_source import ParquetSource
from modelward.adapters.data.scan import profile
from modelward.errors import ModelwardError

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

reals = st.floats(-1e300, 1e300)
wholes = st.integers(-(2**53), 2**53)
words = {word for pair in WORDS for word in pair}


def is_text(text):
    try:
        float(text)
    except ValueError:
        return text not in MISSING_TEXTS and text not in words and "_" not in text
    return False


plain_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(is_text)
hard_texts = st.sampled_from(['a"b', "x,y", "line\nbreak", " spaced ", "ü", "\U0001d518", "é;", "tab\tx"])
cells = {
    "real": reals,
    "whole": wholes,
    "flag": st.sampled_from([0, 1]),
    "bool": st.booleans(),
    "text": plain_texts | hard_texts,
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from(sorted(cells)), min_size=2, max_size=5))
    gaps = draw(st.booleans())
    return {
        f"{kind}-{place}": [draw(st.none() | cells[kind]) if gaps else draw(cells[kind]) for _ in range(rows)]
        for place, kind in enumerate(kinds)
    }


def as_csv(table):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        # A row of nothing but gaps would be a blank line if there were one column; there are two or more.
        writer.writerow(
            ["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in row]
        )
    return stream.getvalue().encode()


def summary(data):
    return data.subject.digest, data.columns, data.total


def same(one, two):
    assert summary(one) == summary(two)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.box.lower, two.box.lower)
    np.testing.assert_array_equal(one.box.scale, two.box.scale)


@relaxed
@given(tables())
def test_csv_gzip_and_parquet_agree(tmp_path, table):
    content = as_csv(table)
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=3)
    reference = open_data(tmp_path / "a.csv", DataOptions())
    same(open_data(tmp_path / "a.csv.gz", DataOptions()), reference)
    same(open_data(tmp_path / "a.parquet", DataOptions()), reference)


@relaxed
@given(tables())
def test_known_answers_of_random_tables(tmp_path, table):
    (tmp_path / "a.csv").write_bytes(as_csv(table))
    data = open_data(tmp_path / "a.csv", DataOptions())
    for column, values, x in zip(data.columns, table.values(), data.x.T, strict=True):
        present = [value for value in values if value is not None]
        assert column.missing == len(values) - len(present)
        if not present:
            assert column.kind == "real"
            continue
        if isinstance(present[0], str):
            assert column.kind == "category"
            texts = ["(missing)" if value is None else value for value in values]
            assert column.categories == tuple(sorted(set(texts)))
            assert [column.categories[int(code)] for code in x] == texts
            continue
        numbers = [float(value) for value in present]
        assert (column.lower, column.upper) == (min(numbers), max(numbers))
        np.testing.assert_array_equal(x, [math.nan if value is None else float(value) for value in values])
        whole = all(number == math.floor(number) and abs(number) <= 2**53 for number in numbers)
        boolean = whole and set(numbers) <= {0.0, 1.0}
        assert column.kind == ("boolean" if boolean else "integer" if whole else "real")
    assert (data.box.scale > 0).all()


@relaxed
@given(tables(), st.integers(1, 4), st.integers(1, 12))
def test_chunks_do_not_matter(tmp_path, table, parts, capacity):
    content = as_csv(table)
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    longest = max(len(row) for row in content.split(b"\n")) + 200
    sources = [
        CsvSource(path, zipped=False),
        CsvSource(path, zipped=False, block=longest * parts),
    ]
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=parts)
    sources.append(ParquetSource(tmp_path / "a.parquet", batch=parts))
    seen = [profile(source, label=None, capacity=capacity) for source in sources]
    for other in seen[1:]:
        assert [s.digest() for s in other.scans] == [s.digest() for s in seen[0].scans]
        assert [s.form for s in other.scans] == [s.form for s in seen[0].scans]
        np.testing.assert_array_equal(other.rows, seen[0].rows)
        np.testing.assert_array_equal(other.values, seen[0].values)


@relaxed
@given(tables(), st.randoms(use_true_random=False))
def test_column_order_does_not_matter_to_the_digest(tmp_path, table, random):
    names = list(table)
    random.shuffle(names)
    (tmp_path / "a.csv").write_bytes(as_csv(table))
    (tmp_path / "b.csv").write_bytes(as_csv({name: table[name] for name in names}))
    one, two = (open_data(tmp_path / name, DataOptions()) for name in ("a.csv", "b.csv"))
    assert one.subject.digest == two.subject.digest
    assert {c.name: c for c in one.columns} == {c.name: c for c in two.columns}


@relaxed
@given(
    st.lists(
        st.sampled_from(["1", "2.5", "x", "", "true", "no", "NAN", " 7", "-0", "-7.25"]),
        min_size=1,
        max_size=40,
    )
)
def test_forms_do_not_depend_on_chunks(tmp_path, column):
    path = tmp_path / "a.csv"
    path.write_text("column,fill\n" + "".join(f"{cell},{'f' * 20}\n" for cell in column))
    fine, coarse = (
        profile(CsvSource(path, zipped=False, block=b), label=None, capacity=99) for b in (40, 1 << 20)
    )
    for one, two in zip(fine.scans, coarse.scans, strict=True):
        assert (one.form, one.words, one.mixed, one.digest()) == (
            two.form,
            two.words,
            two.mixed,
            two.digest(),
        )
    np.testing.assert_array_equal(fine.values, coarse.values)


def complaint(path):
    """What modelward says about a file; any other error is not caught."""
    try:
        open_data(path, DataOptions())
    except ModelwardError as error:
        return str(error)
    return ""


edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5)
BASE = b"a,b,c\n" + b"".join(b'%d,"t%d",%d.5\n' % (i, i % 3, i) for i in range(30))


@relaxed
@given(edits, st.integers(0, 40), st.booleans())
def test_mutated_csv_raises_only_modelward_errors(tmp_path, changes, cut, zip_it):
    body = bytearray(gzip.compress(BASE, mtime=0) if zip_it else BASE)
    for place, value in changes:
        body[place % len(body)] = value
    path = tmp_path / "m.csv"
    path.write_bytes(bytes(body[: len(body) - cut]))
    assert "\n" not in complaint(path)


@relaxed
@given(edits, st.sampled_from(["gzip", "snappy", "none"]))
def test_mutated_parquet_raises_only_modelward_errors(tmp_path, changes, codec):
    path = tmp_path / "m.parquet"
    table = pa.table({"a": np.arange(30) / 2, "t": [f"t{i % 3}" for i in range(30)]})
    pq.write_table(table, path, compression=codec)
    body = bytearray(path.read_bytes())
    for place, value in changes:
        body[place % len(body)] = value
    path.write_bytes(bytes(body))
    assert "\n" not in complaint(path)


@pytest.mark.parametrize("seed", range(3))
def test_a_table_of_many_blocks(tmp_path, seed):
    rng = np.random.default_rng(seed)
    n = 60_000
    table = pa.table(
        {"real": rng.normal(size=n), "whole": rng.integers(0, 9, n), "text": rng.choice(["a", "bb", "ü"], n)}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7919)
    content = as_csv(table.to_pydict())
    (tmp_path / "a.csv").write_bytes(content)
    opened = [
        profile(ParquetSource(tmp_path / "a.parquet", batch=1000), label=None, capacity=5000),
        profile(CsvSource(tmp_path / "a.csv", zipped=False, block=1 << 16), label=None, capacity=5000),
        profile(CsvSource(tmp_path / "a.csv", zipped=False), label=None, capacity=5000),
    ]
    for seen in opened[1:]:
        assert [s.digest() for s in seen.scans] == [s.digest() for s in opened[0].scans]
        np.testing.assert_array_equal(seen.rows, opened[0].rows)
    assert len(opened[0].rows) == 5000
