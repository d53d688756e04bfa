"""The verb `open`: what was sealed, decrypted into a folder by one of its recipients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import PolicyRefused
from modelward.verbs.talk import Talk
from modelward.verbs.trust import Trust, TrustOptions
from modelward.verbs.verify import conclude, look_at, read_policy

if TYPE_CHECKING:
    from modelward.reporting.verification import Verification


class OpenOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who opens it, and what is demanded first.

    Attributes:
        identities: references to private keys of recipients; none where nothing is encrypted.
        trust: whose signatures count.
        policy: file that says what admits it; null demands signatures and content alone.
        jobs: threads; 0 for one per core.
    """

    identities: tuple[str, ...] = ()
    trust: TrustOptions = TrustOptions()
    policy: str | Path | None = None
    jobs: int = 0


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
    from modelward.vault.container.reading import Container
    from modelward.vault.container.recipients import open_identity

    talk, source = talk or Talk(), Path(path)
    identities = [open_identity(one, talk.passphrase, talk.warn) for one in options.identities]
    policy, pems = read_policy(options.policy)
    trust = Trust(options.trust, pems)
    container = Container.open(source)
    found = conclude(source, trust, look_at(container, trust), policy)
    if not found.verified:
        unmet = next(reason for reason in found.reasons if reason.status != "holds")
        raise PolicyRefused(f"{source}: {unmet.requirement}: {unmet.detail}")
    container.unlock(identities).extract(Path(output), jobs=options.jobs, progress=talk.progress)
    return found
