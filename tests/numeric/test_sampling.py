from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelward.errors import InputError
from modelward.numeric.sampling import uniform_sample


@given(n=st.integers(0, 500), limit=st.integers(1, 600), key=st.text(max_size=20))
def test_positions_are_distinct_ascending_and_in_range(n, limit, key):
    picked = uniform_sample(n, limit, key)
    assert picked.dtype == np.int64
    assert len(picked) == min(n, limit)
    assert (np.diff(picked) > 0).all()
    assert len(picked) == 0 or (picked[0] >= 0 and picked[-1] < n)


def test_a_limit_that_covers_everything_takes_everything():
    assert uniform_sample(5, 5, "a").tolist() == [0, 1, 2, 3, 4]
    assert uniform_sample(5, 9, "b").tolist() == [0, 1, 2, 3, 4]


def test_the_choice_depends_on_the_key_alone():
    np.random.seed(1)  # noqa: NPY002 - global state must not matter
    one = uniform_sample(1000, 50, "sha256:a")
    np.random.seed(2)  # noqa: NPY002 - same
    assert (uniform_sample(1000, 50, "sha256:a") == one).all()
    assert (uniform_sample(1000, 50, "sha256:b") != one).any()


def test_another_process_chooses_the_same():
    code = (
        "from modelward.numeric.sampling import uniform_sample; print(uniform_sample(1000, 5, 'k').tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(uniform_sample(1000, 5, "k").tolist())


def test_every_position_is_equally_likely():
    counts = np.zeros(20)
    for key in range(2000):
        counts[uniform_sample(20, 5, str(key))] += 1
    # Each position is in a sample with probability 1/4; without replacement the counts vary a little less
    # than the multinomial that the test assumes, so the p-value is conservative.
    assert counts.sum() == 10_000
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("n", "limit"), [(-1, 5), (5, 0), (5, -3)])
def test_impossible_requests_are_refused(n, limit):
    with pytest.raises(InputError, match=f"cannot choose {limit} of {n} samples"):
        uniform_sample(n, limit, "k")
