"""The one gate: whether signatures that hold are of keys that may sign, over a root that may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.errors import KeyExpired, Revoked, SignerMissing
from modelward.vault.keys.keyring import SEALS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from modelward.vault.keys.keyring import Keyring


def admit_signers(
    verified_signers: Iterable[str],
    root: str,
    keyring: Keyring,
    moment: datetime,
    purpose: str = SEALS,
    *,
    proven_at: datetime | None = None,
) -> tuple[str, ...]:
    """Refuse a seal whose root or signer was revoked, or that too few signed whose keys are valid.

    One signature by a revoked key refuses the whole, however many others hold: what a thief could sign is
    signed again by the others. An expired key merely does not count.

    Args:
        verified_signers: ids of keys whose signatures were verified (verify by `Keyring.known`, so that a
            revoked key is seen).
        root: of what was signed, ``sha256:<hex>`` or ``blake3:<hex>``; empty where there is none.
        keyring: read by `Keyring.read`.
        moment: now.
        purpose: what was signed for.
        proven_at: when a ledger that you trust proves the signatures to have existed; null without one.

    Returns:
        the names of the signers that count, sorted.

    Raises:
        Revoked: the root or a signer's key was revoked.
        KeyExpired: the keyring expired, or too few signed because a key is outside its time.
        SignerMissing: too few keys of the keyring signed for this purpose.
    """
    keyring.check_age(moment)
    if root:
        keyring.check_root(root)
    counted, expired = [], None
    entries = {key.id: key for key in keyring.keys}
    for key_id in dict.fromkeys(verified_signers):
        try:
            keyring.check_key(key_id, moment, proven_at=proven_at)
        except SignerMissing:
            continue  # nobody's key that the keyring knows
        except KeyExpired as error:
            expired = error
        else:
            counted.append(key_id)
    try:
        keyring.require(counted, purpose)
    except SignerMissing:
        if expired is not None:
            raise expired from None
        raise
    return tuple(sorted({entries[key_id].name for key_id in counted if purpose in entries[key_id].purposes}))


def counted_keys(
    verified_signers: Iterable[str], keyring: Keyring, moment: datetime, *, least: int = 1
) -> tuple[str, ...]:
    """The keys that count, when those whose they are are enough.

    Args:
        verified_signers: ids of keys whose signatures were verified and that `admit_signers` admitted.
        keyring: of its keys those count that may seal at the moment; other keys were named otherwise.
        moment: now.
        least: how many different signers must have signed: keys of one name are one signer, and so is each
            of the other keys.

    Raises:
        SignerMissing: fewer did.
    """
    counted: dict[str, str] = {}
    for key_id in verified_signers:
        try:
            keyring.check_key(key_id, moment)
            key = keyring.key(key_id)
        except SignerMissing:
            counted[key_id] = key_id
        except (Revoked, KeyExpired):
            continue
        else:
            if SEALS in key.purposes:
                counted[key_id] = key.name
    found = len(set(counted.values()))
    if found < least:
        raise SignerMissing(
            f"{found} keys that may seal at {moment:%Y-%m-%d} signed, no two of one owner; {least} must"
        )
    return tuple(counted)
