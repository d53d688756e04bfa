"""Bounds-checked reading of little-endian binary content."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_NUMBERS: Final = {code: struct.Struct("<" + code) for code in "bBhHiIqQefd"}


@final
class Cursor:
    """A position in content that cannot leave it.

    Attributes:
        data: the whole content.
        pos: offset of the next byte.
        end: offset behind the last byte that may be read.
    """

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: Buffer, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.end = len(data) if end is None else min(end, len(data))
        self.pos = pos
        if not 0 <= pos <= self.end:
            raise Malformed(f"offset {pos} lies outside {self.end} bytes")

    def need(self, size: int) -> int:
        """Move over so many bytes and return where they start.

        Raises:
            Malformed: fewer bytes are left, or the size is negative.
        """
        start = self.pos
        if size < 0 or size > self.end - start:
            raise Malformed(f"{size} bytes are needed at offset {start}, and {self.end - start} are left")
        self.pos = start + size
        return start

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.need(size)
        return bytes(self.data[start : start + size])

    def number(self, code: str) -> int:
        """The next integer, little-endian; `code` is B, H, I, Q, b, h, i or q, as in the module struct."""
        shape = _NUMBERS[code]
        return int(shape.unpack(self.take(shape.size))[0])

    def real(self, code: str) -> float:
        """The next real number, little-endian; `code` is e, f or d."""
        shape = _NUMBERS[code]
        return float(shape.unpack(self.take(shape.size))[0])

    def text(self, size: int) -> str:
        """The next `size` bytes as UTF-8; bytes that are none are escaped."""
        return self.take(size).decode("utf-8", "backslashreplace")

    @property
    def left(self) -> int:
        """Bytes left to read."""
        return self.end - self.pos
