"""Finding adversarial inputs fast: the best change of one feature, exactly, again and again.

With all other features fixed, the margin is a step function of one feature, and its steps are known: a leaf
is entered by changing one feature alone when that feature holds the only unmet condition of its path.
All steps of all features come out of one pass over the rows of the leaves. In the spirit of Zhang et al. 2020
(arXiv 2010.11598v2, section 3), whose neighbours of a leaf tuple are those that one change can reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.trees.leaves import above

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.trees.search import Effort, Point

_STEPS: Final = 60
_RIVALS: Final = 3
_GAIN: Final = 1e-12


def descended(point: Point, eps: float, effort: Effort, *, starts: int) -> FloatArray | None:
    """An input within the radius that the trees get wrong, or null.

    Args:
        point: the point.
        eps: the radius.
        effort: books one forward sample per step.
        starts: descents per rival class: the first from the point, the others from random values nearby.
    """
    descent = _Descent(point, eps)
    random = np.random.default_rng(point.point)
    for start in range(starts):
        for rival in descent.rivals():
            x = descent.run(rival, effort, None if start == 0 else random)
            if x is not None:
                return x
            if point.costs.free.sum() == 0:
                return None
    return None


@final
class _Descent:
    """One point, one radius."""

    def __init__(self, point: Point, eps: float) -> None:
        self._point, self._costs = point, point.costs
        self._radius = point.costs.radius(eps)
        self._origin = point.costs.origin(point.point)
        self._low, self._high = point.costs.limits(point.point)
        self._spread = eps * self._costs.scale if self._costs.largest else None

    def rivals(self) -> list[int]:
        """The classes next to the target in raw score."""
        from modelward.numeric.forests import raw_scores

        raw = raw_scores(self._costs.forest, self._origin[None])[0]
        raw[self._point.target] = -np.inf
        return [int(j) for j in np.argsort(-raw, kind="stable")[: min(_RIVALS, len(raw) - 1)]]

    def run(self, rival: int, effort: Effort, random: np.random.Generator | None) -> FloatArray | None:
        """Descend until the trees are wrong, or no single change helps."""
        x = self._origin.copy() if random is None else self._scattered(random)
        leaves = self._costs.leaves
        weight = leaves.value[:, self._point.target] - leaves.value[:, rival]
        for _ in range(_STEPS):
            if not effort.take(1):
                return None
            if self._point.wrong(x[None])[0]:
                return x
            move = self._best(x, weight)
            if move is None:
                return None
            features, values = move
            x[features] = values
        return x if self._point.wrong(x[None])[0] else None

    def _scattered(self, random: np.random.Generator) -> FloatArray:
        """Linf: anywhere in the ball, numbers only; else a few features at random within it."""
        x, costs = self._origin.copy(), self._costs
        moves = np.flatnonzero(costs.free & ~costs.switched & ~np.isnan(x))
        if self._spread is None:
            moves = random.permutation(moves)[: max(1, len(moves) // 4)]
            part = 0.5 * costs.size(self._radius) / len(moves) * costs.scale[moves]
        else:
            part = self._spread[moves]
        new = np.clip(
            x[moves] + random.uniform(-1, 1, len(moves)) * part, self._low[moves], self._high[moves]
        )
        new = np.where(costs.whole[moves], x[moves] + np.trunc(new - x[moves]), new)
        x[moves] = new.astype(costs.reach.points.dtype).astype(np.float64)
        return x if self._total(x)[1] <= self._radius else self._origin.copy()

    def _total(self, x: FloatArray) -> tuple[FloatArray, float]:
        """Terms of the numeric features, and the total with switches at their present cells."""
        costs = self._costs
        size = np.where(np.isnan(x) | costs.switched, 0.0, np.abs(x - self._origin) / costs.scale)
        terms = costs.term(size)
        spent = [terms.max(initial=0.0) if costs.largest else terms.sum()]
        spent += [self._point.cell_terms[at] for at in self._present(x)]
        return terms, float(max(spent) if costs.largest else sum(spent))

    def _present(self, x: FloatArray) -> list[int]:
        """The cell that each switch is in."""
        found = []
        for switch, first in zip(self._costs.leaves.switches, self._costs.leaves.first, strict=True):
            own = x[switch.features]
            same = (switch.cells == own) | (np.isnan(switch.cells) & np.isnan(own))
            found.append(int(first) + int(same.all(axis=1).argmax()))
        return found

    def _best(self, x: FloatArray, weight: FloatArray) -> tuple[IntArray, FloatArray] | None:
        """The change of one feature or switch that lowers the margin most, for its cost."""
        costs, leaves = self._costs, self._costs.leaves
        own = x[leaves.feature]
        inside = np.where(np.isnan(own), leaves.missing, (own > leaves.lower) & (own <= leaves.upper))
        outside = np.add.reduceat(~inside, leaves.start)
        present = self._present(x)
        barred = ~leaves.allowed[:, present]
        away = outside + barred.sum(axis=1)
        here = np.zeros(len(costs.forest.roots))
        here[leaves.tree[away == 0]] = weight[away == 0]
        gain = weight - here[leaves.tree]
        terms, spent = self._total(x)
        near = np.flatnonzero((away == 1) & (outside == 1))
        best = self._number(inside, near, (gain, terms, spent))
        for s, first in enumerate(leaves.first):
            last = leaves.first[s + 1] if s + 1 < len(leaves.first) else leaves.allowed.shape[1]
            entered = (away == 1) & barred[:, s]
            change = gain[entered] @ leaves.allowed[entered, first:last]
            price = self._point.cell_terms[first:last]
            total = (
                np.maximum(spent, price)
                if costs.largest
                else spent - self._point.cell_terms[present[s]] + price
            )
            change = np.where(total <= self._radius, change, np.inf)
            at = int(change.argmin())
            score = self._score(change[at : at + 1], np.maximum(total[at : at + 1] - spent, 0.0))[0]
            if change[at] < -_GAIN and (best is None or score < best[0]):
                switch = leaves.switches[s]
                best = (score, switch.features, switch.cells[at])
        return None if best is None else best[1:]

    def _number(
        self, inside: BoolArray, near: IntArray, state: tuple[FloatArray, FloatArray, float]
    ) -> tuple[float, IntArray, FloatArray] | None:
        """The best change of one numeric feature."""
        gain, terms, spent = state
        costs, leaves = self._costs, self._costs.leaves
        wanted = np.zeros(len(leaves.tree), np.bool_)
        wanted[near] = True
        rows = np.flatnonzero(~inside & wanted[costs.row_leaf])
        rows = rows[costs.free[leaves.feature[rows]] & ~np.isnan(self._origin[leaves.feature[rows]])]
        if len(rows) == 0:
            return None
        # A leaf adds its gain from its lower limit on, and takes it back beyond its upper one.
        edge = np.concatenate([leaves.lower[rows], leaves.upper[rows]])
        feature = np.concatenate([leaves.feature[rows]] * 2)
        step = np.concatenate([gain[costs.row_leaf[rows]], -gain[costs.row_leaf[rows]]])
        order = np.lexsort((edge, feature))
        edge, feature, step = edge[order], feature[order], step[order]
        change = np.cumsum(step)  # every feature's steps add up to 0
        end = np.append(edge[1:], np.inf)
        end = np.where(np.append(feature[1:] != feature[:-1], [True]), np.inf, end)
        value, fits = self._nearest(feature, edge, end)
        size = costs.term(np.abs(value - self._origin[feature]) / costs.scale[feature])
        total = size if costs.largest else spent - terms[feature] + size
        change = np.where(fits & (total <= self._radius), change, np.inf)
        score = self._score(change, np.maximum(total - spent, 0.0))
        at = int(score.argmin())
        if not change[at] < -_GAIN:
            return None
        return float(score[at]), feature[at : at + 1], value[at : at + 1]

    def _nearest(self, feature: IntArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, BoolArray]:
        """The value in (low, high] that is nearest to the point's, and whether there is one."""
        costs, own = self._costs, self._origin[feature]
        whole = costs.whole[feature] & (own == np.rint(own))
        up = np.where(whole, np.floor(low) + 1, above(low, costs.reach))
        down = np.where(whole, np.floor(high), high)
        value = np.where(own <= low, up, np.where(own > high, down, own))
        fits = (low < high) & (up <= down) & (value >= self._low[feature]) & (value <= self._high[feature])
        fits &= np.isfinite(value)
        return np.where(fits, value, own), fits

    def _score(self, change: FloatArray, cost: FloatArray) -> FloatArray:
        """What is minimised: the margin for Linf and L0, else the margin won per cost."""
        if self._costs.largest or self._costs.reach.threat.norm == "l0":
            return change
        finite = np.isfinite(change) & np.isfinite(cost)
        price = np.where(finite, cost, 1.0) + 1e-6 * self._radius
        return np.where(finite, np.where(finite, change, 0.0) / price, np.inf)
