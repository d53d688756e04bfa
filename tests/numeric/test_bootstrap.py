import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelward.errors import InputError
from modelward.numeric import bootstrap
from modelward.numeric.bootstrap import (
    bca_interval,
    count_bootstrap,
    max_critical,
    percentile_interval,
    row_bootstrap,
    simultaneous_bootstrap,
)

# Efron and Tibshirani (1993), Table 14.1: the "A" values of the spatial test data of 26 children.
SPATIAL = [
    48,
    36,
    20,
    29,
    42,
    42,
    20,
    42,
    22,
    41,
    45,
    14,
    6,
    0,
    33,
    28,
    34,
    4,
    32,
    24,
    47,
    41,
    24,
    26,
    30,
    41,
]


def variance(samples):
    return samples[..., 0].var(axis=1, keepdims=True)


def mean(samples):
    return samples.mean(axis=1)


def test_percentile_and_bca_known_answers():
    # Efron and Tibshirani (1993), chapter 14: 90 % intervals of the plug-in variance 171.5 are
    # percentile (100.8, 233.9) and BCa (115.8, 259.6), each from 2000 draws, so with Monte-Carlo error of a few units.
    assert variance(np.array(SPATIAL, float)[None, :, None])[0, 0] == pytest.approx(171.5, abs=0.05)
    lower, upper = percentile_interval(row_bootstrap(SPATIAL, variance, draws=20_000, seed=1), 0.9)
    assert (lower[0], upper[0]) == (pytest.approx(100.8, abs=5), pytest.approx(233.9, abs=5))
    lower, upper = bca_interval(SPATIAL, variance, 0.9, draws=20_000, seed=1)
    assert (lower[0], upper[0]) == (pytest.approx(115.8, abs=5), pytest.approx(259.6, abs=5))


def test_bca_acceleration_known_answer():
    # Efron and Tibshirani (1993), chapter 14: acceleration 0.061 for the same data.
    assert bootstrap._acceleration(np.array(SPATIAL, float)[:, None], variance) == pytest.approx(
        0.061, abs=5e-4
    )


def test_bca_matches_scipy():
    data = np.random.default_rng(5).exponential(size=60)
    lower, upper = bca_interval(data, mean, 0.95, draws=20_000, seed=2)
    reference = stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(3)
    )
    width = upper[0] - lower[0]
    assert lower[0] == pytest.approx(reference.confidence_interval.low, abs=0.03 * width)
    assert upper[0] == pytest.approx(reference.confidence_interval.high, abs=0.03 * width)


def test_grouped_jackknife_agrees_with_the_skewness_of_a_mean():
    # For a mean the acceleration is skewness / (6 sqrt(n)) (Efron 1987, section 6); here from 1000 groups of 5.
    data = np.random.default_rng(6).exponential(size=5000)
    expected = stats.skew(data) / (6 * np.sqrt(len(data)))
    assert bootstrap._acceleration(data[:, None], mean)[0] == pytest.approx(expected, abs=2e-3)


def test_bootstrap_variance_of_a_mean_is_the_plug_in_variance():
    data = np.random.default_rng(0).normal(size=(50, 2))
    draws = row_bootstrap(data, mean, draws=20_000, seed=4)
    assert draws.shape == (20_000, 2)
    # Relative standard error of a variance estimate from B draws is sqrt(2 / B) = 1 %.
    assert draws.var(axis=0) == pytest.approx(data.var(axis=0) / 50, rel=0.05)


def test_batches_do_not_change_the_draws(monkeypatch):
    data = np.random.default_rng(0).normal(size=(40, 3))
    counts = [3, 0, 9, 5]
    whole = row_bootstrap(data, mean, draws=50, seed=9), count_bootstrap(counts, np.asarray, draws=50, seed=9)
    monkeypatch.setattr(bootstrap, "_BATCH_NUMBERS", 300)
    parts = row_bootstrap(data, mean, draws=50, seed=9), count_bootstrap(counts, np.asarray, draws=50, seed=9)
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])
    assert not np.array_equal(whole[0], row_bootstrap(data, mean, draws=50, seed=10))


