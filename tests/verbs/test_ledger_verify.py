"""Heads that were kept, and what nothing shows: the same for a store and for a log that was published."""

import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.errors import ConfigInvalid, FileMissing, LedgerTampered, ProofInvalid
from modelward.ledger.store import Ledger
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import LOG, Trust, key_of
from modelward.verbs import ledger as verb
from modelward.verbs.ledger_verify import Against, origin_of, read_checkpoint, verify

NOW = 1_800_000_000
ORIGIN = "example.com/audits"
SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
TRUST = Trust(logs=(key_of(SIGNER.public, ORIGIN, LOG),))
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


def grow(store, *numbers):
    ledger = Ledger.open(store)
    head = ledger.append(*({"kind": "evidence", "n": number} for number in numbers))
    ledger.close()
    return head.root


@pytest.fixture
def heads(tmp_path):
    """A store of nine records and its log; the heads at seven, when the old checkpoint was kept, and at nine."""
    old = grow(tmp_path / "store", *range(7))
    verb.export(tmp_path / "store", tmp_path / "log", SIGNER, ORIGIN)
    shutil.copy(tmp_path / "log/checkpoint", tmp_path / "old")
    new = grow(tmp_path / "store", 7, 8)
    verb.export(tmp_path / "store", tmp_path / "log", SIGNER, ORIGIN)
    (tmp_path / "growth").write_bytes(verb.prove_since(tmp_path / "log", 7))
    return old, new


def not_shown(found):
    return [one.what for one in found.skipped]


@pytest.mark.parametrize("place", ["store", "log"])
def test_a_log_that_has_grown_begins_with_the_head_that_was_kept(tmp_path, heads, place):
    old, new = heads
    found = verify(tmp_path / place, Against(head=old), NOW)
    assert (found.since, found.size, found.records, found.root) == (7, 9, 9, new)
    assert not_shown(found) == ["the records since"]
    found = verify(tmp_path / place, Against(head=new), NOW)
    assert (found.since, found.size, not_shown(found)) == (None, 9, [])
    found = verify(tmp_path / place, Against(head=EMPTY), NOW)
    assert (found.since, not_shown(found)) == (0, ["the records since"])


def test_a_head_that_no_beginning_has(tmp_path, heads):
    with pytest.raises(LedgerTampered, match="no beginning"):
        verify(tmp_path / "store", Against(head="00" * 32), NOW)
    for trust in (None, TRUST):
        with pytest.raises(ProofInvalid, match="no beginning"):
            verify(tmp_path / "log", Against(trust=trust, head="00" * 32), NOW)


def test_signed_tiles_leave_nothing_to_an_older_head(tmp_path, heads):
    found = verify(tmp_path / "log", Against(trust=TRUST, head=heads[0]), NOW)
    assert (found.since, found.signer, found.skipped) == (7, ORIGIN, ())


def test_of_an_older_head_and_an_older_checkpoint_both_count(tmp_path, heads):
    since = (tmp_path / "old").read_bytes()
    for place in ("store", "log"):
        assert verify(tmp_path / place, Against(trust=TRUST, head=EMPTY, since=since), NOW).since == 7
    with pytest.raises(ProofInvalid, match="no beginning"):
        verify(tmp_path / "log", Against(trust=TRUST, head="00" * 32, since=since), NOW)


def test_hashes_alone_need_a_signature_for_an_older_head(tmp_path, heads):
    """They might be of inner nodes, so that nobody could say how many records the head names."""
    verb.export(tmp_path / "store", tmp_path / "hashes", SIGNER, ORIGIN, records=False)
    with pytest.raises(ConfigInvalid, match="hashes alone") as refused:
        verify(tmp_path / "hashes", Against(head=heads[0]), NOW)
    assert "--public-key" in refused.value.advice
    assert verify(tmp_path / "hashes", Against(trust=TRUST, head=heads[0]), NOW).since == 7


