"""Keys that HashiCorp Vault's transit engine holds: it signs and decrypts, and no private key leaves it.

Source: Vault's HTTP API, secrets engine transit (read key, sign, encrypt, decrypt). A reference reads
``vault:<mount>/<key>`` or ``vault:<mount>/<key>?version=<n>``; server and token are those that Vault's own
tools use: VAULT_ADDR, VAULT_NAMESPACE, VAULT_TOKEN or the file ``~/.vault-token``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import urlsplit

import msgspec

from modelward.core.home import home
from modelward.errors import ExtraMissing, KeyServiceFailed, KeyUnusable, SealDamaged, SignatureInvalid
from modelward.vault.dsse import decode64
from modelward.vault.keys.points import ed25519_pem
from modelward.vault.keys.secrets import read_secret_file, shielded
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelward.vault.keys.secrets import Warn

PREFIX: Final = "vault:"
_REFERENCE: Final = re.compile(
    r"vault:(?P<mount>[A-Za-z0-9_-][\w.-]*(?:/[A-Za-z0-9_-][\w.-]*)*)/(?P<name>[A-Za-z0-9_-][\w.-]*)"
    r"(?:\?version=(?P<version>[1-9][0-9]{0,5}))?",
    re.ASCII,
)
_CIPHERTEXT: Final = re.compile(r"vault:v[1-9][0-9]{0,5}:([A-Za-z0-9+/]{16,65536}={0,2})")
_SIGNATURE: Final = re.compile(r"vault:v([1-9][0-9]{0,5}):([A-Za-z0-9+/]{16,16384}={0,2})")
_HASHES: Final = {"ecdsa-p256": "sha2-256", "ecdsa-p384": "sha2-384", "ecdsa-p521": "sha2-512"}
_SECONDS: Final = 15


class TransitKey(msgspec.Struct, frozen=True, kw_only=True):
    """Which key of which engine.

    Attributes:
        mount: path of the engine, such as ``transit``.
        name: the key's name.
        version: of the key; null for the newest.
    """

    mount: str
    name: str
    version: int | None = None


def parse_reference(reference: str) -> TransitKey:
    """Read ``vault:<mount>/<key>[?version=<n>]``.

    Raises:
        KeyUnusable: it is no such reference.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise KeyUnusable(
            f"{reference[:120]!r} is not of the form vault:<mount>/<key> or vault:<mount>/<key>?version=<n>"
        )
    version = match["version"]
    return TransitKey(
        mount=match["mount"], name=match["name"], version=int(version) if version is not None else None
    )


@final
class TransitSigner:
    """A key that signs inside Vault. Its version is fixed when it is opened."""

    def __init__(self, reference: str, warn: Warn = lambda _: None) -> None:
        """Ask for the public key.

        Raises:
            KeyUnusable: the reference cannot be read, or the key is of a kind that does not sign here.
            KeyServiceFailed: Vault cannot be reached, refuses, or answers what makes no sense.
            ExtraMissing: hvac is not installed.
        """
        self._key = parse_reference(reference)
        self._service = _Service(warn)
        self._version, self.public = self._published()

    def sign(self, data: bytes) -> bytes:
        """Sign bytes: DER for ECDSA, raw for Ed25519; checked with the public key before it is returned."""
        hashed = _HASHES.get(self.public.algorithm)
        given = hashlib.new(hashed.replace("2-", "", 1), data).digest() if hashed is not None else data
        options: dict[str, str | bool] = {}
        if hashed is not None:
            options = {"hash_algorithm": hashed, "prehashed": True, "marshaling_algorithm": "asn1"}
        answer = self._service.ask(
            "sign",
            lambda client: client.secrets.transit.sign_data(
                name=self._key.name,
                hash_input=base64.b64encode(given).decode(),
                key_version=self._version,
                mount_point=self._key.mount,
                **options,
            ),
        )
        match = _SIGNATURE.fullmatch(_text(answer, "signature"))
        if match is None or int(match[1]) != self._version:
            raise KeyServiceFailed(f"Vault's signature is none of version {self._version} of the key")
        signature = _decoded(match[2])
        try:
            self.public.verify(signature, data)
        except SignatureInvalid as error:
            raise KeyServiceFailed("Vault's signature is not by the public key that it names") from error
        return signature

    def __repr__(self) -> str:
        return f"TransitSigner({self._key.mount}/{self._key.name})"

    def _published(self) -> tuple[int, Verifier]:
        answer = self._service.ask(
            "name the key",
            lambda client: client.secrets.transit.read_key(name=self._key.name, mount_point=self._key.mount),
        )
        kind, versions, newest = answer.get("type"), answer.get("keys"), answer.get("latest_version")
        if not isinstance(versions, dict) or not isinstance(newest, int):
            raise KeyServiceFailed("Vault does not say which versions the key has")
        if kind not in (*_HASHES, "ed25519"):
            raise KeyUnusable(
                f"the key is of the kind {str(kind)[:40]!r}; {', '.join(_HASHES)} and ed25519 sign"
            )
        if answer.get("derived"):
            raise KeyUnusable("the key is derived anew for each context, so it has no one public key")
        version = self._key.version or newest
        entry = versions.get(str(version))
        if not isinstance(entry, dict):
            raise KeyUnusable(f"the key has no version {version}")
        public = Verifier(_pem(_text(entry, "public_key"), ed25519=kind == "ed25519"))
        if public.algorithm != kind:
            raise KeyServiceFailed(f"Vault says that the key is {kind}, but it is {public.algorithm}")
        return version, public


