"""From stored outcomes to claims, without any model: known answers, cuts, and outcomes that say nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.evidence import Cost, Evidence
from modelward.numeric.proportion import clopper_pearson
from modelward.threats.evasion.corruption.judge import judge_corruption_accuracy, judge_motion_accuracy

N = 20


def corrupted(counts, *, name="fog", clean=16, n=N, cut=None, confidence=0.95):
    outcome = {
        "rows": list(range(n)),
        "correct": list(range(clean)),
        "right": [list(range(c)) for c in counts],
    }
    return item({"corruption": name, "levels": [1, 2, 3, 4, 5], "confidence": confidence}, outcome, n, cut)


def moved(broken, *, name="turns", correct=16, attacked=None, n=N, cut=None, degrees=30.0, shift=0.0):
    tried = range(correct) if attacked is None else attacked
    outcome = {
        "rows": list(range(n)),
        "correct": list(range(correct)),
        "attacked": list(tried),
        "broken": broken,
    }
    return item({"motion": name, "degrees": degrees, "shift": shift, "confidence": 0.95}, outcome, n, cut)


def item(parameters, outcome, n, cut):
    return Evidence(
        check="evasion.corruption", version=1, parameters=parameters, n=n, seed=1, outcome=outcome, cut=cut,
        unit="points answered right", cost=Cost(seconds=1.0, queries=5), subjects={"model": "sha256:m"},
    )  # fmt: skip


def test_the_worst_severity_is_the_claim_and_not_the_last():
    (claim,) = judge_corruption_accuracy([corrupted([16, 4, 9, 12, 13])]).claims
    assert claim.value == 4 / N
    assert (claim.interval.lower, claim.interval.upper) == clopper_pearson(4, N, 0.95)
    assert claim.statement == (
        "Under fog of severity 2, the worst of 5, the model gets 4 of 20 points right; 16 are right unchanged."
    )
    assert claim.scope == {"corruption": "fog", "levels": [1, 2, 3, 4, 5]}


def test_of_equal_severities_the_mildest_is_named():
    (claim,) = judge_corruption_accuracy([corrupted([9, 3, 7, 3, 3])]).claims
    assert "severity 2, the worst" in claim.statement


@pytest.mark.parametrize("measured", [0, 1, 2, 3, 4])
def test_a_cut_says_how_far_it_came(measured):
    found = judge_corruption_accuracy([corrupted([12] * measured, cut="queries")])
    (claim,) = found.claims
    assert claim.note.endswith(f"cut short (queries) after {measured} of 5 severities")
    assert (claim.value is None) == (measured == 0) == (claim.interval is None)
    assert claim.note.count("severity ") == measured


def test_nothing_examined_is_no_number():
    (claim,) = judge_corruption_accuracy([corrupted([], n=0, clean=0, cut="queries")]).claims
    assert (claim.value, claim.interval, claim.n) == (None, None, 0)
    assert claim.statement == "No answer to fog was measured."


@pytest.mark.parametrize("right", [None, "all", 3, {}, [3, 4]])
def test_outcomes_that_are_no_lists_are_no_numbers(right):
    broken = item(
        {"corruption": "fog", "levels": [], "confidence": 0.9}, {"correct": [1], "right": right}, N, None
    )
    (claim,) = judge_corruption_accuracy([broken]).claims
    assert claim.value is None


@pytest.mark.parametrize(
    ("counts", "fires"),
    [
        ([16, 12, 8, 0, 0], True),  # half is lost at severity 3
        ([16, 12, 9, 0, 0], False),  # less than half at severity 3, whatever comes later
        ([0, 0, 9, 9, 9], False),
        ([16, 8], False),  # severity 3 was not measured
        ([16, 12, 8], True),
    ],
)
def test_much_harm_is_half_of_the_right_answers_at_severity_3(counts, fires):
    assert bool(judge_corruption_accuracy([corrupted(counts)]).findings) == fires


def test_a_model_that_is_never_right_has_nothing_to_lose():
    assert judge_corruption_accuracy([corrupted([0] * 5, clean=0)]).findings == ()


def test_one_finding_names_all_that_defeat_the_model_and_only_those():
    items = [
        corrupted([8] * 5, name="fog"),
        corrupted([16] * 5, name="jpeg"),
        corrupted([2] * 5, name="contrast"),
    ]
    (finding,) = judge_corruption_accuracy(items).findings
    assert finding.message.endswith("at most half as many: contrast 10.0%, fog 40.0%.")
    assert finding.evidence == (items[2].digest, items[0].digest)
    assert "80.0% right unchanged" in finding.message


def test_order_of_evidence_does_not_matter():
    items = [corrupted([c] * 5, name=name) for c, name in ((8, "fog"), (3, "jpeg"), (12, "contrast"))]
    assert judge_corruption_accuracy(items) == judge_corruption_accuracy(items[::-1])
    names = [claim.scope["corruption"] for claim in judge_corruption_accuracy(items).claims]
    assert names == sorted(names)


def test_each_judge_reads_its_own_evidence_only():
    both = [corrupted([8] * 5), moved([1])]
    assert len(judge_corruption_accuracy(both).claims) == len(judge_motion_accuracy(both).claims) == 1
    assert judge_corruption_accuracy([]).claims == judge_motion_accuracy([]).claims == ()
    assert judge_motion_accuracy(both).findings == ()


def test_motions_bound_from_above_and_never_from_below():
    (claim,) = judge_motion_accuracy([moved([0, 1, 2, 3])]).claims
    assert (claim.bracket.lower, claim.bracket.upper) == (None, 12 / N)
    assert claim.value is None
    assert claim.statement == (
        "Under all turns of at most 30 degrees that were tried, 60.0% of 20 points stay right."
    )
    assert "no proof was attempted" in claim.note


@pytest.mark.parametrize(
    ("degrees", "shift", "words"),
    [
        (30.0, 0.0, "30 degrees"),
        (0.0, 0.1, "10% of each side"),
        (15.0, 0.25, "15 degrees and 25% of each side"),
    ],
)
def test_limits_are_said(degrees, shift, words):
    (claim,) = judge_motion_accuracy([moved([], degrees=degrees, shift=shift)]).claims
    assert f"of at most {words} that" in claim.statement
    assert (claim.scope["degrees"], claim.scope["shift"]) == (degrees, shift)


def test_points_that_were_not_tried_are_said():
    (claim,) = judge_motion_accuracy([moved([1], attacked=[0, 1, 2], cut="seconds")]).claims
    assert claim.note.startswith("cut short (seconds): 3 of 16 points were tried; ")


def test_no_points_are_no_bracket():
    (claim,) = judge_motion_accuracy([moved([], n=0, correct=0, cut="queries")]).claims
    assert (claim.bracket.lower, claim.bracket.upper) == (None, None)
    assert "no point was examined" in claim.statement


@given(
    st.lists(st.integers(0, N), min_size=1, max_size=5), st.integers(0, N), st.sampled_from([0.8, 0.95, 0.99])
)
def test_claims_hold_their_value_and_widen_with_confidence(counts, clean, confidence):
    (claim,) = judge_corruption_accuracy([corrupted(counts, clean=clean, confidence=confidence)]).claims
    assert claim.value == min(counts) / N
    assert claim.interval.lower <= claim.value <= claim.interval.upper
    (wider,) = judge_corruption_accuracy([corrupted(counts, clean=clean, confidence=0.999)]).claims
    assert wider.interval.upper - wider.interval.lower >= claim.interval.upper - claim.interval.lower


@given(st.integers(0, N), st.data())
def test_only_points_that_were_right_can_fall(correct, data):
    broken = data.draw(st.lists(st.integers(0, N - 1), unique=True, max_size=N))
    (claim,) = judge_motion_accuracy([moved(sorted(broken), correct=correct)]).claims
    assert claim.bracket.upper == pytest.approx(len(set(range(correct)) - set(broken)) / N)
