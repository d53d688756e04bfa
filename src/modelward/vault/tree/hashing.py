"""Hash a folder or a file: the tree, or the digests of files and of their shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

import msgspec

from modelward.errors import ConfigInvalid, FileMissing
from modelward.vault.hazmat import hashing
from modelward.vault.hazmat.hashing import Algorithm, FileAlgorithm
from modelward.vault.tree.entries import Entry, Tree, tree_of_walked
from modelward.vault.tree.leaves import CHUNK, Leaves
from modelward.vault.tree.names import shown
from modelward.vault.tree.reading import Method, Spans, read_all
from modelward.vault.tree.walk import WalkEntry, WalkOptions, stamp, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.vault.tree.reading import Read


class TreeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to hash.

    Attributes:
        algorithm: of a tree's leaves and nodes.
        jobs: threads; 0 for two per core, so that some hash while others wait for the disk.
        ignore: shell patterns of what is left out; see `WalkOptions`.
        excluded: files and folders that are left out.
        links: follow links that stay in the tree.
        progress: called with (bytes done, bytes in all), by one thread at a time.
        cache: take from the user's cache what did not change since, and remember what did; see `tree.cache`.
        paranoid: hash everything, whatever the cache says.
        warn: called with a sentence where the cache cannot be used, or was found to be wrong.
    """

    algorithm: Algorithm = "sha256"
    jobs: int = 0
    ignore: tuple[str, ...] = ()
    excluded: tuple[Path, ...] = ()
    links: bool = False
    progress: Callable[[int, int], None] | None = None
    cache: bool = False
    paranoid: bool = False
    warn: Callable[[str], None] | None = None

    def walk(self, path: Path) -> list[WalkEntry]:
        """The files that are hashed."""
        chosen = WalkOptions(ignore=self.ignore, excluded=self.excluded, links=self.links)
        return walk(path, chosen)


class ShardDigest(NamedTuple):
    """A file or a part of one, and its digest.

    Attributes:
        path: POSIX, relative to the tree.
        start: first byte.
        stop: byte after the last one.
        digest: 32 bytes, or 64 of blake2b.
    """

    path: str
    start: int
    stop: int
    digest: bytes


def hash_tree(path: Path, options: TreeOptions | None = None) -> Tree:
    """The Merkle tree of a folder or a file.

    Args:
        path: a folder or a file.
        options: see `TreeOptions`.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was read.
    """
    chosen = options or TreeOptions()
    entries = chosen.walk(path)
    roots = _digests(path, entries, _LeavesOf(chosen.algorithm), chosen)
    ordered = (Entry(at.path, at.stat.st_size, roots[at.path].hex()) for at in entries)
    return tree_of_walked(tuple(ordered), chosen.algorithm)


def hash_shards(
    path: Path, algorithm: FileAlgorithm, size: int, options: TreeOptions | None = None
) -> Iterator[ShardDigest]:
    """Digests of the shards of files, in parallel; an empty file is one empty shard.

    Args:
        path: a folder or a file.
        algorithm: of the digests.
        size: bytes of a shard; 0 for whole files.
        options: see `TreeOptions`; its algorithm is that of trees, and not used.

    Returns:
        In order of their paths' parts and places. All is hashed when this returns.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was read.
    """
    chosen = options or TreeOptions()
    entries = chosen.walk(path)
    method = _Shards(algorithm, size)
    found = _digests(path, entries, method, chosen)
    return (shard for entry in entries for shard in method.split(entry, found.pop(entry.path)))


def hash_leaves(entry: WalkEntry, algorithm: Algorithm, *, jobs: int = 0) -> list[bytes]:
    """All leaf hashes of one file, 32 bytes each.

    Raises:
        FileMissing: it cannot be read.
        ContentUnstable: it changed while it was read.
    """
    found: list[bytes] = []
    read_all([entry], _LeavesOf(algorithm), lambda _, results: found.extend(results), jobs=jobs)
    return found


