"""Points where slopes find nothing although a witness exists: branch and bound leads the search.

Three searches, each on what the one before leaves. Branch and bound over the signs of ReLUs (`bounds.branch`)
closes points that have no witness, and yields the inputs at which its bounds are attained. What it leaves
open becomes a mixed-integer program (`program`) that HiGHS searches as a whole (Huangfu and Hall 2018,
Mathematical Programming Computation 10), or, where the program has too many switches, around the best input
known: switches near to changing are free, all others fixed (large neighbourhood search, as in BaB-Attack:
Zhang et al. 2022, ICML, "A branch and bound framework for stronger adversarial attacks of ReLU networks",
section 4). What a solver calls impossible is no proof, since it works with tolerances.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.seeds import child_seed
from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.search import search
from modelward.threats.evasion.gradient.program import Program, encode, within
from modelward.threats.evasion.gradient.solver import Puzzle, Work

if TYPE_CHECKING:
    from torch import nn

    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.bounds.search import Starts
    from modelward.threats.evasion.gradient.pool import Pool

_POINTS: Final = 64
_EFFORT: Final = Effort(domains=16384, work=2e7)
"""Some seconds to a minute for a point."""
_GOALS: Final = 3
_SWITCHES: Final = 4000
_WHOLE: Final = 100
"""Switches up to which a program is searched as a whole."""
_NODES: Final = 5000
_SECONDS: Final = 60.0
"""For one program, by the wall clock; nodes end most searches before, so that the same run finds the same."""
_FREE: Final = 16
_GROWTH: Final = 1.5
_ROUNDS: Final = 6
_MISSES: Final = 3
"""Points in a row without a witness after which no more are searched around their best inputs: it is dear."""
_NODES_NEARBY: Final = 200
_SECONDS_NEARBY: Final = 10.0
_BELOW: Final = 1e-4
"""How negative a margin is asked for, in units of the largest score: more than what the solver's tolerance
and float32 are off by."""
_SHAKE: Final = 0.3


def hard(pool: Pool, module: nn.Module, index: IntArray, goals: IntArray) -> bool:
    """Search for witnesses on networks of ReLUs; False when the share refused.

    Args:
        pool: best inputs so far, and where witnesses count.
        module: the copy, in evaluation mode.
        index: positions of points, the most promising first.
        goals: (n, k - 1) other classes of all points, the likeliest first.
    """
    arena = pool.arena
    values = arena.reach.points.reshape(len(arena.standing), -1).astype(np.float64)
    index = index[np.isfinite(values[index]).all(axis=1)][:_POINTS]
    if pool.copy.device.type != "cpu":
        module = copy.deepcopy(module).cpu()
    found = search(module, arena.reach, index, arena.points.target, spend=arena.share.take, effort=_EFFORT)
    misses = 0
    try:
        for number, starts in enumerate(found):
            point = starts.point
            arena.tried[point] = True
            if starts.proved:
                pool.settled[point] = True
            elif not _led(pool, starts):
                return False
            elif arena.standing[point] and (program := encoded(pool, starts)) is not None:
                whole = len(program.switches) <= _WHOLE
                if (whole or misses < _MISSES) and not _solved(pool, program, starts, goals[point]):
                    return False
                misses = misses + 1 if arena.standing[point] and not whole else 0
            arena.share.progress(0.9 + 0.1 * (number + 1) / len(index))
    except OperatorUnsupported:
        return True
    return arena.share.cut is None


def _led(pool: Pool, starts: Starts) -> bool:
    """Ask about what branch and bound takes for witnesses, and keep the best; False when refused."""
    point = starts.point
    if len(starts.margin) and starts.margin[0] < pool.record.margin[point]:
        best = pool.arena.reach.project(starts.x[:1], np.array([point]))
        pool.record.x[point], pool.record.margin[point] = best[0], starts.margin[0]
    wrong = starts.x[starts.margin <= 0]
    return not len(wrong) or _asked(pool, wrong, point, "branch and bound")


def _asked(pool: Pool, x: FloatArray, point: int, name: str) -> bool:
    answer = pool.arena.submit(x, np.full(len(x), point, np.int64))
    if answer is None:
        return False
    if answer.broken.any():
        pool.record.fell.setdefault(point, name)
    return True


def _solved(pool: Pool, program: Program, starts: Starts, goals: IntArray) -> bool:
    """Search the program of a point that is still open; False when the share refused."""
    point = starts.point
    for goal in [goal for goal in _nearest(pool, point, goals) if goal in starts.rivals][:_GOALS]:
        puzzle = Puzzle(program, starts.value, int(pool.arena.points.target[point]), goal)
        hunt = _Hunt(pool, puzzle, point, child_seed(pool.arena.seed, f"hard {goal}/{point}"))
        whole = len(program.switches) <= _WHOLE
        if not (hunt.whole() if whole else hunt.nearby()):
            return False
        if not pool.arena.standing[point]:
            break
    return True


def encoded(pool: Pool, starts: Starts) -> Program | None:
    """The program of one point without a goal, or null where it has none or is too large."""
    _, lower, upper = pool.ball.corners(np.array([starts.point]))
    low, high = (end.cpu().numpy().astype(np.float64).ravel() for end in (lower, upper))
    reach = pool.arena.reach
    program = Program(low, high, np.asarray(reach.whole.ravel() & (low < high)), starts.row)
    try:
        if not encode(program, starts.value, _SWITCHES) or not within(program, reach, starts.point):
            return None
    except OperatorUnsupported:
        return None
    return program


def _nearest(pool: Pool, point: int, goals: IntArray) -> list[int]:
    """The goals, those that searches came nearest to first."""
    runs = pool.record.runs
    least = {int(goal): min(runs.get((point, int(goal)), [np.inf])) for goal in goals}
    return sorted(least, key=lambda goal: least[goal])


@final
@dataclass(frozen=True, slots=True)
class _Hunt:
    """One point against one goal.

    Attributes:
        pool: best inputs so far, and where witnesses count.
        puzzle: the program.
        point: which.
        seed: of its random numbers.
    """

    pool: Pool
    puzzle: Puzzle
    point: int
    seed: int

    def whole(self) -> bool:
        """The whole program at once; False when the share refused."""
        found = self._solved(-self._below, Work(_NODES, _SECONDS))
        return found is not None and (not len(found) or self._try(found[0]))

    def nearby(self) -> bool:
        """Around the best input, again and again; a larger part where nothing better is near."""
        random = np.random.default_rng(self.seed)
        x = self.pool.record.x[self.point].astype(np.float64)
        value, free = self.puzzle.margin(x), float(_FREE)
        for _ in range(_ROUNDS):
            states, far = self.puzzle.states(x)
            far = far * np.exp(_SHAKE * random.standard_normal(len(far)))
            fixed = np.ones(len(far), np.bool_)
            fixed[np.argsort(far, kind="stable")[: int(free)]] = False
            work = Work(_NODES_NEARBY, _SECONDS_NEARBY)
            found = self._solved(value - self._below, work, (fixed, states))
            if found is None:
                return False
            better = self.puzzle.margin(found[0]) if len(found) else np.inf
            if better >= value:
                if free >= len(far):
                    return True
                free *= _GROWTH
                continue
            x, value = found[0], better
            if value < 0 and not self._try(x):
                return False
            if not self.pool.arena.standing[self.point]:
                return True
        return True

    @property
    def _below(self) -> float:
        return _BELOW * max(1.0, float(np.abs(self.pool.arena.points.scores[self.point]).max()))

    def _solved(
        self, below: float, work: Work, fixed: tuple[BoolArray, FloatArray] | None = None
    ) -> FloatArray | None:
        """(0 or 1, *shape) what the solver finds in what the share still covers; null when it refuses."""
        share = self.pool.arena.share
        if not share.take(forward=2):
            return None
        seconds, passes = share.seconds_left(), share.passes_left()
        work = Work(
            work.nodes if passes is None else min(work.nodes, passes),
            work.seconds if seconds is None else min(work.seconds, seconds),
        )
        before = self.puzzle.nodes
        x = self.puzzle.solve(below, work, fixed)
        # How many nodes it takes is known afterwards only: they are booked up to the budget's limit.
        taken = self.puzzle.nodes - before
        covered = taken if passes is None else min(taken, passes)
        booked = share.take(bounds=covered) and share.take(bounds=taken - covered)
        if x is not None:
            return x[None]
        return np.zeros((0, *self.pool.arena.reach.shape)) if booked else None

    def _try(self, x: FloatArray) -> bool:
        """Ask about an input; False when the share refused."""
        x = x[None].astype(np.float32).astype(np.float64)
        best = self.puzzle.margin(x[0])
        if best < self.pool.record.margin[self.point]:
            self.pool.record.x[self.point], self.pool.record.margin[self.point] = x[0], best
        return _asked(self.pool, x, self.point, "mixed-integer program")
