"""Constructions that once were certified although an admissible input makes the network wrong, or that crashed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.cascade import Cascade, Method
from modelward.threats.evasion.bounds.inputs import enclosed
from modelward.threats.evasion.bounds.propagate import traced
from modelward.threats.evasion.reach import Reach
from modelward.threats.evasion.threat import Threat


def ball(points, norm, eps, *, upper=1.0, category=None, cost=None):
    points = np.asarray(points, np.float32)
    shape = points.shape[1:]
    codes = np.zeros(shape, np.bool_) if category is None else np.array(category)
    price = np.ones(shape) if cost is None else np.array(cost, np.float64)
    return Reach(
        threat=Threat(norm, eps),
        points=points,
        lower=np.zeros(shape),
        upper=np.full(shape, upper),
        scale=1.0 / price,
        free=np.where(codes, eps >= price, True),
        whole=codes,
        category=codes,
        groups=(),
        cells=np.arange(int(np.prod(shape))).reshape(shape),
        direction=np.zeros(shape, np.int64),
    )


def proved(module, reach, target, *, preset, tolerance=0.0):
    method = Method(graph=traced(module.eval()), tolerance=tolerance, preset=preset, spend=lambda **_: True)
    goal = torch.tensor([target])
    cascade = Cascade(method, lambda index: enclosed(reach, np.asarray(index.numpy())), goal)
    with torch.no_grad():
        index = torch.arange(1)
        cascade.cheap(index)
        margins = cascade.dear(index)
        if preset == "thorough" and margins is not None:
            list(cascade.search(margins, index, Effort()))
    return int(cascade.proved[0]) >= 0


def linear(weight, bias):
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("preset", ["quick", "standard"])
def test_two_cheap_categories_may_change_together(norm, preset):
    net = linear([[0.0, 0.0], [1.0, 1.0]], [4.0, 0.0])
    reach = ball([[0.0, 0.0]], norm, 1.0, upper=3.0, category=[True, True], cost=[0.5, 0.5])
    changed = np.array([[3.0, 3.0]], np.float32)
    assert reach.admits(changed, np.zeros(1, np.int64)).all()
    assert net(torch.tensor(changed)).argmax() == 1
    assert not proved(net, reach, 0, preset=preset)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_one_dear_category_alone_is_still_proved(norm):
    net = linear([[0.0, 0.0], [1.0, 1.0]], [4.0, 0.0])
    reach = ball([[0.0, 0.0]], norm, 1.0, upper=3.0, category=[True, True], cost=[1.0, 1.0])
    assert proved(net, reach, 0, preset="standard") == (norm == "l1")


def test_a_margin_that_no_bound_reaches_is_no_certificate():
    """Scores near 1e6 and a coarse copy: the margin asked for is above what the bisection looks through."""
    net = nn.Sequential(
        linear([[1.0], [-1.0]], [0.0, 0.0]), nn.ReLU(), linear([[0.0, 0.0], [1.0, 1.0]], [1e6, 0.985e6])
    )
    reach = ball([[0.5]], "linf", 0.01)
    assert not proved(net, reach, 0, preset="thorough", tolerance=1e-2)


class Dense(nn.Module):
    """Forty layers that all read the input: a value with more consumers than the rounding account allows."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6 + i, 1) for i in range(40)])
        self.last = nn.Linear(46, 3)

    def forward(self, x):
        seen = [x]
        for layer in self.layers:
            seen.append(torch.relu(layer(torch.cat(seen, 1))))
        return self.last(torch.cat(seen, 1))


@pytest.mark.parametrize("preset", ["standard", "thorough"])
def test_a_value_that_many_read_is_bounded_or_left_open_and_never_crashes(preset):
    torch.manual_seed(0)
    net, x = Dense(), np.full((1, 6), 0.5, np.float32)
    target = int(net(torch.tensor(x)).argmax())
    assert proved(net, ball(x, "linf", 0.5), target, preset=preset) in {True, False}


@pytest.mark.parametrize("large", [1e30, 1e34])
def test_coefficients_that_underflow_prove_nothing(large):
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        first.weight.fill_(large)
        second.weight.fill_(1 / large)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), linear([[0.0], [1e-16]], [6e-17, 0.0]))
    reach = ball([[0.5]], "linf", 0.3)
    changed = np.array([[0.75]], np.float32)
    assert reach.admits(changed, np.zeros(1, np.int64)).all()
    assert net(torch.tensor(changed)).argmax() == 1
    assert not proved(net, reach, 0, preset="standard")
