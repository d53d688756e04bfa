"""Every point that a corruption or a motion broke has a witness, which the model gets wrong when asked again."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.corruption.check import MOTIONS, CorruptionCheck
from modelward.threats.evasion.corruption.kept import Kept
from modelward.threats.evasion.corruption.motions import moved
from modelward.threats.evasion.corruption.pictures import PICTURES


def corner(x):
    """Class 1 where the upper left quarter is bright: most of what is done to an image moves that."""
    x = np.asarray(x, np.float64)
    half = x.shape[-1] // 2
    return np.column_stack([np.full(len(x), 0.5), x[..., :half, :half].reshape(len(x), -1).mean(axis=1)])


@pytest.fixture
def images(room):
    """Ten pictures near the border, two of them with a wrong label."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.3, (10, 1, 8, 8))
    x[:, :, :4, :4] += np.linspace(0.05, 0.65, 10)[:, None, None, None]
    x = np.clip(x, 0, 1).astype(np.float32)
    y = corner(x).argmax(axis=1)
    y[[0, 9]] = 1 - y[[0, 9]]
    return room.data(x, y, rows=np.arange(10) + 100)


@pytest.fixture
def measured(room, images):
    def measured(answer=corner, points=None, budget=None):
        store, model = room.store(), room.callable(answer)
        subjects = Subjects(model=model, data=images if points is None else points, attachments=store)
        check = CorruptionCheck(Settings(preset="quick"))
        found = check.run(subjects, budget=Meter(budget or Budget()), seed=1)
        return [(item, store.kept.get(item.attachments.get("witnesses"))) for item in found], model

    return measured


def of(found, name):
    return next((item, kept) for item, kept in found if item.parameters["norm"] == name)


def test_witnesses_are_what_the_model_gets_wrong(measured, images):
    found, model = measured()
    assert len(found) == len(PICTURES) - 1 + len(MOTIONS)
    fallen = 0
    for item, kept in found:
        if kept is None:
            assert item.outcome["broken"] == []
            continue
        fallen += len(kept["index"])
        assert kept["index"].tolist() == item.outcome["broken"]
        assert kept["x"].dtype == images.x.dtype
        decided = model.scores(kept["x"]).argmax(axis=1)
        assert (decided == kept["prediction"]).all()
        assert (decided != kept["label"]).all()
        position = kept["index"] - 100
        assert (kept["original"] == images.x[position]).all()
        assert (kept["label"] == images.y[position]).all()
        assert kept["classes"].tolist() == list(images.labels)
        assert len(item.outcome["sizes"]) == len(kept["index"])
    assert fallen > 20


def test_what_fell_is_what_was_right_and_did_not_stay_so_at_every_severity(measured):
    for item, _ in measured()[0]:
        if "corruption" not in item.parameters:
            continue
        correct, right = set(item.outcome["correct"]), item.outcome["right"]
        assert len(right) == 5
        stayed = correct.intersection(*map(set, right))
        assert set(item.outcome["broken"]) == correct - stayed
        for row, size in zip(item.outcome["broken"], item.outcome["sizes"], strict=True):
            first = next(level for level, rows in enumerate(right, 1) if row not in rows)
            assert size == first


def test_points_that_were_wrong_anyway_have_no_witness(measured):
    for item, _ in measured()[0]:
        assert {100, 109}.isdisjoint(item.outcome["broken"])
        assert {100, 109}.isdisjoint(item.outcome["correct"])


def test_a_turned_witness_is_the_motion_that_the_evidence_names(measured):
    found, _ = measured()
    for name, motion in MOTIONS.items():
        item, kept = of(found, name)
        assert kept is not None
        assert (item.parameters["eps"], item.parameters["unit"]) == (1.0, "times the largest")
        for i, (turn, down, across) in enumerate(item.outcome["motions"]):
            shift = np.array([[down, across]]) * 8
            again = moved(
                kept["original"][i : i + 1].astype(np.float64), degrees=np.array([turn]), shift=shift
            )
            np.testing.assert_allclose(kept["x"][i], again[0], atol=1e-6)
            shares = [abs(turn) / motion.degrees] if motion.degrees else []
            shares += [abs(down) / motion.shift, abs(across) / motion.shift] if motion.shift else []
            assert item.outcome["sizes"][i] == pytest.approx(max(shares))
            assert 0 < item.outcome["sizes"][i] <= 1 + 1e-12


