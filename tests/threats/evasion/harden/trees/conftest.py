"""Tables on which it is known what withstands an attacker, and models of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.check import Subjects


def _clouds(n=300, seed=1):
    """Feature 0 tells the classes apart even after a change of 0.1, but for a tenth; 1 always, but barely."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    side = 2 * y - 1
    first = 0.5 + np.where(random.random(n) < 0.1, -1, 1) * side * random.uniform(0.2, 0.4, n)
    second = 0.5 + side * random.uniform(0.01, 0.03, n)
    return np.stack([first, second], 1).astype(np.float32), y


@pytest.fixture(scope="session")
def clouds():
    """Make samples and labels: `clouds(n, seed)`."""
    return _clouds


@pytest.fixture(scope="session")
def subjects():
    """Open a fitted model on data that it is hardened with."""

    def opened(model, data, *, train=True, **stated):
        samples = from_arrays(*data, name="data", options=DataOptions(**({"bounds": (0.0, 1.0)} | stated)))
        found = open_live(model, samples, samples if train else None, ModelOptions(gradients=False))
        return Subjects(
            model=found.model,
            data=found.data,
            train=found.train,
            attachments=SimpleNamespace(put=lambda arrays: f"sha256:{len(arrays):064x}"),
        )

    return opened
