import numpy as np
import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.data.csv_source import MISSING_TEXTS, CsvSource
from modelward.adapters.data.scan import profile
from modelward.errors import ColumnMissing, FileDamaged, FileMissing, FormatUnknown, InputError

TABLE = """age,sex,score,member,flag,y
39,M,0.5,yes,1,no
50,F,1.5,no,0,yes
38,,,yes,1,no
53,F,-2,no,0,no
"""


def test_known_answers(read):
    data = read(TABLE, label="y", sensitive=("sex",), immutable=("age",))
    assert [(c.name, c.kind, c.lower, c.upper, c.missing) for c in data.columns] == [
        ("age", "integer", 38, 53, 0),
        ("sex", "category", 0, 2, 1),
        ("score", "real", -2, 1.5, 1),
        ("member", "boolean", 0, 1, 0),
        ("flag", "boolean", 0, 1, 0),
    ]
    assert data.columns[1].categories == ("(missing)", "F", "M")
    assert data.columns[3].categories == ("no", "yes")
    assert data.columns[4].categories == ()
    assert [c.name for c in data.columns if c.sensitive] == ["sex"]
    assert [c.name for c in data.columns if c.immutable] == ["age"]
    expected = [[39, 2, 0.5, 1, 1], [50, 1, 1.5, 0, 0], [38, 0, np.nan, 1, 1], [53, 1, -2, 0, 0]]
    np.testing.assert_array_equal(data.x, expected)
    assert data.x.dtype == np.float64
    assert (data.y.tolist(), data.labels) == ([0, 1, 0, 0], ("no", "yes"))
    assert (data.rows.tolist(), data.total, len(data)) == ([0, 1, 2, 3], 4, 4)
    assert data.box.unit == "data range"
    assert data.box.source == "inferred from the data"
    np.testing.assert_array_equal(data.box.scale, [15, 2, 3.5, 1, 1])
    (group,) = data.groupings
    assert (group.name, group.levels, group.codes.tolist()) == ("sex", ("(missing)", "F", "M"), [2, 1, 0, 1])


def test_subject(read):
    subject = read(TABLE, label="y").subject
    assert (subject.kind, subject.format, subject.identity) == ("dataset", "csv", "digest")
    assert subject.name.endswith("data.csv")
    assert subject.details == {
        "rows": 4,
        "held": 4,
        "features": 5,
        "kinds": {"boolean": 2, "category": 1, "integer": 1, "real": 1},
        "missing": {"sex": 1, "score": 1},
        "classes": {"no": 3, "yes": 1},
        "box": {"lower": -2.0, "upper": 53.0, "unit": "data range", "source": "inferred from the data"},
    }


def test_without_label_all_columns_are_features(read):
    data = read(TABLE)
    assert data.y is None
    assert data.labels == ()
    assert len(data.columns) == 6


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(read, delimiter):
    data = read(TABLE.replace(",", delimiter), label="y")
    assert data.subject.digest == read(TABLE, label="y").subject.digest
    assert len(data.columns) == 5


def test_semicolons_with_decimal_commas_are_texts_not_wrong_numbers(read):
    data = read("a;b\n1,5;2\n2,5;3\n")
    assert [c.kind for c in data.columns] == ["category", "integer"]


def test_one_column(read):
    assert read("a\n1\n2\n").x.tolist() == [[1], [2]]


def test_quotes_newlines_crlf_and_bom(read):
    data = read('\ufeff"a,1",b\r\n"x\r\ny",1\r\n"say ""hi""",2\r\n')
    assert [c.name for c in data.columns] == ["a,1", "b"]
    assert data.columns[0].categories == ('say "hi"', "x\r\ny")
    assert data.x.tolist() == [[1, 1], [0, 2]]


def test_blank_lines_are_no_rows(read):
    assert read("a,b\n1,2\n\n3,4\n\n").total == 2


@pytest.mark.parametrize("text", MISSING_TEXTS)
def test_missing_texts(read, text):
    data = read(f'a,b,c\n1,{text},"{text}"\n2,x,3\n')
    assert [c.missing for c in data.columns] == [0, 1, 1]
    assert data.columns[1].categories == ("(missing)", "x")
    assert np.isnan(data.x[0, 2])


