"""What is revoked by its path is refused however it is signed: by every hash function, plain and sealed."""

from __future__ import annotations

import json

import pytest

from modelward.errors import ContentChanged, KeyUnusable, Revoked
from modelward.vault.keys.making import make_key
from modelward.verbs.keys import NewKey, NewRing, Owner, ring_add, ring_new, ring_revoke, ring_show
from modelward.verbs.seal import SealOptions, seal
from modelward.verbs.sign import SignOptions, sign
from modelward.verbs.talk import Talk
from modelward.verbs.trust import TrustOptions
from modelward.verbs.unseal import OpenOptions, unseal
from modelward.verbs.verify import VerifyOptions, verify


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A model of two files, a second one, an owner's ring with the key of `release`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("owner", "release"):
        pem, facts = make_key("ed25519", lambda: b"phrase")
        (tmp_path / f"{name}.pem").write_bytes(pem)
        (tmp_path / f"{name}.pem").chmod(0o600)
        (tmp_path / f"{name}.pub").write_text(facts.public)
    for name in ("v1", "v2"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "weights.bin").write_bytes(name.encode() * 1000)
        (tmp_path / "models" / name / "config.json").write_text(json.dumps({"of": name}))
    ring_new("ring.json", NewRing(owners=("owner.pub",)), OWNER)
    ring_add("ring.json", NewKey(public="release.pub", name="release"), OWNER)
    return tmp_path


TALK = Talk(passphrase=lambda: b"phrase")
OWNER = Owner(keys=("owner.pem",), passphrase=lambda: b"phrase")
TRUST = TrustOptions(keyring="ring.json", owners=("owner.pub",))
KINDS = [
    *(SignOptions(statement="tree", hash=name) for name in ("sha256", "blake3")),
    *(SignOptions(hash=name) for name in ("sha256", "blake2b", "blake3")),
]


def verified(path, signature=None):
    return verify(path, VerifyOptions(signature=signature, trust=TRUST), TALK)


def test_a_folder_is_refused_by_every_hash_function_and_under_every_statement(place):
    for n, options in enumerate(KINDS):
        for name in ("v1", "v2"):
            sign(f"models/{name}", ["release.pem"], f"{name}-{n}.sig", options, TALK)
    for name in ("sha256", "blake3"):
        seal("models/v2", f"{name}.sealed", SealOptions(keys=("release.pem",), hash=name, scan=False), TALK)
        assert verified(f"{name}.sealed").verified
    state = ring_revoke("ring.json", "models/v2", "poisoned", OWNER)
    assert len(state.ring.revoked_roots) == len(KINDS)
    assert {entry.reason for entry in state.ring.revoked_roots} == {"poisoned"}
    for n in range(len(KINDS)):
        assert verified("models/v1", f"v1-{n}.sig").verified
        assert verified("models/v2", f"v2-{n}.sig").refusal == "Revoked"
    for name in ("sha256", "blake3"):
        assert verified(f"{name}.sealed").refusal == "Revoked"


def test_a_seal_in_clear_names_its_content_too(place):
    seal("models/v2", "v2.sealed", SealOptions(keys=("release.pem",), hash="sha256", scan=False), TALK)
    seal("models/v2", "again.sealed", SealOptions(keys=("release.pem",), hash="blake3", scan=False), TALK)
    sign("models/v2", ["release.pem"], "v2.sig", None, TALK)
    root = verified("v2.sealed").root
    state = ring_revoke("ring.json", "./v2.sealed", "poisoned", OWNER)
    assert root in {entry.root for entry in state.ring.revoked_roots}
    for path, signature in (("v2.sealed", None), ("again.sealed", None), ("models/v2", "v2.sig")):
        assert verified(path, signature).refusal == "Revoked"


