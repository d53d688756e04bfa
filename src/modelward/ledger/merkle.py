"""The Merkle tree hash of RFC 6962, grown one leaf at a time.

Source: RFC 6962, section 2.1 (Merkle Hash Trees). Leaves and inner nodes are hashed with different prefixes
so that an inner node can never be passed off as a leaf.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterable


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf: SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@final
class Frontier:
    """The roots of the maximal complete subtrees, largest first: all that appending needs.

    Attributes:
        size: leaves so far.
        peaks: one 32-byte hash per set bit of `size`, largest subtree first.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"{len(self.peaks)} peaks do not belong to {size} leaves")

    def append(self, data: bytes) -> None:
        """Add one leaf in amortised constant time."""
        self.append_hash(leaf_hash(data))

    def append_hash(self, node: bytes) -> None:
        """Add one leaf by its hash."""
        size = self.size
        while size & 1:
            node = node_hash(self.peaks.pop(), node)
            size >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree's hash, 32 bytes; of an empty tree, SHA-256 of nothing."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = node_hash(peak, node)
        return node


def size_of(root: bytes, leaves: Iterable[bytes]) -> int | None:
    """How many of the first leaves a root is over.

    Args:
        root: 32 bytes.
        leaves: leaf hashes, in order.

    Returns:
        Their number, or null where no beginning of the leaves has this root.
    """
    frontier = Frontier()
    if frontier.root() == root:
        return 0
    for leaf in leaves:
        frontier.append_hash(leaf)
        if frontier.root() == root:
            return frontier.size
    return None
