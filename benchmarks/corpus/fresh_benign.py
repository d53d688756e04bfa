# ruff: noqa: E402, E501 - the modules beside this script are found by the path set above them; long lines
"""The fresh benign corpus: what users of many libraries really keep, written by those libraries, in several releases.

python benchmarks/corpus/fresh_benign.py FOLDER [--seed 0]

Written by somebody who had read no rule of modelward's, no test and no miss. Objects of a user's own classes and
functions are left out: no reader can prove those harmless. What a library cannot write here is named and left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import peers

TABLE, TORCH, NET, TEXT = "fresh_libraries.py", "fresh_torch.py", "fresh_networks.py", "fresh_files.py"


class Writer(NamedTuple):
    """A script's part, the packages of its environment, and whether the development environment runs it with them."""

    name: str
    script: str
    requires: tuple[str, ...] = ()
    beside: bool = False


OLD = ("numpy==1.26.4", "scikit-learn==1.4.2", "scipy==1.11.4", "pandas==2.1.4", "imbalanced-learn==0.12.3")
WRITERS = (
    Writer("sklearn11", TABLE, ("scikit-learn==1.1.3", "numpy==1.24.4", "pandas==1.5.0", "joblib==1.1.1")),
    Writer(
        "sklearn12",
        TABLE,
        (
            "scikit-learn==1.2.2",
            "numpy==1.26.4",
            "pandas==1.5.3",
            "scipy==1.11.4",
            "joblib==1.2.0",
            "imbalanced-learn==0.10.1",
            "lightgbm==3.3.5",
            "cloudpickle==2.2.1",
            "dill==0.3.6",
        ),
    ),
    Writer(
        "sklearn14",
        TABLE,
        (
            *OLD,
            "statsmodels==0.14.2",
            "lifelines==0.28.0",
            "category-encoders==2.6.3",
            "lightgbm==4.3.0",
            "catboost==1.2.7",
            "implicit==0.7.2",
            "scikit-surprise",
        ),
    ),
    Writer("sklearn19", TABLE),
    Writer("gensim", TABLE, ("gensim", "nltk")),
    Writer("spacy", TABLE, ("spacy",)),
    Writer("prophet", TABLE, ("prophet", "joblib")),
    Writer(
        "converted",
        TABLE,
        (
            "skl2onnx",
            "onnxmltools",
            "scikit-learn==1.5.2",
            "lightgbm==4.5.0",
            "onnxconverter-common",
            "pandas",
        ),
    ),
    Writer("mlflow", TABLE, ("mlflow-skinny", "pandas", "scikit-learn")),
    Writer("torch", TORCH, ("omegaconf",), beside=True),
    Writer("hubtorch", TORCH, ("transformers",), beside=True),
    Writer("transformers", NET, ("transformers",)),
    Writer("keras", NET),
    Writer("tensorflow", NET, ("tf2onnx", "tensorflow-cpu", "keras")),
    Writer("gguf", NET, ("gguf", "sentencepiece")),
    Writer("flax", NET, ("flax",)),
    Writer("paddle", NET, ("paddlepaddle",)),
    Writer("openvino", NET, ("openvino",)),
    Writer("coremltools", NET, ("coremltools",)),
    Writer("rdata", NET, ("rdata",)),
    Writer("files", TEXT),
)


def build(folder: Path, seed: int) -> list[dict[str, str]]:
    """Write the corpus.

    Returns:
        One record per artifact: `path` below `folder`, `family` (pickle or other), `name` (writer and object).
    """
    made = []
    for writer in WRITERS:
        try:
            python = str(peers.peer(*writer.requires)) if writer.requires else sys.executable
        except subprocess.CalledProcessError:
            print(f"left out: {writer.name} cannot be installed here", flush=True)
            continue
        made += written(writer, python, folder / writer.name, seed)
    made = different(made, folder)
    (folder / "manifest.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
    return made


def different(made: list[dict[str, str]], folder: Path) -> list[dict[str, str]]:
    """Without what two releases wrote byte for byte alike."""
    kept: dict[str, dict[str, str]] = {}
    for item in made:
        path, digest = folder / item["path"], hashlib.sha256()
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if part.is_file():
                digest.update(part.name.encode() + part.read_bytes())
        kept.setdefault(digest.hexdigest(), item)
    return list(kept.values())


def written(writer: Writer, python: str, folder: Path, seed: int) -> list[dict[str, str]]:
    environment = {
        key: value for key, value in os.environ.items() if key not in {"KERAS_BACKEND", "PYTHONPATH"}
    }
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if writer.beside:
        packages = next(Path(python).parents[1].glob("lib/python3*/site-packages"))
        python, environment["PYTHONPATH"] = sys.executable, str(packages)
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, "-W", "ignore", str(HERE / writer.script), writer.name, str(folder), str(seed)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder, timeout=600
    )
    for line in done.stderr.splitlines():
        if line.startswith("left out"):
            print(f"{writer.name}: {line}", flush=True)
    if done.returncode:
        print(f"{writer.name} stopped: {done.stderr.strip().splitlines()[-1:]}", flush=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"path"')]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(len(build(chosen.folder.resolve(), chosen.seed)), "artifacts")
