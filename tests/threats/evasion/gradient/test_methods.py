"""Each attack alone, on models whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget
from modelward.threats.evasion.gradient.apgd import Apgd, _checkpoints
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.fab import Fab, _cheapest, _level
from modelward.threats.evasion.gradient.losses import loss
from modelward.threats.evasion.gradient.pool import Task
from modelward.threats.evasion.gradient.sparse import Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch

METHODS = {
    "descent": lambda pool: Descent(pool.copy, pool.ball, steps=30),
    "apgd": lambda pool: Apgd(pool.copy, pool.ball, steps=50, kind="margin"),
    "apgd entropy": lambda pool: Apgd(pool.copy, pool.ball, steps=50, kind="entropy"),
    "fab": lambda pool: Fab(pool.copy, pool.ball, steps=30),
    "square": lambda pool: SquareSearch(pool.copy, pool.ball, steps=600),
}


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        pair
        for pair in itertools.product(["linf", "l2", "l1"], METHODS)
        if pair[1] != "square" or pair[0] == "linf"
    ],
)
def test_linear_models_fall_just_beyond_their_exact_distance(room, norm, name):
    """Distance of x to the border w . x + b = 0 in a norm: |w . x + b| over the dual norm of w."""
    random = np.random.default_rng(8)
    w = random.standard_normal(6)
    net = room.linear(np.stack([w, -w]), [0.0, 0.0])
    x = (0.5 + 0.1 * random.standard_normal((8, 6))).astype(np.float32)  # far from the sides of the box
    with torch.no_grad():
        net.bias.copy_(torch.tensor([-0.5 * w.sum(), 0.5 * w.sum()]))
    dual = {"linf": np.abs(w).sum(), "l2": np.linalg.norm(w), "l1": np.abs(w).max()}[norm]
    exact = np.abs((x.astype(np.float64) - 0.5) @ w) / dual
    for eps in np.quantile(exact, [0.3, 0.7]):
        pool = room.pool(net, x, norm, float(eps))
        assert pool.run(METHODS[name](pool), [Task(i, seed=i) for i in range(8)], name)
        assert set(np.flatnonzero(exact < eps * 0.97)) <= set(pool.arena.broken)
        assert not set(np.flatnonzero(exact > eps * 1.0001)) & set(pool.arena.broken)
        assert set(pool.record.fell) == set(pool.arena.broken)


def test_targeted_searches_reach_their_goal(room):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
    x = np.random.default_rng(2).random((6, 4)).astype(np.float32)
    pool = room.pool(net, x, "linf", 0.3)
    before = net(torch.tensor(x)).detach()
    tasks = [Task(i, (int(pool.arena.points.target[i]) + 1) % 4, "noise", i) for i in range(6)]
    pool.run(Apgd(pool.copy, pool.ball, steps=40, kind="ratio"), tasks)
    target = torch.tensor(pool.arena.points.target)
    goal = torch.tensor([task.goal for task in tasks])
    start = loss("margin", before, target, goal).numpy()
    assert (pool.record.margin < start).all()


def test_checkpoints_are_those_of_the_paper():
    assert _checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert _checkpoints(10)[0] == 2


def test_dlr_matches_its_formula_by_hand():
    scores = torch.tensor([[3.0, 1.0, 0.5, -1.0]])
    y, free, goal = torch.tensor([0]), torch.tensor([-1]), torch.tensor([2])
    assert loss("ratio", scores, y, free).item() == pytest.approx((3 - 1) / (3 - 0.5))
    assert loss("ratio", scores, y, goal).item() == pytest.approx((3 - 0.5) / (3 - (0.5 - 1) / 2))
    assert loss("margin", scores, y, goal).item() == 2.5
    assert loss("entropy", scores, y, free).item() == pytest.approx(scores.log_softmax(1)[0, 0].item())


def test_levels_and_knapsacks_meet_what_is_wanted():
    random = torch.Generator().manual_seed(4)
    worth, room = torch.rand((5, 7), generator=random), torch.rand((5, 7), generator=random)
    wanted = (worth * room).sum(dim=1) * torch.tensor([0.0, 0.2, 0.6, 0.99, 2.0])
    full = torch.minimum(wanted, (worth * room).sum(dim=1))
    for rate in (torch.ones_like(worth), worth):
        move = torch.minimum(_level(worth, rate, room, wanted) * rate, room)
        torch.testing.assert_close((worth * move).sum(dim=1), full, atol=1e-5, rtol=1e-5)
    move = _cheapest(worth, room, wanted)
    torch.testing.assert_close((worth * move).sum(dim=1), full, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_best_pixels_of_a_linear_model_are_found(room, count):
    random = np.random.default_rng(3)
    w = random.standard_normal((1, 4, 4)).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), room.linear(np.stack([w.ravel(), -w.ravel()]), [0, 0]))
    x = random.random((12, 1, 4, 4)).astype(np.float32)
    pool = room.pool(net, x, "l0", float(count))
    pool.run(Swaps(pool.copy, pool.ball, pool.arena.reach, steps=10), [Task(i, seed=i) for i in range(12)])
    value = (x * w).reshape(12, -1).astype(np.float64)
    sign = np.sign(value.sum(axis=1))[:, None]
    gain = (sign * value) - np.minimum(sign * w.ravel(), 0.0)  # best value of each pixel is 0 or 1
    reachable = np.sort(gain, axis=1)[:, ::-1][:, :count].sum(axis=1) > np.abs(value.sum(axis=1)) + 1e-5
    assert pool.arena.broken.tolist() == np.flatnonzero(reachable).tolist()
    assert (pool.arena.sizes() <= count).all()


def test_the_best_square_of_a_linear_model_is_found(room):
    random = np.random.default_rng(5)
    w = random.standard_normal((1, 5, 5)).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), room.linear(np.stack([w.ravel(), -w.ravel()]), [0, 0]))
    x = random.random((12, 1, 5, 5)).astype(np.float32)
    pool = room.pool(net, x, "patch", 4 / 25)
    pool.run(Windows(pool.copy, pool.ball, pool.arena.reach, steps=5), [Task(i, seed=i) for i in range(12)])
    value = (x * w)[:, 0].astype(np.float64)
    sign = np.sign(value.sum(axis=(1, 2)))[:, None, None]
    gain = (sign * value) - np.minimum(sign * w[0], 0.0)
    best = np.max(
        [gain[:, i : i + 2, j : j + 2].sum(axis=(1, 2)) for i in range(4) for j in range(4)], axis=0
    )
    reachable = best > np.abs(value.sum(axis=(1, 2))) + 1e-5
    assert pool.arena.broken.tolist() == np.flatnonzero(reachable).tolist()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_what_falls_does_not_depend_on_the_batch(room, batch):
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 3))
    x = np.random.default_rng(6).random((20, 5)).astype(np.float32)
    kept = []
    for size in (batch, 7):
        pool = room.pool(net, x, "linf", 0.12)
        pool.copy.batch = size
        tasks = [Task(i, -1, "noise", 100 * i) for i in range(20)]
        pool.run(Descent(pool.copy, pool.ball, steps=15), tasks)
        kept.append((pool.arena.broken.tolist(), np.round(pool.record.margin, 4).tolist()))
    assert kept[0] == kept[1]
    assert 0 < len(kept[0][0]) < 20


def test_a_refusal_ends_the_run_and_nothing_more_is_booked(room):
    net = room.linear([[1.0, 0], [0, 1.0]], [5.0, 0])
    x = np.full((4, 2), 0.5, np.float32)
    pool = room.pool(net, x, "linf", 0.1, budget=Budget(passes=21))
    method = Descent(pool.copy, pool.ball, steps=10, patient=True)
    assert not pool.run(method, [Task(i) for i in range(4)])
    assert pool.arena.share.cut == "passes"


def test_a_search_without_prospects_ends_early(room):
    net = room.linear([[1.0, 0], [0, 1.0]], [50.0, 0])
    x = np.full((1, 2), 0.5, np.float32)
    spent = []
    for patient in (False, True):
        pool = room.pool(net, x, "linf", 0.1, budget=Budget(passes=10**6))
        pool.run(Descent(pool.copy, pool.ball, steps=40, patient=patient), [Task(0)])
        spent.append(10**6 - pool.arena.share.passes_left())
    assert spent[1] == 80
    assert spent[0] < 40
