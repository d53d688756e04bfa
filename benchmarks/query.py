"""Black-box attacks beside ART's on the same nets and points: robust accuracy, distances, queries, calls.

    python benchmarks/query.py [--nets digits,digits-0.15] [--seeds 0,1,2] [--points 25] [--queries 1000]

Square attack with the model's scores, at one radius each; HopSkipJump with its decisions alone, by the median
distance of the nearest wrong input. Theirs run in an environment of their own (`peers.py`). Both ask the
same torch module on one thread through a counter of samples and calls. ART's HopSkipJump takes a number of
iterations and not of queries: it gets what `--iterations` says, and modelward's attack at most as many
queries as ART's spent on average.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from robust.nets import KEPT, KINDS, samples, trained

torch.set_num_threads(1)
PEER = ("adversarial-robustness-toolbox==1.20.1", "packaging", "torch==2.13.0")
RADII = {
    "digits": {"linf": 0.06, "l2": 0.35},
    "digits-0.15": {"linf": 0.15, "l2": 0.9},
    "plain": {"linf": 0.1, "l2": 2.0},
    "linf-0.3": {"linf": 0.3, "l2": 2.0},
}


class Counted(torch.nn.Module):
    """A net that counts calls and samples."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.calls = self.asked = 0

    def forward(self, x):
        """Count, and answer in float32: ART's HopSkipJump sends float64."""
        self.calls += 1
        self.asked += len(x)
        return self.net(x.float())


@dataclass(frozen=True)
class Task:
    """One net and its points."""

    name: str
    seed: int
    points: int

    def open(self):
        """Give the net behind a counter, and the points that it gets right."""
        net = Counted(trained(self.name, self.seed)).eval()
        x, y = samples(KINDS[self.name].data)[2:]
        x, y = x[: self.points], y[: self.points]
        with torch.no_grad():
            keep = net(x).argmax(1) == y
        net.calls = net.asked = 0
        return net, x[keep].numpy().astype(np.float32), y[keep].numpy()


def result(net, x, found, y, started):
    """What every attack is judged by, the same for all."""
    spent = time.process_time() - started
    calls, asked = net.calls, net.asked
    with torch.no_grad():
        wrong = net(torch.as_tensor(found)).argmax(1).numpy() != y
    change = (found.astype(np.float64) - x).reshape(len(x), -1)
    return {
        "wrong": wrong.tolist(),
        "linf": np.abs(change).max(axis=1).tolist(),
        "l2": np.sqrt(np.square(change).sum(axis=1)).tolist(),
        "calls": calls,
        "asked": asked,
        "cpu": spent,
    }


