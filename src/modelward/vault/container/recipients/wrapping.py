"""The contract of recipients: what wraps a master key, what unwraps it, and the record between them.

A record ("stanza") is a JSON object of texts and whole numbers in the container's header. Its field ``kind``
says how the master key is wrapped. Every wrapping binds the container's id, so that a stanza of one container
says nothing in another.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from modelward.core.canonical import JSON
from modelward.errors import KeyUnusable, RecipientWrong, SealDamaged
from modelward.vault.dsse import decode64

if TYPE_CHECKING:
    from collections.abc import Sequence

Stanza: TypeAlias = dict[str, JSON]

MASTER: Final = 32  # bytes of a master key
RECIPIENTS: Final = 256  # that one container may have
PASSPHRASES: Final = 4  # of these: each costs the opener seconds, and whoever alters a header adds some
WRAPPED: Final = 64 * 1024  # characters of one wrapped key
_NAME: Final = re.compile(r"[ -~]{1,256}")
_NUMBER: Final = 2**31


class Recipient(Protocol):
    """Somebody who shall open a container."""

    def wrap(self, master: bytes, container_id: bytes) -> Stanza:
        """Wrap the master key.

        Args:
            master: `MASTER` bytes.
            container_id: of the container that it opens.

        Raises:
            KeyUnusable: nothing can be wrapped for this key.
            KeyServiceFailed: the server that wraps does not.
        """
        ...


class Identity(Protocol):
    """The secret half: what opens a container."""

    def unwrap(self, stanza: Stanza, container_id: bytes) -> bytes | None:
        """Unwrap the master key.

        Returns:
            The `MASTER` bytes; null when the stanza is for somebody else.

        Raises:
            SealDamaged: the stanza is for this identity and was altered, or is malformed.
            KeyServiceFailed: the server that unwraps does not.
        """
        ...


def wrap_for(
    recipients: Sequence[Recipient], master: bytes, container_id: bytes, *, kept: Sequence[Stanza] = ()
) -> list[Stanza]:
    """Wrap a master key for every recipient, in their order.

    Args:
        recipients: who shall open the container.
        master: `MASTER` bytes.
        container_id: of the container.
        kept: what is there for others already; it comes first.

    Raises:
        KeyUnusable: there would be no recipient or too many, or nothing can be wrapped for one of the keys.
        KeyServiceFailed: a server that wraps does not.
        ValueError: the master key is not of its length.
    """
    count = len(kept) + len(recipients)
    if not 1 <= count <= RECIPIENTS:
        raise KeyUnusable(
            f"there would be {count} recipients, and a container has 1 to {RECIPIENTS}",
            advice="Name at least one who can open it.",
        )
    if len(master) != MASTER:
        raise ValueError(f"a master key of {len(master)} bytes; it has {MASTER}")
    stanzas = [*kept, *(recipient.wrap(master, container_id) for recipient in recipients)]
    if sum(stanza["kind"] == "passphrase" for stanza in stanzas) > PASSPHRASES:
        raise KeyUnusable(
            f"more than {PASSPHRASES} recipients would be passphrases",
            advice="Each makes opening slower for all the others; take keys instead.",
        )
    return stanzas


def unwrap_any(stanzas: JSON, identities: Sequence[Identity], container_id: bytes) -> bytes:
    """Find the stanza that one of the identities opens.

    Args:
        stanzas: the list in a container's header, as it was read: hostile.
        identities: tried in their order.
        container_id: of the container.

    Returns:
        The master key, `MASTER` bytes. The header's HMAC under it is still to be checked.

    Raises:
        SealDamaged: the list or a stanza for one of the identities is not what it must be.
        RecipientWrong: none of the identities opens any stanza.
        KeyServiceFailed: a server that unwraps does not.
    """
    known = check_stanzas(stanzas)
    for identity in identities:
        for stanza in known:
            master = identity.unwrap(stanza, container_id)
            if master is not None:
                return master
    tried = f"none of the {len(identities)} identities opens it" if identities else "no identity was given"
    raise RecipientWrong(f"{tried}; it is for {', '.join(map(describe, known[:8]))}")


def check_stanzas(value: JSON) -> list[Stanza]:
    """Check the shape of a list of stanzas, within bounds.

    Raises:
        SealDamaged: it is not such a list.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= RECIPIENTS:
        raise SealDamaged(f"the recipients are no list of 1 to {RECIPIENTS}")
    stanzas = []
    for stanza in value:
        if not isinstance(stanza, dict) or not isinstance(stanza.get("kind"), str):
            raise SealDamaged("a recipient is no JSON object with a text `kind`")
        stanzas.append(stanza)
    if sum(stanza["kind"] == "passphrase" for stanza in stanzas) > PASSPHRASES:
        raise SealDamaged(f"more than {PASSPHRASES} recipients are passphrases")
    return stanzas


def id_of(stanza: Stanza) -> str:
    """The key that a stanza is for, or its kind where it names none; nothing in it is verified."""
    return str(stanza.get("key") or stanza["kind"])


def describe(stanza: Stanza) -> str:
    """Whom a stanza is for, in a few words; nothing in it is verified."""
    words = [stanza.get("kind"), stanza.get("key")]
    return (
        " ".join(word[:80] for word in words if isinstance(word, str) and _NAME.fullmatch(word)) or "unnamed"
    )


def bound(kind: str, container_id: bytes) -> bytes:
    """What a wrapping of this kind is bound to: the format, the kind and the container."""
    return b"modelward.seal/1 recipient " + kind.encode() + b"\0" + container_id


def fields(stanza: Stanza, *names: str) -> None:
    """Check that a stanza has these fields beside ``kind``, and no others.

    Raises:
        SealDamaged: it has not.
    """
    if set(stanza) != {"kind", *names}:
        raise SealDamaged(f"a recipient of the kind {describe(stanza)} does not have the fields of its kind")


def text(stanza: Stanza, name: str, most: int = 256) -> str:
    """A field that is a text of printable ASCII.

    Raises:
        SealDamaged: it is not.
    """
    value = stanza.get(name)
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= most
        or not (value.isascii() and value.isprintable())
    ):
        raise SealDamaged(f"the field `{name}` of a recipient is no text of 1 to {most} characters")
    return value


def number(stanza: Stanza, name: str) -> int:
    """A field that is a whole number of at least 1.

    Raises:
        SealDamaged: it is not.
    """
    value = stanza.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < _NUMBER:
        raise SealDamaged(f"the field `{name}` of a recipient is no whole number from 1 up")
    return value


def data(stanza: Stanza, name: str) -> bytes:
    """A field that is bytes in base64, in its one spelling: standard alphabet, padded.

    Raises:
        SealDamaged: it is not.
    """
    value = text(stanza, name, WRAPPED)
    found = decode64(value)
    if encode(found) != value:
        raise SealDamaged(f"the field `{name}` of a recipient is base64 in an unusual spelling")
    return found


def encode(value: bytes) -> str:
    """Bytes in base64, as `data` reads them."""
    return base64.b64encode(value).decode()


def master_key(found: bytes) -> bytes:
    """What was unwrapped, if it has the length of a master key.

    Raises:
        SealDamaged: it has not.
    """
    if len(found) != MASTER:
        raise SealDamaged(f"an unwrapped key has {len(found)} bytes, not {MASTER}")
    return found
