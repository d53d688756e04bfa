"""Signers and verifiers: one name per key, and a private key that shows nowhere."""

import pickle
import traceback

import pytest
from cryptography.hazmat.primitives import serialization

from modelward.errors import FileMissing, KeyUnusable, SignatureInvalid
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.signer import LocalSigner, Verifier


@pytest.mark.parametrize("name", asymmetric.ALGORITHMS)
def test_what_a_signer_signs_its_public_half_verifies(name):
    signer = LocalSigner(asymmetric.generate(name))
    assert signer.public.algorithm == name
    signer.public.verify(signer.sign(b"data"), b"data")
    with pytest.raises(SignatureInvalid):
        signer.public.verify(signer.sign(b"data"), b"other")
    assert Verifier(signer.public.pem).key_id == signer.public.key_id


def test_one_key_has_one_name_however_its_file_is_written():
    signer = LocalSigner(asymmetric.generate("ecdsa-p256"))
    pem = signer.public.pem
    key = asymmetric.load_public(pem)
    compressed = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    assert compressed
    for other in (
        pem.replace(b"\n", b"\r\n"),
        b"a comment\n" + pem,
        pem + b"\n\n",
    ):
        read = Verifier(other)
        assert (read.key_id, read.pem) == (signer.public.key_id, pem)


def test_names_are_sha256_of_the_pem():
    import hashlib

    signer = LocalSigner(asymmetric.generate("ed25519"))
    assert signer.public.key_id == hashlib.sha256(signer.public.pem).hexdigest()
    assert signer.public.pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")


def test_a_verifier_of_something_else():
    with pytest.raises(KeyUnusable):
        Verifier(b"no key")


def test_the_early_hash_is_asked_for_by_name():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = asymmetric.generate("ecdsa-p521")
    public = LocalSigner(key).public
    signature = key.sign(b"data", ec.ECDSA(hashes.SHA256()))
    public.verify(signature, b"data", sha256=True)
    with pytest.raises(SignatureInvalid):
        public.verify(signature, b"data")


def test_a_private_key_shows_nowhere():
    key = asymmetric.generate("ed25519")
    secret = key.private_bytes_raw()
    signer = LocalSigner(key)
    shown = [repr(signer), str(signer), f"{signer}", repr([signer])]
    try:
        signer.sign(None)
    except TypeError:
        shown.append(traceback.format_exc())
    for text in shown:
        assert secret.hex() not in text
        assert repr(secret) not in text
    assert repr(signer) == f"LocalSigner({signer.public.key_id[:16]})"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


def test_a_public_key_is_read_from_its_file(tmp_path, signer_of):
    public, path = signer_of("anna").public, tmp_path / "anna.pub"
    path.write_bytes(public.pem)
    assert Verifier.read(path).pem == public.pem
    path.write_bytes(public.pem + b"\n" * (1 << 16))
    with pytest.raises(KeyUnusable, match="larger than 65536 bytes"):
        Verifier.read(path)
    for absent in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileMissing, match="cannot be read"):
            Verifier.read(absent)


def test_a_file_that_is_no_public_signing_key_is_named(tmp_path):
    key, reader = asymmetric.generate("ed25519"), kem.public_of(kem.generate("mlkem768-x25519"))
    path = tmp_path / "k.pem"
    path.write_bytes(asymmetric.private_pem(key, b"phrase"))
    with pytest.raises(KeyUnusable, match=r"k\.pem: is a private key") as caught:
        Verifier.read(path)
    assert caught.value.advice == f"Give its public half, such as {path}.pub."
    for data, said in ((kem.public_pem(reader), "a recipient's key"), (b"noise", "no public key")):
        path.write_bytes(data)
        with pytest.raises(KeyUnusable, match=rf"k\.pem: this is {said}"):
            Verifier.read(path)
