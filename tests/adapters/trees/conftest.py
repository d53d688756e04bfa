"""Small tables and one opened model per library."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, open_live

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def table():
    """(x, two labels, three labels): numbers, a column of codes, and missing values in `gaps`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    x[:, 3] = rng.integers(0, 6, 300)
    two = ((x[:, 0] + x[:, 1] * x[:, 2] > 0) ^ (x[:, 3] > 3)).astype(np.int64)
    return x, two, two + (x[:, 0] > 1)


@pytest.fixture(scope="session")
def gaps(table):
    x = table[0].copy()
    x[::9, 2] = np.nan
    return x


@pytest.fixture(scope="session")
def live():
    """Open a fitted object on data."""

    def opened(model, x, y, *, train=None):
        data = from_arrays(x, y, name="t", options=DataOptions())
        return open_live(model, data, train, ModelOptions(name="m"))

    return opened


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        # The libraries warn about names of features, threads and their own future.
        warnings.simplefilter("ignore")
        yield
