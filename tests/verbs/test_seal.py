"""Seal, verify and open through the verbs: the whole way, and what each of them refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import modelward
from modelward.errors import (
    ConfigInvalid,
    ContentUnstable,
    FileMissing,
    KeyUnusable,
    LedgerUnwritable,
    OutputUnwritable,
    PolicyInvalid,
    PolicyRefused,
    RecipientWrong,
    Revoked,
    SealRefused,
)
from modelward.ledger.store import Ledger
from modelward.vault.attest.attestation import attest
from modelward.vault.attest.predicates import Release
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.opening import open_signer
from modelward.verbs.attest import scan_verdict
from modelward.verbs.gathering import gather
from modelward.verbs.keys import NewKey, NewRing, Owner, ring_add, ring_new, ring_revoke
from modelward.verbs.talk import Talk


@pytest.fixture(scope="session")
def keys(tmp_path_factory, write_key, write_identity):
    """Pairs of signing keys, and one recipient: name to (private, public) paths."""
    folder = tmp_path_factory.mktemp("keys")
    made = {
        "release": write_key(folder, "release"),
        "audit": write_key(folder, "audit", "ecdsa-p256"),
        "later": write_key(folder, "later", "ml-dsa-65"),
        "other": write_key(folder, "other"),
    }
    return made | {name: write_identity(folder, name, "x25519") for name in ("reader", "stranger")}


@pytest.fixture
def model(tmp_path):
    """A folder with two files and a folder in it."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    np.save(folder / "weights.npy", np.arange(300_000, dtype=np.float32))
    (folder / "sub" / "README.md").write_text("read me\n", encoding="utf-8")
    return folder


def options(keys, *signers, **changes):
    return modelward.SealOptions(
        keys=tuple(str(keys[name][0]) for name in signers or ("release",)), **changes
    )


def trust(keys, *signers, **changes):
    names = signers or ("release",)
    return modelward.TrustOptions(public_keys=tuple(str(keys[name][1]) for name in names), **changes)


def verified(path, keys, *signers, **changes):
    return modelward.verify(path, modelward.VerifyOptions(trust=trust(keys, *signers), **changes))


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def sealed(model, keys, tmp_path, talk):
    target = tmp_path / "model.sealed"
    recipients = (str(keys["reader"][1]),)
    modelward.seal(model, target, options(keys, recipients=recipients), talk)
    return target


def opening(keys, reader="reader", **changes):
    return modelward.OpenOptions(identities=(str(keys[reader][0]),), trust=trust(keys), **changes)


def test_the_whole_way(model, sealed, keys, tmp_path, talk):
    found = verified(sealed, keys)
    assert found.verified
    assert found.kind == "seal"
    assert found.encrypted
    assert found.attestations == ("scan",)
    assert [signer.name for signer in found.signers] == ["release.pub"]
    opened = modelward.unseal(sealed, tmp_path / "opened", opening(keys), talk)
    assert opened.verified
    assert content(tmp_path / "opened") == content(model)


def test_nothing_of_the_content_is_readable(model, sealed):
    stored = b"".join(content(sealed).values())
    assert np.load(model / "weights.npy").tobytes()[:64] not in stored
    assert b"read me" not in stored


def test_without_recipients_everybody_reads(model, keys, tmp_path, talk):
    target = tmp_path / "plain.sealed"
    modelward.seal(model, target, options(keys), talk)
    assert not verified(target, keys).encrypted
    assert content(target / "data") == content(model)
    unlocked = modelward.OpenOptions(trust=trust(keys))
    modelward.unseal(target, tmp_path / "opened", unlocked, talk)
    assert content(tmp_path / "opened") == content(model)


def test_an_altered_byte_is_refused_and_named(sealed, keys):
    path = sealed / "data" / "00000001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = verified(sealed, keys)
    assert not found.verified
    assert found.refusal == "ContentChanged"
    assert "00000001" in found.reasons[0].detail
    with pytest.raises(SealRefused, match="00000001"):
        found.enforce()


def test_opening_an_altered_seal_writes_nothing(sealed, keys, tmp_path, talk):
    path = sealed / "data" / "00000001"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SealRefused):
        modelward.unseal(sealed, tmp_path / "opened", opening(keys), talk)
    assert not (tmp_path / "opened").exists()