def test_samples_stay_bounded_in_memory():
    seen = []

    def watch(samples):
        seen.append(samples.size)
        return samples[:, :1, 0]

    row_bootstrap(np.zeros((100_000, 2)), watch, draws=45, seed=0)
    assert max(seen) <= bootstrap._BATCH_NUMBERS
    assert sum(seen) == 45 * 200_000


def test_count_bootstrap_is_the_row_bootstrap_of_the_expanded_table():
    counts = np.array([40, 10, 25, 0])
    rows = np.repeat(np.eye(4), counts, axis=0)
    by_count = count_bootstrap(counts, lambda t: t.astype(float), draws=20_000, seed=1)
    by_row = row_bootstrap(rows, lambda s: s.sum(axis=1), draws=20_000, seed=2)
    assert np.all(by_count.sum(axis=1) == 75)
    assert np.all(by_count[:, 3] == 0)
    share = counts / 75
    covariance = 75 * (np.diag(share) - np.outer(share, share))
    for draws in (by_count, by_row):
        # Five standard errors of a mean, and of a covariance, over 20 000 draws.
        assert draws.mean(axis=0) == pytest.approx(counts, abs=5 * np.sqrt(19 / 20_000))
        assert np.cov(draws.T, ddof=0) == pytest.approx(covariance, abs=5 * 19 * np.sqrt(2 / 20_000))


def test_max_critical_is_the_normal_value_for_one_statistic_and_sidak_for_independent_ones():
    rng = np.random.default_rng(0)
    assert max_critical(rng.normal(size=(40_000, 1)), 0.95) == pytest.approx(1.96, abs=0.03)
    sidak = stats.norm.ppf((1 + 0.95 ** (1 / 20)) / 2)
    assert max_critical(rng.normal(size=(40_000, 20)), 0.95) == pytest.approx(sidak, abs=0.05)


def test_max_critical_pays_nothing_for_copies_and_survives_undefined_replicates():
    pivots = np.random.default_rng(1).normal(size=(5000, 1))
    assert max_critical(np.repeat(pivots, 50, axis=1), 0.9) == max_critical(pivots, 0.9)
    holes = np.column_stack([pivots, np.full(5000, np.nan)])
    assert max_critical(holes, 0.9) == max_critical(pivots, 0.9)
    assert max_critical(np.zeros((10, 2)), 0.95) == pytest.approx(1.959964)


def test_simultaneous_intervals_of_independent_means():
    data = np.random.default_rng(3).normal(size=(400, 10)) * np.arange(1, 11)
    draws = row_bootstrap(data, mean, draws=4000, seed=3)
    lower, upper = simultaneous_bootstrap(data.mean(axis=0), draws, 0.95)
    sidak = stats.norm.ppf((1 + 0.95 ** (1 / 10)) / 2)
    assert (upper - lower) / 2 == pytest.approx(sidak * data.std(axis=0) / 20, rel=0.08)


def test_simultaneous_joint_coverage_by_simulation():
    rng = np.random.default_rng(11)
    root = np.linalg.cholesky(0.5 * np.eye(6) + 0.5)
    trials, covered = 250, 0
    for trial in range(trials):
        data = rng.normal(size=(80, 6)) @ root.T
        draws = row_bootstrap(data, mean, draws=300, seed=trial)
        lower, upper = simultaneous_bootstrap(data.mean(axis=0), draws, 0.9)
        covered += bool(np.all((lower <= 0) & (upper >= 0)))
    # Four standard errors around nominal; 0.02 is what studentising by 80 normal rows may lose.
    slack = 4 * np.sqrt(0.9 * 0.1 / trials)
    assert 0.88 - slack <= covered / trials <= 0.9 + slack


def test_a_statistic_without_variation_is_unknown_not_certain():
    draws = np.column_stack([np.random.default_rng(0).normal(size=500), np.full(500, 0.3)])
    lower, upper = simultaneous_bootstrap([0.0, 0.3], draws, 0.95)
    assert (lower[1], upper[1]) == (-np.inf, np.inf)
    assert np.isfinite([lower[0], upper[0]]).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_percentile_properties(values, seed):
    draws = row_bootstrap(values, mean, draws=60, seed=seed)
    slack = 1e-9 * max(map(abs, values))
    lower, upper = percentile_interval(draws, 0.9)
    assert min(values) - slack <= lower[0] <= upper[0] <= max(values) + slack
    inner = percentile_interval(draws, 0.5)
    assert lower[0] <= inner[0][0]
    assert inner[1][0] <= upper[0]


