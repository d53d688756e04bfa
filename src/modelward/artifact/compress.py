"""Bounded decompression of the codecs that model files and archives use.

Output beyond 16 MiB goes to an unnamed temporary file that is mapped, so that a large member costs disk
and not memory. All codecs but zstd (`compression.zstd`, or its backport before Python 3.14) and lz4
(`lz4.py`) are in the standard library.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from modelward.artifact.pickle.values import Buffer

_CHUNK: Final = 1 << 20
_TAKEN: Final = 1 << 16
_MADE: Final = 1 << 17
"""Compressed bytes given at once, and most that are made of them: so few that memory is used again."""
_SPILL: Final = 16 << 20
"""Bytes beyond which pieces go to a file, which saves the second copy that joining them costs."""
IN_MEMORY: Final = 64 << 20
"""Most bytes of some content that are copied in memory."""
BOMB: Final = 64 << 20
RATIO: Final = 250
"""Content that grows beyond `BOMB` bytes at more than `RATIO` to one is no model: numbers of one that
was trained do not repeat. (Deflate gives at most 1032 to one, and a model at most about 10.)"""
_DICTIONARY: Final = 1 << 28
"""Largest window of raw LZMA, in bytes, that is allocated."""


class Decompressor(Protocol):
    """What zlib, bz2, lzma and zstd decompressors have in common."""

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


def bomb(size: int, packed: int) -> bool:
    """Whether content of so many bytes, from so many compressed ones, grows as only a bomb does."""
    return size > BOMB and size > RATIO * packed


@final
class Sink:
    """Takes content piece by piece; gives it as bytes, or as a map of a temporary file when it is large."""

    __slots__ = ("_file", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            OSError: there is no room for a temporary file.
        """
        self.size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(piece)
        if self.size > min(_SPILL, IN_MEMORY):
            import tempfile

            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives until the content was read)
            self._file.writelines(self._pieces)
            self._pieces = []

    def content(self) -> Buffer:
        """Everything that was written."""
        if self._file is None:
            return b"".join(self._pieces)
        import mmap

        self._file.flush()
        found = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self.close()
        return found

    def close(self) -> None:
        """Give the temporary file back; content that was given before stays."""
        if self._file is not None:
            self._file.close()


def window(data: Buffer, start: int, size: int) -> Buffer:
    """A part of some content as content of its own, without holding a large one in memory.

    Raises:
        OSError: there is no room for a temporary file.
    """
    if size <= IN_MEMORY:
        return bytes(data[start : start + size])
    with closing(Sink()) as out:
        for pos in range(start, min(start + size, len(data)), _CHUNK):
            out.write(bytes(data[pos : min(pos + _CHUNK, start + size)]))
        return out.content()


def zstd() -> Decompressor:
    """A decompressor of zstd.

    Raises:
        ImportError: the backport is not installed.
    """
    import sys
    from importlib import import_module

    module = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    made: Decompressor = module.ZstdDecompressor()
    return made


_MAKERS: Final[dict[str, Callable[[], Decompressor]]] = {
    "zlib": lambda: zlib.decompressobj(15),
    "zfile": lambda: zlib.decompressobj(15),
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(-15),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=1 << 28),
    "zstd": zstd,
}
_SINGLE: Final = frozenset({"deflate", "lzma-raw"})
"""Codecs of archive members, which nothing follows."""
_ZFILE_HEADER: Final = 21
"""joblib before 0.10: `ZF`, then the size as 19 characters of hexadecimal text, then zlib."""
FAULTS: Final = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError, MemoryError, ImportError)


def faults() -> tuple[type[Exception], ...]:
    """What the decompressors raise on damaged data."""
    import sys

    zstd = sys.modules.get("compression.zstd") or sys.modules.get("backports.zstd")
    return (*FAULTS, zstd.ZstdError) if zstd is not None else FAULTS


def readable(codec: str) -> bool:
    """Whether this codec can be read here."""
    return codec in _MAKERS or codec in {"lz4", "lzma-zip"}


def decompress(data: Buffer, codec: str, limit: int) -> tuple[Buffer, str | None]:
    """Decompress all members that follow each other.

    Args:
        data: the compressed content.
        codec: a name of `sniff.COMPRESSIONS`, or `deflate` or `lzma-zip` for a zip member.
        limit: most bytes to produce.

    Returns:
        what could be decompressed, and what was wrong with the rest, or None.

    Raises:
        TooLarge: the content exceeds `limit`, or grows as only a bomb does.
    """
    if codec == "lz4":
        from modelward.artifact.lz4 import decompress_frames

        return decompress_frames(bytes(data), limit)
    if codec == "lzma-zip":
        return _lzma_zip(data, limit)
    pos = 0
    if codec == "zfile":
        pos = _ZFILE_HEADER + (data[_ZFILE_HEADER : _ZFILE_HEADER + 1] == b" ")
    return _all(data, pos, _MAKERS[codec], limit, codec)


