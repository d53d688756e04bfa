"""Files that a user or a stranger names: opened without waiting, or read whole within a bound."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from modelward.errors import FileMissing

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    from modelward.errors import ModelwardError


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file for reading; a pipe or device, which may never end, is refused.

    Raises:
        FileMissing: there is none, or it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileMissing(f"{path}: is not a regular file")
    return os.fdopen(handle, "rb")


def read_at_most(path: Path, most: int, otherwise: ModelwardError) -> bytes:
    """The content of a file.

    Args:
        path: also a pipe; no more than the bound and one byte is ever read.
        most: bytes that it may have.
        otherwise: raised where it has more.

    Raises:
        FileMissing: it cannot be read.
        ModelwardError: `otherwise`.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > most:
        raise otherwise
    return data
