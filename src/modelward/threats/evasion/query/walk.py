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
            index: (m,) their points.
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
    groups are as small as the limit can carry to their end.
    """
    if not arena.reach.free.any():
        arena.tried |= arena.standing  # nothing may be changed, so nothing is left to try
        return
    points = np.flatnonzero(arena.standing)
    done, room = 0, max(1, min(_BATCH, _BATCH_NUMBERS // max(1, math.prod(arena.reach.shape))))
    while done < len(points):
        left = arena.share.queries_left()
        size = room if left is None else max(1, min(room, left // schedule.queries))
        if not _search(arena, moves, schedule, points[done : done + size]):
            return
        done += size
        arena.share.progress(min(1.0, done / len(points)))


def _search(arena: Arena, moves: Moves, schedule: Schedule, index: IntArray) -> bool:
    """Search from some points; False when the share refused."""
    target, kind = arena.points.target, arena.points.model.outputs.kind
    x = moves.first(index)
    best = np.full(len(index), np.inf)
    for query in range(schedule.queries):
        candidates = x if query == 0 else moves.change(x, index, schedule.part_at(query))
        answer = arena.submit(candidates, index)
        if answer is None:
            return False
        margin = margins(answer.scores, target[index], kind)
        better = (margin < best) | (not schedule.guided) | (query == 0)
        x = np.where(better.reshape(-1, *[1] * (x.ndim - 1)), answer.x.astype(np.float64), x)
        best = np.where(better, margin, best)
        keep = ~answer.broken
        index, x, best = index[keep], x[keep], best[keep]
        if len(index) == 0:
            break
    return True
