from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import (
    ContentChanged,
    KeyServiceFailed,
    PolicyInvalid,
    ProofInvalid,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault import bundle, dsse
from modelward.vault.attest import attestation
from modelward.vault.attest.attestation import (
    LARGEST,
    MOST,
    Attestations,
    attest,
    kind_of,
    read_attestations,
    verify_attestation,
)
from modelward.vault.attest.audited import EVIDENCE
from modelward.vault.attest.predicates import BOM, RELEASE, SCAN, Bom, Release
from modelward.vault.attest.provenance import PROVENANCE
from modelward.vault.keys.keyring import Keyring, RevokedKey, RingKey, Threshold

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KINDS = ("evidence", "scan", "bom", "provenance", "release")
TYPES = {
    "evidence": EVIDENCE, "scan": SCAN, "bom": BOM, "provenance": PROVENANCE, "release": RELEASE
}  # fmt: skip
BLAKE = "blake3:" + "5e" * 32


def statement_in(data):
    return json.loads(base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"]))


def signed(predicate, root, signers, *, kind=EVIDENCE, subjects=None):
    """A bundle around any predicate, as a malicious or older signer could write it."""
    algorithm, _, digest = root.partition(":")
    found = (("model", {algorithm: digest}),) if subjects is None else subjects
    statement = dsse.Statement(subjects=found, predicate_type=kind, predicate=predicate)
    return bundle.make(statement, signers)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_attested_is_read_back(kind, all_kinds, root, signer, verifiers):
    data = attest(all_kinds[kind], root, "fraud", [signer])
    found = verify_attestation(data, root, verifiers, file="x.json")
    assert found.kind == kind == kind_of(found.content) == kind_of(all_kinds[kind])
    assert found.signers == (signer.public.key_id,)
    assert found.file == "x.json"
    written = found.content.evidence if kind == "evidence" else found.content
    assert written == all_kinds[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_statement_is_about_the_root_alone(kind, all_kinds, root, signer):
    statement = statement_in(attest(all_kinds[kind], root, "fraud", [signer]))
    assert statement["subject"] == [{"name": "fraud", "digest": {"sha256": root.removeprefix("sha256:")}}]
    assert statement["predicateType"] == TYPES[kind]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"


def test_a_root_of_blake3_is_named_as_such(release, signer, verifiers):
    data = attest(release, BLAKE, "fraud", [signer])
    assert statement_in(data)["subject"][0]["digest"] == {"blake3": "5e" * 32}
    assert verify_attestation(data, BLAKE, verifiers).content == release
    with pytest.raises(ContentChanged, match="another root"):
        verify_attestation(data, "sha256:" + "5e" * 32, verifiers)


def test_several_keys_may_sign_one_attestation(release, root, signers, verifiers):
    data = attest(release, root, "fraud", signers)
    found = verify_attestation(data, root, verifiers)
    assert found.signers == tuple(sorted(key.key_id for key in verifiers))
    assert verify_attestation(data, root, verifiers[1:2]).signers == (verifiers[1].key_id,)


def test_one_bad_signature_of_a_known_key_refuses_however_good_the_others_are(
    release, root, signers, verifiers
):
    whole = json.loads(attest(release, root, "fraud", signers))
    first, second, _ = whole["dsseEnvelope"]["signatures"]
    first["sig"], second["sig"] = second["sig"], first["sig"]
    data = json.dumps(whole, indent=1).encode() + b"\n"
    with pytest.raises(SignatureInvalid):
        verify_attestation(data, root, verifiers)
    assert verify_attestation(data, root, verifiers[2:]).signers == (verifiers[2].key_id,)


def test_an_attestation_of_another_root_is_not_spliced_in(release, root, signer, verifiers):
    other = attest(release, "sha256:" + "00" * 32, "fraud", [signer])
    with pytest.raises(ContentChanged, match="another root"):
        verify_attestation(other, root, verifiers)


@pytest.mark.parametrize(
    "subjects",
    [
        (),
        (("model", {"sha256": "5e" * 32}), ("other", {"sha256": "00" * 32})),
        (("model", {"sha256": "5e" * 32}), ("model", {"sha256": "5e" * 32})),
        (("model", {"sha256": "5e" * 32, "blake3": "00" * 32}),),
        (("model", {"sha512": "5e" * 32}),),
        (("model", {"sha256": "5E" * 32}),),
        (("model", {}),),
    ],
)
def test_exactly_the_root_must_be_the_subject(subjects, root, signer, verifiers):
    data = signed({"until": "2027-01-01T00:00:00Z"}, root, [signer], kind=RELEASE, subjects=subjects)
    with pytest.raises((ContentChanged, SealDamaged)):
        verify_attestation(data, root, verifiers)


def test_a_key_that_is_not_known_attests_nothing(release, root, signers, verifiers):
    data = attest(release, root, "fraud", [signers[2]])
    with pytest.raises(SignerMissing):
        verify_attestation(data, root, verifiers[:2])
    with pytest.raises(SignerMissing):
        verify_attestation(data, root, [])


def test_the_name_of_a_known_key_over_the_signature_of_another(release, root, signers, verifiers):
    """Only the hint is changed, which no signature covers."""
    data = attest(release, root, "fraud", [signers[2]])
    forged = data.replace(verifiers[2].key_id.encode(), verifiers[0].key_id.encode())
    with pytest.raises(SignatureInvalid):
        verify_attestation(forged, root, verifiers[:2])


def test_every_byte_of_an_attestation_counts(release, root, signer, verifiers):
    """Exhaustive: each byte is flipped in one bit, deleted, and doubled."""
    data = attest(release, root, "m", [signer])
    assert len(data) < 1500
    assert verify_attestation(data, root, verifiers)
    for at in range(len(data)):
        bent = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
        for altered in (bent, data[:at] + data[at + 1 :], data[:at] + data[at : at + 1] + data[at:]):
            if altered != data:
                with pytest.raises((SealDamaged, SignatureInvalid, SignerMissing)):
                    verify_attestation(altered, root, verifiers)


def test_every_beginning_of_an_attestation_is_refused(release, root, signer, verifiers):
    data = attest(release, root, "m", [signer])
    for length in range(len(data)):
        with pytest.raises(SealDamaged):
            verify_attestation(data[:length], root, verifiers)


@given(data=st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_anything_at_all_is_refused_in_a_sentence(data, root, verifiers):
    with pytest.raises(SealRefused):
        verify_attestation(data, root, verifiers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(value=JSON, kind=st.sampled_from([*TYPES.values(), "https://example.org/x"]), strange=st.booleans())
def test_a_signed_predicate_of_any_shape_is_refused_or_read(*, value, kind, strange, root, signer, verifiers):
    """The signer is trusted to sign, not to write well: nothing but a refusal may come out."""
    predicate = value if strange else {"files": value, "ledger": value, "until": value, "bomFormat": value}
    text = json.dumps(
        {
            "_type": dsse.STATEMENT,
            "subject": [{"name": "m", "digest": {"sha256": root.removeprefix("sha256:")}}],
            "predicateType": kind,
            "predicate": predicate,
        }
    ).encode()
    data = bundle.encode(dsse.sign(text, [signer]))
    with suppress(SealRefused):
        verify_attestation(data, root, verifiers)


def test_the_order_of_keys_and_blanks_belong_to_the_one_spelling(release, root, signer, verifiers):
    data = attest(release, root, "fraud", [signer])
    for spelling in (
        json.dumps(json.loads(data)).encode(),
        json.dumps(json.loads(data), indent=1, sort_keys=True).encode() + b"\n",
        data + b"\n",
        data.replace(b'"tlogEntries": []', b'"tlogEntries": [1]'),
    ):
        with pytest.raises(SealDamaged, match="not written as"):
            verify_attestation(spelling, root, verifiers)


def test_a_type_that_is_not_known_is_refused_by_its_name(root, signer, verifiers):
    data = signed({"a": 1}, root, [signer], kind="https://example.org/vibes/v1")
    with pytest.raises(SealDamaged, match="vibes/v1"):
        verify_attestation(data, root, verifiers)


def test_a_status_that_is_stored_in_a_claim_is_not_believed(decision, predicate, root, signer, verifiers):
    body = decision()
    for claim in body["result"]["claims"]:
        claim["status"] = "holds"
    body["result"]["verdict"]["outcome"] = "pass"
    found = verify_attestation(signed(predicate(body), root, [signer]), root, verifiers)
    assert {claim.status for claim in found.content.result.claims} == {None}


def test_evidence_whose_record_was_altered_after_the_ledger_is_refused(
    decision, predicate, root, signer, verifiers
):
    """The signer of the attestation cannot better the numbers: the ledger's head does not cover them."""
    made = predicate(decision())
    made["record"]["body"]["result"]["claims"][0]["bracket"]["lower"] = 0.99
    with pytest.raises(ProofInvalid, match="not in the ledger"):
        verify_attestation(signed(made, root, [signer]), root, verifiers)


def test_what_would_be_refused_is_not_written(evidence, root, signer):
    made = evidence()
    broken = msgspec.structs.replace(made, ledger=msgspec.structs.replace(made.ledger, head="00" * 32))
    with pytest.raises(ProofInvalid):
        attest(broken, root, "m", [signer])
    with pytest.raises(SealDamaged, match="no CycloneDX"):
        attest(Bom(document={"a": 1}), root, "m", [signer])
    with pytest.raises(PolicyInvalid, match="limits nothing"):
        attest(Release(), root, "m", [signer])


@pytest.mark.parametrize("wrong", ["", "5e" * 32, "md5:" + "5e" * 16, "sha256:" + "5E" * 32, "sha256:5e"])
def test_a_root_must_be_one(wrong, release, root, signer, verifiers):
    with pytest.raises(SealDamaged, match="no root"):
        attest(release, wrong, "m", [signer])
    with pytest.raises(SealDamaged, match="no root"):
        verify_attestation(attest(release, root, "m", [signer]), wrong, verifiers)


def test_nobody_attests_nothing(release, root):
    with pytest.raises(ValueError, match="without signatures"):
        attest(release, root, "m", [])


def test_a_token_that_does_not_sign_leaves_no_attestation(release, root, signer):
    class Broken:
        public = signer.public

        def sign(self, data):
            raise KeyServiceFailed("the token does not answer")

    with pytest.raises(KeyServiceFailed):
        attest(release, root, "m", [Broken()])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, "\ud800"])
def test_what_json_cannot_hold_is_not_attested(value, root, signer):
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "x": value}
    with pytest.raises(SealDamaged, match="cannot be written as JSON"):
        attest(Bom(document=document), root, "m", [signer])


def test_an_attestation_has_a_largest_size(monkeypatch, bom, root, signer, verifiers):
    data = attest(bom, root, "m", [signer])
    monkeypatch.setattr(attestation, "LARGEST", len(data))
    assert verify_attestation(attest(bom, root, "m", [signer]), root, verifiers)
    monkeypatch.setattr(attestation, "LARGEST", len(data) - 1)
    with pytest.raises(SealDamaged, match="may take"):
        attest(bom, root, "m", [signer])
    with pytest.raises(SealDamaged, match="more than"):
        verify_attestation(data, root, verifiers)
    assert LARGEST == 16 << 20


def test_deep_nesting_is_a_refusal_and_no_crash(root, signer, verifiers):
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    with pytest.raises(SealDamaged):
        verify_attestation(deep, root, verifiers)
    with pytest.raises(SealDamaged):
        verify_attestation(bundle.encode(dsse.sign(deep, [signer])), root, verifiers)


# The folder


def test_a_folder_gives_what_holds_and_names_the_rest(
    *, store, all_kinds, signers, root, verifiers, tmp_path
):
    stranger = attest(all_kinds["release"], root, "m", [signers[2]])
    other = attest(all_kinds["release"], "sha256:" + "00" * 32, "m", [signers[0]])
    store(**all_kinds, stranger=stranger, spliced=other, broken=b"{}")
    folder = tmp_path / "attestations"
    (folder / "notes.txt").write_text("hello")
    found = read_attestations(folder, root, verifiers[:2])
    assert {one.file: one.kind for one in found.held} == {f"{kind}.json": kind for kind in KINDS}
    assert {one.file: one.error for one in found.refused} == {
        "stranger.json": "SignerMissing",
        "spliced.json": "ContentChanged",
        "broken.json": "SealDamaged",
        "notes.txt": "SealDamaged",
    }
    assert all(one.reason for one in found.refused)
    assert [one.kind for one in found.of("bom")] == ["bom"]


def test_no_folder_is_no_attestation(tmp_path, root, verifiers):
    assert read_attestations(tmp_path / "none", root, verifiers) == Attestations()
    (tmp_path / "file").write_text("")
    assert read_attestations(tmp_path / "file", root, verifiers) == Attestations()
    (tmp_path / "empty").mkdir()
    assert read_attestations(tmp_path / "empty", root, verifiers) == Attestations()


def test_links_folders_and_pipes_are_not_opened(tmp_path, release, root, signer, verifiers):
    folder = tmp_path / "attestations"
    folder.mkdir()
    outside = tmp_path / "outside.json"
    outside.write_bytes(attest(release, root, "m", [signer]))
    (folder / "link.json").symlink_to(outside)
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    found = read_attestations(folder, root, verifiers)
    assert found.held == ()
    assert {one.file for one in found.refused} == {"link.json", "folder.json", "pipe.json"}
    assert {one.error for one in found.refused} == {"SealDamaged"}


def test_names_of_any_bytes_are_named(tmp_path, root, verifiers):
    folder = tmp_path / "attestations"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.json")).write_bytes(b"{}")
    found = read_attestations(folder, root, verifiers)
    assert [one.file for one in found.refused] == ["\\xff.json"]
    assert canonical([one.file for one in found.refused])


def test_more_files_than_anybody_writes_are_named_and_not_read(*, tmp_path, release, root, signer, verifiers):
    folder = tmp_path / "attestations"
    folder.mkdir()
    data = attest(release, root, "m", [signer])
    for n in range(MOST + 3):
        (folder / f"{n:03}.json").write_bytes(data)
    found = read_attestations(folder, root, verifiers)
    assert len(found.held) == MOST
    assert [one.file for one in found.refused] == [f"{n:03}.json" for n in range(MOST, MOST + 3)]
    assert "more than" in found.refused[0].reason


def test_a_file_that_is_too_large_is_not_read_whole(monkeypatch, tmp_path, root, verifiers):
    folder = tmp_path / "attestations"
    folder.mkdir()
    with (folder / "huge.json").open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    monkeypatch.setattr(attestation, "LARGEST", 1000)
    found = read_attestations(folder, root, verifiers)
    assert [one.error for one in found.refused] == ["SealDamaged"]
    assert "more than 1,000 bytes" in found.refused[0].reason


# The keyring


def ring_of(signers, *, purposes=("seal",), until=None, revoked=()):
    """A keyring of these keys, valid for a year before the fixtures' time."""
    start = NOW - timedelta(days=365)
    keys = [
        RingKey(
            id=signer.public.key_id,
            name=f"signer {n}",
            pem=signer.public.pem.decode(),
            purposes=tuple(purposes),
            valid_from=start,
            valid_until=until,
        )
        for n, signer in enumerate(signers)
    ]
    thieves = [RevokedKey(id=signer.public.key_id, since=NOW, reason="stolen") for signer in revoked]
    return Keyring(
        format="modelward.keyring/1", ring="00" * 16, version=1, issued=start, expires=None, threshold=1,
        owners=(signers[0].public.pem.decode(),), keys=tuple(keys), revoked_keys=tuple(thieves),
    )  # fmt: skip


@pytest.fixture
def released(tmp_path, release, root, verifiers):
    """A release policy by some keys, read by a keyring at a moment: the signers that count, or the error."""

    def released(signers, ring, moment=NOW):
        folder = tmp_path / "attestations"
        folder.mkdir(exist_ok=True)
        (folder / "release.json").write_bytes(attest(release, root, "m", signers))
        found = read_attestations(folder, root, verifiers, ring=(ring, moment))
        return found.held[0].signers if found.held else found.refused[0].error

    return released


def test_an_attestation_by_a_revoked_key_is_refused_whoever_else_signed_it(released, signers):
    ids = [signer.public.key_id for signer in signers]
    assert released(signers[:1], ring_of(signers)) == (ids[0],)
    assert released(signers[:1], ring_of(signers, revoked=signers[:1])) == "Revoked"
    assert released(signers[:2], ring_of(signers, revoked=signers[:1])) == "Revoked"
    assert released(signers[1:2], ring_of(signers, revoked=signers[:1])) == (ids[1],)


def test_an_expired_key_attests_nothing_more(released, signers):
    ring = ring_of(signers[:1], until=NOW)
    assert released(signers[:1], ring, NOW - timedelta(seconds=1)) == (signers[0].public.key_id,)
    assert released(signers[:1], ring, NOW) == "KeyExpired"
    assert released(signers[:1], ring, NOW - timedelta(days=366)) == "KeyExpired"
    assert released(signers[:2], ring, NOW) == (
        signers[1].public.key_id,
    )  # not of the keyring: named otherwise


@pytest.mark.parametrize(
    ("purposes", "counts"),
    [(("seal",), True), (("release",), True), (("evidence",), False), (("ledger", "scan"), False)],
)
def test_a_key_attests_what_it_is_for(released, signers, purposes, counts):
    """A key that may seal may attest; an auditor's attests its own kind."""
    found = released(signers[:1], ring_of(signers, purposes=purposes))
    assert found == ((signers[0].public.key_id,) if counts else "SignerMissing")


def test_a_policy_for_the_kind_is_met_by_as_many_as_it_asks(released, signers):
    """Where two must attest, the thief of one key does not."""
    ids = sorted(signer.public.key_id for signer in signers[:2])
    ring = ring_of(signers[:2], purposes=("seal", "release"))
    two = Threshold(purpose="release", threshold=2, names=("signer 0", "signer 1"), ml_dsa=False)
    strict = msgspec.structs.replace(ring, policies=(two,))
    assert released(signers[:1], ring) == (signers[0].public.key_id,)
    assert released(signers[:1], strict) == "SignerMissing"
    assert released([signers[0], signers[2]], strict) == "SignerMissing"
    assert released(signers[:2], strict) == tuple(ids)
    elsewhere = msgspec.structs.replace(two, purpose="evidence")
    assert released(signers[:1], msgspec.structs.replace(ring, policies=(elsewhere,))) == (
        signers[0].public.key_id,
    )


@pytest.mark.parametrize(
    ("purposes", "alone"), [(("seal",), False), (("release",), True), (("seal", "release"), True)]
)
def test_keys_that_seal_attest_as_they_seal(released, signers, purposes, alone):
    """Where two must seal, one stolen key does not attest either, unless its purpose says so."""
    both = Threshold(purpose="seal", threshold=2, names=("signer 0", "signer 1"), ml_dsa=False)
    ring = msgspec.structs.replace(ring_of(signers[:2], purposes=purposes), policies=(both,))
    ids = [signer.public.key_id for signer in signers]
    assert released(signers[:1], ring) == ((ids[0],) if alone else "SignerMissing")
    assert released(signers[:2], ring) == tuple(sorted(ids[:2]))
    assert released(signers[2:3], ring) == (ids[2],)  # not of the keyring: named otherwise


def test_who_may_not_attest_is_not_among_those_who_did(released, signers):
    """A policy that asks for a key by its id must not find one there that could not attest."""
    first, second = ring_of(signers[:1], purposes=("release",)), ring_of(signers[1:2], purposes=("scan",))
    ring = msgspec.structs.replace(first, keys=(*first.keys, *second.keys))
    assert released(signers[:2], ring) == (signers[0].public.key_id,)
