"""Hash a folder or a file: the tree, the digests of whole files, the digests of shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec

from modelward.errors import FileMissing
from modelward.ledger.proof import tree_root
from modelward.vault.hazmat import hashing
from modelward.vault.hazmat.hashing import Algorithm, FileAlgorithm
from modelward.vault.tree.entries import Entry, Tree, tree_of_walked
from modelward.vault.tree.leaves import CHUNK, Leaves, chunks_in, node
from modelward.vault.tree.names import shown
from modelward.vault.tree.reading import Spans, read_all
from modelward.vault.tree.walk import WalkEntry, WalkOptions, stamp, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        cache: file that remembers roots of unchanged files; null for none. See `tree.cache`.
        paranoid: hash everything, whatever the cache says.
        warn: called with a sentence where the cache cannot be used, or was found to be wrong.
    """

    algorithm: Algorithm = "sha256"
    jobs: int = 0
    ignore: tuple[str, ...] = ()
    excluded: tuple[Path, ...] = ()
    links: bool = False
    progress: Callable[[int, int], None] | None = None
    cache: Path | None = None
    paranoid: bool = False
    warn: Callable[[str], None] | None = None

    def walk(self, path: Path) -> list[WalkEntry]:
        """The files that are hashed."""
        chosen = WalkOptions(ignore=self.ignore, excluded=self.excluded, links=self.links)
        return walk(path, chosen)


class FileDigest(NamedTuple):
    """A whole file and its digest.

    Attributes:
        path: POSIX, relative to the tree.
        length: bytes.
        digest: 32 bytes, or 64 of blake2b.
    """

    path: str
    length: int
    digest: bytes


