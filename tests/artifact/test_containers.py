"""Archives, compressions and damage: every reading is scanned, and what was not read is listed."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib

import pytest

from modelward.artifact.containers import Limits
from modelward.artifact.verdict import inspect, inspect_bytes
from modelward.artifact.zipread import Archive
from modelward.errors import FileDamaged, FileMissing

EVIL = b"\x80\x02cos\ngetpid\n)R."
GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."


def archive(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


TORCH = [("m/data.pkl", GOOD), ("m/byteorder", b"little"), ("m/data/0", b"\0" * 16), ("m/version", b"3\n")]


def test_a_torch_archive_is_read_by_its_members():
    report = inspect_bytes(archive(TORCH), "m")
    assert (report.format, report.verdict, report.coverage.streams) == ("torch-zip", "inert", 1)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_the_call_and_its_place_are_reported(method):
    report = inspect_bytes(archive([("m/data.pkl", SYSTEM), ("m/version", b"3\n")], method), "m.pt")
    assert report.verdict == "dangerous"
    assert report.findings[0].call == "os.system('id')"
    assert report.findings[0].location.member == "m/data.pkl"
    assert report.findings[0].location.offset == SYSTEM.index(b"R.")


def test_cve_2025_1716_pip_main():
    data = b"\x80\x04\x8c\x03pip\x8c\x04main\x93](\x8c\x07install\x8c\x01xe\x85R."
    report = inspect_bytes(data, "model.pkl")
    assert report.verdict == "dangerous"
    assert report.findings[0].call == "pip.main(['install', 'x'])"


@pytest.mark.parametrize(
    "name", ["m/config.p", "m/data.txt", "m/.hidden", "m/data/7", "m/readme", "m/inner.pkl.bak"]
)
def test_cve_2025_1889_a_second_pickle_under_another_extension(name):
    assert inspect_bytes(archive([*TORCH, (name, EVIL)]), "m").verdict == "dangerous"


def test_cve_2025_1944_a_name_that_differs_between_directory_and_header():
    data = archive([("m/data.pkl", EVIL), ("m/version", b"3\n")])
    for offset in (data.index(b"m/data.pkl"), data.rindex(b"m/data.pkl")):
        twisted = data[:offset] + b"m/data.pk1" + data[offset + 10 :]
        report = inspect_bytes(twisted, "m")
        assert report.verdict == "dangerous"
        assert any("contradicts the directory" in finding.message for finding in report.findings)


@pytest.mark.parametrize("bit", [0, 5, 6, 13])
def test_cve_2025_1945_flag_bits(bit):
    data = bytearray(archive([("m/data.pkl", EVIL), ("m/version", b"3\n")]))
    for start in (6, data.index(b"PK\x01\x02") + 8):
        data[start : start + 2] = (1 << bit).to_bytes(2, "little")
    assert inspect_bytes(bytes(data), "m").verdict == "dangerous"


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.csv", "model", "model.safetensors"])
def test_cve_2025_10155_the_extension_means_nothing(name, tmp_path):
    (tmp_path / name).write_bytes(EVIL)
    assert inspect(tmp_path / name).verdict == "dangerous"


def test_cve_2025_10156_a_wrong_checksum():
    data = bytearray(archive([("m/data.pkl", EVIL), ("m/version", b"3\n")]))
    for start in (14, data.index(b"PK\x01\x02") + 16):
        data[start] ^= 0xFF
    report = inspect_bytes(bytes(data), "m")
    assert report.verdict == "dangerous"
    assert "zip.crc" in {finding.rule for finding in report.findings}


@pytest.mark.parametrize(
    "module", ["asyncio.unix_events", "asyncio.base_events", "os.path", "subprocess.os", "pip._internal"]
)
def test_cve_2025_10157_a_submodule_of_a_known_module(module):
    raw = module.encode()
    data = b"\x80\x04\x8c" + bytes([len(raw)]) + raw + b"\x8c\x05thing\x93)R."
    assert inspect_bytes(data, "m").verdict == "dangerous"


def test_duplicate_names_are_both_read():
    for pair in ((EVIL, GOOD), (GOOD, EVIL)):
        with pytest.warns(UserWarning, match="Duplicate"):
            data = archive([("m/data.pkl", pair[0]), ("m/data.pkl", pair[1])])
        assert inspect_bytes(data, "m").verdict == "dangerous"


def test_a_member_in_no_directory_is_read():
    hidden = archive([("m/data.pkl", EVIL)])
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    report = inspect_bytes(hidden + archive(TORCH), "m")
    assert report.verdict == "dangerous"
    assert any("in no directory" in finding.message for finding in report.findings)


def test_one_corrupt_member_does_not_hide_the_next():
    data = bytearray(
        archive([("m/a.pkl", GOOD * 50), ("m/data.pkl", EVIL), ("m/version", b"3")], zipfile.ZIP_DEFLATED)
    )
    start = data.index(b"m/a.pkl") + 7
    data[start : start + 4] = b"\xff\xff\xff\xff"
    report = inspect_bytes(bytes(data), "m")
    assert report.verdict == "dangerous"
    assert any("m/a.pkl" in text for text in report.coverage.unread)


def test_prefix_and_suffix_of_an_archive():
    for data in (
        b"#!/bin/sh\n" + archive([("m/data.pkl", EVIL)]),
        GOOD + archive([("m/data.pkl", EVIL)]),
        archive([("m/data.pkl", EVIL)]) + b"\0" * 9,
    ):
        assert inspect_bytes(data, "m").verdict == "dangerous"


@pytest.mark.parametrize("method", [9, 98, 99])
def test_an_unreadable_method_is_listed_and_not_inert(method):
    data = bytearray(archive(TORCH))
    for start in (8, data.index(b"PK\x01\x02") + 10):
        data[start : start + 2] = method.to_bytes(2, "little")
    report = inspect_bytes(bytes(data), "m")
    assert report.verdict == "unproven"
    assert report.coverage.unread == (f"m/data.pkl: zip compression method {method} cannot be read here",)


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        zlib.compress,
        lzma.compress,
        lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ],
)
def test_compressed_pickles(pack):
    assert inspect_bytes(pack(EVIL), "m").verdict == "dangerous"
    assert inspect_bytes(pack(GOOD), "m").verdict == "inert"
    assert inspect_bytes(pack(GOOD * 3 + b"\x80\x04" + b"N0" * 70_000 + EVIL[2:]), "m").verdict == "dangerous"


def test_two_compressed_members_after_each_other():
    assert inspect_bytes(gzip.compress(GOOD[:5]) + gzip.compress(GOOD[5:]), "m").verdict == "inert"
    assert inspect_bytes(gzip.compress(GOOD) + gzip.compress(EVIL), "m").verdict == "dangerous"


def test_a_truncated_compressed_file_is_not_inert():
    report = inspect_bytes(gzip.compress(b"\x80\x04(" + os.urandom(5000))[:3000], "m")
    assert report.verdict == "unproven"
    assert any("ends early" in text for text in report.coverage.unread)


def test_lz4_frames():
    content = GOOD[:-1] + b"0NN0N0N0"
    body = bytes([0xF0, len(content) - 15]) + content
    frame = (
        b"\x04\x22\x4d\x18\x60\x40\x82"
        + struct.pack("<I", len(body))
        + body
        + struct.pack("<I", 6 | 1 << 31)
        + b"0NN0N."
        + b"\0\0\0\0"
    )
    report = inspect_bytes(frame, "m")
    assert (report.format, report.coverage.streams) == ("joblib-compressed", 1)
    raw = b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<I", len(EVIL) | 1 << 31) + EVIL + b"\0\0\0\0"
    assert inspect_bytes(raw, "m").verdict == "dangerous"


def test_lz4_matches_overlap():
    from modelward.artifact.lz4 import decompress_frames

    block = bytes([0x1F]) + b"a" + b"\x01\x00" + bytes([255, 10]) + bytes([0x50]) + b"bcdef"
    frame = b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<I", len(block)) + block + b"\0\0\0\0"
    assert decompress_frames(frame, 10_000) == (b"a" * (1 + 15 + 255 + 10 + 4) + b"bcdef", None)
    assert decompress_frames(frame[:-12], 10_000)[1] is not None


def test_bombs_end_at_the_budget():
    limits = Limits(member=1 << 20, total=1 << 21)
    report = inspect_bytes(gzip.compress(b"\x80\x04" + b"N0" * (4 << 20) + b"N."), "m", limits=limits)
    assert report.verdict == "unproven"
    assert "more than 1048576 bytes" in report.coverage.unread[0]
    many = archive([(f"m/{i}.pkl", GOOD) for i in range(50)] + [("m/data.pkl", GOOD)])
    assert inspect_bytes(many, "m", limits=Limits(members=10)).verdict == "unproven"


def test_nesting_is_followed_to_its_limit():
    data = SYSTEM
    for _ in range(3):
        data = archive([("inner.zip", data)])
    assert inspect_bytes(data, "m").verdict == "dangerous"
    for _ in range(4):
        data = gzip.compress(data)
    assert inspect_bytes(data, "m").verdict == "dangerous"
    assert inspect_bytes(data, "m", limits=Limits(depth=4)).verdict == "unproven"
    layered = [SYSTEM]
    for _ in range(17):
        layered.append(gzip.compress(layered[-1]))
    assert inspect_bytes(layered[16], "m").verdict == "dangerous"
    report = inspect_bytes(layered[17], "m")
    assert report.verdict == "unproven"
    assert "compressed more than 16 times over" in report.coverage.unread[0]


def test_layers_of_changing_kinds_are_followed():
    data = SYSTEM
    for layer in range(9):
        if layer % 4 == 3:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as file:
                entry = tarfile.TarInfo("x")
                entry.size = len(data)
                file.addfile(entry, io.BytesIO(data))
            data = buffer.getvalue()
        else:
            data = (gzip.compress, bz2.compress, lzma.compress)[layer % 4](data)
    assert inspect_bytes(data, "m").verdict == "dangerous"


def test_trials_share_one_budget():
    """Raw data of a torch archive is read on trial; what that spends is spent, whatever comes of it."""
    inner = archive([(f"m/data/{i}", GOOD) for i in range(40)] + [("m/data.pkl", GOOD)])
    broken = inner[:-30]  # cut off, so that what the trial finds is dropped
    data = archive([(f"m/data/{i}", broken) for i in range(20)] + [("m/data.pkl", GOOD)])
    report = inspect_bytes(data, "m", limits=Limits(members=100))
    assert report.verdict == "unproven"
    assert any("more than 100 members" in sentence for sentence in report.coverage.unread)


def test_tar_members_are_read():
    for member, content, verdict in (("pickle", EVIL, "dangerous"), ("weights.pkl", GOOD, "inert")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
        report = inspect_bytes(buffer.getvalue(), "m")
        assert (report.format, report.verdict) == ("tar", verdict)


def test_object_arrays_in_npy_and_npz():
    def npy(descr, body):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body

    for descr in ("'|O'", "'O8'", "'object'", "[('a', '<f4'), ('b', 'O')]", "[('a', [('b', '|O')])]"):
        assert inspect_bytes(npy(descr, EVIL), "m").verdict == "dangerous"
        assert inspect_bytes(archive([("x.npy", npy(descr, EVIL))]), "m").verdict == "dangerous"
    assert inspect_bytes(npy("'<f8'", b"\0" * 8), "m").verdict is None
    assert inspect_bytes(npy("lambda: 0", b""), "m").verdict == "unproven"


def test_arrays_and_streams_behind_the_first():
    def npy(descr, body, shape="(1,)"):
        header = f"{{'descr': {descr}, 'fortran_order': True, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body

    for first in (
        npy("'<f8'", b"\0" * 8),
        npy("[('a', '<f4'), ('b', '<i2')]", b"\0" * 6),
        npy("'<U3'", b"\0" * 24, "(2,)"),
        npy("'|b1'", b"", "(0,)"),
    ):
        assert inspect_bytes(first, "m").verdict is None
        assert inspect_bytes(first + npy("'|O'", EVIL), "m").verdict == "dangerous"
        assert inspect_bytes(first + first + npy("'|O'", GOOD), "m").verdict == "inert"
    for gap in (bytes(64), b"# text follows\n", b"PK\x03\x04"):
        assert inspect_bytes(GOOD + gap + SYSTEM, "m").verdict == "dangerous"
        assert inspect_bytes(GOOD + gap + GOOD, "m").verdict == "inert"


def test_an_archive_behind_other_content():
    for archived in (archive([("a.txt", b"text")]), archive([("a.txt", b"text")])[:-2] + b"\x05\0hello"):
        report = inspect_bytes(GOOD + archived, "m")
        assert (report.format, report.verdict) == ("pickle", "unproven")


def test_an_archive_without_a_directory_is_read_by_its_headers():
    for content, verdict in ((EVIL, "dangerous"), (GOOD, "unproven")):
        data = archive([("m/data.pkl", content), ("m/version", b"3\n")])
        report = inspect_bytes(data[: data.index(b"PK\x01\x02") + 9], "m")
        assert (report.format, report.verdict) == ("zip", verdict)
        assert "the archive has no directory: it is truncated" in report.coverage.unread


def test_legacy_torch_payload_in_any_of_its_streams():
    magic = b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    streams = [magic, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", GOOD, b"\x80\x02]."]
    assert inspect_bytes(b"".join(streams) + os.urandom(64), "m").verdict == "inert"
    for index in range(1, 5):
        bad = [*streams[:index], EVIL, *streams[index + 1 :]]
        report = inspect_bytes(b"".join(bad), "m")
        assert (report.format, report.verdict) == ("torch-legacy", "dangerous")


def test_text_that_is_also_a_pickle():
    for data in (b"cos\ngetpid\n(tR.", b"(S'a,b'\nS'c,d'\nios\nsystem\n.", b"I1\n0cos\ngetpid\n(tR."):
        assert inspect_bytes(data, "table.csv").verdict == "dangerous"


def test_skops_schemas():
    import json

    def skops(node):
        return archive([("schema.json", json.dumps(node)), ("0.npy", b"x")])

    bad = {
        "__class__": "function",
        "__module__": "builtins",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
    }
    good = {
        "__class__": "LogisticRegression",
        "__module__": "sklearn.linear_model._logistic",
        "__loader__": "ObjectNode",
        "content": {},
    }
    new = {"__class__": "Net", "__module__": "mypkg", "__loader__": "ObjectNode", "content": {}}
    assert [inspect_bytes(skops(node), "m").verdict for node in (bad, good, new)] == [
        "dangerous",
        "inert",
        "unproven",
    ]


@pytest.mark.parametrize(
    "content",
    [b"", archive(TORCH)[:40], b"PAR1abc", b'\xff\0\0\0\0\0\0\0{"a":', b"\x08\x07\x12\x02ab\x3a\x90\x4eabc"],
)
def test_empty_and_truncated_files_are_refused(content, tmp_path):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(FileDamaged, match=r"empty|truncated"):
        inspect(tmp_path / "f")


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(FileMissing, match="nowhere"):
        inspect(tmp_path / "nowhere")
    with pytest.raises(FileMissing, match="not a regular file"):
        inspect(tmp_path)


def test_both_readings_of_an_archive():
    data = archive([("a", b"12345"), ("b", b"6789")])
    found = Archive(data)
    assert [(member.name, found.stored(member), member.hidden) for member in found.members] == [
        ("a", b"12345", False),
        ("b", b"6789", False),
    ]
    assert (found.oddities, found.complete) == ([], True)


def test_a_member_that_no_reader_proves_is_unproven(monkeypatch):
    """Silence of a reader is no proof: the member is named, and the archive is not inert."""
    from modelward.artifact.formats import table

    header = b'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    member = len(header).to_bytes(8, "little") + header + b"\0\0"
    data = archive([("a/w.safetensors", member)])
    assert inspect_bytes(data, "x.zip").verdict == "inert"
    monkeypatch.setattr(table, "readers", lambda kind: [])
    report = inspect_bytes(data, "x.zip")
    found = [finding for finding in report.findings if finding.rule == "artifact.unproven-member"]
    assert (report.verdict, [finding.location.member for finding in found]) == (
        "unproven",
        ["a/w.safetensors"],
    )
