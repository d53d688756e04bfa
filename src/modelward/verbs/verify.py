"""The verb `verify`: who sealed it, whether it is still that, and whether a policy admits it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from modelward.core.evidence import to_json
from modelward.core.files import read_at_most
from modelward.core.policy import Reason
from modelward.errors import ConfigInvalid, ContentChanged, FileMissing, SealRefused
from modelward.reporting.text import plural
from modelward.reporting.verification import Kind, Skipped, Verification
from modelward.vault.bundle import LARGEST
from modelward.vault.signing.checking import CheckOptions, check_files, read_files
from modelward.vault.signing.verification import Verified, verify_bundle
from modelward.vault.tree.hashing import TreeOptions
from modelward.vault.tree.walk import WalkOptions
from modelward.verbs.talk import Progress, Talk
from modelward.verbs.trust import Trust, TrustOptions

if TYPE_CHECKING:
    from modelward.core.claim import Claim
    from modelward.core.policy import Verdict
    from modelward.vault.attest.admission import Admission
    from modelward.vault.attest.attestation import Attestations
    from modelward.vault.container.reading import Container
    from modelward.vault.tables.manifest import TableManifest

_WORST: Final = {"refuted": 0, "unknown": 1, "holds": 2}


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is demanded.

    Attributes:
        signature: the detached signature of a model or data set; null where the path is a sealed folder.
        trust: whose signatures count.
        policy: file that says what admits it (docs/admission.md); null demands signatures and content alone.
        attestations: folder of attestations beside a detached signature.
        partial: accept that signed files are missing, as after a partial download.
        unsigned: accept files that nobody signed (with a detached signature).
        against: the table as it was signed: where the rows differ, it is said which.
        excluded: paths that are no part of what was signed.
        links: follow symbolic links that stay inside.
        jobs: threads; 0 for one per core.
        record: ledger (a folder, or the URL of a database) that the outcome is appended to, so that it can be
            proven later what was admitted when.
    """

    signature: str | Path | None = None
    trust: TrustOptions = TrustOptions()
    policy: str | Path | None = None
    attestations: str | Path | None = None
    partial: bool = False
    unsigned: bool = False
    against: str | Path | None = None
    excluded: tuple[str | Path, ...] = ()
    links: bool = False
    jobs: int = 0
    record: str | Path | None = None


class Seen(NamedTuple):
    """What a verification has found so far.

    Attributes:
        kind: of seal.
        root: what was signed.
        signers: ids of the keys whose signatures hold.
        files: that were compared.
        bytes: of these.
        attestations: beside it; null where there is nothing to read.
        missing: signed files that are absent.
        unsigned: what is there, was not signed, and is accepted.
        encrypted: whether identities are needed.
        recipients: ids of who may open it.
        bound: whether evidence and scans speak of the files at hand; of encrypted ones, of as many.
        content: root of what was sealed, where it lies in clear in a sealed folder.
    """

    kind: Kind
    root: str
    signers: tuple[str, ...]
    files: int
    bytes: int
    attestations: Attestations | None
    missing: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    encrypted: bool = False
    recipients: tuple[str, ...] = ()
    bound: tuple[Reason, ...] = ()
    content: str = ""


def verify(path: str | Path, options: VerifyOptions | None = None, talk: Talk | None = None) -> Verification:
    """Say how a seal stands. Nothing that was sealed is loaded, and no private key is needed.

    Args:
        path: a sealed folder; or a model or data set, with its detached signature.
        options: what is demanded.
        talk: whom to tell.

    Returns:
        How it stands; `Verification.verified` is true only where every requirement holds.

    Raises:
        ConfigInvalid: nobody is trusted, or options exclude each other.
        FileMissing: there is nothing at the path, or a file cannot be read.
        KeyUnusable: a file holds no public key.
        PolicyInvalid: the policy is empty or contradicts itself.
        LedgerUnwritable, LedgerTampered: the outcome cannot be recorded.
    """
    options, talk, source = options or VerifyOptions(), talk or Talk(), Path(path)
    if not source.exists():
        raise FileMissing(f"{source}: there is no such file")
    policy = read_policy(options.policy)
    trust: Trust | None = None
    seen: Seen | None = None
    try:
        trust = policy.trust(options.trust)
        seen = _seen(source, trust, options, talk)
        result = conclude(source, trust, seen, policy.admission)
    except SealRefused as error:
        if trust is not None and seen is not None:  # what was refused for who signed it is known all the same
            known = _described(source, trust, seen)
        else:
            known = Verification(
                subject=str(source),
                kind="signature" if options.signature is not None else "seal",
                verified=False,
                moment=_iso(options.trust.moment or datetime.now(UTC)),
            )
        reason = Reason(requirement="the seal holds", status="refuted", detail=str(error))
        result = msgspec.structs.replace(
            known, reasons=(reason,), refusal=type(error).__name__, advice=error.advice
        )
    keep(result, options.record)
    return result


