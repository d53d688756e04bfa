"""The one gate: revoked roots and keys, expired keys, too few signers; and every pair of these."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from modelward.errors import KeyExpired, Revoked, SealRefused, SignerMissing
from modelward.vault import bundle, dsse
from modelward.vault.keys.admission import admit_signers, counted_keys
from modelward.vault.keys.keyring import RevokedKey, RevokedRoot, Threshold
from modelward.vault.signing.verification import verify_bundle

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT, OTHER = "sha256:" + "ab" * 32, "blake3:" + "cd" * 32


@pytest.fixture
def ids(signer_of):
    """Names to ids of their keys."""
    return lambda *names: [signer_of(name).public.key_id for name in names]


@pytest.fixture
def revoked(ids):
    """The revocation of somebody's key."""
    return lambda name, since=NOON: RevokedKey(id=ids(name)[0], since=since, reason="stolen")


def test_who_may_sign_is_admitted(ring, ids):
    assert admit_signers(ids("anna"), ROOT, ring(), NOON) == ("anna",)
    assert admit_signers(ids("ben", "anna", "ben"), OTHER, ring(), NOON, "seal") == ("anna", "ben")
    assert admit_signers(ids("anna", "stranger"), "", ring(), NOON) == ("anna",)


def test_a_revoked_root_is_refused_whoever_signed(ring, ids):
    one = ring(revoked_roots=(RevokedRoot(root=ROOT, since=NOON + DAY, reason="r"),))
    with pytest.raises(Revoked, match="was revoked"):
        admit_signers(ids("anna", "ben"), ROOT, one, NOON)
    with pytest.raises(Revoked):  # even with a proof from before: the model itself is bad
        admit_signers(ids("anna"), ROOT, one, NOON, proven_at=NOON)
    assert admit_signers(ids("anna"), OTHER, one, NOON) == ("anna",)


def test_one_revoked_signer_refuses_all(ring, ids, revoked):
    one = ring(revoked_keys=(revoked("ben"),))
    assert admit_signers(ids("anna"), ROOT, one, NOON) == ("anna",)
    for signers in (ids("ben"), ids("anna", "ben"), ids("ben", "anna")):
        with pytest.raises(Revoked, match="stolen"):
            admit_signers(signers, ROOT, one, NOON)


def test_a_revoked_key_that_left_the_ring_is_refused_too(ring, ids, entry, revoked):
    one = ring(keys=(entry("anna"),), revoked_keys=(revoked("ben"),))
    with pytest.raises(Revoked):
        admit_signers(ids("anna", "ben"), ROOT, one, NOON)
    before = NOON - timedelta(seconds=1)  # proven from before the theft, but it is nobody's key any more
    with pytest.raises(KeyExpired):
        admit_signers(ids("anna", "ben"), ROOT, one, NOON, proven_at=before)
    assert admit_signers(ids("anna"), ROOT, one, NOON, proven_at=NOON) == ("anna",)


def test_a_proof_from_before_admits_a_revoked_signer(ring, ids, revoked):
    one = ring(revoked_keys=(revoked("ben", NOON + DAY),))
    assert admit_signers(ids("ben"), ROOT, one, NOON + 2 * DAY, proven_at=NOON) == ("ben",)
    with pytest.raises(Revoked):
        admit_signers(ids("ben"), ROOT, one, NOON + 2 * DAY, proven_at=NOON + DAY)
    with pytest.raises(Revoked):
        admit_signers(ids("ben"), ROOT, one, NOON)


def test_an_expired_key_does_not_count(ring, ids, entry):
    one = ring(keys=(entry("anna", valid_until=NOON + DAY), entry("ben")))
    assert admit_signers(ids("anna", "ben"), ROOT, one, NOON + DAY) == ("ben",)
    with pytest.raises(KeyExpired, match="key of anna"):
        admit_signers(ids("anna"), ROOT, one, NOON + DAY)
    assert admit_signers(ids("anna"), ROOT, one, NOON + DAY, proven_at=NOON) == ("anna",)


def test_too_few_because_one_expired_says_so(ring, ids, entry):
    policy = Threshold(purpose="seal", threshold=2, names=("anna", "ben"), ml_dsa=False)
    one = ring(keys=(entry("anna", valid_from=NOON + DAY), entry("ben")), policies=(policy,))
    with pytest.raises(KeyExpired, match="valid from"):
        admit_signers(ids("anna", "ben"), ROOT, one, NOON)
    with pytest.raises(SignerMissing, match="missing: anna"):
        admit_signers(ids("ben"), ROOT, one, NOON)
    assert admit_signers(ids("anna", "ben"), ROOT, one, NOON + DAY) == ("anna", "ben")