@final
class TransitWrapper:
    """A symmetric key of Vault that wraps small secrets such as a container's master key."""

    def __init__(self, reference: str, warn: Warn = lambda _: None) -> None:
        """Read the reference; nothing is asked yet.

        Raises:
            KeyUnusable: the reference cannot be read.
            KeyServiceFailed: there is no address or no token.
            ExtraMissing: hvac is not installed.
        """
        self._key = parse_reference(reference)
        self._service = _Service(warn)

    def encrypt(self, plaintext: bytes, context: bytes) -> str:
        """Encrypt a small secret.

        Args:
            plaintext: the secret.
            context: what it belongs to; sent as associated data, so it must be the same to decrypt.

        Returns:
            Vault's text, ``vault:v<n>:<base64>``.

        Raises:
            KeyServiceFailed: Vault cannot be reached or refuses.
        """
        answer = self._service.ask(
            "encrypt",
            lambda client: client.secrets.transit.encrypt_data(
                name=self._key.name,
                plaintext=base64.b64encode(plaintext).decode(),
                associated_data=base64.b64encode(context).decode(),
                key_version=self._key.version,
                mount_point=self._key.mount,
            ),
        )
        text = _text(answer, "ciphertext")
        if not _well_formed(text):
            raise KeyServiceFailed("Vault's ciphertext is not of its own form")
        return text

    def decrypt(self, ciphertext: str, context: bytes) -> bytes:
        """Decrypt what `encrypt` gave.

        Raises:
            SealDamaged: it is no ciphertext of this key for this context.
            KeyServiceFailed: Vault cannot be reached or refuses.
        """
        if not _well_formed(ciphertext):
            raise SealDamaged("a secret wrapped by Vault is not of the form vault:v<n>:<base64>")
        return shielded(
            lambda: _decoded(
                _text(
                    self._service.ask(
                        "decrypt",
                        lambda client: client.secrets.transit.decrypt_data(
                            name=self._key.name,
                            ciphertext=ciphertext,
                            associated_data=base64.b64encode(context).decode(),
                            mount_point=self._key.mount,
                        ),
                    ),
                    "plaintext",
                )
            )
        )

    def __repr__(self) -> str:
        return f"TransitWrapper({self._key.mount}/{self._key.name})"


@final
class _Service:
    """The server, as Vault's own environment variables name it."""

    def __init__(self, warn: Warn) -> None:
        self._client = shielded(lambda: _connect(warn))

    def ask(self, what: str, call: Callable[[Any], object]) -> Mapping[str, Any]:
        """Ask, and refuse without the frames that hold the token."""
        from hvac.exceptions import VaultError  # type: ignore[import-untyped]  # hvac ships no types

        answer: object = None
        try:
            answer = call(self._client)
            refusal = ""
        except VaultError as error:
            refusal = "; ".join(str(e) for e in error.errors or [error])[:200]
        except OSError as error:  # all that requests raises is one
            refusal = f"it cannot be reached ({type(error).__name__})"
        if refusal:
            if what == "decrypt" and re.search("authentication failed|invalid ciphertext", refusal):
                raise SealDamaged(f"Vault does not decrypt the wrapped secret: {refusal}")
            raise KeyServiceFailed(f"Vault does not {what}: {refusal}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise KeyServiceFailed(f"Vault does not {what}: its answer holds no data")
        return data


def _connect(warn: Warn) -> Any:
    try:
        import hvac  # type: ignore[import-untyped]  # hvac ships no types
    except ImportError as error:
        raise ExtraMissing("hvac", "keys") from error
    address = os.environ.get("VAULT_ADDR", "")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise KeyServiceFailed("VAULT_ADDR does not name Vault's server, such as https://vault.example:8200")
    if parts.username is not None or parts.password is not None:
        raise KeyServiceFailed("VAULT_ADDR holds a name or a password; Vault is asked by token")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise KeyServiceFailed("VAULT_ADDR is http, so the token would travel in clear; use https")
    return hvac.Client(
        url=address,
        token=_token(warn),
        namespace=os.environ.get("VAULT_NAMESPACE"),
        timeout=_SECONDS,
        allow_redirects=False,  # the token would follow to wherever the answer points
    )


def _token(warn: Warn) -> str:
    given = os.environ.get("VAULT_TOKEN", "")
    if not given:
        file = home() / ".vault-token"
        if not file.is_file():
            raise KeyServiceFailed("there is no token for Vault: neither VAULT_TOKEN nor ~/.vault-token")
        given = read_secret_file(file, warn).decode("ascii", "replace").strip()
    if not given or not given.isascii() or not given.isprintable():
        raise KeyServiceFailed("the token for Vault is empty or holds what no token holds")
    return given


def _well_formed(ciphertext: str) -> bool:
    match = _CIPHERTEXT.fullmatch(ciphertext)
    if match is None or len(match[1]) % 4:
        return False
    return base64.b64encode(decode64(match[1])).decode() == match[1]  # no two spellings of one secret


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise KeyServiceFailed(f"Vault's answer lacks its {name.replace('_', ' ')}")
    return value


def _decoded(text: str) -> bytes:
    try:
        return decode64(text)
    except SealDamaged as error:
        raise KeyServiceFailed("Vault's answer is not base64") from error


def _pem(text: str, *, ed25519: bool) -> bytes:
    if not ed25519 or text.startswith("-----BEGIN"):
        return text.encode()
    return ed25519_pem(_decoded(text))
