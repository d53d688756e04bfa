"""Inputs that leave fewer activations at zero, by the slope of a differentiable copy.

Hardware that skips zeros spends energy and time on every activation that is none. Source: Shumailov et al.
2021 (arXiv 2006.03463v2), section 4.3 and equation 1: the sum of the norms of all activations is climbed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from modelward.core.data import Box
    from modelward.numeric.types import FloatArray

STEPS: Final = 40
_RATE: Final = 0.05


def denser(
    module: nn.Module, x: NDArray[np.generic], box: Box, take: Callable[[int], bool]
) -> tuple[NDArray[np.generic], FloatArray, FloatArray] | None:
    """Climb the size of all activations that can be zero, within the box.

    Args:
        module: the copy.
        x: (n, *shape) where to start.
        box: where inputs may lie.
        take: books samples that go forward and backward; False ends the climb.

    Returns:
        The densest inputs seen, (n, *shape) of x's type, and the share of activations that are not zero at
        the start and there, (n,) each; null where nothing rectifies or the budget refused at once.
    """
    shape = x.shape[1:]
    low = torch.as_tensor(np.broadcast_to(box.lower, shape).astype(np.float32))
    high = torch.as_tensor(np.broadcast_to(box.upper, shape).astype(np.float32))
    at = torch.as_tensor(x.astype(np.float32)).clone()
    seen: list[Tensor] = []
    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        for part in module.modules()
        if isinstance(part, torch.nn.ReLU | torch.nn.ReLU6)
    ]
    first: Tensor | None = None
    most, best = torch.zeros(len(x)), at.clone()
    try:
        with as_evaluated(module):
            for step in range(STEPS + 1):
                if not take(len(x)):
                    break
                seen.clear()
                at = at.detach().requires_grad_()
                module(at)
                if not seen:
                    return None
                share = _share(seen)
                first = share if first is None else first
                wide = (share > most).reshape(-1, *[1] * len(shape))
                most, best = torch.maximum(share, most), torch.where(wide, at.detach(), best)
                if step == STEPS:
                    break
                # The logarithm is steepest where an activation is small: new ones are worth more.
                layers = [torch.log1p(10 * layer.clamp(min=0).flatten(1)).mean(dim=1).sum() for layer in seen]
                (slope,) = torch.autograd.grad(torch.stack(layers).sum(), at)
                at = torch.clamp(at.detach() + _RATE * (high - low) * slope.sign(), low, high)
    finally:
        for hook in hooks:
            hook.remove()
    if first is None:
        return None
    return best.numpy().astype(x.dtype), first.double().numpy(), most.double().numpy()


def _share(seen: list[Tensor]) -> Tensor:
    """(n,) share of activations that are not zero."""
    alive = torch.stack([(layer.detach() != 0).flatten(1).sum(dim=1) for layer in seen]).sum(dim=0)
    return alive / sum(layer[0].numel() for layer in seen)
