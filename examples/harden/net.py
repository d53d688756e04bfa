"""A small network for digits that begins with a soft threshold; audits import it as ``net:build``."""

from __future__ import annotations

import torch
from torch import nn

LEAK = 0.001
"""Slope of the threshold where it is flat: it changes no answer to speak of, and shows every attack the way.
Without it gradients are nothing there, and an attack on inputs that follows them understates the danger."""


def build() -> nn.Sequential:
    """(n, 1, 28, 28) float32 in [0, 1] -> (n, 10) logits.

    The two convolutions of 1 x 1 start as x -> 1 - clip((x - 0.3) / 0.4, 0, 1) and are trained like all
    others: what is black or white stays so under changes of 0.3, and only grey pixels can be attacked.
    Networks that are trained on MNIST at this radius find such filters themselves (Madry et al. 2018, arXiv
    1706.06083v4, appendix C), after many more epochs.
    """
    first, second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        for layer, weight, bias in ((first, 1.0, -0.3), (second, -2.5, 1.0)):
            layer.weight.fill_(weight)
            if layer.bias is not None:
                layer.bias.fill_(bias)
    return nn.Sequential(
        first,
        nn.LeakyReLU(LEAK),
        second,
        nn.LeakyReLU(LEAK),
        nn.Conv2d(1, 16, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(800, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
