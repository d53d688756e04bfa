"""What decision-based attacks share: the nearest wrong input known of each point, and how to come nearer.

A model that tells only its decision says on which side of its boundary an input lies. So every attack here
starts from any wrong input, however far, and shortens the way; a point is done when it is within the radius.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.asking import right
from modelward.threats.evasion.threat import Threat

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.reach import Reach

CHECKPOINTS: Final = (30, 100, 300, 1000, 3000, 10_000)
"""Numbers of queries after which the distance is recorded."""
ROOM: Final = 512
"""Candidates that fill a call."""
_NUMBERS: Final = 1 << 22
_NEIGHBOURS: Final = 3
_GUESSES: Final = 4
_ROUNDS: Final = 4


@final
class Frontier:
    """The nearest wrong input of each point.

    Args:
        arena: what is attacked; it keeps what lies within its radius.
        queries: per point, >= 1.
        seed: of the random numbers of whoever searches.

    Attributes:
        wide: what is admissible at any radius.
        x: (n, *shape) float64 nearest wrong input known; the point itself where none is.
        size: (n,) its distance in the threat's norm, infinite where none is known.
        used: (n,) queries.
        sizes: (checkpoints, n) `size` after at most so many queries.
        random: for whoever searches.
        refused: whether the budget ended.
    """

    def __init__(self, arena: Arena, queries: int, seed: int) -> None:
        self.arena, self.queries = arena, queries
        self.wide: Reach = widened(arena.reach)
        n = len(arena.points.correct)
        self.x: FloatArray = arena.reach.points.astype(np.float64)
        self.size: FloatArray = np.full(n, np.inf)
        self.used: IntArray = np.zeros(n, np.int64)
        self.sizes: FloatArray = np.full((len(CHECKPOINTS), n), np.inf)
        self.random = np.random.default_rng(seed)
        self.refused = False
        self._room = max(1, min(ROOM, _NUMBERS // max(1, math.prod(arena.reach.shape))))

    @property
    def eps(self) -> float:
        """Radius that ends a point's search."""
        return self.arena.reach.threat.eps

    def active(self, index: IntArray, until: float = 1.0) -> IntArray:
        """Those of some points that stand, have a wrong input, and have queries left.

        Args:
            index: points.
            until: share of each point's queries, in (0, 1].
        """
        if self.refused:
            return index[:0]
        stands = self.arena.standing[index] & np.isfinite(self.size[index])
        return index[stands & (self.used[index] < until * self.queries)]

    def width(self, index: IntArray, most: int) -> int:
        """How many candidates of each point fill a call, at most as many as queries are left."""
        left = int((self.queries - self.used[index]).min(initial=most))
        return max(1, min(most, self._room // max(1, len(index)), left))

    def origin(self, index: IntArray) -> FloatArray:
        """(m, *shape) float64 the unmodified points."""
        return self.arena.reach.points[index].astype(np.float64)

    def spread(self, values: FloatArray) -> FloatArray:
        """(m,) or (m, w) values with axes for the features behind."""
        return values.reshape(*values.shape, *[1] * len(self.arena.reach.shape))

    def ask(self, candidates: FloatArray, index: IntArray) -> BoolArray | None:
        """Which candidates are answered wrong; nearer ones become the frontier.

        Args:
            candidates: (m, w, *shape) w for each point.
            index: (m,) distinct points.

        Returns:
            (m, w), false for what a point's queries no longer cover; null when the budget refused, which
            `refused` remembers.
        """
        width = candidates.shape[1]
        asked = np.arange(width) < (self.queries - self.used[index])[:, None]
        wrong, size = np.zeros(asked.shape, np.bool_), np.full(asked.shape, np.inf)
        if not asked.any():
            return wrong
        many = np.repeat(index, asked.sum(axis=1))
        answer = self.arena.submit(candidates[asked], many, within=self.wide)
        if answer is None:
            self.refused = True
            return None
        wrong[asked] = ~right(answer.scores, self.arena.points.target[many]) & self.wide.admits(
            answer.x, many
        )
        size[asked] = self.arena.reach.size(answer.x, many)
        size[~wrong] = np.inf
        rows, best = np.arange(len(index)), size.argmin(axis=1)
        nearer = size[rows, best] < self.size[index]
        place = (asked.cumsum().reshape(asked.shape) - 1)[rows, best]
        self.x[index[nearer]] = answer.x.astype(np.float64)[place[nearer]]
        self.size[index[nearer]] = size[rows, best][nearer]
        self.used[index] += asked.sum(axis=1)
        for row, count in zip(self.sizes, CHECKPOINTS, strict=True):
            within = index[self.used[index] <= count]
            row[within] = self.size[within]
        return wrong

    def begin(self, index: IntArray) -> None:
        """Find a wrong input: the nearest points that are taken for another class, then random ones."""
        near = self._neighbours(index)
        for start in range(near.shape[1]):
            waiting = self._lost(index)
            wanted = near[np.isin(index, waiting), start]
            if len(waiting) == 0 or self.ask(self.origin(wanted)[:, None], waiting) is None:
                break
        reach = self.wide
        for _ in range(_GUESSES):
            waiting = self._lost(index)
            width = self.width(waiting, _GUESSES)
            draws = self.random.random((len(waiting), width, *reach.shape))
            if (
                len(waiting) == 0
                or self.ask(reach.lower + draws * (reach.upper - reach.lower), waiting) is None
            ):
                break
        self.shorten(self.active(index))

    def shorten(self, index: IntArray, ends: FloatArray | None = None) -> None:
        """Look for a wrong input nearer to each point on a line: first at the radius, then by sections.

        Args:
            index: distinct points.
            ends: (m, *shape) wrong inputs at the far ends; null: the frontier.
        """
        if len(index) == 0:
            return
        far = self.wide.project(self.x[index] if ends is None else ends, index)  # what was asked about
        ends, size = far.astype(np.float64), self.arena.reach.size(far, index)
        low, high = np.zeros(len(index)), np.ones(len(index))
        for turn in range(_ROUNDS):
            kept = np.isin(index, self.active(index))
            index, ends, size, low, high = index[kept], ends[kept], size[kept], low[kept], high[kept]
            if len(index) == 0:
                return
            width = self.width(index, 3)
            parts = low[:, None] + (high - low)[:, None] * np.arange(1, width + 1) / (width + 1)
            if turn == 0 and self.arena.reach.threat.graded:  # the only question that matters in the end
                parts[:, 0] = np.minimum(parts[:, 0], self.eps / np.maximum(size, self.eps) * (1 - 1e-6))
            origin = self.origin(index)[:, None]
            wrong = self.ask(origin + self.spread(parts) * (ends[:, None] - origin), index)
            if wrong is None:
                return
            first = np.where(wrong.any(axis=1), wrong.argmax(axis=1), width)
            grid = np.concatenate([low[:, None], parts, high[:, None]], axis=1)
            rows = np.arange(len(index))
            low, high = grid[rows, first], grid[rows, first + 1]

    def _lost(self, index: IntArray) -> IntArray:
        """Standing points without a wrong input that have queries left."""
        stands = self.arena.standing[index] & np.isinf(self.size[index]) & (self.used[index] < self.queries)
        return index[stands & (not self.refused)]

    def _neighbours(self, index: IntArray) -> IntArray:
        """(m, w) for each point the nearest examined points that the model takes for another class."""
        points = self.arena.points
        decision = points.scores.argmax(axis=1)
        near = np.empty((len(index), min(_NEIGHBOURS, len(decision))), np.int64)
        for row, point in enumerate(index):
            change = self.arena.reach.units(
                points.data.x.astype(np.float64), self.origin(index[row : row + 1])
            )
            far = np.square(np.nan_to_num(change)).reshape(len(change), -1).sum(axis=1)
            far[decision == points.target[point]] = np.inf
            near[row] = np.argsort(far, kind="stable")[: near.shape[1]]
        return near


def widened(reach: Reach) -> Reach:
    """The same constraints without the ball."""
    eps = {"l0": float(reach.cells.max() + 1), "patch": 1.0}.get(reach.threat.norm, math.inf)
    return replace(reach, threat=Threat(reach.threat.norm, eps))
