"""PNG files of small pictures, so that a page can show them without loading anything."""

from __future__ import annotations

import base64
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(pixels: bytes, width: int, height: int, colours: int) -> bytes:
    """One picture, eight bits a sample, no filter, deflated.

    Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025, sections 5, 11.2 and 9.

    Args:
        pixels: height * width * colours bytes, row by row, the colours of a pixel together.
        width: at least 1.
        height: at least 1.
        colours: 1: grey; 3: red, green and blue.

    Raises:
        ValueError: the numbers do not fit together.
    """
    row = width * colours
    if colours not in {1, 3} or width < 1 or len(pixels) != row * height or height < 1:
        raise ValueError(f"{len(pixels)} bytes are no picture of {width} x {height} x {colours}")
    kind = {1: 0, 3: 2}[colours]
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def data_uri(picture: bytes) -> str:
    """A PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