def test_question_mark_is_a_category_not_missing(read):
    assert read("a,b\n?,1\nx,2\n").columns[0].categories == ("?", "x")


def test_column_without_any_value(read):
    data = read("a,b\n,1\nNA,2\n")
    column = data.columns[0]
    assert (column.kind, column.missing, column.lower, column.upper) == ("real", 2, 0, 0)
    assert np.isnan(data.x[:, 0]).all()


def test_leading_gaps_do_not_hide_what_follows(write):
    path = write("late.csv", "a,b,c,d\n" + ",,,0\n" * 3000 + "x,2.5,true,0\n")
    source = CsvSource(path, zipped=False, block=2000)
    seen = profile(source, label=None, capacity=10**6)
    assert [scan.form for scan in seen.scans] == ["text", "number", "boolean", "number"]
    whole = profile(CsvSource(path, zipped=False), label=None, capacity=10**6)
    assert [scan.digest() for scan in seen.scans] == [scan.digest() for scan in whole.scans]


@pytest.mark.parametrize("block", [200, 1000, 1 << 20])
def test_a_text_in_the_last_row_makes_the_whole_column_texts(write, block):
    path = write("late.csv", "a,b\n" + "".join(f"{i % 7},{i}\n" for i in range(1000)) + "oops,1000\n")
    seen = profile(CsvSource(path, zipped=False, block=block), label=None, capacity=10**6)
    scan = seen.scans[0]
    assert scan.form == "text"
    assert scan.mixed == (1000, "oops")
    assert set(scan.texts.codes) == {"0", "1", "2", "3", "4", "5", "6", "oops"}
    assert len(seen.rows) == 1001
    assert seen.values.shape == (1001, 2)


def test_a_mixed_column_is_a_category_and_said_so(read):
    data = read("a,b\n1,1\n2,2\nx,3\n1,4\n")
    assert data.columns[0].kind == "category"
    assert data.columns[0].categories == ("1", "2", "x")
    assert data.subject.details["mixed"] == {"a": "row 3 is not a number"}


def test_texts_with_numbers_among_them_are_plainly_texts(read):
    assert "mixed" not in read("a,b\nx,1\n1,2\n").subject.details


def test_a_mixed_column_of_many_values_names_the_row(read):
    rows = "".join(f"{i},1\n" for i in range(10_500))
    with pytest.raises(InputError) as caught:
        read("a,b\n" + rows + "n/k,1\n")
    assert str(caught.value).startswith(
        "column 'a' begins with numbers but holds 'n/k' in row 10501, and has more"
    )


def test_identifiers_are_refused(read):
    rows = "".join(f"id{i},1\n" for i in range(10_001))
    with pytest.raises(
        InputError, match="column 'who' has more than 10,000 distinct texts, like an identifier"
    ):
        read("who,b\n" + rows)
    assert len(read("who,b\n" + rows.replace("id10000,1\n", "")).columns[0].categories) == 10_000


@pytest.mark.parametrize("cell", ["-inf", "inf", "1e301", "-1e301", "1e999"])
def test_infinities_are_refused(read, cell):
    with pytest.raises(
        InputError, match=r"column 'a' holds an infinity or a number beyond 1e\+300 in row 2$"
    ):
        read(f"a,b\n1,1\n{cell},2\n")
    assert read("a,b\n1e300,1\n-1e300,2\n").box.scale[0] == 2e300


def test_words_and_numbers_mixed_are_texts(read):
    data = read("a,b\ntrue,1\n1,2\nfalse,3\n")
    assert data.columns[0].categories == ("1", "false", "true")


def test_kinds_are_by_value_not_by_spelling(read):
    data = read("a,b,c\n1.0,0.0,1e20\n2.0,1.0,2e20\n")
    assert [c.kind for c in data.columns] == ["integer", "boolean", "real"]


def test_minus_zero_has_a_plain_bound(read):
    column = read("a,b\n-0.0,1\n-0.0,2\n").columns[0]
    assert np.signbit(column.lower) == np.False_
    assert np.signbit(column.upper) == np.False_


