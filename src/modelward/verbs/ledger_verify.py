"""What `modelward ledger verify` verifies: proofs, checkpoints, tiles and stores, from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.errors import ConfigInvalid, FileMissing, KeyUnusable, ProofInvalid, RolledBack
from modelward.ledger.checkpoint import Checkpoint
from modelward.ledger.merkle import leaf_hash, size_of
from modelward.ledger.place import is_database
from modelward.ledger.proof import root_by_inclusion
from modelward.ledger.proof_text import (
    HEADER,
    MOST_BYTES,
    ConsistencyProof,
    InclusionProof,
    parse_consistency,
    parse_inclusion,
)
from modelward.ledger.sqlite import FILE_NAME
from modelward.ledger.store import Ledger
from modelward.ledger.subtrees import consistency
from modelward.ledger.tiles import CHECKPOINT, MOST_CHECKPOINT, Tiles, read_plain
from modelward.reporting.text import plural
from modelward.reporting.verification import Skipped
from modelward.vault.container import layout
from modelward.vault.keys.signer import Verifier
from modelward.vault.notes import (
    LOG,
    WITNESS,
    Cosigned,
    NoteKey,
    Opened,
    Trust,
    key_of,
    open_checkpoint,
    parse_key,
    stated,
)
from modelward.vault.witness import require_continues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Kind: TypeAlias = Literal["record", "consistency", "checkpoint", "tiles", "store"]
_MOST_KEYS: Final = 64 << 10
_REWRITTEN: Final = Skipped(
    what="whether the store was rewritten",
    reason="whoever can write it could have written all of it anew, its head included; name a head that was "
    "kept elsewhere (--head), or a signed checkpoint (--since with --public-key)",
)
_NEWER: Final = Skipped(
    what="the records since",
    reason="nobody signed them and no head that was kept names them, so whoever can write here could have "
    "written them anew",
)


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found to hold.

    Attributes:
        kind: what was verified.
        origin: the log's name; empty for a store, and where nobody's signature was asked for.
        size: number of records of the log; null where a head that was kept is all that is trusted and the
            records are not all at hand, for a root alone does not say of how many.
        root: 64 hexadecimal digits.
        index: place of the record that is proven; null where the size is.
        leaf: its leaf hash, 64 hexadecimal digits.
        records: how many records were hashed; 0 where only hashes were at hand.
        signer: name of the log's key; empty where a head that was kept stands for it.
        witnesses: who cosigned, and when (seconds since the epoch).
        since: records of the older checkpoint, or of the older head, that the log is shown to continue.
        skipped: what a reader could take for granted, and nothing showed.
    """

    kind: Kind
    origin: str
    size: int | None
    root: str
    index: int | None = None
    leaf: str | None = None
    records: int = 0
    signer: str = ""
    witnesses: tuple[Cosigned, ...] = ()
    since: int | None = None
    skipped: tuple[Skipped, ...] = ()


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """What something is verified against.

    Attributes:
        trust: keys of the log and of witnesses; null where `head` stands for them.
        head: a root that was printed or kept, 64 hexadecimal digits; the log may have grown since.
        since: an older signed checkpoint, which the log must continue.
        leaf: leaf hash of the record, for a proof that does not hold it.
    """

    trust: Trust | None = None
    head: str | None = None
    since: bytes | None = None
    leaf: bytes | None = None


def verify(place: str | Path, against: Against, moment: int) -> Verified:
    """Verify a proof, a checkpoint, tiles or a store, from what is on the disk alone.

    Args:
        place: a file, a folder of tiles, a ledger's folder, or the URL of its database.
        against: what is trusted.
        moment: now, seconds since the epoch.

    Raises:
        SealRefused: it does not hold; the kinds of it say why.
        LedgerTampered: the store is not what it was.
        ConfigInvalid: nothing that is trusted was named, or what was named says nothing about the place.
    """
    found = _verify(place, against, moment)
    if against.leaf is not None and found.leaf is None:
        raise ConfigInvalid(
            "a record was named, and nothing but a proof of a record says where one is",
            advice="Make one with `modelward ledger prove --record`.",
        )
    return found


