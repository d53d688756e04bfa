"""The nearest wrong input of each point: what is kept, what is booked, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.arena import Arena, examine
from modelward.threats.evasion.query.curve import distances, successes
from modelward.threats.evasion.query.frontier import CHECKPOINTS, ROOM, Frontier, widened
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat


def beyond(limit, column=0):
    """Class 1 where one number exceeds a limit; tells its decision only."""
    return lambda x: np.eye(2)[(np.asarray(x, np.float64).reshape(len(x), -1)[:, column] > limit) * 1]


def start(model, points, threat=None, *, queries=100, budget=None):
    meter = Meter(budget or Budget())
    examined = examine(Subjects(model=model, data=points, attachments=None), Settings(), meter)
    model.asked = 0
    arena = Arena(examined, threat or Threat("l2", 0.01), share=Share(meter), seed=3)
    return Frontier(arena, queries, 3)


@pytest.fixture
def line(room):
    """Three points of two numbers below 0.5, where class 0 ends."""
    model = room.callable(beyond(0.5), kind="labels")
    return model, room.data([[0.1, 0.5], [0.2, 0.5], [0.4, 0.5]], [0, 0, 0])


def test_the_nearest_wrong_candidate_is_kept(line):
    search = start(*line)
    index = np.array([0, 2])
    candidates = np.array([[[0.9, 0.5], [0.6, 0.5], [0.3, 0.5]], [[0.45, 0.5], [1.0, 0.5], [0.7, 0.9]]])
    wrong = search.ask(candidates, index)
    assert wrong.tolist() == [[True, True, False], [False, True, True]]
    np.testing.assert_allclose(search.x, [[0.6, 0.5], [0.2, 0.5], [0.7, 0.9]])
    np.testing.assert_allclose(search.size, [0.5, np.inf, 0.5])
    assert search.used.tolist() == [3, 0, 3]


def test_a_farther_wrong_input_changes_nothing(line):
    search = start(*line)
    search.ask(np.array([[[0.6, 0.5]]]), np.array([0]))
    search.ask(np.array([[[0.9, 0.5]]]), np.array([0]))
    assert search.size[0] == pytest.approx(0.5)
    assert search.x[0].tolist() == [0.6, 0.5]
    search.ask(np.array([[[0.1, 0.2]]]), np.array([0]))  # near but right
    assert search.size[0] == pytest.approx(0.5)


def test_what_a_points_queries_do_not_cover_is_not_asked(line):
    model, points = line
    search = start(model, points, queries=3)
    search.ask(np.full((1, 2, 2), 0.2), np.array([0]))
    wrong = search.ask(np.full((2, 3, 2), 0.9), np.array([0, 1]))
    assert wrong.tolist() == [[True, False, False], [True, True, True]]
    assert search.used.tolist() == [3, 3, 0]
    assert model.asked == 6
    assert search.ask(np.full((2, 1, 2), 0.9), np.array([0, 1])).tolist() == [[False], [False]]
    assert model.asked == 6
    assert not search.refused


def test_the_best_of_a_row_is_its_own_where_rows_ask_unequally_many(line):
    """Row 0 may ask one more, row 1 three: answers must not slip to the neighbour."""
    search = start(*line, queries=4)
    search.ask(np.full((1, 3, 2), 0.2), np.array([0]))
    far = [[0.7, 0.5], [0.0, 0.0], [0.0, 0.0]]
    search.ask(np.array([far, [[0.9, 0.5], [0.8, 0.5], [0.6, 0.5]]]), np.array([0, 1]))
    np.testing.assert_allclose(search.x[:2], [[0.7, 0.5], [0.6, 0.5]])


def test_candidates_outside_the_box_count_as_what_was_asked(line):
    search = start(*line)
    search.ask(np.array([[[7.0, 0.5]]]), np.array([0]))
    np.testing.assert_allclose(search.x[0], [1.0, 0.5])
    assert search.size[0] == pytest.approx(0.9)


@pytest.mark.parametrize("left", [0, 1, 4, 5])
def test_a_budget_that_refuses_is_remembered(line, left):
    model, points = line
    search = start(model, points, budget=Budget(queries=3 + left))
    found = search.ask(np.full((1, 5, 2), 0.9), np.array([0]))
    assert (found is None) == search.refused == (left < 5)
    assert model.asked == (5 if left >= 5 else 0)
    if search.refused:
        assert len(search.active(np.arange(3))) == 0
        search.begin(np.arange(3))
        assert model.asked == 0


def test_active_points_stand_are_wrong_somewhere_and_have_queries(line):
    search = start(*line, queries=10)
    everyone = np.arange(3)
    assert search.active(everyone).tolist() == []
    search.ask(np.full((3, 1, 2), 0.9), everyone)
    assert search.active(everyone).tolist() == [0, 1, 2]
    search.ask(np.full((1, 4, 2), 0.2), np.array([1]))
    assert search.active(everyone, 0.5).tolist() == [0, 2]
    assert search.active(everyone).tolist() == [0, 1, 2]
    search.arena.standing[2] = False
    assert search.active(everyone).tolist() == [0, 1]


def test_calls_are_filled_and_never_overfilled(line):
    search = start(*line, queries=50)
    assert search.width(np.arange(3), 8) == 8
    assert search.width(np.zeros(ROOM, np.int64), 8) == 1
    assert search.width(np.zeros(ROOM // 2, np.int64), 8) == 2
    search.used[1] = 47
    assert search.width(np.arange(3), 8) == 3
    assert search.width(np.array([0, 2]), 8) == 8
    search.used[1] = 50
    assert search.width(np.arange(3), 8) == 1
    assert search.width(np.zeros(0, np.int64), 8) == 8


def test_the_first_wrong_inputs_are_other_points(room):
    """The nearest example of another class is asked first, before anything random."""
    model = room.callable(beyond(0.5), kind="labels")
    points = room.data([[0.1, 0.0], [0.55, 0.0], [0.9, 0.0], [0.95, 1.0]], [0, 1, 1, 1])
    search = start(model, points, queries=1)
    search.begin(np.array([0]))
    assert search.x[0].tolist() == [0.55, 0.0]
    assert model.asked == 1


def test_lines_are_shortened_to_the_boundary(line):
    search = start(*line, Threat("l2", 1e-6), queries=60)
    search.ask(np.full((3, 1, 2), 0.95), np.arange(3))
    before = search.size.copy()
    for _ in range(3):
        search.shorten(search.active(np.arange(3)))
    # On the line to (0.95, 0.95) the boundary lies where the first number is 0.5.
    part = (0.5 - line[1].x[:, 0]) / (0.95 - line[1].x[:, 0])
    assert (search.size >= before * part * (1 - 1e-9)).all()
    np.testing.assert_allclose(search.size, before * part, rtol=0.01)


def test_the_first_question_of_a_line_lies_at_the_radius(room):
    """A witness is all that matters in the end; whole numbers beyond their box must not hide how far it is."""
    asked = []

    def answer(x):
        asked.append(np.asarray(x, np.float64).reshape(len(x), -1).copy())
        return beyond(100)(x)

    model = room.callable(answer, kind="labels")
    points = room.data(np.array([[90, 50]], np.uint8), [0], bounds=room.box(0.0, 255.0))
    search = start(model, points, Threat("l2", 20 / 255))
    search.ask(np.array([[[255.0, 50.0]]]), np.array([0]))
    search.shorten(np.array([0]), np.array([[300.0, 50.0]]))  # asked about as (255, 50); as uint8 it is 44
    assert asked[2][0].tolist() == [110.0, 50.0]
    assert search.arena.broken.tolist() == [0]
    assert search.size[0] <= 20 / 255


def test_no_line_is_no_question(line):
    model, points = line
    search = start(model, points)
    search.shorten(np.zeros(0, np.int64))
    search.shorten(np.arange(3))  # none has a wrong input, so none is active
    assert model.asked == 0


def test_where_the_model_raises_the_input_is_wrong(room):
    def answer(x):
        if (x[:, 0] > 0.5).any():
            raise ModelRaised("too much")
        return np.tile([1.0, 0.0], (len(x), 1))

    search = start(room.callable(answer, kind="labels"), room.data([[0.1, 0.1]], [0]))
    assert search.ask(np.array([[[0.2, 0.1], [0.6, 0.1]]]), np.array([0])).tolist() == [[False, True]]
    assert search.size[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("norm", "limit"), [("l2", np.inf), ("linf", np.inf), ("l1", np.inf), ("l0", 16), ("patch", 1)]
)
def test_without_a_ball_the_other_constraints_stay(room, norm, limit):
    points = room.data(np.full((1, 4, 4), 0.5), [0])
    wide = widened(reach(points, Threat(norm, 0.1 if norm != "l0" else 1.0)))
    assert wide.threat == Threat(norm, limit)
    everything = np.ones((1, 4, 4))
    assert wide.admits(everything, np.array([0])).all()
    assert not wide.admits(everything * 1.5, np.array([0])).any()


def test_distances_are_told_per_checkpoint_and_unknown_ones_are_null(line):
    model, points = line
    search = start(model, points, queries=120)
    search.ask(np.full((1, 20, 2), 0.9), np.array([0]))
    search.ask(np.full((1, 20, 2), 0.6), np.array([0]))
    search.ask(np.full((1, 20, 2), 0.2), np.array([1]))
    told = distances(search)["distances"]
    assert told["after"] == [30, 100] == [c for c in CHECKPOINTS if c <= 120]
    far, near = np.hypot(0.8, 0.4), np.hypot(0.5, 0.1)
    assert told["sizes"][0] == [pytest.approx(far), None]
    assert told["sizes"][1] == [pytest.approx(near), None]
    assert successes(search.arena) == {"queries_to_success": []}


def test_points_that_fall_stand_with_their_queries(line):
    model, points = line
    search = start(model, points, Threat("l2", 0.2))
    search.ask(np.array([[[0.3, 0.5], [0.45, 0.5]]]), np.array([2]))
    search.ask(np.array([[[0.55, 0.5]]]), np.array([2]))
    assert search.arena.broken.tolist() == [2]
    assert successes(search.arena) == {"queries_to_success": [3]}
    assert distances(search)["distances"]["sizes"][0] == [pytest.approx(0.15)]
