"""Add to a seal that is there: second signatures, an auditor's attestations, other recipients."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import modelward
from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    ContentUnstable,
    FileMissing,
    KeyUnusable,
    RecipientWrong,
    SealDamaged,
    SignerMissing,
)
from modelward.vault.attest.attestation import MOST
from modelward.verbs.gathering import gather
from modelward.verbs.talk import Talk


@pytest.fixture(scope="session")
def keys(tmp_path_factory, write_key, write_identity):
    folder = tmp_path_factory.mktemp("amending")
    made = {name: write_key(folder, name) for name in ("release", "second", "auditor")}
    return made | {name: write_identity(folder, name, "mlkem768-x25519") for name in ("reader", "newcomer")}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    np.save(folder / "weights.npy", np.arange(1000))
    return folder


@pytest.fixture
def sealed(model, keys, tmp_path, talk):
    """Encrypted for `reader`, signed by `release`, nothing attested."""
    options = modelward.SealOptions(
        keys=(str(keys["release"][0]),), recipients=(str(keys["reader"][1]),), scan=False
    )
    modelward.seal(model, tmp_path / "model.sealed", options, talk)
    return tmp_path / "model.sealed"


def stored(folder):
    return {path: path.read_bytes() for path in (folder / "data").iterdir()}


def trust(keys, *names, **changes):
    return modelward.TrustOptions(public_keys=tuple(str(keys[name][1]) for name in names), **changes)


def outcome(sealed, keys, *names, threshold=1, **changes):
    asked = modelward.VerifyOptions(trust=trust(keys, *names, threshold=threshold), **changes)
    return modelward.verify(sealed, asked)


def opens(sealed, keys, name, talk):
    asked = modelward.OpenOptions(identities=(str(keys[name][0]),), trust=trust(keys, "release"))
    with modelward.open_sealed(sealed, asked, talk) as found:
        return found.numpy("weights.npy").tolist() == list(range(1000))


def test_a_second_signature_meets_a_threshold_of_two(sealed, keys, talk):
    assert outcome(sealed, keys, "release", "second", threshold=2).refusal == "SignerMissing"
    before = stored(sealed)
    options = modelward.AmendOptions(keys=(str(keys["second"][0]),), trust=trust(keys, "release"))
    root = modelward.amend(sealed, options, talk)
    found = outcome(sealed, keys, "release", "second", threshold=2)
    assert found.verified
    assert found.root == root
    assert stored(sealed) == before


def test_nobody_signs_after_a_stranger(sealed, keys, talk):
    options = modelward.AmendOptions(keys=(str(keys["second"][0]),), trust=trust(keys, "auditor"))
    with pytest.raises(SignerMissing):
        modelward.amend(sealed, options, talk)
    assert outcome(sealed, keys, "release", "second", threshold=2).refusal == "SignerMissing"


def test_who_asks_for_no_earlier_signature_is_warned(sealed, keys, talk):
    warned = []
    asking = Talk(passphrase=talk.passphrase, warn=warned.append)
    modelward.amend(sealed, modelward.AmendOptions(keys=(str(keys["second"][0]),)), asking)
    assert any("who sealed it is not known" in sentence for sentence in warned)


def test_an_altered_seal_is_not_signed(sealed, keys, talk):
    path = next((sealed / "data").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    before = sorted((sealed / "signatures").iterdir())
    with pytest.raises(ContentChanged):
        modelward.amend(sealed, modelward.AmendOptions(keys=(str(keys["second"][0]),)), talk)
    assert sorted((sealed / "signatures").iterdir()) == before


def test_recipients_come_and_go_and_the_data_stays(sealed, keys, talk):
    before = stored(sealed)
    with pytest.raises(RecipientWrong):
        opens(sealed, keys, "newcomer", talk)
    identity = (str(keys["reader"][0]),)
    add = modelward.AmendOptions(identities=identity, recipients=(str(keys["newcomer"][1]),))
    modelward.amend(sealed, add, talk)
    assert opens(sealed, keys, "newcomer", talk)
    assert opens(sealed, keys, "reader", talk)
    first = generate_id(keys["reader"][1])
    modelward.amend(sealed, modelward.AmendOptions(identities=identity, remove=(first[:12],)), talk)
    assert opens(sealed, keys, "newcomer", talk)
    with pytest.raises(RecipientWrong):
        opens(sealed, keys, "reader", talk)
    assert stored(sealed) == before
    assert outcome(sealed, keys, "release").verified


def generate_id(public):
    from modelward.vault.hazmat import kem

    return kem.key_id(kem.load_public(public.read_bytes()))


def at_once(work, talk):
    """Someone to talk to who, when warned of something, has the work begun by another thread."""
    other = threading.Thread(target=work)

    def warned(_sentence):
        other.start()
        other.join(0.5)  # long enough, where it does not wait

    return other, Talk(passphrase=talk.passphrase, warn=warned)


def test_two_who_add_recipients_at_once_both_do(sealed, keys, tmp_path, talk, write_identity):
    third = write_identity(tmp_path, "third", "x25519")
    identity = (str(keys["reader"][0]),)
    first, second = (
        modelward.AmendOptions(identities=identity, recipients=(str(public),))
        for public in (keys["newcomer"][1], third[1])
    )
    other, meanwhile = at_once(lambda: modelward.amend(sealed, second, talk), talk)
    modelward.amend(sealed, first, meanwhile)
    other.join()
    assert all(
        opens(sealed, {**keys, "third": third}, name, talk) for name in ("reader", "newcomer", "third")
    )


def test_a_seal_that_is_replaced_meanwhile_is_replaced_whole(sealed, model, keys, talk):
    new = modelward.SealOptions(
        keys=(str(keys["release"][0]),), recipients=(str(keys["reader"][1]),), scan=False, replace=True
    )
    other, meanwhile = at_once(lambda: modelward.seal(model, sealed, new, talk), talk)
    options = modelward.AmendOptions(
        identities=(str(keys["reader"][0]),), recipients=(str(keys["newcomer"][1]),)
    )
    modelward.amend(sealed, options, meanwhile)
    other.join()
    assert opens(sealed, keys, "reader", talk)
    with pytest.raises(RecipientWrong):
        opens(sealed, keys, "newcomer", talk)


@pytest.mark.parametrize("name", ["nothing", "model/weights.npy"])
def test_what_is_no_folder_is_not_amended(model, keys, talk, name):
    with pytest.raises(FileMissing, match="no such folder"):
        modelward.amend(model.parent / name, modelward.AmendOptions(keys=(str(keys["release"][0]),)), talk)


def test_only_a_recipient_changes_recipients(sealed, keys, talk):
    options = modelward.AmendOptions(
        identities=(str(keys["newcomer"][0]),), recipients=(str(keys["newcomer"][1]),)
    )
    header = (sealed / "seal.json").read_bytes()
    with pytest.raises(RecipientWrong):
        modelward.amend(sealed, options, talk)
    assert (sealed / "seal.json").read_bytes() == header


def test_the_last_recipient_stays(sealed, keys, talk):
    options = modelward.AmendOptions(
        identities=(str(keys["reader"][0]),), remove=(generate_id(keys["reader"][1]),)
    )
    with pytest.raises(KeyUnusable, match="there would be 0 recipients"):
        modelward.amend(sealed, options, talk)
    assert opens(sealed, keys, "reader", talk)


@pytest.mark.parametrize("wanted", ["0" * 64, "ab", ""])
def test_a_recipient_to_remove_must_be_one(sealed, keys, talk, wanted):
    options = modelward.AmendOptions(identities=(str(keys["reader"][0]),), remove=(wanted,))
    with pytest.raises(ConfigInvalid, match="not one recipient"):
        modelward.amend(sealed, options, talk)


def attesting(keys, source, **changes):
    return modelward.AmendOptions(
        keys=(str(keys["auditor"][0]),),
        sign=False,
        attesting=modelward.Attesting(scan=True),
        source=source,
        identities=(str(keys["reader"][0]),),
        trust=trust(keys, "release"),
        **changes,
    )


def test_an_auditor_attests_with_a_key_of_his_own(sealed, model, keys, tmp_path, talk):
    modelward.amend(sealed, attesting(keys, model), talk)
    policy = tmp_path / "policy.toml"
    policy.write_text("[scan]\nverdict = 'inert'\n", encoding="utf-8")
    found = outcome(sealed, keys, "release", "auditor", policy=policy)
    assert found.verified
    assert [signer.name for signer in found.signers] == ["release.pub"]
    assert found.attestations == ("scan",)


def test_a_second_attestation_does_not_take_the_place_of_the_first(sealed, model, keys, talk):
    modelward.amend(sealed, attesting(keys, model), talk)
    modelward.amend(sealed, attesting(keys, model), talk)
    assert len(list((sealed / "attestations").iterdir())) == 2


def test_nobody_attests_of_other_files(sealed, keys, tmp_path, talk):
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "weights.npy", np.arange(1001))
    with pytest.raises(ContentChanged, match="not what was sealed"):
        modelward.amend(sealed, attesting(keys, other), talk)
    assert not (sealed / "attestations").exists()


def test_an_encrypted_seal_needs_its_files_and_an_identity(sealed, model, keys, talk):
    for changes in ({"source": None}, {"source": model, "identities": ()}):
        options = modelward.AmendOptions(
            keys=(str(keys["auditor"][0]),),
            attesting=modelward.Attesting(scan=True),
            **{"identities": (str(keys["reader"][0]),), **changes},
        )
        with pytest.raises(ConfigInvalid, match="compared with what is in it"):
            modelward.amend(sealed, options, talk)


def test_a_source_that_changes_while_it_is_attested(sealed, model, keys, talk, monkeypatch):
    def gathered(*words, **more):
        found = gather(*words, **more)
        np.save(model / "weights.npy", np.arange(7))
        return found

    monkeypatch.setattr("modelward.verbs.amend.gather", gathered)
    options = modelward.AmendOptions(
        keys=(str(keys["auditor"][0]),),
        sign=False,
        attesting=modelward.Attesting(scan=True),
        source=model,
        identities=(str(keys["reader"][0]),),
    )
    with pytest.raises(ContentUnstable, match=r"weights\.npy"):
        modelward.amend(sealed, options, talk)
    assert not (sealed / "attestations").exists()


def test_of_a_seal_in_clear_its_own_files_are_attested(model, keys, tmp_path, talk):
    target = tmp_path / "clear.sealed"
    modelward.seal(model, target, modelward.SealOptions(keys=(str(keys["release"][0]),), scan=False), talk)
    options = modelward.AmendOptions(
        keys=(str(keys["auditor"][0]),), sign=False, attesting=modelward.Attesting(scan=True)
    )
    modelward.amend(target, options, talk)
    assert outcome(target, keys, "release", "auditor").attestations == ("scan",)


def test_nothing_to_do_and_nobody_to_sign_are_refused(sealed, model, keys, talk):
    with pytest.raises(ConfigInvalid, match="nothing is to be added"):
        modelward.amend(sealed, modelward.AmendOptions(), talk)
    options = modelward.AmendOptions(
        attesting=modelward.Attesting(scan=True),
        source=model,
        identities=(str(keys["reader"][0]),),
        recipients=(str(keys["newcomer"][1]),),
    )
    header = (sealed / "seal.json").read_bytes()
    with pytest.raises(ConfigInvalid, match="nobody signs"):
        modelward.amend(sealed, options, talk)
    assert (sealed / "seal.json").read_bytes() == header


def test_no_more_is_attested_than_a_verifier_reads(sealed, model, keys, talk):
    """One more would turn a seal that is admitted into one that is refused."""
    modelward.amend(sealed, attesting(keys, model), talk)
    first = next((sealed / "attestations").iterdir())
    for number in range(MOST - 1):
        (sealed / "attestations" / f"copy-{number}.json").write_bytes(first.read_bytes())
    asked = {"trust": trust(keys, "release", "auditor")}
    assert modelward.verify(sealed, modelward.VerifyOptions(**asked)).verified
    with pytest.raises(SealDamaged, match="holds 64 attestations"):
        modelward.amend(sealed, attesting(keys, model), talk)
    assert modelward.verify(sealed, modelward.VerifyOptions(**asked)).verified
    assert len(list((sealed / "attestations").iterdir())) == MOST


def test_more_audits_than_a_verifier_reads_are_not_sealed(model, keys, tmp_path, talk, monkeypatch):
    monkeypatch.setattr("modelward.verbs.attest.audit_evidence", lambda *_, **__: [object()] * (MOST + 1))
    options = modelward.SealOptions(keys=(str(keys["release"][0]),), scan=False, evidence=tmp_path)
    with pytest.raises(ConfigInvalid, match="65 attestations would be made"):
        modelward.seal(model, tmp_path / "many.sealed", options, talk)
    assert not (tmp_path / "many.sealed").exists()
