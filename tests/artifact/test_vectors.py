"""Every class of bypass, by the vectors that tests/vectors builds: none is clean, and payloads are named as such."""

import contextlib
import io
import pickle
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from modelward.artifact.verdict import inspect_bytes
from modelward.errors import InputError

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
from vectors import advisories, asm, containers, pickles, writers  # noqa: E402 - scripts beside the tests, no package

DOCUMENT = TESTS.parent / "docs" / "scan-bypasses.md"
ALL = [*pickles.vectors(), *containers.vectors(), *advisories.vectors()]
CLASSES = defaultdict(list)
for _vector in ALL:
    CLASSES[_vector.label].append(_vector)


def verdict(vector):
    try:
        return inspect_bytes(vector.data, vector.file).verdict
    except InputError:
        return "error"


@pytest.mark.parametrize("label", sorted(CLASSES))
def test_no_vector_is_clean_and_payloads_are_dangerous(label):
    wrong = []
    for vector in CLASSES[label]:
        found = verdict(vector)
        sure = vector.expect == "dangerous" and label != "unknown-gadget"
        allowed = {"dangerous"} if sure else {"dangerous", "unproven", "error"}
        if found not in allowed:
            wrong.append((vector.name, vector.expect, found))
    assert wrong == []


def test_most_unknown_gadgets_are_dangerous_by_what_they_are_given():
    """What is unknown is unproven at the least; more is an inference from names and arguments."""
    payloads = [vector for vector in CLASSES["unknown-gadget"] if vector.expect == "dangerous"]
    assert 2 * sum(verdict(vector) == "dangerous" for vector in payloads) >= len(payloads)


@pytest.mark.parametrize("suffix", ["", ".txt", ".png"])
def test_the_name_of_a_file_hides_nothing(suffix):
    wrong = [
        vector.name
        for vector in CLASSES["unknown-gadget"] + CLASSES["torch-zip"] + CLASSES["joblib-array"]
        if verdict(vector._replace(file="weights" + suffix)) not in {"dangerous", "unproven"}
    ]
    assert wrong == []


def test_each_class_has_its_line_and_each_line_its_class():
    lines = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert Counter(lines) == Counter(set(CLASSES))


def test_each_line_names_what_the_scanner_does_and_the_script():
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            _, _, does, script, _ = line.split("|")
            assert len(does) > 30
            assert (TESTS / "vectors" / f"{script.strip()}.py").exists()


def test_the_vectors_are_the_same_each_time():
    again = [*pickles.vectors(), *containers.vectors(), *advisories.vectors()]
    assert [vector.name for vector in again] == [vector.name for vector in ALL]
    assert all(
        one.data == two.data for one, two in zip(ALL, again, strict=True) if one.label != "CVE-2025-9905"
    )


def test_the_names_within_a_class_differ():
    assert [pair for pair, n in Counter((vector.label, vector.name) for vector in ALL).items() if n > 1] == []


def test_payloads_are_inert():
    hosts = rb"https?://(?!127\.0\.0\.1:1/)[a-z]"
    for vector in ALL:
        assert not re.search(hosts, vector.data), vector.name
        assert not re.search(rb"rm -|curl|wget|/bin/sh|chmod|\.ssh", vector.data), vector.name


BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError,
    struct.error, MemoryError,
)  # fmt: skip


class Ended(Exception):
    """What a stub raises instead of doing anything."""


def recorder(base, seen):
    """An unpickler that hands out stubs for every name, and notes which are called."""

    def stub(module, name):
        def note(*arguments, **more):
            seen.append((module, name))
            return made()

        def made():
            return type(
                "Stub",
                (),
                {
                    "__new__": lambda cls, *a, **k: note(*a) or object.__new__(cls),
                    "__init__": lambda self, *a, **k: None,
                    "__call__": lambda self, *a, **k: note(*a) and None,
                },
            )

        return made()

    class Recorder(base):
        def find_class(self, module, name):
            return stub(module, name)

        def persistent_load(self, value):
            return value

        def get_extension(self, code):
            raise Ended

    return Recorder


# A resolver of names gives a stub here, so what it would resolve is not reached: the first call is what counts.
@pytest.mark.parametrize("base", [pickle.Unpickler, pickle._Unpickler], ids=["C", "Python"])
@pytest.mark.parametrize("label", ["unknown-gadget", "memo-confusion", "escaped-name", "inst", "obj", "dup", "pop", "payload-before-broken-end", "payload-before-truncated-end", "every-opcode"])  # fmt: skip
def test_the_payloads_are_reached_by_cpythons_unpicklers(label, base):
    idle = []
    for vector in CLASSES[label]:
        if vector.expect != "dangerous" or vector.name in {"buffer", "readonly buffer"}:
            continue
        seen = []
        with contextlib.suppress(*BROKEN):
            recorder(base, seen)(io.BytesIO(vector.data)).load()
        if not seen:
            idle.append(vector.name)
    assert idle == []


def test_stored_frames_and_archives_are_read_by_the_real_readers():
    import bz2
    import lzma
    import tarfile
    import zipfile

    data = asm.payload()
    assert bz2.decompress(bz2.compress(data)) == lzma.decompress(lzma.compress(data)) == data
    with zipfile.ZipFile(
        io.BytesIO(writers.archive(writers.Member("a/b", data), writers.Member("c", data, method=8)))
    ) as file:
        assert file.testzip() is None
        assert file.read("c") == data
    with tarfile.open(fileobj=io.BytesIO(writers.tar({"a": data}, links={"b": "a"}))) as file:
        assert file.getnames() == ["a", "b"]


@pytest.mark.parametrize("size", [0, 1, 65536, 200000])
def test_frames_written_by_hand_are_those_of_the_libraries(size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    lz4 = pytest.importorskip("lz4.frame", reason="lz4 is the reference of the hand-written frame")
    zstandard = pytest.importorskip(
        "zstandard", reason="zstandard is the reference of the hand-written frame"
    )
    assert lz4.decompress(writers.lz4(data)) == data
    assert zstandard.ZstdDecompressor().decompress(writers.zstd(data)) == data


def test_the_7z_written_by_hand_is_one(tmp_path):
    program = shutil.which("7zz") or shutil.which("7z")
    if program is None:
        pytest.skip("the program 7zz, the format's own, is absent")
    (tmp_path / "m.7z").write_bytes(writers.seven("m.pkl", b"x" * 500))
    subprocess.run([program, "x", "-bso0", "-bsp0", "m.7z"], cwd=tmp_path, check=True)
    assert (tmp_path / "m.pkl").read_bytes() == b"x" * 500


def test_benign_streams_of_the_assembler_load():
    for version in range(6):
        assert pickle.loads(asm.benign(version)) == {"layer.weight": [1, 2, 3], "layer.bias": 4}
