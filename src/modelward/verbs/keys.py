"""The verb `keys`: make a key, say what one is, and keep the keyring that says who may sign."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from modelward.errors import ConfigInvalid, KeyUnusable, OutputUnwritable, SealRefused
from modelward.ledger.blobs import write_atomically
from modelward.vault import dsse
from modelward.vault.keys import editing, ringfile
from modelward.vault.keys.keyring import SEALS, Keyring, RingKey, Threshold, stamp
from modelward.vault.keys.making import KINDS, describe, make_key
from modelward.vault.keys.opening import open_signer
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.core.canonical import JSON
    from modelward.vault.keys.making import KeyFacts
    from modelward.vault.keys.ringfile import Line

    Change: TypeAlias = Callable[[Keyring], Keyring]

__all__ = ["KINDS", "SEALS"]
SCHEMA: Final = "modelward.keys/1"
PURPOSES: Final = (SEALS, "evidence", "scan", "bom", "provenance", "release")
"""What verifiers ask for: seals, and the kinds of attestations, whose module this does not load."""
PENDING: Final = ".next"  # after the keyring's name: a version that waits for further owners


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs a change of a keyring, and when.

    Attributes:
        keys: references to owners' private keys, as `open_signer` reads them.
        passphrase: gives their passphrases or PINs; null where nobody can be asked.
        warn: is told in one sentence what is unwise.
        progress: called with (bytes done, bytes in all) where content is hashed.
        now: the moment of the change; null for the clock's.
    """

    keys: tuple[str, ...]
    passphrase: Callable[[], bytes] | None = None
    warn: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int], None] | None = None
    now: datetime | None = None

    def moment(self) -> datetime:
        """When."""
        return (self.now or datetime.now(UTC)).replace(microsecond=0)