def _verify(place: str | Path, against: Against, moment: int) -> Verified:
    if is_database(place) or (Path(place) / FILE_NAME).is_file():
        return _verify_store(place, against, moment)
    if Path(place).is_dir():
        return _verify_tiles(Path(place), against, moment)
    data = _read(Path(place))
    if data.startswith(HEADER.encode()):
        return _verify_inclusion(parse_inclusion(data), against, moment)
    if data.startswith(b"old "):
        return _verify_consistency(parse_consistency(data), against, moment)
    opened = _trusted(data, against, moment)
    _require_head(opened, against)
    return _with(opened, "checkpoint", since=_since(opened, against, moment, None))


def leaf_of(text: str) -> bytes:
    """The leaf hash that an option names: 64 hexadecimal digits, or a file with the record.

    Raises:
        ConfigInvalid: it is neither.
    """
    if len(text) == 64 and not set(text.lower()) - set("0123456789abcdef"):
        return bytes.fromhex(text)
    if not Path(text).is_file():
        raise ConfigInvalid(f"{text[:80]!r} is neither a leaf hash of 64 hexadecimal digits nor a file")
    return leaf_hash(read_plain(Path(text), MOST_BYTES))


def require_continued(ledger: Ledger, old: Checkpoint, size: int) -> None:
    """Check that a store begins with what a checkpoint names.

    Raises:
        RolledBack: it has fewer records.
        ProofInvalid: it does not.
    """
    if size < old.size:
        raise RolledBack(
            f"the store has {plural(size, 'record')}; the checkpoint that was signed has {old.size}"
        )
    if ledger.root_at(old.size) != old.root:
        raise ProofInvalid(
            f"the store does not begin with the {plural(old.size, 'record')} of the signed checkpoint",
            advice="The store was rewritten, or is another one; nothing was signed or written.",
        )


def path_from(proof: ConsistencyProof, old: int) -> Sequence[bytes]:
    """The hashes of a proof that must be from so many records on.

    Raises:
        ProofInvalid: it is from another size on.
    """
    if proof.old != old:
        raise ProofInvalid(
            f"the proof is from {proof.old} record{'s' * (proof.old != 1)} on, and one from {old} is needed",
            advice="Make it with `modelward ledger prove --since`, and the checkpoint of that size.",
        )
    return proof.path


def _verify_inclusion(proof: InclusionProof, against: Against, moment: int) -> Verified:
    opened = _trusted(proof.note, against, moment)
    _require_head(opened, against)
    if proof.extra is None and against.leaf is None:
        raise ConfigInvalid(
            "the proof does not hold its record, so the record must be named",
            advice="Give its leaf hash or a file with its canonical JSON as --record.",
        )
    leaf = against.leaf if proof.extra is None else leaf_hash(proof.extra)
    assert leaf is not None  # noqa: S101  (said above; the type checker forgets it)
    if against.leaf not in {None, leaf}:
        raise ProofInvalid("the proof is of another record than the one that was named")
    size = opened.checkpoint.size
    if root_by_inclusion(leaf, proof.index, size, proof.path) != opened.checkpoint.root:
        raise ProofInvalid(f"the proof of record {proof.index} does not lead to the root of the checkpoint")
    since = _since(opened, against, moment, None)
    found = _with(opened, "record", since=since)
    return msgspec.structs.replace(
        found,
        index=None if found.size is None else proof.index,
        leaf=leaf.hex(),
        records=0 if proof.extra is None else 1,
    )


def _verify_consistency(proof: ConsistencyProof, against: Against, moment: int) -> Verified:
    opened = open_checkpoint(proof.note, _trust(against), moment)
    since = _since(opened, against, moment, lambda old: path_from(proof, old))
    new = (opened.checkpoint.size, opened.checkpoint.root)
    if against.head not in {None, new[1].hex()}:
        require_continues((proof.old, bytes.fromhex(str(against.head))), new, proof.path)
        since = proof.old
    if since is None:
        raise ConfigInvalid(
            "a proof of consistency says something about an older checkpoint alone",
            advice="Give the older checkpoint as --since, or its head as --head.",
        )
    return _with(opened, "consistency", since=since)


