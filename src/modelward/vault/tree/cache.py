"""What unchanged files hashed to: a file beside nobody's model, authenticated by a key of this user.

A file is taken for unchanged while its device, inode, size, mtime and ctime are those under which it was
hashed, and only if its times lay far enough back when it was opened: a write within the same tick of the file
system's clock leaves them as they were (the racy entries of git's index). What the cache cannot see is
written in docs/formats/tree.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.core.home import state_folder
from modelward.ledger.blobs import write_atomically
from modelward.vault.tree.walk import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelward.vault.tree.walk import WalkEntry

FORMAT: Final = "modelward.tree-cache/2"
_KEY: Final = 32
_LARGEST: Final = 1 << 30
_TICK: Final = 100_000_000
"""Nanoseconds within which two writes may leave the same time, where times have fractions of a second."""
_SECONDS: Final = 2_000_000_000
"""The same where they have none: FAT counts in steps of two seconds."""
_WORTH_WAITING: Final = 1 << 28
"""Bytes of files just written for which waiting out a tick costs less than hashing them again next time."""


def cache_for(top: Path, digest: str) -> Path:
    """Where digests of one kind of one folder or file are remembered, in the user's state folder."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(top))).hexdigest()
    return state_folder() / "trees" / f"{name[:32]}.{digest}"


@final
class Cache:
    """Digests of one tree's files as they were last hashed.

    Args:
        top: the folder or file that is hashed.
        digest: what they are, such as ``tree-sha256``; digests of another kind are never given.
        warn: called with a sentence where the cache cannot be used; it is then built anew.

    Raises:
        ConfigInvalid: this user has no place for one.
    """

    def __init__(self, top: Path, digest: str, warn: Callable[[str], None]) -> None:
        self._path, self._warn, self._digest = cache_for(top, digest), warn, digest
        self._top = os.fsencode(os.path.realpath(top)).hex()
        self._key = _own_key(state_folder() / "tree.key", warn)
        self._known = self._read()

    def __len__(self) -> int:
        """How many files are remembered."""
        return len(self._known)

    def find(self, entry: WalkEntry) -> bytes | None:
        """The file's digest, or null if it may have changed since."""
        known = self._known.get(entry.path)
        return known.digest if known is not None and known.stat == entry.stat else None

    def replace(self, found: Iterable[tuple[WalkEntry, bytes]]) -> None:
        """Remember these files and forget all others; a failure is a sentence, not an error.

        Args:
            found: files with their digests. Those that may be racy are not to be among them.
        """
        known = {entry.path: _Known(entry.path, entry.stat, digest) for entry, digest in found}
        if known == self._known or self._key is None:
            return
        body = msgspec.json.encode(_Body(FORMAT, self._digest, self._top, list(known.values())))
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path, _mac(self._key, body).encode() + b"\n" + body)
        except OSError as error:
            self._warn(f"{self._path}: the cache cannot be written ({error.strerror}); nothing is lost")

    def _read(self) -> dict[str, _Known]:
        try:
            with self._path.open("rb") as stream:
                data = stream.read(min(os.fstat(stream.fileno()).st_size, _LARGEST))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn(f"{self._path}: the cache cannot be read ({error.strerror}); everything is hashed")
            return {}
        mac, _, body = data.partition(b"\n")
        if self._key is None or not hmac.compare_digest(mac, _mac(self._key, body).encode()):
            self._warn(f"{self._path}: the cache was not written by this user; everything is hashed")
            return {}
        try:
            read = msgspec.json.decode(body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}  # of another version: this user wrote it
        if (read.format, read.digest, read.top) != (FORMAT, self._digest, self._top):
            return {}
        return {known.path: known for known in read.files}


def settled(entries: Sequence[WalkEntry]) -> frozenset[str]:
    """Paths of the files whose times lie far enough back to tell from now on whether they changed.

    Waits for a tick, a tenth of a second, if that settles files of more than 256 MiB.
    """
    now = time.time_ns()
    wait = max((_until(entry.stat) - now for entry in entries), default=0)
    racy = sum(entry.stat.st_size for entry in entries if _until(entry.stat) > now)
    if 0 < wait <= _TICK and racy >= _WORTH_WAITING:
        time.sleep(wait / 1e9 + 0.001)
        now = time.time_ns()
    return frozenset(entry.path for entry in entries if _until(entry.stat) <= now)


class _Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    path: str
    stat: Stamp
    digest: bytes


class _Body(msgspec.Struct, frozen=True):
    format: str
    digest: str
    top: str
    files: list[_Known]


def _until(found: Stamp) -> int:
    """When a write would surely leave another time than the file now has, in nanoseconds."""
    whole = found.st_ctime_ns % 1_000_000_000 == 0
    return max(found.st_mtime_ns, found.st_ctime_ns) + (_SECONDS if whole else _TICK)


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, FORMAT.encode() + b"\n" + body, "sha256").hex()


def _own_key(path: Path, warn: Callable[[str], None]) -> bytes | None:
    """This user's key, made when it is first asked for; null if none can be kept."""
    try:
        key = _kept_key(path)
        if key is None and os.path.lexists(path):
            if path.lstat().st_uid != os.geteuid():
                warn(f"{path}: is another user's key; no cache is used and everything is hashed")
                return None
            warn(f"{path}: is not a key that only you can read; it is replaced and everything is hashed")
            path.unlink()
        return key or _new_key(path)
    except OSError as error:
        warn(f"{path}: no key can be kept for the cache ({error.strerror}); everything is hashed")
        return None


def _kept_key(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        key = stream.read(_KEY + 1) if stat.S_ISREG(found.st_mode) else b""
    mine = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return key if mine and len(key) == _KEY else None


def _new_key(path: Path) -> bytes | None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".modelward-")  # 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(os.urandom(_KEY))
            stream.flush()
            os.fsync(handle)
        with suppress(FileExistsError):  # the first of several processes wins
            os.link(name, path)
    finally:
        Path(name).unlink()
    return _kept_key(path)
