"""Archives that readers understand differently: each reading that a loader takes is judged."""

from __future__ import annotations

import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib

import pytest

from modelward.artifact.names import Links
from modelward.artifact.npy import header
from modelward.artifact.verdict import inspect_bytes
from modelward.artifact.zipread import Archive

END = b"\0" * 1024


class Evil:
    def __reduce__(self):
        return os.mkdir, ("marker",)


EVIL = pickle.dumps(Evil(), 2)
BENIGN = pickle.dumps({"a": 1}, 2)


def block(name: bytes, size: int = 0, kind: bytes = b"0", link: bytes = b"", checksum=None) -> bytes:
    """One header of a tar archive."""
    raw = bytearray(512)
    raw[: len(name)] = name
    raw[100:108], raw[124:136] = b"0000644\0", b"%011o\0" % size
    raw[156:157], raw[157 : 157 + len(link)], raw[257:265] = kind, link, b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = checksum(sum(raw)) if checksum else b"%06o\0 " % sum(raw)
    return bytes(raw)


def member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return block(name, len(data), kind) + data + b"\0" * (-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    while len(text := b"%d %s=%s\n" % (size, key, value)) != size:
        size = len(text)
    return text


def rules(data: bytes, name: str = "model.pt") -> tuple[str | None, set[str]]:
    report = inspect_bytes(data, name)
    return report.verdict, {finding.rule for finding in report.findings}


@pytest.mark.parametrize("archive", [
    member(b"storages", EVIL) + END,
    member(b"x", record(b"path", b"storages/"), b"x") + member(b"storages/", EVIL) + END,
    member(b"storages/", EVIL) + END,
    member(b"x", record(b"path", b"storages"), b"x") + member(b"", EVIL) + END,
    block(b"storages", len(EVIL), checksum=lambda total: b"%#o\0\0" % total) + EVIL + END,
    block(b"storages", len(EVIL), checksum=lambda total: b"\x80" + total.to_bytes(7, "big")) + EVIL + END,
    member(b"x", record(b"size", b"none"), b"x") + member(b"readme", member(b"storages", EVIL)) + END,
    member(b"g", record(b"size", b"9216"), b"g") + member(b"readme", b"hello") + member(b"storages", EVIL) + END * 9,
])  # fmt: skip
def test_members_of_tar_are_found_as_python_finds_them(archive):
    assert rules(archive)[0] == "dangerous"


def test_python_reads_what_these_headers_say():
    archive = member(b"x", record(b"path", b"storages/"), b"x") + member(b"storages/", EVIL) + END
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.extractfile("storages")
        assert found is not None
        assert found.read() == EVIL
    odd = block(b"a", 1, checksum=lambda total: b"%#o\0\0" % total) + b"x" + b"\0" * 511 + END
    with tarfile.open(fileobj=io.BytesIO(odd)) as tar:
        assert tar.getnames() == ["a"]
    twice = (
        member(b"L", b"../up\0", b"L")
        + member(b"x", record(b"path", b"safe"), b"x")
        + member(b"y", b"z")
        + END
    )
    with tarfile.open(fileobj=io.BytesIO(twice)) as tar:
        assert tar.getnames() == ["../up"]


@pytest.mark.parametrize("headers", [
    member(b"g", record(b"path", b"safe"), b"g") + member(b"../up", b"hello"),
    member(b"L", b"../up\0", b"L") + member(b"x", record(b"path", b"safe"), b"x") + member(b"y", b"hello"),
    member(b"x", record(b"path", b"safe"), b"x") + member(b"L", b"../up\0", b"L") + member(b"y", b"hello"),
    member(b"x", b"2 " + record(b"path", b"../up"), b"x") + member(b"y", b"hello"),
    member(b"x", record(b"path", b"safe"), b"x") + member(b"../up", b"hello"),
])  # fmt: skip
def test_every_name_of_a_member_is_followed(headers):
    verdict, found = rules(headers + END)
    assert verdict == "dangerous"
    assert "archive.traversal" in found


@pytest.mark.parametrize("links", [
    [("a", "."), ("b", "a/..")], [("d/e/l", "../.."), ("m", "d/e/l/..")], [("a", "b"), ("b", "c/../..")],
])  # fmt: skip
def test_links_that_lead_out_together(links):
    blocks = b"".join(block(place.encode(), 0, b"2", target.encode()) for place, target in links)
    verdict, found = rules(blocks + member(f"{links[-1][0]}/x".encode(), b"hello") + END)
    assert verdict == "dangerous"
    assert "archive.link" in found
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for place, target in links:
            info = zipfile.ZipInfo(place)
            info.external_attr = 0o120777 << 16
            zipped.writestr(info, target)
    assert rules(out.getvalue(), "a.zip")[0] == "dangerous"


def test_links_that_stay_inside_are_inert():
    blocks = block(b"d/", 0, b"5") + block(b"d/a", 0, b"2", b"../b/c") + block(b"b/e", 0, b"2", b"../d/a/..")
    assert rules(blocks + member(b"d/a/x", b"hello\n") + END)[0] == "inert"
    circle = Links([("a", "b"), ("b", "a")])
    assert not circle.lead_out("a/x")
    assert Links([("a", "C:\\x")]).lead_out("a/x")
    assert not Links().lead_out("../x")


def test_a_header_for_all_members_that_says_nothing_of_their_place_is_inert():
    archive = (
        member(b"pax_global_header", record(b"comment", b"0" * 40), b"g") + member(b"a", b"hello\n") + END
    )
    assert rules(archive) == ("inert", set())
    assert "artifact.unread" in rules(member(b"g", b"9 comment", b"g") + member(b"a", b"hello\n") + END)[1]


@pytest.mark.parametrize(
    "magic", [b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"SQLite format 3", b"\x93NUMPY"]
)
def test_what_starts_as_something_else_and_is_a_tar_archive(magic):
    verdict, found = rules(member(magic, b"") + member(b"storages", EVIL) + END, "picture.png")
    assert verdict == "dangerous"
    assert "pickle.payload" in found


def test_a_picture_that_is_a_tar_archive_of_nothing_is_unproven():
    assert rules(member(b"GIF89a", b"") + END, "picture.gif") == ("unproven", {"tar.polyglot"})


def test_parts_of_an_old_checkpoint_are_files():
    archive = block(b"storages", 0, b"2", b"x") + member(b"x", BENIGN) + END
    assert rules(archive) == ("unproven", {"archive.link"})


def test_the_width_of_a_storage_is_not_taken_from_a_text():
    """The stream names a storage of 2 bytes and spells one of 8, so that a stream hides in what is skipped."""
    class_of = b"\x8c\x05torch\x8c\x0bHalfStorage\x93"
    arguments = b"\x80\x04K\x01X\x03\0\0\0cpuX\x15\0\0\0ctorch\nDoubleStorage\n0" + class_of + b"\x87."
    body = (2).to_bytes(8, "little") + b"\0" * 4 + EVIL.ljust(12, b"\0")
    storages = pickle.dumps(1, 2) + arguments + body + pickle.dumps([], 2)
    archive = (
        member(b"storages", storages)
        + member(b"tensors", pickle.dumps(0, 2))
        + member(b"pickle", BENIGN)
        + END
    )
    assert rules(archive)[0] in {"unproven", "dangerous"}


@pytest.mark.parametrize("descr", ["T", "O", "|O", "object_", "i4,O", "i4,T", "Object"])
def test_types_that_numpy_unpickles(descr):
    text = repr({"descr": descr, "fortran_order": False, "shape": (1,)}).encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + EVIL
    assert rules(data, "a.npy")[0] == "dangerous"


@pytest.mark.parametrize(
    "descr", ["<f4", "|b1", "<U7", "|S3", "<M8[ns]", "|V2", "float32", "datetime64[ns]", "<c16"]
)
def test_types_that_numpy_reads_as_they_are(descr):
    text = repr({"descr": descr, "fortran_order": False, "shape": (0,)}).encode().ljust(117) + b"\n"
    found = header(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
    assert found is not None
    assert not found.objects


def local(name: bytes, data: bytes) -> bytes:
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0)
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, *sizes) + name + data


