"""What goes wrong with rows, column by column, and what must never change."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.corruption.tables import _UNITS, TABLES, spoil
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

each = pytest.mark.parametrize("name", sorted(TABLES))
KINDS = ["real", "integer", "category", "boolean", "boolean", "real"]


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    hot = random.integers(0, 2, 60)
    return np.column_stack(
        [random.uniform(2, 8, 60), random.integers(0, 40, 60), random.integers(0, 3, 60), hot, 1 - hot, np.arange(60)]
    ).astype(np.float64)  # fmt: skip


@pytest.fixture
def within(room, rows):
    points = room.table(rows, [0] * 60, KINDS, onehot={3: "g", 4: "g"}, immutable=(5,))
    return reach(points, Threat("linf", 1.0))


@each
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_codes_groups_and_immutable_columns_are_what_they_were(rows, within, name, severity):
    out = spoil(rows, name, severity, within, np.random.default_rng(severity))
    assert out.shape == rows.shape
    np.testing.assert_array_equal(out[:, 2:], rows[:, 2:])
    whole = out[:, 1][~np.isnan(out[:, 1])]
    np.testing.assert_array_equal(whole, np.rint(whole))


@each
def test_the_input_is_left_alone_and_the_seed_decides(rows, within, name):
    before = rows.copy()
    one, two = (spoil(rows, name, 4, within, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(one, two)
    if name != "rounding":
        other = spoil(rows, name, 4, within, np.random.default_rng(10))
        assert not np.array_equal(one, other, equal_nan=True)


@each
def test_severity_0_changes_nothing(rows, within, name):
    assert spoil(rows, name, 0, within, np.random.default_rng(0)) is rows


@each
def test_harm_grows_with_severity(room, name):
    rows = np.random.default_rng(1).uniform(1, 2, (400, 6))
    within = reach(room.table(rows, [0] * 400, ["real"] * 6), Threat("linf", 1.0))
    far = []
    for severity in range(1, 6):
        out = spoil(rows, name, severity, within, np.random.default_rng(3))
        far.append(float((~np.isclose(out, rows)).sum() if name != "noise" else np.abs(out - rows).sum()))
        if name == "rounding":
            far[-1] = float(np.abs(out - rows).sum())
    assert far == sorted(far)
    assert far[0] < far[-1]


def test_what_is_missing_was_lost_whole_and_the_rest_is_untouched(rows, within):
    out = spoil(rows, "missing values", 5, within, np.random.default_rng(0))
    lost = np.isnan(out)
    assert lost[:, :2].any()
    np.testing.assert_array_equal(out[~lost], rows[~lost])


def test_the_same_draws_lose_more_at_a_higher_severity(rows, within):
    """A severity that lost other cells would not be worse, only different."""
    lost = [np.isnan(spoil(rows, "missing values", s, within, np.random.default_rng(4))) for s in range(1, 6)]
    for less, more in pairwise(lost):
        assert (less <= more).all()


def test_noise_is_in_units_of_each_columns_range(room):
    rows = np.tile(np.array([[0.0, 0.0], [1.0, 1000.0]]), (2000, 1))
    within = reach(room.table(rows, [0] * 4000, ["real", "real"]), Threat("linf", 1.0))
    errors = spoil(rows, "noise", 3, within, np.random.default_rng(0)) - rows
    np.testing.assert_allclose(errors.std(axis=0), [0.05, 50.0], rtol=0.05)
    np.testing.assert_allclose(errors.mean(axis=0) / [1, 1000], [0, 0], atol=0.003)


def test_mixed_units_are_real_factors_of_so_many_columns(room):
    rows = np.random.default_rng(0).uniform(1, 2, (300, 7))
    within = reach(room.table(rows, [0] * 300, ["real"] * 7), Threat("linf", 1.0))
    for severity in range(1, 6):
        out = spoil(rows, "unit mix-ups", severity, within, np.random.default_rng(severity))
        factor = out / rows
        changed = ~np.isclose(factor, 1)
        assert (changed.sum(axis=1) == severity).all()
        nearest = np.abs(factor[changed][:, None] / np.array(_UNITS) - 1).min(axis=1)
        assert nearest.max() < 1e-9


def test_rows_of_few_numbers_mix_up_all_of_them_and_no_more(room):
    rows = np.column_stack([np.linspace(1, 2, 20), np.arange(20) % 3])
    within = reach(room.table(rows, [0] * 20, ["real", "category"]), Threat("linf", 1.0))
    out = spoil(rows, "unit mix-ups", 5, within, np.random.default_rng(0))
    assert (out[:, 0] != rows[:, 0]).all()
    np.testing.assert_array_equal(out[:, 1], rows[:, 1])


def test_factors_go_both_ways():
    """For each unit that is larger there is one that is smaller by the same factor."""
    assert sorted(_UNITS) == pytest.approx(sorted(1 / unit for unit in _UNITS))


def test_whole_numbers_are_rounded_to_at_least_one(room):
    rows = np.column_stack([np.arange(50) % 6, np.linspace(0, 1, 50)]).astype(np.float64)
    within = reach(room.table(rows, [0] * 50, ["integer", "real"]), Threat("linf", 1.0))
    np.testing.assert_array_equal(
        spoil(rows, "rounding", 1, within, np.random.default_rng(0))[:, 0], rows[:, 0]
    )
    coarse = spoil(rows, "rounding", 5, within, np.random.default_rng(0))
    np.testing.assert_allclose(coarse[:, 1] * 5, np.rint(coarse[:, 1] * 5), atol=1e-9)
    assert np.abs(coarse[:, 1] - rows[:, 1]).max() <= 0.1 + 1e-9


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(TABLES)), st.integers(1, 5))
def test_missing_cells_stay_missing(seed, name, severity):
    from types import SimpleNamespace

    random = np.random.default_rng(seed)
    rows = np.where(random.random((5, 3)) < 0.4, np.nan, random.uniform(1, 2, (5, 3)))
    plain = SimpleNamespace(
        numeric=np.ones(3, np.bool_), whole=np.array([False, True, False]), scale=np.array([1.0, 5.0, 2.0])
    )
    out = spoil(rows, name, severity, plain, random)
    assert np.isnan(out[np.isnan(rows)]).all()
    assert np.isfinite(out[~np.isnan(rows)]).all() or name == "missing values"
