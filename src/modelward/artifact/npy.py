"""The header of a npy file: whether its array holds Python objects, which are stored as a pickle.

Source: numpy/lib/_format_impl.py (format versions 1.0 to 3.0), numpy 2.4.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_LONGEST: Final = 1 << 16


class Header(msgspec.Struct, frozen=True):
    """Where the data starts, and whether it is a pickle."""

    end: int
    objects: bool


def header(data: Buffer) -> Header | None:
    """Read the header; None when it is malformed or longer than 64 kB.

    Args:
        data: the file, from its magic number on.
    """
    if len(data) < 12 or data[:6] != b"\x93NUMPY":
        return None
    width = 2 if data[6] == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    end = 8 + width + size
    if size > _LONGEST or end > len(data):
        return None
    try:
        fields = ast.literal_eval(bytes(data[8 + width : end]).decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(fields, dict) or "descr" not in fields:
        return None
    return Header(end, objects=_objects(fields["descr"]))


def _objects(descr: object) -> bool:
    """Whether a type description may stand for objects: any `O` or `object` in a type text counts."""
    if isinstance(descr, str):
        return "O" in descr or "object" in descr.lower()
    if isinstance(descr, list | tuple):
        return any(
            _objects(part)
            for field in descr
            for part in (field[1:2] if isinstance(field, tuple) else (field,))
        )
    return True
