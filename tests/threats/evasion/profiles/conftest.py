"""Small tables of ratings with a known structure."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.core.data import Ratings
from modelward.core.subject import Subject


@pytest.fixture
def table():
    """40 users by 30 items of two kinds, a third of them rated, 1 to 5; item 29 by one user alone."""
    rng = np.random.default_rng(4)
    taste, trait = rng.choice([-1, 1], 40), rng.choice([-1, 1], 30)
    whole = np.clip(np.rint(3 + np.outer(taste, trait) + rng.normal(0, 0.7, (40, 30))), 1, 5)
    whole[rng.random((40, 30)) > 0.35] = np.nan
    whole[:, 29] = np.nan
    whole[0, 29] = 3
    whole[0, 0], whole[1, 1] = 1, 5
    return whole


@pytest.fixture
def as_ratings():
    """A table as `core.data.Ratings`."""

    def make(table):
        users, items = np.nonzero(~np.isnan(table))
        return Ratings(
            subject=Subject(kind="dataset", name="ratings.csv", digest="sha256:" + 64 * "0"),
            users=users,
            items=items,
            values=table[users, items],
            user_names=tuple(f"u{i}" for i in range(table.shape[0])),
            item_names=tuple(f"i{i}" for i in range(table.shape[1])),
        )

    return make
