import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import InputError
from modelward.numeric.calibration import (
    calibration_interval,
    expected_calibration_error,
    reliability,
    squared_calibration_error,
)

rows = st.lists(st.tuples(st.integers(0, 100).map(lambda v: v / 100), st.booleans()), min_size=1, max_size=80)


def naive_width_error(stated, hit, bins):
    total = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(stated) if (b / bins < c <= (b + 1) / bins) or (b == 0 and c == 0)]
        if inside:
            gap = np.mean([stated[i] for i in inside]) - np.mean([hit[i] for i in inside])
            total += len(inside) / len(stated) * abs(gap)
    return total


@given(rows, st.sampled_from([1, 2, 4, 8, 16]))
def test_width_error_against_the_definition(pairs, bins):
    stated, hit = zip(*pairs, strict=True)
    table = reliability(stated, hit, bins=bins, scheme="width")
    assert expected_calibration_error(table) == pytest.approx(naive_width_error(stated, hit, bins), abs=1e-12)


def test_error_by_hand():
    # Two bins: stated 0.2 with 1 of 4 right, stated 0.9 with 3 of 6 right: 0.4 * 0.05 + 0.6 * 0.4.
    stated = [0.2] * 4 + [0.9] * 6
    hit = [1, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    for scheme in ("mass", "width"):
        table = reliability(stated, hit, bins=2, scheme=scheme)
        assert table.count.tolist() == [4, 6]
        assert table.confidence == pytest.approx([0.2, 0.9])
        assert table.frequency == pytest.approx([0.25, 0.5])
        assert expected_calibration_error(table) == pytest.approx(0.26)
    # Debiased: each squared gap loses frequency (1 - frequency) / (count - 1), 0.1875 / 3 and 0.25 / 5.
    assert squared_calibration_error(table) == pytest.approx(0.4 * (0.0025 - 0.0625) + 0.6 * (0.16 - 0.05))


@given(rows, st.integers(1, 20))
def test_equal_mass_bins_cover_all_rows_and_never_split_ties(pairs, bins):
    stated, hit = map(np.array, zip(*pairs, strict=True))
    table = reliability(stated, hit, bins=bins)
    assert table.count.sum() == len(pairs)
    assert np.all(table.count >= 1)
    assert len(table.count) <= bins
    assert np.all(np.diff(table.confidence) > 0)
    for value in np.unique(stated):
        assert len(set(table.bin_of[stated == value])) == 1
    assert 0 <= expected_calibration_error(table) <= 1


def test_equal_mass_is_equal_without_ties():
    table = reliability(np.random.default_rng(0).permutation(100) / 100, np.zeros(100), bins=10)
    assert table.count.tolist() == [10] * 10


@given(rows, st.randoms(use_true_random=False))
def test_error_does_not_depend_on_order(pairs, random):
    before = expected_calibration_error(reliability(*zip(*pairs, strict=True)))
    random.shuffle(pairs)
    assert expected_calibration_error(reliability(*zip(*pairs, strict=True))) == pytest.approx(
        before, abs=1e-12
    )


def test_debiased_error_is_unbiased_where_the_plug_in_is_not():
    rng = np.random.default_rng(0)
    plug_in, debiased = [], []
    for _ in range(400):
        stated = np.repeat(np.linspace(0.05, 0.95, 10), 20)
        table = reliability(stated, rng.random(200) < stated + 0.04, bins=10)
        gap = table.confidence - table.frequency
        plug_in.append(np.average(gap**2, weights=table.count))
        debiased.append(squared_calibration_error(table))
    standard_error = np.std(debiased) / 20
    assert np.mean(debiased) == pytest.approx(0.0016, abs=4 * standard_error)
    assert np.mean(plug_in) > 0.0016 + 10 * standard_error


def test_debiased_error_is_unknown_without_a_bin_of_two():
    assert np.isnan(squared_calibration_error(reliability([0.1, 0.9], [0, 1], bins=2)))


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("n", [300, 2000])
def test_interval_coverage_by_simulation(offset, n):
    rng = np.random.default_rng(3)
    trials, covered, widths = 150, 0, []
    for trial in range(trials):
        stated = rng.choice(np.linspace(0.3, 0.95, 10), n)
        hit = rng.random(n) < stated - offset
        table = reliability(stated, hit, bins=10)
        lower, upper = calibration_interval(stated, hit, table, 0.9, draws=400, seed=trial)
        widths.append(upper - lower)
        covered += bool(lower <= offset <= upper)
    assert covered / trials >= 0.9 - 4 * np.sqrt(0.09 / trials)
    assert np.mean(widths) < 7 / np.sqrt(n)


def test_interval_contains_the_observed_error_and_is_reproducible():
    rng = np.random.default_rng(0)
    stated, hit = rng.random(500), rng.random(500) < 0.5
    table = reliability(stated, hit)
    first = calibration_interval(stated, hit, table, 0.95, seed=1)
    assert first == calibration_interval(stated, hit, table, 0.95, seed=1)
    assert first[0] <= expected_calibration_error(table) <= first[1]
    narrow = calibration_interval(stated, hit, table, 0.5, seed=1)
    assert first[0] <= narrow[0] <= narrow[1] <= first[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: reliability([], []),
        lambda: reliability([0.5], [1, 0]),
        lambda: reliability([1.5], [1]),
        lambda: reliability([float("nan")], [1]),
        lambda: reliability([0.5], [2]),
        lambda: reliability([0.5], [1], bins=0),
        lambda: calibration_interval([0.5], [1], reliability([0.5], [1]), 1.0, seed=0),
        lambda: calibration_interval([0.5], [1], reliability([0.5], [1]), 0.9, draws=0, seed=0),
        lambda: calibration_interval([0.5, 0.6], [1, 0], reliability([0.5], [1]), 0.9, seed=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()


@given(rows)
def test_one_bin_compares_the_two_means(pairs):
    stated, hit = map(np.array, zip(*pairs, strict=True))
    for scheme in ("mass", "width"):
        table = reliability(stated, hit, bins=1, scheme=scheme)
        assert expected_calibration_error(table) == pytest.approx(abs(stated.mean() - hit.mean()), abs=1e-12)


def test_interval_of_one_bin_is_the_normal_interval_of_a_mean():
    rng = np.random.default_rng(1)
    stated = np.full(4000, 0.9)
    hit = rng.random(4000) < 0.7
    lower, upper = calibration_interval(
        stated, hit, reliability(stated, hit, bins=1), 0.95, draws=20_000, seed=0
    )
    error = 0.9 - hit.mean()
    radius = 1.959964 * np.sqrt(hit.mean() * (1 - hit.mean()) / 4000)
    assert (lower, upper) == (
        pytest.approx(error - radius, abs=0.03 * radius),
        pytest.approx(error + radius, abs=0.03 * radius),
    )


def test_overconfidence_of_a_constant_model_is_found():
    stated, hit = np.full(500, 0.99), np.arange(500) % 2 == 0
    table = reliability(stated, hit)
    assert expected_calibration_error(table) == pytest.approx(0.49)
    assert calibration_interval(stated, hit, table, 0.99, seed=0)[0] > 0.4


@pytest.mark.parametrize("n", [10, 50, 400])
def test_coverage_where_mistakes_are_rare(n):
    """Always 90 % sure, right 97 % of the time: samples without a mistake must not look certain."""
    random, trials = np.random.default_rng(n), 300
    stated, hits = np.full(n, 0.9), 0
    for trial in range(trials):
        correct = random.random(n) < 0.97
        table = reliability(stated, correct)
        lower, upper = calibration_interval(stated, correct, table, 0.95, draws=300, seed=trial)
        hits += lower <= 0.07 <= upper
    assert hits / trials >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / trials)


def test_two_right_answers_are_no_proof_of_modesty():
    table = reliability([0.6, 0.6], [1, 1])
    assert expected_calibration_error(table) == pytest.approx(0.4)
    assert calibration_interval([0.6, 0.6], [1, 1], table, 0.95, seed=0)[0] == 0