def test_nothing_that_fell_is_nothing_stored(measured, images, room):
    steady = room.data(images.x, [1] * 10)
    found, _ = measured(lambda x: np.column_stack([np.zeros(len(x)), np.ones(len(x))]), steady)
    assert all(kept is None and item.outcome["broken"] == [] for item, kept in found)
    assert all(item.attachments == {} for item, _ in found)


def test_an_image_that_breaks_the_model_is_a_witness_without_a_prediction(measured, room):
    """The model raises on anything that is very bright, and answers NaN to anything that is all dark."""

    def answer(x):
        x = np.asarray(x, np.float64)
        if (x > 0.95).any():
            raise ModelRaised("too bright")
        scores = corner(x)
        scores[(x < 0.05).all(axis=(1, 2, 3))] = np.nan
        return scores

    x = np.full((3, 1, 8, 8), 0.6)
    found, _ = measured(answer, room.data(x, [1] * 3))
    item, kept = of(found, "brightness")
    assert item.outcome["broken"] == [0, 1, 2]
    assert kept["prediction"].tolist() == [-1, -1, -1]
    assert (kept["x"] > 0.95).any()


def test_a_cut_leaves_witnesses_of_whole_severities_alone(measured):
    whole, _ = measured()
    first = of(whole, next(iter(PICTURES)))[0]
    for queries in range(10, 70, 7):
        found, _ = measured(budget=Budget(queries=queries))
        item, kept = found[0]
        done = len(item.outcome.get("right", []))
        known = dict(zip(first.outcome["broken"], first.outcome["sizes"], strict=True))
        expected = sorted(row for row, size in known.items() if size <= done)
        assert item.outcome.get("broken", []) == expected
        assert (kept is None) == (not expected)


def test_the_first_input_is_kept_and_a_copy_of_it(room, images):
    model = room.callable(corner)
    points = examine(Subjects(model=model, data=images, attachments=None), Settings(), Meter())
    kept, x = Kept(points), np.zeros((2, 1, 8, 8), np.float32)
    kept.keep(np.array([5, 2]), x, np.array([[1.0, 0.0], [np.nan, 0.0]]), np.array([3, 1]))
    x[:] = 7
    kept.keep(np.array([5]), x[:1], np.array([[0.0, 1.0]]), np.array([1]))
    assert kept.index.tolist() == [2, 5]
    assert kept.outcome() == {"broken": [102, 105], "sizes": [1.0, 3.0]}
    arrays = kept.arrays()
    assert (arrays["x"] == 0).all()
    assert arrays["prediction"].tolist() == [-1, 0]
    assert Kept(points).arrays()["x"].shape == (0, 1, 8, 8)


def test_rows_of_a_table_keep_their_spoilt_cells(room):
    x = np.column_stack([np.linspace(0, 1, 12), np.arange(12.0)])
    points = room.table(x, (x[:, 0] > 0.5) * 1, ["real", "integer"])
    store = room.store()
    model = room.callable(lambda x: np.column_stack([np.full(len(x), 0.5), np.nan_to_num(x[:, 0])]))
    subjects = Subjects(model=model, data=points, attachments=store)
    items = {
        i.parameters["norm"]: i for i in CorruptionCheck(Settings()).run(subjects, budget=Meter(), seed=1)
    }
    item = items["missing values"]
    kept = store.kept[item.attachments["witnesses"]]
    assert np.isnan(kept["x"][:, 0]).all()  # nothing else changes this model's mind
    assert kept["columns"].tolist() == [column.name for column in points.columns]
    assert (kept["scale"] == points.box.scale).all()
