"""Every leaf as a box: an interval per number, a set of allowed cells per switch.

A switch is a feature or a one-hot group that takes one of finitely many cells: a code, a member of the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.errors import OperatorUnsupported
from modelward.numeric.forests import goes_left

if TYPE_CHECKING:
    from modelward.core.trees import Forest
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach

_MOST_CELLS: Final = 4096


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Something that takes one of finitely many cells.

    Attributes:
        features: (f,) int64: one feature, or the members of a one-hot group.
        cells: (c, f) float64 values of the features in each cell; a last cell of a category is NaN (missing).
        group: it is a one-hot group.
    """

    features: IntArray
    cells: FloatArray
    group: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """All leaves of a forest; intervals are (lower, upper] and stand in rows, several per leaf.

    Attributes:
        node: (l,) int64 node of the forest.
        tree: (l,) int64 tree of each leaf, ascending.
        value: (l, k) float64.
        start: (l,) int64 first row of each leaf; every leaf has one.
        feature: (e,) int64.
        lower: (e,) float64.
        upper: (e,) float64.
        missing: (e,) bool: a missing value is let through as well.
        switches: (s,) what takes cells.
        first: (s,) int64 first cell of each switch among all.
        allowed: (l, cells) bool.
    """

    node: IntArray
    tree: IntArray
    value: FloatArray
    start: IntArray
    feature: IntArray
    lower: FloatArray
    upper: FloatArray
    missing: BoolArray
    switches: tuple[Switch, ...]
    first: IntArray
    allowed: BoolArray


def switches(forest: Forest, reach: Reach) -> tuple[Switch, ...]:
    """What takes cells: categories, one-hot groups, and whole numbers that the trees split by sets.

    Raises:
        OperatorUnsupported: the trees split a feature by sets that takes more than whole numbers.
    """
    used = np.unique(forest.feature[forest.feature >= 0])
    coded = np.zeros(forest.width, np.bool_)
    coded[forest.feature[forest.subset >= 0]] = True
    category, whole = reach.category.reshape(-1), reach.whole.reshape(-1)
    low, high = reach.lower.reshape(-1), reach.upper.reshape(-1)
    found = [
        Switch(features=group, cells=np.eye(len(group)), group=True)
        for group in reach.groups
        if np.isin(group, used).any()
    ]
    members = {int(i) for group in reach.groups for i in group}
    for feature in used:
        if not (coded[feature] or category[feature]) or int(feature) in members:
            continue
        if not whole[feature] or not 0 <= high[feature] - low[feature] < _MOST_CELLS:
            raise OperatorUnsupported(
                f"the trees split feature {feature} by sets of codes, and the data's column is no category"
            )
        values = np.append(np.arange(np.ceil(low[feature]), np.floor(high[feature]) + 1), np.nan)
        found.append(Switch(features=np.array([feature]), cells=values[:, None], group=False))
    return tuple(found)


def leaves(forest: Forest, reach: Reach) -> Leaves:
    """Walk every path from root to leaf.

    Raises:
        OperatorUnsupported: as `switches`.
    """
    taken = switches(forest, reach)
    first = np.cumsum([0, *(len(s.cells) for s in taken)])
    owner = {int(f): (i, j) for i, s in enumerate(taken) for j, f in enumerate(s.features)}
    walk = _Walk(forest, reach, taken, (first, owner))
    for number, root in enumerate(forest.roots):
        walk.down(int(root), number)
    return walk.collected(first[:-1])


