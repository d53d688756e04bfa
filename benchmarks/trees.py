"""Tree ensembles: points decided and CPU of `evasion.trees`, and what robust trees gain, beside peers.

    python benchmarks/trees.py [--tables adult german_credit cancer] [--seeds 0 1 2] [--points 100] [--peers]

A table is split by the seed: two thirds (at most `--rows`) to fit, the rest to attack; its numbers alone, in
units of the training range.

`decided`: per model (XGBoost and a random forest of 100 trees of depth 6, a single tree of depth 8) and
threat, how many of the points that the model gets right are broken, proved or left open by `evasion.trees`,
summed over the seeds, in how many CPU seconds; `evasion.query` attacks the same points. With `--peers`, ART's
DecisionTreeAttack runs on the single tree, and its sizes are compared with the exact smallest changes.

`robust`: the same XGBoost model before `modelward harden --method trees` and the trees after it, forest and
single tree; with `--peers` GROOT's forest of as many trees and as deep. Clean accuracy, the share that stands
against an exact attack, and the certified share, of all points, with 95 % intervals (Wilson).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
import numpy as np
import pandas as pd
import xgboost
from peers import peer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from modelward.adapters.data import DataOptions, from_arrays, with_training_range
from modelward.adapters.opening import ModelOptions, open_live
from modelward.adapters.trees import xgboost_trees
from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import plain, unchanged
from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import check_entry, load_check
from modelward.core.check import Settings, Subjects
from modelward.numeric.forests import raw_scores
from modelward.numeric.proportion import wilson
from modelward.threats.evasion.harden.methods import Training
from modelward.threats.evasion.harden.trees.control import TreeControl
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat
from modelward.threats.evasion.trees.costs import Costs
from modelward.threats.evasion.trees.search import Effort, Point

THREATS = (("linf", 0.01), ("linf", 0.05), ("l2", 0.05))
ROBUST = ("linf", 0.02), ("linf", 0.05)
STATES = 20_000
TREES, DEPTH = 100, 8
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
GROOT = """
import sys, json, time, numpy as np
from groot.model import GrootRandomForestClassifier
def node(n):
    if hasattr(n, "threshold"):
        return [int(n.feature), float(n.threshold), node(n.left_child), node(n.right_child)]
    return [float(v) for v in n.value]
def grown(job, trees, depth):
    given = np.load(job["path"])
    model = GrootRandomForestClassifier(
        n_estimators=trees, max_depth=depth, random_state=job["seed"],
        attack_model=[job["eps"]] * given["x"].shape[1],
    )
    start = time.process_time()
    model.fit(given["x"], given["y"])
    spent = time.process_time() - start
    nodes, answers = [node(t.root_) for t in model.estimators_], model.predict(given["test"]).tolist()
    return {"trees": nodes, "cpu": spent, "answers": answers}