def test_nobody_and_strangers_are_too_few(ring, ids):
    for signers in ([], ids("stranger"), ["not an id"]):
        with pytest.raises(SignerMissing):
            admit_signers(signers, ROOT, ring(), NOON)


def test_an_expired_ring_admits_nobody(ring, ids):
    one = ring(expires=NOON + DAY)
    assert admit_signers(ids("anna"), ROOT, one, NOON)
    with pytest.raises(KeyExpired, match="the keyring expired"):
        admit_signers(ids("anna"), ROOT, one, NOON + DAY)


def test_purposes_are_kept_apart(ring, ids, entry):
    one = ring(keys=(entry("anna"), entry("ci", purposes=("attest",))))
    assert admit_signers(ids("anna", "ci"), ROOT, one, NOON, "attest") == ("ci",)
    with pytest.raises(SignerMissing):
        admit_signers(ids("anna"), ROOT, one, NOON, "attest")


STATES = ("valid", "revoked", "expired", "unknown")


@pytest.mark.parametrize("threshold", [1, 2])
@pytest.mark.parametrize(("first", "second"), list(itertools.product(STATES, repeat=2)))
def test_every_pair_of_signers(ring, ids, entry, revoked, first, second, threshold):  # noqa: PLR0917 (a table)
    """Worked out again from the rule in words: no revoked one, and enough valid ones."""
    states = {"anna": first, "ben": second}
    keys = tuple(
        entry(name, valid_until=NOON + DAY if state == "expired" else None)
        for name, state in states.items()
        if state != "unknown"
    )
    policy = Threshold(purpose="seal", threshold=threshold, names=("anna", "ben"), ml_dsa=False)
    taken = tuple(revoked(name) for name, state in states.items() if state == "revoked")
    one = ring(keys=keys, revoked_keys=taken, policies=(policy,))
    valid = [name for name, state in states.items() if state == "valid"]

    def admit():
        return admit_signers(ids("anna", "ben"), ROOT, one, NOON + DAY)

    if taken:
        leaf = Revoked
    elif len(valid) >= threshold:
        assert admit() == tuple(valid)
        return
    else:
        leaf = KeyExpired if "expired" in states.values() else SignerMissing
    with pytest.raises(SealRefused) as caught:
        admit()
    assert type(caught.value) is leaf


def test_from_a_bundle_to_its_refusal(ring, ids, signer_of, revoked):
    """The way that everything takes that is verified with a keyring."""
    statement = dsse.Statement(subjects=(("m", {"sha256": "ab" * 32}),), predicate_type="t", predicate={})
    data = bundle.make(statement, [signer_of("anna"), signer_of("ben")])
    one = ring()
    verified = verify_bundle(data, one.known())
    assert admit_signers(verified.signers, ROOT, one, NOON) == ("anna", "ben")
    after = ring(version=2, revoked_keys=(revoked("ben"),))
    verified = verify_bundle(data, after.known())
    with pytest.raises(Revoked):
        admit_signers(verified.signers, ROOT, after, NOON)


def test_expired_revoked_and_other_keys_do_not_count_towards_a_number(ring, ids, entry, revoked):
    keys = (entry("anna"), entry("ben", valid_until=NOON + DAY), entry("carla", purposes=("scan",)))
    one, signed = ring(keys=keys), ids("anna", "ben", "carla", "stranger", "anna")
    assert counted_keys(signed, one, NOON) == tuple(ids("anna", "ben", "stranger"))
    assert counted_keys(signed, one, NOON + DAY, least=2) == tuple(ids("anna", "stranger"))
    assert counted_keys(signed, ring(keys=keys, revoked_keys=(revoked("anna"),)), NOON) == tuple(
        ids("ben", "stranger")
    )
    with pytest.raises(
        SignerMissing, match="2 keys that may seal at 2026-11-22 signed, no two of one owner; 3 must"
    ):
        counted_keys(signed, one, NOON + DAY, least=3)


def test_two_keys_of_one_owner_are_one_signer(ring, ids, entry, signer_of):
    """Anna's second key is Anna's: whoever stole her laptop has both."""
    second = signer_of("second")
    one = ring(keys=(entry("anna"), entry("ben"), entry("anna", second)))
    hers = ids("anna", "second")
    assert counted_keys(hers, one, NOON) == tuple(hers)
    with pytest.raises(
        SignerMissing, match="1 keys that may seal at 2026-11-21 signed, no two of one owner; 2 must"
    ):
        counted_keys(hers, one, NOON, least=2)
    assert counted_keys([*hers, *ids("ben")], one, NOON, least=2) == (*hers, *ids("ben"))
    assert counted_keys([*hers, *ids("stranger")], one, NOON, least=2) == (*hers, *ids("stranger"))
