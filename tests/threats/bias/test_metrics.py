from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import InputError
from modelward.numeric.proportion import wilson
from modelward.threats.bias import metrics
from modelward.threats.bias.metrics import GroupOptions, group_gaps

RATES = {
    "selection": lambda y, p: (np.ones(len(y), bool), p == 1),
    "true-positive": lambda y, p: (y == 1, p == 1),
    "false-positive": lambda y, p: (y != 1, p == 1),
    "accuracy": lambda y, p: (np.ones(len(y), bool), p == y),
}
PARTS = {
    "demographic-parity": ["selection"],
    "equal-opportunity": ["true-positive"],
    "predictive-equality": ["false-positive"],
    "equalised-odds": ["true-positive", "false-positive"],
    "accuracy": ["accuracy"],
}
QUICK = GroupOptions(draws=100)


def rows_of(group, yes_yes, yes_no, no_yes, no_no):
    """Rows of one group: yes_no counts the positives that were answered no."""
    y = np.repeat([1, 1, 0, 0], [yes_yes, yes_no, no_yes, no_no])
    p = np.repeat([1, 0, 1, 0], [yes_yes, yes_no, no_yes, no_no])
    return np.full(len(y), group), y, p


def stack(*parts):
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def by_metric(intersection):
    return {gap.metric: gap for gap in intersection.gaps}


def test_known_gaps_by_construction():
    group, y, p = stack(rows_of(0, 80, 20, 10, 90), rows_of(1, 50, 50, 40, 60), rows_of(2, 70, 30, 10, 90))
    (only,) = group_gaps([group], [3], y, p, QUICK)
    gaps = by_metric(only)
    assert gaps["demographic-parity"].value == pytest.approx(0.45 - 0.40)
    assert gaps["equal-opportunity"].value == pytest.approx(0.8 - 0.5)
    assert gaps["predictive-equality"].value == pytest.approx(0.4 - 0.1)
    assert gaps["equalised-odds"].value == pytest.approx(0.3)
    assert gaps["accuracy"].value == pytest.approx(0.85 - 0.55)
    assert (gaps["equal-opportunity"].highest, gaps["equal-opportunity"].lowest) == ((0,), (1,))
    assert (gaps["predictive-equality"].highest, gaps["accuracy"].lowest) == ((1,), (1,))
    rate = only.groups[1].rates["false-positive"]
    assert (rate.k, rate.n, rate.value, only.groups[1].n) == (40, 100, 0.4, 200)


def test_equalised_odds_is_the_larger_of_its_two_gaps():
    group, y, p = stack(rows_of(0, 80, 20, 10, 90), rows_of(1, 75, 25, 60, 40))
    gaps = by_metric(group_gaps([group], [2], y, p, QUICK)[0])
    odds, tpr, fpr = (gaps[m] for m in ("equalised-odds", "equal-opportunity", "predictive-equality"))
    assert odds.value == fpr.value == pytest.approx(0.5)
    assert (odds.highest, odds.lowest) == ((1,), (0,))
    assert (odds.lower, odds.upper) == (max(tpr.lower, fpr.lower), max(tpr.upper, fpr.upper))


def test_a_gap_that_only_an_intersection_shows():
    # Each column alone is fair; the two groups (0, 1) and (1, 0) are always answered no.
    parts = []
    for a in (0, 1):
        for b in (0, 1):
            _, y, p = rows_of(0, 100, 0, 0, 100) if a == b else rows_of(0, 0, 100, 0, 100)
            parts.append((np.full(200, a), np.full(200, b), y, p))
    a, b, y, p = stack(*parts)
    first, second, both = group_gaps([a, b], [2, 2], y, p, QUICK)
    assert [part.columns for part in (first, second, both)] == [(0,), (1,), (0, 1)]
    assert by_metric(first)["equal-opportunity"].value == by_metric(second)["equal-opportunity"].value == 0
    gap = by_metric(both)["equal-opportunity"]
    assert gap.value == 1.0
    assert gap.lower > 0.8  # Wilson with 100 rows a side and a joint critical value
    assert gap.highest in {(0, 0), (1, 1)}


