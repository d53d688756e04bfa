"""Random search by queries alone: keep a change when the model's margin shrinks.

The loop is the same for every kind of input; a `Moves` value proposes the changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, final

import numpy as np

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.arena import Arena

_BATCH: Final = 256
_HOPE: Final = 0.5
_MEMORY: Final = 0.1
_BATCH_NUMBERS: Final = 1 << 22
_HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_HALVINGS_OF: Final = 10_000
_TINY: Final = 1e-300


class Moves(Protocol):
    """Proposes changes; all arrays are float64 in the inputs' own values."""

    def first(self, index: IntArray) -> FloatArray:
        """Starting candidates for points: (m,) to (m, *shape)."""
        ...

    def change(self, x: FloatArray, index: IntArray, part: float) -> FloatArray:
        """New candidates from the current ones.

        Args:
            x: (m, *shape) current best inputs.
            index: (m,) their points, ascending; a point that occurs several times gets different changes.
            part: share of the features to change, in (0, 1].
        """
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long to search and how coarse to begin.

    Attributes:
        queries: per point and threat, >= 1.
        part: share of the features that the first changes touch, in (0, 1].
        guided: whether scores carry a margin; without one every admissible change is kept and `part` stays.
    """

    queries: int
    part: float
    guided: bool

    def part_at(self, query: int) -> float:
        """Share of the features to change at a query.

        It is halved at fixed shares of the planned number: Andriushchenko et al. 2020 (arXiv 1912.00049v3,
        schedule of p): at 10, 50, 200, ... of 10000, rescaled linearly for other numbers.
        """
        if not self.guided:
            return self.part
        at = query * _HALVINGS_OF / self.queries
        return float(self.part / 2 ** sum(at > limit for limit in _HALVINGS))


def margins(scores: FloatArray, target: IntArray, kind: str) -> FloatArray:
    """Score of the true class minus the best other one, on logarithms where scores are probabilities.

    Args:
        scores: (m, k).
        target: (m,) true columns.
        kind: `Outputs.kind`.

    Returns:
        (m,) float64.
    """
    if kind == "probabilities":
        scores = np.log(np.maximum(scores, _TINY))
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, target] = -np.inf
    return np.asarray(scores[rows, target] - others.max(axis=1))


def walk(arena: Arena, moves: Moves, schedule: Schedule) -> None:
    """Search for witnesses of all standing points, in groups that fill a batch.

    Random search: Andriushchenko et al. 2020 (arXiv 1912.00049v3, algorithm 1). Under a query limit the
    groups are as small as the limit can carry to their end. Where few points are left, several changes of
    each are asked about in one call and the best is kept: as many as are needed for every second call to
    find an improvement, so that calls are few and hardly a query is wasted.

    Args:
        arena: what is attacked.
        moves: what is proposed.
        schedule: how long and how coarse.
    """
    if not arena.reach.free.any():
        arena.tried |= arena.standing  # nothing may be changed, so nothing is left to try
        return
    points = np.flatnonzero(arena.standing)
    room = max(1, min(_BATCH, _BATCH_NUMBERS // max(1, math.prod(arena.reach.shape))))
    search, done = _Search(arena, moves, schedule, room), 0
    while done < len(points):
        left = arena.share.queries_left()
        size = room if left is None else max(1, min(room, left // schedule.queries))
        if not search.run(points[done : done + size]):
            return
        done += size
        arena.share.progress(min(1.0, done / len(points)))


@final
@dataclass(frozen=True, slots=True)
class _Search:
    arena: Arena
    moves: Moves
    schedule: Schedule
    room: int

    def run(self, index: IntArray) -> bool:
        """Search from some points; False when the share refused."""
        schedule = self.schedule
        x = self.moves.first(index)
        best = np.full(len(index), np.inf)
        used, luck = 0, 1.0
        while used < schedule.queries and len(index):
            width = 1 if used == 0 else self._width(len(index), luck, schedule.queries - used)
            many = np.repeat(index, width)
            candidates = (
                x
                if used == 0
                else self.moves.change(np.repeat(x, width, axis=0), many, schedule.part_at(used))
            )
            answer = self.arena.submit(candidates, many)
            if answer is None:
                return False
            used += width
            margin = margins(
                answer.scores, self.arena.points.target[many], self.arena.points.model.outputs.kind
            )
            margin = np.where(np.isnan(margin), np.inf, margin).reshape(-1, width)
            chosen = margin.argmin(axis=1)
            rows = np.arange(len(index))
            # Ties are kept too: trees answer in steps, and on a step only drifting leads on.
            better = (margin[rows, chosen] <= best) | (not schedule.guided) | (used == 1)
            gain = margin[rows, chosen] < best
            asked = answer.x.astype(np.float64)[rows * width + chosen]
            x = np.where(better.reshape(-1, *[1] * (x.ndim - 1)), asked, x)
            best = np.where(better, margin[rows, chosen], best)
            luck += _MEMORY * (float(gain.mean()) / width - luck)
            keep = ~answer.broken.reshape(-1, width).any(axis=1)
            index, x, best = index[keep], x[keep], best[keep]
        return True

    def _width(self, points: int, luck: float, left: int) -> int:
        """How many changes of each point one call asks about."""
        useful = self.room if not self.schedule.guided else int(_HOPE / max(luck, _HOPE / self.room))
        return max(1, min(self.room // points, useful, left))
