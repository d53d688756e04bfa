# ruff: noqa: E501, TRY301 - tables of what others write
"""Where the writers of the third benign corpus put what real libraries write: run in each library's environment."""

import json
import sys
import traceback
import warnings
from pathlib import Path

NAME, FOLDER, SEED = (*sys.argv[1:], "", ".", "0")[:3]
COUNT = iter(range(10000))
warnings.simplefilter("ignore")


def put(family, name, file, write):
    """Let `write` make one artifact; what fails is named on stderr and left out."""
    parent = Path(FOLDER) / f"{next(COUNT):03d}"
    parent.mkdir(parents=True, exist_ok=True)
    path = parent / file
    try:
        write(path)
        if not (path.exists() and (path.is_dir() or path.stat().st_size)):
            raise OSError("nothing was written")
    except Exception as wrong:  # noqa: BLE001 - a library that cannot write this is named, the others go on
        print("left out:", name, type(wrong).__name__, str(wrong)[:200].replace("\n", " "), file=sys.stderr)
        return
    place = str(path.relative_to(Path(FOLDER).parent))
    print("ITEM", json.dumps({"path": place, "family": family, "name": name}), flush=True)


def run(*parts):
    """Each part on its own, so that a library that is missing takes no other with it."""
    for part in parts:
        try:
            part()
        except Exception as wrong:  # noqa: BLE001 - as above
            line = traceback.extract_tb(wrong.__traceback__)[-1].lineno
            print("left out:", part.__name__, type(wrong).__name__, str(wrong)[:200].replace("\n", " "), line, file=sys.stderr)  # fmt: skip


def pickled(value, protocol=None):
    import pickle

    return lambda path: path.write_bytes(pickle.dumps(value, protocol))


def jobbed(value, compress=0):
    import joblib

    return lambda path: joblib.dump(value, path, compress=compress)


def text(value):
    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2), encoding="utf-8")

    return write
