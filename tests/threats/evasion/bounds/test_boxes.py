"""Splitting inputs: decided as a dense grid decides, for networks without ReLUs too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.bounds.boxes import FEATURES, Boxes, splittable
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.propagate import traced

CURVES = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "softplus": nn.Softplus(),
    "norm": nn.Sequential(nn.LayerNorm(6), nn.SiLU()),
    "relu": nn.ReLU(),
}


def free(*, forward=0, backward=0, bounds=0):
    return True


def wavy(name, seed, features=2, sharp=2.5):
    """Weights large enough that the network bends within the ball."""
    torch.manual_seed(seed)
    curve = CURVES[name]
    net = nn.Sequential(nn.Linear(features, 6), curve, nn.Linear(6, 6), curve, nn.Linear(6, 2)).eval()
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(sharp)
        scores = net(torch.rand((500, features), generator=torch.Generator().manual_seed(seed)))
        net[-1].bias[0] -= (scores[:, 0] - scores[:, 1]).median()  # either class on half of the inputs
    return net


def grid(norm, eps, features, steps):
    """Changes of a ball, its border included."""
    line = torch.linspace(-eps, eps, steps)
    moves = torch.stack(torch.meshgrid(*[line] * features, indexing="ij"), -1).reshape(-1, features)
    if norm == "linf":
        return moves
    return moves[moves.norm(dim=1, p=2 if norm == "l2" else 1) <= eps * (1 - 1e-6)]


def trees(lab, net, x, norm, eps, *, effort=None, spend=free, tolerance=0.0):
    with torch.no_grad():
        target = net(x).argmax(dim=1)
        boxes = Boxes(traced(net), lab.around(x, norm, eps).step, target, tolerance)
        return target, list(boxes.run(effort or Effort(domains=1500), spend))


def least_on_grid(net, x, target, moves):
    """Per point, the least margin on the grid."""
    found = []
    for point, label in zip(x, target, strict=True):
        with torch.no_grad():
            scores = net((point + moves).clamp(0, 1)).double()
        own = scores[:, label]
        found.append(float((own - scores.index_fill(1, label, -torch.inf).amax(1)).min()))
    return np.array(found)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_are_decided_as_a_dense_grid_decides_them(lab, name, norm):
    eps = 0.15 if norm == "linf" else 0.2
    x = torch.rand((6, 2), generator=torch.Generator().manual_seed(9))
    net = wavy(name, 11)
    target, found = trees(lab, net, x, norm, eps)
    truth = least_on_grid(net, x, target, grid(norm, eps, 2, 81))
    assert [tree.point for tree in found] == list(range(6))
    for tree, margin in zip(found, truth, strict=True):
        assert not (tree.closed and margin <= 0)
        assert not (tree.margin <= 0 and tree.closed)
        if abs(margin) > 0.02:
            assert tree.closed == (margin > 0), (name, norm, tree.point, margin, tree.visited)
            assert (tree.margin <= 0) == (margin < 0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_candidates_lie_in_the_set_and_are_wrong(lab, norm):
    broken = 0
    for seed in range(5):
        net = wavy("tanh", seed, 3, 4.0)
        x = torch.rand((5, 3), generator=torch.Generator().manual_seed(seed))
        target, found = trees(lab, net, x, norm, 0.25, effort=Effort(domains=200))
        for tree in found:
            margins = [margin for margin, _ in tree.inputs]
            assert margins == sorted(margins)
            for margin, place in tree.inputs:
                move = (place - x[tree.point].double()).numpy()
                order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
                assert np.linalg.norm(move, ord=order) <= 0.25 * (1 + 1e-9)
                assert ((place >= 0) & (place <= 1)).all()
                with torch.no_grad():
                    wrong = net(place.float()[None]).argmax(1) != target[tree.point]
                assert bool(wrong) == (margin < 0) or margin == 0
            broken += tree.margin < 0
    assert broken


@pytest.mark.parametrize("features", [1, 4])
def test_more_features_are_decided_too(lab, features):
    net = wavy("sigmoid", 3, features, 2.0)
    x = torch.rand((5, features), generator=torch.Generator().manual_seed(2))
    target, found = trees(lab, net, x, "linf", 0.08, effort=Effort(domains=600))
    truth = least_on_grid(net, x, target, grid("linf", 0.08, features, 9))
    assert any(tree.closed for tree in found)
    for tree, margin in zip(found, truth, strict=True):
        assert not (tree.closed and margin <= 0)
        assert abs(margin) < 0.02 or tree.closed == (margin > 0)


def test_a_border_through_the_point_is_never_proved(lab):
    """Two scores that are equal in the middle: no split can separate them."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        net[0].bias.zero_()
    _, found = trees(lab, net, torch.full((1, 2), 0.5), "linf", 1e-3, effort=Effort(domains=400))
    assert not found[0].closed


