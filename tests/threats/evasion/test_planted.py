"""Networks made to fool the bounds: each would earn a false certificate if one premise went unchecked."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.margins import lower_margins
from modelward.threats.evasion.bounds.propagate import propagate, traced


class Calls(nn.Module):
    """A function of the input, with two layers to use."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(2, 2)
        self.relu = nn.ReLU(inplace=True)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(2))
            self.linear.bias.zero_()

    def forward(self, x):
        return self.function(self, x)


def worst(net, x, eps):
    """Lower bound of the smallest margin of the network's own decision."""
    x = torch.tensor([x])
    with torch.no_grad():
        bounds = propagate(traced(net.eval()), Enclosure(x.double() - eps, x.double() + eps))
        return lower_margins(bounds, net(x.clone()).argmax(dim=1)).min().item()


def steep(x):
    """Decides by a difference that the plain layer below it does not see."""
    return torch.stack([100 * (x[:, 0] - 1), torch.full_like(x[:, 0], 0.5)], dim=1)


@pytest.mark.parametrize("where", ["layer", "model"])
@pytest.mark.parametrize("kind", ["hook", "pre-hook", "forward"])
def test_what_is_attached_from_outside_is_not_overlooked(where, kind):
    net = Calls(lambda self, x: self.linear(x))
    part = net.linear if where == "layer" else net
    if kind == "hook":
        part.register_forward_hook(lambda module, args, answer: steep(answer))
    elif kind == "pre-hook":
        part.register_forward_pre_hook(lambda module, args: (steep(args[0]),))
    else:
        part.forward = steep
    near = torch.tensor([[1.006, 0.5]])
    assert net(near).argmax() != net(near - 0.01).argmax()
    with pytest.raises(OperatorUnsupported, match="hooks"):
        worst(net, [1.006, 0.5], 0.01)


def test_weights_that_a_hook_computes_anew_are_not_read_while_stale():
    from torch.nn.utils import weight_norm

    with pytest.warns(FutureWarning):
        net = nn.Sequential(weight_norm(nn.Linear(2, 2)))
    with pytest.raises(OperatorUnsupported, match="hooks"):
        traced(net)


IN_PLACE = {
    "a layer": lambda self, h: self.relu(h),
    "a function": lambda self, h: functional.relu(h, inplace=True),
    "of a view": lambda self, h: functional.relu(h.view(-1, 2), inplace=True),
    "of a view of a view": lambda self, h: self.relu(torch.flatten(h[:, :2], 1)),
}


@pytest.mark.parametrize("how", IN_PLACE)
def test_a_value_that_is_overwritten_and_read_again_is_refused(how):
    """The first entry is set to 0 behind the rules' back, and only then decides by the second one."""

    def function(self, x):
        hidden = x * 1.0
        IN_PLACE[how](self, hidden)
        kept = hidden @ torch.tensor([[10.0, 0.0], [1.0, 0.0]])
        return kept - torch.tensor([1.0, 0.0])

    net = Calls(function).eval()
    near = torch.tensor([[-1.0, 0.995]])
    assert net(near).argmax() != net(near + torch.tensor([[0.0, 0.1]])).argmax()
    with pytest.raises(OperatorUnsupported):
        worst(net, [-1.0, 0.995], 0.1)


def test_a_value_that_is_overwritten_and_not_read_again_is_bounded():
    def function(self, x):
        hidden = self.linear(x)
        hidden += x
        return self.relu(hidden.view(-1, 2))

    assert worst(Calls(function), [1.0, 0.1], 0.1) == pytest.approx(2 * 0.9 - 2 * 0.2, abs=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(2),
        lambda: random.gauss(0, 1),
        lambda: float(np.random.standard_normal()),  # noqa: NPY002 - what users write
    ],
    ids=["torch", "python", "numpy"],
)
def test_randomness_is_not_taken_for_a_constant(draw):
    with pytest.raises(OperatorUnsupported, match="random"):
        traced(Calls(lambda self, x: x + draw()))


def test_overflow_of_float32_is_no_large_number():
    """An infinity times a weight of 0 is NaN for the network, and 0 for exact arithmetic."""

    def function(self, x):
        return torch.exp(x) @ torch.zeros(2, 2) + torch.tensor([1.0, 0.0])

    net = Calls(function)
    assert net(torch.tensor([[89.0, 0.0]])).isnan().all()
    assert worst(net, [3.0, 0.0], 1.0) == pytest.approx(1, abs=1e-3)
    assert worst(net, [88.0, 0.0], 1.0) == -np.inf


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: (x * 1e30) @ torch.tensor([[1e10, 0.0], [-1e10, 0.0]]) * 1e-38,
        lambda self, x: functional.avg_pool1d(x[:, None] * 1e36, 2)[:, 0] @ torch.zeros(1, 2) + x,
        lambda self, x: x + torch.sum(x * 3e38, 1, keepdim=True) * 0,
        lambda self, x: (
            functional.batch_norm(x * 1e20, torch.zeros(2), torch.ones(2), torch.full((2,), 1e20)) * 0 + x
        ),
    ],
    ids=["products", "pooling", "sum", "batch norm"],
)
def test_a_partial_sum_that_overflows_leaves_no_bound(function):
    assert worst(Calls(function), [1.0, 0.9], 0.01) == -np.inf


def test_an_infinite_constant_is_no_overflow():
    def function(self, x):
        return functional.max_pool1d(functional.pad(x[:, None], (1, 1), value=-torch.inf), 2, 2)[:, 0]

    assert worst(Calls(function), [1.0, 0.5], 0.1) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda self, x: x + x.sum(dim=()), "over the batch"),
        (lambda self, x: x + torch.amax(x, dim=()), "over the batch"),
        (lambda self, x: (x[None] + torch.zeros(3, 1, 1)).sum(0), "batch|points"),
        (lambda self, x: x @ torch.eye(2, dtype=torch.bfloat16), "bfloat16"),
        (lambda self, x: nn.Linear(2, 2)(x), "cannot be traced"),
    ],
)
def test_premises_of_the_rules_are_checked(function, named):
    x = torch.rand(3, 2).double()
    with torch.no_grad(), pytest.raises(OperatorUnsupported, match=named):
        propagate(traced(Calls(function)), Enclosure(x - 0.1, x + 0.1))


def test_average_pooling_with_a_negative_divisor_is_refused():
    x = torch.rand(2, 1, 4, 4).double()
    net = nn.Sequential(nn.AvgPool2d(2, divisor_override=-1), nn.Flatten())
    with pytest.raises(OperatorUnsupported, match="negative divisor"):
        propagate(traced(net), Enclosure(x - 0.1, x + 0.1))
