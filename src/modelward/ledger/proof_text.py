"""Proofs as text that verifies without the log: of inclusion, and of consistency.

Sources: C2SP tlog-proof v1 (inclusion), C2SP tlog-witness (the body of ``add-checkpoint``, which is a proof
of consistency followed by the newer checkpoint, so that the same file can be sent to any witness).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.errors import SealDamaged
from modelward.ledger.checkpoint import decimal, decode64, hash_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER: Final = "c2sp.org/tlog-proof@v1"
MOST_HASHES: Final = 63  # of a tree of fewer than 2**63 records
MOST_BYTES: Final = 128 << 20  # of a file that holds a proof: one record in base64, and some lines


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True):
    """That one record is in the log that a checkpoint names.

    Attributes:
        index: the record's place.
        path: hashes from the record's sibling up to the root's child.
        note: the signed checkpoint, as it was issued.
        extra: the record itself, canonical JSON; null where the proof is given without it.
    """

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The text."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        return _joined(lines, self.path, self.note)


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True):
    """That the log which a checkpoint names begins with an older one.

    Attributes:
        old: records of the older log.
        path: hashes as RFC 6962, section 2.1.2, orders them; empty where `old` is 0.
        note: the signed newer checkpoint, as it was issued.
    """

    old: int
    path: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The text."""
        return _joined([f"old {self.old}"], self.path, self.note)


def parse_inclusion(data: bytes) -> InclusionProof:
    """Read a proof of inclusion. Nothing of it is verified.

    Raises:
        SealDamaged: it is none.
    """
    lines, note = _split(data)
    if not lines or lines.pop(0) != HEADER:
        raise SealDamaged(f"the proof does not begin with {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise SealDamaged("the proof does not say the index of its record")
    index = decimal(lines.pop(0).removeprefix("index "), "the index of a proof")
    return InclusionProof(index=index, path=_hashes(lines), note=note, extra=extra)


def parse_consistency(data: bytes) -> ConsistencyProof:
    """Read a proof of consistency. Nothing of it is verified.

    Raises:
        SealDamaged: it is none.
    """
    lines, note = _split(data)
    if not lines or not lines[0].startswith("old "):
        raise SealDamaged("the proof does not say the size of the older log")
    old = decimal(lines.pop(0).removeprefix("old "), "the older size of a proof")
    return ConsistencyProof(old=old, path=_hashes(lines), note=note)


def _joined(lines: Sequence[str], path: Sequence[bytes], note: bytes) -> bytes:
    head = [*lines, *(base64.b64encode(value).decode() for value in path)]
    return "".join(f"{line}\n" for line in head).encode() + b"\n" + note


def _split(data: bytes) -> tuple[list[str], bytes]:
    """The lines before the first empty line, and what follows it."""
    head, found, note = data.partition(b"\n\n")
    if not found:
        raise SealDamaged("the proof has no empty line before its checkpoint")
    try:
        return head.decode("ascii").split("\n"), note
    except UnicodeDecodeError as error:
        raise SealDamaged("the proof is not plain text before its checkpoint") from error


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MOST_HASHES:
        raise SealDamaged(f"the proof has {len(lines)} hashes; none needs more than {MOST_HASHES}")
    return tuple(hash_of(line) for line in lines)
