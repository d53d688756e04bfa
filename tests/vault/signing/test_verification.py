"""Who signed: names of keys, thresholds, several algorithms, and what a hostile bundle tries."""

import base64
import datetime as dt
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged, SealRefused, SignatureInvalid, SignerMissing
from modelward.vault import bundle, dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner, Verifier
from modelward.vault.signing import verification
from modelward.vault.signing.verification import verify_bundle

STATEMENT = dsse.Statement(
    subjects=(("model", {"sha256": "00" * 32}),),
    predicate_type="https://example.com/v1",
    predicate={"a": [1]},
)
TWO_OTHERS = [LocalSigner(asymmetric.generate("ed25519")) for _ in range(2)]


def publics(*signers):
    return [signer.public for signer in signers]


def signatures(edit):
    """An edit of the list of signatures."""

    def change(value):
        edit(value["dsseEnvelope"]["signatures"])

    return change


@pytest.mark.parametrize("name", asymmetric.ALGORITHMS)
def test_every_algorithm_signs_and_verifies(signers, name):
    signer = signers[name]
    verified = verify_bundle(bundle.make(STATEMENT, [signer]), [signer.public])
    assert verified.statement == STATEMENT
    assert verified.signers == (signer.public.key_id,)


def test_signers_come_once_in_the_order_of_their_signatures(signers):
    everyone = list(signers.values())
    data = bundle.make(STATEMENT, [*everyone, everyone[0]])
    verified = verify_bundle(data, publics(*reversed(everyone)), threshold=5)
    assert verified.signers == tuple(signer.public.key_id for signer in everyone)


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_thresholds(alice, bob, carol, threshold):
    data = bundle.make(STATEMENT, [alice, bob])
    known = publics(alice, bob, carol)
    if threshold <= 2:
        assert len(verify_bundle(data, known, threshold=threshold).signers) == 2
    else:
        with pytest.raises(SignerMissing, match="2 of the 3 known keys signed, 3 must"):
            verify_bundle(data, known, threshold=threshold)


def test_one_key_that_signs_twice_counts_once(alice, bob):
    data = bundle.make(STATEMENT, [alice, alice, alice])
    with pytest.raises(SignerMissing, match="1 of the 2 known keys signed, 2 must"):
        verify_bundle(data, publics(alice, bob), threshold=2)


def test_one_key_that_is_known_twice_counts_once(alice):
    data = bundle.make(STATEMENT, [alice, alice])
    with pytest.raises(SignerMissing, match="1 of the 1 known keys signed, 2 must"):
        verify_bundle(data, publics(alice, alice), threshold=2)


def test_one_key_under_two_names_counts_once(alice, bob, rewrite):
    """Another name than ours is a hint of somebody's own, so the key is found by trial."""

    def rename(listed):
        listed[1]["keyid"] = "alice@example.com"

    data = rewrite(bundle.make(STATEMENT, [alice, alice]), signatures(rename))
    assert verify_bundle(data, publics(alice, bob)).signers == (alice.public.key_id,)
    with pytest.raises(SignerMissing):
        verify_bundle(data, publics(alice, bob), threshold=2)


def test_nobody_is_known(alice):
    with pytest.raises(SignerMissing, match="no public key was given"):
        verify_bundle(bundle.make(STATEMENT, [alice]), [])


def test_somebody_else_signed(alice, bob):
    data = bundle.make(STATEMENT, [alice])
    with pytest.raises(SignerMissing, match=alice.public.key_id[:16]):
        verify_bundle(data, publics(bob))


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_of_nobody_is_the_callers_mistake(alice, threshold):
    with pytest.raises(ValueError, match="nobody's signature"):
        verify_bundle(bundle.make(STATEMENT, [alice]), publics(alice), threshold=threshold)


def test_a_bad_signature_by_a_known_key_refuses_whoever_else_signed(alice, bob, carol, rewrite):
    def spoil(listed):
        listed[1]["sig"] = listed[1]["sig"][:-8] + "AAAAAA=="

    data = rewrite(bundle.make(STATEMENT, [alice, bob, carol]), signatures(spoil))
    with pytest.raises(SignatureInvalid, match=bob.public.key_id[:16]):
        verify_bundle(data, publics(alice, bob, carol))
    assert len(verify_bundle(data, publics(alice, carol)).signers) == 2  # who does not know bob cannot tell


def test_signatures_are_not_exchanged(alice, bob, rewrite):
    def swap(listed):
        listed[0]["sig"], listed[1]["sig"] = listed[1]["sig"], listed[0]["sig"]

    data = rewrite(bundle.make(STATEMENT, [alice, bob]), signatures(swap))
    with pytest.raises(SignatureInvalid):
        verify_bundle(data, publics(alice, bob))


