"""What the methods of `modelward harden` buy, in CPU minutes of one thread.

    python benchmarks/harden.py --mnist ../shared/data/mnist.npz --method pgd --minutes 20 --limit 500
    python benchmarks/harden.py --side-by-side --minutes 0.5 --limit 200

The first trains the network of `examples/harden/net.py` on the training images of MNIST at Linf 0.3; test
images are looked at by the audits alone. Prints the table, and what the training cost in CPU time of the
process.

The second trains one network on scikit-learn's digits as usual, hardens it at Linf 0.1 by every method that
trains, each with its defaults, and prints one row for each.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

import modelward
from modelward.numeric.proportion import wilson
from modelward.reporting.comparison import to_text
from modelward.threats.evasion.harden.ascent import climb
from modelward.threats.evasion.harden.ball import Ball
from modelward.threats.evasion.harden.front import target
from modelward.threats.evasion.harden.methods import Trained

HERE = Path(__file__).parent
CHOICES = {
    "pgd": {"steps": 4, "ramp": 0.3},
    "awp": {"steps": 4, "ramp": 0.3},
    "ibp": {"kappa": 0.5, "ramp": 0.45},
}
"""Of MNIST, chosen on held-out training images."""
DIGITS_EPS = 0.1
CHECKS = ("quality", "evasion.gradient", "evasion.query", "evasion.certified")


def main(arguments: argparse.Namespace) -> None:
    """Train, audit, print."""
    torch.set_num_threads(1)
    sys.path[:0] = [str(HERE.parent / "examples" / name) for name in ("harden", "images")]
    if arguments.side_by_side:
        side_by_side(arguments)
    else:
        mnist(arguments)


def mnist(arguments: argparse.Namespace) -> None:
    """One method on MNIST."""
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
    module = trained_again(build(), Path(found.files["weights"]))
    stood = behind(module, (torch.from_numpy(test[0][:1000]), torch.from_numpy(test[1][:1000])))
    low, high = wilson(stood, 1000, 0.95)
    print(f"Right after attacks behind the threshold: {stood / 10:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")


def behind(module: torch.nn.Module, samples: tuple[torch.Tensor, torch.Tensor]) -> int:
    """Samples that stay right when what comes out of the first layers is attacked, by no part of an audit.

    There slopes are whole. Five starts of 50 steps raise the cross-entropy, then 40 steps each lower the
    margin to one of the other classes.
    """
    x, y = samples
    one = torch.ones(x.shape[1:])
    around = Ball(norm="linf", eps=0.3, lower=0 * one, upper=one, unit=one)
    torch.manual_seed(0)
    with torch.no_grad():
        alive = (module(x).argmax(dim=1) == y).nonzero()[:, 0]
    for goal in (*[0] * 5, *range(1, 10)):
        aim, label = target(module, x[alive], around), y[alive]

        def wrong(scores: torch.Tensor, goal: int = goal, label: torch.Tensor = label) -> torch.Tensor:
            rival = scores.gather(1, (label[:, None] + goal) % 10)[:, 0]
            own = scores.gather(1, label[:, None])[:, 0]
            return scores.logsumexp(dim=1) - own if goal == 0 else rival - own

        start = aim.ball.random(aim.x)
        moved = climb(aim.net, wrong, (aim.x, start), aim.ball, 50 if goal == 0 else 40)
        with torch.no_grad():
            alive = alive[aim.scores(moved).argmax(dim=1) == label]
    return len(alive)


def side_by_side(arguments: argparse.Namespace) -> None:
    """Every method on digits: the same start, points, threat and time."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from train import trained, usual_loss

    digits = load_digits()
    x, y = (digits.images / 16).astype(np.float32)[:, None], digits.target.astype(np.int64)
    parts = train_test_split(x, y, test_size=0.4, stratify=y, random_state=arguments.seed)
    train, test = (parts[0], parts[2]), (parts[1], parts[3])
    start = time.process_time()
    usual = trained(usual_loss, torch.from_numpy(train[0]), torch.from_numpy(train[1]))
    print("| method | CPU s | clean | right under every attack tried | certified |")
    print("|---|---|---|---|---|")
    row("as usual", time.process_time() - start, usual, (test, arguments))
    for method in get_args(Trained):
        found = modelward.harden(
            usual,
            test,
            modelward.HardenOptions(
                training=modelward.Training(
                    method=method, eps=DIGITS_EPS, norm="l2" if method == "noise" else "linf", epochs=100_000,
                    held_out=100,
                ),
                audit=modelward.AuditOptions(
                    train=train, bounds=(0.0, 1.0), seed=arguments.seed, checks=("quality",),
                    store=arguments.output / "store",
                ),
                output=arguments.output / method,
                minutes=arguments.minutes,
            ),
        )  # fmt: skip
        hardened = trained_again(usual, Path(found.files["weights"]))
        row(f"`{method}`", found.defence.cost.seconds, hardened, (test, arguments))


def trained_again(like: torch.nn.Module, weights: Path) -> torch.nn.Module:
    """The network of a weights file."""
    import copy

    from safetensors.torch import load_file

    module = copy.deepcopy(like)
    module.load_state_dict(load_file(weights))
    return module.eval()


def row(name: str, seconds: float, module: torch.nn.Module, given: tuple[Any, argparse.Namespace]) -> None:
    """Audit a network and print its line of the table."""
    test, arguments = given
    found = modelward.audit(
        module,
        test,
        modelward.AuditOptions(
            norm=("linf",), eps=(DIGITS_EPS,), bounds=(0.0, 1.0), limit=arguments.limit, seed=arguments.seed,
            checks=CHECKS, store=arguments.output / "store",
        ),
    )  # fmt: skip
    clean = next(claim for claim in found.claims if claim.id == "accuracy")
    robust = next(claim for claim in found.claims if claim.bracket is not None)
    cells = [f"{100 * float(clean.value or 0.0):.1f} %"]
    for share in (robust.bracket.upper, robust.bracket.lower):
        low, high = wilson(round(share * robust.n), robust.n, 0.95)
        cells.append(f"{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")
    print(f"| {name} | {seconds:.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", type=Path, help="npz of x_train, y_train, x_test, y_test.")
    parser.add_argument("--side-by-side", action="store_true", help="All methods, on digits.")
    parser.add_argument("--method", default="pgd", help="A method of `modelward harden`.")
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU minutes of each training.")
    parser.add_argument("--limit", type=int, default=500, help="Test images that are attacked.")
    parser.add_argument("--seed", type=int, default=0, help="Of initial weights, training and attacks.")
    parser.add_argument("--checks", default="quality,evasion", help="Of both audits of MNIST.")
    parser.add_argument("--output", type=Path, default=Path("build/bench/harden"), help="Folder to write to.")
    chosen = parser.parse_args()
    if not chosen.side_by_side and chosen.mnist is None:
        parser.error("give --mnist, or --side-by-side")
    main(chosen)
