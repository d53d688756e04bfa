"""Every byte of small bundles, changed one at a time: refused, or the same statement by the same keys."""

import json
from base64 import b64decode

import pytest

from modelward.errors import SealDamaged, SealRefused, SignatureInvalid, SignerMissing
from modelward.vault.signing.checking import check_files
from modelward.vault.signing.signing import sign_openssf
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import hash_tree

MASKS = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF]
BLANKS = b" \t\n\r"
LEAVES = {SealDamaged, SignatureInvalid, SignerMissing}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bytes") / "m"
    root.mkdir()
    (root / "w").write_bytes(b"weights")
    return root


@pytest.fixture(scope="module")
def bundles(folder, alice, bob):
    openssf = sign_openssf(folder, [alice])
    one_line = json.loads(openssf)
    one_line["dsseEnvelope"]["signatures"][0]["keyid"] = ""
    return {
        "openssf": openssf,
        "as the reference writes": json.dumps(one_line, separators=(",", ":")).encode(),
        "two signers": sign_openssf(folder, [bob, alice]),
        "tree": sign_tree(hash_tree(folder), [bob], name="m", listed=True),
    }


def outcome(data, known, threshold):
    """The leaf that refuses, or who signed what."""
    try:
        verified = verify_bundle(data, known, threshold=threshold)
    except SealRefused as error:
        return type(error)
    return verified.statement, verified.signers


@pytest.mark.parametrize("name", ["openssf", "as the reference writes", "two signers", "tree"])
def test_every_bit(bundles, folder, alice, bob, name):
    data = bundles[name]
    known = [alice.public, bob.public]
    threshold = 2 if name == "two signers" else 1
    right = outcome(data, known, threshold)
    check_files(right[0], folder)
    accepted, leaves = [], set()
    for place in range(len(data)):
        for mask in MASKS:
            changed = bytearray(data)
            changed[place] ^= mask
            found = outcome(bytes(changed), known, threshold)
            if isinstance(found, type):
                leaves.add(found)
                continue
            assert found == right, (place, data[place : place + 1], changed[place : place + 1])
            accepted.append((place, data[place], changed[place]))
    assert leaves <= LEAVES
    assert {SealDamaged, SignatureInvalid} <= leaves
    for place, before, after in accepted:
        assert irrelevant(data, place, before, after), (place, data[max(0, place - 20) : place + 20], after)


def irrelevant(data, place, before, after):
    """Blanks between tokens, and what only hints: a name of the key, an empty log, the case of an escape."""
    if before in BLANKS and after in BLANKS:
        return True
    around = data[max(0, place - 90) : place + 90]
    spelled_as_base64 = bytes((before, after)) in {b"+-", b"/_"}
    return spelled_as_base64 or b'"keyid"' in around or b'"hint"' in around


@pytest.mark.parametrize("name", ["openssf", "two signers", "tree"])
def test_every_truncation(bundles, alice, bob, name):
    data = bundles[name].rstrip()
    for size in range(len(data)):
        assert outcome(data[:size], [alice.public, bob.public], 1) is SealDamaged


@pytest.mark.parametrize("name", ["openssf", "two signers"])
def test_every_byte_taken_out_or_doubled(bundles, alice, bob, name):
    data = bundles[name]
    known = [alice.public, bob.public]
    threshold = 2 if name == "two signers" else 1
    right = outcome(data, known, threshold)
    for place in range(len(data)):
        for changed in (data[:place] + data[place + 1 :], data[: place + 1] + data[place:]):
            found = outcome(changed, known, threshold)
            assert found == right or any(found is leaf for leaf in LEAVES)


def test_every_byte_of_the_payload_behind_a_new_signature(bundles, folder, bundle_of, alice):
    """A signer who errs: whatever the statement says, reading it ends in a refusal or in what was signed."""
    raw = b64decode(json.loads(bundles["openssf"])["dsseEnvelope"]["payload"])
    first = raw.index(b'"serialization"')
    ignored = range(
        first, raw.index(b'"method"', first)
    )  # what was left out, and whether links were followed
    name = raw.index(b'"name":"m"', raw.index(b'"subject"'))
    for place in range(len(raw)):
        for mask in (0x01, 0x20):
            changed = raw[:place] + bytes((raw[place] ^ mask,)) + raw[place + 1 :]
            try:
                statement = verify_bundle(bundle_of(changed, alice), [alice.public]).statement
                check_files(statement, folder)
            except SealRefused:
                continue
            assert place in ignored or place >= name, (place, raw[place - 20 : place + 20], mask)
