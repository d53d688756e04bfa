"""Digests that name content: independent of file order, chunk size and the machine."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from modelward.core.canonical import canonical, digest
from modelward.core.files import open_plain
from modelward.errors import FileMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

CHUNK = 1 << 20
"""Bytes read at a time; it does not influence any digest."""


def file_digest(path: Path, told: Callable[[int], object] = lambda _: None) -> str:
    """SHA-256 of a file's bytes as ``sha256:<hex>``.

    Args:
        path: the file.
        told: called with the number of bytes that were read since it was last called.

    Raises:
        FileMissing: the file cannot be read.
    """
    state, room = hashlib.sha256(), memoryview(bytearray(CHUNK))
    try:
        with open_plain(path) as stream:
            while size := stream.readinto(room):
                state.update(room[:size])
                told(size)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    return "sha256:" + state.hexdigest()


def directory_digest(root: Path) -> str:
    """SHA-256 over the sorted relative paths, sizes and digests of all regular files below a directory.

    Symbolic links are recorded by their target text and never followed. Other kinds of file are refused.

    Raises:
        FileMissing: an entry cannot be read, or is neither file, directory nor link.
    """
    entries: list[list[str]] = []
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        name = path.relative_to(root).as_posix()
        if stat.S_ISLNK(mode):
            entries.append(["link", name, path.readlink().as_posix()])
        elif stat.S_ISREG(mode):
            entries.append(["file", name, file_digest(path)])
        elif not stat.S_ISDIR(mode):
            raise FileMissing(f"{path}: is neither a file, a directory nor a link")
    entries.sort()
    return "sha256:" + digest([list(entry) for entry in entries])


def array_digest(dtype: str, shape: Sequence[int], chunks: Iterable[bytes | memoryview]) -> str:
    """SHA-256 of an array's type, shape and C-order little-endian bytes.

    Args:
        dtype: numpy type string with explicit byte order, for example ``<f4``.
        shape: the dimensions.
        chunks: the bytes, cut anywhere.
    """
    state = hashlib.sha256(canonical({"dtype": dtype, "shape": list(shape)}))
    for chunk in chunks:
        state.update(chunk)
    return "sha256:" + state.hexdigest()


def table_digest(columns: Mapping[str, str]) -> str:
    """SHA-256 of a table from its columns' digests, whatever the order of the columns.

    Args:
        columns: column name to the digest of its values (in row order).
    """
    return "sha256:" + digest(dict(columns))
