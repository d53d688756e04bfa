"""Is there an adversarial input within a radius? Branch and bound over one leaf per tree.

An input lies in one leaf of every tree, so adversarial inputs are choices of leaves whose boxes share an
input within the radius and whose weights are low enough: Kantchelian et al. 2016, arXiv 1509.07892v2, section
4; as cliques of a multipartite graph: Chen et al. 2019, arXiv 1906.03849v2; searched with the sum of the
remaining minima as bound: Devos et al. 2021, arXiv 2010.13880. Here depth first, and many states at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import numpy as np

from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.trees.descent import descended
from modelward.threats.evasion.trees.nearby import Nearby, nearby, probed, spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.numeric.types import BoolArray, FloatArray
    from modelward.threats.evasion.trees.costs import Costs

Verdict: TypeAlias = Literal["none", "found", "open"]
_AT_ONCE: Final = 16
_MOST_LEAVES: Final = 6000
_SPREAD: Final = 1 << 21


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What a search says.

    Attributes:
        verdict: there is ``none``, one was ``found``, or it is ``open``.
        x: (d,) float64 the input that was found, or null.
    """

    verdict: Verdict
    x: FloatArray | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend.

    Attributes:
        states: partial choices per point and rival class.
        take: books forward samples of the trees and says whether the budget allows them.
        starts: descents per rival class, before the search.
    """

    states: int
    take: Callable[[int], bool]
    starts: int = 1


@final
@dataclass(frozen=True, slots=True)
class _State:
    """A partial choice.

    Attributes:
        alive: (r,) leaves that meet everything chosen.
        done: (t,) trees that are chosen.
        low: (a,) the box so far, exclusive.
        high: (a,) inclusive.
        cells: (cells,) bool.
    """

    alive: BoolArray
    done: BoolArray
    low: FloatArray
    high: FloatArray
    cells: BoolArray


@final
class Point:
    """One point under one norm, asked about any radius.

    Args:
        costs: of the norm.
        point: which of the points.
        target: its column.
    """

    def __init__(self, costs: Costs, point: int, target: int) -> None:
        self.costs, self.point, self.target = costs, point, target
        cells = costs.cells(point)
        self.known = cells is not None
        self.cell_terms = np.zeros(0) if cells is None else cells
        self._totals = costs.leaf_totals(costs.numbers(point), self.cell_terms) if self.known else np.zeros(0)

    def ceiling(self, rival: int) -> float:
        """The largest raw margin over a rival at which the model may decide for it."""
        slack = self.costs.forest.slack
        return slack if slack > 0 else (0.0 if rival < self.target else -5e-324)

    def wrong(self, x: FloatArray) -> BoolArray:
        """(n,) whether the trees surely decide against the target; x (n, d)."""
        raw, slack = raw_scores(self.costs.forest, x), self.costs.forest.slack
        others = raw.copy()
        others[:, self.target] = -np.inf
        if slack == 0:
            return np.asarray(raw.argmax(axis=1) != self.target)
        return np.asarray(raw[:, self.target] - others.max(axis=1) < -slack)

    def decide(self, eps: float, effort: Effort) -> Answer:
        """Search within a radius: the sum of worst leaves, then descents, then branch and bound.

        Args:
            eps: the radius.
            effort: how much may be spent.
        """
        if not self.known:
            return Answer("open")
        radius = self.costs.radius(eps)
        if self._coarse(radius):
            return Answer("none")
        x = descended(self, eps, effort, starts=effort.starts)
        if x is not None:
            return Answer("found", x)
        if int((self._totals <= radius).sum()) > _MOST_LEAVES + len(self.costs.forest.roots):
            return Answer("open")
        found = nearby(self.costs, self.point, (self.cell_terms, self._totals), radius)
        verdict: Verdict = "none"
        for rival in self._rivals(found):
            answer = _Search(self, found, rival, radius).run(effort)
            if answer.verdict == "found":
                return answer
            verdict = "open" if answer.verdict == "open" else verdict
        return Answer(verdict)

    def _coarse(self, radius: float) -> bool:
        """Whether the sum of every tree's worst leaf within the radius already keeps the label."""
        leaves = self.costs.leaves
        alive = self._totals <= radius
        value, tree = leaves.value[alive], leaves.tree[alive]
        start = np.searchsorted(tree, np.arange(len(self.costs.forest.roots)))
        margin = value[:, [self.target]] - value
        worst = np.minimum.reduceat(margin, start, axis=0).sum(axis=0)
        worst += self.costs.forest.base[self.target] - self.costs.forest.base
        return all(worst[rival] > self.ceiling(rival) for rival in range(len(worst)) if rival != self.target)

    def _rivals(self, found: Nearby) -> list[int]:
        """The other classes, the most dangerous first."""
        margin = found.value[:, [self.target]] - found.value
        worst = found.base[self.target] - found.base
        if len(found.start):
            worst = worst + np.minimum.reduceat(margin, found.start, axis=0).sum(axis=0)
        return [int(j) for j in np.argsort(worst, kind="stable") if j != self.target]


