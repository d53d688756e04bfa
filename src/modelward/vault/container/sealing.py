"""Hash and encrypt the files of a tree in one pass over each, by as many threads as there are cores."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, final

from modelward.vault.container.layout import FLOE, SEGMENTS, Header, Record, data_aad, data_name
from modelward.vault.container.pieces import PieceHasher
from modelward.vault.container.placing import create, write_all
from modelward.vault.hazmat.floe import HEADER, KEY, Floe
from modelward.vault.hazmat.hashing import SIZE
from modelward.vault.tree.entries import Entry
from modelward.vault.tree.leaves import CHUNK, Leaves, chunks_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modelward.vault.tree.walk import WalkEntry

SPAN: Final = 4
"""Segments that a thread encrypts at once."""


@final
class _Target:
    """One file of the container, while it is written."""

    def __init__(self, path: Path, leaves: Leaves, floe: Floe | None, parts: int) -> None:
        self.hasher: Final = PieceHasher(leaves)
        self.leaves: Final = leaves
        self.floe: Final = floe
        self.left = parts
        self.handle: Final = create(path)


@final
class Sealing:
    """The method by which every file is read: see `tree.reading`.

    Args:
        folder: where the container grows; its folder `data` is there.
        header: of the container.
        order: the number of each path.
        durable: each file is made durable when it is done.
    """

    def __init__(self, folder: Path, header: Header, order: dict[str, int], *, durable: bool) -> None:
        self.records: Final[dict[str, Record]] = {}
        self.entries: Final[list[Entry]] = []
        self._folder, self._header, self._order, self._durable = folder, header, order, durable
        self._keys = {path: os.urandom(KEY) if header.encryption == FLOE else b"" for path in order}
        self._open: dict[str, _Target] = {}
        self._lock = threading.Lock()
        self._spare: list[bytearray] = []

    def close(self) -> None:
        """Let go of files that were not finished."""
        for target in self._open.values():
            os.close(target.handle)
        self._open.clear()

    def parts(self, entry: WalkEntry) -> Sequence[tuple[int, int]]:
        """Spans of whole segments."""
        size, span = entry.stat.st_size, SPAN * CHUNK
        return [(start, min(start + span, size)) for start in range(0, max(size, 1), span)]

    def part(self, entry: WalkEntry, start: int, stop: int, read: Callable[[int, int], memoryview]) -> bytes:
        """Hash, encrypt and write one span; gives the leaves of its plaintext."""
        target = self._target(entry)
        plain = Leaves(self._header.hash, entry.path, entry.stat.st_size)
        if target.floe is None:
            found = self._copied(target, plain, (start, stop), read)
        else:
            found = self._encrypted(target, target.floe, plain, (start, stop), read)
        with self._lock:
            target.left -= 1
            finished = not target.left
        if finished:
            self._finish(entry, target)
        return found

    def done(self, entry: WalkEntry, results: list[bytes]) -> None:
        """Note a file that was read whole and did not change."""
        size = entry.stat.st_size
        leaves = b"".join(results)
        root = Leaves(self._header.hash, entry.path, size).root(
            leaves[at : at + SIZE] for at in range(0, len(leaves), SIZE)
        )
        self.records[entry.path] = Record(
            key=self._keys.pop(entry.path),
            leaves=leaves if chunks_in(size) > 1 else b"",
            length=size,
            path=entry.path,
            root=root.hex(),
        )

    def _target(self, entry: WalkEntry) -> _Target:
        with self._lock:
            target = self._open.get(entry.path)
            if target is None:
                target = self._open[entry.path] = self._created(entry)
            return target

    def _created(self, entry: WalkEntry) -> _Target:
        header, index = self._header, self._order[entry.path]
        name, size, floe = data_name(header.encryption, index, entry.path), entry.stat.st_size, None
        path = self._folder / name
        if header.encryption == FLOE:
            floe = Floe.encrypting(self._keys[entry.path], data_aad(header, index), SEGMENTS)
            size = SEGMENTS.sealed_length(size)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        return _Target(
            path, Leaves(header.hash, name, size), floe, max(1, -(-entry.stat.st_size // (SPAN * CHUNK)))
        )

    def _encrypted(
        self,
        target: _Target,
        floe: Floe,
        plain: Leaves,
        span: tuple[int, int],
        read: Callable[[int, int], memoryview],
    ) -> bytes:
        first, last = span[0] // CHUNK, chunks_in(span[1])
        offset = HEADER + first * SEGMENTS.segment
        piece = target.hasher.piece(offset if first else 0)
        if not first:
            write_all(target.handle, floe.header, 0)
            piece.update(floe.header)
        found, out = [], self._spare.pop() if self._spare else bytearray(SEGMENTS.segment)
        view = memoryview(out)
        for index in range(first, last):
            chunk = read(index * CHUNK, plain.size(index))
            found.append(plain.leaf(index, chunk))
            size = floe.encrypt_segment(index, chunk, view, last=index + 1 == plain.count)
            piece.update(view[:size])
            write_all(target.handle, view[:size], offset)
            offset += size
        piece.close()
        self._spare.append(out)
        return b"".join(found)

    def _copied(
        self,
        target: _Target,
        plain: Leaves,
        span: tuple[int, int],
        read: Callable[[int, int], memoryview],
    ) -> bytes:
        found, piece = [], target.hasher.piece(span[0])
        for index in range(span[0] // CHUNK, chunks_in(span[1])):
            chunk = read(index * CHUNK, plain.size(index))
            found.append(plain.leaf(index, chunk))
            piece.update(chunk)
            write_all(target.handle, chunk, index * CHUNK)
        piece.close()
        return b"".join(found)

    def _finish(self, entry: WalkEntry, target: _Target) -> None:
        root = target.hasher.root().hex()
        if self._durable:
            os.fsync(target.handle)
        with self._lock:
            del self._open[entry.path]
            self.entries.append(Entry(target.leaves.path, target.leaves.length, root))
        os.close(target.handle)
