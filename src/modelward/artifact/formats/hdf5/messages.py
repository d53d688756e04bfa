"""What the messages of an object header say: types, spaces, attributes, links, layouts, filters.

Source: HDF5 File Format Specification version 3.0, sections IV.A.2.b (dataspace), .d (datatype), .g (link),
.h (external data files), .i (layout), .l (filter pipeline), .m (attribute).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.hdf5.store import LARGEST
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.hdf5.store import Store

_CLASSES: Final = (
    "integer", "float", "time", "string", "bitfield", "opaque", "compound", "reference", "enumeration",
    "variable-length", "array", "complex",
)  # fmt: skip
_FLOATS: Final = {2: "float16", 4: "float32", 8: "float64"}
_TEXTS: Final = 1 << 20
"""Most texts of one attribute."""


class Type(msgspec.Struct, frozen=True):
    """A datatype, as far as the content's meaning for a loader depends on it.

    Attributes:
        name: of the class, or of a numeric type as numpy calls it.
        size: bytes of one element.
        text: "fixed" or "variable" for texts, "" for all else.
        sequence: elements are sequences in the global heap.
    """

    name: str
    size: int
    text: str = ""
    sequence: bool = False


class Layout(msgspec.Struct, frozen=True):
    """Where the data of a dataset is.

    Attributes:
        kind: "compact", "contiguous", "chunked" or "virtual".
        start: offset of the data in the file where it stands in one piece, else None.
        size: bytes stored in one piece.
        heap: address and index of the global heap object that lists the sources of a virtual dataset.
    """

    kind: str
    start: int | None = None
    size: int = 0
    heap: tuple[int, int] | None = None


class Link(msgspec.Struct, frozen=True):
    """A named link.

    Attributes:
        name: of the link.
        kind: 0 hard, 1 soft, 64 external, others made by a program.
        address: of the object, for hard links.
        target: path in the file, for soft and external links.
        file: name of the other file, for external links.
    """

    name: bytes
    kind: int
    address: int | None = None
    target: bytes = b""
    file: bytes = b""


class Attribute(msgspec.Struct, frozen=True):
    """A named value.

    Attributes:
        name: of the attribute.
        type: of its elements, or None when it is committed elsewhere and was not found.
        texts: the values of a text; None for values of other types.
        raw: the value's bytes as stored.
    """

    name: str
    type: Type | None
    texts: tuple[bytes, ...] | None
    raw: bytes


def datatype(cursor: Cursor) -> Type:
    """Decode a datatype's head."""
    first = cursor.number("B")
    bits = int.from_bytes(cursor.take(3), "little")
    size = cursor.number("I")
    kind, version = first & 15, first >> 4
    if kind >= len(_CLASSES) or not 1 <= version <= 5:
        raise Malformed(f"a datatype has class {kind} and version {version}")
    if kind == 0:
        return Type(f"{'' if bits & 8 else 'u'}int{8 * size}", size)
    if kind == 1:
        return Type(_FLOATS.get(size, "float"), size)
    if kind == 3:
        return Type("string", size, "fixed")
    if kind == 9:
        return Type("string", size, "variable") if bits & 15 == 1 else Type("sequence", size, sequence=True)
    return Type(_CLASSES[kind], size)


def dataspace(store: Store, cursor: Cursor) -> tuple[int, ...]:
    """The current size of each dimension; (0,) for a null space."""
    version, rank = cursor.number("B"), cursor.number("B")
    cursor.need(1)
    if rank > 32:
        raise Malformed(f"a dataspace has {rank} dimensions")
    if version == 1:
        cursor.need(5)
    elif version != 2:
        raise Malformed(f"a dataspace has version {version}")
    elif cursor.number("B") == 2:
        return (0,)
    return tuple(store.count(cursor) for _ in range(rank))


