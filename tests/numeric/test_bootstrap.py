import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelward.errors import InputError
from modelward.numeric import bootstrap
from modelward.numeric.bootstrap import count_bootstrap, max_critical, percentile_interval


def test_percentiles_by_hand():
    lower, upper = percentile_interval(np.arange(101.0)[:, None], 0.9)
    assert (lower[0], upper[0]) == pytest.approx((5.0, 95.0))


def test_batches_do_not_change_the_draws(monkeypatch):
    whole = count_bootstrap([3, 0, 9, 5], np.asarray, draws=50, seed=9)
    monkeypatch.setattr(bootstrap, "_BATCH_NUMBERS", 30)
    assert np.array_equal(whole, count_bootstrap([3, 0, 9, 5], np.asarray, draws=50, seed=9))
    assert not np.array_equal(whole, count_bootstrap([3, 0, 9, 5], np.asarray, draws=50, seed=10))


def test_tables_stay_bounded_in_memory():
    seen = []

    def watch(tables):
        seen.append(tables.size)
        return tables[:, :1]

    count_bootstrap(np.ones(100_000), watch, draws=95, seed=0)
    assert max(seen) <= bootstrap._BATCH_NUMBERS
    assert sum(seen) == 95 * 100_000


def test_resampled_tables_are_rows_drawn_with_replacement():
    """The moments of a multinomial, and rows drawn one by one as an independent route."""
    counts = np.array([40, 10, 25, 0])
    random = np.random.default_rng(2)
    rows = np.repeat(np.arange(4), counts)[random.integers(0, 75, (20_000, 75))]
    by_row = np.stack([(rows == cell).sum(axis=1) for cell in range(4)], axis=1)
    by_count = count_bootstrap(counts, lambda t: t.astype(float), draws=20_000, seed=1)
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


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
@settings(max_examples=40, deadline=None)
def test_percentile_properties(values):
    draws = np.array(values)[:, None]
    lower, upper = percentile_interval(draws, 0.9)
    assert min(values) <= lower[0] <= upper[0] <= max(values)
    inner = percentile_interval(draws, 0.5)
    assert lower[0] <= inner[0][0]
    assert inner[1][0] <= upper[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: count_bootstrap([0, 0], np.asarray, draws=5, seed=0),
        lambda: count_bootstrap([1, -1], np.asarray, draws=5, seed=0),
        lambda: count_bootstrap([1, 1], np.asarray, draws=0, seed=0),
        lambda: count_bootstrap([1.0, float("nan")], np.asarray, draws=5, seed=0),
        lambda: percentile_interval(np.zeros((0, 1)), 0.9),
        lambda: percentile_interval([[1.0]], 1.0),
        lambda: max_critical(np.zeros((5, 1)), 2.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_percentiles_of_a_mean_against_all_samples_of_three_rows():
    # All 27 samples of (0, 1, 5) with replacement are equally likely; 40 000 draws reproduce their quantiles.
    data = np.array([0.0, 1.0, 5.0])
    every = np.array([data[list(index)].mean() for index in np.ndindex(3, 3, 3)])
    draws = count_bootstrap([1, 1, 1], lambda t: (t @ data / 3)[:, None], draws=40_000, seed=0)[:, 0]
    values = np.unique(every)
    expected = np.array([(every <= v + 1e-9).mean() for v in values])
    observed = np.array([(draws <= v + 1e-9).mean() for v in values])
    assert observed == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(40_000))


def test_joint_coverage_of_many_shares_of_one_table():
    """Three shares at once, each observed +- c standard errors: 95 % of the tables have all three inside."""
    truth, rows, trials, hits = np.array([0.3, 0.45, 0.6]), 150, 250, 0
    random = np.random.default_rng(4)

    def shares(tables):
        cells = tables.reshape(-1, 3, 2)
        return cells[..., 0] / np.maximum(cells.sum(axis=2), 1)

    for trial in range(trials):
        yes = random.binomial(rows, truth)
        table = np.column_stack([yes, rows - yes])
        centre, error = yes / rows, np.sqrt(yes * (rows - yes) / rows**3)
        pivots = (count_bootstrap(table, shares, draws=400, seed=trial) - centre) / error
        hits += bool(np.all(np.abs(centre - truth) <= max_critical(pivots, 0.95) * error))
    assert hits / trials >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / trials)
