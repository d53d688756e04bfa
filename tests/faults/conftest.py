"""The command line as a real process that dies, or finds the disk full, at a chosen step."""

from __future__ import annotations

import errno
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds after which a process that hangs is ended
EVENTS = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "os.link",
    "os.truncate",
    "os.symlink",
}
CALLS = ("write", "pwrite", "fsync")


class Ended(NamedTuple):
    """How a process ended: exit code (negative: a signal), what it said, the steps it took where it ended itself."""

    code: int
    out: str
    err: str
    steps: tuple[str, ...]


class Trap:
    """Counts every step that changes the file system; at one of them, it ends the process or fails."""

    def __init__(self, at, how):
        self.at, self.how, self.kinds = at, how, []

    def step(self, kind, short=None):
        self.kinds.append(kind)
        if len(self.kinds) != self.at:
            return
        if self.how == "torn" and short is not None:
            short()
        if self.how in {"kill", "torn"}:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC if self.how == "full" else errno.EIO, "No space left on device")

    def set(self):
        for name in CALLS:
            setattr(os, name, self.wrapped(name, getattr(os, name)))
        from modelward.vault.container import placing

        placing._rename = self.wrapped("rename", placing._rename)
        sys.addaudithook(self.heard)

    def wrapped(self, name, real):
        def half(handle, data, *place):
            real(handle, data[: len(data) // 2], *place)

        def call(*words, **more):
            if words[0] not in {1, 2}:  # what it says is no step
                self.step(name, partial(half, *words) if "write" in name else None)
            return real(*words, **more)

        return call

    def heard(self, event, words):
        writing = event == "open" and isinstance(words[2], int) and words[2] & (os.O_CREAT | os.O_TRUNC)
        if event in EVENTS or writing:
            self.step(event)


def child(words, trap, folder):
    """What happens after the fork; it does not return."""
    code = 70
    try:
        signal.alarm(PATIENCE)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.environ.update(HOME=str(folder), XDG_STATE_HOME=str(folder / "state"), COLUMNS="100")
        counted = os.open(".steps", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        from modelward.cli import main

        report = os.write
        trap.set()
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        trap.at = None
        report(counted, " ".join(trap.kinds).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture(scope="session")
def loaded():
    """What the commands load, loaded once, so that no process after the fork has to."""
    for name in LOADED:
        importlib.import_module(f"modelward.{name}")


LOADED = (
    "cli.seal", "cli.open", "cli.verify", "cli.amend", "cli.keys", "cli.ledger", "verbs.seal", "verbs.sign",
    "verbs.unseal", "verbs.verify", "verbs.amend", "verbs.keys", "verbs.ledger", "verbs.ledger_verify",
    "verbs.attest", "vault.container.opening", "vault.container.rotation", "vault.container.recipients",
    "vault.keys.making", "vault.keys.editing", "reporting.verification", "verbs.report",
)  # fmt: skip


@pytest.fixture
def modelward(tmp_path, loaded):
    """Run the command line in a process of its own: ``modelward(*words, at=3, how="kill")``.

    Args:
        at: the step, from 1, at which it dies or fails; null for never.
        how: `kill`: before the step; `torn`: a write is done by half first; `full`: the disk is full.
    """

    def run(*words, at=None, how="kill"):
        pid = os.fork()
        if not pid:
            child(words, Trap(at, how), tmp_path)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out, err = ((tmp_path / name).read_text(errors="replace") for name in (".out", ".err"))
        steps = tuple((tmp_path / ".steps").read_text().split())
        for name in (".out", ".err", ".steps"):
            (tmp_path / name).unlink()
        assert "Traceback" not in err, err
        return Ended(code, out, err, steps)

    return run


@pytest.fixture
def fine(modelward):
    """The same, and it must end well."""

    def run(*words):
        ended = modelward(*words)
        assert ended.code == 0, ended
        return ended

    return run


@pytest.fixture
def spawned(tmp_path):
    """Run the command line in a fresh interpreter, with bounds: exit code, standard error, peak bytes in memory."""

    def run(*words, before=None, memory=None, largest=None, prefix=()):
        def prepare():
            # A shell that runs the tests in its background ignores Ctrl-C, and children inherit that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for kind, bound in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, largest)):
                if bound is not None:
                    resource.setrlimit(kind, (bound, bound))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        code = "from modelward.cli import main; main()"
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, *map(str, words)],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(tmp_path),
                "XDG_STATE_HOME": str(tmp_path / "state"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=prepare,  # noqa: PLW1509 (no other thread runs while a test starts a command)
            text=True,
        )
        if before is not None:
            before(process)
        out, err = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err, ())

    return run


def write_pair(private, key):
    none, form = s.NoEncryption(), s.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(s.Encoding.PEM, form, none))
    private.chmod(0o600)
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    private.with_suffix(".pub").write_bytes(public)


@pytest.fixture
def here(tmp_path):
    """A folder with a model, a signer's, an owner's and a recipient's key, and a passphrase."""
    for seed, name in enumerate(("release", "owner", "next", "log"), 1):
        key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        write_pair(tmp_path / f"{name}.pem", key)
    write_pair(tmp_path / "reader.pem", x25519.X25519PrivateKey.from_private_bytes(bytes([9]) * 32))
    (tmp_path / "phrase").write_text("correct horse battery staple\n")
    (tmp_path / "phrase").chmod(0o600)
    plant(tmp_path / "model", OLD)
    return tmp_path


OLD = {"weights.bin": b"the old weights" * 500, "b/empty": b"", "b/README.md": b"old\n"}
NEW = {"weights.bin": b"the new weights" * 90_000, "b/empty": b"", "b/added": b"new\n"}


def plant(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def content(folder):
    """Every file of a folder; null where there is none."""
    if not folder.exists():
        return None
    if folder.is_file():
        return folder.read_bytes()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tools():
    """Helpers that tests of this folder share."""
    return Tools


class Tools:
    """See the functions of the same names."""

    OLD, NEW = OLD, NEW
    plant, content = staticmethod(plant), staticmethod(content)

    @staticmethod
    def private_mounts():
        """The words that run a command with a disk of 1 MiB at ``disk``; skip where that is not allowed."""
        script = 'mount -t tmpfs -o size=1m tmpfs disk && exec "$@"'
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
        if (
            os.geteuid()
            or subprocess.run(
                [*words, "mount -t tmpfs none /mnt"], check=False, capture_output=True
            ).returncode
        ):
            pytest.skip("only root can mount a small disk for one process")
        return [*words, script, "sh"]
