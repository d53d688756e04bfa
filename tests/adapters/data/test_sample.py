import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.data.sample import Reservoir, row_keys, sample_rows

MASK = 2**64 - 1


def splitmix64(row):
    # The reference in plain integers (Steele, Lea, Flood 2014): state after row + 1 steps from seed 0.
    z = ((row + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_keys_known_answers():
    # First outputs of splitmix64 seeded with 0, as published with the xoshiro generators.
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert row_keys(np.arange(3)).tolist() == known


@given(st.integers(0, 2**62))
def test_keys_equal_the_integer_reference(row):
    assert row_keys(np.array([row])).tolist() == [splitmix64(row)]


def test_keys_of_different_rows_differ():
    keys = row_keys(np.arange(200_000))
    assert len(np.unique(keys)) == len(keys)


def test_all_rows_are_held_when_they_fit():
    assert sample_rows(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert sample_rows(5, 100).tolist() == [0, 1, 2, 3, 4]


@given(st.integers(1, 400), st.integers(1, 400))
def test_sample_is_the_rows_of_smallest_keys(total, capacity):
    order = sorted(range(total), key=splitmix64)
    assert sample_rows(total, capacity).tolist() == sorted(order[:capacity])


def test_sample_is_uniform_over_the_file():
    rows = sample_rows(1_000_000, 10_000)
    counts = np.bincount(rows // 100_000, minlength=10)
    # Hypergeometric: mean 1000, standard deviation under 30.
    assert np.abs(counts - 1000).max() < 120


@pytest.mark.parametrize("step", [1000, 7777, 50_000, 300_000])
@pytest.mark.parametrize("capacity", [1, 999, 60_000, 300_000, 10**6])
def test_reservoir_equals_sample_rows_for_every_chunk_size(step, capacity):
    total = 300_000
    reservoir = Reservoir(capacity)
    for start in range(0, total, step):
        rows = np.arange(start, min(total, start + step), dtype=np.float64)
        reservoir.offer(start, [rows * 2, -rows])
    rows, values = reservoir.take()
    assert np.array_equal(rows, sample_rows(total, capacity))
    assert np.array_equal(values, np.column_stack([rows * 2.0, -rows.astype(float)]))