def slow(codes, y, p, minimum, depth):
    """The same numbers by filtering rows group by group."""
    out = {}
    for size in range(1, depth + 1):
        for columns in combinations(range(len(codes)), size):
            keys = list(zip(*(codes[c].tolist() for c in columns), strict=True))
            groups = {}
            for key in sorted(set(keys)):
                mask = np.array([k == key for k in keys])
                rates = {}
                for name, rule in RATES.items():
                    below, above = rule(y[mask], p[mask])
                    if below.any():
                        rates[name] = (int((below & above).sum()), int(below.sum()))
                groups[key] = (int(mask.sum()), rates)
            gaps = {}
            for metric, names in PARTS.items():
                spread = []
                for name in names:
                    shares = [
                        k / n for _, r in groups.values() for k, n in [r.get(name, (0, 0))] if n >= minimum
                    ]
                    spread.append(max(shares) - min(shares) if len(shares) > 1 else None)
                if None not in spread:
                    gaps[metric] = max(spread)
            out[columns] = (groups, gaps)
    return out


tables = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 120), st.integers(1, 4), st.integers(2, 4))


@given(tables, st.integers(1, 12), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_against_a_slow_independent_implementation(case, minimum, depth):
    seed, n, width, classes = case
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 5, width).tolist()
    codes = [rng.integers(0, size, n) for size in levels]
    y, p = rng.integers(0, classes, n), rng.integers(0, classes, n)
    report = group_gaps(codes, levels, y, p, GroupOptions(minimum=minimum, depth=depth, draws=20))
    expected = slow(codes, y, p, minimum, min(depth, width))
    assert [part.columns for part in report] == list(expected)
    for part in report:
        groups, gaps = expected[part.columns]
        assert {g.levels: (g.n, {m: (r.k, r.n) for m, r in g.rates.items()}) for g in part.groups} == groups
        assert {g.metric: g.value for g in part.gaps} == pytest.approx(gaps)
        for gap in part.gaps:
            assert 0 <= gap.lower <= gap.value + 1e-12
            assert gap.value <= gap.upper + 1e-12 <= 1 + 1e-12
            assert gap.compared + len(gap.too_small) == len(part.groups)
        for group in part.groups:
            for rate in group.rates.values():
                assert 0 <= rate.lower <= rate.value <= rate.upper <= 1
                assert rate.compared == (rate.n >= minimum)


def test_dense_and_sorted_counting_agree(monkeypatch):
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 50, 300) for _ in range(3)]
    y, p = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    options = GroupOptions(minimum=2, draws=30)
    dense = group_gaps(codes, [50] * 3, y, p, options)
    monkeypatch.setattr(metrics, "_DENSE_CELLS", 0)
    assert group_gaps(codes, [50] * 3, y, p, options) == dense


def test_small_groups_are_shown_but_not_compared():
    group, y, p = stack(rows_of(0, 60, 40, 40, 60), rows_of(1, 60, 40, 40, 60), rows_of(3, 5, 0, 0, 0))
    (only,) = group_gaps([group], [4], y, p, GroupOptions(minimum=10, draws=50))
    assert [g.levels for g in only.groups] == [(0,), (1,), (3,)]  # level 2 is empty and skipped
    small = only.groups[2]
    assert (small.n, small.rates["true-positive"].value, small.rates["true-positive"].compared) == (
        5,
        1.0,
        False,
    )
    assert "false-positive" not in small.rates  # no negatives: not defined
    for gap in only.gaps:
        assert (gap.value, gap.compared, len(gap.too_small)) == (0.0, 2, 1)


def test_a_metric_with_fewer_than_two_groups_is_absent():
    group, y, p = stack(rows_of(0, 60, 40, 5, 5), rows_of(1, 60, 40, 50, 50))
    (only,) = group_gaps([group], [2], y, p, GroupOptions(minimum=30, draws=50))
    assert set(by_metric(only)) == {"demographic-parity", "equal-opportunity", "accuracy"}
    (single,) = group_gaps([np.zeros(100, int)], [1], y[:100], p[:100], QUICK)
    assert single.gaps == ()
    assert len(single.groups) == 1


