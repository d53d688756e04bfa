"""Texts in other encodings than UTF-8: what loaders decode must not be passed over.

Sources: Unicode 16, section 2.6 (byte order marks); RFC 4627, section 3 (JSON in UTF-16 and UTF-32 by its
zero bytes, as Python's `json.detect_encoding` reads it); PEP 263 (encoding of Python source).
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

LARGEST: Final = 64 << 20
"""Largest text, in bytes, that is read as UTF-8 instead."""
SHORTEST: Final = 12
"""Fewest bytes whose lack of control characters makes them text."""
_CONTROL: Final = bytes(code for code in range(32) if code not in b"\t\n\r\f\x1b") + b"\x7f"
_COOKIE: Final = re.compile(rb"\A(?:[^\n\r]*\r?\n)?[ \t\f]*#[^\n\r]*?coding[:=][ \t]*([-\w.]+)")
_REWRITING: Final = {
    "utf7": "utf-7", "u7": "utf-7", "unicodeescape": "unicode_escape",
    "rawunicodeescape": "raw_unicode_escape",
    "utf16": "utf-16", "utf32": "utf-32", "latin1": "latin-1", "iso88591": "latin-1", "cp1252": "cp1252",
}  # fmt: skip
"""Encodings in which source reads as something else than it is, and those that are common."""


def wide(data: Buffer) -> str | None:
    """Name of the two- or four-byte encoding of a text; None when it is in none."""
    head = bytes(data[:4096])
    name = json.detect_encoding(head) if len(head) > 3 else "utf-8"
    if not name.startswith(("utf-16", "utf-32")) or not (
        head[:1] in {b"\xff", b"\xfe", b"{", b"["} or head[:4].lstrip(b"\0")[:1] in {b"\xfe", b"{", b"["}
    ):
        return None
    try:
        start = codecs.getincrementaldecoder(name)("strict").decode(head)
    except UnicodeDecodeError:
        return None
    return None if any(character < " " and character not in "\t\n\r\f" for character in start) else name


def narrowed(data: Buffer, name: str) -> bytes:
    """A text of a wide encoding in UTF-8."""
    return bytes(data[:]).decode(name, "replace").removeprefix("\ufeff").encode("utf-8", "replace")


def text(data: Buffer, head: bytes) -> Sniffed | None:
    """Whether content that no rule recognises is text all the same.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    if wide(data) is not None:
        return Sniffed("text", "text in UTF-16 or UTF-32")
    if head.translate(None, _CONTROL) != head or b"\0" in bytes(data[-len(head) :]):
        return None
    return Sniffed("text", "text in an encoding of its own") if len(head) >= SHORTEST else None


def source(content: bytes) -> str:
    """Python source as an interpreter decodes it; what cannot be decoded is replaced."""
    found = _COOKIE.match(content)
    name = re.sub(r"[-_.]", "", found[1].decode("latin-1").lower()) if found else ""
    try:
        return content.decode(_REWRITING.get(name, "utf-8-sig"), "replace")
    except ValueError:
        return content.decode("utf-8-sig", "replace")
