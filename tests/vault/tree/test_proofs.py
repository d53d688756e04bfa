"""A proof shows the bytes that were sealed, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import json
import os

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import ContentChanged, FileMissing, ProofInvalid, SealDamaged
from modelward.ledger.proof import inclusion_path, root_by_inclusion, tree_root
from modelward.vault.tree import proofs
from modelward.vault.tree.entries import Entry, tree_of
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.proofs import (
    LONGEST,
    Prover,
    RangeProof,
    covering,
    parse_range,
    prove_range,
    verify_range,
)

MIB = 1 << 20


def some(size, seed=1):
    return hashlib.shake_128(b"%d" % seed).digest(size)


FILES = {"a/config.json": b"{}", "b/w.bin": some(5 * MIB + 100), "c": b"", "d": b"last"}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """The folder and its trees by hash function."""
    top = tmp_path_factory.mktemp("model")
    for path, data in FILES.items():
        (top / path).parent.mkdir(exist_ok=True)
        (top / path).write_bytes(data)
    return top, {name: hash_tree(top, TreeOptions(algorithm=name)) for name in ("sha256", "blake3")}


@pytest.fixture(scope="module")
def prover(sealed):
    top, trees = sealed
    return Prover(top, trees["blake3"], "b/w.bin")


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, 5 * MIB + 100), (MIB, 2 * MIB), (MIB - 1, MIB + 1), (5 * MIB, 5 * MIB + 100)],
)
def test_the_bytes_of_a_range(algorithm, start, stop, sealed):
    top, trees = sealed
    proof = prove_range(top, trees[algorithm], "b/w.bin", start, stop)
    assert proof.start <= start
    assert proof.stop >= stop
    data = FILES["b/w.bin"][proof.start : proof.stop]
    assert len(data) < stop - start + 2 * MIB
    proven = verify_range(proof, trees[algorithm].root, data)
    assert proven[start - proof.start : stop - proof.start] == FILES["b/w.bin"][start:stop]
    assert proven.readonly


@pytest.mark.parametrize("path", list(FILES))
def test_every_file_of_a_tree(path, sealed):
    top, trees = sealed
    proof = parse_range(prove_range(top, trees["sha256"], path, 0, 0).encode())
    assert verify_range(proof, trees["sha256"].root, FILES[path][:MIB]) == FILES[path][:MIB]


def test_a_tree_of_one_file(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    tree = hash_tree(tmp_path / "w")
    proof = prove_range(tmp_path / "w", tree, "w", 1, 2)
    assert (proof.file, proof.tree) == ((), ())
    assert verify_range(proof, tree.root, b"abc") == b"abc"


@given(size=st.integers(1, 70), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_range_of_any_number_of_leaves(size, data):
    """Against the audit paths of single leaves, which are RFC 6962's own."""
    join = proofs.node("sha256")
    leaves = [hashlib.sha256(b"%d" % at).digest() for at in range(size)]
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    beside = proofs._beside(leaves, start, stop, join)
    assert proofs._root_by_range(leaves[start:stop], start, size, beside, join) == tree_root(leaves, join)
    if stop == start + 1:
        assert sorted(beside) == sorted(inclusion_path(leaves, start, join))
    assert len(beside) <= 2 * size.bit_length()


@given(size=st.integers(1, 200), data=st.data())
@settings(max_examples=150, deadline=None)
def test_sides_are_those_of_the_audit_path(size, data):
    join = proofs.node("sha256")
    leaves = [hashlib.sha256(b"%d" % at).digest() for at in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, index, join)
    value = leaves[index]
    for side, sibling in zip(proofs._sides(index, size), path, strict=True):
        value = join(sibling, value) if side == "left" else join(value, sibling)
    assert value == root_by_inclusion(leaves[index], index, size, path, join) == tree_root(leaves, join)


