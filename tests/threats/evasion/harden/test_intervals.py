"""Intervals and linear relaxations that train: enclosing, differentiable, and equal to other routes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.harden.intervals import Interval, enclose
from modelward.threats.evasion.harden.margins import interval_margins, relaxed_margins


class Residual(nn.Module):
    """Branches, functions and methods in place of layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(48, 4)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = torch.relu(self.second(x) + x)
        return self.last(x.view(x.size(0), -1))


def normalised():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(3, 4),
    )
    net[1].running_mean.uniform_(-0.5, 0.5)
    net[1].running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        net[1].weight.uniform_(-1, 1)
    return net


NETS = {
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)
    ),
    "residual": Residual,
    "normalised": normalised,
    "without bias": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False)
    ),
}
BENT = {
    "curves": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Sigmoid(), nn.Linear(8, 4)),
    "leaks and largest": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.LeakyReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 4), nn.ReLU()
    ),
}


@pytest.fixture(params=[*NETS, *BENT])
def net(request):
    torch.manual_seed(len(request.param))
    return (NETS | BENT)[request.param]().eval()


@pytest.fixture
def inputs():
    torch.manual_seed(5)
    x, radius = torch.rand(6, 1, 4, 4), 0.2 * torch.rand(6, 1, 4, 4)
    return Interval(x, radius), torch.arange(6) % 4


def sampled(net, box, count=60):
    """Scores somewhere in the box, corners among them; (count, n, k)."""
    torch.manual_seed(7)
    found = []
    for i in range(count):
        share = 2 * torch.rand_like(box.centre) - 1
        share = share.sign() if i % 2 else share
        found.append(net(box.centre + share * box.radius))
    return torch.stack(found)


def margins_of(scores, y):
    return scores.gather(-1, y.expand(scores.shape[:-1])[..., None]) - scores


def test_every_sampled_score_is_enclosed(net, inputs):
    box, _ = inputs
    graph = traced(net)
    last = list(enclose(graph, box).values())[-1]
    scores = sampled(net, box)
    assert (scores >= last.lower - 1e-5).all()
    assert (scores <= last.upper + 1e-5).all()


def test_no_sampled_margin_is_below_its_bound(net, inputs):
    box, y = inputs
    found = margins_of(sampled(net, box), y)
    assert (found >= interval_margins(traced(net), box, y) - 1e-5).all()


@pytest.mark.parametrize("name", NETS)
def test_no_sampled_margin_is_below_its_relaxed_bound(name, inputs):
    torch.manual_seed(3)
    net, (box, y) = NETS[name]().eval(), inputs
    found = margins_of(sampled(net, box), y)
    assert (found >= relaxed_margins(traced(net), box, y) - 1e-5).all()


@pytest.mark.parametrize("name", NETS)
def test_the_certifier_finds_the_same_numbers(name, inputs):
    """An independent route in float64 with rounding, from another part of this room."""
    torch.manual_seed(3)
    net, (box, y) = NETS[name]().eval(), inputs
    with torch.no_grad():
        value = propagate(traced(net), Enclosure(box.lower.double(), box.upper.double()))
    pairs = torch.tensor([(i, j) for i in range(6) for j in range(4) if j != int(y[i])])
    a = torch.zeros(len(pairs), 4, dtype=torch.float64)
    a[torch.arange(len(pairs)), y[pairs[:, 0]]] = 1.0
    a[torch.arange(len(pairs)), pairs[:, 1]] = -1.0
    wanted = least(value, a, Rows(pairs[:, 0], torch.float64))
    found = relaxed_margins(traced(net), box, y).detach()[pairs[:, 0], pairs[:, 1]]
    # Without a description of the input there, both start from the same box.
    assert torch.allclose(found.double(), wanted, atol=1e-3)


def test_a_point_has_its_own_margins(net, inputs):
    box, y = inputs
    point = Interval(box.centre, torch.zeros_like(box.radius))
    assert torch.allclose(interval_margins(traced(net), point, y), margins_of(net(box.centre), y), atol=1e-5)


def test_one_linear_layer_is_exact():
    net = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
        net[0].bias.copy_(torch.tensor([0.5, 0.0]))
    box = Interval(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.1, 0.2]]))
    # Margin x1 - 5 x2 + 0.5 at its lowest: 0.9 - 6 + 0.5.
    for bound in (interval_margins, relaxed_margins):
        assert bound(traced(net), box, torch.tensor([0])).tolist()[0] == pytest.approx([0.0, -4.6], abs=1e-5)