options = json.load(open(sys.argv[1]))
grown(options["jobs"][0], 1, 2)  # compiles
made = [grown(job, options["trees"], options["depth"]) for job in options["jobs"]]
json.dump(made, open(sys.argv[2], "w"))
"""


class Nowhere:
    """Attachments that are not kept."""

    def put(self, arrays):
        """Name them, and nothing else."""
        return f"sha256:{len(arrays):064x}"


def table(name, seed, options):
    """Numbers in training ranges: x and y to fit, x and y to attack."""
    if name == "cancer":
        x, y = load_breast_cancer(return_X_y=True)
    else:
        frame = pd.read_csv(options.folder / f"{name}.csv.gz")
        label = frame.columns[-1]
        numbers = frame.drop(columns=[label]).select_dtypes("number")
        x = numbers.drop(columns=[c for c in numbers.columns if c.lower() == "id"]).to_numpy(float)
        y = (frame[label].astype(str) == max(frame[label].astype(str))).astype(int).to_numpy()
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order], y[order]
    part = min(len(x) * 2 // 3, options.rows)
    low, span = x[:part].min(axis=0), np.ptp(x[:part], axis=0)
    x = (x - low) / np.where(span > 0, span, 1.0)
    return x[:part], y[:part], x[part:], y[part:]


def opened(fitted, samples):
    x, y, other, label = samples
    train = from_arrays(x, y, name="train", options=DataOptions())
    data = from_arrays(other, label, name="test", options=DataOptions())
    return open_live(fitted, data, train, ModelOptions(name=type(fitted).__name__, gradients=False))


def measured(check_id, subjects, settings, seconds):
    check = load_check(check_entry(check_id))(settings)
    start = time.process_time()
    (evidence,) = check.run(subjects, budget=Meter(Budget(seconds=seconds)), seed=1)
    return evidence.outcome, time.process_time() - start


def decided(name, options):
    """Points that are decided, per model and threat, over all seeds."""
    models = (
        lambda seed: XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1, random_state=seed),
        lambda seed: RandomForestClassifier(100, max_depth=6, random_state=seed),
        lambda seed: DecisionTreeClassifier(max_depth=8, random_state=seed),
    )
    for model in models:
        sums = {threat: np.zeros(7) for threat in THREATS}
        for seed in options.seeds:
            samples = table(name, seed, options)
            fitted = model(seed).fit(*samples[:2])
            found = opened(fitted, samples)
            for norm, eps in THREATS:
                settings = Settings(norms=(norm,), eps=(eps,), limit=options.points, preset=options.preset)
                subjects = Subjects(model=found.model, data=found.data, attachments=Nowhere())
                ours, cpu = measured("evasion.trees", subjects, settings, options.seconds)
                query, other = measured("evasion.query", subjects, settings, options.seconds)
                counts = [len(ours[part]) for part in ("correct", "broken", "certified", "undecided")]
                sums[norm, eps] += [*counts, cpu, len(query["broken"]), other]
            if options.peers and isinstance(fitted, DecisionTreeClassifier):
                against_art(fitted, found, samples, options)
        print(f"{name}, {type(fitted).__name__}, seeds {options.seeds}")
        for (norm, eps), total in sums.items():
            right, broken, proved, open_, cpu, query, other = total
            print(
                f"  {norm} {eps}: {broken:.0f} broken, {proved:.0f} proved, {open_:.0f} open of {right:.0f} "
                f"in {cpu:.1f} CPU s; query breaks {query:.0f} in {other:.1f}",
                flush=True,
            )


def against_art(fitted, found, samples, options):
    settings = Settings(norms=("linf",), eps=(1.0,), limit=options.points, preset="standard")
    subjects = Subjects(model=found.model, data=found.data, attachments=Nowhere())
    ours, cpu = measured("evasion.trees", subjects, settings, options.seconds)
    rows = np.array(ours["correct"])
    x, y = samples[2][rows], samples[3][rows]
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump((fitted, x, y), f"{folder}/model.joblib")
        python = peer(
            "adversarial-robustness-toolbox==1.20.1", "scikit-learn", "packaging", "joblib", "setuptools<81"
        )
        call = [str(python), "-c", THEIRS, f"{folder}/model.joblib", f"{folder}/found.npy"]
        said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        moved = np.load(f"{folder}/found.npy")
    sizes = reach(found.data, Threat("linf", np.inf)).size(moved, rows)
    fell = fitted.predict(moved) != y
    exact = dict(zip(ours["broken"], ours["sizes"], strict=True))
    both = [i for i, row in enumerate(rows) if fell[i] and row in exact]
    ratio = np.median([sizes[i] / exact[rows[i]] for i in both]) if both else np.nan
    print(
        f"  ART DecisionTreeAttack: breaks {int(fell.sum())} of {len(rows)} in {float(said):.2f} CPU s, "
        f"{ratio:.1f} times the smallest change (median); ours {len(exact)} in {cpu:.2f} CPU s, all exact"
    )


def exact(forest, samples, threat, points):
    """Right, standing and certified, of the first points; and CPU seconds."""
    x, y, other, label = samples
    train = from_arrays(x, y, name="train", options=DataOptions())
    data = from_arrays(other[:points], label[:points], name="test", options=DataOptions())
    data = with_training_range(data, train)
    costs = Costs(forest, reach(data, Threat(threat[0], np.inf)))
    right = np.flatnonzero(raw_scores(forest, data.x.astype(float)).argmax(axis=1) == label[:points])
    effort, start = Effort(states=STATES, take=lambda _: True), time.process_time()
    said = [Point(costs, int(i), int(label[i])).decide(threat[1], effort).verdict for i in right]
    spent = time.process_time() - start
    return np.array([len(right), len(said) - said.count("found"), said.count("none"), spent])


def grown(fitted, samples, threat, *, trees, seed):
    """The trees that `modelward harden` writes, and CPU seconds."""
    found = opened(fitted, samples)
    subjects = Subjects(model=found.model, data=found.data, train=found.train, attachments=Nowhere())
    control = TreeControl(Training(method="trees", norm=threat[0], eps=threat[1], trees=trees, depth=DEPTH))
    start = time.process_time()
    made = control.apply(subjects, budget=Meter(), seed=seed)
    spent = time.process_time() - start
    booster = xgboost.Booster()
    booster.load_model(bytearray(made.model.document))
    return xgboost_trees.read(bytes(booster.save_raw("json"))), spent


def by_groot(name, options):
    """GROOT's forest per seed and threat, compared with its own answers, and CPU seconds."""
    python = peer("groot-trees==0.0.17", "numpy<2", "scikit-learn<1.5", "pandas<2.3", "setuptools<81")
    samples = {seed: table(name, seed, options) for seed in options.seeds}
    cases = [(seed, threat) for seed in options.seeds for threat in ROBUST]
    with tempfile.TemporaryDirectory() as folder:
        for seed, (x, y, other, _) in samples.items():
            np.savez(f"{folder}/{seed}.npz", x=x, y=y, test=other[:500])
        jobs = [{"path": f"{folder}/{seed}.npz", "seed": seed, "eps": threat[1]} for seed, threat in cases]
        stated = Path(folder, "stated.json")
        stated.write_text(json.dumps({"jobs": jobs, "trees": TREES, "depth": DEPTH}))
        call = [str(python), "-c", GROOT, str(stated), f"{folder}/made.json"]
        subprocess.run(call, capture_output=True, text=True, check=True)
        made = json.loads(Path(folder, "made.json").read_text())
    return {
        case: (read(one, samples[case[0]][2][:500]), one["cpu"])
        for case, one in zip(cases, made, strict=True)
    }


