"""The verb `ledger`: publish the store as a log, prove what is in it, witness it. Nothing needs a network."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from modelward.core.canonical import digest
from modelward.errors import ConfigInvalid, LedgerTampered, OutputUnwritable, ProofInvalid, RolledBack
from modelward.ledger.blobs import write_atomically
from modelward.ledger.checkpoint import Checkpoint
from modelward.ledger.export import remove_partial, write_tiles
from modelward.ledger.lock import exclusive, sync_folder
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.place import is_database
from modelward.ledger.proof import root_by_inclusion
from modelward.ledger.proof_text import (
    MOST_BYTES,
    ConsistencyProof,
    InclusionProof,
    parse_consistency,
)
from modelward.ledger.store import Ledger, decode
from modelward.ledger.subtrees import Levels, consistency, inclusion, root_of
from modelward.ledger.tiles import CHECKPOINT, MOST_CHECKPOINT, Tiles, read_plain
from modelward.reporting.text import plural
from modelward.vault.notes import (
    LOG,
    Note,
    NoteKey,
    NoteSignature,
    Trust,
    key_of,
    open_checkpoint,
    parse_note,
    sign_note,
    stated,
)
from modelward.vault.witness import require_continues
from modelward.verbs.ledger_verify import path_from, require_continued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modelward.ledger.subtrees import Nodes
    from modelward.vault.keys.signer import Signer
    from modelward.vault.witness import Witness

SHORTEST_DIGEST: Final = 8
UNSIGNED_ORIGIN: Final = "modelward"
_LOCK: Final = ".lock"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What `export` published.

    Attributes:
        origin: the log's name.
        size: number of records.
        root: 64 hexadecimal digits.
        written: files that were new; 0 where nothing was.
        key: the log's public key, as verifiers name it.
    """

    origin: str
    size: int
    root: str
    written: int
    key: str


class _Log(NamedTuple):
    """A store or tiles, opened for proofs."""

    size: int
    nodes: Nodes
    leaves: Callable[[], Iterator[bytes]]
    bodies: Callable[[], Iterator[bytes]]
    record: Callable[[int], bytes]


def export(store: str | Path, folder: Path, signer: Signer, origin: str, *, records: bool = True) -> Exported:
    """Publish a store as tiles with a signed checkpoint; only what is new is written.

    Args:
        store: a ledger's folder, or the URL of its database.
        folder: where the log lies or will lie.
        signer: the log's Ed25519 key.
        origin: the log's name.
        records: publish the records too, and not the hashes alone.

    Raises:
        LedgerTampered: the store is not what it was, or its records are not those that were published.
        ProofInvalid: the store does not begin with the records of the checkpoint that was signed before.
        RolledBack: the store has fewer records than that checkpoint.
        SignerMissing: the folder holds another log.
        OutputUnwritable: a file cannot be written.
    """
    key = key_of(signer.public, origin, LOG)
    ledger = Ledger.open_read_only(store)
    try:
        _make(folder)
        with exclusive(folder / _LOCK):
            head = ledger.head()
            root = bytes.fromhex(head.root)
            old = _published(folder, key)
            if old is not None:
                require_continued(ledger, old, head.size)
            size = 0 if old is None else old.size
            written = write_tiles(ledger.bodies(head.size), folder, head.size, old=size, records=records)
            if root_of(Tiles(folder, head.size), head.size) != root:
                raise LedgerTampered(f"{store}: the records that it gave do not lead to its head")
            if old is None or old.size != head.size:
                checkpoint = Checkpoint(origin=origin, size=head.size, root=root)
                text = checkpoint.text()
                write_file(folder / CHECKPOINT, Note(text, (sign_note(text, signer, origin),)).encode())
                _sync(folder)
                written += 1
                remove_partial(folder, size, head.size)
    finally:
        ledger.close()
    return Exported(origin=origin, size=head.size, root=head.root, written=written, key=key.text())


