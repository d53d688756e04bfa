"""The file as addresses: superblock, object headers, heaps of texts.

Source: HDF5 File Format Specification version 3.0, sections II.A (superblock), III.D and III.E (heaps),
IV.A.1 (object headers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.values import Buffer

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
LARGEST: Final = 64 << 20
"""Largest text, attribute or heap object, in bytes, that is copied out of the file."""
_BLOCKS: Final = 4096
"""Most blocks that one object header may be spread over."""


class Message(msgspec.Struct, frozen=True):
    """One message of an object header.

    Attributes:
        kind: its type, e.g. 0x000C for an attribute.
        flags: bit 1: the body stands elsewhere and only a reference to it stands here.
        start: offset of the body in the file.
        size: bytes of the body.
    """

    kind: int
    flags: int
    start: int
    size: int


def place(data: Buffer) -> int | None:
    """Offset of the first superblock: 0, or behind a user block at 512, 1024, 2048 and so on."""
    at = 0
    while at + len(SIGNATURE) <= len(data):
        if data[at : at + len(SIGNATURE)] == SIGNATURE:
            return at
        at = at * 2 or 512
    return None


def behind_user_block(data: Buffer, head: bytes) -> bool:
    """Whether an HDF5 file starts behind a user block of 512, 1024, 2048 bytes and so on.

    Args:
        data: the whole content.
        head: its first bytes; they are compared first.
    """
    at = 512
    while at + 8 <= len(data):
        piece = head[at : at + 8] if at + 8 <= len(head) else data[at : at + 8]
        if piece == SIGNATURE:
            return True
        at *= 2
    return False


@final
class Store:
    """The bytes of a file and the sizes of its addresses.

    Attributes:
        data: the whole content.
        base: offset that addresses count from.
        root: address of the root group's object header.
        extension: address of the superblock's extension, or None.
        driver: address of a block that names another file driver, or None.
        version: of the superblock.
        spend: called with the steps of work that are about to be taken.
    """

    __slots__ = (
        "_heaps",
        "base",
        "data",
        "driver",
        "extension",
        "length",
        "offset",
        "root",
        "spend",
        "version"
    )  # fmt: skip

    def __init__(self, data: Buffer, spend: Callable[[int], None]) -> None:
        self.data = data
        self.spend = spend
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        base = place(data)
        if base is None:
            raise Malformed("there is no HDF5 signature")
        self.base = base
        cursor = Cursor(data, base + 8)
        self.version = cursor.number("B")
        self.extension: int | None = None
        self.driver: int | None = None
        if self.version in {0, 1}:
            self._old(cursor)
        elif self.version in {2, 3}:
            self.offset, self.length = cursor.number("B"), cursor.number("B")
            self._sizes()
            cursor.need(1 + self.offset)
            self.extension = self.address(cursor)
            cursor.need(self.offset)
            self.root = self._root(self.address(cursor))
        else:
            raise Malformed(f"the superblock has version {self.version}")

    def _old(self, cursor: Cursor) -> None:
        cursor.need(4)
        self.offset, self.length = cursor.number("B"), cursor.number("B")
        self._sizes()
        cursor.need(9 if self.version == 0 else 13)
        cursor.need(3 * self.offset)
        self.driver = self.address(cursor)
        cursor.need(self.offset)
        self.root = self._root(self.address(cursor))

    def _sizes(self) -> None:
        if self.offset not in {2, 4, 8} or self.length not in {2, 4, 8}:
            raise Malformed(f"addresses of {self.offset} bytes and lengths of {self.length} are unknown")

    @staticmethod
    def _root(address: int | None) -> int:
        if address is None:
            raise Malformed("there is no root group")
        return address

    # --- numbers ------------------------------------------------------------------------------------------

    def cursor(self, address: int, size: int | None = None) -> Cursor:
        """A cursor at an address, bounded by the file and by `size` bytes."""
        at = self.base + address
        return Cursor(self.data, at, None if size is None else at + size)

    def address(self, cursor: Cursor) -> int | None:
        """The next address; None where it is undefined (all ones)."""
        value = self.sized(cursor, self.offset)
        return None if value == (1 << 8 * self.offset) - 1 else value

    def count(self, cursor: Cursor) -> int:
        """The next length."""
        return self.sized(cursor, self.length)

    @staticmethod
    def sized(cursor: Cursor, size: int) -> int:
        """The next integer of so many bytes."""
        return int.from_bytes(cursor.take(size), "little")

    def at(self, address: int, signature: bytes) -> Cursor:
        """A cursor behind the signature that must stand at an address.

        Raises:
            Malformed: another signature stands there.
        """
        cursor = self.cursor(address)
        found = cursor.take(len(signature))
        if found != signature:
            raise Malformed(f"{signature.decode()} is expected at offset {self.base + address}")
        return cursor

    # --- object headers -----------------------------------------------------------------------------------

    def header(self, address: int) -> list[Message]:
        """The messages of an object, those of its continuations included."""
        if self.cursor(address).take(4) == b"OHDR":
            return self._second(address)
        return self._first(address)

    def _first(self, address: int) -> list[Message]:
        cursor = self.cursor(address)
        if cursor.number("B") != 1:
            raise Malformed(f"no object header stands at offset {self.base + address}")
        cursor.need(7)
        size = cursor.number("I")
        cursor.need(4)
        return self._blocks([(cursor.pos, size)], old=True, order=False)

    def _second(self, address: int) -> list[Message]:
        cursor = self.cursor(address)
        cursor.need(4)
        if cursor.number("B") != 2:
            raise Malformed(f"the object header at offset {self.base + address} has an unknown version")
        flags = cursor.number("B")
        cursor.need(16 * bool(flags & 0x20) + 4 * bool(flags & 0x10))
        size = self.sized(cursor, 1 << (flags & 3))
        return self._blocks([(cursor.pos, size)], old=False, order=bool(flags & 4))

    def _blocks(self, blocks: list[tuple[int, int]], *, old: bool, order: bool) -> list[Message]:
        made: list[Message] = []
        seen: set[int] = set()
        for start, size in blocks:
            if start in seen or len(seen) > _BLOCKS:
                raise Malformed(f"the object header comes back to offset {start}")
            seen.add(start)
            cursor = Cursor(self.data, start, start + size)
            if size > len(self.data) - start:
                raise Malformed(f"an object header of {size} bytes at offset {start} is cut off")
            while cursor.left >= (8 if old else 4 + 2 * order):
                self.spend(1)
                message = self._message(cursor, old=old, order=order)
                made.append(message)
                if message.kind == 0x10:
                    body = Cursor(self.data, message.start, message.start + message.size)
                    target, length = self.address(body), self.count(body)
                    if target is not None:
                        at = self.base + target
                        blocks.append((at, length) if old else (at + 4, length - 8))
        return made

    def _message(self, cursor: Cursor, *, old: bool, order: bool) -> Message:
        kind = cursor.number("H") if old else cursor.number("B")
        size, flags = cursor.number("H"), cursor.number("B")
        cursor.need(3 if old else 2 * order)
        return Message(kind, flags, cursor.need(size), size)

    def body(self, message: Message) -> Cursor:
        """A cursor over the body of a message."""
        return Cursor(self.data, message.start, message.start + message.size)

    # --- heaps --------------------------------------------------------------------------------------------

    def local_heap(self, address: int) -> tuple[int, int]:
        """Offset and size of the texts of a group in the old style (section III.D)."""
        cursor = self.at(address, b"HEAP")
        cursor.need(4)
        size = self.count(cursor)
        self.count(cursor)
        start = self.address(cursor)
        if start is None:
            raise Malformed("a heap of names has no content")
        found = self.cursor(start)
        return found.pos, min(size, found.left)

    def text(self, heap: tuple[int, int], offset: int) -> bytes:
        """A text of a local heap, up to its zero byte."""
        start, size = heap
        if offset >= size:
            raise Malformed(f"a name at {offset} lies outside its heap of {size} bytes")
        raw = bytes(self.data[start + offset : start + min(size, offset + (1 << 16))])
        return raw.partition(b"\0")[0]

    def global_object(self, address: int, index: int, most: int = LARGEST) -> bytes:
        """An object of a global heap (section III.E), or the first `most` bytes of it.

        Raises:
            Malformed: there is none, or it is larger than is read.
        """
        objects = self._heaps.get(address)
        if objects is None:
            objects = self._heaps[address] = self.collection(address)
        if index not in objects:
            raise Malformed(f"the global heap has no object {index}")
        start, size = objects[index]
        if min(size, most) > LARGEST:
            raise Malformed(f"an object of the global heap has {size} bytes")
        self.spend(min(size, most) >> 10)
        return bytes(self.data[start : start + min(size, most)])

    def collection(self, address: int) -> dict[int, tuple[int, int]]:
        """Index -> offset and size of the objects of one collection of the global heap."""
        cursor = self.at(address, b"GCOL")
        cursor.need(4)
        size = self.count(cursor)
        cursor = Cursor(self.data, cursor.pos, self.base + address + size)
        found: dict[int, tuple[int, int]] = {}
        while cursor.left >= 8 + self.length:
            self.spend(1)
            index = cursor.number("H")
            cursor.need(6)
            length = self.count(cursor)
            if not index:
                break
            found[index] = (cursor.need(length), length)
            cursor.need(min(-length % 8, cursor.left))
        return found
