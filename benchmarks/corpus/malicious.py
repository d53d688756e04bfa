# ruff: noqa: E402, E501 - the modules beside this script are found by the path set above them
"""The malicious corpus: at least 420 artifacts, each inert by construction.

python benchmarks/corpus/malicious.py FOLDER [--seed 0]

`known` holds what advisories and other scanners' tests have published, and this project's own vectors; `held-out`
what was made for this benchmark alone, from reading sources of loaders and libraries: no rule of modelward's was read for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2] / "tests")]

import evil_graphs
import evil_hub
import evil_keras
import evil_models
import evil_onnx
import evil_pickles
import evil_texts

from vectors import advisories, containers, pickles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vectors.asm import Vector

SPARE = frozenset({"every-opcode"})
"""One opcode after the other: tests run them all, here one in six stands for them."""


def vectors(seed: int) -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for source in (pickles, containers, advisories):
        for index, vector in enumerate(source.vectors()):
            if vector.label not in SPARE or index % 6 == 0:
                yield "known", vector
    yield from evil_pickles.vectors(seed)
    for module in (evil_graphs, evil_onnx, evil_keras, evil_models, evil_hub, evil_texts):
        yield from module.vectors()


def build(folder: Path, seed: int) -> list[dict[str, str]]:
    """Write each artifact into a folder of its own below `folder`, and say what it is.

    Returns:
        One record per artifact: `path` (a file, or a folder that is one artifact) below `folder`, `set` (known or
        held-out), `label` (class), `name`, `expect`.
    """
    manifest = []
    for index, (group, vector) in enumerate(vectors(seed)):
        place = folder / f"{index:04d}"
        files = vector.data if isinstance(vector.data, dict) else {"": vector.data}
        for name, data in files.items():
            path = place / vector.file / name if name else place / vector.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        manifest.append(
            {
                "path": f"{place.name}/{vector.file}",
                "set": group,
                "label": vector.label,
                "name": vector.name,
                "expect": vector.expect,
            }
        )
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(len(build(chosen.folder, chosen.seed)), "artifacts")
