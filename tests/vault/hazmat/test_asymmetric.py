"""Signatures over bytes: published answers, openssl as a second implementation, keys that do not sign here."""

import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, utils, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import KeyUnusable, SignatureInvalid
from modelward.vault.hazmat import asymmetric, kem

KEYS = {name: asymmetric.generate(name) for name in asymmetric.ALGORITHMS}
every = pytest.mark.parametrize("name", asymmetric.ALGORITHMS)


@every
def test_signed_and_verified(name):
    key = KEYS[name]
    signature = asymmetric.sign(key, b"data")
    asymmetric.verify(key.public_key(), signature, b"data")
    for wrong, data in (
        (signature, b"datb"),
        (signature[:-1], b"data"),
        (b"", b"data"),
        (signature + b"\0", b"data"),
    ):
        with pytest.raises(SignatureInvalid, match=asymmetric.key_id(key)[:16]):
            asymmetric.verify(key.public_key(), wrong, data)


@every
def test_every_bit_of_a_signature(name):
    key = KEYS[name]
    signature = asymmetric.sign(key, b"data")
    step = 1 if len(signature) < 200 else 97
    for place in range(0, len(signature), step):
        for bit in range(8):
            changed = bytearray(signature)
            changed[place] ^= 1 << bit
            with pytest.raises(SignatureInvalid):
                asymmetric.verify(key.public_key(), bytes(changed), b"data")


@every
def test_another_key_of_the_same_kind(name):
    with pytest.raises(SignatureInvalid):
        asymmetric.verify(asymmetric.generate(name).public_key(), asymmetric.sign(KEYS[name], b"d"), b"d")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(asymmetric.ALGORITHMS), st.binary(max_size=100))
def test_any_data_is_signed(name, data):
    asymmetric.verify(KEYS[name].public_key(), asymmetric.sign(KEYS[name], data), data)


@given(st.sampled_from(asymmetric.ALGORITHMS), st.binary(max_size=150))
def test_any_bytes_are_no_signature(name, data):
    with pytest.raises(SignatureInvalid):
        asymmetric.verify(KEYS[name].public_key(), data, b"data")