def central(name: bytes, data: bytes, offset: int, comment: bytes = b"") -> bytes:
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0, len(comment), 0, 0, 0, offset)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, *sizes) + name + comment


def two_directories(*, far: bool) -> bytes:
    """PyTorch takes the directory at the stated offset, Python the one before the end (`far`: the reverse).

    The payload stands in the numbers of a storage, with local headers and a directory of its own.
    """
    filler = local(b"m/x", b"\1" * 300)
    good = local(b"m/data.pkl", BENIGN)
    at = len(filler) + len(good) + 30 + len(b"m/data/0") + 64
    evil = local(b"m/data.pkl", EVIL)
    hidden_at = at + len(evil)
    hidden = central(b"m/data.pkl", EVIL, at, b"c" * 60)
    blob = b"\1" * 64 + evil + hidden + b"\1" * 64
    start = len(filler) + len(good) + 30 + len(b"m/data/0") + len(blob)
    shift = start - hidden_at
    places = [(b"m/data.pkl", BENIGN, len(filler)), (b"m/data/0", blob, len(filler) + len(good))]
    shown = b"".join(central(name, data, place - shift) for name, data, place in places)
    shown = shown.ljust(len(hidden), b"\0") if len(shown) < len(hidden) else shown
    hidden_size = len(shown)
    body = filler + good + local(b"m/data/0", blob) + shown
    if not far:
        return body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, hidden_size, hidden_at, 0)
    record64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(hidden), hidden_at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body), 1)
    return body + record64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(shown), start, 0)


