"""Zip and tar archives, codecs in each other, names that lead out, and budgets."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.containers import Limits
from modelward.artifact.names import join, leads_out, link_leads_out
from modelward.artifact.tarread import Trouble, entries
from modelward.artifact.verdict import inspect, inspect_bytes
from modelward.errors import FileDamaged

EVIL = b"\x80\x02cos\ngetpid\n)R."
GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."


def zipped(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members, layout=tarfile.GNU_FORMAT):
    """A tar archive of (name, content) or (name, content, changes to the entry)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as file:
        for name, content, *changes in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in (changes[0] if changes else {}).items():
                setattr(entry, key, value)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


def zstd(data):
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        module = pytest.importorskip("backports.zstd", reason="no zstd before Python 3.14 without it")
    return module.compress(data)


def lz4(data):
    return pytest.importorskip("lz4.frame", reason="the package that writes lz4").compress(data)


def zfile(data):
    """joblib's format of before 0.10."""
    return b"ZF" + hex(len(data)).encode().ljust(19) + zlib.compress(data)


CODECS = {
    "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zlib": zlib.compress, "zstd": zstd, "lz4": lz4,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "zfile": zfile,
}  # fmt: skip


# --- codecs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_around_pickles_and_archives(name):
    pack = CODECS[name]
    assert inspect_bytes(pack(GOOD), "m").verdict == "inert"
    for inner in (
        EVIL,
        SYSTEM,
        b"\x80\x04" + b"N0" * 90_000 + EVIL[2:],
        tarred([("a/b", SYSTEM)]),
        zipped([("x", SYSTEM)]),
    ):
        assert inspect_bytes(pack(inner), "m").verdict == "dangerous"


@pytest.mark.parametrize("outer", CODECS)
@pytest.mark.parametrize("inner", ["gzip", "zstd", "lz4"])
def test_codecs_inside_each_other(outer, inner):
    report = inspect_bytes(CODECS[outer](CODECS[inner](SYSTEM)), "m.pkl")
    assert report.verdict == "dangerous"
    assert report.findings[0].location.member == f"!{outer}!{inner}"


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zstd", "lz4"])
def test_streams_that_follow_each_other(name):
    pack = CODECS[name]
    assert inspect_bytes(pack(GOOD[:5]) + pack(GOOD[5:]), "m").verdict == "inert"
    assert inspect_bytes(pack(GOOD) + pack(EVIL), "m").verdict == "dangerous"


def test_padding_between_xz_streams():
    data = lzma.compress(GOOD) + b"\0" * 8 + lzma.compress(EVIL)
    assert inspect_bytes(data, "m").verdict == "dangerous"


@pytest.mark.parametrize("magic", [0x184D2A50, 0x184D2A5F])
@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_frames_that_readers_skip_hide_nothing(magic, name):
    skipped = struct.pack("<II", magic, 7) + b"nothing"
    assert inspect_bytes(skipped + CODECS[name](EVIL), "m").verdict == "dangerous"
    assert inspect_bytes(CODECS[name](GOOD) + skipped + CODECS[name](EVIL), "m").verdict == "dangerous"


@pytest.mark.parametrize("options", [
    {"block_size": 4}, {"block_linked": False}, {"content_checksum": True}, {"block_checksum": True}, {"store_size": False}, {"compression_level": 9},
])  # fmt: skip
def test_lz4_as_its_library_writes_it(options):
    frame = pytest.importorskip("lz4.frame", reason="the package that writes lz4")
    from modelward.artifact.lz4 import decompress_frames

    content = bytes(range(256)) * 700 + os.urandom(3000) + b"a" * 100_000
    packed = frame.compress(content, **options)
    assert decompress_frames(packed, len(content)) == (content, None)
    assert decompress_frames(packed[:-9], len(content))[1] == "lz4 data ends early"


def test_the_old_frame_of_lz4():
    content = GOOD[:-1] + b"0N."
    block = bytes([0xF0, len(content) - 15]) + content
    data = b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block
    assert inspect_bytes(data, "m").verdict == "inert"


