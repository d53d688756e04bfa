from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.arena import Arena, examine
from modelward.threats.evasion.query.curve import successes
from modelward.threats.evasion.query.square import Squares
from modelward.threats.evasion.query.subsets import Subsets
from modelward.threats.evasion.query.walk import Schedule, walk
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat


class Recorder:
    """Moves that write down what they are asked for and step by a fixed amount."""

    def __init__(self, step):
        self.step, self.asked = step, []

    def first(self, index):
        self.asked.append(list(index))
        return np.full((len(index), 2), 0.5)

    def change(self, x, index, part):
        self.asked.append(list(index))
        return x + self.step(len(index))[:, None]


@pytest.fixture
def arena():
    def build(model, points, threat, budget=None):
        meter = Meter(budget or Budget())
        examined = examine(Subjects(model=model, data=points, attachments=None), Settings(), meter)
        return Arena(examined, threat, share=Share(meter), seed=3)

    return build


def ramp(room, slope):
    return room.callable(lambda x: np.column_stack([np.ones(len(x)), slope(np.asarray(x))]))


def test_calls_widen_while_nothing_improves_and_the_queries_stay_the_same(room, arena):
    calls = []
    model = ramp(room, lambda x: np.zeros(len(x)))
    plain = model.answer
    model.answer = lambda x: calls.append(len(x)) or plain(x)
    field = arena(model, room.data(np.full((2, 2), 0.5), [0, 0]), Threat("linf", 0.2))
    calls.clear()
    moves = Recorder(np.zeros)
    walk(field, moves, Schedule(queries=500, part=0.5, guided=True))
    assert sum(calls) == 2 * 500
    assert len(calls) < 60
    assert max(calls) > 100
    assert field.asked.tolist() == [500, 500]
    assert all(asked == sorted(asked) for asked in moves.asked)


def test_where_every_change_helps_points_are_asked_once_a_call(room, arena):
    """Each step is an improvement, so that a second candidate of the same input would be wasted."""
    calls = []
    model = ramp(room, lambda x: 0.001 * x[:, 0])
    plain = model.answer
    model.answer = lambda x: calls.append(len(x)) or plain(x)
    field = arena(model, room.data(np.full((3, 2), 0.5), [0, 0, 0]), Threat("linf", 0.4))
    calls.clear()
    walk(field, Recorder(lambda n: np.full(n, 1e-3)), Schedule(queries=100, part=0.5, guided=True))
    assert sum(calls) == 300
    assert max(calls) <= 6


def test_the_best_candidate_of_a_call_is_kept(room, arena):
    """Of steps of 1, 2, 3, ... hundredths in one call, the longest improves most."""
    asked = []
    model = ramp(room, lambda x: asked.append(np.asarray(x)[:, 0].copy()) or 0.1 * x[:, 0])
    field = arena(model, room.data(np.full((1, 2), 0.5), [0]), Threat("linf", 0.5))
    moves = Recorder(lambda n: np.arange(1, n + 1) / 1000 if n > 1 else np.zeros(1))
    walk(field, moves, Schedule(queries=200, part=0.5, guided=True))
    wide = [x for x in asked if len(x) > 1]
    assert wide
    before = 0.5
    for x in wide:
        assert x.min() >= before - 1e-12
        before = x.max()


def test_ties_drift(room, arena):
    """A staircase: on the flat of a step only changes that do not help lead to the next one."""
    model = ramp(room, lambda x: 0.3 * np.floor((x[:, 0] - 0.5) * 20 + 1e-9))
    points = room.data(np.full((1, 2), 0.5), [0])
    field = arena(model, points, Threat("linf", 0.4))
    walk(field, Recorder(lambda n: np.full(n, 0.01)), Schedule(queries=100, part=0.5, guided=True))
    assert field.broken.tolist() == [0]


def test_successes_count_every_query_of_the_point_and_none_of_others(room, arena):
    """Point i falls when its value exceeds 0.5 + 0.05 i; one step is one query."""
    model = room.callable(
        lambda x: np.column_stack(
            [np.full(len(x), 0.5), np.where(x[:, 0] > 0.5 + x[:, 1], 1.0, x[:, 0] - 0.5)]
        )
    )
    points = room.data(np.column_stack([np.full(4, 0.5), [0.012, 0.052, 0.102, 0.3]]), [0] * 4)
    within = arena(model, points, Threat("linf", 0.2))

    class Steps(Recorder):
        def first(self, index):
            return points.x[index].copy()

        def change(self, x, index, part):
            return x + np.array([[0.01, 0.0]])

    walk(within, Steps(None), Schedule(queries=15, part=0.5, guided=True))
    assert within.broken.tolist() == [0, 1, 2]
    assert successes(within) == {"queries_to_success": [3, 7, 12]}
    assert within.asked.tolist() == [3, 7, 12, 15]
    assert within.success.tolist() == [3, 7, 12, -1]


