"""Certified shares and CPU: the cascade beside auto_LiRPA's CROWN and alpha-CROWN.

    python benchmarks/certified.py [--seeds 0,1] [--points 40] [--peer DIRECTORY]

Nets: a small CNN on MNIST per seed, trained on certified bounds (IBP) or on attacked inputs (PGD). The peer
is auto_LiRPA from its repository (its release on the package index does not work with current torch):
DIRECTORY holds the package `auto_LiRPA` and what it imports. Thorough gets the CPU seconds that the peer's
alpha-CROWN took, or as many as --seconds says. CPU on one thread; compare within one run.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.cascade import KINDS, Cascade, Method
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.propagate import traced

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
CASES = (("certified", 0.1, 0.1, 800), ("attacked", 0.1, 0.1, 500))
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Result:
    """What one method proved, of how many points that the net gets right, and its CPU seconds."""

    proved: int
    of: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.proved:>4}/{self.of:<4}{self.seconds:>7.1f} s"


def ends(net: nn.Sequential, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Interval bounds of the scores, for training."""
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    for part in net:
        if isinstance(part, nn.Conv2d):
            middle, half = part((low + high) / 2), (high - low) / 2
            half = functional.conv2d(half, part.weight.abs(), None, part.stride, part.padding)
            low, high = middle - half, middle + half
        elif isinstance(part, nn.Linear):
            middle, half = part((low + high) / 2), (high - low) / 2 @ part.weight.abs().T
            low, high = middle - half, middle + half
        else:
            low, high = part(low), part(high)
    return low, high


def attacked(net: nn.Module, batch: Batch, eps: float, random: torch.Generator) -> torch.Tensor:
    """Inputs after four steps of projected gradient descent."""
    x, y = batch
    now = x + eps * (2 * torch.rand(x.shape, generator=random) - 1)
    for _ in range(4):
        now = now.clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(net(now), y), now)
        now = torch.clamp(now.detach() + eps / 2.5 * slope.sign(), x - eps, x + eps)
    return now.clamp(0, 1)


