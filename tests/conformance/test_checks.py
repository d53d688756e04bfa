"""What every check of the catalogue must do, whatever it measures."""

from __future__ import annotations

import itertools
import re

import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.canonical import canonical
from modelward.core.catalogue import CHECKS, CLAIMS, check_entry, load_check, load_judge
from modelward.core.check import Settings
from modelward.core.evidence import Evidence, to_json

IDS = [entry.id for entry in CHECKS]
every = pytest.mark.parametrize("check_id", IDS)

UNSUPPORTED = {
    "artifact.pickle": ["no model"],
    "quality": ["unknown label"],
    "evasion.gradient": ["unknown label", "no gradients", "texts"],
    "evasion.query": ["unknown label", "texts"],
    "evasion.certified": ["unknown label", "no gradients", "texts"],
    "evasion.smoothing": ["unknown label", "texts"],
    "evasion.trees": ["unknown label", "no trees", "texts"],
    "evasion.corruption": ["unknown label", "texts"],
    "evasion.cost": ["no rows"],
    "evasion.profiles": ["equal ratings"],
    "leakage.membership": ["unknown label", "same rows", "texts"],
    "bias.groups": ["unknown label", "texts"],
    "robustness.inputs": ["no probe"],
    "opacity.importance": ["unknown label", "texts"],
    "evasion.text": ["numbers"],
}


def test_the_list_of_unsupported_subjects_covers_the_catalogue():
    assert sorted(UNSUPPORTED) == sorted(IDS)


@every
def test_class_is_what_the_entry_says(check_id):
    check = load_check(check_entry(check_id))(Settings())
    assert check.id == check_id
    assert isinstance(check.version, int)
    assert check.version >= 1
    known = {claim.id for claim in CLAIMS}
    assert set(check_entry(check_id).feeds) <= known


@every
def test_measures_the_subjects_and_says_so(whole, check_id):
    result = whole(check_id)
    assert result.reason is None
    assert result.evidence
    for item in result.evidence:
        assert item.check == check_id
        assert item.version == load_check(check_entry(check_id)).version
        assert item.n >= 1
        assert item.seed == 20_240_229
        assert item.unit
        assert item.cut is None
        assert set(item.subjects.values()) <= set(result.subjects.digests().values())
        assert item.subjects == {role: result.subjects.digests()[role] for role in item.subjects}


@every
def test_measures_images_too(picture_subjects, check_id):
    check = load_check(check_entry(check_id))(Settings(limit=8, eps=(0.02,)))
    subjects = picture_subjects(check_id)
    assert check.declines(subjects) is None
    meter = Meter()
    evidence = list(check.run(subjects, budget=meter, seed=1))
    assert evidence
    for item in evidence:
        canonical(to_json(item))
        assert item.n >= 1
        assert item.cut is None
    for claim in (claim for claim in CLAIMS if claim.id in check_entry(check_id).feeds):
        assert load_judge(claim)(evidence).claims


@every
def test_evidence_is_canonical_and_survives_a_round_trip(whole, check_id):
    import msgspec

    for item in whole(check_id).evidence:
        encoded = canonical(to_json(item))
        assert msgspec.json.decode(encoded, type=Evidence).digest == item.digest
        assert len(encoded) < 1_000_000


@every
def test_attachments_are_stored_under_their_digest(whole, check_id):
    result = whole(check_id)
    for item in result.evidence:
        assert set(item.attachments.values()) <= set(result.subjects.attachments.held)


@every
def test_same_seed_same_evidence(measure, whole, timeless, check_id):
    first, again = whole(check_id), measure(check_id)
    assert [timeless(item) for item in first.evidence] == [timeless(item) for item in again.evidence]


@every
def test_seed_is_passed_through(measure, check_id):
    assert {item.seed for item in measure(check_id, seed=7).evidence} == {7}


@every
def test_inputs_are_never_changed(whole, check_id):
    assert whole(check_id).untouched


@every
def test_costs_add_up_to_what_was_booked(whole, check_id):
    result = whole(check_id)
    for kind in ("forward", "backward", "queries"):
        total = sum(getattr(item.cost, kind) for item in result.evidence)
        assert total == getattr(result.meter.cost, kind)


@every
def test_everything_asked_was_booked(whole, check_id):
    result = whole(check_id)
    assert result.asked_by_declines == 0
    assert result.model.asked <= result.meter.cost.queries
    assert result.model.forwarded <= result.meter.cost.forward


@every
@pytest.mark.parametrize(
    ("unit", "limit"), [(unit, limit) for unit in ("queries", "passes") for limit in (1, 10, 100, 1000)]
)
def test_budget_is_kept_and_a_cut_is_said(measure, whole, check_id, unit, limit):
    result = measure(check_id, budget=Budget(**{unit: limit}))
    cost = result.meter.cost
    spent = {"queries": cost.queries, "passes": cost.forward + cost.backward}[unit]
    assert spent <= limit
    assert result.model.asked <= cost.queries
    assert result.model.forwarded <= cost.forward
    needed = whole(check_id).meter.cost
    if {"queries": needed.queries, "passes": needed.forward + needed.backward}[unit] > limit:
        assert result.meter.cut == unit or any(item.cut == unit for item in result.evidence)
        assert not result.evidence or any(item.cut for item in result.evidence)
    for item in result.evidence:
        assert item.n >= 1 or item.cut is not None


@every
def test_no_time_no_question(measure, check_id):
    times = itertools.chain([0.0], itertools.repeat(100.0))
    result = measure(check_id, budget=Budget(seconds=1.0), clock=lambda: next(times))
    assert result.model.asked == result.model.forwarded == 0
    assert result.meter.cut == "seconds"
    assert all(item.n == 0 and item.cut == "seconds" for item in result.evidence)


@pytest.mark.parametrize(("check_id", "subject"), [(c, s) for c, found in UNSUPPORTED.items() for s in found])
def test_declines_with_a_sentence(make_subjects, unsupported, check_id, subject):
    subjects = make_subjects(**unsupported[subject])
    reason = load_check(check_entry(check_id))(Settings()).declines(subjects)
    assert reason is not None
    assert 10 < len(reason) < 300
    assert "\n" not in reason
    assert not re.search(r"Error|Traceback|0x", reason)
    assert subjects.model.asked == 0
