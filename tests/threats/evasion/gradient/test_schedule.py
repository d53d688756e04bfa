"""What each round searches with, and that rounds cost little where little is left to be won."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.gradient import schedule
from modelward.threats.evasion.gradient.apgd import Apgd
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.fab import Fab
from modelward.threats.evasion.gradient.schedule import Round, method
from modelward.threats.evasion.gradient.sparse import Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch

ROUNDS = [
    schedule.FIRST,
    schedule.PROBES,
    schedule.NEXT,
    *schedule.LATE,
    *schedule.BLIND,
    *schedule.MANY,
    *schedule.UNGRADED,
]
STARTS = {"centre", "noise", "stripes", "blocks", "corner"}
PASSES = {"square": 1, "refine": 1}
"""Per step, where no slope is asked for; 2 elsewhere."""
AUTOATTACK = 2 * (100 + 9 * 100) + 3 * 9 * 100 + 5000
"""Passes of AutoAttack's standard version on a point that nothing breaks: two APGD, FAB with one more look per
step, Square."""


def pool_of(room, norm, eps, shape, *, of=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))
    net, x = of or (net, np.random.default_rng(1).random((4, *shape)).astype(np.float32))
    return room.pool(net, x, norm, eps)


@pytest.mark.parametrize(
    ("norm", "kind", "expected"),
    [
        ("linf", "descent", Descent),
        ("l2", "descent", Descent),
        ("l1", "descent", Descent),
        ("l0", "descent", Swaps),
        ("patch", "descent", Windows),
        ("linf", "margin", Apgd),
        ("l2", "entropy", Apgd),
        ("l1", "ratio", Apgd),
        ("l2", "border", Fab),
        ("linf", "square", SquareSearch),
        ("linf", "refine", SquareSearch),
    ],
)
def test_each_kind_is_the_search_that_it_names(room, norm, kind, expected):
    pool = pool_of(room, norm, {"l0": 2.0, "patch": 0.25}.get(norm, 0.1), (1, 4, 4))
    made = method(Round(name="any", kind=kind, steps=7), pool)
    assert type(made) is expected
    assert made.steps == 7


@pytest.mark.parametrize("kind", ["square", "refine"])
@pytest.mark.parametrize(("features", "steps"), [(3, 30), (49, 490), (50, 500), (200, 500)])
def test_random_search_asks_no_more_than_a_small_table_can_use(room, kind, features, steps):
    pool = pool_of(room, "linf", 0.1, (features,))
    assert method(Round(name="any", kind=kind, steps=500), pool).steps == steps


def test_refinement_finds_what_is_a_few_pixels_away_from_the_best_input(room):
    """A step function of a linear score: no slope, and only 5 of 64 pixels are not yet where they must be."""
    from modelward.threats.evasion.gradient.pool import Task

    class Stairs(nn.Module):
        """Margin 32 minus the number of pixels at the roof, whose slope is zero."""

        def forward(self, x):
            risen = (x.flatten(1) > 0.59).sum(dim=1).float()
            margin = 32.5 - risen
            return torch.stack([margin, 0 * margin, 0 * margin - 1], dim=1)

    pool = pool_of(room, "linf", 0.1, (1, 8, 8), of=(Stairs(), np.full((6, 1, 8, 8), 0.5, np.float32)))
    pool.record.x[:] = 0.4
    pool.record.x.reshape(6, 64)[:, :28] = 0.6
    made = method(Round(name="any", kind="refine", steps=30), pool)
    assert pool.run(made, [Task(i, -1, "best", 10 + i) for i in range(6)], "refinement")
    assert pool.arena.broken.tolist() == list(range(6))
    assert pool.record.fell == dict.fromkeys(range(6), "refinement")


@pytest.mark.parametrize("turn", [turn for turn in ROUNDS if turn.kind == "refine"])
def test_refinement_begins_where_searches_came_nearest(turn):
    assert turn.starts == ("best",)
    assert turn.goals == 0
    assert turn in schedule.LATE[-2:]  # after all that gradients can do


@pytest.mark.parametrize(("kind", "steps"), [("descent", 12), ("ratio", 60)])
def test_only_patient_searches_go_on_without_prospects(room, kind, steps):
    """The margin of a steep linear model is far out of reach in this ball, and every step tells so."""
    spent = {}
    for patient in (True, False):
        pool = pool_of(room, "linf", 0.001, (6,))
        with torch.no_grad():
            pool.copy.module[1].bias += torch.tensor([1e3, 0.0, -1e3])
        pool.arena.points.target[:] = 0
        from modelward.threats.evasion.gradient.pool import Task

        made = method(Round(name="any", kind=kind, steps=steps, patient=patient), pool)
        before = pool.arena.share._meter.cost.backward
        assert pool.run(made, [Task(0, 1, "noise", 5)])
        spent[patient] = pool.arena.share._meter.cost.backward - before
    assert spent[True] == steps
    assert spent[False] < steps * 0.8


@pytest.mark.parametrize("turn", ROUNDS, ids=lambda turn: f"{turn.name}-{turn.kind}")
def test_every_round_can_be_run(turn):
    assert turn.steps > 0
    assert 0 < turn.part <= 1
    assert turn.within > 0
    assert 0 <= turn.goals <= schedule.TARGETS
    assert set(turn.starts) <= {*STARTS, "best"}
    assert turn.starts


def test_later_rounds_are_for_fewer_points_and_those_are_nearer():
    for before, after in itertools.pairwise(schedule.LATE):
        assert after.part <= before.part
    within = [turn.within for turn in schedule.LATE if turn.kind == "ratio"]
    assert within == sorted(within, reverse=True)
    assert all(turn.within <= schedule.NEXT.within for turn in schedule.LATE)


def test_a_point_that_stands_costs_a_twentieth_of_autoattack_unless_it_is_near():
    """Far points meet the first three rounds alone; if all are near, what rounds share out adds up to this."""
    cheap = [schedule.FIRST, schedule.PROBES, schedule.NEXT]
    cost = [2 * turn.steps * max(1, turn.goals) * len(turn.starts) for turn in cheap]
    assert sum(cost) <= AUTOATTACK / 20
    late = [
        turn.part * turn.steps * max(1, turn.goals) * len(turn.starts) * PASSES.get(turn.kind, 2)
        for turn in schedule.LATE
    ]
    assert sum(cost) + sum(late) <= AUTOATTACK / 12


def test_where_slopes_mislead_nothing_of_autoattack_is_left_out():
    by_name = {turn.name: turn for turn in schedule.BLIND}
    assert list(by_name) == ["APGD-CE", "APGD-T", "FAB-T", "Square"]
    assert [by_name[name].steps for name in by_name] == [100, 100, 100, 5000]
    assert [by_name[name].goals for name in by_name] == [0, 9, 9, 0]
    assert all(turn.part == 1 and turn.within == np.inf for turn in schedule.BLIND)
    assert all(turn.patient for turn in schedule.BLIND if turn.kind in {"entropy", "ratio"})


def test_thorough_looks_from_every_start_with_every_loss():
    assert {turn.kind for turn in schedule.MANY} == {"margin", "ratio", "entropy"}
    assert {start for turn in schedule.MANY for start in turn.starts} == STARTS - {"centre"}
    assert len({(turn.kind, turn.starts) for turn in schedule.MANY}) == len(schedule.MANY)
