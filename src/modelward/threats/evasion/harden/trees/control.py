"""The control `evasion.robust-trees`: trees whose splits are chosen under attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.control import Hardened
from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.errors import ShapeMismatch
from modelward.threats.asking import label_trouble, targets
from modelward.threats.evasion.harden.methods import settled
from modelward.threats.evasion.harden.trees.document import document
from modelward.threats.evasion.harden.trees.forest import forest
from modelward.threats.evasion.harden.trees.grid import grid
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat, scope
from modelward.threats.evasion.trees.check import ensemble

if TYPE_CHECKING:
    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Subjects
    from modelward.core.data import Dataset
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.harden.methods import Training
    from modelward.threats.evasion.harden.trees.forest import Grown
    from modelward.threats.evasion.harden.trees.grid import Grid

_FEWEST: Final = 20


@final
@dataclass(frozen=True, slots=True)
class RobustTrees:
    """What was grown.

    Attributes:
        document: XGBoost's JSON, which numbers the classes.
        classes: their names, in order.
    """

    document: bytes
    classes: tuple[str, ...]


@final
class TreeControl:
    """A forest grown from the training data, with splits that hold under the threat.

    The attacker may move each feature of each sample as far as the threat lets it move alone: the whole ball
    in Linf, and more than the ball in L2.

    Args:
        training: norm, eps, number and depth of trees.

    Raises:
        ConfigInvalid: the choices are out of range or do not go together.
    """

    id = "evasion.robust-trees"
    version = 2

    def __init__(self, training: Training) -> None:
        self._training = settled(training)

    def declines(self, subjects: Subjects) -> str | None:
        """Why no trees can take the place of the model, or null."""
        model, train = ensemble(subjects.model), subjects.train
        if model is None or subjects.model is None:
            return "the model is no tree ensemble that is read"
        if train is None:
            return "no training data was given (--train)"
        reason = label_trouble(subjects.model, train)
        if reason is not None:
            return reason
        if len(train) < _FEWEST:
            return f"{train.subject.name} has {len(train)} rows, and growing needs at least {_FEWEST}"
        if train.x.ndim != 2:
            return f"{train.subject.name} has samples of shape {train.x.shape[1:]}, and trees read rows"
        classes = subjects.model.outputs.classes
        absent = set(range(len(classes))) - set(targets(subjects.model, train).tolist())
        if absent:
            return f"{train.subject.name} has no sample of {classes[min(absent)]!r}"
        return None

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Grow the trees; the model is `RobustTrees`.

        Raises:
            ShapeMismatch: the subjects are declined.
        """
        reason = self.declines(subjects)
        if reason is not None or subjects.model is None or subjects.train is None:
            raise ShapeMismatch(f"no robust trees can be grown: {reason}")
        train, y = subjects.train, targets(subjects.model, subjects.train)
        threat = Threat(self._training.norm, self._training.eps)
        grown = self._grown(attacked(train, threat), y, budget, seed=child_seed(seed, "forest"))
        depths = [tree.depth for tree in grown]
        history: list[JSON] = []
        if not any(depths):
            history.append({"event": "no split withstands the radius: the trees answer all inputs alike"})
        outcome: dict[str, JSON] = {
            "trees": len(grown),
            "depth": max(depths),
            "leaves": sum(int((tree.feature < 0).sum()) for tree in grown),
            "history": history,
        }
        parameters: dict[str, JSON] = {
            **scope(threat, train.box),
            "method": "trees",
            "trees": self._training.trees,
            "depth": self._training.depth,
        }
        names = [column.name for column in train.columns]
        return Hardened(
            model=RobustTrees(document(grown, names, train.x.shape[1]), subjects.model.outputs.classes),
            evidence=Evidence(
                check=self.id,
                version=self.version,
                parameters=parameters,
                n=len(train),
                seed=seed,
                outcome=outcome,
                unit="trees",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=budget.cut,
            ),
        )

    def _grown(self, samples: Grid, y: IntArray, budget: Meter, *, seed: int) -> list[Grown]:
        """The trees, or those that the budget allows: at least one."""
        found, wanted = list["Grown"](), self._training.trees
        for tree in forest(samples, y, trees=wanted, depth=self._training.depth, seed=seed):
            found.append(tree)
            budget.progress(len(found), wanted)
            if not budget.take():
                break
        return found


def attacked(train: Dataset, threat: Threat) -> Grid:
    """The samples, and what an attacker may make of each feature alone."""
    index = np.arange(len(train))
    low, high = reach(train, threat).limits(index)
    return grid(train.x.astype(np.float64), low, high)
