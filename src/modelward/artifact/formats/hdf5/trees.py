"""Groups and attributes in bulk: B-trees of both versions, symbol tables, fractal heaps.

Source: HDF5 File Format Specification version 3.0, sections III.A (B-trees), III.B (symbol table nodes),
III.G (fractal heap). The sizes of the counts in a node of a version 2 B-tree follow H5B2hdr.c of HDF5 1.14.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.hdf5.store import LARGEST
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.formats.hdf5.store import Store

_LEVELS: Final = 64


class Symbol(msgspec.Struct, frozen=True):
    """An entry of a group in the old style: a hard link, or a soft one where `soft` is its target."""

    name: bytes
    address: int | None
    soft: bytes | None


def symbols(store: Store, tree: int, heap: int) -> Iterator[Symbol]:
    """The entries of a group in the old style.

    Args:
        store: the file.
        tree: address of its B-tree.
        heap: address of its local heap.
    """
    texts = store.local_heap(heap)
    for node in _leaves(store, tree):
        cursor = store.at(node, b"SNOD")
        cursor.need(2)
        for _ in range(cursor.number("H")):
            store.spend(1)
            name = store.text(texts, store.sized(cursor, store.offset))
            address = store.address(cursor)
            kind = cursor.number("I")
            cursor.need(4)
            scratch = cursor.take(16)
            soft = store.text(texts, int.from_bytes(scratch[:4], "little")) if kind == 2 else None
            yield Symbol(name, address, soft)


def _leaves(store: Store, tree: int) -> Iterator[int]:
    """Addresses of the symbol table nodes below a B-tree of version 1; each node is read once."""
    seen: set[int] = set()
    stack = [tree]
    while stack:
        address = stack.pop()
        if address in seen:
            raise Malformed(f"the tree of a group comes back to address {address}")
        seen.add(address)
        cursor = store.at(address, b"TREE")
        if cursor.number("B"):
            raise Malformed("the tree of a group is one of chunks")
        level, used = cursor.number("B"), cursor.number("H")
        cursor.need(2 * store.offset)
        children: list[int] = []
        for _ in range(used):
            store.spend(1)
            cursor.need(store.length)
            child = store.address(cursor)
            if child is not None:
                children.append(child)
        if level:
            stack += reversed(children)
        else:
            yield from children


def _width(limit: int) -> int:
    """Bytes that encode numbers up to a limit."""
    return (max(limit, 1).bit_length() - 1) // 8 + 1


def records(store: Store, address: int) -> Iterator[Cursor]:
    """Cursors over the records of a B-tree of version 2."""
    cursor = store.at(address, b"BTHD")
    cursor.need(2)
    node, size, depth = cursor.number("I"), cursor.number("H"), cursor.number("H")
    cursor.need(2)
    root, count = store.address(cursor), cursor.number("H")
    if root is None:
        return
    if not size or node < 16 or depth > _LEVELS:
        raise Malformed(f"a tree of nodes of {node} bytes, records of {size} and {depth} levels")
    leaf = (node - 10) // size
    counted = _width(leaf)
    cumulative, widths = leaf, [0]
    for _ in range(depth):
        pointer = store.offset + counted + widths[-1]
        most = (node - 10 - pointer) // (size + pointer)
        cumulative = (most + 1) * cumulative + most
        widths.append(_width(cumulative))
    seen: set[int] = set()
    stack = [(root, count, depth)]
    while stack:
        at, used, level = stack.pop()
        if at in seen:
            raise Malformed(f"a tree comes back to address {at}")
        seen.add(at)
        cursor = store.at(at, b"BTIN" if level else b"BTLF")
        cursor.need(2)
        for _ in range(used):
            store.spend(1)
            start = cursor.need(size)
            yield Cursor(store.data, start, start + size)
        for _ in range(used + 1 if level else 0):
            child, below = store.address(cursor), store.sized(cursor, counted)
            cursor.need(widths[level - 1] if level > 1 else 0)
            if child is None:
                raise Malformed("a node of a tree has no address")
            stack.append((child, below, level - 1))


@final
class FractalHeap:
    """Objects by heap identifier (section III.G)."""

    __slots__ = ("_blocks", "_huge", "_length", "_offset", "_starts", "_store", "_tiny", "size")

    def __init__(self, store: Store, address: int) -> None:
        self._store = store
        cursor = store.at(address, b"FRHP")
        cursor.need(1)
        self.size, filters = cursor.number("H"), cursor.number("H")
        cursor.need(1)
        managed = cursor.number("I")
        store.count(cursor)
        huge = store.address(cursor)
        store.count(cursor)
        store.address(cursor)
        for _ in range(8):
            store.count(cursor)
        width, start, direct = cursor.number("H"), store.count(cursor), store.count(cursor)
        bits = cursor.number("H")
        cursor.need(2)
        root, rows = store.address(cursor), cursor.number("H")
        if filters:
            raise Malformed("the links or attributes are compressed")
        if not width or not start or start > direct or direct > LARGEST or bits > 64:
            raise Malformed("a heap has impossible block sizes")
        self._offset = (bits + 7) // 8
        self._length = min((direct.bit_length() + 6) // 8, _width(managed))
        self._tiny = self.size - 1 > 16
        self._huge = self._huge_objects(huge)
        self._blocks: list[tuple[int, int, int]] = []
        if root is not None:
            self._collect(root, rows, (width, start, direct))
        self._blocks.sort()
        self._starts = [block[0] for block in self._blocks]

    def _huge_objects(self, tree: int | None) -> dict[int, tuple[int, int]]:
        """Key -> address and length of objects that stand outside the blocks."""
        made: dict[int, tuple[int, int]] = {}
        store = self._store
        if tree is None or self.size - 1 >= store.offset + store.length:
            return made
        for record in records(store, tree):
            where, length, key = store.address(record), store.count(record), store.count(record)
            if where is not None:
                made[key] = (where, length)
        return made

    def _collect(self, root: int, rows: int, table: tuple[int, int, int]) -> None:
        """The direct blocks: where in the heap each starts, its address and its size."""
        width, start, direct = table
        if not rows:
            self._blocks.append((0, root, start))
            return
        last = (direct // start).bit_length() + 1
        seen: set[int] = set()
        stack = [(root, rows, 0)]
        while stack:
            address, count, offset = stack.pop()
            if address in seen or count > 64:
                raise Malformed(f"a heap comes back to address {address}")
            seen.add(address)
            cursor = self._store.at(address, b"FHIB")
            cursor.need(1 + self._store.offset + self._offset)
            for row in range(count):
                size = start << max(row - 1, 0)
                for _ in range(width):
                    self._store.spend(1)
                    child = self._store.address(cursor)
                    if child is not None and row < last:
                        self._blocks.append((offset, child, size))
                    elif child is not None:
                        below = (size // (start * width)).bit_length()
                        stack.append((child, below, offset))
                    offset += size

    def find(self, identifier: bytes) -> Cursor:
        """A cursor over an object.

        Raises:
            Malformed: the identifier leads nowhere.
        """
        kind = identifier[0] >> 4 & 3
        if kind == 0:
            return self._managed(identifier)
        if kind == 1:
            return self._outside(identifier)
        size = (identifier[0] & 15) + 1 if not self._tiny else ((identifier[0] & 15) << 8 | identifier[1]) + 1
        raw = identifier[2 if self._tiny else 1 :][:size]
        return Cursor(raw)

    def _managed(self, identifier: bytes) -> Cursor:
        offset = int.from_bytes(identifier[1 : 1 + self._offset], "little")
        length = int.from_bytes(identifier[1 + self._offset :][: self._length], "little")
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            raise Malformed("an object of a heap lies in no block")
        start, address, size = self._blocks[index]
        if offset - start + length > size:
            raise Malformed("an object of a heap lies outside its block")
        return self._store.cursor(address + offset - start, length)

    def _outside(self, identifier: bytes) -> Cursor:
        store = self._store
        cursor = Cursor(identifier, 1)
        if self.size - 1 >= store.offset + store.length:
            where, length = store.address(cursor), store.count(cursor)
        else:
            key = store.sized(cursor, min(store.length, cursor.left))
            where, length = self._huge.get(key, (None, 0))
        if where is None:
            raise Malformed("a large object of a heap lies nowhere")
        found = store.cursor(where, length)
        if found.left < length:
            raise Malformed("a large object of a heap is cut off")
        return found
