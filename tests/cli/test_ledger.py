"""`modelward ledger` as a user types it: what it says, what it writes, how it ends."""

import importlib
import json
import os
import re
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.ledger.store import Ledger

SECRET = b"correct horse"  # of keys that live as long as a test


@pytest.fixture
def modelward(monkeypatch, capfd, tmp_path):
    """Run the command line in a folder of its own: exit code, standard output, standard error."""
    main = importlib.import_module("modelward.cli.main")
    monkeypatch.setitem(
        main._VERBS, "ledger", ("modelward.cli.ledger", "Publish, prove and witness the store.")
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELWARD_PASSPHRASE", raising=False)

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main(["ledger", *map(str, words)])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return run


def write_key(path, number, passphrase=None):
    key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    guard = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, guard)
    path.write_bytes(pem)
    path.chmod(0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.with_suffix(".pub").write_bytes(public)


@pytest.fixture
def place(tmp_path, modelward):
    """A store of seven records, keys of a log and of a witness, and the log published."""
    grow(tmp_path, range(7))
    write_key(tmp_path / "log.pem", 1)
    write_key(tmp_path / "w.pem", 2)
    code, _, err = modelward(
        "export", "store", "-o", "log", "--key", "log.pem", "--origin", "example.com/log"
    )
    assert code == 0
    (tmp_path / "log.vkey").write_text(re.search(r"public key: (\S+)", err)[1] + "\n")
    return tmp_path


def grow(folder, numbers):
    ledger = Ledger.open(folder / "store")
    ledger.append(*({"kind": "evidence", "n": i} for i in numbers))
    ledger.close()


def test_export_says_what_was_published(place, modelward):
    grow(place, [7])
    code, out, err = modelward(
        "export", "store", "-o", "log", "--key", "log.pem", "--origin", "example.com/log"
    )
    head = Ledger.open_read_only(place / "store").head()
    assert code == 0
    assert out == f"8 records, head {head.root}; 3 files written to log\n"
    assert "public key: example.com/log+" in err
    assert "log.pem: the private key is in clear" in err


def test_export_as_json(place, modelward):
    code, out, _ = modelward(
        "export", "store", "-o", "new", "--key", "log.pem", "--origin", "example.com/log",
        "--hashes-only", "--format", "json",
    )  # fmt: skip
    said = json.loads(out)
    assert code == 0
    assert said["schema"] == "modelward.ledger/1"
    assert (said["origin"], said["size"], said["written"]) == ("example.com/log", 7, 2)
    assert said["key"] == (place / "log.vkey").read_text().strip()
    assert len(said["root"]) == 64
    assert not (place / "new/tile/entries").exists()


def test_a_record_is_proven_and_verified(place, modelward):
    assert modelward("prove", "log", "--index", 3, "-o", "p.tlog-proof")[0] == 0
    assert stat.S_IMODE((place / "p.tlog-proof").stat().st_mode) == 0o600
    for key in ("log.vkey", "log.pub", (place / "log.vkey").read_text().strip()):
        code, out, _ = modelward("verify", "p.tlog-proof", "--public-key", key)
        assert code == 0
        assert (
            out
            == "verified: record 3 is in the log example.com/log of 7 records; signed by example.com/log\n"
        )


def test_a_proof_goes_to_the_screen_when_no_file_is_named(place, modelward):
    code, out, _ = modelward("prove", "log", "--index", 0)
    assert code == 0
    assert out.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert "\nindex 0\n" in out


def test_a_record_by_its_digest_and_without_it(place, modelward):
    assert modelward("prove", "log", "--index", 2, "--without-record", "-o", "p")[0] == 0
    words = ("verify", "p", "--public-key", "log.pub", "--format", "json")
    leaf = json.loads(modelward(*words, "--record", leaf_of(place, 2))[1])["leaf"]
    assert leaf == leaf_of(place, 2)
    assert modelward("prove", "store", "--record", leaf[:10], "-o", "q")[0] == 0
    assert b"\nindex 2\n" in (place / "q").read_bytes()
    code, _, err = modelward("verify", "p", "--public-key", "log.pub")
    assert code == 2
    assert "--record" in err


def leaf_of(folder, index):
    from modelward.ledger.merkle import leaf_hash

    return leaf_hash(list(Ledger.open_read_only(folder / "store").bodies())[index]).hex()


def test_what_verify_says_as_json(place, modelward):
    code, out, _ = modelward("verify", "log", "--public-key", "log.pub", "--format", "json")
    said = json.loads(out)
    assert code == 0
    assert {name: said[name] for name in ("schema", "verified", "reasons", "kind", "size", "records", "signer")} == {
        "schema": "modelward.ledger/1", "verified": True, "reasons": [], "kind": "tiles", "size": 7, "records": 7,
        "signer": "example.com/log",
    }  # fmt: skip


def test_what_does_not_hold_ends_with_1_and_says_why(place, modelward):
    path = place / "log/tile/entries/000.p/7"
    path.write_bytes(path.read_bytes().replace(b'"n":3', b'"n":4'))
    code, out, err = modelward("verify", "log", "--public-key", "log.pub", "--format", "json")
    assert code == 1
    assert json.loads(out) == {
        "schema": "modelward.ledger/1",
        "verified": False,
        "reasons": ["record 3 is not the one that the log committed to"],
    }
    assert "record 3 is not the one" in err
    code, out, err = modelward("verify", "log", "--public-key", "log.pub")
    assert (code, out) == (1, "")
    assert "Ask the ledger's keeper" in err


def test_a_store_that_was_altered_ends_with_2(place, modelward):
    path = place / "store/ledger.db"
    path.write_bytes(path.read_bytes().replace(b'"n":3', b'"n":4'))
    code, out, err = modelward("verify", "store")
    assert (code, out) == (2, "")
    assert "do not match the stored head" in err
    code, out, _ = modelward("verify", "store", "--format", "json")
    assert (code, json.loads(out)["verified"]) == (2, False)
    assert "do not match the stored head" in json.loads(out)["reasons"][0]


def test_a_store_alone_is_not_called_verified(place, modelward):
    """Who can write it could have written all of it anew, and its head with it."""
    code, out, _ = modelward("verify", "store")
    said, missed = out.splitlines()
    assert code == 0
    assert re.fullmatch("consistent in itself: 7 records, head [0-9a-f]{64}", said)
    assert missed.startswith("  not looked at: whether the store was rewritten: whoever can write it")
    told = json.loads(modelward("verify", "store", "--format", "json")[1])
    assert (told["verified"], [one["what"] for one in told["skipped"]]) == (
        True,
        ["whether the store was rewritten"],
    )
    head = said.split()[-1]
    assert modelward("verify", "store", "--head", head)[1] == f"verified: 7 records, head {head}\n"
    grow(place, [7])
    said, missed = modelward("verify", "store", "--head", head)[1].splitlines()
    assert re.fullmatch("verified: 8 records, head .*; continues the 7 records of before", said)
    assert missed.startswith("  not looked at: the records since: nobody signed them")


def test_an_older_head_and_the_log_that_was_published_since(place, modelward):
    head = re.search("head ([0-9a-f]{64})", modelward("verify", "store")[1])[1]
    grow(place, [7])
    words = ("export", "store", "-o", "log", "--key", "log.pem", "--origin", "example.com/log")
    assert modelward(*words)[0] == 0
    code, out, _ = modelward("verify", "log", "--head", head, "--public-key", "log.pub")
    assert code == 0
    assert out == (
        "verified: the log example.com/log of 8 records, which are at hand; signed by example.com/log; "
        "continues the 7 records of before\n"
    )
    code, out, _ = modelward("verify", "log", "--head", head)
    assert (code, out.count("not looked at: the records since")) == (0, 1)
    code, _, err = modelward("verify", "log/checkpoint", "--head", head)
    assert code == 1
    assert "ledger prove --since" in err


def test_one_record_is_one(tmp_path, modelward):
    grow(tmp_path, [0])
    assert modelward("verify", "store")[1].startswith("consistent in itself: 1 record, head")


def test_a_seal_is_verified_by_another_command(place, modelward):
    (place / "f.sealed").mkdir()
    (place / "f.sealed/seal.json").write_text("{}")
    for words in ((), ("--public-key", "log.pub"), ("--head", "00" * 32)):
        code, _, err = modelward("verify", "f.sealed", *words)
        assert code == 2
        assert "Verify it with `modelward verify f.sealed`." in err


def test_a_store_and_a_head_that_was_kept(place, modelward):
    code, out, _ = modelward("verify", "store")
    head = re.search("head ([0-9a-f]{64})", out)[1]
    assert code == 0
    grow(place, [7])
    assert modelward("verify", "store", "--head", head.upper())[0] == 0
    assert modelward("verify", "store", "--head", "00" * 32)[0] == 2
    code, _, err = modelward("verify", "store", "--head", "00")
    assert code == 2
    assert "is not a head" in err


def test_growth_against_a_checkpoint_that_was_kept(place, modelward):
    (place / "old").write_bytes((place / "log/checkpoint").read_bytes())
    grow(place, range(7, 30))
    assert (
        modelward("export", "store", "-o", "log", "--key", "log.pem", "--origin", "example.com/log")[0] == 0
    )
    assert modelward("prove", "log", "--since", 7, "-o", "growth.proof")[0] == 0
    for what in ("log", "growth.proof", "store"):
        code, out, _ = modelward("verify", what, "--public-key", "log.pub", "--since", "old")
        assert code == 0
        assert "continues the 7 records of before" in out
    code, _, err = modelward("verify", "old", "--public-key", "log.pub", "--since", "log/checkpoint")
    assert code == 1
    assert "has 7 records; an older one has 30" in err


def test_a_witness_from_the_first_checkpoint_to_a_fork(place, modelward):
    words = ("--key", "w.pem", "--state", "seen.json", "--public-key", "log.pub", "--name", "w.example")
    code, out, err = modelward("witness", "log", *words)
    assert (code, out) == (0, "")
    assert "cosigned example.com/log at 7 records; nothing was remembered of it, so it was believed" in err
    (place / "w.vkey").write_text(re.search(r"public key: (\S+)", err)[1])
    code, out, _ = modelward("verify", "log", "--public-key", "log.pub", "--witness", "w.vkey")
    assert code == 0
    assert "cosigned by w.example" in out
    code, _, err = modelward("witness", "log", *words)
    assert code == 0
    assert "believed" not in err
    other = place / "other"
    other.mkdir()
    grow(other, range(1, 12))
    words_of_log = ("--key", "log.pem", "--origin", "example.com/log")
    assert modelward("export", "other/store", "-o", "fork", *words_of_log)[0] == 0
    code, _, err = modelward("witness", "fork", *words)
    assert code == 1
    assert "does not begin with the one of 7" in err
    assert "w.example" not in (place / "fork/checkpoint").read_text()


def test_a_witness_of_a_request_prints_its_line(place, modelward):
    assert modelward("prove", "log", "--since", 0, "-o", "request")[0] == 0
    words = ("--key", "w.pem", "--state", "seen.json", "--public-key", "log.vkey")
    code, line, _ = modelward("witness", "request", *words)
    assert code == 0
    assert re.fullmatch(r"— witness-[0-9a-f]{16} [A-Za-z0-9+/=]+\n", line)
    code, _, err = modelward("witness", "request", *words)
    assert code == 1  # the request is from the empty log on, and the witness has seen seven records
    assert "from 0 records on, and one from 7" in err
    assert modelward("witness", "log/checkpoint", *words, "-o", "cosigned")[0] == 0
    code, out, _ = modelward(
        "verify", "cosigned", "--public-key", "log.vkey", "--witness", "w.pub", "--format", "json"
    )
    assert code == 0
    assert [w["name"] for w in json.loads(out)["witnesses"]] == [line.split()[1]]
    said = json.loads(modelward("witness", "log/checkpoint", *words, "--format", "json")[1])
    assert (said["origin"], said["size"]) == ("example.com/log", 7)


def test_too_few_witnesses(place, modelward):
    words = ("verify", "log", "--public-key", "log.pub", "--witness", "w.pub")
    code, _, err = modelward(*words)
    assert code == 1
    assert "0 of 1 witnesses" in err
    code, _, err = modelward(*words, "--threshold", 2)
    assert code == 2
    assert "2 of 1 witnesses" in err
    code, _, err = modelward("verify", "log", "--witness", "w.pub")
    assert code == 2
    assert "--public-key" in err


def test_a_clock_that_was_set_back(place, modelward, monkeypatch):
    words = ("witness", "log", "--key", "w.pem", "--state", "seen.json", "--public-key", "log.pub")
    module = importlib.import_module("modelward.cli.ledger")
    now = int(module.time.time())
    assert modelward(*words)[0] == 0
    monkeypatch.setattr(module.time, "time", lambda: float(now - 7200))
    code, _, err = modelward(*words)
    assert code == 1
    assert "the clock is" in err
    code, _, err = modelward("verify", "log", "--public-key", "log.pub", "--witness", "w.pub")
    assert code == 1
    assert "after the time that it is here" in err


def test_nothing_is_believed_without_a_key(place, modelward):
    modelward("prove", "log", "--index", 1, "-o", "p")
    for what in ("log", "p", "log/checkpoint"):
        code, _, err = modelward("verify", what)
        assert code == 2
        assert "nothing could be believed" in err
    assert modelward("verify", "p", "--public-key", "w.pub")[0] == 1


def test_an_unsigned_proof_and_a_head(place, modelward):
    assert modelward("prove", "store", "--index", 5, "-o", "p")[0] == 0
    head = Ledger.open_read_only(place / "store").head().root
    code, out, _ = modelward("verify", "p", "--head", head)
    assert code == 0
    assert out.startswith("verified: record ")
    assert out.endswith(f" is in a log with the head {head}, whose name and size nobody signed\n")
    assert modelward("verify", "p", "--head", "11" * 32)[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("prove", "log"),
        ("prove", "log", "--index", 1, "--record", "aaaaaaaa"),
        ("prove", "log", "--index", 7),
        ("prove", "log", "--index", -1),
        ("prove", "log", "--record", "abc"),
        ("prove", "nowhere", "--index", 0),
        ("verify", "nowhere", "--public-key", "log.pub"),
        ("verify", "log", "--public-key", "nowhere"),
        ("verify", "log", "--public-key", "log.pem"),
        ("verify", "log", "--public-key", "log.pub", "--threshold", 0),
        ("verify", "log", "--public-key", "log.pub", "--since", "nowhere"),
        ("witness", "log", "--key", "nowhere", "--state", "s", "--public-key", "log.pub"),
        ("witness", "log", "--key", "w.pem", "--state", "s"),
        ("witness", "log", "--key", "w.pem", "--public-key", "log.pub"),
        (
            "witness",
            "log",
            "--key",
            "w.pem",
            "--state",
            "s",
            "--public-key",
            "log.pub",
            "--name",
            "two words",
        ),
        ("export", "store", "-o", "log", "--key", "log.pem"),
        ("export", "nowhere", "-o", "log", "--key", "log.pem", "--origin", "x"),
        ("export", "store", "-o", "log.pem/x", "--key", "log.pem", "--origin", "x"),
        ("export", "postgresql://u:secret@h/d", "-o", "x", "--key", "log.pem", "--origin", "x"),
        ("nonsense",),
    ],
)
def test_what_cannot_be_done_ends_with_2(place, modelward, words):
    code, out, err = modelward(*words)
    assert (code, out) == (2, "")
    assert err
    assert "secret@" not in err