def test_the_post_quantum_signature_can_be_required(alice, bob, carol):
    both = bundle.make(STATEMENT, [alice, carol])
    assert len(verify_bundle(both, publics(alice, carol), threshold=2, post_quantum=True).signers) == 2
    classical = bundle.make(STATEMENT, [alice, bob])
    with pytest.raises(SignerMissing, match="ML-DSA-65"):
        verify_bundle(classical, publics(alice, bob, carol), threshold=2, post_quantum=True)


def test_stripping_the_post_quantum_signature_is_seen(alice, carol, rewrite):
    stripped = rewrite(bundle.make(STATEMENT, [alice, carol]), signatures(lambda listed: listed.pop()))
    assert verify_bundle(stripped, publics(alice, carol)).signers == (alice.public.key_id,)
    with pytest.raises(SignerMissing):
        verify_bundle(stripped, publics(alice, carol), post_quantum=True)
    with pytest.raises(SignerMissing):
        verify_bundle(stripped, publics(alice, carol), threshold=2)


@pytest.mark.parametrize("name", ["", None, "alice", "SHA256:abc", "ab" * 31, "AB" * 32])
def test_signatures_without_a_name_of_ours_are_tried(alice, bob, rewrite, name):
    def anonymous(value):
        value["dsseEnvelope"]["signatures"][0]["keyid"] = name
        value["verificationMaterial"]["publicKey"] = {}

    data = rewrite(bundle.make(STATEMENT, [alice]), anonymous)
    assert verify_bundle(data, publics(bob, alice)).signers == (alice.public.key_id,)
    with pytest.raises(SignatureInvalid, match="none of the 1 known keys, or what was signed was altered"):
        verify_bundle(data, publics(bob))


def test_the_hint_names_the_first_signature(alice, bob, rewrite):
    """As the reference library writes it: the hint alone, no key ids."""

    def unnamed(listed):
        for each in listed:
            each["keyid"] = ""

    data = rewrite(bundle.make(STATEMENT, [alice, bob]), signatures(unnamed))
    assert len(verify_bundle(data, publics(alice, bob), threshold=2).signers) == 2
    other = rewrite(
        data, lambda value: value["verificationMaterial"]["publicKey"].update(hint=bob.public.key_id)
    )
    with pytest.raises(SignatureInvalid, match=bob.public.key_id[:16]):  # it names bob, and is alice's
        verify_bundle(other, publics(alice, bob))


def test_another_keys_name_on_a_good_signature(alice, bob, carol, rewrite):
    stolen = rewrite(
        bundle.make(STATEMENT, [alice, bob]),
        signatures(lambda listed: listed[1].update(keyid=carol.public.key_id)),
    )
    with pytest.raises(SignatureInvalid):
        verify_bundle(stolen, publics(alice, bob, carol))
    assert verify_bundle(stolen, publics(alice, bob)).signers == (alice.public.key_id,)


def test_a_hint_and_a_name_that_differ(alice, bob, rewrite):
    data = rewrite(
        bundle.make(STATEMENT, [alice]),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint=bob.public.key_id),
    )
    with pytest.raises(SealDamaged, match="names one key and its first signature another"):
        verify_bundle(data, publics(alice, bob))


def test_a_payload_of_another_signature(alice, rewrite):
    other = bundle.make(
        dsse.Statement(subjects=(("model", {"sha256": "11" * 32}),), predicate_type="x", predicate={}),
        [alice],
    )
    theirs = json.loads(other)["dsseEnvelope"]["payload"]
    data = rewrite(bundle.make(STATEMENT, [alice]), lambda v: v["dsseEnvelope"].update(payload=theirs))
    with pytest.raises(SignatureInvalid):
        verify_bundle(data, publics(alice))


def test_the_type_of_the_payload_is_signed(alice, rewrite, bundle_of):
    data = rewrite(
        bundle.make(STATEMENT, [alice]), lambda v: v["dsseEnvelope"].update(payloadType="text/plain")
    )
    with pytest.raises(SignatureInvalid):
        verify_bundle(data, publics(alice))
    signed = bundle_of({"_type": dsse.STATEMENT}, alice, payload_type="text/plain")
    with pytest.raises(SealDamaged, match="no in-toto statement"):
        verify_bundle(signed, publics(alice))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'{"_type":"https://in-toto.io/Statement/v0.1"}',
        b'{"_type":"https://in-toto.io/Statement/v1"}',
        b'{"_type":"https://in-toto.io/Statement/v1","_type":"https://in-toto.io/Statement/v1"}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":{},"predicateType":"x","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[1],"predicateType":"x","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":NaN}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_signed_payloads_that_are_no_statement(alice, bundle_of, payload):
    with pytest.raises(SealDamaged):
        verify_bundle(bundle_of(payload, alice), publics(alice))


def test_no_signature_at_all(alice, rewrite):
    with pytest.raises(SealDamaged, match="no signature"):
        verify_bundle(
            rewrite(bundle.make(STATEMENT, [alice]), signatures(lambda listed: listed.clear())),
            publics(alice),
        )


