"""Every command that writes, killed at every step: the old or the new, never half, and once more ends well."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time

import pytest

from modelward.ledger.store import Ledger

SEAL = (
    "seal",
    "model",
    "-o",
    "model.sealed",
    "--key",
    "release.pem",
    "--recipient",
    "reader.pub",
    "--no-scan",
)
OPEN = ("open", "model.sealed", "-o", "opened", "--identity", "reader.pem", "--public-key", "release.pub")
VERIFY = ("verify", "model.sealed", "--public-key", "release.pub")
SIGN = ("seal", "model", "-o", "model.sig", "--signature-only", "--key", "release.pem")
CHECK = ("verify", "model", "--signature", "model.sig", "--public-key", "release.pub")


@pytest.fixture
def everywhere(modelward):
    """Run a command as often as it has steps, and let it die at each of them; `before` and `after` each time."""

    def run(words, before, after, how="kill"):
        before()
        whole = modelward(*words)
        assert whole.code == 0, whole
        assert len(whole.steps) >= 3, "a command that writes takes more steps"
        seen = set()
        for at, kind in enumerate(whole.steps, 1):
            if how == "torn" and "write" not in kind:
                continue
            before()
            ended = modelward(*words, at=at, how=how)
            assert ended.code == -signal.SIGKILL, (at, ended)
            seen.add(after(at))
        return seen

    return run


def aged(folder):
    """What killed processes left is removed once nobody can be writing it any more: a minute later."""
    then = time.time() - 90
    for path in folder.iterdir():
        os.utime(path, (then, then), follow_symlinks=False)


def restore(place, kept):
    shutil.rmtree(place, ignore_errors=True)
    if kept is not None:
        shutil.copytree(kept, place)


@pytest.mark.parametrize("how", ["kill", "torn"])
def test_sealing(how, here, everywhere, fine, tools):
    sealed = here / "model.sealed"

    def after(at):
        if sealed.exists():  # whole
            fine(*VERIFY)
        state = sealed.exists()
        if at % 5 == 0:
            restore(sealed, None)
            fine(*SEAL)
        return state

    seen = everywhere(SEAL, lambda: restore(sealed, None), after, how)
    assert seen == ({False, True} if how == "kill" else {False}), "a torn write is never in force"
    restore(sealed, None)
    aged(here)
    fine(*SEAL)
    fine(*OPEN)
    assert tools.content(here / "opened") == tools.OLD
    assert not list(here.glob(".*")), "nothing is left over"


@pytest.mark.parametrize("how", ["kill", "torn"])
def test_replacing(how, here, everywhere, fine, tools):
    sealed = here / "model.sealed"
    fine(*SEAL)
    shutil.copytree(sealed, here / "kept")
    old = tools.content(sealed)
    tools.plant(here / "model", tools.NEW)

    def after(at):
        found = tools.content(sealed)
        assert found is not None, "there is always one of the two"
        if found == old:
            return "old"
        fine(*VERIFY)
        if at % 5 == 0:
            fine(*SEAL, "--replace")
        return "new"

    seen = everywhere((*SEAL, "--replace"), lambda: restore(sealed, here / "kept"), after, how)
    assert seen == ({"old", "new"} if how == "kill" else {"old"})
    aged(here)
    fine(*SEAL, "--replace")
    fine(*OPEN)
    assert tools.content(here / "opened") == tools.NEW
    assert not list(here.glob(".*"))


@pytest.mark.parametrize("how", ["kill", "torn"])
def test_opening(how, here, everywhere, fine, tools):
    fine(*SEAL)
    opened = here / "opened"

    def after(_at):
        found = tools.content(opened)
        assert found in (None, tools.OLD)
        return found is None

    seen = everywhere(OPEN, lambda: restore(opened, None), after, how)
    assert seen == ({True, False} if how == "kill" else {True})
    restore(opened, None)
    aged(here)
    fine(*OPEN)
    assert not list(here.glob(".*")), "no plaintext is left over"


def test_amending(here, everywhere, fine, tools):
    """A second signature, and other recipients: the header is one file."""
    fine(*SEAL)
    sealed = here / "model.sealed"
    shutil.copytree(sealed, here / "kept")
    words = ("amend", "model.sealed", "--identity", "reader.pem", "--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
             "--key", "next.pem", "--public-key", "release.pub")  # fmt: skip

    def after(_at):
        fine(*VERIFY)
        recipients = json.loads((sealed / "seal.json").read_bytes())["recipients"]
        return len(recipients), len(list((sealed / "signatures").glob("*.json")))

    seen = everywhere(words, lambda: restore(sealed, here / "kept"), after)
    assert {count for count, _ in seen} == {1, 2}
    restore(sealed, here / "kept")
    fine(*words)
    fine(*VERIFY, "--public-key", "next.pub", "--threshold", "2")
    fine(*OPEN)
    assert tools.content(here / "opened") == tools.OLD


@pytest.mark.parametrize("words", [(), ("--statement", "tree", "--hash", "blake3")])
def test_signing(here, everywhere, fine, words, tools):
    fine(*SIGN, *words)
    kept = (here / "model.sig").read_bytes()
    tools.plant(here / "model", tools.NEW)

    def before():
        shutil.rmtree(here / "state", ignore_errors=True)
        (here / "model.sig").write_bytes(kept)

    def after(at):
        found = (here / "model.sig").read_bytes()
        if at % 4 == 0:
            fine(*SIGN, *words)
            fine(*CHECK)
        if found == kept:
            return "old"
        (here / "model.sig").write_bytes(found)
        fine(*CHECK)
        return "new"

    seen = everywhere((*SIGN, *words), before, after)
    assert "old" in seen
    fine(*SIGN, *words)
    fine(*CHECK)


def test_a_killed_signature_inside_the_model_is_no_part_of_it(here, everywhere, fine, tools):
    inside = ("seal", "model", "-o", "model/model.sig", "--signature-only", "--key", "release.pem")

    def before():
        shutil.rmtree(here / "state", ignore_errors=True)
        tools.plant(here / "model", tools.OLD)

    def after(_at):
        before_ = sorted(path.name for path in (here / "model").iterdir())
        fine(*inside)
        statement = (here / "model" / "model.sig").read_bytes()
        fine("verify", "model", "--signature", "model/model.sig", "--public-key", "release.pub")
        payload = json.loads(statement)["dsseEnvelope"]["payload"]
        import base64

        named = {one["name"] for one in json.loads(base64.b64decode(payload))["predicate"]["resources"]}
        assert named == set(tools.OLD), before_
        return True

    everywhere(inside, before, after)


@pytest.mark.parametrize("kind", ["ed25519", "x25519"])
def test_new_keys(here, everywhere, fine, modelward, kind):
    words = ("keys", "new", "made.pem", "--algorithm", kind, "--passphrase-file", "phrase")

    def before():
        for name in ("made.pem", "made.pem.pub"):
            (here / name).unlink(missing_ok=True)

    def after(_at):
        private, public = here / "made.pem", here / "made.pem.pub"
        assert not public.exists() or private.exists()
        if not private.exists():
            return "nothing"
        assert private.stat().st_mode & 0o777 == 0o600
        shown = fine("keys", "show", "made.pem", "--passphrase-file", "phrase", "--format", "json")
        if public.exists():
            assert json.loads(shown.out)["key"]["public"] == public.read_text()
            return "both"
        again = modelward(*words)
        assert (again.code, "is there already" in again.err) == (2, True)
        return "private"

    seen = everywhere(words, before, after)
    assert {"nothing", "both"} <= seen


def test_a_revocation(here, everywhere, fine):
    ring = here / "ring.json"
    owner = ("--key", "owner.pem")
    fine("keys", "ring", "new", "ring.json", "--owner", "owner.pub", *owner)
    fine("keys", "ring", "add", "ring.json", "release.pub", "--name", "release", *owner)
    fine(*SEAL)
    kept = ring.read_bytes()
    words = ("keys", "ring", "revoke", "ring.json", "release", "--reason", "stolen", *owner)
    trusted = ("verify", "model.sealed", "--keyring", "ring.json", "--owner", "owner.pub", "--format", "json")
    fine(*trusted)

    def before():
        shutil.rmtree(here / "state", ignore_errors=True)
        ring.write_bytes(kept)

    def after(_at):
        shown = fine("keys", "ring", "show", "ring.json", "--owner", "owner.pub", "--format", "json")
        return len(json.loads(shown.out)["keyring"]["revoked_keys"])

    assert everywhere(words, before, after) == {0, 1}
    before()
    fine(*words)
    assert not list(here.glob(".ring*"))


def test_publishing_a_ledger(here, everywhere, fine):
    """A checkpoint names only what is there already, whenever the publisher died."""

    def grow(numbers):
        ledger = Ledger.open(here / "store")
        ledger.append(*({"kind": "evidence", "n": i} for i in numbers))
        ledger.close()

    words = ("ledger", "export", "store", "-o", "log", "--key", "log.pem", "--origin", "example.com/log")
    grow(range(250))
    said = fine(*words).err
    (here / "log.vkey").write_text(re.search(r"public key: (\S+)", said)[1] + "\n")
    shutil.copytree(here / "log", here / "kept")
    grow(range(250, 260))

    def after(_at):
        verified = fine("ledger", "verify", "log", "--public-key", "log.vkey", "--format", "json")
        return json.loads(verified.out)["size"]

    seen = everywhere(words, lambda: restore(here / "log", here / "kept"), after)
    assert seen == {250, 260}
    fine(*words)
    assert after(0) == 260
