"""Proofs of RFC 6962: that a leaf is in a tree, and that one tree continues another.

Source: RFC 6962, sections 2.1.1 (audit paths) and 2.1.2 (consistency proofs); verification as in RFC 9162,
sections 2.1.3.2 and 2.1.4.2. The hash of an inner node is a parameter, so that trees over another hash
function use the same walk.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from modelward.errors import ProofInvalid
from modelward.ledger.merkle import node_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Node = Callable[[bytes, bytes], bytes]


def tree_root(leaves: Sequence[bytes], node: Node = node_hash) -> bytes:
    """The root over leaf hashes.

    Args:
        leaves: hashes of the leaves, at least one.
        node: hash of an inner node.

    Raises:
        ValueError: there is no leaf.
    """
    if not leaves:
        raise ValueError("a tree without leaves has no root by this function")
    level = list(leaves)
    while len(level) > 1:
        above = [node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int, node: Node = node_hash) -> list[bytes]:
    """The audit path of one leaf, from the leaf to the root.

    Args:
        leaves: hashes of all leaves.
        index: which leaf, ``0 <= index < len(leaves)``.
        node: hash of an inner node.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    path: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        above = [node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + ([level[-1]] if len(level) % 2 else [])
        index >>= 1
    return path


def root_by_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], node: Node = node_hash
) -> bytes:
    """The root that an audit path leads to; compare it with the root that is trusted.

    Args:
        leaf: hash of the leaf.
        index: its place.
        size: leaves of the tree.
        path: as `inclusion_path` gives it.
        node: hash of an inner node.

    Raises:
        ProofInvalid: the path is too long or too short for the place, or the place is outside the tree.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"the proof speaks of leaf {index} of a tree of {size}")
    place, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofInvalid(f"the proof has more hashes than leaf {index} of {size} needs")
        if place & 1 or place == last:
            value = node(sibling, value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = node(value, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofInvalid(f"the proof has fewer hashes than leaf {index} of {size} needs")
    return value


def verify_consistency(
    old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes], node: Node = node_hash
) -> None:
    """Check that a tree begins with an older one.

    Args:
        old: size and root of the older tree; its size is at least 1.
        new: size and root of the newer tree.
        path: as section 2.1.2 orders it.
        node: hash of an inner node.

    Raises:
        ProofInvalid: it does not, or the proof is not one of these sizes.
    """
    (first, old_root), (second, new_root) = old, new
    if not 1 <= first <= second:
        raise ProofInvalid(f"a tree of {second} records cannot continue one of {first}")
    if first == second:
        if path or not hmac.compare_digest(old_root, new_root):
            raise ProofInvalid(f"two trees of {first} records have different roots")
        return
    steps = list(path)
    if not first & (first - 1):  # a power of two: the old root is itself a node of the new tree
        steps.insert(0, old_root)
    if not steps:
        raise ProofInvalid("the proof is empty")
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            raise ProofInvalid("the proof has more hashes than these sizes need")
        if place & 1 or place == last:
            before, after = node(sibling, before), node(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node(after, sibling)
        place, last = place >> 1, last >> 1
    if last or not hmac.compare_digest(before, old_root) or not hmac.compare_digest(after, new_root):
        raise ProofInvalid(f"the tree of {second} records does not begin with the one of {first}")