def test_garbage_behind_compressed_data_is_no_damage():
    assert inspect_bytes(gzip.compress(GOOD) + b"garbage", "m").verdict == "inert"


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zstd", "lz4", "zlib"])
def test_truncated_and_damaged_streams_are_never_inert(name):
    packed = CODECS[name](b"\x80\x04(" + os.urandom(3000) + b".")
    for size in (20, len(packed) // 2, len(packed) - 9):
        assert inspect_bytes(packed[:size], "m").verdict == "unproven"


def test_large_content_goes_through_a_file(monkeypatch):
    from modelward.artifact import compress

    monkeypatch.setattr(compress, "IN_MEMORY", 1 << 16)
    data = b"\x80\x04" + b"N0" * 200_000 + EVIL[2:]
    found, problem = compress.decompress(gzip.compress(data), "gzip", 1 << 30)
    assert not isinstance(found, bytes)
    assert (found[:], problem) == (data, None)
    assert inspect_bytes(gzip.compress(data), "m").verdict == "dangerous"


def test_a_bomb_ends_at_its_ratio(monkeypatch):
    from modelward.artifact import compress

    monkeypatch.setattr(compress, "BOMB", 1 << 20)
    report = inspect_bytes(gzip.compress(bytes(8 << 20)), "m")
    assert report.verdict == "unproven"
    assert "grows as a bomb does" in report.coverage.unread[0]


def test_zip_bombs_share_one_budget():
    data = zipped(
        [(f"m/{i}.pkl", b"\x80\x04" + b"N0" * 60_000 + b"N.") for i in range(10)], zipfile.ZIP_DEFLATED
    )
    assert inspect_bytes(data, "m").verdict == "inert"
    assert inspect_bytes(data, "m", limits=Limits(total=1 << 20)).verdict == "unproven"


# --- zip ----------------------------------------------------------------------------------------------------


def patched(data, method, pack, content):
    """The archive with its first member packed by a method that zipfile cannot write."""
    body = pack(content)
    name = b"m/data.pkl"
    local = struct.pack(
        "<4s5H3L2H",
        b"PK\x03\x04",
        20,
        0,
        method,
        0,
        0,
        zlib.crc32(content),
        len(body),
        len(content),
        len(name),
        0,
    )
    central = struct.pack(
        "<4s6H3L5H2L",
        b"PK\x01\x02",
        20,
        20,
        0,
        method,
        0,
        0,
        zlib.crc32(content),
        len(body),
        len(content),
        len(name),
        0,
        0,
        0,
        0,
        0,
        0,
    )
    start = len(local) + len(name) + len(body)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central) + len(name), start, 0)
    return local + name + body + central + name + end


@pytest.mark.parametrize(
    ("method", "pack"), [(20, zstd), (93, zstd), (95, lzma.compress), (12, bz2.compress)]
)
def test_rare_methods_of_zip(method, pack):
    assert inspect_bytes(patched(b"", method, pack, SYSTEM), "m").verdict == "dangerous"
    assert inspect_bytes(patched(b"", method, pack, GOOD), "m").verdict == "inert"