def test_a_proof_that_cannot_be_written(place, modelward):
    code, _, err = modelward("prove", "log", "--index", 0, "-o", "none/p")
    assert code == 2
    assert "cannot be written" in err


def test_an_encrypted_key_and_its_passphrase(place, modelward, monkeypatch):
    write_key(place / "guarded.pem", 3, SECRET)
    words = ("export", "store", "-o", "new", "--key", "guarded.pem", "--origin", "example.com/new")
    code, _, err = modelward(*words)
    assert code == 2
    assert "encrypted" in err
    (place / "wrong").write_bytes(b"wrong\n")
    (place / "right").write_bytes(SECRET + b"\n")
    for name in ("wrong", "right"):
        (place / name).chmod(0o600)
    code, _, err = modelward(*words, "--passphrase-file", "wrong")
    assert code == 2
    assert "wrong" in err
    assert modelward(*words, "--passphrase-file", "right")[0] == 0
    monkeypatch.setenv("MODELWARD_PASSPHRASE", SECRET.decode())
    code, out, err = modelward(*words)
    assert code == 0
    assert SECRET.decode() not in out + err


def test_a_key_in_the_environment(place, modelward, monkeypatch):
    monkeypatch.setenv("LOG_KEY", (place / "log.pem").read_text())
    code, _, err = modelward(
        "export", "store", "-o", "log", "--key", "env:LOG_KEY", "--origin", "example.com/log"
    )
    assert code == 0
    assert "PRIVATE" not in err


@pytest.mark.parametrize("verb", ["", "export", "prove", "verify", "witness"])
def test_help_has_an_example(modelward, verb):
    code, out, _ = modelward(*([verb] if verb else []), "--help")
    assert code == 0
    assert f"modelward ledger {verb}" in out.split("Example")[1]
    assert len(max(out.splitlines(), key=len)) <= 110


def test_names_from_a_file_do_not_steer_the_terminal(place, modelward):
    (place / "evil").write_bytes(
        (place / "log/checkpoint").read_bytes().replace(b"example.com/log\n7", b"\xc2\x9b2Jevil\n7")
    )
    code, out, err = modelward("verify", "evil", "--public-key", "log.vkey")
    assert code == 1
    assert "\x9b" not in out + err


def test_help_imports_nothing_heavy():
    code = (
        "import sys, modelward.cli.ledger as l\n"
        "heavy = {'cryptography', 'numpy', 'torch', 'pg8000', 'sqlite3', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[]\n"
