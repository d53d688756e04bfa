"""The program holds what the network computes: its own values satisfy every row, and no others do."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from torch import nn

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.backward import evaluated
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.inputs import enclosed
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import refiner
from modelward.threats.evasion.gradient import program as programs
from modelward.threats.evasion.gradient.program import Program, encode, within
from modelward.threats.evasion.gradient.solver import Puzzle, Work
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

MUCH = Work(nodes=10_000, seconds=60.0)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.second = nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(18, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.first(x)))
        h = torch.relu(self.second(h) + h)
        return self.last(nn.functional.max_pool2d(h, 2).flatten(1))


class Branches(nn.Module):
    """Two parts side by side, joined, turned around and averaged."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3, groups=1)
        self.last = nn.Linear(20, 3)

    def forward(self, x):
        both = torch.cat([self.left(x).relu(), -self.right(x).relu()], dim=1)
        return self.last(torch.nn.functional.avg_pool2d(both.permute(0, 1, 3, 2), 2).flatten(1))


def dense():
    layers = [nn.Flatten(), nn.Linear(36, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


NETS = {
    "dense": dense,
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
    "residual": Residual,
    "branches": Branches,
    "overlapping pools": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, 1, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(50, 3)
    ),
}


def net_and_points(name, seed=0, points=2):
    torch.manual_seed(seed)
    return NETS[name]().eval(), torch.rand((points, 1, 6, 6))


def reached(room, x, norm="linf", eps=0.05):
    return reach(room.data(x.numpy(), np.zeros(len(x)), classes=3), Threat(norm, eps))


def programmed(room, net, x, point=0, *, norm="linf", eps=0.05):
    """The scores of all points, and the program of one of them."""
    there = reached(room, x, norm, eps)
    every = np.arange(len(x))
    with torch.no_grad():
        value = propagate(traced(net), enclosed(there, every), refiner(lambda rows: True, 2))
    low, high = (end[point].ravel() for end in there.limits(every))
    program = Program(low, high, np.zeros(len(low), np.bool_), point)
    assert encode(program, value, 5000)
    assert within(program, there, point)
    return value, program, there


def filled(program, value, x):
    """All variables as the network has them at an input."""
    full = np.zeros(len(program.low))
    full[: x.size] = x.ravel()
    values = evaluated(value.step, torch.from_numpy(x)[None])
    for step, variable in program.held.items():
        flat = values[step].flatten().numpy()
        full[variable[variable >= 0]] = flat[variable >= 0]
    full[program.switches] = program.states(value.step, x)[0]
    return full


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("point", [0, 1])
def test_the_values_of_the_network_satisfy_every_row(room, name, point):
    net, x = net_and_points(name)
    value, program, _ = programmed(room, net, x, point)
    matrix, least, most = program.rows()
    assert matrix.shape == (len(least), len(program.low))
    random = np.random.default_rng(0)
    low, high = program.low[:36].reshape(1, 6, 6), program.high[:36].reshape(1, 6, 6)
    for sort in range(12):
        part = random.random(low.shape) if sort else (random.random(low.shape) > 0.5)
        inside = low + part * (high - low)
        full = filled(program, value, inside)
        assert (full >= program.low - 1e-7).all()
        assert (full <= program.high + 1e-7).all()
        assert (matrix @ full >= least - 1e-6).all()
        assert (matrix @ full <= most + 1e-6).all()


@pytest.mark.parametrize("name", NETS)
def test_what_the_solver_calls_the_margin_is_that_of_the_module(room, name):
    """The least margin of the program is attained there, and nothing random goes below it."""
    net, x = net_and_points(name, seed=3)
    value, program, there = programmed(room, net, x, eps=0.03)
    puzzle = Puzzle(program, value, 0, 1)
    everything = np.zeros(len(program.switches), np.bool_), np.zeros(len(program.switches))
    found = puzzle.solve(1e6, MUCH, everything)
    scores = net.double()(torch.from_numpy(found)[None])[0].detach()
    assert puzzle.margin(found) == pytest.approx(float(scores[0] - scores[1]), abs=1e-9)
    assert there.admits(found[None].astype(np.float32), np.zeros(1, np.int64)).all()
    random = torch.Generator().manual_seed(0)
    low, high = (torch.from_numpy(end[0]) for end in there.limits(np.zeros(1, np.int64)))
    for _ in range(20):
        part = torch.rand((64, *low.shape), generator=random, dtype=torch.float64)
        scores = net(low + part.round() * (high - low)).detach()
        assert (scores[:, 0] - scores[:, 1]).min() >= puzzle.margin(found) - 1e-6
    assert puzzle.solve(puzzle.margin(found) - 1e-3, MUCH) is None


def test_the_least_margin_of_two_inputs_is_that_of_a_fine_grid(room):
    for seed in range(4):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
        value, program, there = programmed(room, net, torch.full((1, 2), 0.5), eps=0.45)
        puzzle = Puzzle(program, value, 0, 2)
        free = np.zeros(len(program.switches), np.bool_), np.zeros(len(program.switches))
        found = puzzle.margin(puzzle.solve(1e6, MUCH, free))
        low, high = (end[0] for end in there.limits(np.zeros(1, np.int64)))
        axes = [np.linspace(a, b, 150) for a, b in zip(low, high, strict=True)]
        grid = torch.tensor(np.array(list(itertools.product(*axes))), dtype=torch.float32)
        scores = net(grid).detach()
        lowest = float((scores[:, 0] - scores[:, 2]).min())
        assert found <= lowest + 1e-6
        assert found >= lowest - 0.05


def test_fixed_switches_stay_as_they_are(room):
    net, x = net_and_points("dense", seed=1)
    value, program, _ = programmed(room, net, x, eps=0.2)
    puzzle, middle = Puzzle(program, value, 0, 1), x[0].double().numpy()
    states, far = puzzle.states(middle)
    assert set(states) <= {0.0, 1.0}
    assert (far >= 0).all()
    assert len(states) == len(program.switches) > 3
    fixed = np.ones(len(states), np.bool_)
    found = puzzle.solve(1e6, MUCH, (fixed, states))
    after, distance = puzzle.states(found)
    assert (after == states)[distance > 1e-6].all()
    assert puzzle.margin(found) <= puzzle.margin(middle) + 1e-9
    wide = puzzle.solve(1e6, MUCH, (np.zeros_like(fixed), states))
    assert puzzle.margin(wide) <= puzzle.margin(found) + 1e-6


@pytest.mark.parametrize(("norm", "eps"), [("l1", 0.6), ("l0", 3.0)])
def test_sums_and_counts_stay_in_the_ball(room, norm, eps):
    """As large as the ball allows: changes add up to the radius, or as many pixels change."""
    net, x = net_and_points("linear", seed=2)
    value, program, there = programmed(room, net, x, norm=norm, eps=eps)
    puzzle = Puzzle(program, value, 0, 1)
    free = np.zeros(len(program.switches), np.bool_), np.zeros(len(program.switches))
    found = puzzle.solve(1e6, MUCH, free)
    point = np.zeros(1, np.int64)
    size = there.size(found[None], point)[0]
    assert eps * 0.99 <= size <= eps * (1 + 1e-6)
    inside = there.project(found[None], point)
    assert there.admits(inside, point).all()
    # A linear margin: the best changes are known, largest weights first.
    weight = (net[1].weight[0] - net[1].weight[1]).detach().double().numpy()
    low, high = (end[0].ravel() for end in there.limits(point))
    middle = x[0].double().numpy().ravel()
    corner = np.where(weight > 0, low, high) - middle
    left, wanted = eps, weight @ middle + float((net[1].bias[0] - net[1].bias[1]).detach())
    gain = weight if norm == "l1" else weight * corner
    for i in np.argsort(-np.abs(gain)):
        step = abs(corner[i]) if norm == "l1" else 1.0
        share = min(1.0, left / step)
        wanted += weight[i] * corner[i] * share
        left -= step * share
        if left <= 0:
            break
    assert puzzle.margin(found) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("norm", ["l2", "patch"])
def test_balls_without_rows_are_declined(room, norm):
    _, x = net_and_points("linear")
    there = reached(room, x, norm, 0.1)
    low, high = (end[0].ravel() for end in there.limits(np.zeros(1, np.int64)))
    assert not within(Program(low, high, np.zeros(36, np.bool_)), there, 0)


class Squared(nn.Module):
    def forward(self, x):
        return (x * x).flatten(1)[:, :3]


@pytest.mark.parametrize(
    "net", [Squared(), nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Tanh(), nn.Linear(4, 3))]
)
def test_what_is_not_piecewise_linear_is_declined_by_name(room, net):
    x = torch.rand((1, 1, 6, 6))
    value = propagate(traced(net.eval()), enclosed(reached(room, x), np.zeros(1, np.int64)))
    with pytest.raises(OperatorUnsupported, match="no encoding of"):
        encode(Program(np.zeros(36), np.ones(36), np.zeros(36, np.bool_)), value, 5000)


