"""The active set: many searches in one batch, each at its own step, replaced as they end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.numeric.types import BoolArray, IntArray
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.gradient.balls import Ball
    from modelward.threats.evasion.gradient.copy import Copy


class Task(NamedTuple):
    """One search.

    Attributes:
        point: which point.
        goal: score column to reach, or -1 for any.
        start: kind of start, see `Ball.start`; ``best``: the best input of this point so far.
        seed: of its random numbers.
    """

    point: int
    goal: int = -1
    start: str = "centre"
    seed: int = 0


@final
@dataclass(slots=True)
class Batch:
    """The running searches, one row each.

    Attributes:
        tasks: what they are.
        step: (b,) steps done.
        target: (b,) int64 true columns.
        goal: (b,) int64 columns, -1 for none.
        state: tensors with b rows: ``x``, ``centre``, ``low``, ``high`` and what the method adds.
        point: (b,) positions of points, from the tasks.
    """

    tasks: list[Task]
    step: IntArray
    target: Tensor
    goal: Tensor
    state: dict[str, Tensor]
    point: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.point = np.array([task.point for task in self.tasks], np.int64)

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Lower and upper limit of each feature."""
        return self.state["low"], self.state["high"]

    def column(self, values: Tensor) -> Tensor:
        """(b,) shaped to multiply samples."""
        return values.reshape(-1, *[1] * (self.state["x"].dim() - 1))

    def keep(self, mask: BoolArray) -> Batch:
        """The rows of a mask."""
        if mask.all():
            return self
        rows = torch.from_numpy(np.flatnonzero(mask)).to(self.target.device)
        state = {name: value[rows] for name, value in self.state.items()}
        tasks = [task for task, kept in zip(self.tasks, mask, strict=True) if kept]
        return Batch(tasks, self.step[mask], self.target[rows], self.goal[rows], state)

    def join(self, other: Batch) -> Batch:
        """Both."""
        state = {name: torch.cat([value, other.state[name]]) for name, value in self.state.items()}
        target, goal = torch.cat([self.target, other.target]), torch.cat([self.goal, other.goal])
        return Batch(
            [*self.tasks, *other.tasks], np.concatenate([self.step, other.step]), target, goal, state
        )


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What one step of a method saw.

    Attributes:
        x: (b, *shape) inputs that the copy was asked about.
        wrong: (b,) which of them the copy gets wrong within the ball.
        margin: (b,) difference of scores to the goal; infinite where x is not to be kept.
        ended: (b,) searches that the method gives up.
    """

    x: Tensor
    wrong: Tensor
    margin: Tensor
    ended: Tensor


class Method(Protocol):
    """A search that advances one step at a time; holds no state of a single search.

    Attributes:
        steps: of every search.
        forward: samples sent forward per search and step.
        backward: samples differentiated per search and step.
    """

    steps: int
    forward: int
    backward: int

    def begin(self, batch: Batch) -> None:
        """Add the method's own tensors to new searches."""
        ...

    def advance(self, batch: Batch) -> Found:
        """One step of every search, in place."""
        ...


@final
@dataclass(slots=True)
class Record:
    """What all searches came to, point by point.

    Attributes:
        margin: (n,) least margin that any search saw, infinite for none.
        x: (n, *shape) float32 where it was seen.
        runs: (point, goal) to the least margin of every search.
        fell: point to the name of what broke it.
    """

    margin: np.ndarray
    x: np.ndarray
    runs: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    fell: dict[int, str] = field(default_factory=dict)

    def note(self, batch: Batch, found: Found) -> None:
        """Keep the best of a step."""
        value = found.margin.cpu().numpy()
        point = batch.point
        better = np.flatnonzero(value < self.margin[point])
        if len(better) == 0:
            return
        order = better[np.argsort(-value[better], kind="stable")]  # the least is written last
        chosen = torch.from_numpy(order).to(found.x.device)
        self.x[point[order]] = found.x[chosen].cpu().numpy()
        self.margin[point[order]] = value[order]

    def close(self, batch: Batch) -> None:
        """Write down what ended searches reached."""
        for task, least in zip(batch.tasks, batch.state["least"].tolist(), strict=True):
            self.runs.setdefault((task.point, task.goal), []).append(least)


