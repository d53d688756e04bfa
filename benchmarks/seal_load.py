"""Loading a sealed model into torch beside loading the plain safetensors file, and one tensor of it.

Usage: python benchmarks/seal_load.py [--mib 1024] [--repeats 7] [--folder /dev/shm] [--cold] [--again]

Each load is the first of a process of its own (a fork of this one, torch already imported), the ways taken
in turn, every page of every tensor read in all. `--again` measures the second load of that process instead:
a copy is then written into memory that the allocator kept, which nobody clears again. The plain file is
loaded as safetensors does it (mapped: pages come from the page cache when they are touched, nothing
is copied) and with a copy of each tensor into memory of its own, which is what a sealed model needs
too; torch copies by as many threads as there are cores. CPU is user plus system time of the
process; the least of the repeats is shown, and ratios of those. `--cold` drops the files from the
page cache before each load; it means something on a disk alone.

What the parts of a sealed load cost is measured in the same run, by one thread: reading,
AES-256-GCM, the hash of the leaves, and fresh memory.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file

from modelward.vault.container.opening import open_sealed
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.signer import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))
NAME = "model.safetensors"


class Spent(NamedTuple):
    """One load.

    Attributes:
        wall: seconds.
        cpu: seconds of all threads.
    """

    wall: float
    cpu: float


def spent(work: Callable[[], object], *, again: bool) -> Spent:
    """Do it in a process of its own: what its first or its second time took."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)

    def measured() -> None:
        torch.set_num_threads(CORES)
        if again:
            work()
        wall, cpu = time.perf_counter(), time.process_time()
        kept = work()
        there.send(Spent(time.perf_counter() - wall, time.process_time() - cpu))
        del kept

    child = fork.Process(target=measured)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("a load failed")
    found: Spent = here.recv()
    return found


def touched(tensors: dict[str, Any]) -> dict[str, Any]:
    """Read a byte of every page of every tensor."""
    for tensor in tensors.values():
        tensor.view(torch.uint8).reshape(-1)[::4096].max()
    return tensors


def copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Each in memory of its own."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def write_model(path: Path, mib: int) -> list[str]:
    """As many tensors of 1 MiB as of 15 MiB, float32; the names of the small ones."""
    torch.manual_seed(0)
    pairs = max(1, mib // 16)
    tensors = {f"block.{i}.bias": torch.randn(256, 1024) for i in range(pairs)}
    tensors |= {f"block.{i}.weight": torch.randn(15 * 256, 1024) for i in range(pairs)}
    save_file(tensors, path)
    return [f"block.{i}.bias" for i in range(pairs)]


def on_one_core(work: Callable[[], object]) -> Callable[[], object]:
    """The same, allowed one core from then on."""

    def narrowed() -> object:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
        return work()

    return narrowed


def forget(paths: Iterable[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def parts_of(path: Path, mib: int) -> None:
    """What one thread needs for each part, in GB per CPU second."""
    buffer, key = memoryview(bytearray(MIB)), AESGCM(bytes(32))
    sealed = key.encrypt(bytes(12), bytes(MIB), b"")
    with path.open("rb") as stream:
        parts: dict[str, Callable[[int], object]] = {
            "read": lambda i: os.preadv(stream.fileno(), [buffer], i % mib * MIB),
            "AES-256-GCM": lambda _: key.decrypt_into(bytes(12), sealed, b"", buffer),
            "BLAKE3": lambda _: blake3(buffer).digest(),
            "SHA-256": lambda _: hashlib.sha256(buffer).digest(),
        }
        for name, part in parts.items():
            print(f"  {name}: {rate(part):.1f} GB per CPU second")
    print(f"  fresh memory, touched: {rate_of_memory():.1f} GB per CPU second")


def rate(part: Callable[[int], object], count: int = 256) -> float:
    """GB per CPU second, the best of five."""
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        for i in range(count):
            part(i)
        best = max(best, count * MIB / 1e9 / (time.process_time() - begun))
    return best


def rate_of_memory(size: int = 256 * MIB) -> float:
    """GB per CPU second that the kernel hands out, the best of five."""
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        fresh = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, size, mmap.PAGESIZE):
            fresh[at] = 1
        best = max(best, size / 1e9 / (time.process_time() - begun))
        fresh.close()
    return best


def compare(
    ways: dict[str, Callable[[], object]], repeats: int, before: Callable[[], None], *, again: bool
) -> None:
    """Take the ways in turn and print them beside the plain ones."""
    found: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            before()
            found[name].append(spent(work, again=again))
    least = {name: Spent(min(s.wall for s in all_), min(s.cpu for s in all_)) for name, all_ in found.items()}
    mapped, cloned = (least[name] for name in list(ways)[:2])
    heads = ("wall s", "median", "CPU s", "x mapped", "x copied", "CPU x copied")
    print(
        f"{'way':40}"
        + "".join(f" {head:>{size}}" for head, size in zip(heads, (7, 7, 7, 9, 9, 13), strict=True))
    )
    for name, (wall, cpu) in least.items():
        median = statistics.median(s.wall for s in found[name])
        ratios = f"{wall / mapped.wall:9.2f} {wall / cloned.wall:9.2f} {cpu / cloned.cpu:13.2f}"
        print(f"{name:40} {wall:7.3f} {median:7.3f} {cpu:7.3f} {ratios}")


def one_tensor(read: Callable[[str], object], names: list[str], count: int = 300) -> str:
    """Milliseconds for tensors drawn at random."""
    draw, times = random.Random(0), []
    for _ in range(count):
        name = draw.choice(names)
        begun = time.perf_counter()
        read(name)
        times.append((time.perf_counter() - begun) * 1e3)
    times.sort()
    return f"median {times[count // 2]:.2f} ms, 95 % below {times[int(count * 0.95)]:.2f} ms (n = {count})"


def main() -> None:
    """Seal, load, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108  (memory, for both sides)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads that torch has started do not live on in a fork
    signer, key = LocalSigner(asymmetric.generate("ed25519")), kem.generate("x25519")
    who = HpkeIdentity(key)
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        (folder / "model").mkdir()
        plain = folder / "model" / NAME
        small = write_model(plain, options.mib)
        for algorithm in ("blake3", "sha256"):
            seal_folder(plain.parent, folder / algorithm, SealOptions(
                recipients=(HpkeRecipient(kem.public_of(key)),), signers=(signer,), algorithm=algorithm
            ))  # fmt: skip

        def sealed(algorithm: str) -> object:
            with open_sealed(folder / algorithm, [who], verifiers=[signer.public]) as opened:
                return touched(opened.torch(NAME))

        ways: dict[str, Callable[[], object]] = {
            "safetensors, mapped": lambda: touched(load_file(plain)),
            "safetensors, mapped, each tensor copied": lambda: copied(load_file(plain)),
            "safetensors, copied, one core": on_one_core(lambda: copied(load_file(plain))),
            "safetensors, from bytes that were read": lambda: touched(load(plain.read_bytes())),
            "sealed, BLAKE3 leaves": lambda: sealed("blake3"),
            "sealed, BLAKE3 leaves, one core": on_one_core(lambda: sealed("blake3")),
            "sealed, SHA-256 leaves": lambda: sealed("sha256"),
        }
        files = [plain, *(folder / "blake3").rglob("0*"), *(folder / "sha256").rglob("0*")]
        print(f"{plain.stat().st_size / 1e9:.3f} GB, {CORES} cores, load {os.getloadavg()[0]:.1f}")
        before = (lambda: forget(files)) if options.cold else (lambda: None)
        compare(ways, options.repeats, before, again=options.again)
        print("one thread, buffers of 1 MiB:")
        parts_of(plain, options.mib)
        print("one tensor of 1 MiB:")
        with open_sealed(folder / "blake3", [who], verifiers=[signer.public]) as opened:
            print(f"  sealed, container open: {one_tensor(lambda n: opened.tensor(NAME, n), small)}")
        begun = time.perf_counter()
        open_sealed(folder / "blake3", [who], verifiers=[signer.public]).tensor(NAME, small[0])
        print(f"  sealed, opened and verified for it: {(time.perf_counter() - begun) * 1e3:.2f} ms (n = 1)")
        with safe_open(plain, "pt") as reader:
            print(f"  plain, copied: {one_tensor(lambda n: reader.get_tensor(n).clone(), small)}")


if __name__ == "__main__":
    main()