def link(store: Store, cursor: Cursor) -> Link:
    """Decode a link message."""
    if cursor.number("B") != 1:
        raise Malformed("a link has an unknown version")
    flags = cursor.number("B")
    kind = cursor.number("B") if flags & 8 else 0
    cursor.need(8 * bool(flags & 4) + bool(flags & 16))
    name = cursor.take(store.sized(cursor, 1 << (flags & 3)))
    if kind == 0:
        return Link(name, 0, store.address(cursor))
    value = cursor.take(cursor.number("H"))
    if kind == 1:
        return Link(name, 1, target=value)
    if kind == 64:
        file, _, rest = value[1:].partition(b"\0")
        return Link(name, 64, target=rest.partition(b"\0")[0], file=file)
    return Link(name, kind, target=value)


def attribute(store: Store, cursor: Cursor) -> Attribute:
    """Decode an attribute, its texts in the global heap included."""
    version, flags = cursor.number("B"), cursor.number("B")
    if version not in {1, 2, 3}:
        raise Malformed(f"an attribute has version {version}")
    sizes = [cursor.number("H") for _ in range(3)]
    cursor.need(version == 3)
    pieces: list[Cursor] = []
    for size in sizes:
        start = cursor.need(size)
        cursor.need(min(-size % 8, cursor.left) if version == 1 else 0)
        pieces.append(Cursor(cursor.data, start, start + size))
    name = pieces[0].take(sizes[0]).partition(b"\0")[0].decode("utf-8", "backslashreplace")
    kind = _type(store, pieces[1], shared=bool(flags & 1))
    shape = dataspace(store, pieces[2]) if not flags & 2 else None
    if cursor.left > LARGEST:
        raise Malformed(f"the attribute {name[:80]} has {cursor.left} bytes")
    store.spend(cursor.left >> 10)
    raw = cursor.take(cursor.left)
    texts = None
    if kind is not None and kind.text and kind.size:
        most = len(raw) // kind.size
        texts = _texts(store, kind, raw, most if shape is None else min(prod(shape), most))
    return Attribute(name, kind, texts, raw)


def _type(store: Store, cursor: Cursor, *, shared: bool) -> Type | None:
    """A datatype that stands here, or in an object of its own."""
    if not shared:
        return datatype(cursor)
    address = committed(store, cursor)
    if address is not None:
        for message in store.header(address):
            if message.kind == 3 and not message.flags & 2:
                return datatype(store.body(message))
    return None


def committed(store: Store, cursor: Cursor) -> int | None:
    """Address of the object whose message a shared message stands for; None when it is in a heap."""
    version, kind = cursor.number("B"), cursor.number("B")
    if version == 1:
        cursor.need(6)
        return store.address(cursor)
    return store.address(cursor) if version == 2 or kind == 2 else None


def _texts(store: Store, kind: Type, raw: bytes, count: int) -> tuple[bytes, ...]:
    if count > _TEXTS:
        raise Malformed(f"an attribute holds {count} texts")
    made: list[bytes] = []
    total = 0
    for index in range(count):
        store.spend(1)
        piece = raw[index * kind.size : (index + 1) * kind.size]
        if kind.text == "variable":
            cursor = Cursor(piece)
            length = cursor.number("I")
            address, at = store.address(cursor), cursor.number("I")
            piece = store.global_object(address, at, length) if address and length else b""
        total += len(piece)
        if total > LARGEST:
            raise Malformed("the texts of an attribute are larger than are read")
        made.append(piece)
    return tuple(made)


def layout(store: Store, cursor: Cursor) -> Layout:
    """Decode a data layout message, versions 1 to 5."""
    version = cursor.number("B")
    if version in {1, 2}:
        rank, kind = cursor.number("B"), cursor.number("B")
        cursor.need(5)
        address = store.address(cursor) if kind else None
        if kind != 1:
            cursor.need(4 * rank)
            size = cursor.number("I") if not kind else 0
            return Layout("compact", cursor.pos, size) if not kind else Layout("chunked")
        return Layout("contiguous", None if address is None else store.base + address)
    if version not in {3, 4, 5}:
        raise Malformed(f"a layout has version {version}")
    kind = cursor.number("B")
    if kind == 0:
        size = cursor.number("H")
        return Layout("compact", cursor.need(size), size)
    if kind == 1:
        address = store.address(cursor)
        return Layout("contiguous", None if address is None else store.base + address, store.count(cursor))
    if kind == 3 and version > 3:
        address = store.address(cursor)
        return Layout("virtual", heap=None if address is None else (address, cursor.number("I")))
    if kind != 2:
        raise Malformed(f"a layout has class {kind}")
    return Layout("chunked")


