"""Hash functions over bytes: SHA-256, BLAKE3 and BLAKE2b under one protocol.

Sources: FIPS 180-4 (SHA-256), the BLAKE3 specification of 2020-01-09, RFC 7693 (BLAKE2b, 64 bytes). All
release the interpreter's lock while they hash a megabyte, so that threads use every core.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Data: TypeAlias = bytes | bytearray | memoryview

Algorithm: TypeAlias = Literal["sha256", "blake3"]
"""What trees are hashed by; both give 32 bytes."""

FileAlgorithm: TypeAlias = Literal["sha256", "blake3", "blake2b"]
"""What whole files are hashed by; blake2b gives 64 bytes."""

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("sha256", "blake3")
SIZE: Final = 32
"""Bytes of a digest of `Algorithm`."""


class Hash(Protocol):
    """A hash that is under way."""

    def update(self, data: Data, /) -> object:
        """Append bytes."""
        ...

    def digest(self) -> bytes:
        """Of all bytes so far."""
        ...


def maker(algorithm: FileAlgorithm) -> Callable[[Data], Hash]:
    """What begins a hash with its first bytes."""
    if algorithm == "sha256":
        return hashlib.sha256
    if algorithm == "blake2b":
        return hashlib.blake2b
    from blake3 import blake3

    return blake3
