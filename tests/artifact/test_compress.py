"""Bounded decompression: the standard library writes, ours reads; budgets are exact."""

import bz2
import gzip
import io
import lzma
import mmap
import os
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import compress, lz4
from modelward.artifact.compress import (
    Sink,
    TooLarge,
    decompress,
    first_bytes,
    lzma1,
    raw_lzma,
    readable,
    unpack,
    window,
)
from modelward.artifact.lz4 import decompress_frames
from modelward.artifact.verdict import inspect_bytes


def deflate(content):
    worker = zlib.compressobj(9, zlib.DEFLATED, -15)
    return worker.compress(content) + worker.flush()


def zip_lzma(content):
    """The data of a zip member of method 14, as zipfile writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x", content)
    with zipfile.ZipFile(out) as archive:
        size = archive.getinfo("x").compress_size
    return out.getvalue()[31 : 31 + size]


def zfile(content):
    """joblib before 0.10: the size in hexadecimal, 19 characters wide, then zlib."""
    return b"ZF" + hex(len(content)).encode().ljust(19) + zlib.compress(content)


WRITERS = {
    "zlib": zlib.compress,
    "zfile": zfile,
    "gzip": gzip.compress,
    "deflate": deflate,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "lzma-zip": zip_lzma,
}
CONTENT = bytes(range(256)) * 40
NAMES = sorted(WRITERS)


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize(
    "content", [b"a", b"ab" * 9, CONTENT, os.urandom(5000)], ids=["one", "few", "many", "noise"]
)
def test_each_codec(codec, content):
    packed = WRITERS[codec](content)
    assert decompress(packed, codec, len(content)) == (content, None)
    assert decompress(memoryview(packed), codec, len(content)) == (content, None)
    assert readable(codec)


@pytest.mark.parametrize("codec", NAMES)
def test_the_budget_is_exact(codec):
    packed = WRITERS[codec](CONTENT)
    assert len(decompress(packed, codec, len(CONTENT))[0]) == len(CONTENT)
    with pytest.raises(TooLarge):
        decompress(packed, codec, len(CONTENT) - 1)


@pytest.mark.parametrize("codec", NAMES)
def test_truncation_gives_a_part_and_says_so(codec):
    packed = WRITERS[codec](CONTENT)
    for end in (*range(min(60, len(packed))), len(packed) // 2, len(packed) - 1):
        content, problem = decompress(packed[:end], codec, len(CONTENT))
        assert CONTENT.startswith(bytes(content))
        whole = bytes(content) == CONTENT
        # raw LZMA needs no end mark, since an archive states sizes; nothing at all is no damage
        assert problem is not None or whole or codec == "lzma-zip" or end <= 21 * (codec == "zfile")


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "xz"])
def test_members_that_follow_each_other(codec):
    one, two = WRITERS[codec](b"one"), WRITERS[codec](b"two")
    assert decompress(one + two, codec, 100) == (b"onetwo", None)
    assert decompress(one + b"garbage!" * 3, codec, 100) == (b"one", None)
    with pytest.raises(TooLarge):
        decompress(one + two, codec, 5)


@pytest.mark.parametrize("codec", ["deflate", "lzma-zip"])
def test_nothing_follows_the_data_of_a_member(codec):
    packed = WRITERS[codec](b"one")
    assert decompress(packed + packed, codec, 100)[0] == b"one"


def test_padding_between_xz_streams():
    one, two = lzma.compress(b"one"), lzma.compress(b"two")
    assert decompress(one + bytes(8) + two, "xz", 100) == (b"onetwo", None)
    assert decompress(one + bytes(8), "xz", 100) == (b"one", None)


@pytest.mark.parametrize(
    ("codec", "data", "said"),
    [
        ("gzip", b"no gzip at all", "gzip data is damaged"),
        ("zlib", b"\x78\x9c\x07xxx", "zlib data is damaged"),
        ("bz2", b"BZh9xxxxxxxx", "bz2 data is damaged"),
        ("xz", b"\xfd7zXZ\0\0\x04xxxxxxxx", "xz data is damaged"),
        ("lzma", b"\xff" * 20, "lzma data is damaged"),
        ("deflate", b"\x07xxxx", "deflate data is damaged"),
        ("lzma-zip", b"", "lzma data has no header"),
        ("lzma-zip", b"\x09\x14\x04\0" + b"x" * 9, "lzma data has no header"),
        ("lzma-zip", b"\x09\x14\x05\0\xff\0\0\x10\0x", "the properties of LZMA are damaged"),
        ("gzip", gzip.compress(CONTENT)[:-4], "gzip data ends early"),
        ("zlib", zlib.compress(CONTENT)[:-1], "zlib data ends early"),
    ],
)
def test_damage_is_said(codec, data, said):
    assert said in decompress(data, codec, 1 << 20)[1]


def test_a_wrong_checksum_is_damage():
    packed = bytearray(gzip.compress(CONTENT))
    packed[-8] ^= 1
    assert "gzip data is damaged" in decompress(bytes(packed), "gzip", 1 << 20)[1]


def test_a_bomb_ends_at_its_ratio_before_its_budget(monkeypatch):
    monkeypatch.setattr(compress, "BOMB", 1 << 21)
    grown = zlib.compress(bytes(4 << 20))
    with pytest.raises(TooLarge):
        decompress(grown, "zlib", 1 << 30)
    noisy = zlib.compress(os.urandom(4 << 20))
    assert len(decompress(noisy, "zlib", 1 << 30)[0]) == 4 << 20
    monkeypatch.setattr(compress, "RATIO", 1 << 20)
    assert len(decompress(grown, "zlib", 1 << 30)[0]) == 4 << 20


@pytest.mark.parametrize("codec", NAMES)
def test_the_first_bytes(codec):
    packed = WRITERS[codec](CONTENT)
    assert CONTENT.startswith(first_bytes(packed, codec, 16))
    assert len(first_bytes(packed, codec, 16)) <= 16
    assert first_bytes(b"\xff" * 40, codec, 16) is None
    assert first_bytes(b"", codec, 16) is None


def test_the_first_bytes_stand_behind_empty_members():
    assert first_bytes(gzip.compress(b"") * 3 + gzip.compress(b"abc"), "gzip", 2) == b"ab"
    assert first_bytes(b"abc", "unknown", 2) is None
    assert not readable("unknown")


# --- where large content goes -------------------------------------------------------------------------------


def test_content_beyond_the_limit_is_a_map(monkeypatch):
    monkeypatch.setattr(compress, "IN_MEMORY", 1000)
    small, large = Sink(), Sink()
    small.write(b"x" * 1000)
    for _ in range(3):
        large.write(b"y" * 400)
    assert small.content() == b"x" * 1000
    found = large.content()
    assert isinstance(found, mmap.mmap)
    assert (large.size, found[:]) == (1200, b"y" * 1200)
    large.close()
    assert found[1199] == ord("y")


def test_an_empty_sink():
    with_nothing = Sink()
    assert (with_nothing.content(), with_nothing.size) == (b"", 0)


@pytest.mark.parametrize(("start", "size"), [(0, 0), (0, 5), (3, 4), (9, 5), (0, 10), (8, 100)])
@pytest.mark.parametrize("limit", [0, 3, 1000])
def test_a_window_is_a_slice(monkeypatch, start, size, limit):
    monkeypatch.setattr(compress, "IN_MEMORY", limit)
    monkeypatch.setattr(compress, "_CHUNK", 2)
    data = bytes(range(10))
    assert window(data, start, size)[:] == data[start : start + size]


# --- raw LZMA -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lc", "lp", "pb"), [(3, 0, 2), (0, 0, 0), (4, 0, 4), (0, 4, 4), (2, 2, 1)])
def test_properties_of_lzma(lc, lp, pb):
    raw = bytes([(pb * 5 + lp) * 9 + lc]) + struct.pack("<I", 1 << 16)
    found = lzma1(raw)
    assert (found["lc"], found["lp"], found["pb"], found["dict_size"]) == (lc, lp, pb, 1 << 16)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": lc, "lp": lp, "pb": pb}]
    packed = lzma.compress(CONTENT, lzma.FORMAT_RAW, filters=filters)
    assert unpack(packed, raw_lzma([found]), len(CONTENT)) == CONTENT


def test_a_small_window_is_rounded_up():
    assert lzma1(b"\x5d\1\0\0\0")["dict_size"] == 4096


@pytest.mark.parametrize("raw", [b"", b"\x5d\0\0\0", b"\xe1\0\0\x10\0", b"\xff\0\0\x10\0"])
def test_what_are_no_properties(raw):
    with pytest.raises(ValueError, match="properties of LZMA"):
        lzma1(raw)


def test_a_window_too_large_is_not_allocated():
    raw_lzma([{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 28}])
    with pytest.raises(ValueError, match="the window is larger than"):
        raw_lzma([{"id": lzma.FILTER_LZMA1, "dict_size": (1 << 28) + 1}])


def test_damaged_raw_data_is_an_error():
    with pytest.raises(ValueError, match="damaged"):
        unpack(b"\xff" * 30, raw_lzma([lzma1(b"\x5d\0\0\x10\0")]), 1 << 20)


# --- LZ4 ----------------------------------------------------------------------------------------------------


def frame(*blocks, flags=0x60, end=b"\0\0\0\0"):
    """A frame of blocks: bytes are stored, a list is one compressed block (LZ4 Frame Format 1.6.3)."""
    out = lz4.MAGIC + bytes([flags, 0x40, 0])
    for block in blocks:
        raw, body = (0, bytes(block)) if isinstance(block, list) else (1 << 31, block)
        out += struct.pack("<I", len(body) | raw) + body + b"sums" * bool(flags & 16)
    return out + end + b"sums" * bool(flags & 4) * bool(end)


BLOCKS = [
    ((), b""),
    ((b"abc",), b"abc"),
    ((b"abc", b"def"), b"abcdef"),
    (([0x30, 97, 98, 99],), b"abc"),
    (([0x14, 97, 1, 0, 0x10, 98],), b"a" + b"a" * 8 + b"b"),
    (([0x20, 97, 98, 2, 0, 0x10, 99],), b"ab" + b"abab" + b"c"),
    ((b"abcd", [0x00, 4, 0, 0x10, 101]), b"abcd" + b"abcd" + b"e"),
    (([0xF0, 0, *b"x" * 15],), b"x" * 15),
    (([0xF0, 1, *b"x" * 16],), b"x" * 16),
    (([0xF0, 255, 0, *b"x" * 270],), b"x" * 270),
    (([0x1F, 97, 1, 0, 0, 0x10, 98],), b"a" + b"a" * 19 + b"b"),
    (([0x1F, 97, 1, 0, 255, 3, 0x10, 98],), b"a" + b"a" * (19 + 258) + b"b"),
]


@pytest.mark.parametrize(("blocks", "content"), BLOCKS)
@pytest.mark.parametrize("flags", [0x60, 0x40, 0x64, 0x70, 0x74])
def test_blocks_of_lz4(blocks, content, flags):
    data = frame(*blocks, flags=flags)
    assert decompress_frames(data, 1000) == (content, None)
    assert decompress_frames(data + data, 1000) == (content * 2, None)
    if content:
        with pytest.raises(TooLarge):
            decompress_frames(data, len(content) - 1)


@pytest.mark.parametrize(
    ("flags", "extra"),
    [(0x68, bytes(8)), (0x61, bytes(4)), (0x69, bytes(12))],
    ids=["size", "dictionary", "both"],
)
def test_optional_fields_of_a_frame_header(flags, extra):
    data = (
        lz4.MAGIC + bytes([flags, 0x40]) + extra + b"\0" + struct.pack("<I", 3 | 1 << 31) + b"abc" + bytes(4)
    )
    assert decompress_frames(data, 10) == (b"abc", None)


@pytest.mark.parametrize(
    ("data", "content", "said"),
    [
        (b"no frame", b"", "lz4 data has no frame header"),
        (frame(b"abc") + b"junk", b"abc", None),
        (frame([0x10, 97, 2, 0, 0x10, 98]), b"a", "refers to bytes before its start"),
        (frame([0x10, 97, 0, 0, 0x10, 98]), b"a", "refers to bytes before its start"),
        (frame([0x50, 97, 98]), b"ab", "ends early"),
        (frame(b"abc", end=b""), b"abc", "ends early"),
        (frame(b"abc", end=b"")[:-1], b"ab", "ends early"),
        (lz4.MAGIC, b"", "ends early"),
        (lz4.MAGIC + b"\x60\x40", b"", "ends early"),
        (b"\x50\x2a\x4d\x18" + struct.pack("<I", 3) + b"xyz" + frame(b"abc"), b"abc", None),
        (b"\x5f\x2a\x4d\x18" + struct.pack("<I", 0) + frame(b"abc"), b"abc", None),
        (lz4.LEGACY + struct.pack("<I", 4) + b"\x30abc", b"abc", None),
        (lz4.LEGACY + struct.pack("<I", 4) + b"\x30abc" + frame(b"d"), b"abcd", None),
        (lz4.LEGACY + struct.pack("<I", 9) + b"\x30abc", b"abc", "ends early"),
    ],
)
def test_frames_and_what_is_wrong_with_them(data, content, said):
    found, problem = decompress_frames(data, 1000)
    assert found == content
    assert (problem is None) if said is None else said in problem


def test_a_part_of_lz4_is_quiet():
    data = frame([0x1F, 97, 1, 0, 255, 3, 0x10, 98])
    assert decompress_frames(data, 5, partial=True) == (b"aaaaa", None)
    assert first_bytes(data, "lz4", 3) == b"aaa"
    assert first_bytes(b"junk", "lz4", 3) is None


def test_the_work_of_lz4_is_bounded(monkeypatch):
    monkeypatch.setattr(lz4, "SEQUENCES", 3)
    three = [0x10, 97, 1, 0] * 2 + [0x10, 98]
    assert decompress_frames(frame(three), 100)[1] is None
    with pytest.raises(TooLarge):
        decompress_frames(frame([0x10, 97, 1, 0] * 5), 100)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([b"abc", b"\0", b"xyzxyz", b"q" * 50]), max_size=30).map(b"".join),
    st.integers(0, 80),
)
def test_lz4_of_the_library(content, cut):
    library = pytest.importorskip("lz4.frame", reason="the package that writes lz4")
    packed = library.compress(content)
    assert decompress_frames(packed, len(content)) == (content, None)
    if cut < len(packed):
        found, problem = decompress_frames(packed[:cut], len(content))
        assert content.startswith(found)
        assert problem is not None or cut == 0


@settings(deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from([b"", lz4.MAGIC + b"\x60\x40\0", lz4.LEGACY, b"\x50\x2a\x4d\x18"])
)
def test_any_bytes_as_lz4_stay_within_the_budget(data, start):
    try:
        assert len(decompress_frames(start + data, 500)[0]) <= 500
    except TooLarge:
        return


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=80))
def test_any_bytes_as_any_codec_stay_within_the_budget(codec, data):
    try:
        assert len(decompress(data, codec, 500)[0]) <= 500
    except TooLarge:
        return
    first_bytes(data, codec, 9)


@pytest.mark.parametrize(
    ("size", "packed", "found"),
    [(64 << 20, 1, False), ((64 << 20) + 1, 1, True), (100 << 20, 1 << 20, False), (250 << 20, 1 << 20, False),
     ((250 << 20) + 1, 1 << 20, True), (1 << 40, 1 << 38, False)],
)  # fmt: skip
def test_a_bomb_is_both_large_and_steep(size, packed, found):
    assert compress.bomb(size, packed) is found


@pytest.mark.parametrize("name", ["model.bin", "w.npy", "m/data/0", "notes.txt"])
def test_bombs_in_members_of_unknown_content(name):
    """80 MiB of zeros: beyond 64 MiB, at about 1000 to one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        if name.startswith("m/"):
            file.writestr("m/data.pkl", b"N.")
        head = (
            b"\x93NUMPY\1\0v\0{'descr': '<f8', 'fortran_order': False, 'shape': (10485760,), }".ljust(127)
            + b"\n"
        )
        with file.open(name, "w") as member:
            member.write(head if name.endswith(".npy") else b"")
            for _ in range(80):
                member.write(bytes(1 << 20))
    report = inspect_bytes(buffer.getvalue(), "m")
    assert report.verdict == "unproven"
    assert any("as a bomb does" in sentence for sentence in report.coverage.unread)


def test_members_that_grow_together_are_one_bomb(monkeypatch):
    monkeypatch.setattr(compress, "BOMB", 1 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for at in range(5):
            file.writestr(f"{at}.bin", bytes(900_000))
    report = inspect_bytes(buffer.getvalue(), "m")
    assert report.verdict == "unproven"
    assert "grow together as a bomb does" in report.coverage.unread[0]
