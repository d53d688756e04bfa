"""Small networks whose answers under attack are known, and tasks to train them on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.bounds.propagate import traced
from modelward.threats.evasion.harden.ball import Ball
from modelward.threats.evasion.harden.fit import Task, fit
from modelward.threats.evasion.harden.losses import Batch, Network
from modelward.threats.evasion.harden.methods import PROVED, Training
from modelward.threats.evasion.harden.watch import HeldOut


def square(norm="linf", eps=0.1, shape=(2,)):
    """A ball in the unit box."""
    one = torch.ones(shape)
    return Ball(norm=norm, eps=eps, lower=0 * one, upper=one, unit=one)


def cloud(n, seed=0):
    """Two classes in the unit square, 0.4 apart along the first axis."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    x = np.stack([np.where(y == 1, 0.7, 0.3) + random.uniform(-0.1, 0.1, n), random.uniform(0, 1, n)], 1)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def small_net(seed=0):
    """Two inputs, one hidden layer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


def network(module, **choices):
    """A network with its graph where the method needs one."""
    choices = {"method": "pgd", "eps": 0.1, "epochs": 2, "batch": 32, "rate": 0.01, "steps": 3} | choices
    training = Training(**choices)
    graph = traced(module) if training.method in PROVED else None
    return Network(module=module, graph=graph, training=training)


def task(module=None, *, checkpoint=None, limit=None, seed=0, clock=None, **choices):
    """A training on the two clouds."""
    net = network(small_net() if module is None else module, **choices)
    x, y = cloud(192)
    around = square(net.training.norm, net.training.eps)
    meter = Meter(limit or Budget(), **({} if clock is None else {"clock": clock}))
    held_out = HeldOut(x=x[128:], y=y[128:], ball=around)
    return Task(
        net=net, x=x[:128], y=y[:128], held_out=held_out, seed=seed, meter=meter, checkpoint=checkpoint
    )


@pytest.fixture
def build():
    """What the tests build from."""
    return SimpleNamespace(
        square=square, cloud=cloud, small_net=small_net, network=network, task=task, fit=fit, Batch=Batch
    )


@pytest.fixture
def batch():
    """A batch of the two clouds at the full radius."""

    def batch(n=16, **changes):
        x, y = cloud(n)
        return Batch(**({"x": x, "y": y, "ball": square(), "grown": 1.0, "steps": 3} | changes))

    return batch
