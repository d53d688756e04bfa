"""New keys, and what is said of a key file."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from modelward.errors import FileMissing, KeyUnusable
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.making import KINDS, describe, make_key

PASSPHRASE = b"correct horse"


def quiet(sentence):
    pytest.fail(f"there is nothing to warn of: {sentence}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_and_described(tmp_path, kind):
    pem, facts = make_key(kind, lambda: PASSPHRASE)
    file = tmp_path / "k"
    file.write_bytes(pem)
    file.chmod(0o600)
    assert describe(str(file), lambda: PASSPHRASE, quiet) == facts
    assert (facts.algorithm, facts.private) == (kind, True)
    assert facts.use == ("sign" if kind in asymmetric.ALGORITHMS else "decrypt")
    assert facts.id == hashlib.sha256(facts.public.encode()).hexdigest()
    public = tmp_path / "k.pub"
    public.write_text(facts.public, encoding="ascii")
    again = describe(str(public), None, quiet)
    assert (again.id, again.algorithm, again.use, again.public) == (
        facts.id, facts.algorithm, facts.use, facts.public
    )  # fmt: skip
    assert not again.private


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_of_a_new_key_is_encrypted(kind):
    pem, _ = make_key(kind, lambda: PASSPHRASE)
    assert pem.count(b"-----BEGIN") == pem.count(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert pem.count(b"-----BEGIN") == (2 if kind == "mlkem768-x25519" else 1)


def test_openssl_opens_it(tmp_path):
    pem, facts = make_key("ecdsa-p384", lambda: PASSPHRASE)
    file = tmp_path / "k"
    file.write_bytes(pem)
    words = ["openssl", "pkey", "-in", file, "-passin", f"pass:{PASSPHRASE.decode()}", "-pubout"]
    assert subprocess.run(words, check=True, capture_output=True).stdout.decode() == facts.public


def test_no_two_keys_are_the_same():
    assert len({make_key("ed25519", lambda: PASSPHRASE)[1].id for _ in range(5)}) == 5


def test_what_cannot_be_made():
    with pytest.raises(KeyUnusable, match="no keys of the kind 'rsa'; there are ecdsa-p256"):
        make_key("rsa", lambda: PASSPHRASE)
    with pytest.raises(KeyUnusable, match="0 bytes, not 1 to"):
        make_key("ed25519", lambda: b"")


@pytest.mark.parametrize("kind", ["ed25519", "x25519"])
def test_the_longest_passphrase(tmp_path, kind, revealed):
    """OpenSSL takes no more, and what it says of it is no sentence of ours."""
    path, longest = tmp_path / "key.pem", b"s" * 1023
    path.write_bytes(make_key(kind, lambda: longest)[0])
    assert describe(str(path), lambda: longest, print).algorithm == kind
    with pytest.raises(KeyUnusable, match="1,024 bytes, not 1 to 1,023") as caught:
        make_key(kind, lambda: b"s" * 1024)
    assert "ssss" not in revealed(caught.value)
    with pytest.raises(KeyUnusable):
        describe(str(path), lambda: b"s" * 1024, print)


def test_the_passphrase_is_in_no_report_of_a_failure(revealed, monkeypatch):
    def fail(key, passphrase):
        raise KeyUnusable("the disk of random numbers is full")

    monkeypatch.setattr(asymmetric, "private_pem", fail)
    with pytest.raises(KeyUnusable) as caught:
        make_key("ed25519", lambda: b"unmistakable")
    assert "unmistakable" not in revealed(caught.value)


@pytest.mark.parametrize("kind", ["ed25519", "x25519", "mlkem768-x25519"])
def test_a_wrong_passphrase(tmp_path, kind, revealed):
    file = tmp_path / "k"
    file.write_bytes(make_key(kind, lambda: PASSPHRASE)[0])
    with pytest.raises(KeyUnusable, match="passphrase is wrong") as caught:
        describe(str(file), lambda: b"unmistakable", lambda _: None)
    assert "unmistakable" not in revealed(caught.value)
    with pytest.raises(KeyUnusable, match="no passphrase was given"):
        describe(str(file), None, lambda _: None)


def test_what_is_no_key(tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    file = tmp_path / "k"
    no = serialization.NoEncryption()
    for data, said in (
        (b"", "no public key"),
        (b"\x00\xff", "no public key"),
        (
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no),
            "does not sign",
        ),
    ):
        file.write_bytes(data)
        with pytest.raises(KeyUnusable, match=said):
            describe(str(file), None, lambda _: None)
    with pytest.raises(FileMissing):
        describe(str(tmp_path / "absent"), None, lambda _: None)


def test_warnings_are_of_private_files_alone(tmp_path):
    said = []
    pem, facts = make_key("ed25519", lambda: PASSPHRASE)
    for name, data in (("private", pem), ("public", facts.public.encode())):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o644)
    describe(str(tmp_path / "public"), None, said.append)
    assert said == []
    describe(str(tmp_path / "private"), lambda: PASSPHRASE, said.append)
    assert len(said) == 1
    assert "private" in said[0]


def test_a_key_in_clear_is_described_with_a_warning(tmp_path):
    said, key = [], kem.generate("x25519")
    no = serialization.NoEncryption()
    file = tmp_path / "k"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no))
    file.chmod(0o600)
    assert describe(str(file), None, said.append).algorithm == "x25519"
    assert len(said) == 1
    assert "in clear" in said[0]


def test_keys_elsewhere_are_described(vault, token, monkeypatch):
    vault.make("release", "ed25519")
    facts = describe("vault:transit/release", None, quiet)
    assert (facts.algorithm, facts.private) == ("ed25519", True)
    pem, made = make_key("ed25519", lambda: PASSPHRASE)
    monkeypatch.setenv("RELEASE_KEY", pem.decode())
    assert describe("env:RELEASE_KEY", lambda: PASSPHRASE, quiet) == made
    uri = f"pkcs11:token=model%20keys;object=p256?module-path={token}"
    assert describe(uri, lambda: b"56 78", quiet).algorithm == "ecdsa-p256"
