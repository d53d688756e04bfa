"""Small files whose cells stand for gigabytes, and how wide cells are said to be."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import FileDamaged
from modelward.vault.tables import reading
from modelward.vault.tables.manifest import manifest
from modelward.vault.tables.reading import TableOptions, open_table
from modelward.vault.tables.rows import row_bytes
from modelward.vault.tables.widths import shares, widths

ROWS, LONG = 20_000, 1 << 20


def a_dictionary(value):
    return pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array([value]))


def views():
    text = b"x" * LONG
    view = LONG.to_bytes(4, "little") + text[:4] + bytes(8)
    buffers = [None, pa.py_buffer(view * ROWS), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string_view(), ROWS, buffers)


def list_views():
    starts, sizes = pa.array([0] * ROWS, pa.int32()), pa.array([LONG] * ROWS, pa.int32())
    return pa.ListViewArray.from_arrays(starts, sizes, pa.array(np.zeros(LONG, np.int8)))


BOMBS = {
    "dictionary": lambda: a_dictionary("x" * LONG),
    "dictionary of lists": lambda: a_dictionary([1] * LONG),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array(["x" * LONG])),
    "views": views,
    "views of lists": list_views,
    "struct": lambda: pa.StructArray.from_arrays([a_dictionary("x" * LONG)], ["a"]),
    "nulls": lambda: pa.nulls(1 << 34, pa.null()),
}


def write_arrow(path, column):
    batch = pa.record_batch([column], names=["a"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


@pytest.mark.parametrize("make", [BOMBS[name] for name in BOMBS if name != "nulls"], ids=[*BOMBS][:-1])
def test_a_small_file_that_expands_to_gigabytes_is_refused(tmp_path, make):
    write_arrow(tmp_path / "a.arrow", make())
    with pytest.raises(FileDamaged, match="expand"):
        manifest(tmp_path / "a.arrow")


def test_rows_that_take_no_bytes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "GRACE", 1000)
    monkeypatch.setattr(reading, "MAX_RATIO", 1)
    write_arrow(tmp_path / "a.arrow", pa.nulls(100_000))
    with pytest.raises(FileDamaged, match="expand to over 100,000"):
        manifest(tmp_path / "a.arrow")


@pytest.mark.parametrize("stored", [True, False])
def test_a_text_that_parquet_holds_once_is_not_held_for_each_row(tmp_path, stored):
    pq.write_table(pa.table({"a": a_dictionary("x" * LONG)}), tmp_path / "a.parquet", store_schema=stored)
    assert (tmp_path / "a.parquet").stat().st_size < 2 * LONG
    with pytest.raises(FileDamaged, match="expand"):
        manifest(tmp_path / "a.parquet")


def test_values_of_fixed_width_that_parquet_holds_once_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    kind, read = pa.binary(LONG >> 4), []
    values = pa.array([b"x" * (LONG >> 4)] * 500, kind)
    pq.write_table(pa.table({"a": values}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 1000
    monkeypatch.setattr(reading, "_pieces", lambda batch, *_: read.append(batch.num_rows) or ())
    monkeypatch.setattr(reading, "GRACE", 1 << 24)
    with pytest.raises(FileDamaged, match="expand"):
        manifest(tmp_path / "a.parquet")
    assert max(read) * (LONG >> 4) <= reading.PIECE
    assert 0 < sum(read) * (LONG >> 4) <= 1 << 24


def test_rows_that_take_no_bytes_are_cut_too(tmp_path):
    write_arrow(tmp_path / "a.arrow", pa.nulls(3 * reading.BLOCK + 1))
    with open_table(tmp_path / "a.arrow", TableOptions()) as table:
        rows = [piece.rows for piece in table.pieces() if piece.rows]
    assert rows == [reading.BLOCK] * 3 + [1]


def test_texts_that_differ_are_looked_at_a_few_times_and_not_once_a_piece(tmp_path, monkeypatch):
    """The dictionary of a batch holds what was read of its row group before."""
    rows, looked = 60_000, []

    def counting(array):
        looked.append(len(array.dictionary))
        return widths(array)

    monkeypatch.setattr(reading, "PIECE", 1 << 14)
    monkeypatch.setattr(reading, "widths", counting)
    pq.write_table(
        pa.table({"a": [f"a text of its own {row}" for row in range(rows)]}), tmp_path / "a.parquet"
    )
    assert manifest(tmp_path / "a.parquet").rows == rows
    assert sum(looked) < 20 * rows


def test_pieces_are_cut_by_what_they_expand_to(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PIECE", 1000)
    texts = ["a", "b" * 400, None, "c" * 5000, "d" * 400, "e" * 400, "f" * 400]
    write_arrow(tmp_path / "a.arrow", pa.array(texts).dictionary_encode())
    with open_table(tmp_path / "a.arrow", TableOptions()) as table:
        pieces = [piece.columns[0].to_pylist() for piece in table.pieces() if piece.rows]
    assert [text for piece in pieces for text in piece] == texts
    assert [len(piece) for piece in pieces] == [3, 1, 2, 1]


def test_sharing_does_not_influence_the_digests(tmp_path):
    texts = [f"text {number % 97} " * (number % 9) for number in range(5000)] + [None, ""]
    write_arrow(tmp_path / "plain.arrow", pa.array(texts))
    write_arrow(tmp_path / "shared.arrow", pa.array(texts).dictionary_encode())
    write_arrow(tmp_path / "view.arrow", pa.array(texts, pa.string_view()))
    roots = {manifest(path).root for path in tmp_path.glob("*.arrow")}
    assert len(roots) == 1


TEXT = st.one_of(st.none(), st.text("ab\u00e9", max_size=40))
KINDS = [
    (pa.string(), TEXT), (pa.large_binary(), st.one_of(st.none(), st.binary(max_size=9))), (pa.string_view(), TEXT),
    (pa.list_(pa.string()), st.one_of(st.none(), st.lists(TEXT, max_size=3))),
    (pa.list_view(pa.string_view()), st.one_of(st.none(), st.lists(TEXT, max_size=3))),
    (pa.list_(pa.int16(), 2), st.one_of(st.none(), st.tuples(st.just(1), st.just(2)))),
    (pa.struct([("x", pa.string()), ("y", pa.int8())]), st.one_of(st.none(), st.fixed_dictionaries({"x": TEXT, "y": st.just(1)}))),
    (pa.map_(pa.string(), pa.int8()), st.one_of(st.none(), st.just([("k", 1)]))),
    (pa.decimal128(5, 2), st.none()), (pa.bool_(), st.booleans()), (pa.null(), st.none()),
]  # fmt: skip


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_cells_are_about_as_wide_as_their_rows(data):
    kind, values = data.draw(st.sampled_from(KINDS))
    array = pa.array(data.draw(st.lists(values, max_size=8)), kind)
    if pa.types.is_string(kind) and data.draw(st.booleans()):
        array = array.dictionary_encode()
        assert shares(array.type)
    start = data.draw(st.integers(0, len(array)))
    array = array.slice(start)
    found = widths(array)
    assert found.shape == (len(array),)
    for about, row in zip(found, row_bytes([array], len(array)).to_pylist(), strict=True):
        assert 0 <= about <= len(row) + 4 + len(row) // 1
        assert about >= len(row) - 2 - 40  # heads and the widest fixed value under a null
