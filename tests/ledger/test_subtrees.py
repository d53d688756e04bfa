"""Proofs out of stored nodes: the same as those out of all leaves, for every tree that is small enough to try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.ledger.checkpoint import EMPTY_ROOT
from modelward.ledger.merkle import Frontier, leaf_hash
from modelward.ledger.proof import (
    inclusion_path,
    root_by_inclusion,
    tree_root,
    verify_consistency,
)
from modelward.ledger.subtrees import Levels, consistency, inclusion, root_of

MOST = 66
LEAVES = [leaf_hash(str(i).encode()) for i in range(MOST)]
NODES = Levels(LEAVES)


class Counted:
    """Nodes that count how often they are asked."""

    def __init__(self, nodes):
        self.nodes, self.asked = nodes, 0

    def node(self, height, index):
        self.asked += 1
        return self.nodes.node(height, index)


def test_roots_are_those_of_the_leaves():
    frontier = Frontier()
    assert root_of(NODES, 0) == EMPTY_ROOT == frontier.root()
    for size in range(1, MOST + 1):
        frontier.append(str(size - 1).encode())
        assert root_of(NODES, size) == tree_root(LEAVES[:size]) == frontier.root()


def test_every_proof_of_inclusion_in_every_small_tree():
    for size in range(1, MOST + 1):
        root = tree_root(LEAVES[:size])
        for index in range(size):
            path = inclusion(NODES, index, size)
            assert list(path) == inclusion_path(LEAVES[:size], index)
            assert root_by_inclusion(LEAVES[index], index, size, path) == root


def test_every_proof_of_consistency_between_small_trees():
    for size in range(1, MOST + 1):
        new = (size, tree_root(LEAVES[:size]))
        for old in range(1, size + 1):
            path = consistency(NODES, old, size)
            verify_consistency((old, tree_root(LEAVES[:old])), new, path)


def test_a_proof_asks_for_few_nodes():
    leaves = [i.to_bytes(32, "big") for i in range(5000)]
    nodes = Counted(Levels(leaves))
    inclusion(nodes, 4321, 5000)
    assert nodes.asked <= 13 * 13
    before = nodes.asked
    consistency(nodes, 1234, 5000)
    assert nodes.asked - before <= 13 * 13


@given(st.integers(1, MOST), st.integers(-5, MOST + 5))
def test_places_outside_the_tree(size, index):
    if 0 <= index < size:
        assert len(inclusion(NODES, index, size)) <= 7
    else:
        with pytest.raises(IndexError, match="there is no leaf"):
            inclusion(NODES, index, size)


@pytest.mark.parametrize("old", [-1, 0, 9])
def test_sizes_outside_the_tree(old):
    with pytest.raises(ValueError, match="does not begin"):
        consistency(NODES, old, 8)


def test_one_leaf_needs_no_hashes():
    assert inclusion(NODES, 0, 1) == ()
    assert consistency(NODES, 1, 1) == ()
    assert root_of(NODES, 1) == LEAVES[0]


def test_no_leaves_at_all():
    assert root_of(Levels([]), 0) == EMPTY_ROOT
