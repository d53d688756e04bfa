"""One program against one goal, and the solver that searches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.threats.evasion.bounds.backward import evaluated, order
from modelward.threats.evasion.bounds.inputs import Source

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray
    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.gradient.program import Program

_ANY: Final = 1e9
"""A gap that every solution has: the first one found is enough."""


@final
@dataclass(frozen=True, slots=True)
class Work:
    """How long to look.

    Attributes:
        nodes: of the solver's own branch and bound, at most.
        seconds: likewise.
    """

    nodes: int
    seconds: float


@final
class Puzzle:
    """The program of one point against one goal.

    Args:
        program: of the network.
        value: (n, k) the scores that the program ends in.
        target: true column.
        goal: column to reach.

    Attributes:
        nodes: of the solver's branch and bound so far, at least one per question.
    """

    def __init__(self, program: Program, value: Enclosure, target: int, goal: int) -> None:
        if value.step is None:
            raise AssertionError("an encoded network without steps")
        self.nodes = 0
        self._program, self._last = program, value.step
        self._input = next(s.lower.shape[1:] for s in order(value.step) if isinstance(s, Source))
        a = torch.zeros((1, value.shape[1]), dtype=torch.float64)
        a[0, target], a[0, goal] = 1.0, -1.0
        self._columns = (target, goal)
        cost, constant = program.affine(value, a)
        cost.resize((1, len(program.low)))
        self._cost, self._constant = cost.toarray()[0], float(constant[0])
        self._matrix, self._least, self._most = program.rows()

    def margin(self, x: FloatArray) -> float:
        """Of the network at an input, (*shape), in float64."""
        values = evaluated(self._last, torch.from_numpy(x)[None])
        if values is None:
            raise AssertionError("an encoded network with unknown values")
        scores = values[self._last][0]
        target, goal = self._columns
        return float(scores[target] - scores[goal])

    def states(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Program.states`."""
        return self._program.states(self._last, x)

    def solve(
        self, below: float, work: Work, fixed: tuple[BoolArray, FloatArray] | None = None
    ) -> FloatArray | None:
        """An input whose margin is at most a number, or null where none was found.

        Args:
            below: the number.
            work: how long to look.
            fixed: (s,) which switches are fixed, and (s,) to what; the least margin is then looked for. Null:
                none, and any input will do.

        Returns:
            (*shape) float64.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp

        low, high = self._program.low.copy(), self._program.high.copy()
        if fixed is not None:
            chosen, states = fixed
            place = self._program.switches[chosen]
            low[place] = high[place] = states[chosen]
        answer = milp(
            self._cost,
            integrality=self._program.whole,
            bounds=Bounds(low, high),
            constraints=[
                LinearConstraint(self._matrix, self._least, self._most),
                LinearConstraint(self._cost[None], -np.inf, below - self._constant),
            ],
            options={
                "node_limit": work.nodes,
                "time_limit": work.seconds,
                "mip_rel_gap": _ANY if fixed is None else 0.0,
            },
        )
        self.nodes += max(1, answer.mip_node_count or 0)
        if answer.x is None:
            return None
        size = int(np.prod(self._input))
        x = np.clip(answer.x, self._program.low, self._program.high)[:size]
        return np.asarray(x.reshape(self._input), np.float64)
