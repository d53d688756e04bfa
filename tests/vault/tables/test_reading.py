"""Tables of other writers, groups one by one, and files that lie about their buffers."""

import gzip
import io
import itertools
import struct
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import ConfigInvalid, FileDamaged, InputError, SealDamaged
from modelward.vault import bundle, dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.tables import differences, reading
from modelward.vault.tables.alignment import Gap
from modelward.vault.tables.differences import Side, Span, changed_groups, difference
from modelward.vault.tables.manifest import (
    decode,
    encode,
    manifest,
    parse,
    prove_group,
    verify_group,
    verify_manifest,
)
from modelward.vault.tables.reading import TableOptions, columns_of, open_table
from modelward.vault.tables.signed import read_signed, sign_manifest


def rows_of(path, options=None, groups=None):
    """Every row as a tuple, with its group, through the reader."""
    with open_table(path, options or TableOptions()) as table:
        return [
            (piece.group, *row.values())
            for piece in table.pieces(groups)
            for row in (pa.table(piece.columns, names=table.schema.names).to_pylist() if piece.rows else [])
        ]


def groups_of(path, options=None):
    with open_table(path, options or TableOptions()) as table:
        return {
            place: sum(p.rows for p in pieces)
            for place, pieces in itertools.groupby(table.pieces(), lambda p: p.group)
        }