def test_a_proof_of_growth_from_a_head_that_was_kept(tmp_path, heads):
    old, new = heads
    found = verify(tmp_path / "growth", Against(trust=TRUST, head=old), NOW)
    assert (found.kind, found.since, found.size) == ("consistency", 7, 9)
    since = (tmp_path / "old").read_bytes()
    for head in heads:
        assert verify(tmp_path / "growth", Against(trust=TRUST, head=head, since=since), NOW).since == 7
    for head in ("00" * 32, EMPTY):
        with pytest.raises(ProofInvalid):
            verify(tmp_path / "growth", Against(trust=TRUST, head=head, since=since), NOW)
    with pytest.raises(ConfigInvalid, match="no key") as refused:
        verify(tmp_path / "growth", Against(head=old), NOW)
    assert "a head alone is too little" in refused.value.advice
    with pytest.raises(ConfigInvalid, match="an older checkpoint alone"):
        verify(tmp_path / "growth", Against(trust=TRUST, head=new), NOW)


def test_a_proof_from_the_empty_log_shows_nothing_of_another_head(tmp_path, heads):
    """It needs no hashes, so any head would do if nobody looked."""
    (tmp_path / "growth").write_bytes(verb.prove_since(tmp_path / "log", 0))
    assert verify(tmp_path / "growth", Against(trust=TRUST, head=EMPTY), NOW).since == 0
    for head in (heads[0], "00" * 32):
        with pytest.raises(ProofInvalid, match="another root than an empty tree"):
            verify(tmp_path / "growth", Against(trust=TRUST, head=head), NOW)


def test_a_file_without_its_log_says_what_an_older_head_needs(tmp_path, heads):
    (tmp_path / "record").write_bytes(verb.prove_record(tmp_path / "log", 1))
    for place in ("record", "log/checkpoint"):
        for trust in (None, TRUST):
            with pytest.raises(ProofInvalid, match="not the one given") as refused:
                verify(tmp_path / place, Against(trust=trust, head=heads[0]), NOW)
            assert "prove --since" in refused.value.advice


def test_a_store_that_nothing_anchors(tmp_path, heads):
    found = verify(tmp_path / "store", Against(), NOW)
    assert not_shown(found) == ["whether the store was rewritten"]
    assert "--head" in found.skipped[0].reason
    since = (tmp_path / "old").read_bytes()
    found = verify(tmp_path / "store", Against(trust=TRUST, since=since), NOW)
    assert not_shown(found) == ["the records since"]
    for against in (
        Against(trust=TRUST, since=(tmp_path / "log/checkpoint").read_bytes()),
        Against(trust=TRUST, since=since, head=heads[1]),
    ):
        assert verify(tmp_path / "store", against, NOW).skipped == ()


def test_a_store_that_was_written_anew_is_what_a_kept_head_is_for(tmp_path, heads):
    grow(tmp_path / "anew", *range(20, 29))
    assert not_shown(verify(tmp_path / "anew", Against(), NOW)) == ["whether the store was rewritten"]
    with pytest.raises(LedgerTampered, match="no beginning"):
        verify(tmp_path / "anew", Against(head=heads[0]), NOW)


def test_a_seal_is_verified_elsewhere(tmp_path):
    seal = tmp_path / "f.sealed"
    seal.mkdir()
    with pytest.raises(FileMissing, match="neither a store nor a log"):
        verify(seal, Against(trust=TRUST), NOW)
    (seal / "seal.json").write_text(json.dumps({"format": "modelward.seal/1"}))
    for look in (lambda: verify(seal, Against(trust=TRUST), NOW), lambda: origin_of(seal, None)):
        with pytest.raises(FileMissing, match="is a seal and no log") as refused:
            look()
        assert "`modelward verify " in refused.value.advice
    with pytest.raises(FileMissing):
        read_checkpoint(seal)


def test_the_checkpoint_is_durable_before_older_tiles_go(tmp_path, heads, monkeypatch):
    done = []
    monkeypatch.setattr(
        "modelward.ledger.export.sync_folder", lambda folder: done.append(("tiles", folder.name))
    )
    monkeypatch.setattr(verb, "sync_folder", lambda folder: done.append(("checkpoint", folder.name)))
    monkeypatch.setattr(verb, "remove_partial", lambda *_: done.append(("removed", "")))
    write = verb.write_file
    monkeypatch.setattr(verb, "write_file", lambda *words: done.append(("written", "")) or write(*words))
    grow(tmp_path / "store", *range(9, 300))
    verb.export(tmp_path / "store", tmp_path / "log", SIGNER, ORIGIN)
    kinds = [kind for kind, _ in done]
    assert kinds[-3:] == ["written", "checkpoint", "removed"]
    assert set(kinds[:-3]) == {"tiles"}
    assert ("tiles", "001.p") in done
