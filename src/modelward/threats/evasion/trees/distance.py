"""The smallest adversarial change of a point: bounds from both sides that meet where time allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.numeric.forests import leaves as ends

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray
    from modelward.threats.evasion.trees.search import Effort, Point

_NEAR: Final = 0.9
_BELOW: Final = 1 - 1e-9
_SHRINK: Final = (0.0, 0.25, 0.5, 0.75, 0.9)
_ROUNDS: Final = 40


@final
@dataclass(frozen=True, slots=True)
class Distance:
    """What is known of the smallest change.

    Attributes:
        lower: every adversarial change is at least this large.
        upper: the size of the smallest one found; infinite where none was.
        x: (d,) that input, or null.
    """

    lower: float
    upper: float
    x: FloatArray | None = None

    @property
    def exact(self) -> bool:
        """Whether the two meet, to nine digits."""
        return self.lower >= self.upper * (1 - 1e-8)


def polished(point: Point, x: FloatArray) -> FloatArray:
    """A smaller change than x by moves that keep the decision wrong.

    In turn: the nearest input with the same leaves; single changes taken back, or all but the largest; all
    changes cut at a part of the largest (in the spirit of Zhang et al. 2020, arXiv 2010.11598v2, whose moves
    stay within one leaf of the tuple).

    Args:
        point: the point.
        x: (d,) an input that the trees get wrong.
    """
    origin = point.costs.origin(point.point)
    best, size = x, measured(point, x)
    for _ in range(_ROUNDS):
        tries = np.concatenate([_same_leaves(point, best), _taken_back(point, origin, best)])
        sizes = point.costs.reach.size(
            tries.reshape(-1, *point.costs.reach.shape), np.full(len(tries), point.point)
        )
        order = np.flatnonzero(sizes < size)
        order = order[point.wrong(tries[order])] if len(order) else order
        if len(order) == 0:
            return best
        chosen = order[sizes[order].argmin()]
        best, size = tries[chosen], float(sizes[chosen])
    return best


def measured(point: Point, x: FloatArray) -> float:
    """The size of a change, as the threat measures it."""
    shaped = x.reshape(1, *point.costs.reach.shape)
    return float(point.costs.reach.size(shaped, np.array([point.point]))[0])


def _same_leaves(point: Point, x: FloatArray) -> FloatArray:
    """(1, d) the nearest input in the box that the leaves of x share; switches stay."""
    costs = point.costs
    origin = costs.origin(point.point)
    low, high = np.full(len(x), -np.inf), np.full(len(x), np.inf)
    for row in costs.rows_of(ends(costs.forest, x[None])[0]):
        f = costs.leaves.feature[row]
        np.maximum.at(low, f, costs.leaves.lower[row])
        np.minimum.at(high, f, costs.leaves.upper[row])
    moved = np.flatnonzero((x != origin) & ~np.isnan(origin) & ~costs.switched)
    whole = costs.whole[moved] & (origin[moved] == np.rint(origin[moved]))
    box = (
        np.where(whole, np.floor(low[moved]), low[moved])[None],
        np.where(whole, np.floor(high[moved]), high[moved])[None],
    )
    nearer = x.copy()
    nearer[moved] = costs.nearest(origin, moved, box)[0]
    return nearer[None]


def _taken_back(point: Point, origin: FloatArray, x: FloatArray) -> FloatArray:
    costs = point.costs
    moved = np.flatnonzero((x != origin) & ~(np.isnan(x) & np.isnan(origin)))
    single = np.repeat(x[None], len(moved), axis=0)
    single[np.arange(len(moved)), moved] = origin[moved]
    for switch in costs.leaves.switches:
        if switch.group:  # the members of a group go back together
            hit = np.isin(moved, switch.features)
            single[np.ix_(hit, switch.features)] = origin[switch.features]
    numeric = ~costs.switched & ~np.isnan(origin)
    size = np.where(numeric, np.abs(x - origin) / costs.scale, 0.0)
    cut = []
    for part in _SHRINK:
        room = part * size.max(initial=0.0) * costs.scale
        lowered = np.where(numeric, np.clip(x, origin - room, origin + room), x)
        cut.append(np.where(costs.whole & numeric, origin + np.trunc(lowered - origin), lowered))
    typed = np.array(cut).astype(costs.reach.points.dtype).astype(np.float64)
    return np.concatenate([single, typed])


def smallest(point: Point, effort: Effort, known: Distance, limit: float) -> Distance:
    """Narrow what is known of the smallest change, until exact or the effort is spent.

    Args:
        point: the point.
        effort: states per question, and the budget.
        known: where to begin; ``Distance(0.0, inf)`` when nothing is known.
        limit: larger changes are of no interest; > 0.
    """
    counted = point.costs.reach.threat.norm == "l0"
    lower, upper, x = known.lower, known.upper, known.x
    while lower < upper * _BELOW and lower <= limit:
        ask = _next(lower, upper, limit, counted=counted)
        answer = point.decide(ask, effort)
        if answer.verdict == "open":
            break
        if answer.verdict == "none":
            # Sizes are counted, or real numbers just above what was excluded.
            lower = ask + 1 if counted else max(lower, ask)
            if ask >= limit or ask >= upper * _BELOW:
                break
            continue
        if answer.x is None or not point.wrong(answer.x[None])[0]:
            break
        x = polished(point, answer.x)
        upper = min(upper, measured(point, x))
    return Distance(lower, upper, x)


def _next(lower: float, upper: float, limit: float, *, counted: bool) -> float:
    """The next radius to ask about."""
    if np.isinf(upper):
        return limit
    if counted:
        return float(max(lower, (lower + upper - 1) // 2))
    return (lower + upper) / 2 if lower < _NEAR * upper else upper * _BELOW
