"""The order of the attacks: cheap before dear, and dear ones only where a witness may still be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.core.seeds import child_seed
from modelward.threats.evasion.gradient.hard import hard
from modelward.threats.evasion.gradient.losses import logarithms, margin
from modelward.threats.evasion.gradient.masking import slopes
from modelward.threats.evasion.gradient.pool import Task
from modelward.threats.evasion.gradient.schedule import (
    BLIND,
    FIRST,
    LATE,
    MANY,
    NEXT,
    PROBES,
    UNGRADED,
    method,
)
from modelward.threats.evasion.gradient.surrogate import Borrowed, fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelward.core.check import Preset
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.gradient.masking import Slopes
    from modelward.threats.evasion.gradient.pool import Pool
    from modelward.threats.evasion.gradient.schedule import Round

_AT_LEAST: Final = 8
"""Points that no share of a round excludes."""
_TINY: Final = 1e-30


@final
class Cascade:
    """All attacks on the standing points of one arena.

    Args:
        pool: runs searches.
        preset: how hard to try.
        prove: settles points by proof after the first attack; called once.

    Attributes:
        slopes: whether gradients mislead; null while that is not known.
    """

    def __init__(self, pool: Pool, preset: Preset, prove: Callable[[], bool]) -> None:
        self._pool, self._preset, self._prove = pool, preset, prove
        self._arena, self._graded = pool.arena, pool.ball.graded
        self._goals = self._ranked()
        self._plain = self._unmodified()
        self._rounds_done = 0
        self.slopes: Slopes | None = None

    def run(self) -> bool:
        """Everything that the preset asks for; False when the share refused."""
        phases = [self._nearest, self._doubt, self._prove, self._aimed]
        if self._preset != "quick":
            phases += [self._late, self._transfer]
        if self._preset == "thorough":
            phases += [self._signs, self._many]
        for done, phase in enumerate(phases, start=1):
            if not phase():
                return False
            self._arena.share.progress(done / len(phases))
        return True

    def _nearest(self) -> bool:
        return self._round(FIRST)

    def _doubt(self) -> bool:
        """Ask whether slopes mislead; if they do, no point is given up for its margin."""
        if not self._graded:
            return True
        self.slopes = slopes(self._pool)
        return self._arena.share.cut is None

    def _aimed(self) -> bool:
        """Towards every goal for a few steps, then towards the goals that came nearest."""
        if self._graded and self._goals.shape[1] > 1 and not self._round(PROBES):
            return False
        return self._round(NEXT)

    def _late(self) -> bool:
        if not self._graded:
            return self._all(UNGRADED)
        return self._all(BLIND if self._misled else LATE)

    def _transfer(self) -> bool:
        """Where slopes mislead: those of a net fitted to the answers."""
        index = self._standing()
        if len(index) == 0 or not self._graded or not (self._misled or self._preset == "thorough"):
            return True
        net = fitted(self._pool, index, self._seed("surrogate", -1))
        if net is None:
            return self._arena.share.cut is None
        tasks = [Task(int(i), -1, "noise", self._seed("transfer", i)) for i in index]
        return self._pool.run(Borrowed(self._pool, net, steps=20), tasks, "transfer")

    def _many(self) -> bool:
        """All standing points again, from many places, with other losses."""
        return self._all(MANY) if self._graded else True

    def _signs(self) -> bool:
        """Where a witness hides behind the corners of ReLUs."""
        index = self._standing()
        index = index[np.argsort(self._pool.record.margin[index], kind="stable")]
        return hard(self._pool, self._pool.copy.module, index, self._goals)

    @property
    def _misled(self) -> bool:
        return self.slopes is not None and bool(self.slopes.reasons)

    def _all(self, turns: Iterable[Round]) -> bool:
        return all(self._round(turn) for turn in turns)

    def _round(self, turn: Round) -> bool:
        """Search from every point that a round is for, the nearest goals of all points first."""
        self._rounds_done += 1
        if turn.kind in {"square", "refine"} and self._pool.ball.norm != "linf":
            return True
        points = self.near(turn)
        goals = {i: self._nearest_goals(i)[: turn.goals] if turn.goals else [-1] for i in points}
        tasks = [
            Task(i, goals[i][rank], start, self._seed(f"round {self._rounds_done} {rank} {number}", i))
            for rank in range(max(1, turn.goals))
            for number, start in enumerate(turn.starts)
            for i in points
            if rank < len(goals[i])
        ]
        return self._pool.run(method(turn, self._pool), tasks, turn.name)

    def near(self, turn: Round) -> list[int]:
        """Standing points that a round is for, by what is left of their margins."""
        standing = self._standing()
        left = self._pool.record.margin[standing] / np.maximum(self._plain[standing], _TINY)
        if self._misled:
            return [int(i) for i in standing]
        order = np.argsort(left, kind="stable")
        count = max(_AT_LEAST, int(np.ceil(turn.part * len(standing))))
        return [int(i) for i in standing[order[:count]] if not self._beyond(turn, int(i))]

    def _beyond(self, turn: Round, point: int) -> bool:
        least = self._pool.record.margin[point]
        return bool(np.isfinite(least) and least > turn.within * self._plain[point])

    def _nearest_goals(self, point: int) -> list[int]:
        """Other classes, those that searches came nearest to first, then the likeliest."""
        runs = self._pool.record.runs
        goals = [int(goal) for goal in self._goals[point]]
        least = {goal: min(runs.get((point, goal), [np.inf])) for goal in goals}
        return sorted(goals, key=lambda goal: least[goal])

    def _seed(self, name: str, point: int) -> int:
        return child_seed(self._arena.seed, f"{name}/{point}")

    def _standing(self) -> IntArray:
        return np.flatnonzero(self._pool.arena.standing & ~self._pool.settled)

    def _unmodified(self) -> FloatArray:
        """(n,) margins of the unmodified points."""
        points = self._arena.points
        scores = logarithms(torch.from_numpy(points.scores))
        target = torch.from_numpy(points.target)
        return np.asarray(margin(scores, target, torch.full_like(target, -1)).numpy(), np.float64)

    def _ranked(self) -> IntArray:
        """(n, k - 1) the other classes of each point, the likeliest first."""
        scores = self._arena.points.scores.copy()
        rows = np.arange(len(scores))
        scores[rows, self._arena.points.target] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable")[:, : scores.shape[1] - 1]
