"""Margin descent: momentum on the classification margin, with cosine step decay and an active set.

Every slot of the batch holds one task (a point, and possibly a target class) at its own step. A slot whose
point is broken, or whose steps are spent, takes the next task at once, so that batches stay full.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch import Tensor

from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from torch import nn

    from modelward.threats.evasion.arena import Arena

_BATCH: Final = 256
_BATCH_NUMBERS: Final = 1 << 20  # of the input; activations are some ten times as many
_TINY: Final = 1e-30  # keeps the logarithm of a probability finite in float32


@final
@dataclass(frozen=True, slots=True)
class Phase:
    """One pass over the standing points.

    Attributes:
        steps: gradient steps per task.
        targets: 0: descend towards whichever class is nearest; m: one task for each of the m best classes.
        random_start: begin at a random point of the ball instead of at the point itself.
    """

    steps: int
    targets: int
    random_start: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How to descend.

    Attributes:
        phases: in order, each on what the previous ones left standing.
        step: first step length in units of eps; it decays to 0 along a half cosine.
        momentum: weight of the previous direction, in [0, 1).
    """

    phases: tuple[Phase, ...]
    step: float
    momentum: float


@final
@dataclass(slots=True)
class _Slots:
    """The running tasks, one row each; arrays on the CPU, tensors (float32) on the module's device."""

    point: np.ndarray
    goal: np.ndarray
    step: np.ndarray
    x: Tensor
    centre: Tensor
    low: Tensor
    high: Tensor
    drift: Tensor

    def keep(self, mask: np.ndarray) -> _Slots:
        rows = torch.from_numpy(np.flatnonzero(mask)).to(self.x.device)
        tensors = (self.x, self.centre, self.low, self.high, self.drift)
        return _Slots(self.point[mask], self.goal[mask], self.step[mask], *(t[rows] for t in tensors))

    def join(self, other: _Slots) -> _Slots:
        point = np.concatenate([self.point, other.point])
        goal = np.concatenate([self.goal, other.goal])
        step = np.concatenate([self.step, other.step])
        mine = (self.x, self.centre, self.low, self.high, self.drift)
        theirs = (other.x, other.centre, other.low, other.high, other.drift)
        return _Slots(point, goal, step, *(torch.cat(pair) for pair in zip(mine, theirs, strict=True)))


def descend(module: nn.Module, arena: Arena, descent: Descent) -> None:
    """Run all phases on the standing points of an arena.

    Momentum on normalised gradients: Dong et al. 2018 (arXiv 1710.06081v3, algorithm 1). Margin loss: Carlini
    and Wagner 2017 (arXiv 1608.04644v2, section V-A, f6). Targets one at a time: Gowal et al. 2019 (arXiv
    1910.09338v1, MultiTargeted). Step decay: Loshchilov and Hutter 2017 (arXiv 1608.03983v5, equation 5).

    The copy only proposes: every input it gets wrong is put to the original runtime, as is each task's last.
    """
    if not arena.reach.numeric.any():
        arena.tried |= arena.standing  # no gradient step is admissible, so none is left to try
        return
    with as_evaluated(module):
        for i, phase in enumerate(descent.phases):
            if not _Search(module, arena, descent, phase).run():
                return
            arena.share.progress((i + 1) / len(descent.phases))


