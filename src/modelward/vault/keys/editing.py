"""The next version of a keyring: what its owners may change. Nothing is signed or written here."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import ConfigInvalid, KeyUnusable
from modelward.vault.keys.keyring import FORMAT, Keyring, RevokedKey, RevokedRoot, RingKey, Threshold
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

_ROOT = re.compile(r"(sha256|blake3):[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{8,64}")


def begin(owners: Sequence[Verifier], threshold: int, now: datetime, expires: datetime | None) -> Keyring:
    """Version 1 of a new keyring, without keys."""
    return Keyring(
        format=FORMAT,
        ring=secrets.token_hex(16),
        version=1,
        issued=now.replace(microsecond=0),
        expires=expires,
        owners=_pems(owners),
        threshold=threshold,
    )


def with_key(ring: Keyring, key: RingKey, now: datetime) -> Keyring:
    """Add a key.

    Raises:
        KeyUnusable: the keyring has it already, or it was revoked.
    """
    _refuse_known(ring, key.id)
    return _next(ring, now, keys=(*ring.keys, key))


def with_revoked_roots(
    ring: Keyring, roots: Sequence[str], since: datetime, reason: str, now: datetime
) -> Keyring:
    """Revoke the roots of one content that are not revoked yet.

    Raises:
        KeyUnusable: all of them are.
    """
    before = {entry.root for entry in ring.revoked_roots}
    new = [RevokedRoot(root=root, since=since, reason=reason) for root in roots if root not in before]
    if not new:
        raise KeyUnusable(f"{roots[0][:23]} was revoked before")
    return _next(ring, now, revoked_roots=(*ring.revoked_roots, *new))


def with_revoked(ring: Keyring, what: str, since: datetime, reason: str, now: datetime) -> Keyring:
    """Revoke a key or a root.

    Args:
        ring: the version in force.
        what: a root, a key's id or at least 8 digits of it, or a name that one key has.
        since: from when on it cannot be trusted.
        reason: for people.
        now: when.

    Raises:
        KeyUnusable: it is no root, and none or several keys are of this name; or it was revoked before.
    """
    if _ROOT.fullmatch(what):
        return with_revoked_roots(ring, [what], since, reason, now)
    key_id = what if re.fullmatch(r"[0-9a-f]{64}", what) else find(ring, what).id
    if any(key.id == key_id for key in ring.revoked_keys):
        raise KeyUnusable(f"key {key_id[:16]} was revoked before")
    key = RevokedKey(id=key_id, since=since, reason=reason)
    return _next(ring, now, revoked_keys=(*ring.revoked_keys, key))


def with_successor(ring: Keyring, old: str, key: RingKey, overlap: timedelta, now: datetime) -> Keyring:
    """Let a new key take the place of an old one, which may sign for a while yet.

    Args:
        ring: the version in force.
        old: id, digits of it, or name of the old key.
        key: the new one, whose name and purposes are taken from the old one.
        overlap: for how long the old key stays valid; it never gains time.
        now: when.

    Raises:
        KeyUnusable: there is no such old key, or the new one is known already.
    """
    before = find(ring, old)
    _refuse_known(ring, key.id)
    end = now.replace(microsecond=0) + overlap
    if before.valid_until is not None and before.valid_until < end:
        end = before.valid_until
    if end <= before.valid_from:
        raise KeyUnusable(f"the key of {before.name} is not valid yet; revoke it, or leave it an overlap")
    ended = msgspec.structs.replace(before, valid_until=end)
    new = msgspec.structs.replace(key, name=before.name, purposes=before.purposes)
    return _next(ring, now, keys=(*(ended if k.id == before.id else k for k in ring.keys), new))


def with_policy(ring: Keyring, policy: Threshold, now: datetime) -> Keyring:
    """Set how many must sign for a purpose, in place of what was set before.

    Raises:
        ConfigInvalid: it could never be satisfied by the keys of the ring.
    """
    may = {key.name for key in ring.keys if policy.purpose in key.purposes}
    unknown = [name for name in policy.names if name not in may]
    if unknown:
        raise _impossible(f"{', '.join(unknown)}: no key of this name may sign for {policy.purpose!r}")
    if policy.threshold > len(set(policy.names)):
        raise _impossible(f"{policy.threshold} of {len(set(policy.names))} names cannot sign")
    keys = [key for key in ring.keys if policy.purpose in key.purposes and key.name in policy.names]
    if policy.ml_dsa and all(Verifier(key.pem.encode()).algorithm != "ml-dsa-65" for key in keys):
        raise _impossible("an ML-DSA-65 signature is asked for, and none of these names has such a key")
    others = tuple(p for p in ring.policies if p.purpose != policy.purpose)
    return _next(ring, now, policies=(*others, policy))


def with_owners(ring: Keyring, owners: Sequence[Verifier], threshold: int, now: datetime) -> Keyring:
    """Change the owners; the old and the new ones must sign."""
    return _next(ring, now, owners=_pems(owners), threshold=threshold)


def with_expiry(ring: Keyring, expires: datetime | None, now: datetime) -> Keyring:
    """Change nothing but the time, so that it is known to be the newest still."""
    return _next(ring, now, expires=expires)


def find(ring: Keyring, what: str) -> RingKey:
    """The key of an id, of at least 8 digits of one, or of a name that one key has.

    Raises:
        KeyUnusable: there is none, or there are several.
    """
    found = [key for key in ring.keys if key.name == what]
    if not found and _PREFIX.fullmatch(what):
        found = [key for key in ring.keys if key.id.startswith(what)]
    if len(found) != 1:
        if found:
            ids = ", ".join(key.id[:16] for key in found)
            raise KeyUnusable(
                f"{len(found)} keys of the keyring are called {what[:80]!r}: {ids}",
                advice="Name one by its id; `modelward keys ring show` says until when each is valid.",
            )
        raise KeyUnusable(
            f"no keys of the keyring are called {what[:80]!r}",
            advice="`modelward keys ring show` lists them; a path has a slash in it, like ./model.",
        )
    return found[0]


def _impossible(why: str) -> ConfigInvalid:
    return ConfigInvalid(why, advice="`modelward keys ring show` lists whose keys may sign for what.")


def _next(ring: Keyring, now: datetime, **changes: object) -> Keyring:
    issued = max(now.replace(microsecond=0), ring.issued)
    return msgspec.structs.replace(ring, version=ring.version + 1, issued=issued, **changes)


def _refuse_known(ring: Keyring, key_id: str) -> None:
    if any(key.id == key_id for key in ring.revoked_keys):
        raise KeyUnusable(f"key {key_id[:16]} was revoked; make a new one")
    if any(key.id == key_id for key in ring.keys):
        raise KeyUnusable(f"key {key_id[:16]} is in the keyring already")


def _pems(owners: Sequence[Verifier]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(owner.pem.decode() for owner in owners))
