"""How recipients and identities are written on the command line, and new pairs of them.

A recipient is ``age1...``, ``vault:<mount>/<key>``, ``passphrase``, ``passphrase:env:<NAME>``,
``passphrase:file:<PATH>``, or the path of a public key in PEM (or of a file that holds ``age1...``).
An identity is ``vault:...``, ``passphrase...`` as above, ``env:<NAME>``, or the path of a private key in PEM
or of an identity file of age.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

from modelward.core.files import read_at_most
from modelward.errors import KeyUnusable
from modelward.vault.container.recipients import age
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.recipients.passphrase import Passphrase
from modelward.vault.container.recipients.transit import Transit
from modelward.vault.hazmat import kem
from modelward.vault.keys.secrets import named, read_secret_file, refuse_public, shielded

if TYPE_CHECKING:
    from modelward.vault.container.recipients.wrapping import Identity, Recipient
    from modelward.vault.keys.secrets import Ask, Warn

IdentityKind: TypeAlias = Literal["x25519", "mlkem768-x25519", "age"]
KINDS: Final[tuple[IdentityKind, ...]] = get_args(IdentityKind)
_PUBLIC: Final = 64 * 1024  # bytes of a file with a public key


class Pair(NamedTuple):
    """A new identity with its recipient.

    Attributes:
        private: content of the identity's file, encrypted by the passphrase.
        public: content of the recipient's file.
        name: the key's id in a container's header, 64 hexadecimal digits.
    """

    private: bytes
    public: bytes
    name: str

    def __repr__(self) -> str:
        return f"Pair({self.name[:16]})"


def parse_recipient(reference: str, passphrase: Ask | None = None, warn: Warn = lambda _: None) -> Recipient:
    """Read what a recipient is called.

    Args:
        reference: as the module's head lists.
        passphrase: asks for one; null where there is nobody to ask.
        warn: is told what is unwise about how a secret is kept.

    Raises:
        KeyUnusable: it names no recipient.
        FileMissing: there is no such file.
        KeyServiceFailed: Vault's address or token is missing.
        ExtraMissing: pyrage or hvac is not installed.
    """
    if reference.startswith("age1"):
        return age.AgeRecipient(reference)
    if reference.startswith("vault:"):
        return _transit(reference, warn)
    if _is_phrase(reference):
        return shielded(lambda: Passphrase(_phrase(reference, passphrase, warn)))
    path = Path(reference)
    too_long = KeyUnusable(f"{path}: is larger than {_PUBLIC} bytes, so it is no public key")
    content = read_at_most(path, _PUBLIC, too_long)
    if b"PRIVATE KEY" in content or age.SECRET in content or age.is_encrypted(content):
        raise KeyUnusable(
            f"{path}: is a private key", advice="A recipient is the public half; keep this one to yourself."
        )
    if content.startswith(b"age1"):
        return age.AgeRecipient(content.decode("ascii", "replace").strip())
    with named(reference):
        return HpkeRecipient(kem.load_public(content))


def open_identity(reference: str, passphrase: Ask | None = None, warn: Warn = lambda _: None) -> Identity:
    """Open the secret half of a recipient.

    Args:
        reference: as the module's head lists.
        passphrase: asks for the passphrase of an encrypted file, or for the one that opens; null where
            there is nobody to ask.
        warn: is told what is unwise about how a secret is kept.

    Raises:
        KeyUnusable: it names no identity, or the passphrase does not fit.
        FileMissing: there is no such file.
        KeyServiceFailed: Vault's address or token is missing.
        ExtraMissing: pyrage or hvac is not installed.
    """
    if reference.startswith("vault:"):
        return _transit(reference, warn)
    return shielded(lambda: _secret(reference, passphrase, warn))


def generate_identity(kind: IdentityKind, passphrase: bytes) -> Pair:
    """Make a new pair.

    Args:
        kind: `KINDS`; ``mlkem768-x25519`` also withstands a quantum computer.
        passphrase: encrypts the private half.

    Raises:
        KeyUnusable: the passphrase is empty, or not UTF-8 where age asks for it.
        ExtraMissing: pyrage is not installed.
    """
    if not passphrase:
        raise KeyUnusable("the passphrase is empty")
    if kind == "age":
        private, public = shielded(lambda: age.generate(passphrase))
        return Pair(private, public, age.AgeRecipient(public.decode().strip()).key_id)
    key = kem.generate(kind)
    half = kem.public_of(key)
    return Pair(kem.private_pem(key, passphrase), kem.public_pem(half), kem.key_id(half))


def _secret(reference: str, passphrase: Ask | None, warn: Warn) -> Identity:
    if _is_phrase(reference):
        return Passphrase(_phrase(reference, passphrase, warn))
    if reference.startswith("env:"):
        return _identity(_variable(reference.removeprefix("env:")), reference, passphrase)
    return _identity(read_secret_file(Path(reference), warn), reference, passphrase)


def _identity(content: bytes, reference: str, passphrase: Ask | None) -> Identity:
    if age.is_encrypted(content):
        return age.AgeIdentity(age.decrypt_identity(content, _ask(passphrase, reference)))
    if age.SECRET in content:
        return age.AgeIdentity(content)
    refuse_public(content, reference)
    phrase = _ask(passphrase, reference) if kem.is_encrypted(content) else None
    with named(reference):
        return HpkeIdentity(kem.load_private(content, phrase))


def _is_phrase(reference: str) -> bool:
    return reference == "passphrase" or reference.startswith("passphrase:")


def _phrase(reference: str, passphrase: Ask | None, warn: Warn) -> bytes:
    match reference.split(":", 2):
        case ["passphrase"]:
            return _ask(passphrase, reference)
        case ["passphrase", "env", name]:
            return _variable(name)
        case ["passphrase", "file", path]:
            return read_secret_file(Path(path), warn).split(b"\n", 1)[0].removesuffix(b"\r")
    raise KeyUnusable(
        f"{reference[:40]!r} names no passphrase",
        advice="Write `passphrase`, `passphrase:env:NAME` or `passphrase:file:PATH`, never the phrase.",
    )


def _ask(passphrase: Ask | None, reference: str) -> bytes:
    if passphrase is None:
        advice = "Give --passphrase-file, set MODELWARD_PASSPHRASE, or run it on a terminal."
        if _is_phrase(reference):
            advice = "Write passphrase:env:NAME or passphrase:file:PATH, or run it on a terminal."
        raise KeyUnusable(f"{reference}: a passphrase is needed and there is nobody to ask", advice=advice)
    return passphrase()


def _variable(name: str) -> bytes:
    value = os.environb.get(os.fsencode(name))
    if not value:
        raise KeyUnusable(f"the environment variable {name[:80]!r} is not set or empty")
    return value


def _transit(reference: str, warn: Warn) -> Transit:
    from modelward.vault.keys.transit import TransitWrapper, parse_reference

    key = parse_reference(reference)
    return Transit(f"{key.mount}/{key.name}", TransitWrapper(reference, warn))
