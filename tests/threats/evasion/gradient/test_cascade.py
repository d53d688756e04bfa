"""Which attacks run, on which points, in which order; what proofs, slopes and surrogates are worth alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.arena import Arena, Points
from modelward.threats.evasion.gradient import schedule
from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.gradient.cascade import Cascade
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.masking import Slopes, slopes
from modelward.threats.evasion.gradient.pool import Pool, Task
from modelward.threats.evasion.gradient.proofs import Proofs, secured
from modelward.threats.evasion.gradient.surrogate import Borrowed, fitted
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat

QUICK = ["margin", "probe", "targeted margin"]
LATE = [turn.name for turn in schedule.LATE[:-2]]
REFINED = ["refinement"] * 2
BLIND = ["APGD-CE", "APGD-T", "FAB-T"]
RESTARTS = ["restart"] * 4
MANY = ["many restarts"] * 6
HONEST = Slopes(n=32, flat=0.0, random=0, false=0, judged=32, kept=(1, 1, 1, 1), unbounded=1)
FLAT = replace(HONEST, flat=0.9)


def net_of(seed=0, inputs=5, classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 12), nn.ReLU(), nn.Linear(12, classes)).eval()


def points_of(n=6, inputs=5, seed=0):
    return np.random.default_rng(seed).random((n, inputs)).astype(np.float32)


class Recorded:
    """Takes the place of a pool's run: writes down the name and the tasks, and can refuse one."""

    def __init__(self, pool, refuses=None):
        self.pool, self.refuses, self.names, self.tasks = pool, refuses, [], []

    def __call__(self, method, tasks, name=""):
        tasks = list(tasks)
        self.names.append(name)
        self.tasks.append(tasks)
        for task in tasks:  # as if every search had ended at the same margin
            self.pool.record.runs.setdefault((task.point, task.goal), []).append(0.01)
            self.pool.record.margin[task.point] = 0.01
        return len(self.names) != self.refuses


def recorded(room, monkeypatch, *, norm="linf", eps=0.1, shape=(5,), refuses=None, seen=HONEST, classes=3):
    """A pool that searches nothing, of a linear model whose margins are large, and what it was asked."""
    torch.manual_seed(8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))
    with torch.no_grad():
        net[1].weight *= 1e3
    x = np.random.default_rng(1).random((6, *shape)).astype(np.float32)
    pool = room.pool(net, x, norm, eps)
    run = Recorded(pool, refuses)
    monkeypatch.setattr(Pool, "run", lambda _, *parts: run(*parts))
    monkeypatch.setattr("modelward.threats.evasion.gradient.cascade.slopes", lambda _: seen)
    monkeypatch.setattr("modelward.threats.evasion.gradient.cascade.hard", lambda *_: True)
    return pool, run


@pytest.mark.parametrize(
    ("norm", "preset", "names"),
    [
        ("linf", "quick", QUICK),
        ("linf", "standard", [*QUICK, *LATE, *REFINED]),
        ("l2", "standard", [*QUICK, *LATE]),
        ("l1", "standard", [*QUICK, *LATE]),
        ("l2", "thorough", [*QUICK, *LATE, "transfer", *MANY]),
        ("linf", "thorough", [*QUICK, *LATE, *REFINED, "transfer", *MANY]),
        ("l0", "quick", ["margin", "targeted margin"]),
        ("l0", "standard", ["margin", "targeted margin", *RESTARTS]),
        ("l0", "thorough", ["margin", "targeted margin", *RESTARTS]),
    ],
)
def test_the_order_of_the_attacks(room, monkeypatch, norm, preset, names):
    pool, run = recorded(room, monkeypatch, norm=norm, eps=2.0 if norm == "l0" else 0.05)
    assert Cascade(pool, preset, lambda: True).run()
    assert run.names == names


@pytest.mark.parametrize(("norm", "last"), [("linf", ["Square"]), ("l2", [])])
def test_where_slopes_mislead_every_point_meets_all_that_autoattack_does(room, monkeypatch, norm, last):
    pool, run = recorded(room, monkeypatch, norm=norm, eps=0.05, seen=FLAT)
    assert Cascade(pool, "standard", lambda: True).run()
    assert run.names == [*QUICK, *BLIND, *last, "transfer"]
    for tasks in run.tasks:  # whatever was left of the margins
        assert {task.point for task in tasks} == set(range(6))


