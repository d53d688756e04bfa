"""What attacks lower: differences of scores, per sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

Loss: TypeAlias = Literal["margin", "ratio", "entropy"]
"""``margin``: true score minus rival's; ``ratio``: the same over a spread of scores (DLR); ``entropy``: minus
the cross entropy."""

_TINY: Final = 1e-30  # keeps the logarithm of a probability finite in float32
_SPREAD: Final = 1e-12
_SUM: Final = 1e-4  # how far from 1 probabilities may add up to


def logarithms(scores: Tensor) -> Tensor:
    """Scores whose slope does not vanish where the model is sure: logarithms where they are probabilities.

    Args:
        scores: (b, k).
    """
    seen = scores.detach()
    # Decided where the scores are: a device need not be waited for, and may record the step.
    probable = (seen >= 0).all() & ((seen.sum(dim=1) - 1).abs() < _SUM).all()
    return torch.where(probable, scores.clamp_min(_TINY).log(), scores)


def margin(scores: Tensor, target: Tensor, goal: Tensor) -> Tensor:
    """Score of the true class minus that of the goal, or of the best other class where the goal is -1; (b,).

    Carlini and Wagner 2017 (arXiv 1608.04644v2, section V-A, f6).

    Args:
        scores: (b, k).
        target: (b,) int64 true columns.
        goal: (b,) int64 columns, or -1.
    """
    others = scores.scatter(1, target[:, None], -torch.inf)
    aimed = scores.gather(1, goal.clamp_min(0)[:, None])[:, 0]
    rival = torch.where(goal >= 0, aimed, others.amax(dim=1))
    return scores.gather(1, target[:, None])[:, 0] - rival


def loss(kind: Loss, scores: Tensor, target: Tensor, goal: Tensor) -> Tensor:
    """What an attack lowers, (b,).

    ``ratio`` is the difference-of-logits ratio (Croce and Hein 2020, arXiv 2003.01690v2, equation 6; equation
    7 where there is a goal), and the margin where there are too few classes for it.

    Args:
        kind: which.
        scores: (b, k) logits.
        target: (b,) int64 true columns.
        goal: (b,) int64 columns, or -1.
    """
    if kind == "entropy":
        return -functional.cross_entropy(scores, target, reduction="none")
    difference = margin(scores, target, goal)
    classes = scores.shape[1]
    if kind == "margin" or classes < 3:
        return difference
    ordered = scores.sort(dim=1, descending=True).values
    spread = ordered[:, 0] - ordered[:, 2]
    if classes > 3:
        aimed = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
        spread = torch.where(goal >= 0, aimed, spread)
    return difference / (spread + _SPREAD)
