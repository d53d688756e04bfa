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

_PLACING: Final = frozenset({"path", "linkpath", "size"})
"""Records that decide where a member goes and where the next one starts."""

Kind: TypeAlias = Literal["file", "folder", "hard-link", "link", "device", "sparse"]
_KINDS: Final[dict[bytes, Kind]] = {
    b"1": "hard-link", b"2": "link", b"3": "device", b"4": "device", b"5": "folder", b"6": "device",
    b"S": "sparse",
}  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """One member.

    Attributes:
        name: as Python would use it when extracting.
        kind: what extracting would make; FIFOs count as devices.
        start: offset of its data.
        size: bytes of data in the archive.
        target: what a link leads to.
        mode: permissions.
        hidden: it stands behind the end of the archive, where some readers go on.
        others: further names that headers give it, which other readers take.
    """

    name: str
    kind: Kind
    start: int
    size: int
    target: str
    mode: int
    hidden: bool = False
    others: tuple[str, ...] = ()


class Trouble(msgspec.Struct, frozen=True):
    """Something about the archive as a whole; `lost` when content could not be read."""

    message: str
    lost: bool


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a header: the checksum is right, added up signed or unsigned."""
    if len(block) < BLOCK or block.count(0) == BLOCK:
        return False
    stated = _number(block[148:156])
    if stated is None:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return stated in {unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)}


def entries(data: Buffer) -> Iterator[Entry | Trouble]:
    """The members in order, then those behind the end."""
    pos, hidden = 0, False
    extended: list[dict[str, str]] = []
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
            pos, hidden, extended = at, True, []
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
            found, whole = _pax(body) if code in b"xXg" else (_long(body, code), True)
            if not whole:
                yield Trouble(f"the extended header at {pos} is damaged, and readers differ", lost=True)
            if code != b"g":
                extended.append(found)
            elif any(key in _PLACING or key.startswith("GNU.sparse") for key in found):
                yield Trouble(f"the header at {pos} is for all members, and readers differ", lost=True)
            pos += BLOCK + _padded(size)
            continue
        entry = _entry(block, pos, size, extended)
        extended = []
        if entry.size < 0:
            yield Trouble(f"the member at {pos} has no valid size", lost=True)
            return
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


def _entry(block: bytes, pos: int, size: int, headers: list[dict[str, str]]) -> Entry:
    """A member; of several headers before it Python applies the first one last, so that it wins."""
    extended: dict[str, str] = {}
    for header in reversed(headers):
        extended |= header
    short = _text(block[:100])
    kind = _KINDS.get(block[156:157], "file")
    if kind == "file" and short.endswith("/") and (block[156] == 0 or not size):
        kind = "folder"
    if block[345:500].strip(b"\0") and block[257:263] == b"ustar\0":
        short = f"{_text(block[345:500])}/{short}"
    if any(key.startswith("GNU.sparse") for key in extended):
        kind = "sparse"
    start = pos + BLOCK
    if kind == "sparse" and block[482] and block[156:157] == b"S":
        start += BLOCK  # at least one block continues the map; the member is reported as not read
    if "size" in extended:
        size = _decimal(extended["size"])
    name = extended.get("GNU.sparse.name", extended.get("path", short))
    others = {short} | {
        header[key] for header in headers for key in ("GNU.sparse.name", "path") if key in header
    }
    target = extended.get("linkpath", _text(block[157:257]))
    mode = _octal(block[100:108]) or 0
    return Entry(name, kind, start, size, target, mode, others=tuple(sorted(others - {name})))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _octal(field: bytes) -> int | None:
    """A number as Python reads it, which takes more than POSIX allows."""
    try:
        return int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return None


def _decimal(text: str) -> int:
    """The size in an extended header; Python takes one that is no number for zero."""
    try:
        return int(text) if len(text) < 19 else 0
    except ValueError:
        return 0


def _number(field: bytes) -> int | None:
    """A size: octal, or big-endian after a byte of 0x80 (GNU)."""
    if field[0] in {0x80, 0xFF}:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    return _octal(field)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _long(body: bytes, code: bytes) -> dict[str, str]:
    return {"path" if code == b"L" else "linkpath": _text(body)}


def _pax(body: bytes) -> tuple[dict[str, str], bool]:
    """Records of length, key, value and a newline, and whether all of them are sound.

    Python before 3.12 reads on after a record whose length is wrong, and so does this.
    """
    found: dict[str, str] = {}
    pos, whole = 0, True
    while (match := _RECORD.match(body, pos)) is not None:
        end = pos + int(match[1])
        whole = whole and match.end() < end <= len(body) and body[end - 1 : end] == b"\n"
        if end == pos:
            break
        value = body[match.end() : end - 1].decode("utf-8", "backslashreplace")
        key = _text(match[2])
        found[key] = value.rstrip("/") if key == "path" else value
        pos = end
    return found, whole and not body[pos:].strip(b"\0")
