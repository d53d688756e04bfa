# ruff: noqa: E501 - tables of what others write

"""Load each artifact of a third corpus in a throw-away child and say whether its harmless payload came about.

python benchmarks/corpus/third_confirm.py FOLDER [--label L] [--only NAME]: writes confirmed.json beside the manifest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHILD = Path(__file__).with_name("third_loaders.py")
MODULE = "open('third-mark','w').close()\n"


def one(folder, record):
    """The outcome of one child: confirmed, no, or unavailable with the reason."""
    with tempfile.TemporaryDirectory() as place:
        victim = Path(place) / "third-victim"
        victim.mkdir()
        (victim / "file").write_text("kept\n")
        (victim / "third_module.py").write_text(MODULE)
        (victim / "x.pth").write_text("import third_module\n")
        (victim / "setup.py").write_text(
            "import setuptools\nopen('../third-mark', 'w').close()\nsetuptools.setup(name='v')\n"
        )
        source = folder / record["path"]
        copy = Path(place) / source.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HOME": place,
            "KERAS_BACKEND": record.get("backend", "torch"),
        }
        for key in ("HTTP_PROXY", "http_proxy"):
            environment.pop(key, None)
        command = [
            record.get("python") or sys.executable,
            str(CHILD),
            record["check"],
            record["proof"],
            str(copy),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=place,
                env=environment,
                capture_output=True,
                timeout=90,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return {"outcome": "timeout"}
        marked = (Path(place) / "third-mark").exists() or (Path(place) / "third-mark").is_symlink()
        output = done.stdout.decode(errors="replace")
        seen = "PROOF" in output or (
            record["proof"] == "crash" and (done.returncode < 0 or done.returncode == 3)
        )
        if (record["proof"] == "mark" and marked) or (record["proof"] != "mark" and seen):
            return {"outcome": "confirmed"}
        if record["proof"] == "reads" and "READS" in output:
            return {"outcome": "confirmed"}
        tail = (output + done.stderr.decode(errors="replace")).strip().splitlines()[-2:]
        kind = "unavailable" if "UNAVAILABLE" in output else "no"
        return {"outcome": kind, "why": " | ".join(tail)[-300:]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--label")
    parser.add_argument("--only")
    chosen = parser.parse_args()
    records = json.loads((chosen.folder / "proofs.json").read_text())
    picked = [
        r
        for r in records
        if (not chosen.label or r["label"] == chosen.label) and (not chosen.only or chosen.only in r["name"])
    ]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda r: one(chosen.folder, r), picked))
    place = chosen.folder / "confirmed.json"
    known = json.loads(place.read_text()) if place.exists() else {}
    for record, outcome in zip(picked, outcomes, strict=True):
        known[record["path"]] = {"name": record["name"], "expect": record["expect"], **outcome}
        if outcome["outcome"] != "confirmed" and record["check"] != "none":
            print(record["path"], record["label"], record["name"], outcome)
    place.write_text(json.dumps(known, indent=1))
    counts = {}
    for value in known.values():
        counts[value["outcome"]] = counts.get(value["outcome"], 0) + 1
    print(counts)


if __name__ == "__main__":
    main()
