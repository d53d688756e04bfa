from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelward.threats.evasion.smoothing.certify import Sampling, certified


def sampling(sigma=0.5, alpha=0.001, select=10, estimate=100):
    return Sampling(sigma=sigma, select=select, estimate=estimate, alpha=alpha)


def test_all_answers_alike_give_the_radius_of_the_paper():
    """With k = n the one-sided Clopper-Pearson bound is alpha^(1/n)."""
    found = certified(np.full(100, 3), np.full(1000, 3), sampling(alpha=0.001, estimate=1000))
    assert found.decision == 3
    assert found.radius == pytest.approx(0.5 * stats.norm.ppf(0.001 ** (1 / 1000)), rel=1e-8)
    assert found.radius <= 0.5 * stats.norm.ppf(0.001 ** (1 / 1000))


@given(k=st.integers(0, 300), alpha=st.sampled_from([0.1, 0.01, 0.001]), sigma=st.floats(0.01, 10))
def test_radius_is_that_of_the_binomial_tail(k, alpha, sigma):
    """The bound p is where k or more successes of 300 have probability alpha."""
    counted = np.array([1] * k + [0] * (300 - k))
    found = certified(np.ones(10, np.int64), counted, sampling(sigma=sigma, alpha=alpha, estimate=300))
    if found.decision == -1:
        assert found.radius == 0
        assert k == 0 or stats.binom.sf(k - 1, 300, 0.5) >= alpha * (1 - 1e-9)
    else:
        p = stats.norm.cdf(found.radius / sigma)
        assert stats.binom.sf(k - 1, 300, p) <= alpha * (1 + 1e-6)
        assert stats.binom.sf(k - 1, 300, 0.5) < alpha


def test_abstains_where_no_class_has_a_majority_and_where_nothing_answers():
    half = np.array([0, 1] * 50)
    assert certified(half, half, sampling()).decision == -1
    assert certified(np.full(10, -1), np.full(100, -1), sampling()).decision == -1
    assert certified(np.zeros(10, np.int64), np.full(100, -1), sampling()).decision == -1


def test_the_class_is_chosen_from_the_first_answers_only():
    found = certified(np.zeros(10, np.int64), np.ones(100, np.int64), sampling())
    assert found.decision == -1


def test_false_certificates_are_as_rare_as_promised():
    """f answers 1 for x > 0: at distance d the true radius is d, and too large a one has probability alpha."""
    random = np.random.default_rng(0)
    wrong, rounds, alpha, d = 0, 2000, 0.05, 0.4
    for _ in range(rounds):
        answers = (d + random.standard_normal(110) > 0).astype(np.int64)
        found = certified(answers[:10], answers[10:], sampling(sigma=1.0, alpha=alpha))
        wrong += found.decision == 1 and found.radius > d
    assert wrong <= alpha * rounds + 3 * math.sqrt(alpha * rounds)
    assert wrong > 0  # or the bound is so loose that this says nothing
