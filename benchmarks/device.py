"""Samples forward and backward in a second of the gradient attack's step, in each way that it may be asked.

    python benchmarks/device.py [--batches 32,128,512] [--seconds 1.0] [--translate] [--device cuda]

Plain, with channels last in memory, and, on CUDA, recorded as a graph; with `--translate` also compiled,
which takes minutes before it starts. Nets have random weights, on which speed does not depend. Each way must
say what the plain one says (`agree`), or its figure is not printed. CPU: least processor time of several
runs, one thread.
"""

from __future__ import annotations

import argparse
import time
from itertools import chain

import torch
from torch import nn

from modelward.threats.evasion.gradient.device import accelerator, exact, machine
from modelward.threats.evasion.gradient.steps import Plain, Question, Recorded, agree

torch.set_num_threads(1)
ASKED = 4  # a step is recorded at its fourth question


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        """Answer."""
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(inner)) + self.shortcut(x))


def dense(channels, size, stride):
    """Two convolutions and two linear layers."""
    kernel = (
        {"kernel_size": 4, "stride": 2, "padding": 1} if stride == 2 else {"kernel_size": 3, "padding": 1}
    )
    layers = [
        nn.Conv2d(channels, 16, **kernel),
        nn.ReLU(),
        nn.Conv2d(16, 32, **kernel),
        nn.ReLU(),
        nn.Flatten(),
    ]
    inner = 32 * (size // stride**2) ** 2
    return nn.Sequential(*layers, nn.Linear(inner, 100), nn.ReLU(), nn.Linear(100, 10))


def residual(width):
    """Three blocks of a growing number of channels."""
    blocks = chain([Block(3, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)])
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


NETS = {
    "digits, 2 convolutions": (lambda: dense(1, 8, 1), (1, 8, 8)),
    "MNIST, 2 strided convolutions": (lambda: dense(1, 28, 2), (1, 28, 28)),
    "CIFAR, 3 residual blocks from 32 channels": (lambda: residual(32), (3, 32, 32)),
}


def rate(work, rows, seconds, offer):
    """Samples forward and backward in a second: the best of five parts of the time."""
    clock = offer.seconds if offer is not None else processor_time
    once = min(clock(work) for _ in range(2))
    repeats = max(1, int(seconds / 5 / once))
    spent = min(clock(lambda: [work() for _ in range(repeats)]) for _ in range(5))
    return 2 * rows * repeats / spent


def processor_time(work):
    """How much of the processor some work took."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def ways(net, offer, *, translate):
    """Names, and how each asks."""
    plain, last = Plain(net), Plain(net, last=True)
    found = {"plain": plain, "channels last": last}
    if offer is not None:
        found["graph"] = Recorded(plain, offer.record, lambda *_: True)
        found["graph, channels last"] = Recorded(last, offer.record, lambda *_: True)
    if translate:
        compiled = Plain(torch.compile(net, dynamic=False) if offer is None else offer.translate(net))
        found["compiled"] = compiled if offer is None else Recorded(compiled, offer.record, lambda *_: True)
    return found


def line(name, rows, device, choices):
    """One net and size of batch."""
    build, shape = NETS[name]
    torch.manual_seed(0)
    net = build().eval().requires_grad_(requires_grad=False).to(device)
    x, target = torch.rand(rows, *shape), torch.arange(rows) % 10
    asked = Question(x, target, torch.full_like(target, -1)).each(lambda values: values.to(device))
    sure, offer, rates = Plain(net)(asked, "margin"), machine(device), {}
    for way, ask in ways(net, offer, translate=choices.translate).items():
        seen = [ask(asked, "margin") for _ in range(ASKED)][-1]
        if agree(seen, sure):
            rates[way] = rate(lambda ask=ask: ask(asked, "margin"), rows, choices.seconds, offer)
    told = "; ".join(f"{way} {found:,.0f} ({found / rates['plain']:.2f})" for way, found in rates.items())
    print(f"{name}, batch {rows}, {device}: {told}", flush=True)


def main():
    """Every net with every size of batch."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    reader.add_argument("--batches", default="32,128,512")
    reader.add_argument("--seconds", type=float, default=1.0)
    reader.add_argument("--translate", action="store_true")
    reader.add_argument(
        "--device", default=None, help="where to run; the current CUDA device if there is one"
    )
    choices = reader.parse_args()
    device = torch.device(choices.device) if choices.device else accelerator() or torch.device("cpu")
    if device.type == "cpu":
        print("no CUDA device: graphs are not measured")
    with exact():
        for name in NETS:
            for rows in map(int, choices.batches.split(",")):
                line(name, rows, device, choices)


if __name__ == "__main__":
    main()