def test_a_constant_network_is_proved_without_a_split(lab):
    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([1.0, -1.0]))
    _, found = trees(lab, net, torch.rand(4, 3), "linf", 0.5)
    assert [(tree.closed, tree.visited) for tree in found] == [(True, 1)] * 4


def test_a_tolerance_between_runtimes_is_asked_of_every_part(lab):
    """Margins are 0.46; a runtime that may be off by more than half of that proves nothing."""
    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([1.0, -1.0]))
    for tolerance, closed in ((0.1, True), (0.22, True), (0.24, False)):
        _, found = trees(lab, net, torch.rand(1, 3), "linf", 0.1, tolerance=tolerance,
                         effort=Effort(domains=20, batch=4))  # fmt: skip
        assert found[0].closed == closed


def test_a_budget_cut_anywhere_proves_nothing_that_the_whole_search_does_not(lab):
    net = wavy("tanh", 1)
    x = torch.rand((3, 2), generator=torch.Generator().manual_seed(1))
    _, whole = trees(lab, net, x, "linf", 0.12)
    asked = [0]

    def counting(*, forward=0, backward=0, bounds=0):
        asked[0] += 1
        return True

    trees(lab, net, x, "linf", 0.12, spend=counting)
    assert asked[0] > 12
    for allowed in (0, 1, 2, 3, 5, 8, asked[0] // 2, asked[0] - 1):
        left = itertools.count()
        _, cut = trees(
            lab,
            net,
            x,
            "linf",
            0.12,
            spend=lambda *, forward=0, backward=0, bounds=0, n=allowed, c=left: next(c) < n,
        )
        for tree in cut:
            assert not tree.closed or whole[tree.point].closed
        if not allowed:
            assert [(tree.point, tree.closed) for tree in cut] == [(0, False)]


def test_the_search_is_deterministic(lab):
    net, x = wavy("gelu", 4), torch.rand((4, 2), generator=torch.Generator().manual_seed(4))
    one, two = (trees(lab, net, x, "l2", 0.2)[1] for _ in range(2))
    assert [(t.visited, t.closed, t.margin) for t in one] == [(t.visited, t.closed, t.margin) for t in two]


def test_domains_limit_the_search(lab):
    net = wavy("tanh", 1, 6, 6.0)
    _, found = trees(lab, net, torch.full((2, 6), 0.5), "linf", 0.5, effort=Effort(domains=30, batch=8))
    assert all(tree.visited <= 30 + 8 for tree in found)
    assert not any(tree.closed for tree in found)


def test_only_few_features_in_plain_norms_are_split(lab):
    for features, norm, wanted in (
        (FEATURES, "linf", True),
        (FEATURES + 1, "linf", False),
        (4, "l2", True),
        (4, "l1", True),
        (4, "l0", False),
    ):
        assert splittable(lab.around(torch.rand(2, features), norm, 0.1).step) == wanted
    assert not splittable(None)
    fixed = lab.around(torch.full((1, 30), 0.5), "linf", 0.1).step
    fixed.upper[:, 5:] = fixed.lower[:, 5:]
    assert splittable(fixed)


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "norm"])
def test_the_search_decides_what_relaxations_leave_open(lab, name):
    proved = opened = 0
    for seed in (11, 13):
        net = wavy(name, seed, sharp=4.0)
        x = torch.rand((10, 2), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            target = net(x).argmax(1)
            found = lab.cascade(net, x, target, eps=0.1, preset="thorough")
            found.cheap(torch.arange(10))
            left = (found.proved < 0).nonzero()[:, 0]
            if not len(left):
                continue
            margins = found.dear(left)
            before = found.proved.clone()
            wrong = found.search(margins, left, Effort(domains=600))
            for position, place in wrong:
                assert found.proved[position] < 0
                assert net(place.float()[None]).argmax(1) != target[position]
        assert (found.proved[before >= 0] == before[before >= 0]).all()
        opened += int((before < 0).sum())
        proved += int((found.proved[before < 0] == 3).sum())
        decided = len(wrong) + int((found.proved >= 0).sum())
        assert decided >= 9, (seed, decided)
    assert 0 < proved < opened
