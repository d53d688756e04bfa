"""What every check of the room of evasion must do, under all norms: its evidence, budget and witnesses.

The definitions of box, ball and label are written out here once more, in plain numpy.
"""

from __future__ import annotations

import itertools
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.canonical import canonical
from modelward.core.catalogue import CHECKS, check_entry, load_check
from modelward.core.check import Settings
from modelward.core.evidence import to_json

EPS = {
    "linf": (0.05, 0.3),
    "l2": (0.3, 1.5),
    "l1": (1.0, 4.0),
    "l0": (1.0, 6.0),
    "patch": (0.02, 0.1),
}
CLAIMS = {"robust-accuracy", "smoothed-accuracy"}
ON_PICTURES = [entry.id for entry in CHECKS if CLAIMS & {*entry.feeds} and entry.id != "evasion.text"]
"""Checks that speak of norms; texts have edits instead."""
SEED = 1404
LISTS = ("rows", "correct", "attacked", "broken", "bounded", "certified", "undecided", "abstained", "sampled")

under_every_norm = pytest.mark.parametrize(("check_id", "norm"), [*itertools.product(ON_PICTURES, EPS)])


@pytest.fixture(scope="module")
def attempt(picture_subjects):
    """Run one check under one norm: reason or evidence, meter, model, subjects."""

    def run(check_id, norm, budget=None):
        check = load_check(check_entry(check_id))(
            Settings(limit=6, norms=(norm,), eps=EPS[norm], preset="quick")
        )
        subjects = picture_subjects(check_id)
        reason = check.declines(subjects)
        subjects.model.asked = subjects.model.forwarded = 0
        meter = Meter(budget or Budget())
        evidence = [] if reason else list(check.run(subjects, budget=meter, seed=SEED))
        return SimpleNamespace(
            reason=reason, evidence=evidence, meter=meter, model=subjects.model, subjects=subjects
        )

    return run


@pytest.fixture(scope="module")
def done(attempt):
    """The unlimited run of a check under a norm, made once."""
    return cache(attempt)


def size(change, norm):
    """Of one picture's change, (1, 8, 8), in a box of width 1."""
    moved = change.reshape(8, 8)
    if norm == "linf":
        return np.abs(moved).max()
    if norm == "l2":
        return np.sqrt((moved.astype(np.float64) ** 2).sum())
    if norm == "l1":
        return np.abs(moved).astype(np.float64).sum()
    if norm == "l0":
        return np.count_nonzero(moved)
    rows, columns = np.nonzero(moved)
    return max(np.ptp(rows) + 1, np.ptp(columns) + 1) ** 2 / 64


@under_every_norm
def test_every_norm_is_measured_or_declined_with_a_sentence(done, check_id, norm):
    result = done(check_id, norm)
    if result.reason is not None:
        assert 10 < len(result.reason) < 300
        assert "\n" not in result.reason
        assert result.evidence == []
        assert norm != "linf" or check_id == "evasion.smoothing"
        return
    assert [item.parameters["eps"] for item in result.evidence] == [*EPS[norm]]
    for item in result.evidence:
        canonical(to_json(item))
        assert item.parameters["norm"] == norm
        assert {"unit", "box", "limit"} <= set(item.parameters)
        assert item.cut is None
    assert result.meter.cost.queries >= 6


@under_every_norm
def test_outcomes_list_points_consistently(done, check_id, norm):
    for item in done(check_id, norm).evidence:
        outcome = item.outcome
        lists = {name: outcome[name] for name in LISTS if name in outcome}
        assert all(len(set(rows)) == len(rows) for rows in lists.values())
        points = {name: set(rows) for name, rows in lists.items()}
        assert len(points["rows"]) == item.n == 6
        assert all(rows <= points["rows"] for rows in points.values())
        assert points.get("broken", set()) <= points.get("attacked", set()) <= points["correct"]
        assert points.get("certified", set()) <= points["correct"]
        assert not points.get("certified", set()) & points.get("broken", set())
        sizes = outcome.get("sizes", [])
        assert len(sizes) == len(outcome.get("broken", []))
        assert all(0 < one <= item.parameters["eps"] for one in sizes)
        if "proofs" in outcome:
            proved = [row for rows in outcome["proofs"].values() for row in rows]
            assert sorted(proved) == sorted(outcome["certified"])