def keep(result: Verification, store: str | Path | None) -> None:
    """Append an outcome to a ledger, where one is named.

    Raises:
        LedgerUnwritable, LedgerTampered: it cannot be kept.
    """
    if store is None:
        return
    from modelward.ledger.store import Ledger

    ledger = Ledger.open(store)
    try:
        ledger.append({"kind": "verification", "result": to_json(result)})
    finally:
        ledger.close()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class Demands(NamedTuple):
    """A policy of admission, and the public keys that it names by path.

    Attributes:
        admission: the policy; null where none is stated.
        pems: of those who may sign.
        auditors: of those who may attest.
    """

    admission: Admission | None = None
    pems: tuple[bytes, ...] = ()
    auditors: tuple[bytes, ...] = ()

    def trust(self, options: TrustOptions) -> Trust:
        """Whose signatures count; raises what `Trust` raises."""
        return Trust(options, self.pems, self.auditors)


def read_policy(path: str | Path | None) -> Demands:
    """Read what is demanded; nothing where no policy is stated.

    Raises:
        ModelwardError: it cannot be read, is empty or contradicts itself.
    """
    if path is None:
        return Demands()
    from modelward.vault.attest.admission import read_with_keys

    read = read_with_keys(Path(path))
    return Demands(read.policy, read.pems, read.auditors)


def _seen(source: Path, trust: Trust, options: VerifyOptions, talk: Talk) -> Seen:
    if options.signature is not None:
        return _signature(source, Path(options.signature), trust, options, talk)
    if options.partial or options.unsigned or options.excluded:
        raise ConfigInvalid("a sealed folder is verified whole", advice="These flags go with --signature.")
    from modelward.vault.container.reading import Container

    return look_into(Container.open(source), trust, jobs=options.jobs, progress=talk.progress)


def _signature(source: Path, signature: Path, trust: Trust, options: VerifyOptions, talk: Talk) -> Seen:
    too_long = ConfigInvalid(f"{signature}: is larger than {LARGEST:,} bytes, so it is no signature")
    data = read_at_most(signature, LARGEST, too_long)
    verified = _verified(data, trust)
    from modelward.vault.tables import PREDICATE

    if verified.statement.predicate_type == PREDICATE:
        return _rows(source, data, options, trust)
    said, signers = read_files(verified.statement), verified.signers
    del data, verified  # each is as large as the list of files that was read of them
    excluded = (*(Path(p) for p in options.excluded), signature)
    tree = TreeOptions(
        jobs=options.jobs, excluded=excluded, links=options.links, progress=talk.progress, warn=talk.warn
    )
    checking = CheckOptions(partial=options.partial, unsigned=options.unsigned, tree=tree)
    checked = check_files(said, source, checking)
    seen = Seen(
        kind="signature",
        root=checked.root,
        signers=signers,
        files=checked.files,
        bytes=checked.bytes,
        missing=checked.missing,
        unsigned=checked.unsigned,
        attestations=_beside(options, checked.root, trust),
    )
    walking = WalkOptions(excluded=excluded, links=options.links)
    return seen._replace(bound=bound(seen, source, walking))


def _verified(data: bytes, trust: Trust) -> Verified:
    if trust.options.identity:
        from modelward.vault.signing.keyless import verify_keyless

        return verify_keyless(data, identity=trust.options.identity, issuer=trust.options.issuer)
    return verify_bundle(
        data,
        trust.verifiers,
        threshold=trust.threshold,
        moment=trust.moment,
        authorities=trust.authorities,
    )