def test_a_stranger_can_verify_and_cannot_open(sealed, keys, tmp_path, talk):
    assert verified(sealed, keys).verified
    with pytest.raises(RecipientWrong):
        modelward.unseal(sealed, tmp_path / "opened", opening(keys, "stranger"), talk)
    assert not (tmp_path / "opened").exists()


def test_a_wrong_passphrase_opens_nothing(sealed, keys, tmp_path):
    forgetful = Talk(passphrase=lambda: b"wrong")
    with pytest.raises(KeyUnusable, match="passphrase"):
        modelward.unseal(sealed, tmp_path / "opened", opening(keys), forgetful)


def test_a_key_nobody_named_does_not_count(sealed, keys):
    found = verified(sealed, keys, "other")
    assert not found.verified
    assert found.refusal == "SignerMissing"


def test_who_trusts_nobody_is_told_so(sealed):
    with pytest.raises(ConfigInvalid, match="no key is trusted"):
        modelward.verify(sealed)


@pytest.mark.parametrize(("count", "fine"), [(1, True), (2, True), (3, False)])
def test_a_threshold_counts_different_keys(model, keys, count, fine, talk):
    target = model.parent / "two.sealed"
    modelward.seal(model, target, options(keys, "release", "audit", "release"), talk)
    asked = modelward.TrustOptions(
        public_keys=tuple(str(keys[name][1]) for name in ("release", "audit", "other")), threshold=count
    )
    found = modelward.verify(target, modelward.VerifyOptions(trust=asked))
    assert found.verified is fine


def test_a_threshold_below_one_is_refused(sealed, keys):
    with pytest.raises(ConfigInvalid, match="at least 1"):
        modelward.verify(sealed, modelward.VerifyOptions(trust=trust(keys, threshold=0)))


@pytest.mark.parametrize(("signers", "fine"), [(("release",), False), (("release", "later"), True)])
def test_a_post_quantum_signature_can_be_demanded(model, keys, signers, fine, talk):
    target = model.parent / "pq.sealed"
    modelward.seal(model, target, options(keys, *signers), talk)
    asked = trust(keys, "release", "later", post_quantum=True)
    found = modelward.verify(target, modelward.VerifyOptions(trust=asked))
    assert found.verified is fine
    assert found.refusal == (None if fine else "SignerMissing")


