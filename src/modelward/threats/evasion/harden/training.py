"""The control `evasion.training`: weights that withstand more, of the same architecture."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.canonical import JSON, digest
from modelward.core.control import Hardened
from modelward.core.evidence import Cost, Evidence
from modelward.core.seeds import child_seed
from modelward.errors import ShapeMismatch
from modelward.threats.asking import label_trouble, targets
from modelward.threats.evasion.arena import differentiable
from modelward.threats.evasion.harden.methods import PROVED, settled
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat, scope

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import fx, nn

    from modelward.core.budget import Budget, Meter
    from modelward.core.check import Subjects
    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.threats.evasion.harden.fit import Task
    from modelward.threats.evasion.harden.methods import Training
    from modelward.threats.evasion.harden.progress import State

_FEWEST: Final = 10
_ASKED: Final = 8
"""Samples whose answers tell one architecture from another that has the same weights."""


@final
class TrainingControl:
    """Adversarial, certified or noisy training of a torch module on the training data.

    Args:
        training: the choices.
        checkpoint: file that the state goes to after every epoch, and from which a killed training goes on.

    Raises:
        ConfigInvalid: the choices are out of range or do not go together.
    """

    id = "evasion.training"
    version = 2

    def __init__(self, training: Training, checkpoint: Path | None = None) -> None:
        self._training = settled(training)
        self._checkpoint = checkpoint

    def declines(self, subjects: Subjects) -> str | None:
        """Why this model cannot be trained on this data, or null."""
        model, train = subjects.model, subjects.train
        if self._training.method in {"trees", "normalise"}:
            return f"{self._training.method} trains no module"
        if model is None or differentiable(model) is None:
            return "the model has no torch module whose weights could be trained"
        if train is None:
            return "no training data was given (--train)"
        reason = label_trouble(model, train)
        if reason is not None:
            return reason
        if len(train) < _FEWEST:
            return f"{train.subject.name} has {len(train)} rows, and training needs at least {_FEWEST}"
        if not np.issubdtype(train.x.dtype, np.number) or not np.isfinite(train.x).all():
            return f"{train.subject.name} has missing values, which have no neighbourhood to train on"
        return None

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Train a copy of the module.

        Raises:
            ShapeMismatch: the subjects are declined.
            OperatorUnsupported: the method trains bounds, and the module has an operation without a rule.
        """
        reason = self.declines(subjects)
        model, train = differentiable(subjects.model), subjects.train
        if reason is not None or model is None or train is None or subjects.model is None:
            raise ShapeMismatch(f"the model cannot be trained: {reason}")
        threads, limit = _threads(), _plain(budget.limit)
        module = copy.deepcopy(model.module()).cpu()  # where a training repeats bit by bit
        identity = digest(
            {
                "training": _plain(self._training),
                "subjects": dict(subjects.digests()),
                "limit": limit,  # it shapes the schedule
                "seed": seed,
                "version": self.version,
                # The same weights in another architecture are another model, whatever their file is called.
                "architecture": repr(module),
                "answers": subjects.model.scores(train.x[:_ASKED]).tobytes().hex(),
            }
        )
        place = None if self._checkpoint is None else (self._checkpoint, identity)
        task = _task(self._training, module, (subjects.model, train), place=place, meter=budget, seed=seed)
        state = _fit(task)
        return Hardened(
            model=module,
            evidence=self._evidence(subjects, task, state, {"threads": threads, "limit": limit}),
        )

    def _evidence(self, subjects: Subjects, task: Task, state: State, more: dict[str, JSON]) -> Evidence:
        train = subjects.train
        assert train is not None  # noqa: S101  (declines said so)
        lap, before = task.meter.lap(), state.spent
        cost = lap + Cost(seconds=before[0], forward=before[1], backward=before[2])
        threat = Threat(self._training.norm, self._training.eps)
        history: list[JSON] = list(state.history)
        return Evidence(
            check=self.id,
            version=self.version,
            parameters={**scope(threat, train.box), **_plain(self._training), **more},
            n=len(task.x),
            seed=task.seed,
            outcome={
                "epochs": state.epoch,
                "held_out": len(task.held_out.x),
                "history": history,
                "chosen": None if state.best is None else "best epoch at the full radius",
            },
            unit="share of the held-out samples",
            cost=cost,
            subjects=subjects.digests(),
            cut=state.cut,
        )


def _plain(value: Training | Budget) -> dict[str, JSON]:
    import msgspec

    plain: dict[str, JSON] = msgspec.to_builtins(value)
    return plain


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _task(  # the pieces of one training, put together
    training: Training,
    module: nn.Module,
    given: tuple[Model, Dataset],
    *,
    place: tuple[Path, str] | None,
    meter: Meter,
    seed: int,
) -> Task:
    from modelward.threats.evasion.harden.ball import ball
    from modelward.threats.evasion.harden.fit import Task
    from modelward.threats.evasion.harden.losses import Network
    from modelward.threats.evasion.harden.watch import HeldOut

    model, train = given
    around = ball(
        reach(train.take(np.zeros(1, np.int64)), Threat(training.norm, training.eps)), training.norm
    )
    apart = min(training.held_out, len(train) // 5)
    order = np.random.default_rng(child_seed(seed, "held out")).permutation(len(train))
    x, y = _tensors(train.x, targets(model, train))
    later, first = order[:apart], order[apart:]
    graph = _traced(module) if training.method in PROVED else None
    return Task(
        net=Network(module=module, graph=graph, training=training),
        x=x[first],
        y=y[first],
        held_out=HeldOut(x=x[later], y=y[later], ball=around),
        seed=seed,
        meter=meter,
        checkpoint=place,
    )


def _tensors(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def _traced(module: nn.Module) -> fx.GraphModule:
    """The module's graph, over the very same weights.

    Raises:
        OperatorUnsupported: it cannot be traced.
    """
    from modelward.threats.evasion.bounds.propagate import traced

    return traced(module)


def _fit(task: Task) -> State:
    from modelward.threats.evasion.harden.fit import fit

    return fit(task)
