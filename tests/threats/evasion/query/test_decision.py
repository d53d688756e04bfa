from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.arena import Arena, examine
from modelward.threats.evasion.query import decision
from modelward.threats.evasion.query.frontier import CHECKPOINTS, Frontier, widened
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat

DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def half_space(room, features, seed=0):
    """A model that says only on which side of a plane an input lies, and the plane."""
    normal = np.random.default_rng(seed).normal(size=features)
    model = room.callable(lambda x: np.eye(2)[((flat(x) - 0.5) @ normal > 0.0) * 1], kind="labels")
    return model, normal


def flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


def frontier(model, points, threat, queries, budget=None):
    meter = Meter(budget or Budget())
    examined = examine(Subjects(model=model, data=points, attachments=None), Settings(), meter)
    return Frontier(Arena(examined, threat, share=Share(meter), seed=3), queries, 3)


@pytest.mark.parametrize(
    ("norm", "step", "shape", "factor"),
    [
        ("l2", decision.surfree, (1, 6, 6), 1.6),
        ("l2", decision.hopskip, (1, 6, 6), 1.6),
        ("l2", decision.hopskip, (12,), 1.3),
        ("linf", decision.rays, (1, 6, 6), 1.3),
        ("linf", decision.rays, (12,), 1.2),
        ("linf", decision.hopskip, (12,), 1.6),
        ("l1", decision.take_back, (12,), 2.5),
    ],
)
def test_the_distance_to_a_plane_is_nearly_found(room, norm, step, shape, factor):
    """The distance of a point from a plane is |<w, x>| / |w| in the dual norm; nothing can be nearer."""
    model, normal = half_space(room, int(np.prod(shape)))
    x = np.random.default_rng(1).uniform(0.3, 0.7, (20, *shape))
    points = room.labelled(model, x)
    search = frontier(model, points, Threat(norm, 1e-9), 1500)
    search.begin(np.arange(20))
    begun = search.size.copy()
    step(search, np.arange(20), 1.0)
    exact = np.abs((flat(x) - 0.5) @ normal) / np.linalg.norm(normal, DUAL[norm])
    assert (search.size >= exact * (1 - 1e-9)).all()
    assert np.median(search.size / exact) <= factor
    assert (search.size <= begun).all()
    wrong = model.scores(search.x).argmax(axis=1) != points.y
    assert wrong.all()
    np.testing.assert_allclose(search.arena.reach.size(search.x, np.arange(20)), search.size)


def test_the_fewest_pixels_are_nearly_found(room):
    """Class 1 needs three particular pixels of 36; taking changes back leaves little more than these."""
    model = room.callable(lambda x: np.eye(2)[(flat(x)[:, [3, 17, 30]] > 0.8).all(axis=1) * 1], kind="labels")
    x = np.random.default_rng(0).random((8, 6, 6))
    x[:4].reshape(4, -1)[:, [3, 17, 30]] = 0.95
    points = room.labelled(model, x)
    search = frontier(model, points, Threat("l0", 0.5), 2000)
    index = np.flatnonzero(points.y == 0)
    search.begin(index)
    decision.take_back(search, index, 1.0)
    need = (flat(x)[:, [3, 17, 30]] <= 0.8).sum(axis=1)
    assert len(index) == 4
    assert (search.size[index] == need[index]).all()


def test_labels_alone_break_what_lies_within_the_radius_and_nothing_else(room):
    model, normal = half_space(room, 16)
    x = np.random.default_rng(2).uniform(0.4, 0.6, (40, 16))
    points = room.labelled(model, x)
    exact = np.abs((x - 0.5) @ normal)
    for norm, eps in (("linf", 0.03), ("l2", 0.1)):
        item = room.run("query", model, points, norms=(norm,), eps=(eps,)).first
        near = exact / np.linalg.norm(normal, DUAL[norm]) <= eps
        assert set(item.outcome["broken"]) <= set(np.flatnonzero(near).tolist())
        assert len(item.outcome["broken"]) >= 0.8 * near.sum() > 3
        assert (np.array(item.outcome["sizes"]) <= eps).all()


def test_labels_alone_defeat_a_forest_with_switches(room):
    random = np.random.default_rng(4)
    rows = np.column_stack([random.random(300), random.random(300), random.integers(0, 4, 300)])
    y = ((rows[:, 0] + 0.3 * (rows[:, 2] == 2) > 0.6) * 1).astype(np.int64)
    trees = RandomForestClassifier(10, random_state=0).fit(rows, y)
    model = room.callable(lambda x: np.eye(2)[trees.predict(x)], kind="labels")
    points = room.table(rows[:40], trees.predict(rows[:40]), ["real", "real", "category"])
    for norm, eps in (("linf", 0.2), ("l2", 1.1), ("l0", 1.0), ("l1", 0.3)):
        result = room.run("query", model, points, norms=(norm,), eps=(eps,), preset="quick")
        kept = room.witnesses(result)
        assert len(kept["index"]) >= 5
        assert reach(points, Threat(norm, eps)).admits(kept["x"], kept["index"]).all()
        assert (trees.predict(kept["x"]) != points.y[kept["index"]]).all()