def prove_record(
    place: str | Path, record: str | int, checkpoint: bytes | None = None, *, with_record: bool = True
) -> bytes:
    """Prove that a record is in a log.

    Args:
        place: a ledger's folder, the URL of its database, or a folder of tiles.
        record: its index; or the beginning (8 digits at least) of its leaf hash, of the SHA-256 of its
            canonical JSON, or of the digest of the evidence in it.
        checkpoint: the one to prove it against; null: that of the tiles, or an unsigned one of the store.
        with_record: put the record into the proof, so that the file verifies alone.

    Returns:
        The proof, C2SP tlog-proof v1.

    Raises:
        ConfigInvalid: no record, or more than one, is meant.
        ProofInvalid: the log is not the one of the checkpoint, or was altered.
    """
    with _opened(place) as log:
        note = checkpoint or _checkpoint_of(place)
        named = stated(note)
        index = _find(log, record, named.size)
        _require_within(log, named)
        path = inclusion(log.nodes, index, named.size)
        body = log.record(index) if with_record else None
        leaf = log.nodes.node(0, index) if body is None else leaf_hash(body)
    if root_by_inclusion(leaf, index, named.size, path) != named.root:
        raise ProofInvalid(f"record {index} is not the one that the log committed to, so nothing proves it")
    return InclusionProof(index=index, path=path, note=note, extra=body).encode()


def prove_since(place: str | Path, old: int, checkpoint: bytes | None = None) -> bytes:
    """Prove that a log begins with an older one.

    Args:
        place: a ledger's folder, the URL of its database, or a folder of tiles.
        old: records of the older log.
        checkpoint: the newer checkpoint; null: that of the tiles, or an unsigned one of the store.

    Returns:
        The proof, a request by C2SP tlog-witness.

    Raises:
        RolledBack: the checkpoint has fewer records.
        ProofInvalid: the log is not the one of the checkpoint, or was altered.
    """
    with _opened(place) as log:
        note = checkpoint or _checkpoint_of(place)
        named = stated(note)
        if old > named.size:
            raise RolledBack(f"the log has {plural(named.size, 'record')} and once had {old}")
        _require_within(log, named)
        path = consistency(log.nodes, old, named.size) if old else ()
        require_continues((old, root_of(log.nodes, old)), (named.size, named.root), path)
    return ConsistencyProof(old=old, path=path, note=note).encode()


def witness(
    place: Path, keeper: Witness, logs: Sequence[NoteKey], moment: int
) -> tuple[NoteSignature, bytes]:
    """Have a witness cosign the checkpoint of tiles or of a request.

    Args:
        place: a folder of tiles, a proof of consistency (a request by C2SP tlog-witness), or a checkpoint.
        keeper: the witness.
        logs: keys of the logs that it witnesses.
        moment: now, seconds since the epoch.

    Returns:
        The cosignature, and the checkpoint with it; neither is written.

    Raises:
        RolledBack: the checkpoint, or the clock, is older than what the witness has seen.
        ProofInvalid: the log has two histories.
        SealRefused: the checkpoint does not hold.
    """
    if place.is_dir():
        note = read_plain(place / CHECKPOINT, MOST_CHECKPOINT)
        size = stated(note).size
        tiles = Tiles(place, size)
        line = keeper.cosign(note, logs, lambda old: consistency(tiles, old, size) if old else (), moment)
        return line, _added(note, line)
    data = read_plain(place, MOST_BYTES)
    if not data.startswith(b"old "):
        line = keeper.cosign(data, logs, lambda _: (), moment)
        return line, _added(data, line)
    request = parse_consistency(data)
    line = keeper.cosign(request.note, logs, lambda old: path_from(request, old), moment)
    return line, _added(request.note, line)


def add_cosignature(folder: Path, line: NoteSignature, note: bytes) -> None:
    """Put a cosignature below the checkpoint of tiles, if that is still the one which was cosigned.

    Raises:
        OutputUnwritable: it is not, or the file cannot be written.
    """
    with exclusive(folder / _LOCK):
        current = read_plain(folder / CHECKPOINT, MOST_CHECKPOINT)
        if parse_note(current).text != parse_note(note).text:
            raise OutputUnwritable(
                f"{folder / CHECKPOINT}: was replaced by a newer one meanwhile", advice="Witness it again."
            )
        write_file(folder / CHECKPOINT, _added(current, line))


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, 0600.

    Raises:
        OutputUnwritable: it cannot be written.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error


