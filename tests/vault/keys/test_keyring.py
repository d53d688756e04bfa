"""One version of a keyring: what it may hold, whom it admits, and what is no keyring."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import KeyExpired, Revoked, SealDamaged, SealRefused, SignerMissing
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.keyring import RevokedKey, RevokedRoot, Threshold, parse, stamp
from modelward.vault.keys.signer import LocalSigner

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ROOT = "sha256:" + "ab" * 32


@pytest.fixture
def full(ring, entry, signer_of):
    """A ring that has something of everything."""
    return ring(
        expires=NOON + 90 * DAY,
        keys=(entry("anna", valid_until=NOON + 30 * DAY), entry("ben", purposes=("seal", "attest"))),
        revoked_keys=(RevokedKey(id=signer_of("carl").public.key_id, since=NOON, reason="left"),),
        revoked_roots=(RevokedRoot(root=ROOT, since=NOON, reason="poisoned rows"),),
        policies=(Threshold(purpose="seal", threshold=2, names=("anna", "ben"), ml_dsa=False),),
    )


def test_it_is_read_back(ring, full):
    for one in (ring(), full):
        assert parse(one.encode()) == one


def test_its_bytes_are_plain_json(full):
    value = json.loads(full.encode())
    assert value["issued"] == "2026-11-21T12:00:00Z"
    assert value["revoked_roots"] == [
        {"root": ROOT, "since": "2026-11-21T12:00:00Z", "reason": "poisoned rows"}
    ]
    assert (
        json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == full.encode()
    )


def test_keys_are_valid_from_their_first_moment_up_to_their_end(ring, entry, signer_of):
    one = ring(keys=(entry("anna", valid_until=NOON + DAY),))
    key_id = signer_of("anna").public.key_id
    for moment in (NOON, NOON + DAY - SECOND):
        one.check_key(key_id, moment)
    for moment, said in ((NOON - SECOND, "valid from 2026-11-21"), (NOON + DAY, "expired at 2026-11-22")):
        with pytest.raises(KeyExpired, match=said):
            one.check_key(key_id, moment)
        assert [v.key_id for v in one.known()] == [key_id]


def test_a_key_without_end_does_not_expire(ring, signer_of):
    ring().check_key(signer_of("anna").public.key_id, datetime(9999, 12, 31, tzinfo=UTC))


def test_an_unknown_key_is_missing(ring):
    with pytest.raises(SignerMissing, match="not in the keyring"):
        ring().check_key("0" * 64, NOON)


def revoked_anna(ring, signer_of, since):
    key_id = signer_of("anna").public.key_id
    return key_id, ring(revoked_keys=(RevokedKey(id=key_id, since=since, reason="stolen"),))


def test_a_revoked_key_is_refused_at_every_moment(ring, signer_of):
    key_id, one = revoked_anna(ring, signer_of, NOON + DAY)
    for moment in (NOON, NOON + DAY, NOON + 2 * DAY):
        with pytest.raises(Revoked, match="since 2026-11-22T12:00:00Z: stolen"):
            one.check_key(key_id, moment)
    one.check_key(signer_of("ben").public.key_id, NOON)


def test_a_proof_from_before_the_theft_admits_the_signature(ring, signer_of):
    key_id, one = revoked_anna(ring, signer_of, NOON + DAY)
    one.check_key(key_id, NOON + 9 * DAY, proven_at=NOON + DAY - SECOND)
    for proven in (NOON + DAY, NOON + 2 * DAY):
        with pytest.raises(Revoked):
            one.check_key(key_id, NOON + 9 * DAY, proven_at=proven)


def test_a_proof_stands_for_the_time_of_the_signature(ring, entry, signer_of):
    key_id = signer_of("anna").public.key_id
    one = ring(keys=(entry("anna", valid_until=NOON + DAY),))
    one.check_key(key_id, NOON + 9 * DAY, proven_at=NOON)
    with pytest.raises(KeyExpired):
        one.check_key(key_id, NOON, proven_at=NOON - SECOND)


def test_a_revoked_key_that_is_in_no_entry_is_revoked(ring):
    one = ring(revoked_keys=(RevokedKey(id="0" * 64, since=NOON, reason="r"),))
    with pytest.raises(Revoked):
        one.check_key("0" * 64, NOON)


def test_roots(full):
    with pytest.raises(Revoked, match="poisoned rows"):
        full.check_root(ROOT)
    full.check_root("blake3:" + "ab" * 32)
    full.check_root("sha256:" + "ac" * 32)


def test_a_ring_that_should_have_been_replaced(full, ring):
    full.check_age(NOON + 90 * DAY - SECOND)
    with pytest.raises(KeyExpired, match="version 1 of the keyring expired"):
        full.check_age(NOON + 90 * DAY)
    ring().check_age(NOON + 10000 * DAY)


@pytest.mark.parametrize(
    ("threshold", "signed", "fine"),
    [
        (1, "", False), (1, "anna", True), (1, "ben", True), (1, "eve", False),
        (2, "anna", False), (2, "anna ben", True), (2, "anna eve", False), (2, "anna ben eve", True),
    ],
)  # fmt: skip
def test_m_of_n(ring, entry, signer_of, *, threshold, signed, fine):
    policy = Threshold(purpose="seal", threshold=threshold, names=("anna", "ben"), ml_dsa=False)
    one = ring(keys=(entry("anna"), entry("ben"), entry("eve")), policies=(policy,))
    ids = [signer_of(name).public.key_id for name in signed.split()]
    if fine:
        one.require(ids, "seal")
        return
    with pytest.raises(SignerMissing, match=r"missing|may sign"):
        one.require(ids, "seal")


def test_two_keys_of_one_name_are_one_signer(ring, entry, signer_of):
    policy = Threshold(purpose="seal", threshold=2, names=("anna", "ben"), ml_dsa=False)
    keys = (entry("anna"), entry("anna", signer_of("anna's next")), entry("ben"))
    one = ring(keys=keys, policies=(policy,))
    ids = [key.id for key in keys]
    with pytest.raises(SignerMissing, match="1 of the 2 signers for 'seal' signed; missing: ben"):
        one.require(ids[:2], "seal")
    one.require(ids[1:], "seal")


def test_a_key_counts_for_its_purposes_alone(ring, entry, signer_of):
    one = ring(keys=(entry("anna", purposes=("attest",)),))
    ids = [signer_of("anna").public.key_id]
    one.require(ids, "attest")
    with pytest.raises(SignerMissing, match="'seal'"):
        one.require(ids, "seal")
    with pytest.raises(SignerMissing):
        one.require([], "attest")


def test_ml_dsa_may_be_demanded(ring, entry, signer_of):
    lattice = LocalSigner(asymmetric.generate("ml-dsa-65"))
    policy = Threshold(purpose="seal", threshold=1, names=("anna",), ml_dsa=True)
    one = ring(keys=(entry("anna"), entry("anna", lattice), entry("ben")), policies=(policy,))
    classical = signer_of("anna").public.key_id
    with pytest.raises(SignerMissing, match="ML-DSA-65"):
        one.require([classical], "seal")
    one.require([classical, lattice.public.key_id], "seal")
    one.require([lattice.public.key_id], "seal")


def test_an_ml_dsa_signature_by_another_name_does_not_do(ring, entry, signer_of):
    lattice = LocalSigner(asymmetric.generate("ml-dsa-65"))
    policy = Threshold(purpose="seal", threshold=1, names=("anna",), ml_dsa=True)
    one = ring(keys=(entry("anna"), entry("eve", lattice)), policies=(policy,))
    with pytest.raises(SignerMissing, match="ML-DSA-65"):
        one.require([signer_of("anna").public.key_id, lattice.public.key_id], "seal")


def other_spelling(pem):
    """The same key with a line broken elsewhere."""
    lines = pem.splitlines()
    return "\n".join([lines[0], lines[1][:30], lines[1][30:], *lines[2:]]) + "\n"


def test_what_the_types_cannot_say(ring, entry, signer_of):
    anna, a = entry("anna"), signer_of("a").public.pem.decode()
    replace = msgspec.structs.replace
    revoked = RevokedKey(id="0" * 64, since=NOON, reason="r")
    root = RevokedRoot(root=ROOT, since=NOON, reason="r")
    policy = Threshold(purpose="seal", threshold=1, names=("anna",), ml_dsa=False)
    compressed = (
        asymmetric.generate("ecdsa-p256")
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )
    assert len(compressed) == 33
    for changes, said in (
        ({"format": "modelward.keyring/2"}, "format is not"),
        ({"expires": NOON}, "expires before"),
        ({"threshold": 4}, "4 of 3 owners"),
        ({"owners": (a, a)}, "an owner stands twice"),
        ({"owners": (other_spelling(a),), "threshold": 1}, "not spelt"),
        ({"owners": ("no key",), "threshold": 1}, "cannot be used"),
        ({"keys": (anna, anna)}, "a key stands twice"),
        ({"keys": (replace(anna, id="0" * 64),)}, "another id"),
        ({"keys": (replace(anna, pem=other_spelling(anna.pem)),)}, "not spelt"),
        ({"keys": (replace(anna, valid_until=NOON),)}, "ends before"),
        ({"keys": (replace(anna, purposes=("seal", "seal")),)}, "a purpose stands twice"),
        ({"keys": (replace(anna, name="an\x1bna"),)}, "printed"),
        ({"keys": (replace(anna, valid_from=NOON.replace(microsecond=5)),)}, "whole seconds"),
        ({"issued": NOON.astimezone(datetime.strptime("+01:00", "%z").tzinfo)}, "UTC"),
        ({"revoked_keys": (revoked, revoked)}, "a revoked key stands twice"),
        ({"revoked_keys": (replace(revoked, reason="a\nb"),)}, "printed"),
        ({"revoked_roots": (root, root)}, "a revoked root stands twice"),
        ({"revoked_roots": (replace(root, reason="\u202e"),)}, "printed"),
        ({"policies": (policy, policy)}, "a policy stands twice"),
        ({"policies": (replace(policy, names=("anna", "anna")),)}, "a name stands twice"),
        ({"policies": (replace(policy, threshold=2),)}, "2 of 1 names"),
        ({"policies": (replace(policy, names=("\x00",)),)}, "printed"),
    ):
        with pytest.raises(SealDamaged, match=said):
            parse(ring(**changes).encode())


def altered(value, path, new):
    value = copy.deepcopy(value)
    place = value
    for step in path[:-1]:
        place = place[step]
    if new is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return canonical(value)


WRONG = [
    None,
    True,
    -1,
    0,
    1.5,
    2**53 - 1,
    "",
    "x" * 9000,
    [],
    {},
    [None],
    "2026-11-21",
    "2026-11-21T12:00:00",
    ...,
]
PATHS = [
    ("format",), ("ring",), ("version",), ("issued",), ("expires",), ("owners",), ("owners", 0), ("threshold",),
    ("keys", 0), ("keys", 0, "id"), ("keys", 0, "name"), ("keys", 0, "pem"), ("keys", 0, "purposes"),
    ("keys", 0, "purposes", 0), ("keys", 0, "valid_from"), ("keys", 0, "valid_until"), ("revoked_keys",),
    ("revoked_keys", 0, "id"), ("revoked_keys", 0, "since"), ("revoked_keys", 0, "reason"),
    ("revoked_roots", 0, "root"), ("policies", 0, "purpose"), ("policies", 0, "threshold"),
    ("policies", 0, "names"), ("policies", 0, "ml_dsa"), ("policies", 0),
]  # fmt: skip
# What is another keyring, and a good one.
FINE = [
    (("version",), 2**53 - 1), (("expires",), None), (("keys", 0, "valid_until"), None), (("revoked_keys",), []),
    (("policies", 0, "ml_dsa"), True), (("keys", 0), ...), (("policies", 0), ...),
    (("owners", 0), ...), (("keys", 0, "purposes", 0), "2026-11-21"), (("policies", 0, "purpose"), "2026-11-21"),
    *((path, text) for text in ("2026-11-21", "2026-11-21T12:00:00")
      for path in (("keys", 0, "name"), ("revoked_keys", 0, "reason"))),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_every_wrong_value_in_every_place_is_refused(full, path):
    value = json.loads(full.encode())
    for new in WRONG:
        data = altered(value, path, new)
        if any(path == place and type(new) is type(fine) and new == fine for place, fine in FINE):
            assert parse(data) != full
        else:
            with pytest.raises(SealDamaged):
                parse(data)


@pytest.mark.parametrize(
    "place", [(), ("keys", 0), ("revoked_keys", 0), ("revoked_roots", 0), ("policies", 0)]
)
def test_an_unknown_field_is_refused(full, place):
    with pytest.raises(SealDamaged, match="unknown field"):
        parse(altered(json.loads(full.encode()), (*place, "more"), 1))


@pytest.mark.parametrize(
    "spell",
    [
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data.replace(b'"version":1', b'"version":1.0'),
        lambda data: data.replace(b'"version":1', b'"version":1,"version":1'),
        lambda data: data.replace(b"anna", b"\\u0061nna", 1),
        lambda data: data.replace(b"anna", b"\\ud800", 1),
        lambda data: data.replace(b"12:00:00Z", b"12:00:00+00:00", 1),
        lambda data: data.replace(b"T12:00:00Z", b"t12:00:00z", 1),
        lambda data: json.dumps(json.loads(data), indent=1).encode(),
        lambda data: data.decode().encode("utf-16"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data[:-1],
        lambda data: b"[" * 100_000,
        lambda data: b"",
        lambda data: b"null",
        lambda data: b"[]",
    ],
)
def test_another_spelling_is_refused(full, spell):
    data = spell(full.encode())
    with pytest.raises(SealDamaged):
        parse(data)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(JSONS)
def test_any_json_is_refused(value):
    with pytest.raises(SealDamaged):
        parse(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(SealDamaged):
        parse(data)


FIELDS = ["format", "ring", "version", "issued", "expires", "owners", "threshold", "keys", "revoked_keys",
          "revoked_roots", "policies"]  # fmt: skip
GENUINE = {}


@pytest.fixture(autouse=True)
def genuine(full):
    GENUINE["value"] = json.loads(full.encode())


@settings(max_examples=150)
@given(field=st.sampled_from(FIELDS), value=JSONS)
def test_any_json_in_a_field_is_refused_or_another_ring(field, value):
    data = json.dumps(
        {**GENUINE["value"], field: value}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    try:
        again = parse(data.encode())
    except SealRefused:
        return
    assert again.encode() == data.encode()


def test_moments_are_written_in_utc():
    assert stamp(datetime.fromisoformat("2026-11-21T13:00:00+01:00")) == "2026-11-21T12:00:00Z"
