"""Branch and bound against a mixed-integer solver, which is exact on small ReLU networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn

from modelward.threats.evasion.bounds.branch import Effort, Search
from modelward.threats.evasion.bounds.margins import Margins
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import refiner


def least_margin(net, low, high):
    """Smallest score 0 minus score 1 of Linear-ReLU-Linear-ReLU-Linear over a box, by HiGHS.

    Big-M encoding (Tjeng et al. 2019, arXiv 1711.07356v3, section 4.1) with interval bounds.
    """
    layers = [part for part in net if isinstance(part, nn.Linear)]
    sizes = [len(low), *(layer.out_features for layer in layers[:-1])]
    reals, switches = sum(sizes), sum(sizes[1:])
    bounds = [(low, high)]
    rows, least, most = [], [], []

    def add(entries, below, above):
        row = np.zeros(reals + switches)
        for place, value in entries:
            row[place] += value
        rows.append(row)
        least.append(below)
        most.append(above)

    start = 0
    for i, layer in enumerate(layers[:-1]):
        w, b = (part.detach().double().numpy() for part in (layer.weight, layer.bias))
        low_in, high_in = bounds[-1]
        middle, half = w @ (low_in + high_in) / 2 + b, np.abs(w) @ (high_in - low_in) / 2
        l, u = middle - half, middle + half
        nxt = start + sizes[i]
        switch = reals + sum(sizes[1 : i + 1])
        for j in range(len(b)):
            before = [(start + k, -w[j, k]) for k in range(sizes[i])]
            add([(nxt + j, 1.0), *before], b[j], np.inf)  # y >= z
            add([(nxt + j, 1.0), *before, (switch + j, -min(l[j], 0.0))], -np.inf, b[j] - min(l[j], 0.0))
            add([(nxt + j, 1.0), (switch + j, -max(u[j], 0.0))], -np.inf, 0.0)  # y <= u s
        bounds.append((np.zeros(len(b)), np.maximum(u, 0)))
        start = nxt
    w, b = (part.detach().double().numpy() for part in (layers[-1].weight, layers[-1].bias))
    cost = np.zeros(reals + switches)
    cost[start:reals] = w[0] - w[1]
    limits = optimize.Bounds(
        np.concatenate([*(part[0] for part in bounds), np.zeros(switches)]),
        np.concatenate([*(part[1] for part in bounds), np.ones(switches)]),
    )
    kind = np.concatenate([np.zeros(reals), np.ones(switches)])
    found = optimize.milp(
        cost,
        constraints=optimize.LinearConstraint(np.array(rows), least, most),
        bounds=limits,
        integrality=kind,
    )
    assert found.status == 0
    return found.fun + b[0] - b[1]


def small(seed, inputs=4):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        net[0].weight *= 2
        net[2].weight *= 2
    return net


def searched(lab, net, x, eps, effort):
    with torch.no_grad():
        scores = propagate(traced(net), lab.around(x, "linf", eps), refiner(lambda rows: True, 2))
        margins = Margins(scores, torch.zeros(len(x), dtype=torch.long), 0.0)
        booked = []
        trees = {
            tree.point: tree for tree in Search(margins, effort, lambda n: booked.append(n) or True).run()
        }
    return margins, trees, sum(booked)


def test_small_networks_are_decided_as_a_solver_decides_them(lab):
    proved = broken = hard = 0
    for seed in range(16):
        net = small(seed)
        x = torch.rand((1, 4), generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2
        with torch.no_grad():
            if net(x).argmax() != 0:
                net[4].weight.copy_(net[4].weight.flip(0))
                net[4].bias.copy_(net[4].bias.flip(0))
        box = lab.around(x, "linf", 0.15)
        truth = least_margin(net, box.lower[0].numpy(), box.upper[0].numpy())
        if abs(truth) < 1e-3:
            continue
        margins, trees, _ = searched(lab, net, x, 0.15, Effort(domains=3000, batch=32))
        assert float(margins.lower[0, 1]) <= truth + 1e-6
        if not trees:
            assert truth > 0
            continue
        hard += 1
        tree = trees[0]
        assert tree.closed == (truth > 0), (seed, truth)
        assert (tree.margin <= 0) == (truth < 0)
        if truth < 0:
            with torch.no_grad():
                assert net(tree.inputs[0][1].float()[None]).argmax() == 1
            assert (tree.inputs[0][1] >= box.lower[0]).all()
            assert (tree.inputs[0][1] <= box.upper[0]).all()
        proved += truth > 0
        broken += truth < 0
    assert hard > 5
    assert proved
    assert broken


def test_a_refused_budget_leaves_points_open(lab):
    net = small(3)
    x = torch.rand((6, 4), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scores = propagate(traced(net), lab.around(x, "linf", 0.3))
        margins = Margins(scores, net(x).argmax(dim=1), 0.0)
    wanted = {int(point) for point in margins.open()[:, 0]}
    assert wanted
    left = [500]

    def spend(n):
        left[0] -= n
        return left[0] >= 0

    with torch.no_grad():
        trees = list(Search(margins, Effort(), spend).run())
    assert {tree.point for tree in trees} <= wanted
    assert all(not tree.closed for tree in trees if tree.stuck)


def test_domains_are_limited(lab):
    net = small(7)
    with torch.no_grad():
        net[0].weight *= 4
    x = torch.full((1, 4), 0.5)
    margins, trees, booked = searched(lab, net, x, 0.5, Effort(domains=8, batch=4))
    for tree in trees.values():
        assert tree.visited <= 8 + 4 * 16
    assert booked < 10_000
    assert len(margins.lower) == 1


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_splits_hold_in_other_norms(lab, norm):
    """A grid of the ball finds no point below what branch and bound calls proved."""
    decided = 0
    for seed in range(9):
        net = small(seed, inputs=2)
        x = torch.tensor([[0.5, 0.45]])
        with torch.no_grad():
            target = net(x).argmax(dim=1)
            found = lab.cascade(net, x, target, norm=norm, eps=0.3, preset="thorough")
            found.cheap(torch.arange(1))
            margins = found.dear(torch.arange(1))
            wrong = found.search(margins, torch.arange(1), Effort(domains=500))
            steps = torch.linspace(-0.3, 0.3, 61)
            grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
            grid = grid[grid.norm(dim=1, p=2 if norm == "l2" else 1) <= 0.3]
            breakable = bool((net((x + grid).clamp(0, 1)).argmax(dim=1) != target).any())
        assert not (breakable and found.proved[0] >= 0)
        assert not (wrong and found.proved[0] >= 0)
        decided += bool(found.proved[0] >= 0) or bool(wrong)
    assert decided >= 6
