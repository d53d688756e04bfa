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
from modelward.vault.tree.reading import Spans

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.vault.tree.reading import Read
    from modelward.vault.tree.walk import WalkEntry


@final
class _Target:
    """One file of the container, while it is written: its leaves in clear, and as they are stored."""

    def __init__(self, path: Path, plain: Leaves, stored: Leaves, floe: Floe | None) -> None:
        self.plain: Final = plain
        self.stored: Final = stored
        self.hasher: Final = PieceHasher(stored)
        self.floe: Final = floe
        self.left = plain.count
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
        self._spare: list[memoryview] = []

    def close(self) -> None:
        """Let go of files that were not finished."""
        for target in self._open.values():
            os.close(target.handle)
        self._open.clear()

    def parts(self, entry: WalkEntry) -> Spans:
        """The segments: threads that are close together read and write a disk in order."""
        return Spans(entry.stat.st_size, CHUNK)

    def part(self, entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        """Hash, encrypt and write one segment; gives the leaf of its plaintext."""
        target, index, chunk = self._target(entry), start // CHUNK, read(start, stop - start)
        leaf = target.plain.leaf(index, chunk)
        if target.floe is None:
            target.hasher.piece(start, chunk)
            write_all(target.handle, chunk, start)
        else:
            self._encrypt(target, target.floe, index, chunk)
        with self._lock:
            target.left -= 1
            finished = not target.left
        if finished:
            self._finish(entry, target)
        return leaf

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
        plain = Leaves(header.hash, entry.path, size)
        path = self._folder / name
        if header.encryption == FLOE:
            floe = Floe.encrypting(self._keys[entry.path], data_aad(header, index), SEGMENTS)
            size = SEGMENTS.sealed_length(size)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        return _Target(path, plain, Leaves(header.hash, name, size), floe)

    def _encrypt(self, target: _Target, floe: Floe, index: int, chunk: memoryview) -> None:
        if not index:
            target.hasher.piece(0, floe.header)
            write_all(target.handle, floe.header, 0)
        try:
            room = self._spare.pop()
        except IndexError:  # asked beforehand, another thread could take the last one meanwhile
            room = memoryview(bytearray(SEGMENTS.segment))
        sealed = room[: floe.encrypt_segment(index, chunk, room, last=index + 1 == target.plain.count)]
        offset = HEADER + index * SEGMENTS.segment
        target.hasher.piece(offset, sealed)
        write_all(target.handle, sealed, offset)
        self._spare.append(room)

    def _finish(self, entry: WalkEntry, target: _Target) -> None:
        root = target.hasher.root().hex()
        if self._durable:
            os.fsync(target.handle)
        with self._lock:
            del self._open[entry.path]
            self.entries.append(Entry(target.stored.path, target.stored.length, root))
        os.close(target.handle)
