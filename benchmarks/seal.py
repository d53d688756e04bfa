"""Whole commands: sealing, verifying, opening and signing beside what others do the same with, in one run.

python benchmarks/seal.py [--mebibytes 1024] [--repeat 3] [--sparse 100] [--folder TMPFS]

One file of random bytes and a small model (2 MB in 12 files). Each command is a process of its own, its start
included; all take turns, and the least wall time, the least CPU seconds and the most memory of the runs are
shown (of other programs at least this script's own 32 MiB). GB per CPU second is of what is sealed. A seal of
modelward is hashed and signed besides, and made durable; openssl's AES-CTR authenticates nothing. The last
lines compare with the goals of docs/design/0005-seal.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seal_sign import OURS, THEIRS, keys

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))


HASH = """
import hashlib, os, sys, time
from blake3 import blake3
make, mib = {"sha256": hashlib.sha256, "blake3": blake3}[sys.argv[1]], 1 << 20
data, rates = memoryview(os.urandom(256 * mib)), []  # more than caches hold
for _ in range(3):
    began = time.perf_counter()
    for start in range(0, len(data), mib):
        make(data[start : start + mib])
    rates.append(len(data) / 1e9 / (time.perf_counter() - began))
print(max(rates))
"""


class Run(NamedTuple):
    """Seconds, and MiB of memory at most."""

    wall: float
    cpu: float
    peak: float


class Task(NamedTuple):
    """One command, what it writes (removed before it runs), and what it needs to be there."""

    words: list[str]
    output: Path | None = None


def measure(task: Task) -> Run:
    """One run of a command that must succeed."""
    if task.output is not None:
        shutil.rmtree(task.output) if task.output.is_dir() else task.output.unlink(missing_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(task.words, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{task.words}: {process.returncode}\n{said.read().decode(errors='replace')}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def best(runs: Iterable[Run]) -> Run:
    """The least time, and the most memory."""
    walls, cpus, peaks = zip(*runs, strict=True)
    return Run(min(walls), min(cpus), max(peaks))


def recipients(folder: Path) -> dict[str, str]:
    """A key pair for each program that encrypts to one; they guard nothing."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import x25519

    key = x25519.X25519PrivateKey.generate()
    (folder / "reader.pem").write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    )
    (folder / "reader.pem").chmod(0o600)
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    (folder / "reader.pub").write_bytes(public)
    made = subprocess.run(
        ["age-keygen", "-o", str(folder / "age.key")], check=True, capture_output=True, text=True
    )
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    os.environ["GNUPGHOME"] = str(home)
    quiet = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    subprocess.run([*quiet, "--quick-gen-key", "bench", "future-default", "default", "never"], check=True)
    (folder / "phrase").write_text("correct horse battery staple\n")
    return {"age": made.stderr.split()[-1]}


def signing(model: Path, private: Path, public: Path) -> dict[str, dict[str, Task]]:
    """Signing and verifying where the model lies."""
    tasks: dict[str, dict[str, Task]] = {"sign": {}, "verify": {}}
    sig = model.parent / "theirs.sig"
    tasks["sign"]["model-signing"] = Task(
        [*THEIRS, "sign", "key", str(model), "--private_key", str(private), "--signature", str(sig)], sig
    )
    tasks["verify"]["model-signing"] = Task(
        [*THEIRS, "verify", "key", str(model), "--public_key", str(public), "--signature", str(sig)]
    )
    for statement, name in (
        ("openssf", "sha256"),
        ("openssf", "blake3"),
        ("tree", "sha256"),
        ("tree", "blake3"),
    ):
        line, ours = f"modelward {statement} {name}", model.parent / f"{statement}-{name}.sig"
        flags = ["--signature-only", "--statement", statement, "--hash", name, "--key", str(private)]
        flags += ["--paranoid"] if statement == "tree" else []  # or a cache would spare it all reading
        tasks["sign"][line] = Task([*OURS, "seal", str(model), *flags, "-o", str(ours)], ours)
        checks = ["verify", str(model), "--public-key", str(public), "--signature", str(ours)]
        tasks["verify"][line] = Task([*OURS, *checks])
    return tasks


