"""The tree as a value: one entry per file, one root over all, and what differs between two trees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.errors import PathUnsafe, SealDamaged
from modelward.vault.hazmat import hashing
from modelward.vault.hazmat.hashing import Algorithm
from modelward.vault.tree.leaves import entry_leaf, node, root_over
from modelward.vault.tree.names import check_names, increasing, shown, sorting_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.core.canonical import JSON

_HEX: Final = re.compile(r"[0-9a-f]{64}")
LONGEST: Final = 1 << 53
"""Files are shorter than this: JSON holds no larger whole number exactly."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One file.

    Attributes:
        path: POSIX, relative to the tree.
        length: bytes.
        root: over the file's leaves, 64 hexadecimal digits.
    """

    path: str
    length: int
    root: str


class Tree(msgspec.Struct, frozen=True):
    """A folder or a file.

    Attributes:
        algorithm: of all hashes.
        entries: in the order of their path's parts.
        root: ``sha256:<hex>`` or ``blake3:<hex>``.
    """

    algorithm: Algorithm
    entries: tuple[Entry, ...]
    root: str

    @property
    def length(self) -> int:
        """Bytes of all files."""
        return sum(entry.length for entry in self.entries)

    @property
    def digest(self) -> dict[str, str]:
        """The root as the digest of an in-toto subject."""
        return {self.algorithm: self.root.partition(":")[2]}

    def to_json(self) -> dict[str, JSON]:
        """As plain JSON values."""
        entries: list[JSON] = [
            {"length": entry.length, "path": entry.path, "root": entry.root} for entry in self.entries
        ]
        return {"algorithm": self.algorithm, "entries": entries, "root": self.root}


class Changes(msgspec.Struct, frozen=True):
    """What differs between a tree that was sealed and one that was found.

    Attributes:
        altered: paths whose content or length differs.
        missing: paths that were sealed and are not there.
        added: paths that are there and were not sealed.
        renamed: (sealed, found) of files that were only renamed.
    """

    altered: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.altered or self.missing or self.added or self.renamed)

    def sentences(self) -> list[str]:
        """One sentence per difference."""
        return [
            *(f"{shown(path)}: altered" for path in self.altered),
            *(f"{shown(path)}: missing" for path in self.missing),
            *(f"{shown(path)}: added, was not sealed" for path in self.added),
            *(f"{shown(old)}: renamed to {shown(new)}" for old, new in self.renamed),
        ]


def tree_of(entries: Iterable[Entry], algorithm: Algorithm) -> Tree:
    """The tree over entries, in whatever order they come.

    Raises:
        PathUnsafe: a path leaves the tree, or two may name one file.
        ValueError: there is no entry, or one is not of the format.
    """
    ordered = tuple(entries)
    if not ordered:
        raise ValueError("a tree without files has no root")
    if not increasing(sorting_key(entry.path) for entry in ordered):
        ordered = tuple(sorted(ordered, key=lambda entry: sorting_key(entry.path)))
    check_names(entry.path for entry in ordered)
    for entry in ordered:
        if not _HEX.fullmatch(entry.root) or not 0 <= entry.length < LONGEST:
            raise ValueError(
                f"{shown(entry.path)}: {entry.length} bytes with root {entry.root[:80]!r} is no entry"
            )
    return tree_of_walked(ordered, algorithm)


def tree_of_walked(ordered: tuple[Entry, ...], algorithm: Algorithm) -> Tree:
    """The same over entries that a walk has checked and put in order."""
    leaves = (entry_leaf(algorithm, entry.path, entry.length, entry.root) for entry in ordered)
    _, root = root_over(leaves, node(algorithm))
    return Tree(algorithm=algorithm, entries=ordered, root=f"{algorithm}:{root.hex()}")


def tree_from_json(value: JSON) -> Tree:
    """Read a tree strictly; its root is computed again.

    Raises:
        SealDamaged: it is none, its root is another, its order is, or a path is unsafe.
    """
    try:
        claimed = msgspec.convert(value, _Strict)
        tree = tree_of(claimed.entries, claimed.algorithm)
    except (msgspec.ValidationError, PathUnsafe, ValueError) as error:
        raise SealDamaged(f"a list of files is not one: {str(error)[:200]}") from error
    if tree.root != claimed.root or tree.entries != claimed.entries:
        raise SealDamaged("a list of files does not have the root that it states, or is out of order")
    return tree


def parse_root(text: str) -> tuple[Algorithm, bytes]:
    """Read ``sha256:<hex>`` or ``blake3:<hex>``.

    Raises:
        SealDamaged: it is neither.
    """
    name, _, digits = text.partition(":")
    for algorithm in hashing.ALGORITHMS:
        if name == algorithm and _HEX.fullmatch(digits):
            return algorithm, bytes.fromhex(digits)
    raise SealDamaged(f"{text[:80]!r} is no root of a tree")


def differences(sealed: Tree, found: Tree) -> Changes:
    """What differs. A root binds the name, so a renamed file is one that is missing and one that was added.

    Args:
        sealed: what was signed.
        found: what is there.

    Returns:
        The differences, in order of paths; false if there is none.

    Raises:
        ValueError: the trees are of two hash functions.
    """
    if sealed.algorithm != found.algorithm:
        raise ValueError(f"{sealed.algorithm} and {found.algorithm} cannot be compared")
    old = {entry.path: entry for entry in sealed.entries}
    new = {entry.path: entry for entry in found.entries}
    return Changes(
        altered=tuple(path for path, entry in old.items() if new.get(path, entry) != entry),
        missing=tuple(path for path in old if path not in new),
        added=tuple(path for path in new if path not in old),
    )


def compare(sealed: Tree, found: Tree) -> list[str]:
    """What differs, as sentences; see `differences`."""
    return differences(sealed, found).sentences()


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: Algorithm
    entries: tuple[Entry, ...]
    root: str
