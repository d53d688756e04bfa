"""The cache may be lost, stale, forged or half written; what was hashed is right all the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelward.core.home import state_folder
from modelward.vault.tree import cache as module
from modelward.vault.tree import hashing
from modelward.vault.tree.cache import cache_for
from modelward.vault.tree.hashing import TreeOptions, hash_shards, hash_tree

MIB = 1 << 20
OLD = 1_600_000_000_123_456_789


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def settle(monkeypatch):
    """Let every file count as written long ago, since a test has no second to wait."""
    monkeypatch.setattr(module, "_TICK", -(1 << 62))
    monkeypatch.setattr(module, "_SECONDS", -(1 << 62))


KINDS = {
    "tree-sha256": hash_tree,
    "files-sha256": lambda top, options: list(hash_shards(top, "sha256", 0, options)),
    "shards-3-blake2b": lambda top, options: list(hash_shards(top, "blake2b", 3, options)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """What is hashed; all are remembered in one way."""
    return request.param


@pytest.fixture
def expected(kind, reference):
    """What {path: bytes} hash to, straight from the definitions."""

    def shards(files, size, begin):
        for path, data in files.items():
            for start in range(0, len(data) or 1, size):
                part = data[start : start + size]
                yield path, start, start + len(part), begin(part).digest()

    def compute(files):
        if kind == "tree-sha256":
            return reference("sha256", files)
        return list(
            shards(files, 3, hashlib.blake2b) if "shards" in kind else shards(files, 99, hashlib.sha256)
        )

    return compute


@pytest.fixture
def ask(kind, monkeypatch):
    """Hash with the cache; gives what was found, the paths that were read, and the sentences."""
    real = hashing.read_all

    def run(top, as_kind=kind, **options):
        read, said = [], []

        def spy(entries, *more, **named):
            read.extend(entry.path for entry in entries)
            return real(entries, *more, **named)

        monkeypatch.setattr(hashing, "read_all", spy)
        found = KINDS[as_kind](top, TreeOptions(cache=True, warn=said.append, **options))
        monkeypatch.setattr(hashing, "read_all", real)
        return found.root if as_kind == "tree-sha256" else found, read, said

    return run


def test_an_unchanged_tree_is_not_read(planted, ask, settle, expected):
    files = {"a": b"1", "b/c": b"2"}
    top = planted(files)
    assert ask(top) == (expected(files), ["a", "b/c"], [])
    assert ask(top) == (expected(files), [], [])


def test_only_what_changed_is_read(planted, ask, settle, expected):
    top = planted({"README": b"old", "w": b"weights", "gone": b""})
    ask(top)
    (top / "README").write_bytes(b"new")
    (top / "gone").unlink()
    (top / "added").write_bytes(b"+")
    root, read, _ = ask(top)
    assert read == ["README", "added"]
    assert root == expected({"README": b"new", "added": b"+", "w": b"weights"})
    assert ask(top)[1] == []


def test_paranoid_reads_everything(planted, ask, settle):
    top = planted({"a": b"1", "b": b"2"})
    ask(top)
    assert ask(top, paranoid=True)[1] == ["a", "b"]
    assert ask(top)[1] == []


def test_paranoid_tells_of_what_the_times_did_not(planted, ask, settle, kind):
    """A rotten bit, or a write through a mapping, as if the cache held what was there before."""
    top = planted({"a": b"1"})
    root, _, _ = ask(top)
    (entry,) = hashing.walk(top)
    module.Cache(top, kind, print).replace([(entry, bytes(64 if "blake2b" in kind else 32))])
    assert ask(top)[0] != root
    found, _, said = ask(top, paranoid=True)
    assert found == root
    assert said == ["a: has other content than before, though its times say it was not written"]
    assert ask(top) == (root, [], [])


def same_size(path):
    path.write_bytes(b"x" * path.stat().st_size)


def mtime_put_back(path):
    found = path.stat()
    path.write_bytes(b"y" * found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def replaced_by_a_copy(path):
    found = path.stat()
    path.with_name("tmp").write_bytes(b"z" * found.st_size)
    path.with_name("tmp").replace(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def mode_changed(path):
    path.chmod(0o600 if path.stat().st_mode & 0o077 else 0o644)


@pytest.mark.parametrize("act", [same_size, mtime_put_back, replaced_by_a_copy, mode_changed])
def test_whatever_touches_a_file_has_it_read_again(act, planted, ask, settle, expected):
    top = planted({"a": b"1234", "b": b"2"})
    ask(top)
    act(top / "a")
    root, read, _ = ask(top)
    assert read == ["a"]
    assert root == expected({"a": (top / "a").read_bytes(), "b": b"2"})


def test_two_files_that_change_places(planted, ask, settle, expected):
    top = planted({"a": b"1", "b": b"2"})
    ask(top)
    (top / "a").rename(top / "t")
    (top / "b").rename(top / "a")
    (top / "t").rename(top / "b")
    root, read, _ = ask(top)
    assert read == ["a", "b"]
    assert root == expected({"a": b"2", "b": b"1"})


def test_a_file_just_written_is_not_remembered(planted, ask):
    """A second write in the same tick would leave the same times."""
    top = planted({"new": b"1", "old": b"2"})
    time.sleep(0.12)
    (top / "new").write_bytes(b"3")
    ask(top)
    assert ask(top)[1] == ["new"]
    time.sleep(0.12)
    assert ask(top)[1] == ["new"]
    assert ask(top)[1] == []


def stamped(size=1, mtime=OLD, ctime=OLD):
    """A walked file with these times, nanoseconds."""
    values = [stat.S_IFREG, 1, 1, 1, 0, 0, size, 0, mtime // 10**9, ctime // 10**9]
    found = os.stat_result(values, {"st_mtime_ns": mtime, "st_ctime_ns": ctime})
    return hashing.WalkEntry("w", "/w", found)


@pytest.mark.parametrize(
    ("mtime", "ctime", "now", "is_settled"),
    [
        (OLD, OLD, OLD + 10**9, True),
        (OLD, OLD, OLD + 10**7, False),
        (OLD, OLD, OLD - 1, False),
        (OLD + 10**18, OLD, OLD + 10**9, False),
        (OLD, OLD // 10**9 * 10**9, OLD // 10**9 * 10**9 + 10**9, False),
        (OLD - 10**10, OLD // 10**9 * 10**9, OLD // 10**9 * 10**9 + 3 * 10**9, True),
    ],
    ids=["old", "same tick", "clock went back", "mtime ahead", "whole seconds", "whole seconds, long ago"],
)
def test_times_that_can_be_trusted(mtime, ctime, now, is_settled, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert bool(module.settled([stamped(1, mtime, ctime)])) is is_settled


def test_a_tick_is_waited_out_for_large_files(monkeypatch):
    clock, slept = [OLD + 10**7], []

    def sleep(seconds):
        slept.append(seconds)
        clock[0] += int(seconds * 1e9)

    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    assert module.settled([stamped(1 << 30)]) == {"w"}
    assert 0 < sum(slept) < 0.2
    assert module.settled([stamped(1 << 30, ctime=clock[0] + 10**9)]) == frozenset()
    assert len(slept) == 1


def test_cache_and_key_are_the_users_alone(planted, ask, settle, tmp_path):
    ask(planted({"a": b"1"}))
    assert state_folder() == tmp_path / "state" / "modelward"
    for path in (path for path in state_folder().rglob("*") if path.is_file()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len((state_folder() / "tree.key").read_bytes()) == 32
    assert len([path for path in state_folder().rglob("*") if path.is_file()]) == 2


def test_trees_and_kinds_of_digests_have_caches_of_their_own(planted, ask, settle, kind):
    one, two = planted({"a": b"1"}, "one"), planted({"a": b"1"}, "two")
    assert len({cache_for(top, digest) for top in (one, two) for digest in KINDS}) == 2 * len(KINDS)
    assert cache_for(one, kind) == cache_for(one / ".." / "one", kind)
    ask(one)
    assert ask(two)[1] == ["a"]
    for other in KINDS.keys() - {kind}:
        assert ask(one, other)[1] == ["a"]
    assert ask(one)[1] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [(("sha256", 0), ("blake2b", 0)), (("sha256", 0), ("blake3", 0)), (("sha256", 5), ("sha256", 50))],
)
def test_digests_of_one_hash_function_or_size_are_not_given_for_another(one, other, planted, settle):
    top = planted({"a": b"1234"})
    for algorithm, size in (one, other, one):
        found = hash_shards(top, algorithm, size, TreeOptions(cache=True))
        assert list(found) == list(hash_shards(top, algorithm, size))


def test_trees_of_two_hash_functions_in_turn(planted, settle, reference):
    top = planted({"a": b"1234"})
    for algorithm in ("sha256", "blake3", "sha256"):
        found = hash_tree(top, TreeOptions(cache=True, algorithm=algorithm))
        assert found.root == reference(algorithm, {"a": b"1234"})


def test_a_cache_of_another_tree_or_kind_is_not_used(planted, ask, settle, expected, kind):
    """Its MAC is right, for this user wrote it."""
    one, two = planted({"a": b"1"}, "one"), planted({"a": b"2"}, "two")
    ask(one)
    others = [(two, kind), *((one, other) for other in KINDS if other != kind)]
    for top, other in others:
        cache_for(top, other).write_bytes(cache_for(one, kind).read_bytes())
        assert ask(top, other)[1:] == (["a"], [])
    assert ask(two)[0] == expected({"a": b"2"})


def poison(path):
    """Another digest for the file, everything else as it was."""
    mac, _, body = path.read_bytes().partition(b"\n")
    value = json.loads(body)
    digest = value["files"][0][2]
    value["files"][0][2] = ("B" if digest[0] == "A" else "A") + digest[1:]
    path.write_bytes(mac + b"\n" + json.dumps(value, separators=(",", ":")).encode())


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def emptied(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(b"\xff" * 100)


@pytest.mark.parametrize("act", [poison, cut, emptied, garbage])
@pytest.mark.usefixtures("settle")
def test_a_poisoned_cache_is_ignored_with_a_sentence(act, planted, ask, expected, kind):
    top = planted({"a": b"1"})
    ask(top)
    act(cache_for(top, kind))
    root, read, said = ask(top)
    assert (root, read) == (expected({"a": b"1"}), ["a"])
    assert len(said) == 1
    assert "not written by this user" in said[0]
    assert ask(top)[1:] == ([], [])  # built anew


def test_every_flipped_byte_is_noticed(planted, ask, settle, expected, kind):
    top = planted({"a": b"1"})
    ask(top)
    path = cache_for(top, kind)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        root, read, said = ask(top)
        assert (root, read) == (expected({"a": b"1"}), ["a"])
        assert said


def test_a_cache_by_another_key_is_ignored(planted, ask, settle):
    top = planted({"a": b"1"})
    ask(top)
    (state_folder() / "tree.key").write_bytes(b"k" * 32)
    _, read, said = ask(top)
    assert read == ["a"]
    assert "not written by this user" in said[0]


def signed(top, kind, value):
    """What this user would have written in another version."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    key = (state_folder() / "tree.key").read_bytes()
    cache_for(top, kind).write_bytes(module._mac(key, body).encode() + b"\n" + body)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff",
        {},
        {"format": "modelward.tree-cache/9", "digest": "tree-sha256", "top": "", "files": []},
        {"format": "modelward.tree-cache/1", "algorithm": "sha256", "top": "", "files": []},
    ],
)
def test_a_cache_of_another_version_is_built_anew(value, planted, ask, settle, kind):
    top = planted({"a": b"1"})
    ask(top)
    signed(top, kind, value)
    assert ask(top)[1:] == (["a"], [])
    assert ask(top)[1:] == ([], [])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_replaced(mode, planted, ask, settle):
    top = planted({"a": b"1"})
    ask(top)
    key = state_folder() / "tree.key"
    old = key.read_bytes()
    key.chmod(mode)
    _, read, said = ask(top)
    assert read == ["a"]
    assert "only you can read" in said[0]
    assert key.read_bytes() != old
    assert ask(top)[1:] == ([], [])