@final
class Pool:
    """Runs searches against one arena.

    Args:
        arena: where witnesses count.
        copy: what is asked for slopes.
        ball: what may become of points.

    Attributes:
        record: what all searches came to.
        settled: (n,) points that need no attack: a proof stands.
    """

    def __init__(self, arena: Arena, copy: Copy, ball: Ball) -> None:
        self.arena, self.copy, self.ball = arena, copy, ball
        n = len(arena.points.correct)
        values = np.nan_to_num(arena.reach.points.astype(np.float32))
        self.record = Record(np.full(n, np.inf), values)
        self.settled = np.zeros(n, np.bool_)

    def run(self, method: Method, tasks: Iterable[Task], name: str = "") -> bool:
        """Work through all searches; False when the share refused.

        Args:
            method: how each search advances.
            tasks: in order; those of a point that fell meanwhile are skipped.
            name: what broke a point, for the record.
        """
        queue = deque(tasks)
        batch: Batch | None = None
        while True:
            if batch is not None:
                batch = batch.keep(self.arena.standing[batch.point])
            batch = self._filled(batch, queue, method)
            if batch is None:
                return True
            size = len(batch.tasks)
            if not self.arena.share.take(forward=method.forward * size, backward=method.backward * size):
                return False
            found = method.advance(batch)
            batch.step += 1
            self.arena.tried[batch.point] = True
            least = torch.minimum(batch.state["least"], found.margin)
            batch.state["least"] = least
            self.record.note(batch, found)
            if not self._submit(batch, found, name):
                return False
            over = (batch.step >= method.steps) | found.ended.cpu().numpy()
            if over.any():
                self.record.close(batch.keep(over & self.arena.standing[batch.point]))
                batch = batch.keep(~over)

    def _submit(self, batch: Batch, found: Found, name: str) -> bool:
        wrong = found.wrong.cpu().numpy()
        if not wrong.any():
            return True
        point = batch.point[wrong]
        answer = self.arena.submit(found.x[found.wrong].cpu().numpy(), point)
        if answer is None:
            return False
        for i in point[answer.broken].tolist():
            self.record.fell.setdefault(i, name)
        return True

    def _filled(self, batch: Batch | None, queue: deque[Task], method: Method) -> Batch | None:
        """The batch with new searches for those that ended; null when there are none left."""
        running = 0 if batch is None else len(batch.tasks)
        fresh: list[Task] = []
        room = self._room(method)
        while queue and running + len(fresh) < room:
            task = queue.popleft()
            if self.arena.standing[task.point]:
                fresh.append(task)
        if not fresh:
            return batch if running else None
        new = self._begun(fresh, method)
        return new if batch is None or not running else batch.join(new)

    def _room(self, method: Method) -> int:
        """Searches at once: a full batch, or as many as the share can carry to their end."""
        left = self.arena.share.passes_left()
        each = (method.forward + method.backward) * method.steps
        return self.copy.batch if left is None else max(1, min(self.copy.batch, left // each))

    def _begun(self, tasks: list[Task], method: Method) -> Batch:
        point = np.array([task.point for task in tasks], np.int64)
        device = self.copy.device
        centre, low, high = self.ball.corners(point)
        x = centre.clone()
        for kind in dict.fromkeys(task.start for task in tasks):
            rows = [i for i, task in enumerate(tasks) if task.start == kind]
            if kind == "best":
                x[rows] = torch.from_numpy(self.record.x[point[rows]]).to(device)
                continue
            seeds = [tasks[i].seed for i in rows]
            x[rows] = self.ball.start(kind, seeds, centre[rows], (low[rows], high[rows]))
        state = {"x": x, "centre": centre, "low": low, "high": high}
        state["least"] = torch.full((len(tasks),), torch.inf, device=device)
        target = torch.from_numpy(self.arena.points.target[point]).to(device)
        goal = torch.tensor([task.goal for task in tasks], device=device)
        batch = Batch(tasks, np.zeros(len(tasks), np.int64), target, goal, state)
        method.begin(batch)
        return batch
