"""Adversarial perturbation of weights, around one step of training."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


@contextmanager
def perturbed(module: nn.Module, loss: Tensor, gamma: float) -> Iterator[None]:
    """Move each layer's weights where the loss rises fastest, by gamma times their own norm, for a while.

    Source: Wu et al. 2020 (arXiv 2004.05884v2, equations 7 to 10, one step); as there, vectors (biases,
    normalisation) stay.

    Args:
        module: whose weights are moved, and given back bit by bit.
        loss: of the module as it is.
        gamma: relative size, > 0.
    """
    chosen = [weight for weight in module.parameters() if weight.requires_grad and weight.dim() > 1]
    slopes = torch.autograd.grad(loss, chosen, allow_unused=True)
    kept = [weight.detach().clone() for weight in chosen]
    with torch.no_grad():
        for weight, slope in zip(chosen, slopes, strict=True):
            if slope is not None:
                weight.add_(gamma * weight.norm() * slope / slope.norm().clamp_min(1e-12))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, old in zip(chosen, kept, strict=True):
                weight.copy_(old)
