"""Files are read once, in parts, whatever is computed from them."""

from __future__ import annotations

import hashlib
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import ContentUnstable
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.reading import Spans, read_all
from modelward.vault.tree.walk import walk

MIB = 1 << 20


class Checksums:
    """A method of another kind than the package's own: CRC-32 of parts of any size."""

    def __init__(self, size):
        self.size = size
        self.threads = set()

    def parts(self, entry):
        return Spans(entry.stat.st_size, self.size)

    def part(self, entry, start, stop, read):
        self.threads.add(threading.get_ident())
        value = 0
        for at in range(start, stop, 1000):
            value = zlib.crc32(read(at, min(1000, stop - at)), value)
        return value.to_bytes(4, "big")


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_any_method(jobs, size, planted):
    files = {"a": b"", "b": bytes(range(50)), "c": hashlib.shake_128(b"c").digest(9000)}
    found = {}
    method = Checksums(size)
    entries = walk(planted(files))
    read_all(entries, method, lambda entry, results: found.setdefault(entry.path, results), jobs=jobs)
    for path, data in files.items():
        cuts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        assert found[path] == [zlib.crc32(cut).to_bytes(4, "big") for cut in cuts]


def test_a_small_tree_starts_no_thread(planted):
    method = Checksums(100)
    read_all(walk(planted({"a": bytes(5000), "b": b"1"})), method, lambda *_: None, jobs=8)
    assert method.threads == {threading.get_ident()}


def test_small_files_start_no_thread_however_many(planted):
    method = Checksums(MIB)
    top = planted({f"{n:04}": bytes(10) for n in range(500)})
    read_all(walk(top), method, lambda *_: None, jobs=8)
    assert method.threads == {threading.get_ident()}


def test_a_large_file_is_shared_by_threads(planted):
    method = Checksums(64 * 1024)
    barrier = threading.Barrier(2, timeout=20)
    real = method.part

    def part(*given):
        if not barrier.broken and barrier.n_waiting < 2 and len(method.threads) < 2:
            method.threads.add(threading.get_ident())
            barrier.wait()
        return real(*given)

    method.part = part
    read_all(walk(planted({"a": bytes(6 * MIB)})), method, lambda *_: None, jobs=2)
    assert len(method.threads) == 2


def test_a_file_is_done_only_when_it_did_not_change(planted):
    """What was computed from a file that grew is thrown away, not handed on."""
    top = planted({"a": bytes(6 * MIB)})
    done = []

    class Growing(Checksums):
        def part(self, *given):
            with (top / "a").open("ab") as stream:
                stream.write(b"x")
            return super().part(*given)

    with pytest.raises(ContentUnstable, match="a: changed"):
        read_all(walk(top), Growing(MIB), lambda entry, _: done.append(entry.path), jobs=2)
    assert not done


@given(length=st.integers(0, 200), size=st.integers(1, 60))
def test_spans_cover_a_file_without_gaps(length, size):
    spans = Spans(length, size)
    assert list(spans) == [(at, min(at + size, length)) for at in range(0, length, size)] or length == 0
    assert len(spans) == len(list(spans)) == max(1, -(-length // size))
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert spans[1:] == list(spans)[1:]
    assert all(0 < stop - start <= size for start, stop in spans) or length == 0
    with pytest.raises(IndexError):
        spans[len(spans)]


def test_thousands_of_files(planted, reference):
    files = {f"{n % 30:02}/{n:05}": b"%d" % n for n in range(3000)}
    top = planted(files)
    told = []
    options = TreeOptions(jobs=2, progress=lambda done, total: told.append(done))
    assert hash_tree(top, options).root == reference("sha256", files)
    assert told[-1] == sum(map(len, files.values()))
