"""Verify a bundle: who signed the statement in it.

Every signature that names a known key must hold: a bad one refuses, however many others are good. A signature
that names no key, or names it in another way than by our ids, is tried with each known key: what DSSE calls a
key id is a hint and nothing more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.errors import SealDamaged, SignatureInvalid, SignerMissing
from modelward.vault import bundle, dsse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from modelward.vault.keys.signer import Verifier

_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")
_EARLY: Final = 1 << 25
"""Bytes of a payload of model-signing 0.2, at most: as it spells them they may be four times as many."""
_UNNAMED: Final = 16
"""Signatures of a bundle that name no key, at most: each is tried with every known key."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that was signed by keys that are known.

    Attributes:
        statement: what they signed.
        signers: ids of the keys whose signatures hold, each once, in the order of the signatures; for
            keyless signatures the identities.
    """

    statement: dsse.Statement
    signers: tuple[str, ...]


def verify_bundle(
    data: bytes,
    verifiers: Sequence[Verifier],
    *,
    threshold: int = 1,
    moment: datetime | None = None,
    authorities: bytes = b"",
    post_quantum: bool = False,
) -> Verified:
    """Check the signatures of a bundle.

    Args:
        data: the bundle, JSON.
        verifiers: the keys that are known; the same key twice counts once.
        threshold: how many of them must have signed, at least 1.
        moment: when a certificate must be valid; null for now.
        authorities: certificates in PEM that a signing certificate in the bundle must lead to; without them
            certificates are not looked at.
        post_quantum: one of the signatures must be by ML-DSA-65.

    Raises:
        SealDamaged: it is no bundle around an in-toto statement.
        SignatureInvalid: a signature is not by the key that it names, or none is by a known key and one
            names none.
        SignerMissing: too few known keys signed, or none of them by ML-DSA-65 where that is required.
        KeyExpired: the signing certificate is not valid at the moment.
        ValueError: the threshold is below 1.
    """
    if threshold < 1:
        raise ValueError(f"a threshold of {threshold} keys would be met by nobody's signature")
    read = bundle.decode(data)
    known = {verifier.key_id: verifier for verifier in verifiers}
    if authorities and "x509CertificateChain" in read.material:
        from modelward.vault.signing.certificates import signing_key  # x509 costs start-up time

        holder = signing_key(read.material, authorities, moment)
        known[holder.key_id] = holder
    signers, others = _signers(read, known)
    _require(signers, others, known, threshold)
    if post_quantum and not any(known[key_id].algorithm == "ml-dsa-65" for key_id in signers):
        raise SignerMissing("no signature by a known ML-DSA-65 key, which is required")
    return Verified(statement=dsse.statement_of(read.envelope), signers=tuple(signers))


def _signers(read: bundle.Bundle, known: Mapping[str, Verifier]) -> tuple[list[str], list[str]]:
    """The ids of known keys that signed, and what other signatures are named (perhaps nothing)."""
    signers: dict[str, None] = {}
    others: list[str] = []
    early = len(read.envelope.signatures) == 1 and not read.envelope.signatures[0].keyid
    early = early and len(read.envelope.payload) <= _EARLY
    if sum(_KEY_ID.fullmatch(one.keyid) is None for one in read.envelope.signatures) > _UNNAMED:
        raise SealDamaged(f"more than {_UNNAMED} signatures of the bundle name no key")
    for index, signature in enumerate(read.envelope.signatures):
        name = signature.keyid or (read.hint if index == 0 else "")
        if name in known:
            _check(known[name], signature.sig, read.envelope, early=early)
            signers[name] = None
        elif _KEY_ID.fullmatch(name):
            others.append(name)
        else:
            found = _by_trial(signature.sig, read.envelope, known, early=early)
            if found is None:
                others.append(name)
            else:
                signers[found] = None
    return list(signers), others


def _by_trial(
    signature: bytes, envelope: dsse.Envelope, known: Mapping[str, Verifier], *, early: bool
) -> str | None:
    for key_id, verifier in known.items():
        try:
            _check(verifier, signature, envelope, early=early)
        except SignatureInvalid:
            continue
        return key_id
    return None


def _check(verifier: Verifier, signature: bytes, envelope: dsse.Envelope, *, early: bool) -> None:
    try:
        verifier.verify(signature, envelope.signed_bytes())
    except SignatureInvalid:
        if not early or envelope.payload_type != dsse.IN_TOTO:
            raise
        _check_early(verifier, signature, envelope.payload)


def _check_early(verifier: Verifier, signature: bytes, payload: bytes) -> None:
    """As model-signing 0.2 signed: over Python's spelling of the payload, by SHA-256 whatever the curve.

    The spelling is one to one, and its prefix ``DSSEV1`` is none of DSSE's, so nothing else is let in.
    """
    message = f"DSSEV1 {len(dsse.IN_TOTO)} {dsse.IN_TOTO} {len(payload)} {payload!r}".encode()
    try:
        verifier.verify(signature, message, sha256=True)
    except SignatureInvalid:
        verifier.verify(signature, message)


def _require(
    signers: Sequence[str], others: Sequence[str], known: Mapping[str, Verifier], threshold: int
) -> None:
    if not known:
        raise SignerMissing("no public key was given, so nobody's signature counts")
    if len(signers) >= threshold:
        return
    if not signers and not all(_KEY_ID.fullmatch(name) for name in others):
        raise SignatureInvalid(
            f"the signature is by none of the {len(known)} known keys, or what was signed was altered"
        )
    by = ", ".join(name[:16] for name in others[:10] if name)
    also = f"; others that signed: {by}" if by else ""
    raise SignerMissing(f"{len(signers)} of the {len(known)} known keys signed, {threshold} must{also}")
