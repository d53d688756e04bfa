"""The headers of a 7z archive, and its packed streams decoded coder by coder.

Source: 7zFormat.txt and Methods.txt of the LZMA SDK 24.09.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact import compress
from modelward.artifact.cursor import Cursor
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.compress import Decompressor
    from modelward.artifact.pickle.values import Buffer

SIGNATURE: Final = b"7z\xbc\xaf\x27\x1c"
HEADER: Final = 64 << 20
"""Largest header, in bytes, once it is decompressed."""
ENTRIES: Final = 1 << 20
"""Most files or streams of one archive."""
_CHUNK: Final = 1 << 16
_FILTERS: Final = {
    b"\x03": lzma.FILTER_DELTA,
    b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x06": lzma.FILTER_IA64,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64,
    b"\x07": lzma.FILTER_ARM,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x09": lzma.FILTER_SPARC,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}
_UNREADABLE: Final = {
    b"\x06\xf1\x07\x01": "it is encrypted",
    b"\x03\x04\x01": "PPMd cannot be read here",
    b"\x04\x01\x09": "Deflate64 cannot be read here",
    b"\x03\x03\x01\x1b": "BCJ2 cannot be read here",
    b"\x04\xf7\x11\x02": "Brotli cannot be read here",
}


class Unreadable(Exception):
    """A stream is packed in a way that is not read; the message says why."""


class Coder(msgspec.Struct, frozen=True):
    """One step of decoding."""

    method: bytes
    properties: bytes
    size: int


class Folder(msgspec.Struct, frozen=True):
    """Streams that are packed together.

    Attributes:
        coders: in the order of decoding.
        start: offset of the packed bytes.
        packed: their number.
        sizes: bytes of each file in it.
        simple: each coder has one input and one output; others are not read.
    """

    coders: tuple[Coder, ...]
    start: int
    packed: int
    sizes: tuple[int, ...]
    simple: bool


class Item(msgspec.Struct, frozen=True):
    """A name in the archive.

    Attributes:
        name: with forward slashes.
        link: it is a symbolic link; its content is the target.
        empty: it has no content (a folder or an empty file).
    """

    name: str
    link: bool
    empty: bool


class Directory(msgspec.Struct, frozen=True):
    """What the headers say; `intact` when their checksums agree."""

    folders: tuple[Folder, ...]
    items: tuple[Item, ...]
    intact: bool


def directory(data: Buffer) -> Directory:
    """Read the headers.

    Raises:
        Malformed: they contradict the format, or are cut off.
        Unreadable: the header itself is encrypted or packed in a way that is not read.
    """
    cursor = Cursor(data, 12)
    offset, size, crc = cursor.number("Q"), cursor.number("Q"), cursor.number("I")
    if not size:
        return Directory((), (), intact=True)
    if size > HEADER:
        raise Malformed(f"a header of {size} bytes")
    header = bytes(data[32 + offset : 32 + offset + size])
    if len(header) < size:
        raise Malformed("the header is cut off: the archive is truncated")
    intact = zlib.crc32(header) == crc
    for _ in range(4):
        if header[0] != 0x17:
            break
        inner = _streams(Cursor(header, 1))
        if len(inner) != 1:
            raise Malformed("the packed header is not one stream")
        if sum(inner[0].sizes) > HEADER or not inner[0].sizes:
            raise Malformed("the packed header has no size, or one that is too large")
        header = bytes(unfold(data, inner[0], HEADER))
        if not header:
            raise Malformed("the packed header is empty")
    cursor = Cursor(header)
    if cursor.number("B") != 1:
        raise Malformed("there is no header")
    folders: tuple[Folder, ...] = ()
    items: tuple[Item, ...] = ()
    while (kind := cursor.number("B")) != 0:
        if kind == 2:
            while cursor.number("B"):
                cursor.need(_number(cursor))
        elif kind in {3, 4}:
            found = _streams(cursor)
            folders = found if kind == 4 else folders
        elif kind == 5:
            items = _files(cursor)
        else:
            raise Malformed(f"a header has a part of unknown kind {kind}")
    return Directory(folders, items, intact)


def _number(cursor: Cursor) -> int:
    first = cursor.number("B")
    value = 0
    for index in range(8):
        mask = 0x80 >> index
        if not first & mask:
            return value | (first & (mask - 1)) << (8 * index)
        value |= cursor.number("B") << (8 * index)
    return value


def _count(cursor: Cursor) -> int:
    """A number of things, each of which takes a byte or a bit at least."""
    value = _number(cursor)
    if value > min(8 * cursor.left + 8, ENTRIES):
        raise Malformed(f"{value} entries in {cursor.left} bytes; {ENTRIES} are read")
    return value


def _bits(cursor: Cursor, count: int) -> list[bool]:
    raw = cursor.take(-(-count // 8))
    return [bool(raw[index >> 3] & 0x80 >> (index & 7)) for index in range(count)]


def _defined(cursor: Cursor, count: int) -> list[bool]:
    return [True] * count if cursor.number("B") else _bits(cursor, count)


def _digests(cursor: Cursor, count: int) -> list[bool]:
    defined = _defined(cursor, count)
    cursor.need(4 * sum(defined))
    return defined


def _streams(cursor: Cursor) -> tuple[Folder, ...]:
    """PackInfo, UnpackInfo and SubStreamsInfo."""
    position, packed = 0, list[int]()
    made: list[tuple[list[Coder], int, bool]] = []
    known: list[bool] = []
    sizes: list[tuple[int, ...]] | None = None
    while (kind := cursor.number("B")) != 0:
        if kind == 6:
            position, count = _number(cursor), _count(cursor)
            while (part := cursor.number("B")) != 0:
                if part == 9:
                    packed = [_number(cursor) for _ in range(count)]
                elif part == 10:
                    _digests(cursor, count)
                else:
                    raise Malformed("the sizes of packed streams are damaged")
        elif kind == 7:
            made, known = _unpack_info(cursor)
        elif kind == 8:
            sizes = _substreams(cursor, made, known)
        else:
            raise Malformed(f"streams have a part of unknown kind {kind}")
    if sizes is None:
        sizes = [(coders[-1].size,) if coders else () for coders, _, _ in made]
    folders, index, start = list[Folder](), 0, 32 + position
    for (coders, inputs, simple), inner in zip(made, sizes, strict=True):
        sized = packed[index : index + inputs]
        if len(sized) < inputs:
            raise Malformed("a folder has no packed stream")
        folders.append(Folder(tuple(coders), start, sized[0] if sized else 0, inner, simple))
        start, index = start + sum(sized), index + inputs
    return tuple(folders)


def _unpack_info(cursor: Cursor) -> tuple[list[tuple[list[Coder], int, bool]], list[bool]]:
    if cursor.number("B") != 11:
        raise Malformed("folders are missing")
    count = _count(cursor)
    if cursor.number("B"):
        raise Malformed("folders are described elsewhere")
    shapes = [_folder(cursor) for _ in range(count)]
    if cursor.number("B") != 12:
        raise Malformed("the sizes of folders are missing")
    made: list[tuple[list[Coder], int, bool]] = []
    for coders, order, outputs, inputs in shapes:
        sizes = [_number(cursor) for _ in range(outputs)]
        simple = order is not None
        steps = [Coder(*coders[at], sizes[at]) for at in order] if order is not None else [
            Coder(*coder, sizes[-1]) for coder in coders
        ]  # fmt: skip
        made.append((steps, inputs, simple))
    known = [False] * count
    while (part := cursor.number("B")) != 0:
        if part != 10:
            raise Malformed("the sizes of folders are damaged")
        known = _digests(cursor, count)
    return made, known


def _folder(cursor: Cursor) -> tuple[list[tuple[bytes, bytes]], list[int] | None, int, int]:
    """Coders, the order in which they decode (None when one has several streams), outputs, packed inputs."""
    coders: list[tuple[bytes, bytes]] = []
    ins = outs = 0
    count = _number(cursor)
    if not 0 < count <= 32:
        raise Malformed(f"a folder has {count} coders")
    for _ in range(count):
        flags = cursor.number("B")
        method = cursor.take(flags & 15)
        streams = (_number(cursor), _number(cursor)) if flags & 0x10 else (1, 1)
        if not all(0 < number <= 32 for number in streams):
            raise Malformed("a coder has too many streams")
        ins, outs = ins + streams[0], outs + streams[1]
        coders.append((method, cursor.take(_number(cursor)) if flags & 0x20 else b""))
    pairs = {_number(cursor): _number(cursor) for _ in range(outs - 1)}
    inputs = ins - (outs - 1)
    if inputs < 1:
        raise Malformed("a folder has no input")
    if inputs > 1:
        for _ in range(inputs):
            _number(cursor)
    if ins != count or outs != count or len(pairs) != outs - 1:
        return coders, None, outs, inputs
    order = [index for index in range(count) if index not in pairs]
    fed = {source: target for target, source in pairs.items()}
    while order and order[-1] in fed and len(order) <= count:
        order.append(fed[order[-1]])
    if sorted(order) != list(range(count)):
        raise Malformed("the coders of a folder form no chain")
    return coders, order, outs, inputs


def _substreams(
    cursor: Cursor, made: list[tuple[list[Coder], int, bool]], known: list[bool]
) -> list[tuple[int, ...]]:
    counts = [1] * len(made)
    sizes: list[tuple[int, ...]] = []
    part = cursor.number("B")
    if part == 13:
        counts = [_number(cursor) for _ in made]
        if sum(counts) > ENTRIES:
            raise Malformed(f"{sum(counts)} files in {len(made)} folders")
        part = cursor.number("B")
    for (coders, _, _), count in zip(made, counts, strict=True):
        inner = [_number(cursor) for _ in range(count - 1)] if part == 9 else []
        total = coders[-1].size if coders else 0
        if count:
            if sum(inner) > total or len(inner) != count - 1:
                raise Malformed("the files of a folder are larger than the folder")
            inner.append(total - sum(inner))
        sizes.append(tuple(inner))
    if part == 9:
        part = cursor.number("B")
    while part != 0:
        if part != 10:
            raise Malformed("the sizes of files are damaged")
        known += [False] * (len(made) - len(known))
        _digests(cursor, sum(n for n, sure in zip(counts, known, strict=False) if n != 1 or not sure))
        part = cursor.number("B")
    return sizes


def _files(cursor: Cursor) -> tuple[Item, ...]:
    count = _count(cursor)
    names, attributes, empty = [""] * count, [0] * count, [False] * count
    while (kind := cursor.number("B")) != 0:
        size = _number(cursor)
        inner = Cursor(cursor.data, cursor.need(size), cursor.pos)
        if kind == 14:
            empty = _bits(inner, count)
        elif kind == 17:
            if inner.number("B"):
                raise Malformed("names are kept elsewhere")
            names = _names(inner, count)
        elif kind == 21:
            defined = _defined(inner, count)
            if inner.number("B"):
                continue
            attributes = [inner.number("I") if sure else 0 for sure in defined]
    return tuple(
        Item(name.replace("\\", "/") if "/" not in name else name, attribute >> 28 == 0xA, nothing)
        for name, attribute, nothing in zip(names, attributes, empty, strict=True)
    )


def _names(cursor: Cursor, count: int) -> list[str]:
    names = cursor.take(cursor.left).decode("utf-16-le", "replace").split("\0")
    if len(names) < count:
        raise Malformed(f"{len(names)} names for {count} files")
    return names[:count]


def unfold(data: Buffer, folder: Folder, limit: int) -> Buffer:
    """Decode the packed stream of a folder.

    Raises:
        Unreadable: a coder is not read here, or the data is damaged.
        TooLarge: the content exceeds the limit.
    """
    for coder in folder.coders:
        if coder.method in _UNREADABLE:
            raise Unreadable(_UNREADABLE[coder.method])
    if not folder.simple:
        raise Unreadable("a coder with several streams cannot be read here")
    content = compress.window(data, folder.start, min(folder.packed, max(0, len(data) - folder.start)))
    if len(content) < folder.packed:
        raise Unreadable("the packed data is cut off")
    for coder in folder.coders:
        if coder.size > limit:
            raise compress.TooLarge
        try:
            content = _decode(content, coder, limit)
        except compress.faults() as error:
            raise Unreadable(f"the packed data is damaged: {error}") from error
        if len(content) < coder.size:
            raise Unreadable("the packed data ends early")
        if len(content) > coder.size:
            content = content[: coder.size]
    return content


def _decode(content: Buffer, coder: Coder, limit: int) -> Buffer:
    if coder.method == b"\x00":
        return content
    if coder.method in _FILTERS:
        filters = {"id": _FILTERS[coder.method]}
        if coder.method == b"\x03":
            filters["dist"] = (coder.properties[0] if coder.properties else 0) + 1
        make = compress.raw_lzma([filters, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
        return compress.unpack(_wrapped(content), make, limit)
    return compress.unpack(content, _maker(coder), limit)


def _maker(coder: Coder) -> Callable[[], Decompressor]:
    method = coder.method
    if method == b"\x03\x01\x01":
        return compress.raw_lzma([compress.lzma1(coder.properties)])
    if method == b"\x21":
        bits = coder.properties[0] if coder.properties else 0
        if bits > 40:
            raise ValueError("the properties of LZMA2 are damaged")
        size = 0xFFFFFFFF if bits == 40 else (2 | bits & 1) << (bits // 2 + 11)
        return compress.raw_lzma(
            [{"id": lzma.FILTER_LZMA2, "dict_size": min(size, max(coder.size, 1 << 12))}]
        )
    if method == b"\x04\x01\x08":
        return lambda: zlib.decompressobj(-15)
    if method == b"\x04\x02\x02":
        return bz2.BZ2Decompressor
    if method == b"\x04\xf7\x11\x01":
        return compress.zstd
    raise Unreadable(f"the method {method.hex()} cannot be read here")


def _wrapped(content: Buffer) -> Buffer:
    """Content as stored chunks of LZMA2, so that a filter can be applied to it and knows where it ends."""
    out = compress.Sink()
    for start in range(0, len(content), _CHUNK):
        chunk = bytes(content[start : start + _CHUNK])
        out.write(bytes([1 if start == 0 else 2]) + (len(chunk) - 1).to_bytes(2, "big") + chunk)
    out.write(b"\0")
    return out.content()
