"""Bootstrap of contingency tables: intervals for one statistic, a joint critical value for many.

Replicates are drawn first, intervals are read off them. The same seed gives the same replicates, whatever the
size of the batches they are computed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import special

from modelward.errors import InputError
from modelward.numeric.types import FloatArray, IntArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CountStatistic: TypeAlias = Callable[[IntArray], FloatArray]
"""Maps tables of shape (b, cells) to statistics of shape (b, k)."""

_BATCH_NUMBERS = 1 << 22  # 32 MiB of float64 per batch


def _require(confidence: float, draws: int) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence of {confidence} is not between 0 and 1")
    if draws < 1:
        raise InputError(f"{draws} bootstrap draws: at least 1 is needed")


def count_bootstrap(counts: ArrayLike, statistic: CountStatistic, *, draws: int, seed: int) -> FloatArray:
    """Statistics of `draws` resampled contingency tables.

    Drawing n rows with replacement gives cell counts that are exactly Multinomial(n, counts / n), so a table
    of a million rows is resampled at the cost of its cells.

    Args:
        counts: cell counts of any shape, whole or, for a smoothed table, fractional; resampled tables have
            round(sum) rows.
        statistic: vectorised over flattened tables, (b, cells) -> (b, k).
        draws: number of tables B.
        seed: fixes the tables.

    Returns:
        Replicates, shape (B, k).

    Raises:
        InputError: a negative count, an empty table, or draws < 1.

    Source: Efron (1979), Ann. Stat. 7(1), section 2 (the resampling vector is multinomial); Efron and
    Tibshirani (1993), An Introduction to the Bootstrap, chapter 6.
    """
    _require(0.5, draws)
    cells = np.asarray(counts, np.float64).ravel()
    total = float(cells.sum())
    if not (np.all(cells >= 0) and 0 < total < np.inf):
        raise InputError("a table to resample needs counts >= 0 and at least one row")
    batch = max(1, _BATCH_NUMBERS // cells.size)
    rng = np.random.default_rng(seed)
    shares = cells / total
    parts = []
    for start in range(0, draws, batch):
        tables = rng.multinomial(round(total), shares, size=min(batch, draws - start))
        parts.append(np.asarray(statistic(tables), np.float64))
    return np.concatenate(parts)


def percentile_interval(replicates: ArrayLike, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Percentile interval of each statistic.

    Args:
        replicates: shape (B, k).
        confidence: in (0, 1).

    Returns:
        Lower and upper ends, each of shape (k,).

    Raises:
        InputError: confidence out of range, or no replicates.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    values = np.asarray(replicates, np.float64)
    _require(confidence, len(values))
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(values, [tail, 1.0 - tail], axis=0)
    return lower, upper


def max_critical(pivots: ArrayLike, confidence: float) -> float:
    """Critical value c with P(every |pivot| <= c) >= confidence under the bootstrap distribution.

    Args:
        pivots: studentised replicates, shape (B, k); NaN where a statistic is undefined in a replicate, which
            then says nothing about it.
        confidence: joint confidence in (0, 1).

    Returns:
        The conservative (upper) quantile of the largest |pivot|; the two-sided normal value for a single
        statistic is the floor, so that statistics without any bootstrap variation do not look certain.

    Raises:
        InputError: confidence out of range, or no replicates.

    Source: Romano and Wolf (2005), Econometrica 73(4), first step of the studentised method; Montiel
    Olea and Plagborg-Moller (2019), J. Appl. Econometrics 34(1) (sup-t band).
    """
    values = np.abs(np.asarray(pivots, np.float64))
    _require(confidence, len(values))
    largest = np.where(np.isnan(values), 0.0, values).max(axis=1, initial=0.0)
    floor = float(-special.ndtri((1.0 - confidence) / 2.0))
    return max(floor, float(np.quantile(largest, confidence, method="higher")))
