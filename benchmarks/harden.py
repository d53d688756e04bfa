"""What the methods of `modelward harden` buy on MNIST at Linf 0.3, in CPU minutes.

    python benchmarks/harden.py --mnist ../shared/data/mnist.npz --method pgd --minutes 6 --limit 500

Trains the network of `examples/harden/net.py` on the training images; test images are looked at by the audits
alone. Prints the table, and what the training cost in CPU time of the process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import modelward
from modelward.reporting.comparison import to_text

HERE = Path(__file__).parent
CHOICES = {
    "pgd": {"steps": 4, "ramp": 0.3},
    "ibp": {"kappa": 0.5, "ramp": 0.45},
}
"""Chosen on held-out training images."""


def main(arguments: argparse.Namespace) -> None:
    """Train, audit, print."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(HERE.parent / "examples" / "harden"))
    from net import build

    images = np.load(arguments.mnist)
    x, y = images["x_train"][:, None].astype(np.float32) / 255, images["y_train"].astype(np.int64)
    test = images["x_test"][:, None].astype(np.float32) / 255, images["y_test"].astype(np.int64)
    torch.manual_seed(arguments.seed)
    found = modelward.harden(
        build(),
        (test[0][:1000], test[1][:1000]),
        modelward.HardenOptions(
            training=modelward.Training(
                method=arguments.method, eps=0.3, epochs=1000, rate=0.002, held_out=1000,
                **CHOICES.get(arguments.method, {}),
            ),
            audit=modelward.AuditOptions(
                train=(x, y), bounds=(0.0, 1.0), limit=arguments.limit, seed=arguments.seed,
                checks=tuple(arguments.checks.split(",")), store=arguments.output / "store",
            ),
            output=arguments.output,
            minutes=arguments.minutes,
        ),
    )  # fmt: skip
    print(to_text(found, width=110))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, required=True, help="npz of x_train, y_train, x_test, y_test.")
    parser.add_argument("--method", default="pgd", help="A method of `modelward harden`.")
    parser.add_argument("--minutes", type=float, default=6.0, help="CPU minutes of training.")
    parser.add_argument("--limit", type=int, default=500, help="Test images that are attacked.")
    parser.add_argument("--seed", type=int, default=0, help="Of initial weights, training and attacks.")
    parser.add_argument("--checks", default="quality,evasion", help="Of both audits.")
    parser.add_argument("--output", type=Path, default=Path("build/bench/harden"), help="Folder to write to.")
    main(parser.parse_args())
