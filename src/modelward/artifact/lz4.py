"""LZ4 frames, decoded without a library. joblib writes them when the lz4 package is installed.

Source: LZ4 Frame Format 1.6.3 and LZ4 Block Format (lz4/doc). Checksums are skipped: a wrong one changes
what a reader accepts, not what the bytes would do.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"\x04\x22\x4d\x18"


def decompress_frame(data: bytes, limit: int, *, partial: bool = False) -> tuple[bytes, str | None]:
    """Decode one frame.

    Args:
        data: the frame, from its magic number on.
        limit: most bytes to produce.
        partial: stop quietly at the limit or at the end of the data.

    Returns:
        the content, and what was wrong with the rest, or None.

    Raises:
        TooLarge: the content exceeds `limit` and `partial` is False.
    """
    from modelward.artifact.compress import TooLarge

    if len(data) < 7 or not data.startswith(MAGIC):
        return b"", "lz4 data has no frame header"
    flags = data[4]
    pos = 7 + 8 * bool(flags & 8) + 4 * bool(flags & 1)
    out = bytearray()
    while len(data) - pos >= 4:
        size = int.from_bytes(data[pos : pos + 4], "little")
        pos += 4
        if size == 0:
            return bytes(out), None
        raw, size = bool(size >> 31), size & 0x7FFFFFFF
        block = data[pos : pos + size]
        problem = _append(out, block, raw=raw, limit=limit)
        if len(out) > limit:
            if partial:
                return bytes(out[:limit]), None
            raise TooLarge
        if problem is not None or len(block) < size:
            return bytes(out), problem or "lz4 data ends early"
        pos += size + 4 * bool(flags & 16)
    return bytes(out), "lz4 data ends early"


def _append(out: bytearray, block: bytes, *, raw: bool, limit: int) -> str | None:
    """Decode one block behind what is already there; blocks may refer back to it."""
    if raw:
        out += block
        return None
    pos, end = 0, len(block)
    while pos < end and len(out) <= limit:
        token = block[pos]
        literals, pos = _length(block, pos + 1, token >> 4)
        if pos + literals > end:
            out += block[pos:]
            return "lz4 data ends early"
        out += block[pos : pos + literals]
        pos += literals
        if pos >= end:
            return None
        offset = int.from_bytes(block[pos : pos + 2], "little")
        count, pos = _length(block, pos + 2, token & 15)
        count += 4
        if offset == 0 or offset > len(out):
            return "lz4 data refers to bytes before its start"
        _copy(out, offset, min(count, limit + 1))
    return None


def _length(block: bytes, pos: int, value: int) -> tuple[int, int]:
    if value == 15:
        while pos < len(block):
            byte = block[pos]
            pos += 1
            value += byte
            if byte != 255:
                break
    return value, pos


def _copy(out: bytearray, offset: int, count: int) -> None:
    start = len(out) - offset
    if offset >= count:
        out += out[start : start + count]
        return
    pattern = bytes(out[start:])
    out += (pattern * (count // offset + 1))[:count]
