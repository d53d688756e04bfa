"""What signs and what verifies, wherever the private key lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

from modelward.core.files import read_at_most
from modelward.errors import KeyUnusable
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.secrets import named

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.vault.hazmat.asymmetric import Algorithm, PrivateKey, PublicKey

_LARGEST_PEM: Final = 1 << 16


class Signer(Protocol):
    """A private key that can be used, not necessarily read: a file, a token, a server."""

    @property
    def public(self) -> Verifier:
        """Its public half."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Sign bytes: DER for ECDSA, raw for Ed25519 and ML-DSA.

        Raises:
            KeyServiceFailed: the token or server that holds the key does not sign.
        """
        ...


@final
class Verifier:
    """A public key.

    Attributes:
        key_id: SHA-256 of the PEM, 64 hexadecimal digits.
        algorithm: what it signs by.
        pem: SubjectPublicKeyInfo.
    """

    def __init__(self, pem: bytes) -> None:
        self._key: PublicKey = asymmetric.load_public(pem)
        self.pem = asymmetric.public_pem(self._key)  # one spelling, so that one key has one name
        self.key_id: str = asymmetric.key_id(self._key)
        self.algorithm: Algorithm = asymmetric.algorithm_of(self._key)

    @staticmethod
    def read(path: Path) -> Verifier:
        """The public key in a PEM file.

        Raises:
            FileMissing: it cannot be read.
            KeyUnusable: it holds no key that verifies here.
        """
        too_long = KeyUnusable(f"{path}: is larger than {_LARGEST_PEM} bytes, so it is no public key")
        pem = read_at_most(path, _LARGEST_PEM, too_long)
        if b"PRIVATE KEY-----" in pem:
            raise KeyUnusable(
                f"{path}: is a private key", advice=f"Give its public half, such as {path}.pub."
            )
        with named(path):
            return Verifier(pem)

    def verify(self, signature: bytes, data: bytes, *, sha256: bool = False) -> None:
        """Check a signature over bytes.

        Args:
            signature: DER for ECDSA, raw for Ed25519 and ML-DSA.
            data: what was signed.
            sha256: see `asymmetric.verify`.

        Raises:
            SignatureInvalid: it is not by this key over these bytes.
        """
        asymmetric.verify(self._key, signature, data, sha256=sha256)


@final
class LocalSigner:
    """A private key in this process's memory."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public = Verifier(asymmetric.public_pem(key))

    def sign(self, data: bytes) -> bytes:
        """Sign bytes."""
        return asymmetric.sign(self._key, data)

    def __repr__(self) -> str:  # a key never shows in a traceback or a log
        return f"LocalSigner({self.public.key_id[:16]})"
