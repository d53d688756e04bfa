"""Writers of archives that the standard library will not write: with every field as told."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from typing import NamedTuple


class Member(NamedTuple):
    """One member of a zip archive, each field as it shall stand in the local header and the central directory."""

    name: str
    data: bytes
    central: str | None = None
    crc: int | None = None
    flags: int = 0
    central_flags: int | None = None
    method: int = 0
    central_method: int | None = None
    size: int | None = None
    mode: int = 0o100644
    extra: bytes = b""
    body: bytes | None = None


def archive(
    *members: Member, prefix: bytes = b"", comment: bytes = b"", shift: int = 0, hidden: int = 0
) -> bytes:
    """A zip archive; `hidden` members at the end stand outside the central directory, `shift` moves its offsets."""
    out, central = io.BytesIO(prefix), b""
    out.seek(0, 2)
    listed = members[: len(members) - hidden]
    for member in members:
        at = out.tell() - (len(prefix) if shift else 0)
        body = (
            member.body
            if member.body is not None
            else deflate(member.data)
            if member.method == 8
            else member.data
        )
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        size = len(member.data) if member.size is None else member.size
        local, listing = member.name.encode(), (member.central or member.name).encode()
        fields = (crc, len(body), size)
        out.write(
            struct.pack(
                "<4s5H3I2H",
                b"PK\x03\x04",
                20,
                member.flags,
                member.method,
                0,
                33,
                *fields,
                len(local),
                len(member.extra),
            )
        )
        out.write(local + member.extra + body)
        if member in listed:
            flags = member.flags if member.central_flags is None else member.central_flags
            method = member.method if member.central_method is None else member.central_method
            central += struct.pack(
                "<4s6H3I5H2I",
                b"PK\x01\x02",
                0x314,
                20,
                flags,
                method,
                0,
                33,
                *fields,
                len(listing),
                0,
                0,
                0,
                0,
                member.mode << 16,
                at,
            )
            central += listing
    start = out.tell() - (len(prefix) if shift else 0)
    out.write(central)
    out.write(
        struct.pack(
            "<4s4H2IH", b"PK\x05\x06", 0, 0, len(listed), len(listed), len(central), start, len(comment)
        )
        + comment
    )
    return out.getvalue()


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def tar(members: dict[str, bytes], *, links: dict[str, str] | None = None, kind: str = "w") -> bytes:
    """A tar archive with regular files, then symbolic links, nothing stamped by the clock."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind, format=tarfile.PAX_FORMAT) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
    return out.getvalue()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def seven(name: str, data: bytes) -> bytes:
    """A 7z archive of one stored file (7zFormat.txt: signature header, packed stream, header)."""
    size = _number(len(data))
    packed = b"\x06" + b"\x00\x01" + b"\x09" + size + b"\x00"
    folder = b"\x0b\x01\x00" + b"\x01\x01\x00"
    unpacked = b"\x07" + folder + b"\x0c" + size + b"\x0a\x01" + struct.pack("<I", zlib.crc32(data)) + b"\x00"
    title = name.encode("utf-16-le") + b"\x00\x00"
    files = b"\x05\x01\x11" + _number(len(title) + 1) + b"\x00" + title + b"\x00"
    header = b"\x01" + b"\x04" + packed + unpacked + b"\x08\x00" + b"\x00" + files + b"\x00"
    start = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + data + header


def _number(value: int) -> bytes:
    """7z's variable-length integer."""
    if value < 0x80:
        return bytes([value])
    if value < 0x4000:
        return bytes([0x80 | value >> 8, value & 0xFF])
    return b"\xff" + struct.pack("<Q", value)


def zstd(data: bytes) -> bytes:
    """A zstandard frame of raw blocks (RFC 8878)."""
    blocks = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    out = b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", len(data))
    for index, block in enumerate(blocks):
        out += ((len(block) << 3) | (index == len(blocks) - 1)).to_bytes(3, "little") + block
    return out


def lz4(data: bytes) -> bytes:
    """An lz4 frame of uncompressed blocks (lz4 frame format 1.6.3)."""
    descriptor = b"\x60\x40"
    out = b"\x04\x22\x4d\x18" + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF])
    for at in range(0, len(data), 65536):
        block = data[at : at + 65536]
        out += struct.pack("<I", len(block) | 0x80000000) + block
    return out + b"\x00" * 4


def xxh32(data: bytes) -> int:
    """xxHash32 with seed 0 of fewer than four bytes."""
    mask, value = 0xFFFFFFFF, (0x165667B1 + len(data)) & 0xFFFFFFFF
    for byte in data:
        value = (value + byte * 0x165667B1) & mask
        value = ((value << 11 | value >> 21) & mask) * 0x9E3779B1 & mask
    for shift, factor in ((15, 0x85EBCA77), (13, 0xC2B2AE3D), (16, 1)):
        value = (value ^ value >> shift) * factor & mask
    return value
