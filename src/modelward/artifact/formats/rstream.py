"""Numbers and texts of R's serialisation, in its three encodings.

Source: R 4.4 `src/main/serialize.c` (`InInteger`, `InString`, `ReadLENGTH`).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

KEPT: Final = 4096
"""Most bytes of a text that are kept."""
_CHAR: Final = 9
_NOT_STATED: Final = -(1 << 31)
_WORD: Final = re.compile(rb"\s*(\S+)")
_SPACE: Final = re.compile(rb"\s*")
_INTEGER: Final = re.compile(rb"[-+]?[0-9]{1,10}")
_LETTER: Final = re.compile(rb"\\([0-7]{1,3}|.)|[^\\]", re.DOTALL)
_ESCAPES: Final = dict(zip(b"ntvbrfa", b"\n\t\v\b\r\f\a", strict=True))


@final
class Stream:
    """A position in a stream that cannot leave it.

    Attributes:
        data: the whole content.
        pos: offset of the next byte.
        encoding: X (big-endian), B (the writer's order) or A (text).
    """

    def __init__(self, data: Buffer, pos: int, encoding: str) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data)
        self.encoding = encoding
        small = encoding == "B" and bytes(data[pos : pos + 1]) != b"\0"
        self._integer = struct.Struct("<i" if small else ">i")
        self._pair = struct.Struct("<ii" if small else ">ii")

    def need(self, size: int) -> int:
        """Move over so many bytes and return where they start.

        Raises:
            Malformed: fewer are left.
        """
        start = self.pos
        if size < 0 or size > self.end - start:
            raise Malformed(f"{size} bytes are needed at offset {start}, and {self.end - start} are left")
        self.pos = start + size
        return start

    def word(self) -> bytes:
        """The next word of the textual encoding."""
        found = _WORD.match(self.data, self.pos)
        if found is None:
            raise Malformed(f"a word is missing at offset {self.pos}")
        self.pos = found.end()
        return found[1]

    def integer(self) -> int:
        """The next integer of 32 bits."""
        if self.encoding == "A":
            text = self.word()
            if text == b"NA":
                return _NOT_STATED
            if not _INTEGER.fullmatch(text) or not -(1 << 31) <= int(text) < 1 << 31:
                raise Malformed(f"{text[:20]!r} is no number")
            return int(text)
        return int(self._integer.unpack_from(self.data, self.need(4))[0])

    def length(self) -> int:
        """The next length; -1 announces one of 64 bits."""
        size = self.integer()
        if size == -1:
            size = (self.integer() << 32) + (self.integer() & 0xFFFFFFFF)
        if size < 0:
            raise Malformed(f"a length of {size}")
        return size

    def vector(self, count: int, width: int) -> None:
        """Step over numbers of so many bytes each."""
        if self.encoding != "A":
            self.need(count * width)
            return
        if count > self.end - self.pos:
            raise Malformed(f"a vector of {count} numbers in {self.end - self.pos} bytes")
        for _ in range(count * (2 if width == 16 else 1)):
            self.word()

    def text(self) -> str:
        """A length and so many bytes; "" for a text that is not stated."""
        size = self.integer()
        if size <= 0:
            return ""
        if self.encoding == "A":
            return self._letters(size).decode("utf-8", "backslashreplace")
        start = self.need(size)
        return bytes(self.data[start : start + min(size, KEPT)]).decode("utf-8", "backslashreplace")

    def _letters(self, count: int) -> bytes:
        """So many bytes of the textual encoding, which escapes some of them; the first are kept."""
        if count > self.end - self.pos:
            raise Malformed(f"a text of {count} bytes in {self.end - self.pos}")
        self.pos = _SPACE.match(self.data, self.pos).end()  # type: ignore[union-attr]  # it matches nothing too
        kept = bytearray()
        for _ in range(count):
            found = _LETTER.match(self.data, self.pos)
            if found is None:
                raise Malformed(f"a text is cut off at offset {self.pos}")
            self.pos = found.end()
            if len(kept) < KEPT:
                kept.append(_byte(found[1]) if found[1] else found[0][0])
        return bytes(kept)

    def texts(self, count: int) -> int:
        """Step over plain texts of a vector, as many as stand here; how many there were."""
        if self.encoding == "A":
            return 0
        data, end, pos, unpack = self.data, self.end, self.pos, self._pair.unpack_from
        done = 0
        while done < count and pos <= end - 8:
            flags, size = unpack(data, pos)
            step = 8 + max(size, 0)
            if flags & 0x2FF != _CHAR or size < -1 or step > end - pos:
                break
            pos += step
            done += 1
        self.pos = pos
        return done


def _byte(escape: bytes) -> int:
    """The byte that an escape stands for."""
    return int(escape, 8) & 255 if escape.isdigit() and escape < b"8" else _ESCAPES.get(escape[0], escape[0])
