"""The walk: which files a tree consists of, and what it refuses to take for one."""

from __future__ import annotations

import fnmatch
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from modelward.errors import ConfigInvalid, FileMissing, PathUnsafe
from modelward.vault.tree.names import DEEPEST, check_names, shown, sorting_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Stamp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of a file's status tells whether it changed; a whole `os.stat_result` takes four times the memory.

    Attributes:
        st_dev: device.
        st_ino: inode.
        st_size: bytes.
        st_mtime_ns: when its content was written last, nanoseconds.
        st_ctime_ns: when anything about it changed last, nanoseconds.
    """

    st_dev: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int


class WalkEntry(NamedTuple):
    """One regular file.

    Attributes:
        path: POSIX, relative to the tree.
        absolute: where it lies; of a link that is followed, its target.
        stat: when it was walked; of a link that is followed, its target's.
    """

    path: str
    absolute: str
    stat: Stamp


class WalkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which files to leave out, and what to do with links.

    Attributes:
        ignore: shell patterns (``*``, ``?``, ``[...]``); one without a slash is compared with the names of
            files and folders at any depth, one with a slash with the whole path. A folder that is left out
            is not entered.
        excluded: files and folders that are left out wherever they lie, such as the signature itself.
        links: follow symbolic links that stay in the tree, instead of refusing them.
    """

    ignore: tuple[str, ...] = ()
    excluded: tuple[Path, ...] = ()
    links: bool = False


def walk(root: Path, options: WalkOptions | None = None) -> list[WalkEntry]:
    """The files of a folder, or the one file that is named; empty folders are no part of a tree.

    Args:
        root: a folder or a file; links that lead to it are followed, for the user named it.
        options: see `WalkOptions`.

    Returns:
        In order of the paths' parts; at least one.

    Raises:
        FileMissing: it does not exist, cannot be read, or holds no file.
        PathUnsafe: there is a link out of the tree (or a link at all, unless they are followed), a pipe,
            socket or device, a name that is not UTF-8, or two names that another system takes for one.
    """
    chosen = options or WalkOptions()
    try:
        real = os.path.realpath(root, strict=True)
        found = Path(real).stat()
    except (OSError, ValueError) as error:
        raise FileMissing(f"{shown(str(root))}: {_reason(error)}") from error
    if stat.S_ISREG(found.st_mode):
        entries = [WalkEntry(Path(root).name or Path(real).name, real, stamp(found))]
    elif stat.S_ISDIR(found.st_mode):
        entries = sorted(_files(real, chosen), key=lambda entry: sorting_key(entry.path))
    else:
        raise PathUnsafe(f"{shown(str(root))}: is neither a file nor a folder")
    check_names(entry.path for entry in entries)
    if not entries:
        raise FileMissing(f"{shown(str(root))}: holds no file", advice="Name a folder that holds the model.")
    return entries


def paths_in(root: Path, paths: Iterable[str | Path]) -> tuple[Path, ...]:
    """What a user wants left out: each must be there, for a misspelt one would be sealed in silence.

    Args:
        root: the folder that will be walked.
        paths: files and folders in it, as the system finds them (relative to the working folder).

    Raises:
        ConfigInvalid: one of them names nothing in the folder.
    """
    top = os.path.realpath(root)
    wanted = tuple(Path(path) for path in paths)
    for path in wanted:
        where = _place(path)
        if not where.startswith(top + "/") or not os.path.lexists(where):
            raise ConfigInvalid(
                f"{shown(str(path))}: names nothing in {shown(str(root))} that could be left out",
                advice=f"Write the whole path, as {shown(str(root / path.name))}.",
            )
    return wanted


def stamp(found: os.stat_result) -> Stamp:
    """The part of a file's status that is kept."""
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _files(top: str, options: WalkOptions) -> Iterator[WalkEntry]:
    excluded = frozenset(_place(path) for path in options.excluded)
    pending: list[tuple[str, str, tuple[str, ...]]] = [(top, "", (top,))]  # folder, path, real folders above
    while pending:
        folder, below, above = pending.pop()
        for item in _list(folder, below):
            path = f"{below}{item.name}"
            if _ignored(path, item.name, options.ignore) or item.path in excluded:
                continue
            where, found = item.path, _stat(item, path)
            if stat.S_ISLNK(found.st_mode):
                where, found = _followed(item.path, path, top, options)
            if stat.S_ISREG(found.st_mode):
                yield WalkEntry(path, where, stamp(found))
            elif not stat.S_ISDIR(found.st_mode):
                raise PathUnsafe(
                    f"{shown(path)}: is a pipe, a socket or a device",
                    advice="Remove it, or leave it out with an ignore pattern.",
                )
            elif where in above or len(above) > DEEPEST:
                raise PathUnsafe(f"{shown(path)}: leads back to a folder above it, or lies too deep")
            else:
                pending.append((where, path + "/", (*above, where)))


def _place(path: Path) -> str:
    """Where it lies, itself not followed where it is a link."""
    if path.name in {"", ".."}:
        return os.path.realpath(path)
    return f"{os.path.realpath(path.parent)}/{path.name}"


def _list(folder: str, below: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        raise FileMissing(f"{shown(below or folder)}: {_reason(error)}") from error


def _stat(item: os.DirEntry[str], path: str) -> os.stat_result:
    try:
        return item.stat(follow_symlinks=False)
    except OSError as error:
        raise FileMissing(f"{shown(path)}: {_reason(error)}") from error


def _followed(link: str, path: str, top: str, options: WalkOptions) -> tuple[str, os.stat_result]:
    target = os.path.realpath(link)
    if not (target + "/").startswith(top.rstrip("/") + "/"):
        raise PathUnsafe(f"{shown(path)}: is a link out of the folder")
    if not options.links:
        raise PathUnsafe(f"{shown(path)}: is a link; links are not followed unless that is asked for")
    try:
        return target, os.lstat(target)
    except OSError as error:
        raise FileMissing(f"{shown(path)}: the link leads to nothing") from error


def _ignored(path: str, name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)


def _reason(error: OSError | ValueError) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or "cannot be read").lower()
