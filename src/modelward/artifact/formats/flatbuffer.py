"""FlatBuffers without a schema compiler: tables, vectors and texts by field number, each inside the data.

Source: "FlatBuffers internals" (flatbuffers.dev): little-endian; a table starts with the offset of its
vtable, a vtable with its own size and the table's, offsets are relative to where they stand.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_U16: Final = struct.Struct("<H")
_I32: Final = struct.Struct("<i")
_U32: Final = struct.Struct("<I")
_TEXT, _VECTOR = 5, 10
"""Types of a FlexBuffer."""


@final
class Flat:
    """A buffer, and the budget of reading it.

    Attributes:
        data: the whole content.
        start: where the buffer starts in it.
        end: behind its last byte.
    """

    def __init__(self, data: Buffer, into: Reading, *, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.into = into
        self.start = start
        self.end = len(data) if end is None else min(end, len(data))

    def at(self, shape: struct.Struct, pos: int) -> int:
        """The number at an offset.

        Raises:
            Malformed: it lies outside the buffer.
        """
        if pos < self.start or pos + shape.size > self.end:
            raise Malformed(f"a number at offset {pos} lies outside {self.end} bytes")
        return int(shape.unpack_from(self.data, pos)[0])

    def follow(self, pos: int) -> int:
        """Where the offset that stands at `pos` leads."""
        step = self.at(_U32, pos)
        if step == 0 or pos + step > self.end - 4:
            raise Malformed(f"the offset at {pos} leads {step} bytes ahead, out of {self.end} bytes")
        return pos + step

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.follow(self.start))


@final
class Table:
    """A table: its fields by number; one that is not there has its default."""

    __slots__ = ("_size", "_vtable", "flat", "pos")

    def __init__(self, flat: Flat, pos: int) -> None:
        flat.into.spend()
        self.flat = flat
        self.pos = pos
        self._vtable = pos - flat.at(_I32, pos)
        size, own = flat.at(_U16, self._vtable), flat.at(_U16, self._vtable + 2)
        if size < 4 or size % 2 or self._vtable + size > flat.end or own < 4 or pos + own > flat.end:
            raise Malformed(f"the table at offset {pos} does not fit its description")
        self._size = size

    def place(self, field: int) -> int:
        """Offset of a field's content; 0 when it is not there."""
        slot = 4 + 2 * field
        if slot + 2 > self._size:
            return 0
        step = self.flat.at(_U16, self._vtable + slot)
        return self.pos + step if step else 0

    def number(self, field: int, code: str, default: int = 0) -> int:
        """A field that is a number; `code` as in the module struct."""
        place = self.place(field)
        return self.flat.at(struct.Struct("<" + code), place) if place else default

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        place = self.place(field)
        return Table(self.flat, self.flat.follow(place)) if place else None

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """Offset of the first item and number of items of a field that is a vector; (0, 0) without it."""
        place = self.place(field)
        if not place:
            return 0, 0
        start = self.flat.follow(place)
        count = self.flat.at(_U32, start)
        if count * width > self.flat.end - start - 4:
            raise Malformed(f"the vector at offset {start} of {count} items does not fit")
        return start + 4, count

    def text(self, field: int, most: int = 4096) -> str:
        """A field that is a text; "" without it."""
        start, size = self.vector(field, 1)
        return bytes(self.flat.data[start : start + min(size, most)]).decode("utf-8", "backslashreplace")

    def bytes(self, field: int) -> bytes:
        """A field that is a vector of bytes."""
        start, size = self.vector(field, 1)
        return bytes(self.flat.data[start : start + size])

    def integers(self, field: int, code: str = "i") -> tuple[int, ...]:
        """A field that is a vector of numbers."""
        shape = struct.Struct("<" + code)
        start, count = self.vector(field, shape.size)
        self.flat.into.spend(count // 8)
        return struct.unpack_from(f"<{count}{code}", self.flat.data, start) if count else ()

    def tables(self, field: int) -> Iterator[Table]:
        """A field that is a vector of tables."""
        start, count = self.vector(field, 4)
        for at in range(count):
            yield Table(self.flat, self.flat.follow(start + 4 * at))

    def texts(self, field: int, most: int = 4096) -> Iterator[str]:
        """A field that is a vector of texts."""
        start, count = self.vector(field, 4)
        for at in range(count):
            self.flat.into.spend()
            place = self.flat.follow(start + 4 * at)
            size = self.flat.at(_U32, place)
            if size > self.flat.end - place - 4:
                raise Malformed(f"the text at offset {place} does not fit")
            yield bytes(self.flat.data[place + 4 : place + 4 + min(size, most)]).decode(
                "utf-8", "backslashreplace"
            )


def first_text(data: bytes) -> str:
    """The first item, a text, of a FlexBuffer that is a vector.

    Source: "FlexBuffers" (flatbuffers.dev): the last byte is the width of the root, the one before its type;
    offsets lead backwards, sizes stand before the items and types behind them.

    Raises:
        Malformed: it is no such vector.
    """

    def back(pos: int, width: int) -> int:
        if width not in {1, 2, 4, 8} or pos < 0 or pos + width > len(data):
            raise Malformed(f"an offset at {pos} lies outside {len(data)} bytes")
        return pos - int.from_bytes(data[pos : pos + width], "little")

    if len(data) < 3 or data[-2] >> 2 != _VECTOR:
        raise Malformed("it is no vector")
    width = 1 << (data[-2] & 3)
    start = back(len(data) - 2 - data[-1], data[-1])
    count = start - width - back(start - width, width)
    kinds = start + count * width
    if count <= 0 or not 0 <= kinds < len(data) or data[kinds] >> 2 != _TEXT:
        raise Malformed("its first item is no text")
    inner = 1 << (data[kinds] & 3)
    text = back(start, width)
    size = text - inner - back(text - inner, inner)
    if text < 0 or text + size > len(data):
        raise Malformed("the text leads out of it")
    return data[text : text + size].decode("utf-8", "backslashreplace")
