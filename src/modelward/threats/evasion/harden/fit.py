"""The training loop: repeatable epochs, a budget, a checkpoint after each, the best one at the end."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch.nn import functional

from modelward.core.seeds import child_seed
from modelward.errors import ConfigInvalid
from modelward.threats.evasion.harden import progress, schedule
from modelward.threats.evasion.harden.losses import LOSSES, Batch, Network, attacked, passes
from modelward.threats.evasion.harden.methods import PROVED
from modelward.threats.evasion.harden.watch import HeldOut, overfitted
from modelward.threats.evasion.harden.weights import perturbed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from modelward.core.budget import Meter
    from modelward.core.evidence import Cut
    from modelward.threats.evasion.harden.progress import State

_SAFE_STEPS: Final = 4
"""Of the inner attack after one step was overfitted to."""
_RESERVE: Final = 0.05
"""Largest share of a budget of time that is kept for judging the last epoch: the first passes of a process
are dear, and what they take says little about those to come."""
_CLIP: Final = 10.0
"""Largest norm of a gradient: bounds can explode in the first steps."""


@final
@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Task:
    """One training.

    Attributes:
        net: what is trained, in place.
        x: (n, *shape) float32 samples.
        y: (n,) int64 columns of their labels.
        held_out: samples apart from these.
        seed: the only source of randomness.
        meter: asked before every batch.
        checkpoint: where the state goes after every epoch, and the identity of the training; null: nowhere.
    """

    net: Network
    x: Tensor
    y: Tensor
    held_out: HeldOut
    seed: int
    meter: Meter
    checkpoint: tuple[Path, str] | None = None


def fit(task: Task) -> State:
    """Train until the epochs or the budget are spent; the network ends with the weights of its best epoch.

    The best epoch is the one whose held-out samples stay right most often (under attack, or proved where the
    method trains bounds), among those at the full radius: robust accuracy falls again when training goes on
    (Rice et al. 2020, arXiv 2002.11569v2, section 3). Where one-step training overfits to its step, the epoch
    is taken back and the training goes on with more steps.

    Every epoch draws its own random numbers, so a training that was stopped after one ends as if it had not.

    Raises:
        ConfigInvalid: the loss is not a number any more.
    """
    return _Loop(task).run()


@final
class _Loop:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._training = task.net.training
        self._module = task.net.module
        weights = [weight for weight in self._module.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.Adam(weights, lr=self._training.rate)
        self._batches = max(1, len(task.x) // self._training.batch)
        place, module = task.checkpoint, self._module
        known = None if place is None else progress.load(*place, module, self._optimiser)
        steps = 1 if self._training.method == "fast" else self._training.steps
        self._state = known or progress.State(steps=steps)
        if known is not None:
            self._module.load_state_dict(known.weights)
            self._optimiser.load_state_dict(known.optimiser)
        self._remember()

    def run(self) -> State:
        state, task = self._state, self._task
        while not state.done:
            made = self._epoch()
            whole = made == self._batches
            if made:
                self._judge(schedule.grown(self._reached(0), self._training.ramp))
            if whole:
                state.epoch += 1
            state.done = not whole or state.epoch >= self._training.epochs
            task.meter.progress(state.epoch, self._training.epochs)
            self._keep()
        if state.best is not None:
            self._module.load_state_dict(state.best[1])
        self._module.eval()
        return state

    def _reached(self, batch: int) -> float:
        """Position in the schedule, in [0, 1]: a budget that ends sooner shortens the schedule."""
        share = (self._state.epoch * self._batches + batch) / (self._training.epochs * self._batches)
        return min(1.0, max(share, self._spent(0)[0]))

    def _spent(self, ahead: int) -> tuple[float, Cut]:
        """Largest share of a limit that is gone once so many passes are made, with all earlier processes."""
        meter, before = self._task.meter, self._state.spent
        limit, cost = meter.limit, meter.cost
        passes, seconds = cost.forward + cost.backward, cost.seconds
        shares: list[tuple[float, Cut]] = [(0.0, "seconds")]
        if limit.passes is not None:
            shares.append(((before[1] + before[2] + passes + ahead) / limit.passes, "passes"))
        if limit.seconds is not None:
            reserve = min(ahead * seconds / max(passes, 1), _RESERVE * limit.seconds)
            shares.append(((before[0] + seconds + reserve) / limit.seconds, "seconds"))
        return max(shares)

    def _epoch(self) -> int:
        """One pass over the samples; the number of its batches that the budget allowed."""
        task, training = self._task, self._training
        last = task.held_out.passes(task.net)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(child_seed(task.seed, f"epoch/{self._state.epoch}"))
            order = torch.randperm(len(task.x))
            self._module.train()
            for i in range(self._batches):
                index = order[i * training.batch : (i + 1) * training.batch]
                each = passes(training, self._state.steps)
                gone, limit = self._spent(sum(each) * len(index) + sum(last))
                if gone > 1:  # what is left is for judging what was trained
                    self._state.cut = limit
                    return i
                if not task.meter.take(forward=each[0] * len(index), backward=each[1] * len(index)):
                    self._state.cut = task.meter.cut
                    return i
                self._step(index, self._reached(i))
                if task.meter.limit.seconds is not None and i % 16 == 0:
                    task.meter.progress(
                        self._state.epoch * self._batches + i, training.epochs * self._batches
                    )
        return self._batches

    def _step(self, index: Tensor, at: float) -> None:
        task, training = self._task, self._training
        grown = schedule.grown(at, training.ramp)
        batch = Batch(
            x=task.x[index],
            y=task.y[index],
            ball=task.held_out.ball.scaled(grown),
            grown=grown,
            steps=self._state.steps,
        )
        for group in self._optimiser.param_groups:
            group["lr"] = training.rate * schedule.rate(at)
        self._optimiser.zero_grad()
        if training.method == "awp":
            scores = attacked(task.net, batch)
            first = functional.cross_entropy(scores(), batch.y)
            with perturbed(self._module, first, training.gamma):
                loss = functional.cross_entropy(scores(), batch.y)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        else:
            loss = LOSSES[training.method](task.net, batch)
            loss.backward()  # type: ignore[no-untyped-call]  # as above
        if not bool(torch.isfinite(loss)):
            raise ConfigInvalid(
                f"the loss of {training.method} is {float(loss.detach())} in epoch {self._state.epoch + 1}",
                advice="Train with a smaller learning rate, or with a longer ramp.",
            )
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), _CLIP)
        self._optimiser.step()

    def _judge(self, grown: float) -> None:
        """Measure the epoch, keep it when it is the best, take it back when it fooled itself."""
        task, state = self._task, self._state
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(child_seed(task.seed, "held out"))
            measured = task.held_out.measure(task.net, grown, task.meter)
        if measured is None:
            return
        measured |= {"epoch": state.epoch + 1, "radius": task.held_out.ball.eps * grown}
        state.history.append(measured)
        if self._training.method == "fast" and state.steps == 1 and overfitted(measured):
            measured["event"] = (
                f"catastrophic overfitting: the epoch was taken back, {_SAFE_STEPS} steps from now on"
            )
            state.steps = _SAFE_STEPS
            self._module.load_state_dict(state.weights)
            self._optimiser.load_state_dict(state.optimiser)
            return
        score = float(str(measured["proved" if self._training.method in PROVED else "attacked"]))
        score += 1e-3 * float(str(measured["clean"]))  # of two that stand equally firm, the more accurate
        if grown >= 1 and (state.best is None or score > state.best[0]):
            state.best = (score, _copied(self._module.state_dict()))

    def _remember(self) -> None:
        self._state.weights = _copied(self._module.state_dict())
        self._state.optimiser = copy.deepcopy(self._optimiser.state_dict())

    def _keep(self) -> None:
        state, task = self._state, self._task
        self._remember()
        if task.checkpoint is not None:
            cost = task.meter.cost
            before = state.spent
            state.spent = (
                before[0] + cost.seconds,
                before[1] + cost.forward,
                before[2] + cost.backward,
            )
            progress.save(*task.checkpoint, state)
            state.spent = before


def _copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
