from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.numeric.norms import distance
from modelward.threats.evasion.geometry import channel_axis
from modelward.threats.evasion.query.check import QueryCheck
from modelward.threats.evasion.query.square import Squares, _bump, _halves
from modelward.threats.evasion.query.subsets import Subsets
from modelward.threats.evasion.query.walk import Schedule, margins
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat


@pytest.fixture(scope="module")
def forest():
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    trees = RandomForestClassifier(15, random_state=0).fit(x[order[:300]], y[order[:300]])
    return trees, x, y, order


def test_a_forest_is_broken_within_its_training_range(room, forest):
    trees, x, y, order = forest
    model = room.callable(trees.predict_proba, kind="probabilities")
    low, high = x[order[:300]].min(axis=0), x[order[:300]].max(axis=0)
    bounds = room.box(low, high, high - low, unit="training range")
    points = room.table(x[order[300:330]], y[order[300:330]], ["real"] * 30, bounds=bounds)
    result = room.run("query", model, points)
    assert [(i.parameters["norm"], i.parameters["eps"]) for i in result.evidence] == [
        ("linf", 0.05),
        ("l2", 0.1),
    ]
    for index, item in enumerate(result.evidence):
        kept = room.witnesses(result, index)
        assert len(kept["index"]) >= 3
        within = reach(points, Threat(item.parameters["norm"], item.parameters["eps"]))
        assert within.admits(kept["x"], kept["index"]).all()
        assert (trees.predict(kept["x"]) != points.y[kept["index"]]).all()
        assert (trees.predict(kept["x"]) == kept["prediction"]).all()
        assert item.parameters["inputs"] == "rows"
    assert result.meter.cost.queries == model.asked
    assert model.asked <= 30 + 2 * 30 * 1000


def test_values_between_the_corners_are_searched_too(room):
    """The witness region lies strictly inside the ball, so a search on its corners alone would miss it."""
    model = room.callable(
        lambda x: np.column_stack([np.full(len(x), 0.5), (np.abs(x[:, 0] - 0.6) < 0.03) * 1.0])
    )
    points = room.data(np.array([[0.5, 0.5]]), [0])
    assert room.run("query", model, points, norms=("linf",), eps=(0.2,)).first.outcome["broken"] == [0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_switches_find_what_numbers_cannot(room, norm):
    """Only another category, or another member of the group, changes the answer; one unit is allowed."""
    columns = ["real", "category", "boolean", "boolean", "boolean"]
    rows = [[0.5, 0, 1, 0, 0], [0.1, 3, 0, 1, 0], [0.9, 1, 0, 0, 1]]
    groups = {2: "g", 3: "g", 4: "g"}
    for column, value in ((1, 2.0), (4, 1.0)):
        model = room.callable(
            lambda x, c=column, v=value: np.column_stack([np.full(len(x), 0.5), x[:, c] == v])
        )
        points = room.table(rows, [0, 0, 0], columns, onehot=groups)
        eps = 1.0 if norm == "linf" else 1.5
        result = room.run("query", model, points, norms=(norm,), eps=(eps,))
        assert 0 in result.first.outcome["broken"]
        kept = room.witnesses(result)
        assert (kept["x"][:, 2:].sum(axis=1) == 1).all()
        assert np.isin(kept["x"][:, 1], [0, 1, 2, 3]).all()
        small = room.run("query", model, points, norms=(norm,), eps=(0.99,))
        assert small.first.outcome["broken"] == []


def test_immutable_columns_stay_and_whole_numbers_stay_whole(room):
    random = np.random.default_rng(0)
    x = np.column_stack([random.random(30), random.integers(0, 30, 30), random.random(30)])
    x[0], x[1] = [0, 0, 0], [1, 30, 1]
    model = room.callable(lambda x: np.column_stack([np.full(len(x), 1.9), x @ [1, 1 / 30, 1.5]]))
    points = room.table(x, model.scores(x).argmax(axis=1), ["real", "integer", "real"], immutable=(2,))
    for index, norm in enumerate(("linf", "l2")):
        kept = room.witnesses(room.run("query", model, points, eps=(0.15,)), index)
        assert len(kept["index"]) >= 2
        assert (kept["x"][:, 2] == x[kept["index"], 2]).all()
        assert (kept["x"][:, 1] == np.rint(kept["x"][:, 1])).all()
        assert reach(points, Threat(norm, 0.15)).admits(kept["x"], kept["index"]).all()


def test_a_model_that_tells_labels_only_is_searched_without_guidance(room):
    soft = room.linear([[-1.0] * 4, [1.0] * 4], [0.0, -2.0])
    scores = room.torch(soft).scores
    model = room.callable(lambda x: np.eye(2)[scores(x).argmax(axis=1)], kind="labels")
    x = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    points = room.labelled(model, x)
    item = room.run("query", model, points, norms=("linf",), eps=(0.15,)).first
    breakable = np.abs(x.sum(axis=1) - 1) < 4 * 0.15
    assert item.parameters["guidance"].startswith("none")
    assert set(item.outcome["broken"]) <= set(np.flatnonzero(breakable).tolist())
    assert len(item.outcome["broken"]) >= 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8), (8, 8, 3), (3, 9, 7)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_of_any_layout_are_attacked_by_squares(room, shape, norm):
    random = np.random.default_rng(1)
    direction = random.normal(size=shape)
    model = room.callable(
        lambda x: np.column_stack([np.zeros(len(x)), ((x - 0.5) * direction).reshape(len(x), -1).sum(1)])
    )
    x = random.random((20, *shape)).astype(np.float32)
    points = room.labelled(model, x)
    eps = 0.1 if norm == "linf" else 0.8
    result = room.run("query", model, points, norms=(norm,), eps=(eps,))
    assert result.first.parameters["inputs"] == "images"
    kept = room.witnesses(result)
    assert len(kept["index"]) >= 3
    assert reach(points, Threat(norm, eps)).admits(kept["x"], kept["index"]).all()
    assert (model.scores(kept["x"]).argmax(axis=1) != points.y[kept["index"]]).all()


