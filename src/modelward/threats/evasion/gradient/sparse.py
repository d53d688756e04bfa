"""Few pixels, or one square of them: which ones, and to what values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch.nn import functional

from modelward.threats.evasion.geometry import plane
from modelward.threats.evasion.gradient.pool import Found
from modelward.threats.evasion.projection import side

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.pool import Batch
    from modelward.threats.evasion.reach import Reach

_MEMORY: Final = 0.7
_LOYALTY: Final = 2.0
"""How much a cell that is changed already weighs more than a new one, at the end of a search."""
_TINY: Final = 1e-30


@final
class Cells:
    """Sums over the features of each pixel, table column or one-hot group.

    Args:
        reach: says which feature belongs to which.
        device: of the tensors.
    """

    def __init__(self, reach: Reach, device: torch.device) -> None:
        self._cells = torch.from_numpy(np.ascontiguousarray(reach.cells)).flatten().to(device)
        self._count = int(self._cells.max()) + 1

    def sums(self, values: Tensor) -> Tensor:
        """(b, *shape) to (b, cells)."""
        flat = values.flatten(1)
        return flat.new_zeros(len(flat), self._count).index_add(1, self._cells, flat)

    def spread(self, chosen: Tensor, shape: torch.Size) -> Tensor:
        """(b, cells) to (b, *shape)."""
        return chosen[:, self._cells].reshape(shape)


def _direction(slope: Tensor | None, batch: Batch, units: Tensor) -> Tensor:
    """The slope where change is allowed, of mean size 1 per search; zero where the model tells none."""
    told = torch.zeros_like(batch.state["x"]) if slope is None else slope
    free = torch.where(units > 0, told, 0.0)
    return free / batch.column(free.flatten(1).abs().mean(dim=1).clamp_min(_TINY))


def _gains(slope: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Where each feature is best put, and how much the loss falls by that, to first order."""
    low, high = batch.limits
    ends = torch.where(slope > 0, low, high)
    return ends, (-slope * (ends - batch.state["centre"])).clamp_min(0)


@final
class Swaps:
    """L0: the cells of largest gain, at their limits; averaged over the steps, with loyalty to the chosen.

    A first-order search over the vertices of the ball, as Frank and Wolfe's, whose choice is kept binary; the
    saliency of a pixel is that of Papernot et al. 2016 (arXiv 1511.07528v1, section III), for all at once.

    Args:
        copy: what is asked.
        ball: what may become of points.
        reach: its cells.
        steps: of each search.
    """

    forward = backward = 1

    def __init__(self, copy: Copy, ball: Ball, reach: Reach, *, steps: int) -> None:
        self.steps = steps
        self._copy, self._count = copy, int(ball.eps)
        self._cells = Cells(reach, copy.device)
        self._units = ball.units

    def begin(self, batch: Batch) -> None:
        """Averages, and what is changed; a random search begins with a part of the cells asleep."""
        x = batch.state["x"]
        cells = self._cells.sums(torch.zeros_like(x))
        batch.state |= {"slope": torch.zeros_like(x), "worth": cells, "chosen": cells.clone()}
        awake = [
            torch.rand(cells.shape[1], generator=torch.Generator().manual_seed(task.seed)) < 0.7
            if task.start != "centre"
            else torch.ones(cells.shape[1], dtype=torch.bool)
            for task in batch.tasks
        ]
        batch.state["awake"] = torch.stack(awake).to(x.device)
        batch.state["x"] = batch.state["centre"].clone()

    def advance(self, batch: Batch) -> Found:
        """Look, then choose the cells anew."""
        state = batch.state
        x = state["x"]
        seen = self._copy.look(x, batch.target, batch.goal, "margin")
        state["slope"] = _MEMORY * state["slope"] + _direction(seen.slope, batch, self._units)
        ends, gain = _gains(state["slope"], batch)
        state["worth"] = self._cells.sums(gain)
        done = (torch.from_numpy(batch.step).to(x.device) / self.steps).float()[:, None]
        worth = state["worth"] * (1 + _LOYALTY * done * state["chosen"])
        worth = torch.where(state["awake"], worth, worth * (done > 0.5))
        best = worth.topk(min(self._count, worth.shape[1]), dim=1).indices
        state["chosen"] = torch.zeros_like(worth).scatter(1, best, 1.0)
        kept = self._cells.spread(state["chosen"] > 0, x.shape)
        state["x"] = torch.where(kept, ends, state["centre"])
        return Found(x, seen.wrong, seen.margin, torch.zeros_like(seen.wrong))


