"""A witness: the cases of another implementation's tests, restarts, races, and a log with two histories."""

import base64
import json
import multiprocessing
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import (
    FileMissing,
    KeyUnusable,
    LedgerUnwritable,
    ProofInvalid,
    RolledBack,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.ledger.checkpoint import EMPTY_ROOT, Checkpoint
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import tree_root
from modelward.ledger.subtrees import Levels, consistency
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import (
    LOG,
    WITNESS,
    Note,
    Trust,
    key_of,
    open_checkpoint,
    parse_key,
    parse_note,
    sign_note,
)
from modelward.vault.witness import Last, Witness

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "ledger" / "published.json").read_text(encoding="utf-8")
)["witness"]
NOW = 1_800_000_000
FIRST, NEXT = VECTORS["first"].encode(), VECTORS["next"].encode()
PROOF = [bytes.fromhex(value) for value in VECTORS["proof"]]
ROOT = bytes.fromhex("e35b268c1522014ef412d2a54fa94838862d453631617b0307e5c77dcbeefc11")
LEAVES = [leaf_hash(str(i).encode()) for i in range(40)]


def signer(seed):
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)[1:]))


MONKEYS, BANANAS = signer(VECTORS["log_seed"]), signer(VECTORS["other_seed"])
LOGS = (parse_key(VECTORS["log_key"]),)


def note(size, root, origin="monkeys", by=MONKEYS):
    text = Checkpoint(origin=origin, size=size, root=root).text()
    return Note(text, (sign_note(text, by, origin),)).encode()


def grown(size):
    return note(size, tree_root(LEAVES[:size]) if size else EMPTY_ROOT)


def path(size):
    return lambda old: consistency(Levels(LEAVES), old, size) if old else ()


def proven(*values):
    return lambda old: list(values)


def nothing(old):
    return ()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "seen.json"


@pytest.fixture
def keeper(state):
    return Witness(signer(VECTORS["witness_seed"]), "witness", state)


def test_the_two_checkpoints_of_another_implementation(keeper):
    one = keeper.cosign(FIRST, LOGS, nothing, NOW)
    assert keeper.last("monkeys") == Last(5, ROOT, NOW)
    two = keeper.cosign(NEXT, LOGS, proven(*PROOF), NOW + 1)
    assert keeper.last("monkeys").size == 8
    for data, line, moment in ((FIRST, one, NOW), (NEXT, two, NOW + 1)):
        whole = data + line.line().encode()
        found = open_checkpoint(whole, Trust(logs=LOGS, witnesses=(keeper.key,)), NOW)
        assert [(w.name, w.moment) for w in found.witnesses] == [("witness", moment)]


def test_the_key_is_that_of_the_published_witness(keeper):
    assert keeper.key.public == parse_key(VECTORS["witness_key_as_log"]).public
    assert keeper.key.kind == WITNESS


def test_an_empty_log_twice(keeper):
    keeper.cosign(note(0, EMPTY_ROOT), LOGS, nothing, NOW)
    keeper.cosign(note(0, EMPTY_ROOT), LOGS, nothing, NOW)
    keeper.cosign(note(5, ROOT), LOGS, nothing, NOW)  # every log continues the empty one
    assert keeper.last("monkeys").size == 5


@pytest.mark.parametrize("seen", [True, False])
def test_a_proof_from_the_empty_log_on_holds_no_hashes(keeper, seen):
    if seen:
        keeper.cosign(note(0, EMPTY_ROOT), LOGS, nothing, NOW)
    with pytest.raises(ProofInvalid, match="needs none"):
        keeper.cosign(FIRST, LOGS, proven(bytes(32)), NOW)
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    with pytest.raises(ProofInvalid, match="two trees of 5"):
        keeper.cosign(FIRST, LOGS, proven(bytes(32)), NOW)  # nor does one from a size to itself


def test_a_witness_says_from_where_it_needs_the_proof(keeper):
    asked = []

    def prove(old):
        asked.append(old)
        return PROOF if len(asked) == 3 else ()

    for data in (FIRST, FIRST, NEXT):
        keeper.cosign(data, LOGS, prove, NOW)
    assert asked == [0, 5, 5]