def encryption(model: Path, private: Path, public: Path, age: str) -> dict[str, dict[str, Task]]:
    """Encrypting and decrypting one file, and all that sealing and opening do."""
    at, folder = str(model), model.parent
    seal, opened = folder / "one.sealed", folder / "opened"
    flags = ["--key", str(private), "--recipient", str(folder / "reader.pub"), "--no-scan", "-o", str(seal)]
    trust = ["--public-key", str(public)]
    gpg = ["gpg", "--batch", "--quiet", "--yes", "--compress-algo", "none", "--pinentry-mode", "loopback"]
    phrase = ["--passphrase-file", str(folder / "phrase")]
    ctr = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-pass", f"file:{folder / 'phrase'}"]

    public_gpg, age_key = [*gpg, "--trust-model", "always", "-r", "bench"], str(folder / "age.key")
    reader = ["--identity", str(folder / "reader.pem")]

    def task(words: list[str], flag: str, name: str, source: str) -> Task:
        """A command that writes one file from another."""
        return Task([*words, flag, str(folder / name), source], folder / name)

    def back(words: list[str], flag: str, name: str, source: str) -> Task:
        return task(words, flag, name, str(folder / source))

    sealing = {
        "modelward seal": Task([*OURS, "seal", at, *flags], seal),
        "age -r": task(["age", "-r", age], "-o", "a.age", at),
        "gpg -c": task([*gpg, *phrase, "--cipher-algo", "AES256"], "-co", "c.gpg", at),
        "gpg -e": task(public_gpg, "-eo", "e.gpg", at),
        "openssl enc": task([*ctr, "-in", at], "-out", "o.ctr", "-e"),
    }
    opening = {
        "modelward open": Task([*OURS, "open", str(seal), "-o", str(opened), *reader, *trust], opened),
        "age -d": back(["age", "-d", "-i", age_key], "-o", "a.out", "a.age"),
        "gpg -d (symmetric)": back([*gpg, *phrase], "-do", "c.out", "c.gpg"),
        "gpg -d": back([*gpg, "--passphrase", ""], "-do", "e.out", "e.gpg"),
        "openssl enc -d": task([*ctr, "-in", str(folder / "o.ctr")], "-out", "o.out", "-d"),
    }
    storage = {"modelward verify SEALED": Task([*OURS, "verify", str(seal), *trust])}
    return {"seal": sealing, "open": opening, "check storage": storage}


def hashing(model: Path) -> dict[str, dict[str, Task]]:
    """One digest of one file."""
    at = str(model)
    return {
        "hash": {
            "sha256sum": Task(["sha256sum", at]),
            "openssl dgst -sha256": Task(["openssl", "dgst", "-sha256", at]),
            "b3sum, 1 thread": Task(["b3sum", "--num-threads", "1", at]),
            "b3sum": Task(["b3sum", at]),
            "reading alone (cat)": Task(["cat", at]),
        }
    }


def turns(tasks: dict[str, dict[str, Task]], repeat: int, size: int) -> dict[str, Run]:
    """Run all of them in turn, and print."""
    runs: dict[tuple[str, str], list[Run]] = {}
    for _ in range(repeat):
        for group, lines in tasks.items():
            for line, task in lines.items():
                runs.setdefault((group, line), []).append(measure(task))
    found = {}
    for (group, line), took in runs.items():
        least = found[line] = found[f"{group}: {line}"] = best(took)
        show(f"{group}: {line}", least, size)
    return found


def show(line: str, run: Run, size: int) -> None:
    """One line of the table."""
    rate = f"{size / 1e9 / run.cpu:>10.2f}" if size > 64 * MIB else f"{'':>10}"
    print(f"{line:<40}{run.wall:>9.3f}{run.cpu:>9.3f}{rate}{run.peak:>9.0f}", flush=True)


def hash_rate(name: str) -> float:
    """GB per second of one thread, in a process of its own: children inherit this one's most memory."""
    done = subprocess.run([sys.executable, "-c", HASH, name], check=True, capture_output=True, text=True)
    return float(done.stdout)


def goal(words: str, found: float, wanted: float, *, least: bool = True) -> None:
    """One line that says whether a goal is met."""
    met = found >= wanted if least else found <= wanted
    bound = "at least" if least else "at most"
    print(f"{'met' if met else 'MISSED':<8}{words}: {found:.3g}, wanted {bound} {wanted:g}")


