# ruff: noqa: E402, E501 - the modules beside this script are found by the path set above them; long lines
"""The fresh malicious corpus: written by somebody who had read no rule, test or miss, and measured once.

python benchmarks/corpus/fresh_malicious.py FOLDER [--seed 0]

Each payload would run `true`, print, reach a closed local port or a file that does not exist.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2] / "tests")]

import fresh_evil_graphs
import fresh_evil_pickles
import fresh_evil_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vectors.asm import Vector

FAMILY = frozenset(
    {
        "process",
        "evaluated",
        "indirect",
        "effects",
        "obscured",
        "machine",
        "broken",
        "renamed",
        "protocol",
        "story",
    }
)


def vectors(seed: int) -> Iterator[Vector]:
    yield from fresh_evil_pickles.vectors(seed)
    yield from fresh_evil_graphs.vectors()
    yield from fresh_evil_texts.vectors()


def build(folder: Path, seed: int) -> list[dict[str, str]]:
    """Write each artifact into a folder of its own, and say what it is.

    Returns:
        One record per artifact: `path` below `folder`, `set` (fresh), `family` (pickle or other), `label`, `name`,
        `expect` (dangerous: loading runs the payload; not-clean: it cannot be trusted).
    """
    manifest = []
    for index, vector in enumerate(vectors(seed)):
        place = folder / f"{index:04d}"
        for name, data in (vector.data if isinstance(vector.data, dict) else {"": vector.data}).items():
            path = place / vector.file / name if name else place / vector.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        record = {"path": f"{place.name}/{vector.file}", "set": "fresh"}
        record |= {"family": "pickle" if vector.label in FAMILY else "other", "label": vector.label}
        manifest.append({**record, "name": vector.name, "expect": vector.expect})
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
