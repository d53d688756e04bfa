"""HPKE by known answers and by a second route written here; keys in PEM; passphrases by Argon2id."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import KeyUnusable, SealDamaged
from modelward.vault.hazmat import kem, passphrase

AEADS = {1: (AESGCM, 16), 2: (AESGCM, 32), 3: (ChaCha20Poly1305, 32)}
X25519, HYBRID = 0x0020, 0x647A
SECRET = bytes(range(32))
CHEAP = passphrase.Costs()


@pytest.fixture(scope="module", params=kem.KINDS)
def key(request):
    return kem.generate(request.param)


# A second route to the same algorithm: RFC 9180, sections 4 and 5.1, with HKDF-SHA256; and the combination of
# draft-connolly-cfrg-xwing-kem, section 5.


def mac(key, data):
    state = hmac.HMAC(key, hashes.SHA256())
    state.update(data)
    return state.finalize()


def extract(suite, salt, label, material):
    return mac(salt or bytes(32), b"HPKE-v1" + suite + label + material)


def expand(suite, secret, label, info, length):
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return (mac(secret, info + b"\x01"))[:length]


def dh_secret(shared, enc, public):
    suite = b"KEM" + X25519.to_bytes(2, "big")
    prk = extract(suite, b"", b"eae_prk", shared)
    return expand(suite, prk, b"shared_secret", enc + public, 32)


def combine(lattice, curve, sent, public):
    return hashlib.sha3_256(lattice + curve + sent + public + rb"\.//^\ "[:-1]).digest()


def schedule(kem_id, aead_id, shared, info):
    suite = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (kem_id, 1, aead_id))
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    aead, size = AEADS[aead_id]
    key = expand(suite, secret, b"key", context, size)
    nonce = expand(suite, secret, b"base_nonce", context, 12)
    return key, nonce, aead(key)


def raw(key):
    return key.public_bytes_raw()


def decapsulate(private, enc):
    if isinstance(private, kem.HybridPrivate):
        curve, lattice = private.curve, private.lattice
        sent = enc[1088:]
        shared = curve.exchange(x25519.X25519PublicKey.from_public_bytes(sent))
        return combine(lattice.decapsulate(enc[:1088]), shared, sent, raw(curve.public_key()))
    shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
    return dh_secret(shared, enc, raw(private.public_key()))


def encapsulate(public):
    ephemeral = x25519.X25519PrivateKey.generate()
    sent = raw(ephemeral.public_key())
    if isinstance(public, kem.HybridPublic):
        shared, cipher = public.lattice.encapsulate()
        return combine(shared, ephemeral.exchange(public.curve), sent, raw(public.curve)), cipher + sent
    return dh_secret(ephemeral.exchange(public), sent, raw(public)), sent


def numbers(kind):
    return (X25519, 32) if kind == "x25519" else (HYBRID, 1120)


def of_seed(seed):
    """Section 5.2 of the X-Wing draft."""
    stretched = hashlib.shake_256(seed).digest(96)
    return kem.HybridPrivate(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(stretched[:64]),
        x25519.X25519PrivateKey.from_private_bytes(stretched[64:]),
    )


def published(root):
    path = root / "tests/vectors/seal/recipients/hpke.json"
    return json.loads(path.read_text(encoding="utf-8"))["vectors"]


@pytest.fixture(scope="module")
def root(request):
    return request.config.rootpath


@pytest.mark.parametrize("at", range(3))
def test_the_second_route_gives_the_published_answers(root, at):
    vector = published(root)[at]
    value = {
        name: bytes.fromhex(text) for name, text in vector.items() if isinstance(text, str) and name != "name"
    }
    if vector["kem_id"] == X25519:
        private = x25519.X25519PrivateKey.from_private_bytes(value["skRm"])
        assert raw(private.public_key()) == value["pkRm"]
    else:
        private = of_seed(value["skRm"])
        assert raw(private.lattice.public_key()) + raw(private.curve.public_key()) == value["pkRm"]
    shared = decapsulate(private, value["enc"])
    assert shared == value["shared_secret"]
    key, nonce, aead = schedule(vector["kem_id"], vector["aead_id"], shared, value["info"])
    assert (key, nonce) == (value["key"], value["base_nonce"])
    assert aead.decrypt(nonce, value["ciphertext"], value["aad"]) == value["plaintext"]


def test_the_second_route_opens_what_is_sealed(key):
    sealed = kem.seal(kem.public_of(key), SECRET, b"what it belongs to")
    kem_id, size = numbers(kem.kind_of(key))
    assert len(sealed) == size + 32 + 16
    _, nonce, aead = schedule(kem_id, 2, decapsulate(key, sealed[:size]), b"what it belongs to")
    assert aead.decrypt(nonce, sealed[size:], b"") == SECRET


def test_what_the_second_route_seals_is_opened(key):
    kem_id, _ = numbers(kem.kind_of(key))
    shared, enc = encapsulate(kem.public_of(key))
    _, nonce, aead = schedule(kem_id, 2, shared, b"info")
    assert kem.unseal(key, enc + aead.encrypt(nonce, SECRET, b""), b"info") == SECRET


def test_a_secret_comes_back(key):
    sealed = kem.seal(kem.public_of(key), SECRET, b"info")
    assert kem.unseal(key, sealed, b"info") == SECRET
    assert sealed != kem.seal(kem.public_of(key), SECRET, b"info")


def test_both_halves_are_needed():
    mine, other = kem.generate("mlkem768-x25519"), kem.generate("mlkem768-x25519")
    sealed = kem.seal(kem.public_of(mine), SECRET, b"")
    for half in (mine._replace(lattice=other.lattice), mine._replace(curve=other.curve)):
        with pytest.raises(SealDamaged):
            kem.unseal(half, sealed, b"")


def test_every_flipped_byte_is_seen(key):
    sealed = bytearray(kem.seal(kem.public_of(key), SECRET, b"info"))
    for at in range(len(sealed)):
        sealed[at] ^= 1 << at % 8
        with pytest.raises(SealDamaged, match="altered"):
            kem.unseal(key, bytes(sealed), b"info")
        sealed[at] ^= 1 << at % 8
    assert kem.unseal(key, bytes(sealed), b"info") == SECRET


def test_the_highest_bit_of_a_point_counts_though_x25519_ignores_it(key):
    size = numbers(kem.kind_of(key))[1]
    sealed = bytearray(kem.seal(kem.public_of(key), SECRET, b""))
    sealed[size - 1] ^= 0x80
    with pytest.raises(SealDamaged):
        kem.unseal(key, bytes(sealed), b"")


def test_every_length_is_refused_but_its_own(key):
    sealed = kem.seal(kem.public_of(key), SECRET, b"")
    for wrong in [sealed[:n] for n in range(0, len(sealed), 7)] + [sealed + b"\0"]:
        with pytest.raises(SealDamaged):
            kem.unseal(key, wrong, b"")


def test_what_is_bound_must_be_given_again(key):
    sealed = kem.seal(kem.public_of(key), SECRET, b"info")
    for info in (b"", b"inf", b"info "):
        with pytest.raises(SealDamaged, match="another container"):
            kem.unseal(key, sealed, info)


def test_another_key_does_not_open(key):
    sealed = kem.seal(kem.public_of(key), SECRET, b"")
    with pytest.raises(SealDamaged):
        kem.unseal(kem.generate(kem.kind_of(key)), sealed, b"")


def test_one_kind_does_not_open_what_is_for_the_other():
    both = kem.generate("mlkem768-x25519")
    with pytest.raises(SealDamaged):
        kem.unseal(both.curve, kem.seal(kem.public_of(both), SECRET, b""), b"")
    with pytest.raises(SealDamaged):
        kem.unseal(both, kem.seal(both.curve.public_key(), SECRET, b""), b"")


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_points_of_small_order_are_refused(point):
    small = x25519.X25519PublicKey.from_public_bytes(point)
    with pytest.raises(KeyUnusable, match="small order"):
        kem.seal(small, SECRET, b"")
    lattice = kem.public_of(kem.generate("mlkem768-x25519")).lattice
    with pytest.raises(KeyUnusable, match="small order"):
        kem.seal(kem.HybridPublic(lattice, small), SECRET, b"")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_open_by_chance(data):
    for kind in kem.KINDS:
        with pytest.raises(SealDamaged):
            kem.unseal(kem.generate(kind), data, b"")


# PEM


def test_a_pair_is_read_back(key):
    text = kem.private_pem(key, b"a good passphrase")
    assert kem.is_encrypted(text)
    again = kem.load_private(text, b"a good passphrase")
    assert kem.key_id(kem.public_of(again)) == kem.key_id(kem.public_of(key))
    public = kem.load_public(kem.public_pem(kem.public_of(key)))
    assert kem.unseal(again, kem.seal(public, SECRET, b""), b"") == SECRET


def test_a_name_is_the_digest_of_the_public_text(key):
    public = kem.public_of(key)
    assert kem.key_id(public) == hashlib.sha256(kem.public_pem(public)).hexdigest()
    assert kem.public_pem(public).count(b"BEGIN PUBLIC KEY") == (1 if kem.kind_of(key) == "x25519" else 2)


def test_the_passphrase_must_fit(key):
    text = kem.private_pem(key, b"a good passphrase")
    with pytest.raises(KeyUnusable, match="passphrase is wrong"):
        kem.load_private(text, b"another")
    with pytest.raises(KeyUnusable, match="no passphrase was given"):
        kem.load_private(text, None)


def clear(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_key_in_clear_takes_no_passphrase():
    text = clear(x25519.X25519PrivateKey.generate())
    assert not kem.is_encrypted(text)
    assert kem.kind_of(kem.load_private(text, None)) == "x25519"
    with pytest.raises(KeyUnusable, match="is in clear"):
        kem.load_private(text, b"needless")


def test_openssl_reads_and_writes_the_same_files(tmp_path):
    """Also with scrypt, which makes guessing dearer than the library's own PBKDF2 does."""
    key, path, strong = kem.generate("x25519"), tmp_path / "key.pem", tmp_path / "strong.pem"
    path.write_bytes(kem.private_pem(key, b"a good passphrase"))
    environment = dict(os.environ, PHRASE="a good passphrase")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-passin", "env:PHRASE", "-pubout"],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    assert kem.key_id(kem.load_public(shown.stdout)) == kem.key_id(key.public_key())
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-in", path, "-passin", "env:PHRASE", "-passout", "env:PHRASE", "-out", strong],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    again = kem.load_private(strong.read_bytes(), b"a good passphrase")
    assert kem.key_id(again.public_key()) == kem.key_id(key.public_key())


