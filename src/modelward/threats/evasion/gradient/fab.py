"""FAB-T: towards the nearest input that the model takes for the goal, from outside the ball if need be.

Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack" (arXiv
1907.02044v2, algorithm 1), targeted as in arXiv 2003.01690v2, section 5.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import torch
from torch.nn import functional

from modelward.threats.evasion.gradient.pool import Found

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.pool import Batch

_ALPHA: Final = 0.1
_ETA: Final = 1.05
_BETA: Final = 0.9
_TINY: Final = 1e-30


@final
class Fab:
    """Steps onto the linearised border, biased towards the point itself.

    Args:
        copy: what is asked.
        ball: what may become of points.
        steps: of each search.
    """

    forward = backward = 1

    def __init__(self, copy: Copy, ball: Ball, *, steps: int) -> None:
        self.steps = steps
        self._copy, self._ball = copy, ball

    def begin(self, batch: Batch) -> None:
        """The box alone limits the steps; the ball decides what is a witness."""
        state, ball = batch.state, self._ball
        state["floor"], state["roof"] = ball.box(batch.point)

    def advance(self, batch: Batch) -> Found:
        """Look, then project onto the border as the slope draws it."""
        state, ball = batch.state, self._ball
        x, centre = state["x"], state["centre"]
        seen = self._copy.look(x, batch.target, batch.goal, "margin")
        near = ball.size(x, centre) <= ball.eps * (1 + 1e-6)
        slope = seen.slope if seen.slope is not None else torch.zeros_like(x)
        w = (slope * ball.units).flatten(1)
        gap = seen.value
        from_x = self._onto(w, gap, x, batch)
        offset = (slope * (centre - x)).flatten(1).sum(dim=1)
        from_centre = self._onto(w, gap + offset, centre, batch)
        sizes = [torch.linalg.vector_norm(move, self._order, dim=1) for move in (from_x, from_centre)]
        share = (sizes[0] / (sizes[0] + sizes[1]).clamp_min(_TINY)).clamp(0, _ALPHA)
        share = batch.column(share)
        moved = x + _ETA * from_x.reshape(x.shape) * ball.units
        home = centre + _ETA * from_centre.reshape(x.shape) * ball.units
        ahead = torch.minimum(
            torch.maximum((1 - share) * moved + share * home, state["floor"]), state["roof"]
        )
        # Past the border the next step starts nearer to the point.
        back = centre + _BETA * (x - centre)
        past = batch.column(seen.wrong)
        state["x"] = torch.where(past, back, ahead)
        margin = torch.where(near, seen.margin, torch.inf)
        return Found(x, seen.wrong & near, margin, torch.zeros_like(near))

    @property
    def _order(self) -> float:
        return {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[self._ball.norm]

    def _onto(self, w: Tensor, gap: Tensor, x: Tensor, batch: Batch) -> Tensor:
        """The least change in units, (b, features), with w . change = -gap in the box, or the furthest."""
        sign = -torch.sign(gap)[:, None] * w.sign()
        ends = torch.where(
            sign < 0,
            -self._ball.change(batch.state["floor"], x),
            self._ball.change(batch.state["roof"], x),
        ).clamp_min(0)
        size = w.abs()
        if self._ball.norm == "l1":
            return sign * _cheapest(size, ends, gap.abs())
        rate = torch.ones_like(size) if self._ball.norm == "linf" else size
        return sign * torch.minimum(_level(size, rate, ends, gap.abs()) * rate, ends)


def _level(worth: Tensor, rate: Tensor, room: Tensor, wanted: Tensor) -> Tensor:
    """(b, 1) the least level with sum of worth * min(level * rate, room) >= wanted; by sorted breakpoints."""
    place = room / rate.clamp_min(_TINY)
    order = place.argsort(dim=1)
    place = place.gather(1, order)
    speed = (worth * rate).gather(1, order).double()
    left = speed.flip(1).cumsum(dim=1).flip(1)  # what still grows before each breakpoint
    gained = (functional.pad(place[:, 1:] - place[:, :-1], (1, 0), value=0.0)).double()
    gained[:, 0] = place[:, 0]
    total = (gained * left).cumsum(dim=1)
    at = torch.searchsorted(total, wanted.double()[:, None]).clamp_max(place.shape[1] - 1)
    missing = wanted.double()[:, None] - total.gather(1, at)
    level = place.gather(1, at) + (missing / left.gather(1, at).clamp_min(_TINY)).float()
    return torch.minimum(level, place[:, -1:]).clamp_min(0)


def _cheapest(worth: Tensor, room: Tensor, wanted: Tensor) -> Tensor:
    """The least sum of changes worth `wanted`: the features of most worth first."""
    order = worth.argsort(dim=1, descending=True)
    gains = (worth * room).gather(1, order)
    before = gains.cumsum(dim=1) - gains
    share = ((wanted[:, None] - before) / gains.clamp_min(_TINY)).clamp(0, 1)
    return torch.zeros_like(room).scatter(1, order, share) * room
