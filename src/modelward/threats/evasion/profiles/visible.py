"""How visible invented profiles are: simple statistics of each profile, as defenders compute them.

Source: Chirita, Nejdl and Zamfir, Preventing shilling attacks in online recommender systems, WIDM 2005,
section 3 (rating deviation from mean agreement; degree of similarity with the top neighbours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.numeric.roc import auc
from modelward.threats.evasion.profiles.table import item_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

NEIGHBOURS: Final = 20


def deviation(table: FloatArray) -> FloatArray:
    """RDMA: mean over a user's items of |rating - mean of the item| / number of the item's ratings.

    Args:
        table: (users, items) ratings, NaN where not rated.

    Returns:
        (users,), 0 where nothing was rated.
    """
    rated = ~np.isnan(table)
    weighed = np.abs(table - item_means(table)) / np.maximum(rated.sum(axis=0), 1)
    means: FloatArray = np.where(rated, weighed, 0.0).sum(axis=1) / np.maximum(rated.sum(axis=1), 1)
    return means


def similarity(table: FloatArray, neighbours: int = NEIGHBOURS) -> FloatArray:
    """DegSim: mean cosine of a user's centred ratings with those of the most similar others.

    Args:
        table: (users, items) ratings, NaN where not rated.
        neighbours: how many others, at most all of them.

    Returns:
        (users,) in [-1, 1]; 0 where all of a user's ratings are equal.
    """
    rated = ~np.isnan(table)
    counts = np.maximum(rated.sum(axis=1, keepdims=True), 1)
    means = np.where(rated, table, 0.0).sum(axis=1, keepdims=True) / counts
    centred = np.where(rated, table - means, 0.0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = centred / np.where(lengths > 1e-12, lengths, 1.0)
    alike = centred @ centred.T
    np.fill_diagonal(alike, -np.inf)
    count = min(neighbours, len(table) - 1)
    nearest: FloatArray = np.partition(alike, -count, axis=1)[:, -count:]
    return np.asarray(nearest.mean(axis=1), dtype=np.float64)


def told_apart(table: FloatArray, invented: FloatArray) -> dict[str, float]:
    """How well each statistic ranks invented users above real ones: area under the curve, 0.5 is chance.

    Args:
        table: (users, items) the real ratings.
        invented: (m, items), m >= 1.
    """
    whole = np.concatenate([table, invented])
    real = len(table)
    found = {"rdma": deviation(whole), "degsim": similarity(whole)}
    return {name: auc(values[real:], values[:real]) for name, values in found.items()}
