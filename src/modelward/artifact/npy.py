"""The header of a npy file: whether its array holds Python objects, which are stored as a pickle.

Source: numpy/lib/_format_impl.py (format versions 1.0 to 3.0), numpy 2.4.
"""

from __future__ import annotations

import ast
import math
import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

MAGIC: Final = b"\x93NUMPY"
_LONGEST: Final = 1 << 16
_NUMBERS: Final = re.compile(r"(?:u?int|float|complex|bool|str|bytes|void|datetime|timedelta)[\w\[\]]*")
"""Names of plain types as numpy spells them; `numpy.save` writes the shorter `_PLAIN`."""
_PLAIN: Final = re.compile(r"[<>|=]?([biufcmMSVU?])(\d{0,9})(\[[\w/]+\])?")


class Header(msgspec.Struct, frozen=True):
    """Where the data starts, its size in bytes (None when that is unclear), and whether it is a pickle."""

    end: int
    size: int | None
    objects: bool


def header(data: Buffer, start: int = 0) -> Header | None:
    """Read the header; None when it is malformed or longer than 64 kB.

    Args:
        data: the file.
        start: offset of its magic number; arrays may follow each other.
    """
    if len(data) < start + 12 or data[start : start + 6] != MAGIC:
        return None
    width = 2 if data[start + 6] == 1 else 4
    size = int.from_bytes(data[start + 8 : start + 8 + width], "little")
    end = start + 8 + width + size
    if size > _LONGEST or end > len(data):
        return None
    try:
        fields = ast.literal_eval(bytes(data[start + 8 + width : end]).decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(fields, dict) or "descr" not in fields:
        return None
    return Header(end, _size(fields["descr"], fields.get("shape")), objects=_objects(fields["descr"]))


def _size(descr: object, shape: object) -> int | None:
    """Bytes of the data of a plain type; None for others."""
    match = _PLAIN.fullmatch(descr) if isinstance(descr, str) else None
    if match is None or not isinstance(shape, tuple):
        return None
    if not all(isinstance(side, int) and 0 <= side < 1 << 62 for side in shape):
        return None
    width = int(match[2]) if match[2] else 1
    return math.prod(shape) * width * (4 if match[1] == "U" else 1)


def _objects(descr: object) -> bool:
    """Whether a type description may stand for objects: whatever is not known as plain numbers or text."""
    if isinstance(descr, str):
        return _PLAIN.fullmatch(descr) is None and _NUMBERS.fullmatch(descr) is None
    if isinstance(descr, list | tuple):
        return any(
            _objects(part)
            for field in descr
            for part in (field[1:2] if isinstance(field, tuple) else (field,))
        )
    return True