def test_a_value_without_steps_is_declined():
    program = Program(np.zeros(2), np.ones(2), np.zeros(2, np.bool_))
    bare = Enclosure(torch.zeros((1, 2)).double(), torch.ones((1, 2)).double())
    with pytest.raises(OperatorUnsupported, match="without steps"):
        encode(program, bare, 10)
    with pytest.raises(OperatorUnsupported, match="without steps"):
        program.affine(bare, torch.ones((1, 2)).double())


@pytest.mark.parametrize("name", ["dense", "overlapping pools"])
def test_more_switches_than_allowed_are_refused(room, name):
    net, x = net_and_points(name)
    value, program, _ = programmed(room, net, x, eps=0.3)
    needed = len(program.switches)
    assert needed > 5
    fresh = Program(program.low[:36], program.high[:36], np.zeros(36, np.bool_))
    assert not encode(fresh, value, needed - 1)
    assert len(fresh.switches) < needed


def test_more_coefficients_than_allowed_are_refused(room, monkeypatch):
    net, x = net_and_points("dense")
    value, whole, _ = programmed(room, net, x)
    assert whole.nonzero > 300
    for most, fits in ((whole.nonzero, True), (whole.nonzero - 1, False)):
        monkeypatch.setattr(programs, "_NONZERO", most)
        fresh = Program(whole.low[:36], whole.high[:36], np.zeros(36, np.bool_))
        assert encode(fresh, value, 5000) == fits


