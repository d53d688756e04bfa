"""Do the gradients tell the truth? Where they do not, what gradient attacks say of the model is wrong.

The signs are those of Athalye, Carlini and Wagner 2018, "Obfuscated gradients give a false sense of security"
(arXiv 1802.00420v4, section 3.1), and of Carlini et al. 2019 (arXiv 1902.06705v2, section 5): flat or random
slopes, slopes that do not foretell what a small step does, attacks without bound that fail, and attacks
without gradients that succeed where those with gradients did not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.threat import Threat

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.core.canonical import JSON
    from modelward.threats.evasion.gradient.pool import Pool

_POINTS: Final = 32
_FLAT: Final = 1e-6
"""A slope is flat when all of the ball promises less than this part of the margin."""
_RANDOM: Final = 1e-3
_LENGTHS: Final = (1 / 64, 1 / 16, 1 / 4, 1.0)
_PRECISION: Final = 1e-4
_FALSE: Final = 0.25
"""A slope is false when a small step brings less than this part of what it foretells."""
_MANY: Final = 0.25
_FEW: Final = 5
_STEPS: Final = 30


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """What the slopes at unmodified points are worth.

    Attributes:
        n: points looked at.
        flat: share without a slope.
        random: share whose slope is another one when asked again.
        false: share of the `judged` whose smallest step brings far less than the slope foretells.
        judged: points where that can be told from rounding.
        kept: per step length (in eps) the median part of the foretold fall that came true.
        unbounded: share that a descent without bound takes to another class.
    """

    n: int
    flat: float
    random: float
    false: float
    judged: int
    kept: tuple[float, ...]
    unbounded: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why gradients mislead here, in words; empty where nothing says so."""
        if self.n < _FEW:
            return ()
        found = []
        if self.flat > _MANY:
            found.append(f"the loss is flat at {self.flat:.0%} of {self.n} points")
        if self.random > _MANY:
            found.append(f"the slope changes when asked again at {self.random:.0%} of {self.n} points")
        if self.judged >= _FEW and self.false > _MANY:
            found.append(
                f"a small step brings less than {_FALSE:.0%} of what the slope foretells at {self.false:.0%} "
                f"of {self.judged} points"
            )
        if self.unbounded < 1 - 2 * _MANY:
            found.append(
                f"descent without bound changes the class of {self.unbounded:.0%} of {self.n} points only"
            )
        return tuple(found)

    def outcome(self) -> dict[str, JSON]:
        """For evidence."""
        return {
            "n": self.n,
            "flat": self.flat,
            "random": self.random,
            "false": self.false,
            "kept": dict(zip((f"{length:.4g} eps" for length in _LENGTHS), self.kept, strict=True)),
            "unbounded": self.unbounded,
        }


def slopes(pool: Pool) -> Slopes | None:
    """Examine up to 32 points that are answered right; null where the share refused or none is."""
    arena, copy, ball = pool.arena, pool.copy, pool.ball
    right = np.flatnonzero(arena.points.correct)
    point = (
        right[np.unique(np.linspace(0, len(right) - 1, _POINTS).round().astype(np.int64))]
        if len(right)
        else right
    )
    n = len(point)
    if n == 0 or not arena.share.take(forward=(2 + len(_LENGTHS) + 1) * n, backward=2 * n):
        return None
    target = torch.from_numpy(arena.points.target[point]).to(copy.device)
    anything = torch.full_like(target, -1)
    centre, low, high = ball.corners(point)
    first, again = (copy.look(centre, target, anything, "margin") for _ in range(2))
    slope, other = (
        (one.slope if one.slope is not None else torch.zeros_like(centre)) for one in (first, again)
    )
    slope, other = slope * ball.units, other * ball.units
    size = slope.flatten(1).norm(dim=1)
    strayed = (slope - other).flatten(1).norm(dim=1) > _RANDOM * size
    step = -ball.direction(slope)
    promised, came = [], []
    for length in _LENGTHS:
        x = ball.inside(centre + length * ball.eps * step * ball.units, centre, (low, high))
        promised.append(-(slope * ball.change(x, centre).reshape(x.shape)).flatten(1).sum(dim=1))
        came.append(first.margin - copy.look(x, target, anything, None).margin)
    scale = copy.scores(centre).abs().amax(dim=1).clamp_min(first.margin.abs())
    flat = promised[-1] <= _FLAT * scale
    telling = (promised[0] > _PRECISION * scale) & ~flat & ~strayed
    ratios = torch.stack(came) / torch.stack(promised).clamp_min(1e-30)
    judged = int(telling.sum())
    false = float((ratios[0][telling] < _FALSE).float().mean()) if judged else 0.0
    kept = [float(row[telling].median()) if judged else 0.0 for row in ratios]
    unbounded = _unbounded(pool, point[::2], target[::2])
    if unbounded is None:
        return None
    return Slopes(
        n=n,
        flat=float(flat.float().mean()),
        random=float(strayed.float().mean()),
        false=false,
        judged=judged,
        kept=tuple(round(value, 6) for value in kept),
        unbounded=unbounded,
    )


def _unbounded(pool: Pool, point: np.ndarray, target: Tensor) -> float | None:
    """Share of points that a descent through the whole box takes to another class; 1 where there is none."""
    reach = pool.arena.reach
    if len(np.unique(pool.arena.points.scores.argmax(axis=1))) < 2:
        return 1.0
    span = float(((reach.upper - reach.lower) / reach.scale).max())
    ball = Ball(replace(reach, threat=Threat("linf", max(span, reach.threat.eps))), pool.copy.device)
    centre, low, high = ball.corners(point)
    x, drift = centre, torch.zeros_like(centre)
    for step in range(_STEPS):
        if not pool.arena.share.take(forward=len(x), backward=len(x)):
            return None
        seen = pool.copy.look(x, target, torch.full_like(target, -1), "margin")
        left = ~seen.wrong
        if not bool(left.any()):
            return 1.0
        x, drift, target, low, high = (part[left] for part in (x, drift, target, low, high))
        slope = seen.slope[left] * ball.units if seen.slope is not None else torch.zeros_like(x)
        size = slope.flatten(1).abs().mean(dim=1).clamp_min(1e-30)
        drift = 0.5 * drift + slope / size.reshape(-1, *[1] * (x.dim() - 1))
        length = span * 0.25 * (1 - step / _STEPS)
        x = torch.minimum(torch.maximum(x - length * drift.sign() * ball.units, low), high)
    return 1 - len(x) / len(point)
