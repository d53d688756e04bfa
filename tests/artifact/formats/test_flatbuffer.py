"""FlatBuffers: the library builds, ours reads; damage by hand."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import reading
from modelward.artifact.formats.flatbuffer import Flat, Table, first_text
from modelward.artifact.reading import Exhausted, Malformed, Reading

WHY = "the library that builds them is not installed"


@pytest.fixture
def library():
    return pytest.importorskip("flatbuffers", reason=WHY)


def built(library, *, numbers=(), text=None, raw=None, texts=None, tables=None, ints=None):
    """A table of: 0 to 2 numbers (u8, i32, u64), 3 text, 4 bytes, 5 texts, 6 tables with one number, 7 integers."""
    builder = library.Builder(16)
    parts = {}
    if text is not None:
        parts[3] = builder.CreateString(text)
    if raw is not None:
        parts[4] = builder.CreateByteVector(raw)
    if texts is not None:
        parts[5] = offsets(builder, [builder.CreateString(item) for item in texts])
    if tables is not None:
        made = []
        for number in tables:
            builder.StartObject(1)
            builder.PrependInt32Slot(0, number, 0)
            made.append(builder.EndObject())
        parts[6] = offsets(builder, made)
    if ints is not None:
        builder.StartVector(4, len(ints), 4)
        for number in reversed(ints):
            builder.PrependInt32(number)
        parts[7] = builder.EndVector()
    builder.StartObject(8)
    writers = (builder.PrependUint8Slot, builder.PrependInt32Slot, builder.PrependUint64Slot)
    for slot, (write, number) in enumerate(zip(writers, numbers, strict=False)):
        write(slot, number, 0)
    for slot, offset in parts.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def offsets(builder, made):
    builder.StartVector(4, len(made), 4)
    for offset in reversed(made):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def root(data, **options):
    return Flat(data, Reading(), **options).root()


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**64 - 1)),
    TEXT, st.binary(max_size=20), st.lists(TEXT, max_size=4),
    st.tuples(st.lists(st.integers(-99, 99), max_size=4), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9)),
)  # fmt: skip
def test_what_the_library_builds_is_read(numbers, text, raw, texts, lists):
    library = pytest.importorskip("flatbuffers", reason=WHY)
    tables, ints = lists
    table = root(built(library, numbers=numbers, text=text, raw=raw, texts=texts, tables=tables, ints=ints))
    assert tuple(table.number(slot, code) for slot, code in enumerate("BiQ")) == numbers
    assert (table.text(3), table.bytes(4)) == (text, raw)
    assert list(table.texts(5)) == texts
    assert [item.number(0, "i") for item in table.tables(6)] == tables
    assert table.integers(7) == tuple(ints)


def test_what_is_absent_has_its_default(library):
    table = root(built(library))
    assert [table.number(slot, "i", 7) for slot in (0, 1, 99)] == [7, 7, 7]
    assert (table.text(3), table.bytes(4), table.integers(7)) == ("", b"", ())
    assert (list(table.texts(5)), list(table.tables(6)), table.table(6)) == ([], [], None)
    assert table.vector(5, 4) == (0, 0)
    assert [table.place(slot) for slot in range(9)] == [0] * 9


def test_long_texts_are_cut_and_bytes_are_not(library):
    table = root(built(library, text="x" * 5000, raw=b"y" * 5000, texts=["z" * 5000]))
    assert len(table.text(3)) == 4096
    assert table.text(3, 7) == "x" * 7
    assert [len(text) for text in table.texts(5)] == [4096]
    assert list(table.texts(5, 3)) == ["zzz"]
    assert table.bytes(4) == b"y" * 5000


def test_texts_that_are_no_utf_8_are_escaped(library):
    assert root(built(library, raw=b"a\xff")).text(4) == "a\\xff"


def test_a_buffer_within_other_content(library):
    data = built(library, text="inner")
    table = root(b"\xff" * 16 + data + b"\xff" * 9, start=16, end=16 + len(data))
    assert table.text(3) == "inner"
    with pytest.raises(Malformed):
        root(b"\xff" * 16 + data, start=16, end=16 + len(data) - 8).text(3)


def everything(data):
    """Read each field in each way that it may be read."""
    table = root(data)
    for slot in range(9):
        for read in (
            lambda slot=slot: table.number(slot, "Q"),
            lambda slot=slot: table.text(slot),
            lambda slot=slot: table.bytes(slot),
            lambda slot=slot: list(table.texts(slot)),
            lambda slot=slot: [item.number(0, "i") for item in table.tables(slot)],
            lambda slot=slot: table.integers(slot, "q"),
            lambda slot=slot: table.table(slot),
        ):
            try:
                read()
            except Malformed:
                continue


def test_truncation_at_every_byte(library):
    data = built(
        library, numbers=(1, 2, 3), text="text", raw=b"raw", texts=["a", "b"], tables=[1], ints=[1, 2]
    )
    for end in range(len(data)):
        try:
            everything(data[:end])
        except Malformed:
            continue


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_raise_nothing_else(edits):
    library = pytest.importorskip("flatbuffers", reason=WHY)
    data = bytearray(
        built(library, numbers=(1, 2, 3), text="text", texts=["a", "b"], tables=[1, 2], ints=[1, 2])
    )
    for place, byte in edits:
        data[place % len(data)] = byte
    try:
        everything(bytes(data))
    except Malformed:
        return


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


# root at 8, whose vtable of 4 bytes stands at 4; the table itself has 4 bytes
SMALLEST = words(8) + struct.pack("<HH", 4, 4) + struct.pack("<i", 4)


def test_the_smallest_buffer():
    assert root(SMALLEST).place(0) == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "a number at offset 0 lies outside 0 bytes"),
        (b"\1\0\0", "lies outside 3 bytes"),
        (words(0, 0), "the offset at 0 leads 0 bytes ahead"),
        (words(5, 0), "leads 5 bytes ahead"),
        (words(0xFFFF_FFFF, 0), "leads 4294967295 bytes ahead"),
        (words(4) + struct.pack("<i", 99), "a number at offset -95 lies outside"),
        (words(4) + struct.pack("<i", -99), "a number at offset 103 lies outside"),
        (words(8) + struct.pack("<HH", 2, 4) + words(4), "does not fit its description"),
        (words(8) + struct.pack("<HH", 5, 4) + words(4), "does not fit its description"),
        (words(8) + struct.pack("<HH", 10, 4) + words(4), "does not fit its description"),
        (words(8) + struct.pack("<HH", 4, 3) + words(4), "does not fit its description"),
        (words(8) + struct.pack("<HH", 4, 5) + words(4), "does not fit its description"),
    ],
)
def test_what_is_no_table(data, said):
    with pytest.raises(Malformed, match=said):
        root(data)


@pytest.mark.parametrize(
    ("size", "width", "fits"),
    [(0, 1, True), (4, 1, True), (5, 1, False), (1, 4, True), (2, 4, False), (2**32 - 1, 4, False)],
)
def test_a_vector_ends_within_the_buffer(size, width, fits):
    # vtable of one field at 4; table at 12 with its field at 16, which leads to the vector at 20
    data = (
        words(12) + struct.pack("<HHH", 6, 8, 4) + b"\0\0" + struct.pack("<i", 8) + words(4, size) + b"abcd"
    )
    table = root(data)
    if fits:
        assert table.vector(0, width) == (24, size)
    else:
        with pytest.raises(Malformed, match=f"the vector at offset 20 of {size} items does not fit"):
            table.vector(0, width)


def test_tables_and_items_are_steps(library, monkeypatch):
    data = built(library, tables=[1, 2, 3], ints=list(range(800)))
    monkeypatch.setattr(reading, "STEPS", 4)
    assert len(list(root(data).tables(6))) == 3
    monkeypatch.setattr(reading, "STEPS", 3)
    with pytest.raises(Exhausted):
        list(root(data).tables(6))
    with pytest.raises(Exhausted):
        root(data).integers(7)


def test_a_table_can_be_opened_where_it_stands():
    assert Table(Flat(SMALLEST, Reading()), 8).pos == 8
    with pytest.raises(Malformed):
        Table(Flat(SMALLEST, Reading()), 10)


# --- FlexBuffers --------------------------------------------------------------------------------------------


def flexible(*items):
    flexbuffers = pytest.importorskip("flatbuffers.flexbuffers", reason=WHY)
    return bytes(flexbuffers.Dumps(list(items)))


@pytest.mark.parametrize(
    "items",
    [
        ("CustomOp",),
        ("CustomOp", 1),
        ("a", "b" * 300),
        ("é", 1),
        ("", 2),
        ("name", {"a": 1}, [1, 2], None, True, 1.5),
        ("x" * 300, 1 << 40),
        ("x" * 70_000, 3),
    ],
)
def test_the_first_text_of_a_vector(items):
    assert first_text(flexible(*items)) == items[0]


@pytest.mark.parametrize("items", [(1, "a"), (None, 1), ([], 1), ({"a": 1}, 1), (1.5, "x"), (True, 1)])
def test_a_first_item_that_is_no_text(items):
    with pytest.raises(Malformed, match="its first item is no text"):
        first_text(flexible(*items))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\x28\x01",
        b"\0\x04\x01",
        b"\0\x28\x03",
        b"\0\x28\x09",
        b"\xff\x28\x01",
        b"\0\0\x2b\x01",
    ],
)
def test_what_is_no_vector(data):
    with pytest.raises(Malformed):
        first_text(data)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=24), st.sampled_from([0x28, 0x29, 0x2A, 0x2B]), st.sampled_from([1, 2, 4, 8, 3, 0]))
def test_any_bytes_are_a_text_or_malformed(data, kind, width):
    try:
        assert isinstance(first_text(data + bytes([kind, width])), str)
    except Malformed:
        return
