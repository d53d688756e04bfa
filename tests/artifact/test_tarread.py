"""Tar archives: tarfile writes and reads, headers by hand are damaged."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import tarread
from modelward.artifact.tarread import BLOCK, Trouble, entries, is_header


def written(*members, layout=tarfile.PAX_FORMAT):
    """An archive of (name, content) or of tarfile's own headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            file.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name, kind, target="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def header(name=b"a", size=b"00000000000", kind=b"0", *, prefix=b"", magic=b"ustar\x0000", target=b""):
    """One header with a right checksum, POSIX.1-2017."""
    block = bytearray(BLOCK)
    for offset, field in (
        (0, name),
        (100, b"0000644\0"),
        (124, size),
        (156, kind),
        (157, target),
        (257, magic),
        (345, prefix),
    ):
        block[offset : offset + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def members(data):
    return [entry for entry in entries(data) if not isinstance(entry, Trouble)]


def troubles(data):
    return [(entry.message, entry.lost) for entry in entries(data) if isinstance(entry, Trouble)]


LAYOUTS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = st.text("ab/é. ", min_size=1, max_size=30).filter(
    lambda name: name.strip("/. ") and not name.endswith("/")
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=5), st.sampled_from(LAYOUTS))
def test_it_agrees_with_tarfile(files, layout):
    data = written(*files, layout=layout)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        expected = [(info.name, info.offset_data, info.size, info.mode) for info in file]
    found = members(data)
    assert [(entry.name, entry.start, entry.size, entry.mode) for entry in found] == expected
    assert [data[entry.start : entry.start + entry.size] for entry in found] == [
        content for _, content in files
    ]
    assert troubles(data) == []


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 255, 256, 300, 5000])
def test_long_names_and_targets(layout, length):
    name, target = "n" * length, "t" * length
    data = written((name, b"x"), special("link", tarfile.SYMTYPE, target), layout=layout)
    assert [(entry.name, entry.target) for entry in members(data)] == [(name, ""), ("link", target)]


KINDS = [
    (tarfile.REGTYPE, "file"),
    (tarfile.AREGTYPE, "file"),
    (tarfile.CONTTYPE, "file"),
    (tarfile.LNKTYPE, "hard-link"),
    (tarfile.SYMTYPE, "link"),
    (tarfile.CHRTYPE, "device"),
    (tarfile.BLKTYPE, "device"),
    (tarfile.FIFOTYPE, "device"),
    (tarfile.DIRTYPE, "folder"),
    (b"Z", "file"),
]


@pytest.mark.parametrize(("code", "kind"), KINDS)
def test_each_kind_of_member(code, kind):
    (entry,) = members(written(special("a", code, "to" if kind in {"link", "hard-link"} else "", 0o4755)))
    assert (entry.kind, entry.mode, entry.hidden) == (kind, 0o4755, False)
    assert entry.target == ("to" if kind in {"link", "hard-link"} else "")


def test_a_name_with_a_slash_is_a_folder_as_old_archives_have_it():
    assert [entry.kind for entry in members(header(b"a/", kind=b"\0") + bytes(1024))] == ["folder"]
    assert [entry.kind for entry in members(header(b"a", kind=b"\0") + bytes(1024))] == ["file"]


def test_a_prefix_counts_for_posix_alone():
    assert members(header(b"a", prefix=b"dir"))[0].name == "dir/a"
    assert members(header(b"a", prefix=b"dir", magic=b"ustar  \0"))[0].name == "a"


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (b"00000000005\0", 5),
        (b"5\0", 5),
        (b"   5    \0", 5),
        (b"\0" * 12, 0),
        (b"\x80" + bytes(10) + b"\5", 5),
        (b"77777777777\0", 0o77777777777),
    ],
)
def test_sizes(field, size):
    found = list(entries(header(size=field) + b"x" * BLOCK))
    assert [entry.size for entry in found if not isinstance(entry, Trouble)] == [size]
    assert any(isinstance(entry, Trouble) for entry in found) is (size != 5)


@pytest.mark.parametrize("field", [b"x0000000000\0", b"9\0", b"\xff" * 12, b"-5\0"])
def test_sizes_that_are_none(field):
    assert troubles(header(size=field) + bytes(1024)) == [("the member at 0 has no valid size", True)]


# --- headers ------------------------------------------------------------------------------------------------


def test_checksums_added_up_both_ways():
    block = bytearray(header("é".encode("latin-1")))
    rest = block[:148] + b" " * 8 + block[156:]
    for total in (sum(rest), sum(byte - 256 * (byte > 127) for byte in rest)):
        block[148:156] = b"%06o\0 " % total
        assert is_header(bytes(block))
    block[148:156] = b"%06o\0 " % (sum(rest) + 1)
    assert not is_header(bytes(block))


@pytest.mark.parametrize("block", [b"", bytes(511), bytes(512), b"x" * 512, header()[:-1]])
def test_what_is_no_header(block):
    assert not is_header(block)


