"""Bootstrap of rows and of contingency tables; intervals for one statistic and for many at once.

Replicates are drawn first (`row_bootstrap`, `count_bootstrap`), intervals are read off them. The same seed
gives the same replicates, whatever the size of the batches they are computed in.
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

RowStatistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Maps samples of shape (b, n, d) to statistics of shape (b, k)."""
CountStatistic: TypeAlias = Callable[[IntArray], FloatArray]
"""Maps tables of shape (b, cells) to statistics of shape (b, k)."""

_BATCH_NUMBERS = 1 << 22  # 32 MiB of float64 per batch
_JACKKNIFE_GROUPS = 1000


def _require(confidence: float, draws: int) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence of {confidence} is not between 0 and 1")
    if draws < 1:
        raise InputError(f"{draws} bootstrap draws: at least 1 is needed")


def _table(rows: ArrayLike) -> FloatArray:
    table = np.asarray(rows, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) == 0:
        raise InputError(
            f"rows of shape {table.shape} cannot be resampled: (n,) or (n, d) with n > 0 is needed"
        )
    return table


def row_bootstrap(rows: ArrayLike, statistic: RowStatistic, *, draws: int, seed: int) -> FloatArray:
    """Statistics of `draws` samples of n rows drawn with replacement.

    Args:
        rows: data, shape (n,) or (n, d); (n,) is taken as (n, 1).
        statistic: vectorised over samples, (b, n, d) -> (b, k).
        draws: number of samples B.
        seed: fixes the samples.

    Returns:
        Replicates, shape (B, k). Memory beyond it is about 64 MiB, or two samples if these are larger.

    Raises:
        InputError: no rows, or draws < 1.

    Source: Efron (1979), Ann. Stat. 7(1), section 2.
    """
    _require(0.5, draws)
    table = _table(rows)
    batch = max(1, _BATCH_NUMBERS // table.size)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, batch):
        size = min(batch, draws - start)
        parts.append(
            np.asarray(statistic(table[rng.integers(0, len(table), (size, len(table)))]), np.float64)
        )
    return np.concatenate(parts)


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


def _acceleration(rows: FloatArray, statistic: RowStatistic) -> FloatArray:
    """Skewness of the influence values over six; jackknife over rows, or groups of rows when many."""
    n = len(rows)
    groups = np.array_split(np.arange(n), min(n, _JACKKNIFE_GROUPS))
    left_out = [
        np.asarray(statistic(np.delete(rows, group, axis=0)[None]), np.float64)[0] for group in groups
    ]
    influence = np.mean(left_out, axis=0) - np.asarray(left_out)
    spread = np.square(influence).sum(axis=0) ** 1.5
    skew = (influence**3).sum(axis=0)
    return np.asarray(np.divide(skew, 6.0 * spread, out=np.zeros_like(skew), where=spread > 0))


def bca_interval(
    rows: ArrayLike, statistic: RowStatistic, confidence: float, *, draws: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Bias-corrected and accelerated interval: second-order accurate, transformation respecting.

    Args:
        rows: data, shape (n,) or (n, d).
        statistic: vectorised over samples, (b, n, d) -> (b, k); must accept any number of rows.
        confidence: in (0, 1).
        draws: number of bootstrap samples; 2000 and more for 95 %.
        seed: fixes the samples.

    Returns:
        Lower and upper ends, each of shape (k,). Above 1000 rows the acceleration comes from a jackknife of
        1000 groups. A statistic that never varies gives the interval of zero width at its value.

    Raises:
        InputError: no rows, confidence or draws out of range.

    Source: Efron (1987), JASA 82(397), section 2; eqs. (14.9), (14.10), (14.14), (14.15) of Efron and
    Tibshirani (1993), An Introduction to the Bootstrap; ties count half in the bias correction.
    """
    _require(confidence, draws)
    table = _table(rows)
    replicates = row_bootstrap(table, statistic, draws=draws, seed=seed)
    observed = np.asarray(statistic(table[None]), np.float64)[0]
    below = (replicates < observed).mean(axis=0) + 0.5 * (replicates == observed).mean(axis=0)
    bias = special.ndtri(np.clip(below, 0.5 / draws, 1.0 - 0.5 / draws))
    acceleration = _acceleration(table, statistic)
    tail = (1.0 - confidence) / 2.0
    ends = []
    for z in (special.ndtri(tail), special.ndtri(1.0 - tail)):
        level = special.ndtr(bias + (bias + z) / (1.0 - acceleration * (bias + z)))
        ends.append(np.array([np.quantile(r, q) for r, q in zip(replicates.T, level, strict=True)]))
    return ends[0], ends[1]


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


def simultaneous_bootstrap(
    observed: ArrayLike, replicates: ArrayLike, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """Intervals that hold for all k statistics together, by the bootstrap distribution of the largest |t|.

    Each interval is observed +- c times the bootstrap standard deviation, with one c for all (a sup-t band),
    so dependence between the statistics is used and not paid for. Meant for smooth statistics (means, rates,
    differences).

    Args:
        observed: statistics on the data, shape (k,).
        replicates: shape (B, k); B of several thousand for hundreds of statistics.
        confidence: joint confidence in (0, 1).

    Returns:
        Lower and upper ends, each of shape (k,). A statistic without bootstrap variation gets the interval
        (-inf, inf): the bootstrap says nothing about it.

    Raises:
        InputError: shapes differ, fewer than two replicates, or confidence out of range.

    Source: Montiel Olea and Plagborg-Moller (2019), J. Appl. Econometrics 34(1) (sup-t band by resampling);
    Romano and Wolf (2005), Econometrica 73(4).
    """
    values, centre = np.asarray(replicates, np.float64), np.asarray(observed, np.float64)
    if values.ndim != 2 or values.shape[1:] != centre.shape or len(values) < 2:
        raise InputError(
            f"replicates of shape {values.shape} do not fit {centre.shape} statistics: (B >= 2, k) is needed"
        )
    deviation = values.std(axis=0, ddof=1)
    varies = deviation > 1e-12 * np.maximum(np.abs(centre), np.abs(values).max(axis=0))
    scale = np.where(varies, deviation, 1.0)
    pivots = np.where(varies, (values - centre) / scale, 0.0)
    radius = np.where(varies, max_critical(pivots, confidence) * scale, np.inf)
    return centre - radius, centre + radius
