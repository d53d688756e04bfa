"""Branch and bound leads to witnesses that no slope leads to, and never to one that does not exist."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget
from modelward.threats.evasion.gradient import hard as searched
from modelward.threats.evasion.gradient.hard import hard

SIDE = 12
EPS = 0.1


def planted(seed, points=3, norm="linf", eps=EPS):
    """A net that is right everywhere near its points except in one corner of each ball, without any slope there.

    One unit per point is off but in a small part of the ball, where it adds what turns the decision.
    """
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    x = 0.3 + 0.4 * torch.rand((points, SIDE), generator=random)
    first, last = nn.Linear(SIDE, 8 + points), nn.Linear(8 + points, 2)
    with torch.no_grad():
        last.weight[:, :8] *= 0.3
        last.weight[:, 8:] = 0.0
        last.bias.copy_(torch.tensor([2.0, 0.0]))
        for i in range(points):
            sign = torch.randint(0, 2, (SIDE,), generator=random) * 2.0 - 1
            if norm == "l1":  # one feature alone, as far as it goes
                sign[1:] = 0.0
            most = eps * float(sign.abs().max() if norm == "l1" else sign.abs().sum())
            height = 50 / (0.1 * most)
            first.weight[8 + i] = height * sign
            first.bias[8 + i] = -height * (float(sign @ x[i]) + 0.9 * most)
            last.weight[1, 8 + i] = 1.0
    return nn.Sequential(first, nn.ReLU(), last).eval(), x.numpy()


def goals(pool):
    return (1 - pool.arena.points.target)[:, None]


def searched_all(pool, net):
    return hard(pool, net, np.arange(len(pool.settled)), goals(pool))


@pytest.mark.parametrize(("norm", "eps"), [("linf", EPS), ("l2", 0.3), ("l1", 0.4)])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_witness_is_found(room, norm, eps, seed):
    net, x = planted(seed, norm="l1" if norm == "l1" else "linf", eps=eps if norm == "l1" else EPS)
    pool = room.pool(net, x, norm=norm, eps=eps if norm != "l2" else EPS * SIDE**0.5)
    assert searched_all(pool, net)
    assert not pool.arena.standing.any()
    found = pool.arena.witnesses()
    assert pool.arena.reach.admits(found["x"], pool.arena.broken).all()
    assert (net(torch.from_numpy(found["x"])).argmax(1).numpy() != found["label"]).all()
    assert set(pool.record.fell.values()) == {"branch and bound"}


def test_slopes_do_not_lead_there(room):
    """The same points stand under the quick preset, and fall under the thorough one."""
    net, x = planted(0)
    broken = {}
    for preset in ("quick", "thorough"):
        model = room.torch(net, 2)
        result = room.run(
            "gradient", model, room.labelled(model, x), norms=("linf",), eps=(EPS,), preset=preset
        )
        broken[preset] = result.first.outcome["broken"]
        spent = result.first.cost
        assert model.forward <= spent.forward
    assert broken == {"quick": [], "thorough": [0, 1, 2]}


@pytest.mark.parametrize("whole", [0, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_programs_find_what_branch_and_bound_had_no_time_for(room, monkeypatch, seed, whole):
    """Without branch and bound, from the points themselves: the whole program, or larger and larger parts."""
    net, x = planted(seed, points=2)
    monkeypatch.setattr(searched, "_EFFORT", searched.Effort(domains=0))
    monkeypatch.setattr(searched, "_WHOLE", whole)
    monkeypatch.setattr(searched, "_FREE", 1)
    pool = room.pool(net, x)
    assert searched_all(pool, net)
    assert not pool.arena.standing.any()
    assert set(pool.record.fell.values()) == {"mixed-integer program"}


@pytest.mark.parametrize(("whole", "asked"), [(0, 2), (1000, 5)])
def test_points_in_a_row_without_a_witness_end_the_dearest_search_alone(room, monkeypatch, whole, asked):
    """Searches around best inputs stop after some misses in a row; whole programs are exact, and go on."""
    net, x = wide(units=20), 0.3 + 0.4 * np.random.default_rng(2).random((5, SIDE)).astype(np.float32)
    monkeypatch.setattr(searched, "_EFFORT", searched.Effort(domains=0))
    monkeypatch.setattr(searched, "_WHOLE", whole)
    monkeypatch.setattr(searched, "_MISSES", 2)
    seen = []
    for name in ("whole", "nearby"):
        monkeypatch.setattr(
            searched._Hunt, name, lambda hunt, name=name: seen.append((name, hunt.point)) or True
        )
    pool = room.pool(net, x, eps=0.3)
    assert searched_all(pool, net)
    assert len(set(seen)) == asked
    assert {name for name, _ in seen} == {"whole" if whole else "nearby"}
    assert pool.arena.standing.all()


def test_what_has_no_witness_is_never_broken_and_is_settled(room):
    """The planted corner lies outside a smaller ball: nothing is broken, and nothing more is tried."""
    net, x = planted(1, points=1)
    for effort in (16384, 0):
        pool = room.pool(net, x, eps=EPS * 0.85)
        if effort:
            assert searched_all(pool, net)
            assert pool.settled.all()
        else:  # the programs alone: the solver's no settles nothing
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(searched, "_EFFORT", searched.Effort(domains=0))
                assert searched_all(pool, net)
        assert pool.arena.standing.all()
        assert pool.record.fell == {}


def wide(seed=0, units=120):
    torch.manual_seed(seed)
    layers = [nn.Linear(SIDE, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2)]
    net = nn.Sequential(*layers).eval()
    with torch.no_grad():
        net[0].weight *= 4
    return net


def test_a_budget_of_seconds_ends_every_search(room):
    net, x = wide(), 0.3 + 0.4 * np.random.default_rng(0).random((6, SIDE)).astype(np.float32)
    pool = room.pool(net, x, eps=0.3, budget=Budget(seconds=3.0))
    begun = time.monotonic()
    done = searched_all(pool, net)
    assert time.monotonic() - begun < 30
    assert done or pool.arena.share.cut == "seconds"


@pytest.mark.parametrize("passes", [10, 200, 600])
def test_a_budget_of_passes_is_never_exceeded(room, passes):
    net, x = wide(units=30), 0.3 + 0.4 * np.random.default_rng(0).random((6, SIDE)).astype(np.float32)
    pool = room.pool(net, x, eps=0.3, budget=Budget(passes=passes))
    assert not searched_all(pool, net)
    assert pool.arena.share.cut == "passes"
    assert pool.arena.share.passes_left() >= 0


@pytest.mark.parametrize(("left", "nodes"), [(40, 7), (40, 38), (40, 39), (40, 5000), (3, 1)])
def test_what_the_solver_took_is_booked_up_to_the_limit(room, monkeypatch, left, nodes):
    """A program's nodes are known afterwards only; those beyond the budget end the search."""
    net, x = planted(1, points=1)
    pool = room.pool(net, x, budget=Budget(passes=left))

    class Taking:
        nodes = 0

        def solve(self, below, work, fixed):
            assert 0 < work.nodes <= left
            self.nodes += nodes

    found = searched._Hunt(pool, Taking(), 0, 5)._solved(-1.0, searched.Work(5000, 1.0))
    assert (found is None) == (2 + nodes > left)
    assert pool.arena.share.passes_left() == max(0, left - 2 - nodes)
    assert (pool.arena.share.cut == "passes") == (2 + nodes > left)


