"""Train a forest, a boosted ensemble and a small network to tell malignant from benign tumours.

    python examples/medical/train.py --out build/demo/medical

The data is the breast cancer set that scikit-learn bundles (569 rows, 30 measurements of cell nuclei). Every
seed is fixed, so the same versions of the libraries give the same files.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import skops.io
import torch
import xgboost
from mlp import build
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from tampered import write_tampered

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
LABEL = "malignant"
EPOCHS = 400


def table() -> pd.DataFrame:
    """569 rows: 30 measurements, and `malignant` (1 or 0; scikit-learn counts the other way round)."""
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame[LABEL] = 1 - bunch.target
    return frame


def train_forest(x: pd.DataFrame, y: pd.Series) -> RandomForestClassifier:
    """A forest whose leaves hold at least five patients, so that none stands alone."""
    forest = RandomForestClassifier(n_estimators=40, min_samples_leaf=5, random_state=0, n_jobs=1)
    return forest.fit(x, y)


def train_boosted(x: pd.DataFrame, y: pd.Series) -> xgboost.Booster:
    """Sixty shallow trees."""
    settings = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.2, "seed": 0, "nthread": 1}
    return xgboost.train(settings, xgboost.DMatrix(x, label=y), num_boost_round=60)


def train_network(x: pd.DataFrame, y: pd.Series) -> torch.nn.Sequential:
    """Full-batch Adam; weight decay keeps the decision smooth, which is what can be certified."""
    torch.manual_seed(0)
    network = build()
    inputs, labels = torch.tensor(x.to_numpy(np.float32)), torch.tensor(y.to_numpy())
    network[0].mean.copy_(inputs.mean(dim=0))
    network[0].deviation.copy_(inputs.std(dim=0))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimiser.step()
    return network.eval()


def main(out: Path) -> None:
    """Write tables, models, the configurations and the network's architecture to one folder."""
    out.mkdir(parents=True, exist_ok=True)
    frame = table()
    train, test = train_test_split(frame, test_size=0.4, stratify=frame[LABEL], random_state=0)
    train.to_csv(out / "train.csv", index=False)
    test.to_csv(out / "test.csv", index=False)
    x, y = train.drop(columns=LABEL), train[LABEL]

    forest = train_forest(x, y)
    skops.io.dump(forest, out / "forest.skops")
    joblib.dump(forest, out / "forest.joblib")
    train_boosted(x, y).save_model(out / "xgboost.json")
    torch.save(train_network(x, y).state_dict(), out / "mlp.pt")
    write_tampered(out / "forest-tampered.pkl")
    for path in (*HERE.glob("*.toml"), HERE / "mlp.py"):
        shutil.copy(path, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the models of examples/medical.")
    parser.add_argument("--out", type=Path, default=Path("build/demo/medical"), help="Folder to write to.")
    main(parser.parse_args().out)