def test_the_evidence_of_a_larger_ball_keeps_what_the_smaller_one_took(room):
    model = ramp(room, lambda x: 1.2 * np.abs(x - 0.5).max(axis=1) / 0.1)
    points = room.data(np.full((3, 4), 0.5), [0] * 3)
    small, large = room.run("query", model, points, norms=("linf",), eps=(0.1, 0.2)).evidence
    assert small.outcome["broken"] == large.outcome["broken"] == [0, 1, 2]
    assert large.outcome["inherited"] == 3
    assert small.outcome["queries_to_success"] == large.outcome["queries_to_success"]
    assert all(count >= 1 for count in small.outcome["queries_to_success"])


@pytest.mark.parametrize(("preset", "queries"), [("quick", 200), ("standard", 1000), ("thorough", 5000)])
def test_presets_set_the_queries_of_each_point(room, preset, queries):
    model = ramp(room, lambda x: np.zeros(len(x)))
    points = room.data(np.full((2, 3), 0.5), [0, 0])
    item = room.run("query", model, points, norms=("linf",), preset=preset).first
    assert item.parameters["queries"] == queries
    assert item.cost.queries == 2 + 2 * queries


def test_beside_gradients_only_thorough_searches_long(room):
    net = room.torch(room.linear(np.zeros((2, 3)), [1.0, 0.0]))
    points = room.data(np.full((1, 3), 0.5), [0])
    for preset, queries in (("quick", 100), ("standard", 100), ("thorough", 5000)):
        item = room.run("query", net, points, norms=("linf",), preset=preset).first
        assert item.parameters["queries"] == queries


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0", "patch"])
def test_a_linear_model_of_images_is_broken_in_every_norm(room, norm):
    random = np.random.default_rng(1)
    direction = random.normal(size=(1, 8, 8))
    model = room.callable(
        lambda x: np.column_stack([np.zeros(len(x)), ((x - 0.5) * direction).reshape(len(x), -1).sum(1)])
    )
    points = room.labelled(model, random.uniform(0.4, 0.6, (12, 1, 8, 8)).astype(np.float32))
    eps = {"linf": 0.08, "l2": 0.5, "l1": 2.0, "l0": 6.0, "patch": 0.2}[norm]
    result = room.run("query", model, points, norms=(norm,), eps=(eps,), preset="quick")
    kept = room.witnesses(result)
    assert len(kept["index"]) >= 6
    assert reach(points, Threat(norm, eps)).admits(kept["x"], kept["index"]).all()
    assert (model.scores(kept["x"]).argmax(axis=1) != points.y[kept["index"]]).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_a_linear_model_of_rows_is_broken_in_every_norm(room, norm):
    random = np.random.default_rng(2)
    weights = np.array([2.0, -1.0, 0.5, 1.0, -0.2])
    model = room.callable(lambda x: np.column_stack([np.zeros(len(x)), (x - 0.5) @ weights]))
    points = room.labelled(model, random.uniform(0.3, 0.7, (20, 5)))
    eps = {"linf": 0.2, "l2": 0.3, "l1": 0.4, "l0": 1.0}[norm]
    broken = room.run("query", model, points, norms=(norm,), eps=(eps,), preset="quick").first.outcome[
        "broken"
    ]
    far = np.abs((points.x - 0.5) @ weights)
    dual = {"linf": np.abs(weights).sum(), "l2": np.sqrt((weights**2).sum()), "l1": 2.0}
    if norm == "l0":  # the heaviest weight alone reaches from 0 to 1
        score = (points.x - 0.5) @ weights
        can = np.where(score > 0, 2.0 * points.x[:, 0], 2.0 * (1 - points.x[:, 0])) > far
        reachable = np.flatnonzero(can)
        assert set(reachable.tolist()) <= set(broken)
    else:
        reachable = np.flatnonzero(far <= eps * dual[norm])
        assert set(broken) <= set(reachable.tolist())
        assert len(broken) >= 0.8 * len(reachable) > 4


def test_squares_keep_their_l1_mass_when_windows_are_empty(room):
    points = room.data(np.full((4, 1, 10, 10), 0.5), [0] * 4)
    moves = Squares(reach(points, Threat("l1", 3.0)), 1)
    x = moves.first(np.arange(4))
    for _ in range(60):
        x = moves.change(x, np.arange(4), 0.01)
        np.testing.assert_allclose(np.abs(x - 0.5).sum(axis=(1, 2, 3)), 3.0, rtol=1e-9)


def test_subsets_hold_at_most_the_l1_radius_and_reach_single_numbers(room):
    points = room.data(np.full((50, 6), 0.5), [0] * 50)
    moves = Subsets(reach(points, Threat("l1", 0.3)), 1)
    x = moves.first(np.arange(50))
    alone = 0
    for _ in range(60):
        x = moves.change(x, np.arange(50), 0.01)
        size = np.abs(x - 0.5)
        assert (size.sum(axis=1) <= 0.3 + 1e-9).all()
        alone += int((size.max(axis=1) > 0.25).sum())
    assert alone > 50