@final
class Windows:
    """Patches: choose the square by what its pixels gain together, then descend inside it.

    The location is searched as in the patches of Brown et al. 2017 (arXiv 1712.09665v2), by slopes instead of
    chance; each search sees the gains through other random weights, so that restarts look elsewhere.

    Args:
        copy: what is asked.
        ball: what may become of points.
        reach: its cells and its image plane.
        steps: of each search.
    """

    forward = backward = 1

    def __init__(self, copy: Copy, ball: Ball, reach: Reach, *, steps: int) -> None:
        self.steps = steps
        self._copy, self._units = copy, ball.units
        self._cells = Cells(reach, copy.device)
        self._plane = plane(reach.shape)
        self._side = side(ball.eps, *self._plane)

    def begin(self, batch: Batch) -> None:
        """Every pixel is free until the first slope is known."""
        batch.state["x"] = batch.state["centre"].clone()
        batch.state["drift"] = torch.zeros_like(batch.state["x"])

    def advance(self, batch: Batch) -> Found:
        """Look; at first choose the square, then step inside it."""
        state = batch.state
        x = state["x"]
        seen = self._copy.look(x, batch.target, batch.goal, "margin")
        state["drift"] = 0.5 * state["drift"] + _direction(seen.slope, batch, self._units)
        fresh = batch.step == 0
        if fresh.any():
            self._choose(batch, torch.from_numpy(fresh).to(x.device))
        low, high = batch.limits
        done = torch.from_numpy(batch.step).to(x.device) / self.steps
        length = batch.column(torch.where(done == 0, 1.0, 0.5 * (1 + torch.cos(math.pi * done))).float())
        x_next = x - length * state["drift"].sign() * (high - low)
        state["x"] = torch.minimum(torch.maximum(x_next, low), high)
        return Found(x, seen.wrong, seen.margin, torch.zeros_like(seen.wrong))

    def _choose(self, batch: Batch, fresh: Tensor) -> None:
        """Shrink the limits of new searches to one square."""
        state = batch.state
        height, width = self._plane
        _, gain = _gains(state["drift"], batch)
        weights = torch.stack([self._weights(task.start, task.seed) for task in batch.tasks]).to(gain.device)
        sums = (self._cells.sums(gain) * weights).reshape(-1, 1, height, width)
        best = functional.avg_pool2d(sums, self._side, 1).flatten(1).argmax(dim=1)
        columns = width - self._side + 1
        top, left = torch.div(best, columns, rounding_mode="floor"), best % columns
        down = torch.arange(height, device=gain.device)[None] - top[:, None]
        across = torch.arange(width, device=gain.device)[None] - left[:, None]
        rows, cols = ((place >= 0) & (place < self._side) for place in (down, across))
        square = self._cells.spread((rows[:, :, None] & cols[:, None, :]).flatten(1), gain.shape)
        shut = ~square & batch.column(fresh)
        for name in ("low", "high"):
            state[name] = torch.where(shut, state["centre"], state[name])

    def _weights(self, start: str, seed: int) -> Tensor:
        height, width = self._plane
        if start == "centre":
            return torch.ones(height * width)
        random = torch.Generator().manual_seed(seed)
        coarse = torch.rand((1, 1, 4, 4), generator=random)
        return functional.interpolate(coarse, size=(height, width), mode="nearest").flatten()
