from fractions import Fraction
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelward.errors import InputError
from modelward.numeric.proportion import clopper_pearson, score_interval, wilson, z_score

METHODS = [wilson, clopper_pearson]
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [  # Newcombe (1998), Stat. Med. 17, Table I, method 3 (score without continuity correction)
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_known_answers(k, n, expected):
    assert wilson(k, n, 0.95) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [  # same table, method 5 (Clopper-Pearson)
        (81, 263, (0.2527, 0.3676)),
        (15, 148, (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1684)),
        (1, 29, (0.0009, 0.1776)),
    ],
)
def test_clopper_pearson_known_answers(k, n, expected):
    assert clopper_pearson(k, n, 0.95) == pytest.approx(expected, abs=5e-5)


def test_rule_of_three():
    # No event in n trials: the one-sided 95 % upper bound is 1 - 0.05 ** (1 / n), about 3 / n.
    assert clopper_pearson(0, 1000, 0.95, side="upper") == pytest.approx(
        (0.0, 1 - 0.05 ** (1 / 1000)), rel=1e-12
    )


@given(counts, levels)
def test_clopper_pearson_ends_solve_the_tail_equations_in_exact_arithmetic(case, confidence):
    k, n = case
    lower, upper = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2

    def at_most(j, p):
        share = Fraction(p)
        return float(sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(j + 1)))

    if k > 0 and n <= 60:
        assert 1 - at_most(k - 1, lower) == pytest.approx(tail, rel=1e-6)
    if k < n <= 60:
        assert at_most(k, upper) == pytest.approx(tail, rel=1e-6)
    reference = stats.binomtest(k, n).proportion_ci(confidence, "exact")
    assert (lower, upper) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_wilson_against_the_quadratic_in_fifty_digits():
    with mpmath.workdps(50):
        z = mpmath.sqrt(2) * mpmath.erfinv(mpmath.mpf("0.99"))
        p, n = mpmath.mpf(7) / 1_000_003, 1_000_003
        roots = mpmath.polyroots([1 + z**2 / n, -(2 * p + z**2 / n), p**2])
        expected = sorted(float(mpmath.re(r)) for r in roots)
    assert wilson(7, 1_000_003, 0.99) == pytest.approx(expected, rel=1e-9)


@given(counts, levels)
def test_wilson_matches_scipy(case, confidence):
    reference = stats.binomtest(*case).proportion_ci(confidence, "wilson")
    assert wilson(*case, confidence) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize("n", [5, 20, 50])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_clopper_pearson_coverage_is_exactly_at_least_nominal(n, confidence):
    k = np.arange(n + 1)
    for side in ("two", "lower", "upper"):
        lower, upper = clopper_pearson(k, n, confidence, side=side)
        for p in np.linspace(0.001, 0.999, 333):
            covered = stats.binom.pmf(k, n, p)[(lower <= p) & (p <= upper)].sum()
            assert covered >= confidence - 1e-12


def test_wilson_mean_coverage_is_near_nominal():
    # Brown, Cai and DasGupta (2001), section 3.1.1: the mean coverage over p is close to nominal for n = 40.
    k = np.arange(41)
    lower, upper = wilson(k, 40, 0.95)
    grid = (np.arange(2000) + 0.5) / 2000
    covered = [stats.binom.pmf(k, 40, p)[(lower <= p) & (p <= upper)].sum() for p in grid]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("method", METHODS)
@given(case=counts, confidence=levels)
def test_symmetry_containment_and_order(method, case, confidence):
    k, n = case
    lower, upper = method(k, n, confidence)
    assert 0 <= lower <= k / n <= upper <= 1
    mirrored = method(n - k, n, confidence)
    assert (1 - upper, 1 - lower) == pytest.approx(mirrored, abs=1e-9)
    wider = method(k, n, 1 - (1 - confidence) / 2)
    assert wider[0] <= lower
    assert wider[1] >= upper
    if k < n:
        above = method(k + 1, n, confidence)
        assert above[0] >= lower
        assert above[1] >= upper


@pytest.mark.parametrize("method", METHODS)
@given(case=counts, confidence=levels)
def test_one_sided_ends_are_the_two_sided_ends_at_twice_the_error(method, case, confidence):
    two = method(*case, confidence)
    half = (1 + confidence) / 2
    assert method(*case, half, side="lower") == pytest.approx((two[0], 1.0), abs=1e-9)
    assert method(*case, half, side="upper") == pytest.approx((0.0, two[1]), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_ends_at_no_and_all_successes(method):
    assert method(0, 10, 0.95)[0] == 0.0
    assert method(10, 10, 0.95)[1] == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", ["two", "lower", "upper"])
def test_without_trials_nothing_is_known(method, side):
    assert method(0, 0, 0.95, side=side) == (0.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_give_the_scalar_answers(method):
    k, n = np.array([[0, 1, 5], [3, 0, 7]]), np.array([5, 9, 7])
    lower, upper = method(k, n, 0.9)
    assert lower.shape == (2, 3)
    for index in np.ndindex(2, 3):
        assert (lower[index], upper[index]) == method(int(k[index]), int(n[index[1]]), 0.9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (1, -1), (1.5, 5), (1, 2.5), (float("nan"), 5)])
def test_impossible_counts_are_refused(method, k, n):
    with pytest.raises(InputError, match="whole numbers"):
        method(k, n, 0.95)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 95.0, float("nan")])
def test_impossible_confidence_is_refused(method, confidence):
    with pytest.raises(InputError, match="not between 0 and 1"):
        method(1, 2, confidence)


def test_score_interval_takes_its_critical_value():
    assert wilson(3, 9, 0.9) == tuple(float(end) for end in score_interval(3, 9, z_score(0.9)))
    lower, upper = score_interval(3, 9, 0.0)
    assert (float(lower), float(upper)) == pytest.approx((1 / 3, 1 / 3))


def test_z_score_table_values():
    assert z_score(0.95) == pytest.approx(1.959963984540054, rel=1e-12)
    assert z_score(0.95, side="upper") == pytest.approx(1.6448536269514722, rel=1e-12)
