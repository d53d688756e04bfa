"""A process that dies, and a disk that fails, at every step: the old container or the new one, never half.

The steps are not listed here: each call by which the code changes the file system is counted in a first run, and
then one run dies at each of them.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
import traceback
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from modelward.errors import OutputUnwritable
from modelward.vault.container import placing
from modelward.vault.container.reading import Container
from modelward.vault.container.rotation import rewrap
from modelward.vault.container.writing import SealOptions, seal_folder

MIB = 1 << 20
CALLS = ("open", "mkdir", "pwrite", "fsync", "rename", "replace", "chmod", "unlink", "rmdir")
OLD = {"a": b"the old weights" * 9, "gone": b"1"}
NEW = {"a": b"the new weights" * 80_000, "b/c": b"", "b/d": b"2"}


@contextmanager
def counted(act):
    """Every step calls ``act(number, name, do)`` in place of the system; `do` is the step itself."""
    steps, kept = [], {name: getattr(os, name) for name in CALLS} | {"_rename": placing._rename}

    def wrap(name, real):
        def step(*args, **kwargs):
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            steps.append((name, args))
            return act(len(steps), name, lambda *short: real(*(short or args), **kwargs), args)

        return step

    try:
        for name in CALLS:
            setattr(os, name, wrap(name, kept[name]))
        placing._rename = wrap("_rename", kept["_rename"])
        yield steps
    finally:
        for name in CALLS:
            setattr(os, name, kept[name])
        placing._rename = kept["_rename"]


def in_a_child(work):
    """The exit status of a child that does the work."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:  # a child must never return into the test run
            traceback.print_exc()
            os._exit(9)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def dies_at(number):
    def act(count, name, do, args):
        if count == number:
            if name == "pwrite":
                do(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])  # half of it reached the disk
            os.kill(os.getpid(), signal.SIGKILL)
        return do()

    return act


def fails_at(number, code):
    def act(count, _name, do, _args):
        if count == number:
            raise OSError(code, os.strerror(code))
        return do()

    return act


@pytest.fixture
def stage(tmp_path, model, people, other):
    """An old container in place, and the ways to change it."""
    vendor, licensee = people

    class Stage:
        folder = tmp_path / "shelf"
        target = folder / "m.sealed"
        options = SealOptions(
            recipients=(licensee.recipient,), signers=(vendor,), replace=True, jobs=1, algorithm="sha256"
        )
        new, old = model(NEW, name="new"), model(OLD, name="old")

        def reset(self, old=True):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            if old:
                seal_folder(self.old, self.target, self.options)

        def create(self):
            seal_folder(self.new, self.target, self.options)

        def rotate(self):
            rewrap(Container.open(self.target), [licensee.identity], add=[other.recipient])

        def extract(self):
            Container.open(self.target).unlock([licensee.identity]).extract(self.folder / "out", jobs=1)

        def found(self):
            """Which model the target holds, verified and decrypted; null where there is no target."""
            if not self.target.exists():
                return None
            container = Container.open(self.target)
            container.verify([vendor.public])
            opened, plain = container.unlock([licensee.identity]), {}
            for path in opened.paths:
                with opened.file(path) as file:
                    plain[path] = bytes(file.read(0, file.record.length))
            return plain

        def left(self):
            return sorted(p.name for p in self.folder.iterdir() if p != self.target)

        def opens_for_other(self):
            return bool(Container.open(self.target).unlock([other.identity]).paths)

    return Stage()


def refused(code, *, moved=False):
    """What is said; once the new one is in its place, it is not said that nothing was changed."""
    words = "the disk is full" if code == errno.ENOSPC else "error"
    return pytest.raises(OutputUnwritable, match="did not confirm" if moved else words)


def count(stage, work, old=True):
    stage.reset(old)
    with counted(lambda _n, _name, do, _args: do()) as steps:
        work()
    return [name for name, _ in steps]


