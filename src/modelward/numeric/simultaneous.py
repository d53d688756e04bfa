"""Intervals that hold together: several statements, one error probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from modelward.errors import InputError
from modelward.numeric.proportion import score_interval, z_score

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import FloatArray, IntArray


def sidak_level(confidence: float, m: int) -> float:
    """Confidence that each of m intervals needs so that all hold together with the given confidence.

    Exact for independent intervals; conservative for two-sided intervals of jointly normal estimates.

    Args:
        confidence: joint confidence in (0, 1).
        m: number of intervals, at least 1.

    Returns:
        confidence ** (1 / m).

    Raises:
        InputError: confidence outside (0, 1) or m < 1.

    Source: Sidak (1967), JASA 62(318), Theorem 1 and its corollaries.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence of {confidence} is not between 0 and 1")
    if m < 1:
        raise InputError(f"{m} intervals: at least one is needed")
    return float(confidence ** (1.0 / m))


def _multinomial(counts: ArrayLike) -> IntArray:
    cells = np.asarray(counts)
    if cells.ndim != 1 or cells.size == 0 or not np.issubdtype(cells.dtype, np.integer) or np.any(cells < 0):
        raise InputError("multinomial counts must be a non-empty vector of whole numbers >= 0")
    return cells.astype(np.int64)


def goodman(counts: ArrayLike, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Simultaneous intervals for the shares of a multinomial: score intervals at the Bonferroni level.

    Good for few, well-filled cells (expected counts of 5 and more).

    Args:
        counts: cell counts, integer vector of length m.
        confidence: joint confidence in (0, 1).

    Returns:
        Lower and upper ends, each of shape (m,); (0, 1) everywhere when all counts are 0.

    Raises:
        InputError: counts or confidence out of range.

    Source: Goodman (1965), Technometrics 7(2), 247-254, with the chi-square value of one degree of freedom at
    1 - alpha / m.
    """
    cells = _multinomial(counts)
    critical = z_score(1.0 - (1.0 - confidence) / cells.size)
    return score_interval(cells, cells.sum(), critical)


def _box_probability(cells: IntArray, radius: int) -> float:
    """P(every count of a multinomial with shares cells/n is within `radius` of cells), exactly.

    A multinomial is a vector of Poisson counts given their sum, so the probability is a product of truncated
    Poisson probabilities times that of the truncated sum (Sison and Glaz 1995, section 2). They approximate
    the latter by an Edgeworth series; here the truncated distributions are convolved.
    """
    total = int(cells.sum())
    filled = cells[cells > 0]
    length = int(2 * radius * filled.size + 1)
    spectrum = np.ones(length // 2 + 1, np.complex128)
    start = 0
    offsets = np.arange(-radius, radius + 1)
    for mean in filled:
        values = mean + offsets
        inside = values >= 0
        log_pmf = special.xlogy(values, mean) - mean - special.gammaln(np.where(inside, values, 0) + 1.0)
        spectrum *= np.fft.rfft(np.where(inside, np.exp(np.where(inside, log_pmf, -np.inf)), 0.0), length)
        start += int(mean) - radius
    joint = np.fft.irfft(spectrum, length)[total - start]
    log_poisson_total = special.xlogy(total, total) - total - special.gammaln(total + 1.0)
    return float(np.clip(joint / np.exp(log_poisson_total), 0.0, 1.0))


def sison_glaz(counts: ArrayLike, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Simultaneous intervals for the shares of a multinomial with many or sparse cells.

    All intervals have the same width before they are cut to [0, 1]. The box probability is computed exactly,
    not by the Edgeworth series of the paper.

    Args:
        counts: cell counts, integer vector of length m.
        confidence: joint confidence in (0, 1).

    Returns:
        Lower and upper ends, each of shape (m,); (0, 1) everywhere when all counts are 0.

    Raises:
        InputError: counts or confidence out of range.

    Source: Sison and Glaz (1995), JASA 90(429), 366-369, section 2.
    """
    z_score(confidence)  # refuses a confidence out of range
    cells = _multinomial(counts)
    total = int(cells.sum())
    if total == 0:
        return np.zeros(cells.size), np.ones(cells.size)
    # The c with P(c) <= confidence < P(c + 1): P grows with c and P(total) = 1, so gallop, then bisect.
    low, high = -1, 1
    while high < total and _box_probability(cells, high) <= confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _box_probability(cells, middle) > confidence else (middle, high)
    radius = max(low, 0)
    inner = _box_probability(cells, radius) if low >= 0 else 0.0
    gamma = (confidence - inner) / (_box_probability(cells, radius + 1) - inner) if low >= 0 else 0.0
    lower = (cells - radius) / total
    upper = (cells + radius + 2 * gamma) / total
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
