"""Random search on the copy: squares of the full radius, kept where the margin falls; no slopes.

Andriushchenko et al. 2020, "Square Attack" (arXiv 1912.00049v3, algorithms 1 and 2). On tables the square is
a random set of features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import torch

from modelward.threats.evasion.geometry import channel_axis, plane, spatial
from modelward.threats.evasion.gradient.pool import Found

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.pool import Batch

_PART: Final = 0.8  # AutoAttack's choice (arXiv 2003.01690v2, section 5.1)
_LOOK: Final = 500
_HOPE: Final = 1.0
"""A search ends when so many times its speed over the last 500 queries would not reach a margin of 0."""
_HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_HALVINGS_OF: Final = 10_000


@final
class SquareSearch:
    """Square attack in Linf.

    Args:
        copy: what is asked.
        ball: what may become of points.
        steps: queries of each search.
        part: share of the pixels in the first squares.
    """

    forward, backward = 1, 0

    def __init__(self, copy: Copy, ball: Ball, *, steps: int, part: float = _PART) -> None:
        self.steps = steps
        self._copy, self._ball, self._part = copy, ball, part
        self._shape = tuple(ball.units.shape[1:])
        self._image = spatial(self._shape)

    def begin(self, batch: Batch) -> None:
        """All random numbers of a search are drawn at once, so that its company does not matter."""
        width = 2 + (self._channels if self._image else 1)
        drawn = [
            torch.rand(self.steps, width, generator=torch.Generator().manual_seed(task.seed))
            for task in batch.tasks
        ]
        state = batch.state
        state["random"] = torch.stack(drawn).to(state["x"].device)
        state["best"] = state["x"].clone()
        state["lowest"] = torch.full_like(state["least"], torch.inf)
        state["mark"] = state["lowest"].clone()

    def advance(self, batch: Batch) -> Found:
        """Ask, keep what is better, change a square of it."""
        state = batch.state
        x = state["x"]
        seen = self._copy.look(x, batch.target, batch.goal, None)
        better = seen.margin <= state["lowest"]
        state["lowest"] = torch.where(better, seen.margin, state["lowest"])
        state["best"] = torch.where(batch.column(better), x, state["best"])
        step = torch.from_numpy(batch.step).to(x.device)
        random = state["random"].gather(1, step.reshape(-1, 1, 1).expand(-1, 1, state["random"].shape[2]))
        state["x"] = self._changed(batch, random[:, 0])
        return Found(x, seen.wrong, seen.margin, self._hopeless(batch, step))

    def _hopeless(self, batch: Batch, step: Tensor) -> Tensor:
        """(b,) searches that fell too little since the last look for what is left to fall and to ask."""
        state = batch.state
        look = (step > 0) & (step % _LOOK == 0)
        left = (self.steps - step) / _LOOK
        slow = state["lowest"] > _HOPE * left * (state["mark"] - state["lowest"])
        state["mark"] = torch.where(look, state["lowest"], state["mark"])
        return look & (step > _LOOK) & slow

    @property
    def _channels(self) -> int:
        axis = channel_axis(self._shape)
        return 1 if axis is None else self._shape[axis]

    def _part_at(self, batch: Batch) -> Tensor:
        at = torch.from_numpy(batch.step).to(batch.target.device)[:, None] * (_HALVINGS_OF / self.steps)
        return self._part / 2.0 ** (at > torch.tensor(_HALVINGS, device=at.device)).sum(dim=1)

    def _changed(self, batch: Batch, random: Tensor) -> Tensor:
        state, ball = batch.state, self._ball
        best, (low, high) = state["best"], batch.limits
        part = self._part_at(batch)
        if self._image:
            inside, signs = self._window(part, random)
        else:
            seeds = [task.seed + 7919 * int(step) for task, step in zip(batch.tasks, batch.step, strict=True)]
            draws = [torch.rand((2, *self._shape), generator=torch.Generator().manual_seed(s)) for s in seeds]
            chance = torch.stack(draws).to(best.device)
            least = 1.0 / max(1, int((ball.units > 0).sum()))
            inside, signs = chance[:, 0] < batch.column(part.clamp_min(least)), (chance[:, 1] - 0.5).sign()
        ends = torch.where(signs > 0, high, low)
        fresh = torch.where(inside, ends, best)
        idle = (fresh == best).flatten(1).all(dim=1)  # already there: the opposite is the only other choice
        other = torch.where(inside, torch.where(signs > 0, low, high), best)
        return torch.where(batch.column(idle), other, fresh)

    def _window(self, part: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        """(b, *shape) the pixels of one square each, and a sign per colour."""
        height, width = plane(self._shape)
        side = (part * height * width).sqrt().round().clamp(1, min(height, width))
        masks = []
        for size, chance in ((height, random[:, 0]), (width, random[:, 1])):
            begin = (chance * (size - side + 1)).floor()[:, None]
            place = torch.arange(size, device=random.device)[None]
            masks.append((place >= begin) & (place < begin + side[:, None]))
        square = masks[0][:, :, None] & masks[1][:, None, :]
        signs = (random[:, 2:] - 0.5).sign()[:, :, None, None]
        axis = channel_axis(self._shape)
        if axis is None:
            return square, signs[:, 0].expand_as(square)
        colours = signs.expand(-1, -1, height, width)
        square = square[:, None].expand_as(colours)
        return square.movedim(1, axis + 1), colours.movedim(1, axis + 1)
