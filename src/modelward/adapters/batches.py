"""A module that takes one batch size only, asked with any."""

from __future__ import annotations

from typing import final

import torch
from torch import nn
from torch.nn import functional


@final
class AnyBatch(nn.Module):
    """Cuts a batch into the size that the module takes; the last one is filled up with zeros.

    Args:
        module: takes (size, *shape) alone.
        size: its batch size, at least 1.
    """

    def __init__(self, module: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = module
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *shape) -> (n, ...), n >= 1."""
        missing = -len(x) % self.size
        filled = functional.pad(x, (0, 0) * (x.dim() - 1) + (0, missing))
        return torch.cat([self.inner(part) for part in torch.split(filled, self.size)])[: len(x)]
