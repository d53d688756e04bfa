"""Ratings as a table of users by items, NaN where a user did not rate, and what is usual in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.core.data import Ratings
    from modelward.core.model import Recommender

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """What a rating may be.

    Attributes:
        lower: worst rating.
        upper: best rating.
        step: smallest difference of two ratings, > 0.
    """

    lower: float
    upper: float
    step: float

    def snapped(self, values: FloatArray) -> FloatArray:
        """The nearest ratings that a user can give; NaN stays."""
        steps = np.round((np.clip(values, self.lower, self.upper) - self.lower) / self.step)
        return np.minimum(self.lower + steps * self.step, self.upper)


def scale_of(ratings: Ratings) -> Scale | None:
    """The scale that the ratings themselves show; null where all are equal."""
    seen = np.unique(ratings.values)
    if len(seen) < 2:
        return None
    return Scale(float(seen[0]), float(seen[-1]), float(np.diff(seen).min()))


def as_table(ratings: Ratings) -> FloatArray:
    """(users, items) float64, NaN where not rated."""
    table = np.full((len(ratings.user_names), len(ratings.item_names)), np.nan)
    table[ratings.users, ratings.items] = ratings.values
    return table


def trained(recommender: Recommender, table: FloatArray, users: IntArray) -> FloatArray:
    """Train on all rows of a table, and score all items for some of its users.

    Returns:
        (len(users), items) float64.
    """
    rows, items = np.nonzero(~np.isnan(table))
    recommender.fit(rows.astype(np.int64), items.astype(np.int64), table[rows, items])
    return recommender.predict(users)


def item_means(table: FloatArray) -> FloatArray:
    """(items,) mean rating of each item; the overall mean where nobody rated it."""
    rated = ~np.isnan(table)
    counts = rated.sum(axis=0)
    sums = np.where(rated, table, 0.0).sum(axis=0)
    overall = float(sums.sum() / max(1, counts.sum()))
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall)


def item_deviations(table: FloatArray, means: FloatArray) -> FloatArray:
    """(items,) standard deviation of each item's ratings; 0 where fewer than two."""
    rated = ~np.isnan(table)
    squares = np.where(rated, (table - means) ** 2, 0.0).sum(axis=0)
    deviations: FloatArray = np.sqrt(squares / np.maximum(rated.sum(axis=0), 1))
    return deviations


def hits(scores: FloatArray, table: FloatArray, target: int, k: int) -> NDArray[np.bool_]:
    """Whether the target is among the k best items that each user has not rated; ties count against it.

    Args:
        scores: (users, items).
        table: (users, items) NaN where not rated, which are the items that can be recommended.
        target: an item that none of these users rated.
        k: length of a recommendation, >= 1.
    """
    better = (scores >= scores[:, [target]]) & np.isnan(table)
    found: NDArray[np.bool_] = better.sum(axis=1) - 1 < k
    return found
