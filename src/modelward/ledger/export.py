"""Writes a ledger as tiles: only what is new, and nothing that was published is ever replaced."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, final

from modelward.errors import LedgerTampered, OutputUnwritable
from modelward.ledger.blobs import write_atomically
from modelward.ledger.lock import sync_folder
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import tree_root
from modelward.ledger.tiles import (
    ENTRIES,
    LONGEST_ENTRY,
    LONGEST_RECORD,
    PREFIX,
    RECORDS,
    WIDTH,
    levels,
    tile_path,
    tiles_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def write_tiles(
    bodies: Iterable[bytes], folder: Path, size: int, *, old: int = 0, records: bool = True
) -> int:
    """Write the tiles of a log that are not there yet. The checkpoint is written by the caller, last.

    They are on the disk when this returns, so that a checkpoint never outlives what it names.

    Args:
        bodies: canonical JSON of the records, in order; the first `size` are taken.
        folder: where; it exists. Files are 0600 and folders 0700: records can hold personal data.
        size: of the log.
        old: size that a published checkpoint names; full tiles below it are not read again.
        records: write the records too, and not the hashes alone.

    Returns:
        How many files were written.

    Raises:
        LedgerTampered: there are fewer records, or a tile that is there holds other ones.
        OutputUnwritable: a file cannot be written, a record is longer than any bundle holds, or the log holds
            records and is to go on without them.
    """
    if not records and any((folder / "tile" / kind).exists() for kind in PREFIX):
        raise OutputUnwritable(
            f"{folder}: holds records, and a log that holds some of them and not others is damaged",
            advice="Publish all records as before, or the hashes alone into another folder.",
        )
    source = iter(bodies)
    new = _New(folder, old)
    above: list[bytes] = []
    for index, width in tiles_at(size, 0):
        batch = list(islice(source, width))
        if len(batch) != width:
            raise LedgerTampered(f"the ledger holds {index * WIDTH + len(batch)} records instead of {size}")
        end = (index + 1) * WIDTH
        hashes = [leaf_hash(body) for body in batch]
        new.put(tile_path(0, index, width), b"".join(hashes), end)
        if records:
            kind, data = _bundle(batch, index * WIDTH)
            new.put(tile_path(kind, index, width), data, end)
        if width == WIDTH:
            above.append(tree_root(hashes))
    for level in levels(size)[1:]:
        below, above = above, []
        for index, width in tiles_at(size, level):
            hashes = below[index * WIDTH : index * WIDTH + width]
            new.put(tile_path(level, index, width), b"".join(hashes), (index + 1) << (8 * (level + 1)))
            if width == WIDTH:
                above.append(tree_root(hashes))
    new.sync()
    return new.written


def remove_partial(folder: Path, old: int, size: int) -> None:
    """Remove the partial tiles of an older size whose full tiles are there.

    Call it once the newer checkpoint is published.

    Raises:
        OutputUnwritable: a folder cannot be removed.
    """
    for level in levels(old):
        index = (old >> (8 * level)) // WIDTH
        if (index + 1) << (8 * (level + 1)) > size:
            continue
        for kind in (level,) if level else (0, ENTRIES, RECORDS):
            partial = folder / f"{tile_path(kind, index)}.p"
            try:
                if partial.is_dir():
                    shutil.rmtree(partial)
            except OSError as error:
                raise OutputUnwritable(f"{partial}: cannot be removed ({error.strerror})") from error


def _bundle(batch: Sequence[bytes], first: int) -> tuple[str, bytes]:
    """Records with their lengths: in 16 bits as the specification has it, or in 32 where one is longer."""
    longest = max(len(body) for body in batch)
    if longest > LONGEST_RECORD:
        raise OutputUnwritable(
            f"a record after the {first}th has {longest} bytes; a bundle holds {LONGEST_RECORD} at most",
            advice="Export the hashes alone, with --hashes-only.",
        )
    kind = ENTRIES if longest <= LONGEST_ENTRY else RECORDS
    return kind, b"".join(len(body).to_bytes(PREFIX[kind], "big") + body for body in batch)


@final
class _New:
    """The files that a log of `old` records lacks."""

    def __init__(self, folder: Path, old: int) -> None:
        self.written = 0
        self._folder = folder
        self._old = old
        self._folders = {folder}

    def put(self, name: str, data: bytes, end: int) -> None:
        """Write a file that is not there; one that is there must hold just this.

        Args:
            name: path in the log.
            data: of the file.
            end: records of the smallest log that has this file in full.
        """
        path = self._folder / name
        settled = end <= self._old
        try:
            if path.exists() and not settled and path.read_bytes() != data:
                raise LedgerTampered(
                    f"{path}: holds other records than the ledger",
                    advice="One of the two was altered or replaced; use a new folder only if you know why.",
                )
            if not path.exists():
                for parent in reversed([parent for parent in path.parents if not parent.exists()]):
                    parent.mkdir(mode=0o700, exist_ok=True)
                write_atomically(path, data)
                self.written += 1
                settled = False
        except OSError as error:
            raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error
        if not settled:  # also one that is there: whoever wrote it may have been killed before it was durable
            self._folders.update(self._folder / above for above in PurePath(name).parents)

    def sync(self) -> None:
        """Make what was renamed durable."""
        for folder in self._folders:
            try:
                sync_folder(folder)
            except OSError as error:
                raise OutputUnwritable(f"{folder}: cannot be written ({error.strerror})") from error
