# ruff: noqa: E501 - tables of what others write
"""A third benign corpus: real artifacts written by real libraries, weighted as teams ship and download them.

python benchmarks/corpus/third_benign.py FOLDER [--seed 0] [--python NAME=INTERPRETER ...]

Each part runs under its own interpreter (by default this one): tables (scikit-learn, boosters, frames), older (the same
in older releases), networks (torch, Keras, ONNX, GGUF), hubs (transformers and kin), others, flows (TensorFlow).
A library that an interpreter lacks is named on stderr and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

PARTS = {
    "tables": "tables",
    "older": "tables",
    "networks": "networks",
    "hubs": "hubs",
    "others": "others",
    "flows": "flows",
}
POPULAR = (
    "sklearn",
    "torch",
    "torchscript",
    "torch.export",
    "hub",
    "xgboost",
    "lightgbm",
    "keras",
    "onnx",
    "tensorflow",
)
MOST = 8
OWN = ("numpy", "pandas", "catboost", "xgboost", "lightgbm", "skops", "statsmodels", "scipy")


def library(name):
    """The library that wrote an artifact, from its name."""
    head, _, rest = name.partition(": ")
    if head not in ("tables", "older"):
        return head.lower()
    first = rest.split()[0].split("-")[0].lower()
    plain = ("vocabulary", "counter", "ordered", "configuration", "nested", "bytes", "several")
    kind = (
        "xgboost"
        if first == "xgbbooster"
        else first
        if first in OWN
        else "python"
        if first in plain
        else "sklearn"
    )
    return kind if head == "tables" or kind in POPULAR else f"{head} {kind}"


def write(folder, seed, interpreters):
    """Run each part; its standard output names what it wrote."""
    records = []
    for part, script in PARTS.items():
        source = Path(__file__).with_name(f"third_good_{script}.py")
        command = [interpreters.get(part, sys.executable), str(source), part, str(folder / part), str(seed)]
        settings = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        (folder / part).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=settings, cwd=folder)
        records += found(done.stdout.decode(errors="replace"))
    return records


def found(output):
    return [json.loads(line[5:]) for line in output.splitlines() if line.startswith("ITEM ")]


def choose(records):
    """At most eight of a library that is not among the most popular."""
    seen = {}
    for record in records:
        name = library(record["name"])
        seen[name] = seen.get(name, 0) + 1
        if name in POPULAR or seen[name] <= MOST:
            yield {**record, "set": "third", "label": name, "expect": "clean"}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", action="append", default=[], metavar="PART=INTERPRETER")
    parser.add_argument(
        "--outputs", type=Path, help="a folder of kept outputs, PART.out, instead of running the parts"
    )
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    if chosen.outputs:
        texts = [(chosen.outputs / f"{part}.out").read_text(errors="replace") for part in PARTS]
        records = [record for text in texts for record in found(text)]
    else:
        records = write(folder, chosen.seed, dict(pair.split("=", 1) for pair in chosen.python))
    manifest = list(choose(record for record in records if (folder / record["path"]).exists()))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    print(len(manifest), "artifacts")


if __name__ == "__main__":
    main()