def test_channels_are_the_shorter_end():
    assert [channel_axis(shape) for shape in ((5, 7), (1, 8, 8), (8, 8, 3), (3, 3, 3))] == [None, 0, 2, 0]


def test_square_proposals_stay_on_the_surface_of_the_ball(room):
    points = room.data(np.full((6, 2, 10, 10), 0.5), [0] * 6)
    index = np.arange(6)
    for norm, measure in (
        ("linf", lambda d: np.abs(d).max(axis=(1, 2, 3))),
        ("l2", lambda d: np.sqrt((d**2).sum((1, 2, 3)))),
        ("l1", lambda d: np.abs(d).sum(axis=(1, 2, 3))),
    ):
        moves = Squares(reach(points, Threat(norm, 0.3)), 1)
        x = moves.first(index)
        np.testing.assert_allclose(measure(x - 0.5), 0.3)
        for part in (0.8, 0.2, 0.05, 0.01, 1e-4):
            new = moves.change(x, index, part)
            # Under L2 a window may be moved into itself; under Linf the sign is turned instead.
            assert (new != x).any(axis=(1, 2, 3)).mean() >= (1.0 if norm == "linf" else 0.5)
            np.testing.assert_allclose(measure(new - 0.5), 0.3, rtol=1e-9)
            x = new


def test_stripes_are_vertical_and_squares_are_square(room):
    points = room.data(np.zeros((1, 1, 8, 8)), [0], bounds=room.box(-1, 1))
    moves = Squares(reach(points, Threat("linf", 0.1)), 0)
    first = moves.first(np.zeros(1, np.int64))
    assert (first == first[:, :, :1]).all()
    changed = moves.change(first, np.zeros(1, np.int64), 0.25) != first
    rows, columns = changed[0, 0].any(axis=1), changed[0, 0].any(axis=0)
    assert 0 < rows.sum() <= 4
    assert 0 < columns.sum() <= 4