def _rows(source: Path, data: bytes, options: VerifyOptions, trust: Trust) -> Seen:
    from modelward.vault.tables.manifest import verify_manifest
    from modelward.vault.tables.signed import read_signed

    if trust.options.identity:
        raise ConfigInvalid("signed rows are verified by keys", advice="Give --public-key.")
    if options.partial or options.unsigned:
        raise ConfigInvalid("the rows of a table are verified whole", advice="Leave these flags out.")
    _, pinned, signers = read_signed(data, trust.verifiers, threshold=trust.threshold)
    try:
        verify_manifest(source, pinned)
    except ContentChanged as error:
        if options.against is None:
            raise
        raise ContentChanged(f"{error}; {_changed_rows(Path(options.against), source, pinned)}") from error
    seen = Seen(
        kind="rows",
        root=pinned.root,
        signers=signers,
        files=1,
        bytes=source.stat().st_size,
        attestations=_beside(options, pinned.root, trust),
    )
    return seen._replace(bound=bound(seen, source))


def _changed_rows(old: Path, new: Path, pinned: TableManifest) -> str:
    """Which rows differ, in words; the old table must be the one that was signed."""
    from modelward.vault.tables.differences import Side, difference
    from modelward.vault.tables.manifest import verify_manifest

    verify_manifest(old, pinned)
    found = difference(
        Side(path=old, options=pinned.options, manifest=pinned), Side(path=new, options=pinned.options)
    )
    parts = [
        f"{plural(count, 'row')} {what} (first at row {spans[0].old})"
        for what, count, spans in (
            ("changed", found.rows_changed, found.changed),
            ("removed", found.rows_removed, found.removed),
            ("added", found.rows_added, found.added),
        )
        if count
    ]
    return ", ".join([*found.schema, *parts]) or "the rows are the same, in other groups"


def _beside(options: VerifyOptions, root: str, trust: Trust) -> Attestations | None:
    return None if options.attestations is None else trust.attestations(Path(options.attestations), root)


def look_into(container: Container, trust: Trust, *, jobs: int, progress: Progress | None) -> Seen:
    """Verify a sealed folder: its signatures, and every stored byte.

    Raises:
        SealRefused: it does not hold.
    """
    from modelward.vault.container.layout import DATA

    seen = look_at(container, trust)
    container.check_files(jobs=jobs, progress=progress)
    tree, held = container.index, seen.attestations
    if not container.encrypted:
        of_these = bound(seen, container.path / DATA)
    elif held is not None and held.held:
        from modelward.vault.attest.binding import counted_reasons

        of_these = counted_reasons(held, sum(one.path.startswith(f"{DATA}/") for one in tree.entries))
    else:
        of_these = ()
    return seen._replace(files=len(tree.entries), bytes=tree.length, bound=of_these)


def bound(seen: Seen, path: Path, walking: WalkOptions | None = None) -> tuple[Reason, ...]:
    """Whether what is attested speaks of the very files at a path, in clear."""
    if seen.attestations is None or not seen.attestations.held:
        return ()
    from modelward.vault.attest.binding import bound_reasons

    return bound_reasons(seen.attestations, path, walking, absent=seen.missing)


def look_at(container: Container, trust: Trust) -> Seen:
    """Verify a sealed folder's signatures, lists and attestations; files are left to who decrypts them.

    Raises:
        SealRefused: it does not hold.
    """
    from modelward.vault.container.layout import ATTESTATIONS
    from modelward.vault.container.recipients import id_of

    verified = container.check_signatures(trust.verifiers, trust.threshold)
    root = container.index.root
    return Seen(
        kind="seal",
        root=root,
        signers=verified.signers,
        files=0,
        bytes=0,
        encrypted=container.encrypted,
        recipients=tuple(id_of(one) for one in container.header.recipients),
        attestations=trust.attestations(container.path / ATTESTATIONS, root),
        content="" if container.encrypted else container.unlock().tree.root,
    )


