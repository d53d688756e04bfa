"""Signatures over bytes: ECDSA on the NIST curves, Ed25519, ML-DSA-65.

Sources: FIPS 186-5 (ECDSA, Ed25519), FIPS 204 (ML-DSA). The hash of ECDSA follows the curve (SHA-256, SHA-384
and SHA-512 for P-256, P-384 and P-521), as Sigstore's registry of algorithms has it; signatures are DER.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519

from modelward.errors import KeyUnusable, SignatureInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

Algorithm: TypeAlias = Literal["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ml-dsa-65"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = (
    "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ml-dsa-65"
)  # fmt: skip

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey

_Opening: TypeAlias = (  # the halves of a recipient's keys, see `kem`
    x25519.X25519PrivateKey | x25519.X25519PublicKey | mlkem.MLKEM768PrivateKey | mlkem.MLKEM768PublicKey
)
_CURVES: Final[dict[str, tuple[Algorithm, ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "secp256r1": ("ecdsa-p256", ec.SECP256R1(), hashes.SHA256()),
    "secp384r1": ("ecdsa-p384", ec.SECP384R1(), hashes.SHA384()),
    "secp521r1": ("ecdsa-p521", ec.SECP521R1(), hashes.SHA512()),
}


def generate(algorithm: Algorithm) -> PrivateKey:
    """A new private key from the system's random numbers."""
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ml-dsa-65":
        return mldsa.MLDSA65PrivateKey.generate()
    curve = next(curve for name, curve, _ in _CURVES.values() if name == algorithm)
    return ec.generate_private_key(curve)


def load_private(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Read a private key, PEM, PKCS#8 or SEC 1.

    Args:
        pem: the text.
        passphrase: of an encrypted key; null for one in clear.

    Raises:
        KeyUnusable: it is no private key, of a kind that does not sign here, or the passphrase does not fit.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError as error:  # so says the library where a passphrase is missing or is not needed
        lacks = passphrase is None
        raise KeyUnusable(
            "the private key is encrypted and no passphrase was given"
            if lacks
            else "a passphrase was given for a private key that is in clear"
        ) from error
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:  # the last: a curve's key cut short
        hint = " or the passphrase is wrong" if passphrase is not None else ""
        raise KeyUnusable(f"this is no private key in PEM{hint}") from error
    return _signing(key)


def load_public(pem: bytes) -> PublicKey:
    """Read a public key, PEM (SubjectPublicKeyInfo).

    Raises:
        KeyUnusable: it is no public key, several, or of a kind whose signatures are not known here.
    """
    try:
        key = _verifying(serialization.load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("this is no public key in PEM") from error
    if pem.count(b"-----BEGIN ") > 1:  # all but the first would be passed over in silence
        raise KeyUnusable("this holds several keys; name a file of one key for each")
    return key


def public_pem(key: PrivateKey | PublicKey) -> bytes:
    """The public key as PEM (SubjectPublicKeyInfo)."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: PrivateKey, passphrase: bytes) -> bytes:
    """The private key as encrypted PKCS#8 in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def key_id(key: PrivateKey | PublicKey) -> str:
    """The name of a key: SHA-256 of its public PEM, 64 hexadecimal digits (the hint of OpenSSF bundles)."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def algorithm_of(key: PrivateKey | PublicKey) -> Algorithm:
    """Which algorithm a key signs by."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, mldsa.MLDSA65PrivateKey | mldsa.MLDSA65PublicKey):
        return "ml-dsa-65"
    return _CURVES[key.curve.name][0]


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Sign bytes."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(_CURVES[key.curve.name][2]))
    return key.sign(data)


def verify(key: PublicKey, signature: bytes, data: bytes, *, sha256: bool = False) -> None:
    """Check a signature.

    Args:
        key: of whom it claims to be.
        signature: DER for ECDSA, raw for Ed25519 and ML-DSA.
        data: what was signed.
        sha256: ECDSA hashes by SHA-256 whatever the curve, as one early writer of bundles did.

    Raises:
        SignatureInvalid: it is not by this key over these bytes.
    """
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            digest = hashes.SHA256() if sha256 else _CURVES[key.curve.name][2]
            key.verify(signature, data, ec.ECDSA(digest))
        else:
            key.verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(f"the signature by key {key_id(key)[:16]} is not over these bytes") from error


def _signing(key: PrivateKeyTypes) -> PrivateKey:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        _known_curve(key.curve)
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey):
        return key
    raise _of_no_use(key)


def _verifying(key: PublicKeyTypes) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey):
        _known_curve(key.curve)
        return key
    if isinstance(key, ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey):
        return key
    raise _of_no_use(key)


def _of_no_use(key: object) -> KeyUnusable:
    if isinstance(key, _Opening):
        return KeyUnusable("this is a recipient's key: it opens, and does not sign")
    return KeyUnusable(f"a key of this kind does not sign here; known are {', '.join(ALGORITHMS)}")


def _known_curve(curve: ec.EllipticCurve) -> None:
    if curve.name not in _CURVES:
        raise KeyUnusable(f"the curve {curve.name} is not one of {', '.join(_CURVES)}")
