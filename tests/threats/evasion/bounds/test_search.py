"""What the attack gets: starts that lie in the set, and points that need no attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.search import search
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat


def prepared(room, norm="linf", eps=0.12, points=12):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    with torch.no_grad():
        net[0].weight *= 3
    model = room.torch(net, 3)
    data = room.labelled(model, np.random.default_rng(0).random((points, 5)).astype(np.float32))
    return net, reach(data, Threat(norm, eps)), np.asarray(data.y, np.int64)


def free(*, forward=0, backward=0, bounds=0):
    return True


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_point_is_answered_once_and_starts_are_in_the_set(room, norm):
    net, within, target = prepared(room, norm, 0.12 if norm == "linf" else 0.25)
    index = np.arange(12)
    found = list(search(net, within, index, target, spend=free, effort=Effort(domains=400)))
    assert sorted(item.point for item in found) == list(range(12))
    assert any(item.proved for item in found)
    assert any((item.margin <= 0).any() for item in found)
    for item in found:
        assert not (item.proved and (item.margin <= 0).any())
        assert (np.diff(item.margin) >= 0).all()
        if len(item.x):
            where = np.full(len(item.x), item.point)
            x = within.project(item.x, where)
            assert np.abs(x - item.x).max() < 1e-6
            with torch.no_grad():
                scores = net(torch.from_numpy(x)).double().numpy()
            own = scores[:, target[item.point]]
            rival = np.delete(scores, target[item.point], axis=1).max(axis=1)
            assert own - rival == pytest.approx(item.margin, abs=1e-4)


def test_proofs_agree_with_many_random_changes(room):
    net, within, target = prepared(room)
    low, high = within.limits(np.arange(12))
    for item in search(net, within, np.arange(12), target, spend=free, effort=Effort(domains=400)):
        if item.proved:
            share = np.random.default_rng(1).random((3000, 5)).round()
            x = low[item.point] + share * (high - low)[item.point]
            with torch.no_grad():
                assert (net(torch.from_numpy(x.astype(np.float32))).argmax(1) == target[item.point]).all()


def test_a_refused_budget_ends_the_search(room):
    net, within, target = prepared(room)
    assert (
        list(search(net, within, np.arange(12), target, spend=lambda forward=0, backward=0, bounds=0: False))
        == []
    )
    assert list(search(net, within, np.arange(0), target, spend=free)) == []


class Transformed(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real


def test_what_has_no_rule_is_named(room):
    _, within, target = prepared(room)
    with pytest.raises(OperatorUnsupported, match="fft"):
        list(search(Transformed().eval(), within, np.arange(2), target, spend=free))


def test_rivals_are_those_that_nothing_excludes(room):
    net, within, target = prepared(room)
    for item in search(net, within, np.arange(12), target, spend=free, effort=Effort(domains=64)):
        assert target[item.point] not in item.rivals
        assert set(item.rivals) <= {0, 1, 2}
        assert not (item.proved and item.rivals)
        if item.x.size and item.margin[0] < -1e-4:  # the class that was reached is not excluded
            scores = net(torch.from_numpy(item.x[:1]).float())
            assert int(scores.argmax()) in item.rivals
        assert 0 <= item.row < len(item.value.lower)


def test_larger_networks_get_fewer_domains(room):
    """A batch of domains at least, however little they may hold; as many as wanted where they may hold much."""
    net, within, target = prepared(room, eps=0.2)
    spent, open_points = [], []
    for work in (1.0, 1e4, 1e12):
        booked = []

        def spend(*, forward=0, backward=0, bounds=0, booked=booked):
            booked.append(bounds)
            return True

        effort = Effort(domains=3000, batch=4, together=1, steps=1, work=work)
        found = list(search(net, within, np.arange(12), target, spend=spend, effort=effort))
        assert sorted(item.point for item in found) == list(range(12))
        spent.append(sum(booked))
        open_points.append(sum(not item.proved and not (item.margin <= 0).any() for item in found))
    assert 0 < spent[0] < spent[1] < spent[2]
    assert open_points[0] >= open_points[1] >= open_points[2]
    assert open_points[0] > open_points[2]
