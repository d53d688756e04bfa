# ruff: noqa: E402, E501 - the modules beside this script are found by the path set above them
"""The benign corpus: artifacts as real libraries write them, trained on a few rows.

python benchmarks/corpus/benign.py FOLDER [--seed 0]

What the development environment lacks is written by scripts in environments of their own; a library that cannot be
installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import benign_arrays
import benign_estimators
import benign_graphs
import benign_torch
import peers

if TYPE_CHECKING:
    from collections.abc import Callable

TORCH = "torch==2.13.0"  # the build without CUDA


class Place(NamedTuple):
    """Where writers put artifacts, and the list of what they put."""

    folder: Path
    made: list[dict[str, str]]

    def add(self, family: str, name: str, file: str, write: Callable[[Path], object]) -> None:
        """Let a writer write one artifact: a file, or a folder, named as users name it."""
        parent = self.folder / f"{len(self.made):04d}"
        parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(parent / file)
        self.made.append({"path": f"{parent.name}/{file}", "family": family, "name": name})


FOREIGN: dict[str, tuple[str, ...]] = {
    "tensorflow": ("tensorflow-cpu", "keras"),
    "openvino": ("openvino",),
    "coremltools": ("coremltools",),
    "flax": ("flax",),
    "transformers": ("transformers",),
    "mlflow": ("mlflow-skinny", "pandas", "scikit-learn"),
    "rdata": ("rdata",),
    "nyoka": ("nyoka",),
    "paddle": ("paddlepaddle",),
}


def build(folder: Path, seed: int) -> list[dict[str, str]]:
    """Write the corpus.

    Returns:
        One record per artifact: `path` below `folder`, `family` (pickle or other), `name` (library and object).
    """
    place = Place(folder, [])
    for module in (benign_arrays, benign_estimators, benign_torch, benign_graphs):
        module.write(place, seed)
    for name, requires in FOREIGN.items():
        foreign(place, name, requires)
    (folder / "manifest.json").write_text(json.dumps(place.made, indent=1), encoding="utf-8")
    return place.made


def foreign(place: Place, name: str, requires: tuple[str, ...]) -> None:
    """Let a script write in the environment of another library."""
    try:
        python = peers.peer(*requires)
    except subprocess.CalledProcessError:
        print(f"left out: {name} cannot be installed here", flush=True)
        return
    inside = place.folder / name
    inside.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / "foreign.py"), name, str(inside)],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"},
    )
    for line in done.stdout.splitlines():
        if line.startswith('{"path"'):
            place.made.append(json.loads(line))
    if done.returncode:
        print(f"{name} stopped: {done.stderr.strip().splitlines()[-1:]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(len(build(chosen.folder, chosen.seed)), "artifacts")