def test_multiclass_is_one_versus_rest_with_the_accuracy_of_all_classes():
    group = np.repeat([0, 1], 60)
    y = np.tile([0, 1, 2], 40)
    p = np.where((group == 1) & (y == 0), 2, y)  # in group 1 class 0 is taken for class 2
    gaps = by_metric(group_gaps([group], [2], y, p, GroupOptions(draws=50, minimum=5))[0])
    assert gaps["equal-opportunity"].value == 0
    assert gaps["predictive-equality"].value == 0
    assert gaps["accuracy"].value == pytest.approx(1 / 3)
    other = by_metric(group_gaps([group], [2], y, p, GroupOptions(positive=2, draws=50, minimum=5))[0])
    assert other["predictive-equality"].value == pytest.approx(0.5)
    alone = group_gaps([group], [2], y, p, GroupOptions(positive=None, draws=50, minimum=5))[0]
    assert [gap.metric for gap in alone.gaps] == ["accuracy"]
    assert alone.gaps[0].value == pytest.approx(1 / 3)


def test_deterministic_for_a_seed_and_blind_to_row_order_and_type():
    rng = np.random.default_rng(5)
    codes = [rng.integers(0, 3, 500), rng.integers(0, 2, 500)]
    y, p = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    first = group_gaps(codes, [3, 2], y, p, QUICK)
    order = rng.permutation(500)
    again = group_gaps(
        [c[order].astype(np.int8) for c in codes],
        [3, 2],
        y[order].astype(bool),
        p[order].astype(np.uint8),
        QUICK,
    )
    assert again == first
    assert group_gaps(codes, [3, 2], y, p, GroupOptions(draws=100, seed=1)) != first


def test_perfect_answers_in_small_groups_do_not_look_certain():
    group, y, p = stack(*(rows_of(g, 20, 0, 0, 20) for g in range(4)))
    (only,) = group_gaps([group], [4], y, p, GroupOptions(minimum=10, draws=200))
    accuracy = by_metric(only)["accuracy"]
    assert (accuracy.value, accuracy.lower) == (0.0, 0.0)
    assert accuracy.upper > 0.05
    assert only.groups[0].rates["accuracy"].lower <= wilson(40, 40, 0.95)[0]


def test_joint_intervals_are_wider_than_single_ones_and_grow_with_confidence():
    rng = np.random.default_rng(2)
    codes = [rng.integers(0, 4, 4000), rng.integers(0, 3, 4000)]
    y, p = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    report = group_gaps(codes, [4, 3], y, p, GroupOptions(draws=500))
    loose = group_gaps(codes, [4, 3], y, p, GroupOptions(draws=500, confidence=0.8))
    for part, other in zip(report, loose, strict=True):
        for group in part.groups:
            for rate in group.rates.values():
                lower, upper = wilson(rate.k, rate.n, 0.95)
                assert rate.lower < lower
                assert rate.upper > upper
        for gap, narrow in zip(part.gaps, other.gaps, strict=True):
            assert gap.lower <= narrow.lower
            assert gap.upper > narrow.upper


@pytest.mark.parametrize("groups", [6, 16, 17], ids=["few", "all pairs", "bound"])
def test_pair_bound_is_never_below_the_largest_pair(groups, monkeypatch):
    rng = np.random.default_rng(groups)
    codes, y, p = rng.integers(0, groups, 5000), rng.integers(0, 2, 5000), rng.integers(0, 2, 5000)
    exact_limit = GroupOptions(draws=200)
    usual = group_gaps([codes], [groups], y, p, exact_limit)[0]
    monkeypatch.setattr(metrics, "_ALL_PAIRS", 1000)
    exact = group_gaps([codes], [groups], y, p, exact_limit)[0]
    monkeypatch.setattr(metrics, "_ALL_PAIRS", 0)
    bound = group_gaps([codes], [groups], y, p, exact_limit)[0]
    for a, b, c in zip(exact.gaps, usual.gaps, bound.gaps, strict=True):
        assert a.upper <= b.upper <= c.upper
        assert c.upper < a.value + 1.6 * (a.upper - a.value)


def population(seed, n, levels, classes=2):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, size, n) for size in levels]
    y = rng.integers(0, classes, n)
    return codes, y, np.where(rng.random(n) < 0.8, y, rng.integers(0, classes, n))