def test_something_in_the_way_is_left_alone(model, keys, tmp_path, talk):
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputUnwritable):
        modelward.seal(model, target, options(keys, replace=True), talk)
    assert (target / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_seal_is_exchanged_when_asked(model, sealed, keys, talk):
    before = verified(sealed, keys).root
    (model / "new.txt").write_text("new", encoding="utf-8")
    with pytest.raises(OutputUnwritable):
        modelward.seal(model, sealed, options(keys), talk)
    assert verified(sealed, keys).root == before
    modelward.seal(model, sealed, options(keys, replace=True), talk)
    assert verified(sealed, keys).root != before


@pytest.mark.parametrize("act", ["weights.npy", "new.npy"])
def test_what_changes_after_it_was_scanned_is_not_sealed(model, keys, talk, monkeypatch, act):
    """Its attestation would be of other bytes, and nobody could open it."""
    target = model.parent / "new.sealed"

    def gathered(*words, **more):
        found = gather(*words, **more)
        np.save(model / act, np.arange(7))
        return found

    monkeypatch.setattr("modelward.verbs.seal.gather", gathered)
    with pytest.raises(ContentUnstable, match=act):
        modelward.seal(model, target, options(keys, scan=True), talk)
    assert not target.exists()
    assert not list(model.parent.glob(".*"))


def test_no_key_and_no_model_are_refused_before_anything_is_written(model, keys, tmp_path, talk):
    with pytest.raises(ConfigInvalid, match="no key"):
        modelward.seal(model, tmp_path / "a", modelward.SealOptions(keys=()), talk)
    with pytest.raises(FileMissing, match="no such file"):
        modelward.seal(tmp_path / "nowhere", tmp_path / "a", options(keys), talk)
    assert not (tmp_path / "a").exists()


def write_policy(folder, text):
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_policy_is_an_error(sealed, keys, tmp_path):
    with pytest.raises(PolicyInvalid, match="no requirement"):
        verified(sealed, keys, policy=write_policy(tmp_path, "name = 'empty'\n"))


def test_a_policy_that_is_not_met_says_what_is_missing(sealed, keys, tmp_path, talk):
    policy = write_policy(tmp_path, "[attestations]\nrequired = ['scan', 'evidence']\n")
    found = verified(sealed, keys, policy=policy)
    assert not found.verified
    assert found.refusal is None
    assert "evidence" in found.reasons[0].requirement + found.reasons[0].detail
    with pytest.raises(PolicyRefused):
        modelward.unseal(sealed, sealed.parent / "opened", opening(keys, policy=policy), talk)
    assert not (sealed.parent / "opened").exists()


def test_what_a_policy_would_not_admit_is_not_sealed(model, keys, tmp_path, talk):
    policy = write_policy(tmp_path, "[attestations]\nrequired = ['provenance']\n")
    with pytest.raises(PolicyRefused, match="provenance"):
        modelward.seal(model, tmp_path / "a.sealed", options(keys, policy=policy), talk)
    assert not (tmp_path / "a.sealed").exists()
    assert not [p for p in tmp_path.iterdir() if p.name not in {"model", "policy.toml"}]


@pytest.mark.parametrize(("count", "more"), [(3, ""), (12, "; and 4 more")])
def test_a_refusal_names_every_requirement_that_is_not_met(*, model, keys, tmp_path, talk, count, more):
    kinds = ["provenance", "evidence"]
    claims = "".join(f"[[require]]\nclaim = 'accuracy'\nat-least = 0.{n + 1:02d}\n" for n in range(count))
    text = f"[attestations]\nrequired = {kinds}\n{claims}"
    with pytest.raises(PolicyRefused) as refused:
        modelward.seal(model, tmp_path / "a.sealed", options(keys, policy=write_policy(tmp_path, text)), talk)
    said = str(refused.value)
    assert f"{count + 2} of {count + 2} requirements not met: " in said
    assert "provenance is attested (there is none)" in said
    assert "evidence is attested (there is none)" in said
    assert said.count("accuracy") == min(count, 8)
    assert said.endswith(more)
    assert "Nothing was written" in refused.value.advice
    assert "report" not in refused.value.advice


def test_an_inert_verdict_is_attested_and_demanded(sealed, keys, tmp_path):
    policy = write_policy(tmp_path, "[scan]\nverdict = 'inert'\n")
    assert verified(sealed, keys, policy=policy).verified


def test_a_dangerous_file_is_not_admitted(model, keys, tmp_path, talk):
    (model / "payload.pkl").write_bytes(b"cos\nsystem\n(S'echo no'\ntR.")
    target = tmp_path / "bad.sealed"
    modelward.seal(model, target, options(keys), talk)
    assert verified(target, keys).verified
    policy = write_policy(tmp_path, "[scan]\nverdict = 'inert'\n")
    assert not verified(target, keys, policy=policy).verified


def test_without_a_scan_nothing_is_inert(model, keys, tmp_path, talk):
    target = tmp_path / "unscanned.sealed"
    modelward.seal(model, target, options(keys, scan=False), talk)
    policy = write_policy(tmp_path, "[scan]\nverdict = 'inert'\n")
    assert verified(target, keys).attestations == ()
    assert not verified(target, keys, policy=policy).verified


def write_release(folder, **limits):
    path = folder / "release.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in limits.items()), encoding="utf-8")
    return path


def test_a_release_that_has_ended_is_refused(model, keys, tmp_path, talk):
    until = datetime.now(UTC) + timedelta(days=1)
    release = write_release(tmp_path, until=until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    target = tmp_path / "until.sealed"
    modelward.seal(model, target, options(keys, release=release), talk)
    assert verified(target, keys).verified
    after = trust(keys, moment=until + timedelta(seconds=1))
    found = modelward.verify(target, modelward.VerifyOptions(trust=after))
    assert not found.verified
    assert "released until" in found.reasons[0].requirement


def test_whom_a_release_does_not_name_nothing_is_sealed_for(model, keys, tmp_path, talk):
    """A policy finds out before a model lies in clear, or is somebody else's."""
    ids = [key_of(keys["reader"][1].read_bytes())]
    release = write_release(tmp_path, recipients=json.dumps(ids))
    policy = write_policy(tmp_path, "[attestations]\nrequired = ['release']\n")
    target, asked = tmp_path / "released.sealed", {"release": release, "policy": policy}
    with pytest.raises(PolicyRefused, match=r"released to 1 recipients .opened by everybody"):
        modelward.seal(model, target, options(keys, **asked), talk)
    both = tuple(str(keys[name][1]) for name in ("reader", "stranger"))
    with pytest.raises(PolicyRefused, match="released to 1 recipients"):
        modelward.seal(model, target, options(keys, recipients=both, **asked), talk)
    assert not target.exists()
    modelward.seal(model, target, options(keys, recipients=both[:1], **asked), talk)
    assert verified(target, keys, policy=policy).verified


def test_a_release_names_who_may_open_it(model, keys, tmp_path, talk):
    pair = keys["reader"][1].read_bytes()
    ids = [key_of(pair)]
    release = write_release(tmp_path, recipients=json.dumps(ids))
    target = tmp_path / "released.sealed"
    modelward.seal(model, target, options(keys, release=release, recipients=(str(keys["reader"][1]),)), talk)
    assert verified(target, keys).verified
    other = tmp_path / "other.sealed"
    both = (str(keys["reader"][1]), str(keys["stranger"][1]))
    modelward.seal(model, other, options(keys, release=release, recipients=both), talk)
    found = verified(other, keys)
    assert not found.verified
    assert "released to" in found.reasons[0].requirement


def key_of(public):
    from modelward.vault.hazmat import kem

    return kem.key_id(kem.load_public(public))


def test_a_release_without_any_limit_is_refused():
    with pytest.raises(PolicyInvalid):
        Release().check()


def test_an_attestation_of_another_seal_is_shown_and_refuses(model, sealed, keys, tmp_path, talk):
    other = tmp_path / "other.sealed"
    (model / "more.txt").write_text("more", encoding="utf-8")
    modelward.seal(model, other, options(keys), talk)
    (sealed / "attestations" / "stolen.json").write_bytes((other / "attestations" / "scan.json").read_bytes())
    found = verified(sealed, keys)
    assert not found.verified
    assert "stolen.json" in found.reasons[0].requirement
    assert "another root" in found.reasons[0].detail


def test_a_folder_that_is_no_seal_says_what_to_do(model, keys):
    with pytest.raises(FileMissing, match="no sealed folder"):
        verified(model, keys)


def test_flags_of_signatures_are_refused_for_folders(sealed, keys):
    with pytest.raises(ConfigInvalid, match="verified whole"):
        verified(sealed, keys, partial=True)


def test_verifying_needs_no_private_key_and_writes_nothing(sealed, keys):
    before = {path: path.stat().st_mtime_ns for path in sealed.rglob("*")}
    sealed.chmod(0o500)
    try:
        assert verified(sealed, keys).verified
    finally:
        sealed.chmod(0o700)
    assert {path: path.stat().st_mtime_ns for path in sealed.rglob("*")} == before


def test_the_progress_ends_at_the_whole(model, keys, tmp_path, talk):
    told = []
    telling = Talk(passphrase=talk.passphrase, progress=lambda done, total: told.append((done, total)))
    modelward.seal(model, tmp_path / "a.sealed", options(keys), telling)
    assert told[-1][0] == told[-1][1] == sum(map(len, content(model).values()))


def test_what_is_read_before_sealing_tells_how_far_it_is_too(model, keys, tmp_path, talk):
    told = []
    telling = Talk(passphrase=talk.passphrase, progress=lambda done, total: told.append((done, total)))
    modelward.seal(model, tmp_path / "a.sealed", options(keys), telling)
    whole = sum(map(len, content(model).values()))
    assert [total for done, total in told if done == total] == [whole, whole]  # scanned, then sealed


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({}, "give --no-scan"),
        ({"scan": False}, None),
        ({"scan": False, "bom": "bom.json"}, "leave out --bom"),
        ({"bom": "bom.json"}, "give --no-scan and leave out --bom"),
    ],
)
def test_names_in_clear_beside_what_is_encrypted_are_warned_of(*, model, keys, tmp_path, talk, changes, ways):
    document = tmp_path / "bom.json"
    document.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6"}))
    changes = {**changes, **({"bom": document} if "bom" in changes else {})}
    warned = []
    asking = Talk(passphrase=talk.passphrase, warn=warned.append)
    modelward.seal(model, tmp_path / "clear.sealed", options(keys, **changes), asking)
    assert warned == []
    recipients = (str(keys["reader"][1]),)
    modelward.seal(model, tmp_path / "a.sealed", options(keys, recipients=recipients, **changes), asking)
    assert [one.partition("secret, ")[2] for one in warned] == ([] if ways is None else [ways])


