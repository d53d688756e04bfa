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
    """The leaves of one file, from pieces that arrive in any order; threads may share it.

    A piece goes on to the end of a leaf or beyond, or it is the first. So a leaf that does not end in the
    piece where it begins ends in the next one: whoever has the beginning leaves the hash under way, before he
    hashes anything else, and whoever has the end goes on with it. Only an end that comes first is kept.
    """

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._found = [b""] * leaves.count
        self._begun: dict[int, Hash] = {}
        self._ends: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def piece(self, offset: int, data: Data) -> None:
        """Take the bytes at an offset of the file; each byte once."""
        view, stop = memoryview(data), offset + len(data)
        first, last = offset // CHUNK, stop // CHUNK if stop < self._leaves.length else self._leaves.count
        if last < self._leaves.count and stop % CHUNK:
            begun = self._leaves.start(last)
            begun.update(view[max(last * CHUNK - offset, 0) :])
            self._begin(last, begun)
        for index in range(first, last):
            begin = max(index * CHUNK, offset)
            part = view[begin - offset : index * CHUNK + self._leaves.size(index) - offset]
            if begin % CHUNK:
                self._end(index, part)
            else:
                self._found[index] = self._leaves.leaf(index, part)

    def root(self) -> bytes:
        """The file's root, once all of it was taken."""
        return self._leaves.root(self._found)

    def _begin(self, index: int, begun: Hash) -> None:
        with self._lock:
            end = self._ends.pop(index, None)
            if end is None:
                self._begun[index] = begun
                return
        self._finish(index, begun, end)

    def _end(self, index: int, end: memoryview) -> None:
        with self._lock:
            begun = self._begun.pop(index, None)
            if begun is None:
                self._ends[index] = bytes(end)
                return
        self._finish(index, begun, end)

    def _finish(self, index: int, begun: Hash, end: Data) -> None:
        begun.update(end)
        self._found[index] = begun.digest()
