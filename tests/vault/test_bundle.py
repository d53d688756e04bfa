"""Sigstore bundles: what the reference's own reader takes, and what none may hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.vault import bundle, dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner

SIGNERS = [LocalSigner(asymmetric.generate(name)) for name in ("ecdsa-p256", "ed25519")]
STATEMENT = dsse.Statement(
    subjects=(("m", {"sha256": "00" * 32}),), predicate_type="https://example.com/v1", predicate={}
)
DATA = bundle.make(STATEMENT, SIGNERS)


def edited(**fields):
    value = {**json.loads(DATA), **fields}
    return json.dumps({key: item for key, item in value.items() if item is not ...}).encode()


def with_material(**fields):
    material = json.loads(DATA)["verificationMaterial"]
    return edited(verificationMaterial={**material, **fields})


def test_what_is_written():
    value = json.loads(DATA)
    assert list(value) == ["mediaType", "verificationMaterial", "dsseEnvelope"]
    assert value["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert value["verificationMaterial"] == {
        "publicKey": {"hint": SIGNERS[0].public.key_id},
        "tlogEntries": [],
    }
    assert DATA.endswith(b"}\n")
    assert DATA.isascii()


def test_what_is_written_is_read_back():
    read = bundle.decode(DATA)
    assert read.hint == SIGNERS[0].public.key_id
    assert dsse.statement_of(read.envelope) == STATEMENT
    assert bundle.encode(read.envelope) == DATA


def test_the_references_models_read_it():
    from sigstore_models.bundle.v1 import Bundle

    read = Bundle.from_json(DATA)
    assert read.verification_material.public_key.hint == SIGNERS[0].public.key_id
    assert len(read.dsse_envelope.signatures) == 2


def test_nobody_signs():
    with pytest.raises(ValueError, match="without signatures"):
        bundle.make(STATEMENT, [])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "this is no signature"),
        (b"[]", "this is no signature"),
        (b"null", "this is no signature"),
        (b"\x80\x02}q\x00.", "this is no signature"),
        (b"{\x95\xf0E", "this is no signature"),
        (b'{"', "the bundle is not JSON"),
        (edited(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "media type"),
        (edited(mediaType=None), "media type"),
        (edited(mediaType=...), "media type"),
        (edited(verificationMaterial=...), "lacks its verification material"),
        (edited(verificationMaterial=[]), "lacks its verification material"),
        (edited(dsseEnvelope=...), "the envelope is no JSON object"),
        (edited(dsseEnvelope=[]), "the envelope is no JSON object"),
        (edited(messageSignature={}), "a field 'messageSignature'"),
        (with_material(publicKey=[]), "public key is no JSON object"),
        (with_material(publicKey={"hint": 1}), "no text"),
        (with_material(publicKey={"hint": ["x"]}), "no text"),
        (with_material(publicKey={"hnt": "x"}), "a field 'hnt'"),
        (with_material(tlogEntrie=[]), "a field 'tlogEntrie'"),
        (with_material(publicKey={"hint": "somebody"}), "names one key and its first signature another"),
    ],
)
def test_bundles_that_are_none(data, sentence):
    with pytest.raises(SealDamaged, match=sentence):
        bundle.decode(data)


@pytest.mark.parametrize(
    "public", [{}, {"hint": None}, {"hint": ""}, {"rawBytes": "AA==", "keyDetails": "X"}]
)
def test_bundles_without_a_hint(public):
    """As versions before 1.1 of the reference library wrote them, and as protocol buffers leave it out."""
    assert bundle.decode(with_material(publicKey=public)).hint == ""


def test_material_is_kept_for_who_needs_it():
    data = edited(
        verificationMaterial={"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{"logIndex": "1"}]}
    )
    assert bundle.decode(data).material["certificate"] == {"rawBytes": "AAAA"}


def test_a_bundle_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    with pytest.raises(SealDamaged, match="larger than 0 MiB"):
        bundle.decode(DATA + b" " * 1000)


def test_a_bundle_has_so_many_signatures_at_most():
    envelope = json.loads(DATA)["dsseEnvelope"]
    for count, refused in ((256, False), (257, True)):
        data = edited(dsseEnvelope={**envelope, "signatures": envelope["signatures"][:1] * count})
        if refused:
            with pytest.raises(SealDamaged, match="more than 256 signatures"):
                bundle.decode(data)
        else:
            assert len(bundle.decode(data).envelope.signatures) == 256


def test_names_of_unknown_fields_are_shown_without_control_characters():
    with pytest.raises(SealDamaged) as caught:
        bundle.decode(edited(**{"\x1b[2J": 1}))
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(SealDamaged):
        bundle.decode(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "mediaType": json_values,
            "verificationMaterial": json_values
            | st.dictionaries(st.sampled_from(["publicKey", "certificate", "tlogEntries"]), json_values),
            "dsseEnvelope": json_values,
            "more": json_values,
        },
    )
)
def test_any_fields_are_a_bundle_or_refused(fields):
    try:
        read = bundle.decode(edited(**fields))
    except SealDamaged:
        return
    assert read.envelope == bundle.decode(DATA).envelope
    assert "more" not in fields


def test_a_type_that_no_utf8_can_hold_is_damage():
    value = json.loads(DATA)
    value["dsseEnvelope"]["payloadType"] = "\ud800"
    with pytest.raises(SealDamaged, match="not JSON"):
        bundle.decode(json.dumps(value).encode())


def test_a_bundle_of_a_million_small_values_is_not_read():
    """It would take thirty times its size in memory, before any signature is looked at."""
    value = json.loads(DATA)
    for small in ({}, [], 1.5):
        value["verificationMaterial"]["tlogEntries"] = [small] * 100_000
        with pytest.raises(SealDamaged, match="more than 65536 values"):
            bundle.decode(json.dumps(value).encode())
