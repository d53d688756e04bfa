"""What it costs to bring a point into a leaf, in the norm's own terms.

Costs are kept so that they add up, or for Linf so that the largest counts: c for Linf and L1, c**2 for L2 and
1 for every change for L0. `total` joins them, `radius` turns a radius into the same terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.trees.leaves import above, leaves

if TYPE_CHECKING:
    from modelward.core.trees import Forest
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach

ROUNDED: Final = 1 + 2.0**-40
"""How much larger than allowed a computed size may be taken for, so that rounding cannot hide a change."""


@final
class Costs:
    """The leaves of a forest as one point sees them; built once per norm, asked per point.

    Args:
        forest: the trees.
        reach: what may be done to the points, at an unlimited radius.

    Raises:
        OperatorUnsupported: see `leaves`.
    """

    def __init__(self, forest: Forest, reach: Reach) -> None:
        self.forest, self.reach = forest, reach
        self.leaves = leaves(forest, reach)
        self.largest = reach.threat.norm == "linf"
        self.free, self.whole = reach.free.reshape(-1), reach.whole.reshape(-1)
        self.scale = reach.scale.reshape(-1)
        self.switched = np.zeros(forest.width, np.bool_)
        for switch in self.leaves.switches:
            self.switched[switch.features] = True
        self._leaf_at = np.full(len(forest.feature), -1, np.int64)
        self._leaf_at[self.leaves.node] = np.arange(len(self.leaves.node))
        self._stop = np.append(self.leaves.start[1:], len(self.leaves.feature))
        self.row_leaf = np.repeat(np.arange(len(self.leaves.start)), self._stop - self.leaves.start)

    def rows_of(self, nodes: IntArray) -> list[slice]:
        """The rows of leaves given as nodes of the forest; one that no input reaches has none."""
        index = self._leaf_at[nodes]
        return [slice(int(self.leaves.start[i]), int(self._stop[i])) for i in index if i >= 0]

    def term(self, size: FloatArray) -> FloatArray:
        """Sizes of single changes in units as terms of the total."""
        norm = self.reach.threat.norm
        if norm == "l0":
            return np.where(np.isinf(size), np.inf, (size > 0).astype(np.float64))
        return np.asarray(np.square(size) if norm == "l2" else size)

    def total(self, terms: FloatArray) -> FloatArray:
        """Terms of all features of each row, joined: (n, f) to (n,)."""
        joined: FloatArray = terms.max(axis=1, initial=0.0) if self.largest else terms.sum(axis=1)
        return joined

    def radius(self, eps: float) -> float:
        """A radius in the terms of totals, a little enlarged."""
        return (eps**2 if self.reach.threat.norm == "l2" else eps) * ROUNDED

    def size(self, total: float) -> float:
        """A total as a radius."""
        return float(np.sqrt(total)) if self.reach.threat.norm == "l2" else total

    def origin(self, point: int) -> FloatArray:
        """(d,) the unmodified values."""
        return np.asarray(self.reach.points[point].reshape(-1), np.float64)

    def limits(self, point: int) -> tuple[FloatArray, FloatArray]:
        """(d,) smallest and largest admissible values."""
        low, high = self.reach.outer_limits(np.array([point]))
        return low.reshape(-1), high.reshape(-1)

    def cells(self, point: int) -> FloatArray | None:
        """(cells,) term of each switch's cells; null when the point itself is in none of them."""
        origin, parts = self.origin(point), [np.zeros(0)]
        low, high = self.limits(point)
        category = self.reach.category.reshape(-1)
        for switch in self.leaves.switches:
            own = origin[switch.features]
            here = ((switch.cells == own) | (np.isnan(switch.cells) & np.isnan(own))).all(axis=1)
            if here.sum() != 1:
                return None
            size = np.abs(switch.cells - own) / self.scale[switch.features]
            inside = (
                (switch.cells >= low[switch.features]) & (switch.cells <= high[switch.features])
            ) | here[:, None]
            if switch.group:
                term = self.term(size)
                cost = (
                    term.max(axis=1) if self.largest or self.reach.threat.norm == "l0" else term.sum(axis=1)
                )
            elif category[switch.features[0]]:
                unit = np.full(len(here), 1 / self.scale[switch.features[0]])
                cost = np.where(here | np.isnan(size[:, 0]), 0.0, self.term(unit))
            else:
                cost = self.term(size[:, 0])
            barred = ~here & (~self.free[switch.features].all() | ~inside.all(axis=1) | np.isnan(cost))
            gap = np.isnan(switch.cells).any(axis=1) != np.isnan(own).any()
            parts.append(np.where(here, 0.0, np.where(barred | gap, np.inf, cost)))
        return np.concatenate(parts)

    def numbers(self, point: int) -> FloatArray:
        """(e,) term of each row of the leaves: 0 inside, infinite where the interval cannot be reached."""
        found, origin = self.leaves, self.origin(point)
        low, high = self.limits(point)
        f = found.feature
        return self._entry(f, origin[f], (found.lower, found.upper), (low[f], high[f], found.missing))

    def _entry(
        self,
        feature: IntArray,
        own: FloatArray,
        interval: tuple[FloatArray, FloatArray],
        bounds: tuple[FloatArray, FloatArray, BoolArray],
    ) -> FloatArray:
        lower, upper = interval
        low, high, missing = bounds
        whole = self.whole[feature] & (own == np.rint(own))
        up = np.where(whole, np.floor(lower) + 1, above(lower, self.reach))
        down = np.where(whole, np.floor(upper), upper)
        with np.errstate(invalid="ignore"):
            rise, fall = up - own, own - down
        size = np.where(own <= lower, rise, np.where(own > upper, fall, 0.0)) / self.scale[feature]
        enters = up <= down
        falls = (own > upper) & enters & (down >= low)
        fits = np.where(own <= lower, enters & (up <= high), falls | (own <= upper))
        fits &= self.free[feature] | (size == 0)
        size = np.where(np.isnan(own), np.where(missing, 0.0, np.inf), np.where(fits, size, np.inf))
        return self.term(size)

    def entering(
        self, origin: FloatArray, features: IntArray, box: tuple[FloatArray, FloatArray]
    ) -> FloatArray:
        """(n, a) terms of entering boxes that are known to be within reach.

        Args:
            origin: (d,) the point.
            features: (a,) numeric features with a value.
            box: (n, a) lower ends, exclusive, and upper ends, whole where the feature is.
        """
        size: FloatArray = (
            np.abs(self.nearest(origin, features, box) - origin[features]) / self.scale[features]
        )
        return self.term(size)

    def nearest(
        self, origin: FloatArray, features: IntArray, box: tuple[FloatArray, FloatArray]
    ) -> FloatArray:
        """(n, a) the value of each feature in each box that is nearest to the point's; see `entering`."""
        own, (low, high) = origin[features], box
        whole = self.whole[features] & (own == np.rint(own))
        up = np.where(whole, low + 1, above(low, self.reach))
        return np.where(own <= low, up, np.where(own > high, high, own))

    def leaf_totals(self, rows: FloatArray, cells: FloatArray) -> FloatArray:
        """(l,) total of each leaf from its rows and its cheapest cells."""
        found = self.leaves
        join = np.maximum if self.largest else np.add
        totals = join.reduceat(rows, found.start)
        if len(found.first):
            cheapest = np.minimum.reduceat(np.where(found.allowed, cells, np.inf), found.first, axis=1)
            totals = join(totals, join.reduce(cheapest, axis=1))
        return np.asarray(totals)