def test_onehot(read):
    data = read("c_red,c_blue,c_green,d_a,d_b,n\n1,0,0,1,1,1\n0,1,0,0,1,1\n0,0,1,0,1,1\n")
    assert [c.onehot for c in data.columns] == ["c", "c", "c", None, None, None]
    assert data.subject.details["onehot"] == {"c": 3}


def test_onehot_of_words_as_pandas_writes_them(read):
    data = read("c_red,c_blue\nTrue,False\nFalse,True\n")
    assert [c.onehot for c in data.columns] == ["c", "c"]


def test_onehot_must_hold_in_rows_that_are_not_held(write):
    good = "c_red,c_blue,n\n" + "1,0,1\n0,1,2\n" * 500
    path = write("good.csv", good)
    assert [c.onehot for c in open_data(path, DataOptions(rows=10)).columns] == ["c", "c", None]
    held = set(open_data(path, DataOptions(rows=10)).rows.tolist())
    spoiled = next(row for row in range(1000) if row not in held)
    lines = good.splitlines()
    lines[spoiled + 1] = "1,1,1"
    path = write("bad.csv", "\n".join(lines))
    assert [c.onehot for c in open_data(path, DataOptions(rows=10)).columns] == [None, None, None]


def test_sample_of_a_long_table(write):
    path = write("long.csv", "a,b,y\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(5000)))
    data = open_data(path, DataOptions(rows=100, label="y"))
    assert (len(data), data.total, data.subject.details["held"]) == (100, 5000, 100)
    assert np.array_equal(data.x[:, 0], data.rows)
    assert np.array_equal(data.y, data.rows % 2)
    assert (data.columns[0].lower, data.columns[0].upper) == (0, 4999)  # from all rows, not the sample
    assert data.subject.details["classes"] == {"0": 2500, "1": 2500}
    assert data.subject.digest == open_data(path, DataOptions()).subject.digest


def test_digest_depends_on_values_and_names_but_not_on_column_order(read):
    base = read("a,b\n1,x\n2,y\n").subject.digest
    assert read("b,a\nx,1\ny,2\n").subject.digest == base
    assert read("a,b\n1.0,x\n2e0,y\n").subject.digest == base
    assert read("a,b\n1,x\n2,z\n").subject.digest != base
    assert read("a,c\n1,x\n2,y\n").subject.digest != base
    assert read("a,b\n2,y\n1,x\n").subject.digest != base
    assert read("a,b\n1,x\n,y\n").subject.digest != base


def test_digest_of_texts_cannot_be_shifted_between_cells(read):
    assert read("a,b\nxy,1\nz,1\n").subject.digest != read("a,b\nx,1\nyz,1\n").subject.digest


def test_progress(write):
    path = write("p.csv", TABLE)
    calls = []
    open_data(path, DataOptions(), observe=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(TABLE), len(TABLE))


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b"", FileDamaged, "is empty"),
        (b"\n\n  \n", FileDamaged, "is empty"),
        (b"\xef\xbb\xbf", FileDamaged, "is empty"),
        (b"a,b\n", FileDamaged, "has a header but no rows"),
        (b"a,b", FileDamaged, "has a header but no rows"),
        (b"1,2\n3,4\n", InputError, "the first line is all numbers, where column names are expected"),
        (b",a\n0,1\n", InputError, "column 1 has no name in the header"),
        (b"a,a\n0,1\n", InputError, "two columns are named 'a'"),
        (b"a,b\n1,2\n3\n", FileDamaged, "has 1 cells where the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", FileDamaged, "has 3 cells where the header has 2"),
        (b"a,b\n1,\xff\n", FileDamaged, "not UTF-8"),
        (b"a,b\n" + b"1,x\n" * 100_000 + b"1,\xff\n", FileDamaged, "not UTF-8"),
        (
            "a,b\n1,2\n".encode("utf-16"),
            FormatUnknown,
            "its content is none of npz, npy, csv, csv.gz and parquet",
        ),
        (bytes(range(256)), FormatUnknown, "its content is none of"),
    ],
)
def test_unusable_files(write, content, error, sentence):
    path = write("bad.csv", content)
    with pytest.raises(error) as caught:
        open_data(path, DataOptions())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_complaints_do_not_quote_cells(write):
    path = write("bad.csv", "a,b\n1,2\nsecret,4,5\n")
    with pytest.raises(FileDamaged) as caught:
        open_data(path, DataOptions())
    assert "secret" not in str(caught.value)


