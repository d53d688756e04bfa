"""7z archives as py7zr writes them, with every coder, and as attackers do (CVE-2025-1889 in kind)."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.containers import Limits
from modelward.artifact.reading import Malformed
from modelward.artifact.sevenread import Unreadable, directory, unfold
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged

py7zr = pytest.importorskip("py7zr", reason="the library that writes 7z archives")
GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
LZMA2 = {"id": py7zr.FILTER_LZMA2, "preset": 1}
CHAINS = {
    "copy": [{"id": py7zr.FILTER_COPY}], "lzma": [{"id": py7zr.FILTER_LZMA}], "lzma2": [LZMA2], "bzip2": [{"id": py7zr.FILTER_BZIP2}],
    "deflate": [{"id": py7zr.FILTER_DEFLATE}], "zstd": [{"id": py7zr.FILTER_ZSTD, "level": 3}], "x86": [{"id": py7zr.FILTER_X86}, LZMA2],
    "x86-lzma": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA}], "delta": [{"id": py7zr.FILTER_DELTA}, LZMA2], "arm": [{"id": py7zr.FILTER_ARM}, LZMA2],
}  # fmt: skip


def archive(members, filters=None, **options):
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=filters, **options) as file:
        for name, content in members.items():
            file.writef(io.BytesIO(content), name)
    return buffer.getvalue()


@pytest.mark.parametrize("name", CHAINS)
def test_every_coder(name):
    contents = {
        "a/model.pkl": GOOD,
        "t.txt": b"text " * 900,
        "code": bytes(range(256)) * 40 + b"\xe8\0\0\0\1" * 99,
    }
    good, evil = archive(contents, CHAINS[name]), archive({**contents, "z/renamed.bin": SYSTEM}, CHAINS[name])
    report = inspect_bytes(good, "m.7z")
    assert (report.format, report.verdict, report.coverage.members) == ("7z", "inert", 3)
    report = inspect_bytes(evil, "m.7z")
    assert report.verdict == "dangerous"
    assert (report.findings[0].location.member, report.findings[0].call) == (
        "z/renamed.bin",
        "os.system('id')",
    )
    found = directory(evil)
    content = b"".join(bytes(unfold(evil, folder, 1 << 20)) for folder in found.folders)
    assert content == b"".join([*contents.values(), SYSTEM])


@pytest.mark.parametrize(
    "filters", [[{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}], [{"id": py7zr.FILTER_BROTLI, "level": 3}]]
)
def test_what_is_not_read_is_listed(filters):
    report = inspect_bytes(archive({"m.pkl": SYSTEM * 9}, filters), "m.7z")
    assert report.verdict == "unproven"
    assert "cannot be read here" in report.coverage.unread[0]


@pytest.mark.parametrize("header", [False, True])
def test_encrypted_archives_are_not_inert(header):
    report = inspect_bytes(archive({"m.pkl": GOOD}, password="x" * 3, header_encryption=header), "m.7z")
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
    assert inspect_bytes(nested, "m").verdict == "unproven"


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


SEEDS = [
    archive({"a": GOOD, "b/c": b"text " * 40}),
    archive({"a": GOOD}, CHAINS["copy"], header_encryption=False),
    stored("m.pkl", GOOD, 0),
]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), max_size=5),
    st.integers(0, 200),
)
def test_mutations_give_a_verdict(seed, changes, cut):
    data = bytearray(seed)
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
    for size in range(32, len(SEEDS[0])):
        assert inspect_bytes(SEEDS[0][:size], "m").verdict == "unproven"
