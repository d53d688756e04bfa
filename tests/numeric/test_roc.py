import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from modelward.errors import InputError
from modelward.numeric.proportion import clopper_pearson
from modelward.numeric.roc import auc, auc_interval, delong_variance, midranks, tpr_at_fpr

# Hanley and McNeil (1982), Radiology 143, Table I: ratings 1..5 of 58 normal and 51 abnormal CT images.
NORMAL = np.repeat([1, 2, 3, 4, 5], [33, 6, 6, 11, 2])
ABNORMAL = np.repeat([1, 2, 3, 4, 5], [3, 2, 2, 11, 33])

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=25)


def test_auc_known_answer():
    assert auc(ABNORMAL, NORMAL) == pytest.approx(0.893, abs=5e-4)  # Hanley and McNeil (1982), same data


def test_delong_known_answer():
    # Stata 18 reference manual, entry roctab, same data: area 0.8932, std. err. 0.0307, 0.83295 to 0.95339.
    error = np.sqrt(delong_variance(ABNORMAL, NORMAL))
    assert error == pytest.approx(0.0307, abs=5e-5)
    assert auc(ABNORMAL, NORMAL) + 1.959964 * error == pytest.approx(0.95339, abs=1e-5)


def test_interval_contains_that_of_the_logit():
    area, error = auc(ABNORMAL, NORMAL), np.sqrt(delong_variance(ABNORMAL, NORMAL))
    odds, factor = area / (1 - area), np.exp(1.959964 * error / (area * (1 - area)))
    lower, upper = auc_interval(ABNORMAL, NORMAL, 0.95)
    assert 0.8 < lower <= 1 / (1 + factor / odds) + 1e-12
    assert 1 > upper >= 1 / (1 + 1 / (odds * factor)) - 1e-6


@pytest.mark.parametrize(
    ("shift", "m", "n"), [(2.5, 20, 20), (2.5, 10, 100), (3, 50, 50), (1, 5, 200), (0, 10, 10)]
)
def test_coverage_with_few_scores_and_near_one(shift, m, n):
    random, trials = np.random.default_rng(m * n), 400
    truth, hits = stats.norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(trials):
        lower, upper = auc_interval(random.normal(shift, 1, m), random.normal(0, 1, n), 0.95)
        hits += lower <= truth <= upper
    assert hits / trials >= 0.94


def test_coverage_where_few_positives_rank_lowest():
    random, trials, hits = np.random.default_rng(0), 400, 0
    for _ in range(trials):
        positives = random.normal(0, 1, 100) + np.where(random.random(100) < 0.02, -10, 10)
        lower, upper = auc_interval(positives, random.normal(0, 1, 100), 0.95)
        hits += lower <= 0.98 <= upper
    assert hits / trials >= 0.92


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_midranks_match_scipy(values):
    assert midranks(values) == pytest.approx(stats.rankdata(values))


@given(scores, scores)
def test_auc_against_all_pairs_scipy_and_sklearn(pos, neg):
    pairs = np.subtract.outer(pos, neg)
    expected = (pairs > 0).mean() + (pairs == 0).mean() / 2
    assert auc(pos, neg) == pytest.approx(expected)
    assert stats.mannwhitneyu(pos, neg, method="asymptotic").statistic / pairs.size == pytest.approx(expected)
    labels = [1] * len(pos) + [0] * len(neg)
    assert roc_auc_score(labels, pos + neg) == pytest.approx(expected)


@given(scores, scores, st.randoms(use_true_random=False))
def test_auc_symmetry_order_and_monotone_transform(pos, neg, random):
    value = auc(pos, neg)
    assert auc(neg, pos) == pytest.approx(1 - value)
    random.shuffle(pos)
    assert auc(pos, neg) == pytest.approx(value)
    assert auc(np.exp(pos), np.exp(neg)) == pytest.approx(value)


@given(scores.filter(lambda s: len(s) > 1), scores.filter(lambda s: len(s) > 1))
def test_delong_variance_against_the_structural_components(pos, neg):
    # DeLong et al. (1988): variances of the row and column means of the kernel matrix, O(m n).
    kernel = np.heaviside(np.subtract.outer(pos, neg), 0.5)
    expected = kernel.mean(axis=1).var(ddof=1) / len(pos) + kernel.mean(axis=0).var(ddof=1) / len(neg)
    assert delong_variance(pos, neg) == pytest.approx(expected, abs=1e-12)