class ShardDigest(NamedTuple):
    """A part of a file and its digest.

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
    found = _hashed(entries, chosen) if chosen.cache is None else _remembered(path, entries, chosen)
    return tree_of_walked(tuple(found[entry.path] for entry in entries), chosen.algorithm)


def hash_files(path: Path, algorithm: FileAlgorithm, options: TreeOptions | None = None) -> list[FileDigest]:
    """Digests of whole files, in order of their paths' parts; files are hashed in parallel.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was read.
    """
    shards = hash_shards(path, algorithm, 0, options)
    return [FileDigest(shard.path, shard.stop, shard.digest) for shard in shards]


def hash_shards(
    path: Path, algorithm: FileAlgorithm, size: int, options: TreeOptions | None = None
) -> list[ShardDigest]:
    """Digests of the shards of files, in parallel; an empty file is one empty shard.

    Args:
        path: a folder or a file.
        algorithm: of the digests.
        size: bytes of a shard; 0 for whole files.
        options: see `TreeOptions`; neither cache nor the algorithm of trees is used.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was read.
    """
    chosen = options or TreeOptions()
    entries = chosen.walk(path)
    found: dict[str, list[bytes]] = {}
    method = _Shards(algorithm, size)

    def done(entry: WalkEntry, results: list[bytes]) -> None:
        found[entry.path] = results

    read_all(entries, method, done, jobs=chosen.jobs, progress=chosen.progress)
    return [
        ShardDigest(entry.path, start, stop, digest)
        for entry in entries
        for (start, stop), digest in zip(method.parts(entry), found[entry.path], strict=True)
    ]


def hash_both(
    path: Path, whole: FileAlgorithm, options: TreeOptions | None = None
) -> tuple[Tree, list[FileDigest]]:
    """The tree and the digests of whole files from one reading; of one file, by one thread.

    Args:
        path: a folder or a file.
        whole: hash function of whole files.
        options: see `TreeOptions`; the cache is not used.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was read.
    """
    chosen = options or TreeOptions()
    entries = chosen.walk(path)
    found: dict[str, tuple[Entry, FileDigest]] = {}
    method = _LeavesOf(chosen.algorithm)

    def done(entry: WalkEntry, results: list[bytes]) -> None:
        size, result = entry.stat.st_size, results[0]
        end = chunks_in(size) * hashing.SIZE
        hashes = (result[at : at + hashing.SIZE] for at in range(0, end, hashing.SIZE))
        found[entry.path] = method.entry(entry, hashes), FileDigest(entry.path, size, result[end:])

    both = _Both(chosen.algorithm, whole)
    read_all(entries, both, done, jobs=chosen.jobs, progress=chosen.progress)
    tree = tree_of_walked(tuple(found[entry.path][0] for entry in entries), chosen.algorithm)
    return tree, [found[entry.path][1] for entry in entries]


def hash_leaves(entry: WalkEntry, algorithm: Algorithm, *, jobs: int = 0) -> list[bytes]:
    """All leaf hashes of one file, 32 bytes each.

    Raises:
        FileMissing: it cannot be read.
        ContentUnstable: it changed while it was read.
    """
    found: list[bytes] = []
    read_all([entry], _LeavesOf(algorithm), lambda _, results: found.extend(results), jobs=jobs)
    return found


def rehash_under(top: Path, algorithm: Algorithm) -> Callable[[str, Entry], str]:
    """What hashes a file of a folder under the name of another entry, for `entries.differences`."""

    def rehash(path: str, entry: Entry) -> str:
        where = located(top, path)._replace(path=entry.path)
        leaves = hash_leaves(where, algorithm)
        return tree_root(leaves, node(algorithm)).hex()

    return rehash


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


def _hashed(entries: Sequence[WalkEntry], options: TreeOptions) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    method = _LeavesOf(options.algorithm)

    def done(entry: WalkEntry, results: list[bytes]) -> None:
        found[entry.path] = method.entry(entry, results)

    read_all(entries, method, done, jobs=options.jobs, progress=options.progress)
    return found


def _remembered(path: Path, entries: Sequence[WalkEntry], options: TreeOptions) -> dict[str, Entry]:
    from modelward.vault.tree.cache import Cache, settled  # costs start-up time that most do not need

    warn = options.warn or _silent
    cache = Cache(options.cache or path, path, options.algorithm, warn)
    known = {entry.path: was for entry in entries if (was := cache.find(entry)) is not None}
    fresh = [entry for entry in entries if options.paranoid or entry.path not in known]
    keep = settled(fresh) | known.keys()
    found = known | (hashed := _hashed(fresh, options))
    for name, entry in hashed.items():
        if known.get(name, entry) != entry:
            warn(f"{shown(name)}: has other content than before, though its times say it was not written")
    if fresh or len(cache) != len(entries):
        cache.replace((entry, found[entry.path]) for entry in entries if entry.path in keep)
    return found


def _silent(_sentence: str) -> None:
    """Nobody listens."""


@final
class _LeavesOf:
    """Leaf hashes; one megabyte a part, for threads that read far apart defeat the disk's read-ahead."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm: Final = algorithm

    def parts(self, entry: WalkEntry) -> Spans:
        return Spans(entry.stat.st_size, CHUNK)

    def part(self, entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        leaves = Leaves(self.algorithm, entry.path, entry.stat.st_size)
        return leaves.leaf(start // CHUNK, read(start, stop - start))

    def entry(self, entry: WalkEntry, hashes: Iterable[bytes]) -> Entry:
        length = entry.stat.st_size
        if length <= CHUNK:
            (root,) = hashes
        else:
            root = Leaves(self.algorithm, entry.path, length).root(hashes)
        return Entry(path=entry.path, length=length, root=root.hex())


@final
class _Shards:
    """Plain digests of parts."""

    def __init__(self, algorithm: FileAlgorithm, size: int) -> None:
        self._begin, self._size = hashing.maker(algorithm), size

    def parts(self, entry: WalkEntry) -> Spans:
        return Spans(entry.stat.st_size, self._size or max(entry.stat.st_size, 1))

    def part(self, _entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        under_way = self._begin(b"")
        for at in range(start, stop, CHUNK):
            under_way.update(read(at, min(CHUNK, stop - at)))
        return under_way.digest()


@final
class _Both:
    """All leaf hashes of a file and its plain digest behind them, from one reading."""

    def __init__(self, algorithm: Algorithm, whole: FileAlgorithm) -> None:
        self._algorithm, self._begin = algorithm, hashing.maker(whole)

    def parts(self, entry: WalkEntry) -> Spans:
        return Spans(entry.stat.st_size, max(entry.stat.st_size, 1))

    def part(self, entry: WalkEntry, _start: int, stop: int, read: Read) -> bytes:
        leaves, found, under_way = Leaves(self._algorithm, entry.path, stop), bytearray(), self._begin(b"")
        for index in range(leaves.count):
            chunk = read(index * CHUNK, leaves.size(index))
            under_way.update(chunk)
            found += leaves.leaf(index, chunk)
        return bytes(found) + under_way.digest()