@final
class _Walk:
    """Collects the rows of all leaves."""

    def __init__(
        self,
        forest: Forest,
        reach: Reach,
        taken: tuple[Switch, ...],
        layout: tuple[IntArray, dict[int, tuple[int, int]]],
    ) -> None:
        self._forest, self._taken = forest, taken
        self._first, self._owner = layout
        self._edge = at_most(forest.threshold, reach).tolist()
        self._feature, self._left = forest.feature.tolist(), forest.left.tolist()
        self._right, self._missing = forest.right.tolist(), forest.missing_left.tolist()
        self._leaf: list[int] = []
        self._tree: list[int] = []
        self._start: list[int] = []
        self._rows: list[tuple[int, float, float, bool]] = []
        self._allowed: list[BoolArray] = []
        self._images: dict[int, BoolArray] = {}

    def down(self, root: int, number: int) -> None:
        """All leaves below a root, without recursion."""
        everything = np.ones(int(self._first[-1]), np.bool_)
        stack: list[tuple[int, dict[int, tuple[float, float, bool]], BoolArray]] = [(root, {}, everything)]
        while stack:
            node, limits, allowed = stack.pop()
            feature = self._feature[node]
            if feature < 0:
                self._end(node, number, limits, allowed)
                continue
            if feature in self._owner:
                switch, left = self._owner[feature][0], self._going(node)
                part = slice(int(self._first[switch]), int(self._first[switch + 1]))
                for child, mask in ((self._left[node], left), (self._right[node], ~left)):
                    narrowed = allowed.copy()
                    narrowed[part] &= mask
                    if narrowed[part].any():
                        stack.append((child, limits, narrowed))
                continue
            edge, missing = self._edge[node], self._missing[node]
            low, high, gap = limits.get(feature, (-np.inf, np.inf, True))
            if low < edge or (gap and missing):
                stack.append(
                    (self._left[node], {**limits, feature: (low, min(high, edge), gap and missing)}, allowed)
                )
            if edge < high or (gap and not missing):
                right = (max(low, edge), high, gap and not missing)
                stack.append((self._right[node], {**limits, feature: right}, allowed))

    def _going(self, node: int) -> BoolArray:
        """Which cells of the switch go left at a node."""
        if node not in self._images:
            switch, member = self._owner[self._feature[node]]
            cells = self._taken[switch].cells[:, member]
            self._images[node] = goes_left(self._forest, np.full(len(cells), node), cells)
        return self._images[node]

    def _end(
        self, node: int, number: int, limits: dict[int, tuple[float, float, bool]], allowed: BoolArray
    ) -> None:
        self._leaf.append(node)
        self._tree.append(number)
        self._start.append(len(self._rows))
        self._rows += [(f, *limit) for f, limit in limits.items()] or [(0, -np.inf, np.inf, True)]
        self._allowed.append(allowed)

    def collected(self, first: IntArray) -> Leaves:
        """Everything as arrays."""
        feature, lower, upper, missing = zip(*self._rows, strict=True)
        return Leaves(
            node=np.array(self._leaf, np.int64),
            tree=np.array(self._tree, np.int64),
            value=self._forest.value[np.array(self._leaf, np.int64)],
            start=np.array(self._start, np.int64),
            feature=np.array(feature, np.int64),
            lower=np.array(lower, np.float64),
            upper=np.array(upper, np.float64),
            missing=np.array(missing, np.bool_),
            switches=self._taken,
            first=np.asarray(first, np.int64),
            allowed=np.array(self._allowed, np.bool_).reshape(len(self._leaf), -1),
        )


def at_most(threshold: FloatArray, reach: Reach) -> FloatArray:
    """The largest number of the points' type that is not above each threshold; whole for whole types."""
    dtype = reach.points.dtype
    if not np.issubdtype(dtype, np.floating):
        return np.floor(threshold)
    with np.errstate(over="ignore"):
        found = threshold.astype(dtype)
    low = np.nextafter(found, np.array(-np.inf, dtype))
    return np.asarray(np.where(found.astype(np.float64) > threshold, low, found), np.float64)


def above(lower: FloatArray, reach: Reach) -> FloatArray:
    """The smallest number of the points' type above each limit of that type."""
    dtype = reach.points.dtype
    if not np.issubdtype(dtype, np.floating):
        return np.floor(lower) + 1
    return np.asarray(np.nextafter(lower.astype(dtype), np.array(np.inf, dtype)), np.float64)