@pytest.mark.parametrize("content", [b"", b"short", b"l" * 33])
def test_a_key_that_is_none_is_replaced(content, planted, ask, settle):
    top = planted({"a": b"1"})
    ask(top)
    (state_folder() / "tree.key").write_bytes(content)
    assert "replaced" in ask(top)[2][0]
    assert ask(top)[1:] == ([], [])


def test_a_link_or_a_pipe_is_no_key(planted, ask, settle, tmp_path):
    top = planted({"a": b"1"})
    ask(top)
    key = state_folder() / "tree.key"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    _, read, said = ask(top)
    assert read == ["a"]
    assert "no key can be kept" in said[0]
    key.unlink()
    os.mkfifo(key)
    assert "replaced" in ask(top)[2][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_key_of_another_user_is_left_alone(planted, ask, settle):
    top = planted({"a": b"1"})
    ask(top)
    key = state_folder() / "tree.key"
    old = key.read_bytes()
    os.chown(key, 65534, 65534)
    _, read, said = ask(top)
    assert read == ["a"]
    assert "another user's key" in said[0]
    assert key.read_bytes() == old


def test_a_user_without_a_home(planted, ask, expected, monkeypatch):
    """As in a container: what needs no cache is signed without one."""

    def nowhere():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    found, read, said = ask(planted({"a": b"1"}))
    assert (found, read) == (expected({"a": b"1"}), ["a"])
    assert said == ["this user has no home folder, so no cache is kept and everything is hashed"]


def test_a_state_folder_that_cannot_be_made(planted, ask, tmp_path, monkeypatch, expected):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    top = planted({"a": b"1"})
    root, read, said = ask(top)
    assert (root, read) == (expected({"a": b"1"}), ["a"])
    assert "no key can be kept" in said[0]


def test_a_full_disk_loses_the_cache_alone(planted, ask, settle, monkeypatch, expected):
    def full(*_more, **_named):
        raise OSError(28, "No space left on device")

    top = planted({"a": b"1"})
    monkeypatch.setattr(module, "write_atomically", full)
    root, _, said = ask(top)
    assert root == expected({"a": b"1"})
    assert "No space left" in said[0]


def test_a_cache_that_cannot_be_read(planted, ask, settle, kind):
    top = planted({"a": b"1"})
    ask(top)
    cache_for(top, kind).unlink()
    cache_for(top, kind).mkdir()
    _, read, said = ask(top)
    assert read == ["a"]
    assert "cannot be read" in said[0]


def test_an_unchanged_cache_is_not_written_again(planted, ask, settle, kind):
    top = planted({"a": b"1"})
    ask(top)
    before = cache_for(top, kind).stat()
    ask(top)
    assert cache_for(top, kind).stat().st_ino == before.st_ino


def test_without_a_listener_a_damaged_cache_is_still_ignored(planted, ask, settle, kind):
    top = planted({"a": b"1"})
    ask(top)
    emptied(cache_for(top, kind))
    found = KINDS[kind](top, TreeOptions(cache=True))
    assert found == KINDS[kind](top, TreeOptions())


KILLED = """
import os, signal, sys
from pathlib import Path
from modelward.vault.tree import cache, hashing
cache._TICK = cache._SECONDS = -(1 << 62)
count, calls = int(sys.argv[2]), 0
def trap(real):
    def wrapped(*given, **named):
        global calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return wrapped
os.fsync, os.open, os.link = trap(os.fsync), trap(os.open), trap(os.link)
Path.replace, Path.chmod, Path.unlink = trap(Path.replace), trap(Path.chmod), trap(Path.unlink)
top = Path(sys.argv[1])
options = hashing.TreeOptions(cache=True)
if sys.argv[3] == "tree-sha256":
    hashing.hash_tree(top, options)
else:
    hashing.hash_shards(top, "sha256", 0, options)
print("end")
"""


@pytest.mark.parametrize(
    ("kind", "existing"),
    [("tree-sha256", False), ("tree-sha256", True), ("files-sha256", True)],
    indirect=["kind"],
)
@pytest.mark.usefixtures("settle")
def test_a_writer_killed_anywhere_leaves_the_old_or_the_new(kind, existing, planted, ask, tmp_path):
    top = planted({"a": b"1"})
    root, _, _ = ask(top)
    for count in range(1, 40):
        if existing:
            with contextlib.suppress(FileNotFoundError):
                cache_for(top, kind).unlink()
        else:
            for path in (path for path in tmp_path.glob("state/**/*") if path.is_file()):
                path.unlink()
        done = subprocess.run(
            [sys.executable, "-c", KILLED, top, str(count), kind], capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        assert ask(top)[0] == root
        assert ask(top)[1:] == ([], [])
        if done.stdout == "end\n":
            break
    assert count > 4


def test_two_processes_make_one_key(tmp_path):
    code = "from modelward.vault.tree import cache as c; print(c._own_key(c.state_folder() / 'tree.key', print).hex())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    keys = {process.communicate()[0] for process in running}
    assert keys == {(state_folder() / "tree.key").read_bytes().hex().encode() + b"\n"}
    assert not list(state_folder().glob(".modelward-*"))


@pytest.mark.parametrize("kind", ["tree-sha256", "files-sha256"], indirect=True)
def test_a_hundred_gigabytes_of_which_a_readme_changed(planted, ask, settle, kind):
    """Sparse shards that are taken for hashed; hashing them would take longer than all other tests."""
    top = planted({"README.md": b"old"})
    for shard in range(20):
        with (top / f"model-{shard:05}.safetensors").open("wb") as stream:
            os.truncate(stream.fileno(), 5 << 30)
    kept = module.Cache(top, kind, print)
    kept.replace((entry, b"\xab" * 32) for entry in hashing.walk(top))
    (top / "README.md").write_bytes(b"new")
    assert ask(top)[1] == ["README.md"]
