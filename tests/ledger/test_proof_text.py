"""Proofs as text: the specifications' examples, both ways, and everything that is none."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.ledger.proof_text import (
    HEADER,
    ConsistencyProof,
    InclusionProof,
    parse_consistency,
    parse_inclusion,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "ledger" / "published.json").read_text(encoding="utf-8")
)
NOTE = VECTORS["spec"]["checkpoint"].encode()
HASH = base64.b64encode(bytes(range(32))).decode()

hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple)
inclusions = st.builds(
    InclusionProof,
    index=st.integers(0, 2**63 - 1),
    path=hashes,
    note=st.binary(max_size=80),
    extra=st.none() | st.binary(max_size=80),
)
consistencies = st.builds(
    ConsistencyProof, old=st.integers(0, 2**63 - 1), path=hashes, note=st.binary(max_size=80)
)


def text(*lines):
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + NOTE


@given(inclusions)
def test_a_proof_of_inclusion_is_read_back(proof):
    assert parse_inclusion(proof.encode()) == proof


@given(consistencies)
def test_a_proof_of_consistency_is_read_back(proof):
    assert parse_consistency(proof.encode()) == proof


@given(st.binary(max_size=300))
def test_any_bytes_are_a_proof_or_refused(data):
    for parse in (parse_inclusion, parse_consistency):
        try:
            assert parse(data).encode() == data
        except SealDamaged:
            continue


@given(inclusions, st.data())
def test_a_changed_byte_is_another_proof_or_refused(proof, data):
    whole = bytearray(proof.encode())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_inclusion(bytes(whole))
    except SealDamaged:
        return
    assert found != proof
    assert found.encode() == bytes(whole)


def test_the_example_of_the_witness_specification():
    request = VECTORS["spec"]["request"].encode()
    found = parse_consistency(request)
    assert found.old == 20852014
    assert len(found.path) == 4
    assert found.note.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert found.encode() == request


def test_the_form_of_the_proof_specification():
    """The specification's example is shortened in its own text; this is its form, with whole values."""
    extra = "YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6"
    data = text(HEADER, f"extra {extra}", "index 73894", HASH, HASH)
    found = parse_inclusion(data)
    assert (found.index, len(found.path), found.extra) == (73894, 2, b"age-v1.2.1-darwin-arm64.tar.gz")
    assert found.note == NOTE
    assert found.encode() == data


def test_without_the_record_there_is_no_line_for_it():
    data = InclusionProof(index=5, path=(), note=NOTE).encode()
    assert data == text(HEADER, "index 5")
    assert b"extra" not in data


def test_an_empty_record_is_not_no_record():
    proof = InclusionProof(index=0, path=(), note=NOTE, extra=b"")
    assert parse_inclusion(proof.encode()).extra == b""
    assert proof.encode() != InclusionProof(index=0, path=(), note=NOTE).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NOTE,
        b"not a proof at all",
        HEADER.encode() + b"\n",
        HEADER.encode() + b"\n\n",
        text(HEADER),
        text("wrong-header", "index 0"),
        text("index 0"),
        text(HEADER + " ", "index 0"),
        text(HEADER, "index notanumber"),
        text(HEADER, "index -1"),
        text(HEADER, "index 01"),
        text(HEADER, "index  1"),
        text(HEADER, "index 1 "),
        text(HEADER, "Index 1"),
        text(HEADER, f"index {2**63}"),
        text(HEADER, "index 0", "extra AAAA"),
        text(HEADER, "extra !!notbase64!!", "index 0"),
        text(HEADER, "extra", "index 0"),
        text(HEADER, "extra AAAA", "extra AAAA", "index 0"),
        text(HEADER, "index 0", "not-valid-base64!!!"),
        text(HEADER, "index 0", base64.b64encode(bytes(16)).decode()),
        text(HEADER, "index 0", *[HASH] * 64),
        text(HEADER, "index 0", HASH + "\r"),
        text(HEADER, "index 0", "é"),
        text(HEADER, "index 0", HASH).replace(b"\n\n", b"\n"),
    ],
)
def test_what_is_no_proof_of_inclusion(data):
    with pytest.raises(SealDamaged):
        parse_inclusion(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NOTE,
        text(),
        text("old"),
        text("old x"),
        text("old 007"),
        text("old -1"),
        text("new 7"),
        text("old 7", "x"),
        text("old 7", *[HASH] * 64),
        text("old 7", HASH).replace(b"\n\n", b"\n"),
        text("old 7", HASH, "old 8"),
    ],
)
def test_what_is_no_proof_of_consistency(data):
    with pytest.raises(SealDamaged):
        parse_consistency(data)


def test_as_many_hashes_as_the_specification_allows():
    assert len(parse_consistency(text("old 7", *[HASH] * 63)).path) == 63
