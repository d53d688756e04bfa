"""From the words that name a key to what signs with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelward.errors import KeyUnusable
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys import transit, uris
from modelward.vault.keys.secrets import named, read_secret_file, refuse_public, shielded
from modelward.vault.keys.signer import LocalSigner

if TYPE_CHECKING:
    from modelward.vault.keys.secrets import Ask, Warn
    from modelward.vault.keys.signer import Signer

ENVIRONMENT: Final = "env:"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def open_signer(reference: str, passphrase: Ask | None, *, warn: Warn = lambda _: None) -> Signer:
    """Open what signs.

    Args:
        reference: path of a PEM file; ``env:NAME``, a variable that holds PEM; a ``pkcs11:`` URI; or
            ``vault:<mount>/<key>[?version=<n>]``. A file of such a name is named with ``./`` before it.
        passphrase: gives the passphrase of an encrypted key, or a token's PIN; asked only when needed.
        warn: is told, in one sentence each, of a key in clear and of a file that others may read.

    Raises:
        FileMissing: there is no such file.
        KeyUnusable: it is no key that signs here, or the passphrase is wrong.
        KeyServiceFailed: the token or server does not do what is asked of it.
        ExtraMissing: the extra [keys] is not installed.
    """
    if reference.startswith(uris.PREFIX):
        from modelward.vault.keys.tokens import TokenSigner

        return TokenSigner(reference, passphrase, warn)
    if reference.startswith(transit.PREFIX):
        return transit.TransitSigner(reference, warn)
    if reference.startswith("sigstore:"):
        raise KeyUnusable("a sigstore identity signs without a key, and only the plain OpenSSF signature")
    return shielded(lambda: LocalSigner(_local(reference, passphrase, warn)))


def read_private_pem(reference: str, warn: Warn = lambda _: None) -> bytes:
    """The PEM that a path or ``env:NAME`` names, as it is.

    Raises:
        FileMissing: there is no such file.
        KeyUnusable: there is no such variable, or the file is too large for a key.
    """
    if not reference.startswith(ENVIRONMENT):
        return read_secret_file(Path(reference), warn)
    name = reference.removeprefix(ENVIRONMENT)
    if not _VARIABLE.fullmatch(name) or name not in os.environ:
        raise KeyUnusable(f"there is no environment variable of the name {name[:64]!r}")
    return os.environb[name.encode()]


def needed_passphrase(pem: bytes, reference: str, passphrase: Ask | None, warn: Warn) -> bytes | None:
    """Ask for the passphrase if the key is encrypted, and warn if it is not.

    Raises:
        KeyUnusable: it is encrypted and nobody can be asked, or the answer is empty.
    """
    if not kem.is_encrypted(pem):
        warn(f"{reference}: the private key is in clear; `modelward keys new` makes encrypted ones")
        return None
    if passphrase is None:
        raise KeyUnusable(
            f"{reference}: the private key is encrypted and no passphrase was given",
            advice="Give --passphrase-file, set MODELWARD_PASSPHRASE, or run it on a terminal.",
        )
    given = passphrase()
    if not given:
        raise KeyUnusable(f"{reference}: the passphrase is empty")
    return given


def _local(reference: str, passphrase: Ask | None, warn: Warn) -> asymmetric.PrivateKey:
    pem = read_private_pem(reference, warn)
    refuse_public(pem, reference)
    if b"PRIVATE KEY-----" not in pem:  # asked before the passphrase, which would be in vain
        raise KeyUnusable(f"{reference}: this is no private key in PEM")
    given = needed_passphrase(pem, reference, passphrase, warn)
    with named(reference):
        return asymmetric.load_private(pem, given)
