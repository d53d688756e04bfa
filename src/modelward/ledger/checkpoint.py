"""A checkpoint: the head of a log as text that is signed.

Source: C2SP tlog-checkpoint v1 (the text of the note); RFC 6962, section 2.1 (the root). The note around it,
with its signatures, is `modelward.vault.notes`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec

from modelward.errors import SealDamaged

HASH_BYTES: Final = 32
LARGEST: Final = (
    2**63
)  # sizes and times are below: what other implementations hold in a signed 64-bit integer
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a log states: these are my records, in this order.

    Attributes:
        origin: the log's name, one line that is not empty.
        size: number of records.
        root: RFC 6962 root, 32 bytes.
        extensions: further lines, signed and without meaning here.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The signed text, which ends in a newline."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint.

    Args:
        text: the note's text, with its final newline.

    Raises:
        SealDamaged: it is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise SealDamaged("a checkpoint has three lines that are not empty, at least")
    origin, size, root, *extensions = lines[:-1]
    found = Checkpoint(
        origin=origin,
        size=decimal(size, "the size of a checkpoint"),
        root=hash_of(root),
        extensions=tuple(extensions),
    )
    if found.size == 0 and found.root != EMPTY_ROOT:
        raise SealDamaged("the checkpoint of an empty log has another root than an empty tree")
    return found


def decimal(text: str, what: str) -> int:
    """A whole number below 2**63 in decimal digits, without leading zeroes.

    Raises:
        SealDamaged: it is none.
    """
    if not _DECIMAL.fullmatch(text) or int(text) >= LARGEST:
        raise SealDamaged(f"{what} is {text[:30]!r}, which is no number in plain decimal digits")
    return int(text)


def hash_of(line: str) -> bytes:
    """One SHA-256 hash in base64.

    Raises:
        SealDamaged: it is none.
    """
    value = decode64(line)
    if len(value) != HASH_BYTES:
        raise SealDamaged(f"a hash has {len(value)} bytes instead of {HASH_BYTES}")
    return value


def decode64(text: str) -> bytes:
    """Decode standard base64 with padding; each value has one spelling only.

    Raises:
        SealDamaged: it is not base64, or has bits that say nothing.
    """
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealDamaged("a line is not base64") from error
    if base64.b64encode(value).decode() != text:
        raise SealDamaged("a line is not the one spelling of its value in base64")
    return value