def pem_of(key):
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_keys_of_other_kinds_are_refused():
    both = kem.generate("mlkem768-x25519")
    lattice, curve = both.lattice, both.curve
    private = [
        [ed25519.Ed25519PrivateKey.generate()], [ec.generate_private_key(ec.SECP256R1())], [lattice],
        [curve, lattice], [curve, curve], [lattice, lattice],
    ]  # fmt: skip
    for place, keys in enumerate(private):
        said = (
            "a signer's key: it signs, and does not open"
            if place < 2
            else "nothing is encrypted here to keys"
        )
        with pytest.raises(KeyUnusable, match=said):
            kem.load_public(b"".join(pem_of(key.public_key()) for key in keys))
        with pytest.raises(KeyUnusable, match=said):
            kem.load_private(b"".join(map(clear, keys)), None)


def test_what_is_no_pem_is_refused(key):
    public = kem.public_pem(kem.public_of(key))
    broken = [
        b"",
        b"ssh-ed25519 AAAA",
        public[:-20],
        public.replace(b"PUBLIC", b"PRIVATE"),
        public * 3,
        public[30:],
    ]
    for text in [*broken, public + b"-----BEGIN PUBLIC KEY-----\n", b"\xff" * 100]:
        with pytest.raises(KeyUnusable):
            kem.load_public(text)
        with pytest.raises(KeyUnusable):
            kem.load_private(text, None)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_altered_public_key_is_refused_or_has_another_name(data):
    """But for the six bits of base64 that say nothing, and white space."""
    text = bytearray(PUBLIC)
    digits = [at for at in range(PUBLIC.index(b"\n"), PUBLIC.index(b"=")) if PUBLIC[at : at + 1].isalnum()][
        :-1
    ]
    at = data.draw(st.sampled_from(digits))
    text[at] = data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))
    try:
        found = kem.load_public(bytes(text))
    except KeyUnusable:
        return
    assert kem.key_id(found) != kem.key_id(kem.load_public(PUBLIC))