def test_a_record_longer_than_a_block(write):
    path = write("bad.csv", "a,b\n1,2\n1," + "x" * 5000 + "\n1,2\n")
    with pytest.raises(FileDamaged, match="a record is longer than 1,000 bytes, or a quote is never closed"):
        profile(CsvSource(path, zipped=False, block=1000), label=None, capacity=10)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"label": "Y"}, ColumnMissing, "the label column 'Y' is not in the data; the nearest are 'y'"),
        (
            {"sensitive": ("sexx",)},
            ColumnMissing,
            "the sensitive column 'sexx' is not in the data; the nearest are 'sex'",
        ),
        (
            {"immutable": ("agee",)},
            ColumnMissing,
            "the immutable column 'agee' is not in the data; the nearest are 'age'",
        ),
        ({"label": "y", "sensitive": ("y",)}, InputError, "the label column 'y' cannot be sensitive"),
        ({"label": "score"}, InputError, "the label column 'score' has no value in 1 of 4 rows"),
        (
            {"bounds": (0.0, 1.0)},
            InputError,
            "the data reaches from -2 to 53, outside the stated bounds 0 to 1",
        ),
    ],
)
def test_unusable_options(read, options, error, sentence):
    with pytest.raises(error) as caught:
        read(TABLE, **options)
    assert sentence in str(caught.value)


def test_only_a_label(read):
    with pytest.raises(InputError, match="has no column besides the label"):
        read("y\n1\n", label="y")


def test_stated_bounds(read):
    data = read("a,b\n0.25,0.5\n0.5,1\n", bounds=(0.0, 1.0))
    assert (data.box.unit, data.box.source) == ("box width", "stated")
    assert data.box.lower.tolist() == [0, 0]
    assert data.box.scale.tolist() == [1, 1]


def test_unreadable(write, monkeypatch):
    path = write("a.csv", TABLE)
    source = CsvSource(path, zipped=False)
    path.unlink()
    with pytest.raises(FileMissing, match="cannot be read"):
        list(source.batches())


# -- gzip ------------------------------------------------------------------------------------------------


def test_gzip_equals_plain(read, zipped):
    plain, packed = read(TABLE, label="y"), read(zipped(TABLE), name="whatever.bin", label="y")
    assert packed.subject.format == "csv.gz"
    assert packed.subject.digest == plain.subject.digest
    np.testing.assert_array_equal(packed.x, plain.x)


@pytest.mark.parametrize("cut", [12, 30, -9, -4])
def test_truncated_gzip(write, zipped, cut):
    path = write("t.csv.gz", zipped(TABLE * 1)[:cut])
    with pytest.raises((FileDamaged, FormatUnknown)):
        open_data(path, DataOptions())


def test_truncated_gzip_says_so(write, zipped):
    body = zipped("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(50_000)))
    with pytest.raises(FileDamaged, match="the gzip stream is truncated"):
        open_data(write("t.csv.gz", body[: len(body) // 2]), DataOptions())


def test_damaged_gzip_checksum(write, zipped):
    body = bytearray(zipped(TABLE))
    body[-6] ^= 1
    with pytest.raises(FileDamaged, match="the gzip stream is damaged"):
        open_data(write("t.csv.gz", bytes(body)), DataOptions())


def test_gzip_bomb(write, zipped, monkeypatch):
    monkeypatch.setattr("modelward.adapters.data.csv_source.GRACE", 1 << 20)
    path = write("bomb.csv.gz", zipped("a,b\n" + "0,0\n" * 3_000_000))
    with pytest.raises(FileDamaged, match="over 200 times as much"):
        open_data(path, DataOptions())


def test_gzip_of_a_binary(write, zipped):
    with pytest.raises(FormatUnknown, match="its content is none of"):
        open_data(write("t.csv.gz", zipped(bytes(1000))), DataOptions())
