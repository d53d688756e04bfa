"""Growing trees from the top, one or a forest of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.seeds import child_seed
from modelward.threats.evasion.harden.trees.splits import best_split, goes_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.harden.trees.grid import Grid

FEWEST: Final = 5
"""Samples that are surely on each side of a split."""
_ASKED: Final = 32


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """One tree; node 0 is the root, children stand behind their parents.

    Attributes:
        feature: (m,) int64; -1 at leaves.
        threshold: (m,) float64 numbers of float32; a value below it goes left.
        left: (m,) int64; -1 at leaves.
        right: (m,) int64; likewise.
        missing_left: (m,) bool.
        shares: (m, k) float64 shares of the classes among the samples that the attacker leaves at a node.
    """

    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    missing_left: BoolArray
    shares: FloatArray

    @property
    def depth(self) -> int:
        """Questions on the longest path."""
        level = np.zeros(len(self.feature), np.int64)
        for node in np.flatnonzero(self.feature >= 0):
            level[[self.left[node], self.right[node]]] = level[node] + 1
        return int(level.max())


def forest(grid: Grid, y: IntArray, *, trees: int, depth: int, seed: int) -> Iterator[Grown]:
    """Grow trees one by one.

    One tree sees all samples and features. Those of a forest see as many samples drawn with replacement
    (Breiman 2001, "Random Forests", Machine Learning 45), and at each node half of the features, at most 32:
    more than is usual, since few features hold under attack.

    Args:
        grid: the samples.
        y: (n,) class of each, from 0 on.
        trees: how many.
        depth: most questions on a path, >= 1.
        seed: the only source of randomness.
    """
    n, d = grid.own.shape
    for number in range(trees):
        random = np.random.default_rng(child_seed(seed, f"tree {number}"))
        rows = np.arange(n) if trees == 1 else np.asarray(random.integers(0, n, n), np.int64)
        asked = d if trees == 1 else min((d + 1) // 2, _ASKED)
        yield _tree(grid, y, rows, (depth, asked), random)


def _tree(
    grid: Grid, y: IntArray, rows: IntArray, limits: tuple[int, int], random: np.random.Generator
) -> Grown:
    depth, asked = limits
    k, d = int(y.max()) + 1, grid.own.shape[1]
    feature, threshold, missing_left = [-1], [0.0], [True]
    children, shares = [(-1, -1)], [_shares(y[rows], k)]
    waiting = [(0, rows, 0)]
    while waiting:
        node, rows, level = waiting.pop()
        if level == depth or len(rows) < 2 * FEWEST or (y[rows] == y[rows[0]]).all():
            continue
        features = np.arange(d) if asked == d else random.choice(d, asked, replace=False)
        split = best_split(grid, rows, y, features, fewest=FEWEST)
        if split is None:
            continue
        left = goes_left(grid, rows, y, split)
        feature[node], threshold[node] = split.feature, float(grid.thresholds[split.feature][split.at])
        gaps = grid.missing[rows, split.feature].any()
        missing_left[node] = split.missing_left if gaps else bool(left.mean() >= 0.5)
        children[node] = len(feature), len(feature) + 1
        for part in (rows[left], rows[~left]):
            waiting.append((len(feature), part, level + 1))
            feature.append(-1)
            threshold.append(0.0)
            missing_left.append(True)
            children.append((-1, -1))
            shares.append(_shares(y[part], k))
    sides = np.array(children, np.int64)
    return Grown(
        feature=np.array(feature, np.int64),
        threshold=np.array(threshold, np.float64),
        left=sides[:, 0],
        right=sides[:, 1],
        missing_left=np.array(missing_left, np.bool_),
        shares=np.array(shares),
    )


def _shares(labels: IntArray, k: int) -> FloatArray:
    return np.asarray(np.bincount(labels, minlength=k) / len(labels), np.float64)
