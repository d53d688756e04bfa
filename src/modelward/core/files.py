"""Small files that a user or a stranger names, read whole within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.errors import FileMissing

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.errors import ModelwardError


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
