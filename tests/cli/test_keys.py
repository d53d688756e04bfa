"""`modelward keys`: pairs of keys, keyrings with one and with several owners, and the drill of docs/keys.md."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from modelward import errors
from modelward.cli import keys as shell
from modelward.cli import main
from modelward.ledger import blobs
from modelward.ledger.store import Ledger
from modelward.vault.attest.attestation import Kind
from modelward.vault.keys.keyring import Keyring, Threshold
from modelward.vault.keys.opening import open_signer
from modelward.vault.keys.signer import Verifier
from modelward.verbs import keys

PASSPHRASE = "correct horse battery"  # noqa: S105 (of nothing)
SOURCE = Path(__file__).parents[2] / "src"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Each test in its own folder, with a passphrase in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    return tmp_path


@pytest.fixture
def call(capsys):
    """Run the command line in this process: exit code, output, errors."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert PASSPHRASE not in out + err
        return ended.value.code, out, err

    return call


@pytest.fixture
def fine(call):
    """Run a command that succeeds; its output."""

    def fine(*words):
        code, out, err = call(*words)
        assert (code, err) == (0, ""), err
        return out

    return fine


@pytest.fixture
def made(fine):
    """Make keys of these names."""

    def made(*names, kind="ed25519"):
        for name in names:
            fine("keys", "new", f"{name}.pem", "--algorithm", kind)

    return made


@pytest.fixture
def one_owner(made, fine):
    """ring.json, owned by owner.pem, with anna's key."""
    made("owner", "anna")
    fine("keys", "ring", "new", "ring.json", "--owner", "owner.pem.pub", "--key", "owner.pem")
    fine("keys", "ring", "add", "ring.json", "anna.pem.pub", "--name", "anna", "--key", "owner.pem")


@pytest.fixture
def two_owners(made, fine):
    """ring.json, which two of o1, o2 and o3 own, with anna's key."""
    made("o1", "o2", "o3", "anna")
    owners = [word for n in (1, 2, 3) for word in ("--owner", f"o{n}.pem.pub")]
    both = ("--key", "o1.pem", "--key", "o2.pem")
    fine("keys", "ring", "new", "ring.json", *owners, "--threshold", "2", *both)
    fine("keys", "ring", "add", "ring.json", "anna.pem.pub", "--name", "anna", *both)


def public(name):
    return Verifier(Path(f"{name}.pem.pub").read_bytes())


def in_force(path, *owners):
    return Keyring.read(path, [public(owner) for owner in owners])


@pytest.mark.parametrize("kind", shell.KINDS)
def test_a_new_pair(here, fine, kind):
    out = fine("keys", "new", "k.pem", "--algorithm", kind)
    assert kind in out
    assert (here / "k.pem").stat().st_mode & 0o777 == 0o600
    assert (here / "k.pem.pub").stat().st_mode & 0o777 == 0o644
    assert b"ENCRYPTED" in (here / "k.pem").read_bytes()
    assert sorted(path.name for path in here.iterdir()) == ["k.pem", "k.pem.pub"]
    for file in ("k.pem", "k.pem.pub"):
        shown = json.loads(fine("keys", "show", file, "--format", "json"))
        assert shown["schema"] == "modelward.keys/1"
        assert shown["key"]["algorithm"] == kind
        assert shown["key"]["id"] in out
        assert shown["key"]["public"] == (here / "k.pem.pub").read_text(encoding="ascii")


def test_the_kinds_on_offer_are_those_there_are():
    assert shell.KINDS == keys.KINDS


def test_defaults(fine):
    assert json.loads(fine("keys", "new", "a", "--format", "json"))["key"]["algorithm"] == "ecdsa-p256"
    made = json.loads(fine("keys", "new", "b", "--recipient", "--format", "json"))
    assert (made["key"]["algorithm"], made["key"]["use"]) == ("mlkem768-x25519", "decrypt")
    assert (made["path"], made["public_path"]) == ("b", "b.pub")
    assert "x25519" in fine("keys", "new", "c", "--recipient", "--algorithm", "x25519")
    assert "a recipient's" in fine("keys", "show", "c")