@pytest.mark.parametrize("far", [False, True])
def test_every_directory_that_a_reader_takes_is_read(far):
    assert rules(two_directories(far=far))[0] == "dangerous"


def test_a_directory_named_twice_is_read_once():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr("m/data.pkl", BENIGN)
    report = inspect_bytes(out.getvalue(), "m.pt")
    assert (report.verdict, report.coverage.members, report.findings) == ("inert", 1, ())


def as_torch_writes(name: bytes, *, off: int = 0, **said: int) -> bytes:
    """An archive with a zip64 record, as miniz ends every one; `said` is what the plain record says instead.

    The locator misses the record by `off` bytes.
    """
    body = local(name, BENIGN) + local(b"m/version", b"3\n")
    directory = central(name, BENIGN, 0) + central(b"m/version", b"3\n", len(local(name, BENIGN)))
    true = {"count": 2, "size": len(directory), "offset": len(body)}
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, *true.values())
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body) + len(directory) + off, 1)
    plain = {**true, **said}
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, plain["count"], *plain.values(), 0)
    return body + directory + record + locator + end


@pytest.mark.parametrize("said", [{}, {"size": 0xFFFFFFFF, "offset": 0xFFFFFFFF, "count": 0xFFFF}])
@pytest.mark.parametrize("length", range(20, 40))
def test_the_record_of_zip64_replaces_the_plain_one_that_agrees(length, said):
    """An entry with a name of 30 bytes is as long as the records between the directory and the plain record."""
    data = as_torch_writes(b"m" * (length - 9) + b"/data.pkl", **said)
    report = inspect_bytes(data, "m.pt")
    assert (report.verdict, report.coverage.members, report.findings) == ("inert", 2, ())


@pytest.mark.parametrize("said", [{"count": 1}, {"offset": 3}, {"off": 1}])
def test_a_plain_record_that_contradicts_is_read_too(said):
    """Java takes the plain record then, and the directory right before it: from the second entry on."""
    archive = Archive(as_torch_writes(b"m" * 21 + b"/data.pkl", **said))
    assert any("before the archive" in oddity for oddity in archive.oddities)


def test_saved_under_a_name_of_thirty_characters(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "tv_mobilenet_v3_small.pt"
    torch.save({"a": torch.ones(2)}, path)
    report = inspect_bytes(path.read_bytes(), path.name)
    assert (report.verdict, report.findings) == ("inert", ())


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, data)
    return out.getvalue()


