"""Roots are those of the definition, whatever the threads; a file that changes is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import blake3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import ContentUnstable, FileMissing
from modelward.vault.tree.entries import tree_of
from modelward.vault.tree.hashing import TreeOptions, hash_shards, hash_tree
from modelward.vault.tree.leaves import FileHasher, Leaves, chunks_in
from modelward.vault.tree.walk import WalkOptions

MIB = 1 << 20
NAMES = st.text(st.sampled_from("abcxyz-_0"), min_size=1, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def some(size, seed=1):
    return hashlib.shake_128(b"%d" % seed).digest(size)


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7, 17 * MIB + 5])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_file_of_any_size(algorithm, size, jobs, planted, reference):
    files = {"weights.bin": some(size), "z/config.json": b"{}"}
    top = planted(files)
    tree = hash_tree(top, TreeOptions(algorithm=algorithm, jobs=jobs))
    assert tree.root == reference(algorithm, files)
    assert [(entry.path, entry.length) for entry in tree.entries] == [
        ("weights.bin", size),
        ("z/config.json", 2),
    ]
    assert tree.length == size + 2
    assert tree.digest == {algorithm: tree.root.split(":")[1]}


@given(
    files=st.dictionaries(PATHS, st.binary(max_size=40), min_size=1, max_size=8),
    algorithm=st.sampled_from(["sha256", "blake3"]),
    jobs=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_trees(files, algorithm, jobs, reference):
    """A name that is a folder for another file cannot be a file as well, so it is dropped."""
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    files = {path: data for path, data in files.items() if path not in folders}
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        tree = hash_tree(Path(folder), TreeOptions(algorithm=algorithm, jobs=jobs))
    assert tree.root == reference(algorithm, files)
    assert tree == tree_of(tree.entries[::-1], algorithm)


def test_parts_order_paths_and_not_bytes(planted, reference):
    """As text, "a.b" stands before "a/b"; by parts, the folder "a" comes first."""
    files = {"a/b": b"1", "a.b": b"2", "a-b/c": b"3", "B": b"4"}
    tree = hash_tree(planted(files))
    assert [entry.path for entry in tree.entries] == ["B", "a/b", "a-b/c", "a.b"]
    assert tree.root == reference("sha256", files)


def test_one_file_is_a_tree_of_its_name(planted, reference):
    top = planted({"net.onnx": b"net"})
    assert hash_tree(top / "net.onnx").root == reference("sha256", {"net.onnx": b"net"})


def test_name_length_and_place_are_bound(planted, tmp_path):
    """Each of these would share a root where leaves held content alone."""
    roots = set()
    for at, files in enumerate(
        [
            {"a": b"x" * 3},
            {"b": b"x" * 3},
            {"a": b"xx", "b": b"x"},
            {"a": b"x", "b": b"xx"},
            {"a/b": b"x" * 3},
        ]
    ):
        roots.add(hash_tree(planted(files, f"t{at}")).root)
    assert len(roots) == 5


def test_swapped_chunks_change_the_root(planted):
    first, second = some(MIB, 1), some(MIB, 2)
    one = hash_tree(planted({"w": first + second}, "one"))
    two = hash_tree(planted({"w": second + first}, "two"))
    assert one.root != two.root


def test_empty_folders_are_no_part(planted, reference):
    top = planted({"a": b"1"})
    (top / "empty").mkdir()
    assert hash_tree(top).root == reference("sha256", {"a": b"1"})


@pytest.mark.parametrize(
    ("algorithm", "peer"),
    [("sha256", hashlib.sha256), ("blake2b", hashlib.blake2b), ("blake3", blake3.blake3)],
)
def test_whole_files(algorithm, peer, planted):
    files = {"big": some(5 * MIB + 3), "empty": b"", "z/small": b"abc"}
    found = list(hash_shards(planted(files), algorithm, 0, TreeOptions(jobs=3)))
    assert found == [(path, 0, len(data), peer(data).digest()) for path, data in files.items()]


def test_shards(planted):
    data = some(5000)
    top = planted({"a": data, "empty": b""})
    found = list(hash_shards(top, "sha256", 2048))
    cuts = [(0, 2048), (2048, 4096), (4096, 5000)]
    assert found == [
        *(("a", start, stop, hashlib.sha256(data[start:stop]).digest()) for start, stop in cuts),
        ("empty", 0, 0, hashlib.sha256().digest()),
    ]


@given(
    data=st.binary(max_size=64),
    cuts=st.lists(st.integers(0, 3 * MIB), max_size=6),
    size=st.sampled_from([0, 1, MIB, MIB + 1, 3 * MIB]),
    algorithm=st.sampled_from(["sha256", "blake3"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_of_any_size(data, cuts, size, algorithm, file_root):
    content = (data + b"-" * size)[:size]
    hasher = FileHasher(algorithm, "w", size)
    edges = sorted({0, size, *(min(cut, size) for cut in cuts)})
    for start, stop in zip(edges, [*edges[1:], size], strict=True):
        hasher.update(content[start:stop])
    assert hasher.root() == file_root(algorithm, "w", content)


def test_a_hasher_refuses_another_length():
    hasher = FileHasher("sha256", "w", 3)
    hasher.update(b"ab")
    with pytest.raises(ValueError, match="shorter than 3"):
        hasher.root()
    with pytest.raises(ValueError, match="longer than 3"):
        hasher.update(b"cd")
    with pytest.raises(ValueError, match="longer than 0"):
        FileHasher("sha256", "w", 0).update(b"x")


def test_leaves_refuse_a_chunk_of_another_place():
    leaves = Leaves("sha256", "w", MIB + 2)
    assert leaves.count == chunks_in(MIB + 2) == 2
    leaves.leaf(1, b"ab")
    for index, chunk in [(0, b"ab"), (1, b"abc"), (2, b""), (-1, b"ab")]:
        with pytest.raises(ValueError, match="are not chunk"):
            leaves.leaf(index, chunk)
    with pytest.raises(ValueError, match="1 leaves are not the 2"):
        leaves.root([leaves.leaf(1, b"ab")])


def test_progress_ends_at_the_total(planted):
    told = []
    top = planted({"a": some(20 * MIB), "b": b"xyz", "c": b""})
    hash_tree(top, TreeOptions(jobs=2, progress=lambda done, total: told.append((done, total))))
    assert told[-1] == (20 * MIB + 3, 20 * MIB + 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("size", [0, 2 * MIB])
def test_progress_moves_within_one_file(planted, size):
    """Of one large file that is hashed as a whole a bar would otherwise jump from nothing to the end."""
    top = planted({"w.bin": some(9 * MIB)})
    told = []
    hash_shards(
        top, "sha256", size, TreeOptions(jobs=1, progress=lambda done, total: told.append((done, total)))
    )
    assert told[-1] == (9 * MIB, 9 * MIB)
    assert len(told) >= 9
    assert told == sorted(told)


def test_what_the_progress_raises_comes_out(planted):
    def report(_done, _total):
        raise RuntimeError("stop")

    top = planted({"a": some(20 * MIB)})
    with pytest.raises(RuntimeError, match="stop"):
        hash_tree(top, TreeOptions(jobs=3, progress=report))


class Meddler:
    """A progress callback that does something once, while the file is being hashed."""

    def __init__(self, act):
        self.act, self.done = act, False

    def __call__(self, _done, _total):
        if not self.done:
            self.done = True
            self.act()


def grow(path):
    with path.open("ab") as stream:
        stream.write(b"more")


def shrink(path):
    os.truncate(path, 100)


def overwrite(path):
    with path.open("r+b") as stream:
        stream.seek(19 * MIB)
        stream.write(b"other")


def touch(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("act", [grow, shrink, overwrite, touch])
@pytest.mark.parametrize(
    "call", [hash_tree, lambda top, options: hash_shards(top, "sha256", 4 * MIB, options)]
)
def test_a_file_that_changes_while_it_is_hashed(act, call, planted):
    top = planted({"w.bin": some(20 * MIB)})
    options = TreeOptions(jobs=1, progress=Meddler(lambda: act(top / "w.bin")))
    with pytest.raises(ContentUnstable, match=r"w\.bin"):
        call(top, options)


def test_a_file_that_is_replaced_after_the_walk(planted):
    """Another inode under the same name, and a pipe, which must not make the reader wait."""
    top = planted({"a": b"1" * 5 * MIB, "b": b"2", "c": b"3"})

    def swap():
        (top / "b.new").write_bytes(b"2")
        (top / "b.new").replace(top / "b")

    with pytest.raises(ContentUnstable, match="b: changed"):
        hash_tree(top, TreeOptions(jobs=1, progress=Meddler(swap)))

    def pipe():
        (top / "b").unlink()
        os.mkfifo(top / "b")

    (top / "b.new").unlink(missing_ok=True)
    with pytest.raises(ContentUnstable, match="b: changed"):
        hash_tree(top, TreeOptions(jobs=1, progress=Meddler(pipe)))


def test_a_file_that_becomes_a_link_after_the_walk(planted, tmp_path):
    top = planted({"a": b"1" * 5 * MIB, "b": b"2"})
    (tmp_path / "secret").write_bytes(b"2")

    def link():
        (top / "b").unlink()
        (top / "b").symlink_to(tmp_path / "secret")

    with pytest.raises(FileMissing, match="b: too many levels"):
        hash_tree(top, TreeOptions(jobs=1, progress=Meddler(link)))


def test_a_file_that_goes_away_after_the_walk(planted):
    top = planted({"a": b"1" * 5 * MIB, "b": b"2"})
    with pytest.raises(FileMissing, match="b: no such file"):
        hash_tree(top, TreeOptions(jobs=1, progress=Meddler((top / "b").unlink)))


def test_a_file_that_may_not_be_read(planted, monkeypatch):
    top = planted({"a": b"1", "d/b": b"2"})
    real = os.open

    def refuse(path, *more, **named):
        if str(path).endswith("d/b"):
            raise PermissionError(13, "Permission denied")
        return real(path, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    for call in (hash_tree, lambda top: hash_shards(top, "sha256", 0)):
        with pytest.raises(FileMissing, match="d/b: permission denied"):
            call(top)


def test_a_disk_that_fails(planted, monkeypatch):
    top = planted({"a": b"1" * 5 * MIB})
    real = os.preadv

    def broken(handle, buffers, offset):
        if offset >= 2 * MIB:
            raise OSError(5, "Input/output error")
        return real(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(FileMissing, match=f"a: input/output error at byte {2 * MIB}"):
        hash_tree(top)


def test_short_reads_are_read_on(planted, monkeypatch, reference):
    files = {"a": some(2 * MIB + 9)}
    top = planted(files)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda h, b, o: real(h, [b[0][: max(1, len(b[0]) // 2)]], o))
    assert hash_tree(top).root == reference("sha256", files)


def test_every_file_is_opened_once_and_closed(planted, monkeypatch):
    top = planted({"a": some(20 * MIB), "b": b"1", "c": b""})
    opened, real = [], os.open

    def spy(path, *more, **named):
        opened.append(Path(path).name)
        return real(path, *more, **named)

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "open", spy)
    hash_tree(top, TreeOptions(jobs=2))
    assert sorted(name for name in opened if name in {"a", "b", "c"}) == ["a", "b", "c"]
    with pytest.raises(ContentUnstable):
        hash_tree(top, TreeOptions(jobs=2, progress=Meddler(lambda: grow(top / "a"))))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sparse_file_is_one_of_zeros(tmp_path, file_root):
    size = 96 * MIB + 11
    with (tmp_path / "w").open("wb") as stream:
        os.truncate(stream.fileno(), size)
    tree = hash_tree(tmp_path / "w", TreeOptions(algorithm="blake3", jobs=2))
    assert tree.entries[0].root == file_root("blake3", "w", bytes(size)).hex()


MEMORY = """
import sys
from pathlib import Path
from modelward.vault.tree.hashing import TreeOptions, hash_tree
print(hash_tree(Path(sys.argv[1]), TreeOptions(algorithm="blake3", jobs=4)).length)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_little_memory_at_any_size(tmp_path):
    """A gigabyte, none of them on the disk; the peak is the interpreter and four buffers."""
    size = 1 << 30
    with (tmp_path / "w").open("wb") as stream:
        os.truncate(stream.fileno(), size)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "w"], capture_output=True, text=True, check=True
    )
    length, peak = map(int, done.stdout.split())
    assert length == size
    assert peak < 100_000  # kibibytes


def test_patterns_and_exclusions_reach_the_walk(planted, reference):
    top = planted({"a": b"1", "a.sig": b"2", "b.tmp": b"3"})
    options = TreeOptions(ignore=("*.tmp",), excluded=(top / "a.sig",))
    assert hash_tree(top, options).root == reference("sha256", {"a": b"1"})
    assert [found.path for found in hash_shards(top, "sha256", 0, options)] == ["a"]
    assert WalkOptions() == WalkOptions(ignore=(), excluded=(), links=False)


def test_an_empty_shard_size_is_the_whole_file(planted):
    top = planted({"a": some(3000)})
    assert list(hash_shards(top, "blake2b", 0)) == [("a", 0, 3000, hashlib.blake2b(some(3000)).digest())]
    assert len(list(hash_shards(top, "blake2b", 1))) == 3000
