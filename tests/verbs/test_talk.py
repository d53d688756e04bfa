"""Where a passphrase comes from when a verb is called from Python."""

from __future__ import annotations

import pytest

import modelward
from modelward.errors import KeyUnusable
from modelward.vault.container.recipients import generate_identity

PHRASE = b"correct horse battery staple"


@pytest.fixture
def sealed(tmp_path, write_key, talk):
    """A sealed file, the options that open it, named by paths."""
    release, public = write_key(tmp_path, "release")
    pair = generate_identity("x25519", PHRASE)
    (tmp_path / "reader.pem").write_bytes(pair.private)
    (tmp_path / "reader.pem").chmod(0o600)
    (tmp_path / "reader.pem.pub").write_bytes(pair.public)
    (tmp_path / "model.bin").write_bytes(b"weights")
    options = modelward.SealOptions(
        keys=(str(release),), recipients=(str(tmp_path / "reader.pem.pub"),), scan=False
    )
    modelward.seal(tmp_path / "model.bin", tmp_path / "m.sealed", options, talk)
    trust = modelward.TrustOptions(public_keys=(public,))
    return tmp_path / "m.sealed", modelward.OpenOptions(identities=(tmp_path / "reader.pem",), trust=trust)


def test_the_variable_is_asked_where_nobody_else_is(sealed, monkeypatch):
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PHRASE.decode())
    with modelward.open_sealed(*sealed) as model:
        assert model.read("model.bin") == b"weights"


def test_who_is_given_is_asked_and_not_the_variable(sealed, monkeypatch):
    monkeypatch.setenv("MODELWARD_PASSPHRASE", "wrong")
    with modelward.open_sealed(*sealed, modelward.Talk(passphrase=lambda: PHRASE)) as model:
        assert model.names() == ("model.bin",)


def test_without_either_it_is_said_what_to_do(sealed, monkeypatch):
    monkeypatch.delenv("MODELWARD_PASSPHRASE", raising=False)
    with pytest.raises(KeyUnusable, match="nobody to ask") as refused:
        modelward.open_sealed(*sealed)
    assert "MODELWARD_PASSPHRASE" in refused.value.advice


def test_the_passphrase_of_keys_is_never_a_recipients(sealed, tmp_path, monkeypatch):
    """Whoever opens the model is told its passphrase, and could sign with that of the key."""
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PHRASE.decode())
    options = modelward.SealOptions(
        keys=(str(tmp_path / "release.pem"),), recipients=("passphrase",), scan=False
    )
    with pytest.raises(KeyUnusable, match="nobody to ask") as refused:
        modelward.seal(tmp_path / "model.bin", tmp_path / "n.sealed", options)
    assert "passphrase:env:NAME" in refused.value.advice
    chosen = modelward.Talk(chosen=lambda: b"of the content alone")
    modelward.seal(tmp_path / "model.bin", tmp_path / "n.sealed", options, chosen)
    opening = modelward.OpenOptions(identities=("passphrase",), trust=sealed[1].trust)
    with modelward.open_sealed(
        tmp_path / "n.sealed", opening, modelward.Talk(passphrase=lambda: b"of the content alone")
    ) as model:
        assert model.read("model.bin") == b"weights"
