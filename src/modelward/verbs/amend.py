"""The verb `amend`: more signatures, attestations or recipients for a seal that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import ConfigInvalid, ContentChanged, FileMissing, SealDamaged
from modelward.vault.attest.attestation import MOST, attest
from modelward.vault.container.layout import ATTESTATIONS, DATA
from modelward.vault.container.placing import held, unwritable
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients import id_of, open_identity, parse_recipient
from modelward.vault.container.rotation import cosign, rewrap, write_document
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.verbs.gathering import Attesting, gather, unchanged_since
from modelward.verbs.sign import open_signers
from modelward.verbs.talk import Talk
from modelward.verbs.trust import Trust, TrustOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.attest.attestation import Written
    from modelward.vault.container.recipients.wrapping import Identity, Stanza
    from modelward.vault.keys.signer import Signer


class AmendOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is added or taken away.

    Attributes:
        keys: references to private keys; each signs the seal, and what is attested.
        sign: add signatures over the seal; else the keys sign attestations alone, as an auditor's do.
        attesting: what is attested.
        source: the sealed files in clear, where attestations speak of them and the seal is encrypted.
        identities: who opens it; needed to change recipients, and to compare the source.
        recipients: who may open it from now on.
        remove: ids of recipients that can open it no longer; 8 digits suffice.
        trust: whose signature it must carry before; null adds without asking.
        jobs: threads; 0 for one per core.
    """

    keys: tuple[str, ...] = ()
    sign: bool = True
    attesting: Attesting = Attesting()
    source: str | Path | None = None
    identities: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    trust: TrustOptions | None = None
    jobs: int = 0


def amend(path: str | Path, options: AmendOptions, talk: Talk | None = None) -> str:
    """Add to a seal; what was sealed and what was signed before stay as they are.

    Each document is written whole or not at all, by one process at a time.

    Args:
        path: the sealed folder.
        options: what is added or taken away.
        talk: whom to ask for passphrases, warn, and tell of progress.

    Returns:
        The root that is signed, as it was.

    Raises:
        ConfigInvalid: nothing is asked for, or something is missing to do it.
        SealRefused: the seal does not hold, or the source is not what was sealed.
        ModelwardError: a key cannot be used, or nothing can be written.
    """
    talk, target = talk or Talk(), Path(path)
    if not (options.keys or options.recipients or options.remove):
        raise ConfigInvalid("nothing is to be added", advice="Give --key, --recipient or --remove-recipient.")
    try:
        with held(target):
            return _amend(target, options, talk)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissing(f"{target}: there is no such folder") from error
    except OSError as error:
        raise unwritable(target, error) from error


def _amend(target: Path, options: AmendOptions, talk: Talk) -> str:
    container = Container.open(target)
    if options.trust is not None:
        trust = Trust(options.trust)
        trust.admit(
            container.check_signatures(trust.verifiers, trust.threshold).signers, container.index.root
        )
    else:
        talk.warn("no earlier signature was asked for (--public-key), so who sealed it is not known")
    if not (options.keys and options.sign):  # `cosign` does
        container.check_files(jobs=options.jobs, progress=talk.progress)
    signers = open_signers(options.keys, talk) if options.keys else []
    identities = [open_identity(one, talk.passphrase, talk.warn) for one in options.identities]
    attested = _contents(container, identities, options, talk)
    if attested and not signers:
        raise ConfigInvalid("nobody signs what is attested", advice="Give --key.")
    if options.recipients or options.remove:
        _rewrap(container, identities, options, talk)
    if signers and options.sign:
        name = target.resolve().name.removesuffix(".sealed")
        cosign(container, signers, name=name, jobs=options.jobs, progress=talk.progress)
    _attest(container, attested, signers)
    return container.index.root


def _contents(
    container: Container, identities: Sequence[Identity], options: AmendOptions, talk: Talk
) -> list[tuple[str, Written]]:
    if options.attesting == Attesting():
        return []
    source = container.path / DATA if options.source is None else Path(options.source)
    check = unchanged_since(source)
    if container.encrypted:
        if options.source is None or not identities:
            raise ConfigInvalid(
                "what is attested of an encrypted seal is compared with what is in it",
                advice="Give --source, the files in clear, and --identity, which opens the seal.",
            )
        opened = container.unlock(identities)
        tree = TreeOptions(algorithm=container.header.hash, jobs=options.jobs, progress=talk.progress)
        found = hash_tree(source, tree)
        if found.root != opened.tree.root:
            raise ContentChanged(f"{source}: is not what was sealed")
    contents = gather(source, options.attesting, jobs=options.jobs, progress=talk.progress)
    check()
    return contents


def _rewrap(container: Container, identities: Sequence[Identity], options: AmendOptions, talk: Talk) -> None:
    recipients = [parse_recipient(one, talk.chosen, talk.warn) for one in options.recipients]
    ids = [id_of(stanza) for stanza in container.header.recipients]
    for wanted in options.remove:
        if len(wanted) < 8 or sum(one.startswith(wanted) for one in ids) != 1:
            raise ConfigInvalid(
                f"{wanted!r} is not one recipient of {container.path}",
                advice=f"Recipients: {', '.join(ids)}.",
            )

    def leaves(stanza: Stanza) -> bool:
        return id_of(stanza).startswith(options.remove)

    rewrap(container, identities, add=recipients, remove=leaves if options.remove else None)


def _attest(container: Container, attested: Sequence[tuple[str, Written]], signers: Sequence[Signer]) -> None:
    folder = container.path / ATTESTATIONS
    if attested:
        folder.mkdir(exist_ok=True)
        held = len(list(folder.iterdir()))
        if held + len(attested) > MOST:  # a verifier reads no more, and refuses what it cannot read
            raise SealDamaged(
                f"{container.path}: holds {held} attestations, and {MOST} are the most",
                advice="Remove old ones, or seal the model anew.",
            )
    name = container.path.resolve().name.removesuffix(".sealed")
    for kind, content in attested:
        data = attest(content, container.index.root, name, signers)
        who = signers[0].public.key_id[:16]
        taken = {file.name for file in folder.iterdir()}
        names = (f"{kind}-{who}{f'-{count}' if count else ''}.json" for count in range(MOST))
        file = next(one for one in names if one not in taken)
        write_document(container.path, f"{ATTESTATIONS}/{file}", data)
