"""How eps and the learning rate change while a network is trained; t runs from 0 to 1."""

from __future__ import annotations

from typing import Final

WARM: Final = 0.02
"""Share of the training over which the learning rate rises, and eps is 0."""
_HOLD: Final = 0.6
_LAST: Final = 0.02


def grown(t: float, ramp: float) -> float:
    """Share of the final eps: 0 at first, then a straight line, 1 from `WARM` + ramp on.

    A radius that grows is what keeps both adversarial training at large radii and training of bounds from
    settling on a constant answer (Gowal et al. 2018, arXiv 1810.12715v4, section 4).
    """
    if ramp == 0:
        return 1.0
    return min(1.0, max(0.0, (t - WARM) / ramp))


def rate(t: float) -> float:
    """Share of the largest learning rate: rises, holds until 60 %, and falls in a straight line to 2 %."""
    if t < WARM:
        return max(_LAST, t / WARM)
    if t < _HOLD:
        return 1.0
    return max(_LAST, (1.0 - t) / (1.0 - _HOLD))
