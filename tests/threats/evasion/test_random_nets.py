"""Random networks over the supported operations: no gradient search breaks a lower bound on the margin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.bounds.enclosure import Ball, Enclosure
from modelward.threats.evasion.bounds.margins import lower_margins
from modelward.threats.evasion.bounds.propagate import propagate, traced

ACTIVATIONS = (
    *(nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Hardswish(), nn.Softplus(), nn.ELU(1.7)),
    *(nn.Tanh(), nn.Sigmoid(), nn.ReLU6(), nn.Hardtanh(-0.3, 0.7), nn.LeakyReLU(0.2)),
)
MODES = ("zeros", "reflect", "replicate", "circular")
BLOCKS = 8


class Block(nn.Module):
    """One of several shapes of computation, in one, two or three spatial axes."""

    def __init__(self, kind, channels, axes, random):
        super().__init__()
        self.kind, self.scale = kind, float(10 ** random.uniform(-1, 1))
        self.one, self.two = (ACTIVATIONS[i] for i in random.integers(0, len(ACTIVATIONS), 2))
        convolution = getattr(nn, f"Conv{axes}d")
        mode = MODES[random.integers(len(MODES))]
        self.conv = convolution(channels, channels, 3, padding=1, padding_mode=mode)
        self.grouped = convolution(channels, channels, 3, padding=2, dilation=2, groups=channels)
        self.norm = getattr(nn, f"BatchNorm{axes}d")(channels)
        for tensor in (self.norm.running_mean, self.norm.weight.data, self.norm.bias.data):
            tensor.normal_()
        self.norm.running_var.uniform_(1e-3, 2)
        self.highest = getattr(nn, f"MaxPool{axes}d")(3, 1, padding=1)
        self.mean = getattr(nn, f"AvgPool{axes}d")(3, 1, padding=1)
        self.matrix = nn.Parameter(torch.randn(channels, *[1] * axes))

    def forward(self, x):
        if self.kind == 0:
            return self.one(self.scale * self.conv(x))
        if self.kind == 1:
            return self.norm(self.two(self.grouped(x)))
        if self.kind == 2:
            return self.highest(self.one(x)) - self.mean(x)
        if self.kind == 3:
            return x + 0.5 * self.one(self.norm(self.conv(x)))
        if self.kind == 4:
            return self.two(self.scale * x) * torch.sigmoid(self.grouped(x))
        if self.kind == 5:
            return torch.narrow(torch.cat([x, self.one(x)], 1), 1, 1, x.shape[1])
        if self.kind == 6:
            return (
                torch.maximum(self.conv(x), self.matrix) + torch.amax(x, 1, keepdim=True) - x.mean(-1, True)
            )
        return torch.sqrt(torch.relu(x) + 0.1) - (x - 0.3).abs() + 0.3 * torch.square(x)


def network(seed):
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    axes, channels = 1 + seed % 3, int(random.integers(1, 4))
    shape = (channels, *[4] * axes)
    blocks = [
        Block(kind, channels, axes, random) for kind in random.integers(0, BLOCKS, random.integers(1, 4))
    ]
    tail = [[], [nn.Softmax(1)], [nn.LogSoftmax(1)]][random.integers(3)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(int(np.prod(shape)), 3), *tail).eval(), shape


def ball(x, scale, norm, eps):
    form = Ball(x.double(), scale.double().expand(x.shape), torch.zeros_like(x).double(), eps)
    return Enclosure((x - eps * scale).double(), (x + eps * scale).double(), form if norm == "l2" else None)


def pulled(change, norm, eps):
    if norm == "linf":
        return change.clamp(-eps * (1 - 1e-6), eps * (1 - 1e-6))
    size = change.flatten(1).norm(dim=1).clamp_min(1e-30).reshape(-1, *[1] * (change.dim() - 1))
    return change * (eps * (1 - 1e-6) / size).clamp_max(1)


def smallest_margin(net, x, target, *, scale, norm, eps):
    """The smallest margin that descent from the centre finds within the ball."""
    change, least = torch.zeros_like(x), torch.full((len(x),), torch.inf)
    for _ in range(15):
        change = change.detach().requires_grad_()
        scores = net(x + change * scale)
        rival = scores.scatter(1, target[:, None], -torch.inf).amax(1)
        margin = scores.gather(1, target[:, None])[:, 0] - rival
        least = torch.minimum(least, margin.detach())
        (slope,) = torch.autograd.grad(margin.sum(), change)
        size = slope.flatten(1).norm(dim=1).clamp_min(1e-30).reshape(-1, *[1] * (x.dim() - 1))
        step = slope.sign() * 0.4 if norm == "linf" else slope / size * 0.5
        change = pulled(change.detach() - eps * step, norm, eps)
    return least.double()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [1e-3, 0.03])
def test_descent_never_falls_below_a_bound(norm, eps):
    certified = 0
    for seed in range(24):
        net, shape = network(seed)
        random = torch.Generator().manual_seed(seed)
        x = torch.rand((4, *shape), generator=random) - 0.5
        scale = 10 ** (2 * torch.rand(shape, generator=random) - 1)  # tables have a unit per feature
        with torch.no_grad():
            target = net(x).argmax(dim=1)
            bound = lower_margins(propagate(traced(net), ball(x, scale, norm, eps)), target).amin(dim=1)
        least = smallest_margin(net, x, target, scale=scale, norm=norm, eps=eps)
        assert (bound <= least).all(), (seed, bound, least)
        certified += int((bound > 0).sum())
    assert certified > 5  # or the test could not fail