FUNCTION = json.dumps(
    {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
).encode()
PLAIN = json.dumps(
    {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": '"a"'}
).encode()


def test_a_name_ends_at_a_zero_byte():
    assert zipfile.ZipFile(io.BytesIO(zipped({"schema.json\0x": FUNCTION}))).namelist() == ["schema.json"]
    assert rules(zipped({"schema.json\0x": FUNCTION}), "m.skops") == ("dangerous", {"skops.payload"})


def test_pytorch_ignores_case():
    code = b'def __setstate__(self, x):\n  torch.save(x, "f")\n'
    names = {"a/DATA.PKL": BENIGN, "a/CONSTANTS.PKL": BENIGN, "a/CODE/__torch__.PY": code}
    assert rules(zipped(names)) == ("dangerous", {"torchscript.operator"})


@pytest.mark.parametrize(
    "also", [{"schema.json": PLAIN}, {"p/constants.pkl": BENIGN}, {"p/code/x": b"x\n"}, {}]
)
@pytest.mark.parametrize("folder", [".data", ".DATA"])
def test_sources_of_a_package_count_whatever_else_the_archive_is(also, folder):
    members = {"p/res/obj.pkl": BENIGN, "p/collections.py": b"import os\nos.system('id')\n"}
    found = rules(zipped({**members, f"p/{folder}/extern_modules": b"os\n", **also}))
    assert found[0] == "dangerous"
    assert "shipped.payload" in found[1]


@pytest.mark.parametrize(
    "place", ["MAR-INF/MANIFEST.json", "./MAR-INF/MANIFEST.json", "a/../MAR-INF/MANIFEST.json"]
)
@pytest.mark.parametrize("also", [{}, {"schema.json": PLAIN}])
def test_a_manifest_counts_where_it_is_unpacked_to(place, also):
    manifest = json.dumps({"runtime": "python", "model": {"handler": "./h.py:go"}}).encode()
    found = rules(zipped({place: manifest, "h.py": b"import os\nos.system('id')\n", **also}), "m.mar")
    assert found[0] == "dangerous"
    assert "shipped.payload" in found[1]


def test_names_that_only_python_knows_are_judged_in_what_looks_like_torchscript():
    """`torch.load` reads an archive without constants.pkl in Python, whatever folders it has."""
    call = b"\x80\x02ctorch._utils\n_rebuild_from_type_v2\n(cbuiltins\neval\nctorch\nTensor\n(X\x01\0\0\x001t}tR."
    assert rules(zipped({"a/data.pkl": call, "a/code/x": b"x\n"}))[0] == "dangerous"


def test_types_of_keys_are_numbers_or_texts():
    def tree(types: object) -> bytes:
        node = {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "key_types": types}
        return zipped({"schema.json": json.dumps({**node, "content": {}, "protocol": 2}).encode()})

    def kept(module: str, name: str, loader: str = "TypeNode") -> dict[str, object]:
        listed = [{"__class__": name, "__module__": module, "__loader__": loader}]
        return {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": listed}

    assert rules(tree(kept("numpy", "float64")), "m.skops")[0] == "inert"
    assert rules(tree(kept("builtins", "int")), "m.skops")[0] == "inert"
    assert "skops.key-type" in rules(tree(kept("numpy", "genfromtxt", "FunctionNode")), "m.skops")[1]
    assert "skops.key-type" in rules(tree(kept("numpy.lib.npyio", "DataSource")), "m.skops")[1]
    cached = {"__class__": "list", "__module__": "builtins", "__loader__": "CachedNode", "__id__": 5}
    assert rules(tree(cached), "m.skops") == ("unproven", {"skops.key-type"})


def test_a_zip_archive_that_is_the_last_member_of_a_tar_is_its_member():
    assert rules(member(b"model.pt", zipped({"m/data.pkl": BENIGN})) + END) == (
        "inert",
        {"zip.appended", "zip.oddity"},
    )
    assert rules(member(b"model.pt", zipped({"m/data.pkl": EVIL})) + END)[0] == "dangerous"
    behind = member(b"a", b"hello\n") + END + zipped({"m/data.pkl": EVIL})
    assert rules(behind)[0] == "dangerous"


@pytest.mark.parametrize("window", [4096, 6144, 1 << 16, 3 << 15])
@pytest.mark.parametrize("bits", [0, 3])
def test_lzma_without_a_magic_number(window, bits):
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": window, "lc": bits}]
    packed = lzma.compress(EVIL, format=lzma.FORMAT_ALONE, filters=filters)
    assert rules(packed, "m.joblib")[0] == "dangerous"
    assert rules(zipped({"m.joblib": packed}), "m.zip")[0] == "dangerous"


def test_numbers_are_no_lzma():
    for content in (bytes(4096), b"\x5d" + bytes(4096), struct.pack("<64f", *range(64)) * 9):
        assert inspect_bytes(zipped({"a": content}), "a.zip").members[0].format != "compressed"


def test_members_that_are_a_bomb_together(monkeypatch):
    monkeypatch.setattr("modelward.artifact.compress.BOMB", 1 << 20)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(9):
            archive.writestr(str(index), bytes(1 << 18))
    report = inspect_bytes(out.getvalue(), "a.zip")
    assert report.verdict == "unproven"
    assert any("bomb" in sentence for sentence in report.coverage.unread)
