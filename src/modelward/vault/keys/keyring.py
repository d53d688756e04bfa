"""The keyring: which keys may sign what and until when, and which keys and roots are revoked.

docs/formats/keyring.md is its format. The owners' keys sign it; how, and how owners change, is in `ringfile`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec

from modelward.core.canonical import canonical
from modelward.errors import KeyExpired, KeyUnusable, Revoked, SealDamaged, SignerMissing
from modelward.vault import dsse
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORMAT: Final = "modelward.keyring/1"
SEALS: Final = "seal"  # the purpose of keys that sign models and data sets

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
KeyId: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
Root: TypeAlias = Annotated[str, msgspec.Meta(pattern="^(sha256|blake3):[0-9a-f]{64}\\Z")]
Purpose: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}\\Z")]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Reason: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Pem: TypeAlias = Annotated[str, msgspec.Meta(max_length=8192)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Few: Final = msgspec.Meta(max_length=64)
Many: Final = msgspec.Meta(max_length=4096)


class RingKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that may sign.

    Attributes:
        id: SHA-256 of the PEM.
        name: whose it is: a person, a role or a machine. Keys of one name are one signer.
        pem: the public key.
        purposes: what it may sign.
        valid_from: the first moment.
        valid_until: the first moment at which it may not sign any more; null for no end.
    """

    id: KeyId
    name: Name
    pem: Pem
    purposes: Annotated[tuple[Purpose, ...], msgspec.Meta(min_length=1, max_length=16)]
    valid_from: Moment
    valid_until: Moment | None = None


class RevokedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key whose signatures are refused.

    Attributes:
        id: the key's.
        since: from when on it may have signed for somebody else.
        reason: for people.
    """

    id: KeyId
    since: Moment
    reason: Reason


class RevokedRoot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model or data set that is refused, whoever signed it.

    Attributes:
        root: of its tree.
        since: when it turned out so.
        reason: for people.
    """

    root: Root
    since: Moment
    reason: Reason


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of whom must sign for a purpose.

    Attributes:
        purpose: the purpose.
        threshold: how many different names.
        names: of whom.
        ml_dsa: whether one of the signatures must be by ML-DSA-65.
    """

    purpose: Purpose
    threshold: Count
    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=64)]
    ml_dsa: bool


class Keyring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a keyring. `Keyring.read` gives one whose signatures hold.

    Attributes:
        format: ``modelward.keyring/1``.
        ring: its name, random, the same in all versions; 32 hexadecimal digits.
        version: grows with every change.
        issued: when this version was made.
        expires: when it must have been replaced by a newer one; null for never.
        owners: public keys of those who sign the keyring.
        threshold: how many of them must.
        keys: that may sign.
        revoked_keys: that may not, whatever `keys` says.
        revoked_roots: that are refused.
        policies: how many must sign for a purpose; without one, a single key of that purpose is enough.
    """

    format: str
    ring: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}\\Z")]
    version: Count
    issued: Moment
    expires: Moment | None
    owners: Annotated[tuple[Pem, ...], msgspec.Meta(min_length=1, max_length=64)]
    threshold: Count
    keys: Annotated[tuple[RingKey, ...], Many] = ()
    revoked_keys: Annotated[tuple[RevokedKey, ...], Many] = ()
    revoked_roots: Annotated[tuple[RevokedRoot, ...], Many] = ()
    policies: Annotated[tuple[Threshold, ...], Few] = ()

    @staticmethod
    def read(path: Path, owners: Sequence[Verifier], threshold: int | None = None) -> Keyring:
        """Read a keyring and check that the owners whom you trust stand behind it.

        Args:
            path: the file.
            owners: keys that you trust to own it, now or at an earlier version in the file.
            threshold: how many of them must have signed; null for more than half.

        Raises:
            FileMissing: there is no such file.
            SealDamaged: it is no keyring.
            SignatureInvalid: a signature does not hold.
            SignerMissing: too few owners signed.
            ConfigInvalid: the threshold is not between 1 and the number of owners.
        """
        from modelward.vault.keys.ringfile import read_chain, trusted

        return trusted(read_chain(path), owners, threshold)

    def encode(self) -> bytes:
        """Canonical JSON, the bytes that the owners sign."""
        return canonical(msgspec.to_builtins(self))

    def known(self) -> list[Verifier]:
        """Every key, revoked and expired ones too: verify by these, and let `admit_signers` judge."""
        return [Verifier(key.pem.encode()) for key in self.keys]

    def owner_verifiers(self) -> list[Verifier]:
        """The owners' keys."""
        return [Verifier(pem.encode()) for pem in self.owners]

    def key(self, key_id: str) -> RingKey:
        """The entry of a key.

        Raises:
            SignerMissing: the keyring has no such key.
        """
        for key in self.keys:
            if key.id == key_id:
                return key
        raise SignerMissing(f"key {key_id[:16]} is not in the keyring (version {self.version})")

    def check_key(self, key_id: str, moment: datetime, *, proven_at: datetime | None = None) -> None:
        """Refuse a key that is unknown, revoked or outside its time.

        Args:
            key_id: whose signature was verified.
            moment: now.
            proven_at: a time at which a ledger that you trust proves that the signature existed. Only this
                makes a signature count that was made before its key was revoked or expired: the time that a
                signature states of itself could be written by whoever holds the key.

        Raises:
            SignerMissing: the keyring has no such key.
            Revoked: it was revoked.
            KeyExpired: it is not valid yet or any more.
        """
        for revoked in self.revoked_keys:
            if revoked.id == key_id and (proven_at is None or proven_at >= revoked.since):
                raise Revoked(f"key {key_id[:16]} was revoked since {stamp(revoked.since)}: {revoked.reason}")
        key, at = self.key(key_id), proven_at or moment
        if at < key.valid_from:
            raise KeyExpired(
                f"the key of {key.name} ({key_id[:16]}) is valid from {stamp(key.valid_from)} on"
            )
        if key.valid_until is not None and at >= key.valid_until:
            raise KeyExpired(f"the key of {key.name} ({key_id[:16]}) expired at {stamp(key.valid_until)}")

    def check_root(self, root: str) -> None:
        """Refuse a model or data set that was revoked.

        Raises:
            Revoked: it was.
        """
        for revoked in self.revoked_roots:
            if revoked.root == root:
                raise Revoked(f"{root[:23]} was revoked since {stamp(revoked.since)}: {revoked.reason}")

    def check_age(self, moment: datetime) -> None:
        """Refuse a keyring that should have been replaced: whoever keeps newer ones away must not win.

        Raises:
            KeyExpired: it expired.
        """
        if self.expires is not None and moment >= self.expires:
            raise KeyExpired(
                f"version {self.version} of the keyring expired at {stamp(self.expires)}",
                advice="Get the newest version of the keyring from its owners.",
            )

    def require(self, signers: Iterable[str], purpose: str) -> None:
        """Refuse when too few signed.

        Args:
            signers: ids of keys of this ring whose signatures hold and which were checked.
            purpose: what they signed.

        Raises:
            SignerMissing: too few different names with keys for this purpose, or no ML-DSA-65 signature
                where the policy asks for one.
        """
        policy = next((p for p in self.policies if p.purpose == purpose), None)
        counted = [key for key in map(self.key, signers) if purpose in key.purposes]
        names = {key.name for key in counted}
        if policy is None:
            if not names:
                raise SignerMissing(f"no key of the keyring that may sign for {purpose!r} did")
            return
        found = names & set(policy.names)
        if len(found) < policy.threshold:
            missing = ", ".join(n for n in policy.names if n not in found)
            raise SignerMissing(
                f"{len(found)} of the {policy.threshold} signers for {purpose!r} signed; missing: {missing}"
            )
        keys = (Verifier(key.pem.encode()) for key in counted if key.name in found)
        if policy.ml_dsa and all(key.algorithm != "ml-dsa-65" for key in keys):
            raise SignerMissing(
                f"{purpose!r} asks for an ML-DSA-65 signature, and none of its signers gave one"
            )


