"""The gradient attack beside AutoAttack, ART, Foolbox and torchattacks, on the same points of the same nets.

    python benchmarks/evasion.py [--seeds 0,1,2] [--points 200] [--nets plain,linf-0.3] [--preset standard]
    python benchmarks/evasion.py --mip [--seeds 0,1,2] [--preset thorough]

The first form prints, per net and ball, robust accuracy (witnesses of the peers are checked here), passes
(samples sent forward plus backward; for modelward also those that the original runtime answered) and CPU
seconds on one thread, both as a multiple of modelward's, and the points that only one of the two breaks. The
second form counts, among points that a solver proved attackable and AutoAttack does not break, those that the
preset breaks. Nets are trained here (`robust/nets.py`) and kept with the peers' results below build/robust.
Peers run in environments of their own; AutoAttack is on no package index and is taken from its repository, or
from build/peers/auto-attack when that folder is there. CPU seconds of kept results are of an earlier run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from peers import ROOT as PEERS
from peers import peer
from robust.mip import edges, witness
from robust.nets import KEPT, KINDS, samples, stands, trained

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.budget import Meter
from modelward.core.catalogue import check_entry, load_check
from modelward.core.check import Settings, Subjects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

CASES = (
    ("plain", "linf", 0.05),
    ("plain", "l2", 1.0),
    ("linf-0.1", "linf", 0.1),
    ("linf-0.3", "linf", 0.3),
    ("l2-1.0", "l2", 1.0),
    ("l2-1.0", "l1", 5.0),
    ("bounded-0.1", "linf", 0.1),
    ("rounded", "linf", 0.12),
    ("digits", "linf", 0.06),
    ("digits", "l2", 0.35),
    ("digits-0.15", "linf", 0.15),
    ("digits-0.15", "linf", 0.25),
    ("digits-0.15", "l2", 0.9),
    ("table", "linf", 0.02),
)
RADII = {
    "planted": (0.12, 1.0),
    "buried": (0.12, 1.0),
}
EDGES = ("mip-24", "mip-32")
EDGE = 0.99
"""Of the smallest radius at which descents break a point: only those are left that no slope leads to."""
TORCH = "torch==2.13.0"
PACKAGES = {
    "AutoAttack": ("numpy",),
    "ART AutoAttack": ("adversarial-robustness-toolbox==1.20.1", "multiprocess", "packaging"),
    "Foolbox PGD-40": ("foolbox==3.3.4",),
    "torchattacks PGD-40": ("torchattacks==3.5.1",),
}
REVISION = "a39220048b3c9f2cca9a4d3a54604793c68eca7e"
SLACK = 1e-5
"""By which share of eps a peer's input may leave the ball, since they round in float32."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one tool achieved.

    Attributes:
        broken: (n,) points answered right unmodified and wrong on an input within the ball.
        forward: samples sent forward, those asked of the original runtime among them.
        backward: samples differentiated.
        seconds: CPU.
    """

    broken: np.ndarray
    forward: int
    backward: int
    seconds: float

    @property
    def passes(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One net, its points and a ball; only some of the points where rows are named; radii: one each."""

    name: str
    seed: int
    norm: str
    eps: float
    points: int
    rows: tuple[int, ...] = ()
    radii: tuple[float, ...] = ()

    @property
    def net(self) -> nn.Module:
        """Trained, or as kept."""
        return trained(self.name, self.seed)

    @property
    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The first test points, or the named ones of them."""
        _, _, x, y = samples(KINDS[self.name].data)
        rows = list(self.rows or range(self.points))
        return x[rows], y[rows]

    def kept(self, tool: str) -> Path:
        """Where a peer's result is kept."""
        rows = "-".join(["rows", *map(str, self.rows)] if self.rows else [str(self.points)])
        words = [
            *tool.split(),
            self.name,
            str(self.seed),
            self.norm,
            "edge" if self.radii else str(self.eps),
            rows,
        ]
        return KEPT / ("_".join(words) + ".npz")


