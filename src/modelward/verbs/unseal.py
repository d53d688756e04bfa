"""The verb `open`: what was sealed, decrypted by one of its recipients, into a folder or into memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import PolicyRefused
from modelward.verbs.talk import Talk
from modelward.verbs.trust import TrustOptions
from modelward.verbs.verify import bound, conclude, keep, look_at, read_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.policy import Reason
    from modelward.reporting.verification import Verification
    from modelward.vault.container.opening import Sealed
    from modelward.vault.container.reading import Opened
    from modelward.verbs.verify import Seen


class OpenOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who opens it, and what is demanded first.

    Attributes:
        identities: references to private keys of recipients; none where nothing is encrypted.
        trust: whose signatures count.
        policy: file that says what admits it; null demands signatures and content alone.
        jobs: threads; 0 for one per core.
        record: ledger that the outcome is appended to before anything is decrypted.
    """

    identities: tuple[str | Path, ...] = ()
    trust: TrustOptions = TrustOptions()
    policy: str | Path | None = None
    jobs: int = 0
    record: str | Path | None = None


def unseal(
    path: str | Path, output: str | Path, options: OpenOptions, talk: Talk | None = None
) -> Verification:
    """Verify who sealed a folder, then write what was sealed; every byte is held to the signed manifest.

    Args:
        path: the sealed folder.
        output: a folder that does not exist yet; it is there whole or not at all, for its owner alone.
        options: who opens it, and what is demanded first.
        talk: whom to ask for passphrases, warn, and tell of progress.

    Returns:
        How the seal stands.

    Raises:
        SealRefused: it does not verify, or none of the identities is a recipient's.
        PolicyRefused: the policy, or the release, does not admit it.
        ModelwardError: as `verify` does; or a key cannot be used; or nothing can be written there.
    """
    talk = talk or Talk()
    opened, seen, found = _admitted(Path(path), options, talk)
    opened.extract(
        Path(output),
        jobs=options.jobs,
        progress=talk.progress,
        accept=lambda folder: _require(path, bound(seen, folder)),
    )
    return found


def open_sealed(path: str | Path, options: OpenOptions, talk: Talk | None = None) -> Sealed:
    """Verify a sealed folder, then give what was sealed in memory; nothing in clear touches a disk.

        with modelward.open_sealed("model.sealed", options) as sealed:
            weights = sealed.torch("model.safetensors")

    Args:
        path: the sealed folder.
        options: who opens it, and what is demanded first.
        talk: whom to ask for passphrases, and warn.

    Returns:
        Its files, as bytes, file objects, numpy arrays, torch tensors or sessions of ONNX Runtime; every byte
        is held to the signed manifest when it is read.

    Raises:
        SealRefused, PolicyRefused, ModelwardError: as `unseal` does.
    """
    from modelward.vault.container.opening import Sealed

    opened, _, found = _admitted(Path(path), options, talk or Talk())
    return Sealed(opened, tuple(signer.key_id for signer in found.signers))


def _admitted(source: Path, options: OpenOptions, talk: Talk) -> tuple[Opened, Seen, Verification]:
    from modelward.vault.container.reading import Container
    from modelward.vault.container.recipients import open_identity

    identities = [open_identity(str(one), talk.passphrase, talk.warn) for one in options.identities]
    policy = read_policy(options.policy)
    trust = policy.trust(options.trust)
    container = Container.open(source)
    seen = look_at(container, trust)
    found = conclude(source, trust, seen, policy.admission)
    keep(found, options.record)
    if not found.verified:
        unmet = next(reason for reason in found.reasons if reason.status != "holds")
        raise PolicyRefused(
            f"{source}: {unmet.requirement}: {unmet.detail}",
            advice="`modelward verify` lists every requirement and how it stands.",
        )
    opened = container.unlock(identities)
    if trust.keyring is not None:
        trust.keyring.check_root(opened.tree.root)  # a revoked model stays revoked in a new envelope
    if seen.attestations is not None and seen.attestations.held:
        from modelward.vault.attest.binding import named_reasons

        _require(source, named_reasons(seen.attestations, dict.fromkeys(opened.paths)))
    return opened, seen, found


def _require(path: str | Path, reasons: Sequence[Reason]) -> None:
    for reason in reasons:
        if reason.status != "holds":
            raise PolicyRefused(
                f"{path}: {reason.requirement}: {reason.detail}",
                advice="What is attested speaks of other files; ask whoever attested it.",
            )