def test_ed25519_of_the_rfc():
    """RFC 8032, section 7.1, test 3."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    )
    signature = (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert asymmetric.sign(key, bytes.fromhex("af82")).hex() == signature


@pytest.mark.parametrize(
    ("name", "x", "y", "r", "s"),
    [
        (
            "ecdsa-p256",
            "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
            "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            "ecdsa-p384",
            "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13",
            "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
            "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
        ),
    ],
)
def test_ecdsa_of_the_rfc(name, x, y, r, s):
    """RFC 6979, sections A.2.5 and A.2.6: message "sample", each curve with the hash that goes with it."""
    curve = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1()}[name]
    key = ec.EllipticCurvePublicNumbers(int(x, 16), int(y, 16), curve).public_key()
    signature = utils.encode_dss_signature(int(r, 16), int(s, 16))
    asymmetric.verify(key, signature, b"sample")
    with pytest.raises(SignatureInvalid):
        asymmetric.verify(key, signature, b"Sample")
    assert asymmetric.algorithm_of(key) == name


def test_the_hash_of_an_early_writer():
    key = KEYS["ecdsa-p384"]
    from cryptography.hazmat.primitives import hashes

    signature = key.sign(b"data", ec.ECDSA(hashes.SHA256()))
    asymmetric.verify(key.public_key(), signature, b"data", sha256=True)
    with pytest.raises(SignatureInvalid):
        asymmetric.verify(key.public_key(), signature, b"data")
    with pytest.raises(SignatureInvalid):
        asymmetric.verify(key.public_key(), asymmetric.sign(key, b"data"), b"data", sha256=True)


@pytest.mark.parametrize("name", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519"])
def test_openssl_verifies_what_is_signed_and_signs_what_is_verified(name, tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, data = KEYS[name], tmp_path / "data"
    data.write_bytes(b"data")
    (tmp_path / "public").write_bytes(asymmetric.public_pem(key))
    (tmp_path / "private").write_bytes(asymmetric.private_pem(key, b"passphrase"))
    (tmp_path / "signature").write_bytes(asymmetric.sign(key, b"data"))
    digest = [] if name == "ed25519" else ["-digest", {"6": "sha256", "4": "sha384", "1": "sha512"}[name[-1]]]
    verify = ["-verify", "-pubin", "-inkey", "public", "-sigfile", "signature"]
    sign = ["-sign", "-inkey", "private", "-passin", "pass:passphrase", "-out", "theirs"]
    for what in (verify, sign):
        subprocess.run(
            [openssl, "pkeyutl", *what, "-rawin", *digest, "-in", "data"],
            check=True,
            cwd=tmp_path,
            capture_output=True,
        )
    asymmetric.verify(key.public_key(), (tmp_path / "theirs").read_bytes(), b"data")


@every
def test_keys_are_written_and_read(name):
    key = KEYS[name]
    encrypted = asymmetric.private_pem(key, b"passphrase")
    assert b"ENCRYPTED" in encrypted
    again = asymmetric.load_private(encrypted, b"passphrase")
    assert asymmetric.public_pem(again) == asymmetric.public_pem(key)
    public = asymmetric.load_public(asymmetric.public_pem(key))
    assert asymmetric.key_id(public) == asymmetric.key_id(key)
    assert asymmetric.algorithm_of(key) == asymmetric.algorithm_of(public) == name


@every
def test_passphrases(name):
    key = KEYS[name]
    encrypted = asymmetric.private_pem(key, b"correct horse")
    with pytest.raises(KeyUnusable, match="the passphrase is wrong") as caught:
        asymmetric.load_private(encrypted, b"battery staple")
    assert "battery" not in f"{caught.value!r}{caught.value.__cause__!r}"
    with pytest.raises(KeyUnusable, match="encrypted and no passphrase was given"):
        asymmetric.load_private(encrypted, None)
    clear = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert asymmetric.load_private(clear, None)
    with pytest.raises(KeyUnusable, match="in clear"):
        asymmetric.load_private(clear, b"passphrase")


def test_keys_in_sec1():
    key = KEYS["ecdsa-p256"]
    old = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert asymmetric.key_id(asymmetric.load_private(old, None)) == asymmetric.key_id(key)


def test_the_name_of_a_key_is_the_hint_of_openssf(vectors_folder):
    """The published bundle names this key so."""
    pem = (vectors_folder / "keys" / "signing-key-pub.pem").read_bytes()
    name = asymmetric.key_id(asymmetric.load_public(pem))
    assert name == "e8450dec4eb99dae995da9af1bc2cc9f76ed669ee2e744f57abba763df3e3f8e"
    assert name.encode() in (vectors_folder / "v1.1.0-elliptic-key" / "model.sig").read_bytes()


@pytest.fixture
def vectors_folder():
    from pathlib import Path

    return Path(__file__).parents[2] / "vectors" / "seal" / "signing" / "openssf"


STRANGERS = [
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256K1()),
    ec.generate_private_key(ec.SECP224R1()),
    ed448.Ed448PrivateKey.generate(),
    x25519.X25519PrivateKey.generate(),
    dsa.generate_private_key(2048),
]


@pytest.mark.parametrize("key", STRANGERS, ids=lambda key: type(key).__name__)
def test_keys_that_do_not_sign_here(key):
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for load in (lambda: asymmetric.load_private(private, None), lambda: asymmetric.load_public(public)):
        with pytest.raises(KeyUnusable, match=r"is not one of|does not sign( here|$)"):
            load()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\xff",
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_key(pem):
    with pytest.raises(KeyUnusable):
        asymmetric.load_public(pem)
    for passphrase in (None, b"x"):
        with pytest.raises(KeyUnusable):
            asymmetric.load_private(pem, passphrase)


@pytest.mark.parametrize("curve", [0x6E, 0x6F, 0x70, 0x71])  # X25519, X448, Ed25519, Ed448
@pytest.mark.parametrize("size", [0, 31, 33])
@pytest.mark.parametrize("load", [asymmetric.load_private, kem.load_private])
def test_a_curves_key_of_another_length_is_refused(load, curve, size):
    """PKCS#8 (RFC 8410) that is well-formed around it; the library calls that an internal error."""
    inner = bytes([0x04, size + 2, 0x04, size, *bytes(size)])
    body = bytes([2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, curve]) + inner
    text = base64.b64encode(bytes([0x30, len(body)]) + body)
    pem = b"-----BEGIN PRIVATE KEY-----\n" + text + b"\n-----END PRIVATE KEY-----\n"
    with pytest.raises(KeyUnusable, match="no private key"):
        load(pem, None)


def test_a_private_key_is_no_public_one():
    with pytest.raises(KeyUnusable, match="no public key"):
        asymmetric.load_public(asymmetric.private_pem(KEYS["ed25519"], b"x"))
    with pytest.raises(KeyUnusable, match="no private key"):
        asymmetric.load_private(asymmetric.public_pem(KEYS["ed25519"]), None)


@given(st.binary(max_size=120))
def test_any_bytes_are_no_key(data):
    armoured = b"-----BEGIN PUBLIC KEY-----\n" + data + b"\n-----END PUBLIC KEY-----\n"
    for pem in (data, armoured):
        with pytest.raises(KeyUnusable):
            asymmetric.load_public(pem)
        with pytest.raises(KeyUnusable):
            asymmetric.load_private(pem.replace(b"PUBLIC", b"PRIVATE"), None)


def test_a_file_of_two_public_keys_is_refused():
    """The second would not count, and whoever named three owners in one file would ask for one."""
    pems = [asymmetric.public_pem(asymmetric.generate("ed25519")) for _ in range(2)]
    asymmetric.load_public(b"a note\n" + pems[0])
    with pytest.raises(KeyUnusable, match="several keys"):
        asymmetric.load_public(pems[0] + pems[1])


def test_a_recipients_key_is_called_so_though_it_has_two_blocks():
    with pytest.raises(KeyUnusable, match="a recipient's key: it opens, and does not sign"):
        asymmetric.load_public(kem.public_pem(kem.public_of(kem.generate("mlkem768-x25519"))))
