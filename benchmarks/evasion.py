"""Margin descent with an active set, beside plain PGD of 40 and 200 steps.

    python benchmarks/evasion.py [--seeds 0,1,2] [--points 200]

Nets: a small CNN on scikit-learn's digits, trained plainly and on attacked inputs, one per seed. Robust
accuracy is lower for the stronger attack. Passes are samples sent forward plus backward; CPU on one thread.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.budget import Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.gradient import GradientCheck

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

CASES = (
    ("plain", 0.0, "linf", 0.06),
    ("plain", 0.0, "l2", 0.35),
    ("attacked", 0.15, "linf", 0.15),
    ("attacked", 0.15, "l2", 0.9),
    ("attacked", 0.15, "linf", 0.25),
)


class Nowhere:
    """Takes attachments and keeps none."""

    def put(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Drop them."""
        del arrays
        return "sha256:" + "0" * 64


def inward(x: torch.Tensor, move: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """X + move, brought back into the ball and [0, 1]."""
    if norm == "linf":
        return (x + move.clamp(-eps, eps)).clamp(0, 1)
    size = move.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
    return (x + move * (eps / size).clamp_max(1)).clamp(0, 1)


def pgd(
    net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], ball: tuple[str, float], steps: int
) -> float:
    """Share left standing by projected gradient descent (Madry et al. 2018) on the cross entropy."""
    (x, y), (norm, eps) = batch, ball
    now, alpha = x.clone(), eps * 4 / steps
    for _ in range(steps):
        now.requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(now), y, reduction="sum"), now)
        if norm == "linf":
            step = slope.sign()
        else:
            step = slope / slope.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        now = inward(x, now.detach() + alpha * step - x, norm, eps)
    with torch.no_grad():
        return float((net(now).argmax(1) == y).float().mean())


def trained(seed: int, radius: float) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A CNN and its held-out data; on attacked inputs when the radius is above 0."""
    from sklearn.datasets import load_digits

    torch.manual_seed(seed)
    pixels, digits = load_digits(return_X_y=True)
    x = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(digits)
    order = torch.randperm(len(x))
    train, test = order[:1200], order[1200:]
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(15):
        for part in train[torch.randperm(len(train))].split(64):
            inputs = x[part]
            for _ in range(3 if radius else 0):
                inputs = inputs.detach().requires_grad_()
                (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(inputs), y[part]), inputs)
                inputs = inward(
                    x[part], inputs.detach() + radius / 2 * slope.sign() - x[part], "linf", radius
                )
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(inputs), y[part]).backward()
            optimiser.step()
    return net.eval(), x[test], y[test]


def compare(seed: int, points: int) -> None:
    """Print one line per case."""
    for name, radius, norm, eps in CASES:
        net, x, y = trained(seed, radius)
        x, y = x[:points], y[:points]
        data = from_arrays(x.numpy(), y.numpy(), options=DataOptions(bounds=(0, 1)))
        opened = open_live(net, data, None, ModelOptions())
        subjects = Subjects(model=opened.model, data=opened.data, attachments=Nowhere())
        check = GradientCheck(Settings(norms=(norm,), eps=(eps,), limit=points))
        start = time.process_time()
        (evidence,) = check.run(subjects, budget=Meter(), seed=seed)
        ours = time.process_time() - start
        ball = (norm, eps)
        start = time.process_time()
        plain = pgd(net, (x, y), ball, 40)
        theirs = time.process_time() - start
        longer = pgd(net, (x, y), ball, 200)
        left = (len(evidence.outcome["correct"]) - len(evidence.outcome["broken"])) / evidence.n
        passes = (evidence.cost.forward + evidence.cost.backward) / (80 * len(x))
        line = f"{name:<10}{norm:<5}{eps:<6}{seed:>4}{left:>11.1%}{plain:>8.1%}{longer:>9.1%}"
        print(f"{line}{passes:>9.2f}{ours / theirs:>6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--points", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    robust = f"{'modelward':>11}{'PGD-40':>8}{'PGD-200':>9}"
    print(f"{'net':<10}{'ball':<11}{'seed':>4}{robust}{'passes':>9}{'CPU':>6}   (of PGD-40's)")
    for seed in map(int, args.seeds.split(",")):
        compare(seed, args.points)


if __name__ == "__main__":
    main()
