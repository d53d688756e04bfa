"""Attacks on a model behind a detector: blind to it, and aimed at both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch

from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelward.core.budget import Meter
    from modelward.threats.evasion.harden.ball import Ball
    from modelward.threats.evasion.harden.detectors.scores import Detector

WEIGHTS: Final = (0.3, 3.0)
"""Of the detector against the margin; an attacker tries both and keeps what works."""
STEPS: Final = 40


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Behind:
    """Samples of a model with a detector.

    Attributes:
        module: the model.
        detector: in front of it.
        threshold: scores above it are refused.
        spread: of the scores on clean samples, > 0; what one unit of suspicion is.
        ball: what may be done.
    """

    module: nn.Module
    detector: Detector
    threshold: float
    spread: float
    ball: Ball


@final
@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """What an attack ended with.

    Attributes:
        wrong: (n,) whether any input was found that the model gets wrong.
        score: (n,) the lowest detector score among these; infinite where there is none.
    """

    wrong: Tensor
    score: Tensor


def search(behind: Behind, samples: tuple[Tensor, Tensor], meter: Meter, *, adaptive: bool) -> Found | None:
    """Inputs that the model gets wrong, of the lowest detector score seen.

    The blind attack descends the margin. The adaptive one descends margin + weight * suspicion together, from
    a random start for each weight, where suspicion counts above the threshold only (Tramer et al. 2020, On
    Adaptive Attacks, arXiv 2002.08347v2, section 4: one loss whose minima are successful attacks). Blind
    witnesses count for the adaptive attacker too, who can do whatever the blind one does.

    Args:
        behind: the model and the detector.
        samples: (n, *shape) and labels (n,), answered right.
        meter: asked before every step; null is returned when it refuses.
        adaptive: whether the attack knows the detector.
    """
    x, y = samples
    best = torch.full((len(x),), torch.inf)
    with as_evaluated(behind.module):
        for weight in (0.0, *WEIGHTS) if adaptive else (0.0,):
            moved = behind.ball.random(x) if weight else x
            for i in range(STEPS):
                cost = len(x) * (behind.detector.passes + 1)
                if not meter.take(forward=cost, backward=cost if weight else len(x)):
                    return None
                moved, wrong, score = _step(behind, (x, y, moved), weight, i)
                # The blind attack stops at its first success; knowing nothing, it has no reason to go on.
                fresh = wrong & (best.isinf() if not weight else score < best)
                best = torch.where(fresh, score, best)
    return Found(best.isfinite(), best)


def _step(
    behind: Behind, at: tuple[Tensor, Tensor, Tensor], weight: float, number: int
) -> tuple[Tensor, Tensor, Tensor]:
    x, y, moved = at
    moved = moved.detach().requires_grad_()
    rows = torch.arange(len(y))
    with torch.enable_grad():
        scores = behind.module(moved)
        rivals = scores.clone()
        rivals[rows, y] = -torch.inf
        margin = scores[rows, y] - rivals.amax(dim=1)
        suspicion = behind.detector.score(moved)
        excess = ((suspicion - behind.threshold) / behind.spread).clamp_min(-0.1)
        # A point that is wrong by a unit already has nothing to gain from being more so.
        loss = margin.clamp_min(-1.0) + weight * excess if weight else margin
        (slope,) = torch.autograd.grad(loss.sum(), moved)
    length = behind.ball.eps * 0.5 * (1.0 - number / STEPS)
    step = behind.ball.inside(moved.detach() - behind.ball.step(slope, length), x)
    return step, (margin.detach() < 0), suspicion.detach()
