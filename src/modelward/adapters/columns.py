"""One number for two classes, written as two score columns."""

from __future__ import annotations

from typing import final

import torch
from torch import nn


@final
class TwoColumns(nn.Module):
    """Wraps a module that answers (n,) or (n, 1).

    Columns: ``[0, z]`` for a logit z, ``[1 - p, p]`` for a probability p, so that the larger column decides.
    """

    def __init__(self, module: nn.Module, *, probability: bool) -> None:
        super().__init__()
        self.inner = module
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *shape) -> (n, 2)."""
        z = torch.reshape(self.inner(x), (-1, 1))
        other = 1 - z if self.probability else z * 0.0
        return torch.cat([other, z], dim=1)