@pytest.mark.parametrize("refuses", range(1, len([*QUICK, *LATE]) + 2))
def test_a_refusal_at_any_attack_ends_the_cascade_there(room, monkeypatch, refuses):
    pool, run = recorded(room, monkeypatch, refuses=refuses)
    assert not Cascade(pool, "standard", lambda: True).run()
    assert run.names == [*QUICK, *LATE, *REFINED][:refuses]


def test_a_refusal_while_slopes_are_examined_ends_the_cascade(room, monkeypatch):
    pool, run = recorded(room, monkeypatch, seen=None)
    assert Cascade(pool, "quick", lambda: True).run()  # nothing known, and nothing refused
    assert not pool.arena.share.take(queries=1) or pool.arena.share.cut is None
    pool.arena.share.cut = "passes"
    assert not Cascade(pool, "standard", lambda: True).run()
    assert run.names[len(QUICK) :] == ["margin"]


def test_two_classes_have_one_goal_and_no_probes(room, monkeypatch):
    pool, run = recorded(room, monkeypatch, classes=2)
    assert Cascade(pool, "standard", lambda: True).run()
    assert run.names == ["margin", "targeted margin", *LATE, *REFINED]
    others = 1 - pool.arena.points.target
    for name, tasks in zip(run.names, run.tasks, strict=True):
        free = name in {"margin", "APGD-CE", "refinement"}
        assert all(task.goal == (-1 if free else others[task.point]) for task in tasks)


def test_what_is_proved_is_left_alone_from_then_on(room, monkeypatch):
    pool, run = recorded(room, monkeypatch)

    def prove():
        pool.settled[[1, 4]] = True
        return True

    assert Cascade(pool, "thorough", prove).run()
    assert {task.point for task in run.tasks[0]} == set(range(6))
    for tasks in run.tasks[1:]:
        assert {task.point for task in tasks} <= {0, 2, 3, 5}
    assert not Cascade(pool, "quick", lambda: False).run()
    assert run.names[-1] == "margin"


@pytest.fixture
def ranked(room):
    """A cascade over 40 points of which point i has lost all but i percent of its margin."""
    w = np.array([[2.0, 1.0], [-2.0, 1.0], [0.0, -3.0]])
    x = np.random.default_rng(0).random((40, 2)).astype(np.float32)
    pool = room.pool(room.linear(w, [0.0, 0.0, 0.0]).eval(), x)
    cascade = Cascade(pool, "standard", lambda: True)
    scores = np.sort(pool.arena.points.scores, axis=1)
    pool.record.margin[:] = (scores[:, -1] - scores[:, -2]) * np.arange(40) / 100
    return pool, cascade


@pytest.mark.parametrize(
    ("part", "within", "count"),
    [(1.0, np.inf, 40), (1.0, 0.2, 21), (1.0, 0.005, 1), (0.5, np.inf, 20), (0.5, 0.05, 6), (0.01, 1.0, 8)],
)
def test_a_round_is_for_the_points_that_are_nearest(ranked, part, within, count):
    """Share of those that stand, at least eight, and none with more of its margin than the round allows."""
    _, cascade = ranked
    turn = schedule.Round(name="any", kind="descent", steps=1, part=part, within=within * (1 + 1e-9))
    assert cascade.near(turn) == list(range(count))


def test_what_fell_or_is_proved_takes_no_part_and_what_was_never_seen_does(ranked):
    pool, cascade = ranked
    turn = schedule.Round(name="any", kind="descent", steps=1, within=0.055)
    pool.settled[[0, 3]] = True
    pool.arena.standing[4] = False
    assert cascade.near(turn) == [1, 2, 5]
    pool.record.margin[30] = np.inf  # a search that counts nothing says nothing of the margin either
    assert cascade.near(turn) == [1, 2, 5, 30]
    cascade.slopes = FLAT
    assert sorted(cascade.near(turn)) == [i for i in range(40) if i not in {0, 3, 4}]


