"""7z archives as 7zz writes them, with every coder, and as attackers do (CVE-2025-1889 in kind)."""

import io
import shutil
import struct
import subprocess
import tempfile
import zlib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.containers import Limits
from modelward.artifact.reading import Malformed
from modelward.artifact.sevenread import Unreadable, directory, unfold
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged

GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
CHAINS = {
    "copy": ["-m0=Copy"],
    "lzma": ["-m0=LZMA"],
    "lzma2": ["-m0=LZMA2"],
    "bzip2": ["-m0=BZip2"],
    "deflate": ["-m0=Deflate"],
    "x86": ["-m0=BCJ", "-m1=LZMA2"],
    "x86-lzma": ["-m0=BCJ", "-m1=LZMA"],
    "delta": ["-m0=Delta:4", "-m1=LZMA2"],
    "arm": ["-m0=ARM", "-m1=LZMA2"],
    "not solid": ["-m0=LZMA2", "-ms=off"],
}
"""Options of the program 7zz, the format's own."""


def archive(members, options=("-m0=LZMA2",)):
    program = shutil.which("7zz") or shutil.which("7z")
    if program is None:
        pytest.skip("the program 7zz is absent (Debian package 7zip)")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in members.items():
            (path := Path(folder, "in", name)).parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        subprocess.run(
            [program, "a", "-t7z", "-bso0", "-bsp0", *options, "../out.7z", "."],
            cwd=Path(folder, "in"),
            check=True,
        )
        return Path(folder, "out.7z").read_bytes()


@pytest.mark.parametrize("name", CHAINS)
def test_every_coder(name):
    contents = {
        "a/model.pkl": GOOD,
        "t.txt": b"text " * 900,
        "code": bytes(range(256)) * 40 + b"\xe8\0\0\0\1" * 99,
    }
    good, evil = archive(contents, CHAINS[name]), archive({**contents, "z/renamed.bin": SYSTEM}, CHAINS[name])
    report = inspect_bytes(good, "m.7z")
    assert (report.format, report.verdict) == ("7z", "inert")
    assert {member.path for member in report.members} >= {"a/model.pkl", "t.txt"}
    report = inspect_bytes(evil, "m.7z")
    assert report.verdict == "dangerous"
    finding = report.findings[0]
    assert (finding.location.member, finding.call) == ("z/renamed.bin", "os.system('id')")
    found = directory(evil)
    whole = b"".join(bytes(unfold(evil, folder, 1 << 20)) for folder in found.folders)
    assert len(whole) == sum(map(len, contents.values())) + len(SYSTEM)
    assert all(content in whole for content in (*contents.values(), SYSTEM))


def test_what_is_not_read_is_listed():
    report = inspect_bytes(archive({"m.pkl": SYSTEM * 9}, ["-m0=PPMd"]), "m.7z")
    assert report.verdict == "unproven"
    assert "cannot be read here" in report.coverage.unread[0]


@pytest.mark.parametrize("header", [False, True])
def test_encrypted_archives_are_not_inert(header):
    report = inspect_bytes(archive({"m.pkl": GOOD}, ["-pxxx", *(["-mhe=on"] if header else [])]), "m.7z")
    assert report.verdict == "unproven"
    assert "encrypted" in report.coverage.unread[0]


def test_a_torch_model_in_7z():
    torch = pytest.importorskip("torch", reason="the library that writes the model")
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2)}, buffer)
    assert inspect_bytes(archive({"model.pt": buffer.getvalue()}), "m").verdict == "inert"
    evil = buffer.getvalue().replace(b"collections\nOrderedDict", b"builtins\nexec") + SYSTEM
    assert (
        inspect_bytes(archive({"data.pkl": SYSTEM, "version": b"3\n"}), "pytorch_model.bin").verdict
        == "dangerous"
    )
    assert inspect_bytes(archive({"model.pt": evil}), "m").verdict != "error"


