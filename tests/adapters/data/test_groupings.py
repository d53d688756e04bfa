import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.data.groupings import groupings
from modelward.core.data import Column


def group(values, kind="real", categories=(), name="age"):
    column = Column(name=name, kind=kind, lower=0, upper=1, categories=categories, sensitive=True)
    (found,) = groupings([column], np.asarray(values, dtype=float).reshape(-1, 1))
    return found


def test_only_sensitive_columns():
    columns = [Column(name="a", kind="real", lower=0, upper=1)]
    assert groupings(columns, np.zeros((3, 1))) == ()


def test_categories_are_levels():
    found = group([1, 0, 1], "category", ("F", "M"))
    assert (found.levels, found.codes.tolist(), found.codes.dtype) == (("F", "M"), [1, 0, 1], np.int64)


def test_few_numbers_are_levels():
    found = group([10, 9, 10, 0.5])
    assert (found.levels, found.codes.tolist()) == (("0.5", "9", "10"), [2, 1, 2, 0])


def test_ten_values_are_levels_eleven_are_quartiles():
    assert len(group(range(10)).levels) == 10
    assert len(group(range(11)).levels) == 4


def test_quartiles_have_readable_names():
    found = group(range(17, 91))
    assert found.levels == ("age 17 to 35", "age 36 to 53", "age 54 to 71", "age 72 to 90")
    assert np.bincount(found.codes).tolist() == [19, 18, 18, 19]


def test_quartiles_of_reals():
    found = group(np.arange(100) / 3, name="score")
    assert found.levels[0] == "score 0 to 8"
    assert found.levels[1].startswith("score 8.333 to ")


def test_names_stay_different_where_four_digits_are_not_enough():
    found = group(1000 + np.arange(40) * 1e-4)
    assert len(set(found.levels)) == 4


def test_skewed_numbers_give_fewer_bins_and_none_empty():
    found = group([0] * 1000 + list(range(1, 30)))
    assert found.levels == ("age 0", "age 1 to 29")
    assert np.bincount(found.codes).tolist() == [1000, 29]
    assert group(list(range(30)) + [99] * 1000).levels == ("age 0 to 29", "age 99")
    found = group([0] * 60 + list(range(1, 41)))
    assert np.bincount(found.codes, minlength=len(found.levels)).min() > 0


def test_missing_is_a_group():
    found = group([1, np.nan, 2])
    assert (found.levels, found.codes.tolist()) == (("1", "2", "(missing)"), [0, 2, 1])
    found = group([1, np.nan, 0], "boolean", ("no", "yes"))
    assert (found.levels, found.codes.tolist()) == (("no", "yes", "(missing)"), [1, 2, 0])


def test_nothing_but_missing():
    found = group([np.nan, np.nan])
    assert (found.levels, found.codes.tolist()) == (("(missing)",), [0, 0])


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=1, max_size=60))
def test_bins_are_ordered_and_names_state_them(values):
    found = group(values)
    assert found.codes.min() >= 0
    assert found.codes.max() < len(found.levels)
    assert len(set(found.levels)) == len(found.levels)
    numbers = np.asarray(values)
    present = ~np.isnan(numbers)
    order = np.argsort(numbers[present], kind="stable")
    assert (np.diff(found.codes[present][order]) >= 0).all()
    used = set(found.codes.tolist())
    assert used == set(range(len(found.levels)))


@pytest.mark.parametrize("n", [11, 50, 1000])
def test_bins_hold_about_a_quarter(n):
    counts = np.bincount(group(np.random.default_rng(n).permutation(n)).codes)
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 2