def test_a_recipients_key_does_not_sign(call):
    code, _, err = call("keys", "new", "k", "--recipient", "--algorithm", "ed25519")
    assert code == 2
    assert "ed25519 signs" in err


@pytest.mark.parametrize("there", ["k.pem", "k.pem.pub"])
def test_nothing_is_written_over(here, call, there):
    (here / there).write_text("precious", encoding="ascii")
    code, out, err = call("keys", "new", "k.pem")
    assert (code, out) == (2, "")
    assert f"{there}: is there already" in err
    assert [path.name for path in here.iterdir()] == [there]
    assert (here / there).read_text(encoding="ascii") == "precious"


def test_a_dangling_link_is_not_written_through(here, call):
    (here / "k.pem").symlink_to(here / "elsewhere")
    assert call("keys", "new", "k.pem")[0] == 2
    assert not (here / "elsewhere").exists()


def test_two_makers_at_once_do_not_overwrite(here, monkeypatch):
    """A file that appears between the look and the write."""
    real = os.link

    def late(source, target):
        Path(target).write_text("the other's", encoding="ascii")
        real(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(errors.OutputUnwritable, match="is there already"):
        keys.new_key("k.pem", "ed25519", lambda: b"p")
    assert (here / "k.pem").read_text(encoding="ascii") == "the other's"


def test_a_public_half_that_cannot_be_written_leaves_no_private_one(here, monkeypatch):
    real, calls = os.link, []

    def full(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(errors.OutputUnwritable, match="No space left"):
        keys.new_key("k.pem", "ed25519", lambda: b"p")
    assert list(here.iterdir()) == []


def test_no_such_folder(call, made):
    made("k")
    code, _, err = call("keys", "new", "absent/k.pem")
    assert code == 2
    assert "cannot be written" in err
    assert "cannot be opened" in call("keys", "ring", "sign", "absent/ring.json", "--key", "k.pem")[2]


def test_a_passphrase_file(here, fine, call, monkeypatch):
    monkeypatch.delenv("MODELWARD_PASSPHRASE")
    file = here / "pass"
    file.write_text("another one\n", encoding="ascii")
    file.chmod(0o600)
    fine("keys", "new", "k.pem", "--passphrase-file", "pass")
    assert open_signer("k.pem", lambda: b"another one").public.key_id in fine("keys", "show", "k.pem.pub")
    file.chmod(0o644)
    code, _, err = call("keys", "show", "k.pem", "--passphrase-file", "pass")
    assert code == 0
    assert "warning: pass: others than its owner may read it" in err


def test_without_a_passphrase_there_is_no_key(call, monkeypatch, here):
    monkeypatch.delenv("MODELWARD_PASSPHRASE")
    code, _, err = call("keys", "new", "k.pem")
    assert code == 2
    assert "no passphrase was given" in err
    assert "--passphrase-file" in err
    assert list(here.iterdir()) == []


def test_a_wrong_passphrase_is_a_sentence(made, call, monkeypatch):
    made("k")
    monkeypatch.setenv("MODELWARD_PASSPHRASE", "wrong-and-unmistakable")
    code, _, err = call("keys", "show", "k.pem")
    assert code == 2
    assert "passphrase is wrong" in err
    assert "unmistakable" not in err
    assert "Traceback" not in err


def test_a_person_is_asked_twice_on_a_terminal(here):
    """A terminal of the test's own; what is typed is not echoed."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "MODELWARD_PASSPHRASE"}
    command = [sys.executable, "-c", "from modelward.cli import main; main()", "keys", "new", "k.pem"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    said = b""
    for question in (b"New passphrase: ", b"Repeat for confirmation: "):
        while question not in said:
            said += os.read(ours, 1000)
        os.write(ours, b"typed by hand\n")
    while process.poll() is None:
        try:
            said += os.read(ours, 1000)
        except OSError:  # the other side is closed
            break
    assert process.wait(20) == 0
    os.close(ours)
    assert b"typed by hand" not in said
    open_signer("k.pem", lambda: b"typed by hand")


def test_show_what_is_no_key(here, call):
    (here / "k").write_text("no key", encoding="ascii")
    assert call("keys", "show", "k")[0] == 2
    code, _, err = call("keys", "show", "absent")
    assert code == 2
    assert "cannot be read" in err
    code, _, err = call("keys", "show", "pkcs11:object=k?pin-value=123456")
    assert code == 2
    assert "123456" not in err


def test_a_ring_of_one_owner(here, one_owner, fine):
    ring = in_force(here / "ring.json", "owner")
    assert [(key.name, key.purposes) for key in ring.keys] == [("anna", ("seal",))]
    assert (ring.version, ring.threshold) == (2, 1)
    out = fine("keys", "ring", "show", "ring.json", "--owner", "owner.pem.pub")
    assert f"keyring {ring.ring}, version 2" in out
    assert f"{public('anna').key_id[:16]} anna: seal; from " in out
    assert f"{public('owner').key_id[:16]} ed25519, signed" in out
    assert (here / "ring.json").stat().st_mode & 0o777 == 0o644


def test_json_of_a_ring(one_owner, fine):
    shown = json.loads(fine("keys", "ring", "show", "ring.json", "--format", "json"))
    assert shown["schema"] == "modelward.keys/1"
    assert shown["in_force"] is True
    assert shown["lacks"] == ""
    assert shown["path"] == "ring.json"
    assert shown["signed_by"] == shown["owner_ids"] == [public("owner").key_id]
    assert shown["keyring"]["keys"][0]["name"] == "anna"
    assert shown["keyring"]["version"] == 2


def test_strangers_do_not_stand_behind_it(one_owner, made, call):
    made("stranger")
    code, out, err = call("keys", "ring", "show", "ring.json", "--owner", "stranger.pem.pub")
    assert (code, out) == (1, "")
    assert "signed by 0 of the 1 owners that were named" in err
    words = ("--owner", "stranger.pem.pub", "--owner", "owner.pem.pub")
    assert call("keys", "ring", "show", "ring.json", *words)[0] == 1
    assert call("keys", "ring", "show", "ring.json", *words, "--owners-threshold", "1")[0] == 0
    assert call("keys", "ring", "show", "ring.json", *words, "--owners-threshold", "3")[0] == 2
    trust = ("--keyring", "ring.json", *words, "--owners-threshold", "3")
    code, _, err = call("verify", "owner.pem", "--signature", "ring.json", *trust)
    assert (code, "3 of 2 owners" in err) == (2, True)


def test_strangers_do_not_change_it(here, one_owner, made, call):
    made("stranger")
    before = (here / "ring.json").read_bytes()
    code, _, err = call(
        "keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "stranger.pem"
    )
    assert code == 2
    assert "is no owner" in err
    assert (here / "ring.json").read_bytes() == before


def test_an_altered_ring_is_not_changed(here, one_owner, call):
    data = (here / "ring.json").read_bytes()
    (here / "ring.json").write_bytes(data.replace(b'"sig":"', b'"sig":"A', 1))
    code, _, err = call("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "owner.pem")
    assert code == 1
    assert "modelward: " in err


def test_revoke_a_key_and_a_root(here, one_owner, fine, call):
    root = "sha256:" + "ab" * 32
    fine("keys", "ring", "revoke", "ring.json", root, "--reason", "poisoned rows", "--key", "owner.pem")
    out = fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "stolen", "--since", "2026-11-01",
               "--key", "owner.pem")  # fmt: skip
    assert "anna: REVOKED" in out
    assert "since 2026-11-01T00:00:00Z: stolen" in out
    assert f"revoked root {root}" in out
    ring = in_force(here / "ring.json", "owner")
    with pytest.raises(errors.Revoked, match="stolen"):
        ring.check_key(public("anna").key_id, datetime.now(UTC))
    with pytest.raises(errors.Revoked, match="poisoned"):
        ring.check_root(root)
    code, _, err = call("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "owner.pem")
    assert code == 2
    assert "revoked before" in err


def test_a_revoked_owner_owns_still_and_that_is_said(one_owner, call):
    """What a key signs and what it owns are two things."""
    words = ("--reason", "stolen", "--key", "owner.pem")
    code, out, err = call("keys", "ring", "revoke", "ring.json", public("owner").key_id, *words)
    assert (code, "revoked key" in out) == (0, True)
    assert "owns the keyring still" in err
    assert call("keys", "ring", "revoke", "ring.json", "anna", *words)[2] == err
    made = ("--owner", "anna.pem.pub", "--key", "anna.pem", "--key", "owner.pem")
    assert call("keys", "ring", "owners", "ring.json", *made)[::2] == (0, "")


def test_two_owners_of_three(here, two_owners, fine, call):
    out = fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "left", "--key", "o3.pem")
    assert "not in force: it is signed by 1 of the 2 previous owners who must" in out
    assert in_force(here / "ring.json", "o1", "o2").revoked_keys == ()
    code, _, err = call("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "o1.pem")
    assert code == 2
    assert "a change waits for signatures" in err
    waiting = json.loads(fine("keys", "ring", "sign", "ring.json", "--key", "o3.pem", "--format", "json"))
    assert waiting["in_force"] is False
    assert waiting["path"] == "ring.json.next"
    out = fine("keys", "ring", "sign", "ring.json", "--key", "o1.pem")
    assert "not in force" not in out
    assert not (here / "ring.json.next").exists()
    assert in_force(here / "ring.json", "o1", "o3").revoked_keys[0].reason == "left"


def test_a_new_ring_waits_for_its_owners(here, made, fine, call):
    made("o1", "o2")
    words = ("--owner", "o1.pem.pub", "--owner", "o2.pem.pub", "--threshold", "2")
    fine("keys", "ring", "new", "ring.json", *words, "--key", "o1.pem")
    assert [path.name for path in here.glob("ring*")] == ["ring.json.next"]
    code, _, err = call("keys", "ring", "new", "ring.json", *words, "--key", "o1.pem")
    assert code == 2
    assert "ring.json.next: is there already" in err
    out = fine("keys", "ring", "show", "ring.json")
    assert "not in force: it is signed by 1 of the 2 owners who must; it waits in ring.json.next" in out
    assert call("keys", "ring", "show", "ring.json", "--owner", "o1.pem.pub")[0] == 2
    fine("keys", "ring", "sign", "ring.json", "--key", "o2.pem")
    assert [path.name for path in here.glob("ring*")] == ["ring.json"]
    assert call("keys", "ring", "new", "ring.json", *words, "--key", "o1.pem")[0] == 2


@pytest.mark.parametrize("named", ["ring.json", "ring.json.next"])
def test_an_owner_sees_what_is_asked_to_be_signed(here, two_owners, fine, named):
    fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "left", "--key", "o3.pem")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    first, second = fine("keys", "ring", "show", named).split("\nwaits to be signed, in ring.json.next:\n")
    assert ("version 2" in first, "not in force" in first, "revoked" in first) == (True, False, False)
    assert "version 3" in second
    assert f"revoked key {public('anna').key_id[:16]}" in second
    assert "not in force: it is signed by 1 of the 2 previous owners who must" in second
    shown = json.loads(fine("keys", "ring", "show", named, "--format", "json"))
    assert (shown["in_force"], shown["keyring"]["revoked_keys"]) == (True, [])
    assert (shown["waiting"]["in_force"], shown["waiting"]["signed_by"]) == (False, [public("o3").key_id])
    owners = ("--owner", "o1.pem.pub", "--owner", "o2.pem.pub")
    assert "version 2" in fine("keys", "ring", "show", named, *owners)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before
    fine("keys", "ring", "sign", "ring.json", "--key", "o1.pem")
    assert json.loads(fine("keys", "ring", "show", "ring.json", "--format", "json"))["waiting"] is None


def test_an_owners_private_key_is_not_asked_for_its_passphrase(made, call, monkeypatch):
    made("o1")
    monkeypatch.delenv("MODELWARD_PASSPHRASE")
    code, _, err = call("keys", "ring", "new", "ring.json", "--owner", "o1.pem", "--key", "o1.pem")
    assert code == 2
    assert "o1.pem: is a private key" in err
    assert "Give its public half, such as o1.pem.pub." in err


def test_an_altered_waiting_change_is_refused(here, two_owners, fine, call):
    fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "left", "--key", "o3.pem")
    waiting = here / "ring.json.next"
    good = waiting.read_bytes()
    for bad in (b"", good[:-20], good.replace(b'"keyid":"', b'"keyid":"0', 1), good + good):
        waiting.write_bytes(bad)
        assert call("keys", "ring", "sign", "ring.json", "--key", "o1.pem")[0] == 1
        code, out, err = call("keys", "ring", "show", "ring.json")  # what is in force is, whatever lies there
        assert (code, "revoked" in out, "not in force" in out) == (0, False, False)
        assert "warning: ring.json.next: " in err
    waiting.write_bytes(good)
    assert call("keys", "ring", "sign", "ring.json", "--key", "anna.pem")[0] == 2
    assert call("keys", "ring", "sign", "ring.json", "--key", "o1.pem")[0] == 0


def test_a_third_owner_may_sign_what_is_in_force(here, two_owners, fine):
    with pytest.raises(errors.SignerMissing):
        in_force(here / "ring.json", "o3")
    fine("keys", "ring", "sign", "ring.json", "--key", "o3.pem")
    in_force(here / "ring.json", "o3")
    in_force(here / "ring.json", "o1", "o2", "o3")


def test_owners_change(here, two_owners, made, fine, call):
    made("new")
    words = ("--owner", "new.pem.pub", "--threshold", "1")
    fine("keys", "ring", "owners", "ring.json", *words, "--key", "new.pem", "--key", "o1.pem")
    assert (here / "ring.json.next").exists()
    fine("keys", "ring", "sign", "ring.json", "--key", "o2.pem")
    fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "new.pem")
    for trusted in (("o1", "o2"), ("new",)):
        assert in_force(here / "ring.json", *trusted).version == 4
    assert (here / "ring.json").read_bytes().count(b"\n") == 3
    fine("keys", "ring", "renew", "ring.json", "--expires", "2030-01-01", "--key", "new.pem")
    assert (here / "ring.json").read_bytes().count(b"\n") == 3
    code, _, err = call("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "o1.pem")
    assert code == 2
    assert "revoked before" in err


def test_rotation_with_an_overlap(here, one_owner, made, fine):
    made("next")
    before = datetime.now(UTC).replace(microsecond=0)
    fine("keys", "rotate", "ring.json", "--old", "anna", "--new", "next.pem.pub", "--overlap", "7d",
         "--until", "2036-01-01", "--key", "owner.pem")  # fmt: skip
    ring = in_force(here / "ring.json", "owner")
    old, new = ring.keys
    assert (old.name, new.name) == ("anna", "anna")
    assert timedelta(days=7) <= old.valid_until - before <= timedelta(days=7, seconds=30)
    assert new.valid_until == datetime(2036, 1, 1, tzinfo=UTC)
    ring.check_key(public("next").key_id, before + timedelta(days=8))
    with pytest.raises(errors.KeyExpired):
        ring.check_key(public("anna").key_id, before + timedelta(days=8))


def test_policies(here, one_owner, made, fine, call):
    made("ben", kind="ml-dsa-65")
    fine("keys", "ring", "add", "ring.json", "ben.pem.pub", "--name", "ben", "--purpose", "seal", "--purpose",
         "evidence", "--key", "owner.pem")  # fmt: skip
    out = fine("keys", "ring", "policy", "ring.json", "--threshold", "2", "--name", "anna", "--name", "ben",
               "--ml-dsa", "--key", "owner.pem")  # fmt: skip
    assert "seal: 2 of anna, ben, one by ML-DSA-65" in out
    ring = in_force(here / "ring.json", "owner")
    with pytest.raises(errors.SignerMissing):
        ring.require([public("anna").key_id], "seal")
    ring.require([public("anna").key_id, public("ben").key_id], "seal")
    code, _, err = call(
        "keys", "ring", "policy", "ring.json", "--threshold", "2", "--name", "carl", "--key", "owner.pem"
    )
    assert code == 2
    assert "carl" in err
    code, _, err = call(
        "keys", "ring", "policy", "ring.json", "--threshold", "2", "--name", "anna", "--key", "owner.pem"
    )
    assert code == 2
    assert "2 of 1 names cannot sign" in err
    assert "keys ring show" in err
    assert "modelward init" not in err


def test_a_purpose_that_nobody_asks_for_is_warned_of(one_owner, made, call):
    made("ben")
    code, out, err = call("keys", "ring", "add", "ring.json", "ben.pem.pub", "--name", "ben", "--purpose",
                          "evidense", "--key", "owner.pem")  # fmt: skip
    assert (code, "evidense" in out) == (0, True)
    assert "warning: 'evidense' is a purpose of your own; modelward asks for seal, evidence, scan" in err
    assert (keys.SEALS, *get_args(Kind)) == keys.PURPOSES


def test_two_keys_of_one_name_are_told_apart_by_their_ids(one_owner, made, fine, call):
    made("second")
    fine("keys", "ring", "add", "ring.json", "second.pem.pub", "--name", "anna", "--key", "owner.pem")
    code, _, err = call("keys", "ring", "revoke", "ring.json", "anna", "--reason", "r", "--key", "owner.pem")
    assert code == 2
    assert public("second").key_id[:16] in err
    assert "Name one by its id" in err
    words = (public("anna").key_id[:8], "--reason", "r", "--key", "owner.pem")
    fine("keys", "ring", "revoke", "ring.json", *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "ring.json", "anna.pem.pub", "--name", "again"), "already"),
        (("add", "ring.json", "owner.pem.pub", "--name", ""), "would not be valid"),
        (("add", "ring.json", "owner.pem.pub", "--name", "a\x1b[2Jb"), "would not be valid"),
        (("add", "ring.json", "owner.pem.pub", "--name", "n", "--purpose", "Seal"), "would not be valid"),
        (("add", "ring.json", "owner.pem.pub", "--name", "n", "--until", "soon"), "no date"),
        (("add", "ring.json", "owner.pem.pub", "--name", "n", "--until", "2001-01-01"), "ends before"),
        (("add", "ring.json", "absent.pub", "--name", "n"), "cannot be read"),
        (("add", "ring.json", "reader.pem.pub", "--name", "n"), "does not sign"),
        (("revoke", "ring.json", "nobody", "--reason", "r"), "no keys of the keyring"),
        (("revoke", "ring.json", "anna", "--reason", ""), "would not be valid"),
        (("renew", "ring.json", "--expires", "2001-01-01"), "expires before"),
        (("owners", "ring.json", "--owner", "owner.pem.pub", "--threshold", "2"), "2 of 1 owners"),
        (("revoke", "absent.json", "anna", "--reason", "r"), "cannot be read"),
    ],
)
def test_changes_that_are_refused(here, one_owner, fine, call, words, said):  # noqa: PLR0917 (fixtures and a table)
    fine("keys", "new", "reader.pem", "--recipient")
    before = (here / "ring.json").read_bytes()
    code, out, err = call("keys", "ring", *words, "--key", "owner.pem")
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert (here / "ring.json").read_bytes() == before
    assert not (here / "ring.json.next").exists()


def test_an_overlap_that_is_no_span(one_owner, made, call):
    made("next")
    words = ("--old", "anna", "--new", "next.pem.pub", "--overlap", "soon", "--key", "owner.pem")
    code, _, err = call("keys", "rotate", "ring.json", *words)
    assert code == 2
    assert "no span" in err


def test_a_change_that_cannot_be_written_changes_nothing(here, one_owner, monkeypatch):
    """Full disk, at whichever step of the writing."""
    before = (here / "ring.json").read_bytes()
    owner = keys.Owner(keys=("owner.pem",), passphrase=PASSPHRASE.encode)
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def full(*words):
                raise OSError(28, "No space left on device")

            if step == "fsync":
                patch.setattr(blobs.os, "fsync", full)
            else:
                patch.setattr(blobs.Path, "replace", full)
            with pytest.raises(errors.OutputUnwritable, match="No space left"):
                keys.ring_revoke("ring.json", "anna", "r", owner)
        assert (here / "ring.json").read_bytes() == before
        assert not list(here.glob(".modelward-*"))


KILLED = """
import os, sys
from modelward.verbs import keys
from modelward.ledger import blobs
stage = int(sys.argv[1])
calls = iter(range(100))
def watch(module, name):
    real = getattr(module, name)
    def wrapped(*words, **more):
        if next(calls) == stage:
            os.kill(os.getpid(), 9)
        return real(*words, **more)
    setattr(module, name, wrapped)
for name in ("fsync", "fdopen"):
    watch(blobs.os, name)
for name in ("chmod", "replace", "unlink"):
    watch(blobs.Path, name)
owner = keys.Owner(keys=("o1.pem",), passphrase=lambda: b"correct horse battery")
keys.ring_sign("ring.json", owner)
"""


def test_killed_at_every_step_leaves_the_old_or_the_new(here, two_owners, fine):
    fine("keys", "ring", "revoke", "ring.json", "anna", "--reason", "left", "--key", "o3.pem")
    old = {path.name: path.read_bytes() for path in here.glob("ring*")}
    outcomes = set()
    for stage in range(8):
        for path in here.glob("ring*"):
            path.unlink()
        for name, data in old.items():
            (here / name).write_bytes(data)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(stage)], check=False, capture_output=True)
        assert ended.returncode in {0, -9}, ended.stderr
        ring = keys.ring_show("ring.json").ring
        outcomes.add((ring.version, len(ring.revoked_keys)))
        if ended.returncode == 0:
            break
        # Whatever it left, signing again ends well.
        state = keys.ring_sign("ring.json", keys.Owner(keys=("o1.pem",), passphrase=PASSPHRASE.encode))
        assert (state.ring.version, state.lacks) == (3, "")
        assert [path.name for path in here.glob("ring*")] == ["ring.json"]
    assert ended.returncode == 0
    assert outcomes == {(2, 0), (3, 1)}


def test_two_owners_at_once_lose_nothing(here, one_owner):
    words = [
        sys.executable,
        "-c",
        "from modelward.cli import main; main()",
        "keys",
        "ring",
        "revoke",
        "ring.json",
    ]
    roots = ["sha256:" + f"{n:02x}" * 32 for n in range(3)]
    running = [
        subprocess.Popen([*words, root, "--reason", "r", "--key", "owner.pem"], stdout=subprocess.DEVNULL)
        for root in roots
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    ring = in_force(here / "ring.json", "owner")
    assert sorted(entry.root for entry in ring.revoked_roots) == roots
    assert ring.version == 5


def test_the_python_api_takes_a_moment(here, made):
    made("owner", "anna")
    owner = keys.Owner(keys=("owner.pem",), passphrase=PASSPHRASE.encode, now=NOON)
    keys.ring_new("ring.json", keys.NewRing(owners=("owner.pem.pub",)), owner)
    state = keys.ring_add("ring.json", keys.NewKey(public="anna.pem.pub", name="anna"), owner)
    assert state.ring.issued == state.ring.keys[0].valid_from == NOON
    policy = Threshold(purpose="seal", threshold=1, names=("anna",), ml_dsa=False)
    assert keys.ring_policy("ring.json", policy, owner).ring.policies == (policy,)
    assert keys.ring_renew("ring.json", NOON + timedelta(days=1), owner).ring.expires is not None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21T13:00:00+01:00", NOON),
        ("2026-11-21 12:00", NOON),
    ],
)
def test_moments(text, moment):
    assert keys.moment_of(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "21.11.2026",
        "2026-13-01",
        "2026-11-21T25:00",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-14:00",
    ],
)
def test_moments_that_are_none(text):
    with pytest.raises(errors.ConfigInvalid, match="no date"):
        keys.moment_of(text)


@pytest.mark.parametrize(
    "words",
    [(), ("new",), ("show",), ("rotate",), ("ring",)]
    + [("ring", verb) for verb in ("new", "add", "revoke", "policy", "owners", "renew", "sign", "show")],
)
def test_every_help_has_an_example(call, words):
    code, out, _ = call("keys", *words, "--help")
    assert code == 0
    assert "modelward keys" in out.split("Example", 1)[1]


def test_help_loads_no_cryptography(here):
    script = (
        "import sys\nfrom modelward.cli import main\ntry:\n    main(['keys', 'ring', 'add', '--help'])\n"
        "except SystemExit:\n    print('cryptography' in sys.modules, 'msgspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")


def blocks(*sections):
    """The lines of shell in sections of docs/keys.md, each with the exit code that it must have."""
    text = (SOURCE.parent / "docs" / "keys.md").read_text(encoding="utf-8")
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        if part.split("\n", 1)[0] in sections:
            found += [
                line
                for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
                for line in block.splitlines()
            ]
    return [(line, 1 if line.endswith("# exits 1") else 0) for line in found]


@pytest.fixture
def shell_of_a_user(here, call, monkeypatch):
    """A folder with two models, a store with one record, and `modelward` on the path.

    Plain lines run in this process, because to start one costs more than the line; others in a shell.
    """
    for version in ("v1", "v2"):
        (here / "models" / version).mkdir(parents=True)
        (here / "models" / version / "weights.bin").write_bytes(version.encode() * 1000)
    ledger = Ledger.open(here / ".modelward")
    ledger.append({"kind": "decision", "verdict": "holds"})
    ledger.close()
    (here / "bin").mkdir()
    program = here / "bin" / "modelward"
    program.write_text(f"#!{sys.executable}\nfrom modelward.cli import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))

    def run(line):
        if line.startswith("modelward ") and not set("$>&|") & set(line):
            code, out, err = call(*shlex.split(line, comments=True)[1:])
            return subprocess.CompletedProcess(line, code, out, err)
        done = subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize("sections", [("The keyring", "Rotation"), ("The drill",)], ids=" and ".join)
def test_the_commands_in_the_docs_work(here, shell_of_a_user, sections):
    lines = blocks(*sections)
    assert len(lines) >= 10
    for line, code in lines:
        done = shell_of_a_user(line)
        assert done.returncode == code, f"{line}\n{done.stdout}\n{done.stderr}"
        if code == 1:
            assert "was revoked" in done.stdout + done.stderr
    assert keys.ring_show("ring.json", ["owner.pem.pub"]).lacks == ""


def test_an_old_ring_put_back_is_refused_after_the_drill(here, shell_of_a_user):
    """Whoever puts the ring of before back wins nothing: the verifier remembers."""
    lines = [line for line, _ in blocks("The drill")]
    upto = next(n for n, line in enumerate(lines) if "ring revoke" in line)
    for line in lines[:upto]:
        assert shell_of_a_user(line).returncode == 0
    before = (here / "ring.json").read_bytes()
    for line in lines[upto : upto + 2]:
        shell_of_a_user(line)
    (here / "ring.json").write_bytes(before)
    done = shell_of_a_user(
        "modelward verify v2.sealed --keyring ring.json --owner owner.pem.pub --format json"
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["refusal"] == "RolledBack"
