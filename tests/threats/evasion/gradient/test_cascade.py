"""Which attacks run, on which points, in which order; what proofs, slopes and surrogates are worth alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.arena import Arena, Points
from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.gradient.cascade import Cascade
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.masking import Slopes, slopes
from modelward.threats.evasion.gradient.pool import Pool, Task
from modelward.threats.evasion.gradient.proofs import Proofs, secured
from modelward.threats.evasion.gradient.surrogate import Borrowed, fitted
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat

FIRST = ["margin"]
QUICK = [*FIRST, "targeted margin"]
RESTARTS = [f"restart from {start}" for start in ("stripes", "blocks", "corner", "noise")]
STANDARD = [*QUICK, *RESTARTS, "APGD-CE", "APGD-T", "APGD-T", "FAB-T", "FAB-T"]


def pool_of(room, net, x, norm="linf", eps=0.1, *, budget=None, kind="logits"):
    classes = net(torch.zeros((1, *x.shape[1:]))).shape[1]
    model = room.torch(net, classes, kind=kind)
    data = room.labelled(model, x)
    scores = model.scores(x)
    points = Points(data=data, model=model, target=data.y, correct=np.ones(len(x), np.bool_), scores=scores)
    arena = Arena(points, Threat(norm, eps), share=Share(Meter(budget or Budget())), seed=3)
    copy = Copy(net, x.shape[1:])
    return Pool(arena, copy, Ball(arena.reach, copy.device))


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


def recorded(room, monkeypatch, *, norm="linf", eps=0.1, preset="standard", shape=(5,), refuses=None):
    torch.manual_seed(8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))
    x = np.random.default_rng(1).random((6, *shape)).astype(np.float32)
    pool = pool_of(room, net, x, norm, eps)
    run = Recorded(pool, refuses)
    monkeypatch.setattr(Pool, "run", lambda _, *parts: run(*parts))
    return pool, run


@pytest.mark.parametrize(
    ("norm", "preset", "names"),
    [
        ("linf", "quick", QUICK),
        ("linf", "standard", [*STANDARD, "Square"]),
        ("l2", "standard", STANDARD),
        ("l1", "standard", STANDARD),
        ("l2", "thorough", [*STANDARD, "transfer", *["many restarts"] * 6]),
        ("linf", "thorough", [*STANDARD, "transfer", "Square", *["many restarts"] * 6]),
        ("l0", "quick", QUICK),
        ("l0", "standard", [*QUICK, *RESTARTS]),
        ("l0", "thorough", [*QUICK, *RESTARTS]),
    ],
)
def test_the_order_of_the_attacks(room, monkeypatch, norm, preset, names):
    pool, run = recorded(room, monkeypatch, norm=norm, eps=2.0 if norm == "l0" else 0.05, preset=preset)
    assert Cascade(pool, preset, lambda: True).run()
    assert run.names == names


@pytest.mark.parametrize("refuses", range(1, len(STANDARD) + 2))
def test_a_refusal_at_any_attack_ends_the_cascade_there(room, monkeypatch, refuses):
    pool, run = recorded(room, monkeypatch, refuses=refuses)
    assert not Cascade(pool, "standard", lambda: True).run()
    assert run.names == [*STANDARD, "Square"][:refuses]


def test_what_is_proved_is_left_alone_from_then_on(room, monkeypatch):
    pool, run = recorded(room, monkeypatch, preset="thorough")

    def prove():
        pool.settled[[1, 4]] = True
        return True

    assert Cascade(pool, "thorough", prove).run()
    assert {task.point for task in run.tasks[0]} == set(range(6))
    for tasks in run.tasks[1:]:
        assert {task.point for task in tasks} <= {0, 2, 3, 5}
    assert not Cascade(pool, "quick", lambda: False).run()
    assert run.names[-1] == "margin"


def test_points_whose_margin_stays_high_are_not_tried_again(room, monkeypatch):
    """Open: margin within three times the spread of repeated searches, or 5 % of the unmodified margin."""
    pool, _ = recorded(room, monkeypatch)
    cascade = Cascade(pool, "standard", lambda: True)
    goals = np.argsort(-pool.arena.points.scores, axis=1)[:, 1:]
    for point, (margin, again) in enumerate(
        [(9.0, 11.9), (9.0, 6.0), (0.3, 0.2), (1e-4, 1e-4), (5.0, 5.0), (2.0, 1.0)]
    ):
        pool.record.margin[point] = min(margin, again)
        pool.record.runs[point, -1] = [margin]
        pool.record.runs[point, int(goals[point, 0])] = [again]
        pool.record.runs[point, int(goals[point, 1])] = [again + 1]
    assert cascade.open().tolist() == [3, 2, 5, 1]
    pool.settled[5] = True
    assert cascade.open().tolist() == [3, 2, 1]
    cascade.slopes = Slopes(n=32, flat=0.9, random=0, false=0, judged=32, kept=(1, 1, 1, 1), unbounded=1)
    assert cascade.open().tolist() == [3, 2, 4, 1, 0]  # where slopes mislead, margins say nothing


def test_goals_come_in_the_order_of_the_scores_and_seeds_differ(room, monkeypatch):
    pool, run = recorded(room, monkeypatch)
    assert Cascade(pool, "quick", lambda: True).run()
    scores = pool.arena.points.scores
    order = np.argsort(-scores, axis=1, kind="stable")
    targeted = run.tasks[1]
    for rank in range(2):
        part = targeted[6 * rank : 6 * rank + 6]
        assert [task.goal for task in part] == order[:, rank + 1].tolist()
    assert len({task.seed for tasks in run.tasks for task in tasks}) == 18
    _, again = recorded(room, monkeypatch)
    assert Cascade(again.pool, "quick", lambda: True).run()
    assert again.tasks == run.tasks


def exact_linear(room, eps):
    """A linear model, points, and the exact Linf distance of each."""
    w = np.array([1.0, -2.0, 0.5], np.float32)
    net = room.linear(np.stack([w, -w]), [0.1, -0.1]).eval()
    x = (0.3 + 0.4 * np.random.default_rng(2).random((30, 3))).astype(np.float32)
    exact = np.abs(x.astype(np.float64) @ w + 0.1) / np.abs(w).sum()
    return net, x, exact, pool_of(room, net, x, "linf", eps)


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
    pool = pool_of(room, net, np.concatenate([x, x]), "linf", float(exact.max()) * 1.1)
    proofs = secured(net, 0.0, pool.arena, np.arange(60))
    assert proofs.certified.tolist() == []
    assert proofs.bounded.tolist() == list(range(16))


@pytest.mark.parametrize("limit", [0, 1, 5, 17, 40])
def test_proofs_end_with_the_budget_and_what_is_proved_stays(room, limit):
    net, x, exact, _ = exact_linear(room, 0.05)
    pool = pool_of(room, net, x, "linf", 0.05, budget=Budget(passes=limit))
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
    pool = pool_of(room, net, points_of(4, 3), eps=1e-6)
    assert secured(net, 0.0, pool.arena, np.arange(4)).outcome(np.arange(4)) == {}
    net, _, exact, pool = exact_linear(room, 0.01)
    assert len(secured(net, 0.0, pool.arena, np.argsort(-exact)).certified) > 10
    assert len(secured(net, 1e6, pool.arena, np.argsort(-exact)).certified) == 0
    assert Proofs(np.zeros(0, np.int64), {}).certified.tolist() == []


def test_slopes_book_exactly_what_they_ask(room):
    net = net_of(3)
    x = points_of(50)
    model = room.torch(net, 3)
    data = room.labelled(model, x)
    every = Points(
        data=data, model=model, target=data.y, correct=np.ones(50, np.bool_), scores=model.scores(x)
    )
    meter = Meter(Budget())
    arena = Arena(every, Threat("l2", 0.2), share=Share(meter), seed=1)
    copy = Copy(model.module(), (5,))
    seen = slopes(Pool(arena, copy, Ball(arena.reach, copy.device)))
    assert seen.n == 32
    assert model.forward <= meter.cost.forward == (2 + 30 + 4 + 1) * 32
    assert model.backward <= meter.cost.backward == (2 + 30) * 32
    short = Arena(every, Threat("l2", 0.2), share=Share(Meter(Budget(passes=100))), seed=1)
    assert slopes(Pool(short, copy, Ball(short.reach, copy.device))) is None


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
    pool = pool_of(room, Bent(bend), np.full((8, 2), 0.5, np.float32), "linf", 0.2)
    seen = slopes(pool)
    assert seen.judged == seen.n == 8
    assert seen.kept == pytest.approx(kept, abs=1e-4)
    assert (seen.flat, seen.random, seen.false) == (0.0, 0.0, 0.0)


def test_a_slope_of_the_wrong_sign_is_false_and_none_is_flat(room):
    class Turned(Bent):
        def forward(self, x):
            return super().forward(1 - x.detach() + x - x.detach())

    turned = slopes(pool_of(room, Turned(9.0), np.full((8, 2), 0.5, np.float32), "linf", 0.2))
    assert turned.false == 1.0
    assert turned.kept[0] == pytest.approx(-1.0, abs=1e-3)
    flat = slopes(pool_of(room, Bent(0.0), np.full((8, 2), 0.9, np.float32), "linf", 0.05))
    assert flat.flat == 1.0
    assert flat.judged == 0


def test_a_surrogate_learns_what_the_model_answers_near_the_points(room):
    w = np.random.default_rng(0).normal(size=(3, 4))
    net = room.linear(w, [0.1, 0.0, -0.1]).eval()
    x = points_of(40, 4)
    pool = pool_of(room, net, x, "linf", 0.3)
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
    pool = pool_of(room, net, points_of(4), budget=Budget(passes=31))
    assert fitted(pool, np.arange(4), 1) is None  # 8 questions for each of 4 points are 32
    assert pool.arena.share.cut == "passes"
    pool = pool_of(room, net, points_of(4))
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
    pool = pool_of(room, NoSlope(inner), x, "linf", 0.15)
    method = Borrowed(pool, inner, steps=20)
    assert (method.forward, method.backward) == (1, 0)
    assert pool.run(method, [Task(i, -1, "noise", i) for i in range(12)], "transfer")
    inside = (x > 0.15).all(axis=1) & (x < 0.85).all(axis=1)  # elsewhere the box is nearer than the ball
    assert set(np.flatnonzero((exact < 0.14) & inside)) <= set(pool.arena.broken.tolist())
    assert not set(np.flatnonzero(exact > 0.1501)) & set(pool.arena.broken.tolist())
    assert set(pool.record.fell.values()) == {"transfer"}


def test_searches_from_the_best_input_begin_there(room):
    pool = pool_of(room, net_of(4), points_of(3), eps=0.2)
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