@final
class _Search:
    """One phase."""

    def __init__(self, module: nn.Module, arena: Arena, descent: Descent, phase: Phase) -> None:
        self._module = module
        self._arena = arena
        self._descent = descent
        self._phase = phase
        parameter = next(chain(module.parameters(), module.buffers()), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        reach = arena.reach
        self._units = self._tensor(np.where(reach.numeric, reach.scale, 0.0))[None]
        self._random = torch.Generator().manual_seed(arena.seed + phase.targets)
        features = math.prod(reach.shape)
        self._batch = max(8, min(_BATCH, _BATCH_NUMBERS // max(1, features)))

    def run(self) -> bool:
        """Work through all tasks; False when the share refused."""
        queue = self._tasks()
        slots = self._load([])
        while True:
            slots = slots.keep(self._arena.standing[slots.point])
            fresh: list[tuple[int, int]] = []
            while queue and len(slots.point) + len(fresh) < self._capacity():
                task = queue.popleft()
                if self._arena.standing[task[0]]:
                    fresh.append(task)
            if fresh:
                slots = slots.join(self._load(fresh))
            size = len(slots.point)
            if size == 0:
                return True
            if not self._arena.share.take(forward=size, backward=size):
                return False
            if not self._advance(slots):
                return False
            slots = slots.keep(slots.step < self._phase.steps)

    def _capacity(self) -> int:
        """Tasks at once: a full batch, or as many as the share can carry to their end."""
        left = self._arena.share.passes_left()
        return self._batch if left is None else max(1, min(self._batch, left // (2 * self._phase.steps)))

    def _tasks(self) -> deque[tuple[int, int]]:
        """(point, target class) with -1 for no target; the likeliest target of every point comes first."""
        points = np.flatnonzero(self._arena.standing)
        if self._phase.targets == 0:
            return deque((int(i), -1) for i in points)
        scores = self._arena.points.scores[points].copy()
        scores[np.arange(len(points)), self._arena.points.target[points]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, : scores.shape[1] - 1]
        ranks = order[:, : self._phase.targets].T
        return deque((int(i), int(goal)) for goals in ranks for i, goal in zip(points, goals, strict=True))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)

    def _load(self, tasks: list[tuple[int, int]]) -> _Slots:
        point = np.array([task[0] for task in tasks], np.int64)
        reach = self._arena.reach
        low, high = (self._tensor(limit) for limit in reach.limits(point))
        centre = self._tensor(reach.points[point])
        x = centre.clone()
        if self._phase.random_start:
            noise = torch.rand(x.shape, generator=self._random).to(self._device)
            x = self._inside(centre + (2 * noise - 1) * reach.threat.eps * self._units, centre, (low, high))
        goal = np.array([task[1] for task in tasks], np.int64)
        return _Slots(point, goal, np.zeros(len(tasks), np.int64), x, centre, low, high, torch.zeros_like(x))

    def _advance(self, slots: _Slots) -> bool:
        """One step of every slot, in place; False when the share refused a query."""
        arena, device = self._arena, self._device
        target = torch.from_numpy(arena.points.target[slots.point]).to(device)
        goal = torch.from_numpy(slots.goal).to(device)
        x = slots.x.detach().requires_grad_()
        with torch.enable_grad():
            scores = self._module(x)
            margin = self._margin(scores, target, goal)
            (gradient,) = torch.autograd.grad(margin.sum(), x)
        arena.tried[slots.point] = True
        wrong = (scores.detach().argmax(dim=1) != target).cpu().numpy()
        if wrong.any() and not self._submit(slots, wrong):
            return False
        self._step(slots, gradient)
        slots.step += 1
        last = (slots.step == self._phase.steps) & arena.standing[slots.point]
        return not last.any() or self._submit(slots, last)

    def _submit(self, slots: _Slots, mask: np.ndarray) -> bool:
        candidates = slots.x.detach()[torch.from_numpy(mask).to(self._device)].cpu().numpy()
        return self._arena.submit(candidates, slots.point[mask]) is not None

    def _margin(self, scores: Tensor, target: Tensor, goal: Tensor) -> Tensor:
        """Score of the true class minus that of the goal, or of the best other class; (b,).

        Probabilities are compared by their logarithms, whose slope does not vanish where the model is sure.
        """
        seen = scores.detach()
        if bool((seen >= 0).all()) and bool(((seen.sum(dim=1) - 1).abs() < 1e-4).all()):
            scores = scores.clamp_min(_TINY).log()
        rows = torch.arange(len(scores), device=scores.device)
        others = scores.clone()
        others[rows, target] = -torch.inf
        rival = torch.where(goal >= 0, scores[rows, goal.clamp_min(0)], others.amax(dim=1))
        return scores[rows, target] - rival

    def _step(self, slots: _Slots, gradient: Tensor) -> None:
        wide = (-1, *[1] * (slots.x.dim() - 1))
        direction = torch.nan_to_num(gradient * self._units)
        size = direction.flatten(1).norm(dim=1)
        flat = (size == 0).cpu()
        if flat.any():  # no slope: any direction is as good as another
            guess = torch.randn((int(flat.sum()), *direction.shape[1:]), generator=self._random)
            direction[flat.to(self._device)] = guess.to(self._device) * (self._units > 0)
            size = direction.flatten(1).norm(dim=1)
        if self._arena.reach.threat.norm == "linf":
            size = direction.flatten(1).abs().mean(dim=1)
        slots.drift = self._descent.momentum * slots.drift + direction / size.reshape(wide)
        cosine = 0.5 * (1 + np.cos(np.pi * slots.step / self._phase.steps))
        length = self._tensor(self._descent.step * self._arena.reach.threat.eps * cosine).reshape(wide)
        if self._arena.reach.threat.norm == "linf":
            move = slots.drift.sign()
        else:
            move = slots.drift / slots.drift.flatten(1).norm(dim=1).clamp_min(_TINY).reshape(wide)
        slots.x = self._inside(slots.x - length * move * self._units, slots.centre, (slots.low, slots.high))

    def _inside(self, x: Tensor, centre: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Back into ball and box, up to rounding; the arena makes it exact before the model is asked."""
        if self._arena.reach.threat.norm == "l2":
            units = self._units.expand_as(x)
            change = torch.where(units > 0, (x - centre) / units.clamp_min(_TINY), 0.0)
            size = change.flatten(1).norm(dim=1).clamp_min(_TINY)
            ratio = (self._arena.reach.threat.eps / size).clamp_max(1.0)
            x = centre + change * ratio.reshape(-1, *[1] * (x.dim() - 1)) * units
        return torch.minimum(torch.maximum(x, limits[0]), limits[1])