def test_probes_go_for_every_goal_and_later_searches_for_the_nearest(room, monkeypatch):
    pool, run = recorded(room, monkeypatch, classes=7)
    cascade = Cascade(pool, "standard", lambda: True)
    near = {}

    def search(method, tasks, name=""):
        tasks = list(tasks)
        goes = run(method, tasks, name)
        if name == "probe":  # the goal that no score favours comes nearest, by a hair
            for point in range(6):
                near[point] = [int(g) for g in np.argsort(pool.arena.points.scores[point])[:2]]
                for place, goal in enumerate(near[point]):
                    pool.record.runs[point, goal].append(0.001 * (place + 1))
        return goes

    monkeypatch.setattr(Pool, "run", lambda _, *parts: search(*parts))
    assert cascade.run()
    probes, aimed, late = run.tasks[1:4]
    order = np.argsort(-pool.arena.points.scores, axis=1, kind="stable")
    for rank in range(6):
        part = {task.point: task.goal for task in probes[6 * rank : 6 * rank + 6]}
        assert [part[point] for point in range(6)] == order[:, rank + 1].tolist()
    for tasks in (aimed, late):
        for point in range(6):
            goals = [task.goal for task in tasks if task.point == point]
            assert goals[:2] == near[point]
            assert len(set(goals)) == len(goals) == (2 if tasks is aimed else 4)
    assert {task.start for task in late} == {"corner"}
    assert run.names[3] == "APGD-T"


def test_every_search_has_a_seed_of_its_own_and_the_same_again(room, monkeypatch):
    pool, run = recorded(room, monkeypatch)
    assert Cascade(pool, "thorough", lambda: True).run()
    seeds = [task.seed for tasks in run.tasks for task in tasks]
    assert len(set(seeds)) == len(seeds) > 300
    _, again = recorded(room, monkeypatch)
    assert Cascade(again.pool, "thorough", lambda: True).run()
    assert again.tasks == run.tasks


def test_a_class_that_no_score_hints_at_is_found_by_probes(room):
    """The likeliest rivals hardly move; the unlikeliest class rises above all of them within the ball."""
    w = np.zeros((5, 3))
    w[1, 1], w[2, 2], w[4, 0] = 0.1, 0.1, 200.0
    net = room.linear(w, [10.0, 9.0, 8.0, 7.0, -105.0]).eval()
    pool = room.pool(net, np.full((3, 3), 0.5, np.float32), "linf", 0.1)
    assert Cascade(pool, "quick", lambda: True).run()
    assert pool.arena.broken.tolist() == [0, 1, 2]
    assert set(pool.record.fell.values()) == {"probe"}
    assert set(pool.arena.decisions(np.arange(3)).tolist()) == {4}
    small = room.pool(net, np.full((3, 3), 0.5, np.float32), "linf", 0.05)  # -5 + 200 * 0.05 = 5 < 10
    assert Cascade(small, "quick", lambda: True).run()
    assert small.arena.broken.tolist() == []


def exact_linear(room, eps):
    """A linear model, points, and the exact Linf distance of each."""
    w = np.array([1.0, -2.0, 0.5], np.float32)
    net = room.linear(np.stack([w, -w]), [0.1, -0.1]).eval()
    x = (0.3 + 0.4 * np.random.default_rng(2).random((30, 3))).astype(np.float32)
    exact = np.abs(x.astype(np.float64) @ w + 0.1) / np.abs(w).sum()
    return net, x, exact, room.pool(net, x, "linf", eps)


@pytest.mark.parametrize("eps", [0.01, 0.05, 0.1])
def test_proofs_secure_the_points_beyond_the_exact_distance_and_no_other(room, eps):
    net, _, exact, pool = exact_linear(room, eps)
    order = np.argsort(-exact)
    proofs = secured(net, 0.0, pool.arena, order)
    # A chunk of 16 without any proof would end them; the last chunk that is tried still gains.
    assert proofs.certified.tolist() == [
        i for i in np.flatnonzero(exact > eps * 1.001) if i in proofs.bounded
    ]
    assert set(np.flatnonzero(exact > eps * 1.001)) == set(proofs.certified.tolist())
    assert set(proofs.certified) <= set(proofs.bounded)
    rows = 1000 + 7 * np.arange(30)
    outcome = proofs.outcome(rows)
    assert outcome["certified"] == rows[proofs.certified].tolist()
    assert sorted(row for part in outcome["proofs"].values() for row in part) == outcome["certified"]


def test_proofs_stop_after_a_chunk_that_gains_nothing(room):
    net, x, exact, _ = exact_linear(room, 0.1)
    pool = room.pool(net, np.concatenate([x, x]), "linf", float(exact.max()) * 1.1)
    proofs = secured(net, 0.0, pool.arena, np.arange(60))
    assert proofs.certified.tolist() == []
    assert proofs.bounded.tolist() == list(range(16))