def filters(cursor: Cursor) -> list[tuple[int, str]]:
    """Identifier and name of each filter of a pipeline."""
    version, count = cursor.number("B"), cursor.number("B")
    if version not in {1, 2}:
        raise Malformed(f"a filter pipeline has version {version}")
    cursor.need(6 if version == 1 else 0)
    found: list[tuple[int, str]] = []
    for _ in range(count):
        number = cursor.number("H")
        size = cursor.number("H") if version == 1 or number >= 256 else 0
        cursor.need(2)
        values = cursor.number("H")
        name = cursor.take(size + (-size % 8 if version == 1 else 0))
        cursor.need(4 * values + (4 if version == 1 and values % 2 else 0))
        found.append((number, name.partition(b"\0")[0].decode("utf-8", "backslashreplace")))
    return found


def external_files(store: Store, cursor: Cursor) -> list[bytes]:
    """Names of the files that hold a dataset's data."""
    if cursor.number("B") != 1:
        raise Malformed("a list of external files has an unknown version")
    cursor.need(3)
    cursor.need(2)
    used = cursor.number("H")
    heap = store.address(cursor)
    if heap is None:
        raise Malformed("a list of external files has no names")
    texts = store.local_heap(heap)
    names: list[bytes] = []
    for _ in range(used):
        store.spend(1)
        names.append(store.text(texts, store.count(cursor)))
        store.count(cursor)
        store.count(cursor)
    return names


def virtual_sources(store: Store, heap: tuple[int, int]) -> list[tuple[bytes, bytes]]:
    """File and dataset of each source of a virtual dataset (section VIII.A); "." names the file itself."""
    cursor = Cursor(store.global_object(*heap))
    version = cursor.number("B")
    count = store.count(cursor)
    found: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        store.spend(1)
        flags = cursor.number("B") if version else 0
        file = b"." if flags & 4 else _zero(store, cursor, shared=bool(flags & 1), found=found, part=0)
        dataset = _zero(store, cursor, shared=bool(flags & 2), found=found, part=1)
        found.append((file, dataset))
        for _ in range(2):
            _selection(cursor)
    return found


def _zero(
    store: Store, cursor: Cursor, *, shared: bool, found: list[tuple[bytes, bytes]], part: int
) -> bytes:
    """A text up to its zero byte, or one that an earlier entry has."""
    if shared:
        index = store.count(cursor)
        if index >= len(found):
            raise Malformed("a source of a virtual dataset refers to a later one")
        return found[index][part]
    end = cursor.data.find(b"\0", cursor.pos, cursor.end)
    if end < 0:
        raise Malformed("the name of a source of a virtual dataset does not end")
    text = cursor.take(end - cursor.pos)
    cursor.need(1)
    return text


def _selection(cursor: Cursor) -> None:
    """Pass over a serialised selection (section IX)."""
    kind, version = cursor.number("I"), cursor.number("I")
    if kind in {0, 3}:
        cursor.need(8)
    elif kind == 2 and version == 1:
        cursor.need(4)
        cursor.need(cursor.number("I"))
    elif kind == 2 and version in {2, 3}:
        flags = cursor.number("B")
        if version == 2:
            cursor.need(cursor.number("I"))
            return
        width = cursor.number("B")
        rank = cursor.number("I")
        if flags & 1:
            cursor.need(4 * rank * width)
        else:
            cursor.need(2 * rank * width * _wide(cursor, width))
    elif kind == 1 and version == 1:
        cursor.need(4)
        cursor.need(cursor.number("I"))
    elif kind == 1 and version == 2:
        width = cursor.number("B")
        rank = cursor.number("I")
        cursor.need(rank * width * _wide(cursor, width))
    else:
        raise Malformed(f"a selection has kind {kind} and version {version}")


def _wide(cursor: Cursor, width: int) -> int:
    """The next integer of so many bytes."""
    return int.from_bytes(cursor.take(width), "little")
