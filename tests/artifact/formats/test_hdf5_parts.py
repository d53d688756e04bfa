"""The parts of HDF5, byte by byte after the specification: messages, heaps, trees, selections."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.hdf5 import messages
from modelward.artifact.formats.hdf5.store import Store, place
from modelward.artifact.formats.hdf5.trees import FractalHeap, records, symbols
from modelward.artifact.reading import Malformed

NONE = 2**64 - 1


def image(parts=None, size=8192, base=0):
    """A file of superblock version 2 whose parts stand at chosen addresses."""
    data = bytearray(base + size)
    data[base : base + 12] = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00"
    struct.pack_into("<4QI", data, base + 12, base, NONE, size, 4096, 0)
    for address, content in (parts or {}).items():
        data[base + address : base + address + len(content)] = content
    return bytes(data)


def store(parts=None, **options):
    return Store(image(parts, **options), lambda steps: None)


PLAIN = store()


# --- superblock and headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 512, 1024, 4096])
def test_addresses_count_from_the_superblock(base):
    found = store({64: b"GCOL"}, base=base)
    assert (found.base, found.root, found.extension, found.version) == (base, 4096, None, 2)
    assert found.at(64, b"GCOL").pos == base + 68


def test_a_signature_stands_at_powers_of_two_alone():
    mark = b"\x89HDF\r\n\x1a\n"
    assert place(mark) == 0
    assert place(b"\0" * 512 + mark) == 512
    assert place(b"\0" * 1536 + mark) is None
    assert place(b"\0" * 2048 + mark) == 2048
    assert place(mark[:5]) is None


@pytest.mark.parametrize("version", [4, 9, 255])
def test_superblocks_of_unknown_versions(version):
    data = bytearray(image())
    data[8] = version
    with pytest.raises(Malformed, match=f"version {version}"):
        Store(bytes(data), lambda steps: None)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("sizes", [(2, 2), (4, 4), (8, 8), (4, 8)])
def test_old_superblocks_with_every_size(version, sizes):
    offset, length = sizes
    body = bytes([version, 0, 0, 0, 0, offset, length, 0]) + struct.pack("<HHI", 4, 16, 0)
    body += b"\0" * 4 if version else b""
    none = b"\xff" * offset
    body += bytes(offset) + none + none + none
    body += bytes(offset) + (100).to_bytes(offset, "little")
    found = Store((b"\x89HDF\r\n\x1a\n" + body).ljust(2048, b"\0"), lambda steps: None)
    assert (found.root, found.driver, found.offset, found.length) == (100, None, offset, length)


def second(messages_, flags=0, size=None):
    """An object header of version 2; the size of its block is stored in 1, 2, 4 or 8 bytes."""
    body = b""
    for kind, content in messages_:
        body += struct.pack("<BHB", kind, len(content), 0) + (b"\0\0" if flags & 4 else b"") + content
    head = b"OHDR\x02" + bytes([flags])
    head += b"\0" * 16 if flags & 0x20 else b""
    head += b"\0" * 4 if flags & 0x10 else b""
    return head + (len(body) if size is None else size).to_bytes(1 << (flags & 3), "little") + body


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4, 0x20, 0x10, 0x37])
def test_headers_of_the_second_version(flags):
    found = store({64: second([(1, b"abc"), (12, b"")], flags)})
    assert [(one.kind, one.size, found.body(one).take(one.size)) for one in found.header(64)] == [
        (1, 3, b"abc"),
        (12, 0, b""),
    ]


def test_headers_continue_elsewhere():
    more = b"OCHK" + struct.pack("<BHB", 6, 2, 0) + b"xy" + b"\0" * 4
    found = store({64: second([(0x10, struct.pack("<QQ", 512, len(more)))]), 512: more})
    assert [one.kind for one in found.header(64)] == [0x10, 6]


@pytest.mark.parametrize(
    "content", [b"", b"OHDR\x09", b"\x02\0", second([(1, b"abc")], size=200), b"OHDR\x02\x03" + b"\xff" * 8]
)
def test_headers_that_are_none(content):
    found = Store(image({8000: content}, size=8000 + len(content)), lambda steps: None)
    with pytest.raises(Malformed):
        found.header(8000)


# --- types, spaces, layouts, filters ------------------------------------------------------------------------


def kind_of(code, bits=0, size=4, version=1, rest=b""):
    return messages.datatype(
        Cursor(bytes([version << 4 | code]) + bits.to_bytes(3, "little") + struct.pack("<I", size) + rest)
    )


@pytest.mark.parametrize(
    ("code", "bits", "size", "name"),
    [
        (0, 8, 4, "int32"), (0, 0, 1, "uint8"), (0, 8, 16, "int128"), (1, 0, 2, "float16"), (1, 0, 8, "float64"), (1, 0, 3, "float"),
        (2, 0, 4, "time"), (4, 0, 1, "bitfield"), (5, 0, 9, "opaque"), (6, 2, 12, "compound"), (7, 0, 8, "reference"),
        (8, 2, 1, "enumeration"), (10, 0, 24, "array"), (11, 0, 8, "complex"),
    ],
)  # fmt: skip
def test_names_of_types(code, bits, size, name):
    found = kind_of(code, bits, size)
    assert (found.name, found.size, found.text, found.sequence) == (name, size, "", False)


def test_types_of_texts():
    assert kind_of(3, 0, 9).text == "fixed"
    assert kind_of(9, 1, 16).text == "variable"
    assert kind_of(9, 0x101, 16).text == "variable"
    assert kind_of(9, 0, 16).sequence
    for code, version in ((12, 1), (15, 3), (0, 0), (0, 9)):
        with pytest.raises(Malformed):
            kind_of(code, version=version)


def test_spaces():
    space = lambda data: messages.dataspace(PLAIN, Cursor(data))  # noqa: E731 - a shorthand
    assert space(b"\x01\x02\0" + bytes(5) + struct.pack("<QQ", 3, 4)) == (3, 4)
    assert space(b"\x02\x01\x01\x01" + struct.pack("<QQ", 7, NONE)) == (7,)
    assert space(b"\x02\0\0\0") == ()
    assert space(b"\x02\0\0\x02") == (0,)
    for bad in (b"\x03\0\0\0", b"\x02\x21\0\x01" + bytes(500), b"\x02\x02\0\x01" + bytes(8), b""):
        with pytest.raises(Malformed):
            space(bad)


def test_layouts_of_every_version():
    layout = lambda data: messages.layout(PLAIN, Cursor(data))  # noqa: E731 - a shorthand
    old = struct.pack("<BBB5x", 1, 2, 1) + struct.pack("<QII", 640, 3, 4)
    assert layout(old) == messages.Layout("contiguous", 640)
    assert layout(struct.pack("<BBB5x", 2, 2, 2) + struct.pack("<QIII", 640, 3, 4, 8)).kind == "chunked"
    compact = layout(struct.pack("<BBB5x", 1, 1, 0) + struct.pack("<II", 3, 3) + b"abc")
    assert (compact.kind, compact.start, compact.size) == ("compact", 16, 3)
    assert layout(b"\x03\x00\x03\x00abc") == messages.Layout("compact", 4, 3)
    assert layout(b"\x03\x01" + struct.pack("<QQ", 100, 12)) == messages.Layout("contiguous", 100, 12)
    assert layout(b"\x03\x01" + struct.pack("<QQ", NONE, 12)).start is None
    assert layout(b"\x04\x02" + bytes(40)).kind == "chunked"
    assert layout(b"\x04\x03" + struct.pack("<QI", 200, 7)) == messages.Layout("virtual", heap=(200, 7))
    assert layout(b"\x04\x03" + struct.pack("<QI", NONE, 7)).heap is None
    for bad in (b"\x06\0", b"\x03\x03" + bytes(20), b"\x04\x09", b"\x03\0\xff\xffab", b"\x03"):
        with pytest.raises(Malformed):
            layout(bad)


def test_filters_of_both_versions():
    first = b"\x01\x02" + bytes(6) + struct.pack("<HHHH", 1, 8, 0, 1) + b"deflate\0" + bytes(8)
    first += struct.pack("<HHHH", 32015, 0, 0, 2) + bytes(8)
    assert messages.filters(Cursor(first)) == [(1, "deflate"), (32015, "")]
    later = (
        b"\x02\x02" + struct.pack("<HHH", 2, 0, 1) + bytes(4) + struct.pack("<HHHH", 40000, 3, 0, 0) + b"ab\0"
    )
    assert messages.filters(Cursor(later)) == [(2, ""), (40000, "ab")]
    for bad in (b"\x03\x01", b"\x02\x01\x01", first[:-1]):
        with pytest.raises(Malformed):
            messages.filters(Cursor(bad))


# --- links and attributes -----------------------------------------------------------------------------------


def link(kind, value, name=b"name", *, order=False, charset=False, width=0):
    flags = width | 8 * bool(kind) | 4 * order | 16 * charset
    data = (
        b"\x01"
        + bytes([flags])
        + (bytes([kind]) if kind else b"")
        + (bytes(8) if order else b"")
        + (b"\x01" if charset else b"")
    )
    return messages.link(PLAIN, Cursor(data + len(name).to_bytes(1 << width, "little") + name + value))


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("charset", [False, True])
@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_links_of_every_form(order, charset, width):
    form = {"order": order, "charset": charset, "width": width}
    assert link(0, struct.pack("<Q", 77), **form) == messages.Link(b"name", 0, 77)
    assert link(1, b"\x02\0/x", **form) == messages.Link(b"name", 1, target=b"/x")
    outside = b"\0file.h5\0/a/b\0"
    found = link(64, struct.pack("<H", len(outside)) + outside, **form)
    assert (found.file, found.target) == (b"file.h5", b"/a/b")
    assert link(99, b"\x01\0z", **form).kind == 99


def test_links_that_are_none():
    for bad in (b"", b"\x02\0\0", b"\x01\x03" + b"\xff" * 8 + b"x", b"\x01\0\x04name"):
        with pytest.raises(Malformed):
            messages.link(PLAIN, Cursor(bad))


FIXED = b"\x13\0\0\0" + struct.pack("<I", 6)
VARIABLE = b"\x19\x01\0\0" + struct.pack("<I", 16) + b"\x13\0\0\0" + struct.pack("<I", 1)
SCALAR = b"\x01\0\0" + bytes(5)
PAIR = b"\x02\x01\0\x01" + struct.pack("<Q", 2)


def padded(content, version):
    return content + bytes(-len(content) % 8) if version == 1 else content


def attribute(version, kind=FIXED, space=SCALAR, value=b"text.\0", *, flags=0, source=PLAIN):
    name = b"key\0"
    data = (
        bytes([version, flags])
        + struct.pack("<HHH", len(name), len(kind), len(space))
        + (b"\0" if version == 3 else b"")
    )
    data += padded(name, version) + padded(kind, version) + padded(space, version) + value
    return messages.attribute(source, Cursor(data))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_attributes_of_every_version(version):
    found = attribute(version)
    assert (found.name, found.texts, found.type.text) == ("key", (b"text.\0",), "fixed")
    both = attribute(version, space=PAIR, value=b"one...two...")
    assert both.texts == (b"one...", b"two...")
    number = attribute(version, kind=b"\x10\x08\0\0" + struct.pack("<I", 4), value=b"\x01\0\0\0")
    assert (number.texts, number.raw, number.type.name) == (None, b"\x01\0\0\0", "int32")


def heap(*objects):
    body = b"".join(
        struct.pack("<H6xQ", index + 1, len(one)) + one + bytes(-len(one) % 8)
        for index, one in enumerate(objects)
    )
    size = 16 + len(body) + 16
    return b"GCOL\x01\0\0\0" + struct.pack("<Q", size) + body + bytes(16)


def reference(length, address, index):
    return struct.pack("<IQI", length, address, index)


def test_texts_in_the_global_heap():
    source = store({512: heap(b"first", b"second one")})
    found = attribute(3, VARIABLE, PAIR, reference(5, 512, 1) + reference(6, 512, 2), source=source)
    assert found.texts == (b"first", b"second")
    empty = attribute(3, VARIABLE, SCALAR, reference(0, 0, 0), source=source)
    assert empty.texts == (b"",)
    for where, index in ((512, 3), (600, 1), (99999, 1)):
        with pytest.raises(Malformed):
            attribute(3, VARIABLE, SCALAR, reference(5, where, index), source=source)


def test_types_that_are_objects_of_their_own():
    named = store({1024: second([(3, FIXED)])})
    assert attribute(2, b"\x03\x02" + struct.pack("<Q", 1024), flags=1, source=named).texts == (b"text.\0",)
    assert (
        attribute(2, b"\x01\0" + bytes(6) + struct.pack("<Q", 1024), flags=1, source=named).type.text
        == "fixed"
    )
    assert attribute(2, b"\x03\x01" + bytes(8), flags=1, source=named).type is None


def test_a_shared_space_leaves_the_values():
    assert attribute(2, space=b"\x03\x02" + bytes(8), flags=2, value=b"aaaaaabbbbbb").texts == (
        b"aaaaaa",
        b"bbbbbb",
    )


def test_attributes_that_are_none():
    for data in (b"", b"\x04\0" + bytes(10), b"\x01\0\xff\xff\xff\xff\xff\xff", b"\x03\0\x04\0\x08\0\x08\0"):
        with pytest.raises(Malformed):
            messages.attribute(PLAIN, Cursor(data))


# --- virtual datasets ---------------------------------------------------------------------------------------

ALL = struct.pack("<IIII", 3, 1, 0, 0)
NOTHING = struct.pack("<IIII", 0, 1, 0, 0)
SELECTIONS = {
    "all": ALL,
    "none": NOTHING,
    "blocks": struct.pack("<IIII", 2, 1, 0, 8 + 8) + bytes(16),
    "regular": struct.pack("<IIBI", 2, 2, 1, 4 + 32) + bytes(36),
    "regular 3": struct.pack("<IIBBI", 2, 3, 1, 2, 2) + bytes(4 * 2 * 2),
    "irregular 3": struct.pack("<IIBBI", 2, 3, 0, 4, 1) + struct.pack("<I", 3) + bytes(3 * 2 * 4),
    "points": struct.pack("<IIII", 1, 1, 0, 8 + 8) + bytes(16),
    "points 2": struct.pack("<IIBI", 1, 2, 8, 2) + struct.pack("<Q", 2) + bytes(2 * 2 * 8),
}


def sources(block):
    return messages.virtual_sources(store({512: heap(block)}), (512, 1))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_sources_behind_every_selection(selection):
    one = SELECTIONS[selection]
    block = b"\0" + struct.pack("<Q", 2) + b".\0d\0" + one + ALL + b"/etc/x\0e\0" + NOTHING + one + bytes(4)
    assert sources(block) == [(b".", b"d"), (b"/etc/x", b"e")]


def test_sources_that_share_names():
    block = (
        b"\x01"
        + struct.pack("<Q", 3)
        + b"\0/etc/x\0d\0"
        + ALL
        + ALL
        + b"\x03"
        + struct.pack("<QQ", 0, 0)
        + ALL
        + ALL
    )
    block += b"\x04e\0" + ALL + ALL
    assert sources(block) == [(b"/etc/x", b"d"), (b"/etc/x", b"d"), (b".", b"e")]


def test_sources_that_are_none():
    start = b"\0" + struct.pack("<Q", 1)
    for bad in (
        start,
        start + b"name",
        start + b"a\0b\0" + struct.pack("<II", 9, 1),
        start + b"a\0b\0" + ALL,
    ):
        with pytest.raises(Malformed):
            sources(bad)
    with pytest.raises(Malformed, match="a later one"):
        sources(b"\x01" + struct.pack("<Q", 1) + b"\x01" + struct.pack("<Q", 0))


def test_external_files():
    names = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 64, NONE, 700)
    texts = b"\0a.bin\0/etc/x\0"
    source = store({512: names, 700: texts})
    body = b"\x01\0\0\0" + struct.pack("<HHQ", 2, 2, 512) + struct.pack("<6Q", 1, 0, 4, 7, 0, 4)
    assert messages.external_files(source, Cursor(body)) == [b"a.bin", b"/etc/x"]
    for bad in (b"\x02" + body[1:], body[:-1], b"\x01\0\0\0" + struct.pack("<HHQ", 1, 1, NONE)):
        with pytest.raises(Malformed):
            messages.external_files(source, Cursor(bad))


# --- trees and heaps ----------------------------------------------------------------------------------------


def old_group(entries, level=0):
    """Parts of a group in the old style: tree at 512, node at 1024, names at 1536."""
    texts, spots = b"\0", []
    for name, *_ in entries:
        spots.append(len(texts))
        texts += name + b"\0"
    node = b"SNOD\x01\0" + struct.pack("<H", len(entries))
    for spot, (_, address, kind, scratch) in zip(spots, entries, strict=True):
        node += struct.pack("<QQI4x", spot, address, kind) + struct.pack("<I12x", scratch)
    tree = b"TREE\0" + bytes([level]) + struct.pack("<HQQ", 1, NONE, NONE) + struct.pack("<QQQ", 0, 1024, 0)
    names = b"HEAP\0\0\0\0" + struct.pack("<QQQ", len(texts), NONE, 1600)
    return {512: tree, 1024: node, 1536: names, 1600: texts}


def test_entries_of_the_old_style():
    source = store(old_group([(b"one", 40, 0, 0), (b"two", 50, 1, 0), (b"soft", NONE, 2, 1)]))
    found = [(one.name, one.address, one.soft) for one in symbols(source, 512, 1536)]
    assert found == [(b"one", 40, None), (b"two", 50, None), (b"soft", None, b"one")]


def test_trees_of_the_old_style_that_are_none():
    with pytest.raises(Malformed, match="SNOD"):
        list(symbols(store({**old_group([]), 1024: b"XXXX"}), 512, 1536))
    with pytest.raises(Malformed, match="chunks"):
        list(symbols(store({**old_group([]), 512: b"TREE\x01" + bytes(60)}), 512, 1536))
    with pytest.raises(Malformed, match="TREE"):
        list(symbols(store(old_group([], level=1)), 512, 1536))


def tree(node, size, depth, root, count):
    return b"BTHD\0\x05" + struct.pack("<IHHBBQHQ", node, size, depth, 100, 40, root, count, 0) + bytes(4)


def test_records_of_two_levels():
    left = b"BTLF\0\x05" + b"aaaabbbb"
    right = b"BTLF\0\x05" + b"dddd"
    top = b"BTIN\0\x05" + b"cccc" + struct.pack("<QB", 1024, 2) + struct.pack("<QB", 1536, 1)
    source = store({256: tree(64, 4, 1, 512, 1), 512: top, 1024: left, 1536: right})
    assert sorted(one.take(4) for one in records(source, 256)) == [b"aaaa", b"bbbb", b"cccc", b"dddd"]


def test_trees_that_are_none():
    assert list(records(store({256: tree(64, 4, 0, NONE, 0)}), 256)) == []
    loop = b"BTIN\0\x05" + b"cccc" + struct.pack("<QB", 512, 1) + struct.pack("<QB", 512, 1)
    for parts in (
        {256: b"BTXX"},
        {256: tree(64, 0, 0, 512, 1)},
        {256: tree(4, 4, 0, 512, 1)},
        {256: tree(64, 4, 999, 512, 1)},
        {256: tree(64, 4, 0, 512, 1), 512: b"BTIN"},
        {256: tree(64, 4, 5, 512, 1), 512: loop},
        {256: tree(64, 4, 1, 512, 1), 512: b"BTIN\0\x05cccc" + struct.pack("<QB", NONE, 1)},
    ):
        with pytest.raises(Malformed):
            list(records(store(parts), 256))


def fractal(root, rows, *, size=7, filters=0, huge=NONE, start=512, direct=1024, width=2):
    head = b"FRHP\0" + struct.pack("<HHBI", size, filters, 2, 4096) + struct.pack("<QQQQ", 0, huge, 0, NONE)
    head += struct.pack("<8Q", *[0] * 8) + struct.pack("<HQQHH", width, start, direct, 32, 0)
    return head + struct.pack("<QH", root, rows) + bytes(4)


def managed(offset, length):
    return b"\0" + struct.pack("<IH", offset, length)


def test_objects_in_the_only_block_of_a_heap():
    found = FractalHeap(store({256: fractal(512, 0), 540: b"content"}), 256)
    assert found.find(managed(28, 7)).take(7) == b"content"
    for bad in (managed(600, 2), managed(510, 9), managed(28, 65535)):
        with pytest.raises(Malformed):
            found.find(bad)


def test_objects_in_blocks_of_blocks():
    """Width 2, first 512, largest 1024: rows of 2x512, 2x512, 2x1024, then indirect blocks of 2048."""
    top = b"FHIB\0" + struct.pack("<QI", 0, 0)
    rows = [1024, NONE, NONE, 2048, 3072, NONE, 4096, NONE]
    below = b"FHIB\0" + struct.pack("<QI", 0, 4096) + struct.pack("<4Q", 5120, NONE, NONE, 6144)
    parts = {
        256: fractal(512, 4),
        512: top + struct.pack("<8Q", *rows),
        1024 + 20: b"A",
        2048 + 21: b"B",
        3072 + 22: b"C",
        4096: below,
        5120 + 23: b"D",
        6144 + 24: b"E",
    }
    found = FractalHeap(store(parts), 256)
    spots = {20: b"A", 1536 + 21: b"B", 2048 + 22: b"C", 4096 + 23: b"D", 4096 + 1536 + 24: b"E"}
    assert {offset: found.find(managed(offset, 1)).take(1) for offset in spots} == spots


def test_small_and_large_objects():
    small = FractalHeap(store({256: fractal(NONE, 0)}), 256)
    assert small.find(b"\x22abcxx").take(3) == b"abc"
    long = FractalHeap(store({256: fractal(NONE, 0, size=40)}), 256)
    assert long.find(b"\x20\x04hello".ljust(40)).take(5) == b"hello"
    direct = FractalHeap(store({256: fractal(NONE, 0, size=17), 900: b"far"}), 256)
    assert direct.find(b"\x10" + struct.pack("<QQ", 900, 3)).take(3) == b"far"
    leaf = b"BTLF\0\x01" + struct.pack("<QQQ", 900, 3, 5)
    parts = {256: fractal(NONE, 0, size=8, huge=600), 600: tree(512, 24, 0, 700, 1), 700: leaf, 900: b"far"}
    keyed = FractalHeap(store(parts), 256)
    assert keyed.find(b"\x10" + (5).to_bytes(7, "little")).take(3) == b"far"
    with pytest.raises(Malformed):
        keyed.find(b"\x10" + (6).to_bytes(7, "little"))


def test_heaps_that_are_none():
    loop = b"FHIB\0" + struct.pack("<QI", 0, 0) + struct.pack("<8Q", *[NONE] * 6, 512, NONE)
    for parts in (
        {256: fractal(512, 0, filters=1)},
        {256: fractal(512, 0, start=0)},
        {256: fractal(512, 0, width=0)},
        {256: fractal(512, 0, start=2048)},
        {256: fractal(512, 99), 512: b"FHIB"},
        {256: fractal(512, 4), 512: loop},
        {256: fractal(512, 4), 512: b"XXXX"},
    ):
        with pytest.raises(Malformed):
            FractalHeap(store(parts), 256)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=120), which=st.integers(0, 7), version=st.integers(0, 5))
def test_any_message_is_decoded_or_refused(data, which, version):
    cursor = Cursor(bytes([version]) + data)
    source = store({512: heap(data)})
    with contextlib.suppress(Malformed):
        [
            lambda: messages.datatype(cursor),
            lambda: messages.dataspace(source, cursor),
            lambda: messages.link(source, cursor),
            lambda: messages.attribute(source, cursor),
            lambda: messages.layout(source, cursor),
            lambda: messages.filters(cursor),
            lambda: messages.external_files(source, cursor),
            lambda: messages.virtual_sources(source, (512, 1)),
        ][which]()


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from([b"BTHD\0\x05", b"FRHP\0", b"TREE\0\0", b"OHDR\x02"]), data=st.binary(max_size=200)
)
def test_any_structure_is_read_or_refused(head, data):
    source = store({256: head + data, 512: data})
    for action in (
        lambda: list(records(source, 256)),
        lambda: FractalHeap(source, 256),
        lambda: list(symbols(source, 256, 512)),
        lambda: source.header(256),
    ):
        try:
            action()
        except Malformed:
            continue