def large(folder: Path, options: argparse.Namespace, private: Path, public: Path, age: str) -> None:
    """One file of random bytes."""
    model, size = folder / "weights.bin", options.mebibytes * MIB
    with model.open("wb") as stream:
        for _ in range(options.mebibytes):
            stream.write(os.urandom(MIB))
    tasks = signing(model, private, public) | encryption(model, private, public, age) | hashing(model)
    found = turns(tasks, options.repeat, size)
    for kind in ("sign", "verify"):
        for name in ("sha256", "blake3"):
            theirs, ours = found[f"{kind}: model-signing"], found[f"{kind}: modelward openssf {name}"]
            goal(f"{kind} 1 GiB by {name}, times model-signing (wall)", theirs.wall / ours.wall, 2)
    for mine, peer, wanted in (("modelward seal", "age -r", 1.5), ("modelward open", "age -d", 2.5)):
        goal(f"{mine}, times {peer} (wall)", found[peer].wall / found[mine].wall, wanted)
        goal(f"{mine}, times {peer} (CPU)", found[peer].cpu / found[mine].cpu, wanted)
    read = size / 1e9 / found["reading alone (cat)"].wall
    for name in ("sha256", "blake3"):
        bound = min(read, CORES * hash_rate(name))
        rate = size / 1e9 / (found[f"sign: modelward tree {name}"].wall - options.start)
        goal(
            f"{name} tree without its start, of min(reading, cores x hash) = {bound:.2f} GB/s",
            rate / bound,
            0.95,
        )
    peaks = [run.peak for line, run in found.items() if "modelward" in line]
    goal("memory in MiB", max(peaks), 200, least=False)


def small(folder: Path, repeat: int, private: Path, public: Path) -> float:
    """2 MB in 12 files; gives what the command costs on next to nothing, seconds."""
    model = folder / "small" / "model"
    model.mkdir(parents=True)
    for number in range(12):
        (model / f"part-{number:02d}.bin").write_bytes(os.urandom(2_000_000 // 12))
    seal = model.parent / "small.sealed"
    words = [
        *OURS,
        "seal",
        str(model),
        "--key",
        str(private),
        "-o",
        str(seal),
        "--recipient",
        str(folder / "reader.pub"),
    ]
    tasks = signing(model, private, public) | {
        "seal": {"modelward": Task(words, seal)},
        "storage": {"modelward": Task([*OURS, "verify", str(seal), "--public-key", str(public)])},
        "start": {
            "python": Task([sys.executable, "-c", "pass"]),
            "python and click": Task([sys.executable, "-c", "import click"]),
        },
    }
    found = turns(tasks, 2 * repeat, 2_000_000)
    for kind in ("sign", "verify"):
        theirs, ours = found[f"{kind}: model-signing"], found[f"{kind}: modelward openssf sha256"]
        goal(f"{kind} a small model, times model-signing (wall)", theirs.wall / ours.wall, 10)
    goal("start of verify, CPU seconds", found["verify: modelward openssf sha256"].cpu, 0.150, least=False)
    return found["sign: modelward tree blake3"].wall


def again(folder: Path, gigabytes: int, private: Path) -> None:
    """An unchanged tree of sparse files and one new README, signed again."""
    model, sig = folder / "sparse", folder / "sparse.sig"
    model.mkdir()
    for number in range(20):
        with (model / f"shard-{number:02d}.bin").open("wb") as stream:
            stream.truncate(gigabytes * 10**9 // 20)
    words = [*OURS, "seal", str(model), "--signature-only", "--statement", "tree", "--hash", "blake3"]
    task = Task([*words, "--key", str(private), "-o", str(sig)], sig)
    first = measure(task)
    show(f"sparse, {gigabytes} GB, the first time", first, gigabytes * 10**9)
    seconds = []
    for number in range(3):
        (model / "README.md").write_text(f"version {number}\n")
        seconds.append(measure(task))
    goal(f"sign {gigabytes} GB again, one README changed, wall seconds", best(seconds).wall, 1, least=False)
    goal("memory in MiB", max(first.peak, best(seconds).peak), 200, least=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sparse", type=int, default=0, metavar="GB", help="sign a sparse tree again")
    parser.add_argument("--folder", type=Path, help="a tmpfs; the system's temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        private, public = keys(folder)
        age = recipients(folder)["age"]
        try:
            print(f"{'':<40}{'wall s':>9}{'CPU s':>9}{'GB/CPU s':>10}{'MiB':>9}")
            options.start = small(folder, options.repeat, private, public)
            large(folder, options, private, public, age)
            if options.sparse:
                again(folder, options.sparse, private)
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False)


if __name__ == "__main__":
    main()
