"""Certified shares and CPU: the cascade beside auto_LiRPA's CROWN and alpha-CROWN.

    python benchmarks/certified.py [--seeds 0,1] [--points 40] [--cases NAMES] [--peer DIRECTORY]

Nets per seed: small CNNs on MNIST trained on certified bounds (IBP), on attacked inputs (PGD) or plainly, a
CNN on scikit-learn's digits and a network of dense layers on its breast cancer table, both trained on
attacked inputs. Points are the first of the test set that the net gets right. The peer is auto_LiRPA from its
repository (its release on the package index does not work with current torch): DIRECTORY holds the package
`auto_LiRPA` and what it imports. Thorough gets the CPU seconds that the peer's alpha-CROWN took, or as many
as --seconds says. CPU on one thread; compare within one run. Intervals are Wilson's at 95 %.
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

from modelward.numeric.proportion import wilson
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.cascade import KINDS, Cascade, Method
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.propagate import traced

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A net and what is asked of it."""

    data: str
    kind: str
    eps: float
    steps: int

    def __str__(self) -> str:
        return f"{self.data}-{self.kind}"


CASES = (
    Case("mnist", "certified", 0.1, 800),
    Case("mnist", "attacked", 0.1, 500),
    Case("mnist", "plain", 0.02, 500),
    Case("digits", "attacked", 0.08, 500),
    Case("cancer", "attacked", 0.05, 500),
)


@dataclass(frozen=True)
class Result:
    """What one method proved, of how many points that the net gets right, and its CPU seconds."""

    proved: int
    of: int
    seconds: float

    def __str__(self) -> str:
        low, high = wilson(self.proved, self.of, 0.95)
        return f"{self.proved:>4}/{self.of:<4} [{low:6.1%}, {high:6.1%}] {self.seconds:>7.2f} s"


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


def examples(data: str) -> tuple[Batch, Batch]:
    """Training and test examples, values in [0, 1]."""
    if data == "mnist":
        with np.load(MNIST) as file:
            parts = [
                (file[f"x_{part}"].reshape(-1, 1, 28, 28) / 255, file[f"y_{part}"])
                for part in ("train", "test")
            ]
    else:
        from sklearn import datasets

        bunch = datasets.load_digits() if data == "digits" else datasets.load_breast_cancer()
        x, order = bunch.data, np.random.default_rng(0).permutation(len(bunch.data))
        x = (
            (x - x.min(axis=0)) / np.ptp(x, axis=0).clip(1e-9)
            if data == "cancer"
            else x.reshape(-1, 1, 8, 8) / 16
        )
        parts = [(x[part], bunch.target[part]) for part in (order[: len(x) // 2], order[len(x) // 2 :])]
    first, second = ((torch.from_numpy(x).float(), torch.from_numpy(y).long()) for x, y in parts)
    return first, second


def layers(data: str) -> nn.Sequential:
    """Two convolutions and two dense layers, or three dense layers."""
    if data == "cancer":
        return nn.Sequential(
            nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )  # fmt: skip
    if data == "digits":
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def trained(case: Case, seed: int) -> nn.Sequential:
    """Every step sees 128 examples."""
    torch.manual_seed(seed)
    (x, y), _ = examples(case.data)
    net = layers(case.data)
    classes = net[-1].out_features
    optimiser, random = torch.optim.Adam(net.parameters(), 1e-3), torch.Generator().manual_seed(seed)
    for step in range(case.steps):
        part = torch.randint(len(x), (128,), generator=random)
        batch, share = (x[part], y[part]), min(1.0, step / (0.7 * case.steps))
        if case.kind == "certified":
            low, high = ends(net, batch[0], case.eps * share)
            worst = torch.where(functional.one_hot(batch[1], classes) > 0, low, high)
            loss = (1 - share / 2) * functional.cross_entropy(net(batch[0]), batch[1])
            loss = loss + share / 2 * functional.cross_entropy(worst, batch[1])
        else:
            seen = attacked(net, batch, case.eps * share, random) if case.kind == "attacked" else batch[0]
            loss = functional.cross_entropy(net(seen), batch[1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def held_out(net: nn.Module, case: Case, points: int) -> Batch:
    """Test examples that the net gets right."""
    _, (x, y) = examples(case.data)
    x, y = x[:points], y[:points]
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
        classes = net[-1].out_features
        eye = torch.eye(classes)
        rivals = [[j for j in range(classes) if j != int(label)] for label in y[part]]
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


def compare(case: Case, seed: int, points: int, allowed: float, methods: list[str]) -> None:
    """Print a few lines."""
    net = trained(case, seed)
    batch = held_out(net, case, points)
    print(f"{case} seed {seed} eps {case.eps}", flush=True)
    seconds = allowed
    if methods:
        peer(net, (batch[0][:1], batch[1][:1]), case.eps, "CROWN")  # what it imports is not counted
    for method in methods:
        found = peer(net, batch, case.eps, method)
        seconds = found.seconds if method == "CROWN-Optimized" else seconds
        print(f"  auto_LiRPA {method:<16}{found}", flush=True)
    ours(net, (batch[0][:1], batch[1][:1]), case.eps, "standard")
    for preset in ("quick", "standard", "thorough"):
        found, kinds = ours(net, batch, case.eps, preset, seconds)
        print(f"  modelward {preset:<17}{found}  ({kinds})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--cases", default=",".join(map(str, CASES)))
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--methods", default="CROWN,CROWN-Optimized", help="of the peer")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peer is not None:
        warnings.simplefilter("ignore")
        sys.path.insert(0, str(args.peer.resolve()))
    chosen, methods = args.cases.split(","), args.methods.split(",") if args.peer is not None else []
    for case in (case for case in CASES if str(case) in chosen):
        for seed in map(int, args.seeds.split(",")):
            compare(case, seed, args.points, args.seconds, methods)


if __name__ == "__main__":
    main()
