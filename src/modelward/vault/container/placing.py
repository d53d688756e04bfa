"""Put a folder in its place whole: whenever the machine stops, there is the old one or the new one."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelward.errors import OutputUnwritable
from modelward.ledger.lock import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK: Final = ".modelward-"
_STALE: Final = 60.0
"""Seconds after which a folder that nobody holds is left over from a process that was killed."""
_HERE: Final = -100  # AT_FDCWD
_NOREPLACE: Final = 1
_EXCHANGE: Final = 2


@contextmanager
def placed(target: Path, *, replace: bool | None = None, mode: int = 0o777) -> Iterator[Path]:
    """A folder beside the target that takes its place at the end, or vanishes on an error.

    The caller writes files into it with `write_file` or makes them durable himself; folders are made durable
    here. What processes that were killed left beside the target is removed.

    Args:
        target: its parent exists. An empty folder there is replaced in any case.
        replace: what is there is exchanged for the new folder in one step and then removed; null: the caller
            has no way to ask for that.
        mode: permission bits of the folder, before the umask.

    Raises:
        OutputUnwritable: the target is there and is not to be replaced, or nothing can be written there.
    """
    target = Path(os.path.realpath(target))  # what a link names is replaced, not the link
    if not replace and _taken(target):
        advice = "Choose another folder." if replace is None else "Name another path, or give --replace."
        raise OutputUnwritable(f"{target}: exists already", advice=advice)
    folder = target.with_name(_prefix(target) + os.urandom(8).hex())  # known first: an interrupt finds it
    try:
        _sweep(target)
        folder.mkdir(mode=0o700)
        with held(folder):
            yield folder
            _settle(folder, mode)
            _move(folder, target, replace=bool(replace))
            _confirm(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # half of the new one, or the whole old one, or nothing


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only one who changes a folder, or puts another one in its place; waits for whoever does.

    Raises:
        OSError: as the system reports it.
    """
    while True:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(handle), folder.stat()):  # else it was replaced meanwhile
                yield
                return
        finally:
            os.close(handle)


def _prefix(target: Path) -> str:
    """How unfinished folders beside the target begin; a name has 255 bytes at most."""
    return f".{os.fsencode(target.name)[:200].decode(errors='ignore')}{_MARK}"


def _confirm(target: Path) -> None:
    """Have the disk confirm that the name is there; by now nobody can say that nothing was changed."""
    try:
        sync_folder(target.parent)
    except OSError as error:
        raise OutputUnwritable(
            f"{target}: is in its place, and the disk did not confirm it ({error.strerror})",
            advice="Verify it; after a loss of power it may be gone.",
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and make it durable.

    Raises:
        OSError: as the system reports it.
    """
    handle = create(path)
    try:
        write_all(handle, data, 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def create(path: Path, mode: int = 0o666) -> int:
    """Open a new file for writing; it must not exist."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def write_all(handle: int, data: bytes | memoryview, offset: int) -> None:
    """Write all bytes at an offset.

    Raises:
        OSError: as the system reports it.
    """
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


def sync_everything(folder: Path) -> None:
    """Make every file on the folder's file system durable at once; for very many files.

    Raises:
        OSError: as the system reports it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _checked(ctypes.CDLL(None, use_errno=True).syncfs(handle), folder)
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> OutputUnwritable:
    """The sentence for a path that cannot be written."""
    if error.errno == errno.ENOSPC:
        return OutputUnwritable(f"{path}: the disk is full", advice="Free space; nothing was changed.")
    return OutputUnwritable(f"{path}: {(error.strerror or 'cannot be written').lower()}")


def _taken(target: Path) -> bool:
    try:
        return not target.is_dir() or any(target.iterdir()) if os.path.lexists(target) else False
    except OSError as error:
        raise unwritable(target, error) from error


def _settle(folder: Path, mode: int) -> None:
    umask = os.umask(0o077)  # the only way to read it
    os.umask(umask)
    folder.chmod(mode & ~umask)
    for inner, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(inner))


def _move(folder: Path, target: Path, *, replace: bool) -> None:
    if not os.path.lexists(target):
        _rename(folder, target, _NOREPLACE)
    elif replace:
        with held(target):
            _rename(folder, target, _EXCHANGE)
    else:  # an empty folder; one that is not empty any more is refused by the system
        folder.rename(target)


def _rename(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.renameat2(_HERE, os.fsencode(old), _HERE, os.fsencode(new), flags), new)


def _checked(result: int, path: Path) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _sweep(target: Path) -> None:
    prefix = _prefix(target)
    with os.scandir(target.parent) as items:
        left = [item.path for item in items if item.name.startswith(prefix)]
    for path in left:
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # another process removed it, or it is nothing of ours
        try:
            if time.time() - os.fstat(held).st_mtime > _STALE:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # somebody is writing it
        finally:
            os.close(held)
