"""Where models raise, answer NaN or come back late, and where budgets end in the middle of a stage."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.corruption import check as module
from modelward.threats.evasion.corruption.check import _GRID, MOTIONS, CorruptionCheck
from modelward.threats.evasion.corruption.tables import TABLES


def bright(x):
    mean = np.asarray(x, np.float64).reshape(len(x), -1).mean(axis=1)
    return np.column_stack([np.full(len(x), 0.3), mean])


@pytest.fixture
def images(room):
    x = np.linspace(0.05, 0.9, 6)[:, None, None, None] * np.ones((6, 1, 6, 6))
    return room.data(x, (x.mean(axis=(1, 2, 3)) > 0.3) * 1)


class Nowhere:
    """Attachments that nobody looks at."""

    def put(self, arrays):
        assert len(arrays["x"]) == len(arrays["index"])
        return "sha256:0"


def run(model, points, *, budget=None, seed=3, **options):
    meter = Meter(budget or Budget())
    check = CorruptionCheck(Settings(preset="quick", **options))
    found = list(
        check.run(Subjects(model=model, data=points, attachments=Nowhere()), budget=meter, seed=seed)
    )
    return {i.parameters.get("corruption", i.parameters.get("motion")): i for i in found}, meter


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_grids_hold_their_corners_the_middle_and_ten_random_ones(name, preset):
    motion, (turns, shifts) = MOTIONS[name], _GRID[preset]
    grid = motion.grid(preset, 5)
    wanted = (turns if motion.degrees else 1) * (shifts**2 if motion.shift else 1)
    assert grid.shape == (10 + wanted, 3)
    limits = np.array([motion.degrees, motion.shift, motion.shift])
    assert (np.abs(grid) <= limits + 1e-12).all()
    assert len(np.unique(grid[10:], axis=0)) == wanted
    assert (grid[10:] == 0).all(axis=1).sum() == 1
    assert (np.abs(grid[10:]) == limits).all(axis=1).sum() == 2 ** int((limits > 0).sum())
    np.testing.assert_array_equal(grid, motion.grid(preset, 5))
    assert (grid != motion.grid(preset, 6)).any()


def test_an_answer_of_nan_is_wrong(room, images):
    """A model that answers NaN on dark images keeps the corruptions that leave them bright."""

    def answer(x):
        scores = bright(x)
        return np.where((scores[:, 1] > 0.85)[:, None] & (scores[:, 1] < 0.89)[:, None], np.nan, scores)

    model = room.callable(answer)
    plain, _ = run(room.callable(bright), images)
    holed, _ = run(model, images)
    for name, item in holed.items():
        if "right" in item.outcome:
            pairs = zip(item.outcome["right"], plain[name].outcome["right"], strict=True)
            assert all(set(rows) <= set(others) for rows, others in pairs)


def test_an_image_that_the_model_raises_on_is_wrong_and_the_others_are_asked_alone(room, images):
    def answer(x):
        if (np.asarray(x).reshape(len(x), -1).mean(axis=1) > 0.95).any():
            raise ModelRaised("too bright")
        return bright(x)

    model = room.callable(answer)
    found, meter = run(model, images)
    assert model.asked == meter.cost.queries
    plain, _ = run(room.callable(bright), images)
    for severity in range(5):
        lost = set(plain["brightness"].outcome["right"][severity]) - set(
            found["brightness"].outcome["right"][severity]
        )
        mean = np.clip(images.x + (severity + 1) / 10, 0, 1).mean(axis=(1, 2, 3))
        assert lost == set(np.flatnonzero(mean > 0.95).tolist())


@pytest.mark.parametrize("queries", [*range(6, 40, 3)])
def test_a_batch_that_raises_where_the_budget_ends_is_no_answer(room, images, queries):
    """What was not asked alone is not known: the severity is left out, and never counted as wrong or right."""

    def answer(x):
        if len(x) > 1 and not np.array_equal(x, images.x):
            raise ModelRaised("one at a time")
        return bright(x)

    model = room.callable(answer)
    found, meter = run(model, images, budget=Budget(queries=queries))
    assert model.asked == meter.cost.queries <= queries
    assert any(item.cut == "queries" for item in found.values())
    whole, _ = run(room.callable(bright), images)
    for name, item in found.items():
        lists = item.outcome.get("right", [])
        assert lists == whole[name].outcome.get("right", [])[: len(lists)]


def test_a_cut_leaves_whole_severities_only(room, images):
    """Each job has its share; of the severities that were measured every point was asked."""
    whole, meter = run(room.callable(bright), images)
    need = meter.cost.queries
    for budget in (need // 4, need // 2, need - 1, need):
        found, spent = run(room.callable(bright), images, budget=Budget(queries=budget))
        assert spent.cost.queries <= budget
        for name, item in found.items():
            lists = item.outcome.get("right", [])
            assert lists == whole[name].outcome.get("right", [])[: len(lists)]
            assert item.cut is not None or name in MOTIONS or len(lists) == 5
    assert list(found) == list(whole)


def test_a_budget_below_one_question_each_examines_nothing(room, images):
    found, meter = run(room.callable(bright), images, budget=Budget(queries=5))
    assert [(item.n, item.cut, item.outcome["rows"]) for item in found.values()] == [(0, "queries", [])]
    assert meter.cost.queries == 0


def test_points_that_fell_to_a_motion_are_not_asked_again(room, images):
    """All fall to the first motions: the rest of the grid costs nothing."""
    first = []

    def answer(x):
        first.append(len(x))
        same = (np.asarray(x).reshape(len(x), -1) == np.asarray(x).reshape(len(x), -1)[:, :1]).all(axis=1)
        return np.column_stack([same * 1.0, ~same * 1.0])

    points = room.data(images.x, [0] * 6)
    found, _ = run(room.callable(answer), points)
    assert found["turns and shifts"].outcome["broken"] == list(range(6))
    assert found["turns and shifts"].cost.queries == 6 * module._TOGETHER


def test_small_batches_give_the_same_motions(room, images, monkeypatch):
    whole, _ = run(room.callable(bright), images)
    monkeypatch.setattr(module, "_BYTES", 8 * 36 * 16 * 2)  # two points a call
    parts, _ = run(room.callable(bright), images)
    for name in MOTIONS:
        assert parts[name].outcome == whole[name].outcome


def test_layouts_of_colours_give_the_same_answers(room):
    """Colours first or last are the same image."""
    x = np.random.default_rng(0).random((5, 3, 8, 8))
    first = room.data(x, (x.mean(axis=(1, 2, 3)) > 0.5) * 1)
    last = room.data(np.moveaxis(x, 1, -1), first.y)
    model = room.callable(
        lambda x: np.column_stack([np.full(len(x), 0.5), x.reshape(len(x), -1).mean(axis=1)])
    )
    one, two = run(model, first)[0], run(model, last)[0]
    assert list(one) == list(two)
    for name, item in one.items():
        if "right" in item.outcome:
            assert item.outcome["right"] == two[name].outcome["right"]


def test_rows_have_no_motions_and_parameters_are_recorded(room):
    x = np.random.default_rng(0).random((8, 3))
    points = room.table(x, (x[:, 0] > 0.5) * 1, ["real"] * 3)
    model = room.callable(lambda x: np.column_stack([np.full(len(x), 0.5), np.nan_to_num(x[:, 0])]))
    found, _ = run(model, points, limit=8)
    assert list(found) == list(TABLES)
    for name, item in found.items():
        assert item.parameters == {
            "limit": 8, "confidence": 0.95, "corruption": name, "levels": [float(v) for v in TABLES[name][1]],
            "norm": name, "eps": 5.0, "unit": "levels of severity", "box": dict(points.box.describe()),
        }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_inputs_keep_their_type_and_stay_in_their_box(room, dtype):
    top = 255.0 if np.issubdtype(dtype, np.integer) else 1.0
    x = (np.random.default_rng(0).random((4, 1, 6, 6)) * top).astype(dtype)
    seen = []

    def answer(x):
        seen.append((x.dtype, float(x.min()), float(x.max())))
        return bright(np.asarray(x, np.float64) / top)

    points = room.data(x, [1] * 4, bounds=room.box(0.0, top))
    run(room.callable(answer), points)
    assert {dtype for dtype, _, _ in seen} == {np.dtype(dtype)}
    assert min(low for _, low, _ in seen) >= 0
    assert max(high for _, _, high in seen) <= top


def test_no_row_and_no_label_are_declined(room):
    model = room.callable(bright)
    empty = room.data(np.zeros((0, 1, 4, 4)), [])
    named = room.data(np.zeros((1, 1, 4, 4)), [0], classes=3)
    for points, said in ((empty, "no rows"), (named, "'2'")):
        reason = CorruptionCheck(Settings()).declines(Subjects(model=model, data=points, attachments=None))
        assert said in reason


def test_the_points_are_those_of_every_other_check(room, images):
    model = room.callable(bright)
    subjects = Subjects(model=model, data=images, attachments=None)
    chosen = examine(subjects, Settings(limit=4), Meter()).data.rows
    found, _ = run(model, images, limit=4)
    assert all(item.outcome["rows"] == chosen.tolist() for item in found.values())