def theirs(task, attack, norm, eps, amount):
    """Runs in the peer's environment."""
    from art.attacks.evasion import HopSkipJump, SquareAttack
    from art.estimators.classification import PyTorchClassifier

    net, x, y = task.open()
    np.random.seed(0)  # noqa: NPY002 - ART draws from numpy's global state
    order = {"linf": np.inf, "l2": 2}[norm]
    model = PyTorchClassifier(
        net, torch.nn.CrossEntropyLoss(), x.shape[1:], 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    started = time.process_time()
    if attack == "square":
        search = SquareAttack(model, norm=order, eps=eps, max_iter=amount, p_init=0.8, verbose=False)
        found = search.generate(x, np.eye(10)[y])
    else:
        search = HopSkipJump(model, norm=order, max_iter=amount, verbose=False)
        found = search.generate(x)
    return result(net, x, found, y, started)


def ours(task, attack, norm, eps, queries):
    """The check itself, on a model that tells scores or its decision only, without gradients."""
    from modelward.core.budget import Meter
    from modelward.core.check import Settings, Subjects
    from modelward.core.data import Box, Dataset
    from modelward.core.model import Outputs
    from modelward.core.subject import Subject
    from modelward.threats.evasion.arena import Arena, examine
    from modelward.threats.evasion.query.decision import decide
    from modelward.threats.evasion.query.frontier import Frontier
    from modelward.threats.evasion.query.square import Squares
    from modelward.threats.evasion.query.walk import Schedule, walk
    from modelward.threats.evasion.share import Share
    from modelward.threats.evasion.threat import Threat

    net, x, y = task.open()

    class Plain:
        subject = Subject(kind="model", name="net", digest="sha256:net")
        outputs = Outputs(
            kind="logits" if attack == "square" else "labels",
            classes=tuple(str(i) for i in range(10)),
            origin="stated",
        )

        def scores(self, inputs):
            """Scores, or the decision as one-hot rows."""
            with torch.no_grad():
                answer = net(torch.as_tensor(inputs)).double().numpy()
            return answer if attack == "square" else np.eye(10)[answer.argmax(axis=1)]

    one = np.asarray(1.0)
    data = Dataset(
        subject=Subject(kind="dataset", name="points", digest="sha256:points"),
        x=x,
        y=y,
        labels=Plain.outputs.classes,
        rows=np.arange(len(x)),
        total=len(x),
        box=Box(lower=0 * one, upper=one, scale=one, unit="box width", source="stated"),
    )
    meter = Meter()
    points = examine(Subjects(model=Plain(), data=data, attachments=None), Settings(limit=len(x)), meter)
    net.calls = net.asked = 0
    started = time.process_time()
    threat = Threat(norm, eps if attack == "square" else 1e-9)  # no distance ends the search by decisions
    arena = Arena(points, threat, share=Share(meter), seed=task.seed)
    if attack == "square":
        walk(arena, Squares(arena.reach, task.seed), Schedule(queries=queries, part=0.8, guided=True))
        found = x.copy()
        found[arena.broken] = arena.witnesses()["x"]
    else:
        frontier = Frontier(arena, queries, task.seed)
        decide(frontier)
        found = frontier.x.astype(np.float32)
    return result(net, x, found, points.data.y, started)


def peer_result(task, attack, norm, eps, amount):
    """Theirs, kept below build/ so that a second run is quick."""
    from peers import peer

    name = f"ART_{attack}_{task.name}_{task.seed}_{task.points}_{norm}_{eps}_{amount}.json"
    kept = KEPT / "query" / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        words = [task.name, str(task.seed), str(task.points), attack, norm, str(eps), str(amount)]
        subprocess.run(
            [str(peer(*PEER)), __file__, "--worker", *words, str(kept)],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return json.loads(kept.read_text())


def line(title, told, shown):
    n = len(told["wrong"])
    each = told["asked"] / n
    print(
        f"    {title:10} {shown:22} {each:7.0f} queries a point, {told['calls']:6} calls of "
        f"{told['asked'] / told['calls']:6.1f}, {told['cpu']:6.1f} CPU s"
    )


def compare(task, options):
    """Print the block of one net."""
    print(f"{task.name}, seed {task.seed}")
    for norm, eps in RADII[task.name].items():
        pair = [
            peer_result(task, "square", norm, eps, options.queries),
            ours(task, "square", norm, eps, options.queries),
        ]
        print(f"  Square, {norm} {eps}, {options.queries} queries at most, n = {len(pair[0]['wrong'])}")
        for title, told in zip(("ART", "modelward"), pair, strict=True):
            within = np.array(told[norm]) <= eps * (1 + 1e-5)
            stands = 1 - (np.array(told["wrong"]) & within).mean()
            line(title, told, f"{stands:.1%} stand,")
    for norm in ("l2", "linf"):
        art = peer_result(task, "hopskip", norm, 0.0, options.iterations)
        each = int(art["asked"] / len(art["wrong"]))
        pair = [art, ours(task, "decision", norm, 0.0, each)]
        print(f"  decisions alone, {norm}, n = {len(art['wrong'])}")
        for title, told in zip(("ART HSJ", "modelward"), pair, strict=True):
            size = np.where(told["wrong"], told[norm], np.inf)
            line(title, told, f"median distance {np.median(size):.3f},")


def main():
    if sys.argv[1:2] == ["--worker"]:
        name, seed, points, attack, norm, eps, amount, target = sys.argv[2:]
        told = theirs(Task(name, int(seed), int(points)), attack, norm, float(eps), int(amount))
        Path(target).write_text(json.dumps(told))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", default="digits,digits-0.15")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=3)
    options = parser.parse_args()
    for name in options.nets.split(","):
        for seed in options.seeds.split(","):
            compare(Task(name, int(seed), options.points), options)


if __name__ == "__main__":
    main()
