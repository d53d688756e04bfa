"""What this machine saw last, so that neither an old keyring nor a clock put back passes for new.

A file of one's own, not a secret: whoever can write it can write everything else of its owner too, so it is
read strictly but holds no code of authentication.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, final

import msgspec

from modelward.core.canonical import canonical
from modelward.core.home import state_folder
from modelward.errors import FileMissing, RolledBack, SealDamaged
from modelward.ledger.blobs import write_atomically
from modelward.vault import dsse
from modelward.vault.keys.keyring import Count, KeyId, Moment, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelward.vault.keys.keyring import Keyring

FORMAT: Final = "modelward.seen/1"
TOLERANCE: Final = timedelta(minutes=5)  # by which clocks of a well-kept network may differ
LARGEST: Final = 1 << 20
_STEP: Final = timedelta(minutes=1)  # a clock that went on by less is not written down


class SeenRing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest version of one keyring.

    Attributes:
        version: its number.
        digest: SHA-256 of what the owners signed.
    """

    version: Count
    digest: KeyId


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen.

    Attributes:
        format: ``modelward.seen/1``.
        moment: the latest that the clock ever said.
        rings: name of each keyring to its newest version.
    """

    format: str
    moment: Moment
    rings: Annotated[dict[str, SeenRing], msgspec.Meta(max_length=4096)]


@final
class Seen:
    """The file of what was seen.

    Attributes:
        path: the file; it is made, 0600, when something is seen first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def admit(self, keyring: Keyring, moment: datetime) -> None:
        """Refuse what is older than what was seen, and remember what is newer.

        Args:
            keyring: read by `Keyring.read`.
            moment: what the clock says, with its zone.

        Raises:
            RolledBack: the keyring is older than one seen before, is another one of the same version, or the
                clock is more than five minutes behind the latest moment seen or the keyring's issue.
            SealDamaged: the file is not one of these, or others may write it.
            FileMissing: the file cannot be read or written.
        """
        moment = moment.replace(microsecond=0)
        try:
            with self._locked():
                state = self._read()
                new = _after(state, keyring, moment)
                if new != state:
                    write_atomically(self.path, canonical(msgspec.to_builtins(new)) + b"\n")
        except OSError as error:
            raise FileMissing(
                f"{self.path}: what was seen before cannot be read or kept ({error.strerror})"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two processes at once must not forget what the other saw."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> State | None:
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return None
        with stream:
            facts = os.fstat(stream.fileno())
            data = stream.read(LARGEST + 1)
        if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SealDamaged(
                f"{self.path}: others may write it, so it does not say what was seen",
                advice="Find out who wrote it; then run `chmod 600` on it, or remove it knowingly.",
            )
        return _parse(data, self.path)


def default_path() -> Path:
    """Where the state lies by default.

    Raises:
        ConfigInvalid: this user has no folder for state.
    """
    return state_folder() / "seen.json"


def _parse(data: bytes, path: Path) -> State:
    advice = "Restore it from a backup; removing it forgets what was seen, so a rollback could pass."
    try:
        state = msgspec.convert(dsse.load(data, "it"), State)
        same = canonical(msgspec.to_builtins(state)) + b"\n" == data
    except (SealDamaged, msgspec.ValidationError, ValueError) as error:
        raise SealDamaged(
            f"{path}: what was seen before is damaged: {str(error)[:120]}", advice=advice
        ) from error
    if not same or state.format != FORMAT or len(data) > LARGEST:
        raise SealDamaged(f"{path}: what was seen before is damaged: it is not {FORMAT}", advice=advice)
    return state


def _after(state: State | None, keyring: Keyring, moment: datetime) -> State:
    digest = hashlib.sha256(keyring.encode()).hexdigest()
    newest = SeenRing(version=keyring.version, digest=digest)
    if moment + TOLERANCE < keyring.issued:
        raise RolledBack(
            f"the keyring was issued at {stamp(keyring.issued)}, and the clock says {stamp(moment)}"
        )
    if state is None:
        return State(format=FORMAT, moment=moment, rings={keyring.ring: newest})
    if moment + TOLERANCE < state.moment:
        raise RolledBack(f"the clock says {stamp(moment)}, and it has said {stamp(state.moment)} before")
    before = state.rings.get(keyring.ring)
    if before is not None and keyring.version < before.version:
        raise RolledBack(
            f"version {keyring.version} of the keyring; version {before.version} was seen before"
        )
    if before is not None and keyring.version == before.version and digest != before.digest:
        raise RolledBack(f"another version {keyring.version} of the keyring was seen before")
    if before == newest and moment < state.moment + _STEP:
        return state
    return State(format=FORMAT, moment=max(moment, state.moment), rings={**state.rings, keyring.ring: newest})
