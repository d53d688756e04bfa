from itertools import product
from math import factorial, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelward.errors import InputError
from modelward.numeric.proportion import wilson
from modelward.numeric.simultaneous import _box_probability, goodman, sidak_level, sison_glaz

SISON_GLAZ_EXAMPLE_1 = [56, 72, 73, 59, 62, 87, 58]  # Sison and Glaz (1995), Example 1
tables = st.lists(st.integers(0, 60), min_size=1, max_size=6)


def test_sidak_reaches_the_joint_level_for_independent_intervals():
    level = sidak_level(0.95, 7)
    assert level == pytest.approx(0.9926991, abs=1e-7)  # 0.95 ** (1 / 7)
    assert level**7 == pytest.approx(0.95)
    assert sidak_level(0.9, 1) == 0.9


@given(st.floats(0.01, 0.999), st.integers(1, 10_000))
def test_sidak_lies_between_the_single_and_the_bonferroni_level(confidence, m):
    assert confidence <= sidak_level(confidence, m) <= 1 - (1 - confidence) / m + 1e-12


@pytest.mark.parametrize(("confidence", "m"), [(0.0, 2), (1.0, 2), (0.95, 0), (0.95, -3)])
def test_sidak_refuses_nonsense(confidence, m):
    with pytest.raises(InputError):
        sidak_level(confidence, m)


def test_goodman_known_answer():
    # Three decimals, as the documentation of DescTools::MultinomCI (R) tabulates Goodman's method for these counts.
    lower, upper = goodman(SISON_GLAZ_EXAMPLE_1, 0.95)
    assert lower == pytest.approx([0.085, 0.115, 0.116, 0.091, 0.096, 0.143, 0.089], abs=5.1e-4)
    assert upper == pytest.approx([0.166, 0.204, 0.207, 0.173, 0.181, 0.239, 0.171], abs=5.1e-4)


def test_goodman_is_wilson_at_the_bonferroni_level():
    lower, upper = goodman([20, 15, 25, 0], 0.9)
    expected = wilson([20, 15, 25, 0], 60, 1 - 0.1 / 4)
    assert (lower, upper) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_sison_glaz_known_answer():
    # Example 1 with the paper's Edgeworth series: output of R's MultinomialCI, as kept in the tests of statsmodels;
    # the exact box probability moves the upper ends by about 2e-5.
    lower, upper = sison_glaz(SISON_GLAZ_EXAMPLE_1, 0.95)
    assert lower == pytest.approx([0.07923, 0.11349, 0.11563, 0.08565, 0.09208, 0.14561, 0.08351], abs=1e-5)
    assert upper == pytest.approx([0.16434, 0.19860, 0.20074, 0.17076, 0.17718, 0.23072, 0.16862], abs=5e-5)


def test_sison_glaz_known_answer_for_many_sparse_cells():
    # Examples 2 and 3, same origin.
    lower, upper = sison_glaz([5] * 50, 0.95)
    assert lower == pytest.approx(np.zeros(50))
    assert upper == pytest.approx(np.full(50, 0.0530), abs=2e-4)
    lower, upper = sison_glaz([1] * 10 + [12] * 10 + [5] * 10 + [3] * 10 + [4] * 10, 0.95)
    assert lower[::10] == pytest.approx([0, 0.012, 0, 0, 0], abs=1e-12)
    assert upper[::10] == pytest.approx([0.0412, 0.0852, 0.0572, 0.0492, 0.0532], abs=2e-4)


def enumerate_box(cells, radius):
    total = sum(cells)
    ranges = [range(max(0, c - radius), min(total, c + radius) + 1) for c in cells]
    chance = 0.0
    for table in product(*ranges):
        if sum(table) == total:
            ways = factorial(total) // prod(factorial(v) for v in table)
            chance += ways * prod((c / total) ** v for c, v in zip(cells, table, strict=True))
    return chance


@pytest.mark.parametrize("cells", [(3, 4, 5), (1, 0, 9), (2, 2, 2, 6), (10,), (7, 0)])
@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_box_probability_against_full_enumeration(cells, radius):
    assert _box_probability(np.array(cells), radius) == pytest.approx(enumerate_box(cells, radius), abs=1e-12)


def test_box_probability_of_two_cells_is_binomial():
    expected = stats.binom.cdf(330, 1000, 0.3) - stats.binom.cdf(269, 1000, 0.3)
    assert _box_probability(np.array([300, 700]), 30) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", [goodman, sison_glaz])
def test_joint_coverage_by_simulation(method):
    shares, trials = np.array([0.4, 0.3, 0.2, 0.1]), 300
    rng = np.random.default_rng(8)
    tables = rng.multinomial(200, shares, size=trials)
    covered = 0
    for table in tables:
        lower, upper = method(table, 0.9)
        covered += bool(np.all((lower <= shares) & (shares <= upper)))
    # Four standard errors of a binomial share below nominal.
    assert covered / trials >= 0.9 - 4 * np.sqrt(0.9 * 0.1 / trials)


@pytest.mark.parametrize("method", [goodman, sison_glaz])
@given(table=tables, confidence=st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None, max_examples=60)
def test_contains_the_observed_shares_and_keeps_order(method, table, confidence):
    lower, upper = method(table, confidence)
    assert lower.shape == upper.shape == (len(table),)
    if sum(table) == 0:
        assert np.all(lower == 0)
        assert np.all(upper == 1)
        return
    share = np.array(table) / sum(table)
    assert np.all((lower >= 0) & (lower <= share + 1e-12) & (share <= upper + 1e-12) & (upper <= 1))
    back = method(table[::-1], confidence)
    assert back[0][::-1] == pytest.approx(lower, abs=1e-7)
    assert back[1][::-1] == pytest.approx(upper, abs=1e-7)


def test_large_tables_are_quick_and_finite():
    lower, upper = sison_glaz([300_000, 400_000, 300_000], 0.95)
    # Normal limit: the half width is about z sqrt(p (1 - p) / n) with a joint z between 1.96 and 2.5.
    assert np.all((upper - lower > 2 * 1.96 * 4.5e-4) & (upper - lower < 2 * 2.5 * 5e-4))


@pytest.mark.parametrize("counts", [[], [[1, 2]], [1.5, 2], [-1, 3]])
@pytest.mark.parametrize("method", [goodman, sison_glaz])
def test_bad_counts_are_refused(method, counts):
    with pytest.raises(InputError, match="multinomial counts"):
        method(counts, 0.95)


@pytest.mark.parametrize("method", [goodman, sison_glaz])
def test_bad_confidence_is_refused(method):
    with pytest.raises(InputError, match="not between"):
        method([1, 2], 1.5)