@pytest.mark.parametrize(
    ("ends", "y", "wanted"),
    [
        ((-1.0, 2.0), 0, -2.0),  # under the line through (-1, -0.1) and (2, 2)
        ((-1.0, 2.0), 1, -1.0),  # over the identity, the smaller area
        ((-2.0, 1.0), 1, -0.2),  # over 0.1 x
        ((1.0, 2.0), 1, 1.0),
        ((-2.0, -1.0), 0, 0.1),
    ],
)
def test_lines_around_a_leak_are_those_of_its_bend(ends, y, wanted):
    """Scores 0 and leaky(x), slope 0.1: 0.1 x and 0.9 of a ReLU."""
    net = nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(0.1), nn.Linear(1, 2))
    with torch.no_grad():
        for weight, value in zip(net.parameters(), ([[1.0]], [0.0], [[0.0], [1.0]], [0.0, 0.0]), strict=True):
            weight.copy_(torch.tensor(value))
    low, high = (torch.tensor([[end]]) for end in ends)
    found = relaxed_margins(traced(net), Interval.between(low, high), torch.tensor([y]))
    assert found[0, 1 - y].item() == pytest.approx(wanted)


def test_no_sampled_margin_is_below_its_relaxed_bound_through_leaks(inputs):
    torch.manual_seed(11)
    layers = (
        nn.Conv2d(1, 4, 3),
        nn.LeakyReLU(0.3),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.LeakyReLU(),
        nn.Linear(8, 4),
    )
    net, (box, y) = nn.Sequential(*layers).eval(), inputs
    found = relaxed_margins(traced(net), box, y)
    assert (margins_of(sampled(net, box), y) >= found - 1e-5).all()
    assert (found >= interval_margins(traced(net), box, y) - 1e-5).float().mean() > 0.5  # and it is worth it


def test_a_slope_that_turns_round_has_no_rule(inputs):
    """Ends of an interval are no ends behind a function that falls and rises."""
    box, y = inputs
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.LeakyReLU(-0.5))
    with pytest.raises(OperatorUnsupported, match="no rule for LeakyReLU with a negative slope"):
        interval_margins(traced(net), box, y)


def test_relaxation_beats_intervals_where_branches_cancel():
    """x - x through a hidden layer: intervals lose what the backward pass keeps."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        net[0].bias.fill_(1.0)
        net[2].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
        net[2].bias.copy_(torch.tensor([0.1, 0.0]))
    box, y = Interval(torch.zeros(1, 1), torch.full((1, 1), 0.5)), torch.tensor([0])
    assert interval_margins(traced(net), box, y)[0, 1].item() == pytest.approx(-0.9)
    assert relaxed_margins(traced(net), box, y)[0, 1].item() == pytest.approx(0.1)


@pytest.mark.parametrize("bound", [interval_margins, relaxed_margins])
def test_the_bounds_have_the_slope_that_differences_show(bound, inputs):
    torch.manual_seed(1)
    net, (box, y) = NETS["convolutions"]().double(), inputs
    box = Interval(box.centre.double(), box.radius.double())
    graph = traced(net)
    weight = net[0].weight
    (slope,) = torch.autograd.grad(bound(graph, box, y).sum(), weight)
    entry, step = (1, 0, 2, 1), 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[entry] += sign * step
            values.append(bound(graph, box, y).sum().item())
            weight[entry] -= sign * step
    assert float(slope[entry]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.GELU()), "GELU"),
        (
            nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 4)),
            "BatchNorm1d",
        ),
    ],
)
def test_what_has_no_rule_is_named(net, named, inputs):
    box, y = inputs
    with pytest.raises(OperatorUnsupported, match=f"no rule for {named}"):
        interval_margins(traced(net.eval()), box, y)


def test_a_function_without_a_rule_is_named(inputs):
    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(x.flatten(1))

    box, y = inputs
    with pytest.raises(OperatorUnsupported, match="no rule for sin"):
        interval_margins(traced(Sine()), box, y)


def test_curves_have_no_relaxation(inputs):
    box, y = inputs
    with pytest.raises(OperatorUnsupported, match=r"linear relaxation of (Sigmoid|Tanh)"):
        relaxed_margins(traced(BENT["curves"]().eval()), box, y)


def test_an_operation_in_place_harms_nobody(inputs):
    box, y = inputs
    torch.manual_seed(2)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    inplace = nn.Sequential(plain[0], plain[1], nn.ReLU(inplace=True), plain[3])
    assert torch.equal(interval_margins(traced(plain), box, y), interval_margins(traced(inplace), box, y))