def _verify_tiles(folder: Path, against: Against, moment: int) -> Verified:
    opened = _trusted(_read(folder), against, moment)
    size = opened.checkpoint.size
    tiles = Tiles(folder, size)
    records = tiles.check(opened.checkpoint.root)
    since = _since(opened, against, moment, lambda old: consistency(tiles, old, size) if old else ())
    kept = _kept(opened, against, tiles.leaves())
    if kept is not None and not opened.log and not records:
        raise ConfigInvalid(
            "hashes alone that nobody signed do not show which records an older head names",
            advice="Give --public-key as well.",
        )
    found = _with(opened, "tiles", since=_larger(since, kept))
    skipped = () if kept is None or opened.log else (_NEWER,)
    return msgspec.structs.replace(
        found, records=records, size=size if records else found.size, skipped=skipped
    )


def _verify_store(place: str | Path, against: Against, moment: int) -> Verified:
    if against.trust is not None and against.since is None:
        raise ConfigInvalid(
            "a store is signed by nobody, so no key says anything about it",
            advice="Give a checkpoint that was signed as --since, or verify the log that was published.",
        )
    ledger = Ledger.open_read_only(place)
    try:
        head = ledger.verify(against.head)
        checkpoint = Checkpoint(origin="", size=head.size, root=bytes.fromhex(head.root))
        opened = Opened(checkpoint, "", ())
        since = _kept(opened, against, map(leaf_hash, ledger.bodies()))
        if against.since is not None:
            old = open_checkpoint(against.since, _trust(against), moment)
            require_continued(ledger, old.checkpoint, head.size)
            since = _larger(since, old.checkpoint.size)
            opened = opened._replace(log=old.log, witnesses=old.witnesses)
    finally:
        ledger.close()
    found = _with(opened, "store", since=since)
    anchored = head.root == against.head or since == head.size
    skipped = () if anchored else (_REWRITTEN if since is None else _NEWER,)
    return msgspec.structs.replace(found, records=head.size, size=head.size, skipped=skipped)


def _trusted(note: bytes, against: Against, moment: int) -> Opened:
    """The checkpoint that a note holds, by its signatures or by a head that was kept."""
    if against.trust is None and against.head is not None:
        return Opened(stated(note), "", ())
    return open_checkpoint(note, _trust(against), moment)


def _require_head(opened: Opened, against: Against) -> None:
    """Check that a checkpoint which comes without its log is of the very head that was kept."""
    if against.head not in {None, opened.checkpoint.root.hex()}:
        raise ProofInvalid(
            f"the checkpoint has the root {opened.checkpoint.root.hex()} and not the one given",
            advice="If the log has grown since, this file cannot show it: verify the log's folder, or "
            "a proof by `modelward ledger prove --since` with --head and --public-key.",
        )


def _kept(opened: Opened, against: Against, leaves: Iterable[bytes]) -> int | None:
    """How many records an older head names, which the log must begin with; null where none was given."""
    if against.head in {None, opened.checkpoint.root.hex()}:
        return None
    size = size_of(bytes.fromhex(str(against.head)), leaves)
    if size is None:
        raise ProofInvalid(f"no beginning of this log has the head {against.head}")
    return size


def _larger(first: int | None, second: int | None) -> int | None:
    return max((size for size in (first, second) if size is not None), default=None)


def _trust(against: Against) -> Trust:
    if against.trust is None:
        raise ConfigInvalid(
            "no key of the log was named, so nothing could be believed",
            advice="Give --public-key, which `modelward ledger export` prints"
            + ("; a head alone is too little here." if against.head else ", or --head, as in a report."),
        )
    return against.trust


def _since(
    opened: Opened, against: Against, moment: int, prove: Callable[[int], Sequence[bytes]] | None
) -> int | None:
    """Check that a checkpoint continues the older one, and say how many records that had."""
    if against.since is None:
        return None
    trust = msgspec.structs.replace(_trust(against), witnesses=(), threshold=None)
    old, new = open_checkpoint(against.since, trust, moment).checkpoint, opened.checkpoint
    if old.origin != new.origin:
        raise ProofInvalid(f"the older checkpoint is of {old.origin} and not of {new.origin}")
    if new.size < old.size:
        raise RolledBack(f"the checkpoint has {plural(new.size, 'record')}; an older one has {old.size}")
    if prove is None and 0 < old.size < new.size:
        raise ProofInvalid(
            f"nothing here shows that the log of {plural(new.size, 'record')} begins with that of {old.size}",
            advice="Verify the tiles, or a proof by `modelward ledger prove --since`.",
        )
    require_continues((old.size, old.root), (new.size, new.root), () if prove is None else prove(old.size))
    return old.size


