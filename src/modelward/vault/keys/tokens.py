"""Private keys inside PKCS#11 tokens: they sign there and never leave.

Source: OASIS PKCS#11 v3.0, sections 2.3.6 (ECDSA without hashing: r and s side by side) and 2.3.14 (EdDSA).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from modelward.errors import ExtraMissing, KeyServiceFailed, KeyUnusable, SignatureInvalid
from modelward.vault.keys.points import der_signature, ecdsa_pem, ed25519_pem
from modelward.vault.keys.secrets import first_line, shielded
from modelward.vault.keys.signer import Verifier
from modelward.vault.keys.uris import parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pkcs11

    from modelward.vault.hazmat.asymmetric import Algorithm
    from modelward.vault.keys.secrets import Ask, Warn
    from modelward.vault.keys.uris import TokenKey

MODULE: Final = "MODELWARD_PKCS11_MODULE"
# CKA_EC_PARAMS to algorithm, hash and length of a point: DER of the curve's object identifier or, in some
# modules, of its name.
_CURVES: Final[dict[bytes, tuple[Algorithm, str, int]]] = {
    bytes.fromhex("06082a8648ce3d030107"): ("ecdsa-p256", "sha256", 65),
    bytes.fromhex("06052b81040022"): ("ecdsa-p384", "sha384", 97),
    bytes.fromhex("06052b81040023"): ("ecdsa-p521", "sha512", 133),
    bytes.fromhex("06032b6570"): ("ed25519", "", 32),
    bytes.fromhex("130c") + b"edwards25519": ("ed25519", "", 32),
}
# A login belongs to the process and ends with the session that made it, so one session per token is kept.
_SESSIONS: Final[dict[tuple[str, bytes], pkcs11.Session]] = {}


@final
class TokenSigner:
    """A private key in a token."""

    def __init__(self, uri: str, passphrase: Ask | None, warn: Warn = lambda _: None) -> None:
        """Log in and find the key and its public half.

        Args:
            uri: RFC 7512; `module-path` may be left to the variable MODELWARD_PKCS11_MODULE.
            passphrase: gives the PIN where the URI has no `pin-source`.
            warn: is told when others may read the file that holds the PIN.

        Raises:
            KeyUnusable: the URI cannot be read, the PIN is wrong, or the token holds no such key.
            KeyServiceFailed: the token or its module does not do what is asked of it.
            ExtraMissing: python-pkcs11 is not installed.
        """
        key = parse_uri(uri)
        self._uri = uri
        self._key, public = shielded(lambda: _find(key, passphrase, warn))
        self._hash, self.public = public

    def sign(self, data: bytes) -> bytes:
        """Sign bytes: DER for ECDSA, raw for Ed25519; checked with the public key before it is returned."""
        from pkcs11 import Mechanism, PKCS11Error

        try:
            if self._hash:
                digest = hashlib.new(self._hash, data).digest()
                signature = der_signature(self._key.sign(digest, mechanism=Mechanism.ECDSA))
            else:
                signature = self._key.sign(data, mechanism=Mechanism.EDDSA)
            self.public.verify(signature, data)
        except PKCS11Error as error:
            raise KeyServiceFailed(f"the token does not sign: {_named(error)}") from error
        except (SignatureInvalid, KeyUnusable) as error:
            raise KeyServiceFailed("the token's signature is not by the public key beside it") from error
        return signature

    def __repr__(self) -> str:
        return f"TokenSigner({self._uri.partition('?')[0]})"


def _find(key: TokenKey, passphrase: Ask | None, warn: Warn) -> tuple[Any, tuple[str, Verifier]]:
    try:
        from pkcs11 import Attribute, ObjectClass, PKCS11Error
    except ImportError as error:
        raise ExtraMissing("python-pkcs11", "keys") from error
    template: dict[Attribute, Any] = {}
    if key.object is not None:
        template[Attribute.LABEL] = key.object
    if key.id is not None:
        template[Attribute.ID] = key.id
    try:
        session = _session(key, passphrase, warn)
        private = _only(
            session.get_objects({**template, Attribute.CLASS: ObjectClass.PRIVATE_KEY}), "private key"
        )
        beside: dict[Attribute, Any] = {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.ID: private[Attribute.ID],
        }
        public = _only(
            session.get_objects(beside if private[Attribute.ID] else {**template, **beside}), "public key"
        )
        parameters, point = bytes(public[Attribute.EC_PARAMS]), bytes(public[Attribute.EC_POINT])
    except PKCS11Error as error:
        raise KeyServiceFailed(f"the token does not show the key: {_named(error)}") from error
    if parameters not in _CURVES:
        raise KeyUnusable(
            f"the key is on none of the curves of {', '.join(a for a, _, _ in _CURVES.values())}"
        )
    algorithm, hashed, length = _CURVES[parameters]
    raw = _point(point, length)
    return private, (hashed, Verifier(ecdsa_pem(algorithm, raw) if hashed else ed25519_pem(raw)))


def _session(key: TokenKey, passphrase: Ask | None, warn: Warn) -> pkcs11.Session:
    import pkcs11

    module = key.module_path or os.environ.get(MODULE, "")
    if not module.startswith("/"):
        raise KeyUnusable(f"no PKCS#11 module is named: give module-path=/path/to.so or set {MODULE}")
    if not Path(module).is_file():
        raise KeyServiceFailed(f"{module}: there is no such PKCS#11 module")
    try:
        tokens = list(pkcs11.lib(module).get_tokens(token_label=key.token))
    except RuntimeError as error:  # PKCS11Error is one, and so is a library that cannot be loaded
        raise KeyServiceFailed(f"{module}: the module does not answer: {_named(error)}") from error
    token = _only((t for t in tokens if _matches(t, key)), "token")
    held = _SESSIONS.get((module, token.serial))
    if held is not None:
        return held
    try:
        session: pkcs11.Session = token.open(user_pin=_pin(key, passphrase, warn))
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise KeyUnusable("the token's PIN is wrong; a few more wrong ones will lock it") from error
    _SESSIONS[module, token.serial] = session
    return session


def _matches(token: pkcs11.Token, key: TokenKey) -> bool:
    facts = (
        (key.token, token.label),
        (key.manufacturer, token.manufacturer_id),
        (key.serial, token.serial.decode("utf-8", "replace")),
        (key.model, token.model),
    )
    # An uninitialised slot of SoftHSM has an empty label, which no URI that names a token matches.
    return all(wanted is None or wanted == found.rstrip() for wanted, found in facts)


def _pin(key: TokenKey, passphrase: Ask | None, warn: Warn) -> str:
    source = key.pin_source
    if source is None:
        if passphrase is None:
            raise KeyUnusable("the token asks for a PIN, and there is neither pin-source= nor anyone to ask")
        given = passphrase()
    elif source.startswith("env:"):
        given = os.environb.get(source.removeprefix("env:").encode(), b"")
    else:
        given = first_line(Path(source), warn)
    if not given:
        raise KeyUnusable("the token's PIN is empty")
    return given.decode("utf-8", "replace")


def _only(found: Iterable[Any], what: str) -> Any:
    several = list(found)
    if len(several) != 1:
        raise KeyUnusable(
            f"{len(several) or 'no'} {what}{'s' * (len(several) > 1)} matched the URI; one must"
        )
    return several[0]


def _point(value: bytes, length: int) -> bytes:
    """A point as SEC 1 has it; the standard wraps it in an octet string, some modules do not."""
    if len(value) == length:
        return value
    header = bytes([4, length]) if length < 128 else bytes([4, 0x81, length])
    if value[: len(header)] != header or len(value) != len(header) + length:
        raise KeyUnusable("the token's public key is no point of its curve")
    return value[len(header) :]


def _named(error: RuntimeError) -> str:
    said = str(error)[:120]
    return f"{type(error).__name__}{f' ({said})' if said else ''}"