@pytest.mark.parametrize("old", [True, False])
def test_a_kill_at_every_step_of_sealing(stage, old):
    steps = count(stage, stage.create, old)
    assert {"open", "mkdir", "pwrite", "fsync", "chmod", "_rename"} <= set(steps)
    assert ("unlink" in steps) is old
    before = OLD if old else None
    moved = steps.index("_rename") + 1
    for number in range(1, len(steps) + 1):
        stage.reset(old)

        def work(number=number):
            with counted(dies_at(number)):
                stage.create()

        assert os.WIFSIGNALED(in_a_child(work)), (number, steps[number - 1])
        assert stage.found() == (NEW if number > moved else before), (number, steps[number - 1])
    # What was left beside it does not stand in the way, and goes when it is old.
    for path in stage.folder.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    stage.create()
    assert stage.found() == NEW
    assert stage.left() == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failure_at_every_step_of_sealing(stage, code):
    steps = count(stage, stage.create)
    moved = steps.index("_rename") + 1
    for number in range(1, len(steps) + 1):
        stage.reset()
        unneeded = steps[number - 1] in {"unlink", "rmdir"}  # of the old one
        with (
            counted(fails_at(number, code)),
            nullcontext() if unneeded else refused(code, moved=number > moved),
        ):
            stage.create()
        assert stage.found() == (NEW if number > moved else OLD), (number, steps[number - 1])
        if number <= moved:
            assert stage.left() == []


def test_a_kill_at_every_step_of_a_rotation(stage):
    steps = count(stage, stage.rotate)
    assert "replace" in steps
    for number in range(1, len(steps) + 1):
        stage.reset()
        header = (stage.target / "seal.json").read_bytes()

        def work(number=number):
            with counted(dies_at(number)):
                stage.rotate()

        assert os.WIFSIGNALED(in_a_child(work)), (number, steps[number - 1])
        changed = (stage.target / "seal.json").read_bytes() != header
        assert changed is (number > steps.index("replace") + 1)
        assert not list(stage.target.glob(".modelward-*")), "nothing strange lies in a container"
        assert stage.found() == OLD
    assert stage.opens_for_other()


def test_a_failure_at_every_step_of_a_rotation(stage):
    steps = count(stage, stage.rotate)
    for number in range(1, len(steps) + 1):
        stage.reset()
        with (
            counted(fails_at(number, errno.ENOSPC)),
            pytest.raises(OutputUnwritable, match="the disk is full"),
        ):
            stage.rotate()
        assert stage.found() == OLD


def test_a_kill_at_every_step_of_an_extraction(stage):
    steps = count(stage, stage.extract)
    for number in range(1, len(steps) + 1):
        stage.reset()

        def work(number=number):
            with counted(dies_at(number)):
                stage.extract()

        assert os.WIFSIGNALED(in_a_child(work)), (number, steps[number - 1])
        out = stage.folder / "out"
        if out.exists():
            assert number > steps.index("_rename") + 1
            assert {p.name: p.read_bytes() for p in out.iterdir()} == OLD
        for path in stage.folder.glob(".out.*"):
            assert path.stat().st_mode & 0o077 == 0  # half of the plaintext, which nobody else can read


def test_what_is_put_in_place_is_on_the_disk_by_then(stage):
    """Every file that was created was made durable before the folder took its place, every folder too."""
    stage.reset()
    created, durable, handles, moved = set(), set(), {}, []

    def act(_count, name, do, args):
        result = do()
        if name == "open":
            created.add(str(args[0]))
            handles[result] = str(args[0])
        elif name == "mkdir":
            created.add(str(args[0]))
        elif name == "fsync":
            durable.add(str(Path(f"/proc/self/fd/{args[0]}").readlink()))
        elif name == "_rename":
            moved.append((set(created), set(durable)))
        return result

    with counted(act):
        stage.create()
    made, safe = moved[0]
    inside = {path for path in made if ".m.sealed.modelward-" in path}
    assert len(inside) > 8
    assert inside <= safe
    assert str(stage.folder) in durable  # and then the name


def test_files_may_not_grow(stage):
    """RLIMIT_FSIZE: the system refuses a write in the middle of a file."""
    stage.reset()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 2, MIB // 2))
        with pytest.raises(OutputUnwritable, match="file too large"):
            stage.create()

    assert in_a_child(work) == 0
    assert stage.found() == OLD
    assert stage.left() == []


def test_a_full_disk(stage, tmp_path):
    """A real one, of two megabytes."""
    stage.reset(old=False)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(stage.folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        seal_folder(stage.old, stage.target, stage.options)
        stage.create()  # 1.2 MB, and as much again does not fit beside it
        with pytest.raises(OutputUnwritable, match="the disk is full"):
            stage.create()
        assert stage.found() == NEW
        assert stage.left() == []
    finally:
        subprocess.run(["umount", str(stage.folder)], check=True)


def test_an_interrupt_leaves_nothing(stage):
    stage.reset()

    def act(number, name, do, args):
        if number == 9:
            raise KeyboardInterrupt
        return do()

    with counted(act), pytest.raises(KeyboardInterrupt):
        stage.create()
    assert stage.found() == OLD
    assert stage.left() == []
