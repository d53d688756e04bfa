"""A tar archive as Python's tarfile reads it, without copying; what other readers see differently is said.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; CPython Lib/tarfile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer

BLOCK: Final = 512
LONGEST: Final = 1 << 20
"""Most bytes of a long name or of extended headers."""
_NONZERO: Final = re.compile(rb"[^\0]")
_RECORD: Final = re.compile(rb"(\d{1,20}) ([^=]+)=")

Kind: TypeAlias = Literal["file", "folder", "hard-link", "link", "device", "sparse"]
_KINDS: Final[dict[bytes, Kind]] = {
    b"1": "hard-link", b"2": "link", b"3": "device", b"4": "device", b"5": "folder", b"6": "device",
    b"S": "sparse",
}  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """One member.

    Attributes:
        name: as extracting would use it.
        kind: what extracting would make; FIFOs count as devices.
        start: offset of its data.
        size: bytes of data in the archive.
        target: what a link leads to.
        mode: permissions.
        hidden: it stands behind the end of the archive, where some readers go on.
    """

    name: str
    kind: Kind
    start: int
    size: int
    target: str
    mode: int
    hidden: bool = False


class Trouble(msgspec.Struct, frozen=True):
    """Something about the archive as a whole; `lost` when content could not be read."""

    message: str
    lost: bool


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a header: the checksum is right, added up signed or unsigned."""
    if len(block) < BLOCK or not block[0]:
        return False
    stated = _octal(block[148:156])
    if stated is None:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return stated in {unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)}


def entries(data: Buffer) -> Iterator[Entry | Trouble]:
    """The members in order, then those behind the end."""
    pos, hidden = 0, False
    known: dict[str, str] = {}
    extended: dict[str, str] = {}
    while pos < len(data):
        block = bytes(data[pos : pos + BLOCK])
        if not is_header(block):
            further = _NONZERO.search(data, pos)
            if further is None:
                return
            at = further.start() // BLOCK * BLOCK
            if not is_header(bytes(data[at : at + BLOCK])):
                yield Trouble(f"{len(data) - at} bytes at {at} are no member", lost=at == pos)
                return
            yield Trouble("members stand behind the end of the archive, where some readers go on", lost=False)
            pos, hidden, extended = at, True, {}
            continue
        size = _number(block[124:136])
        code = block[156:157]
        if size is None or size < 0:
            yield Trouble(f"the member at {pos} has no valid size", lost=True)
            return
        if code in {b"x", b"X", b"g", b"L", b"K"}:
            body = bytes(data[pos + BLOCK : pos + BLOCK + min(size, LONGEST)])
            if size > LONGEST or len(body) < size:
                yield Trouble(f"the extended header at {pos} is too long or cut off", lost=True)
                return
            if code == b"g":
                known |= _pax(body)
            elif code in {b"x", b"X"}:
                extended |= _pax(body)
            else:
                extended["path" if code == b"L" else "linkpath"] = _text(body)
            pos += BLOCK + _padded(size)
            continue
        entry = _entry(block, pos, size, {**known, **extended})
        extended = {}
        if hidden:
            entry = msgspec.structs.replace(entry, hidden=True)
        if code not in _KINDS or code == b"S":
            pos = entry.start + _padded(entry.size)
        else:
            if entry.size:
                yield Trouble(
                    f"{entry.name!r} is a {entry.kind} with data, which readers skip or read", lost=True
                )
            pos = entry.start
        if entry.start + entry.size > len(data):
            yield Trouble(f"{entry.name!r} is cut off: the archive is truncated", lost=True)
        yield entry


def _entry(block: bytes, pos: int, size: int, extended: dict[str, str]) -> Entry:
    name = _text(block[:100])
    if block[345:500].strip(b"\0") and block[257:263] == b"ustar\0":
        name = f"{_text(block[345:500])}/{name}"
    name = extended.get("GNU.sparse.name", extended.get("path", name))
    kind = _KINDS.get(block[156:157], "file")
    if kind == "file" and name.endswith("/"):
        kind = "folder"
    if any(key.startswith("GNU.sparse") for key in extended):
        kind = "sparse"
    start = pos + BLOCK
    if kind == "sparse" and block[482] and block[156:157] == b"S":
        start += BLOCK  # at least one block continues the map; the member is reported as not read
    if extended.get("size", "").isdecimal() and len(extended["size"]) < 19:
        size = int(extended["size"])
    target = extended.get("linkpath", _text(block[157:257]))
    return Entry(name, kind, start, size, target, _octal(block[100:108]) or 0)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _octal(field: bytes) -> int | None:
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    try:
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def _number(field: bytes) -> int | None:
    """A size: octal, or big-endian after a byte of 0x80 (GNU)."""
    if field[0] in {0x80, 0xFF}:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    return _octal(field)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax(body: bytes) -> dict[str, str]:
    """Records of length, key, value and a newline; a damaged one ends the reading."""
    found: dict[str, str] = {}
    pos = 0
    while (match := _RECORD.match(body, pos)) is not None:
        end = pos + int(match[1])
        if end <= match.end() or end > len(body):
            break
        found[_text(match[2])] = body[match.end() : end - 1].decode("utf-8", "backslashreplace")
        pos = end
    return found