def test_a_key_in_clear_is_taken_with_a_warning(model, tmp_path):
    from cryptography.hazmat.primitives import serialization

    key = asymmetric.generate("ecdsa-p256")
    path = tmp_path / "clear.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    warned = []
    modelward.seal(
        model, tmp_path / "a.sealed", modelward.SealOptions(keys=(str(path),)), Talk(warn=warned.append)
    )
    assert any("in clear" in sentence for sentence in warned)


def test_what_was_sealed_is_used_in_memory(model, sealed, keys, tmp_path, talk):
    before = sorted(tmp_path.rglob("*"))
    with modelward.open_sealed(sealed, opening(keys), talk) as found:
        assert set(found.names()) == {"sub/README.md", "weights.npy"}
        assert np.array_equal(found.numpy("weights.npy"), np.load(model / "weights.npy"))
        assert found.read("sub/README.md") == b"read me\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_is_no_way_around_a_policy(sealed, keys, tmp_path, talk):
    policy = write_policy(tmp_path, "[attestations]\nrequired = ['evidence']\n")
    with pytest.raises(PolicyRefused, match="evidence"):
        modelward.open_sealed(sealed, opening(keys, policy=policy), talk)
    with pytest.raises(ConfigInvalid, match="no key is trusted"):
        modelward.open_sealed(sealed, modelward.OpenOptions(), talk)
    with pytest.raises(RecipientWrong):
        modelward.open_sealed(sealed, opening(keys, "stranger"), talk)


