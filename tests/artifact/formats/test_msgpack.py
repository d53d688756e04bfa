"""MessagePack: the library writes, ours reads; the type bytes are those of the specification."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.msgpack import DEPTH, Walk, begins
from modelward.artifact.reading import Exhausted, Malformed, Reading

# data, kind, offset of the content, size, code: spec.md, "Formats"
ITEMS = [
    (b"\x00", "integer", 0, 0, 0),
    (b"\x7f", "integer", 0, 127, 0),
    (b"\xe0", "integer", 0, -32, 0),
    (b"\xff", "integer", 0, -1, 0),
    (b"\x80", "map", 1, 0, 0),
    (b"\x8f", "map", 1, 15, 0),
    (b"\x90", "array", 1, 0, 0),
    (b"\x9f", "array", 1, 15, 0),
    (b"\xa0", "text", 1, 0, 0),
    (b"\xa3abc", "text", 1, 3, 0),
    (b"\xbf" + b"x" * 31, "text", 1, 31, 0),
    (b"\xc0", "constant", 0, 0xC0, 0),
    (b"\xc2", "constant", 0, 0xC2, 0),
    (b"\xc3", "constant", 0, 0xC3, 0),
    (b"\xc4\x02ab", "bytes", 2, 2, 0),
    (b"\xc5\0\x02ab", "bytes", 3, 2, 0),
    (b"\xc6\0\0\0\x02ab", "bytes", 5, 2, 0),
    (b"\xc7\x02\x07ab", "extension", 3, 2, 7),
    (b"\xc8\0\x02\x07ab", "extension", 4, 2, 7),
    (b"\xc9\0\0\0\x02\x07ab", "extension", 6, 2, 7),
    (b"\xca" + struct.pack(">f", 1.5), "integer", 1, 0, 0),
    (b"\xcb" + struct.pack(">d", 1.5), "integer", 1, 0, 0),
    (b"\xcc\xff", "integer", 1, 255, 0),
    (b"\xcd\xff\xfe", "integer", 1, 65_534, 0),
    (b"\xce\xff\xff\xff\xff", "integer", 1, 2**32 - 1, 0),
    (b"\xcf" + b"\xff" * 8, "integer", 1, 2**64 - 1, 0),
    (b"\xd0\x80", "integer", 1, -128, 0),
    (b"\xd1\x80\0", "integer", 1, -32_768, 0),
    (b"\xd2\x80\0\0\0", "integer", 1, -(2**31), 0),
    (b"\xd3\x80" + b"\0" * 7, "integer", 1, -(2**63), 0),
    (b"\xd4\x01a", "extension", 2, 1, 1),
    (b"\xd5\x02ab", "extension", 2, 2, 2),
    (b"\xd6\x03abcd", "extension", 2, 4, 3),
    (b"\xd7\x04" + b"x" * 8, "extension", 2, 8, 4),
    (b"\xd8\xff" + b"x" * 16, "extension", 2, 16, 255),
    (b"\xd9\x02ab", "text", 2, 2, 0),
    (b"\xda\0\x02ab", "text", 3, 2, 0),
    (b"\xdb\0\0\0\x02ab", "text", 5, 2, 0),
    (b"\xdc\0\x02", "array", 3, 2, 0),
    (b"\xdd\0\0\0\x02", "array", 5, 2, 0),
    (b"\xde\0\x02", "map", 3, 2, 0),
    (b"\xdf\0\0\0\x02", "map", 5, 2, 0),
]


@pytest.mark.parametrize(("data", "kind", "start", "size", "code"), ITEMS)
def test_each_type_of_the_specification(data, kind, start, size, code):
    walk = Walk(b"\xc1" + data + b"\xc1", 1)
    item = walk.next()
    assert (item.kind, item.start, item.size, item.code) == (kind, start + 1, size, code)
    assert walk.pos == len(data) + 1


@pytest.mark.parametrize("data", [row[0] for row in ITEMS])
def test_an_object_that_is_cut_off_is_malformed(data):
    for end in range(len(data)):
        with pytest.raises(Malformed, match="are needed at offset"):
            Walk(data, 0, end).next()


def test_the_unused_type_is_malformed():
    with pytest.raises(Malformed, match="an unused type at offset 0"):
        Walk(b"\xc1").next()


def test_every_type_byte_is_known():
    taken = set()
    for byte in range(256):
        try:
            taken.add(Walk(bytes([byte]) + b"\0" * 40).next().kind)
        except Malformed:
            assert byte == 0xC1
    assert taken == {"integer", "map", "array", "text", "constant", "bytes", "extension"}


def shape(value, depth=1, *, key=False):
    """The objects that the walk should meet, from the value itself."""
    if isinstance(value, dict):
        found = [("map", len(value), depth, key)]
        for name, part in value.items():
            found += [*shape(name, depth + 1, key=True), *shape(part, depth + 1)]
        return found
    if isinstance(value, list):
        return [("array", len(value), depth, key), *(row for part in value for row in shape(part, depth + 1))]
    if isinstance(value, str):
        return [("text", len(value.encode()), depth, key)]
    if isinstance(value, bytes):
        return [("bytes", len(value), depth, key)]
    if value is None or isinstance(value, bool):
        return [("constant", {None: 0xC0, False: 0xC2, True: 0xC3}[value], depth, key)]
    return [("integer", value if isinstance(value, int) else 0, depth, key)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20),
    max_leaves=25,
)  # fmt: skip


@settings(deadline=None)
@given(VALUES)
def test_the_walk_meets_what_the_library_wrote(value):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    walk = Walk(library.packb(value))
    found = [(item.kind, item.size, item.depth, item.key) for item in walk.items(Reading())]
    assert found == shape(value)
    assert walk.pos == walk.end


@settings(deadline=None)
@given(VALUES)
def test_texts_and_bytes_are_where_the_items_say(value):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    data = library.packb([value, "é", b"raw"])
    items = [item for item in Walk(data).items(None) if item.kind in {"text", "bytes"}]
    content = [bytes(data[item.start : item.start + item.size]) for item in items]
    assert content[-2:] == ["é".encode(), b"raw"]
    starts = [item.start for item in items]
    assert starts == sorted(starts)


def test_the_first_objects_alone():
    data = b"\x93\x01\x02\x03"
    assert [item.size for item in Walk(data).items(None, 2)] == [3, 1]
    assert [item.size for item in Walk(data).items(None, 0)] == [3, 1, 2, 3]


@pytest.mark.parametrize(
    "data", [b"\xdd\xff\xff\xff\xff", b"\xdf\0\0\0\x02\0\0\0", b"\x9f", b"\x81\xa1k", b"\xdc\0\x05\1\2\3\4"]
)
def test_more_items_than_bytes_are_malformed(data):
    with pytest.raises(Malformed):
        list(Walk(data).items(None))


def test_depth_ends_at_its_limit():
    assert len(list(Walk(b"\x91" * (DEPTH - 1) + b"\0").items(None))) == DEPTH
    with pytest.raises(Malformed, match="deeper than 100"):
        list(Walk(b"\x91" * DEPTH + b"\0").items(None))


def test_every_object_is_a_step(monkeypatch):
    from modelward.artifact import reading

    monkeypatch.setattr(reading, "STEPS", 4)
    assert len(list(Walk(b"\x93\1\2\3").items(Reading()))) == 4
    with pytest.raises(Exhausted):
        list(Walk(b"\x94\1\2\3\4").items(Reading()))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_objects_or_malformed(data):
    walk = Walk(data)
    at = 0
    try:
        for item in walk.items(Reading()):
            assert at < walk.pos <= len(data)
            assert item.start <= walk.pos
            at = walk.pos
    except Malformed:
        pass


# --- how such a file begins ---------------------------------------------------------------------------------

ARRAY = b"\xc7\x03\x01\x93\x90\x01"
BEGINNINGS = [
    (b"\x81\xa1k" + ARRAY, ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\x81\xa6params\x81\xa1w" + ARRAY, ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\xde\0\x01\xa1k" + ARRAY, ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\x81\xa1k" + ARRAY + b"behind", ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\x81\xa1k\x01", ("flax-msgpack", "a MessagePack map")),
    (b"\x82\xa1k\x01\xa1l\xa1m", ("flax-msgpack", "a MessagePack map")),
    (b"\x81\xa1k\x01behind", None),
    (b"\x80", None),
    (b"", None),
    (b"\x91\xa1k", None),
    (b"\x81\x01\x01", ("msgpack", "a MessagePack map of texts or numbers")),
    (b"\x81\xa1\x01\x01", None),
    (b"\x81\xa1\xff\x01", None),
    (b"\x81\xa1k\xd4\x07x", None),
    (b"\x81\xa1k\xd5\x02xx", ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\x81\xa1k", None),
    (b"\x81\xda\x02\x01" + b"k" * 513 + ARRAY, None),
    (b"\x81\xda\x02\x00" + b"k" * 512 + ARRAY, ("flax-msgpack", "a MessagePack map with arrays of Flax")),
    (b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x01.", None),
]


@pytest.mark.parametrize(("data", "said"), BEGINNINGS)
def test_how_a_map_of_arrays_begins(data, said):
    assert begins(data) == said


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abc/_", min_size=1, max_size=8),
        st.integers().filter(lambda n: -(2**63) <= n < 2**64),
        min_size=1,
        max_size=99,
    )
)
def test_maps_of_the_library_are_maps(value):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    assert begins(library.packb(value)) == ("flax-msgpack", "a MessagePack map")


def test_maps_of_numbers_and_long_ones_are_no_flax():
    rows = b"\x82\xcf" + b"\1" * 8 + b"\x92\x05\xc0\xcf" + b"\2" * 8 + b"\x92\x06\xc0"
    long = b"\x81\xa4rest\xdc\x01\x2c" + b"\x01" * 300
    inner = b"\x81\xa1k\x81\xa1\n\x01"
    for data in (rows, long):
        assert begins(data) == ("msgpack", "a MessagePack map of texts or numbers")
    assert begins(inner) == ("flax-msgpack", "a MessagePack map")
    assert begins(rows + b"x") is None
