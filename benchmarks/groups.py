"""Group metrics with simultaneous intervals on one million rows, beside Fairlearn's.

    python benchmarks/groups.py [--rows 1000000] [--resamples 20]

Both get the same rows (seed 0; three sensitive columns with 2, 5 and 6 levels). modelward reports five gaps
with joint intervals over all intersections of the columns, Fairlearn four metrics over the finest one.
Fairlearn's bootstrap repeats its whole computation per resample, so it runs only as many as asked for; its
time for the 1000 that modelward draws is extrapolated linearly, and says so. CPU seconds of one process each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import peer

MAKE = """
import numpy as np, sys
rng = np.random.default_rng(0)
n = int(sys.argv[1])
levels = (2, 5, 6)
codes = [rng.integers(0, k, n) for k in levels]
y = rng.integers(0, 2, n)
prediction = np.where(rng.random(n) < 0.1 + 0.05 * codes[0], 1 - y, y)
np.savez(sys.argv[2], y=y, prediction=prediction, **{f"c{i}": c for i, c in enumerate(codes)})
"""
OURS = """
import sys, time, numpy as np
from modelward.threats.bias.metrics import GroupOptions, group_gaps
d = np.load(sys.argv[1])
codes = [d["c0"], d["c1"], d["c2"]]
group_gaps(codes, (2, 5, 6), d["y"], d["prediction"], GroupOptions(positive=1, seed=1))
start = time.process_time()
found = group_gaps(codes, (2, 5, 6), d["y"], d["prediction"], GroupOptions(positive=1, seed=1))
print(time.process_time() - start)
"""
THEIRS = """
import sys, time, warnings, numpy as np, pandas as pd
warnings.simplefilter("ignore")
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score
d = np.load(sys.argv[1])
groups = pd.DataFrame({f"c{i}": d[f"c{i}"] for i in range(3)})
resamples = int(sys.argv[2])
metrics = {"sr": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate, "acc": accuracy_score}
start = time.process_time()
frame = MetricFrame(metrics=metrics, y_true=d["y"], y_pred=d["prediction"], sensitive_features=groups)
frame.difference()
once = time.process_time() - start
start = time.process_time()
MetricFrame(metrics=metrics, y_true=d["y"], y_pred=d["prediction"], sensitive_features=groups,
            n_boot=resamples, ci_quantiles=[0.025, 0.975], random_state=1)
print(once, time.process_time() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--resamples", type=int, default=20)
    args = parser.parse_args()
    fairlearn = peer("fairlearn==0.15.0", "scikit-learn", "pandas")
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data.npz")
        subprocess.run([sys.executable, "-c", MAKE, str(args.rows), data], check=True)
        ours = float(run(sys.executable, OURS, data))
        once, boot = map(float, run(fairlearn, THEIRS, data, str(args.resamples)).split())
    whole = boot / args.resamples * 1000
    print(f"rows {args.rows:,}, 60 finest groups, CPU seconds")
    print(f"modelward, 1000 draws, all 7 intersections   {ours:9.2f}")
    print(f"Fairlearn, no interval, finest intersection  {once:9.2f}   ratio {once / ours:8.1f}")
    print(f"Fairlearn, {args.resamples} resamples                 {boot:9.2f}   ratio {boot / ours:8.1f}")
    print(f"Fairlearn, 1000 resamples (extrapolated)     {whole:9.0f}   ratio {whole / ours:8.0f}")


def run(python: str | Path, code: str, *arguments: str) -> str:
    done = subprocess.run([str(python), "-c", code, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    main()
