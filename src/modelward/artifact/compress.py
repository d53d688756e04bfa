"""Bounded decompression of the codecs that model files use, with the standard library alone."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.values import Buffer

_CHUNK: Final = 1 << 20


class Decompressor(Protocol):
    """What zlib, bz2 and lzma decompressors have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows the compressed data."""
        ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """Decompress at most so many bytes."""
        ...


class TooLarge(Exception):
    """The content is larger than the budget."""


_MAKERS: Final[dict[str, Callable[[], Decompressor]]] = {
    "zlib": lambda: zlib.decompressobj(15),
    "zfile": lambda: zlib.decompressobj(15),
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(-15),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=1 << 28),
}
_ZFILE_HEADER: Final = 21
"""joblib before 0.10: `ZF`, then the size as 19 characters of hexadecimal text, then zlib."""
FAULTS: Final = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError, MemoryError)


def readable(codec: str) -> bool:
    """Whether this codec can be read here."""
    return codec in _MAKERS or codec == "lz4"


def decompress(data: Buffer, codec: str, limit: int) -> tuple[bytes, str | None]:
    """Decompress all members that follow each other.

    Args:
        data: the compressed content.
        codec: a name of `sniff.COMPRESSIONS`, or `deflate` for a zip member.
        limit: most bytes to produce.

    Returns:
        what could be decompressed, and what was wrong with the rest, or None.

    Raises:
        TooLarge: the content exceeds `limit`.
    """
    if codec == "lz4":
        from modelward.artifact.lz4 import decompress_frame

        return decompress_frame(bytes(data), limit)
    out: list[bytes] = []
    size, pos = 0, 0
    if codec == "zfile":
        pos = _ZFILE_HEADER + (data[_ZFILE_HEADER : _ZFILE_HEADER + 1] == b" ")
    while pos < len(data):
        worker = _MAKERS[codec]()
        try:
            made, pos = _member(worker, data, pos, limit - size)
        except FAULTS as error:
            return b"".join(out), f"{codec} data is damaged: {error}" if not out else None
        out += made
        size += sum(map(len, made))
        if not worker.eof:
            return b"".join(out), f"{codec} data ends early"
        if codec == "deflate":
            break
    return b"".join(out), None


def _member(worker: Decompressor, data: Buffer, pos: int, limit: int) -> tuple[list[bytes], int]:
    made: list[bytes] = []
    size = 0
    while pos < len(data) and not worker.eof:
        block = bytes(data[pos : pos + _CHUNK])
        pos += len(block)
        while True:
            piece = worker.decompress(block, _CHUNK)
            size += len(piece)
            if size > limit:
                raise TooLarge
            made.append(piece)
            block = getattr(worker, "unconsumed_tail", b"")
            if not block and _waits(worker, piece):
                break
    return made, pos - len(worker.unused_data)


def _waits(worker: Decompressor, piece: bytes) -> bool:
    """Whether the worker holds no more output of what it was given."""
    return worker.eof or bool(getattr(worker, "needs_input", len(piece) < _CHUNK))


def first_bytes(data: Buffer, codec: str, count: int) -> bytes | None:
    """The first bytes of the content, or None when the codec cannot be read here or the data is damaged."""
    if codec not in _MAKERS:
        if codec != "lz4":
            return None
        from modelward.artifact.lz4 import decompress_frame

        return decompress_frame(bytes(data[: 1 << 16]), count, partial=True)[0] or None
    start = _ZFILE_HEADER + (data[_ZFILE_HEADER : _ZFILE_HEADER + 1] == b" ") if codec == "zfile" else 0
    try:
        return _MAKERS[codec]().decompress(bytes(data[start : start + (1 << 16)]), count) or None
    except FAULTS:
        return None
