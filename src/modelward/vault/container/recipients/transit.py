"""Recipients that are keys in HashiCorp Vault's transit engine.

Stanza: ``{"kind": "vault", "key": "<mount>/<name>", "wrapped": "vault:v<n>:<base64>"}``. What is bound is
given to Vault as associated data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

from modelward.vault.container.recipients.wrapping import WRAPPED, bound, fields, master_key, text

if TYPE_CHECKING:
    from modelward.vault.container.recipients.wrapping import Stanza

KIND: Final = "vault"


class Wrapper(Protocol):
    """A server that encrypts and decrypts small secrets."""

    def encrypt(self, plaintext: bytes, context: bytes) -> str:
        """Encrypt, bound to a context."""
        ...

    def decrypt(self, ciphertext: str, context: bytes) -> bytes:
        """Decrypt, given the same context."""
        ...


@final
class Transit:
    """A key in Vault, as a recipient and as an identity: who may do which is Vault's policy."""

    def __init__(self, name: str, wrapper: Wrapper) -> None:
        self.name = name
        self._wrapper = wrapper

    def wrap(self, master: bytes, container_id: bytes) -> Stanza:
        """Have Vault encrypt the master key."""
        wrapped = self._wrapper.encrypt(master, bound(KIND, container_id))
        return {"kind": KIND, "key": self.name, "wrapped": wrapped}

    def unwrap(self, stanza: Stanza, container_id: bytes) -> bytes | None:
        """Have Vault decrypt the master key, if this key encrypted it."""
        if stanza["kind"] != KIND:
            return None
        fields(stanza, "key", "wrapped")
        wrapped = text(stanza, "wrapped", WRAPPED)
        if text(stanza, "key") != self.name:
            return None
        return master_key(self._wrapper.decrypt(wrapped, bound(KIND, container_id)))

    def __repr__(self) -> str:
        return f"Transit({self.name})"
