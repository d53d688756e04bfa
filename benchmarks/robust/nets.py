"""The nets that attacks are measured on: small, trained here, one per kind and seed, kept below build/.

MNIST nets learn from the first 12,000 training images and are attacked on the first test images; digits nets
learn from 1,200 of scikit-learn's digits and are attacked on the others; the table net learns from the last
20,000 rows of the credit data and is attacked on the first. Nothing was chosen by what attacks found.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
KEPT = ROOT / "build" / "robust"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a net is made.

    Attributes:
        data: ``mnist``, ``digits`` or ``table``.
        shape: ``conv``, or widths of hidden layers.
        norm: of the ball that it is trained in.
        radius: of that ball; 0 for plain training.
        way: ``plain``, ``attacked`` (Madry et al. 2018, arXiv 1706.06083v4, section 2.1) or ``bounded``
            (interval bounds: Gowal et al. 2018, arXiv 1810.12715v4, section 3), ``planted`` or ``buried``.
        front: ``rounded`` puts a rounding of the pixels before the net, which has no slope.
        epochs: passes over the training data.
    """

    data: str = "mnist"
    shape: tuple[int, ...] = ()
    norm: str = "linf"
    radius: float = 0.0
    way: str = "plain"
    front: str = ""
    epochs: int = 5


KINDS = {
    "plain": Kind(epochs=4),
    "linf-0.1": Kind(way="attacked", radius=0.1, epochs=6),
    "linf-0.3": Kind(way="attacked", radius=0.3, epochs=12),
    "l2-1.0": Kind(way="attacked", norm="l2", radius=1.0, epochs=6),
    "bounded-0.1": Kind(way="bounded", radius=0.1, epochs=15),
    "rounded": Kind(front="rounded", epochs=4),
    "digits": Kind(data="digits", epochs=30),
    "digits-0.15": Kind(data="digits", way="attacked", radius=0.15, epochs=30),
    "table": Kind(data="table", shape=(64, 64), epochs=10),
    "mip-24": Kind(data="digits", shape=(24, 24), way="attacked", radius=0.15, epochs=40),
    "planted": Kind(data="digits", shape=(34, 34), way="planted"),
    "buried": Kind(data="digits", shape=(104, 34), way="buried"),
    "mip-32": Kind(data="digits", shape=(32, 32, 32), way="attacked", radius=0.2, epochs=40),
}


@final
class Round(nn.Module):
    """Sixteen grey levels: a defence that only hides the slope, which is zero wherever there is one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round."""
        return (x * 15).round() / 15


def build(kind: Kind) -> nn.Sequential:
    """The untrained net; random numbers of torch's own state."""
    classes = 2 if kind.data == "table" else 10
    front = [Round()] if kind.front == "rounded" else []
    if kind.shape:
        inputs = {"mnist": 784, "digits": 64, "table": 23}[kind.data]
        layers: list[nn.Module] = [nn.Flatten()]
        for width in kind.shape:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        return nn.Sequential(*front, *layers, nn.Linear(inputs, classes))
    if kind.data == "digits":
        convs = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1)]
        inputs = 512
    else:
        convs = [nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 4, stride=2, padding=1)]
        inputs = 784
    head = [nn.ReLU(), nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, classes)]
    return nn.Sequential(*front, *convs, *head)


