"""Momentum descent on a loss, with cosine step decay; a search without prospects ends early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import torch

from modelward.threats.evasion.gradient.pool import Found

if TYPE_CHECKING:
    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.losses import Loss
    from modelward.threats.evasion.gradient.pool import Batch

_MOMENTUM: Final = 0.5
_TINY: Final = 1e-30
_LOOK_BACK: Final = 5
_HOPE: Final = 3.0
"""A search goes on while this many times its recent speed would reach a margin of 0 in time."""


@final
class Descent:
    """Steps against the slope.

    Momentum on normalised slopes: Dong et al. 2018 (arXiv 1710.06081v3, algorithm 1). Step decay: Loshchilov
    and Hutter 2017 (arXiv 1608.03983v5, equation 5).

    Args:
        copy: what is asked.
        ball: what may become of points.
        steps: of each search.
        kind: the loss.
        step: first step length in units of eps (of the box where a feature may change at will).
        patient: go on although the margin hardly falls any more.
    """

    forward = backward = 1

    def __init__(
        self,
        copy: Copy,
        ball: Ball,
        *,
        steps: int,
        kind: Loss = "margin",
        step: float = 1.0,
        patient: bool = False,
    ) -> None:
        self.steps = steps
        self._copy, self._ball, self._kind, self._patient = copy, ball, kind, patient
        self._length = step * (ball.eps if ball.graded else 1.0)

    def begin(self, batch: Batch) -> None:
        """Momentum, and the least margins of the last steps."""
        state = batch.state
        state["drift"] = torch.zeros_like(state["x"])
        state["past"] = torch.full((len(batch.tasks), _LOOK_BACK), torch.inf, device=state["x"].device)

    def advance(self, batch: Batch) -> Found:
        """Look, then step."""
        state, ball = batch.state, self._ball
        x = state["x"]
        seen = self._copy.look(x, batch.target, batch.goal, self._kind)
        slope = seen.slope * ball.units if seen.slope is not None else torch.zeros_like(x)
        flat = slope.flatten(1).abs().sum(dim=1) == 0
        if bool(flat.any()):  # no slope: any direction is as good as another
            for row in flat.nonzero()[:, 0].tolist():
                seed = batch.tasks[row].seed + int(batch.step[row])
                guess = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
                slope[row] = guess.to(x.device) * (ball.units[0] > 0)
        size = slope.flatten(1).abs().mean(dim=1).clamp_min(_TINY)
        state["drift"] = _MOMENTUM * state["drift"] + slope / batch.column(size)
        done = torch.from_numpy(batch.step).to(x.device) / self.steps
        length = self._length * 0.5 * (1 + torch.cos(math.pi * done)).float()
        move = ball.direction(state["drift"])
        state["x"] = ball.inside(x - batch.column(length) * move * ball.units, state["centre"], batch.limits)
        return Found(x, seen.wrong, seen.margin, self._hopeless(batch, seen.margin))

    def _hopeless(self, batch: Batch, margin: torch.Tensor) -> torch.Tensor:
        """(b,) searches whose margin neither falls fast enough nor is near 0: they cycle or stagnate."""
        past = batch.state["past"]
        least = torch.minimum(past[:, -1], margin)
        gain = past[:, 0] - least
        batch.state["past"] = torch.cat([past[:, 1:], least[:, None]], dim=1)
        if self._patient:
            return torch.zeros_like(margin, dtype=torch.bool)
        left = self.steps - 1 - torch.from_numpy(batch.step).to(margin.device)
        early = torch.from_numpy(batch.step < max(_LOOK_BACK, self.steps // 3)).to(margin.device)
        return ~early & (least - _HOPE * gain * left / _LOOK_BACK > 0)
