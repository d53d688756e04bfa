"""CPU time and peak memory of `inspect`, on one large file of each common shape, in a fresh process each.

python benchmarks/scan_speed.py [--repeat 3] [--only tuples-4,forest]
"""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import multiprocessing
import pickle
import random
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 0
CHILD = """
import resource, sys, time
from modelward.artifact.verdict import inspect
start = time.process_time()
report = inspect(sys.argv[1])
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, report.verdict)
"""


def values(rng: random.Random) -> dict[str, Callable[[], object]]:
    """Plain and not so plain values, of about two million opcodes each."""
    return {
        "floats": lambda: [rng.random() for _ in range(2_100_000)],
        "integers": lambda: [rng.randrange(1 << rng.choice((7, 15, 30))) for _ in range(2_100_000)],
        "text": lambda: [f"s{rng.randrange(10**8)}" for _ in range(1_000_000)],
        "table": lambda: {f"k{i}": i for i in range(700_000)},
        "tuples": lambda: [
            (rng.randrange(10**5), rng.randrange(300), rng.randrange(2)) for _ in range(400_000)
        ],
        "nested": lambda: [((i, i % 7), (i % 5, (1.5, i))) for i in range(160_000)],
        "dictionaries": lambda: [{"a": i, "b": rng.random(), "c": f"x{i}"} for i in range(150_000)],
        "lists": lambda: [[rng.randrange(300) for _ in range(4)] for _ in range(260_000)],
        "sets": lambda: [{i, i + 1} for i in range(300_000)],
        "documents": lambda: [
            {"id": i, "tags": [f"a{i % 50}", "b"], "at": {"x": i / 2, "y": i}, "ok": True}
            for i in range(90_000)
        ],
        "dates": lambda: [dt.date.fromordinal(700_000 + i) for i in range(290_000)],
        "decimals": lambda: [decimal.Decimal(i) / 7 for i in range(290_000)],
        "mixed": lambda: [
            [i, f"n{i}", None if i % 50 else decimal.Decimal(i), (i, [i]), {"k": 2.5}] for i in range(130_000)
        ],
        "deque": lambda: collections.deque((i, f"x{i}") for i in range(300_000)),
        "frame": _frame,
    }


def _frame() -> object:
    import pandas as pd

    return pd.DataFrame({"cells": [[i, i + 1] for i in range(200_000)], "number": range(200_000)})


def write(folder: Path, wanted: set[str]) -> None:
    """Write the files of the wanted shapes (all, when none is named)."""
    for name, make in values(random.Random(SEED)).items():
        protocols = {"tuples": (0, 1, 2, 4, 5), "dictionaries": (0, 2, 4), "text": (0, 4)}.get(name, (4,))
        for protocol in protocols:
            path = folder / f"{name}-{protocol}.pkl"
            if not wanted or path.stem in wanted:
                path.write_bytes(pickle.dumps(make(), protocol))
    if not wanted or "forest" in wanted:
        _forest(folder)
    if not wanted or "torch-zip" in wanted:
        _torch_zip(folder / "torch-zip.pt")


def _forest(folder: Path) -> None:
    """A random forest of about 85 MB: by pickle, by joblib, and compressed."""
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(SEED)
    x, y = rng.normal(size=(1600, 10)), rng.integers(0, 4, 1600)
    forest = RandomForestClassifier(900, random_state=SEED).fit(x, y)
    paths = [folder / f"forest{end}" for end in (".pkl", ".joblib", "-compressed.joblib")]
    paths[0].write_bytes(pickle.dumps(forest, 4))
    joblib.dump(forest, paths[1])
    joblib.dump(forest, paths[2], compress=3)


def _torch_zip(path: Path) -> None:
    """What torch.save writes of a state of 1 GiB; most of the file is a hole on disk."""
    size = 1 << 30
    state = (
        b"\x80\x02ccollections\nOrderedDict\n)RX\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
        b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuJ\0\0\0\x10tQ"
        b"K\0J\0\0\0\x10\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        archive.writestr("archive/version", b"3\n")
        entry = zipfile.ZipInfo("archive/data/0")
        entry.file_size = entry.compress_size = size
        entry.CRC = 0
        for _ in range(64):
            entry.CRC = zlib.crc32(bytes(size // 64), entry.CRC)
        archive.fp.seek(archive.start_dir)
        entry.header_offset = archive.start_dir
        archive.fp.write(entry.FileHeader(zip64=False))
        archive.fp.seek(size - 1, 1)
        archive.fp.write(b"\0")
        archive.start_dir = archive.fp.tell()
        archive.filelist.append(entry)
        archive.NameToInfo[entry.filename] = entry


def measure(path: Path, repeat: int) -> tuple[float, float, str]:
    """Least CPU seconds and least peak MB of some runs, and the verdict."""
    runs = [
        subprocess.run([sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True)
        for _ in range(repeat)
    ]
    rows = [run.stdout.split() for run in runs]
    return min(float(row[0]) for row in rows), min(float(row[1]) for row in rows), rows[0][2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="names, separated by commas, such as tuples-4,forest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # A child starts with the peak of its parent, so the files are made in another process.
        wanted = set(filter(None, options.only.split(",")))
        maker = multiprocessing.get_context("spawn").Process(target=write, args=(Path(folder), wanted))
        maker.start()
        maker.join()
        print(f"{'file':<28}{'size MB':>10}{'CPU s':>8}{'peak MB':>9}  verdict   (least of {options.repeat})")
        for path in sorted(Path(folder).iterdir()):
            seconds, peak, verdict = measure(path, options.repeat)
            size = path.stat().st_size / 1e6
            print(f"{path.name:<28}{size:10.1f}{seconds:8.3f}{peak:9.0f}  {verdict}", flush=True)


if __name__ == "__main__":
    main()