PUBLIC = kem.public_pem(kem.public_of(kem.generate("mlkem768-x25519")))


def test_private_halves_are_not_shown():
    both = kem.generate("mlkem768-x25519")
    assert repr(both) == "HybridPrivate(...)"
    assert f"{both}" == "HybridPrivate(...)"


# Passphrases


def test_a_secret_comes_back_by_its_passphrase():
    salt = os.urandom(passphrase.SALT)
    sealed = passphrase.seal(b"phrase", SECRET, salt=salt, costs=CHEAP, bound=b"a")
    assert len(sealed) == 48
    assert passphrase.unseal(b"phrase", sealed, salt=salt, costs=CHEAP, bound=b"a") == SECRET
    assert passphrase.unseal(b"phrasf", sealed, salt=salt, costs=CHEAP, bound=b"a") is None
    assert passphrase.unseal(b"phrase", sealed, salt=salt, costs=CHEAP, bound=b"b") is None


def test_the_key_is_what_openssl_derives():
    """Key and nonce by OpenSSL's own Argon2id, the cipher by hand."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    salt = bytes(range(16))
    sealed = passphrase.seal(b"phrase", SECRET, salt=salt, costs=CHEAP, bound=b"a")
    out = Argon2id(salt=salt, length=44, iterations=3, lanes=4, memory_cost=65536).derive(b"phrase")
    assert AESGCM(out[:32]).decrypt(out[32:], sealed, b"a") == SECRET
    with pytest.raises(InvalidTag):
        AESGCM(out[:32]).decrypt(out[32:], sealed, b"")


def test_the_derivation_gives_the_answer_of_rfc_9106():
    """Section 5.3, which has a secret and associated data that a container does not use."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    )
    assert (
        kdf.derive(b"\x01" * 32).hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    )


