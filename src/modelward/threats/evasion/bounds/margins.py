"""Sound lower bounds on the margins of the final scores."""

from __future__ import annotations

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.enclosure import Affine, Ball, Enclosure, Softmax, U, rounding


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
    rows = torch.arange(len(target))
    form = scores.form
    if isinstance(form, Affine):
        bounds = _folded(form, target)
    elif isinstance(form, Softmax):
        bounds = _through_softmax(form, target)
    else:
        bounds = scores.lower[rows, target][:, None] - scores.upper
    bounded = (scores.lower.isfinite() & scores.upper.isfinite()).all(dim=1, keepdim=True)
    bounds = torch.where(bounded, bounds, -torch.inf)
    bounds[rows, target] = torch.inf
    return bounds


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


def _through_softmax(form: Softmax, target: Tensor) -> Tensor:
    margins = lower_margins(form.source, target)
    if form.logarithm:  # s_j - logsumexp(s): one rounding of each, of at most the size of the larger part
        largest = (
            form.source.largest.amax(dim=1, keepdim=True) + 1 + torch.tensor(float(margins.shape[1])).log()
        )
        return margins - 16 * U * largest
    likely = 1 / (1 + torch.exp(-margins).sum(dim=1, keepdim=True))  # the 1 is the target's own exp(0)
    certain = likely * -torch.expm1(-margins)
    return torch.where(margins > 0, certain, -1.0) - (2 * margins.shape[1] + 16) * U