def test_an_empty_log_with_another_root(keeper):
    with pytest.raises(SealDamaged, match="empty"):
        keeper.cosign(note(0, ROOT), LOGS, nothing, NOW)
    assert keeper.last("monkeys") is None


def test_the_same_checkpoint_again(keeper):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    line = keeper.cosign(FIRST, LOGS, nothing, NOW + 7)
    assert int.from_bytes(line.value[:8], "big") == NOW + 7
    assert keeper.last("monkeys") == Last(5, ROOT, NOW + 7)


def test_the_same_size_with_another_root_is_a_fork(keeper):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    with pytest.raises(ProofInvalid, match="two trees of 5 records"):
        keeper.cosign(note(5, bytes([255]) * 32), LOGS, nothing, NOW)
    assert keeper.last("monkeys") == Last(5, ROOT, NOW)


def test_a_smaller_checkpoint_is_a_rollback(keeper):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    keeper.cosign(NEXT, LOGS, proven(*PROOF), NOW)
    with pytest.raises(RolledBack, match="has 5 records; one of 8"):
        keeper.cosign(FIRST, LOGS, nothing, NOW)
    assert keeper.last("monkeys").size == 8


@pytest.mark.parametrize(
    "proof",
    [
        [],
        PROOF[:3],
        [*PROOF, PROOF[0]],
        PROOF[::-1],
        [bytes(32)] * 4,
        [b"\xaa\xaa", b"\xbb\xbb", b"\xcc\xcc", b"\xdd\xdd"],
    ],
)
def test_a_proof_that_does_not_lead_there(keeper, proof):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    with pytest.raises(ProofInvalid):
        keeper.cosign(NEXT, LOGS, proven(*proof), NOW)
    assert keeper.last("monkeys") == Last(5, ROOT, NOW)


def test_every_flipped_bit_of_a_proof(keeper):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    for place in range(4 * 32):
        broken = bytearray(b"".join(PROOF))
        broken[place] ^= 1 << (place % 8)
        with pytest.raises(ProofInvalid):
            keeper.cosign(NEXT, LOGS, proven(*(bytes(broken[i : i + 32]) for i in range(0, 128, 32))), NOW)


def test_signatures_are_verified_first(keeper, state):
    broken = bytearray(FIRST)
    broken[broken.index(b"\xe2\x80\x94") + 40] ^= 1
    cases = {
        SealRefused: bytes(broken),
        SignerMissing: note(5, ROOT, origin="bananas", by=BANANAS),
        SealDamaged: b"monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n",
    }
    for error, data in cases.items():
        with pytest.raises(error):
            keeper.cosign(data, LOGS, nothing, NOW)
    with pytest.raises(SignerMissing, match="not signed by the key of monkeys"):
        keeper.cosign(note(5, ROOT, by=BANANAS), LOGS, nothing, NOW)
    swapped = Note(parse_note(FIRST).text, parse_note(NEXT).signatures).encode()
    with pytest.raises(SignatureInvalid):
        keeper.cosign(swapped, LOGS, nothing, NOW)
    assert not state.exists()  # nothing was remembered of any of them


@pytest.mark.parametrize("text", ["monkeys\nnot-a-size\nnot-a-hash\n", "monkeys\n", "monkeys\n5\n"])
def test_well_signed_text_that_is_no_checkpoint(keeper, text):
    data = Note(text, (sign_note(text, MONKEYS, "monkeys"),)).encode()
    with pytest.raises(SealDamaged):
        keeper.cosign(data, LOGS, nothing, NOW)


def test_logs_are_remembered_one_by_one(keeper):
    logs = (*LOGS, parse_key(VECTORS["other_key"]))
    keeper.cosign(NEXT, logs, nothing, NOW)
    keeper.cosign(note(3, ROOT, origin="bananas", by=BANANAS), logs, nothing, NOW)
    assert (keeper.last("monkeys").size, keeper.last("bananas").size) == (8, 3)
    assert keeper.last("cherries") is None


