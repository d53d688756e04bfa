"""Data that no loader runs: recognised by more than its mark, and never in place of what carries code."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.signs import passive
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect, inspect_bytes

EVIL = b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R."


def faiss(code=b"IxF2", dimension=8, count=2, constant=1 << 20, rest=b""):
    head = struct.pack("<4siqqq?i", code, dimension, count, constant, constant, True, 1)
    return head + struct.pack("<q", dimension * count) + b"\x3f" * 4 * dimension * count + rest


def annoy(items=4, roots=2, floats=3):
    def node(descendants):
        return struct.pack("<iii", descendants, 0, 0) + struct.pack("<f", 0.5) * floats

    return node(1) * items + node(3) + node(items) * roots


def pieces(*words):
    def part(word):
        inner = b"\n" + bytes([len(word)]) + word + b"\x15" + struct.pack("<f", -1.0)
        return b"\n" + bytes([len(inner)]) + inner

    return b"".join(map(part, words)) + b"\x12\x04\x10\x02\x20\x05"


def words(*names, size=3):
    return b"%d %d\n" % (len(names), size) + b"".join(
        name + b" " + b"\x01\x02\x03\xbf" * size for name in names
    )


STORE = b"\x0c\xdb\x3a\x2a" + struct.pack("<q", 40) + b"\0" * 28
REAL = {
    "vector-index": [faiss(), faiss(b"IwFl"), struct.pack("<4siiq?i", b"IBxF", 64, 8, 1, True, 1) + b"\0" * 20, annoy()],
    "word-vectors": [
        b"\xba\x16\x4f\x2f\x0c\0\0\0" + b"\x05\0\0\0" * 12,
        b"mmap lm http://kheafield.com/code format version 5\n\0" + b"\0" * 40,
        words(b"the", b"fox"),
    ],
    "tokenizer-model": [pieces(b"<unk>", b"<s>", b"</s>", b"a")],
    "ctranslate2": [b"\x06\0\0\0\x10\0TransformerSpec\0\x07\0\0\0" + b"\xff" * 9],
    "array-store": [STORE, STORE.replace(b"\x3a\x2a", b"\x20\xde")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for kind, several in REAL.items() for data in several]
)
def test_each_is_known_and_passive(kind, data):
    report = inspect_bytes(data, "model.bin")
    assert (report.format, report.verdict) == (kind, None)


@pytest.mark.parametrize(
    "data",
    [
        faiss(constant=1 << 19),
        faiss(dimension=0),
        faiss(b"1xF2"),
        struct.pack("<4siiq?i", b"IBxF", 64, 9, 1, True, 1) + b"\0" * 20,
        annoy()[:-4],
        annoy(items=1, roots=1)[24:],
        words(b"the", b"fox")[:-6],
        words(b"th\0", b"fox"),
        pieces(b"a", b"b").replace(b"\x15", b"\x0d"),
        pieces(),
        b"\x06\0\0\0\x11\0TransformerSpec\0\xff\0",
        b"\x06\0\0\0\x06\0Model\0\xff\0\0\0",
        STORE[:-1] + b"",
        b"\xba\x16\x4f\x2f\x7c\0\0\0\0",
    ],
)
def test_a_mark_alone_is_not_enough(data):
    assert inspect_bytes(data, "model.bin").verdict == "unproven"


def test_lists_in_another_file_are_unproven():
    """faiss opens the file that an index names."""
    lists = b"ilar" + b"ilod" + struct.pack("<QQ", 16, 32)
    report = inspect_bytes(faiss(b"IwFl", rest=lists), "x.index")
    assert (report.verdict, report.findings[0].rule) == ("unproven", "faiss.on-disk")
    other = faiss(b"IwFl", rest=b"ilod" + b"\xff" * 16 + b"ilod")
    assert inspect_bytes(other, "x.index").verdict is None


@pytest.mark.parametrize("data", [part for several in REAL.values() for part in several])
def test_an_archive_or_pickle_behind_the_mark_is_found(data, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("archive/data.pkl", EVIL)
    report = inspect_bytes(data + (tmp_path / "z").read_bytes(), "model.bin")
    assert report.verdict == "dangerous"


@given(st.binary(max_size=200))
def test_noise_raises_nothing(data):
    for start in (b"", b"IxF2", b"\n\x0e\n", b"2 3\n", b"\1\0\0\0", b"\x06\0\0\0"):
        whole = start + data
        if whole:
            assert passive.sign(whole, whole) is None or sniff(whole).format


# --- numbers that a file beside or around them describes -------------------------------------------------------------

NOISE = b"\xfe\0\x91\xff\x07\0" * 30


def laid(root, **files):
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("number", "partner", "text"),
    [
        ("d/" + "0af3" * 8, "manifest.ocdbt", STORE),
        ("w/0.0", "w/.zarray", b'{"dtype": "<f4"}'),
        ("w/0/1", "w/.zarray", b'{"dtype": "<f4"}'),
        ("w/c/0/0", "w/zarr.json", b'{"node_type": "array"}'),
        ("w/0/0", "w/attributes.json", b'{"dimensions": [2]}'),
        ("1_1_1/0-4_0-4_0-4", "info", b'{"scales": []}'),
        ("m.bin", "m.param", b"7767517\n3 3\nInput x 0 1 x\n"),
        ("m.tnnmodel", "m.tnnproto", b'"1 2 1 4206624772 ,"\n'),
        ("x.mlmodelc/coremldata.bin", "x.mlmodelc/model.mil", b"program(1.0)\n[buildInfo = 1]"),
        ("x.mlmodelc/analytics/coremldata.bin", "x.mlmodelc/model.mil", b"program(1.0)\n[buildInfo = 1]"),
        ("x.mlmodelc/model.espresso.weights", "x.mlmodelc/model.espresso.net", b'{"layers": []}'),
    ],
)
def test_numbers_by_what_describes_them(tmp_path, number, partner, text):
    path = laid(tmp_path, **{number: NOISE}) / number
    assert inspect(path).verdict == "unproven"
    laid(tmp_path, **{partner: text})
    assert (inspect(path).format, inspect(path).verdict) == ("raw-numbers", None)
    path.write_bytes(EVIL)
    assert inspect(path).verdict == "dangerous"
    laid(tmp_path, **{partner: b"\xff\xfe\xfd"})
    path.write_bytes(NOISE)
    assert inspect(path).verdict == "unproven"


@pytest.mark.parametrize("codec", ["pickle", "|O", "\\u0070ickle"])
def test_chunks_of_objects_are_no_numbers(tmp_path, codec):
    laid(tmp_path, **{"w/0": NOISE, "w/.zarray": b'{"filters": [{"id": "%s"}]}' % codec.encode()})
    assert inspect(tmp_path / "w/0").verdict == "unproven"


def test_compressed_chunks_are_numbers_unless_they_are_more(tmp_path):
    import gzip
    import tarfile

    root = laid(tmp_path, **{"w/.zarray": b"{}", "w/0": gzip.compress(NOISE), "w/1": gzip.compress(EVIL)})
    assert inspect(root / "w/0").verdict is None
    assert inspect(root / "w/1").verdict == "dangerous"
    laid(root, **{"bad.pkl": EVIL})
    with tarfile.open(root / "w/2", "w:gz") as tar:
        tar.add(root / "bad.pkl", "bad.pkl")
    assert inspect(root / "w/2").verdict == "dangerous"


# --- archives one behind the other -------------------------------------------------------------------------------------


def _saved(content, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return (tmp_path / "z").read_bytes()


@pytest.mark.parametrize("bad", [None, 0, 1, 2, 39])
def test_each_of_many_archives_is_read(tmp_path, bad):
    """As torch.distributed.checkpoint writes `.distcp` files."""
    parts = [_saved(EVIL if at == bad else b"\x80\x04K%c." % at, tmp_path) for at in range(40)]
    report = inspect_bytes(b"".join(parts), "__0_0.distcp")
    assert report.verdict == ("inert" if bad is None else "dangerous")
    assert report.format == "torch-zip"
    assert not report.coverage.unread