@final
class _Search:
    """One point, one radius, one rival."""

    def __init__(self, point: Point, found: Nearby, rival: int, radius: float) -> None:
        self._point, self._radius = point, radius
        self._room = point.ceiling(rival) - float(found.base[point.target] - found.base[rival])
        weight = found.value[:, point.target] - found.value[:, rival]
        kept = probed(found, weight, self._room) if len(weight) else found
        self._none = kept is None
        self._found = found if kept is None else kept
        self._weight = self._found.value[:, point.target] - self._found.value[:, rival]
        self._spans = spans(point.costs)
        self._terms = None if point.costs.largest else self._box_terms(self._found.low, self._found.high)

    def run(self, effort: Effort) -> Answer:
        """Search until it is known, or the effort is spent."""
        found = self._found
        if self._none or (len(self._weight) == 0 and self._room < 0):
            return Answer("none")
        a, r, t = len(found.features), len(found.tree), len(found.start)
        stack = [
            _State(
                np.ones(r, np.bool_),
                np.zeros(t, np.bool_),
                np.full(a, -np.inf),
                np.full(a, np.inf),
                found.cells <= self._radius,
            )
        ]
        spent = 0
        while stack:
            batch, stack = stack[-_AT_ONCE:], stack[:-_AT_ONCE]
            x = self._inputs(batch)
            if spent > effort.states or not effort.take(len(x)):
                return Answer("open")
            wrong = np.flatnonzero(self._point.wrong(x))
            if len(wrong):
                return Answer("found", x[wrong[-1]])
            complete = [state for state in batch if state.done.all()]
            if (
                complete
            ):  # chosen for every tree, and within the slack of sums: the model itself must be asked
                return Answer("found", self._inputs(complete)[0])
            children = self._children(batch)
            spent += len(children)
            stack += children
        return Answer("none")

    def _children(self, batch: list[_State]) -> list[_State]:
        """All choices for one more tree of each state, the most adversarial last."""
        found, weight = self._found, self._weight
        alive = np.array([state.alive for state in batch])
        done = np.array([state.done for state in batch])
        least = np.minimum.reduceat(np.where(alive, weight, np.inf), found.start, axis=1)
        most = np.maximum.reduceat(np.where(alive, weight, -np.inf), found.start, axis=1)
        tree = np.where(done, -1.0, most - least).argmax(axis=1)
        parent, leaf = np.nonzero(alive & (found.tree == tree[:, None]))
        alive = alive[parent] & found.meets[leaf]
        bound = self._bound(alive)
        low = np.maximum(np.array([batch[i].low for i in parent]), found.low[leaf])
        high = np.minimum(np.array([batch[i].high for i in parent]), found.high[leaf])
        cells = np.array([batch[i].cells for i in parent]) & found.allowed[leaf]
        terms, switched = self._box_terms(low, high), self._cell_terms(cells)
        costs = self._point.costs
        keep = (bound <= self._room) & (costs.total(np.hstack([terms, switched])) <= self._radius)
        if not costs.largest and keep.any():
            index = np.flatnonzero(keep)
            alive[index] &= self._affordable(terms[index], switched[index])
            bound[index] = self._bound(alive[index])
            keep &= bound <= self._room
        order = np.flatnonzero(keep)
        order = order[np.argsort(-bound[order], kind="stable")]
        states = []
        for i in order:
            chosen = done[parent[i]].copy()
            chosen[tree[parent[i]]] = True
            states.append(_State(alive[i], chosen, low[i], high[i], cells[i]))
        return states

    def _bound(self, alive: BoolArray) -> FloatArray:
        """(n,) the least margin that is left; infinite where a tree has no leaf left."""
        part = np.where(alive, self._weight, np.inf)
        return np.asarray(np.minimum.reduceat(part, self._found.start, axis=1).sum(axis=1))

    def _affordable(self, terms: FloatArray, switched: FloatArray) -> BoolArray:
        """(n, r) leaves that the box can be narrowed to within the radius."""
        own = self._terms
        if own is None or own.size == 0:
            return np.ones((len(terms), len(self._weight)), np.bool_)
        spent = terms.sum(axis=1) + switched.sum(axis=1)
        result = np.empty((len(terms), len(own)), np.bool_)
        step = max(1, _SPREAD // own.size)
        for at in range(0, len(terms), step):
            extra = np.maximum(own - terms[at : at + step, None, :], 0.0).sum(axis=2)
            result[at : at + step] = spent[at : at + step, None] + extra <= self._radius
        return result

    def _box_terms(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """(n, a) what it costs to enter a box, per feature; empty boxes do not come here."""
        return self._point.costs.entering(self._found.origin, self._found.features, (low, high))

    def _cell_terms(self, cells: BoolArray) -> FloatArray:
        priced = np.where(cells, self._found.cells, np.inf)
        cheapest = [priced[:, a:b].min(axis=1) for a, b in self._spans]
        return np.stack(cheapest, axis=1) if cheapest else np.zeros((len(cells), 0))

    def _inputs(self, batch: list[_State]) -> FloatArray:
        """(n, d) the cheapest input of each box."""
        x = np.repeat(self._found.origin[None], len(batch), axis=0)
        box = np.array([s.low for s in batch]), np.array([s.high for s in batch])
        x[:, self._found.features] = self._point.costs.nearest(self._found.origin, self._found.features, box)
        cells = np.where(np.array([s.cells for s in batch]), self._found.cells, np.inf)
        for switch, (a, b) in zip(self._point.costs.leaves.switches, self._spans, strict=True):
            x[:, switch.features] = switch.cells[cells[:, a:b].argmin(axis=1)]
        return x
