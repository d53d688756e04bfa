"""Hash one file while threads write it in pieces whose bounds are not those of its leaves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, final

from modelward.vault.tree.leaves import CHUNK

if TYPE_CHECKING:
    from modelward.vault.hazmat.hashing import Data, Hash
    from modelward.vault.tree.leaves import Leaves


@final
class PieceHasher:
    """The leaves of one file, from pieces that arrive in any order.

    A piece is at least as long as a leaf, or the last. So a leaf that begins in one piece ends in the next:
    the first leaves a hash under way, with which the next goes on; if it started earlier, it keeps the bytes
    that are missing, and who ends later joins them.
    """

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._found = [b""] * leaves.count
        self._begun: dict[int, Hash] = {}
        self._rest: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def piece(self, offset: int) -> Piece:
        """Begin a piece at an offset of the file."""
        return Piece(self._leaves, self, offset)

    def root(self) -> bytes:
        """The file's root, once all of it was fed."""
        return self._leaves.root(self._found)

    def begun(self, index: int) -> Hash | None:
        """The hash that the piece before has begun, to go on with, if that piece has ended already."""
        with self._lock:
            return self._begun.pop(index, None)

    def whole(self, index: int, digest: bytes) -> None:
        """One leaf is done."""
        self._found[index] = digest

    def halves(self, index: int, begun: Hash | None, rest: bytes) -> None:
        """One half of a leaf is known: the hash under way, or the bytes that are missing."""
        with self._lock:
            if begun is None:
                begun = self._begun.pop(index, None)
                if begun is None:
                    self._rest[index] = rest
                    return
            elif index in self._rest:
                rest = self._rest.pop(index)
            else:
                self._begun[index] = begun
                return
        begun.update(rest)
        self._found[index] = begun.digest()


@final
class Piece:
    """One piece, fed from its beginning to its end by one thread."""

    def __init__(self, leaves: Leaves, owner: PieceHasher, offset: int) -> None:
        self._leaves, self._owner = leaves, owner
        self._index, inside = divmod(offset, CHUNK)
        self._room = leaves.size(self._index) - inside
        begun = owner.begun(self._index) if inside else leaves.start(self._index)
        self._head = bytearray() if begun is None else None
        self._hash = begun or leaves.start(self._index)

    def update(self, data: Data) -> None:
        """Append bytes."""
        rest = memoryview(data)
        while rest:
            part = rest[: self._room]
            if self._head is None:
                self._hash.update(part)
            else:
                self._head += part
            self._room -= len(part)
            rest = rest[len(part) :]
            if not self._room:
                self._next()

    def close(self) -> None:
        """The piece ends here."""
        if self._index == self._leaves.count:
            return
        if not self._room:  # of an empty file
            self._next()
        elif self._head is None:
            self._owner.halves(self._index, self._hash, b"")

    def _next(self) -> None:
        if self._head is None:
            self._owner.whole(self._index, self._hash.digest())
        else:
            self._owner.halves(self._index, None, bytes(self._head))
            self._head = None
        self._index += 1
        if self._index < self._leaves.count:
            self._room = self._leaves.size(self._index)
            self._hash = self._leaves.start(self._index)