def test_the_solver_stops_at_its_limits(room):
    """Without time or nodes nothing is found; the nodes that it took are told."""
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)]
    net = nn.Sequential(*layers).eval()
    value, program, _ = programmed(room, net, torch.rand((1, 1, 6, 6)), eps=0.4)
    puzzle = Puzzle(program, value, 0, 1)
    count = len(program.switches)
    assert count > 24
    everything = np.zeros(count, np.bool_), np.zeros(count)
    assert puzzle.solve(1e6, Work(nodes=10**6, seconds=0.0), everything) is None
    begun = time.monotonic()
    puzzle.solve(1e6, Work(nodes=1, seconds=1e3), everything)
    assert time.monotonic() - begun < 100
    assert 1 <= puzzle.nodes <= 10


def test_whole_numbers_stay_whole(room):
    net = nn.Sequential(room.linear([[1.0, -2.0], [0.0, 0.0]], [0.0, 1.7])).eval()
    points = room.table([[3.0, 4.0], [0.0, 9.0]], [0, 0], ["integer", "real"])
    there = reach(points, Threat("linf", 0.5))
    value = propagate(traced(net), enclosed(there, np.zeros(1, np.int64)))
    low, high = (end[0] for end in there.limits(np.zeros(1, np.int64)))
    program = Program(low, high, there.whole)
    assert encode(program, value, 10)
    found = Puzzle(program, value, 0, 1).solve(1e6, MUCH)
    assert found[0] == round(found[0])
