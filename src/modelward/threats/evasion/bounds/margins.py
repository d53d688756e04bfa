"""Sound lower bounds on the margins of the final scores."""

from __future__ import annotations

from typing import Final, final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.enclosure import Affine, Ball, Enclosure, Softmax, U, rounding

_SEARCH: Final = 60
"""Bisections between 0 and 1e4."""


def lower_margins(scores: Enclosure, target: Tensor) -> Tensor:
    """Lower bounds of s_target - s_j over everything enclosed, as the network computes the scores.

    Where the scores are a linear layer's, the difference is folded into its weights: bounding w_t - w_j once
    is tighter than bounding both apart (Gowal et al. 2018, arXiv 1810.12715v4, section 3, "elision of the
    last layer"). Through a softmax, p_t - p_j = p_t (1 - exp(s_j - s_t)), and
    p_t >= 1 / sum_j exp(-margin_j).

    Args:
        scores: (n, k).
        target: (n,) int64 columns.

    Returns:
        (n, k) float64; infinite in the target's own column, -infinite elsewhere where a score has no bound.
    """
    value = base(scores)
    rows = torch.arange(len(target))
    if isinstance(value.form, Affine):
        bounds = _folded(value.form, target)
    else:
        bounds = value.lower[rows, target][:, None] - value.upper
    bounded = (value.lower.isfinite() & value.upper.isfinite()).all(dim=1, keepdim=True)
    bounds = torch.where(bounded, bounds, -torch.inf)
    bounds[rows, target] = torch.inf
    return answered(scores, bounds, target)


def base(scores: Enclosure) -> Enclosure:
    """The scores that a softmax was taken of, or the scores themselves."""
    while isinstance(scores.form, Softmax):
        scores = scores.form.source
    return scores


def answered(scores: Enclosure, margins: Tensor, target: Tensor) -> Tensor:
    """Margins of the scores from those of their base.

    Args:
        scores: (n, k).
        margins: (n, k) float64 lower bounds for the base, infinite in the target's own column.
        target: (n,) int64.
    """
    if isinstance(scores.form, Softmax):
        margins = _through_softmax(scores.form, answered(scores.form.source, margins, target))
    rows = torch.arange(len(target))
    bounded = (scores.lower.isfinite() & scores.upper.isfinite()).all(dim=1, keepdim=True)
    margins = torch.where(bounded, margins, -torch.inf)
    margins[rows, target] = torch.inf
    return margins


def _folded(form: Affine, target: Tensor) -> Tensor:
    source, weight, bias = form.source, form.weight, form.bias
    difference = weight[target][:, None] - weight[None]
    offset = bias[target][:, None] - bias[None]
    centre, half = (source.lower + source.upper) / 2, (source.upper - source.lower) / 2
    # Each score was rounded on its own: the two errors add, whatever cancels between the weights.
    count = weight.shape[1] + 1 + form.roundings
    error = rounding(source.largest @ weight.abs().T + bias.abs(), count)
    slack = error + error.gather(1, target[:, None])
    value = torch.einsum("njd,nd->nj", difference, centre) + offset
    bounds = value - torch.einsum("njd,nd->nj", difference.abs(), half) - slack
    ball = source.form
    if isinstance(ball, Ball):
        value = torch.einsum("njd,nd->nj", difference, ball.centre) + offset
        norm = torch.einsum("njd,nd->nj", difference.square(), ball.scale.square()).sqrt()
        blur = torch.einsum("njd,nd->nj", difference.abs(), ball.blur)
        bounds = torch.maximum(bounds, value - ball.radius * norm * (1 + 4 * U) - blur - slack)
    return bounds


def _through_softmax(form: Softmax, margins: Tensor) -> Tensor:
    if form.logarithm:  # s_j - logsumexp(s): one rounding of each, of at most the size of the larger part
        largest = (
            form.source.largest.amax(dim=1, keepdim=True) + 1 + torch.tensor(float(margins.shape[1])).log()
        )
        return margins - 16 * U * largest
    likely = 1 / (1 + torch.exp(-margins).sum(dim=1, keepdim=True))  # the 1 is the target's own exp(0)
    certain = likely * -torch.expm1(-margins)
    return torch.where(margins > 0, certain, -1.0) - (2 * margins.shape[1] + 16) * U


@final
class Margins:
    """What is known about the margins of some points, and which of them are still open.

    Args:
        scores: (n, k) of the points.
        target: (n,) int64 columns of their labels.
        tolerance: how far the runtime's scores may lie from these, in units of max(1, |score|).

    Attributes:
        scores: as given.
        value: the scores without a softmax, whose differences are bounded.
        target: as given.
        lower: (n, k) float64 best bounds on the differences of `value`, infinite in the target's own column.
    """

    def __init__(self, scores: Enclosure, target: Tensor, tolerance: float) -> None:
        self.scores, self.target, self.value = scores, target, base(scores)
        # True score and rival may each be off by one tolerance in the original runtime.
        self._wanted = 2 * tolerance * scores.largest.amax(dim=1).clamp_min(1.0)
        self.lower = lower_margins(self.value, target)

    @property
    def certified(self) -> Tensor:
        """(n,) whether every margin of the runtime is proved to be positive."""
        worst = answered(self.scores, self.lower, self.target).amin(dim=1)
        return worst > self._wanted

    @property
    def needed(self) -> Tensor:
        """(n,) bounds on `value` that are enough for a certificate once all rivals exceed them."""
        rivals = torch.ones_like(self.lower)
        low, high = torch.zeros(len(rivals), dtype=torch.float64), torch.full((len(rivals),), 1e4).double()
        for _ in range(_SEARCH):
            middle = (low + high) / 2
            enough = answered(self.scores, rivals * middle[:, None], self.target).amin(dim=1) > self._wanted
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return torch.where(high < 1e4, high, torch.inf)

    def open(self) -> Tensor:
        """(m, 2) points without a certificate and rivals that are not excluded."""
        left = ~self.certified[:, None] & (self.lower <= self.needed[:, None])
        return left.nonzero()

    def improve(self, pairs: Tensor, bounds: Tensor) -> None:
        """Take over lower bounds, (m,) float64, of pairs as `open` gives them."""
        point, rival = pairs.T
        self.lower[point, rival] = torch.maximum(self.lower[point, rival], bounds)

    def differences(self, pairs: Tensor, dtype: torch.dtype) -> Tensor:
        """(m, k) coefficients of the target's score minus the rival's."""
        point, rival = pairs.T
        rows = torch.arange(len(pairs))
        a = torch.zeros((len(pairs), self.lower.shape[1]), dtype=dtype)
        a[rows, self.target[point]] = 1.0
        a[rows, rival] = -1.0
        return a
