"""RFC 6962: the published vectors and the recursive definition as an independent route."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.ledger.merkle import Frontier, leaf_hash, node_hash, size_of

# The eight leaves and the roots of their beginnings that Certificate Transparency's reference tests use
# (RFC 6962 section 2.1.3 has the tree shapes).
LEAVES = [
    bytes.fromhex(x)
    for x in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def recursive_root(leaves):
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


def frontier_of(leaves):
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier


def test_published_roots():
    assert [frontier_of(LEAVES[:n]).root().hex() for n in range(1, 9)] == ROOTS


def test_empty_tree_is_the_hash_of_nothing():
    assert Frontier().root() == hashlib.sha256(b"").digest()


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_frontier_equals_the_recursive_definition(leaves):
    assert frontier_of(leaves).root() == recursive_root(leaves)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_a_frontier_can_be_stored_and_continued(leaves, data):
    cut = data.draw(st.integers(0, len(leaves)))
    first = frontier_of(leaves[:cut])
    second = Frontier(first.size, first.peaks)
    for leaf in leaves[cut:]:
        second.append(leaf)
    assert second.root() == recursive_root(leaves)


def test_peaks_must_fit_the_size():
    with pytest.raises(ValueError, match="1 peaks"):
        Frontier(3, [b"x" * 32])


@given(st.lists(st.binary(max_size=4), max_size=20), st.data())
def test_a_root_says_of_which_beginning_it_is(leaves, data):
    size = data.draw(st.integers(0, len(leaves)))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert size_of(recursive_root(leaves[:size]), hashes) == size
    assert size_of(recursive_root([*leaves, b"more"]), hashes) is None
    assert size_of(bytes(32), hashes) is None
