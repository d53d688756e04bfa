"""The store as a log: published, proven, witnessed and verified; everything else is refused for its reason."""

import base64
import hashlib
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.core.canonical import canonical, digest
from modelward.errors import (
    ConfigInvalid,
    FileMissing,
    KeyUnusable,
    LedgerTampered,
    ModelwardError,
    OutputUnwritable,
    ProofInvalid,
    RolledBack,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.ledger.checkpoint import Checkpoint
from modelward.ledger.export import write_tiles
from modelward.ledger.merkle import leaf_hash, node_hash
from modelward.ledger.proof_text import InclusionProof, parse_consistency, parse_inclusion
from modelward.ledger.sqlite import FILE_NAME
from modelward.ledger.store import Ledger
from modelward.ledger.tiles import Tiles
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import LOG, WITNESS, Trust, key_of, parse_key
from modelward.vault.witness import Witness
from modelward.verbs import ledger as verb
from modelward.verbs.ledger_verify import (
    Against,
    leaf_of,
    log_keys,
    origin_of,
    read_checkpoint,
    verify,
    witness_keys,
)

NOW = 1_800_000_000
ORIGIN = "example.com/audits"


def signer(number):
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


LOG_SIGNER = signer(1)
LOG_KEY = key_of(LOG_SIGNER.public, ORIGIN, LOG)
TRUST = Trust(logs=(LOG_KEY,))
KEYED = Against(trust=TRUST)


def record(i):
    return {"kind": "evidence", "run": "r", "evidence": {"check": "c", "n": i}}


@pytest.fixture
def store(tmp_path):
    ledger = Ledger.open(tmp_path / "store")
    ledger.append(*(record(i) for i in range(7)))
    ledger.close()
    return tmp_path / "store"


@pytest.fixture
def log(tmp_path, store):
    verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    return tmp_path / "log"


def grow(store, *numbers):
    ledger = Ledger.open(store)
    ledger.append(*(record(i) for i in numbers))
    ledger.close()


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def keeper(tmp_path, number=2, name="w1.example"):
    return Witness(signer(number), name, tmp_path / f"{name}.json")


def cosigned(log, witness, moment=NOW):
    line, note = verb.witness(log, witness, (LOG_KEY,), moment)
    verb.add_cosignature(log, line, note)
    return Trust(logs=(LOG_KEY,), witnesses=(witness.key,))


def put(path, data):
    path.write_bytes(data)
    return path


def test_a_published_log_verifies(store, tmp_path):
    done = verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    head = Ledger.open_read_only(store).head()
    assert (done.origin, done.size, done.root) == (ORIGIN, 7, head.root)
    assert done.written == 3  # a tile, a bundle, the checkpoint
    assert parse_key(done.key) == LOG_KEY
    found = verify(tmp_path / "log", KEYED, NOW)
    assert (found.kind, found.origin, found.size, found.root) == ("tiles", ORIGIN, 7, head.root)
    assert (found.records, found.signer, found.witnesses) == (7, ORIGIN, ())


def test_the_records_are_those_of_the_store(store, log):
    published = [body for _, body in Tiles(log, 7).records()]
    assert published == [canonical(record(i)) for i in range(7)]
    assert published == list(Ledger.open_read_only(store).bodies())


def test_nothing_new_writes_nothing(store, log, tmp_path):
    trust = cosigned(log, keeper(tmp_path))
    before = files(log)
    assert verb.export(store, log, LOG_SIGNER, ORIGIN).written == 0
    assert files(log) == before  # so the cosignatures of that checkpoint stay
    assert len(verify(log, Against(trust=trust), NOW).witnesses) == 1


def test_growth_is_published_and_continues(store, log):
    old = (log / "checkpoint").read_bytes()
    grow(store, *range(7, 300))
    done = verb.export(store, log, LOG_SIGNER, ORIGIN)
    assert done.size == 300
    found = verify(log, Against(trust=TRUST, since=old), NOW)
    assert (found.size, found.since, found.records) == (300, 7, 300)
    assert not (log / "tile/0/000.p").exists()


def test_hashes_alone(store, tmp_path):
    verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN, records=False)
    found = verify(tmp_path / "log", KEYED, NOW)
    assert (found.size, found.records) == (7, 0)
    assert not (tmp_path / "log/tile/entries").exists()
    with pytest.raises(SealDamaged) as refused:
        verb.prove_record(tmp_path / "log", 1)
    assert "--without-record" in refused.value.advice
    name = leaf_hash(canonical(record(1))).hex()
    proof = put(tmp_path / "proof", verb.prove_record(tmp_path / "log", name, with_record=False))
    assert verify(proof, Against(trust=TRUST, leaf=bytes.fromhex(name)), NOW).index == 1


