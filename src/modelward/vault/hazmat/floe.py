"""FLOE: encryption of large files in segments, each of which can be opened alone.

Source: C2SP FLOE (Fast Lightweight Online Encryption), with its fixed AES-256-GCM, HKDF-Expand over SHA-384
and IV of 32 bytes; the length of a segment is the parameter. The functions of random access stand here,
without the online ones' guard against misuse: who encrypts says which segment is the last, and only once.

A ciphertext is a header of 74 bytes and segments. Every segment but the last is full; the last holds 0 bytes
up to a full segment. A segment's position and whether it is the last are authenticated, and the header
commits to the key and to the associated data: nothing can be cut, moved or opened as something else.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from modelward.errors import SealDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    Buffer: TypeAlias = bytes | bytearray | memoryview

KEY: Final = 32
IV: Final = 32
HEADER: Final = 10 + IV + 32
OVERHEAD: Final = 4 + 12 + 16
MAX_SEGMENTS: Final = 2**40
_MORE: Final = b"\xff\xff\xff\xff"


class Parameters(NamedTuple):
    """Which member of the family.

    Attributes:
        segment: bytes of a full encrypted segment, more than 32 and below 2**32 - 1.
        rotation: a new AES key after ``2**rotation`` segments; 20 by the specification.
    """

    segment: int
    rotation: int = 20

    @property
    def room(self) -> int:
        """Bytes of plaintext in a full segment."""
        return self.segment - OVERHEAD

    def encode(self) -> bytes:
        """The ten bytes that open a header."""
        return bytes(2) + self.segment.to_bytes(4, "big") + IV.to_bytes(4, "big")

    def segments(self, plaintext: int) -> int:
        """How many segments hold this many bytes: at least one, and none after a full last one."""
        return max(1, -(-plaintext // self.room))

    def sealed_length(self, plaintext: int) -> int:
        """Bytes of the whole ciphertext, with its header."""
        return HEADER + plaintext + OVERHEAD * self.segments(plaintext)

    def opened_length(self, ciphertext: int) -> int:
        """Bytes of plaintext in a ciphertext of this length.

        Raises:
            SealDamaged: no ciphertext is that long.
        """
        full, rest = divmod(ciphertext - HEADER, self.segment)
        if ciphertext < HEADER + OVERHEAD or 0 < rest < OVERHEAD:
            raise SealDamaged(f"{ciphertext} bytes are no whole ciphertext; it was cut")
        return full * self.room + max(0, rest - OVERHEAD)


@final
class Floe:
    """One ciphertext, while it is written or read. Several threads may use it at once.

    Attributes:
        header: the 74 bytes before the first segment.
        parameters: the member of the family.
    """

    def __init__(self, key: bytes, aad: bytes, iv: bytes, parameters: Parameters) -> None:
        """Derive the keys; `encrypting` and `decrypting` are the ways in."""
        if len(key) != KEY or len(iv) != IV:
            raise ValueError("a FLOE key and a FLOE IV have 32 bytes")
        if not OVERHEAD < parameters.segment < 2**32 - 1:
            raise ValueError(f"a segment of {parameters.segment} bytes is out of range")
        self.parameters: Final = parameters
        self._context: Final = parameters.encode() + iv
        self._aad: Final = aad
        self.header: Final = self._context + self._derive(key, b"HEADER_TAG:", 32)
        self._message_key: Final = self._derive(key, b"MESSAGE_KEY:", 48)
        self._cipher: tuple[int, AESGCM] = (0, self._cipher_of(0))

    @classmethod
    def encrypting(cls, key: bytes, aad: bytes, parameters: Parameters) -> Floe:
        """Begin a ciphertext under a fresh IV.

        Args:
            key: 32 secret random bytes.
            aad: what the ciphertext belongs to; needed again to open it.
            parameters: the member of the family.
        """
        return cls(key, aad, os.urandom(IV), parameters)

    @classmethod
    def decrypting(cls, key: bytes, aad: bytes, header: Buffer, parameters: Parameters) -> Floe:
        """Take up a ciphertext by its first 74 bytes.

        Raises:
            SealDamaged: the header has other parameters, was altered, or belongs to another key or place.
        """
        given = bytes(header)
        if len(given) != HEADER:
            raise SealDamaged(f"a ciphertext begins with {HEADER} bytes, not {len(given)}")
        if given[:10] != parameters.encode():
            raise SealDamaged("a ciphertext's parameters are not those of this format")
        floe = cls(key, aad, given[10 : 10 + IV], parameters)
        if not hmac.compare_digest(floe.header, given):
            raise SealDamaged("a ciphertext's header was altered, or it is not of this key and place")
        return floe

    def __repr__(self) -> str:  # keys never show in a traceback or a log
        return f"Floe({self.parameters.segment} bytes a segment)"

    def encrypt_segment(
        self, position: int, plaintext: Buffer, out: bytearray | memoryview, *, last: bool
    ) -> int:
        """Encrypt one segment into a buffer; each position once.

        Args:
            position: which segment, from 0.
            plaintext: a full segment's, or any shorter one for the last.
            out: takes ``len(plaintext) + 32`` bytes at its beginning.
            last: no segment follows.

        Returns:
            How many bytes were written.

        Raises:
            ValueError: the plaintext has not the length of such a segment.
        """
        size, room = len(plaintext), self.parameters.room
        if size > room or (size < room and not last) or not 0 <= position < MAX_SEGMENTS:
            raise ValueError(f"{size} bytes are no segment {position} of {room} bytes")
        total = size + OVERHEAD
        nonce = os.urandom(12)
        view = memoryview(out)
        view[:4] = total.to_bytes(4, "big") if last else _MORE
        view[4:16] = nonce
        self._at(position).encrypt_into(nonce, plaintext, _place(position, last=last), view[16:total])
        return total

    def decrypt_segment(
        self, position: int, ciphertext: Buffer, out: bytearray | memoryview, *, last: bool
    ) -> int:
        """Decrypt one segment into a buffer. What the buffer holds after a refusal means nothing.

        Args:
            position: which segment, from 0.
            ciphertext: the whole segment.
            out: takes ``len(ciphertext) - 32`` bytes at its beginning.
            last: no segment follows.

        Returns:
            How many bytes were written.

        Raises:
            SealDamaged: it is not the segment that was encrypted at this place.
        """
        total, full = len(ciphertext), self.parameters.segment
        if not (OVERHEAD <= total <= full if last else total == full) or not 0 <= position < MAX_SEGMENTS:
            raise SealDamaged(f"segment {position} of a ciphertext has {total} bytes")
        view = memoryview(ciphertext)
        if view[:4] != (total.to_bytes(4, "big") if last else _MORE):
            raise SealDamaged(f"segment {position} of a ciphertext is {'not ' if last else ''}the last one")
        body = memoryview(out)[: total - OVERHEAD]
        try:
            self._at(position).decrypt_into(view[4:16], view[16:], _place(position, last=last), body)
        except InvalidTag as error:
            raise SealDamaged(f"segment {position} of a ciphertext was altered or moved") from error
        return total - OVERHEAD

    def _at(self, position: int) -> AESGCM:
        epoch, cipher = self._cipher  # one tuple, so that another thread's change is seen whole
        wanted = position >> self.parameters.rotation
        if epoch != wanted:
            cipher = self._cipher_of(wanted)
            self._cipher = (wanted, cipher)
        return cipher

    def _cipher_of(self, epoch: int) -> AESGCM:
        first = (epoch << self.parameters.rotation).to_bytes(8, "big")
        return AESGCM(self._derive(self._message_key, b"DEK:" + first, 32))

    def _derive(self, key: bytes, purpose: bytes, length: int) -> bytes:
        return expand(key, self._context + purpose + self._aad, length)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Derive a key from a key: HKDF-Expand over SHA-384 (RFC 5869, section 2.3).

    Args:
        key: uniformly random.
        info: what the derived key is for.
        length: bytes of it.
    """
    return HKDFExpand(hashes.SHA384(), length, info).derive(key)


def decrypt(
    key: bytes, aad: bytes, parameters: Parameters, length: int, read: Callable[[int, int], Buffer]
) -> bytearray:
    """Decrypt a whole ciphertext into memory.

    Args:
        key: 32 bytes.
        aad: as when it was encrypted.
        parameters: the member of the family.
        length: bytes of the ciphertext.
        read: gives a number of bytes at an offset: ``read(offset, count)``.

    Raises:
        SealDamaged: it is not the ciphertext that was written.
    """
    out = bytearray(parameters.opened_length(length))
    floe = Floe.decrypting(key, aad, read(0, HEADER), parameters)
    view = memoryview(out)
    offset, position, done = HEADER, 0, 0
    while offset < length:
        size = min(parameters.segment, length - offset)
        piece = read(offset, size)
        done += floe.decrypt_segment(position, piece, view[done:], last=offset + size == length)
        offset, position = offset + size, position + 1
    return out


def _place(position: int, *, last: bool) -> bytes:
    return position.to_bytes(8, "big") + (b"\x01" if last else b"\x00")
