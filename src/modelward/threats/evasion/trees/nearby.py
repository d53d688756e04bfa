"""The leaves that a point can reach within a radius, ready to be searched."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.trees.costs import ROUNDED

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.trees.costs import Costs

_BLOCK: Final = 1 << 21
_MOST_PAIRS: Final = 1 << 29


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Nearby:
    """Leaves within a radius, of trees that have more than one such leaf.

    A tree with one leaf within the radius is constant there, so it joins `base` and drops out: every input
    within the radius lies in that leaf.

    Attributes:
        origin: (d,) the point.
        base: (k,) raw scores of everything constant.
        tree: (r,) int64 which tree each leaf belongs to, counted from 0 without gaps.
        start: (t,) int64 first leaf of each tree.
        value: (r, k).
        features: (a,) int64 numeric features on which these leaves differ.
        low: (r, a) float64, exclusive.
        high: (r, a) float64, inclusive.
        allowed: (r, cells) bool.
        cells: (cells,) term of each cell.
        meets: (r, r) bool: the two leaves share an input (necessary; sufficient where there are no switches).
    """

    origin: FloatArray
    base: FloatArray
    tree: IntArray
    start: IntArray
    value: FloatArray
    features: IntArray
    low: FloatArray
    high: FloatArray
    allowed: BoolArray
    cells: FloatArray
    meets: BoolArray

    def keep(self, mask: BoolArray) -> Nearby:
        """The same with fewer leaves, at least one of every tree; a tree may be left with one."""
        tree = self.tree[mask]
        return Nearby(
            origin=self.origin,
            base=self.base,
            tree=tree,
            start=np.searchsorted(tree, np.arange(len(self.start))),
            value=self.value[mask],
            features=self.features,
            low=self.low[mask],
            high=self.high[mask],
            allowed=self.allowed[mask],
            cells=self.cells,
            meets=self.meets[np.ix_(mask, mask)],
        )


def nearby(costs: Costs, point: int, terms: tuple[FloatArray, FloatArray], radius: float) -> Nearby:
    """Collect the leaves.

    Args:
        costs: of the norm.
        point: which.
        terms: of the cells, and the leaves' totals, from `Costs`.
        radius: in the terms of totals.
    """
    cells, totals = terms
    found = costs.leaves
    alive = totals <= radius
    count = np.bincount(found.tree[alive], minlength=len(costs.forest.roots))
    single = alive & (count[found.tree] == 1)
    index = np.flatnonzero(alive & ~single)
    base = costs.forest.base + found.value[single].sum(axis=0)
    _, tree = np.unique(found.tree[index], return_inverse=True)
    origin = costs.origin(point)
    features, low, high = _intervals(costs, index, origin)
    allowed = found.allowed[index] & (cells <= radius)
    meets = _meets(low, high, [allowed[:, a:b] for a, b in spans(costs)])
    if not costs.largest:
        meets &= _together(costs.entering(origin, features, (low, high)), radius)
    return Nearby(
        origin=origin,
        base=base,
        tree=tree,
        start=np.searchsorted(tree, np.arange(int(tree.max(initial=-1)) + 1)),
        value=found.value[index],
        features=features,
        low=low,
        high=high,
        allowed=allowed,
        cells=cells,
        meets=meets,
    )


def spans(costs: Costs) -> list[tuple[int, int]]:
    """First and last cell of each switch."""
    edges = [*costs.leaves.first.tolist(), costs.leaves.allowed.shape[1]]
    return list(pairwise(edges)) if len(costs.leaves.first) else []


def _intervals(costs: Costs, index: IntArray, origin: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Dense limits over the features that may change and have a value."""
    found = costs.leaves
    last = np.append(found.start[1:], len(found.feature))
    length = last[index] - found.start[index]
    owner = np.repeat(np.arange(len(index)), length)
    row = np.repeat(found.start[index] - np.cumsum(length) + length, length) + np.arange(int(length.sum()))
    feature = found.feature[row]
    moves = costs.free[feature] & ~np.isnan(origin[feature])
    features, place = np.unique(feature[moves], return_inverse=True)
    low = np.full((len(index), len(features)), -np.inf)
    high = np.full((len(index), len(features)), np.inf)
    low[owner[moves], place], high[owner[moves], place] = found.lower[row[moves]], found.upper[row[moves]]
    whole = costs.whole[features] & (origin[features] == np.rint(origin[features]))
    return features, np.where(whole, np.floor(low), low), np.where(whole, np.floor(high), high)


def _meets(low: FloatArray, high: FloatArray, allowed: list[BoolArray]) -> BoolArray:
    meets = np.ones((len(low), len(low)), np.bool_)
    for j in range(low.shape[1]):
        bounded, ends = np.flatnonzero(low[:, j] > -np.inf), np.flatnonzero(high[:, j] < np.inf)
        apart = low[bounded, j][:, None] >= high[ends, j]
        meets[np.ix_(bounded, ends)] &= ~apart
        meets[np.ix_(ends, bounded)] &= ~apart.T
    for cells in allowed:
        shared = cells.astype(np.float32)
        meets &= (shared @ shared.T) > 0
    return meets


def _together(terms: FloatArray, radius: float) -> BoolArray:
    """(r, r) whether both leaves can be entered within the radius, switches left aside.

    Args:
        terms: (r, a) what it costs to enter each leaf, per feature.
        radius: in the terms of totals.
    """
    r, a = terms.shape
    if r * r * a > _MOST_PAIRS:
        return np.ones((r, r), np.bool_)
    total = terms.sum(axis=1)
    spent = total[:, None] + total
    for j in range(a):  # max(p, q) = p + q - min(p, q), and most terms are 0
        index = np.flatnonzero(terms[:, j] > 0)
        spent[np.ix_(index, index)] -= np.minimum(terms[index, j][:, None], terms[index, j])
    return np.asarray(spent <= radius * ROUNDED)


def probed(found: Nearby, weight: FloatArray, room: float) -> Nearby | None:
    """Drop every leaf that no adversarial choice of one leaf per tree can contain.

    A choice costs at least the leaf's own weight plus, per other tree, the smallest weight among the leaves
    that meet it: the bound of Chen et al. 2019 (arXiv 1906.03849v2, section 3.3) with cliques of two, asked
    for every leaf in turn, until nothing changes.

    Args:
        found: the leaves.
        weight: (r,) what each adds to the margin.
        room: margin that an adversarial choice must not exceed, without the constant part.

    Returns:
        The leaves that are left and their weights, or null when some tree has none: there is no such choice.
    """
    while True:
        bound = np.empty(len(weight))
        step = max(1, _BLOCK // max(1, len(weight)))
        for at in range(0, len(weight), step):
            part = np.where(found.meets[at : at + step], weight, np.inf)
            bound[at : at + step] = np.minimum.reduceat(part, found.start, axis=1).sum(axis=1)
        keep = bound <= room
        if len(np.unique(found.tree[keep])) < len(found.start):
            return None
        if keep.all():
            return found
        found, weight = found.keep(keep), weight[keep]