@pytest.fixture
def ring(keys, tmp_path, write_key, talk, monkeypatch):
    """A keyring of one owner that knows `release` as a sealer and `audit` as an attester; and how to change it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    private, public = write_key(tmp_path, "owner")
    owner = Owner(keys=(str(private),), passphrase=talk.passphrase)
    path = tmp_path / "ring.json"
    ring_new(path, NewRing(owners=(public,)), owner)
    ring_add(path, NewKey(public=keys["release"][1], name="release"), owner)
    ring_add(path, NewKey(public=keys["audit"][1], name="audit", purposes=("scan",)), owner)
    return path, public, owner


def by_ring(ring, **changes):
    return modelward.TrustOptions(keyring=ring[0], owners=(ring[1],), **changes)


def test_a_keyring_says_who_may_sign(sealed, ring, tmp_path):
    found = modelward.verify(sealed, modelward.VerifyOptions(trust=by_ring(ring)))
    assert found.verified
    assert [signer.name for signer in found.signers] == ["release"]


def test_a_keyring_needs_its_owners(sealed, ring):
    alone = modelward.TrustOptions(keyring=ring[0])
    with pytest.raises(ConfigInvalid, match="owners"):
        modelward.verify(sealed, modelward.VerifyOptions(trust=alone))


@pytest.mark.parametrize("what", ["key", "root"])
def test_what_is_revoked_is_refused_by_every_verb(sealed, ring, keys, what, talk):
    root = modelward.verify(sealed, modelward.VerifyOptions(trust=by_ring(ring))).root
    ring_revoke(ring[0], "release" if what == "key" else root, "stolen", ring[2])
    found = modelward.verify(sealed, modelward.VerifyOptions(trust=by_ring(ring)))
    assert found.refusal == "Revoked"
    asked = modelward.OpenOptions(identities=(str(keys["reader"][0]),), trust=by_ring(ring))
    with pytest.raises(Revoked):
        modelward.unseal(sealed, sealed.parent / "opened", asked, talk)
    with pytest.raises(Revoked):
        modelward.open_sealed(sealed, asked, talk)


def test_a_model_revoked_by_its_content_stays_so_in_a_new_seal(model, ring, keys, tmp_path, talk):
    recipients = (str(keys["reader"][1]),)
    info = modelward.seal(model, tmp_path / "one.sealed", options(keys, recipients=recipients), talk)
    ring_revoke(ring[0], info.content.root, "poisoned", ring[2])
    modelward.seal(model, tmp_path / "two.sealed", options(keys, recipients=recipients), talk)
    asked = modelward.OpenOptions(identities=(str(keys["reader"][0]),), trust=by_ring(ring))
    with pytest.raises(Revoked):
        modelward.open_sealed(tmp_path / "two.sealed", asked, talk)


def test_what_a_revoked_key_attests_does_not_count(sealed, ring, keys, tmp_path, talk):
    """The seal is by `release`, its scan by `audit`, which is revoked afterwards."""
    root = verified(sealed, keys).root
    signer = open_signer(str(keys["audit"][0]), talk.passphrase)
    scan = scan_verdict(tmp_path / "model")
    (sealed / "attestations" / "scan.json").write_bytes(attest(scan, root, "model", [signer]))
    policy = write_policy(tmp_path, "[scan]\nverdict = 'inert'\n")
    asked = modelward.VerifyOptions(trust=by_ring(ring), policy=policy)
    assert modelward.verify(sealed, asked).verified
    ring_revoke(ring[0], "audit", "stolen", ring[2])
    found = modelward.verify(sealed, asked)
    assert not found.verified
    assert "scan.json" in found.reasons[0].requirement


def test_an_older_keyring_is_refused(sealed, ring, tmp_path):
    older = ring[0].read_bytes()
    ring_revoke(ring[0], "audit", "lost", ring[2])
    asked = modelward.VerifyOptions(trust=by_ring(ring))
    assert modelward.verify(sealed, asked).verified
    ring[0].write_bytes(older)
    assert modelward.verify(sealed, asked).refusal == "RolledBack"


def test_a_key_outside_its_time_is_refused(sealed, ring):
    early = by_ring(ring, moment=datetime(2020, 1, 1, tzinfo=UTC))
    assert modelward.verify(sealed, modelward.VerifyOptions(trust=early)).refusal == "KeyExpired"


def test_outcomes_are_recorded_where_they_can_be_proven(sealed, keys, tmp_path, talk):
    store = tmp_path / "served"
    verified(sealed, keys, record=store)
    verified(sealed, keys, "other", record=store)
    modelward.unseal(sealed, tmp_path / "opened", opening(keys, record=store), talk)
    ledger = Ledger.open_read_only(store)
    try:
        records = list(ledger.records())
    finally:
        ledger.close()
    assert [record["kind"] for record in records] == ["verification"] * 3
    assert [record["result"]["verified"] for record in records] == [True, False, True]
    assert records[0]["result"]["root"] == records[2]["result"]["root"]


def test_what_cannot_be_recorded_is_not_opened(sealed, keys, tmp_path, talk):
    (tmp_path / "served").write_text("in the way", encoding="utf-8")
    with pytest.raises(LedgerUnwritable):
        modelward.unseal(sealed, tmp_path / "opened", opening(keys, record=tmp_path / "served"), talk)
    assert not (tmp_path / "opened").exists()


def test_evidence_of_other_files_is_refused_after_decryption(model, keys, tmp_path, talk):
    """Whoever attests may be another than who seals: the digests are compared with what comes out."""
    target = tmp_path / "a.sealed"
    modelward.seal(model, target, options(keys, recipients=(str(keys["reader"][1]),), scan=False), talk)
    root = verified(target, keys).root
    other = tmp_path / "elsewhere"
    (other / "sub").mkdir(parents=True)
    (other / "weights.npy").write_bytes(b"other")
    (other / "sub" / "README.md").write_text("read me\n", encoding="utf-8")
    signer = open_signer(str(keys["release"][0]), talk.passphrase)
    (target / "attestations").mkdir()
    (target / "attestations" / "scan.json").write_bytes(attest(scan_verdict(other), root, "a", [signer]))
    assert verified(target, keys).verified
    with pytest.raises(PolicyRefused, match=r"weights\.npy"):
        modelward.unseal(target, tmp_path / "opened", opening(keys), talk)
    assert not (tmp_path / "opened").exists()


def test_steps_are_written_for_in_toto(model, keys, tmp_path, talk):
    steps = tmp_path / "steps"
    modelward.seal(model, tmp_path / "a.sealed", options(keys, in_toto=steps), talk)
    names = {path.name for path in steps.iterdir()}
    assert any(name.endswith(".layout") for name in names)
    assert any(name.endswith(".link") for name in names)