def raw(header, body=b""):
    """An archive with a plain header."""
    start = struct.pack("<QQI", len(body), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + body + header


def stored(name, content, attribute=None):
    """One stored file with any name and attribute."""
    size = bytes([0xE0]) + len(content).to_bytes(3, "little") if len(content) > 127 else bytes([len(content)])
    streams = b"\x04\x06\x00\x01\x09" + size + b"\x00\x07\x0b\x01\x00\x01\x01\x00\x0c" + size + b"\x00\x00"
    text = b"\0" + name.encode("utf-16-le") + b"\0\0"
    files = b"\x05\x01\x11" + bytes([len(text)]) + text
    if attribute is not None:
        files += b"\x15\x06\x01\x00" + struct.pack("<I", attribute)
    return raw(b"\x01" + streams + files + b"\x00\x00", content)


def test_the_smallest_archive():
    assert inspect_bytes(stored("m.pkl", GOOD), "m").verdict == "inert"
    assert inspect_bytes(stored("m.pkl", SYSTEM), "m").verdict == "dangerous"
    assert inspect_bytes(raw(b""), "m").verdict == "inert"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..\\x", "C:\\x"])
def test_names_that_lead_out(name):
    assert inspect_bytes(stored(name, b"text\n"), "m").verdict == "dangerous"


@pytest.mark.parametrize(
    ("target", "verdict"),
    [(b"../../etc/passwd", "dangerous"), (b"/etc/passwd", "dangerous"), (b"other", "inert")],
)
def test_symbolic_links(target, verdict):
    assert inspect_bytes(stored("a/link", target, 0o120777 << 16 | 0x8000), "m").verdict == verdict


def test_a_wrong_checksum_is_a_note():
    data = bytearray(stored("m.pkl", SYSTEM))
    data[28] ^= 255
    report = inspect_bytes(bytes(data), "m")
    assert (report.verdict, "7z.crc" in {finding.rule for finding in report.findings}) == ("dangerous", True)


def test_a_header_of_a_billion_files_is_refused():
    with pytest.raises(Malformed, match="are read"):
        directory(raw(b"\x01\x05\xf0" + (1 << 30).to_bytes(4, "little") + bytes(200)))


def test_budgets():
    data = archive({f"{i}.txt": b"text\n" for i in range(20)})
    assert inspect_bytes(data, "m", limits=Limits(members=5)).verdict == "unproven"
    assert (
        inspect_bytes(archive({"a": bytes(100_000)}), "m", limits=Limits(member=1000)).verdict == "unproven"
    )
    nested = SYSTEM
    for _ in range(5):
        nested = archive({"inner.7z": nested}, CHAINS["lzma2"])
    assert inspect_bytes(nested, "m").verdict == "dangerous"
    assert inspect_bytes(nested, "m", limits=Limits(depth=4)).verdict == "unproven"


@pytest.mark.parametrize(
    "header",
    [
        b"\x02",
        b"\x01\x63",
        b"\x01\x04\x06\xff" + b"\xff" * 8,
        b"\x17\x06\x00\x01",
        b"\x01\x05\xff" + b"\xff" * 8,
        b"\x01\x04\x07\x0b\x01\x01",
    ],
)
def test_headers_that_are_damaged(header):
    with pytest.raises((Malformed, Unreadable)):
        directory(raw(header))
    assert inspect_bytes(raw(header), "m").verdict == "unproven"


@cache
def seeds():
    return [
        archive({"a": GOOD, "b/c": b"text " * 40}),
        archive({"a": GOOD}, CHAINS["copy"]),
        stored("m.pkl", GOOD, 0),
    ]


@given(
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), max_size=5),
    st.integers(0, 200),
)
def test_mutations_give_a_verdict(seed, changes, cut):
    data = bytearray(seeds()[seed])
    for at, piece in changes:
        data[at % len(data) : at % len(data) + len(piece)] = piece
    try:
        report = inspect_bytes(bytes(data[: max(1, len(data) - cut)]), "m", limits=Limits(member=1 << 20))
    except FileDamaged:
        return
    assert report.verdict in {None, "inert", "unproven", "dangerous"}


@given(st.binary(max_size=120))
def test_any_header_is_read_or_refused(header):
    try:
        directory(raw(header))
    except (Malformed, Unreadable):
        return


def test_truncation_at_every_byte():
    whole = seeds()[0]
    for size in range(32, len(whole)):
        assert inspect_bytes(whole[:size], "m").verdict == "unproven"