def test_a_log_with_records_does_not_go_on_without_them(store, log):
    """It would be a log with some records and not others, which is damaged."""
    grow(store, *range(7, 300))
    before = files(log)
    with pytest.raises(OutputUnwritable, match="holds records") as refused:
        verb.export(store, log, LOG_SIGNER, ORIGIN, records=False)
    assert "another folder" in refused.value.advice
    assert files(log) == before


def test_a_log_of_hashes_may_go_on_with_all_records(store, tmp_path):
    verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN, records=False)
    grow(store, *range(7, 300))
    verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    assert verify(tmp_path / "log", KEYED, NOW).records == 300


def test_an_empty_store(tmp_path):
    Ledger.open(tmp_path / "store").close()
    verb.export(tmp_path / "store", tmp_path / "log", LOG_SIGNER, ORIGIN)
    assert set(files(tmp_path / "log")) == {"checkpoint"}
    empty = (tmp_path / "log/checkpoint").read_bytes()
    assert verify(tmp_path / "log", KEYED, NOW).size == 0
    grow(tmp_path / "store", 1, 2)
    verb.export(tmp_path / "store", tmp_path / "log", LOG_SIGNER, ORIGIN)
    against = Against(trust=TRUST, since=empty)
    assert verify(tmp_path / "log", against, NOW).since == 0
    whole = verb.prove_since(tmp_path / "log", 0)
    assert verify(put(tmp_path / "proof", whole), against, NOW).since == 0
    padded = whole.replace(b"old 0\n", b"old 0\n" + base64.b64encode(bytes(32)) + b"\n")
    with pytest.raises(ProofInvalid, match="needs none"):
        verify(put(tmp_path / "proof", padded), against, NOW)


def test_a_rewritten_store_is_not_signed(store, log, tmp_path):
    """A checkpoint that contradicts an older one would be proof of a lie, so it is never made."""
    before = files(log)
    other = tmp_path / "other"
    grow(other, *range(6), 100, 101)
    with pytest.raises(ProofInvalid, match="does not begin with the 7 records"):
        verb.export(other, log, LOG_SIGNER, ORIGIN)
    grow(tmp_path / "short", *range(5))
    with pytest.raises(RolledBack, match="has 5 records; the checkpoint that was signed has 7"):
        verb.export(tmp_path / "short", log, LOG_SIGNER, ORIGIN)
    assert files(log) == before


def test_a_tampered_store_is_not_published(store, tmp_path):
    path = store / FILE_NAME
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"n":3', b'"n":4'))
    with pytest.raises(LedgerTampered):
        verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    assert not (tmp_path / "log").exists()


def test_what_is_signed_is_what_was_written(store, tmp_path, monkeypatch):
    """A database may answer otherwise when it is asked again."""
    others = [canonical(record(i)) for i in (0, 1, 2, 3, 4, 5, 99)]
    monkeypatch.setattr(Ledger, "bodies", lambda *_: iter(others))
    with pytest.raises(LedgerTampered, match="do not lead to its head"):
        verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    assert not (tmp_path / "log/checkpoint").exists()


def test_the_folder_of_another_log_is_left_alone(store, log):
    before = files(log)
    for key, origin in ((signer(9), ORIGIN), (LOG_SIGNER, "example.com/other")):
        with pytest.raises(SignerMissing):
            verb.export(store, log, key, origin)
    assert files(log) == before


def test_a_damaged_checkpoint_is_not_overwritten(store, log):
    put(log / "checkpoint", b"damaged")
    with pytest.raises(SealDamaged):
        verb.export(store, log, LOG_SIGNER, ORIGIN)


def test_only_ed25519_signs(store, tmp_path):
    with pytest.raises(KeyUnusable, match="ml-dsa-65"):
        verb.export(store, tmp_path / "log", LocalSigner(asymmetric.generate("ml-dsa-65")), ORIGIN)


def test_a_folder_that_cannot_be_made(store, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputUnwritable, match="cannot be created"):
        verb.export(store, tmp_path / "file" / "log", LOG_SIGNER, ORIGIN)