@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows", "csv"])
@pytest.mark.parametrize("groups", [None, range(1), range(1, 3), range(2, 9), range(7, 9), range(1, 1)])
def test_pieces_are_the_rows_of_the_groups_asked_for(write, people, ending, groups):
    table = people(250)
    path = write(table, f"t.{ending}")
    options = TableOptions(group_rows=100) if ending == "csv" else TableOptions()
    found = rows_of(path, options, groups)
    expected = [(at // 100, *row.values()) for at, row in enumerate(table.to_pylist())]
    if ending == "csv":
        expected = [(row[0], *(str(cell) for cell in row[1:])) for row in expected]
    assert found == [row for row in expected if groups is None or row[0] in groups]


@pytest.mark.parametrize("rows", [1, 7, 99, 100, 101, 1000])
def test_groups_of_a_stated_size(write, people, rows):
    options = TableOptions(group_rows=rows)
    for ending in ("parquet", "arrow", "arrows", "csv"):
        sizes = list(groups_of(write(people(300), f"t.{ending}"), options).values())
        assert sizes == [rows] * (300 // rows) + ([300 % rows] if 300 % rows else [])


def test_groups_without_rows_keep_their_place(tmp_path):
    table = pa.table({"a": pa.array([1, 2], pa.int64())})
    path = tmp_path / "t.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 1), table.slice(0, 0), table.slice(1, 1)):
            writer.write_batch(
                part.to_batches()[0]
                if part.num_rows
                else pa.record_batch([pa.array([], pa.int64())], names=["a"])
            )
    assert groups_of(path) == {0: 0, 1: 1, 2: 0, 3: 1}
    pinned = manifest(path)
    assert [group.rows for group in pinned.groups] == [0, 1, 0, 1]
    for place in range(4):
        verify_group(path, prove_group(pinned, place), pinned.root)
    assert difference(path, path).equal


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_files_are_arrow_files(tmp_path, people, compression):
    table = people(300)
    pf.write_feather(table, tmp_path / "t.feather", compression=compression, chunksize=100)
    path = tmp_path / "u.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    assert manifest(tmp_path / "t.feather") == manifest(path)


def test_dictionaries_in_files_are_what_they_hold(tmp_path, people):
    table = people(300)
    coded = table.set_column(3, "name", table["name"].dictionary_encode())
    for writer in (pq.write_table, pf.write_feather):
        writer(table, tmp_path / "a")
        writer(coded, tmp_path / "b")
        assert manifest(tmp_path / "a").root == manifest(tmp_path / "b").root


def test_a_table_by_pandas_is_the_table(tmp_path, people):
    pytest.importorskip("pandas")
    table = people(200)
    table.to_pandas().to_parquet(tmp_path / "pandas.parquet", index=False, engine="pyarrow")
    pq.write_table(table, tmp_path / "arrow.parquet")
    found, expected = manifest(tmp_path / "pandas.parquet"), manifest(tmp_path / "arrow.parquet")
    assert found == expected


def test_a_table_by_polars_is_the_table(tmp_path, people):
    """Another writer of all three formats: it stores texts as views and large texts."""
    polars = pytest.importorskip("polars")
    table = people(200)
    frame = polars.DataFrame(table.to_pydict())
    options, types = TableOptions(group_rows=50), {"id": "int64", "age": "int64", "score": "float64"}
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc(tmp_path / "t.arrow")
    frame.write_ipc_stream(tmp_path / "t.arrows")
    frame.write_csv(tmp_path / "t.csv", float_precision=None)
    pq.write_table(table, tmp_path / "own.parquet")
    expected = manifest(tmp_path / "own.parquet", options)
    for name in ("t.parquet", "t.arrow", "t.arrows"):
        assert manifest(tmp_path / name, options).root == expected.root, name
    assert manifest(tmp_path / "t.csv", TableOptions(group_rows=50, types=types)).root == expected.root


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_how_a_csv_file_is_written_does_not_count(tmp_path, separator, end, mark):
    lines = [["a", "b"], ["1", "x y"], ["2", '"q, r; s\tu"'], ["", "é"]]
    text = mark + end.join(separator.join(line) for line in lines) + end
    (tmp_path / "t.csv").write_bytes(text.encode())
    (tmp_path / "plain.csv").write_text('a,b\n1,x y\n2,"q, r; s\tu"\n,é')
    assert manifest(tmp_path / "t.csv").root == manifest(tmp_path / "plain.csv").root


def test_cells_of_csv_are_not_interpreted(tmp_path):
    """No text means "missing", no number is rounded, no date is read."""
    words = [
        "NA",
        "null",
        "None",
        "nan",
        "1e400",
        "007",
        " x ",
        "2024-01-01",
        "True",
        "12345678901234567890123",
        '"',
        "a\nb",
    ]
    quoted = ["".join(['"', word.replace('"', '""'), '"']) for word in words]
    (tmp_path / "t.csv").write_text(
        "a,b\n" + "".join(f"{word},{place}\n" for place, word in enumerate(quoted))
    )
    assert [row[1] for row in rows_of(tmp_path / "t.csv")] == words


@pytest.mark.parametrize(
    ("stated", "texts", "values"),
    [
        ("int64", ["1", "-5", ""], [1, -5, None]),
        ("float64", ["1.5", "nan", ""], [1.5, "nan", None]),
        ("bool", ["true", "0", ""], [True, False, None]),
        ("date32", ["2024-02-29", "", "1970-01-01"], ["2024-02-29", None, "1970-01-01"]),
        ("timestamp[us]", ["2024-02-29 12:00:00.000001", "", "1970-01-01 00:00:00"], None),
        ("string", ["a", "", "b"], ["a", "", "b"]),
    ],
)
def test_stated_types(tmp_path, stated, texts, values):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{text},x\n" for text in texts))
    options = TableOptions(types={"a": stated})
    with open_table(tmp_path / "t.csv", options) as table:
        assert str(table.schema.field("a").type) == {
            "bool": "bool",
            "float64": "double",
            "date32": "date32[day]",
        }.get(stated, stated)
        (piece,) = table.pieces()
    found = piece.columns[0].to_pylist()
    if values is not None:
        assert [None if v is None else v if isinstance(v, int | bool) else str(v) for v in found] == [
            None if v is None else v if isinstance(v, int | bool) else str(v) for v in values
        ]
    direct = pa.table(
        {
            "a": pc.cast(
                pa.array(texts) if stated == "string" else pa.array([t or None for t in texts]), stated
            )
        }
    )
    pq.write_table(direct.append_column("b", pa.array(["x"] * 3)), tmp_path / "t.parquet")
    assert manifest(tmp_path / "t.csv", options).root == manifest(tmp_path / "t.parquet").root


@pytest.mark.parametrize("text", ["1.5", "x", "9223372036854775808", "1 000"])
def test_texts_that_are_not_of_the_stated_type_are_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(f'a,b\n"{text}",x\n')
    with pytest.raises(FileDamaged, match="'a' holds a text that is no int64"):
        manifest(tmp_path / "t.csv", TableOptions(types={"a": "int64"}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-5],
        lambda data: data[:20] + b"\0" * 40 + data[60:],
        lambda data: b"\x1f\x8b" + data[2:40],
    ],
)
def test_damaged_gzip_is_refused(tmp_path, write, people, damage):
    data = gzip.compress(write(people(2000), "t.csv").read_bytes())
    (tmp_path / "t.csv.gz").write_bytes(damage(data))
    with pytest.raises(InputError):
        manifest(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n3\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n', "a,\n1,2\n", "a,b\n\xff\xfe,1\n"]
)
def test_damaged_csv_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        manifest(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("array", "before", "after"),
    [
        (pa.array(["aa", "bbb"]), struct.pack("<iii", 0, 2, 5), struct.pack("<iii", 0, 2**30, 2**30)),
        (pa.array(["aa", "bbb"]), struct.pack("<iii", 0, 2, 5), struct.pack("<iii", 0, 5, 2)),
        (pa.array(["aa", "bbb"]), struct.pack("<iii", 0, 2, 5), struct.pack("<iii", -9, 2, 5)),
        (pa.array(["aa", "bbb"]), b"aabbb\0\0\0", b"\xff\xfebbb\0\0\0"),
        (
            pa.array(["aa", "bbb"], pa.large_string()),
            struct.pack("<qqq", 0, 2, 5),
            struct.pack("<qqq", 0, 2, 2**60),
        ),
        (pa.array([[7, 8], [9]]), struct.pack("<iii", 0, 2, 3), struct.pack("<iii", 0, 2, 99999)),
        (
            pa.array(["x", "y", "x"]).dictionary_encode(),
            struct.pack("<iii", 0, 1, 0),
            struct.pack("<iii", 0, 77, 0),
        ),
    ],
    ids=["far", "backwards", "negative", "utf8", "large", "list", "dictionary"],
)
def test_buffers_that_lead_elsewhere_are_refused(tmp_path, array, before, after):
    """Reading them unchecked would read this process's memory."""
    path = tmp_path / "t.arrow"
    table = pa.table({"a": array})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    manifest(path)
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    with pytest.raises(FileDamaged):
        manifest(path)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_of_an_arrow_file_give_a_sentence_or_a_manifest(tmp_path, data):
    table = pa.table({"a": pa.array([1, None, 3]), "b": ["x", "yy", None], "c": [[1], [], None]})
    stream = io.BytesIO()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    raw = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "t.arrow").write_bytes(raw)
    try:
        found = manifest(tmp_path / "t.arrow")
    except InputError:
        return
    assert found.rows >= 0


def test_a_header_alone_is_an_empty_table(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    pinned = manifest(tmp_path / "t.csv")
    assert (pinned.rows, pinned.groups, len(pinned.columns)) == (0, (), 2)
    verify_manifest(tmp_path / "t.csv", pinned)


def test_an_implausible_parquet_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modelward.adapters.data.parquet_source.GRACE", 1000)
    pq.write_table(pa.table({"a": pa.array([0] * 3_000_000, pa.int8())}), tmp_path / "t.parquet")
    with pytest.raises(FileDamaged, match="claim to hold"):
        manifest(tmp_path / "t.parquet")


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_memory_does_not_grow_with_the_file(write, ending, monkeypatch):
    """Of what Python and Arrow allocate for a table five times as long."""
    monkeypatch.setattr(reading, "PIECE", 1 << 18)

    def peak(rows):
        table = pa.table(
            {"a": np.arange(rows), "b": np.arange(rows) * 0.5, "c": [f"text {row}" for row in range(rows)]}
        )
        path = write(table, f"{rows}.{ending}", 5000)
        del table
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        manifest(path)
        size = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
        tracemalloc.stop()
        return size

    peak(1000)
    assert peak(100_000) < 3 * peak(20_000)


def test_columns_of_every_type_have_a_name(typed):
    names = dict(columns_of(typed.schema))
    assert names == {
        "i8": "int8", "u64": "uint64", "f32": "float32", "f64": "float64", "bool": "bool", "text": "string", "raw": "binary",
        "day": "date", "us": "timestamp[us]", "utc": "timestamp[ns, tz=UTC]", "time": "time64[us]", "dec": "decimal(9, 2)",
        "list": "list<int32>", "deep": "list<list<string>>", "rec": 'struct<"x": int64, "y": string>',
        "map": "map<string, int16>",
    }  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_counts_of_a_difference_agree_with_counting_rows(write, seed):
    """Independently of alignment: what is only in one table must be in the difference, as often as it is."""
    random = np.random.default_rng(seed)
    old = random.integers(0, 30, int(random.integers(1, 200))).tolist()
    new = list(old)
    for _ in range(int(random.integers(0, 5))):
        place = int(random.integers(0, len(new) + 1))
        new[place : place + int(random.integers(0, 20))] = random.integers(
            0, 30, int(random.integers(0, 20))
        ).tolist()
    new = new or [0]
    tables = [pa.table({"a": values, "b": [str(v) for v in values]}) for values in (old, new)]
    found = difference(write(tables[0], "a.arrow"), write(tables[1], "b.arrow"))
    assert found.rows_changed + found.rows_removed >= (Counter(old) - Counter(new)).total()
    assert found.rows_changed + found.rows_added >= (Counter(new) - Counter(old)).total()
    assert len(old) - found.rows_removed + found.rows_added == len(new)
    kept = [v for at, v in enumerate(old) if not inside(at, (*found.changed, *found.removed), "old")]
    assert kept == [v for at, v in enumerate(new) if not inside(at, (*found.changed, *found.added), "new")]


def inside(place, spans, side):
    return any(getattr(span, side) <= place < getattr(span, side) + span.rows for span in spans)


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256", "ecdsa-p384", "ml-dsa-65"])
def test_a_manifest_is_signed_by_every_algorithm(write, people, algorithm):
    path = write(people(200), "t.parquet")
    signer = LocalSigner(asymmetric.generate(algorithm))
    data = sign_manifest(manifest(path), [signer], name="people")
    found = read_signed(data, [signer.public])
    verify_manifest(path, found.manifest)
    assert found.signers == (signer.public.key_id,)


def test_two_signers(write, people):
    first, second = (LocalSigner(asymmetric.generate(kind)) for kind in ("ed25519", "ecdsa-p256"))
    data = sign_manifest(manifest(write(people(20), "t.parquet")), [first, second], name="people")
    found = read_signed(data, [second.public, first.public], threshold=2)
    assert set(found.signers) == {first.public.key_id, second.public.key_id}


def test_public_tools_of_in_toto_read_the_statement(write, people):
    statement_pb = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    from google.protobuf import json_format
    from in_toto_attestation.v1.statement import Statement

    pinned = manifest(write(people(200), "t.parquet"))
    signer = LocalSigner(asymmetric.generate("ed25519"))
    payload = bundle.decode(sign_manifest(pinned, [signer], name="people")).envelope.payload
    read = json_format.Parse(payload, statement_pb.Statement())
    Statement.copy_from_pb(read).validate()
    assert read.subject[0].digest["sha256"] == pinned.root.removeprefix("sha256:")
    assert read.predicate["rows"] == 200
    assert dsse.load(payload, "it")["predicate"]["root"] == pinned.root


def test_csv_by_arrow_and_by_hand_are_read_alike(tmp_path, people):
    table = people(500)
    pv.write_csv(table, tmp_path / "a.csv")
    lines = [",".join(table.column_names)] + [
        ",".join(str(cell) for cell in row.values()) for row in table.to_pylist()
    ]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    assert manifest(tmp_path / "a.csv").root == manifest(tmp_path / "b.csv").root


def overflowing(tmp_path, name, seconds):
    path = tmp_path / name
    table = pa.table({"a": pa.array([1, seconds], pa.timestamp("s"))})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


def test_a_value_that_does_not_fit_its_canonical_type_is_refused(tmp_path):
    """A time in seconds that has no milliseconds in 64 bits."""
    good, bad = overflowing(tmp_path, "good.arrow", 2), overflowing(tmp_path, "bad.arrow", 2**62)
    manifest(good)
    with pytest.raises(FileDamaged, match="its type does not allow"):
        manifest(bad)
    with pytest.raises(FileDamaged, match="its type does not allow"):
        difference(good, bad)


def test_more_groups_than_a_manifest_holds_are_refused(monkeypatch, write, people):
    monkeypatch.setattr("modelward.vault.tables.manifest.MAX_GROUPS", 4)
    path = write(people(500), "t.parquet")
    with pytest.raises(ConfigInvalid, match="5 groups are more than 4"):
        manifest(path)
    pinned = manifest(path, TableOptions(group_rows=200))
    assert len(pinned.groups) == 3
    document = encode(pinned)
    document["groups"] = document["groups"] * 2
    with pytest.raises(SealDamaged):
        decode(document)


def test_a_manifest_that_is_too_large_is_not_parsed(monkeypatch):
    monkeypatch.setattr("modelward.vault.tables.manifest._MAX_BYTES", 10)
    with pytest.raises(SealDamaged, match="more than 10"):
        parse(b" " * 11)


@pytest.mark.parametrize("ending", ["csv", "arrows", "parquet"])
def test_several_changed_groups_by_their_manifests(write, people, ending, monkeypatch):
    """A file without an index is read once, from the first changed group to the last."""
    read, collect = [], differences._collect
    monkeypatch.setattr(differences, "_collect", lambda *given: read.append(given[2]) or collect(*given))
    table = people(1000)
    ages = table["age"].to_pylist()
    ages[150], ages[850] = -1, -1
    paths = write(table, f"a.{ending}"), write(table.set_column(1, "age", pa.array(ages)), f"b.{ending}")
    options = TableOptions(group_rows=100)
    sides = [Side(path=path, manifest=manifest(path, options)) for path in paths]
    assert changed_groups(sides[0].manifest, sides[1].manifest) == [Gap(1, 2, 1, 2), Gap(8, 9, 8, 9)]
    assert difference(*sides).changed == (Span(150, 150, 1), Span(850, 850, 1))
    assert read == [range(1, 9)] * 2
    assert difference(*paths).changed == (Span(150, 150, 1), Span(850, 850, 1))


def test_an_inserted_row_in_a_csv_file_moves_blocks_and_changes_one_row(write, people):
    table = people(1000)
    extra = table.slice(0, 1).set_column(0, "id", pa.array([-1]))
    paths = (
        write(table, "a.csv"),
        write(pa.concat_tables([table.slice(0, 10), extra, table.slice(10)]), "b.csv"),
    )
    sides = [Side(path=path, manifest=manifest(path, TableOptions(group_rows=100))) for path in paths]
    assert changed_groups(sides[0].manifest, sides[1].manifest) == [Gap(0, 10, 0, 11)]
    found = difference(*sides)
    assert (found.changed, found.removed, found.added) == ((), (), (Span(10, 10, 1),))
