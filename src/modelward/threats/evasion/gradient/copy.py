"""The differentiable copy at work: scores and slopes of a batch, and how large batches are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, final

import torch

from modelward.threats.evasion.gradient.losses import logarithms, loss, margin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelward.threats.evasion.gradient.losses import Loss

_BATCH: Final = (8, 512)
_NUMBERS: Final = 1 << 21
"""Values that one batch may hold at once on a CPU, inputs and activations: what caches serve well."""
_NUMBERS_CUDA: Final = 1 << 29
_BATCH_CUDA: Final = 8192
_BESIDE_INPUT: Final = 8  # activations per input number, where none is seen


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """What the copy said to a batch.

    Attributes:
        wrong: (b,) whether the decision differs from the label.
        margin: (b,) difference to the goal, or to the best other class, of logits.
        value: (b,) the loss asked for.
        slope: (b, *shape) of the loss, or null when none was asked for.
    """

    wrong: Tensor
    margin: Tensor
    value: Tensor
    slope: Tensor | None


@final
class Copy:
    """A module in evaluation mode.

    Args:
        module: (b, *shape) float32 to (b, k).
        shape: of one sample.

    Attributes:
        module: as given.
        device: where its parameters are.
        batch: samples at once. It follows from the sizes of the activations, not from a clock: what is
            found must not depend on how busy the machine is.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        parameter = next(chain(module.parameters(), module.buffers()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.module = module
        cuda = self.device.type == "cuda"
        room = (_NUMBERS_CUDA if cuda else _NUMBERS) // max(1, math.prod(shape) * _BESIDE_INPUT)
        self.batch = max(_BATCH[0], min(_BATCH_CUDA if cuda else _BATCH[1], room))

    def scores(self, x: Tensor) -> Tensor:
        """Logits, or logarithms of probabilities, without slopes."""
        with torch.no_grad():
            return logarithms(self.module(x))

    def look(self, x: Tensor, target: Tensor, goal: Tensor, kind: Loss | None) -> Seen:
        """Ask about a batch.

        Args:
            x: (b, *shape).
            target: (b,) int64 true columns.
            goal: (b,) int64 columns, -1 for none.
            kind: the loss to differentiate; null for no slope, the value is then the margin.
        """
        if kind is None:
            scores = self.scores(x)
            gap = margin(scores, target, goal)
            return Seen(scores.argmax(dim=1) != target, gap, gap, None)
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            scores = logarithms(self.module(x))
            value = loss(kind, scores, target, goal)
            slope: Tensor | None = None
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
        slope = torch.zeros_like(x) if slope is None else torch.nan_to_num(slope)
        scores = scores.detach()
        gap = margin(scores, target, goal)
        return Seen(scores.argmax(dim=1) != target, gap, value.detach(), slope)
