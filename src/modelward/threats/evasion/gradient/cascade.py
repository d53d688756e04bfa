"""The order of the attacks: cheap before dear, and dear ones only where a witness may still be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.core.seeds import child_seed
from modelward.threats.evasion.gradient.apgd import Apgd
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.fab import Fab
from modelward.threats.evasion.gradient.hard import hard
from modelward.threats.evasion.gradient.losses import logarithms, margin
from modelward.threats.evasion.gradient.masking import slopes
from modelward.threats.evasion.gradient.pool import Task
from modelward.threats.evasion.gradient.sparse import Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch
from modelward.threats.evasion.gradient.surrogate import Borrowed, fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.core.check import Preset
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.gradient.losses import Loss
    from modelward.threats.evasion.gradient.masking import Slopes
    from modelward.threats.evasion.gradient.pool import Method, Pool

TARGETS: Final = 9
"""Goals per point at most, as in AutoAttack (arXiv 2003.01690v2, section 5.1)."""
_FIRST_TARGETS: Final = 3
_STARTS: Final = ("stripes", "blocks", "corner", "noise")
_ROUNDS: Final = 4
_SPREAD: Final = 3.0
_NEAR: Final = 0.05
"""A point stays open while its least margin is within so many times the spread of repeated searches, or
within this part of its margin when unmodified."""
_MANY_ROUNDS: Final = 6
_KINDS: Final[tuple[Loss, ...]] = ("margin", "ratio", "entropy")
_QUERIES: Final = 5000
_QUERIES_PER_FEATURE: Final = 10
"""Of the Square attack; 5000 are AutoAttack's, more than a table of few features can use."""


