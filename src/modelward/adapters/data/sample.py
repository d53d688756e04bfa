"""A uniform sample of rows that depends only on how many rows there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def row_keys(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One pseudo-random key per row number; keys of different rows differ.

    The keys are the outputs of SplitMix64 (Steele, Lea, Flood 2014, OOPSLA, figure 16) seeded with 0: a
    bijection of 64-bit counters, so the rows with the k smallest keys are a uniform sample without
    replacement, and which rows they are does not depend on how a file is cut into chunks.

    Args:
        rows: (n,) int64 row numbers, counted from 0.

    Returns:
        (n,) uint64.
    """
    z = (rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def sample_rows(total: int, capacity: int) -> NDArray[np.int64]:
    """The row numbers that a `Reservoir` of this capacity holds after this many rows, increasing."""
    rows = np.arange(total, dtype=np.int64)
    if total <= capacity:
        return rows
    keys = row_keys(rows)
    chosen: NDArray[np.int64] = rows[keys <= np.partition(keys, capacity - 1)[capacity - 1]]
    return chosen


@final
class Reservoir:
    """Holds the rows with the smallest keys while rows stream by."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._limit: np.uint64 | None = None
        self._held = 0
        self._rows: list[NDArray[np.int64]] = []
        self._parts: list[NDArray[np.float64]] = []

    def offer(self, first: int, columns: Sequence[NDArray[np.float64]]) -> None:
        """Show the next rows.

        Args:
            first: number of the first row.
            columns: at least one, each (n,) float64.
        """
        rows = np.arange(first, first + len(columns[0]), dtype=np.int64)
        if self._limit is not None:
            rows = rows[row_keys(rows) < self._limit]
        part = np.column_stack([column[rows - first] for column in columns])
        self._rows.append(rows)
        self._parts.append(part)
        self._held += len(rows)
        if self._held > self._capacity + max(65536, self._capacity // 4):
            self._compact()

    def _compact(self) -> None:
        keys = [row_keys(rows) for rows in self._rows]
        limit = np.partition(np.concatenate(keys), self._capacity - 1)[self._capacity - 1]
        for index, key in enumerate(keys):
            keep = key <= limit
            self._rows[index], self._parts[index] = self._rows[index][keep], self._parts[index][keep]
        self._limit, self._held = limit, self._capacity

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give the sample away; the reservoir is empty afterwards.

        Returns:
            Row numbers (n,) int64, increasing, and values (n, columns) float64.
        """
        if self._held > self._capacity:
            self._compact()
        rows = np.concatenate(self._rows)
        values = np.empty((len(rows), self._parts[0].shape[1]))
        start = 0
        for index, part in enumerate(self._parts):
            values[start : start + len(part)] = part
            start += len(part)
            self._parts[index] = part[:0]  # frees each part once copied, so the peak is one sample, not two
        return rows, values
