"""What is known of one column after all its rows have streamed by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.data.arrow import text_bytes, text_codes
from modelward.adapters.data.limits import EXACT, LARGEST, MAX_CATEGORIES, MAX_LABELS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@final
class NumberTally:
    """Counts, extremes and bytes of a column of numbers.

    Attributes:
        missing: rows that are NaN.
        lower: smallest value; infinite while there is none.
        upper: largest value; minus infinite while there is none.
        whole: whether every value is a whole number of magnitude up to 2**53.
        infinite: row of the first value beyond `LARGEST`, counted from 0, or null.
        counts: rows per distinct value, while `crowded` is false.
        crowded: more than `MAX_LABELS` distinct values, or distinct values are not wanted.
    """

    def __init__(self, *, distinct: bool) -> None:
        self.missing = 0
        self.lower, self.upper = np.inf, -np.inf
        self.whole = True
        self.infinite: int | None = None
        self.counts: dict[float, int] = {}
        self.crowded = not distinct
        self._hash = hashlib.sha256()

    def add(self, first: int, values: NDArray[np.float64]) -> None:
        """Count the next rows.

        Args:
            first: number of the first row.
            values: (n,) float64; NaN is missing.
        """
        gaps = np.isnan(values)
        present = values
        if gaps.any():
            values = np.where(gaps, np.nan, values)  # one bit pattern for every missing value
            present = values[~gaps]
        self._hash.update(np.ascontiguousarray(values, dtype="<f8").data)
        self.missing += len(values) - len(present)
        if not len(present):
            return
        # Adding 0 turns -0 into 0.
        lower, upper = float(present.min()) + 0.0, float(present.max()) + 0.0
        self.lower, self.upper = min(self.lower, lower), max(self.upper, upper)
        if self.infinite is None and max(-lower, upper) > LARGEST:
            self.infinite = first + int(np.flatnonzero(np.abs(values) > LARGEST)[0])
        self.whole = self.whole and max(-lower, upper) <= EXACT and bool((present == np.floor(present)).all())
        if not self.crowded:
            distinct, counts = np.unique(present, return_counts=True)
            for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
                self.counts[value] = self.counts.get(value, 0) + count
            self.crowded = len(self.counts) > MAX_LABELS

    def hexdigest(self) -> str:
        """SHA-256 of the values as ``<f8``."""
        return self._hash.hexdigest()


@final
class TextTally:
    """Counts, distinct texts and bytes of a column of texts.

    Attributes:
        missing: rows without a value.
        codes: number of each distinct text, in order of first appearance.
        counts: rows per distinct text, in the same order.
        crowded: more than `MAX_CATEGORIES` distinct texts; codes and counts are then incomplete.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.codes: dict[str, int] = {}
        self.counts = np.zeros(0, dtype=np.int64)
        self.crowded = False
        self._lengths = hashlib.sha256()
        self._bytes = hashlib.sha256()

    def add(self, texts: pa.Array) -> NDArray[np.float64]:
        """Count the next rows.

        Args:
            texts: (n,) large_string.

        Returns:
            (n,) float64, index into `codes`; NaN is missing. All NaN once `crowded`.
        """
        lengths, content = text_bytes(texts)
        self._lengths.update(lengths)
        self._bytes.update(content)
        self.missing += texts.null_count
        if self.crowded:
            return np.full(len(texts), np.nan)
        distinct, codes = text_codes(texts)
        remap = np.array(
            [self.codes.setdefault(text, len(self.codes)) for text in distinct], dtype=np.float64
        )
        if len(self.codes) > MAX_CATEGORIES:
            self.crowded = True
            return np.full(len(texts), np.nan)
        present = codes >= 0
        values = np.full(len(texts), np.nan)
        values[present] = remap[codes[present]]
        grown = np.zeros(len(self.codes), dtype=np.int64)
        grown[: len(self.counts)] = self.counts
        self.counts = grown + np.bincount(values[present].astype(np.int64), minlength=len(grown))
        return values

    def hexdigests(self) -> tuple[str, str]:
        """SHA-256 of the lengths in bytes (``<i8``, -1 for missing) and of the texts' UTF-8, joined."""
        return self._lengths.hexdigest(), self._bytes.hexdigest()