def test_the_same_seed_finds_the_same(room, monkeypatch):
    monkeypatch.setattr(searched, "_EFFORT", searched.Effort(domains=0))
    monkeypatch.setattr(searched, "_WHOLE", 0)
    monkeypatch.setattr(searched, "_ROUNDS", 4)
    net, x = wide(units=16), 0.3 + 0.4 * np.random.default_rng(1).random((3, SIDE)).astype(np.float32)
    pools = [room.pool(net, x, eps=0.08) for _ in range(2)]
    for pool in pools:
        assert searched_all(pool, net)
    first, second = pools
    assert (first.arena.standing == second.arena.standing).all()
    assert (first.record.x == second.record.x).all()


def test_other_activations_are_searched_without_programs(room):
    """Tanh has no encoding, L2 no rows: branch and bound on the relaxation is what remains, without an error."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(SIDE, 6), nn.Tanh(), nn.Linear(6, 2)).eval()
    x = np.full((2, SIDE), 0.5, np.float32)
    pool = room.pool(net, x, eps=1e-4)
    assert searched_all(pool, net)
    assert pool.arena.standing.all()


class Strange(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real[:, :2]


def test_what_cannot_be_bounded_is_left_to_the_other_attacks(room):
    net = Strange()
    pool = room.pool(net, np.full((2, SIDE), 0.5, np.float32))
    assert searched_all(pool, net)
    assert pool.arena.standing.all()
    assert not pool.settled.any()


def test_missing_values_and_no_points_are_no_trouble(room):
    net, x = planted(0)
    pool = room.pool(net, x)
    assert hard(pool, net, np.zeros(0, np.int64), goals(pool))
    pool.arena.reach.points[1, 3] = np.nan
    assert searched_all(pool, net)
    assert pool.arena.standing.tolist() == [False, True, False]


def test_thorough_breaks_what_no_slope_leads_to(room):
    """A narrow valley far from everything: the margin falls only between two close corners of ReLUs.

    Elsewhere the slope leads the wrong way, to the far end of the ball.
    """
    first = nn.Linear(1, 4)
    last = nn.Linear(4, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [1.0], [1.0], [-1.0]]))
        first.bias.copy_(torch.tensor([-0.610, -0.611, -0.612, 0.55]))
        # margin = 1 + 4 x beyond the point, less a spike of height 1.5 at 0.611
        last.weight.copy_(torch.tensor([[-1500.0, 3000.0, -1500.0, -1.0], [0, 0, 0, 0]]))
        last.bias.copy_(torch.tensor([1.2, 0.0]))
    net = nn.Sequential(first, nn.ReLU(), last)
    x = np.array([[0.55]], np.float32)
    assert net(torch.tensor([[0.611]]))[0, 0] < 0 < net(torch.tensor([[0.55]]))[0, 0]
    results = {}
    for preset in ("quick", "thorough"):
        model = room.torch(net)
        points = room.data(x, [0])
        result = room.run("gradient", model, points, norms=("linf",), eps=(0.1,), preset=preset)
        results[preset] = result.first.outcome["broken"]
    assert results == {"quick": [], "thorough": [0]}
