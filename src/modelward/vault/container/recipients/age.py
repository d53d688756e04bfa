"""Recipients of age (age-encryption.org/v1, X25519), through pyrage.

Stanza: ``{"kind": "age", "key": <SHA-256 of the recipient's text>, "wrapped": <base64 of an age file>}``.
The age file holds what is bound, then the master key: age has no place for associated data.
"""

from __future__ import annotations

import hashlib
import hmac
from importlib import import_module
from typing import TYPE_CHECKING, Final, final

from modelward.errors import ExtraMissing, KeyUnusable, SealDamaged
from modelward.vault.container.recipients.wrapping import bound, data, encode, fields, master_key, text

if TYPE_CHECKING:
    from types import ModuleType

    from modelward.vault.container.recipients.wrapping import Stanza

KIND: Final = "age"
SECRET: Final = b"AGE-SECRET-KEY-1"
_FILES: Final = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_IDENTITIES: Final = 64  # in one file


@final
class AgeRecipient:
    """A public key of age."""

    def __init__(self, recipient: str) -> None:
        """Read ``age1...``.

        Raises:
            KeyUnusable: it is no recipient of age with X25519.
            ExtraMissing: pyrage is not installed.
        """
        pyrage = _pyrage()
        try:
            self._key = pyrage.x25519.Recipient.from_str(recipient)
        except (pyrage.RecipientError, UnicodeEncodeError) as error:  # arguments may be no Unicode
            raise KeyUnusable(f"{recipient[:80]!r} is no recipient of age with an X25519 key") from error
        self.key_id = _key_id(recipient)

    def wrap(self, master: bytes, container_id: bytes) -> Stanza:
        """Encrypt the master key by age."""
        sealed = _pyrage().encrypt(bound(KIND, container_id) + master, [self._key])
        return {"kind": KIND, "key": self.key_id, "wrapped": encode(sealed)}


@final
class AgeIdentity:
    """The private keys in one identity file of age."""

    def __init__(self, content: bytes) -> None:
        """Read lines ``AGE-SECRET-KEY-1...``; empty lines and those that begin with ``#`` mean nothing.

        Raises:
            KeyUnusable: a line is no private key of age with X25519, or there is none.
            ExtraMissing: pyrage is not installed.
        """
        pyrage = _pyrage()
        lines = [line.strip() for line in content.splitlines()]
        lines = [line for line in lines if line and not line.startswith(b"#")]
        if not 1 <= len(lines) <= _IDENTITIES:
            raise KeyUnusable(f"an identity file of age holds 1 to {_IDENTITIES} keys, this one {len(lines)}")
        try:
            keys = [pyrage.x25519.Identity.from_str(line.decode("ascii")) for line in lines]
        except (pyrage.IdentityError, UnicodeDecodeError):
            keys = []
        if not keys:  # raised here, where no cause or context holds the line
            raise KeyUnusable("a line is no private key of age with X25519")
        self._keys = {_key_id(str(key.to_public())): key for key in keys}

    def unwrap(self, stanza: Stanza, container_id: bytes) -> bytes | None:
        """Decrypt the master key, if it was encrypted to one of these keys."""
        if stanza["kind"] != KIND:
            return None
        fields(stanza, "key", "wrapped")
        sealed = data(stanza, "wrapped")
        key = self._keys.get(text(stanza, "key"))
        if key is None:
            return None
        pyrage = _pyrage()
        try:
            found: bytes = pyrage.decrypt(sealed, [key])
        except pyrage.DecryptError as error:
            raise SealDamaged("a key wrapped by age was altered") from error
        prefix = bound(KIND, container_id)
        if not hmac.compare_digest(found[: len(prefix)], prefix):
            raise SealDamaged("a key wrapped by age belongs to another container")
        return master_key(found[len(prefix) :])

    def __repr__(self) -> str:  # a key never shows in a traceback or a log
        return f"AgeIdentity({', '.join(key[:16] for key in self._keys)})"


def is_encrypted(content: bytes) -> bool:
    """Whether this is a file of age and not an identity in clear."""
    return content.startswith(_FILES)


def decrypt_identity(content: bytes, passphrase: bytes) -> bytes:
    """Decrypt an identity file that ``age -p`` encrypted.

    Raises:
        KeyUnusable: the passphrase is wrong, or it is no such file.
        ExtraMissing: pyrage is not installed.
    """
    pyrage = _pyrage()
    found: bytes | None
    try:
        found = pyrage.passphrase.decrypt(content, passphrase.decode())
    except (pyrage.DecryptError, UnicodeDecodeError):
        found = None
    if found is None:
        raise KeyUnusable("the identity file of age is not encrypted by this passphrase")
    return found


def generate(passphrase: bytes) -> tuple[bytes, bytes]:
    """A new identity, encrypted as ``age -p`` does, and its recipient's text.

    Raises:
        KeyUnusable: the passphrase is not UTF-8.
        ExtraMissing: pyrage is not installed.
    """
    pyrage = _pyrage()
    key = pyrage.x25519.Identity.generate()
    public = str(key.to_public())
    content = f"# public key: {public}\n{key}\n".encode()
    try:
        phrase = passphrase.decode()
    except UnicodeDecodeError:
        phrase = None
    if phrase is None:
        raise KeyUnusable("age takes a passphrase in UTF-8")
    closed: bytes = pyrage.passphrase.encrypt(content, phrase, armored=True)
    return closed, public.encode() + b"\n"


def _key_id(recipient: str) -> str:
    return hashlib.sha256(recipient.encode()).hexdigest()


def _pyrage() -> ModuleType:
    try:
        return import_module("pyrage")  # it ships no types
    except ImportError as error:
        raise ExtraMissing("pyrage", "keys") from error
