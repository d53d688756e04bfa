"""From measured pairs to claims and findings, without a clock."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from modelward.core.evidence import Cost, Evidence
from modelward.threats.evasion.cost.judge import judge_cost_inflation
from modelward.threats.evasion.cost.timing import interleaved, ratio

PLAIN = [[1.0, 1.0], [1.02, 1.0], [1.0, 1.02]] * 10


def item(measure, outcome, *, n=8, cut=None, confidence=0.95):
    return Evidence(
        check="evasion.cost",
        version=1,
        parameters={
            "measure": measure,
            "confidence": confidence,
            "evaluations": 100,
            "repeats": 3,
            "pairs": 30,
        },
        n=n,
        seed=1,
        outcome=outcome,
        unit="seconds per call",
        cost=Cost(seconds=1.0, queries=5),
        subjects={"model": "sha256:m"},
        cut=cut,
    )


def timed(dear, plain=PLAIN, **more):
    return item("time", {"timing": {"dear": dear, "plain": plain}}, **more)


def dense(before, after, **more):
    return item("activations", {"rows": list(range(len(before))), "before": before, "after": after}, **more)


def only(evidence):
    judged = judge_cost_inflation([evidence])
    (claim,) = judged.claims
    return claim, judged.findings


def test_a_clear_ratio_has_its_median_interval_and_finding():
    claim, (finding,) = only(timed([[3.0 + i / 100, 1.0] for i in range(30)]))
    assert claim.value == pytest.approx(3.145)
    assert 3.0 <= claim.interval.lower < claim.value < claim.interval.upper <= 3.29
    assert claim.statement == "An input was found whose call takes 3.15 times as long as ordinary ones."
    assert claim.better == "lower"
    assert finding.rule == "evasion.sponge"
    assert claim.statement in finding.message


@pytest.mark.parametrize(("factor", "fires"), [(1.5, False), (1.99, False), (2.0, True), (50.0, True)])
def test_findings_begin_where_the_whole_interval_is_twice_as_long(factor, fires):
    claim, findings = only(timed([[factor, 1.0]] * 30))
    assert claim.value == pytest.approx(factor)
    assert bool(findings) == fires


def test_what_noise_explains_is_no_number():
    noisy = [[2.0, 1.0], [1.0, 2.0]] * 15
    claim, findings = only(timed([[1.8, 1.0]] * 30, noisy))
    assert (claim.value, claim.interval, findings) == (None, None, ())
    assert "noise" in claim.statement
    assert "median 1.8 [1.8, 1.8] of 30 pairs" in claim.note


def test_inputs_that_are_cheaper_are_no_claim():
    claim, findings = only(timed([[0.5, 1.0]] * 30, [[0.3, 1.0]] * 30))
    assert (claim.value, findings) == (None, ())


def test_too_few_pairs_tell_nothing_apart():
    """Of three pairs no interval at 95 % exists: the lower end is 0 and lies below any noise."""
    claim, findings = only(timed([[9.0, 1.0]] * 3))
    assert (claim.value, claim.interval, findings) == (None, None, ())
    assert "unknown" in claim.note


@pytest.mark.parametrize(
    "timing",
    [None, {}, [], {"dear": []}, {"dear": [[2.0, 1.0]] * 30}, {"dear": [[2.0]] * 9, "plain": [[1.0]] * 9},
     {"dear": [[2.0, 0.0]] * 30, "plain": PLAIN}, {"dear": "x", "plain": "y"}, {"dear": [None], "plain": [3]}],
)  # fmt: skip
def test_outcomes_without_pairs_are_not_measured(timing):
    claim, findings = only(item("time", {"timing": timing}))
    assert (claim.value, findings) == (None, ())
    assert claim.note == "nothing was compared"
    assert "was not measured" in claim.statement


def test_a_cut_is_said():
    claim, _ = only(item("time", {"timing": {}}, n=0, cut="queries"))
    assert claim.note == "cut short (queries) before anything was compared"


def test_shares_of_activations_are_means_and_the_value_is_a_median_of_ratios():
    claim, findings = only(dense([0.2, 0.25, 0.5, 0.4], [0.4, 0.5, 0.5, 0.6]))
    assert claim.value == pytest.approx(np.median([2, 2, 1, 1.5]))
    assert claim.statement == "Changed inputs keep 50.0% of the activations from zero, ordinary ones 33.8%."
    assert findings == ()  # energy depends on the hardware, so this alone is no finding
    assert claim.interval is None  # four inputs are too few for one


def test_inputs_without_an_activation_have_no_ratio():
    claim, _ = only(dense([0.0, 0.5], [0.5, 0.75]))
    assert claim.value == pytest.approx(1.5)
    nothing, _ = only(dense([0.0, 0.0], [0.5, 0.5]))
    assert nothing.value is None
    assert "was not measured" in nothing.statement
    empty, _ = only(item("activations", {}, n=0, cut="passes"))
    assert empty.value is None


def test_every_measure_has_its_claim_in_a_fixed_order():
    items = [timed([[3.0, 1.0]] * 30), dense([0.5], [0.75])]
    one, two = (judge_cost_inflation(order) for order in (items, items[::-1]))
    assert one == two
    assert [claim.scope["measure"] for claim in one.claims] == ["activations", "time"]
    assert judge_cost_inflation([]).claims == ()


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=80), st.floats(0.5, 0.999))
def test_intervals_of_medians_are_those_of_the_sign_test(values, confidence):
    """An end is where the two-sided sign test first keeps the median: the widest rejected ranks are outside."""
    found, ordered = ratio(values, confidence), sorted(values)
    assert found.lower <= found.value <= found.upper
    if math.isfinite(found.upper):
        ranks = range(1, len(ordered) // 2 + 1)
        kept = [r for r in ranks if binomtest(r - 1, len(ordered), 0.5).pvalue <= 1 - confidence + 1e-12]
        assert found.lower == ordered[max(kept) - 1]
        assert found.upper == ordered[len(ordered) - max(kept)]
    else:
        assert found.lower == 0
        assert 0.5 ** len(ordered) * 2 > 1 - confidence - 1e-9


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.floats(0.1, 10))
def test_medians_scale_and_do_not_depend_on_order(values, factor):
    one, two = ratio(values, 0.9), ratio([factor * v for v in reversed(values)], 0.9)
    assert two.value == pytest.approx(factor * one.value)
    assert two.lower == pytest.approx(factor * one.lower)
    assert two.upper == pytest.approx(factor * one.upper)


def test_more_confidence_is_never_narrower():
    values = np.random.default_rng(0).lognormal(0, 1, 60)
    found = [ratio(values, level) for level in (0.5, 0.8, 0.95, 0.99, 0.999)]
    assert [r.lower for r in found] == sorted((r.lower for r in found), reverse=True)
    assert [r.upper for r in found] == sorted(r.upper for r in found)


def test_pairs_are_measured_back_to_back():
    calls = []
    first = [lambda i=i: calls.append(("a", i)) or 1.0 for i in range(4)]
    second = [lambda i=i: calls.append(("b", i)) or 2.0 for i in range(4)]
    one, two = interleaved(first, second)
    assert calls == [(w, i) for i in range(4) for w in ("ab" if i % 2 == 0 else "ba")]
    assert (one.tolist(), two.tolist()) == ([1.0] * 4, [2.0] * 4)
    with pytest.raises(ValueError, match="zip"):
        interleaved(first, second[:2])