@final
class Cascade:
    """All attacks in Linf, L2 and L1 on the standing points of one arena.

    Args:
        pool: runs searches.
        preset: how hard to try.
        prove: settles points by proof after the first attack; called once.

    Attributes:
        slopes: whether gradients mislead; null while that is not known.
    """

    def __init__(self, pool: Pool, preset: Preset, prove: Callable[[], bool]) -> None:
        self._pool, self._preset, self._prove = pool, preset, prove
        self._arena, self._copy, self._ball = pool.arena, pool.copy, pool.ball
        self._goals = self._ranked()
        self._plain = self._unmodified()
        self.slopes: Slopes | None = None

    def run(self) -> bool:
        """Everything that the preset asks for; False when the share refused."""
        for done, (phase, of) in enumerate(self._phases(), start=1):
            if not phase():
                return False
            self._arena.share.progress(done / of)
        return True

    def _phases(self) -> Iterator[tuple[Callable[[], bool], int]]:
        quick = [self._nearest, self._doubt, self._prove, self._likeliest]
        standard = [
            self._restarts, self._entropy, self._targeted, self._border, self._transfer, self._queries,
        ]  # fmt: skip
        if not self._ball.graded:
            quick, standard = [self._nearest, self._prove, self._likeliest], [self._restarts]
        chosen = quick if self._preset == "quick" else [*quick, *standard]
        if self._preset == "thorough":
            chosen = [*chosen, self._signs, *([self._many] if self._ball.graded else [])]
        for phase in chosen:
            yield phase, len(chosen)

    def _nearest(self) -> bool:
        """Untargeted, from the point itself."""
        tasks = [Task(int(i), seed=self._seed("nearest", i)) for i in self._standing()]
        return self._pool.run(self._descent(20), tasks, "margin")

    def _doubt(self) -> bool:
        """Ask whether slopes mislead; if they do, no point is given up for its margin."""
        self.slopes = slopes(self._pool)
        return self._arena.share.cut is None

    def _transfer(self) -> bool:
        """Where slopes mislead: those of a net fitted to the answers."""
        index = self._standing()
        if len(index) == 0 or not (self._misled or self._preset == "thorough"):
            return True
        net = fitted(self._pool, index, self._seed("surrogate", -1))
        if net is None:
            return self._arena.share.cut is None
        tasks = [Task(int(i), -1, "noise", self._seed("transfer", i)) for i in index]
        return self._pool.run(Borrowed(self._pool, net, steps=20), tasks, "transfer")

    def _many(self) -> bool:
        """All standing points again, from many places, with other losses."""
        for number in range(_MANY_ROUNDS):
            start, kind = _STARTS[number % len(_STARTS)], _KINDS[number % len(_KINDS)]
            method = Apgd(self._copy, self._ball, steps=60, kind=kind)
            ranks = range(min(_FIRST_TARGETS, self._goals.shape[1]))
            tasks = [self._task(f"many {number}", i, rank, start) for rank in ranks for i in self._standing()]
            if not self._pool.run(method, tasks, "many restarts"):
                return False
        return True

    def _signs(self) -> bool:
        """Where a witness hides behind the corners of ReLUs."""
        index = self._standing()
        index = index[np.argsort(self._pool.record.margin[index], kind="stable")]
        return hard(self._pool, self._copy.module, index, self._goals)

    @property
    def _misled(self) -> bool:
        return self.slopes is not None and bool(self.slopes.reasons)

    def _likeliest(self) -> bool:
        """Towards each of the likeliest classes, from a random place."""
        ranks = range(min(_FIRST_TARGETS, self._goals.shape[1]))
        tasks = [self._task("likeliest", i, rank, "noise") for rank in ranks for i in self._standing()]
        return self._pool.run(self._descent(40), tasks, "targeted margin")

    def _restarts(self) -> bool:
        """Again and again from other places, towards the goal that came nearest; open points only."""
        method = self._descent(40, patient=True)
        for number in range(_ROUNDS):
            start = _STARTS[number % len(_STARTS)]
            tasks = [self._again(f"restart {number}", i, start) for i in self.open()]
            if not self._pool.run(method, tasks, f"restart from {start}"):
                return False
        return True

    def _entropy(self) -> bool:
        tasks = [Task(int(i), -1, "noise", self._seed("entropy", i)) for i in self.open()]
        method = Apgd(self._copy, self._ball, steps=100, kind="entropy", patient=self._misled)
        return self._pool.run(method, tasks, "APGD-CE")

    def _targeted(self) -> bool:
        method = Apgd(self._copy, self._ball, steps=100, kind="ratio", patient=self._misled)
        for rank in range(min(TARGETS, self._goals.shape[1])):
            tasks = [self._task("targeted", i, rank, "noise") for i in self.open()]
            if not self._pool.run(method, tasks, "APGD-T"):
                return False
        return True

    def _border(self) -> bool:
        method = Fab(self._copy, self._ball, steps=100)
        for rank in range(min(TARGETS, self._goals.shape[1])):
            tasks = [self._task("border", i, rank, "centre") for i in self.open()]
            if not self._pool.run(method, tasks, "FAB-T"):
                return False
        return True

    def _queries(self) -> bool:
        if self._ball.norm != "linf":
            return True
        tasks = [Task(int(i), -1, "stripes", self._seed("queries", i)) for i in self.open()]
        steps = min(_QUERIES, _QUERIES_PER_FEATURE * int(self._arena.reach.numeric.sum()))
        return self._pool.run(SquareSearch(self._copy, self._ball, steps=steps), tasks, "Square")

    def _descent(self, steps: int, *, patient: bool = False) -> Method:
        reach = self._arena.reach
        if self._ball.norm == "l0":
            return Swaps(self._copy, self._ball, reach, steps=steps)
        if self._ball.norm == "patch":
            return Windows(self._copy, self._ball, reach, steps=steps)
        return Descent(self._copy, self._ball, steps=steps, patient=patient)

    def open(self) -> IntArray:
        """Standing points where repeated searches differ by as much as what is missing, nearest first."""
        standing = self._standing()
        margins = self._pool.record.margin[standing]
        spread = np.array([self._spread(int(i)) for i in standing], np.float64)
        near = np.maximum(_SPREAD * spread, _NEAR * self._plain[standing])
        chosen = standing if self._misled else standing[margins <= near]
        return chosen[np.argsort(self._pool.record.margin[chosen], kind="stable")]

    def _spread(self, point: int) -> float:
        """How far apart the searches towards the nearest goal ended, and the first, which had none."""
        runs = self._pool.record.runs
        ended = [*runs.get((point, -1), [])[:1], *runs.get((point, self._nearest_goal(point)), [])]
        return max(ended) - min(ended) if len(ended) > 1 else np.inf

    def _nearest_goal(self, point: int) -> int:
        least = {
            int(goal): min(self._pool.record.runs.get((point, int(goal)), [np.inf]))
            for goal in self._goals[point]
        }
        return min(least, key=lambda goal: least[goal])

    def _again(self, name: str, point: int, start: str) -> Task:
        return Task(int(point), self._nearest_goal(int(point)), start, self._seed(name, point))

    def _task(self, name: str, point: int, rank: int, start: str) -> Task:
        goal = int(self._goals[point, rank])
        return Task(int(point), goal, start, self._seed(f"{name} {rank}", point))

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