def trained(kind: str, seed: int, eps: float, steps: int) -> nn.Sequential:
    """A CNN of two convolutions and two dense layers; every step sees 128 digits."""
    torch.manual_seed(seed)
    with np.load(MNIST) as file:
        x = torch.from_numpy(file["x_train"]).float().reshape(-1, 1, 28, 28) / 255
        y = torch.from_numpy(file["y_train"]).long()
    net = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    optimiser, random = torch.optim.Adam(net.parameters(), 1e-3), torch.Generator().manual_seed(seed)
    for step in range(steps):
        part = torch.randint(len(x), (128,), generator=random)
        batch, share = (x[part], y[part]), min(1.0, step / (0.7 * steps))
        if kind == "attacked":
            loss = functional.cross_entropy(net(attacked(net, batch, eps * share, random)), batch[1])
        else:
            low, high = ends(net, batch[0], eps * share)
            worst = torch.where(functional.one_hot(batch[1], 10) > 0, low, high)
            loss = (1 - share / 2) * functional.cross_entropy(net(batch[0]), batch[1])
            loss = loss + share / 2 * functional.cross_entropy(worst, batch[1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def held_out(net: nn.Module, points: int) -> Batch:
    """Test digits that the net gets right."""
    with np.load(MNIST) as file:
        x = torch.from_numpy(file["x_test"][:points]).float().reshape(-1, 1, 28, 28) / 255
        y = torch.from_numpy(file["y_test"][:points]).long()
    with torch.no_grad():
        right = net(x).argmax(dim=1) == y
    return x[right], y[right]


def cube(x: torch.Tensor, eps: float) -> Enclosure:
    """The Linf ball within [0, 1]."""
    wide = x.double()
    low, high = (wide - eps).clamp(0, 1), (wide + eps).clamp(0, 1)
    one, zero = torch.ones_like(wide), torch.zeros_like(wide)
    source = Source(
        norm="linf", eps=eps, lower=low, upper=high, origin=wide, scale=one, blur=zero,
        cells=torch.arange(x[0].numel()).reshape(x.shape[1:]),
    )  # fmt: skip
    return Enclosure(low, high, None, source)


def ours(
    net: nn.Sequential, batch: Batch, eps: float, preset: str, seconds: float = 0.0
) -> tuple[Result, str]:
    """The cascade; thorough: until the CPU seconds are spent."""
    x, y = batch
    start = time.process_time()

    def spend(*, forward: int = 0, backward: int = 0, bounds: int = 0) -> bool:
        del forward, backward, bounds
        return preset != "thorough" or time.process_time() - start < seconds

    method = Method(
        graph=traced(net), tolerance=0.0, preset="standard" if preset == "thorough" else preset, spend=spend
    )
    proof = Cascade(method, lambda index: cube(x[index], eps), y)
    with torch.no_grad():
        for part in torch.arange(len(x)).split(64):
            proof.cheap(part)
        parts = torch.split((proof.proved < 0).nonzero()[:, 0], 16)
        kept = [(proof.dear(part), part) for part in parts if len(part)]
        if preset == "thorough":
            for i, (margins, part) in enumerate(kept):
                if margins is not None:
                    done = time.process_time() - start
                    until = done + (seconds - done) / (len(kept) - i)
                    search(proof, (margins, part), lambda until=until: time.process_time() < start + until)
    kinds = ", ".join(f"{int((proof.proved == i).sum())} {name}" for i, name in enumerate(KINDS))
    return Result(int((proof.proved >= 0).sum()), len(x), time.process_time() - start), kinds


def search(proof: Cascade, part: tuple, in_time) -> None:
    """Branch and bound on one batch while there is time."""
    from modelward.threats.evasion.bounds.branch import Search

    margins, index = part
    for tree in Search(margins, Effort(), lambda _: in_time()).run():
        if tree.closed:
            proof.proved[index[tree.point]] = 3


def peer(net: nn.Sequential, batch: Batch, eps: float, method: str) -> Result:
    """auto_LiRPA, ten points at a time, 20 iterations where slopes are optimised."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    x, y = batch
    start, proved = time.process_time(), 0
    for part in torch.arange(len(x)).split(10):
        options = {"optimize_bound_args": {"iteration": 20, "lr_alpha": 0.1}, "conv_mode": "patches"}
        bounded = BoundedModule(net, torch.empty_like(x[part]), bound_opts=options)
        eye = torch.eye(10)
        rivals = [[j for j in range(10) if j != int(label)] for label in y[part]]
        rows = torch.stack(
            [eye[int(label)] - eye[others] for label, others in zip(y[part], rivals, strict=True)]
        )
        low, high = (x[part] - eps).clamp(0, 1), (x[part] + eps).clamp(0, 1)
        ball = PerturbationLpNorm(norm=float("inf"), eps=eps, x_L=low, x_U=high)
        least, _ = bounded.compute_bounds(
            x=(BoundedTensor(x[part], ball),), C=rows, method=method, bound_upper=False
        )
        proved += int((least.min(dim=1).values > 0).sum())
    return Result(proved, len(x), time.process_time() - start)


def compare(seed: int, points: int, allowed: float, *, with_peer: bool) -> None:
    """Print a few lines per case."""
    for kind, radius, eps, steps in CASES:
        net = trained(kind, seed, radius, steps)
        batch = held_out(net, points)
        print(f"{kind} seed {seed} eps {eps}", flush=True)
        seconds = allowed
        for method in ("CROWN", "CROWN-Optimized") if with_peer else ():
            found = peer(net, batch, eps, method)
            seconds = found.seconds
            print(f"  auto_LiRPA {method:<16}{found}", flush=True)
        for preset in ("quick", "standard", "thorough"):
            found, kinds = ours(net, batch, eps, preset, seconds)
            print(f"  modelward {preset:<17}{found}  ({kinds})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peer is not None:
        warnings.simplefilter("ignore")
        sys.path.insert(0, str(args.peer.resolve()))
    for seed in map(int, args.seeds.split(",")):
        compare(seed, args.points, args.seconds, with_peer=args.peer is not None)


if __name__ == "__main__":
    main()
