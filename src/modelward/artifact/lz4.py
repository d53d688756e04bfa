"""LZ4 frames, decoded without a library. joblib writes them when the lz4 package is installed.

Source: LZ4 Frame Format 1.6.3 and LZ4 Block Format (lz4/doc). Checksums are skipped: a wrong one changes
what a reader accepts, not what the bytes would do.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"\x04\x22\x4d\x18"
LEGACY: Final = b"\x02\x21\x4c\x18"
SEQUENCES: Final = 20_000_000
"""Most pairs of literals and match decoded; each costs about a microsecond."""


def decompress_frames(data: bytes, limit: int, *, partial: bool = False) -> tuple[bytes, str | None]:
    """Decode all frames that follow each other; skippable frames are passed over.

    Args:
        data: from the first magic number on.
        limit: most bytes to produce.
        partial: stop quietly at the limit or at the end of the data.

    Returns:
        the content, and what was wrong with the rest, or None.

    Raises:
        TooLarge: the content exceeds `limit` and `partial` is False, or it needs more work than is done.
    """
    from modelward.artifact.compress import TooLarge

    out = bytearray()
    pos, first, left = 0, True, SEQUENCES
    while pos < len(data):
        if data[pos : pos + 4] in {MAGIC, LEGACY}:
            pos, problem, left = _frame(data, pos, out, limit, left)
            if len(out) > limit or left < 0:
                if partial:
                    return bytes(out[:limit]), None
                raise TooLarge
            if problem is not None:
                return bytes(out), problem
        elif data[pos + 1 : pos + 4] == b"\x2a\x4d\x18" and data[pos] & 0xF0 == 0x50:
            pos += 8 + int.from_bytes(data[pos + 4 : pos + 8], "little")
        else:
            return bytes(out), "lz4 data has no frame header" if first else None
        first = False
    return bytes(out), None


def _frame(data: bytes, pos: int, out: bytearray, limit: int, left: int) -> tuple[int, str | None, int]:
    """Decode one frame; gives the position behind it, what was wrong, and the work that is left."""
    early = "lz4 data ends early"
    legacy = data[pos : pos + 4] == LEGACY
    if len(data) - pos < (4 if legacy else 7):
        return len(data), early, left
    flags = 0 if legacy else data[pos + 4]
    pos += 4 if legacy else 7 + 8 * bool(flags & 8) + 4 * bool(flags & 1)
    while len(data) - pos >= 4:
        size = int.from_bytes(data[pos : pos + 4], "little")
        if legacy and data[pos : pos + 4] in {MAGIC, LEGACY}:
            return pos, None, left
        pos += 4
        if size == 0:
            return pos + 4 * bool(flags & 4), None, left
        raw, size = (False, size) if legacy else (bool(size >> 31), size & 0x7FFFFFFF)
        block = data[pos : pos + size]
        if raw:
            out += block
            problem = None
        else:
            problem, left = _block(out, block, limit, left)
        if len(out) > limit or left < 0:
            return pos, None, left
        if problem is not None or len(block) < size:
            return len(data), problem or early, left
        pos += size + 4 * bool(flags & 16)
    return len(data), None if legacy and pos == len(data) else early, left


def _block(out: bytearray, block: bytes, limit: int, left: int) -> tuple[str | None, int]:
    """Decode one block behind what is already there; blocks may refer back to it."""
    pos, end = 0, len(block)
    while pos < end and len(out) <= limit and left >= 0:
        left -= 1
        token = block[pos]
        literals, pos = _length(block, pos + 1, token >> 4)
        if pos + literals > end:
            out += block[pos:]
            return "lz4 data ends early", left
        out += block[pos : pos + literals]
        pos += literals
        if pos >= end:
            return None, left
        offset = int.from_bytes(block[pos : pos + 2], "little")
        count, pos = _length(block, pos + 2, token & 15)
        count += 4
        if offset == 0 or offset > len(out):
            return "lz4 data refers to bytes before its start", left
        _copy(out, offset, min(count, limit + 1))
    return None, left


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