@pytest.mark.parametrize(
    ("costs", "named"),
    [
        ({"memory": 65535}, "memory"),
        ({"memory": 2**20 + 1}, "memory"),
        ({"memory": 2**31}, "memory"),
        ({"passes": 0}, "passes"),
        ({"passes": 17}, "passes"),
        ({"passes": 2}, "memory times passes"),
        ({"memory": 2**20, "passes": 5}, "memory times passes"),
        ({"lanes": 0}, "lanes"),
        ({"lanes": 17}, "lanes"),
    ],
)
def test_costs_out_of_bounds_are_refused_before_they_are_paid(costs, named, monkeypatch):
    monkeypatch.setattr(passphrase, "Argon2id", lambda **_: pytest.fail("it was computed"))
    with pytest.raises(SealDamaged, match=f"Argon2id with {named} = "):
        passphrase.unseal(b"phrase", bytes(48), salt=bytes(16), costs=passphrase.Costs(**costs), bound=b"")
    with pytest.raises(SealDamaged):
        passphrase.seal(b"phrase", SECRET, salt=bytes(16), costs=passphrase.Costs(**costs), bound=b"")


def test_the_first_pass_alone_is_enough_over_three_times_the_memory():
    passphrase.check(passphrase.Costs(memory=3 * 65536, passes=1))
    passphrase.check(passphrase.Costs(memory=2**20, passes=4))


@pytest.mark.parametrize("length", [0, 8, 15, 17])
def test_a_salt_has_its_length(length):
    with pytest.raises(SealDamaged, match="salt"):
        passphrase.unseal(b"phrase", bytes(48), salt=bytes(length), costs=CHEAP, bound=b"")
