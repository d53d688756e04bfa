"""Keyless signatures: an identity signs with a key of ten minutes, and a public log remembers it.

The protocol is Sigstore's and is left to its own library (extra `sigstore`). Signing talks to the certificate
authority, the log and the timestamp authority of the instance; verification needs no network with
``offline``, since the bundle carries the log's proof and the library the instance's keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.errors import ConfigInvalid, ExtraMissing, KeyServiceFailed, SealDamaged, SignatureInvalid
from modelward.vault import bundle, dsse
from modelward.vault.signing.verification import Verified

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken

_CLIENT: Final = "sigstore"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """Which Sigstore instance to trust.

    Attributes:
        trust: file with a client trust configuration, for an instance of one's own; null for the public one.
        offline: use the keys of the public instance that the library ships, and do not ask for newer ones.
    """

    trust: Path | None = None
    offline: bool = False


def sign_keyless(
    statement: dsse.Statement, *, token: str | None = None, instance: Instance | None = None
) -> bytes:
    """Sign a statement as the identity that a token is for.

    Args:
        statement: what to sign; its subject's digest must be of the SHA-2 or SHA-3 family.
        token: an OpenID Connect identity token; null to ask the environment for one, as workflows offer it.
        instance: see `Instance`.

    Returns:
        The bundle, JSON.

    Raises:
        ExtraMissing: the Sigstore library is not installed.
        KeyServiceFailed: there is no token, it is not accepted, or a service does not answer.
        ConfigInvalid: the statement or the trust configuration is not what Sigstore can use.
    """
    try:
        from requests import RequestException
        from sigstore.dsse import Statement
        from sigstore.errors import Error
        from sigstore.oidc import ExpiredIdentity, IssuerError
        from sigstore.sign import SigningContext
    except ImportError as error:
        raise ExtraMissing("sigstore", "sigstore") from error
    try:
        content = Statement(statement.encode())
    except Error as error:
        raise ConfigInvalid(
            "Sigstore does not sign this statement",
            advice="Sign the OpenSSF statement, or a tree by SHA-256.",
        ) from error
    identity = _identity(token)
    config = _trust(instance or Instance())
    try:
        with SigningContext.from_trust_config(config).signer(identity) as signer:
            made: str = signer.sign_dsse(content).to_json()
    except (Error, ExpiredIdentity, IssuerError, RequestException, ValueError) as error:
        raise KeyServiceFailed(f"Sigstore did not sign: {_words(error)}") from error
    return made.encode() + b"\n"


def verify_keyless(data: bytes, *, identity: str, issuer: str, instance: Instance | None = None) -> Verified:
    """Check a keyless signature: certificate, log entry, timestamp and who signed.

    Args:
        data: the bundle, JSON.
        identity: who must have signed, such as an e-mail address or a workflow.
        issuer: URL of who vouched for the identity.
        instance: see `Instance`.

    Raises:
        ExtraMissing: the Sigstore library is not installed.
        SealDamaged: it is no bundle of a keyless signature.
        SignatureInvalid: it does not hold, or is by somebody else.
        KeyServiceFailed: the instance's keys cannot be had.
        ConfigInvalid: the trust configuration cannot be read.
    """
    try:
        from sigstore.errors import Error, VerificationError
        from sigstore.models import Bundle, InvalidBundle
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError as error:
        raise ExtraMissing("sigstore", "sigstore") from error
    read = bundle.decode(data)
    if "certificate" not in read.material:
        raise SealDamaged("the bundle holds no certificate, so it is no keyless signature")
    config = _trust(instance or Instance())
    try:
        parsed = Bundle.from_json(data)
        checker = Verifier(trusted_root=config.trusted_root)
        kind, payload = checker.verify_dsse(parsed, Identity(identity=identity, issuer=issuer))
    except VerificationError as error:
        raise SignatureInvalid(f"the keyless signature does not hold: {_words(error)}") from error
    except (InvalidBundle, ValueError) as error:
        raise SealDamaged(f"the bundle is none of Sigstore's: {_words(error)}") from error
    except Error as error:
        raise SealDamaged(f"the bundle cannot be verified: {_words(error)}") from error
    if (kind, payload) != (read.envelope.payload_type, read.envelope.payload):
        raise SealDamaged("two readers find two payloads in the bundle")
    return Verified(statement=dsse.statement_of(read.envelope), signers=(identity,))


def _identity(token: str | None) -> IdentityToken:
    from sigstore.oidc import IdentityError, IdentityToken, detect_credential

    try:
        raw = token or detect_credential(_CLIENT)
        if raw is None:
            raise KeyServiceFailed(
                "there is no identity token", advice="Give one, or sign in a workflow that offers one."
            )
        return IdentityToken(raw, _CLIENT)
    except IdentityError as error:  # its sentence says what is wrong and never the token
        raise KeyServiceFailed(f"the identity token is not accepted: {_words(error)}") from None


def _trust(instance: Instance) -> ClientTrustConfig:
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig

    if instance.trust is None:
        try:
            return ClientTrustConfig.production(offline=instance.offline)
        except (Error, OSError) as error:
            raise KeyServiceFailed(
                f"the keys of the public instance cannot be had: {_words(error)}",
                advice="Verify offline with the keys that the library ships.",
            ) from error
    try:
        return ClientTrustConfig.from_json(instance.trust.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"{instance.trust}: is no client trust configuration") from error


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