def test_delong_coverage_by_simulation():
    truth = stats.norm.cdf(1 / np.sqrt(2))  # N(1, 1) against N(0, 1)
    rng = np.random.default_rng(0)
    trials, covered = 500, 0
    for _ in range(trials):
        lower, upper = auc_interval(rng.normal(1, 1, 60), rng.normal(0, 1, 90), 0.95)
        covered += bool(lower <= truth <= upper)
    slack = 4 * np.sqrt(0.95 * 0.05 / trials)
    assert 0.94 - slack <= covered / trials <= 0.95 + slack


@pytest.mark.parametrize(
    ("pos", "neg"), [([2.0] * 20, [1.0] * 30), ([1.0] * 20, [2.0] * 30), ([0.0] * 9, [0.0] * 9)]
)
def test_separation_and_constant_scores_are_not_certainty(pos, neg):
    area = auc(pos, neg)
    lower, upper = auc_interval(pos, neg, 0.95)
    assert 0 <= lower <= area <= upper <= 1
    assert upper - lower > 0.02
    assert auc_interval(neg, pos, 0.95) == pytest.approx((1 - upper, 1 - lower), abs=1e-9)
    wide = auc_interval(pos[:2], neg[:2], 0.95)
    assert wide[1] - wide[0] > upper - lower


def test_constant_scores_solve_the_score_equation():
    lower, upper = auc_interval([1.0] * 10, [1.0] * 14, 0.95)
    for a in (lower, upper):
        variance = a * (1 - a) * (1 + 11.0 * ((1 - a) / (2 - a) + a / (1 + a))) / 140
        assert (a - 0.5) ** 2 == pytest.approx(1.959963984540054**2 * variance, rel=1e-9)


def test_separated_classes_leave_room_for_a_share_not_seen():
    """A class of 10 may hold 31 % of another kind and show none of it once in forty times."""
    lower, upper = auc_interval([1.0] * 10, [0.0] * 14, 0.95)
    assert (lower, upper) == (pytest.approx(0.025**0.1), 1.0)
    assert auc_interval([0.0] * 10, [1.0] * 14, 0.95) == (0.0, pytest.approx(1 - 0.025**0.1))


def test_one_positive_still_has_an_interval():
    lower, upper = auc_interval([0.5], [0.1, 0.2, 0.9], 0.95)
    assert lower < 2 / 3 < upper
    with pytest.raises(InputError, match="two of each"):
        delong_variance([0.5], [0.1, 0.2])


def test_infinite_scores_have_a_rank():
    assert auc([np.inf, 0.0], [-np.inf, 0.0]) == pytest.approx(0.875)


def brute_point(pos, neg, fpr):
    """Best TPR over every threshold whose empirical FPR keeps the limit."""
    best = 0.0
    for threshold in [-np.inf, *neg, *pos]:
        if (np.array(neg) > threshold).mean() <= fpr + 1e-12:
            best = max(best, (np.array(pos) > threshold).mean())
    return best


@given(scores, scores, st.sampled_from([0.001, 0.01, 0.07, 0.1, 0.25, 0.5, 0.9]))
@settings(deadline=None)
def test_operating_point_against_every_threshold(pos, neg, fpr):
    point = tpr_at_fpr(pos, neg, fpr, 0.95)
    assert point.tpr == pytest.approx(brute_point(pos, neg, fpr))
    assert point.fpr <= fpr + 1e-12
    assert point.fpr == (np.array(neg) > point.threshold).mean()
    assert point.at_threshold == clopper_pearson(round(point.tpr * len(pos)), len(pos), 0.95)
    lower, upper = point.at_rate
    assert 0 <= lower <= point.tpr <= upper <= 1


def test_operating_point_by_hand():
    neg = np.arange(100.0)  # 0..99: at 7 % the threshold is the eighth largest
    pos = np.concatenate([np.full(30, 95.5), np.full(10, 92.0), np.full(60, 0.0)])
    point = tpr_at_fpr(pos, neg, 0.07, 0.95)
    assert (point.threshold, point.fpr, point.tpr) == (92.0, 0.07, 0.3)


def test_ties_are_never_split():
    point = tpr_at_fpr([1.0, 2.0], [1.0] * 50 + [0.0] * 50, 0.4, 0.95)
    assert (point.threshold, point.fpr, point.tpr) == (1.0, 0.0, 0.5)


def test_too_few_negatives_prove_nothing_about_a_low_rate():
    # 300 negatives cannot show FPR <= 0.1 % for any threshold: P(none above) = 0.999 ** 300 = 0.74.
    point = tpr_at_fpr(np.full(50, 9.0), np.zeros(300), 0.001, 0.95)
    assert point.tpr == 1.0
    assert point.at_threshold[0] > 0.9
    assert point.at_rate == (0.0, 1.0)