def test_zip_lzma():
    for content, verdict in (
        (SYSTEM, "dangerous"),
        (GOOD, "inert"),
        (b"\x80\x04" + b"N0" * 90_000 + EVIL[2:], "dangerous"),
    ):
        assert inspect_bytes(zipped([("m/data.pkl", content)], zipfile.ZIP_LZMA), "m").verdict == verdict
    data = bytearray(zipped([("m/data.pkl", GOOD)], zipfile.ZIP_LZMA))
    data[40 + 4 : 40 + 8] = b"\xff" * 4
    assert inspect_bytes(bytes(data), "m").verdict != "dangerous"


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "C:\\x", "C:/x", "..\\x", "a\\..\\..\\x", "\\\\host\\x", "\\x"]
)
def test_names_that_lead_out(name):
    assert leads_out(name)
    assert "archive.traversal" in rules(inspect_bytes(tarred([(name, b"text\n")]), "m"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        file.writestr(entry, b"text\n")
    assert inspect_bytes(buffer.getvalue(), "m").verdict == "dangerous"


@pytest.mark.parametrize("name", ["a/../b", "a", "./a", "a/b..c", "...", "a\\b", "c:d", "~/x", "..x/y"])
def test_names_that_stay_inside(name):
    assert not leads_out(name)
    assert inspect_bytes(tarred([(name, b"text\n")]), "m").verdict == "inert"


def test_paths_beside_a_member():
    assert join("a/b/", "c") == "a/b/c"
    assert join("a/b/", "../c") == "a/c"
    assert join("a/", "../../c") is None
    assert join("", "/c") is None
    assert link_leads_out("a/b", "../../c")
    assert not link_leads_out("a/b", "../c")
    assert link_leads_out("b", "/etc/passwd")


@pytest.mark.parametrize(
    ("target", "verdict"),
    [("../../etc/passwd", "dangerous"), ("/etc/passwd", "dangerous"), ("other", "inert")],
)
def test_symbolic_links_in_zip_and_tar(target, verdict):
    entry = zipfile.ZipInfo("a/link")
    entry.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(entry, target)
    assert inspect_bytes(buffer.getvalue(), "m").verdict == verdict
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        data = tarred([("a/link", b"", {"type": kind, "linkname": target})])
        assert inspect_bytes(data, "m").verdict == verdict


def test_a_second_name_in_the_unicode_field():
    name = b"../../x"
    field = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(b"good")) + name
    entry = zipfile.ZipInfo("good")
    entry.extra = field
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(entry, b"text")
    assert "archive.traversal" in rules(inspect_bytes(buffer.getvalue(), "m"))


def test_members_are_listed_with_their_formats():
    report = inspect_bytes(
        zipped(
            [
                ("a/x.pkl", GOOD),
                ("a/y", SYSTEM),
                ("t.txt", b"some text\n"),
                ("n.npy.gz", gzip.compress(b"hello, text")),
            ]
        ),
        "m.zip",
    )
    found = {member.path: (member.format, member.verdict) for member in report.members}
    assert found["a/x.pkl"] == ("pickle", "inert")
    assert found["a/y"] == ("pickle", "dangerous")
    assert found["t.txt"] == ("text", None)
    assert "n.npy.gz" in found


def test_a_zip_of_plain_data_is_inert():
    np = pytest.importorskip("numpy")
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    members = [
        ("README.md", b"# model\n"),
        ("table.csv", b"a,b\n1,2\n"),
        ("raw.bin", os.urandom(500)),
        ("inner.npz", buffer.getvalue()),
    ]
    assert inspect_bytes(zipped(members), "m").verdict == "inert"


def test_an_encrypted_member_is_not_inert():
    data = bytearray(zipped([("m/data.pkl", GOOD)]))
    for start in (6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    assert inspect_bytes(bytes(data), "m").verdict == "unproven"


@pytest.mark.parametrize("name", ["M/DATA.PKL", "data.pkl", "archive/data.pkl", "x/y/data.pkl"])
def test_the_pickle_of_a_torch_archive_in_any_folder_and_case(name):
    report = inspect_bytes(zipped([(name, SYSTEM), ("m/version", b"3\n")]), "m.pt")
    assert (report.format, report.verdict) == ("torch-zip", "dangerous")


def test_one_pickle_per_folder_and_archives_one_behind_the_other():
    both = zipped([("a/data.pkl", GOOD), ("b/data.pkl", SYSTEM)])
    assert inspect_bytes(both, "m").verdict == "dangerous"
    for first, second in ((GOOD, SYSTEM), (SYSTEM, GOOD)):
        data = zipped([("m/data.pkl", first)]) + zipped([("m/data.pkl", second)])
        assert inspect_bytes(data, "m").verdict == "dangerous"


@pytest.mark.parametrize("content", [
    b"cmy.module\nrun\n(S'x'\ntR.", b"(cmy.module\nrun\n)\x81.", b"\x80\x04\x8c\x09my.module\x94\x8c\x03run\x93)R.", b"\x80\x02cmy.module\nrun\n)R" + b"\xff" * 9,
])  # fmt: skip
def test_a_renamed_pickle_of_an_unknown_name_is_not_inert(content):
    data = zipped([("m/data.pkl", GOOD), ("m/data/0", content), ("m/version", b"3\n")])
    assert inspect_bytes(data, "m").verdict == "unproven"


def test_raw_numbers_of_tensors_are_no_alarm():
    members = [(f"m/data/{i}", b"\x80\x02" + os.urandom(400)) for i in range(100)]
    report = inspect_bytes(zipped([("m/data.pkl", GOOD), *members]), "m")
    assert report.verdict == "inert"


def test_beside_reads_within_the_archive():
    from modelward.artifact.zipread import Archive
    from modelward.artifact.zips import _beside

    data = zipped([("a/x", b"one"), ("a/b/y", b"two"), ("z", bytes(17 << 20))], zipfile.ZIP_DEFLATED)
    archive = Archive(data)
    index = {member.name: member for member in archive.members}
    assert _beside(archive, index, "a/b/", "../x") == b"one"
    assert _beside(archive, index, "a/", "b/y") == b"two"
    assert _beside(archive, index, "a/", "../../x") is None
    assert _beside(archive, index, "", "z") is None


def test_ten_thousand_members():
    data = zipped([("m/data.pkl", GOOD), *((f"m/data/{i}", b"numbers") for i in range(10_000))])
    report = inspect_bytes(data, "m")
    assert (report.verdict, report.coverage.members) == ("inert", 10_001)


# --- tar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_reading_agrees_with_tarfile(layout):
    members = [("a", b"x" * 600), ("folder/" + "long" * 20, b""), ("ä/ü", GOOD)]
    if layout != tarfile.USTAR_FORMAT:
        members.append(("deep/" * 60 + "name", b"y"))
    data = tarred(members, layout)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        expected = [(entry.name, entry.offset_data, entry.size) for entry in file]
    found = [entry for entry in entries(data) if not isinstance(entry, Trouble)]
    assert [(entry.name, entry.start, entry.size) for entry in found] == expected
    assert inspect_bytes(data, "m").verdict == "inert"
    for pack in CODECS.values():
        assert inspect_bytes(pack(tarred([*members, ("x", SYSTEM)], layout)), "m").verdict == "dangerous"


def test_a_tar_without_magic_is_recognised():
    block = bytearray(tarred([("x", SYSTEM)]))
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    report = inspect_bytes(bytes(block), "m")
    assert (report.format, report.verdict) == ("tar", "dangerous")


def test_what_stands_behind_the_end_of_a_tar():
    first, second = tarred([("a", GOOD)]), tarred([("b", SYSTEM)])
    assert inspect_bytes(first + second, "m").verdict == "dangerous"
    assert inspect_bytes(first + bytes(512) + b"garbage", "m").verdict == "inert"


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (tarfile.CHRTYPE, "archive.device"),
        (tarfile.BLKTYPE, "archive.device"),
        (tarfile.FIFOTYPE, "archive.device"),
    ],
)
def test_devices_are_not_inert(kind, rule):
    report = inspect_bytes(tarred([("dev", b"", {"type": kind})]), "m")
    assert (report.verdict, rules(report)) == ("unproven", {rule})