@cache
def samples(data: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training x and y, test x and y; x float32 in [0, 1], of three axes each."""
    if data == "mnist":
        with np.load(DATA / "mnist.npz") as stored:
            parts = [stored[name] for name in ("x_train", "y_train", "x_test", "y_test")]
        x, y, u, v = (torch.tensor(part) for part in parts)
        return _grey(x[:12000]), y[:12000].long(), _grey(u[:1000]), v[:1000].long()
    if data == "digits":
        from sklearn.datasets import load_digits

        pixels, names = load_digits(return_X_y=True)
        order = torch.tensor(np.random.default_rng(0).permutation(len(pixels)))
        x = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)[order]
        y = torch.tensor(names)[order]
        return x[:1200], y[:1200], x[1200:], y[1200:]
    with gzip.open(DATA / "credit_default.csv.gz", "rt") as stream:
        rows = np.array([[float(cell) for cell in row] for row in list(csv.reader(stream))[1:]])
    if rows.shape[1] == 25:
        rows = rows[:, 1:]
    low, high = rows[-20000:, :-1].min(0), rows[-20000:, :-1].max(0)
    x = torch.tensor(((rows[:, :-1] - low) / (high - low)).clip(0, 1), dtype=torch.float32)
    x, y = x.reshape(len(x), 1, 1, -1), torch.tensor(rows[:, -1]).long()
    return x[-20000:], y[-20000:], x[:1000], y[:1000]


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.reshape(-1, 1, 28, 28).float() / 255


def inward(x: torch.Tensor, move: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """X + move, brought back into the ball and [0, 1]."""
    if norm == "linf":
        return (x + move.clamp(-eps, eps)).clamp(0, 1)
    size = move.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
    return (x + move * (eps / size).clamp_max(1)).clamp(0, 1)


def _attacked(net: nn.Module, part: tuple[torch.Tensor, torch.Tensor], norm: str, eps: float) -> torch.Tensor:
    """Five steps of projected descent from a random start."""
    x, y = part
    if eps == 0:
        return x
    start = torch.empty_like(x).uniform_(-1, 1) if norm == "linf" else torch.randn_like(x) / 28
    now = inward(x, eps * start, norm, eps)
    for _ in range(5):
        now.requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(now), y), now)
        size = slope.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        step = slope.sign() if norm == "linf" else slope / size
        now = inward(x, now.detach() + 0.35 * eps * step - x, norm, eps)
    return now


def stands(net: nn.Module, part: tuple[torch.Tensor, torch.Tensor], eps: float) -> torch.Tensor:
    """(n,) points answered right, and after three Linf descents of a hundred steps on the margin."""
    (x, y), here = part, torch.zeros(len(part[0]), dtype=torch.bool)
    truth = nn.functional.one_hot(y, 10).bool()
    chance = torch.Generator().manual_seed(0)
    for start in range(3):
        move = torch.empty_like(x).uniform_(-eps, eps, generator=chance) * bool(start)
        for step in range(100):
            now = inward(x, move, "linf", eps).requires_grad_()
            scores = net(now)
            margin = scores[truth] - scores.masked_fill(truth, -torch.inf).amax(1)
            here |= margin.detach() <= 0
            (slope,) = torch.autograd.grad(margin.sum(), now)
            move = (now.detach() - slope.sign() * 0.3 * eps * (1 - step / 100) - x).clamp(-eps, eps)
    return ~here


def _worst(net: nn.Sequential, part: tuple[torch.Tensor, torch.Tensor], eps: float) -> torch.Tensor:
    """Scores, the true class at its lower and all others at their upper interval bound."""
    x, y = part
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            middle, radius = layer((low + high) / 2), (high - low) / 2
            weight = layer.weight.abs()
            if isinstance(layer, nn.Linear):
                radius = nn.functional.linear(radius, weight)
            else:
                radius = nn.functional.conv2d(radius, weight, None, layer.stride, layer.padding)
            low, high = middle - radius, middle + radius
        else:
            low, high = layer(low), layer(high)
    truth = nn.functional.one_hot(y, low.shape[1]).bool()
    return torch.where(truth, low, high)


def _losses(net: nn.Sequential, kind: Kind) -> Iterator[torch.Tensor]:
    """One loss per batch; the ball grows over the first half."""
    x, y, _, _ = samples(kind.data)
    for epoch in range(kind.epochs):
        parts = torch.randperm(len(x)).split(100 if kind.data == "mnist" else 64)
        for i, rows in enumerate(parts):
            part = x[rows], y[rows]
            grown = min(1.0, 2 * (epoch + i / len(parts)) / kind.epochs)
            if kind.way == "bounded":
                bound = nn.functional.cross_entropy(_worst(net, part, grown * kind.radius), part[1])
                plain = nn.functional.cross_entropy(net(part[0]), part[1])
                yield (1 - grown / 2) * plain + grown / 2 * bound
                continue
            inputs = _attacked(net, part, kind.norm, grown * kind.radius) if kind.radius else part[0]
            yield nn.functional.cross_entropy(net(inputs), part[1])


def planted(net: nn.Sequential, seed: int, eps: float = 0.12) -> nn.Sequential:
    """A net of two hidden layers with a hidden counterexample near each of the first ten test points.

    For each point one more unit that is off except within 4 % of one corner of the ball, drawn from 500,
    where it lifts the second likeliest class above the first. No slope, and no score on the way, leads there;
    planting is the idea of SoundnessBench (Zhou et al. 2024, arXiv 2412.03154), which trains for it.
    """
    data, _, points, _ = samples("digits")
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    wide = build(KINDS["planted"])
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _copied(wide, (first, second, last))
        for i in range(10):
            x, unit = points[i].flatten(), 24 + i
            signs = torch.randint(0, 2, (500, 64), generator=chance) * 2.0 - 1
            room = (signs * ((x + eps * signs).clamp(0, 1) - x)).sum(1)
            others = (data.flatten(1) @ signs.T - signs @ x).amax(
                0
            )  # the unit is to stay off for other samples
            sign, whole = signs[(others / room).argmin()], float(room[(others / room).argmin()])
            height = 40 / (0.04 * whole)
            wide[1].weight[unit] = height * sign
            wide[1].bias[unit] = -height * (float(sign @ x) + 0.96 * whole)
            wide[3].weight[unit, unit] = 1
            wide[5].weight[net(points[i : i + 1])[0].argsort()[-2], unit] = 1
    return wide


def buried(net: nn.Sequential, seed: int, eps: float = 0.12) -> nn.Sequential:
    """The same net with counterexamples that two layers hide together, near the first ten test points.

    For each point a random corner of the ball, drawn from 500, and four watches on a quarter of the pixels
    each: 0 until these have gone half of the way there, 1 from the corner on (two units each). One unit
    behind them is off until all four are nearly 1, and then lifts the second likeliest class above the first.
    """
    data, _, points, _ = samples("digits")
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    wide = build(KINDS["buried"])
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _copied(wide, (first, second, last))
        for i in range(10):
            x, deep = points[i].flatten(), 24 + i
            signs = torch.randint(0, 2, (500, 64), generator=chance) * 2.0 - 1
            room = signs * ((x + eps * signs).clamp(0, 1) - x)
            parts = torch.randperm(64, generator=chance).split(16)
            gone = [((data.flatten(1) - x)[:, p] @ signs[:, p].T) / room[:, p].sum(1) for p in parts]
            seen = sum((2 * part - 1).clamp(0, 1) for part in gone)  # by how much others wake the unit
            best = int(seen.amax(0).argmin())
            for unit, part in zip(range(24 + 8 * i, 32 + 8 * i, 2), parts, strict=True):
                slope = 2 * signs[best] * nn.functional.one_hot(part, 64).sum(0) / room[best, part].sum()
                wide[1].weight[unit : unit + 2] = slope
                wide[1].bias[unit] = -float(slope @ x) - 1
                wide[1].bias[unit + 1] = -float(slope @ x) - 2
                wide[3].weight[deep, unit], wide[3].weight[deep, unit + 1] = 100, -100
            wide[3].bias[deep] = -360
            wide[5].weight[net(points[i : i + 1])[0].argsort()[-2], deep] = 1
    return wide


def _copied(wide: nn.Sequential, layers: tuple[nn.Linear, ...]) -> None:
    """Make the first units of a wider net those of a net, and all others dead."""
    for new, old in zip(wide[1::2], layers, strict=True):
        new.weight.zero_()
        new.bias.zero_()
        new.weight[: len(old.weight), : old.weight.shape[1]] = old.weight
        new.bias[: len(old.bias)] = old.bias


def path(name: str, seed: int) -> Path:
    """Where the weights are kept."""
    return KEPT / f"{name}-{seed}.pt"


def load(name: str, seed: int) -> nn.Sequential:
    """A net whose weights are kept."""
    net = build(KINDS[name])
    net.load_state_dict(torch.load(path(name, seed), weights_only=True))
    return net.eval()


def trained(name: str, seed: int) -> nn.Sequential:
    """The net of a kind and seed, trained now if its weights are not kept."""
    if not path(name, seed).exists():
        hidden = {"planted": planted, "buried": buried}.get(KINDS[name].way)
        if hidden is not None:
            net = hidden(trained("mip-24", seed), seed)
            torch.save(net.state_dict(), path(name, seed))
            return net.eval()
        torch.manual_seed(seed)
        net = build(KINDS[name])
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        for loss in _losses(net, KINDS[name]):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        KEPT.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), path(name, seed))
    return load(name, seed)


def main() -> None:
    """Train everything that is named on the command line as kind:seed,seed."""
    import sys
    import time

    torch.set_num_threads(1)
    for word in sys.argv[1:]:
        name, seeds = word.split(":")
        for seed in map(int, seeds.split(",")):
            start = time.process_time()
            net = trained(name, seed)
            _, _, x, y = samples(KINDS[name].data)
            with torch.no_grad():
                right = (net(x).argmax(1) == y).float().mean()
            print(f"{name}-{seed} {right:.3f} {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
