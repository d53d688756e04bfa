"""Libraries of others read what is written here: in-toto's statements, securesystemslib's envelopes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from modelward.errors import SealDamaged
from modelward.vault.attest.attestation import attest, read_attestations, verify_attestation
from modelward.vault.attest.layout import _public
from modelward.vault.attest.provenance import StatedClaim, to_predicate
from modelward.vault.keys.signer import LocalSigner, Verifier

KINDS = ("evidence", "scan", "bom", "provenance", "release")
VECTORS = Path(__file__).parents[2] / "vectors" / "seal" / "attest"


def envelope_in(data):
    return json.loads(data)["dsseEnvelope"]


@pytest.mark.parametrize("kind", KINDS)
def test_in_toto_reads_every_statement(kind, all_kinds, root, signer):
    json_format = pytest.importorskip("google.protobuf.json_format")
    statements = pytest.importorskip("in_toto_attestation.v1.statement")
    messages = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    payload = base64.b64decode(envelope_in(attest(all_kinds[kind], root, "fraud", [signer]))["payload"])
    message = json_format.Parse(payload, messages.Statement())  # unknown fields are errors
    statement = statements.Statement.copy_from_pb(message)
    statement.validate()
    assert message.subject[0].name == "fraud"
    assert dict(message.subject[0].digest) == {"sha256": root.removeprefix("sha256:")}
    assert json_format.MessageToDict(message)["predicateType"] == message.predicate_type


def test_slsa_reads_the_provenance(provenance):
    json_format = pytest.importorskip("google.protobuf.json_format")
    messages = pytest.importorskip("in_toto_attestation.predicates.provenance.v1.provenance_pb2")
    message = json_format.ParseDict(to_predicate(provenance), messages.Provenance())
    assert message.build_definition.build_type == "https://modelward.dev/training/v1"
    assert message.run_details.builder.id == "https://example.org/cluster"
    code, data = message.build_definition.resolved_dependencies
    assert dict(code.digest) == {"gitCommit": "c0" * 20}
    assert dict(data.digest) == {"sha256": "d1" * 32}
    assert message.run_details.metadata.started_on.seconds == int(provenance.run.started.timestamp())


def test_claims_in_a_provenance_are_an_extension_that_others_pass_over(provenance):
    """SLSA: fields of a vendor bear its name and an underscore."""
    import msgspec

    json_format = pytest.importorskip("google.protobuf.json_format")
    messages = pytest.importorskip("in_toto_attestation.predicates.provenance.v1.provenance_pb2")
    claim = StatedClaim(id="accounted-epsilon", value=2.4, n=9)
    predicate = to_predicate(msgspec.structs.replace(provenance, claims=(claim,)))
    assert [key for key in predicate["runDetails"] if "_" in key] == ["modelward_claims"]
    message = json_format.ParseDict(predicate, messages.Provenance(), ignore_unknown_fields=True)
    assert message.run_details.builder.id == "https://example.org/cluster"


@pytest.mark.parametrize("curve", [None, ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_securesystemslib_verifies_the_signatures(curve, release, root, signer):
    ours = signer if curve is None else LocalSigner(ec.generate_private_key(curve))
    envelopes = pytest.importorskip("securesystemslib.dsse")
    keys = pytest.importorskip("securesystemslib.signer")
    stated = _public(ours.public)
    key = keys.Key.from_dict(stated.pop("keyid"), stated)
    data = attest(release, root, "fraud", [ours])
    envelope = envelopes.Envelope.from_dict(envelope_in(data))
    assert set(envelope.verify([key], 1)) == {ours.public.key_id}
    envelope.payload += b" "
    errors = pytest.importorskip("securesystemslib.exceptions")
    with pytest.raises(errors.VerificationError):
        envelope.verify([key], 1)


def test_securesystemslib_counts_a_threshold_as_we_do(release, root, signers):
    envelopes = pytest.importorskip("securesystemslib.dsse")
    keys = pytest.importorskip("securesystemslib.signer")
    known = []
    for signer in signers:
        stated = _public(signer.public)
        known.append(keys.Key.from_dict(stated.pop("keyid"), stated))
    envelope = envelopes.Envelope.from_dict(envelope_in(attest(release, root, "fraud", signers[:2])))
    assert len(envelope.verify(known, 2)) == 2


def test_what_securesystemslib_signs_is_verified_here(release, root, verifiers):
    """Their signature over our payload, put into our bundle."""
    crypto = pytest.importorskip("securesystemslib.signer")
    envelopes = pytest.importorskip("securesystemslib.dsse")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from modelward.vault import bundle, dsse

    private = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    ours = LocalSigner(private)
    stated = _public(ours.public)
    theirs = crypto.CryptoSigner(private, crypto.SSlibKey.from_dict(stated.pop("keyid"), stated))
    payload = base64.b64decode(envelope_in(attest(release, root, "fraud", [ours]))["payload"])
    envelope = envelopes.Envelope(payload, dsse.IN_TOTO, {})
    envelope.sign(theirs)
    data = bundle.encode(dsse.from_json(envelope.to_dict()))
    assert verify_attestation(data, root, verifiers).content == release


# Published vectors


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_was_published(kind, all_kinds, root, signer):
    """Ed25519 is deterministic and the JSON canonical, so every byte is."""
    assert (VECTORS / f"{kind}.json").read_bytes() == attest(all_kinds[kind], root, "fraud", [signer])


def test_the_vectors_are_read_with_the_published_key(root, signer):
    key = Verifier((VECTORS / "key.pem").read_bytes())
    assert key.key_id == signer.public.key_id
    found = read_attestations(VECTORS, root, [key])
    assert {one.kind for one in found.held} == set(KINDS)
    expected = json.loads((VECTORS / "refused" / "expected.json").read_text())
    refused = read_attestations(VECTORS / "refused", root, [key])
    assert {one.file: one.error for one in refused.refused} == {
        **expected, "expected.json": "SealDamaged"
    }  # fmt: skip
    assert refused.held == ()


def test_the_vectors_cover_every_way_to_be_refused():
    expected = json.loads((VECTORS / "refused" / "expected.json").read_text())
    assert set(expected.values()) == {
        "SealDamaged", "SignatureInvalid", "SignerMissing", "ContentChanged", "ProofInvalid"
    }  # fmt: skip
    for name in expected:
        assert (VECTORS / "refused" / name).is_file()


def test_a_vector_over_another_root_is_another_attestation(signer):
    with pytest.raises(SealDamaged, match="no root"):
        verify_attestation((VECTORS / "bom.json").read_bytes(), "latest", [signer.public])
