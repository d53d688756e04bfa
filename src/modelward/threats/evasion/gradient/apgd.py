"""APGD: descent with momentum whose step is halved where the loss stops falling; no step size to choose.

Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks" (arXiv 2003.01690v2, algorithm 1); for L1: Croce and Hein 2021, "Mind the box" (arXiv 2103.01208v2,
algorithm 1): the sparsity of the steps follows that of the best input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import torch

from modelward.threats.evasion.gradient.pool import Found

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.losses import Loss
    from modelward.threats.evasion.gradient.pool import Batch

_MOMENTUM: Final = 0.75
_RHO: Final = 0.75
_FIRST, _LESS, _LEAST = 0.22, 0.03, 0.06
"""First period between checkpoints, by how much the next are shorter, the shortest; shares of the steps."""
_HOPE: Final = 3.0
"""A search without patience ends when so many times its last period's speed would not reach a margin of 0."""
_PART: Final = 0.2
_PERIOD_L1: Final = 0.04
"""Share of the features that a first L1 step moves, and of the steps between its checkpoints."""


@final
class Apgd:
    """Auto-PGD.

    Args:
        copy: what is asked.
        ball: what may become of points.
        steps: of each search.
        kind: the loss that it lowers.
        patient: go on although the margin hardly falls any more.
    """

    forward = backward = 1

    def __init__(self, copy: Copy, ball: Ball, *, steps: int, kind: Loss, patient: bool = True) -> None:
        self.steps, self._patient = steps, patient
        self._copy, self._ball, self._kind = copy, ball, kind
        self._sparse = ball.norm == "l1"
        self._span = ball.eps if ball.graded else 1.0
        every = max(1, int(_PERIOD_L1 * steps))
        self._ends = frozenset(range(every, steps, every) if self._sparse else _checkpoints(steps))

    def begin(self, batch: Batch) -> None:
        """Best input, previous input, step length and the counters of a period."""
        state = batch.state
        x, least = state["x"], state["least"]
        zero = torch.zeros_like(least)
        state |= {
            "before": x.clone(),
            "best": x.clone(),
            "slope": torch.zeros_like(x),
            "lowest": torch.full_like(least, torch.inf),
            "last": torch.full_like(least, torch.inf),
            "mark": torch.full_like(least, torch.inf),
            "length": torch.full_like(least, (1.0 if self._sparse else 2.0) * self._span),
            "fell": zero,
            "span": zero.clone(),
            "halved": torch.ones_like(least),
            "period": torch.full_like(least, torch.inf),
            "part": torch.full_like(least, _PART),
            "moved": torch.full_like(least, float(x[0].numel())),
        }

    def advance(self, batch: Batch) -> Found:
        """Look, keep the best, adapt the step at checkpoints, step."""
        state, ball = batch.state, self._ball
        x = asked = state["x"]
        seen = self._copy.look(x, batch.target, batch.goal, self._kind)
        slope = seen.slope * ball.units if seen.slope is not None else torch.zeros_like(x)
        better = seen.value < state["lowest"]
        wide = batch.column(better)
        state["best"] = torch.where(wide, x, state["best"])
        state["slope"] = torch.where(wide, slope, state["slope"])
        state["lowest"] = torch.where(better, seen.value, state["lowest"])
        state["fell"] = state["fell"] + (seen.value < state["last"]).float()
        state["last"] = seen.value
        state["span"] = state["span"] + 1
        ended = self._hopeless(batch, seen.margin)
        slope = self._adapted(batch, slope)
        x = state["x"]
        step = batch.column(state["length"]) * ball.direction(slope, state["part"]) * ball.units
        ahead = ball.inside(x - step, state["centre"], batch.limits)
        first = batch.column(torch.from_numpy(batch.step == 0).to(x.device))
        weight = torch.where(first, 1.0, 1.0 if self._sparse else _MOMENTUM)
        ahead = x + weight * (ahead - x) + (1 - weight) * (x - state["before"])
        state["before"], state["x"] = x, ball.inside(ahead, state["centre"], batch.limits)
        return Found(asked, seen.wrong, seen.margin, ended)

    def _ends_here(self, batch: Batch) -> Tensor:
        return torch.tensor([int(step) in self._ends for step in batch.step], device=batch.target.device)

    def _hopeless(self, batch: Batch, margin: Tensor) -> Tensor:
        """(b,) searches whose last period brought too little of the margin for the steps that are left."""
        state = batch.state
        least, ends = torch.minimum(state["least"], margin), self._ends_here(batch)
        left = (self.steps - torch.from_numpy(batch.step).to(margin.device)) / state["span"]
        slow = least > _HOPE * left * (state["period"] - least)
        state["period"] = torch.where(ends, least, state["period"])
        return ends & slow & (not self._patient)

    def _adapted(self, batch: Batch, slope: Tensor) -> Tensor:
        """Shorten steps and return to the best input where a period brought too little; the slope there."""
        state = batch.state
        ends = self._ends_here(batch)
        if not bool(ends.any()):
            return slope
        return self._sparser(batch, slope, ends) if self._sparse else self._halved(batch, slope, ends, state)

    def _halved(self, batch: Batch, slope: Tensor, ends: Tensor, state: dict[str, Tensor]) -> Tensor:
        stalled = state["fell"] < _RHO * state["span"]
        same = (state["halved"] == 0) & (state["mark"] <= state["lowest"])
        halve = ends & (stalled | same)
        back = batch.column(halve)
        state["length"] = torch.where(halve, state["length"] / 2, state["length"])
        state["x"] = torch.where(back, state["best"], state["x"])
        state["halved"] = torch.where(ends, halve.float(), state["halved"])
        self._renewed(state, ends)
        return torch.where(back, state["slope"], slope)

    def _sparser(self, batch: Batch, slope: Tensor, ends: Tensor) -> Tensor:
        state, ball = batch.state, self._ball
        moved = (ball.change(state["best"], state["centre"]) != 0).sum(dim=1).float()
        fewer = moved / state["moved"].clamp_min(1) < 0.95
        fresh = torch.where(fewer, torch.full_like(moved, self._span), state["length"] / 1.5)
        state["length"] = torch.where(ends, fresh.clamp(self._span / 10, self._span), state["length"])
        state["part"] = torch.where(ends, moved / slope[0].numel() / 1.5, state["part"])
        state["moved"] = torch.where(ends, moved, state["moved"])
        back = batch.column(ends & fewer)
        state["x"] = torch.where(back, state["best"], state["x"])
        self._renewed(state, ends)
        return torch.where(back, state["slope"], slope)

    def _renewed(self, state: dict[str, Tensor], ends: Tensor) -> None:
        state["mark"] = torch.where(ends, state["lowest"], state["mark"])
        for name in ("fell", "span"):
            state[name] = torch.where(ends, 0.0, state[name])


def _checkpoints(steps: int) -> list[int]:
    """Steps at which a search is judged (equation 5 of the paper, with its rounding)."""
    period, found, at = max(int(_FIRST * steps), 1), [], 0
    while at + period < steps:
        at += period
        found.append(at)
        period = max(period - max(int(_LESS * steps), 1), int(_LEAST * steps), 1)
    return found
