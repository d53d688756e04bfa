"""The witnesses of corruptions and motions: for each point the first input that the model got wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from modelward.threats.evasion.arena import stored
from modelward.threats.evasion.attack import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.core.canonical import JSON
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.arena import Points


@final
class Kept:
    """What was asked of the original runtime and answered wrong, as it was asked.

    Args:
        points: what the inputs were made of.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._found: dict[int, tuple[NDArray[np.generic], int, float]] = {}

    def keep(
        self, index: IntArray, x: NDArray[np.generic], scores: FloatArray, sizes: NDArray[np.generic]
    ) -> None:
        """Remember inputs; a point that has one already keeps that.

        Args:
            index: (m,) positions of points that are right unmodified.
            x: (m, *shape) inputs that are answered wrong.
            scores: (m, k) the answers; NaN where there was none.
            sizes: (m,) how much was done.
        """
        decisions = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
        for i, one, decision, size in zip(index, x, decisions, sizes, strict=True):
            self._found.setdefault(int(i), (one.copy(), int(decision), float(size)))

    @property
    def index(self) -> IntArray:
        """Positions of the points with a witness, ascending."""
        return np.array(sorted(self._found), np.int64)

    def outcome(self) -> dict[str, JSON]:
        """Which rows fell, and how much was done to each, in the same order."""
        rows, index = self._points.data.rows, self.index
        return {"broken": numbers(rows[index]), "sizes": [self._found[int(i)][2] for i in index]}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As `Arena.witnesses`, in the order of `index`."""
        index = self.index
        found = [self._found[int(i)] for i in index]
        x = np.array([one for one, _, _ in found], dtype=self._points.data.x.dtype)
        decision = np.array([chosen for _, chosen, _ in found], np.int64)
        return stored(self._points, index, x.reshape(len(index), *self._points.data.x.shape[1:]), decision)
