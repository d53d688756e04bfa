"""The inner attack of adversarial training: projected gradient ascent on a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from modelward.threats.evasion.harden.ball import Ball


def climb(
    net: nn.Module, loss: Callable[[Tensor], Tensor], around: tuple[Tensor, Tensor], ball: Ball, steps: int
) -> Tensor:
    """Inputs of the ball with a large loss.

    Steepest ascent under the ball's norm (Madry et al. 2018, arXiv 1706.06083v4, section 2.1), with steps of
    2.5 eps / steps, so that any point of the ball can be reached from any other.

    Args:
        net: evaluated, not trained, while this runs: batch statistics and dropout stay out of it.
        loss: maps scores (n, k) to what is summed over samples and made large, (n,) or a scalar.
        around: the samples (n, *shape) and where to start.
        ball: around the samples.
        steps: >= 1; each sends every sample forward and backward once.

    Returns:
        (n, *shape), without a gradient.
    """
    x, moved = around
    length = 2.5 * ball.eps / steps if steps > 1 else 1.25 * ball.eps
    with as_evaluated(net), torch.enable_grad():
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(net(moved)).sum(), moved)
            moved = ball.inside(moved.detach() + ball.step(slope, length), x)
    return moved.detach()
