"""Disks that are full, files that change, names that cannot be, clocks that run back, containers that are mixed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

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
VERIFY = ("verify", "model.sealed", "--public-key", "release.pub", "--format", "json")
SIGN = ("seal", "model", "-o", "model.sig", "--signature-only", "--key", "release.pem")
MIB = 1 << 20


@pytest.fixture
def verdict(modelward):
    """Exit code and the name of the refusal."""

    def run(*words):
        ended = modelward(*words)
        return ended.code, json.loads(ended.out)["refusal"] if ended.out else ended.err

    return run


@pytest.mark.parametrize("words", [SEAL, (*SEAL, "--replace"), OPEN, SIGN, (*SIGN, "--statement", "tree")])
def test_a_disk_that_fills_at_every_step(here, modelward, fine, tools, words):
    """Nothing that was there is touched, and what says so is one sentence."""
    if words is not SEAL:
        fine(*SEAL)
    old = tools.content(here / "model.sealed")
    for at, kind in enumerate(modelward(*words).steps, 1):
        for name in ("opened", "state", *(() if old else ("model.sealed",))):
            shutil.rmtree(here / name, ignore_errors=True)
        (here / "model.sig").unlink(missing_ok=True)
        if old and "--replace" in words:
            shutil.rmtree(here / "model.sealed")
            tools.plant(here / "model.sealed", old)
        ended = modelward(*words, at=at, how="full")
        assert ended.code in {0, 2}, ended
        if ended.code == 2:
            assert "disk is full" in ended.err or "No space left" in ended.err, ended
            found = tools.content(here / "model.sealed")
            if found != old:  # it was in its place already, and the disk failed while that was made to last
                fine(*VERIFY)
            assert tools.content(here / "opened") in (None, tools.OLD)
        left = list(here.glob(".model*"))
        assert not left or kind in {"os.remove", "os.rmdir"}, "a failure cleans up after itself"
        for folder in left:  # the next run would remove what could not be removed, after a minute
            shutil.rmtree(folder)


def test_a_disk_of_one_mebibyte(here, spawned, fine, tools):
    """A real one, mounted for the one process alone."""
    small = tools.private_mounts()
    (here / "disk").mkdir()
    (here / "model" / "weights.bin").write_bytes(os.urandom(2 * MIB))
    words = [*SEAL]
    words[3] = "disk/model.sealed"
    ended = spawned(*words, prefix=[*small, "sh", "-c", '"$@"; code=$?; ls -A disk >&2; exit $code', "sh"])
    assert ended.code == 2
    assert "disk/model.sealed: the disk is full" in ended.err
    assert ended.err.rstrip().endswith("nothing was changed."), "and the disk is empty again"
    fine(*SEAL)
    words = [*OPEN]
    words[3] = "disk/opened"
    ended = spawned(*words, prefix=small)
    assert (ended.code, "the disk is full" in ended.err) == (2, True)


def test_files_that_may_not_grow(here, spawned):
    (here / "model" / "weights.bin").write_bytes(bytes(2 * MIB))
    ended = spawned(*SEAL, largest=MIB)
    assert ended.code == 2
    assert "file too large" in ended.err.lower()
    assert not (here / "model.sealed").exists()


UNPRIVILEGED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
if os.geteuid() == 0:  # permissions bind root too without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert not any(libc.prctl(24, capability, 0, 0, 0) for capability in (1, 2))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("words", [SEAL, SIGN])
def test_a_file_that_cannot_be_read(here, spawned, words, tools):
    (here / "model" / "weights.bin").chmod(0)
    ended = spawned(*words, prefix=[sys.executable, "-c", UNPRIVILEGED])
    assert ended.code == 2
    assert "weights.bin" in ended.err
    assert not (here / "model.sealed").exists()
    assert not (here / "model.sig").exists()


@pytest.mark.parametrize("words", [SEAL, SIGN, (*SIGN, "--statement", "tree")])
def test_a_file_that_grows_meanwhile(here, spawned, words):
    """Either it was hashed before or after, or the command says that it changed."""
    path = here / "model" / "weights.bin"
    path.write_bytes(bytes(40 * MIB))
    stop = threading.Event()

    def grow():
        with path.open("ab") as stream:
            while not stop.wait(0.002):
                stream.write(b"more")
                stream.flush()

    writer = threading.Thread(target=grow)
    try:
        ended = spawned(*words, before=lambda _: writer.start())
    finally:
        stop.set()
        writer.join()
    assert ended.code == 2
    assert "weights.bin" in ended.err
    assert "changed" in ended.err
    assert not (here / "model.sealed").exists()
    assert not (here / "model.sig").exists()


def link_outside(model):
    (model / "link").symlink_to("/etc/hostname")


def link_around(model):
    (model / "link").symlink_to("../release.pem")


def folder_outside(model):
    (model / "link").symlink_to("/etc")


def loop(model):
    (model / "b" / "loop").symlink_to("..")


def folded(model):
    (model / "WEIGHTS.BIN").write_bytes(b"x")


def composed(model):
    (model / "caf\u00e9").write_bytes(b"x")
    (model / "cafe\u0301").write_bytes(b"y")


def pipe(model):
    os.mkfifo(model / "pipe")


def no_text(model):
    os.close(os.open(os.fsencode(model) + b"/\xff", os.O_CREAT | os.O_WRONLY))


@pytest.mark.parametrize(
    "words", [SEAL, (*SEAL, "--links"), SIGN, (*SIGN, "--links"), (*SIGN, "--statement", "tree")]
)
@pytest.mark.parametrize(
    "plant", [link_outside, link_around, folder_outside, loop, folded, composed, pipe, no_text]
)
def test_names_and_links_that_are_not_sealed(here, modelward, plant, words):
    plant(here / "model")
    ended = modelward(*words)
    assert ended.code == 2, ended
    assert not (here / "model.sealed").exists()
    assert not (here / "model.sig").exists()


def test_ten_thousand_files(here, fine, tools):
    shutil.rmtree(here / "model")
    for number in range(10_000):
        if not number % 500:
            (here / "model" / f"{number // 500:03d}").mkdir(parents=True)
        (here / "model" / f"{number // 500:03d}" / f"{number:05d}").write_bytes(b"%d" % number)
    fine(*SEAL)
    fine(*VERIFY)
    fine(*OPEN)
    opened = {path.name: path.stat().st_size for path in (here / "opened").glob("*/*")}
    assert opened == {f"{number:05d}": len(str(number)) for number in range(10_000)}


def test_a_file_of_no_bytes_alone(here, fine, tools):
    (here / "model.bin").touch()
    words = [*SEAL]
    words[1] = "model.bin"
    fine(*words)
    fine(*VERIFY)
    fine(*OPEN)
    assert tools.content(here / "opened") == {"model.bin": b""}


@pytest.mark.parametrize(
    "words", [SIGN, (*SIGN, "--statement", "tree", "--hash", "blake3"), (*SIGN, "--shards")]
)
def test_a_large_sparse_file_takes_little_memory(here, spawned, words):
    with (here / "model" / "weights.bin").open("wb") as stream:
        stream.truncate(450 * MIB)
    ended = spawned(*words, memory=450 * MIB)
    assert ended.code == 0, ended
    ended = spawned(
        "verify", "model", "--signature", "model.sig", "--public-key", "release.pub", memory=450 * MIB
    )
    assert ended.code == 0, ended


def test_sealing_and_opening_take_little_memory(here, spawned):
    with (here / "model" / "weights.bin").open("wb") as stream:
        stream.truncate(200 * MIB)
    for words in (SEAL, VERIFY, OPEN):
        ended = spawned(*words, memory=450 * MIB)
        assert ended.code == 0, ended


@pytest.mark.parametrize("words", [SEAL, OPEN])
def test_a_place_that_is_a_link_to_itself(here, fine, modelward, words):
    if words is OPEN:
        fine(*SEAL)
    (here / words[3]).symlink_to(words[3])
    ended = modelward(*words)
    assert ended.code == 2, ended
    assert words[3] in ended.err


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(here, modelward, monkeypatch):
    """It took its place after the folder was walked, before what loading it can do was inspected."""
    from modelward.verbs import scan_files

    def piped(paths, *rest):
        for path in (found := list(paths)):
            path.unlink()
            os.mkfifo(path)
        return real(found, *rest)

    real = scan_files.inspect_all
    monkeypatch.setattr(scan_files, "inspect_all", piped)
    ended = modelward(*SEAL[:-1])
    assert ended.code == 2, ended
    assert "is not a regular file" in ended.err
    assert not (here / "model.sealed").exists()


def test_a_seal_that_is_replaced_while_it_is_verified_is_not_called_altered(
    here, fine, monkeypatch, modelward
):
    from modelward.vault.container import reading

    def replaced(*words):
        (here / "model.sealed").rename(here / "old.sealed")
        (here / "new.sealed").rename(here / "model.sealed")
        return real(*words)

    fine(*SEAL)
    fine(*SEAL[:3], "new.sealed", *SEAL[4:])
    real = reading.hash_tree
    monkeypatch.setattr(reading, "hash_tree", replaced)
    ended = modelward(*VERIFY)
    assert ended.code == 2, ended
    assert "model.sealed: was replaced while it was read" in ended.err
    monkeypatch.undo()
    fine(*VERIFY)


@pytest.fixture
def ring(here, fine):
    """A keyring in which the key that seals is valid for a year, and a seal by it."""
    now = datetime.now(UTC)
    fine("keys", "ring", "new", "ring.json", "--owner", "owner.pub", "--key", "owner.pem")
    until = (now + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fine(
        "keys",
        "ring",
        "add",
        "ring.json",
        "release.pub",
        "--name",
        "release",
        "--until",
        until,
        "--key",
        "owner.pem",
    )
    fine(*SEAL)
    return ("--keyring", "ring.json", "--owner", "owner.pub", "--format", "json")


def test_an_expired_key_and_one_that_is_not_valid_yet(here, ring, verdict):
    assert verdict("verify", "model.sealed", *ring) == (0, None)
    for days in (-30, 400):
        moment = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")
        assert verdict("verify", "model.sealed", *ring, "--moment", moment)[1] in {"KeyExpired", "RolledBack"}
    opened = (
        "open",
        "model.sealed",
        "-o",
        "opened",
        "--identity",
        "reader.pem",
        "--keyring",
        "ring.json",
        "--owner",
        "owner.pub",
    )
    code, said = verdict(*opened, "--moment", moment)
    assert code == 1
    assert "valid" in said
    assert not (here / "opened").exists()


def test_a_clock_that_was_set_back(here, ring, verdict):
    assert verdict("verify", "model.sealed", *ring) == (0, None)
    state = here / "state" / "modelward" / "seen.json"
    seen = json.loads(state.read_bytes())
    seen["moment"] = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    state.write_bytes(json.dumps(seen, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    assert verdict("verify", "model.sealed", *ring) == (1, "RolledBack")


def test_a_keyring_that_was_put_back(here, ring, verdict, fine):
    older = (here / "ring.json").read_bytes()
    fine("keys", "ring", "revoke", "ring.json", "release", "--reason", "stolen", "--key", "owner.pem")
    assert verdict("verify", "model.sealed", *ring) == (1, "Revoked")
    (here / "ring.json").write_bytes(older)
    assert verdict("verify", "model.sealed", *ring) == (1, "RolledBack")


@pytest.mark.parametrize("plain", [False, True])
def test_pieces_of_another_container_by_the_same_signer(  # noqa: PLR0917 (fixtures)
    here, fine, verdict, modelward, tools, plain
):
    """Every file of one container put into the other, alone and with those that belong to it."""
    words = [word for word in SEAL if not plain or word not in {"--recipient", "reader.pub"}]
    fine(*words)
    tools.plant(here / "model", {name: data[::-1] + b"!" for name, data in tools.OLD.items()})
    other = ["other.sealed" if word == "model.sealed" else word for word in words]
    fine(*other)
    one, two = tools.content(here / "model.sealed"), tools.content(here / "other.sealed")
    assert one.keys() == two.keys()
    groups = [{name} for name in one]
    groups += [{name for name in one if name.startswith(top)} for top in ("data/", "manifest", "signatures/")]
    groups += [
        {name for name in one if not name.startswith(top)} for top in ("data/", "seal.json", "signatures/")
    ]
    for names in groups:
        tools.plant(here / "model.sealed", {**one, **{name: two[name] for name in names}})
        code, refusal = verdict(*VERIFY)
        opened = modelward(*OPEN)
        if names == {"seal.json"} or names == set(one) - {"seal.json"}:
            assert code == 1
        assert (code, opened.code) == (1, 1), names
        assert refusal in {"SealDamaged", "ContentChanged", "SignatureInvalid", "SignerMissing"}, refusal
        assert not (here / "opened").exists()


def change(sealed, name, act):
    value = json.loads((sealed / name).read_bytes())
    act(value)
    (sealed / name).write_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def to_plain(sealed):
    """What is encrypted is said to lie in clear, for everybody."""
    change(sealed, "seal.json", lambda value: value.update(encryption="none", mac="", recipients=[]))
    (sealed / "manifest.floe").rename(sealed / "manifest.json")


def to_weaker_hash(sealed):
    change(sealed, "seal.json", lambda value: value.update(hash="sha256"))


def to_older_format(sealed):
    change(sealed, "seal.json", lambda value: value.update(format="modelward.seal/0"))


def without_signatures(sealed):
    shutil.rmtree(sealed / "signatures")


def without_recipients(sealed):
    change(sealed, "seal.json", lambda value: value.update(recipients=[]))


def with_something_else(sealed):
    (sealed / "run.sh").write_text("echo no")


@pytest.mark.parametrize(
    "act",
    [to_plain, to_weaker_hash, to_older_format, without_signatures, without_recipients, with_something_else],
)
def test_a_container_that_is_said_to_be_less(here, fine, modelward, verdict, act):
    fine(*SEAL)
    act(here / "model.sealed")
    assert verdict(*VERIFY)[0] == 1
    ended = modelward(*OPEN)
    assert ended.code == 1
    assert not (here / "opened").exists()