@under_every_norm
def test_what_falls_within_a_ball_falls_within_the_larger_one(done, check_id, norm):
    found = [item.outcome for item in done(check_id, norm).evidence]
    for small, large in itertools.pairwise(found):
        assert set(small.get("broken", [])) <= set(large.get("broken", []))
        assert not set(small.get("broken", [])) & set(large.get("certified", []))


@under_every_norm
def test_every_broken_point_has_a_witness_that_holds_by_the_definitions(done, check_id, norm):
    result = done(check_id, norm)
    data = result.subjects.data
    for item in result.evidence:
        broken = item.outcome.get("broken", [])
        assert ("witnesses" in item.attachments) == bool(broken)
        if not broken:
            continue
        stored = result.subjects.attachments.held[item.attachments["witnesses"]]
        assert stored["index"].tolist() == broken
        assert stored["x"].dtype == data.x.dtype
        for row, x, original, label, prediction in zip(
            *(stored[name] for name in ("index", "x", "original", "label", "prediction")), strict=True
        ):
            assert np.array_equal(original, data.x[row])
            assert label == data.y[row]
            assert x.min() >= 0
            assert x.max() <= 1
            assert size(x.astype(np.float64) - original, norm) <= item.parameters["eps"]
            assert result.model.answer(original[None])[0].argmax() == label
            assert result.model.answer(x[None])[0].argmax() == prediction != label


@under_every_norm
def test_the_same_seed_gives_the_same_evidence(attempt, done, timeless, check_id, norm):
    first, again = done(check_id, norm), attempt(check_id, norm)
    assert [timeless(item) for item in first.evidence] == [timeless(item) for item in again.evidence]


@under_every_norm
@pytest.mark.parametrize(("unit", "limit"), [("queries", 40), ("passes", 60)])
def test_no_budget_is_overrun_and_everything_is_counted(attempt, check_id, norm, unit, limit):
    result = attempt(check_id, norm, Budget(**{unit: limit}))
    cost = result.meter.cost
    assert {"queries": cost.queries, "passes": cost.forward + cost.backward}[unit] <= limit
    assert result.model.asked <= cost.queries
    assert result.model.forwarded <= cost.forward
    assert sum(item.cost.queries for item in result.evidence) == cost.queries
    assert all(item.n in {0, 6} or item.cut for item in result.evidence)


@pytest.mark.parametrize("norm", EPS)
def test_attacks_find_something_at_the_larger_radius(done, norm):
    results = [done(check_id, norm) for check_id in ("evasion.gradient", "evasion.query", "evasion.trees")]
    measured = [result for result in results if result.reason is None]
    assert len(measured) >= 2
    assert all(result.evidence[-1].outcome["broken"] for result in measured)


def edits(left, right):
    """Insertions, deletions, substitutions and swaps of neighbours, by the whole table."""
    table = np.add.outer(np.arange(len(left) + 1), np.arange(len(right) + 1))
    for i, j in itertools.product(range(1, len(left) + 1), range(1, len(right) + 1)):
        ways = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (left[i - 1] != right[j - 1])]
        if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
            ways.append(table[i - 2, j - 2] + 1)
        table[i, j] = min(ways)
    return table[-1, -1]


def test_witnesses_of_texts_hold_by_the_definitions(whole):
    result = whole("evasion.text")
    data = result.subjects.data
    assert result.evidence[-1].outcome["broken"]
    for item in result.evidence:
        stored = result.subjects.attachments.held[item.attachments["witnesses"]]
        assert stored["index"].tolist() == item.outcome["broken"]
        for row, x, original, label, prediction, size in zip(
            *(stored[name] for name in ("index", "x", "original", "label", "prediction")),
            item.outcome["sizes"],
            strict=True,
        ):
            assert original == data.x[row]
            assert label == data.y[row]
            assert item.parameters["norm"] == "edits"
            assert edits(str(original), str(x)) / len(original) == pytest.approx(size)
            assert 0 < size <= item.parameters["eps"]
            answers = [result.model.answer([str(text)])[0].argmax() for text in (original, x)]
            assert answers == [label, prediction]
            assert label != prediction
