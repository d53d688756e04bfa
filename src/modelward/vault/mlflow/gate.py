"""What a model must carry to pass: a seal that holds, by keys that count, and what a policy demands."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    PolicyRefused,
    SealDamaged,
    SignerMissing,
)
from modelward.vault.attest.admission import read_with_keys
from modelward.vault.attest.attestation import read_attestations
from modelward.vault.attest.binding import bound_reasons
from modelward.vault.attest.judging import Facts, admit, release_verdict
from modelward.vault.attest.tables import decode
from modelward.vault.keys.admission import admit_signers, counted_keys
from modelward.vault.keys.keyring import Keyring
from modelward.vault.keys.seen import Seen, default_path
from modelward.vault.keys.signer import Verifier
from modelward.vault.signing.checking import CheckOptions, check_files
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions
from modelward.vault.tree.names import shown
from modelward.vault.tree.walk import WalkOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.attest.admission import Read

VARIABLE: Final = "MODELWARD_GATE"
"""The environment variable that names the gate's configuration."""
FOLDER: Final = "modelward"
"""Where a logged model carries its seal."""
SEAL: Final = "seal.json"
ATTESTATIONS: Final = "attestations"

_ADDED_BY_MLFLOW: Final = "registered_model_meta"  # written wherever a registered model is downloaded to
_LARGEST: Final = 1 << 28


class GateOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """The gate's configuration; paths are relative to its file.

    Attributes:
        public_keys: PEM files of keys that may sign.
        threshold: how many different keys must have signed; a keyring's keys of one name are one.
        keyring: a keyring, which also says who is revoked and until when keys are valid.
        owners: PEM files of those who sign the keyring.
        policy: a policy of admission over what is attested.
        stages: gated stages, whatever their case.
        aliases: shell patterns of gated aliases.
    """

    public_keys: tuple[str, ...] = ()
    threshold: int = 1
    keyring: str | None = None
    owners: tuple[str, ...] = ()
    policy: str | None = None
    stages: tuple[str, ...] = ("Staging", "Production")
    aliases: tuple[str, ...] = ("*",)


