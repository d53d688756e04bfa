"""Layers in front of a network that change every feature alone, and how an attack gets behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch import nn

from modelward.threats.evasion.harden.ball import Ball

if TYPE_CHECKING:
    from torch import Tensor

_MONOTONE: Final = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.SELU, nn.Softplus, nn.Hardtanh,
)  # fmt: skip
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Target:
    """A batch as the attacks of a training see it.

    A network may begin with layers that are flat almost everywhere, such as a soft threshold. An attack on
    its inputs has no slope to follow there, though it could cross the flat part, and training against it
    teaches the network to hide its slope. Where these layers change every feature alone and never turn round,
    what comes out of them over a ball of linf is a box whose ends are the images of the ball's, no less and
    no more, and the attack moves in that box instead. Balunović and Vechev 2020 (ICLR, section 4) attack
    behind a layer too, in a set that encloses what can come out of it; here the set is exact.

    Attributes:
        net: what is attacked: the layers behind the front.
        x: (n, *shape) middle of what the attack may choose.
        ball: around it.
        front: the layers that every feature passes alone; null: there are none, and the attack moves inputs.
        limits: ends of the inputs, (n, *shape) each; null without a front.
    """

    net: nn.Module
    x: Tensor
    ball: Ball
    front: nn.Module | None = None
    limits: tuple[Tensor, Tensor] | None = None

    def scores(self, moved: Tensor) -> Tensor:
        """Scores of what an attack chose, with a slope in every weight; (n, k).

        The relative position in the box stays when the weights of the front move its ends.
        """
        if self.front is None or self.limits is None:
            plain: Tensor = self.net(moved)
            return plain
        low, high = _ends(self.front, self.limits)
        share = ((moved - self.ball.lower) / (2 * self.ball.unit).clamp_min(1e-12)).clamp(0.0, 1.0)
        found: Tensor = self.net(low + share * (high - low))
        return found

    def of(self, inputs: Tensor) -> Tensor:
        """Inputs in the form that an attack moves."""
        if self.front is None:
            return inputs
        with torch.no_grad():
            behind: Tensor = self.front(inputs.clone())  # a layer in place must not change the samples
        return behind


def target(module: nn.Module, x: Tensor, ball: Ball) -> Target:
    """What an attack on samples of a ball has to move; with a front only in linf."""
    parts = split(module) if ball.norm == "linf" else None
    if parts is None:
        return Target(net=module, x=x, ball=ball)
    front, net = parts
    limits = ball.limits(x)
    with torch.no_grad():
        low, high = _ends(front, limits)
    half = (high - low) / 2
    around = Ball(norm="linf", eps=1.0, lower=low, upper=high, unit=half)
    return Target(net=net, x=low + half, ball=around, front=front, limits=limits)


def split(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """The leading layers that change every feature alone, never turning round, and the others.

    Returns:
        Both with the module's own weights; null when the first layers are not of this kind, when nothing
        follows them, or when the module is not `nn.Sequential`, whose order alone is known.
    """
    if not isinstance(module, nn.Sequential):
        return None
    layers = list(module)
    length = next((i for i, layer in enumerate(layers) if not _alone(layer)), len(layers))
    bent = any(not isinstance(layer, (nn.Identity, *_CONVOLUTIONS)) for layer in layers[:length])
    if not bent or length == len(layers):
        return None
    return module[:length], module[length:]


def _alone(layer: nn.Module) -> bool:
    """Whether each output feature is a monotone function of the input feature at its place."""
    if isinstance(layer, nn.LeakyReLU):
        return layer.negative_slope >= 0
    if isinstance(layer, _CONVOLUTIONS):
        still = {*layer.kernel_size, *layer.stride, layer.in_channels, layer.out_channels} == {1}
        return still and not isinstance(layer.padding, str) and not any(layer.padding)
    return isinstance(layer, _MONOTONE)


def _ends(front: nn.Module, limits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    one, other = (front(end.clone()) for end in limits)
    return torch.minimum(one, other), torch.maximum(one, other)
