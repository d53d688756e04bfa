from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.smoothing.check import SmoothingCheck, noisy
from modelward.threats.evasion.smoothing.judge import judge_smoothed_accuracy
from modelward.threats.evasion.threat import Threat


def run(model, points, *, budget=None, seed=3, **settings):
    subjects = Subjects(model=model, data=points, attachments=None)
    check = SmoothingCheck(Settings(**settings))
    assert check.declines(subjects) is None
    meter = Meter(budget or Budget())
    return list(check.run(subjects, budget=meter, seed=seed)), meter


def half_space(room, offset=0.5):
    """Class 1 where the first feature is above the offset; the certified radius is at most the distance."""
    return room.callable(lambda x: np.column_stack([offset - x[:, 0], x[:, 0] - offset]))


def test_radii_stay_below_the_distance_to_the_border(room):
    x = np.column_stack([np.linspace(0, 1, 21), np.full(21, 0.5)]).astype(np.float32)
    points = room.data(x, (x[:, 0] > 0.5).astype(int))
    (item,), _ = run(half_space(room), points, norms=("l2",), eps=(0.2,))
    distance = np.abs(x[:, 0] - 0.5)
    radii = np.array(item.outcome["radii"])
    assert (radii <= distance + 1e-7).all()
    assert radii.max() > 0.2
    # Noise of 0.2 / 1.5: points 0.3 away are answered alike 98.8 % of the time, enough for 0.2.
    assert {0, 1, 2, 20} <= set(item.outcome["certified"]) <= set(item.outcome["correct"])
    assert 10 in item.outcome["abstained"]
    assert not {8, 9, 10, 11, 12} & set(item.outcome["certified"])


def test_wrong_labels_are_never_certified(room):
    x = np.full((5, 2), 0.9, np.float32)
    (item,), _ = run(half_space(room), room.data(x, [0, 0, 1, 1, 1]), norms=("l2",), eps=(0.1,))
    assert item.outcome["correct"] == [2, 3, 4]
    assert set(item.outcome["certified"]) <= {2, 3, 4}


def test_only_l2_and_no_switches(room):
    model = half_space(room)
    points = room.data(np.full((2, 2), 0.9, np.float32), [1, 1])
    check = SmoothingCheck(Settings(norms=("linf",)))
    assert "l2 is not among" in check.declines(Subjects(model=model, data=points, attachments=None))
    table = room.table([[0.1, 0], [0.9, 1], [0.8, 2]], [0, 1, 1], ["real", "category"])
    for eps, fine in ((0.5, True), (1.5, False)):
        reason = SmoothingCheck(Settings(norms=("l2",), eps=(eps,))).declines(
            Subjects(model=model, data=table, attachments=None)
        )
        assert (reason is None) == fine


def test_noise_touches_what_may_change_and_in_its_unit(room):
    columns = ["real", "real", "integer", "category"]
    table = room.table([[0, 0, 0, 0], [10, 1, 100, 1]], [0, 1], columns, immutable=(1,))
    within = reach(table, Threat("l2", 0.3))
    noise = np.random.default_rng(0).standard_normal((4000, 4))
    x = noisy(within, 0, 0.1 * noise)
    assert x[:, 0].std() == pytest.approx(1.0, rel=0.05)
    assert (x[:, 1] == 0).all()
    assert (x[:, 2] == np.rint(x[:, 2])).all()
    assert x[:, 2].std() == pytest.approx(10, rel=0.05)
    assert (x[:, 3] == 0).all()


def test_whole_types_are_rounded_and_clipped(room):
    points = room.data(np.array([[0, 255]], np.uint8), [0], bounds=room.box(0, 255))
    x = noisy(reach(points, Threat("l2", 0.5)), 0, np.array([[-1.0, 1.0], [0.1, -0.1]]))
    assert x.dtype == np.uint8
    assert x.tolist() == [[0, 255], [26, 230]]


def test_a_budget_is_kept_and_a_cut_is_said(room):
    model = half_space(room)
    points = room.data(np.full((5, 2), 0.9, np.float32), [1] * 5)
    (item, *_), meter = run(model, points, norms=("l2",), eps=(0.1,), budget=Budget(queries=1000))
    assert model.asked == meter.cost.queries == 864  # 432 per point
    assert item.cut == "queries"
    assert item.outcome["sampled"] == [0, 1]
    assert item.n == 5
    claim = judge_smoothed_accuracy([item]).claims[0]
    assert claim.bracket.lower == pytest.approx(0.4)
    assert "2 of 5 points were sampled" in claim.note


def test_nothing_sampled_examines_nothing(room):
    points = room.data(np.full((5, 2), 0.9, np.float32), [1] * 5)
    (item,), _ = run(half_space(room), points, norms=("l2",), eps=(0.1,), budget=Budget(queries=10))
    assert item.n == 0
    claim = judge_smoothed_accuracy([item]).claims[0]
    assert claim.bracket.lower is None
    assert claim.statement == "No point was sampled."


def test_a_model_that_raises_or_answers_nan_is_not_certified(room):
    def raising(x):
        raise ModelRaised("no")

    points = room.data(np.full((2, 2), 0.9, np.float32), [1, 1])
    for answer in (raising, lambda x: np.full((len(x), 2), np.nan)):
        (item,), _ = run(room.callable(answer), points, norms=("l2",), eps=(0.1,))
        assert item.outcome["certified"] == item.outcome["correct"] == []
        assert item.outcome["abstained"] == [0, 1]


def test_the_seed_decides(room):
    points = room.data(np.random.default_rng(0).random((6, 2)).astype(np.float32), [0, 1] * 3)
    one, two, other = (
        run(half_space(room), points, norms=("l2",), eps=(0.1, 0.2), seed=seed)[0] for seed in (1, 1, 2)
    )
    assert [item.outcome for item in one] == [item.outcome for item in two]
    assert [item.outcome for item in one] != [item.outcome for item in other]
    assert [item.parameters["sigma"] for item in one] == pytest.approx([0.1 / 1.5, 0.2 / 1.5])


def test_the_claim_speaks_of_the_smoothed_model(room):
    points = room.data(np.full((5, 2), 0.95, np.float32), [1] * 5)
    evidence, _ = run(half_space(room), points, norms=("l2",), eps=(0.1, 0.2), preset="quick")
    claims = judge_smoothed_accuracy(evidence).claims
    assert [claim.scope["eps"] for claim in claims] == [0.1, 0.2]
    for claim in claims:
        assert claim.bracket.upper is None
        assert claim.scope["n0"], claim.scope["n"] == (16, 150)
        assert "not about the model as it is deployed" in claim.note
    assert claims[0].bracket.lower == 1.0