class Nowhere:
    """Takes attachments and keeps none."""

    def put(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Drop them."""
        del arrays
        return "sha256:" + "0" * 64


def ours(task: Task, preset: str) -> Result:
    """The check `evasion.gradient`, opened on the live net."""
    net, (x, y) = task.net, task.samples
    data = from_arrays(x.numpy(), y.numpy(), options=DataOptions(bounds=(0, 1)))
    opened = open_live(net, data, None, ModelOptions())
    subjects = Subjects(model=opened.model, data=opened.data, attachments=Nowhere())
    settings = Settings(norms=(task.norm,), eps=(task.eps,), limit=len(x), preset=preset)
    check = load_check(check_entry("evasion.gradient"))(settings)
    sent = [0]
    net.register_forward_hook(lambda module, inputs, scores: sent.append(len(scores)))  # noqa: ARG005
    start = time.process_time()
    (evidence,) = check.run(subjects, budget=Meter(), seed=task.seed)
    seconds = time.process_time() - start
    cost = evidence.cost
    if sum(sent) > cost.forward + cost.queries:
        print(f"  {sum(sent)} samples were sent, {cost.forward} + {cost.queries} are booked")
    broken = np.zeros(len(x), np.bool_)
    broken[np.array(evidence.outcome["broken"], np.int64)] = True
    return Result(broken=broken, forward=cost.forward + cost.queries, backward=cost.backward, seconds=seconds)


def theirs(task: Task, tool: str) -> Result | None:
    """A peer's result, checked against ball, box and label here; null when the peer fails."""
    target = task.kept(tool)
    net, (x, y) = task.net, task.samples
    if not target.exists():
        worker = Path(__file__).parent / "robust" / "worker.py"
        source = target.with_suffix(".points.npz")
        np.savez(source, x=x.numpy(), y=y.numpy())
        radii = ",".join(map(str, task.radii)) or str(task.eps)
        words = [tool, task.name, str(task.seed), task.norm, radii, str(source), str(target)]
        python, environment = peer(TORCH, *PACKAGES[tool]), {"OMP_NUM_THREADS": "1"}
        if tool == "AutoAttack":
            environment["PYTHONPATH"] = str(source_of_autoattack())
        done = subprocess.run(
            [str(python), str(worker), *words], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            print(f"  {tool}: {done.stderr.strip().splitlines()[-1]}")
            return None
    with np.load(target) as stored:
        found, cost, seconds = torch.tensor(stored["x"]), stored["cost"], float(stored["seconds"])
    eps = torch.tensor(task.radii or [task.eps] * len(x)).double()
    if task.norm == "linf":  # what lies outside by rounding is moved inside: a net that rounds would tell
        inner = eps.reshape(-1, 1, 1, 1) * (1 - 1e-6)
        found = (x.double() + (found.double() - x.double()).clamp(-inner, inner)).float().clamp(0, 1)
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[task.norm]
    size = (found.double() - x.double()).flatten(1).norm(order, dim=1)
    fair = (size <= eps * (1 + SLACK)) & ((found >= 0) & (found <= 1)).flatten(1).all(1)
    with torch.no_grad():
        right, wrong = net(x).argmax(1) == y, net(found).argmax(1) != y
    if bool((right & wrong & ~fair).any()):
        print(f"  {tool}: {int((right & wrong & ~fair).sum())} inputs left the ball or the box")
    broken = (right & wrong & fair).numpy()
    return Result(broken=broken, forward=int(cost[0]), backward=int(cost[1]), seconds=seconds)


def source_of_autoattack() -> Path:
    """The folder that holds the package `autoattack` at the pinned revision."""
    folder = PEERS / "auto-attack"
    if not folder.exists():
        address = "https://github.com/fra31/auto-attack"
        subprocess.run(["git", "clone", "--quiet", address, str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", REVISION], check=True)
    return folder


def compare(task: Task, tools: list[str], preset: str) -> None:
    """Print the block of one net and ball."""
    net, (x, y) = task.net, task.samples
    with torch.no_grad():
        right = (net(x).argmax(1) == y).numpy()
    mine = ours(task, preset)
    head = f"{task.name} seed {task.seed}, {task.norm} {task.eps}, n {len(x)}, clean {right.mean():.1%}"
    print(f"{head}\n{line(preset, right, mine, mine)}", flush=True)
    for tool in tools:
        other = theirs(task, tool)
        if other is not None:
            print(line(tool, right, other, mine), flush=True)


def line(name: str, right: np.ndarray, result: Result, mine: Result) -> str:
    """One tool: robust accuracy, costs, costs as multiples of ours, and whose points."""
    left = (right & ~result.broken).mean()
    costs = f"{result.forward:>10,}{result.backward:>10,}{result.seconds:>8.1f}"
    ratios = f"{result.passes / mine.passes:>8.1f}x{result.seconds / mine.seconds:>7.1f}x"
    only = f"{(mine.broken & ~result.broken).sum():>6}{(result.broken & ~mine.broken).sum():>6}"
    return f"  {name:<20}{left:>7.1%}{costs}{ratios}{only}"


def attackable(task: Task, outer: float) -> tuple[int, Task]:
    """How many points fall between the task's radius and an outer one, and those attackable at the task's."""
    target = task.kept("attackable")
    if not target.exists():
        net, (x, y) = task.net, task.samples
        close = torch.nonzero(stands(net, (x, y), task.eps) & ~stands(net, (x, y), outer)).flatten().tolist()
        rows = [i for i in close if witness(net, x[i], int(y[i]), task.eps) is not None]
        np.savez(target, close=np.array(close), rows=np.array(rows, np.int64))
    with np.load(target) as stored:
        return len(stored["close"]), replace(task, rows=tuple(stored["rows"].tolist()))


def at_the_edge(task: Task) -> tuple[int, Task]:
    """How many points are answered right, and those attackable by EDGE of the radius that descents need."""
    target = task.kept("edges")
    if not target.exists():
        net, (x, y) = task.net, task.samples
        with torch.no_grad():
            right = torch.nonzero(net(x).argmax(1) == y).flatten()
        radii = (edges(net, (x[right], y[right])).double() * EDGE).tolist()
        seconds = time.process_time()
        pairs = [
            (i, radius)
            for i, radius in zip(right.tolist(), radii, strict=True)
            if witness(net, x[i], int(y[i]), radius) is not None
        ]
        seconds = time.process_time() - seconds
        rows, chosen = ([pair[i] for pair in pairs] for i in (0, 1))
        np.savez(target, tried=len(radii), rows=np.array(rows, np.int64), radii=chosen, seconds=seconds)
    with np.load(target) as stored:
        print(
            f"[solver {float(stored['seconds']) / max(1, int(stored['tried'])):.1f} CPU s per point] ", end=""
        )
        rows, radii = tuple(stored["rows"].tolist()), tuple(stored["radii"].tolist())
        return int(stored["tried"]), replace(task, rows=rows, radii=radii)


def hard(name: str, seed: int, preset: str, points: int) -> tuple[int, int]:
    """How many points proved attackable AutoAttack leaves standing, and how many of them the preset breaks.

    On nets of RADII the solver is asked about the points that projected descent breaks at one radius and not
    at the one before, so that examples lie near the edge; on those of EDGES about every point, each at its
    own radius; AutoAttack about those that the solver attacked.
    """
    found = won = 0
    task = Task(name=name, seed=seed, norm="linf", eps=0.0, points=points)
    if name in EDGES:
        candidates = [(f"{EDGE} of its own radius", lambda: at_the_edge(task))]
    else:
        candidates = [
            (str(inner), partial(attackable, replace(task, eps=inner), outer))
            for inner, outer in pairwise(RADII[name])
        ]
    for radius, ask in candidates:
        print(f"{name} seed {seed}, linf {radius}: ", end="", flush=True)
        close, chosen = ask()
        print(f"{close} asked, {len(chosen.rows)} attackable", end="", flush=True)
        if chosen.rows:
            peers = theirs(chosen, "AutoAttack")
            left = ~peers.broken if peers is not None else np.zeros(len(chosen.rows), np.bool_)
            print(f", AutoAttack leaves {left.sum()}", end="", flush=True)
            mine = each(chosen, preset)
            found, won = found + int(left.sum()), won + int((left & mine.broken).sum())
            per = f"{mine.seconds / len(left):.1f} CPU s per point"
            theirs_per = f"AutoAttack {peers.seconds / len(left):.1f}" if peers is not None else ""
            print(f", of which {preset} breaks {(left & mine.broken).sum()}", end="")
            print(f"; of the others it misses {(~left & ~mine.broken).sum()}; {per}, {theirs_per}", end="")
        print(flush=True)
    return found, won


def each(task: Task, preset: str) -> Result:
    """What the preset achieves, point by point where each has its radius."""
    if not task.radii:
        return ours(task, preset)
    parts = [
        ours(replace(task, rows=(row,), eps=radius, radii=()), preset)
        for row, radius in zip(task.rows, task.radii, strict=True)
    ]
    return Result(
        broken=np.concatenate([part.broken for part in parts]),
        forward=sum(part.forward for part in parts),
        backward=sum(part.backward for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--nets", default="", help="all, unless named with commas between")
    parser.add_argument("--tools", default="AutoAttack,Foolbox PGD-40,torchattacks PGD-40")
    parser.add_argument("--preset", default=None, help="standard, or thorough with --mip")
    parser.add_argument("--mip", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if args.mip:
        preset = args.preset or "thorough"
        chosen = [name for name in (*EDGES, *RADII) if args.nets == "" or name in args.nets.split(",")]
        counts = [hard(name, seed, preset, args.points) for name in chosen for seed in seeds]
        print(f"{preset} breaks {sum(won for _, won in counts)} of {sum(found for found, _ in counts)}")
        return
    columns = f"{'forward':>10}{'backward':>10}{'CPU s':>8}{'passes':>9}{'CPU':>8}{'ours':>6}{'its':>6}"
    print(f"  {'':<20}{'robust':>7}{columns}   (as multiples of ours; points only one breaks)")
    for seed in seeds:
        for name, norm, eps in CASES:
            if args.nets == "" or name in args.nets.split(","):
                task = Task(name=name, seed=seed, norm=norm, eps=eps, points=args.points)
                tools = args.tools.split(",")
                compare(task, tools, args.preset or "standard")


if __name__ == "__main__":
    sys.exit(main())
