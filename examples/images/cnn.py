"""The architecture of both networks; audits import it by its name, ``cnn:build``."""

from __future__ import annotations

from torch import nn


def build() -> nn.Sequential:
    """(n, 1, 8, 8) float32 in [0, 1] -> (n, 10) logits, one per digit."""
    return nn.Sequential(
        nn.Conv2d(1, 12, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 4 * 4, 10),
    )
