"""A witness: it cosigns a log's checkpoint when that continues the last one it cosigned, and else refuses.

Source: C2SP tlog-witness (the checks of ``add-checkpoint``). A log whose keeper shows different histories to
different people needs a witness that cosigned both, which this code never does with one state file.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.errors import LedgerUnwritable, ProofInvalid, RolledBack, SealDamaged
from modelward.ledger.blobs import write_atomically
from modelward.ledger.checkpoint import EMPTY_ROOT, decimal, hash_of
from modelward.ledger.lock import exclusive, sync_folder
from modelward.ledger.proof import verify_consistency
from modelward.ledger.tiles import read_plain
from modelward.vault.dsse import load
from modelward.vault.notes import WITNESS, NoteSignature, Trust, cosign, key_of, open_checkpoint, parse_note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelward.ledger.checkpoint import Checkpoint
    from modelward.vault.keys.signer import Signer
    from modelward.vault.notes import NoteKey

FORMAT: Final = "modelward.witness/1"
MOST_BYTES: Final = 64 << 20  # of a state: about 400,000 logs


class Last(msgspec.Struct, frozen=True):
    """What a witness remembers of one log.

    Attributes:
        size: of the largest checkpoint that it cosigned.
        root: of that checkpoint, 32 bytes.
        moment: when it cosigned last, seconds since the epoch.
    """

    size: int
    root: bytes
    moment: int


@final
class Witness:
    """A key, a name, and a file that remembers what was cosigned.

    Attributes:
        key: the public key, as those who rely on the witness name it.
    """

    def __init__(self, signer: Signer, name: str, state: Path) -> None:
        self.key: NoteKey = key_of(signer.public, name, WITNESS)
        self._signer = signer
        self._state = Path(os.path.realpath(state))  # two links to one state have one lock

    def last(self, origin: str) -> Last | None:
        """What was cosigned last of a log, or null.

        Raises:
            SealDamaged: the state is not what a witness writes.
        """
        return self._remembered().get(origin)

    def cosign(
        self, note: bytes, logs: Sequence[NoteKey], prove: Callable[[int], Sequence[bytes]], moment: int
    ) -> NoteSignature:
        """Verify a checkpoint against what was cosigned before, remember it, and cosign it.

        Args:
            note: the checkpoint, signed by its log.
            logs: keys of the logs that are witnessed.
            prove: gives the proof that the checkpoint's log begins with an older one of so many records.
            moment: now, seconds since the epoch.

        Returns:
            The line to put below the checkpoint.

        Raises:
            SealDamaged: it is no checkpoint, or the state is not what a witness writes.
            SignerMissing: no key of the log signed it.
            SignatureInvalid: a signature by one of the keys is not over this text.
            RolledBack: it is older than one that was cosigned, or the clock is.
            ProofInvalid: it does not continue what was cosigned: the log has two histories.
            LedgerUnwritable: the state cannot be written; nothing was cosigned.
            KeyServiceFailed: the key's token or server does not sign.
        """
        checkpoint = open_checkpoint(note, Trust(logs=tuple(logs)), moment).checkpoint
        with exclusive(self._state.with_name(self._state.name + ".lock")):
            remembered = self._remembered()
            _check(checkpoint, remembered.get(checkpoint.origin), prove, moment)
            remembered[checkpoint.origin] = Last(checkpoint.size, checkpoint.root, moment)
            self._remember(remembered)  # before the signature leaves: a crash forgets no promise
        return cosign(parse_note(note).text, self._signer, self.key.name, moment)

    def _remembered(self) -> dict[str, Last]:
        if not self._state.exists():
            return {}
        value = load(read_plain(self._state, MOST_BYTES), "the witness's state")
        if not isinstance(value, dict) or value.get("format") != FORMAT or value.keys() != {"format", "logs"}:
            raise SealDamaged(f"{self._state}: is not what a witness of this version writes")
        logs = value["logs"]
        if not isinstance(logs, dict):
            raise SealDamaged(f"{self._state}: does not list logs")
        return {origin: _last(entry) for origin, entry in logs.items()}

    def _remember(self, logs: dict[str, Last]) -> None:
        entries: dict[str, JSON] = {
            origin: {
                "size": str(last.size),
                "root": base64.b64encode(last.root).decode(),
                "time": last.moment,
            }
            for origin, last in logs.items()
        }
        try:
            write_atomically(self._state, canonical({"format": FORMAT, "logs": entries}))
            sync_folder(self._state.parent)
        except OSError as error:
            raise LedgerUnwritable(f"{self._state}: cannot be written ({error.strerror})") from error


def require_continues(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> None:
    """Check that a log begins with an older one; every log begins with the empty one, which needs no hashes.

    Args:
        old: size and root of the older log.
        new: size and root of the newer one.
        path: the proof.

    Raises:
        ProofInvalid: it does not, or the proof is not one of these sizes.
    """
    if old[0]:
        verify_consistency(old, new, path)
    elif old[1] != EMPTY_ROOT:
        raise ProofInvalid("the older log has no record, and another root than an empty tree")
    elif path:
        raise ProofInvalid("a proof from the empty log on holds hashes, and needs none")


def _check(
    checkpoint: Checkpoint, last: Last | None, prove: Callable[[int], Sequence[bytes]], moment: int
) -> None:
    last = last or Last(0, EMPTY_ROOT, 0)
    if moment < last.moment:
        raise RolledBack(
            f"the clock is {last.moment - moment} seconds before the last cosignature of {checkpoint.origin}",
            advice="Set this machine's clock; a witness's times never go back.",
        )
    if checkpoint.size < last.size:
        raise RolledBack(
            f"the checkpoint of {checkpoint.origin} has {checkpoint.size} records; "
            f"one of {last.size} was cosigned before"
        )
    new = (checkpoint.size, checkpoint.root)
    require_continues((last.size, last.root), new, prove(last.size))


def _last(entry: JSON) -> Last:
    if isinstance(entry, dict) and entry.keys() == {"size", "root", "time"}:
        size, root, moment = entry["size"], entry["root"], entry["time"]
        if isinstance(size, str) and isinstance(root, str) and type(moment) is int and 0 < moment < 2**53:
            return Last(decimal(size, "a size that a witness remembers"), hash_of(root), moment)
    raise SealDamaged("the witness's state holds an entry that no witness writes")