@pytest.mark.parametrize("limit", [0, 1, 5, 17, 40])
def test_proofs_end_with_the_budget_and_what_is_proved_stays(room, limit):
    net, x, exact, _ = exact_linear(room, 0.05)
    pool = room.pool(net, x, "linf", 0.05, budget=Budget(passes=limit))
    proofs = secured(net, 0.0, pool.arena, np.argsort(-exact))
    assert (exact[proofs.certified] > 0.05).all()
    assert pool.arena.share.passes_left() >= 0
    if limit == 0:
        assert proofs.outcome(np.arange(30)) == {}


def test_no_proof_where_the_net_cannot_be_read_or_the_copy_is_far_off(room):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(x) if float(x.detach().sum()) > -1e9 else self.inner(-x)

    torch.manual_seed(0)
    net = Branching().eval()
    pool = room.pool(net, points_of(4, 3), eps=1e-6)
    assert secured(net, 0.0, pool.arena, np.arange(4)).outcome(np.arange(4)) == {}
    net, _, exact, pool = exact_linear(room, 0.01)
    assert len(secured(net, 0.0, pool.arena, np.argsort(-exact)).certified) > 10
    assert len(secured(net, 1e6, pool.arena, np.argsort(-exact)).certified) == 0
    assert Proofs(np.zeros(0, np.int64), {}).certified.tolist() == []


def many(room, net, x, budget=None):
    model = room.torch(net, 3)
    data = room.labelled(model, x)
    right = np.ones(len(x), np.bool_)
    points = Points(data=data, model=model, target=data.y, correct=right, scores=model.scores(x))
    meter = Meter(budget or Budget())
    arena = Arena(points, Threat("l2", 0.2), share=Share(meter), seed=1)
    copy = Copy(model.module(), x.shape[1:])
    return model, meter, Pool(arena, copy, Ball(arena.reach, copy.device))


def test_slopes_book_exactly_what_they_ask(room):
    model, meter, pool = many(room, net_of(3), points_of(50))
    seen = slopes(pool)
    assert seen.n == 32
    assert model.forward == meter.cost.forward
    assert model.backward == meter.cost.backward
    # Two looks at 32 slopes, four steps and one answer; then 16 descents, each until it succeeds.
    assert 2 * 32 < meter.cost.backward <= (2 + 30 / 2) * 32
    assert meter.cost.forward == meter.cost.backward + (len(seen.kept) + 1) * 32


@pytest.mark.parametrize("limit", [0, 100, 9 * 32 - 1, 9 * 32, 9 * 32 + 31, 9 * 32 + 33])
def test_slopes_without_a_budget_for_them_say_nothing(room, limit):
    """Nine passes for each of 32 points come first, then 16 forward and backward at a time."""
    _, meter, pool = many(room, net_of(3), points_of(50), Budget(passes=limit))
    assert slopes(pool) is None
    assert pool.arena.share.cut == "passes"
    assert meter.cost.forward + meter.cost.backward <= limit


def test_descents_without_bound_end_as_they_succeed(room):
    steep = nn.Sequential(room.linear([[9.0, 0.0], [-9.0, 0.0], [0.0, 0.0]], [-4.5, 4.5, -99.0]))
    x = np.random.default_rng(4).random((20, 2)).astype(np.float32)
    _, meter, pool = many(room, steep, x)
    seen = slopes(pool)
    assert seen.unbounded == 1.0
    assert meter.cost.backward < (2 + 4) * 20


class Bent(nn.Module):
    """Margin 2 at the point; it falls with a slope of 1 up to a step of `bend`, and not at all beyond."""

    def __init__(self, bend):
        super().__init__()
        self.bend, self.dummy = bend, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        fall = (x[:, 0] - 0.5).clamp(-1, self.bend)
        return torch.stack([2 - fall + self.dummy, 0 * fall], dim=1)


@pytest.mark.parametrize(
    ("bend", "kept"), [(9.0, (1, 1, 1, 1)), (0.05, (1, 1, 1, 0.25)), (0.025, (1, 1, 0.5, 0.125))]
)
def test_how_much_of_the_foretold_fall_comes_true(room, bend, kept):
    pool = room.pool(Bent(bend), np.full((8, 2), 0.5, np.float32), "linf", 0.2)
    seen = slopes(pool)
    assert seen.judged == seen.n == 8
    assert seen.kept == pytest.approx(kept, abs=1e-4)
    assert (seen.flat, seen.random, seen.false) == (0.0, 0.0, 0.0)