def test_a_restart_forgets_nothing(keeper, state):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    again = Witness(signer(VECTORS["witness_seed"]), "witness", state)
    assert again.last("monkeys") == Last(5, ROOT, NOW)
    with pytest.raises(ProofInvalid):
        again.cosign(note(5, bytes(32)), LOGS, nothing, NOW)
    again.cosign(NEXT, LOGS, proven(*PROOF), NOW)
    assert keeper.last("monkeys").size == 8  # the first instance sees what the other one did


def test_a_fork_is_seen_at_every_place(keeper):
    """Two histories that part after any record: whichever is shown second is refused."""
    keeper.cosign(grown(20), LOGS, nothing, NOW)
    for parted in range(20):
        leaves = [*LEAVES[:parted], *(leaf_hash(b"other %d" % i) for i in range(parted, 30))]
        fork = note(30, tree_root(leaves))
        with pytest.raises(ProofInvalid):
            keeper.cosign(
                fork, LOGS, lambda old, leaves=leaves: consistency(Levels(leaves), old, len(leaves)), NOW
            )
        with pytest.raises(ProofInvalid):
            keeper.cosign(fork, LOGS, path(30), NOW)
    keeper.cosign(grown(30), LOGS, path(30), NOW)


def test_a_clock_that_went_back_is_refused(keeper):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    with pytest.raises(RolledBack, match="the clock is 3600 seconds before") as refused:
        keeper.cosign(NEXT, LOGS, proven(*PROOF), NOW - 3600)
    assert "clock" in refused.value.advice
    assert keeper.last("monkeys").size == 5


def test_the_state_is_private_and_canonical(keeper, state):
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert json.loads(state.read_text()) == {
        "format": "modelward.witness/1",
        "logs": {"monkeys": {"size": "5", "root": base64.b64encode(ROOT).decode(), "time": NOW}},
    }


def test_every_flipped_byte_of_the_state(keeper, state):
    """The state is the witness's own file; what no witness writes is refused, and never a traceback."""
    keeper.cosign(FIRST, LOGS, nothing, NOW)
    whole = state.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x08
        state.write_bytes(broken)
        try:
            assert keeper.last("monkeys") != Last(5, ROOT, NOW), place
        except SealDamaged:
            continue


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"format": "modelward.witness/2", "logs": {}}',
        '{"format": "modelward.witness/1"}',
        '{"format": "modelward.witness/1", "logs": []}',
        '{"format": "modelward.witness/1", "logs": {}, "more": 1}',
        '{"format": "modelward.witness/1", "logs": {"a": 1}}',
        '{"format": "modelward.witness/1", "logs": {"a": {}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": 5, "root": "", "time": 1}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "5", "root": "AA==", "time": 1}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "-5", "root": "%s", "time": 1}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "5", "root": "%s", "time": true}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "5", "root": "%s", "time": 0}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "5", "root": "%s", "time": 1e3}}}',
        '{"format": "modelward.witness/1", "logs": {"a": {"size": "5", "root": "%s", "time": 1}, "a": {}}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_state(keeper, state, content):
    state.write_text(content.replace("%s", base64.b64encode(ROOT).decode()))
    with pytest.raises(SealDamaged):
        keeper.cosign(FIRST, LOGS, nothing, NOW)


@settings(max_examples=60)
@given(st.binary(max_size=120))
def test_any_bytes_as_state(tmp_path_factory, data):
    state = tmp_path_factory.mktemp("w") / "seen.json"
    state.write_bytes(data)
    with pytest.raises(SealDamaged):
        Witness(signer(VECTORS["witness_seed"]), "witness", state).last("monkeys")


def test_a_state_that_is_no_file(keeper, state):
    os.mkfifo(state)
    with pytest.raises(FileMissing, match="not a regular file"):
        keeper.cosign(FIRST, LOGS, nothing, NOW)


