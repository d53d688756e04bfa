# ruff: noqa: E501 - tables of what others write
"""A third malicious corpus: payloads, libraries and techniques of its own, each harmless and each confirmed.

python benchmarks/corpus/third_malicious.py FOLDER [--seed 0]

A payload touches a marker in the working directory, reaches a closed local port or damages nothing but a folder
named third-victim. third_confirm.py loads every artifact in a child and says whether the payload came about.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import importlib

PARTS = (
    "third_evil_pickles",
    "third_evil_weights",
    "third_evil_networks",
    "third_evil_files",
    "third_evil_stores",
)
PICKLED = ("pickle-", "torch", "joblib", "numpy", "dill", "cloudpickle", "pandas")


def items(seed):
    for part in PARTS:
        try:
            module = importlib.import_module(part)
        except ModuleNotFoundError as wrong:
            if wrong.name != part:
                raise
            print("absent:", part, file=sys.stderr)
            continue
        yield from module.items(seed)


def build(folder, seed):
    """Write each artifact into a folder of its own.

    Returns:
        One record per artifact: `path` below `folder`, `set`, `family` (pickle or other), `label`, `name`, `expect`.
    """
    manifest, proofs = [], []
    for index, item in enumerate(items(seed)):
        place = folder / f"{index:04d}"
        for name, data in (item.data if isinstance(item.data, dict) else {"": item.data}).items():
            path = place / item.file / name if name else place / item.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        record = {"path": f"{place.name}/{item.file}", "set": "third"}
        record |= {"family": "pickle" if item.label.startswith(PICKLED) else "other", "label": item.label}
        record |= {"name": item.name, "expect": item.expect}
        manifest.append(record)
        proofs.append({**record, "check": item.check, "proof": item.proof})
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    (folder / "proofs.json").write_text(json.dumps(proofs, indent=1), encoding="utf-8")
    return manifest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(len(build(chosen.folder, chosen.seed)), "artifacts")