def test_bumps_peak_in_the_middle_and_have_unit_length():
    for side in range(1, 9):
        bump = _bump(side)
        assert np.square(bump).sum() == pytest.approx(1)
        assert bump[side // 2, side // 2] == bump.max()
        assert np.square(_halves(side)).sum() == pytest.approx(1)
    assert (_halves(6)[:3] > 0).all()
    assert (_halves(6)[3:] < 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_subset_proposals_stay_in_the_ball_and_change_something(room, norm):
    points = room.data(np.full((50, 7), 0.5), [0] * 50)
    index = np.arange(50)
    moves = Subsets(reach(points, Threat(norm, 0.2)), 3)
    x = moves.first(index)
    for part in (0.8, 0.3, 0.01):
        new = moves.change(x, index, part)
        change = new - 0.5
        size = distance(change, np.zeros_like(change), norm)
        assert (size <= 0.2 * (1 + 1e-9)).all()
        assert (new != x).any(axis=1).all()
        x = new


def test_the_part_halves_at_the_published_shares():
    schedule = Schedule(queries=10_000, part=0.8, guided=True)
    at = {0: 1, 10: 1, 11: 2, 51: 4, 201: 8, 501: 16, 1001: 32, 2001: 64, 4001: 128, 6001: 256, 8001: 512}
    assert all(schedule.part_at(query) == 0.8 / halved for query, halved in at.items())
    short = Schedule(queries=100, part=0.8, guided=True)
    assert [short.part_at(query) for query in (0, 1, 99)] == [0.8, 0.8 / 4, 0.8 / 512]
    assert Schedule(queries=100, part=0.8, guided=False).part_at(99) == 0.8


def test_margins_of_probabilities_keep_their_slope_where_the_model_is_sure():
    scores = np.array([[1.0, 1e-20, 0.0], [1.0, 1e-30, 0.0], [0.2, 0.5, 0.3]])
    target = np.array([0, 0, 1])
    plain, logs = margins(scores, target, "logits"), margins(scores, target, "probabilities")
    assert plain[0] == plain[1] == 1
    assert logs[0] < logs[1]
    assert plain[2] == pytest.approx(0.2)
    assert logs[2] == pytest.approx(np.log(0.5 / 0.3))


@pytest.mark.parametrize("limit", [29, 30, 31, 100, 777, 5000])
def test_a_query_budget_is_never_exceeded(room, limit):
    model = room.callable(lambda x: np.column_stack([np.ones(len(x)), np.zeros(len(x))]))
    points = room.data(np.random.default_rng(0).random((30, 4)), [0] * 30)
    result = room.run("query", model, points, budget=Budget(queries=limit))
    assert model.asked == result.meter.cost.queries <= limit
    assert result.meter.cut == "queries"
    assert [item.cut for item in result.evidence] == ["queries", "queries"]
    if limit >= 100:
        assert all(item.outcome["attacked"] for item in result.evidence)


def test_time_ends_the_search(room):
    now = iter(np.arange(0, 1e6, 0.5))
    model = room.callable(lambda x: np.column_stack([np.ones(len(x)), np.zeros(len(x))]))
    points = room.data(np.random.default_rng(0).random((5, 4)), [0] * 5)
    meter = Meter(Budget(seconds=20.0), clock=lambda: float(next(now)))
    subjects = Subjects(model=model, data=points, attachments=None)
    found = list(QueryCheck(Settings()).run(subjects, budget=meter, seed=1))
    assert [item.cut for item in found] == ["seconds", "seconds"]


def test_fewer_queries_beside_gradients(room):
    net = room.torch(room.linear(np.zeros((2, 3)), [1.0, 0.0]))
    points = room.data(np.random.default_rng(0).random((10, 3)), [0] * 10)
    item = room.run("query", net, points, norms=("linf",)).first
    assert item.parameters["queries"] == 100
    assert item.cost.queries == 10 + 10 * 100


def test_the_same_seed_gives_the_same_evidence(room):
    random = np.random.default_rng(6)
    model = room.callable(lambda x: np.column_stack([np.zeros(len(x)), (x - 0.5) @ np.arange(-3, 4)]))
    points = room.labelled(model, random.random((20, 7)))
    one, two = (room.run("query", model, points, eps=(0.1,)) for _ in range(2))
    other = room.run("query", model, points, eps=(0.1,), seed=8)
    for a, b, c in zip(one.evidence, two.evidence, other.evidence, strict=True):
        assert (a.outcome, a.attachments) == (b.outcome, b.attachments)
        assert a.attachments != c.attachments


def test_a_point_that_the_model_raises_on_is_broken_and_the_others_are_asked_alone(room):
    def answer(x):
        if (x[:, 0] > 0.9).any():
            raise ModelRaised("boom")
        return np.column_stack([np.ones(len(x)), np.zeros(len(x))])

    points = room.data(np.array([[0.85, 0.5], [0.3, 0.5]]), [0, 0])
    model = room.callable(answer)
    result = room.run("query", model, points, norms=("linf",), eps=(0.2,))
    assert result.first.outcome["broken"] == [0]
    assert room.witnesses(result)["prediction"].tolist() == [-1]
    assert result.meter.cost.queries == model.asked


def test_points_are_chosen_by_the_data_and_not_by_the_seed(room):
    model = room.callable(lambda x: np.column_stack([np.ones(len(x)), np.zeros(len(x))]))
    points = room.data(np.random.default_rng(0).random((300, 3)), [0] * 300, rows=np.arange(300) * 2)
    one = room.run("query", model, points, norms=("linf",), limit=7, budget=Budget(queries=20), seed=1).first
    two = room.run("query", model, points, norms=("l2",), limit=7, budget=Budget(queries=20), seed=2).first
    assert one.outcome["rows"] == two.outcome["rows"]
    assert one.n == 7
    assert all(row % 2 == 0 for row in one.outcome["rows"])