def test_a_slope_of_the_wrong_sign_is_false_and_none_is_flat(room):
    class Turned(Bent):
        def forward(self, x):
            return super().forward(1 - x.detach() + x - x.detach())

    turned = slopes(room.pool(Turned(9.0), np.full((8, 2), 0.5, np.float32), "linf", 0.2))
    assert turned.false == 1.0
    assert turned.kept[0] == pytest.approx(-1.0, abs=1e-3)
    flat = slopes(room.pool(Bent(0.0), np.full((8, 2), 0.9, np.float32), "linf", 0.05))
    assert flat.flat == 1.0
    assert flat.judged == 0


def test_a_surrogate_learns_what_the_model_answers_near_the_points(room):
    w = np.random.default_rng(0).normal(size=(3, 4))
    net = room.linear(w, [0.1, 0.0, -0.1]).eval()
    x = points_of(40, 4)
    pool = room.pool(net, x, "linf", 0.3)
    before = torch.get_rng_state()
    made = fitted(pool, np.arange(40), 5)
    assert torch.equal(before, torch.get_rng_state())
    fresh = torch.tensor(points_of(200, 4, seed=9))
    centred = [s - s.mean(dim=1, keepdim=True) for s in (made(fresh).detach(), net(fresh).detach())]
    correlation = np.corrcoef(*(part.flatten().numpy() for part in centred))[0, 1]
    assert correlation > 0.9
    again, other = fitted(pool, np.arange(40), 5), fitted(pool, np.arange(40), 6)
    assert torch.equal(again(fresh), made(fresh))
    assert not torch.equal(other(fresh), made(fresh))


def test_no_surrogate_without_answers(room):
    net = net_of()
    pool = room.pool(net, points_of(4), budget=Budget(passes=31))
    assert fitted(pool, np.arange(4), 1) is None  # 8 questions for each of 4 points are 32
    assert pool.arena.share.cut == "passes"
    pool = room.pool(net, points_of(4))
    with torch.no_grad():
        net[2].bias[0] = torch.inf
    assert fitted(pool, np.arange(4), 1) is None


def test_borrowed_slopes_never_ask_the_model_for_its_own(room):
    class NoSlope(nn.Module):
        """Raises when it is differentiated."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            if x.requires_grad:
                raise AssertionError("the model was asked for a slope")
            return self.inner(x)

    w = np.array([1.0, -1.0, 0.5, 0.2])
    inner = room.linear(np.stack([w, -w]), [-0.3, 0.3]).eval()
    x = points_of(12, 4)
    exact = np.abs(x.astype(np.float64) @ w - 0.3) / np.abs(w).sum()
    pool = room.pool(NoSlope(inner), x, "linf", 0.15)
    method = Borrowed(pool, inner, steps=20)
    assert (method.forward, method.backward) == (1, 0)
    assert pool.run(method, [Task(i, -1, "noise", i) for i in range(12)], "transfer")
    inside = (x > 0.15).all(axis=1) & (x < 0.85).all(axis=1)  # elsewhere the box is nearer than the ball
    assert set(np.flatnonzero((exact < 0.14) & inside)) <= set(pool.arena.broken.tolist())
    assert not set(np.flatnonzero(exact > 0.1501)) & set(pool.arena.broken.tolist())
    assert set(pool.record.fell.values()) == {"transfer"}


def test_searches_from_the_best_input_begin_there(room):
    pool = room.pool(net_of(4), points_of(3), eps=0.2)
    best = pool.record.x.copy()
    best[1] += 0.05
    pool.record.x[:] = best
    asked = []

    class Look:
        steps, forward, backward = 1, 1, 0

        def begin(self, batch):
            asked.append(batch.state["x"].numpy().copy())

        def advance(self, batch):
            from modelward.threats.evasion.gradient.pool import Found

            nothing = torch.zeros(len(batch.tasks), dtype=torch.bool)
            return Found(batch.state["x"], nothing, torch.ones(len(batch.tasks)), nothing)

    assert pool.run(Look(), [Task(0, -1, "best"), Task(1, -1, "best"), Task(2)])
    np.testing.assert_array_equal(asked[0], best)
    assert pool.record.runs == {(0, -1): [1.0], (1, -1): [1.0], (2, -1): [1.0]}