def test_a_state_that_cannot_be_written_gives_no_signature(tmp_path):
    keeper = Witness(signer(VECTORS["witness_seed"]), "witness", tmp_path / "none" / "seen.json")
    with pytest.raises(LedgerUnwritable, match="cannot be created"):
        keeper.cosign(FIRST, LOGS, nothing, NOW)


def test_the_state_is_written_before_the_signature_is_made(state):
    """What a crash in between leaves is a promise without a cosignature, never the other way round."""

    class Dying:
        public = signer(VECTORS["witness_seed"]).public

        def sign(self, data):
            assert json.loads(state.read_text())["logs"]["monkeys"]["size"] == "5"
            raise SystemExit

    with pytest.raises(SystemExit):
        Witness(Dying(), "witness", state).cosign(FIRST, LOGS, nothing, NOW)
    assert Witness(signer(VECTORS["witness_seed"]), "witness", state).last("monkeys").size == 5


def test_only_ed25519_and_only_a_name(state):
    with pytest.raises(KeyUnusable):
        Witness(LocalSigner(asymmetric.generate("ecdsa-p256")), "witness", state)
    with pytest.raises(KeyUnusable):
        Witness(signer(VECTORS["witness_seed"]), "a witness", state)


def test_two_processes_never_cosign_two_histories(tmp_path):
    """Both ask one witness at once, each for its own history: one of them gets all, the other nothing."""
    state = tmp_path / "seen.json"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    results = context.Queue()
    workers = [context.Process(target=_ask, args=(state, name, start, results)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(found.values()) == [0, 20]


def _ask(state, name, start, results):
    keeper = Witness(signer(VECTORS["witness_seed"]), "witness", state)
    leaves = [leaf_hash(f"{name}{i}".encode()) for i in range(21)]
    start.wait(60)
    count = 0
    for size in range(1, 21):
        data = note(size, tree_root(leaves[:size]))
        try:
            keeper.cosign(
                data, LOGS, lambda old, size=size: consistency(Levels(leaves), old, size) if old else (), NOW
            )
        except (ProofInvalid, RolledBack):
            continue
        count += 1
    results.put((name, count))


def test_a_killed_witness_leaves_a_whole_state(tmp_path):
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        import importlib.util
        spec = importlib.util.spec_from_file_location("cases", sys.argv[2])
        cases = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cases)
        keeper = cases.Witness(cases.signer(cases.VECTORS["witness_seed"]), "witness", Path(sys.argv[3]))
        size = 1
        while True:
            keeper.cosign(cases.grown(size), cases.LOGS, cases.path(size), cases.NOW)
            print(size, flush=True)
            size = min(size + 1, 40)
    """)
    state = tmp_path / "seen.json"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), __file__, str(state)], stdout=subprocess.PIPE
    )
    said = [int(child.stdout.readline()) for _ in range(12)]
    child.kill()
    child.wait()
    child.stdout.close()
    keeper = Witness(signer(VECTORS["witness_seed"]), "witness", state)
    last = keeper.last("monkeys")
    assert last.size >= said[-1]  # nothing that was cosigned is forgotten
    assert last.root == tree_root(LEAVES[: last.size])
    keeper.cosign(grown(40), LOGS, path(40), NOW)  # and its lock is free


def test_the_key_of_a_log_has_another_type(keeper):
    assert key_of(MONKEYS.public, "monkeys", LOG).text() == VECTORS["log_key"]


def test_two_links_to_one_state_have_one_lock(tmp_path):
    """Else two processes cosign two histories at once, each by its own lock."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to(tmp_path / "one")
    (tmp_path / "link").symlink_to(tmp_path / "one/state")
    for place in (tmp_path / "one/state", tmp_path / "two/state", tmp_path / "link"):
        Witness(signer(VECTORS["witness_seed"]), "witness", place).cosign(
            note(0, EMPTY_ROOT), LOGS, nothing, NOW
        )
    assert sorted(path.name for path in tmp_path.rglob("*lock")) == ["state.lock"]
    assert json.loads((tmp_path / "one/state").read_bytes())["logs"]