def read(made, x):
    total = Sum(base=np.zeros(2), link="softmax")
    forest = assemble([listed(t) for t in made["trees"]], plain(x.shape[1], unchanged), total, x.shape[1])
    mine = raw_scores(forest, x)
    clear = np.abs(mine[:, 0] - mine[:, 1]) > 1e-6
    if (mine.argmax(axis=1) != np.array(made["answers"]))[clear].any():
        raise SystemExit("GROOT's trees were read otherwise than GROOT answers")
    return forest


def listed(root):
    """Nested lists as arrays of nodes."""
    nodes, waiting = [], [root]
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        waiting += node[2:] if len(node) == 4 else []
    column, threshold, sides, value, behind = [], [], [], [], 1
    for at, node in enumerate(nodes):
        inner = len(node) == 4
        column.append(node[0] if inner else -1)
        threshold.append(float(np.float32(node[1])) if inner else 0.0)  # as GROOT compiles them
        sides.append((behind, behind + 1) if inner else (at, at))
        value.append([0.0, 0.0] if inner else [v / sum(node) for v in node])
        behind += 2 * inner
    sides = np.array(sides)
    return Tree(
        column=np.array(column),
        threshold=np.array(threshold),
        left=sides[:, 0],
        right=sides[:, 1],
        missing_left=np.ones(len(nodes), bool),
        value=np.array(value),
    )


def robust(name, options):
    """Before and after, per radius, over all seeds."""
    theirs = by_groot(name, options) if options.peers else {}
    for threat in ROBUST:
        rows, common = {}, 0.0
        for seed in options.seeds:
            samples = table(name, seed, options)
            common += (samples[3][: options.points] == np.bincount(samples[1]).argmax()).sum()
            fitted = XGBClassifier(n_estimators=100, max_depth=6, n_jobs=1, random_state=seed)
            start = time.process_time()
            fitted.fit(*samples[:2])
            spent = time.process_time() - start
            forests = {
                "XGBoost": (xgboost_trees.read(bytes(fitted.get_booster().save_raw("json"))), spent),
                f"robust, {TREES} trees": grown(fitted, samples, threat, trees=TREES, seed=seed),
                "robust, 1 tree": grown(fitted, samples, threat, trees=1, seed=seed),
            }
            if (seed, threat) in theirs:
                forests[f"GROOT, {TREES} trees"] = theirs[seed, threat]
            for kind, (forest, cpu) in forests.items():
                found = np.append(exact(forest, samples, threat, options.points), cpu)
                rows[kind] = rows.get(kind, 0) + found
        n = options.points * len(options.seeds)
        print(f"{name}, {threat[0]} {threat[1]}, {n} points; most frequent class {common / n:.1%}")
        for kind, (right, standing, proved, cpu, fit) in rows.items():
            low, high = wilson(int(proved), n, 0.95)
            print(
                f"  {kind}: clean {right / n:.1%}, standing {standing / n:.1%}, certified {proved / n:.1%} "
                f"({low:.1%} to {high:.1%}); {fit:.1f} CPU s to fit, {cpu:.1f} to decide",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", nargs="+", default=["adult", "german_credit", "cancer"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--parts", nargs="+", default=["decided", "robust"])
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    for name in options.tables:
        if name != "cancer" and not (options.folder / f"{name}.csv.gz").exists():
            print(f"{name} is not in {options.folder}")
            continue
        for part in options.parts:
            {"decided": decided, "robust": robust}[part](name, options)


if __name__ == "__main__":
    main()