class NewRing(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns a keyring.

    Attributes:
        owners: public keys, PEM files.
        threshold: how many of them sign each version.
        expires: when a newer version must be there; null for never.
    """

    owners: tuple[str | Path, ...]
    threshold: int = 1
    expires: datetime | None = None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that enters a keyring.

    Attributes:
        public: its public half, a PEM file.
        name: whose it is; keys of one name are one signer.
        purposes: what it may sign.
        valid_from: the first moment; null for now.
        valid_until: its end; null for none.
    """

    public: str | Path
    name: str = ""
    purposes: tuple[str, ...] = (SEALS,)
    valid_from: datetime | None = None
    valid_until: datetime | None = None


class RingState(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a keyring, as it lies on the disk.

    Attributes:
        ring: the version.
        path: the file that holds it.
        signers: ids of owners who signed it.
        lacks: what it lacks to be in force, in words; empty when it is.
        waiting: what `ring_show` found beside it that waits for further owners; nothing may trust it.
    """

    ring: Keyring
    path: Path
    signers: tuple[str, ...]
    lacks: str = ""
    waiting: RingState | None = None

    def report(self) -> dict[str, JSON]:
        """Plain JSON values, schema ``modelward.keys/1``."""
        body = msgspec.to_builtins(self.ring)
        return {
            "schema": SCHEMA,
            "path": str(self.path),
            "in_force": not self.lacks,
            "lacks": self.lacks,
            "signed_by": list(self.signers),
            "owner_ids": [owner.key_id for owner in self.ring.owner_verifiers()],
            "waiting": self.waiting.report() if self.waiting is not None else None,
            "keyring": body,
        }


def new_key(path: str | Path, kind: str, passphrase: Callable[[], bytes] | None) -> KeyFacts:
    """Make a pair of keys: the private half, encrypted, at `path`, the public half beside it with `.pub`.

    Args:
        path: where; neither file may be there. Mode 0600 and 0644.
        kind: one of `KINDS`; the last two are for recipients, the others sign.
        passphrase: gives what the private half is encrypted with.

    Raises:
        KeyUnusable: there is no such kind, or no passphrase.
        OutputUnwritable: a file is there already, or cannot be written.
    """
    if passphrase is None:
        raise KeyUnusable(
            "a new key is encrypted, and no passphrase was given",
            advice="Give --passphrase-file, set MODELWARD_PASSPHRASE, or run it on a terminal.",
        )
    private = Path(path)
    public = private.with_name(private.name + ".pub")
    for file in (private, public):
        if file.exists() or file.is_symlink():
            raise _there(file)
    pem, facts = make_key(kind, passphrase)
    _write_new(private, pem, 0o600)
    try:
        _write_new(public, facts.public.encode(), 0o644)
    except OutputUnwritable:
        private.unlink(missing_ok=True)  # made a moment ago, and nobody used it
        raise
    return facts


def show_key(
    reference: str, passphrase: Callable[[], bytes] | None, warn: Callable[[str], None] = lambda _: None
) -> KeyFacts:
    """What a file, variable, token or server holds; raises as `describe`."""
    return describe(reference, passphrase, warn)


def ring_new(path: str | Path, new: NewRing, owner: Owner) -> RingState:
    """Begin a keyring.

    Raises:
        OutputUnwritable: the file is there already, or cannot be written.
        ConfigInvalid: the threshold does not fit the owners.
        KeyUnusable: a key cannot be used, or is no owner's.
    """
    target = Path(path)
    owners = _owners(new)
    ring = editing.begin(owners, new.threshold, owner.moment(), new.expires)
    signers = [open_signer(key, owner.passphrase, warn=owner.warn) for key in owner.keys]
    with _locked(target):
        for file in (target, _pending(target)):
            if file.exists():
                raise _there(file)
        return _place(target, (), ringfile.sign(ring, signers, None))


def ring_add(path: str | Path, new: NewKey, owner: Owner) -> RingState:
    """Add a key; raises as `ring_revoke`. A purpose that is not known is taken, and warned of."""
    key = _entry(new, owner.moment())
    for purpose in sorted(set(key.purposes) - set(PURPOSES)):
        owner.warn(f"{purpose!r} is a purpose of your own; modelward asks for {', '.join(PURPOSES)}")
    return _change(path, owner, lambda ring: editing.with_key(ring, key, owner.moment()))


def ring_revoke(
    path: str | Path, what: str, reason: str, owner: Owner, since: datetime | None = None
) -> RingState:
    """Revoke a key or a root, or whatever lies at a path, under every root that it may be signed by.

    Args:
        path: the keyring.
        what: a key's id, at least 8 digits of it, or its name; a root (``sha256:...``, ``blake3:...``); or a
            path with a slash in it of a file, a folder or a sealed folder, see `roots_of`.
        reason: for people.
        owner: who signs.
        since: from when on it cannot be trusted; null for now.

    Raises:
        FileMissing: there is no such keyring.
        SealRefused: the keyring does not hold.
        ConfigInvalid: the change is not allowed in a keyring.
        KeyUnusable: there is no such key, or an owner's key cannot be used.
        InputError, SealRefused: what lies at the path cannot be hashed.
        OutputUnwritable: a change waits for signatures already, or nothing can be written.
    """
    now = owner.moment()
    at = (since or now).astimezone(UTC).replace(microsecond=0)
    roots: tuple[str, ...] = ()
    if "/" in what and Path(what).exists():
        from modelward.verbs.keys_roots import roots_of  # who makes a key needs none of this

        roots = roots_of(Path(what), owner.warn, owner.progress)

    def change(ring: Keyring) -> Keyring:
        if not roots:
            return editing.with_revoked(ring, what, at, reason, now)
        if any(key.name == what for key in ring.keys):
            raise KeyUnusable(f"{what!r} is a key's name and a path; write ./{what}, or the key's id")
        return editing.with_revoked_roots(ring, roots, at, reason, now)

    state = _change(path, owner, change)
    gone = {key.id for key in state.ring.revoked_keys}
    for key in state.ring.owner_verifiers():
        if key.key_id in gone:
            owner.warn(f"key {key.key_id[:16]} owns the keyring still; `keys ring owners` takes it out")
    return state


def rotate(path: str | Path, old: str, new: NewKey, overlap: timedelta, owner: Owner) -> RingState:
    """Let a new key take an old one's place, which stays valid for `overlap`; raises as `ring_revoke`."""
    now = owner.moment()
    key = _entry(msgspec.structs.replace(new, name="successor"), now)
    return _change(path, owner, lambda ring: editing.with_successor(ring, old, key, overlap, now))


def ring_policy(path: str | Path, policy: Threshold, owner: Owner) -> RingState:
    """Set how many must sign for a purpose; raises as `ring_revoke`."""
    return _change(path, owner, lambda ring: editing.with_policy(ring, policy, owner.moment()))


def ring_owners(path: str | Path, new: NewRing, owner: Owner) -> RingState:
    """Change the owners; enough of the old and of the new ones must sign. Raises as `ring_revoke`."""
    owners = _owners(new)
    return _change(path, owner, lambda ring: editing.with_owners(ring, owners, new.threshold, owner.moment()))


def ring_renew(path: str | Path, expires: datetime | None, owner: Owner) -> RingState:
    """Say that nothing changed, and until when that may be believed; raises as `ring_revoke`."""
    return _change(path, owner, lambda ring: editing.with_expiry(ring, expires, owner.moment()))


def ring_sign(path: str | Path, owner: Owner) -> RingState:
    """Sign what waits for further owners; where nothing waits, the version in force.

    Raises: as `ring_revoke`.
    """
    target = Path(path)
    signers = [open_signer(key, owner.passphrase, warn=owner.warn) for key in owner.keys]
    with _locked(target):
        lines = ringfile.read_chain(target) if target.exists() or not _pending(target).exists() else ()
        line, before = _waiting(target, lines)
        if line is None:
            line, before = lines[-1], lines[-2].ring if len(lines) > 1 else None
            lines = (*lines[:-1], ringfile.countersign(line, signers, before))
            _write(target, ringfile.encode(lines))
            _pending(target).unlink(missing_ok=True)  # it holds this version, which is in force
            return _state(target, lines[-1], "")
        return _place(target, lines, ringfile.countersign(line, signers, before))


def ring_show(
    path: str | Path,
    owners: Sequence[str | Path] = (),
    threshold: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> RingState:
    """A keyring, its signatures checked; with owners named, that they stand behind it.

    What waits beside it is shown too, so that an owner sees what to sign; a new keyring may have no more.

    Args:
        path: the keyring, or what waits beside it.
        owners: files of the public keys of whom you trust.
        threshold: how many of them must have signed; null for more than half.
        warn: is told when what waits cannot be read.

    Raises:
        FileMissing: there is no such keyring.
        SealRefused: it does not hold, or the owners named did not sign it.
    """
    target = Path(str(path).removesuffix(PENDING))
    alone = not owners and not target.exists() and _pending(target).exists()
    lines = () if alone else ringfile.read_chain(target)
    if owners:
        ringfile.trusted(lines, [Verifier.read(Path(owner)) for owner in owners], threshold)
    waiting = None
    try:
        line, before = _waiting(target, lines)
        if line is not None:
            lacks = ringfile.shortfall(line, before) or "has its signatures, and was not put in force"
            waiting = _state(_pending(target), line, lacks)
    except SealRefused as error:
        if alone:
            raise
        warn(f"{_pending(target)}: {error}")  # what is in force holds, whatever lies beside it
    if alone and waiting is not None:
        return waiting
    return msgspec.structs.replace(_state(target, lines[-1], ""), waiting=waiting)


def moment_of(text: str) -> datetime:
    """A moment as people write it: ``2026-11-21``, or RFC 3339; without a zone it is UTC.

    Raises:
        ConfigInvalid: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:  # at either end of the years another zone has no such date
        raise ConfigInvalid(
            f"{text[:40]!r} is no date", advice="Write 2026-11-21 or 2026-11-21T12:00:00Z."
        ) from error


def describe_ring(state: RingState) -> str:
    """A keyring as text."""
    ring = state.ring
    until = f", expires {stamp(ring.expires)}" if ring.expires is not None else ""
    lines = [
        f"keyring {ring.ring}, version {ring.version}, issued {stamp(ring.issued)}{until}",
        f"owners: {ring.threshold} of {len(ring.owners)} must sign",
    ]
    lines += [
        f"  {owner.key_id[:16]} {owner.algorithm}{', signed' if owner.key_id in state.signers else ''}"
        for owner in ring.owner_verifiers()
    ]
    revoked = {key.id for key in ring.revoked_keys}
    lines += ["keys:"] if ring.keys else []
    for key in ring.keys:
        end = f" until {stamp(key.valid_until)}" if key.valid_until is not None else ""
        mark = "REVOKED, " if key.id in revoked else ""
        purposes = ", ".join(key.purposes)
        lines.append(f"  {key.id[:16]} {key.name}: {mark}{purposes}; from {stamp(key.valid_from)}{end}")
    for policy in ring.policies:
        quantum = ", one by ML-DSA-65" if policy.ml_dsa else ""
        lines.append(f"{policy.purpose}: {policy.threshold} of {', '.join(policy.names)}{quantum}")
    for entry in ring.revoked_keys:
        lines.append(f"revoked key {entry.id[:16]} since {stamp(entry.since)}: {entry.reason}")
    for root in ring.revoked_roots:
        lines.append(f"revoked root {root.root} since {stamp(root.since)}: {root.reason}")
    if state.lacks:
        lines.append(f"not in force: it {state.lacks}; it waits in {state.path}")
    if state.waiting is not None:
        lines += ["", f"waits to be signed, in {state.waiting.path}:", describe_ring(state.waiting)]
    return "\n".join(lines)


def _change(path: str | Path, owner: Owner, change: Change) -> RingState:
    target = Path(path)
    with _locked(target):
        lines = ringfile.read_chain(target)
        if _waits(target, lines):
            raise OutputUnwritable(
                f"{_pending(target)}: a change waits for signatures",
                advice="Have it signed with `modelward keys ring sign`, or remove the file to drop it.",
            )
        before = lines[-1].ring
        new = change(before)
        signers = [open_signer(key, owner.passphrase, warn=owner.warn) for key in owner.keys]
        return _place(target, lines, ringfile.sign(new, signers, before))


def _waiting(target: Path, lines: Sequence[Line]) -> tuple[Line | None, Keyring | None]:
    before = lines[-1].ring if lines else None
    if not _waits(target, lines):
        return None, before
    text = ringfile.read_bytes(_pending(target)).removesuffix(b"\n")
    return ringfile.decode_line(text, before), before


def _waits(target: Path, lines: Sequence[Line]) -> bool:
    """Whether a version waits; one that was put in force just before the process was killed does not."""
    pending = _pending(target)
    if not pending.exists():
        return False
    if not lines:
        return True
    envelope = dsse.from_json(dsse.load(ringfile.read_bytes(pending), "the change that waits"))
    return envelope.payload != lines[-1].envelope.payload


def _place(target: Path, lines: tuple[Line, ...], line: Line) -> RingState:
    """Put a version in force if it has its signatures, else beside the one in force, where it waits."""
    lacks = ringfile.shortfall(line, lines[-1].ring if lines else None)
    if lacks:
        _write(_pending(target), ringfile.encode([line]))
        return _state(_pending(target), line, lacks)
    _write(target, ringfile.encode(ringfile.appended(lines, line) if lines else (line,)))
    _pending(target).unlink(missing_ok=True)
    return _state(target, line, "")


def _state(path: Path, line: Line, lacks: str) -> RingState:
    return RingState(ring=line.ring, path=path, signers=tuple(sorted(line.signers)), lacks=lacks)


def _pending(target: Path) -> Path:
    return target.with_name(target.name + PENDING)


def _entry(new: NewKey, now: datetime) -> RingKey:
    public = Verifier.read(Path(new.public))
    return RingKey(
        id=public.key_id,
        name=new.name,
        pem=public.pem.decode(),
        purposes=tuple(dict.fromkeys(new.purposes)),
        valid_from=new.valid_from or now,
        valid_until=new.valid_until,
    )


def _owners(new: NewRing) -> list[Verifier]:
    owners = [Verifier.read(Path(path)) for path in new.owners]
    if not 1 <= new.threshold <= len({owner.key_id for owner in owners}):
        raise ConfigInvalid(
            f"{new.threshold} of {len(owners)} owners cannot sign",
            advice="Name each by --owner, or lower --threshold.",
        )
    return owners


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all, and never over another one."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".modelward-") as folder:
            temporary = Path(folder) / "key"
            write_atomically(temporary, data, mode=mode)
            os.link(temporary, path)
    except FileExistsError as error:
        raise _there(path) from error
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error


def _there(path: Path) -> OutputUnwritable:
    return OutputUnwritable(
        f"{path}: is there already, and is not written over", advice="Choose another name."
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Of two owners at once on one machine none must lose the other's change, which may be a revocation."""
    try:
        handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputUnwritable(f"{target.parent}: cannot be opened ({error.strerror})") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
