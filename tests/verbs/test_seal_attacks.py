"""Seals as thieves of one key, storage, publishers and auditors who mean harm would have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

import modelward
from modelward.errors import ConfigInvalid, FileMissing, KeyExpired, PolicyRefused, Revoked, SignerMissing
from modelward.vault.attest.attestation import attest
from modelward.vault.container.recipients import generate_identity
from modelward.vault.keys.opening import open_signer
from modelward.vault.keys.signer import Verifier
from modelward.vault.signing.checking import check_files
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tables.signed import read_signed
from modelward.verbs.attest import scan_verdict
from modelward.verbs.keys import NewKey, NewRing, Owner, ring_add, ring_new, ring_revoke
from modelward.verbs.sign import SignOptions, sign

NOW = datetime.now(UTC).replace(microsecond=0)
PAST = {"valid_from": NOW - timedelta(days=9), "valid_until": NOW - timedelta(days=1)}
SCANNER = {"purposes": ("scan",)}


@pytest.fixture(scope="session")
def keys(tmp_path_factory, write_key):
    """Pairs of signing keys: name to (private, public) paths."""
    folder = tmp_path_factory.mktemp("keys")
    kinds = {"owner": "ed25519", "release": "ed25519", "audit": "ecdsa-p256", "later": "ml-dsa-65"}
    return {name: write_key(folder, name, kind) for name, kind in kinds.items()}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    np.save(folder / "weights.npy", np.arange(3000, dtype=np.float32))
    (folder / "sub" / "README.md").write_text("read me\n", encoding="utf-8")
    return folder


@pytest.fixture
def ring(tmp_path, keys, talk):
    """Writes a keyring: name of each key to what is said of it beside its name."""

    def ring(entries):
        path, owner = tmp_path / "ring.json", owned(keys, talk)
        ring_new(path, NewRing(owners=(keys["owner"][1],)), owner)
        for name, said in entries.items():
            ring_add(path, NewKey(public=keys[name][1], name=name, **said), owner)
        return path

    return ring


def owned(keys, talk):
    return Owner(keys=(str(keys["owner"][0]),), passphrase=talk.passphrase)


def seal(model, target, keys, talk, *names):
    chosen = modelward.SealOptions(keys=tuple(str(keys[name][0]) for name in names))
    return modelward.seal(model, target, chosen, talk)


def by_ring(path, keys, *, policy=None, **demands):
    trust = modelward.TrustOptions(keyring=path, owners=(keys["owner"][1],), **demands)
    return modelward.VerifyOptions(trust=trust, policy=policy)


@pytest.mark.parametrize(
    ("second", "said", "demand"),
    [
        ("audit", PAST, {"threshold": 2}),
        ("audit", SCANNER, {"threshold": 2}),
        ("later", PAST, {"post_quantum": True}),
        ("later", SCANNER, {"post_quantum": True}),
    ],
)
def test_keys_that_may_not_seal_meet_no_demand(*, model, keys, ring, tmp_path, talk, second, said, demand):
    """A key that expired, or that may only attest scans, was counted by --threshold and --post-quantum."""
    seal(model, tmp_path / "sealed", keys, talk, "release", second)
    path = ring({"release": {}, second: said})
    assert modelward.verify(tmp_path / "sealed", by_ring(path, keys)).verified
    found = modelward.verify(tmp_path / "sealed", by_ring(path, keys, **demand))
    assert (found.verified, found.refusal) == (False, SignerMissing.__name__)


def test_a_key_within_its_time_that_may_seal_counts(model, keys, ring, tmp_path, talk):
    seal(model, tmp_path / "sealed", keys, talk, "release", "audit", "later")
    path = ring({"release": {}, "audit": {"valid_until": NOW + timedelta(days=1)}, "later": {}})
    found = modelward.verify(tmp_path / "sealed", by_ring(path, keys, threshold=3, post_quantum=True))
    assert found.verified
    assert sorted(signer.name for signer in found.signers) == ["audit", "later", "release"]


@pytest.mark.parametrize("said", [PAST, SCANNER])
def test_keys_that_may_not_seal_are_none_of_a_policy_s_signers(*, model, keys, ring, tmp_path, talk, said):
    seal(model, tmp_path / "sealed", keys, talk, "release", "audit")
    policy = tmp_path / "policy.toml"
    names = ", ".join(f'"{keys[name][1]}"' for name in ("release", "audit"))
    policy.write_text(f"[signers]\nkeys = [{names}]\nthreshold = 2\n", encoding="utf-8")
    path = ring({"release": {}, "audit": said})
    found = modelward.verify(tmp_path / "sealed", by_ring(path, keys, policy=policy))
    assert not found.verified
    assert any(r.requirement == "signed by 2 of 2 keys" and r.status == "refuted" for r in found.reasons)
    assert [signer.name for signer in found.signers] == ["release"]


def test_an_expired_key_alone_is_said_to_have_expired(model, keys, ring, tmp_path, talk):
    seal(model, tmp_path / "sealed", keys, talk, "release")
    found = modelward.verify(tmp_path / "sealed", by_ring(ring({"release": PAST}), keys))
    assert (found.verified, found.refusal) == (False, KeyExpired.__name__)


def test_what_lies_in_clear_is_refused_by_its_own_root_too(model, keys, ring, tmp_path, talk):
    """A revoked model was verified, though not opened, when somebody sealed it again without recipients."""
    info = seal(model, tmp_path / "sealed", keys, talk, "release")
    path = ring({"release": {}})
    assert modelward.verify(tmp_path / "sealed", by_ring(path, keys)).verified
    ring_revoke(path, info.content.root, "poisoned rows", owned(keys, talk))
    found = modelward.verify(tmp_path / "sealed", by_ring(path, keys))
    assert (found.verified, found.refusal) == (False, "Revoked")


def test_a_partial_copy_is_held_to_what_is_attested(model, keys, tmp_path, talk):
    """To remove one file turned off the comparison of all others with what was scanned."""
    signature, beside, other = tmp_path / "model.sig", tmp_path / "attestations", tmp_path / "other"
    sign(model, (str(keys["release"][0]),), signature, SignOptions(statement="tree"), talk)
    said = verify_bundle(signature.read_bytes(), [Verifier(keys["release"][1].read_bytes())]).statement
    signer, root = open_signer(str(keys["release"][0]), talk.passphrase), check_files(said, model).root
    other.mkdir()
    (other / "weights.npy").write_bytes(b"another")
    beside.mkdir()
    options = modelward.VerifyOptions(
        trust=modelward.TrustOptions(public_keys=(keys["release"][1],)),
        signature=signature,
        attestations=beside,
        partial=True,
    )
    (beside / "scan.json").write_bytes(attest(scan_verdict(model), root, "model", [signer]))
    (model / "sub" / "README.md").unlink()
    found = modelward.verify(model, options)
    assert found.verified
    assert found.missing == ("sub/README.md",)
    (beside / "scan.json").write_bytes(attest(scan_verdict(other), root, "model", [signer]))
    found = modelward.verify(model, options)
    assert not found.verified
    assert "weights.npy is another file" in found.reasons[0].detail


def test_a_revoked_signature_is_none_to_add_to(model, keys, ring, tmp_path, talk):
    seal(model, tmp_path / "sealed", keys, talk, "audit")
    path = ring({"audit": {}, "release": {}})
    trust = modelward.TrustOptions(keyring=path, owners=(keys["owner"][1],))
    options = modelward.AmendOptions(keys=(str(keys["release"][0]),), trust=trust)
    ring_revoke(path, "audit", "stolen", owned(keys, talk))
    with pytest.raises(Revoked):
        modelward.amend(tmp_path / "sealed", options, talk)
    assert len(list((tmp_path / "sealed" / "signatures").iterdir())) == 1


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001  (that is the fault)
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
    ],
    ids=["without a zone", "before all time", "after all time"],
)
def test_a_moment_that_is_none_is_a_slip_of_the_user(model, keys, tmp_path, talk, moment):
    seal(model, tmp_path / "sealed", keys, talk, "release")
    trust = modelward.TrustOptions(public_keys=(keys["release"][1],), moment=moment)
    with pytest.raises(ConfigInvalid, match="the moment"):
        modelward.verify(tmp_path / "sealed", modelward.VerifyOptions(trust=trust))


@pytest.fixture
def encrypted(model, keys, tmp_path, talk):
    """A seal for one recipient with nothing attested; what somebody attests is put beside it."""
    reader = generate_identity("x25519", talk.passphrase())
    (tmp_path / "reader.pem").write_bytes(reader.private)
    (tmp_path / "reader.pem").chmod(0o600)
    (tmp_path / "reader.pub").write_bytes(reader.public)
    chosen = modelward.SealOptions(
        keys=(str(keys["release"][0]),), recipients=(str(tmp_path / "reader.pub"),), scan=False
    )
    info = modelward.seal(model, tmp_path / "sealed", chosen, talk)

    def attested(content):
        (tmp_path / "sealed" / "attestations").mkdir(exist_ok=True)
        signer = open_signer(str(keys["release"][0]), talk.passphrase)
        data = attest(content, info.stored.root, "model", [signer])
        (tmp_path / "sealed" / "attestations" / "scan.json").write_bytes(data)
        trust = modelward.TrustOptions(public_keys=(keys["release"][1],))
        return modelward.OpenOptions(identities=(str(tmp_path / "reader.pem"),), trust=trust)

    return attested


def test_a_scan_of_some_of_the_files_does_not_open_an_encrypted_seal(model, encrypted, tmp_path, talk):
    """In memory nothing compared what was scanned with what is in it."""
    whole = scan_verdict(model)
    sealed = tmp_path / "sealed"
    with modelward.open_sealed(sealed, encrypted(whole), talk) as opened:
        assert opened.root.startswith("blake3:")
    some = msgspec.structs.replace(whole, files=whole.files[:1])
    renamed = (msgspec.structs.replace(whole.files[0], path="other"), *whole.files[1:])
    for content, said in (
        (some, "weights.npy was not scanned"),
        (msgspec.structs.replace(whole, files=renamed), "other is not there"),
    ):
        with pytest.raises(PolicyRefused, match=said):
            modelward.open_sealed(sealed, encrypted(content), talk)
        with pytest.raises(PolicyRefused, match=said):
            modelward.unseal(sealed, tmp_path / "opened", encrypted(content), talk)
        assert not (tmp_path / "opened").exists()


def test_what_cannot_be_compared_after_opening_does_not_stay(
    *, model, encrypted, tmp_path, talk, monkeypatch
):
    def failing(*_, **__):
        raise FileMissing("a file cannot be read")

    monkeypatch.setattr("modelward.verbs.unseal.bound", failing)
    with pytest.raises(FileMissing):
        modelward.unseal(tmp_path / "sealed", tmp_path / "opened", encrypted(scan_verdict(model)), talk)
    assert not (tmp_path / "opened").exists()


def test_without_a_key_a_scan_of_fewer_files_than_are_encrypted_is_refused(model, encrypted, tmp_path):
    """Names and digests are not to be seen; their number is, and storage admits by it."""
    whole = scan_verdict(model)
    for content, verified in ((whole, True), (msgspec.structs.replace(whole, files=whole.files[:1]), False)):
        trust = encrypted(content).trust
        found = modelward.verify(tmp_path / "sealed", modelward.VerifyOptions(trust=trust))
        assert found.verified == verified
        reason = next(one for one in found.reasons if one.requirement == "scan is of as many files")
        assert reason.detail == f"{len(content.files)} were scanned, and 2 are sealed"


def test_a_scan_of_another_table_is_refused_where_rows_are_verified(keys, tmp_path, talk):
    table, other = tmp_path / "rows.csv", tmp_path / "other.csv"
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    other.write_text("a,b\n3,4\n", encoding="utf-8")
    signer = open_signer(str(keys["release"][0]), talk.passphrase)
    data = sign(table, [str(keys["release"][0])], tmp_path / "rows.sig", SignOptions(statement="rows"), talk)
    root = read_signed(data, [signer.public])[1].root
    (tmp_path / "beside").mkdir()
    trust = modelward.TrustOptions(public_keys=(keys["release"][1],))
    demanded = modelward.VerifyOptions(
        signature=tmp_path / "rows.sig", attestations=tmp_path / "beside", trust=trust
    )
    for scanned, verified in ((table, True), (other, False)):
        made = attest(scan_verdict(scanned), root, "rows", [signer])
        (tmp_path / "beside" / "scan.json").write_bytes(made)
        assert modelward.verify(table, demanded).verified == verified


def test_what_is_refused_is_not_true(model, keys, tmp_path, talk):
    """Any value is, unless it says otherwise: `if modelward.verify(...)` let everything pass."""
    seal(model, tmp_path / "sealed", keys, talk, "release")
    for name, held in (("release", True), ("audit", False)):
        trust = modelward.TrustOptions(public_keys=(keys[name][1],))
        assert bool(modelward.verify(tmp_path / "sealed", modelward.VerifyOptions(trust=trust))) == held