@final
class Gate:
    """Decides whether a model may pass. Files are read at each decision: a revocation counts at once."""

    def __init__(self, options: GateOptions, folder: Path) -> None:
        """Check the configuration.

        Args:
            options: the configuration.
            folder: what its paths are relative to.

        Raises:
            ConfigInvalid: nobody is trusted, nothing is gated, or the threshold is below 1.
        """
        if options.threshold < 1:
            raise ConfigInvalid(f"a threshold of {options.threshold} keys would be met by nobody's signature")
        if not options.public_keys and options.keyring is None:
            raise ConfigInvalid(
                "no key is trusted, so no model could pass", advice="State `public-keys` or `keyring`."
            )
        if options.keyring is not None and not options.owners:
            raise ConfigInvalid(
                "whoever can write a keyring could name keys in it, so its owners must be known",
                advice="State `owners` beside `keyring`.",
            )
        if not options.stages and not options.aliases:
            raise ConfigInvalid(
                "neither a stage nor an alias is gated", advice="State `stages` or `aliases`."
            )
        self._options, self._folder = options, folder

    @staticmethod
    def read(path: Path) -> Gate:
        """Read a configuration.

        Raises:
            FileMissing: it cannot be read.
            ConfigInvalid: it is not TOML, has an unknown key or a bad value, or would let everything pass.
        """
        return Gate(decode(path, GateOptions), path.parent)

    @staticmethod
    def from_environment() -> Gate:
        """Read the configuration that `MODELWARD_GATE` names.

        Raises:
            ConfigInvalid: the variable is not set; see `read`.
        """
        named = os.environ.get(VARIABLE, "")
        if not named:
            raise ConfigInvalid(
                f"the registry is gated, and {VARIABLE} names no configuration",
                advice=f"Set {VARIABLE} to a TOML file with `public-keys`.",
            )
        return Gate.read(Path(named))

    def gates_stage(self, stage: str) -> bool:
        """Whether a stage asks for a seal."""
        return stage.casefold() in {name.casefold() for name in self._options.stages}

    def gates_alias(self, alias: str) -> bool:
        """Whether an alias asks for a seal."""
        return any(fnmatchcase(alias.casefold(), pattern.casefold()) for pattern in self._options.aliases)

    def check(self, model: Path, moment: datetime | None = None) -> tuple[str, ...]:
        """Verify a model folder against the seal that it carries.

        Args:
            model: the folder with `MLmodel` and `modelward/seal.json`.
            moment: when keys must be valid; null for now.

        Returns:
            Key ids of those who signed.

        Raises:
            SealRefused: it carries no seal, or one that does not hold.
            PolicyRefused: what is attested does not satisfy the policy.
            InputError: a file of the configuration cannot be used.
        """
        now = moment or datetime.now(UTC)
        ring = self._ring(now, current=moment is None)
        policy = None if self._options.policy is None else read_with_keys(self._folder / self._options.policy)
        verifiers = self._verifiers(ring, policy)
        beside = model / FOLDER
        verified = verify_bundle(
            _read(beside / SEAL), verifiers, threshold=self._options.threshold, moment=now
        )
        beyond = unsealed(model)
        checked = check_files(verified.statement, model, CheckOptions(tree=TreeOptions(excluded=beyond)))
        if checked.unsigned:  # an OpenSSF statement names paths that its signer did not look at
            raise ContentChanged(f"{shown(checked.unsigned[0])}: is there and was not signed")
        root = checked.root
        signers = verified.signers
        if ring is not None:
            admit_signers(signers, root, ring, now)
            signers = counted_keys(signers, ring, now, least=self._options.threshold)
        auditors = () if policy is None else map(Verifier, policy.auditors)
        attestations = read_attestations(
            beside / ATTESTATIONS, root, (*verifiers, *auditors), ring=None if ring is None else (ring, now)
        )
        facts = Facts(  # what lies in a registry is in clear, so nobody is its only reader
            root=root, signers=signers, moment=now, attestations=attestations, recipients=()
        )
        verdict = release_verdict(facts) if policy is None else admit(policy.policy, facts)
        reasons = list(() if verdict is None else verdict.reasons)
        if attestations.held:  # of these very files, and not of others under the same signature
            reasons += bound_reasons(attestations, model, WalkOptions(excluded=beyond))
        refused = [f"{one.file} is no attestation of this: {one.reason}" for one in attestations.refused]
        refused += [f"{one.requirement}: {one.detail}" for one in reasons if one.status != "holds"]
        if refused:
            raise PolicyRefused("; ".join(refused))
        return signers

    def _ring(self, moment: datetime, *, current: bool) -> Keyring | None:
        if self._options.keyring is None:
            return None
        owners = [Verifier.read(self._folder / name) for name in self._options.owners]
        ring = Keyring.read(self._folder / self._options.keyring, owners)
        if current:  # another time than now says nothing about this machine's clock
            Seen(default_path()).admit(ring, moment)
        return ring

    def _verifiers(self, ring: Keyring | None, policy: Read | None) -> Sequence[Verifier]:
        found = [Verifier.read(self._folder / name) for name in self._options.public_keys]
        found += [] if ring is None else ring.known()
        return found + ([] if policy is None else [Verifier(pem) for pem in policy.pems])


def unsealed(model: Path) -> tuple[Path, ...]:
    """What in a model's folder is no part of what is sealed: the seal, and the one file that MLflow adds."""
    beside, added = model / FOLDER, model / _ADDED_BY_MLFLOW
    seal = (beside / SEAL, beside / ATTESTATIONS)
    return (*seal, added) if added.is_file() else seal  # a folder of this name is not MLflow's


def _read(path: Path) -> bytes:
    """The seal that a model carries."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SignerMissing(
            f"the model carries no seal ({FOLDER}/{SEAL})",
            advice="Seal it: `seal_logged_model` in docs/mlflow.md.",
        ) from error
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise SealDamaged(f"{FOLDER}/{SEAL} has more than {_LARGEST:,} bytes")
    return data
