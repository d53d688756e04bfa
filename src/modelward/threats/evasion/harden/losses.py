"""What each method minimises; every function gives the mean loss of one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch.nn import functional

from modelward.threats.evasion.harden.ascent import climb
from modelward.threats.evasion.harden.front import target
from modelward.threats.evasion.harden.intervals import Interval
from modelward.threats.evasion.harden.margins import interval_margins, relaxed_margins

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, fx, nn

    from modelward.threats.evasion.harden.ball import Ball
    from modelward.threats.evasion.harden.methods import Method, Training


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Batch:
    """Samples, and what the attacker may do to them at this point of the training.

    Attributes:
        x: (n, *shape) float32.
        y: (n,) int64.
        ball: at the radius reached so far.
        grown: share of the final radius, in [0, 1].
        steps: of the inner attack.
    """

    x: Tensor
    y: Tensor
    ball: Ball
    grown: float
    steps: int


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Network:
    """What is trained.

    Attributes:
        module: the network.
        graph: its trace, with the same weights; null for methods that train no bounds.
        training: the choices.
    """

    module: nn.Module
    graph: fx.GraphModule | None
    training: Training


def adversarial(net: Network, batch: Batch) -> Tensor:
    """Cross-entropy of attacked samples (Madry et al. 2018, arXiv 1706.06083v4, equation 2.1).

    With one step from a random start and a step length of 1.25 eps it is the fast method of Wong et al. 2020
    (arXiv 2001.03994v1, algorithm 3).
    """
    return functional.cross_entropy(attacked(net, batch)(), batch.y)


def trades(net: Network, batch: Batch) -> Tensor:
    """Clean loss plus beta times the divergence of attacked from clean probabilities.

    Source: Zhang et al. 2019 (arXiv 1901.08573v3, equation 5 and algorithm 1), which starts next to the
    samples, where the divergence has no slope.
    """
    from modelward.threats.evasion.modules import as_evaluated

    with torch.no_grad(), as_evaluated(net.module):
        clean = functional.softmax(net.module(batch.x), dim=1)

    def divergence(scores: Tensor) -> Tensor:
        return functional.kl_div(functional.log_softmax(scores, dim=1), clean, reduction="none").sum(dim=1)

    aim = target(net.module, batch.x, batch.ball)
    start = aim.of(batch.x)
    near = aim.ball.inside(start + 1e-3 * torch.randn_like(start) * aim.ball.unit, aim.x)
    moved = climb(aim.net, divergence, (aim.x, near), aim.ball, batch.steps)
    plain, worst = net.module(batch.x), functional.log_softmax(aim.scores(moved), dim=1)
    penalty = functional.kl_div(worst, functional.softmax(plain, dim=1), reduction="batchmean")
    return functional.cross_entropy(plain, batch.y) + net.training.beta * penalty


def noisy(net: Network, batch: Batch) -> Tensor:
    """Cross-entropy under Gaussian noise (Cohen et al. 2019, arXiv 1902.02918v2, section 3.3); no box."""
    noise = torch.randn_like(batch.x) * batch.ball.eps * batch.ball.unit
    return functional.cross_entropy(net.module(batch.x + noise), batch.y)


def intervals(net: Network, batch: Batch) -> Tensor:
    """Clean loss and that of the worst scores in interval bounds (Gowal et al. 2018, equation 12)."""
    return _mixed(net, batch, lambda x: interval_margins(_graph(net), x, batch.y))


def relaxed(net: Network, batch: Batch) -> Tensor:
    """The same on a mixture of linear relaxation and intervals, which ends at intervals alone.

    Source: CROWN-IBP, Zhang et al. 2020 (arXiv 1906.06316v2, equation 8 and section 4).
    """
    graph = _graph(net)
    if batch.grown >= 1:
        return intervals(net, batch)

    def margins(x: Interval) -> Tensor:
        tight = relaxed_margins(graph, x, batch.y)
        return (1 - batch.grown) * tight + batch.grown * interval_margins(graph, x, batch.y)

    return _mixed(net, batch, margins)


def small_box(net: Network, batch: Batch) -> Tensor:
    """Worst scores in a small box around an attack that stays away from the ball's edge.

    Source: SABR, Müller et al. 2023 (arXiv 2210.04871v3, section 3 and equation 6).
    """
    share = net.training.small
    moved = batch.x
    if batch.ball.eps > 0 and share < 1:
        within = batch.ball.scaled(1 - share)
        moved = climb(net.module, _wrong(batch), (batch.x, within.random(batch.x)), within, batch.steps)
    around = batch.ball.scaled(share)
    low, high = around.limits(moved)
    # The small box must not leave the large one, whose edge it may touch after rounding.
    least, most = batch.ball.limits(batch.x)
    box = Interval.between(torch.maximum(low, least), torch.minimum(high, most))
    return functional.cross_entropy(-interval_margins(_graph(net), box, batch.y), batch.y)


LOSSES: Final[dict[Method, Callable[[Network, Batch], Tensor]]] = {
    "pgd": adversarial,
    "trades": trades,
    "awp": adversarial,  # the weights are perturbed around it, see fit.py
    "fast": adversarial,
    "ibp": intervals,
    "crown-ibp": relaxed,
    "sabr": small_box,
    "noise": noisy,
}


def passes(training: Training, steps: int) -> tuple[int, int]:
    """Forward and backward samples that one sample of a batch costs, at most.

    Two samples stand for one interval (centre and radius), and k more backward for its k linear relaxations
    are counted as one: each is a matrix product as large as a backward sample.
    """
    match training.method:
        case "pgd" | "fast":
            return steps + 1, steps + 1
        case "trades":
            return steps + 3, steps + 2
        case "awp":
            return steps + 2, steps + 2
        case "ibp":
            return 3, 3
        case "crown-ibp":
            return 6, 6
        case "sabr":
            return steps + 2, steps + 2
        case "noise":
            return 1, 1
        case "trees" | "normalise":
            raise AssertionError("the control of training declines methods that train no module")


def _mixed(net: Network, batch: Batch, margins: Callable[[Interval], Tensor]) -> Tensor:
    share = 1 - (1 - net.training.kappa) * batch.grown
    found = functional.cross_entropy(-margins(Interval.between(*batch.ball.limits(batch.x))), batch.y)
    if share == 0:
        return found
    return share * functional.cross_entropy(net.module(batch.x), batch.y) + (1 - share) * found


def attacked(net: Network, batch: Batch) -> Callable[[], Tensor]:
    """Scores of the samples after the inner attack, computed anew from the weights at every call."""
    aim = target(net.module, batch.x, batch.ball)
    moved = climb(aim.net, _wrong(batch), (aim.x, aim.ball.random(aim.x)), aim.ball, batch.steps)
    return lambda: aim.scores(moved)


def _wrong(batch: Batch) -> Callable[[Tensor], Tensor]:
    return lambda scores: functional.cross_entropy(scores, batch.y, reduction="none")


def _graph(net: Network) -> fx.GraphModule:
    if net.graph is None:
        raise AssertionError("methods that train bounds are given a graph")
    return net.graph
