"""Train gradient-boosted trees to find fraudulent payments.

    python examples/fraud/train.py --out build/demo/fraud

The tables hold categories as texts. LightGBM takes numbers, so they are coded by their sorted order, which is
what pandas does and what an audit does too when it reads the same tables.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import lightgbm
from generate import LABEL, generate

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
ROWS = {"train": 40_000, "test": 60_000}
CATEGORIES = ["merchant", "channel", "country"]
GROUPS_ONLY = ["age_group", "sex"]
SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def coded(payments: pd.DataFrame) -> pd.DataFrame:
    """The model's features, with categories as their place in sorted order."""
    features = payments.drop(columns=[*GROUPS_ONLY, LABEL])
    return features.assign(**{name: features[name].astype("category").cat.codes for name in CATEGORIES})


def main(out: Path) -> None:
    """Write tables, model and configuration to one folder."""
    out.mkdir(parents=True, exist_ok=True)
    train = generate(ROWS["train"], seed=0)
    test = generate(ROWS["test"], seed=1)
    # A fixed time stamp, so that the same rows are the same bytes.
    zipped = {"method": "gzip", "mtime": 0}
    train.to_csv(out / "train.csv.gz", index=False, compression=zipped)
    test.to_csv(out / "test.csv.gz", index=False, compression=zipped)
    test.to_parquet(out / "test.parquet", index=False)

    rows = lightgbm.Dataset(coded(train), label=train[LABEL], categorical_feature=CATEGORIES)
    lightgbm.train(SETTINGS, rows, num_boost_round=80).save_model(out / "fraud.txt")
    for path in HERE.glob("*.toml"):
        shutil.copy(path, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the model of examples/fraud.")
    parser.add_argument("--out", type=Path, default=Path("build/demo/fraud"), help="Folder to write to.")
    main(parser.parse_args().out)
