"""A linear rule on two clouds of points, as a function."""

from __future__ import annotations

import numpy as np
import pytest

import modelward


@pytest.fixture(scope="session")
def points():
    """(60, 3) float64 and labels 0 or 1; the sign of the sum tells them apart."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    return rng.normal(size=(60, 3)) + 2.0 * (2 * y[:, None] - 1), y


@pytest.fixture
def rule():
    """Scores of the two classes; counts the rows it was asked about."""

    def rule(x):
        rule.asked += len(x)
        total = np.asarray(x, dtype=np.float64).sum(axis=1)
        return np.stack([-total, total], axis=1)

    rule.asked = 0
    return rule


@pytest.fixture
def options(tmp_path):
    """Two cheap checks, in a store of the test's own."""

    def options(**changes):
        stated = {"checks": ("quality", "evasion.query"), "limit": 5, "norms": ("linf",), "eps": (0.1,)}
        return modelward.AuditOptions(**{**stated, "store": tmp_path / ".modelward", **changes})

    return options
