from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import CLAIMS, load_judge
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.numeric.proportion import clopper_pearson
from modelward.threats.evasion.corruption.check import MOTIONS, CorruptionCheck
from modelward.threats.evasion.corruption.judge import judge_corruption_accuracy, judge_motion_accuracy
from modelward.threats.evasion.corruption.motions import moved
from modelward.threats.evasion.corruption.pictures import PICTURES
from modelward.threats.evasion.corruption.tables import TABLES, spoil
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat


@pytest.fixture
def measure(room):
    def run(model, points, *, budget=None, seed=7, **settings):
        meter = Meter(budget or Budget())
        subjects = Subjects(model=model, data=points, attachments=(store := room.store()))
        check = CorruptionCheck(Settings(**settings))
        assert check.declines(subjects) is None
        found = list(check.run(subjects, budget=meter, seed=seed))
        named = {i.parameters.get("corruption", i.parameters.get("motion")): i for i in found}
        return SimpleNamespace(evidence=found, meter=meter, named=named, kept=store.kept)

    return run


def mean_model(room):
    """Class 1 when the image is bright on average: blurs, turns and shifts of a ring change little of it."""
    return room.callable(
        lambda x: np.column_stack([np.full(len(x), 0.3), x.reshape(len(x), -1).mean(axis=1)])
    )


def pictures(room, model, count=20, shape=(3, 12, 12)):
    x = np.random.default_rng(0).random((count, *shape)) * np.linspace(0.2, 1, count)[:, None, None, None]
    return room.labelled(model, x.astype(np.float32))


def test_every_corruption_and_motion_gives_its_own_evidence(room, measure):
    model = mean_model(room)
    result = measure(model, pictures(room, model), preset="quick")
    assert list(result.named) == [*PICTURES, *MOTIONS]
    assert result.meter.cost.queries == model.asked
    for name in PICTURES:
        kept = result.named[name].outcome["right"]
        assert len(kept) == 5
        assert all(set(rows) <= set(range(20)) for rows in kept)
    bright = result.named["brightness"].outcome["right"]
    truth = np.array([np.clip(pictures(room, model).x + m, 0, 1).mean(axis=(1, 2, 3)) for m in (0.1, 0.5)])
    label = pictures(room, model).y
    assert bright[0] == np.flatnonzero((truth[0] > 0.3) == label).tolist()
    assert bright[4] == np.flatnonzero((truth[1] > 0.3) == label).tolist()
    assert result.named["pixelate"].outcome["right"][4] == list(range(20))


def test_single_colours_have_no_saturation(room, measure):
    model = mean_model(room)
    result = measure(model, pictures(room, model, shape=(1, 9, 9)), preset="quick")
    assert "saturation" not in result.named
    assert "contrast" in result.named


def test_the_box_is_the_unit_of_brightness(room, measure):
    """The same images in another box, whole numbers from 0 to 255, give the same answers."""
    model = mean_model(room)
    x = np.rint(pictures(room, model).x * 255).astype(np.uint8)
    unit = room.labelled(model, (x / 255).astype(np.float64))
    big = room.callable(lambda x: model.answer(np.asarray(x, np.float64) / 255))
    bytes_ = room.data(x, unit.y, bounds=room.box(0.0, 255.0))
    one, two = measure(model, unit, preset="quick"), measure(big, bytes_, preset="quick")
    for name in ("brightness", "fog", "contrast", "jpeg"):
        pairs = zip(one.named[name].outcome["right"], two.named[name].outcome["right"], strict=True)
        assert sum(a != b for a, b in pairs) <= 1


def test_the_worst_motion_is_found_and_can_be_made_again(room, measure):
    """The model reads one corner block: a turn or a shift that empties it defeats the model."""
    model = room.callable(
        lambda x: np.column_stack([np.full(len(x), 0.5), np.asarray(x)[:, 0, 0:3, 4:7].mean(axis=(1, 2))])
    )
    x = np.zeros((6, 1, 11, 11))
    x[:, 0, :4, 3:8] = np.linspace(0.7, 1.0, 6)[:, None, None]
    points = room.labelled(model, x)
    assert (points.y == 1).all()
    result = measure(model, points)
    item = result.named["turns and shifts"]
    assert item.outcome["broken"]
    assert item.outcome["attacked"] == list(range(6))
    for row, motion in zip(item.outcome["broken"], item.outcome["motions"], strict=True):
        assert abs(motion[0]) <= 30
        assert np.abs(motion[1:]).max() <= 0.1
        shift = np.array([motion[1:]]) * 11
        again = moved(x[row : row + 1], degrees=np.array(motion[:1]), shift=shift)
        assert model.scores(again).argmax(axis=1)[0] != points.y[row]
    assert set(result.named["turns"].outcome["broken"]) <= set(range(6))
    assert all(motion[1:] == [0.0, 0.0] for motion in result.named["turns"].outcome["motions"])
    assert all(motion[0] == 0.0 for motion in result.named["shifts"].outcome["motions"])


def test_an_invariant_model_stands_every_motion(room, measure):
    model = room.callable(lambda x: np.column_stack([np.zeros(len(x)), np.ones(len(x))]))
    points = room.data(np.random.default_rng(0).random((4, 1, 8, 8)), [1] * 4)
    result = measure(model, points, preset="quick")
    claims = judge_motion_accuracy(result.evidence).claims
    assert [claim.bracket.upper for claim in claims] == [1.0, 1.0, 1.0]
    assert all(claim.bracket.lower is None for claim in claims)
    assert result.named["turns"].cost.queries == 4 * (10 + 5)


