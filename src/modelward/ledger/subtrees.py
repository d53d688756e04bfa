"""Roots and proofs out of stored nodes, so that a proof of a large log reads a handful of them.

Source: RFC 6962, section 2.1. Where `modelward.ledger.proof` hashes all leaves, this asks for the roots of
complete subtrees: a proof of a tree of n leaves asks for about log2(n) squared of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

from modelward.ledger.checkpoint import EMPTY_ROOT
from modelward.ledger.merkle import node_hash

if TYPE_CHECKING:
    from collections.abc import Iterable


class Nodes(Protocol):
    """Where roots of complete subtrees come from."""

    def node(self, height: int, index: int) -> bytes:
        """The root of leaves ``[index * 2**height, (index + 1) * 2**height)``."""
        ...


@final
class Levels:
    """All nodes of a tree in memory, from its leaf hashes."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])

    def node(self, height: int, index: int) -> bytes:
        """The root of one complete subtree."""
        return self._levels[height][index]


def root_of(nodes: Nodes, size: int) -> bytes:
    """The root of the first `size` leaves; of none, SHA-256 of nothing."""
    return _root(nodes, 0, size) if size else EMPTY_ROOT


def inclusion(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """The audit path of one leaf, from the leaf to the root.

    Args:
        nodes: of a tree of at least `size` leaves.
        index: which leaf, ``0 <= index < size``.
        size: leaves of the tree that the path is for.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(f"there is no leaf {index} among {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_root(nodes, middle, end))
            end = middle
        else:
            path.append(_root(nodes, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency(nodes: Nodes, old: int, size: int) -> tuple[bytes, ...]:
    """The proof that a tree begins with an older one.

    Args:
        nodes: of a tree of at least `size` leaves.
        old: leaves of the older tree, ``1 <= old <= size``.
        size: leaves of the newer tree.

    Raises:
        ValueError: `old` is out of range.
    """
    if not 1 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not begin with {old}")
    path: list[bytes] = []
    start, end, whole = 0, size, True
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_root(nodes, middle, end))
            end = middle
        else:
            path.append(_root(nodes, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_root(nodes, start, end))
    return tuple(reversed(path))


def _split(count: int) -> int:
    """The largest power of two below a count of at least two."""
    return 1 << ((count - 1).bit_length() - 1)


def _root(nodes: Nodes, start: int, end: int) -> bytes:
    """The root over ``[start, end)``; `start` is a multiple of the largest power of two in the range."""
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append(nodes.node(height, start >> height))
        start += 1 << height
    root = found.pop()
    while found:
        root = node_hash(found.pop(), root)
    return root
