"""Certificates in a bundle: from the one that signed to an authority that is trusted.

Source: RFC 5280, section 6.1 (path validation), as far as signing certificates of models need it: names,
signatures, validity, basic constraints, key usage. Any other extension that is marked critical refuses.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from modelward.errors import KeyExpired, KeyUnusable, SealDamaged, SignatureInvalid, SignerMissing
from modelward.vault.dsse import decode64
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.canonical import JSON

LONGEST: Final = 8
"""Certificates of a chain, at most."""

_UNDERSTOOD: Final = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
)

Extension = TypeVar("Extension", bound=x509.ExtensionType)


def signing_key(material: Mapping[str, JSON], authorities: bytes, moment: datetime | None = None) -> Verifier:
    """The key of the certificate that signed, once its chain leads to an authority.

    Args:
        material: the bundle's verification material, with ``x509CertificateChain``.
        authorities: trusted certificates in PEM, at least one.
        moment: when all certificates must be valid; null for now. The bundle itself proves no time.

    Raises:
        SealDamaged: the chain is none.
        SignerMissing: it does not lead to one of the authorities.
        SignatureInvalid: a certificate of it may not do what it does.
        KeyExpired: one is not valid at the moment.
        KeyUnusable: the authorities cannot be read.
    """
    when = (moment or datetime.now(UTC)).astimezone(UTC)
    with warnings.catch_warnings():  # what the library only warns of, the RFC does not allow
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        try:
            return _holder(_chain(material), _authorities(authorities), when)
        except CryptographyDeprecationWarning as error:
            raise SealDamaged("a certificate is not what RFC 5280 allows") from error


def _holder(chain: list[x509.Certificate], trusted: list[x509.Certificate], when: datetime) -> Verifier:
    _may_sign(chain[0])
    current, above = chain[0], 0
    while True:
        _valid(current, when)
        if current in trusted:
            break
        issuer = _issuer(current, [*trusted, *chain[1:]])
        _may_issue(issuer, above)
        current, above = issuer, above + 1
        if above > LONGEST:
            raise SignerMissing("the certificates of the bundle lead to no authority that is trusted")
    return _verifier(chain[0])


def _chain(material: Mapping[str, JSON]) -> list[x509.Certificate]:
    holder = material.get("x509CertificateChain")
    listed = holder.get("certificates") if isinstance(holder, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= LONGEST:
        raise SealDamaged(f"the bundle holds no chain of 1 to {LONGEST} certificates")
    return [_certificate(item) for item in listed]


def _certificate(item: JSON) -> x509.Certificate:
    raw = item.get("rawBytes") if isinstance(item, dict) else None
    if not isinstance(raw, str):
        raise SealDamaged("a certificate of the bundle has no bytes")
    data = decode64(raw)
    try:
        return x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise SealDamaged("a certificate of the bundle cannot be read") from error


def _authorities(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise KeyUnusable("the authorities are no certificates in PEM") from error


def _issuer(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate:
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return candidate
    raise SignerMissing("the certificates of the bundle lead to no authority that is trusted")


def _valid(certificate: x509.Certificate, when: datetime) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= when <= last:
        raise KeyExpired(
            f"a certificate of the bundle is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"not on {when:%Y-%m-%d}"
        )


def _may_sign(certificate: x509.Certificate) -> None:
    _understood(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None and extended is None:
        raise SignatureInvalid("the signing certificate does not say that it may sign")
    if usage is not None and not usage.digital_signature:
        raise SignatureInvalid("the signing certificate may not sign (key usage)")
    if extended is not None and ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise SignatureInvalid("the signing certificate may not sign code (extended key usage)")


def _may_issue(certificate: x509.Certificate, between: int) -> None:
    _understood(certificate)
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise SignatureInvalid("a certificate of the bundle was issued by one that may not issue any")
    if basic.path_length is not None and between > basic.path_length:
        raise SignatureInvalid("the chain of certificates is longer than an authority allows")


def _understood(certificate: x509.Certificate) -> None:
    for extension in _extensions(certificate):
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise SignatureInvalid(
                f"a certificate has a critical extension {extension.oid.dotted_string} that is not understood"
            )


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    for extension in _extensions(certificate):
        if isinstance(extension.value, kind):
            return extension.value
    return None


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise SealDamaged("the extensions of a certificate cannot be read") from error


def _verifier(certificate: x509.Certificate) -> Verifier:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("the key of the signing certificate cannot be read") from error
    return Verifier(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
