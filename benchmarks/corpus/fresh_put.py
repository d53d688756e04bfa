# ruff: noqa: E501 - one line of output
"""Where the writers of the fresh benign corpus put what they write: run in each library's own environment."""

import json
import sys
import traceback
import warnings
from pathlib import Path

NAME, FOLDER, SEED = (*sys.argv[1:], "", ".", "0")[:3]
COUNT = iter(range(10000))
warnings.simplefilter("ignore")


def add(family, name, file, write):
    """Let `write` make one artifact; what fails is named on stderr and left out."""
    parent = Path(FOLDER) / f"{next(COUNT):03d}"
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / file
    try:
        write(path)
        filled = path.exists() and (path.is_dir() or path.stat().st_size > 0)
    except Exception as wrong:  # noqa: BLE001 - a library that cannot write this is named, the others go on
        print("left out:", name, type(wrong).__name__, str(wrong)[:200].replace("\n", " "), file=sys.stderr)
        return
    if not filled:
        print("left out:", name, "nothing was written", file=sys.stderr)
        return
    place = str(path.relative_to(Path(FOLDER).parent))
    print(json.dumps({"path": place, "family": family, "name": f"{NAME}: {name}"}), flush=True)


def attempt(*parts):
    """Each part on its own, so that one that fails takes no other with it."""
    for part in parts:
        try:
            part()
        except Exception as wrong:  # noqa: BLE001 - as above
            line = traceback.extract_tb(wrong.__traceback__)[-1].lineno
            print("left out:", part.__name__, type(wrong).__name__, str(wrong)[:200].replace("\n", " "), line, file=sys.stderr)  # fmt: skip


def text(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2), encoding="utf-8")