@pytest.mark.parametrize("stop", range(8))
def test_killed_at_every_write_the_log_is_the_old_or_the_new(store, log, tmp_path, stop):
    """The process ends before its n-th file is renamed into place; another export then finishes the work."""
    grow(store, *range(7, 520))
    code = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from modelward.vault.keys.signer import LocalSigner
        from modelward.verbs.ledger import export
        replace, left = Path.replace, [int(sys.argv[3])]
        def dying(self, target):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return replace(self, target)
        Path.replace = dying
        export(sys.argv[1], Path(sys.argv[2]), LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)), "example.com/audits")
    """)
    done = subprocess.run([sys.executable, "-c", code, store, log, str(stop)], check=False)
    assert done.returncode == 9  # three tiles and bundles, one tile above, the checkpoint: eight files
    assert verify(log, KEYED, NOW).size == 7
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    assert verify(log, KEYED, NOW).size == 520


def test_two_exports_at_once(store, log):
    grow(store, *range(7, 300))
    failed = []

    def run():
        try:
            verb.export(store, log, LOG_SIGNER, ORIGIN)
        except ModelwardError as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert verify(log, KEYED, NOW).size == 300


@pytest.mark.parametrize("index", range(7))
def test_a_record_is_proven_from_its_file_alone(log, tmp_path, index):
    proof = put(tmp_path / "proof", verb.prove_record(log, index))
    shutil.rmtree(log)
    found = verify(proof, KEYED, NOW)
    leaf = leaf_hash(canonical(record(index)))
    assert (found.kind, found.index, found.leaf, found.size) == ("record", index, leaf.hex(), 7)
    assert parse_inclusion(proof.read_bytes()).extra == canonical(record(index))


def test_a_record_by_any_of_its_digests(log, store):
    body = canonical(record(3))
    names = (
        leaf_hash(body).hex(),
        hashlib.sha256(body).hexdigest(),
        digest(record(3)["evidence"]),
        "sha256:" + digest(record(3)["evidence"]),
        leaf_hash(body).hex()[:8],
        hashlib.sha256(body).hexdigest()[:12].upper(),
    )
    for place in (log, store):
        for name in names:
            assert parse_inclusion(verb.prove_record(place, name)).index == 3


@pytest.mark.parametrize("name", ["", "1234567", "zzzzzzzz", "0" * 65, "00000000", "sha256:12", "no such"])
def test_a_record_that_nobody_knows(log, name):
    with pytest.raises(ConfigInvalid):
        verb.prove_record(log, name)


@pytest.mark.parametrize("index", [-1, 7, 2**70])
def test_a_place_that_is_not_there(log, index):
    with pytest.raises(ConfigInvalid, match="there is no record"):
        verb.prove_record(log, index)


def test_one_name_for_two_records(store, tmp_path):
    grow(store, 3)  # the same record once more
    verb.export(store, tmp_path / "log", LOG_SIGNER, ORIGIN)
    name = leaf_hash(canonical(record(3))).hex()
    with pytest.raises(ConfigInvalid, match="records 3 and 7 both begin"):
        verb.prove_record(tmp_path / "log", name)
    assert parse_inclusion(verb.prove_record(tmp_path / "log", 7)).index == 7


def test_a_proof_without_its_record(log, tmp_path):
    proof = put(tmp_path / "proof", verb.prove_record(log, 2, with_record=False))
    assert parse_inclusion(proof.read_bytes()).extra is None
    assert b"extra" not in proof.read_bytes()
    with pytest.raises(ConfigInvalid, match="does not hold its record"):
        verify(proof, KEYED, NOW)
    body = put(tmp_path / "record.json", canonical(record(2)))
    for named in (str(body), leaf_hash(canonical(record(2))).hex()):
        assert verify(proof, Against(trust=TRUST, leaf=leaf_of(named)), NOW).records == 0
    with pytest.raises(ProofInvalid, match="does not lead to the root"):
        verify(proof, Against(trust=TRUST, leaf=leaf_hash(canonical(record(3)))), NOW)


def test_a_proof_of_another_record_than_asked_for(log, tmp_path):
    proof = put(tmp_path / "proof", verb.prove_record(log, 2))
    assert verify(proof, Against(trust=TRUST, leaf=leaf_hash(canonical(record(2)))), NOW).index == 2
    with pytest.raises(ProofInvalid, match="of another record"):
        verify(proof, Against(trust=TRUST, leaf=leaf_hash(canonical(record(3)))), NOW)


@pytest.mark.parametrize("text", ["nowhere.json", "f" * 63, "g" * 64, "."])
def test_a_leaf_that_is_none(text):
    with pytest.raises(ConfigInvalid, match="neither"):
        leaf_of(text)


def test_every_flipped_byte_of_a_proof_is_refused(log, tmp_path):
    whole = verb.prove_record(log, 4)
    path = tmp_path / "proof"
    for place in range(len(whole)):
        for flip in (0x01, 0x20):
            broken = bytearray(whole)
            broken[place] ^= flip
            with pytest.raises(SealRefused):
                verify(put(path, bytes(broken)), KEYED, NOW)


def test_every_flipped_byte_of_a_proof_of_consistency_is_refused(store, log, tmp_path):
    old = (log / "checkpoint").read_bytes()
    grow(store, *range(7, 12))
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    whole = verb.prove_since(log, 7)
    path = tmp_path / "proof"
    against = Against(trust=TRUST, since=old)
    assert verify(put(path, whole), against, NOW).since == 7
    for place in range(len(whole)):
        for flip in (0x02, 0x20):
            broken = bytearray(whole)
            broken[place] ^= flip
            with pytest.raises(SealRefused):
                verify(put(path, bytes(broken)), against, NOW)


def test_every_beginning_of_a_proof_is_refused(log, tmp_path):
    whole = verb.prove_record(log, 4)
    for length in range(0, len(whole), 3):
        with pytest.raises(SealRefused):
            verify(put(tmp_path / "proof", whole[:length]), KEYED, NOW)


def test_every_flipped_byte_of_published_tiles_is_refused(log):
    for name, whole in files(log).items():
        for place in range(0, len(whole), 2):
            broken = bytearray(whole)
            broken[place] ^= 0x04
            put(log / name, bytes(broken))
            with pytest.raises(SealRefused):
                verify(log, KEYED, NOW)
        put(log / name, whole)
    assert verify(log, KEYED, NOW).size == 7


def test_proofs_from_a_store_with_a_checkpoint_that_was_signed_before(store, log, tmp_path):
    """The store has grown since; the proof is against the checkpoint that others hold."""
    checkpoint = (log / "checkpoint").read_bytes()
    grow(store, *range(7, 20))
    proof = put(tmp_path / "proof", verb.prove_record(store, 5, checkpoint))
    assert verify(proof, KEYED, NOW).size == 7
    with pytest.raises(ConfigInvalid, match="no record 10 among 7"):
        verb.prove_record(store, 10, checkpoint)


def test_a_checkpoint_of_another_log_proves_nothing(store, log, tmp_path):
    checkpoint = (log / "checkpoint").read_bytes()
    grow(tmp_path / "other", *range(50, 60))
    with pytest.raises(ProofInvalid, match="not the one whose checkpoint"):
        verb.prove_record(tmp_path / "other", 5, checkpoint)
    with pytest.raises(ProofInvalid, match="not the one whose checkpoint"):
        verb.prove_since(tmp_path / "other", 5, checkpoint)
    grow(tmp_path / "short", 0)
    with pytest.raises(RolledBack, match="the checkpoint names 7"):
        verb.prove_record(tmp_path / "short", 0, checkpoint)


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_altered_tiles_give_no_proof(store, log, name):
    """What would verify nowhere is not handed out."""
    grow(store, *range(7, 300))
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    content = bytearray((log / name).read_bytes())
    content[40 % len(content)] ^= 1  # of a tile of hashes, the one beside what is proven
    put(log / name, content)
    with pytest.raises(ProofInvalid):
        verb.prove_record(log, 0)
    if name != "tile/entries/000":
        with pytest.raises(ProofInvalid):
            verb.prove_record(log, 0, with_record=False)
        with pytest.raises(ProofInvalid):
            verb.prove_since(log, 8)


def test_an_unsigned_proof_holds_by_a_head_that_was_kept(store, tmp_path):
    head = Ledger.open_read_only(store).head().root
    proof = put(tmp_path / "proof", verb.prove_record(store, 5))
    found = verify(proof, Against(head=head), NOW)
    assert (found.index, found.origin, found.signer) == (None, "", "")
    with pytest.raises(ProofInvalid, match="and not the one given"):
        verify(proof, Against(head="00" * 32), NOW)
    with pytest.raises(ConfigInvalid, match="nothing could be believed"):
        verify(proof, Against(), NOW)
    with pytest.raises(SealDamaged):
        verify(proof, KEYED, NOW)  # who asks for a signature is not given less


def test_head_and_key_must_both_hold(log, tmp_path):
    root = verify(log, KEYED, NOW).root
    assert verify(log, Against(trust=TRUST, head=root), NOW).size == 7
    with pytest.raises(ProofInvalid):
        verify(log, Against(trust=TRUST, head="11" * 32), NOW)
    with pytest.raises(SignerMissing):
        verify(log, Against(trust=Trust(logs=(key_of(signer(5).public, ORIGIN, LOG),)), head=root), NOW)


def test_a_store_against_what_was_kept(store, log):
    old = (log / "checkpoint").read_bytes()
    head = verify(store, Against(), NOW)
    assert (head.kind, head.records, head.since) == ("store", 7, None)
    grow(store, 7)
    assert verify(store, Against(head=head.root), NOW).size == 8
    found = verify(store, Against(trust=TRUST, since=old), NOW)
    assert (found.size, found.since, found.signer) == (8, 7, ORIGIN)
    with pytest.raises(LedgerTampered, match="no beginning"):
        verify(store, Against(head="00" * 32), NOW)
    with pytest.raises(ConfigInvalid):
        verify(store, Against(since=old), NOW)


def test_a_store_is_signed_by_nobody(store, log, tmp_path):
    """Whoever names a key or a witness wants a signature, and only an older checkpoint has one."""
    with pytest.raises(ConfigInvalid, match="signed by nobody") as refused:
        verify(store, KEYED, NOW)
    assert "--since" in refused.value.advice
    kept = (log / "checkpoint").read_bytes()
    assert verify(store, Against(trust=TRUST, since=kept), NOW).signer == ORIGIN
    trust = Trust(logs=(LOG_KEY,), witnesses=(keeper(tmp_path).key,))
    with pytest.raises(SignerMissing, match="0 of 1 witnesses"):
        verify(store, Against(trust=trust, since=kept), NOW)


def test_a_record_that_is_named_is_looked_for_in_proofs_alone(store, log, tmp_path):
    """Elsewhere nothing would have asked for it, and yet it would be called verified."""
    kept = (log / "checkpoint").read_bytes()
    growth = put(tmp_path / "growth", verb.prove_since(log, 7))
    for place in (store, log, log / "checkpoint", growth):
        against = Against(trust=TRUST, since=kept, leaf=leaf_hash(canonical(record(1))))
        with pytest.raises(ConfigInvalid, match="a record was named") as refused:
            verify(place, against, NOW)
        assert "ledger prove" in refused.value.advice


def test_a_rewritten_store_against_what_was_kept(log, tmp_path):
    old = (log / "checkpoint").read_bytes()
    grow(tmp_path / "other", *range(20, 30))
    with pytest.raises(ProofInvalid, match="does not begin"):
        verify(tmp_path / "other", Against(trust=TRUST, since=old), NOW)
    grow(tmp_path / "short", 0, 1)
    with pytest.raises(RolledBack):
        verify(tmp_path / "short", Against(trust=TRUST, since=old), NOW)


def test_an_older_checkpoint_than_seen_is_refused(store, log, tmp_path):
    old = (log / "checkpoint").read_bytes()
    old_proof = put(tmp_path / "proof", verb.prove_record(log, 1))
    grow(store, 7)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    new = Against(trust=TRUST, since=(log / "checkpoint").read_bytes())
    for place in (put(tmp_path / "old", old), old_proof):
        with pytest.raises(RolledBack, match="has 7 records; an older one has 8"):
            verify(place, new, NOW)


def test_a_file_that_shows_no_growth_is_not_believed(store, log, tmp_path):
    old = (log / "checkpoint").read_bytes()
    grow(store, 7)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    against = Against(trust=TRUST, since=old)
    proof = put(tmp_path / "proof", verb.prove_record(log, 1))
    with pytest.raises(ProofInvalid, match="nothing here shows"):
        verify(proof, against, NOW)
    same = Against(trust=TRUST, since=(log / "checkpoint").read_bytes())
    assert verify(proof, same, NOW).since == 8


def test_a_fork_is_refused(store, log, tmp_path):
    """Two checkpoints by one key that cannot both be true."""
    old = (log / "checkpoint").read_bytes()
    grow(tmp_path / "fork", *range(6), 60, 70)
    verb.export(tmp_path / "fork", tmp_path / "forked", LOG_SIGNER, ORIGIN)
    with pytest.raises(ProofInvalid, match="does not begin with the one of 7"):
        verify(tmp_path / "forked", Against(trust=TRUST, since=old), NOW)
    proof = put(tmp_path / "proof", verb.prove_since(tmp_path / "forked", 7))
    with pytest.raises(ProofInvalid):
        verify(proof, Against(trust=TRUST, since=old), NOW)


def test_a_proof_of_consistency_needs_the_older_checkpoint(store, log, tmp_path):
    old = (log / "checkpoint").read_bytes()
    grow(store, 7, 8, 9)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    proof = put(tmp_path / "proof", verb.prove_since(log, 7))
    assert verify(proof, Against(trust=TRUST, since=old), NOW).kind == "consistency"
    with pytest.raises(ConfigInvalid, match="older checkpoint"):
        verify(proof, KEYED, NOW)
    other = put(tmp_path / "other", verb.prove_since(log, 6))
    with pytest.raises(ProofInvalid, match="from 6 records on, and one from 7"):
        verify(other, Against(trust=TRUST, since=old), NOW)
    with pytest.raises(RolledBack, match="once had 11"):
        verb.prove_since(log, 11)
    assert parse_consistency(verb.prove_since(log, 0)).path == ()
    again = put(tmp_path / "again", verb.prove_since(log, 10))
    same = Against(trust=TRUST, since=(log / "checkpoint").read_bytes())
    assert verify(again, same, NOW).since == 10
    with pytest.raises(ProofInvalid, match="from 7 records on, and one from 10"):
        verify(proof, same, NOW)
    assert parse_consistency(verb.prove_since(store, 10)).path == ()


def test_an_older_checkpoint_by_another_key_or_log(log):
    from modelward.ledger.checkpoint import Checkpoint
    from modelward.vault.notes import Note, sign_note

    text = Checkpoint(origin=ORIGIN, size=1, root=bytes(32)).text()
    forged = Note(text, (sign_note(text, signer(8), ORIGIN),)).encode()
    with pytest.raises(SignerMissing):
        verify(log, Against(trust=TRUST, since=forged), NOW)
    altered = (log / "checkpoint").read_bytes().replace(b"\n7\n", b"\n3\n")
    with pytest.raises(SignatureInvalid):
        verify(log, Against(trust=TRUST, since=altered), NOW)
    elsewhere = Checkpoint(origin="example.com/other", size=1, root=bytes(32)).text()
    note = Note(elsewhere, (sign_note(elsewhere, LOG_SIGNER, "example.com/other"),)).encode()
    both = Trust(logs=(LOG_KEY, key_of(LOG_SIGNER.public, "example.com/other", LOG)))
    with pytest.raises(ProofInvalid, match=r"is of example\.com/other and not of"):
        verify(log, Against(trust=both, since=note), NOW)


def test_witnesses_cosign_and_count(store, log, tmp_path):
    first, second = keeper(tmp_path), keeper(tmp_path, 3, "w2.example")
    cosigned(log, first)
    cosigned(log, second)
    trust = Trust(logs=(LOG_KEY,), witnesses=(first.key, second.key))
    found = verify(log, Against(trust=trust), NOW)
    assert [w.name for w in found.witnesses] == ["w1.example", "w2.example"]
    proof = put(tmp_path / "proof", verb.prove_record(log, 1))
    assert len(verify(proof, Against(trust=trust), NOW).witnesses) == 2
    grow(store, 7)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    with pytest.raises(SignerMissing, match="0 of 2"):
        verify(log, Against(trust=trust), NOW)
    cosigned(log, first)
    assert len(verify(log, Against(trust=Trust(**(as_dict(trust) | {"threshold": 1}))), NOW).witnesses) == 1


def as_dict(trust):
    return {"logs": trust.logs, "witnesses": trust.witnesses}


def test_a_cosignature_is_replaced_and_not_piled_up(log, tmp_path):
    witness = keeper(tmp_path)
    for moment in range(NOW, NOW + 5):
        trust = cosigned(log, witness, moment)
    assert (log / "checkpoint").read_text().count("w1.example") == 1
    assert verify(log, Against(trust=trust), NOW + 4).witnesses[0].moment == NOW + 4


def test_a_witness_of_growth_by_tiles_and_by_request(store, log, tmp_path):
    witness = keeper(tmp_path)
    cosigned(log, witness)
    grow(store, *range(7, 30))
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    request = put(tmp_path / "request", verb.prove_since(log, 7))
    line, note = verb.witness(request, witness, (LOG_KEY,), NOW)
    assert witness.last(ORIGIN).size == 30
    assert note.endswith(line.line().encode())
    trust = Trust(logs=(LOG_KEY,), witnesses=(witness.key,))
    assert len(verify(put(tmp_path / "cosigned", note), Against(trust=trust), NOW).witnesses) == 1
    grow(store, 30)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    put(request, verb.prove_since(log, 7))
    with pytest.raises(ProofInvalid, match="is from 7 records on, and one from 30"):
        verb.witness(request, witness, (LOG_KEY,), NOW)
    cosigned(log, witness)  # the tiles prove growth from any size
    assert witness.last(ORIGIN).size == 31


def test_a_checkpoint_alone_shows_no_growth(store, log, tmp_path):
    witness = keeper(tmp_path)
    alone = put(tmp_path / "alone", (log / "checkpoint").read_bytes())
    verb.witness(alone, witness, (LOG_KEY,), NOW)
    verb.witness(alone, witness, (LOG_KEY,), NOW)  # the same again is no growth
    grow(store, 7)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    with pytest.raises(ProofInvalid):
        verb.witness(put(alone, (log / "checkpoint").read_bytes()), witness, (LOG_KEY,), NOW)


def test_a_witness_refuses_a_fork_and_a_rollback(store, log, tmp_path):
    witness = keeper(tmp_path)
    cosigned(log, witness)
    grow(tmp_path / "fork", *range(6), 60, 70)
    verb.export(tmp_path / "fork", tmp_path / "forked", LOG_SIGNER, ORIGIN)
    with pytest.raises(ProofInvalid):
        verb.witness(tmp_path / "forked", witness, (LOG_KEY,), NOW)
    grow(tmp_path / "short", *range(6))
    verb.export(tmp_path / "short", tmp_path / "rolled", LOG_SIGNER, ORIGIN)
    with pytest.raises(RolledBack):
        verb.witness(tmp_path / "rolled", witness, (LOG_KEY,), NOW)


def test_tampered_tiles_persuade_no_witness(store, log, tmp_path):
    witness = keeper(tmp_path)
    cosigned(log, witness)
    grow(store, *range(7, 30))
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    path = log / "tile/0/000.p/30"
    whole = path.read_bytes()
    for place in range(0, len(whole), 16):
        broken = bytearray(whole)
        broken[place] ^= 1
        put(path, bytes(broken))
        with pytest.raises(ProofInvalid):
            verb.witness(log, witness, (LOG_KEY,), NOW)
    path.unlink()
    with pytest.raises(SealDamaged, match="is missing"):
        verb.witness(log, witness, (LOG_KEY,), NOW)
    assert witness.last(ORIGIN).size == 7


def test_a_cosignature_of_a_checkpoint_that_was_replaced_is_not_added(store, log, tmp_path):
    line, note = verb.witness(log, keeper(tmp_path), (LOG_KEY,), NOW)
    grow(store, 7)
    verb.export(store, log, LOG_SIGNER, ORIGIN)
    with pytest.raises(OutputUnwritable, match="replaced by a newer one"):
        verb.add_cosignature(log, line, note)


def test_keys_as_they_are_named(tmp_path):
    witness = key_of(signer(2).public, "w1.example", WITNESS)
    pem = put(tmp_path / "log.pub", LOG_SIGNER.public.pem)
    listed = put(
        tmp_path / "keys",
        f"# logs\n{LOG_KEY.text()}\n\n{key_of(signer(4).public, 'b', LOG).text()}\n".encode(),
    )
    assert log_keys((LOG_KEY.text(),), "") == (LOG_KEY,)
    assert log_keys((str(pem),), ORIGIN) == (LOG_KEY,)
    assert [key.name for key in log_keys((str(listed), str(pem)), "x")] == [ORIGIN, "b", "x"]
    assert witness_keys((witness.text(),)) == (witness,)
    assert witness_keys((str(pem),))[0].name == f"witness-{LOG_SIGNER.public.key_id[:16]}"
    with pytest.raises(KeyUnusable, match="is the key of a log and not of a witness"):
        witness_keys((LOG_KEY.text(),))
    with pytest.raises(KeyUnusable, match="is the key of a witness and not of a log"):
        log_keys((witness.text(),), "")
    with pytest.raises(ConfigInvalid, match="no key of the log"):
        log_keys((), "")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff", b"-----BEGIN nonsense", b"name+id+key"])
def test_files_that_hold_no_key(tmp_path, content):
    with pytest.raises(KeyUnusable):
        log_keys((str(put(tmp_path / "key", content)),), ORIGIN)


def test_files_that_are_not_there(tmp_path, log):
    with pytest.raises(FileMissing):
        log_keys((str(tmp_path / "none"),), ORIGIN)
    with pytest.raises(FileMissing):
        verify(tmp_path / "none", KEYED, NOW)
    with pytest.raises(FileMissing):
        verify(tmp_path, KEYED, NOW)  # a folder without a checkpoint
    with pytest.raises(FileMissing):
        verb.prove_record(tmp_path / "none", 0)


def test_what_a_file_says_it_is_of(store, log, tmp_path):
    checkpoint = log / "checkpoint"
    proof = put(tmp_path / "proof", verb.prove_record(log, 0))
    growth = put(tmp_path / "growth", verb.prove_since(log, 3))
    for place in (log, checkpoint, proof, growth):
        assert origin_of(place, None) == ORIGIN
        assert read_checkpoint(place).size == 7
    assert origin_of(store, None) == ""
    assert origin_of(store, checkpoint) == ORIGIN


def test_a_proof_of_a_long_record(tmp_path):
    ledger = Ledger.open(tmp_path / "store")
    ledger.append({"kind": "evidence", "pad": "x" * 100_000}, record(1))
    ledger.close()
    verb.export(tmp_path / "store", tmp_path / "log", LOG_SIGNER, ORIGIN)
    assert (tmp_path / "log/tile/records/000.p/2").is_file()
    proof = put(tmp_path / "proof", verb.prove_record(tmp_path / "log", 0))
    assert verify(proof, KEYED, NOW).index == 0
    assert verify(tmp_path / "log", KEYED, NOW).records == 2


def test_a_head_alone_says_neither_how_many_records_nor_where(tmp_path):
    """The root over three leaves is also led to from a place 4 of 5; and anybody may state any size."""
    first, second, third = (canonical({"n": number}) for number in range(3))
    left = node_hash(leaf_hash(first), leaf_hash(second))
    root = node_hash(left, leaf_hash(third))
    note = Checkpoint(origin="their.example/log", size=5, root=root).text().encode()
    (tmp_path / "proof").write_bytes(InclusionProof(index=4, path=(left,), note=note, extra=third).encode())
    (tmp_path / "checkpoint").write_bytes(note)
    against = Against(head=root.hex())
    found = verify(tmp_path / "proof", against, NOW)
    assert (found.origin, found.size, found.index, found.leaf) == ("", None, None, leaf_hash(third).hex())
    found = verify(tmp_path / "checkpoint", against, NOW)
    assert (found.origin, found.size) == ("", None)


def test_hashes_alone_under_a_head_alone_may_be_those_of_inner_nodes(tmp_path):
    bodies = [canonical({"n": number}) for number in range(3)]
    left = node_hash(*map(leaf_hash, bodies[:2]))
    root = node_hash(left, leaf_hash(bodies[2]))
    (tmp_path / "tile/0/000.p").mkdir(parents=True)
    (tmp_path / "tile/0/000.p/2").write_bytes(left + leaf_hash(bodies[2]))
    note = Checkpoint(origin="their.example/log", size=2, root=root).text()
    (tmp_path / "checkpoint").write_bytes(note.encode())
    found = verify(tmp_path, Against(head=root.hex()), NOW)
    assert (found.size, found.records) == (None, 0)
    (tmp_path / "whole").mkdir()
    write_tiles(bodies, tmp_path / "whole", 3)
    (tmp_path / "whole/checkpoint").write_bytes(note.replace("\n2\n", "\n3\n").encode())
    found = verify(tmp_path / "whole", Against(head=root.hex()), NOW)
    assert (found.size, found.records) == (3, 3)