def parse(payload: bytes) -> Keyring:
    """Read what the owners signed; no signature is looked at.

    Raises:
        SealDamaged: it is no keyring, or not in canonical JSON.
    """
    value = dsse.load(payload, "the keyring")
    try:
        ring = msgspec.convert(value, Keyring)
        same = ring.encode() == payload  # one keyring, one spelling
    except (msgspec.ValidationError, ValueError) as error:
        raise SealDamaged(f"the keyring is not of its format: {str(error)[:160]}") from error
    if ring.format != FORMAT:
        raise SealDamaged(f"the keyring's format is not {FORMAT}")
    if not same:
        raise SealDamaged("the keyring is not in canonical JSON")
    check(ring)
    return ring


def check(ring: Keyring) -> None:
    """What the types cannot say.

    Raises:
        SealDamaged: an entry stands twice, a threshold cannot be met, an end lies before its start, a key is
            not what its id says, or a text would disturb a terminal.
    """
    if ring.expires is not None and ring.expires <= ring.issued:
        raise SealDamaged("the keyring expires before it is issued")
    if ring.threshold > len(ring.owners):
        raise SealDamaged(f"{ring.threshold} of {len(ring.owners)} owners cannot sign")
    _once("an owner", ring.owners)
    _once("a key", [key.id for key in ring.keys])
    _once("a revoked key", [key.id for key in ring.revoked_keys])
    _once("a revoked root", [root.root for root in ring.revoked_roots])
    _once("a policy", [policy.purpose for policy in ring.policies])
    for pem in ring.owners:
        _canonical_key(pem)
    for key in ring.keys:
        if _canonical_key(key.pem).key_id != key.id:
            raise SealDamaged(f"the key {key.id[:16]} has another id")
        if key.valid_until is not None and key.valid_until <= key.valid_from:
            raise SealDamaged(f"the key {key.id[:16]} ends before it begins")
        _once("a purpose", key.purposes)
    for policy in ring.policies:
        _once("a name", policy.names)
        if policy.threshold > len(policy.names):
            raise SealDamaged(f"{policy.threshold} of {len(policy.names)} names cannot sign")
    _check_texts(ring)


def _check_texts(ring: Keyring) -> None:
    revoked: tuple[RevokedKey | RevokedRoot, ...] = (*ring.revoked_keys, *ring.revoked_roots)
    names = [key.name for key in ring.keys] + [name for policy in ring.policies for name in policy.names]
    if not all(text.isprintable() for text in (*names, *(entry.reason for entry in revoked))):
        raise SealDamaged("a name or a reason holds what cannot be printed")
    moments = [ring.issued, ring.expires, *(entry.since for entry in revoked)]
    moments += [moment for key in ring.keys for moment in (key.valid_from, key.valid_until)]
    if any(moment is not None and (moment.utcoffset() or moment.microsecond) for moment in moments):
        raise SealDamaged("a moment is not in UTC and whole seconds")


def stamp(moment: datetime) -> str:
    """A moment as the keyring writes it: UTC, RFC 3339."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _once(what: str, found: Sequence[str]) -> None:
    if len(set(found)) != len(found):
        raise SealDamaged(f"{what} stands twice in the keyring")


def _canonical_key(pem: str) -> Verifier:
    try:
        key = Verifier(pem.encode())
    except KeyUnusable as error:
        raise SealDamaged(f"a key of the keyring cannot be used: {error}") from error
    if key.pem != pem.encode():
        raise SealDamaged("a key of the keyring is not spelt as it should be")
    return key
