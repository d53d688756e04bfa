"""A folder takes its place whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import time

import pytest

from modelward.errors import OutputUnwritable
from modelward.vault.container import placing
from modelward.vault.container.placing import placed, sync_everything, write_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill(folder, word):
    write_file(folder / "file", word)
    (folder / "below").mkdir()
    write_file(folder / "below" / "other", word)


def test_a_new_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "new"
    with placed(target) as folder:
        fill(folder, b"1")
        assert not target.exists()
        assert folder.parent == tmp_path
    assert (target / "below" / "other").read_bytes() == b"1"
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize(("mode", "wanted"), [(0o777, 0o755), (0o700, 0o700)])
def test_the_folder_has_the_bits_asked_for(tmp_path, mode, wanted):
    old = os.umask(0o022)
    try:
        with placed(tmp_path / "new", mode=mode) as folder:
            fill(folder, b"1")
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == wanted


def test_an_old_folder_is_exchanged(tmp_path):
    target = tmp_path / "it"
    for word in (b"old", b"new"):
        with placed(target, replace=True) as folder:
            fill(folder, word)
    assert (target / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["it"]


def test_an_error_leaves_the_old_one_alone(tmp_path):
    target = tmp_path / "it"
    with placed(target) as folder:
        fill(folder, b"old")

    def fail():
        with placed(target, replace=True) as folder:
            fill(folder, b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (target / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["it"]


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    target = tmp_path / "it"
    target.mkdir()
    (target / "precious").write_bytes(b"1")
    with pytest.raises(OutputUnwritable, match="exists already") as refused, placed(target):
        raise AssertionError
    assert refused.value.advice == "Choose another folder."
    with pytest.raises(OutputUnwritable, match="exists already") as refused, placed(target, replace=False):
        raise AssertionError
    assert "--replace" in refused.value.advice
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputUnwritable, match="exists already"), placed(tmp_path / "file"):
        raise AssertionError
    assert (target / "precious").exists()


def test_an_empty_folder_is_filled(tmp_path):
    target = tmp_path / "it"
    target.mkdir()
    with placed(target) as folder:
        fill(folder, b"1")
    assert (target / "file").exists()


def test_a_folder_that_fills_meanwhile_is_kept(tmp_path):
    target = tmp_path / "it"
    target.mkdir()

    def late():
        with placed(target) as folder:
            fill(folder, b"1")
            (target / "precious").write_bytes(b"1")

    with pytest.raises(OutputUnwritable, match="not empty"):
        late()
    assert names(target) == ["precious"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    target = tmp_path / "it"
    monkeypatch.setattr(os.path, "lexists", lambda path: False)

    def late():
        with placed(target) as folder:
            fill(folder, b"1")
            target.mkdir()
            (target / "precious").write_bytes(b"1")

    with pytest.raises(OutputUnwritable, match="exists"):
        late()
    assert names(target) == ["precious"]


def test_the_target_of_a_link_is_replaced_and_not_the_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with placed(tmp_path / "link", replace=True) as folder:
        fill(folder, b"1")
    assert (tmp_path / "link").is_symlink()
    assert (real / "file").exists()


def test_a_missing_parent_is_one_sentence(tmp_path):
    with pytest.raises(OutputUnwritable, match="no such file"), placed(tmp_path / "no" / "it"):
        raise AssertionError


def test_what_a_killed_process_left_is_removed_unless_somebody_holds_it(tmp_path):
    left, held, fresh = (tmp_path / f".it.modelward-{n}" for n in "abc")
    strange, file = tmp_path / ".that.modelward-a", tmp_path / ".it.modelward-d"
    for folder in (left, held, fresh, strange):
        folder.mkdir()
        (folder / "half").write_bytes(b"1")
    file.write_bytes(b"")
    old = time.time() - 3600
    for folder in (left, held, strange):
        os.utime(folder, (old, old))
    handle = os.open(held, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with placed(tmp_path / "it") as folder:
        fill(folder, b"1")
    os.close(handle)
    assert names(tmp_path) == [
        ".it.modelward-b", ".it.modelward-c", ".it.modelward-d", ".that.modelward-a", "it",
    ]  # fmt: skip


def test_an_interrupt_at_the_first_step_leaves_nothing(tmp_path, monkeypatch):
    def made(*words, **more):
        mkdir(*words, **more)
        raise KeyboardInterrupt

    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", made)
    with pytest.raises(KeyboardInterrupt), placed(tmp_path / "new"):
        pytest.fail("it was interrupted")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [255 * "x", 85 * "\u6a21"])
def test_the_longest_names_there_are(tmp_path, name):
    with placed(tmp_path / name) as folder:
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == [name]


def test_a_full_disk_says_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputUnwritable, match="the disk is full"), placed(tmp_path / "it") as folder:
        fill(folder, b"1")
    assert names(tmp_path) == []


def test_a_file_system_without_exchange_says_so(tmp_path, monkeypatch):
    target = tmp_path / "it"
    with placed(target) as folder:
        fill(folder, b"old")

    def cannot(old, new, flags):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(placing, "_rename", cannot)
    with pytest.raises(OutputUnwritable, match="invalid argument"), placed(target, replace=True) as folder:
        fill(folder, b"new")
    assert (target / "file").read_bytes() == b"old"


def test_files_are_never_overwritten(tmp_path):
    write_file(tmp_path / "a", b"1")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", b"2")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "link", b"2")
    assert not (tmp_path / "b").exists()


def test_everything_can_be_made_durable_at_once(tmp_path):
    sync_everything(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        sync_everything(tmp_path / "no")
