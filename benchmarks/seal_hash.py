"""Hashing trees beside sha256sum and b3sum, in one run on a warm page cache.

    python benchmarks/seal_hash.py [--size MIB] [--rounds N] [--sparse GB]

Prints what the machine can do (reading alone, hashing alone, both by a bare loop on all cores), what
`hash_tree` and `hash_shards` do, the ratios to each and to the tools, a sparse file in how much memory,
100,000 files, and how long an unchanged tree with one new README takes, as a tree and as whole files.
Each figure is the best of all rounds; rounds go through all contenders in turn, so that a slow minute meets
them all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from modelward.vault.tree.hashing import TreeOptions, hash_shards, hash_tree

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))
MEMORY = """
import sys
from pathlib import Path
from modelward.vault.tree.hashing import TreeOptions, hash_tree
hash_tree(Path(sys.argv[1]), TreeOptions(algorithm=sys.argv[2]))
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def cpu() -> float:
    """Seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    clock, used = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - clock, cpu() - used


def on_all_cores(work: Callable[[int], None]) -> Callable[[], None]:
    """The same work in a thread per core, told which core it is."""

    def run() -> None:
        threads = [threading.Thread(target=work, args=(core,)) for core in range(CORES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def bare(path: Path, begin, *, read: bool) -> Callable[[], None]:
    """Reading, hashing or both, without any tree."""
    size = path.stat().st_size

    def work(core: int) -> None:
        handle, view = os.open(path, os.O_RDONLY), memoryview(bytearray(os.urandom(MIB)))
        for start in range(core * MIB, size, CORES * MIB):
            if read:
                os.preadv(handle, [view], start)
            if begin is not None:
                begin(view).digest()
        os.close(handle)

    return on_all_cores(work)


def tool(*command: str) -> Callable[[], object]:
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def contenders(path: Path) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {"read": bare(path, None, read=True)}
    for name, begin in (("sha256", hashlib.sha256), ("blake3", blake3)):
        found[f"{name}: hash in memory"] = bare(path, begin, read=False)
        found[f"{name}: bare loop"] = bare(path, begin, read=True)
        found[f"{name}: hash_tree"] = lambda name=name: hash_tree(path, TreeOptions(algorithm=name))
        found[f"{name}: hash_shards"] = lambda name=name: hash_shards(path, name, 0)
    found["blake3: library's threads"] = lambda: blake3(max_threads=blake3.AUTO).update_mmap(path).digest()
    found["sha256: sha256sum"] = tool("sha256sum", str(path))
    if shutil.which("b3sum"):
        found["blake3: b3sum, 1 thread"] = tool("b3sum", "--num-threads", "1", str(path))
        found["blake3: b3sum"] = tool("b3sum", str(path))
    return found


def throughput(folder: Path, size: int, rounds: int) -> None:
    path = folder / "weights.bin"
    with path.open("wb") as stream:
        for _ in range(size):
            stream.write(os.urandom(MIB))
    works = contenders(path)
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, work in works.items():
            clock, used = timed(work)
            before = best.get(name, (clock, used))
            best[name] = (min(clock, before[0]), min(used, before[1]))
    gigabytes = size * MIB / 1e9
    print(f"One file of {size} MiB, warm page cache, {CORES} cores, best of {rounds} rounds")
    for name, (clock, used) in best.items():
        print(f"  {name:28} {gigabytes / clock:6.2f} GB/s {gigabytes / used:6.2f} GB per CPU second")
    for name, peers in (("sha256", ("sha256sum",)), ("blake3", ("b3sum, 1 thread", "b3sum"))):
        tree = best[f"{name}: hash_tree"]
        speed, memory, reading = 1 / tree[0], 1 / best[f"{name}: hash in memory"][0], 1 / best["read"][0]
        limit = 1 / (1 / memory + 1 / reading)
        alone = best[f"{name}: hash in memory"][1]
        print(
            f"  {name}: {speed / min(memory, reading):.2f} of min(read, cores x hash) by the clock,", end=" "
        )
        print(f"{alone / tree[1]:.2f} of hashing per CPU second;", end=" ")
        print(f"{speed / limit:.2f} of reading and hashing on the same cores;", end=" ")
        print(f"{best[f'{name}: bare loop'][0] / tree[0]:.2f} of the bare loop")
        for peer in peers:
            other = best.get(f"{name}: {peer}")
            if other:
                print(f"  {name}: {other[0] / tree[0]:.2f} x {peer} by the clock,", end=" ")
                print(f"{other[1] / tree[1]:.2f} x per CPU second")
    print(f"  cold cache, {cold(path)}")
    path.unlink()


def cold(path: Path) -> str:
    """Reading from the disk in order, by one thread, against hashing from the disk."""
    handle, size = os.open(path, os.O_RDONLY), path.stat().st_size
    os.fsync(handle)
    view = memoryview(bytearray(MIB))

    def drop() -> None:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def read() -> None:
        for start in range(0, size, MIB):
            os.preadv(handle, [view], start)

    seconds: dict[str, float] = {}
    works = {"read": read}
    for name in ("sha256", "blake3"):
        works[name] = lambda name=name: hash_tree(path, TreeOptions(algorithm=name))
    for _ in range(3):
        for name, work in works.items():
            drop()
            seconds[name] = min(seconds.get(name, 1e9), timed(work)[0])
    os.close(handle)
    return ", ".join(f"{name} {size / 1e9 / value:.2f} GB/s" for name, value in seconds.items())


def sparse(folder: Path, gigabytes: int) -> None:
    path = folder / "sparse.bin"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), gigabytes * 10**9)
    for name in ("sha256", "blake3"):
        started = time.perf_counter()
        command = [sys.executable, "-c", MEMORY, str(path), name]
        peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        took = time.perf_counter() - started
        print(f"Sparse file of {gigabytes} GB, {name}: {took:.1f} s, {peak / 1024:.0f} MiB at most")
    path.unlink()


def many(folder: Path) -> None:
    for number in range(100_000):
        part = folder / "many" / f"{number // 1000:03}"
        if number % 1000 == 0:
            part.mkdir(parents=True)
        (part / f"{number:06}.bin").write_bytes(b"%d" % number)
    clock, used = timed(lambda: hash_tree(folder / "many"))
    print(f"100,000 files of a few bytes: {clock:.1f} s, {used:.1f} s of CPU")
    shutil.rmtree(folder / "many")


def again(folder: Path, gigabytes: int) -> None:
    top = folder / "unchanged"
    top.mkdir()
    for shard in range(20):
        with (top / f"model-{shard:05}.safetensors").open("wb") as stream:
            os.truncate(stream.fileno(), gigabytes * 10**9 // 20)
    (top / "README.md").write_text("old\n")
    options = TreeOptions(algorithm="blake3", cache=True, warn=print)
    works = {
        "a tree": lambda: hash_tree(top, options),
        "whole files": lambda: hash_shards(top, "blake3", 0, options),
    }
    for name, work in works.items():
        first, _ = timed(work)
        (top / "README.md").write_text(f"new {name}\n")
        second, used = timed(work)
        print(f"{gigabytes} GB (sparse, 20 shards), blake3, {name}: {first:.1f} s at first;", end=" ")
        print(f"{second * 1000:.1f} ms ({used * 1000:.1f} ms of CPU) unchanged but for the README")
    shutil.rmtree(top)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the dense file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sparse", type=int, default=20, help="GB of the sparse file")
    parser.add_argument("--unchanged", type=int, default=100, help="GB of the tree that is hashed twice")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        throughput(folder, given.size, given.rounds)
        if given.sparse:
            sparse(folder, given.sparse)
        many(folder)
        if given.unchanged:
            again(folder, given.unchanged)


if __name__ == "__main__":
    main()
