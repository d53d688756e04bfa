"""Encryption and decryption beside age, gpg and openssl: one file, one run, page cache on both sides.

Usage: python benchmarks/seal_encrypt.py [--mib 1024] [--repeats 5] [--folder /dev/shm]

Every program runs as a process of its own, start included, on the same file of random bytes. CPU is user
plus system time of that process. The least of the repeats is shown, and ratios of those.
modelward also hashes plaintext and ciphertext, signs, writes a folder and makes it durable; AES-CTR of
openssl authenticates nothing.
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
from typing import NamedTuple

SEAL = """
import sys
from pathlib import Path
from modelward.vault.container.recipients import parse_recipient
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
source, target, key, jobs, algorithm = sys.argv[1:]
signer = LocalSigner(asymmetric.load_private(Path(key + "/sign.pem").read_bytes(), None))
recipient = parse_recipient(key + "/public.pem")
seal_folder(Path(source), Path(target),
    SealOptions(recipients=(recipient,), signers=(signer,), algorithm=algorithm, jobs=int(jobs)))
"""
OPEN = """
import sys
from pathlib import Path
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients import open_identity
from modelward.vault.keys.signer import Verifier
source, target, key, jobs = sys.argv[1:]
container = Container.open(Path(source))
container.check_signatures([Verifier(Path(key + "/verify.pem").read_bytes())])
container.unlock([open_identity(key + "/private.pem", None)]).extract(Path(target), jobs=int(jobs))
"""
KEYS = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
folder = Path(sys.argv[1])
for name, public_name, key in (
    ("sign.pem", "verify.pem", ed25519.Ed25519PrivateKey.generate()),
    ("private.pem", "public.pem", x25519.X25519PrivateKey.generate()),
):
    (folder / name).write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    (folder / name).chmod(0o600)
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    (folder / public_name).write_bytes(public)
"""


class Program(NamedTuple):
    """One way to encrypt and to decrypt.

    Attributes:
        name: as the table shows it.
        encrypt: command.
        decrypt: command.
        sealed: what `encrypt` writes.
        opened: what `decrypt` writes.
    """

    name: str
    encrypt: list[str]
    decrypt: list[str]
    sealed: Path
    opened: Path


class Cost(NamedTuple):
    """What one command took: seconds of CPU, seconds, MiB of memory at most."""

    cpu: float
    wall: float
    memory: float


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[:2])}: failed")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def programs(folder: Path, source: Path) -> list[Program]:
    word, keys = str(folder / "word"), str(folder)
    identity = str(folder / "age.key")
    made = subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True, text=True)
    public = made.stderr.split()[-1]
    found, path = [], str(source)
    for name, jobs, algorithm in (
        ("modelward, 1 thread", "1", "blake3"),
        ("modelward, 2 threads", "2", "blake3"),
        ("modelward, 2 threads, SHA-256", "2", "sha256"),
    ):
        sealed, opened = folder / "m.sealed", folder / "m.open"
        found.append(
            Program(
                name,
                [sys.executable, "-c", SEAL, path, str(sealed), keys, jobs, algorithm],
                [sys.executable, "-c", OPEN, str(sealed), str(opened), keys, jobs],
                sealed,
                opened,
            )
        )
    opened = folder / "opened"
    sealed = folder / "sealed"
    out, back = str(sealed), str(opened)
    gpg = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-file", word]
    ssl = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-pass", f"file:{word}"]
    aes = [*gpg, "--cipher-algo", "AES256", "--compress-algo", "none"]
    return found + [
        Program(name, encrypt, decrypt, sealed, opened)
        for name, encrypt, decrypt in (
            ("age", ["age", "-r", public, "-o", out, path], ["age", "-d", "-i", identity, "-o", back, out]),
            ("gpg -c, AES-256, not compressed", [*aes, "-o", out, "-c", path], [*gpg, "-o", back, "-d", out]),
            (
                "openssl enc, AES-256-CTR",
                [*ssl, "-in", path, "-out", out],
                [*ssl, "-d", "-in", out, "-out", back],
            ),
        )
    ]


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def same(source: Path, opened: Path) -> bool:
    where = opened / source.name if opened.is_dir() else opened
    return subprocess.run(["cmp", "-s", source, where], check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108  (the measurement is of memory)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "gnupg").mkdir(mode=0o700)
        (folder / "word").write_text("a passphrase of the benchmark\n")
        (folder / "word").chmod(0o600)
        subprocess.run([sys.executable, "-c", KEYS, name], check=True)
        source = folder / "weights.bin"
        with source.open("wb") as stream:
            for _ in range(options.mib):
                stream.write(os.urandom(1 << 20))
        environment = os.environ | {"GNUPGHOME": str(folder / "gnupg")}
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1] / "src")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        costs: dict[tuple[str, str], list[Cost]] = {}
        known = programs(folder, source)
        for _ in range(options.repeats):  # in turns, so that load on the machine meets all of them
            for program in known:
                costs.setdefault((program.name, "encrypt"), []).append(measured(program.encrypt, environment))
                costs.setdefault((program.name, "decrypt"), []).append(measured(program.decrypt, environment))
                if not same(source, program.opened):
                    sys.exit(f"{program.name}: what came back is not what went in")
                remove(program.sealed)
                remove(program.opened)
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    show(costs, options.mib * (1 << 20) / 1e9)


def show(costs: dict[tuple[str, str], list[Cost]], size: float) -> None:
    print(f"{size:.2f} GB, least of {len(next(iter(costs.values())))}; ratios: age = 1, larger is faster")
    print(f"{'':34}{'':9}{'GB/CPU s':>9}{'GB/s':>7}{'CPU x':>7}{'wall x':>7}{'MiB':>6}")
    for direction in ("encrypt", "decrypt"):
        age = costs["age", direction]
        for (name, which), found in costs.items():
            if which == direction:
                cpu, wall = min(c.cpu for c in found), min(c.wall for c in found)
                times = min(c.cpu for c in age) / cpu, min(c.wall for c in age) / wall
                memory = max(c.memory for c in found)
                print(
                    f"{name:34}{direction:9}{size / cpu:9.2f}{size / wall:7.2f}"
                    f"{times[0]:7.2f}{times[1]:7.2f}{memory:6.0f}"
                )


if __name__ == "__main__":
    main()
