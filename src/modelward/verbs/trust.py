"""Whose signatures count: public keys that are named, those of a policy, and those of a keyring."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, final

import msgspec

from modelward.core.files import read_at_most
from modelward.errors import ConfigInvalid, FileMissing, SignerMissing
from modelward.reporting.verification import SignedBy
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.attest.attestation import Attestations
    from modelward.vault.keys.keyring import Keyring

_LARGEST_PEM = 1 << 16


class TrustOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who is trusted.

    Attributes:
        public_keys: PEM files of one key each.
        keyring: a keyring, which also says who is revoked and until when keys are valid.
        owners: public keys (PEM) of those who sign the keyring; needed with `keyring`.
        owners_threshold: how many of them must have signed it; null for more than half.
        threshold: how many different keys must have signed; a keyring's keys of one name are one.
        post_quantum: one of the signatures must be by ML-DSA-65.
        authorities: file of certificates (PEM) that signing certificates may lead to.
        identity: who signed without a key: an e-mail address or a workflow (extra [sigstore]).
        issuer: URL of who vouches for the identity.
        moment: when keys and releases must be valid; null for now.
    """

    public_keys: tuple[str | Path, ...] = ()
    keyring: str | Path | None = None
    owners: tuple[str | Path, ...] = ()
    owners_threshold: int | None = None
    threshold: int = 1
    post_quantum: bool = False
    authorities: str | Path | None = None
    identity: str = ""
    issuer: str = ""
    moment: datetime | None = None


@final
class Trust:
    """The keys that count, with the names that people know them by.

    Attributes:
        verifiers: public keys.
        keyring: who is revoked; null where none was given.
        threshold: how many different keys must have signed.
        moment: the time to judge at, with a zone.
    """

    def __init__(
        self, options: TrustOptions, more: Sequence[bytes] = (), auditors: Sequence[bytes] = ()
    ) -> None:
        """Read every key.

        Args:
            options: who is trusted.
            more: public keys (PEM) that count as well: those of a policy.
            auditors: public keys (PEM) that count for attestations alone.

        Raises:
            ConfigInvalid: nobody is trusted, or an option is out of range.
            FileMissing: a file cannot be read.
            KeyUnusable: a file holds no public key.
            SealRefused: the keyring does not hold.
        """
        self.options = options
        self.threshold = options.threshold
        self.moment = _in_utc(options.moment) if options.moment else datetime.now(UTC)
        if options.threshold < 1:
            raise ConfigInvalid(
                "the threshold of signatures must be at least 1", advice="Like --threshold 2."
            )
        self._names: dict[str, str] = {}
        verifiers = [self._named(Verifier.read(Path(p)), Path(p).name) for p in options.public_keys]
        verifiers += [Verifier(pem) for pem in more]
        self.authorities = b"" if options.authorities is None else _certificates(Path(options.authorities))
        self.keyring = None if options.keyring is None else self._ring(Path(options.keyring))
        if self.keyring is not None:
            verifiers += self.keyring.known()  # of an expired or revoked key the sentence is another
        if bool(options.identity) != bool(options.issuer):
            raise ConfigInvalid("an identity counts only as one issuer vouches for it", advice="Give both.")
        if options.identity and options.threshold > 1:
            raise ConfigInvalid("one identity signs once", advice="Leave --threshold out.")
        if not verifiers and not self.authorities and not options.identity:
            raise ConfigInvalid(
                "no key is trusted, so nobody's signature could count",
                advice="Give --public-key PEM, or --keyring RING with --owner PEM.",
            )
        self.verifiers = tuple({verifier.key_id: verifier for verifier in verifiers}.values())
        self._auditors = tuple(Verifier(pem) for pem in auditors)

    def signed_by(self, key_ids: Sequence[str]) -> tuple[SignedBy, ...]:
        """The signers as reports name them."""
        known = {verifier.key_id: verifier for verifier in self.verifiers}
        return tuple(
            SignedBy(
                key_id=key_id,
                algorithm=known[key_id].algorithm if key_id in known else "certificate",
                name=self._names.get(key_id, ""),
            )
            for key_id in key_ids
        )

    def attestations(self, folder: Path, root: str) -> Attestations:
        """What is attested of a root by keys that count; a keyring's revoked keys do not."""
        from modelward.vault.attest.attestation import read_attestations

        ring = None if self.keyring is None else (self.keyring, self.moment)
        return read_attestations(folder, root, (*self.verifiers, *self._auditors), ring=ring)

    def admit(self, key_ids: Sequence[str], root: str) -> tuple[str, ...]:
        """Those of the keys whose signatures hold that count for a seal, when they are enough.

        A key of the keyring counts within its time, and when it may seal; the threshold is of such keys.

        Raises:
            Revoked: the root or a signer is revoked.
            KeyExpired: too few signed because a key is outside its time.
            SignerMissing: too few keys that count signed, or no ML-DSA-65 key where one must.
        """
        counted = tuple(key_ids)
        if self.keyring is not None:
            from modelward.vault.keys.admission import admit_signers, counted_keys

            admit_signers(key_ids, root, self.keyring, self.moment)
            counted = counted_keys(key_ids, self.keyring, self.moment, least=self.threshold)
        if len(counted) < self.threshold:
            raise SignerMissing(f"{len(counted)} trusted keys signed; {self.threshold} must")
        kinds = {signer.algorithm for signer in self.signed_by(counted)}
        if self.options.post_quantum and "ml-dsa-65" not in kinds:
            raise SignerMissing("no trusted ML-DSA-65 key signed, and one must")
        return counted

    def _named(self, verifier: Verifier, name: str) -> Verifier:
        self._names.setdefault(verifier.key_id, name)
        return verifier

    def _ring(self, path: Path) -> Keyring:
        from modelward.vault.keys.keyring import Keyring
        from modelward.vault.keys.seen import Seen, default_path

        if not self.options.owners:
            raise ConfigInvalid(
                f"{path}: whoever can write a keyring could name keys in it, so its owners must be known",
                advice="Give --owner PEM for each of them.",
            )
        owners = [Verifier.read(Path(owner)) for owner in self.options.owners]
        ring = Keyring.read(path, owners, self.options.owners_threshold)
        ring.check_age(self.moment)
        if self.options.moment is None:  # another time than now says nothing about this machine's clock
            Seen(default_path()).admit(ring, self.moment)
        self._names.update({key.id: key.name for key in ring.keys})
        return ring


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ConfigInvalid(f"the moment {moment} has no zone", advice="Give it one, like datetime.UTC.")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ConfigInvalid(
            f"the moment {moment} is none in UTC", advice="Its year is between 1 and 9999."
        ) from error


def _certificates(path: Path) -> bytes:
    too_long = FileMissing(f"{path}: is larger than {_LARGEST_PEM} bytes, so it holds no certificates")
    return read_at_most(path, _LARGEST_PEM, too_long)