def test_rows_are_spoilt_by_what_their_columns_allow(room):
    rows = np.column_stack([np.linspace(0, 10, 50), np.arange(50) % 7, np.arange(50) % 3, np.ones(50)])
    points = room.table(rows, [0] * 50, ["real", "integer", "category", "real"], immutable=(3,))
    within = reach(points, Threat("linf", 1.0))
    for name in TABLES:
        assert spoil(rows, name, 0, within, np.random.default_rng(0)) is rows
        for severity in range(1, 6):
            out = spoil(rows, name, severity, within, np.random.default_rng(0))
            np.testing.assert_array_equal(out[:, 2:], rows[:, 2:])
            known = out[:, 1][~np.isnan(out[:, 1])]
            assert (known == np.rint(known)).all()
    lost = spoil(np.tile(rows, (40, 1)), "missing values", 5, within, np.random.default_rng(0))
    assert np.isnan(lost[:, :2]).mean() == pytest.approx(0.4, abs=0.03)
    noisy = spoil(np.tile(rows, (40, 1)), "noise", 4, within, np.random.default_rng(0))[:, 0]
    assert (noisy - np.tile(rows[:, 0], 40)).std() == pytest.approx(0.1 * 10, rel=0.05)
    rounded = spoil(rows, "rounding", 5, within, np.random.default_rng(0))[:, 0]
    np.testing.assert_allclose(rounded, np.rint(rows[:, 0] / 2) * 2)
    mixed = spoil(rows + 1, "unit mix-ups", 1, within, np.random.default_rng(0))[:, :2]
    assert ((mixed != (rows + 1)[:, :2]).sum(axis=1) <= 1).all()
    assert (mixed != (rows + 1)[:, :2]).any(axis=1).mean() > 0.8


def test_a_model_of_a_table_that_refuses_missing_values_is_wrong_there(room, measure):
    def answer(x):
        if np.isnan(x).any():
            raise ModelRaised("no NaN please")
        return np.column_stack([np.full(len(x), 0.5), x[:, 0]])

    model = room.callable(answer)
    x = np.random.default_rng(1).random((30, 3))
    points = room.table(x, (x[:, 0] > 0.5) * 1, ["real"] * 3)
    result = measure(model, points)
    assert list(result.named) == [*TABLES]
    counts = [len(rows) for rows in result.named["missing values"].outcome["right"]]
    assert counts[0] > counts[4]
    assert counts[4] < 15
    assert model.asked == result.meter.cost.queries


def test_claims_state_every_severity_with_its_interval(room, measure):
    model = mean_model(room)
    result = measure(model, pictures(room, model), preset="quick")
    judged = judge_corruption_accuracy(result.evidence)
    assert len(judged.claims) == len(PICTURES)
    for claim in judged.claims:
        counts = [len(rows) for rows in result.named[claim.scope["corruption"]].outcome["right"]]
        assert claim.value == min(counts) / 20
        assert (claim.interval.lower, claim.interval.upper) == clopper_pearson(min(counts), 20, 0.95)
        assert all(f"severity {s}: {c / 20:.1%}" in claim.note for s, c in enumerate(counts, 1))
    harmed = {n for n, i in result.named.items() if n in PICTURES and len(i.outcome["right"][2]) <= 10}
    assert bool(judged.findings) == bool(harmed)
    if judged.findings:
        assert all(name in judged.findings[0].message for name in harmed)


def test_a_finding_fires_where_half_of_the_right_answers_are_lost(room, measure):
    model = room.callable(
        lambda x: np.column_stack([np.full(len(x), 0.35), x.reshape(len(x), -1).mean(axis=1)])
    )
    points = room.labelled(model, np.random.default_rng(0).random((10, 1, 8, 8)) * 0.6)
    judged = judge_corruption_accuracy(measure(model, points, preset="quick").evidence)
    (finding,) = judged.findings
    assert finding.rule == "evasion.corruption"
    assert "brightness 0.0%" in finding.message
    assert "pixelate" not in finding.message


@pytest.mark.parametrize("limit", [5, 20, 21, 150, 900])
def test_a_budget_is_never_exceeded_and_every_cut_is_said(room, measure, limit):
    model = mean_model(room)
    result = measure(model, pictures(room, model), preset="quick", budget=Budget(queries=limit))
    assert model.asked == result.meter.cost.queries <= limit
    assert any(item.cut == "queries" for item in result.evidence)
    assert all(item.n in {0, 20} for item in result.evidence)
    claims = (
        *judge_corruption_accuracy(result.evidence).claims,
        *judge_motion_accuracy(result.evidence).claims,
    )
    assert len(claims) == len(result.evidence)
    assert all(claim.value is None for claim in claims) or limit > 20


def test_the_same_seed_gives_the_same_evidence(room, measure):
    model = mean_model(room)
    points = pictures(room, model)
    one, two, other = (measure(model, points, preset="quick", seed=seed) for seed in (7, 7, 8))
    assert [i.outcome for i in one.evidence] == [i.outcome for i in two.evidence]
    assert [i.outcome for i in one.evidence] != [i.outcome for i in other.evidence]


def test_the_catalogue_names_these_judges():
    named = {entry.id: load_judge(entry) for entry in CLAIMS}
    assert named["corruption-accuracy"] is judge_corruption_accuracy
    assert named["motion-accuracy"] is judge_motion_accuracy