def test_rate_bounds_use_the_binomial_order_statistics():
    neg = np.arange(10_000.0)
    pos = np.arange(5_000.0) * 2  # TPR(c) = 1 - c / 10 000, so a bound reveals its threshold
    lower, upper = tpr_at_fpr(pos, neg, 0.01, 0.95).at_rate
    strict, loose = stats.binom.ppf(0.0125, 10_000, 0.01), stats.binom.ppf(0.9875, 10_000, 0.01)
    assert lower == pytest.approx(
        clopper_pearson(round(strict / 2), 5_000, 0.9875, side="lower")[0], abs=6e-4
    )
    assert upper == pytest.approx(clopper_pearson(round(loose / 2), 5_000, 0.9875, side="upper")[1], abs=6e-4)


@pytest.mark.parametrize("fpr", [0.02, 0.1])
@pytest.mark.parametrize("digits", [1, 8], ids=["discrete", "continuous"])
def test_rate_coverage_by_simulation(fpr, digits):
    rng = np.random.default_rng(1)
    big = np.round(rng.normal(0, 1, 400_000), digits)
    cut = np.quantile(big, 1 - fpr, method="inverted_cdf")  # smallest c with P(negative > c) <= fpr
    edge = cut + 0.05 if digits == 1 else cut  # rounding puts the next tenth from here
    truth = stats.norm.sf(edge - 1.5)
    trials, covered = 300, 0
    for _ in range(trials):
        pos, neg = np.round(rng.normal(1.5, 1, 80), digits), np.round(rng.normal(0, 1, 400), digits)
        lower, upper = tpr_at_fpr(pos, neg, fpr, 0.9).at_rate
        covered += bool(lower <= truth <= upper)
    assert covered / trials >= 0.9 - 4 * np.sqrt(0.9 * 0.1 / trials)


@pytest.mark.parametrize(
    ("pos", "neg"),
    [([], [1.0]), ([1.0], []), ([float("nan")], [1.0]), ([1.0], [float("nan")]), ([[1.0]], [1.0])],
)
def test_bad_scores_are_refused(pos, neg):
    for call in (
        auc,
        delong_variance,
        lambda p, n: auc_interval(p, n, 0.9),
        lambda p, n: tpr_at_fpr(p, n, 0.1, 0.9),
    ):
        with pytest.raises(InputError):
            call(pos, neg)


@pytest.mark.parametrize(("fpr", "confidence"), [(0.0, 0.9), (1.0, 0.9), (float("nan"), 0.9), (0.1, 1.0)])
def test_bad_rates_are_refused(fpr, confidence):
    with pytest.raises(InputError, match="not between"):
        tpr_at_fpr([1.0], [0.0], fpr, confidence)


@given(scores, scores, st.sampled_from([0.01, 0.1, 0.4]))
@settings(deadline=None)
def test_more_confidence_never_narrows(pos, neg, fpr):
    loose, tight = auc_interval(pos, neg, 0.8), auc_interval(pos, neg, 0.99)
    assert tight[0] <= loose[0] <= auc(pos, neg) + 1e-12
    assert tight[1] >= loose[1] >= auc(pos, neg) - 1e-12
    first, second = tpr_at_fpr(pos, neg, fpr, 0.8), tpr_at_fpr(pos, neg, fpr, 0.99)
    assert (first.threshold, first.tpr) == (second.threshold, second.tpr)
    for a, b in ((first.at_rate, second.at_rate), (first.at_threshold, second.at_threshold)):
        assert b[0] <= a[0]
        assert b[1] >= a[1]


@given(scores, scores, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_operating_point_ignores_order_and_monotone_transforms(pos, neg, random):
    before = tpr_at_fpr(pos, neg, 0.1, 0.9)
    random.shuffle(pos)
    random.shuffle(neg)
    assert tpr_at_fpr(pos, neg, 0.1, 0.9) == before
    after = tpr_at_fpr(np.exp(pos), np.exp(neg), 0.1, 0.9)
    assert (after.tpr, after.fpr, after.at_threshold, after.at_rate) == (
        before.tpr,
        before.fpr,
        before.at_threshold,
        before.at_rate,
    )


@given(scores, scores)
def test_tpr_grows_with_the_rate_allowed(pos, neg):
    points = [tpr_at_fpr(pos, neg, fpr, 0.9) for fpr in (0.001, 0.05, 0.2, 0.6, 0.99)]
    for low, high in itertools.pairwise(points):
        assert low.tpr <= high.tpr
        assert low.threshold >= high.threshold
        assert low.at_rate[0] <= high.at_rate[0]
        assert low.at_rate[1] <= high.at_rate[1]
