"""Transfer: descend on a small net that was fitted to the model's answers, and see whether the model follows.

Papernot et al. 2017, "Practical black-box attacks against machine learning" (arXiv 1602.02697v4), with random
inputs of the ball in place of the Jacobian-based augmentation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.descent import Descent

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.gradient.pool import Batch, Found, Pool

_AROUND: Final = 8
"""Questions per point."""
_POINTS: Final = 256
_WIDTH: Final = 64
_EPOCHS: Final = 30
_RATE: Final = 3e-3


@final
class Borrowed:
    """Descent on another net's slopes; what counts is what the model itself answers.

    Args:
        pool: the model's copy and ball.
        net: the surrogate.
        steps: of each search.
    """

    forward, backward = 1, 0

    def __init__(self, pool: Pool, net: nn.Module, *, steps: int) -> None:
        self.steps = steps
        self._copy = pool.copy
        self._descent = Descent(
            Copy(net, tuple(pool.ball.units.shape[1:])), pool.ball, steps=steps, patient=True
        )

    def begin(self, batch: Batch) -> None:
        """As descent."""
        self._descent.begin(batch)

    def advance(self, batch: Batch) -> Found:
        """Step on the surrogate, look with the model."""
        from modelward.threats.evasion.gradient.pool import Found

        borrowed = self._descent.advance(batch)
        seen = self._copy.look(borrowed.x, batch.target, batch.goal, None)
        return Found(borrowed.x, seen.wrong, seen.margin, borrowed.ended)


def fitted(pool: Pool, point: IntArray, seed: int) -> nn.Module | None:
    """A net with one hidden layer that answers like the model near some points; null where the share refused.

    Args:
        pool: whom to ask.
        point: positions; at most 256 of them are used.
        seed: of questions and fit.
    """
    chosen = np.repeat(point[:_POINTS], _AROUND)
    if not pool.arena.share.take(forward=len(chosen)):
        return None
    centre, low, high = pool.ball.corners(chosen)
    kinds = ("noise", "corner", "blocks", "stripes")
    asked = []
    for number, kind in enumerate(kinds):
        rows = slice(number, None, len(kinds))
        seeds = [seed + i for i in range(len(chosen))[rows]]
        asked.append(pool.ball.start(kind, seeds, centre[rows], (low[rows], high[rows])))
    x = torch.cat(asked)
    answers = torch.cat([pool.copy.scores(part) for part in torch.split(x, pool.copy.batch)])
    if not bool(answers.isfinite().all()):
        return None
    return _fit(x, answers, torch.Generator().manual_seed(seed))


def _fit(x: Tensor, answers: Tensor, random: torch.Generator) -> nn.Module:
    """Least squares on centred scores, which fixes what a softmax leaves open."""
    inputs = math.prod(x.shape[1:])
    wanted = answers - answers.mean(dim=1, keepdim=True)
    wanted = wanted / wanted.std().clamp_min(1e-12)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the generators of devices too, which nothing puts back.
        torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=random)))
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, answers.shape[1])
        )
    net = net.to(x.device)
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    with torch.enable_grad():
        for _ in range(_EPOCHS):
            for rows in torch.split(torch.randperm(len(x), generator=random), 64):
                part = rows.to(x.device)
                optimiser.zero_grad()
                error = functional.mse_loss(net(x[part]), wanted[part])
                torch.autograd.backward(error)
                optimiser.step()
    return net.eval()