def located(top: Path, name: str) -> WalkEntry:
    """One file of a tree, without a walk.

    Args:
        top: the folder of the tree, or its one file.
        name: path of the file in the tree.

    Raises:
        FileMissing: it does not exist.
    """
    where = os.path.realpath(top / name if top.is_dir() else top)
    try:
        return WalkEntry(name, where, stamp(Path(where).stat()))
    except OSError as error:
        raise FileMissing(f"{shown(name)}: {(error.strerror or 'cannot be read').lower()}") from error


class _Digester(Method, Protocol):
    """What a cache can remember of files."""

    name: str
    """Of the digest; two that may differ have two names."""

    def digest(self, entry: WalkEntry, results: list[bytes]) -> bytes:
        """All of one file, from the results of its parts."""
        ...


def _digests(
    path: Path, entries: Sequence[WalkEntry], method: _Digester, options: TreeOptions
) -> dict[str, bytes]:
    """The digest of every file by its path, from the cache where that may be used."""
    if not options.cache:
        return _computed(entries, method, options)
    from modelward.vault.tree.cache import Cache, settled  # costs start-up time that most do not need

    warn = options.warn or _silent
    try:
        cache = Cache(path, method.name, warn)
    except ConfigInvalid as error:
        warn(f"{error}, so no cache is kept and everything is hashed")
        return _computed(entries, method, options)
    known = {entry.path: was for entry in entries if (was := cache.find(entry)) is not None}
    fresh = [entry for entry in entries if options.paranoid or entry.path not in known]
    keep = settled(fresh) | known.keys()
    found = known | (computed := _computed(fresh, method, options))
    for name, digest in computed.items():
        if known.get(name, digest) != digest:
            warn(f"{shown(name)}: has other content than before, though its times say it was not written")
    if fresh or len(cache) != len(entries):
        cache.replace((entry, found[entry.path]) for entry in entries if entry.path in keep)
    return found


def _computed(entries: Sequence[WalkEntry], method: _Digester, options: TreeOptions) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def done(entry: WalkEntry, results: list[bytes]) -> None:
        found[entry.path] = method.digest(entry, results)

    read_all(entries, method, done, jobs=options.jobs, progress=options.progress)
    return found


def _silent(_sentence: str) -> None:
    """Nobody listens."""


@final
class _LeavesOf:
    """Leaf hashes; one megabyte a part, for threads that read far apart defeat the disk's read-ahead."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.name = f"tree-{algorithm}"
        self._algorithm: Final = algorithm

    def parts(self, entry: WalkEntry) -> Spans:
        return Spans(entry.stat.st_size, CHUNK)

    def part(self, entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        leaves = Leaves(self._algorithm, entry.path, entry.stat.st_size)
        return leaves.leaf(start // CHUNK, read(start, stop - start))

    def digest(self, entry: WalkEntry, results: list[bytes]) -> bytes:
        if len(results) == 1:
            return results[0]
        return Leaves(self._algorithm, entry.path, entry.stat.st_size).root(results)


@final
class _Shards:
    """Plain digests of parts, one behind the other."""

    def __init__(self, algorithm: FileAlgorithm, size: int) -> None:
        self.name = f"shards-{size}-{algorithm}" if size else f"files-{algorithm}"
        self._begin, self._size = hashing.maker(algorithm), size

    def parts(self, entry: WalkEntry) -> Spans:
        return Spans(entry.stat.st_size, self._size or max(entry.stat.st_size, 1))

    def part(self, _entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        under_way = self._begin(b"")
        for at in range(start, stop, CHUNK):
            under_way.update(read(at, min(CHUNK, stop - at)))
        return under_way.digest()

    def digest(self, _entry: WalkEntry, results: list[bytes]) -> bytes:
        return b"".join(results)

    def split(self, entry: WalkEntry, digest: bytes) -> Iterator[ShardDigest]:
        """The digests of the parts again."""
        parts = self.parts(entry)
        size = len(digest) // len(parts)
        for index, (start, stop) in enumerate(parts):
            yield ShardDigest(entry.path, start, stop, digest[index * size : (index + 1) * size])
