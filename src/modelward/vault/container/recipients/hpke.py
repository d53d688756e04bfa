"""Recipients with a public key: X25519, or ML-KEM-768 and X25519 together, by HPKE.

Stanza: ``{"kind": "x25519" | "mlkem768-x25519", "key": <id of the public key>, "wrapped": <base64>}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from modelward.vault.container.recipients.wrapping import bound, data, encode, fields, master_key, text
from modelward.vault.hazmat import kem

if TYPE_CHECKING:
    from modelward.vault.container.recipients.wrapping import Stanza


@final
class HpkeRecipient:
    """A public key."""

    def __init__(self, key: kem.PublicKey) -> None:
        self._key = key
        self.key_id = kem.key_id(key)

    def wrap(self, master: bytes, container_id: bytes) -> Stanza:
        """Encrypt the master key to the public key."""
        kind = kem.kind_of(self._key)
        sealed = kem.seal(self._key, master, bound(kind, container_id))
        return {"kind": kind, "key": self.key_id, "wrapped": encode(sealed)}


@final
class HpkeIdentity:
    """A private key."""

    def __init__(self, key: kem.PrivateKey) -> None:
        self._key = key
        self.key_id = kem.key_id(kem.public_of(key))

    def unwrap(self, stanza: Stanza, container_id: bytes) -> bytes | None:
        """Decrypt the master key, if it was encrypted to this key."""
        kind = kem.kind_of(self._key)
        if stanza["kind"] != kind:
            return None
        fields(stanza, "key", "wrapped")
        sealed = data(stanza, "wrapped")
        if text(stanza, "key") != self.key_id:
            return None
        return master_key(kem.unseal(self._key, sealed, bound(kind, container_id)))

    def __repr__(self) -> str:  # a key never shows in a traceback or a log
        return f"HpkeIdentity({self.key_id[:16]})"
