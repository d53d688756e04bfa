"""What owners may change in a keyring, and what they may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelward.errors import ConfigInvalid, KeyUnusable
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys import editing
from modelward.vault.keys.keyring import Threshold, parse
from modelward.vault.keys.signer import LocalSigner

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1, microseconds=3)
DAY = timedelta(days=1)
ROOT = "blake3:" + "0f" * 32


def test_the_first_version(signer_of):
    owners = [signer_of(name).public for name in "aba"]
    one = editing.begin(owners, 2, NOON.replace(microsecond=7), None)
    assert (one.version, one.issued, one.threshold, one.keys) == (1, NOON, 2, ())
    assert [owner.key_id for owner in one.owner_verifiers()] == [owners[0].key_id, owners[1].key_id]
    assert parse(one.encode()) == one
    assert editing.begin(owners, 2, NOON, None).ring != one.ring


def test_every_change_is_a_new_valid_version(ring, entry, signer_of):
    one = ring()
    for changed in (
        editing.with_key(one, entry("carl"), LATER),
        editing.with_revoked(one, "anna", NOON, "r", LATER),
        editing.with_revoked(one, ROOT, NOON, "r", LATER),
        editing.with_successor(one, "anna", entry("x", signer_of("next")), DAY, LATER),
        editing.with_policy(one, Threshold(purpose="seal", threshold=1, names=("ben",), ml_dsa=False), LATER),
        editing.with_owners(one, [signer_of("d").public], 1, LATER),
        editing.with_expiry(one, NOON + DAY, LATER),
    ):
        assert parse(changed.encode()) == changed
        assert (changed.version, changed.ring) == (2, one.ring)
        assert changed.issued == NOON + timedelta(hours=1)


def test_a_clock_put_back_does_not_put_back_the_issue(ring):
    assert editing.with_expiry(ring(), None, NOON - DAY).issued == NOON


def test_a_key_enters_once(ring, entry):
    with pytest.raises(KeyUnusable, match="already"):
        editing.with_key(ring(), entry("anna"), LATER)
    gone = editing.with_revoked(ring(), "anna", NOON, "r", LATER)
    with pytest.raises(KeyUnusable, match="was revoked; make a new one"):
        editing.with_key(gone, entry("anna"), LATER)


@pytest.mark.parametrize("length", [8, 20, 64])
def test_a_key_is_revoked_by_its_id(ring, signer_of, length):
    key_id = signer_of("anna").public.key_id
    gone = editing.with_revoked(ring(), key_id[:length], NOON - DAY, "stolen", LATER)
    assert [(k.id, k.since, k.reason) for k in gone.revoked_keys] == [(key_id, NOON - DAY, "stolen")]
    with pytest.raises(KeyUnusable, match="revoked before"):
        editing.with_revoked(gone, "anna", NOON, "again", LATER)


def test_a_key_that_is_nowhere_can_be_revoked_by_its_whole_id(ring):
    gone = editing.with_revoked(ring(), "0" * 64, NOON, "stolen", LATER)
    assert gone.revoked_keys[0].id == "0" * 64
    with pytest.raises(KeyUnusable, match="no keys"):
        editing.with_revoked(ring(), "0" * 63, NOON, "stolen", LATER)


def test_a_root_is_revoked_once(ring):
    gone = editing.with_revoked(ring(), ROOT, NOON, "poisoned", LATER)
    assert gone.revoked_roots[0].root == ROOT
    with pytest.raises(KeyUnusable, match="revoked before"):
        editing.with_revoked(gone, ROOT, NOON, "poisoned", LATER)


@pytest.mark.parametrize(
    "what", ["carl", "", "abc", "sha256:00", "SHA256:" + "0" * 64, "md5:" + "0" * 64, "Anna"]
)
def test_what_is_no_key_and_no_root(ring, what):
    with pytest.raises(KeyUnusable, match="no keys of the keyring"):
        editing.with_revoked(ring(), what, NOON, "r", LATER)


def test_a_name_of_several_keys_names_none(ring, entry, signer_of):
    one = ring(keys=(entry("anna"), entry("anna", signer_of("next"))))
    with pytest.raises(KeyUnusable, match=r"2 keys of the keyring are called 'anna': [0-9a-f]{16}, "):
        editing.with_revoked(one, "anna", NOON, "r", LATER)


def test_a_successor_takes_name_and_purposes(ring, entry, signer_of):
    one = ring(keys=(entry("anna", purposes=("seal", "attest")), entry("ben")))
    new = entry("whatever", signer_of("next"), valid_from=NOON + DAY, valid_until=NOON + 400 * DAY)
    two = editing.with_successor(one, "anna", new, 30 * DAY, LATER)
    old, ben, came = two.keys
    assert ben == one.keys[1]
    assert (came.name, came.purposes, came.id) == ("anna", ("seal", "attest"), new.id)
    assert (came.valid_from, came.valid_until) == (NOON + DAY, NOON + 400 * DAY)
    assert old.valid_until == NOON + timedelta(hours=1) + 30 * DAY
    assert old.id == one.keys[0].id


def test_an_old_key_gains_no_time(ring, entry, signer_of):
    one = ring(keys=(entry("anna", valid_until=NOON + DAY),))
    two = editing.with_successor(one, "anna", entry("x", signer_of("next")), 30 * DAY, LATER)
    assert two.keys[0].valid_until == NOON + DAY


def test_no_overlap_ends_it_at_once(ring, entry, signer_of):
    two = editing.with_successor(ring(), "anna", entry("x", signer_of("next")), timedelta(), LATER)
    assert two.keys[0].valid_until == NOON + timedelta(hours=1)
    one = ring(keys=(entry("anna", valid_from=NOON + DAY),))
    with pytest.raises(KeyUnusable, match="not valid yet"):
        editing.with_successor(one, "anna", entry("x", signer_of("next")), timedelta(), LATER)


def test_a_successor_is_a_new_key(ring, entry):
    with pytest.raises(KeyUnusable, match="already"):
        editing.with_successor(ring(), "anna", entry("ben"), DAY, LATER)
    with pytest.raises(KeyUnusable, match="no keys"):
        editing.with_successor(ring(), "carl", entry("next"), DAY, LATER)


def policy(threshold=1, names=("anna",), ml_dsa=False, purpose="seal"):
    return Threshold(purpose=purpose, threshold=threshold, names=names, ml_dsa=ml_dsa)


def test_a_policy_replaces_that_of_its_purpose(ring, entry):
    one = ring(keys=(entry("anna"), entry("ci", purposes=("attest",))))
    two = editing.with_policy(one, policy(), LATER)
    three = editing.with_policy(two, policy(names=("ci",), purpose="attest"), LATER)
    assert editing.with_policy(three, policy(), LATER).policies == (three.policies[1], policy())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (policy(names=("anna", "carl")), "carl: no key"),
        (policy(purpose="attest"), "anna: no key"),
        (policy(threshold=2), "2 of 1"),
        (policy(threshold=2, names=("anna", "anna")), "2 of 1"),
        (policy(ml_dsa=True), "none of these names"),
    ],
)
def test_a_policy_that_nobody_could_satisfy(ring, wanted, said):
    with pytest.raises(ConfigInvalid, match=said):
        editing.with_policy(ring(), wanted, LATER)


def test_ml_dsa_can_be_demanded_of_who_has_it(ring, entry):
    lattice = LocalSigner(asymmetric.generate("ml-dsa-65"))
    one = ring(keys=(entry("anna"), entry("ben", lattice)))
    assert editing.with_policy(one, policy(names=("anna", "ben"), ml_dsa=True), LATER).policies[0].ml_dsa