def test_modes_sparse_members_and_links_with_data():
    report = inspect_bytes(tarred([("x", b"text\n", {"mode": 0o4755})]), "m")
    assert report.verdict == "inert"
    assert "tar.mode" in {finding.rule for finding in report.findings}
    sparse = tarred(
        [("x", GOOD, {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}})], tarfile.PAX_FORMAT
    )
    assert inspect_bytes(sparse, "m").verdict == "unproven"
    link = bytearray(tarred([("x", SYSTEM), ("y", b"")]))
    link[156:157] = b"1"
    link[148:156] = b" " * 8
    link[148:156] = b"%06o\0 " % sum(link[:512])
    assert inspect_bytes(bytes(link), "m").verdict != "inert"


def test_a_truncated_tar_is_not_inert():
    data = tarred([("a", b"text\n" * 300), ("b", b"text\n" * 300)])
    for size in (600, 1500, 2000, 2600, 3000, 3500):
        assert inspect_bytes(data[:size], "m").verdict == "unproven"


def test_beside_reads_within_a_tar():
    from modelward.artifact.tars import _beside

    data = tarred(
        [("./a/x", b"one"), ("b", b"two"), ("a/link", b"", {"type": tarfile.SYMTYPE, "linkname": "x"})]
    )
    seen = {entry.name.removeprefix("./"): entry for entry in entries(data) if not isinstance(entry, Trouble)}
    assert _beside(data, seen, "a/", "x") == b"one"
    assert _beside(data, seen, "a/", "../b") == b"two"
    assert _beside(data, seen, "a/", "../../b") is None
    assert _beside(data, seen, "a/", "link") is None