def _with(opened: Opened, kind: Kind, *, since: int | None) -> Verified:
    named, signed = opened.checkpoint, bool(opened.log)
    return Verified(
        kind=kind, origin=named.origin if signed else "", size=named.size if signed else None,
        root=named.root.hex(), signer=opened.log, witnesses=opened.witnesses, since=since,
    )  # fmt: skip


def read_checkpoint(place: Path) -> Checkpoint:
    """What the checkpoint of tiles, of a proof or in a file says; nothing of it is verified.

    Raises:
        SealDamaged: there is none.
        FileMissing: there is no such file, or the folder is no log's.
    """
    data = _read(place)
    if data.startswith(HEADER.encode()):
        return stated(parse_inclusion(data).note)
    return stated(parse_consistency(data).note if data.startswith(b"old ") else data)


def _read(place: Path) -> bytes:
    """What a file holds; of a folder of tiles, its checkpoint."""
    if not place.is_dir():
        return read_plain(place, MOST_BYTES)
    if (place / layout.HEADER).is_file():
        raise FileMissing(
            f"{place}: is a seal and no log", advice=f"Verify it with `modelward verify {place}`."
        )
    if not (place / CHECKPOINT).exists():
        raise FileMissing(
            f"{place}: is neither a store nor a log",
            advice=f"A store holds a file {FILE_NAME}; a log that was published holds a file {CHECKPOINT}.",
        )
    return read_plain(place / CHECKPOINT, MOST_CHECKPOINT)


def origin_of(place: str | Path, since: Path | None) -> str:
    """The name of the log that something says it is of; of a store, what the older checkpoint says."""
    if is_database(place) or (Path(place) / FILE_NAME).is_file():
        return read_checkpoint(since).origin if since is not None else ""
    return read_checkpoint(Path(place)).origin


def log_keys(references: Sequence[str], origin: str) -> tuple[NoteKey, ...]:
    """The keys of logs that an option names.

    Args:
        references: ``name+id+key``, or a file that holds such lines or one public key in PEM.
        origin: the name that a key in PEM gets, which has none of its own.

    Raises:
        KeyUnusable: one is no such key, or a witness's.
        FileMissing: a file cannot be read.
        ConfigInvalid: none was named.
    """
    if not references:
        raise ConfigInvalid(
            "no key of the log was named, so nothing could be believed",
            advice="Give --public-key; `modelward ledger export` prints it.",
        )
    return tuple(key for reference in references for key in _keys(reference, LOG, origin))


def witness_keys(references: Sequence[str]) -> tuple[NoteKey, ...]:
    """The keys of witnesses that an option names; PEM gets the name that `modelward ledger witness` gives.

    Raises:
        KeyUnusable: one is no such key, or a log's.
        FileMissing: a file cannot be read.
    """
    return tuple(key for reference in references for key in _keys(reference, WITNESS, None))


def _keys(reference: str, kind: int, origin: str | None) -> list[NoteKey]:
    if reference.count("+") >= 2 and not Path(reference).is_file():
        return [_of_kind(reference, kind)]
    try:
        text = read_plain(Path(reference), _MOST_KEYS).decode()
    except UnicodeDecodeError as error:
        raise KeyUnusable(f"{reference}: holds no public key") from error
    if "-----BEGIN" in text:
        verifier = Verifier(text.encode())
        return [key_of(verifier, f"witness-{verifier.key_id[:16]}" if origin is None else origin, kind)]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise KeyUnusable(f"{reference}: holds no public key")
    return [_of_kind(line, kind) for line in lines]


def _of_kind(text: str, kind: int) -> NoteKey:
    key = parse_key(text)
    if key.kind != kind:
        owners = {LOG: "a log", WITNESS: "a witness"}
        raise KeyUnusable(f"{key.name} is the key of {owners[key.kind]} and not of {owners[kind]}")
    return key
