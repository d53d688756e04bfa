"""One-shot encryption to a public key: HPKE with X25519, or with X25519 and ML-KEM-768 together.

Sources: RFC 9180 (base mode; DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM), draft-ietf-hpke-pq
(MLKEM768-X25519, the combination known as X-Wing, with the same KDF and AEAD), FIPS 203 (ML-KEM).

A pair of both kinds is written as two PEM blocks in one file, first ML-KEM-768 and then X25519, because no
key format for the combination is settled. Both blocks are the ordinary ones (SubjectPublicKeyInfo, PKCS#8).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from cryptography.exceptions import InternalError, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from modelward.errors import KeyUnusable, SealDamaged
from modelward.vault.hazmat import asymmetric

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind: TypeAlias = Literal["x25519", "mlkem768-x25519"]
KINDS: Final[tuple[Kind, ...]] = ("x25519", "mlkem768-x25519")


class HybridPublic(NamedTuple):
    """Two public keys; what is encrypted to them needs both private halves."""

    lattice: mlkem.MLKEM768PublicKey
    curve: x25519.X25519PublicKey


class HybridPrivate(NamedTuple):
    """Two private keys that open together."""

    lattice: mlkem.MLKEM768PrivateKey
    curve: x25519.X25519PrivateKey

    def __repr__(self) -> str:  # a key never shows in a traceback or a log
        return "HybridPrivate(...)"


PublicKey: TypeAlias = x25519.X25519PublicKey | HybridPublic
PrivateKey: TypeAlias = x25519.X25519PrivateKey | HybridPrivate

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z ]{1,40})-----.{1,8192}?-----END \1-----\r?\n?", re.DOTALL)
_BLOCKS_MAX: Final = 2  # of one key
_SUITES: Final = {
    "x25519": hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    "mlkem768-x25519": hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
}


def generate(kind: Kind) -> PrivateKey:
    """A new private key from the system's random numbers."""
    curve = x25519.X25519PrivateKey.generate()
    return curve if kind == "x25519" else HybridPrivate(mlkem.MLKEM768PrivateKey.generate(), curve)


def seal(key: PublicKey, secret: bytes, info: bytes) -> bytes:
    """Encrypt a short secret to a public key.

    Args:
        key: whose.
        secret: what.
        info: bound to it; must be given again to open.

    Returns:
        The encapsulated key (32 or 1,120 bytes), the ciphertext and its tag of 16 bytes.

    Raises:
        KeyUnusable: the public key is a point of small order, to which nothing can be kept secret.
    """
    public = hpke.MLKEM768X25519PublicKey(key.lattice, key.curve) if isinstance(key, HybridPublic) else key
    try:
        return _SUITES[kind_of(key)].encrypt(secret, public, info)
    except ValueError as error:
        raise KeyUnusable("nothing can be encrypted to this public key: it is of small order") from error


def unseal(key: PrivateKey, sealed: bytes, info: bytes) -> bytes:
    """Decrypt what was encrypted to a key.

    Raises:
        SealDamaged: it was not encrypted to this key with this `info`, or was altered.
    """
    private = hpke.MLKEM768X25519PrivateKey(key.lattice, key.curve) if isinstance(key, HybridPrivate) else key
    try:
        return _SUITES[kind_of(key)].decrypt(sealed, private, info)
    except InvalidTag as error:
        raise SealDamaged("a wrapped key was altered, or belongs to another container") from error


def kind_of(key: PrivateKey | PublicKey) -> Kind:
    """Which kind a key is of."""
    return "mlkem768-x25519" if isinstance(key, HybridPrivate | HybridPublic) else "x25519"


def public_of(key: PrivateKey) -> PublicKey:
    """The public half."""
    if isinstance(key, HybridPrivate):
        return HybridPublic(key.lattice.public_key(), key.curve.public_key())
    return key.public_key()


def key_id(key: PublicKey) -> str:
    """The name of a key: SHA-256 of its public PEM, 64 hexadecimal digits."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def public_pem(key: PublicKey) -> bytes:
    """The public key as PEM (SubjectPublicKeyInfo); two blocks for a key of both kinds."""
    parts = key if isinstance(key, HybridPublic) else (key,)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return b"".join(part.public_bytes(serialization.Encoding.PEM, form) for part in parts)


def private_pem(key: PrivateKey, passphrase: bytes) -> bytes:
    """The private key as encrypted PKCS#8 in PEM; two blocks for a key of both kinds."""
    parts = key if isinstance(key, HybridPrivate) else (key,)
    closed = serialization.BestAvailableEncryption(passphrase)
    form = serialization.PrivateFormat.PKCS8
    return b"".join(part.private_bytes(serialization.Encoding.PEM, form, closed) for part in parts)


def load_public(pem: bytes) -> PublicKey:
    """Read a public key.

    Raises:
        KeyUnusable: it is no public key in PEM, or of a kind to which nothing is encrypted here.
    """
    try:
        keys = [serialization.load_pem_public_key(block) for block in _blocks(pem)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("this is no public key in PEM") from error
    match keys:
        case [x25519.X25519PublicKey() as curve]:
            return curve
        case [mlkem.MLKEM768PublicKey() as lattice, x25519.X25519PublicKey() as curve]:
            return HybridPublic(lattice, curve)
    raise _of_no_use(keys)


def load_private(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Read a private key.

    Args:
        pem: the text, PKCS#8.
        passphrase: of an encrypted key; null for one in clear.

    Raises:
        KeyUnusable: it is no private key, of a kind that does not decrypt here, or the passphrase is wrong.
    """
    try:
        keys = [serialization.load_pem_private_key(block, passphrase) for block in _blocks(pem)]
    except TypeError as error:  # so says the library where a passphrase is missing or is not needed
        raise KeyUnusable(
            "the private key is encrypted and no passphrase was given"
            if passphrase is None
            else "a passphrase was given for a private key that is in clear"
        ) from error
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:  # the last: a curve's key cut short
        hint = " or the passphrase is wrong" if passphrase is not None else ""
        raise KeyUnusable(f"this is no private key in PEM{hint}") from error
    match keys:
        case [x25519.X25519PrivateKey() as curve]:
            return curve
        case [mlkem.MLKEM768PrivateKey() as lattice, x25519.X25519PrivateKey() as curve]:
            return HybridPrivate(lattice, curve)
    raise _of_no_use(keys)


def is_encrypted(pem: bytes) -> bool:
    """Whether a PEM private key asks for a passphrase."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def _blocks(pem: bytes) -> list[bytes]:
    found = list(_BLOCK.finditer(pem))
    rest = _BLOCK.sub(b"", pem).strip()
    if not found or len(found) > _BLOCKS_MAX or b"-----" in rest:
        raise ValueError("not one or two blocks of PEM")
    return [match[0] for match in found]


def _of_no_use(keys: Sequence[object]) -> KeyUnusable:
    if all(isinstance(key, asymmetric.PrivateKey | asymmetric.PublicKey) for key in keys):
        return KeyUnusable(
            "this is a signer's key: it signs, and does not open",
            advice="`modelward keys new --recipient` makes a pair that opens.",
        )
    return KeyUnusable(
        "nothing is encrypted here to keys of this kind or order",
        advice="Known are one X25519 key, or ML-KEM-768 and X25519 in this order; "
        "`modelward keys new --recipient` makes a pair.",
    )
