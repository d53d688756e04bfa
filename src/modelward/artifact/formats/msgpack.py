"""MessagePack, walked without building anything.

Source: the MessagePack specification (github.com/msgpack/msgpack, `spec.md`, 2013 and later).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

DEPTH: Final = 100
_LOOKED: Final = 200
"""Objects walked to find out what the data is."""
_TOP: Final = 2
"""Depth of the keys of the outermost map."""
_KEY: Final = 512
"""Longest key, in bytes."""
Kind: TypeAlias = Literal["map", "array", "text", "bytes", "extension", "integer", "constant"]
_SIZES: Final = {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4,
    0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""Type byte -> bytes of the length behind it."""
_FIXED: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
"""Type byte of a number -> its bytes."""


@final
class Item:
    """One object: where its content starts, and how many bytes or items it has."""

    __slots__ = ("code", "depth", "key", "kind", "size", "start")

    def __init__(self, kind: Kind, start: int, size: int, code: int) -> None:
        self.kind = kind
        self.start = start
        self.size = size
        self.code = code
        self.depth = 0
        self.key = False


@final
class Walk:
    """The objects of a stream in order."""

    def __init__(self, data: Buffer, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def items(self, into: Reading | None, most: int = 0) -> Iterator[Item]:
        """Objects of one value with everything in it, containers before their content.

        Args:
            into: budget; None for none.
            most: how many objects to visit at most; 0 for all.

        Raises:
            Malformed: the data ends early, holds an unknown type or is nested too deep.
        """
        stack: list[list[int]] = [[1, 0]]  # objects left, and whether they are keys and values in turn
        seen = 0
        while stack:
            if stack[-1][0] == 0:
                stack.pop()
                continue
            frame = stack[-1]
            frame[0] -= 1
            item = self.next()
            item.depth, item.key = len(stack), bool(frame[1] and frame[0] % 2)
            if into is not None:
                into.spend()
            seen += 1
            yield item
            if seen == most:
                return
            if item.kind in {"map", "array"}:
                count = item.size * 2 if item.kind == "map" else item.size
                if count > self.end - self.pos:
                    raise Malformed(
                        f"{item.size} items at offset {item.start} in {self.end - self.pos} bytes"
                    )
                stack.append([count, item.kind == "map"])
                if len(stack) > DEPTH:
                    raise Malformed(f"objects are nested deeper than {DEPTH} levels")

    def next(self) -> Item:
        """The next object; the content of texts, bytes and extensions is stepped over."""
        code = self._need(1)
        byte = self.data[code]
        if byte < 0x80 or byte >= 0xE0:
            return Item("integer", code, byte if byte < 0x80 else byte - 256, 0)
        if byte < 0xA0:
            return Item("map" if byte < 0x90 else "array", self.pos, byte & 15, 0)
        if byte < 0xC0:
            size = byte & 31
            return Item("text", self._need(size), size, 0)
        if byte in {0xC0, 0xC2, 0xC3}:
            return Item("constant", code, byte, 0)
        if byte in _FIXED:
            place = self._need(_FIXED[byte])
            whole = byte >= 0xCC
            value = int.from_bytes(self.data[place : self.pos], "big", signed=byte >= 0xD0) if whole else 0
            return Item("integer", place, value, 0)
        if 0xD4 <= byte <= 0xD8:
            kind = self.data[self._need(1)]
            size = 1 << (byte - 0xD4)
            return Item("extension", self._need(size), size, kind)
        if byte == 0xC1:
            raise Malformed(f"an unused type at offset {code}")
        place = self._need(_SIZES[byte])
        size = int.from_bytes(self.data[place : self.pos], "big")
        if byte >= 0xDC:
            return Item("array" if byte < 0xDE else "map", self.pos, size, 0)
        if byte >= 0xD9:
            return Item("text", self._need(size), size, 0)
        if byte <= 0xC6:
            return Item("bytes", self._need(size), size, 0)
        kind = self.data[self._need(1)]
        return Item("extension", self._need(size), size, kind)

    def _need(self, size: int) -> int:
        start = self.pos
        if size > self.end - start:
            raise Malformed(f"{size} bytes are needed at offset {start}, and {self.end - start} are left")
        self.pos = start + size
        return start


def begins(data: Buffer) -> tuple[Literal["flax-msgpack", "msgpack"], str] | None:
    """Which maps of MessagePack the data is, and what speaks for it; None when it is something else.

    The first objects are walked. Keys are texts, the outermost printable; maps of numbers must be whole, or
    have as many objects as are walked, as spaCy's rows of vectors have.
    """
    if not len(data) or (data[0] & 0xF0 != 0x80 and data[0] not in {0xDE, 0xDF}):
        return None
    walk = Walk(data)
    extensions = seen = numbered = 0
    try:
        for item in walk.items(None, _LOOKED):
            seen += 1
            if item.key and item.kind == "integer":
                numbered += 1
            elif item.key:
                if item.kind not in {"text", "bytes"} or item.size > _KEY:
                    return None
                key = bytes(data[item.start : item.start + item.size]).decode()
                if item.depth == _TOP and not key.isprintable():
                    return None
            elif item.kind == "extension":
                if item.code not in {1, 2, 3}:
                    return None
                extensions += 1
    except (Malformed, UnicodeDecodeError):
        return None
    whole = walk.pos == len(data)
    if extensions and not numbered:
        return "flax-msgpack", "a MessagePack map with arrays of Flax"
    if whole and seen > 2 and not numbered:
        return "flax-msgpack", "a MessagePack map"
    if seen > 2 and (whole or seen == _LOOKED):
        return "msgpack", "a MessagePack map of texts or numbers"
    return None