def test_bca_of_a_constant_is_that_constant():
    lower, upper = bca_interval(np.full(30, 2.0), mean, 0.95, draws=100, seed=0)
    assert (lower[0], upper[0]) == (2.0, 2.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: row_bootstrap([], mean, draws=5, seed=0),
        lambda: row_bootstrap(np.zeros((2, 2, 2)), mean, draws=5, seed=0),
        lambda: row_bootstrap([1.0], mean, draws=0, seed=0),
        lambda: count_bootstrap([0, 0], np.asarray, draws=5, seed=0),
        lambda: count_bootstrap([1, -1], np.asarray, draws=5, seed=0),
        lambda: count_bootstrap([1.0, float("nan")], np.asarray, draws=5, seed=0),
        lambda: percentile_interval(np.zeros((0, 1)), 0.9),
        lambda: percentile_interval([[1.0]], 1.0),
        lambda: bca_interval([1.0, 2.0], mean, 0.0, draws=5, seed=0),
        lambda: simultaneous_bootstrap([0.0], [[1.0]], 0.9),
        lambda: simultaneous_bootstrap([0.0, 1.0], np.zeros((5, 3)), 0.9),
        lambda: simultaneous_bootstrap([0.0], np.zeros((5, 1)), 2.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_percentiles_against_all_samples_of_three_rows():
    # All 27 samples of (0, 1, 5) with replacement are equally likely; 40 000 draws reproduce their quantiles.
    data = np.array([0.0, 1.0, 5.0])
    every = np.array([data[list(index)].mean() for index in np.ndindex(3, 3, 3)])
    draws = row_bootstrap(data, mean, draws=40_000, seed=0)[:, 0]
    values = np.unique(every)
    expected = np.array([(every <= v + 1e-9).mean() for v in values])
    observed = np.array([(draws <= v + 1e-9).mean() for v in values])
    assert observed == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(40_000))


def test_bca_coverage_of_a_skewed_mean_by_simulation():
    rng = np.random.default_rng(2)
    trials, covered = 200, 0
    for trial in range(trials):
        lower, upper = bca_interval(rng.exponential(size=60), mean, 0.9, draws=500, seed=trial)
        covered += bool(lower[0] <= 1.0 <= upper[0])
    slack = 4 * np.sqrt(0.9 * 0.1 / trials)
    assert 0.88 - slack <= covered / trials <= 0.9 + slack


def test_bca_respects_monotone_transformations():
    # Efron (1987): the interval of a transformed parameter is the transformed interval, up to the jackknife's
    # second-order change of the acceleration.
    data = np.random.default_rng(3).exponential(size=80)
    plain = bca_interval(data, mean, 0.9, draws=4000, seed=1)
    logged = bca_interval(data, lambda s: np.log(mean(s)), 0.9, draws=4000, seed=1)
    width = plain[1][0] - plain[0][0]
    assert np.exp(logged[0][0]) == pytest.approx(plain[0][0], abs=0.1 * width)
    assert np.exp(logged[1][0]) == pytest.approx(plain[1][0], abs=0.1 * width)


def test_many_statistics_of_a_table_at_once():
    counts = np.array([[30, 70], [45, 55], [60, 40]])

    def shares(tables):
        cells = tables.reshape(-1, 3, 2)
        return cells[..., 0] / cells.sum(axis=2)

    draws = count_bootstrap(counts, shares, draws=4000, seed=1)
    lower, upper = simultaneous_bootstrap(shares(counts[None])[0], draws, 0.95)
    # Three nearly independent binomial shares: Sidak's normal critical value times each standard error.
    error = np.sqrt(np.array([0.3 * 0.7, 0.45 * 0.55, 0.6 * 0.4]) / 100)
    assert (upper - lower) / 2 == pytest.approx(stats.norm.ppf((1 + 0.95 ** (1 / 3)) / 2) * error, rel=0.06)
