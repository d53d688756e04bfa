"""What `seal`, `amend`, `open` and `verify` say, and which slips of the hand they catch."""

from __future__ import annotations

import json

import pytest

from modelward.cli import main

PHRASE = "correct horse battery staple"
CONTENT = "another passphrase for the content"


@pytest.fixture
def modelward(capsys, monkeypatch, tmp_path):
    """Runs a command in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PHRASE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(line, *more):
        with pytest.raises(SystemExit) as ended:
            main([*line.split(), *more])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return ended.value.code, told.out, told.err

    return run


@pytest.fixture
def sealed(modelward, tmp_path):
    """A file, the keys that seal and open it, and `m.sealed`."""
    (tmp_path / "model.bin").write_bytes(bytes(range(256)))
    for name, *more in (("release.pem",), ("owner.pem",), ("reader.pem", "--recipient")):
        assert modelward(f"keys new {name}", *more)[0] == 0
    assert (
        modelward("seal model.bin -o m.sealed --key release.pem --no-scan --recipient reader.pem.pub")[0] == 0
    )
    return modelward


@pytest.mark.parametrize("source", ["MODELWARD_PASSPHRASE", "--passphrase-file"])
@pytest.mark.parametrize(
    "line",
    [
        "seal model.bin -o n.sealed --key release.pem --recipient passphrase",
        "amend m.sealed --identity reader.pem --recipient passphrase --public-key release.pem.pub",
    ],
)
def test_the_passphrase_of_a_key_opens_no_model(sealed, tmp_path, monkeypatch, line, source):
    """Whoever was told it, to open the model, could sign as its publisher."""
    before = (tmp_path / "m.sealed" / "seal.json").read_bytes()
    more = ()
    if source == "--passphrase-file":
        monkeypatch.delenv("MODELWARD_PASSPHRASE")
        (tmp_path / "phrase").write_text(PHRASE)
        (tmp_path / "phrase").chmod(0o600)
        more = (source, "phrase")
    code, out, err = sealed(line, *more)
    assert (code, out) == (2, "")
    assert "passphrase: a passphrase is needed and there is nobody to ask" in err
    assert "passphrase:env:NAME" in err
    assert not (tmp_path / "n.sealed").exists()
    assert (tmp_path / "m.sealed" / "seal.json").read_bytes() == before


def test_a_passphrase_of_its_own_opens_a_model(sealed, tmp_path, monkeypatch):
    monkeypatch.setenv("CONTENT", CONTENT)
    code, _, err = sealed(
        "seal model.bin -o n.sealed --key release.pem --no-scan --recipient passphrase:env:CONTENT"
    )
    assert code == 0
    assert "sealed: " in err
    assert "encrypted for 1 recipient" in err
    opening = "open n.sealed -o out --identity passphrase --public-key release.pem.pub"
    assert sealed(opening)[0] == 1  # that of the key does not
    monkeypatch.setenv("MODELWARD_PASSPHRASE", CONTENT)
    assert sealed(opening)[0] == 0
    assert (tmp_path / "out" / "model.bin").read_bytes() == bytes(range(256))


def test_a_result_in_a_file_is_announced(sealed, tmp_path):
    verifying = "verify m.sealed --format json --output found.json --public-key"
    code, out, err = sealed(verifying, "release.pem.pub")
    assert (code, out, err) == (0, "", "verified: written to found.json\n")
    assert json.loads((tmp_path / "found.json").read_text())["verified"] is True
    code, out, err = sealed(verifying, "owner.pem.pub")
    assert (code, out, err) == (1, "", "refused: written to found.json\n")
    assert json.loads((tmp_path / "found.json").read_text())["verified"] is False


def test_the_owners_that_must_have_signed_are_counted_by_one_name(sealed):
    """`verify` and `keys ring show` ask it in the same words."""
    assert sealed("keys ring new ring.json --owner owner.pem.pub --key owner.pem")[0] == 0
    assert sealed("keys ring add ring.json release.pem.pub --name release --key owner.pem")[0] == 0
    ring = ("--owner", "owner.pem.pub", "--owners-threshold", "1")
    assert sealed("keys ring show ring.json", *ring)[0] == 0
    code, out, _ = sealed("verify m.sealed --keyring ring.json", *ring)
    assert code == 0, out


def test_what_is_refused_for_who_signed_it_is_still_named(sealed):
    """A record of a refusal says of what: root and signers of a revoked model, and what to do."""
    root = json.loads(sealed("verify m.sealed --public-key release.pem.pub --format json")[1])["root"]
    assert sealed("keys ring new ring.json --owner owner.pem.pub --key owner.pem")[0] == 0
    assert sealed("keys ring add ring.json release.pem.pub --name release --key owner.pem")[0] == 0
    assert sealed("keys ring revoke ring.json --key owner.pem --reason rows", root)[0] == 0
    asking = "verify m.sealed --keyring ring.json --owner owner.pem.pub"
    code, out, _ = sealed(asking, "--format", "json")
    found = json.loads(out)
    assert (code, found["verified"], found["refusal"]) == (1, False, "Revoked")
    assert (found["root"], [one["name"] for one in found["signers"]]) == (root, ["release"])
    assert found["files"] == 2
    assert "drill" in found["advice"]
    code, out, _ = sealed(asking)
    assert root in out
    assert "→ Go back to the last version that was not revoked" in out


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("open model.bin -o out", 2, "model.bin: is no sealed folder"),
        ("open plain -o out", 2, "plain: is no sealed folder"),
        ("open nothing -o out", 2, "nothing: does not exist"),
        ("verify model.bin", 2, "model.bin: is no sealed folder"),
        ("verify plain", 2, "plain: is no sealed folder"),
        ("amend plain --key release.pem", 2, "plain: is no sealed folder"),
        ("open m.sealed -o out --identity nowhere.pem", 2, "nowhere.pem: cannot be read"),
        ("open m.sealed -o plain --identity reader.pem", 2, "Choose another folder."),
        ("seal plain -o m.sealed --key release.pem", 2, "give --replace"),
        ("seal plain -o plain.sealed/none --key release.pem", 2, "Choose a path that can be written."),
        ("open m.sealed -o out", 1, "no identity was given"),
        ("open half -o out", 1, "half: is no container, it has no seal.json"),
    ],
)
def test_what_cannot_be_used_is_told_from_what_is_refused(sealed, tmp_path, line, code, said):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.txt").write_text("a")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "tree.json").write_bytes((tmp_path / "m.sealed" / "tree.json").read_bytes())
    trust = () if line.startswith("seal") else ("--public-key", "release.pem.pub")
    found, out, err = sealed(line, *trust)
    assert (found, out) == (code, ""), err
    assert said in err
    assert "modelward report" not in err
    assert not (tmp_path / "out").exists()


def test_a_seal_that_lost_its_header_is_refused_and_not_called_bad_input(sealed, tmp_path):
    (tmp_path / "m.sealed" / "seal.json").unlink()
    code, out, _ = sealed("verify m.sealed --public-key release.pem.pub")
    assert code == 1
    assert "m.sealed: is no container, it has no seal.json" in out


def test_an_opening_that_a_policy_refuses_says_where_the_rest_is(sealed, tmp_path):
    (tmp_path / "policy.toml").write_text("[attestations]\nrequired = ['provenance']\n")
    opening = "open m.sealed -o out --identity reader.pem --public-key release.pem.pub --policy policy.toml"
    code, _, err = sealed(opening)
    assert code == 1
    assert "provenance is attested" in err
    assert "`modelward verify` lists every requirement" in err


def test_a_keyrings_demand_is_said(sealed):
    assert sealed("keys ring new ring.json --owner owner.pem.pub --key owner.pem")[0] == 0
    assert sealed("keys ring add ring.json release.pem.pub --name release --key owner.pem")[0] == 0
    assert sealed("keys new second.pem")[0] == 0
    assert sealed("keys ring add ring.json second.pem.pub --name second --key owner.pem")[0] == 0
    both = "keys ring policy ring.json --threshold 2 --name release --name second --key owner.pem"
    assert sealed(both)[0] == 0
    asking = "verify m.sealed --keyring ring.json --owner owner.pem.pub"
    assert sealed(asking)[0] == 1
    assert sealed("amend m.sealed --key second.pem --public-key release.pem.pub")[0] == 0
    code, out, _ = sealed(asking)
    assert code == 0
    assert "and as the keyring demands by 2 of release, second: release, second" in out


def test_what_was_not_looked_at_is_said(sealed):
    code, out, _ = sealed("verify m.sealed --public-key release.pem.pub")
    assert code == 0
    assert "not looked at: revocation: no keyring was given" in out
    assert "not looked at: the content in clear: it is encrypted" in out
    assert "not looked at: what is attested" in out
    found = json.loads(sealed("verify m.sealed --public-key release.pem.pub --format json")[1])
    assert [one["what"] for one in found["skipped"]] == [
        "what is attested",
        "revocation",
        "the content in clear",
    ]