def _added(note: bytes, line: NoteSignature) -> bytes:
    """A note with one more line; an earlier one by the same key goes."""
    parsed = parse_note(note)
    kept = [s for s in parsed.signatures if (s.name, s.key_id) != (line.name, line.key_id)]
    return Note(parsed.text, (*kept, line)).encode()


def _published(folder: Path, key: NoteKey) -> Checkpoint | None:
    """The checkpoint that is there, which must be this log's own."""
    if not (folder / CHECKPOINT).exists():
        return None
    note = read_plain(folder / CHECKPOINT, MOST_CHECKPOINT)
    return open_checkpoint(note, Trust(logs=(key,), origin=key.name), 0).checkpoint


def _require_within(log: _Log, named: Checkpoint) -> None:
    if named.size > log.size:
        raise RolledBack(f"the log has {plural(log.size, 'record')}; the checkpoint names {named.size}")
    if root_of(log.nodes, named.size) != named.root:
        raise ProofInvalid(
            f"the log is not the one whose checkpoint of {plural(named.size, 'record')} was given"
        )


def _unsigned_head(store: str | Path) -> bytes:
    """The text of a checkpoint without a signature: who verifies by it must know the head."""
    ledger = Ledger.open_read_only(store)
    try:
        head = ledger.head()
    finally:
        ledger.close()
    return Checkpoint(origin=UNSIGNED_ORIGIN, size=head.size, root=bytes.fromhex(head.root)).text().encode()


def _checkpoint_of(place: str | Path) -> bytes:
    if not is_database(place) and (Path(place) / CHECKPOINT).is_file():
        return read_plain(Path(place) / CHECKPOINT, MOST_CHECKPOINT)
    return _unsigned_head(place)


@contextmanager
def _opened(place: str | Path) -> Iterator[_Log]:
    if not is_database(place) and (Path(place) / CHECKPOINT).is_file():
        size = stated(_checkpoint_of(place)).size
        tiles = Tiles(Path(place), size)
        yield _Log(size, tiles, tiles.leaves, lambda: (body for _, body in tiles.records()), tiles.record)
        return
    ledger = Ledger.open_read_only(place)
    try:
        leaves = [leaf_hash(body) for body in ledger.bodies()]
        yield _Log(len(leaves), Levels(leaves), lambda: iter(leaves), ledger.bodies, ledger.body)
    finally:
        ledger.close()


def _find(log: _Log, record: str | int, size: int) -> int:
    """The index of the record that is meant, within the first `size`."""
    if isinstance(record, int):
        if not 0 <= record < size:
            raise ConfigInvalid(
                f"there is no record {record} among {size}", advice="The first has the index 0."
            )
        return record
    wanted = record.lower().removeprefix("sha256:")
    if not SHORTEST_DIGEST <= len(wanted) <= 64 or set(wanted) - set("0123456789abcdef"):
        raise ConfigInvalid(
            f"{record[:80]!r} is no digest",
            advice=f"Give {SHORTEST_DIGEST} hexadecimal digits of it, or more.",
        )
    found = [at for at, leaf in zip(range(size), log.leaves(), strict=False) if leaf.hex().startswith(wanted)]
    if not found:
        bodies = zip(range(size), log.bodies(), strict=False)
        found = [at for at, body in bodies if any(text.startswith(wanted) for text in _digests(body))]
    if len(found) != 1:
        places = f"records {found[0]} and {found[1]} both begin" if found else "no record begins"
        raise ConfigInvalid(f"{places} with {wanted}", advice="Give more digits, or --index.")
    return found[0]


def _digests(body: bytes) -> Iterator[str]:
    """The names of a record beside its leaf hash."""
    yield hashlib.sha256(body).hexdigest()
    evidence = decode(body).get("evidence")
    if isinstance(evidence, dict):
        yield digest(evidence)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"{folder}: cannot be created ({error.strerror})") from error


def _sync(folder: Path) -> None:
    """Make the checkpoint durable before the partial tiles of the older one go."""
    try:
        sync_folder(folder)
    except OSError as error:
        raise OutputUnwritable(f"{folder}: cannot be written ({error.strerror})") from error