def conclude(source: Path, trust: Trust, seen: Seen, policy: Admission | None) -> Verification:
    """Hold what was seen against keyring and policy.

    Raises:
        SealRefused: a signer or the root is revoked, expired or not allowed.
    """
    seen = seen._replace(signers=trust.admit(seen.signers, seen.root))
    if trust.keyring is not None and seen.content:
        trust.keyring.check_root(seen.content)
    verdict = _verdict(trust, seen, policy)
    reasons = [
        Reason(
            requirement=_asked_of_signers(trust),
            status="holds",
            detail=", ".join(signer.name or signer.key_id[:16] for signer in trust.signed_by(seen.signers)),
        ),
        Reason(
            requirement="the content is what was signed",
            status="holds",
            detail=_compared(seen),
        ),
        *(
            Reason(requirement=f"{one.file} is an attestation of this", status="refuted", detail=one.reason)
            for one in (seen.attestations.refused if seen.attestations else ())
        ),
        *seen.bound,
        *(verdict.reasons if verdict is not None else ()),
    ]
    reasons.sort(key=lambda reason: _WORST[reason.status])
    return msgspec.structs.replace(
        _described(source, trust, seen),
        verified=all(reason.status == "holds" for reason in reasons),
        claims=_claims(seen, policy, verdict),
        reasons=tuple(reasons),
        skipped=_skipped(trust, seen, policy),
    )


def _described(source: Path, trust: Trust, seen: Seen) -> Verification:
    """What was found, before anything is demanded of it."""
    held = seen.attestations.held if seen.attestations else ()
    return Verification(
        subject=str(source),
        kind=seen.kind,
        verified=False,
        root=seen.root,
        signers=trust.signed_by(seen.signers),
        files=seen.files,
        bytes=seen.bytes,
        encrypted=seen.encrypted,
        missing=seen.missing,
        unsigned=seen.unsigned,
        attestations=tuple(sorted({one.kind for one in held})),
        moment=_iso(trust.moment),
    )


def _claims(seen: Seen, policy: Admission | None, verdict: Verdict | None) -> tuple[Claim, ...]:
    """As the policy judged them; without one as they are attested."""
    if policy is not None:
        return verdict.claims if verdict is not None else ()
    if seen.attestations is None:
        return ()
    from modelward.vault.attest.judging import attested_claims

    return attested_claims(seen.attestations)


def _asked_of_signers(trust: Trust) -> str:
    asked = f"signed by at least {plural(trust.threshold, 'trusted key')}"
    if trust.keyring is None:
        return asked
    from modelward.vault.keys.keyring import SEALS

    rule = next((rule for rule in trust.keyring.policies if rule.purpose == SEALS), None)
    if rule is None:
        return asked
    of = f"{rule.threshold} of {', '.join(rule.names)}" + (", one by ML-DSA-65" if rule.ml_dsa else "")
    return f"{asked}, and as the keyring demands by {of}"


def _skipped(trust: Trust, seen: Seen, policy: Admission | None) -> tuple[Skipped, ...]:
    """What a reader could take for granted, and nobody asked."""
    found = []
    if policy is None:
        attested = seen.attestations is not None and seen.attestations.held
        why = "no policy was given (--policy), so nothing judged it" if attested else "there is nothing"
        found.append(Skipped(what="what is attested", reason=why))
    if trust.keyring is None:
        found.append(Skipped(what="revocation", reason="no keyring was given (--keyring)"))
    if seen.encrypted and seen.files:
        found.append(Skipped(what="the content in clear", reason="it is encrypted; who opens it compares it"))
    return tuple(found)


def _verdict(trust: Trust, seen: Seen, policy: Admission | None) -> Verdict | None:
    """By the policy; without one by the release policies that are attested, if any."""
    if policy is None and seen.attestations is None:
        return None
    from modelward.vault.attest.attestation import Attestations
    from modelward.vault.attest.judging import Facts, admit, release_verdict

    facts = Facts(
        root=seen.root,
        signers=seen.signers,
        moment=trust.moment,
        attestations=seen.attestations or Attestations(),
        recipients=seen.recipients,
    )
    return admit(policy, facts) if policy is not None else release_verdict(facts)


def _compared(seen: Seen) -> str:
    if not seen.files:
        return "its manifest, which decryption holds every byte to"
    return f"{plural(seen.files, 'file')} compared" + (", others are absent" if seen.missing else "")
