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


@pytest.fixture(scope="session")
def stump():
    """A tree of XGBoost with one question."""
    return {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_conditions": [0.5, -1.0, 1.0],
        "split_indices": [0, 0, 0],
        "default_left": [1, 0, 0],
    }


@pytest.fixture(scope="session")
def attributes():
    """A tree of ONNX with one question."""
    return {
        "classlabels_int64s": [0, 1],
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": [b"BRANCH_LEQ", b"LEAF", b"LEAF"],
        "nodes_values": [0.5, 0, 0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 1],
        "class_weights": [1.0, 1.0],
    }


@pytest.fixture(scope="session")
def near():
    """Rows on thresholds and beside them."""
    return _near


def _near(random, edges, n=40, width=3):
    """Rows on thresholds, beside them in float32 and in float64, missing, infinite and anywhere."""
    x = random.normal(size=(n, width))
    edges = np.asarray(edges if len(edges) else [0.0], np.float64)
    for row in x:
        for f in range(width):
            edge = float(random.choice(edges))
            kind = int(random.integers(9))
            single = np.float32(edge)
            row[f] = [
                edge,
                np.nextafter(edge, np.inf),
                np.nextafter(edge, -np.inf),
                np.nextafter(single, np.float32(np.inf)),
                np.nextafter(single, np.float32(-np.inf)),
                np.nan,
                row[f],
                0.0,
                random.choice([np.inf, -np.inf]),
            ][kind]
    return x


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        # The libraries warn about names of features, threads and their own future.
        warnings.simplefilter("ignore")
        yield
