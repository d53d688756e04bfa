"""A log as files that never change: tiles of its tree, and bundles of its records.

Source: C2SP tlog-tiles v1. One extension: a bundle's entries have lengths of 16 bits there, so a bundle with
a longer record is a file ``tile/records/<N>`` with lengths of 32 bits, and no ``tile/entries/<N>`` stands
beside it. The tree is the same either way.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final, final

from modelward.core.files import open_plain
from modelward.errors import ProofInvalid, SealDamaged
from modelward.ledger.checkpoint import HASH_BYTES
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import tree_root
from modelward.ledger.subtrees import root_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

WIDTH: Final = 256
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries"
RECORDS: Final = "records"
PREFIX: Final = {ENTRIES: 2, RECORDS: 4}
"""Bytes of the length before each entry of a bundle."""
LONGEST_ENTRY: Final = 2**16 - 1
LONGEST_RECORD: Final = 64 << 20
MOST_CHECKPOINT: Final = 256 << 10
_KEPT: Final = 2048  # tiles in memory, about 30 MB


def tile_path(kind: int | str, index: int, width: int = WIDTH) -> str:
    """Where a tile or bundle lies.

    Args:
        kind: the level, 0 to 63, or `ENTRIES` or `RECORDS`.
        index: its place in the level.
        width: hashes or entries in it, 1 to 256; fewer than 256 name a partial one.
    """
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{kind}/{'/'.join(parts)}{partial}"


def tiles_at(size: int, level: int) -> Iterator[tuple[int, int]]:
    """Index and width of every tile of a level, for a log of `size` records."""
    full, rest = divmod(size >> (8 * level), WIDTH)
    yield from ((index, WIDTH) for index in range(full))
    if rest:
        yield full, rest


def levels(size: int) -> range:
    """The levels that a log of `size` records has."""
    return range((size.bit_length() + 7) // 8)


@final
class Tiles:
    """The tiles of a log of one size, read on demand.

    What they hold is believed only after `check`, or where it leads to a signed root.

    Attributes:
        folder: where ``checkpoint`` and ``tile/`` are.
        size: number of records.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._read: dict[tuple[int, int], list[bytes]] = {}

    def node(self, height: int, index: int) -> bytes:
        """The root of leaves ``[index * 2**height, (index + 1) * 2**height)``.

        Raises:
            SealDamaged: the tile that holds it is missing or has another length.
        """
        level, inner = divmod(height, 8)
        tile, place = divmod(index << inner, WIDTH)
        return tree_root(self.hashes(level, tile)[place : place + (1 << inner)])

    def hashes(self, level: int, index: int) -> list[bytes]:
        """The hashes of one tile.

        Raises:
            SealDamaged: it is missing, or has another length than a tile of this log.
        """
        if (level, index) not in self._read:
            width = min(WIDTH, (self.size >> (8 * level)) - index * WIDTH)
            if len(self._read) >= _KEPT:
                self._read.clear()
            data = self._tile(level, index, width)
            self._read[level, index] = [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]
        return self._read[level, index]

    def check(self, root: bytes) -> int:
        """Hash everything that is there.

        Args:
            root: of the checkpoint of this size.

        Returns:
            How many records lie beside the hashes: all, or none where only hashes were published.

        Raises:
            ProofInvalid: a hash or a record is not that of the log which the root names.
            SealDamaged: a tile or bundle is missing or cut short.
        """
        for level in levels(self.size):
            for index, width in tiles_at(self.size, level):
                found = self.hashes(level, index)
                if level:
                    first = index * WIDTH
                    below = [tree_root(self.hashes(level - 1, first + i)) for i in range(width)]
                    _same(found, below, f"the tile {tile_path(level, index, width)}")
        _same([root_of(self, self.size)], [root], "the root of the tiles")
        held = [self._bundle(index, width) for index, width in tiles_at(self.size, 0)]
        if not any(held):
            return 0
        for index, record in self.records():
            if not hmac.compare_digest(leaf_hash(record), self.hashes(0, index // WIDTH)[index % WIDTH]):
                raise ProofInvalid(f"record {index} is not the one that the log committed to")
        return self.size

    def leaves(self) -> Iterator[bytes]:
        """The leaf hash of every record.

        Raises:
            SealDamaged: a tile is missing or has another length.
        """
        for index, _ in tiles_at(self.size, 0):
            yield from self.hashes(0, index)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Index and canonical JSON of every record.

        Raises:
            SealDamaged: a bundle is missing or cut short.
        """
        for index, _ in tiles_at(self.size, 0):
            yield from enumerate(self.bundle(index), index * WIDTH)

    def record(self, index: int) -> bytes:
        """One record's canonical JSON.

        Raises:
            SealDamaged: its bundle is missing or cut short.
        """
        found = b""
        for place, entry in enumerate(self.bundle(index // WIDTH)):
            found = entry if place == index % WIDTH else found  # one at a time: 256 may have 64 MiB each
        return found

    def bundle(self, index: int) -> Iterator[bytes]:
        """The records of one bundle.

        Raises:
            SealDamaged: it is missing or cut short.
        """
        width = min(WIDTH, self.size - index * WIDTH)
        found = self._bundle(index, width)
        if found is None:
            raise SealDamaged(
                f"{tile_path(ENTRIES, index, width)} is missing, so its records cannot be read",
                advice="Where a log is published without records, prove with --without-record.",
            )
        kind, held = found
        with open_plain(self.folder / tile_path(kind, index, held)) as stream:
            yield from _entries(stream, tile_path(kind, index, held), PREFIX[kind], (width, held))

    def _bundle(self, index: int, width: int) -> tuple[str, int] | None:
        """Which kind of bundle there is, and how wide: the full one may have replaced a partial one."""
        for held in sorted({width, WIDTH}):
            for kind in PREFIX:
                if (self.folder / tile_path(kind, index, held)).is_file():
                    return kind, held
        return None

    def _tile(self, level: int, index: int, width: int) -> bytes:
        for held in sorted({width, WIDTH}):
            name = tile_path(level, index, held)
            if (self.folder / name).is_file():
                data = read_plain(self.folder / name, held * HASH_BYTES)
                if len(data) != held * HASH_BYTES:
                    raise SealDamaged(f"{name} has {len(data)} bytes instead of {held * HASH_BYTES}")
                return data[: width * HASH_BYTES]
        raise SealDamaged(f"{tile_path(level, index, width)} is missing")


def read_plain(path: Path, limit: int) -> bytes:
    """Read a regular file.

    Args:
        path: where.
        limit: a longer file is damaged.

    Raises:
        FileMissing: there is none, or it cannot be read.
        SealDamaged: it is longer.
    """
    with open_plain(path) as stream:
        data = stream.read(min(os.fstat(stream.fileno()).st_size, limit) + 1)
    if len(data) > limit:
        raise SealDamaged(f"{path}: is longer than the {limit} bytes that such a file can have")
    return data


def _entries(stream: BinaryIO, name: str, prefix: int, widths: tuple[int, int]) -> Iterator[bytes]:
    """The first of so many entries as a bundle holds."""
    wanted, held = widths
    for count in range(held):
        length = int.from_bytes(head := stream.read(prefix), "big")
        if len(head) != prefix or length > LONGEST_RECORD:
            raise SealDamaged(f"{name} is damaged at its entry {count}")
        entry = stream.read(length)
        if len(entry) != length:
            raise SealDamaged(f"{name} is cut short in its entry {count}")
        if count < wanted:
            yield entry
    if stream.read(1):
        raise SealDamaged(f"{name} goes on after its last entry")


def _same(found: list[bytes], wanted: list[bytes], what: str) -> None:
    if not hmac.compare_digest(b"".join(found), b"".join(wanted)):
        raise ProofInvalid(f"{what} is not that of the log which the checkpoint names")
