"""The best split of a node when an attacker chooses the side of every sample that it can move.

Source: Vos and Verwer 2021, "Efficient Training of Robust Decision Trees Against Adversarial Examples" (ICML,
arXiv 2012.10438), section 3, for two classes; Chen et al. 2019, "Robust Decision Trees Against Adversarial
Examples" (ICML, arXiv 1902.10660), section 3, for the question. With more classes each is counted against all
others: without an attacker that sum is the Gini impurity itself, with one it is at least its worst case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.harden.trees.grid import Grid

_LEAST: Final = 1e-9
"""Impurity per sample that a split must remove."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A question and the attacker's answer.

    Attributes:
        feature: that is asked about.
        at: position of the threshold.
        missing_left: where samples without a value go.
        moves: (k,) 1 where the attacker moves samples of a class to the left, -1 to the right, 0 not at all.
    """

    feature: int
    at: int
    missing_left: bool
    moves: IntArray


def worst_impurity(left: FloatArray, movable: FloatArray, total: FloatArray) -> tuple[FloatArray, IntArray]:
    """Impurity of both children after the attacker's best choice, times the samples, and the choice.

    A child with a samples of a class and b others has a b / (a + b) of it. That is concave, so with a of A
    and b of B samples on the left the sum over both children is largest where a / b = A / B, and there it is
    A B / (A + B), which the node has without a split. Where no choice reaches that ratio, the best one is the
    corner nearest to it: all movable samples of the class to one side, all others to the other.

    Args:
        left: (..., k) samples that are surely on the left, per class.
        movable: (..., k) samples whose side the attacker chooses.
        total: (k,) samples of the node.

    Returns:
        (...) the sum over classes, and (..., k) the corner: 1, -1, or 0 where the ratio is reached.
    """
    whole = total.sum()
    rest, others = left.sum(axis=-1, keepdims=True) - left, whole - total
    movable_rest = movable.sum(axis=-1, keepdims=True) - movable
    scarce = (left + movable) * others <= rest * total
    ample = left * others >= (rest + movable_rest) * total
    a = np.where(scarce, left + movable, left)
    b = np.where(scarce, rest, rest + movable_rest)
    corner = _impurity(a, b) + _impurity(total - a, others - b)
    each = np.where(scarce | ample, corner, _impurity(total, others))
    return each.sum(axis=-1), np.where(scarce, 1, np.where(ample, -1, 0))


def _impurity(a: FloatArray, b: FloatArray) -> FloatArray:
    size = a + b
    return np.asarray(a * b / np.where(size > 0, size, 1.0))


def best_split(grid: Grid, rows: IntArray, y: IntArray, features: IntArray, *, fewest: int) -> Split | None:
    """The split of a node that leaves least impurity to the worst attacker; null when none removes any.

    Args:
        grid: all samples.
        rows: (n,) those of the node; one may occur several times.
        y: (m,) class of each of all samples, from 0 on; all classes below the largest exist.
        features: (f,) that may be asked about.
        fewest: samples that must surely be on each side.
    """
    k, width = int(y.max()) + 1, grid.width
    if not width:
        return None
    label, missing = y[rows], grid.missing[np.ix_(rows, features)]
    total = np.bincount(label, minlength=k).astype(np.float64)
    reached, surely = (
        _counts(np.where(missing, width + 1, part[np.ix_(rows, features)]), label, (k, width))
        for part in (grid.low, grid.high)
    )
    there = np.arange(width) < np.array([len(grid.thresholds[f]) for f in features])[:, None]
    gaps = bool(missing.any())
    absent = np.zeros((len(features), 1, k))
    for c in range(k) if gaps else ():
        absent[:, 0, c] = missing[label == c].sum(axis=0)
    found: tuple[float, Split] | None = None
    for missing_left in (False, True) if gaps else (False,):
        added = absent if missing_left else 0.0
        left, within = surely + added, reached + added
        score, moves = worst_impurity(left, within - left, total)
        sides = np.minimum(left.sum(axis=-1), len(rows) - within.sum(axis=-1))
        score = np.where((sides >= fewest) & there, score, np.inf)
        f, j = np.unravel_index(int(score.argmin()), score.shape)
        if found is None or score[f, j] < found[0]:
            split = Split(
                feature=int(features[f]), at=int(j), missing_left=missing_left, moves=moves[f, j].copy()
            )
            found = float(score[f, j]), split
    gain = float(_impurity(total, total.sum() - total).sum()) - (np.inf if found is None else found[0])
    return found[1] if found is not None and gain > _LEAST * len(rows) else None


def _counts(position: IntArray, label: IntArray, size: tuple[int, int]) -> FloatArray:
    """(f, width, k) samples whose position is at most each threshold's."""
    (k, width), f = size, position.shape[1]
    cell = (np.arange(f) * (width + 2) + position) * k + label[:, None]
    counted = np.bincount(cell.ravel(), minlength=f * (width + 2) * k).reshape(f, width + 2, k)
    return np.cumsum(counted[:, :width], axis=1).astype(np.float64)


def goes_left(grid: Grid, rows: IntArray, y: IntArray, split: Split) -> BoolArray:
    """(n,) the side of each sample after the attacker's choice; without one it stays on its own."""
    f, at = split.feature, split.at
    low, high = grid.low[rows, f], grid.high[rows, f]
    move = split.moves[y[rows]]
    moved = np.where(move == 0, grid.own[rows, f] <= at, move > 0)
    side = (high <= at) | ((low <= at) & moved)
    return np.asarray(np.where(grid.missing[rows, f], split.missing_left, side))
