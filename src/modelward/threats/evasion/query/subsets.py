"""Random-search moves for tables and other inputs without spatial axes: subsets of features.

The idea of the Square attack (arXiv 1912.00049v3) with a random subset of features in place of a square. Two
things differ, because tables are often read by trees, which respond to thresholds and not to slopes: half of
the new values lie anywhere in the ball and not only on its corners, and categories and one-hot groups switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach

_SMALLEST_STEP: Final = 0.05
"""L2 steps are log-uniform between this and 1, in units of eps."""


@final
class Subsets:
    """Moves on subsets of the features that may change.

    A unit is one number, one category column or one one-hot group.

    Args:
        reach: what is admissible; Linf, L2 or L1.
        seed: of the random numbers.
    """

    def __init__(self, reach: Reach, seed: int) -> None:
        self._reach = reach
        self._random = np.random.default_rng(seed)
        self._numbers = np.flatnonzero(reach.numeric)
        self._codes = np.flatnonzero(reach.category & reach.free)
        self._count = len(self._numbers) + len(self._codes) + len(reach.groups)
        self._scale = reach.scale.reshape(-1)[self._numbers]

    def first(self, index: IntArray) -> FloatArray:
        """Every number moved as far as the norm allows all of them together, in random directions."""
        x = self._flat(self._reach.points[index].astype(np.float64)).copy()
        eps = self._reach.threat.eps
        share = {"linf": 0.0, "l2": 0.5, "l1": 1.0}[self._reach.threat.norm]
        size = eps / max(1, len(self._numbers)) ** share
        signs = self._random.integers(0, 2, (len(x), len(self._numbers))) * 2.0 - 1.0
        x[:, self._numbers] += size * signs * self._scale
        return x.reshape(-1, *self._reach.shape)

    def change(self, x: FloatArray, index: IntArray, part: float) -> FloatArray:
        """Change a random subset of the units of each sample."""
        size = max(1, round(part * self._count))
        new = self._flat(x).copy()
        origin = self._flat(self._reach.points[index].astype(np.float64))
        chosen = self._choose(len(x), size)
        cut = len(self._numbers)
        move = {"linf": self._scatter, "l2": self._shift, "l1": self._deal}[self._reach.threat.norm]
        change = (new - origin)[:, self._numbers] / self._scale
        moved = move(np.nan_to_num(change), chosen[:, :cut], size)
        # A move to where the sample already is would waste a query; its mirror image is not there.
        idle = np.isclose(moved, change, atol=0).all(axis=1, keepdims=True)
        moved = np.where(idle & chosen[:, :cut], -moved, moved)
        new[:, self._numbers] = origin[:, self._numbers] + moved * self._scale
        upper = self._flat(self._reach.upper[None])[0]
        for column, mask in zip(self._codes, chosen[:, cut:].T, strict=False):
            codes = self._random.integers(0, int(upper[column]) + 1, len(new))
            new[:, column] = np.where(mask, codes, new[:, column])
        for group, mask in zip(self._reach.groups, chosen[:, cut + len(self._codes) :].T, strict=True):
            member = np.eye(len(group))[self._random.integers(0, len(group), len(new))]
            new[:, group] = np.where(mask[:, None], member, new[:, group])
        return new.reshape(x.shape)

    def _scatter(self, change: FloatArray, chosen: BoolArray, size: int) -> FloatArray:
        """Linf: new values anywhere in the ball, half of them on its corners."""
        del size
        values = self._random.uniform(-1, 1, change.shape)
        corner = self._random.random((len(change), 1)) < 0.5
        values = np.where(corner, np.sign(values), values)
        return np.where(chosen, self._reach.threat.eps * values, change)

    def _shift(self, change: FloatArray, chosen: BoolArray, size: int) -> FloatArray:
        """L2: move squared length between subsets, as the Square attack does, or step on the sphere."""
        eps = self._reach.threat.eps
        giving = self._choose(len(change), size)[:, : change.shape[1]]
        direction = np.where(chosen, self._random.standard_normal(change.shape), 0.0)
        length = _length(direction)
        unit = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
        kept = np.where(chosen | giving, 0.0, change)
        moved = kept + unit * np.sqrt(np.maximum(0.0, eps**2 - np.square(kept).sum(axis=1, keepdims=True)))
        coin, step = self._random.random((2, len(change), 1))
        stepped = change + eps * _SMALLEST_STEP**step * unit
        stepped *= np.minimum(1.0, eps / np.maximum(_length(stepped), eps * _SMALLEST_STEP))
        return np.asarray(np.where(coin < 0.5, moved, stepped))

    def _deal(self, change: FloatArray, chosen: BoolArray, size: int) -> FloatArray:
        """L1: what the chosen numbers and as many changed ones hold, and what is left, goes to the chosen."""
        rank = np.where(change != 0, self._random.random(change.shape), 2.0).argsort(axis=1).argsort(axis=1)
        giving = rank < size
        kept = np.where(chosen | giving, 0.0, change)
        weight = np.where(chosen, self._random.standard_exponential(change.shape), 0.0)
        total = weight.sum(axis=1, keepdims=True)
        weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        left = np.maximum(0.0, self._reach.threat.eps - np.abs(kept).sum(axis=1, keepdims=True))
        signs = self._random.integers(0, 2, change.shape) * 2.0 - 1.0
        return np.asarray(kept + left * weight * signs)

    def _choose(self, n: int, size: int) -> BoolArray:
        """(n, units) mask with `size` random units per row."""
        rank = self._random.random((n, self._count)).argsort(axis=1).argsort(axis=1)
        return np.asarray(rank < size)

    @staticmethod
    def _flat(x: FloatArray) -> FloatArray:
        return x.reshape(len(x), -1)


def _length(change: FloatArray) -> FloatArray:
    """Euclidean length of each row, (m, 1)."""
    return np.asarray(np.sqrt(np.square(change).sum(axis=1, keepdims=True)))