def test_gap_of_two_large_groups_matches_the_normal_interval():
    # One column, two groups, four rates: the joint critical value lies between the normal one for a single
    # statement (1.960) and Bonferroni's for four (2.498), and the hybrid interval tends to the Wald interval.
    codes, y, p = population(0, 200_000, [2])
    (only,) = group_gaps(codes, [2], y, p, GroupOptions(draws=2000))
    shares = []
    for gap in only.gaps:
        if gap.metric == "equalised-odds":
            continue
        rates = [group.rates[PARTS[gap.metric][0]] for group in only.groups]
        error = np.sqrt(sum(r.value * (1 - r.value) / r.n for r in rates))
        shares.append((gap.upper - gap.value) / error)
    assert np.ptp(shares) < 0.01
    assert 1.96 <= np.mean(shares) <= 2.498


def test_a_real_gap_is_told_from_chance():
    group, y, p = stack(rows_of(0, 700, 300, 200, 800), rows_of(1, 600, 400, 200, 800))
    gaps = by_metric(group_gaps([group], [2], y, p, GroupOptions(draws=500))[0])
    assert gaps["equal-opportunity"].lower > 0.03
    assert gaps["predictive-equality"].lower == 0.0
    assert gaps["equalised-odds"].lower == gaps["equal-opportunity"].lower


def test_four_times_the_rows_halve_the_intervals():
    codes, y, p = population(1, 4000, [2, 3])
    four = [np.tile(column, 4) for column in (*codes, y, p)]
    small = group_gaps(codes, [2, 3], y, p, GroupOptions(draws=500))
    large = group_gaps(four[:2], [2, 3], four[2], four[3], GroupOptions(draws=500))
    for a, b in zip(small, large, strict=True):
        for gap, half in zip(a.gaps, b.gaps, strict=True):
            assert half.value == pytest.approx(gap.value)
            assert half.upper - half.value == pytest.approx((gap.upper - gap.value) / 2, rel=0.12)


def test_names_of_levels_do_not_matter():
    codes, y, p = population(2, 3000, [4, 2])
    rename = np.array([2, 0, 3, 1])
    usual = group_gaps(codes, [4, 2], y, p, GroupOptions(draws=300))
    renamed = group_gaps([rename[codes[0]], codes[1]], [4, 2], y, p, GroupOptions(draws=300))
    for a, b in zip(usual, renamed, strict=True):
        for gap, other in zip(a.gaps, b.gaps, strict=True):
            assert other.value == gap.value
            # Other draws of the same distribution: the critical value moves by its Monte-Carlo error.
            assert other.upper == pytest.approx(gap.upper, rel=0.1)
            expected = tuple(
                int(rename[v]) if c == 0 else v for c, v in zip(a.columns, gap.highest, strict=True)
            )
            assert other.highest == expected


def test_levels_that_never_occur_do_not_matter():
    codes, y, p = population(3, 500, [3, 2])
    assert group_gaps(codes, [3, 2], y, p, QUICK) == group_gaps(codes, [3, 40], y, p, QUICK)


def test_calling_no_the_positive_class_mirrors_the_rates():
    codes, y, p = population(4, 2000, [3])
    yes = by_metric(group_gaps(codes, [3], y, p, GroupOptions(draws=300, positive=1))[0])
    no = by_metric(group_gaps(codes, [3], y, p, GroupOptions(draws=300, positive=0))[0])
    mirrored = {"equal-opportunity": "predictive-equality", "predictive-equality": "equal-opportunity"}
    for metric, gap in yes.items():
        other = no[mirrored.get(metric, metric)]
        assert other.value == pytest.approx(gap.value)
        assert (other.lower, other.upper) == pytest.approx((gap.lower, gap.upper), abs=0.01)
        swapped = (other.highest, other.lowest) if metric == "accuracy" else (other.lowest, other.highest)
        assert (gap.highest, gap.lowest) == swapped


@pytest.mark.parametrize(
    ("width", "depth", "sets"), [(1, 3, 1), (3, 3, 7), (4, 3, 14), (4, 2, 10), (4, 1, 4)]
)
def test_every_set_of_columns_up_to_the_depth_is_there_once(width, depth, sets):
    codes, y, p = population(5, 200, [2] * width)
    report = group_gaps(codes, [2] * width, y, p, GroupOptions(draws=20, depth=depth))
    assert len({part.columns for part in report}) == len(report) == sets
    for part in report:
        assert sum(group.n for group in part.groups) == 200


