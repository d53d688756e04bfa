"""Signing and verifying a model, beside the command of OpenSSF's reference library, in one run.

python benchmarks/seal_sign.py [--repeat 3] [--mebibytes 1024] [--folder DIRECTORY]

Both commands start anew each time; the least wall time and the least CPU seconds of all runs are printed.
The reference's command knows SHA-256 alone. Ours hashes everything (`--paranoid`), but for the line
"unchanged", which takes from its cache what was signed before. The last lines call both libraries within
one process, so that neither starts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = [sys.executable, "-c", "from modelward.cli import main; main()"]
THEIRS = [sys.executable, "-c", "from model_signing._cli import main; main()"]


class Time(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def measure(command: list[str]) -> Time:
    """One run of a command that must succeed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Time(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def keys(folder: Path) -> tuple[Path, Path]:
    """A pair that both commands read: P-256, unencrypted, for nothing but this."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def models(folder: Path, mebibytes: int) -> dict[str, Path]:
    """Folders of random bytes; read once, so that the page cache holds them."""
    shapes = {
        "2 files, 1 MB": [1_000_000, 2],
        f"1 file, {mebibytes} MiB": [mebibytes << 20],
        f"8 files, {mebibytes} MiB": [mebibytes << 17] * 8,
    }
    made = {}
    for name, sizes in shapes.items():
        made[name] = folder / name.replace(" ", "").replace(",", "-")
        made[name].mkdir()
        for index, size in enumerate(sizes):
            with (made[name] / f"part-{index}.safetensors").open("wb") as stream:
                for _ in range(size >> 20):
                    stream.write(os.urandom(1 << 20))
                stream.write(os.urandom(size % (1 << 20)))
    return made


def commands(model: Path, private: Path, public: Path) -> dict[str, dict[str, list[str]]]:
    """The same task by each command, by task and name."""
    place, at = str(model), str(model.parent)
    tasks: dict[str, dict[str, list[str]]] = {"sign": {}, "verify": {}}
    theirs = f"{at}/theirs.sig"
    sign_flags = ["--private_key", str(private), "--signature", theirs]
    verify_flags = ["--public_key", str(public), "--signature"]
    tasks["sign"]["model-signing"] = [*THEIRS, "sign", "key", place, *sign_flags]
    tasks["verify"]["model-signing"] = [*THEIRS, "verify", "key", place, *verify_flags, theirs]
    for name in ("sha256", "blake3"):
        ours = f"{at}/{name}.sig"
        flags = ["--signature-only", "--hash", name, "--key", str(private), "-o", ours]
        tasks["sign"][f"modelward {name}"] = [*OURS, "seal", place, *flags, "--paranoid"]
        if name == "sha256":
            tasks["sign"]["modelward sha256, unchanged"] = [*OURS, "seal", place, *flags]
        checks = ["verify", place, "--public-key", str(public), "--signature", ours]
        tasks["verify"][f"modelward {name}"] = [*OURS, *checks]
    return tasks


def inside(model: Path, private: Path, public: Path) -> dict[str, dict[str, Callable[[], object]]]:
    """The same task by each library, called from here."""
    from model_signing import signing, verifying

    from modelward.vault.keys.opening import open_signer
    from modelward.vault.keys.signer import Verifier
    from modelward.vault.signing.checking import check_files
    from modelward.vault.signing.signing import sign_openssf
    from modelward.vault.signing.verification import verify_bundle

    sig, theirs = model.parent / "inside.sig", model.parent / "inside-theirs.sig"
    known = Verifier(public.read_bytes())

    def sign() -> None:
        signer = open_signer(str(private), None, warn=lambda _: None)
        sig.write_bytes(sign_openssf(model, [signer]))

    def verify() -> None:
        check_files(verify_bundle(sig.read_bytes(), [known]).statement, model)

    def sign_theirs() -> None:
        signing.Config().use_elliptic_key_signer(private_key=private).sign(model, theirs)

    def verify_theirs() -> None:
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(model, theirs)

    return {
        "sign": {"model-signing": sign_theirs, "modelward sha256": sign},
        "verify": {"model-signing": verify_theirs, "modelward sha256": verify},
    }


def called(function: Callable[[], object]) -> Time:
    """One call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Time(time.perf_counter() - wall, time.process_time() - cpu)


def show(title: str, runs: dict[str, list[Time]]) -> None:
    """The least of the runs of each command, and how many times as long the reference takes."""
    best = {line: Time(min(t.wall for t in ts), min(t.cpu for t in ts)) for line, ts in runs.items()}
    peer = best["model-signing"]
    for line, took in best.items():
        ratios = f"{peer.wall / took.wall:>12.2f}{peer.cpu / took.cpu:>11.2f}"
        print(f"{title + ', ' + line:<58}{took.wall:>8.4f}{took.cpu:>8.4f}{ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where the models are written; default: a temporary one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        private, public = keys(folder)
        print(f"{'':<58}{'wall s':>8}{'CPU s':>8}{'times wall':>12}{'times CPU':>11}")
        shapes = models(folder, chosen.mebibytes)
        for shape, model in shapes.items():
            for task, lines in commands(model, private, public).items():
                runs: dict[str, list[Time]] = {line: [] for line in lines}
                for _ in range(chosen.repeat):
                    for line, command in lines.items():
                        runs[line].append(measure(command))
                show(f"{shape}: {task}", runs)
        shape, model = next(iter(shapes.items()))
        for task, functions in inside(model, private, public).items():
            inner: dict[str, list[Time]] = {line: [] for line in functions}
            for _ in range(20 * chosen.repeat):
                for line, function in functions.items():
                    inner[line].append(called(function))
            show(f"{shape}, in process: {task}", inner)


if __name__ == "__main__":
    main()