def test_a_moment_says_nothing_about_keys(alice):
    """A key alone has no validity; the keyring knows it."""
    past = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
    assert verify_bundle(bundle.make(STATEMENT, [alice]), publics(alice), moment=past).signers


def test_the_public_key_in_the_bundle_is_not_believed(alice, bob, rewrite):
    def bring_your_own(value):
        value["verificationMaterial"]["publicKey"] = {
            "rawBytes": base64.b64encode(bob.public.pem).decode(),
            "keyDetails": "PKIX_ED25519",
        }
        value["dsseEnvelope"]["signatures"][0]["keyid"] = ""

    data = rewrite(bundle.make(STATEMENT, [bob]), bring_your_own)
    with pytest.raises(SignatureInvalid):
        verify_bundle(data, publics(alice))


def early(signer, keyid="", payload_type=dsse.IN_TOTO, count=1, sha256=True):
    """As model-signing 0.2 wrote: Python's spelling of the payload behind a prefix of its own."""
    payload = STATEMENT.encode()
    message = f"DSSEV1 {len(payload_type)} {payload_type} {len(payload)} {payload}".encode()
    sig = signer._key.sign(message, ec.ECDSA(hashes.SHA256())) if sha256 else signer.sign(message)
    envelope = dsse.Envelope(
        payload=payload, payload_type=payload_type, signatures=(dsse.Signature(sig=sig, keyid=keyid),) * count
    )
    return bundle.encode(envelope)


@pytest.mark.parametrize("sha256", [True, False])
def test_the_earliest_encoding(signers, sha256):
    signer = signers["ecdsa-p384"]
    verified = verify_bundle(early(signer, sha256=sha256), publics(signer))
    assert verified.statement == STATEMENT


@pytest.mark.parametrize("why", [{"keyid": "named"}, {"count": 2}, {"payload_type": "text/plain"}])
def test_the_earliest_encoding_is_taken_for_nothing_newer(signers, why):
    signer = signers["ecdsa-p384"]
    with pytest.raises(SignatureInvalid):
        verify_bundle(early(signer, **why), publics(signer))


def test_a_large_payload_is_not_spelled_out(signers, monkeypatch):
    """Before any signature holds, it would be four times as large, twice."""
    signer = signers["ecdsa-p384"]
    monkeypatch.setattr(verification, "_EARLY", len(STATEMENT.encode()))
    verify_bundle(early(signer), publics(signer))
    monkeypatch.setattr(verification, "_EARLY", len(STATEMENT.encode()) - 1)
    with pytest.raises(SignatureInvalid):
        verify_bundle(early(signer), publics(signer))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(SealRefused):
        verify_bundle(data, publics(*TWO_OTHERS))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
VALID = json.loads(bundle.make(STATEMENT, TWO_OTHERS))


@given(
    st.sampled_from(
        [
            ("mediaType",),
            ("verificationMaterial",),
            ("verificationMaterial", "publicKey"),
            ("verificationMaterial", "publicKey", "hint"),
            ("dsseEnvelope",),
            ("dsseEnvelope", "payload"),
            ("dsseEnvelope", "payloadType"),
            ("dsseEnvelope", "signatures"),
            ("dsseEnvelope", "signatures", 0),
            ("dsseEnvelope", "signatures", 1),
            ("dsseEnvelope", "signatures", 0, "sig"),
            ("dsseEnvelope", "signatures", 1, "keyid"),
        ]
    ),
    json_values,
)
def test_any_value_in_any_place_is_refused_or_changes_nothing(place, value):
    changed = json.loads(json.dumps(VALID))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    data = json.dumps(changed).encode()
    try:
        assert verify_bundle(data, publics(*TWO_OTHERS)).statement == STATEMENT
    except SealRefused:
        return


def test_a_verifier_is_named_by_one_spelling_of_its_key(alice):
    spaced = b"\n  " + alice.public.pem.replace(b"\n", b"\r\n") + b"\n\n"
    assert Verifier(spaced).key_id == alice.public.key_id


@pytest.mark.parametrize("name", ["", "release", "AB" * 32])
def test_signatures_that_name_no_key_are_few(alice, bob, name):
    """Each would be tried with every known key: a minute for 256 of them and a large keyring."""
    value = json.loads(bundle.make(STATEMENT, [alice]))
    listed = value["dsseEnvelope"]["signatures"]
    stranger = {"sig": base64.b64encode(b"x" * 64).decode(), "keyid": name}
    listed += [stranger] * 16
    assert verify_bundle(json.dumps(value).encode(), publics(alice, bob)).signers == (alice.public.key_id,)
    listed.append(stranger)
    with pytest.raises(SealDamaged, match="more than 16 signatures"):
        verify_bundle(json.dumps(value).encode(), publics(alice, bob))