SIMULATED = {
    "even": ([2, 3], 1500, 0.3, 0.0),
    "uneven": ([2, 3], 1500, 0.3, 0.1),
    "rare": ([2], 3000, 0.02, 0.0),
}


@pytest.mark.parametrize("name", SIMULATED)
def test_joint_coverage_by_simulation(name):
    levels, n, base, slope = SIMULATED[name]
    rng = np.random.default_rng(0)
    cells = int(np.prod(levels))
    share = rng.dirichlet(np.full(cells, 5.0))
    positive = np.clip(base + slope * rng.normal(size=cells), 0.01, 0.9)
    tpr = np.clip(0.8 + slope * rng.normal(size=cells), 0.05, 0.95)
    fpr = np.clip(0.2 + slope * rng.normal(size=cells), 0.05, 0.95)
    where = np.array(np.unravel_index(np.arange(cells), levels)).T
    parts = {  # true numerators and denominators per cell
        "selection": (positive * tpr + (1 - positive) * fpr, np.ones(cells)),
        "true-positive": (positive * tpr, positive),
        "false-positive": ((1 - positive) * fpr, 1 - positive),
        "accuracy": (positive * tpr + (1 - positive) * (1 - fpr), np.ones(cells)),
    }

    def true_rate(metric, columns, key):
        mask = (where[:, columns] == key).all(axis=1)
        above, below = parts[metric]
        return (above * share)[mask].sum() / (below * share)[mask].sum()

    trials, rates_hold, gaps_hold = 120, 0, 0
    for trial in range(trials):
        cell = rng.choice(cells, n, p=share)
        y = (rng.random(n) < positive[cell]).astype(int)
        p = (rng.random(n) < np.where(y == 1, tpr[cell], fpr[cell])).astype(int)
        options = GroupOptions(confidence=0.9, draws=200, seed=trial)
        rates, gaps = [], []
        for part in group_gaps(list(where[cell].T), levels, y, p, options):
            true = {m: {} for m in parts}
            for group in part.groups:
                for metric, rate in group.rates.items():
                    if rate.compared:
                        value = true[metric][group.levels] = true_rate(metric, part.columns, group.levels)
                        rates.append(rate.lower <= value <= rate.upper)
            for gap in part.gaps:
                value = max(max(true[m].values()) - min(true[m].values()) for m in PARTS[gap.metric])
                gaps.append(gap.lower <= value <= gap.upper)
        rates_hold += all(rates)
        gaps_hold += all(gaps)
    # Four standard errors of a binomial share; 0.01 is the approximation by 200 draws.
    slack = 4 * np.sqrt(0.9 * 0.1 / trials) + 0.01
    assert rates_hold / trials >= 0.9 - slack
    assert gaps_hold / trials >= 0.9 - slack


GOOD = ([np.array([0, 1])], [2], np.array([0, 1]), np.array([1, 1]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({0: []}, "0 columns"),
        ({1: [2, 2]}, "1 columns and 2"),
        ({0: [np.array([], int)]}, "0 rows"),
        ({0: [np.array([0, 2])]}, "codes 0..2 outside"),
        ({0: [np.array([-1, 1])]}, "codes -1..1 outside"),
        ({0: [np.array([0.0, 1.0])]}, "no class indices"),
        ({0: [np.zeros((2, 2), int)]}, "no class indices"),
        ({0: [np.array([0, 1])] * 2, 1: [2**31, 2**31]}, "combinations"),
        ({2: np.array([0, 1, 1])}, "3 labels"),
        ({3: np.array([1])}, "1 predictions"),
        ({2: np.array(["a", "b"])}, "no class indices"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, sentence):
    arguments = [change.get(i, value) for i, value in enumerate(GOOD)]
    with pytest.raises(InputError, match=sentence):
        group_gaps(*arguments, QUICK)


@pytest.mark.parametrize(
    "options",
    [GroupOptions(depth=0), GroupOptions(minimum=0), GroupOptions(confidence=1.0), GroupOptions(draws=0)],
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        group_gaps(*GOOD, options)


def test_columns_of_different_length_are_refused():
    with pytest.raises(InputError, match="same number"):
        group_gaps([np.array([0, 1]), np.array([0])], [2, 2], np.array([0, 1]), np.array([0, 1]), QUICK)