def test_many_candidates_share_a_call(room):
    calls = []
    model, _ = half_space(room, 9)
    whole = model.answer

    def counted(x):
        calls.append(len(x))
        return whole(x)

    model.answer = counted
    points = room.labelled(model, np.random.default_rng(5).uniform(0.3, 0.7, (4, 9)))
    calls.clear()
    search = frontier(model, points, Threat("l2", 1e-9), 1000)
    decision.decide(search)
    assert search.used.max() == 1000
    assert sum(calls) - 4 == search.used.sum()
    assert np.mean(calls) > 12


@pytest.mark.parametrize("queries", [1, 2, 7, 50, 333])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_no_point_gets_more_queries_than_it_is_allowed(room, norm, queries):
    model, _ = half_space(room, 9)
    points = room.labelled(model, np.random.default_rng(5).uniform(0.3, 0.7, (4, 9)))
    search = frontier(model, points, Threat(norm, 1e-9 if norm != "l0" else 0.5), queries)
    decision.decide(search)
    assert search.used.max() <= queries
    np.testing.assert_array_equal(search.used, search.arena.asked)
    known = np.isfinite(search.size)
    assert (model.scores(search.x[known]).argmax(axis=1) != points.y[known]).all()


def test_distances_shrink_with_queries_and_are_those_of_their_checkpoint(room):
    model, _ = half_space(room, 16)
    points = room.labelled(model, np.random.default_rng(6).uniform(0.2, 0.8, (10, 16)))
    item = room.run("query", model, points, norms=("l2",), eps=(1e-6,)).first
    told = item.outcome["distances"]
    assert told["after"] == [30, 100, 300, 1000]
    sizes = np.array(told["sizes"], np.float64)
    assert sizes.shape == (4, len(item.outcome["attacked"]))
    assert (np.diff(sizes, axis=0) <= 0).all()
    assert (sizes[-1] < sizes[0]).all()
    assert item.outcome["queries_to_success"] == []


def test_a_model_that_never_errs_is_asked_only_for_starts(room):
    model = room.callable(lambda x: np.eye(2)[np.zeros(len(x), np.int64)], kind="labels")
    points = room.data(np.random.default_rng(0).random((5, 4)), [0] * 5)
    item = room.run("query", model, points, norms=("l2",), eps=(0.1,)).first
    assert item.outcome["broken"] == []
    assert item.outcome["attacked"] == [0, 1, 2, 3, 4]
    assert item.outcome["distances"]["sizes"][-1] == [None] * 5


def test_nothing_free_means_nothing_asked(room):
    model = room.callable(lambda x: np.eye(2)[np.zeros(len(x), np.int64)], kind="labels")
    points = room.table([[0.0, 1.0], [1.0, 0.0]], [0, 0], ["real", "real"], immutable=(0, 1))
    result = room.run("query", model, points, norms=("l2",), eps=(0.1,))
    assert result.meter.cost.queries == 2
    assert result.first.outcome["attacked"] == [0, 1]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("limit", [9, 10, 40, 200])
def test_a_query_budget_ends_the_search_and_is_never_exceeded(room, norm, limit):
    model, _ = half_space(room, 9)
    points = room.labelled(model, np.random.default_rng(5).uniform(0.3, 0.7, (8, 9)))
    eps = 0.5 if norm == "l0" else 1e-9
    result = room.run("query", model, points, norms=(norm,), eps=(eps,), budget=Budget(queries=limit))
    assert model.asked == result.meter.cost.queries <= limit
    assert result.first.cut == "queries"


def test_constraints_hold_at_any_radius(room):
    rows = [[0.5, 0, 1, 0], [0.1, 3, 0, 1], [0.9, 1, 0, 1]]
    points = room.table(rows, [0, 0, 0], ["real", "category", "boolean", "boolean"], onehot={2: "g", 3: "g"})
    for norm in ("linf", "l2", "l1", "l0"):
        within = reach(points, Threat(norm, 1.0))
        wide = widened(within)
        index = np.array([0, 1, 2, 2])
        far = wide.project(np.array([[9.0, 2, 0, 1], [9, 7, 1, 0], [-4, 0, 1, 1], [0.2, 3, 1, 0]]), index)
        assert wide.admits(far, index).all()
        assert ((far[:, 0] >= 0.1) & (far[:, 0] <= 0.9)).all()
        assert (far[:, 2:].sum(axis=1) == 1).all()


def test_the_same_seed_walks_the_same_way(room):
    model, _ = half_space(room, 9)
    points = room.labelled(model, np.random.default_rng(5).uniform(0.3, 0.7, (8, 9)))
    one, two = (room.run("query", model, points, norms=("l2",), eps=(0.05,)).first for _ in range(2))
    assert one.outcome == two.outcome
    assert one.attachments == two.attachments


def test_blocks_halve_and_cover_every_feature():
    for size in (1, 2, 7, 8, 36):
        turn, blocks = 0, 1
        while blocks < 2 * size:
            parts = [decision.block(turn + i, size) for i in range(min(blocks, size))]
            assert np.concatenate([np.arange(size)[part] for part in parts]).tolist() == list(range(size))
            turn, blocks = turn + blocks, 2 * blocks
    assert decision.block(0, 8) == slice(0, 8)
    assert [decision.block(turn, 8) for turn in (1, 2, 3)] == [slice(0, 4), slice(4, 8), slice(0, 2)]


def test_checkpoints_ascend():
    assert list(CHECKPOINTS) == sorted(set(CHECKPOINTS))