@pytest.mark.parametrize(
    ("start", "stop", "length", "chunks"),
    [
        (0, 0, 0, (0, 1)),
        (0, 0, 5, (0, 1)),
        (5, 5, 5, (0, 1)),
        (MIB, MIB, MIB, (0, 1)),
        (MIB, MIB, MIB + 1, (1, 1)),
        (0, MIB, 2 * MIB, (0, 1)),
        (0, MIB + 1, 2 * MIB, (0, 2)),
        (MIB - 1, 2 * MIB, 2 * MIB, (0, 2)),
        (2 * MIB, 2 * MIB, 2 * MIB, (1, 1)),
    ],
)
def test_the_chunks_that_hold_a_range(start, stop, length, chunks):
    assert covering(start, stop, length) == chunks


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 5 * MIB + 101)])
def test_a_range_outside_the_file(start, stop, prover):
    with pytest.raises(ValueError, match="bytes"):
        prover.range(start, stop)


def test_a_file_that_is_not_in_the_tree(sealed):
    top, trees = sealed
    with pytest.raises(FileMissing, match="is not in the tree"):
        Prover(top, trees["sha256"], "a")


def test_a_file_that_is_gone_or_altered(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    tree = hash_tree(tmp_path)
    (tmp_path / "a").write_bytes(b"X")
    (tmp_path / "b").unlink()
    with pytest.raises(ContentChanged, match="a: is not the file"):
        prove_range(tmp_path, tree, "a", 0, 1)
    with pytest.raises(FileMissing, match="b: no such file"):
        prove_range(tmp_path, tree, "b", 0, 1)


def test_other_bytes(prover, sealed):
    _, trees = sealed
    proof = prover.range(MIB, 2 * MIB)
    data = bytearray(FILES["b/w.bin"][MIB : 2 * MIB])
    for at in (0, 1, MIB // 2, MIB - 1):
        data[at] ^= 1
        with pytest.raises(ProofInvalid, match="are not those sealed"):
            verify_range(proof, trees["blake3"].root, data)
        data[at] ^= 1
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(ProofInvalid, match="the proof is of"):
            verify_range(proof, trees["blake3"].root, wrong)


def test_the_right_bytes_of_another_place(prover, sealed):
    _, trees = sealed
    with pytest.raises(ProofInvalid):
        verify_range(prover.range(MIB, 2 * MIB), trees["blake3"].root, FILES["b/w.bin"][:MIB])


def test_another_root(prover, sealed):
    _, trees = sealed
    proof, data = prover.range(0, 1), FILES["b/w.bin"][:MIB]
    for root in ("blake3:" + "0" * 64, trees["sha256"].root):
        with pytest.raises(ProofInvalid):
            verify_range(proof, root, data)
    with pytest.raises(SealDamaged, match="is no root"):
        verify_range(proof, "md5:" + "0" * 64, data)


def changed(proof, **fields):
    return RangeProof(**{**{name: getattr(proof, name) for name in proof.__struct_fields__}, **fields})


def test_what_a_proof_says_is_bound(prover, sealed):
    """Its path, its length, its place, its hashes: each of them, altered alone."""
    _, trees = sealed
    proof, data = prover.range(MIB, 2 * MIB), FILES["b/w.bin"][MIB : 2 * MIB]
    verify_range(proof, trees["blake3"].root, data)
    other = "0" * 64
    for fields in (
        {"algorithm": "sha256"},
        {"path": "b/x.bin"},
        {"length": proof.length + 1},
        {"length": 4 * MIB},
        {"first": 0},
        {"first": 2},
        {"file": proof.file[:-1]},
        {"file": (*proof.file, other)},
        {"file": (other, *proof.file[1:])},
        {"file": proof.file[::-1]},
        {"file": ()},
        {"tree": proof.tree[:-1]},
        {"tree": (*proof.tree, ("left", other))},
        {"tree": (("left", proof.tree[0][1]), *proof.tree[1:])},
        {"tree": (("right", other), *proof.tree[1:])},
        {"tree": ()},
    ):
        if fields.get("tree", ()) == proof.tree:
            continue
        with pytest.raises(ProofInvalid):
            verify_range(changed(proof, **fields), trees["blake3"].root, data)


def test_a_leaf_is_no_node():
    """The preimage of a node, taken for a chunk, gives another hash: the first bytes differ."""
    join = proofs.node("blake3")
    left, right = bytes(32), b"\1" * 32
    assert join(left, right) != blake3.blake3(b"\x00" + left + right).digest()
    assert join(left, right) == blake3.blake3(b"\x01" + left + right).digest()


def test_the_form_is_canonical(prover):
    proof = prover.range(0, 3 * MIB)
    data = proof.encode()
    assert parse_range(data) == proof
    assert data == canonical(json.loads(data))
    assert json.loads(data)["schema"] == "modelward.range/1"
    for other in (data + b"\n", b" " + data, data.replace(b":", b": ", 1)):
        with pytest.raises(SealDamaged, match="canonical"):
            parse_range(other)
    with pytest.raises(SealDamaged):
        parse_range(data[:-1] + b',"schema":"modelward.range/1"}')


def test_every_flipped_bit_of_a_proof_is_refused(tmp_path):
    """Every bit of a whole proof of a small tree, and every truncation."""
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 5)
    tree = hash_tree(tmp_path)
    data = prove_range(tmp_path, tree, "b", 0, 5).encode()
    verify_range(parse_range(data), tree.root, b"bbbbb")
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            with pytest.raises((SealDamaged, ProofInvalid)):
                verify_range(parse_range(flipped), tree.root, b"bbbbb")
        with pytest.raises(SealDamaged):
            parse_range(data[:at])


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "md5"},
        {"algorithm": 1},
        {"path": "../w"},
        {"path": ""},
        {"path": None},
        {"length": -1},
        {"length": 1 << 53},
        {"length": 1.0},
        {"length": 0},
        {"first": -1},
        {"first": 6},
        {"first": 1 << 60},
        {"count": 0},
        {"count": 6},
        {"count": 1 << 52},
        {"file": ["0" * 64] * 300},
        {"file": ["0" * 63]},
        {"file": ["A" * 64]},
        {"file": [1]},
        {"file": "0"},
        {"tree": [["up", "0" * 64]]},
        {"tree": [["left"]]},
        {"tree": [["left", "x" * 64]]},
        {"tree": [["left", "0" * 64, 1]]},
        {"schema": "modelward.range/2"},
        {"extra": 1},
    ],
)
def test_what_is_no_proof(fields, prover):
    value = {**json.loads(prover.range(MIB, 2 * MIB).encode()), **fields}
    with pytest.raises(SealDamaged):
        parse_range(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


@pytest.mark.parametrize("missing", ["algorithm", "path", "length", "first", "count", "file", "tree"])
def test_a_proof_that_lacks_something(missing, prover):
    value = json.loads(prover.range(0, 1).encode())
    del value[missing]
    with pytest.raises(SealDamaged):
        parse_range(canonical(value))


def test_a_proof_that_is_too_long():
    with pytest.raises(SealDamaged, match="allows"):
        parse_range(b" " * (LONGEST + 1))


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=200)
def test_bytes_that_are_no_proof(data):
    with pytest.raises(SealDamaged):
        parse_range(data)


@pytest.mark.parametrize(
    "text", [b"[" * 60_000, b'{"a":' * 10_000, b"9" * 5_000, b"NaN", b'{"length":1e999}']
)
def test_json_that_bites(text):
    with pytest.raises(SealDamaged):
        parse_range(text)


def test_a_proof_of_a_large_file_is_small():
    """The 2**33 chunks that the largest file has give proofs of less than the bound."""
    length = (1 << 53) - 1
    proof = RangeProof(
        algorithm="sha256",
        path="\u00e9" * 2048,
        length=length,
        first=(1 << 32) - 1,
        count=2,
        file=("0" * 64,) * 64,
        tree=(("right", "0" * 64),) * 40,
    )
    assert parse_range(proof.encode()) == proof
    assert len(proof.encode()) < LONGEST
    with pytest.raises(ProofInvalid, match="the proof is of"):
        verify_range(proof, "sha256:" + "0" * 64, b"x")


def test_a_proof_does_not_read_the_other_files(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    tree = tree_of([Entry("z", 1, "0" * 64), *hash_tree(tmp_path).entries], "sha256")
    assert verify_range(prove_range(tmp_path, tree, "a", 0, 1), tree.root, b"1") == b"1"
    assert not os.path.lexists(tmp_path / "z")
