"""One tensor of a safetensors file, written by the reference library, read alone and proven."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import FileMissing, ProofInvalid, SealDamaged
from modelward.vault.tree.hashing import hash_tree
from modelward.vault.tree.proofs import Prover
from modelward.vault.tree.tensors import (
    TensorProof,
    header_end,
    parse_tensor,
    prove_tensor,
    read_header,
    read_tensor,
    verify_tensor,
)

MIB = 1 << 20
ARRAYS = {
    "embed": np.arange(700_000, dtype=np.float32).reshape(700, 1000),
    "bias": np.arange(10, dtype=np.int16),
    "empty": np.zeros((0, 4), dtype=np.float64),
    "head": np.arange(600_000, dtype=np.float64),
}


def file_of(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """(folder, tree, prover) of a file by the reference library, beside another file."""
    numpy = pytest.importorskip("safetensors.numpy")
    top = tmp_path_factory.mktemp("model")
    numpy.save_file(ARRAYS, top / "model.safetensors", metadata={"format": "np"})
    (top / "config.json").write_bytes(b"{}")
    tree = hash_tree(top)
    return top, tree, Prover(top, tree, "model.safetensors")


@pytest.fixture
def made(tmp_path):
    """Seal a file of any bytes: (path, tree, prover)."""

    def make(data):
        (tmp_path / "m.safetensors").write_bytes(data)
        tree = hash_tree(tmp_path / "m.safetensors")
        return tmp_path / "m.safetensors", tree, Prover(tmp_path / "m.safetensors", tree, "m.safetensors")

    return make


@pytest.mark.parametrize("name", list(ARRAYS))
def test_every_tensor(name, sealed):
    top, tree, prover = sealed
    proof = parse_tensor(prove_tensor(prover, name).encode())
    tensor = read_tensor(top / "model.safetensors", proof, tree.root, name)
    assert tensor.place.shape == ARRAYS[name].shape
    found = np.frombuffer(tensor.data, ARRAYS[name].dtype).reshape(tensor.place.shape)
    assert np.array_equal(found, ARRAYS[name])


def test_only_its_chunks_and_the_header_are_asked_for(sealed):
    top, tree, prover = sealed
    data, asked = (top / "model.safetensors").read_bytes(), []

    def read(start, stop):
        asked.append((start, stop))
        return data[start:stop]

    tensor = verify_tensor(prove_tensor(prover, "bias"), tree.root, "bias", read)
    assert bytes(tensor.data) == ARRAYS["bias"].tobytes()
    assert sum(stop - start for start, stop in asked) <= 3 * MIB < len(data)


def test_bytes_outside_the_chunks_do_not_matter(sealed):
    """That is what is verified: this tensor, not the rest of the file."""
    top, tree, prover = sealed
    data = bytearray((top / "model.safetensors").read_bytes())
    proof = prove_tensor(prover, "bias")
    untouched = {*range(proof.header.first, proof.header.count)} | {
        *range(proof.tensor.first, proof.tensor.first + proof.tensor.count)
    }
    for chunk in range(-(-len(data) // MIB)):
        altered = bytearray(data)
        altered[chunk * MIB] ^= 1
        read = memoryview(altered)
        if chunk in untouched:
            with pytest.raises(ProofInvalid):
                verify_tensor(proof, tree.root, "bias", lambda a, b, read=read: read[a:b])
        else:
            tensor = verify_tensor(proof, tree.root, "bias", lambda a, b, read=read: read[a:b])
            assert bytes(tensor.data) == ARRAYS["bias"].tobytes()


def test_the_proof_of_another_tensor(sealed):
    top, tree, prover = sealed
    path = top / "model.safetensors"
    with pytest.raises(ProofInvalid, match="other bytes than the header says"):
        read_tensor(path, prove_tensor(prover, "head"), tree.root, "embed")
    with pytest.raises(ProofInvalid, match="names no such tensor"):
        read_tensor(path, prove_tensor(prover, "head"), tree.root, "absent")
    with pytest.raises(ProofInvalid, match="names no such tensor"):
        prove_tensor(prover, "__metadata__")


def test_a_header_that_is_not_the_sealed_one(sealed):
    """A server that swaps two names in the header would hand out one tensor for another."""
    top, tree, prover = sealed
    data = (top / "model.safetensors").read_bytes()
    forged = data.replace(b'"embed"', b'"other"', 1)
    assert forged != data
    with pytest.raises(ProofInvalid, match="are not those sealed"):
        verify_tensor(prove_tensor(prover, "embed"), tree.root, "embed", lambda a, b: forged[a:b])


def test_header_and_tensor_are_of_one_file(sealed, made):
    top, tree, prover = sealed
    _, _, other = made((top / "model.safetensors").read_bytes())
    one, two = prove_tensor(prover, "bias"), prove_tensor(other, "bias")
    mixed = TensorProof(header=two.header, tensor=one.tensor)
    with pytest.raises(ProofInvalid, match="of two files"):
        read_tensor(top / "model.safetensors", mixed, tree.root, "bias")
    late = TensorProof(header=one.tensor, tensor=one.tensor)
    if one.tensor.first:
        with pytest.raises(ProofInvalid, match="not from its start"):
            read_tensor(top / "model.safetensors", late, tree.root, "bias")


def test_a_header_that_is_proven_in_part(made):
    """Its first chunk is not all of it."""
    header = {"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "__metadata__": {"x": "y" * MIB}}
    path, tree, prover = made(file_of(header, b"z"))
    whole = prove_tensor(prover, "w")
    assert bytes(read_tensor(path, whole, tree.root, "w").data) == b"z"
    part = TensorProof(header=prover.range(0, 1), tensor=whole.tensor)
    with pytest.raises(ProofInvalid, match="are proven"):
        read_tensor(path, part, tree.root, "w")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 1),
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 100_000_001) + b"{}",
        file_of(b"[]"),
        file_of(b"{"),
        file_of(b"\xff\xfe"),
        file_of(b'{"w":1,"w":2}'),
        file_of(b"[" * 100_000),
        file_of({"w": 1}),
        file_of({"w": {"dtype": "F32", "shape": [1]}}),
        file_of({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}),
        file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}),
        file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234"),
        file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 5]}}, b"1234"),
        file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 64]}}, b"1234"),
        file_of({"w": {"dtype": 1, "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        file_of({"w": {"dtype": "U8", "shape": [1], "data_offsets": [-1, 1]}}, b"1"),
    ],
)
def test_what_is_no_safetensors_file(data, made):
    """Sealed all the same, for a file's content is its owner's affair; but no tensor of it is proven."""
    _, _, prover = made(data)
    with pytest.raises(SealDamaged):
        prove_tensor(prover, "w")


def test_a_file_that_is_cut_short_or_gone(sealed, tmp_path):
    top, tree, prover = sealed
    proof = prove_tensor(prover, "bias")
    data = (top / "model.safetensors").read_bytes()
    for size in (0, 8, MIB, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(ProofInvalid, match="the proof is of"):
            read_tensor(tmp_path / "cut", proof, tree.root, "bias")
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FileMissing):
            read_tensor(path, proof, tree.root, "bias")


def test_a_file_that_goes_away_before_it_is_proven(made):
    path, _, prover = made(file_of({}))
    path.unlink()
    with pytest.raises(FileMissing, match="no such file"):
        prove_tensor(prover, "w")


def test_every_flipped_byte_of_a_proof_is_refused(made):
    header = {"w": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
    path, tree, prover = made(file_of(header, b"abc"))
    data = prove_tensor(prover, "w").encode()
    assert bytes(read_tensor(path, parse_tensor(data), tree.root, "w").data) == b"abc"
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((SealDamaged, ProofInvalid)):
            read_tensor(path, parse_tensor(flipped), tree.root, "w")
        with pytest.raises(SealDamaged):
            parse_tensor(data[:at])


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(schema="modelward.tensor/2"),
        lambda value: value.update(more=1),
        lambda value: value.pop("header"),
        lambda value: value.update(tensor=None),
        lambda value: value.update(header=[]),
        lambda value: value["tensor"].update(count=0),
    ],
)
def test_what_is_no_proof(change, sealed):
    value = json.loads(prove_tensor(sealed[2], "bias").encode())
    change(value)
    with pytest.raises(SealDamaged):
        parse_tensor(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def test_a_proof_that_is_too_long_or_of_another_spelling(sealed):
    data = prove_tensor(sealed[2], "bias").encode()
    with pytest.raises(SealDamaged, match="allows"):
        parse_tensor(b" " * (1 << 18))
    with pytest.raises(SealDamaged, match="canonical"):
        parse_tensor(data + b" ")


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_headers_of_any_bytes(data):
    try:
        end = header_end(data[:8], len(data))
        places = read_header(data[:end], len(data))
    except SealDamaged:
        return
    assert all(end <= place.start <= place.stop <= len(data) for place in places.values())


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "U8", "odd"]),
                "shape": st.lists(st.integers(-1, 1 << 60), max_size=3),
                "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2),
            }
        ),
        max_size=3,
    )
)
@settings(max_examples=200)
def test_headers_of_the_right_shape(header):
    data = file_of(header, b"x" * 20)
    end = header_end(data[:8], len(data))
    try:
        places = read_header(data[:end], len(data))
    except SealDamaged:
        return
    assert places.keys() == header.keys() - {"__metadata__"}
    assert all(end <= place.start <= place.stop <= len(data) for place in places.values())
