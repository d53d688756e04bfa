"""Public keys and signatures as tokens and servers give them, in the forms that the rest of the vault reads.

Sources: SEC 1 section 2.3.3 (points), RFC 8410 (Ed25519 in SubjectPublicKeyInfo), PKCS#11 v3.0 section 2.3.1
(an ECDSA signature as r and s, each of the curve's order's length).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modelward.errors import KeyUnusable
from modelward.vault.hazmat import asymmetric

if TYPE_CHECKING:
    from modelward.vault.hazmat.asymmetric import Algorithm

_CURVES: Final[dict[Algorithm, ec.EllipticCurve]] = {
    "ecdsa-p256": ec.SECP256R1(),
    "ecdsa-p384": ec.SECP384R1(),
    "ecdsa-p521": ec.SECP521R1(),
}


def ed25519_pem(raw: bytes) -> bytes:
    """The PEM of a raw Ed25519 public key.

    Raises:
        KeyUnusable: it is not of 32 bytes.
    """
    if len(raw) != 32:
        raise KeyUnusable(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
    return asymmetric.public_pem(ed25519.Ed25519PublicKey.from_public_bytes(raw))


def ecdsa_pem(algorithm: Algorithm, point: bytes) -> bytes:
    """The PEM of a point on a curve.

    Args:
        algorithm: one of the three of ECDSA.
        point: SEC 1, compressed or not.

    Raises:
        KeyUnusable: the point is not on the curve.
    """
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm], point)
    except ValueError as error:
        raise KeyUnusable(f"the public key is no point of the curve of {algorithm}") from error
    return asymmetric.public_pem(key)


def der_signature(raw: bytes) -> bytes:
    """An ECDSA signature, r and s side by side, as DER.

    Raises:
        KeyUnusable: it is not of an even, positive length.
    """
    half, odd = divmod(len(raw), 2)
    if odd or not half:
        raise KeyUnusable(f"an ECDSA signature of {len(raw)} bytes is not two numbers of one length")
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
