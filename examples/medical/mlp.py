"""The architecture of `mlp.pt`; audits import it by its name, ``mlp:build``."""

from __future__ import annotations

import torch
from torch import nn

FEATURES = 30
HIDDEN = 16


class Standardise(nn.Module):
    """Centres and scales features, so that the model takes them in the units of the table.

    Mean and deviation are buffers: they are saved with the weights, and no caller can forget or change them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 30) in the units of the table -> (n, 30) with mean 0 and deviation 1."""
        return (x - self.mean) / self.deviation


def build() -> nn.Sequential:
    """(n, 30) float32 raw features -> (n, 2) logits: benign, malignant."""
    return nn.Sequential(
        Standardise(),
        nn.Linear(FEATURES, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 2),
    )
