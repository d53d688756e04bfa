"""Invent ratings, and see how well the recommender does on ratings it has not seen.

    python examples/recommender/train.py --out build/demo/recommender

The audit trains the recommender itself, many times; here it is trained once to show that it is a real one.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from films import build
from generate import generate

HERE = Path(__file__).parent
USERS, ITEMS = 400, 150


def errors(users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> tuple[float, float]:
    """Root mean squared error on every tenth rating: of the recommender, and of each film's mean."""
    held = np.arange(len(ratings)) % 10 == 0
    model = build()
    model.fit(users[~held], items[~held], ratings[~held])
    answers = model.predict(users[held])[np.arange(held.sum()), items[held]]
    counts = np.bincount(items[~held], minlength=items.max() + 1)
    sums = np.bincount(items[~held], ratings[~held], items.max() + 1)
    means = (sums / np.maximum(counts, 1))[items[held]]
    return tuple(float(np.sqrt(np.mean((said - ratings[held]) ** 2))) for said in (answers, means))


def main(out: Path) -> None:
    """Write ratings, code and configuration to one folder."""
    out.mkdir(parents=True, exist_ok=True)
    table = generate(USERS, ITEMS, seed=0)
    users, items = (table[name].astype("category").cat.codes.to_numpy(np.int64) for name in ("user", "item"))
    ours, means = errors(users, items, table["rating"].to_numpy(np.float64))
    (out / "errors.txt").write_text(f"recommender {ours:.3f}\nmeans {means:.3f}\n")
    table.to_csv(out / "ratings.csv", index=False)
    for path in (HERE / "films.py", *HERE.glob("*.toml")):
        shutil.copy(path, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the data of examples/recommender.")
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo/recommender"), help="Folder to write to."
    )
    main(parser.parse_args().out)
