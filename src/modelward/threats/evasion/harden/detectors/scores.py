"""What each detector measures: larger is more suspicious; all are differentiable, so all can be attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from modelward.threats.evasion.harden.ball import Ball

_SHRINK: Final = 0.05
"""Share of the average variance that the covariance is mixed with, so that it can be inverted."""
_DRAWS: Final = 8
_KEPT: Final = 2000
_CHUNK: Final = 512


class Detector(Protocol):
    """Scores inputs; knows nothing of attacks."""

    @property
    def passes(self) -> int:
        """Forward samples that one score costs."""
        ...

    def score(self, x: Tensor) -> Tensor:
        """(n, *shape) -> (n,), differentiable in x."""
        ...


@final
@dataclass(frozen=True, eq=False, slots=True)
class Squeezing:
    """Largest L1 distance between the probabilities of an input and of its squeezed forms.

    Squeezed: fewer grey levels, and for images the median of 2 x 2 pixels. Source: Xu et al. 2018, Feature
    Squeezing (arXiv 1704.01155v2, sections III and IV). Rounding has no slope; here it passes the slope of
    the identity on (Athalye et al. 2018, arXiv 1802.00420v4, section 4.1, BPDA), so that an attack can see
    through it.
    """

    module: nn.Module
    ball: Ball
    levels: int = 8
    passes: int = 3

    def score(self, x: Tensor) -> Tensor:
        """See `Detector`."""
        plain = functional.softmax(self.module(x), dim=1)
        forms = [self._fewer(x)] + ([_median(x)] if x.dim() == 4 else [])
        apart = [(plain - functional.softmax(self.module(form), dim=1)).abs().sum(dim=1) for form in forms]
        return torch.stack(apart).amax(dim=0)

    def _fewer(self, x: Tensor) -> Tensor:
        width = (self.ball.upper - self.ball.lower).clamp_min(1e-12)
        share = (x - self.ball.lower) / width * (self.levels - 1)
        rounded = share + (share.round() - share).detach()
        return self.ball.lower + rounded / (self.levels - 1) * width


@final
@dataclass(frozen=True, eq=False, slots=True)
class Mahalanobis:
    """Squared distance of the last hidden activations to the nearest class, in its training covariance.

    Source: Lee et al. 2018 (arXiv 1807.03888v2, equation 2; one layer, without the input's preprocessing).
    """

    module: nn.Module
    means: Tensor
    precision: Tensor
    passes: int = 1

    def score(self, x: Tensor) -> Tensor:
        """See `Detector`."""
        apart = activations(self.module, x)[:, None] - self.means[None]
        return torch.einsum("nkd,de,nke->nk", apart, self.precision, apart).amin(dim=1)

    @classmethod
    def fitted(cls, module: nn.Module, x: Tensor, y: Tensor) -> Mahalanobis:
        """From training samples and the columns of their labels."""
        found = _chunked(module, x)
        classes = torch.unique(y)
        means = torch.stack([found[y == label].mean(dim=0) for label in classes])
        apart = found - means[torch.searchsorted(classes, y)]
        covariance = apart.T @ apart / len(found)
        floor = _SHRINK * covariance.diagonal().mean().clamp_min(1e-12)
        return cls(module, means, torch.linalg.inv(covariance + floor * torch.eye(len(covariance))))


@final
@dataclass(frozen=True, eq=False, slots=True)
class Neighbours:
    """Distance of the normalised last hidden activations to the k-th nearest training sample.

    Source: Sun et al. 2022 (arXiv 2204.06507v2, section 3), on at most `_KEPT` training samples.
    """

    module: nn.Module
    known: Tensor
    k: int = 5
    passes: int = 1

    def score(self, x: Tensor) -> Tensor:
        """See `Detector`."""
        found = functional.normalize(activations(self.module, x), dim=1)
        return torch.cdist(found, self.known).kthvalue(min(self.k, len(self.known)), dim=1).values

    @classmethod
    def fitted(cls, module: nn.Module, x: Tensor) -> Neighbours:
        """From training samples, the first ones of which are kept."""
        return cls(module, functional.normalize(_chunked(module, x[:_KEPT]), dim=1))


@final
@dataclass(frozen=True, eq=False, slots=True)
class Consistency:
    """Mean L1 distance between the probabilities of an input and of the input under small noise.

    Source: Hu et al. 2019 (arXiv 1910.07629v3, section 3, criterion 1). The draws are the same for every
    input, so the score is a function of it, and an attacker is taken to know them.
    """

    module: nn.Module
    noise: Tensor
    passes: int = 1 + _DRAWS

    def score(self, x: Tensor) -> Tensor:
        """See `Detector`."""
        plain = functional.softmax(self.module(x), dim=1)
        moved = [functional.softmax(self.module(x + draw), dim=1) for draw in self.noise]
        return torch.stack([(plain - other).abs().sum(dim=1) for other in moved]).mean(dim=0)

    @classmethod
    def fitted(cls, module: nn.Module, ball: Ball, generator: torch.Generator) -> Consistency:
        """With Gaussian noise of half the radius in linf, or of its share per feature in l2."""
        size = ball.eps / 2 if ball.norm == "linf" else ball.eps / ball.unit.numel() ** 0.5
        return cls(module, size * ball.unit * torch.randn((_DRAWS, *ball.unit.shape), generator=generator))


def activations(module: nn.Module, x: Tensor) -> Tensor:
    """What the last linear layer is given, (n, d).

    Raises:
        OperatorUnsupported: there is no linear layer, or its input is not one row per sample.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise OperatorUnsupported("the model has no linear layer whose input a detector could look at")
    seen: list[Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    try:
        module(x)
    finally:
        hook.remove()
    if len(seen) != 1 or seen[0].dim() != 2 or len(seen[0]) != len(x):
        raise OperatorUnsupported("the last linear layer of the model is not given one row per sample")
    return seen[0]


def _chunked(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad(), as_evaluated(module):
        return torch.cat([activations(module, part) for part in torch.split(x, _CHUNK)])


def _median(x: Tensor) -> Tensor:
    """The lower median of every 2 x 2 pixels, edges repeated."""
    wide = functional.pad(x, (0, 1, 0, 1), mode="replicate")
    parts = [wide[..., i : i + x.shape[2], j : j + x.shape[3]] for i in (0, 1) for j in (0, 1)]
    return torch.stack(parts).median(dim=0).values
