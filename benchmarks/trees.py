"""Tree ensembles: points decided and CPU of `evasion.trees`, beside the query attack and ART.

    python benchmarks/trees.py [--table ../shared/data/credit_default.csv.gz] [--points 100] [--peers]

Per model (XGBoost and a random forest of 100 trees, a single tree), one table, its numbers, seed 0: how many
of the points that the model gets right are broken, proved or left open, in units of the training range, and
the CPU seconds of the whole check. `evasion.query` attacks the same points under the same threat. With
`--peers`, ART's DecisionTreeAttack runs on the single tree, and its sizes are compared with the exact
smallest changes on the points that both break.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
import numpy as np
import pandas as pd
from peers import peer
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import check_entry, load_check
from modelward.core.check import Settings, Subjects

THREATS = (("linf", 0.01), ("linf", 0.05), ("l2", 0.05))
THEIRS = """
import sys, time, joblib, numpy as np
from art.attacks.evasion import DecisionTreeAttack
from art.estimators.classification import SklearnClassifier
model, x, y = joblib.load(sys.argv[1])
attack = DecisionTreeAttack(SklearnClassifier(model=model), verbose=False)
start = time.process_time()
found = attack.generate(x)
print(time.process_time() - start)
np.save(sys.argv[2], found)
"""


class Nowhere:
    """Attachments that are not kept."""

    def put(self, arrays):
        """Name them, and nothing else."""
        return f"sha256:{len(arrays):064x}"


def table(path):
    frame = pd.read_csv(path)
    label = frame.columns[-1]
    x = frame.drop(columns=[label]).select_dtypes("number")
    x = x.drop(columns=[name for name in x.columns if name.lower() == "id"]).to_numpy(float)
    y = (frame[label].astype(str) == max(frame[label].astype(str))).astype(int).to_numpy()
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], y[order]


def measured(check_id, subjects, settings, seconds):
    check = load_check(check_entry(check_id))(settings)
    start = time.process_time()
    (evidence,) = check.run(subjects, budget=Meter(Budget(seconds=seconds)), seed=1)
    return evidence.outcome, time.process_time() - start


def compare(model, data, options):
    for norm, eps in THREATS:
        settings = Settings(norms=(norm,), eps=(eps,), limit=options.points, preset=options.preset)
        subjects = Subjects(model=model, data=data, attachments=Nowhere())
        ours, cpu = measured("evasion.trees", subjects, settings, options.seconds)
        query, other = measured("evasion.query", subjects, settings, options.seconds)
        counts = {name: len(ours[name]) for name in ("correct", "broken", "certified", "undecided")}
        print(
            f"  {norm} {eps}: {counts}, {cpu:.2f} CPU s, {60 * counts['correct'] / cpu:.0f} a minute; "
            f"query breaks {len(query['broken'])} in {other:.2f} CPU s",
            flush=True,
        )


def against_art(fitted, opened, x, y, options):
    from modelward.threats.evasion.reach import reach
    from modelward.threats.evasion.threat import Threat

    settings = Settings(norms=("linf",), eps=(1.0,), limit=options.points, preset="standard")
    subjects = Subjects(model=opened.model, data=opened.data, attachments=Nowhere())
    ours, cpu = measured("evasion.trees", subjects, settings, options.seconds)
    rows = np.array(ours["correct"])
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump((fitted, x[rows], y[rows]), f"{folder}/model.joblib")
        python = peer(
            "adversarial-robustness-toolbox==1.20.1", "scikit-learn", "packaging", "joblib", "setuptools<81"
        )
        call = [str(python), "-c", THEIRS, f"{folder}/model.joblib", f"{folder}/found.npy"]
        said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        found = np.load(f"{folder}/found.npy")
    sizes = reach(opened.data, Threat("linf", np.inf)).size(found, rows)
    fell = fitted.predict(found) != y[rows]
    exact = dict(zip(ours["broken"], ours["sizes"], strict=True))
    both = [i for i, row in enumerate(rows) if fell[i] and row in exact]
    ratio = np.median([sizes[i] / exact[rows[i]] for i in both]) if both else np.nan
    print(
        f"  ART DecisionTreeAttack: breaks {int(fell.sum())} of {len(rows)} in {float(said):.2f} CPU s, "
        f"{ratio:.1f} times the smallest change (median); ours {len(exact)} in {cpu:.2f} CPU s, all exact"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=Path, default=Path("../shared/data/credit_default.csv.gz"))
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    if not options.table.exists():
        print(f"{options.table} is not here")
        return
    x, y = table(options.table)
    half = len(x) * 2 // 3
    train = from_arrays(x[:half], y[:half], name="train", options=DataOptions())
    for fitted in (
        XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1, random_state=0),
        RandomForestClassifier(100, max_depth=6, random_state=0),
        DecisionTreeClassifier(max_depth=8, random_state=0),
    ):
        fitted.fit(x[:half], y[:half])
        data = from_arrays(x[half:], y[half:], name="test", options=DataOptions())
        opened = open_live(fitted, data, train, ModelOptions(name=type(fitted).__name__))
        print(type(fitted).__name__, len(opened.model.forest().roots), "trees", flush=True)
        compare(opened.model, opened.data, options)
        if options.peers and isinstance(fitted, DecisionTreeClassifier):
            against_art(fitted, opened, x[half:], y[half:], options)


if __name__ == "__main__":
    main()