def test_each_changed_byte_is_noticed():
    block = bytearray(header(b"name", b"00000000000\0"))
    for at in range(BLOCK):
        if 148 <= at < 156:
            continue
        changed = bytearray(block)
        changed[at] = (changed[at] + 1) % 256
        assert not is_header(bytes(changed))


def record(key, value):
    """`length key=value` and a newline, where the length counts itself."""
    body = f" {key}={value}\n".encode()
    size = len(body)
    while len(str(size)) + len(body) != size:
        size = len(str(size)) + len(body)
    return str(size).encode() + body


def extended(body, kind=b"x"):
    return header(b"pax", b"%011o" % len(body), kind) + body + bytes(-len(body) % BLOCK)


PAX = [
    (record("path", "other"), "other", ("a",), True),
    (record("path", "é/ü"), "é/ü", ("a",), True),
    (record("path", "x" * 2000), "x" * 2000, ("a",), True),
    (record("mtime", "1.5"), "a", (), True),
    (record("path", "a"), "a", (), True),
    (record("path", "one") + record("path", "two"), "two", ("a",), True),
    (record("path", "dir/"), "dir", ("a",), True),
    (record("comment", "path=evil"), "a", (), True),
    (b"99 path=short\n", "a", None, False),
    (b"no record", "a", (), False),
    (record("path", "other")[:-1] + b"x", "other", ("a",), False),
]


@pytest.mark.parametrize(("body", "name", "others", "sound"), PAX)
def test_extended_headers(body, name, others, sound):
    data = extended(body) + header() + bytes(1024)
    (entry,) = members(data)
    if others is not None:
        assert (entry.name, entry.others) == (name, others)
    assert (troubles(data) == []) is sound


def test_extended_headers_agree_with_tarfile():
    for body, _, _, sound in PAX:
        data = extended(body) + header() + bytes(1024)
        if sound:
            with tarfile.open(fileobj=io.BytesIO(data)) as file:
                assert [info.name for info in file] == [entry.name for entry in members(data)]


def test_the_first_of_several_extended_headers_wins_as_in_python():
    data = extended(record("path", "one")) + extended(record("path", "two")) + header() + bytes(1024)
    (entry,) = members(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        assert [info.name for info in file] == [entry.name]
    assert {entry.name, *entry.others} == {"one", "two", "a"}


@pytest.mark.parametrize(
    ("key", "differs"),
    [("path", True), ("linkpath", True), ("size", True), ("mtime", False), ("comment", False)],
)
def test_headers_for_all_members(key, differs):
    data = extended(record(key, "5"), b"g") + header() + bytes(1024)
    assert bool(troubles(data)) is differs
    assert [entry.name for entry in members(data)] == ["a"]


def test_a_size_in_the_extended_header_counts():
    data = (
        extended(record("size", "3"))
        + header(size=b"00000000000\0")
        + b"abc"
        + bytes(BLOCK - 3)
        + header(b"b")
        + bytes(1024)
    )
    assert [(entry.name, entry.size) for entry in members(data)] == [("a", 3), ("b", 0)]


def test_an_extended_header_too_long_ends_the_reading(monkeypatch):
    monkeypatch.setattr(tarread, "LONGEST", 100)
    assert troubles(extended(b"x" * 101) + header()) == [
        ("the extended header at 0 is too long or cut off", True)
    ]
    assert troubles(header(b"p", b"%011o" % 90, b"x") + b"x" * 50) == [
        ("the extended header at 0 is too long or cut off", True)
    ]


# --- ends ---------------------------------------------------------------------------------------------------


def test_members_behind_the_end_are_hidden():
    data = written(("a", b"1")) + written(("b", b"2"))
    assert [(entry.name, entry.hidden) for entry in members(data)] == [("a", False), ("b", True)]
    assert troubles(data) == [
        ("members stand behind the end of the archive, where some readers go on", False)
    ]


def test_other_bytes_behind_the_end_are_said():
    data = written(("a", b"1"))
    assert troubles(data + b"x") == [(f"1 bytes at {len(data)} are no member", False)]
    (trouble,) = troubles(header() + b"junk" * 128)
    assert trouble == (f"512 bytes at {BLOCK} are no member", True)


def test_a_link_with_data_is_read_differently():
    (trouble,) = troubles(header(size=b"00000000005\0", kind=b"2") + bytes(1024))
    assert trouble == ("'a' is a link with data, which readers skip or read", True)


def test_truncation_is_noticed_in_every_block():
    data = written(("a", b"x" * 700), ("b", b"y" * 100))
    for end in range(BLOCK, BLOCK + 700):
        assert ("'a' is cut off: the archive is truncated", True) in troubles(data[:end])


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4),
    st.integers(0, 4000),
    st.sampled_from(LAYOUTS[1:]),
)
def test_changed_archives_end_within_the_data(edits, end, layout):
    data = bytearray(
        written(("n" * 120, b"x" * 700), special("l", tarfile.SYMTYPE, "t" * 120), layout=layout)[:end]
    )
    for place, byte in edits:
        if data:
            data[place % len(data)] = byte
    starts = [entry.start for entry in members(bytes(data))]
    assert starts == sorted(set(starts))
