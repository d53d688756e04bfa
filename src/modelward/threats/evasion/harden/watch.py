"""Samples kept apart from training: which epoch is the best, and whether the network fools its attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch.nn import functional

from modelward.threats.evasion.harden.ascent import climb
from modelward.threats.evasion.harden.front import target
from modelward.threats.evasion.harden.intervals import Interval
from modelward.threats.evasion.harden.margins import interval_margins
from modelward.threats.evasion.harden.methods import PROVED
from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.threats.evasion.harden.ball import Ball
    from modelward.threats.evasion.harden.losses import Network

STEPS: Final = 10
"""Of the attack that tells epochs apart; the audit afterwards is much stronger."""
GAP: Final = 0.25
"""Share of samples that one step leaves right and many steps break, from which on a network is taken to have
overfitted to the single step. Wong et al. 2020 (arXiv 2001.03994v1, section 5.4) see the accuracy under PGD
fall to 0 within an epoch while that under one step rises, so the threshold is not delicate."""
_BATCH: Final = 256


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class HeldOut:
    """Samples that no step of the training sees.

    Attributes:
        x: (n, *shape) float32.
        y: (n,) int64.
        ball: at the final radius.
    """

    x: Tensor
    y: Tensor
    ball: Ball

    def passes(self, net: Network) -> tuple[int, int]:
        """Samples that a measurement sends forward and backward."""
        each = STEPS + 4 + (2 if net.training.method in PROVED else 0)
        return each * len(self.x), (STEPS + 1) * len(self.x)

    def measure(self, net: Network, grown: float, meter: Meter) -> dict[str, JSON] | None:
        """Shares of the samples: right, right under one step and under many, proved; null without budget.

        Args:
            net: as it is.
            grown: share of the radius that the training has reached; the attacks use that radius.
            meter: asked first.
        """
        proved = net.training.method in PROVED
        forward, backward = self.passes(net)
        if not meter.take(forward=forward, backward=backward):
            return None
        counts = dict.fromkeys(("clean", "one step", "attacked", *(("proved",) if proved else ())), 0)
        around = self.ball.scaled(grown)
        for start in range(0, len(self.x), _BATCH):
            x, y = self.x[start : start + _BATCH], self.y[start : start + _BATCH]
            for name, right in self._batch(net, (x, y), around).items():
                counts[name] += int(right.sum())
        return {name: count / len(self.x) for name, count in counts.items()}

    def _batch(self, net: Network, samples: tuple[Tensor, Tensor], around: Ball) -> dict[str, Tensor]:
        x, y = samples

        def wrong(scores: Tensor) -> Tensor:
            return functional.cross_entropy(scores, y, reduction="none")

        def right(scores: Tensor) -> Tensor:
            return scores.argmax(dim=1) == y

        aim = target(net.module, x, around)
        if net.training.method == "noise":
            moved = once = x + torch.randn_like(x) * around.eps * around.unit
        else:
            once = climb(aim.net, wrong, (aim.x, aim.ball.random(aim.x)), aim.ball, 1)
            moved = climb(aim.net, wrong, (aim.x, aim.ball.random(aim.x)), aim.ball, STEPS)
        with torch.no_grad(), as_evaluated(net.module):
            found = {
                "clean": right(net.module(x)),
                "one step": right(aim.scores(once)),
                "attacked": right(aim.scores(moved)),
            }
            if net.graph is not None:
                margins = interval_margins(net.graph, Interval.between(*around.limits(x)), y)
                own = functional.one_hot(y, margins.shape[1]).bool()
                found["proved"] = (margins.masked_fill(own, 1.0) > 0).all(dim=1)
        return found


def overfitted(measured: dict[str, JSON]) -> bool:
    """Whether one step no longer stands for many: catastrophic overfitting."""
    return float(str(measured["one step"])) - float(str(measured["attacked"])) > GAP