def raw_lzma(filters: list[dict[str, int]]) -> Callable[[], Decompressor]:
    """Maker of a decompressor for LZMA without a container, as 7z and zip hold it.

    Raises:
        ValueError: a window is larger than is allocated, or the filters contradict each other.
    """
    if any(item.get("dict_size", 0) > _DICTIONARY for item in filters):
        raise ValueError(f"the window is larger than {_DICTIONARY} bytes")
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def _lzma_zip(data: Buffer, limit: int) -> tuple[Buffer, str | None]:
    """APPNOTE 5.8.8: version, size of the properties, properties, raw LZMA."""
    if len(data) < 9 or int.from_bytes(data[2:4], "little") != 5:
        return b"", "lzma data has no header"
    try:
        filters = [lzma1(bytes(data[4:9]))]
        return _all(data, 9, raw_lzma(filters), limit, "lzma-raw")
    except ValueError as error:
        return b"", f"lzma data is damaged: {error}"


def lzma1(properties: bytes) -> dict[str, int]:
    """The LZMA filter of five bytes of properties.

    Raises:
        ValueError: they are no properties.
    """
    if len(properties) < 5 or properties[0] >= 225:
        raise ValueError("the properties of LZMA are damaged")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    size = max(1 << 12, int.from_bytes(properties[1:5], "little"))
    return {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": lc, "lp": lp, "pb": pb}


def unpack(data: Buffer, make: Callable[[], Decompressor], limit: int) -> Buffer:
    """Decompress one stream that may lack an end mark.

    Raises:
        TooLarge: the content exceeds `limit`.
        ValueError: the data is damaged, with nothing before the damage.
    """
    content, problem = _all(data, 0, make, limit, "lzma-raw")
    if problem is not None:
        raise ValueError(problem)
    return content


def _all(
    data: Buffer, pos: int, make: Callable[[], Decompressor], limit: int, codec: str
) -> tuple[Buffer, str | None]:
    with closing(Sink()) as out:
        problem = _into(out, data, pos, (make, codec), limit)
        return out.content(), problem


def _into(
    out: Sink, data: Buffer, pos: int, how: tuple[Callable[[], Decompressor], str], limit: int
) -> str | None:
    """Decompress all members from a position on; gives what was wrong."""
    make, codec = how
    while pos < len(data):
        first = out.size == 0
        try:
            worker = make()
            pos = _member(worker, data, pos, limit, out)
        except faults() as error:
            return f"{codec} data is damaged: {error}" if first or codec in _SINGLE else None
        if not worker.eof:
            return None if codec == "lzma-raw" else f"{codec} data ends early"
        if codec in _SINGLE:
            break
        if codec == "xz":
            while data[pos : pos + 4] == b"\0\0\0\0":
                pos += 4
    return None


def _member(worker: Decompressor, data: Buffer, pos: int, limit: int, out: Sink) -> int:
    start, before = pos, out.size
    while pos < len(data) and not worker.eof:
        block = bytes(data[pos : pos + _TAKEN])
        pos += len(block)
        while True:
            piece = worker.decompress(block, _MADE)
            if piece:
                out.write(piece)
            grown = out.size - before
            if out.size > limit or bomb(grown, pos - start):
                raise TooLarge
            block = getattr(worker, "unconsumed_tail", b"")
            if not block and _waits(worker, piece):
                break
    return pos - len(worker.unused_data)


def _waits(worker: Decompressor, piece: bytes) -> bool:
    """Whether the worker holds no more output of what it was given."""
    return worker.eof or bool(getattr(worker, "needs_input", len(piece) < _MADE))


def first_bytes(data: Buffer, codec: str, count: int) -> bytes | None:
    """The first bytes of the content, or None when the codec cannot be read here or the data is damaged."""
    if codec == "lz4":
        from modelward.artifact.lz4 import decompress_frames

        return decompress_frames(bytes(data[: 1 << 16]), count, partial=True)[0] or None
    try:
        if codec == "lzma-zip":
            worker, start = raw_lzma([lzma1(bytes(data[4:9]))])(), 9
        elif codec in _MAKERS:
            worker, start = _MAKERS[codec](), 0
        else:
            return None
        if codec == "zfile":
            start = _ZFILE_HEADER + (data[_ZFILE_HEADER : _ZFILE_HEADER + 1] == b" ")
        while not (made := worker.decompress(bytes(data[start : start + (1 << 16)]), count)) and worker.eof:
            start = min(start + (1 << 16), len(data)) - len(worker.unused_data)
            if start >= min(len(data), 1 << 16) or codec not in _MAKERS:
                break
            worker = _MAKERS[codec]()
    except faults():
        return None
    return made or None
