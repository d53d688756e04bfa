"""What an attacker may make of each sample, as positions among the thresholds of each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.adapters.trees.inputs import as_float32

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_MOST: Final = 255
"""Thresholds per feature that are tried, evenly spread over the samples where there are more."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Samples as counts of the thresholds that their values reach.

    A value goes left at threshold j when it is below it, in float32 as XGBoost compares: when its position is
    at most j.

    Attributes:
        thresholds: per feature, (t,) float64 numbers of float32 in rising order.
        low: (n, d) int64 position of the smallest value that the attacker can choose.
        high: (n, d) int64 of the largest.
        own: (n, d) int64 of the sample as it is.
        missing: (n, d) bool where there is no value; positions mean nothing there.
    """

    thresholds: tuple[FloatArray, ...]
    low: IntArray
    high: IntArray
    own: IntArray
    missing: BoolArray

    @property
    def width(self) -> int:
        """Most thresholds of any feature."""
        return max((len(t) for t in self.thresholds), default=0)


def grid(x: FloatArray, low: FloatArray, high: FloatArray) -> Grid:
    """Place samples among thresholds halfway between the values at which what the attacker can do changes.

    Args:
        x: (n, d) float64, NaN where a value is missing.
        low: (n, d) smallest value that the attacker can choose for each feature.
        high: (n, d) largest.
    """
    own, least, most = (as_float32(a) for a in (x, low, high))
    missing = np.isnan(own)
    thresholds = tuple(
        _between(np.concatenate([least[:, f], most[:, f]]), gaps=bool(missing[:, f].any()))
        for f in range(x.shape[1])
    )
    return Grid(
        thresholds=thresholds,
        low=_positions(thresholds, least),
        high=_positions(thresholds, most),
        own=_positions(thresholds, own),
        missing=missing,
    )


def _between(values: FloatArray, *, gaps: bool) -> FloatArray:
    """(t,) numbers of float32 that tell neighbouring values apart, and with gaps one above all values."""
    ordered = np.sort(values[np.isfinite(values)])
    rises = np.flatnonzero(ordered[1:] > ordered[:-1])
    if len(rises) > _MOST:
        even = np.linspace(0, len(ordered) - 1, _MOST + 2)[1:-1]
        rises = np.unique(rises[np.minimum(np.searchsorted(rises, even), len(rises) - 1)])
    below, above = ordered[rises], ordered[rises + 1]
    middle = as_float32(below / 2 + above / 2)
    edges = np.where(middle > below, middle, above)
    with np.errstate(over="ignore"):
        highest = np.nextafter(ordered[-1:].astype(np.float32), np.float32(np.inf)).astype(np.float64)
    return np.concatenate([edges, highest[np.isfinite(highest)]]) if gaps else edges


def _positions(thresholds: tuple[FloatArray, ...], values: FloatArray) -> IntArray:
    found = np.empty(values.shape, np.int64)
    for f, edges in enumerate(thresholds):
        found[:, f] = np.searchsorted(edges, values[:, f], side="right")
    return found
