"""Proofs of RFC 6962: published answers, the recursive definition as an independent route, and malformed proofs."""

import base64
import contextlib
import hashlib
import json
from pathlib import Path

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import ProofInvalid
from modelward.ledger.merkle import Frontier, leaf_hash, node_hash
from modelward.ledger.proof import (
    inclusion_path,
    root_by_inclusion,
    tree_root,
    verify_consistency,
)
from modelward.ledger.subtrees import Levels, consistency

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "rfc6962.json").read_text(encoding="utf-8")
)
DATA = [
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
LEAVES = [leaf_hash(x) for x in DATA]


def raw(text):
    return base64.b64decode(text or "")


def split(size):
    """The largest power of two below `size`, as the RFC defines it."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def defined_root(leaves, node=node_hash):
    """RFC 6962 section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(defined_root(leaves[:k], node), defined_root(leaves[k:], node))


def defined_path(m, leaves, node=node_hash):
    """RFC 6962 section 2.1.1: PATH(m, D[n])."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*defined_path(m, leaves[:k], node), defined_root(leaves[k:], node)]
    return [*defined_path(m - k, leaves[k:], node), defined_root(leaves[:k], node)]


def defined_proof(m, leaves, whole, node=node_hash):
    """RFC 6962 section 2.1.2: SUBPROOF(m, D[n], b)."""
    if m == len(leaves):
        return [] if whole else [defined_root(leaves, node)]
    k = split(len(leaves))
    if m <= k:
        return [*defined_proof(m, leaves[:k], whole, node), defined_root(leaves[k:], node)]
    return [*defined_proof(m - k, leaves[k:], False, node), defined_root(leaves[:k], node)]


def blake(left, right):
    return blake3.blake3(b"\x01" + left + right).digest()


NODES = pytest.mark.parametrize("node", [node_hash, blake], ids=["sha256", "blake3"])
trees = st.integers(1, 70).map(lambda n: [hashlib.sha256(bytes([i])).digest() for i in range(n)])


@pytest.mark.parametrize("name", VECTORS["inclusion"])
def test_published_inclusion_proofs(name):
    vector = VECTORS["inclusion"][name]
    path = [raw(x) for x in vector["proof"] or []]
    try:
        root = root_by_inclusion(raw(vector["leafHash"]), vector["leafIdx"], vector["treeSize"], path)
        accepted = root == raw(vector["root"]) and len(root) == 32
    except ProofInvalid:
        accepted = False
    assert accepted != vector["wantErr"]


@pytest.mark.parametrize("name", VECTORS["consistency"])
def test_published_consistency_proofs(name):
    vector = VECTORS["consistency"][name]
    old = (vector["size1"], raw(vector["root1"]))
    new = (vector["size2"], raw(vector["root2"]))
    path = [raw(x) for x in vector["proof"] or []]
    if vector["wantErr"]:
        with pytest.raises(ProofInvalid):
            verify_consistency(old, new, path)
    else:
        verify_consistency(old, new, path)


def test_the_published_vectors_hold_both_answers():
    for kind, least in (("inclusion", 90), ("consistency", 90)):
        answers = [vector["wantErr"] for vector in VECTORS[kind].values()]
        assert len(answers) >= least
        assert answers.count(False) >= 5


def test_the_worked_example_of_the_rfc():
    """Section 2.1.3: the tree of seven leaves, its audit paths and its consistency proofs by name."""
    d = LEAVES[:7]
    g, h, i, j = node_hash(*d[0:2]), node_hash(*d[2:4]), node_hash(*d[4:6]), d[6]
    k, el = node_hash(g, h), node_hash(i, j)
    assert tree_root(d) == node_hash(k, el)
    assert inclusion_path(d, 0) == [d[1], h, el]
    assert inclusion_path(d, 3) == [d[2], g, el]
    assert inclusion_path(d, 4) == [d[5], j, k]
    assert inclusion_path(d, 6) == [i, k]
    nodes = Levels(d)
    assert consistency(nodes, 3, 7) == (d[2], d[3], g, el)
    assert consistency(nodes, 4, 7) == (el,)
    assert consistency(nodes, 6, 7) == (i, j, k)


@NODES
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17])
def test_every_leaf_and_every_beginning_of_small_trees(size, node):
    leaves = [hashlib.sha256(bytes([i])).digest() for i in range(size)]
    root = defined_root(leaves, node)
    assert tree_root(leaves, node) == root
    for index in range(size):
        path = inclusion_path(leaves, index, node)
        assert path == defined_path(index, leaves, node)
        assert root_by_inclusion(leaves[index], index, size, path, node) == root
    for old in range(1, size + 1):
        path = defined_proof(old, leaves, True, node)
        verify_consistency((old, defined_root(leaves[:old], node)), (size, root), path, node)


@given(trees, st.data())
def test_larger_trees_agree_with_the_definition(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path(leaves, index)
    assert path == defined_path(index, leaves)
    assert root_by_inclusion(leaves[index], index, len(leaves), path) == defined_root(leaves)
    old = data.draw(st.integers(1, len(leaves)))
    proof = defined_proof(old, leaves, True)
    assert consistency(Levels(leaves), old, len(leaves)) == tuple(proof)
    verify_consistency((old, defined_root(leaves[:old])), (len(leaves), defined_root(leaves)), proof)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40))
def test_the_root_is_the_one_that_grows_leaf_by_leaf(data):
    frontier = Frontier()
    for item in data:
        frontier.append(item)
    assert tree_root([leaf_hash(item) for item in data]) == frontier.root()


@given(trees, st.data())
def test_a_changed_inclusion_proof_leads_elsewhere(leaves, data):
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    root, path = tree_root(leaves), inclusion_path(leaves, index)
    kind = data.draw(st.sampled_from(["leaf", "hash", "drop", "add", "place"]))
    leaf, place = leaves[index], index
    if kind == "hash" and path:
        at = data.draw(st.integers(0, len(path) - 1))
        path = [*path[:at], bytes(32), *path[at + 1 :]]
    elif kind == "drop" and path:
        path = path[: data.draw(st.integers(0, len(path) - 1))]
    elif kind == "add":
        path = [*path, root]
    elif kind == "place" and size > 1:
        place = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
    else:
        leaf = bytes(32)
    with contextlib.suppress(ProofInvalid):
        assert root_by_inclusion(leaf, place, size, path) != root


@given(trees, st.data())
def test_a_changed_consistency_proof_is_refused(leaves, data):
    size = len(leaves)
    old = data.draw(st.integers(1, size))
    before, after = tree_root(leaves[:old]), tree_root(leaves)
    path = defined_proof(old, leaves, True)
    kind = data.draw(st.sampled_from(["hash", "drop", "add", "before", "after", "old"]))
    if kind == "hash" and path:
        at = data.draw(st.integers(0, len(path) - 1))
        path = [*path[:at], bytes(32), *path[at + 1 :]]
    elif kind == "drop" and path:
        path = path[: data.draw(st.integers(0, len(path) - 1))]
    elif kind == "add":
        path = [*path, before]
    elif kind == "after":
        after = bytes(32)
    else:
        before = bytes(32)
    with pytest.raises(ProofInvalid):
        verify_consistency((old, before), (size, after), path)


@given(
    st.integers(-3, 2**70),
    st.integers(-3, 2**70),
    st.lists(st.binary(min_size=32, max_size=32), max_size=70),
)
def test_any_numbers_and_hashes_end_in_an_answer(first, second, path):
    with pytest.raises(ProofInvalid):
        verify_consistency((first, bytes(32)), (second, b"\x01" * 32), path)
    try:
        assert len(root_by_inclusion(bytes(32), first, second, path)) == 32
    except ProofInvalid as error:
        assert str(error).startswith("the proof ")  # noqa: PT017  (both answers are allowed)


@pytest.mark.parametrize(
    ("old", "new", "path", "sentence"),
    [
        ((3, b"a"), (2, b"b"), [], "cannot continue one of 3"),
        ((0, b"a"), (2, b"b"), [], "cannot continue one of 0"),
        ((2, b"a"), (2, b"b"), [], "two trees of 2 records have different roots"),
        ((2, b"a"), (2, b"a"), [b"x"], "two trees of 2 records have different roots"),
        ((3, b"a"), (5, b"b"), [], "the proof is empty"),
        ((1, b"a"), (2, b"b"), [b"x", b"y", b"z"], "more hashes"),
        ((1, b"a"), (5, b"b"), [b"x"], "does not begin"),
    ],
)
def test_what_a_refused_consistency_proof_says(old, new, path, sentence):
    with pytest.raises(ProofInvalid, match=sentence):
        verify_consistency(old, new, path)


@pytest.mark.parametrize(
    ("index", "size", "path", "sentence"),
    [
        (5, 5, [], "leaf 5 of a tree of 5"),
        (-1, 5, [], "leaf -1 of a tree of 5"),
        (0, 0, [], "leaf 0 of a tree of 0"),
        (0, 1, [b"x"], "more hashes than leaf 0 of 1 needs"),
        (0, 4, [b"x"], "fewer hashes than leaf 0 of 4 needs"),
    ],
)
def test_what_a_refused_inclusion_proof_says(index, size, path, sentence):
    with pytest.raises(ProofInvalid, match=sentence):
        root_by_inclusion(b"leaf", index, size, path)


def test_callers_mistakes_are_not_answers_about_proofs():
    with pytest.raises(ValueError, match="without leaves"):
        tree_root([])
    for index in (-1, 8):
        with pytest.raises(IndexError, match=f"no leaf {index} among 8"):
            inclusion_path(LEAVES, index)


def test_an_inner_node_is_no_leaf():
    """A proof that is one hash shorter would pass off an inner node; the size of the tree forbids it."""
    root = tree_root(LEAVES)
    inner = node_hash(LEAVES[0], LEAVES[1])
    with pytest.raises(ProofInvalid, match="fewer"):
        root_by_inclusion(inner, 0, 8, inclusion_path(LEAVES, 0)[1:])
    assert (
        root_by_inclusion(inner, 0, 4, inclusion_path(LEAVES, 0)[1:]) == root
    )  # so the size must be trusted