def test_budgets_of_tar():
    data = tarred([(f"{i}", b"text\n") for i in range(30)])
    assert inspect_bytes(data, "m", limits=Limits(members=10)).verdict == "unproven"
    assert inspect_bytes(tarred([("a", b"x" * 5000)]), "m", limits=Limits(member=4000)).verdict == "unproven"
    nested = SYSTEM
    for _ in range(3):
        nested = tarred([("inner.tar", nested)])
    assert inspect_bytes(nested, "m").verdict == "dangerous"
    nested = tarred([("inner.tar", tarred([("inner.tar", nested)]))])
    assert inspect_bytes(nested, "m").verdict == "dangerous"
    assert inspect_bytes(nested, "m", limits=Limits(depth=4)).verdict == "unproven"


# --- the archive that torch.save wrote first ----------------------------------------------------------------


def legacy(pickle=GOOD, storages=None, tensors=None):
    number = b"\x80\x02K\x01."
    storage = (
        b"\x80\x02K\x07X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87."
        + struct.pack("<q", 3)
        + struct.pack("<3f", 1, 2, 3)
    )
    tensor = b"\x80\x02K\x05K\x07X\x05\x00\x00\x00dense\x87." + struct.pack("<i4xqqq", 1, 3, 1, 0)
    return tarred([
        ("sys_info", b"\x80\x02}."), ("pickle", pickle), ("storages", storages or number + storage + b"\x80\x02]."), ("tensors", tensors or number + tensor),
    ])  # fmt: skip


def test_the_first_archive_of_torch():
    assert inspect_bytes(legacy(), "m").verdict == "inert"
    assert inspect_bytes(legacy(b"\x80\x02}X\x01\x00\x00\x00wK\x05Qs."), "m").verdict == "inert"


def test_payloads_in_each_part_of_it():
    storage = (
        b"\x80\x02K\x07X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87." + struct.pack("<q", 3) + bytes(12)
    )
    for report in (
        inspect_bytes(legacy(SYSTEM), "m"),
        inspect_bytes(legacy(storages=SYSTEM), "m"),
        inspect_bytes(legacy(storages=b"\x80\x02K\x01." + storage + SYSTEM), "m"),
        inspect_bytes(legacy(storages=b"\x80\x02K\x02." + storage + storage + SYSTEM), "m"),
        inspect_bytes(legacy(tensors=b"\x80\x02K\x01." + SYSTEM), "m"),
        inspect_bytes(legacy(b"\x80\x02cmy.module\nrun\nK\x05Q\x85R."), "m"),
    ):
        assert report.verdict in {"dangerous", "unproven"}
        assert report.format == "tar"


def test_every_protocol_and_layout_of_torch_save(tmp_path):
    torch = pytest.importorskip("torch", reason="the library that writes these files")
    state = {"w": torch.ones(3), "b": torch.arange(4), "h": torch.ones(2, dtype=torch.bfloat16), "step": 3}
    for protocol in (2, 3, 4, 5):
        for new in (True, False):
            torch.save(state, tmp_path / "m.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
            report = inspect(tmp_path / "m.pt")
            assert report.verdict == "inert"
            assert report.format == ("torch-zip" if new else "torch-legacy")


# --- nothing but a verdict comes out ------------------------------------------------------------------------

SEEDS = [
    zipped([("m/data.pkl", GOOD), ("a.txt", b"t" * 50)], zipfile.ZIP_DEFLATED), tarred([("a", GOOD), ("b/c", b"text")], tarfile.PAX_FORMAT),
    gzip.compress(GOOD), lzma.compress(GOOD), bz2.compress(GOOD), legacy(), zipped([("x", GOOD)], zipfile.ZIP_LZMA),
]  # fmt: skip


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 4000),
)
def test_mutations_give_a_verdict(seed, changes, cut):
    data = bytearray(seed)
    for at, piece in changes:
        data[at % len(data) : at % len(data) + len(piece)] = piece
    content = bytes(data[: max(1, len(data) - cut)])
    with contextlib.suppress(FileDamaged):
        assert inspect_bytes(content, "m", limits=Limits(member=1 << 22)).verdict in {
            None,
            "inert",
            "unproven",
            "dangerous",
        }


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_truncation_at_every_byte(seed):
    for size in range(1, len(seed), 7):
        try:
            inspect_bytes(seed[:size], "m")
        except FileDamaged:
            continue