@pytest.fixture
def encrypted(place):
    pem, facts = make_key("x25519", lambda: b"phrase")
    (place / "reader.pub").write_text(facts.public)
    (place / "reader.pem").write_bytes(pem)
    options = SealOptions(keys=("release.pem",), recipients=("reader.pub",), scan=False)
    seal("models/v2", "v2.sealed", options, TALK)


@pytest.mark.usefixtures("encrypted")
def test_of_an_encrypted_seal_the_owner_is_told_what_is_left():
    said, done = [], []
    owner = Owner(
        keys=("owner.pem",),
        passphrase=lambda: b"phrase",
        warn=said.append,
        progress=lambda at, total: done.append((at, total)),
    )
    ring_revoke("ring.json", "./v2.sealed", "poisoned", owner)
    assert verified("v2.sealed").refusal == "Revoked"
    assert len(said) == 1
    assert "the files in clear" in said[0]
    assert done[-1][0] == done[-1][1] > 0


@pytest.mark.usefixtures("encrypted")
def test_content_that_is_revoked_is_not_opened():
    options = OpenOptions(identities=("reader.pem",), trust=TRUST)
    unseal("v2.sealed", "before", options, TALK)
    ring_revoke("ring.json", "models/v2", "poisoned", OWNER)
    with pytest.raises(Revoked):
        unseal("v2.sealed", "after", options, TALK)


def test_what_is_revoked_already_is_added_to(place):
    options = SignOptions(statement="tree")
    sign("models/v2", ["release.pem"], "v2.sig", options, TALK)
    ring_revoke("ring.json", verified("models/v2", "v2.sig").root, "first", OWNER)
    found = ring_revoke("ring.json", "models/v2", "second", OWNER).ring.revoked_roots
    assert [entry.reason for entry in found] == ["first"] + ["second"] * (len(KINDS) - 1)
    with pytest.raises(KeyUnusable, match="was revoked before"):
        ring_revoke("ring.json", "models/v2", "third", OWNER)
    assert ring_show("ring.json").ring.revoked_roots == found


def test_a_copy_that_is_not_what_was_sealed_is_not_revoked(place):
    seal("models/v2", "v2.sealed", SealOptions(keys=("release.pem",), scan=False), TALK)
    (place / "v2.sealed" / "data" / "config.json").write_text("{}")
    with pytest.raises(ContentChanged):
        ring_revoke("ring.json", "./v2.sealed", "poisoned", OWNER)


def test_a_name_that_is_a_path_too_is_not_guessed(place):
    facts = make_key("ed25519", lambda: b"phrase")[1]
    (place / "second.pub").write_text(facts.public)
    ring_add("ring.json", NewKey(public="second.pub", name="models/v2"), OWNER)
    with pytest.raises(KeyUnusable, match=r"\./models/v2"):
        ring_revoke("ring.json", "models/v2", "which?", OWNER)
    assert not ring_revoke("ring.json", "./models/v2", "the path", OWNER).ring.revoked_keys
    assert not ring_revoke("ring.json", facts.id, "the key", OWNER).ring.revoked_keys[1:]


def test_a_path_without_a_slash_is_a_name(place):
    (place / "release").mkdir()
    (place / "release" / "weights.bin").write_bytes(b"1")
    state = ring_revoke("ring.json", "release", "laptop stolen", OWNER)
    assert (len(state.ring.revoked_keys), state.ring.revoked_roots) == (1, ())


def test_a_table_is_refused_as_a_file_and_by_its_rows(place):
    (place / "data").mkdir()
    (place / "data" / "train.csv").write_text("id,label\n1,0\n2,1\n")
    for statement in ("openssf", "rows"):
        sign("data/train.csv", ["release.pem"], f"{statement}.sig", SignOptions(statement=statement), TALK)
        assert verified("data/train.csv", f"{statement}.sig").verified
    assert len(ring_revoke("ring.json", "data/train.csv", "leaked", OWNER).ring.revoked_roots) == 6
    for statement in ("openssf", "rows"):
        assert verified("data/train.csv", f"{statement}.sig").refusal == "Revoked"
