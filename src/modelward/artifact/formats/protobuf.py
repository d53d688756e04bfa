"""Protocol-buffer messages without their schema: fields and where they stand; large ones are never copied.

A message whose singular field occurs several times is the merger of all of them, which is also what their
concatenation means; so a message is read from one or several spans.

Source: Protocol Buffers, Encoding (protobuf.dev/programming-guides/encoding), wire types 0, 1, 2 and 5; the
deprecated groups (3 and 4) are passed over as parsers do, since no model format has them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modelward.artifact.pickle.values import Buffer

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
GROUP: Final = 3
END: Final = 4
FIXED32: Final = 5
LONGEST: Final = 1 << 16
"""Most bytes of one text that are decoded; names and paths are shorter, what is longer is cut."""

Span: TypeAlias = tuple[int, int]
Field: TypeAlias = tuple[int, int, int, int]
"""Number, wire type, and for a varint its value and the offset behind it, else where the content stands."""


def varint(data: Buffer, pos: int, end: int) -> tuple[int, int]:
    """The unsigned number at an offset, and the offset behind it.

    Raises:
        Malformed: it does not end before `end`, or has more than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if pos >= end:
            raise Malformed(f"a number is cut off at offset {pos}")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, pos
    raise Malformed(f"a number at offset {pos - 10} has more than ten bytes")


def signed(value: int) -> int:
    """An int32 or int64 of the schema, from its 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: Buffer, span: Span, spend: Callable[[], None]) -> Iterator[Field]:
    """The fields of a message in order.

    Args:
        data: the whole content.
        span: where the message stands.
        spend: called once per field, such as `Reading.spend`.

    Raises:
        Malformed: a field leaves the message, is of no known wire type, or a group is not closed.
    """
    pos, end = span
    groups: list[int] = []
    while pos < end:
        spend()
        start = pos
        key = data[pos]
        pos += 1
        if key > 0x7F:
            key, pos = varint(data, start, end)
        number, wire = key >> 3, key & 7
        if not number or number >> 29:
            raise Malformed(f"field number {number} at offset {start}")
        if wire == VARINT:
            value, pos = varint(data, pos, end)
            if not groups:
                yield number, wire, value, pos
            continue
        if wire == GROUP:
            groups.append(number)
            continue
        if wire == END and groups and groups.pop() == number:
            continue
        if wire == BYTES:
            size = data[pos] if pos < end else 0x80
            if size < 0x80:
                pos += 1
            else:
                size, pos = varint(data, pos, end)
        elif wire in {FIXED64, FIXED32}:
            size = 8 if wire == FIXED64 else 4
        else:
            raise Malformed(f"wire type {wire} at offset {start}")
        if size > end - pos:
            raise Malformed(f"a field of {size} bytes at offset {pos}, where {end - pos} are left")
        if not groups:
            yield number, wire, pos, pos + size
        pos += size
    if groups:
        raise Malformed(f"{len(groups)} groups are not closed")


@final
class Message:
    """One message, its fields found and their content left where it is.

    Attributes:
        data: the whole content.
        spans: where the message stands; several are merged.
    """

    __slots__ = ("_parts", "_spend", "data", "spans")

    def __init__(self, data: Buffer, spans: Iterable[Span], spend: Callable[[], None]) -> None:
        self.data = data
        self.spans = tuple(spans)
        self._spend = spend
        self._parts: dict[int, list[Field]] = {}
        for span in self.spans:
            for field in fields(data, span, spend):
                self._parts.setdefault(field[0], []).append(field)

    def numbers_present(self) -> set[int]:
        """Numbers of the fields that occur."""
        return set(self._parts)

    def only_fields(self, known: Mapping[int, int], *, beyond: int = 1 << 29) -> None:
        """Refuse what another schema would read: parsers pass over fields that they do not know.

        Args:
            known: number -> wire type.
            beyond: larger numbers may occur.

        Raises:
            Malformed: there is another field.
        """
        for number, found in self._parts.items():
            wire = known.get(number)
            if number <= beyond and any(field[1] != wire for field in found):
                raise Malformed(f"field {number} is none of the format")

    def places(self, number: int) -> list[Span]:
        """Where the length-delimited fields of a number stand."""
        return [(field[2], field[3]) for field in self._parts.get(number, ()) if field[1] == BYTES]

    def each(self, number: int) -> Iterator[Message]:
        """The messages of a repeated field."""
        for span in self.places(number):
            yield Message(self.data, (span,), self._spend)

    def only(self, number: int) -> Message:
        """The message of a singular field; an empty one when it does not occur."""
        return Message(self.data, self.places(number), self._spend)

    def texts(self, number: int, most: int | None = None) -> list[str]:
        """The first `most` strings of a repeated field, each cut at `LONGEST` bytes; not UTF-8 is escaped."""
        return [self._text(span) for span in self.places(number)[:most]]

    def text(self, number: int) -> str:
        """The string of a singular field: its last occurrence, as parsers take it; "" when there is none."""
        found = self.places(number)
        return self._text(found[-1]) if found else ""

    def _text(self, span: Span) -> str:
        start, end = span
        return bytes(self.data[start : min(end, start + LONGEST)]).decode("utf-8", "backslashreplace")

    def number(self, number: int, default: int = 0) -> int:
        """The varint of a singular field, as a signed number."""
        found = [field[2] for field in self._parts.get(number, ()) if field[1] == VARINT]
        return signed(found[-1]) if found else default

    def integers(self, number: int, most: int = 64) -> list[int]:
        """The first varints of a repeated field, packed or not, as signed numbers."""
        found: list[int] = []
        for _, wire, start, end in self._parts.get(number, ()):
            if wire == VARINT:
                found.append(signed(start))
            elif wire == BYTES:
                pos = start
                while pos < end and len(found) < most:
                    value, pos = varint(self.data, pos, end)
                    found.append(signed(value))
        return found[:most]

    def real(self, number: int) -> float | None:
        """The float of a singular field, or None."""
        found = [field for field in self._parts.get(number, ()) if field[1] == FIXED32]
        if not found:
            return None
        return float(struct.unpack("<f", bytes(self.data[found[-1][2] : found[-1][3]]))[0])
