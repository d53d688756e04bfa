"""The control `evasion.robust-trees`: trees that are grown again on what broke the trees before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

import numpy as np

from modelward.adapters.live import live_runtime
from modelward.adapters.runtime import Grown
from modelward.core.control import Hardened
from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.errors import OperatorUnsupported, ShapeMismatch
from modelward.numeric.forests import raw_scores
from modelward.threats.asking import label_trouble, targets
from modelward.threats.evasion.harden.methods import settled
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat, scope
from modelward.threats.evasion.trees.check import ensemble
from modelward.threats.evasion.trees.costs import Costs
from modelward.threats.evasion.trees.descent import descended
from modelward.threats.evasion.trees.search import Effort, Point

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Subjects
    from modelward.core.data import Dataset
    from modelward.core.trees import Forest
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.harden.methods import Training
    from modelward.threats.evasion.harden.trees.growers import Grower

    Found: TypeAlias = tuple[NDArray[np.generic], IntArray]

_FEWEST: Final = 20
_ATTACKED: Final = 500
"""Training samples that are attacked each round."""
_STARTS: Final = 2
"""Descents per rival class that a held-out sample must withstand."""
_COPIES: Final = 6
_FAR: Final = 1e4


@final
@dataclass(frozen=True, slots=True)
class Grove:
    """Trees of one round.

    Attributes:
        model: live.
        right: held-out samples that it gets right.
        standing: of these, those that the attack did not turn.
    """

    model: object
    right: int
    standing: int


@final
class TreeControl:
    """Adversarial boosting: attack the training samples, add what was found with their labels, grow again.

    Source: Kantchelian et al. 2016 (arXiv 1509.07892v2, section 6); the attack is the descent of
    `evasion.trees`. What it finds lies just beyond a threshold, so it is added together with the farthest
    input within the radius in the same direction; the first round adds copies of the samples, each moved
    anywhere in its ball. That is augmentation, and weaker than splits that are robust by themselves.

    Args:
        training: norm, eps, rounds and the number of held-out samples.
        grower: of the given model's kind; null where it has no trees that are read.

    Raises:
        ConfigInvalid: the choices are out of range or do not go together.
    """

    id = "evasion.robust-trees"
    version = 1

    def __init__(self, training: Training, grower: Grower | None) -> None:
        self._training = settled(training)
        self._grower = grower

    def declines(self, subjects: Subjects) -> str | None:
        """Why these trees cannot be grown again on this data, or null."""
        model, train = ensemble(subjects.model), subjects.train
        if model is None or subjects.model is None or self._grower is None:
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
        absent = set(range(len(subjects.model.outputs.classes))) - set(
            targets(subjects.model, train).tolist()
        )
        if absent:
            return f"{train.subject.name} has no sample of {subjects.model.outputs.classes[min(absent)]!r}"
        return None

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Grow, attack and grow again; keep the round that withstands most on the held-out samples.

        Raises:
            ShapeMismatch: the subjects are declined.
            ModelRaised: the library refuses the samples.
        """
        reason, grower = self.declines(subjects), self._grower
        if reason is not None or grower is None or subjects.model is None or subjects.train is None:
            raise ShapeMismatch(f"the trees cannot be grown again: {reason}")
        train, y = subjects.train, targets(subjects.model, subjects.train)
        fit, held = divided(y, self._training.held_out, seed=child_seed(seed, "held-out"))
        threat = Threat(self._training.norm, self._training.eps)
        known, kept = Ground(train.take(fit), y[fit], threat), Ground(train.take(held), y[held], threat)
        x, labels = [known.data.x], [known.y]
        history: list[JSON] = []
        best: tuple[int, Grove] | None = None
        for number in range(self._training.rounds + 1):
            spare = grower.grow(np.concatenate(x), np.concatenate(labels), seed=seed)
            forest = trees_of(spare, train)
            grove = kept.assessed(spare, forest, budget)
            if grove is None:
                break
            history.append(_told(number, grove, sum(map(len, labels)), len(held)))
            if best is None or (grove.standing, grove.right) > (best[1].standing, best[1].right):
                best = number, grove
            budget.progress(number + 1, self._training.rounds + 1)
            budget.note(f"round {number}: {grove.standing} of {len(held)} stand")
            if number == self._training.rounds:
                break
            found = known.more(number, forest, budget, seed=child_seed(seed, f"round {number}"))
            if found is None or len(found[1]) == 0:
                break
            x, labels = [*x, found[0]], [*labels, known.y[found[1]]]
        if best is not None and best[0] == 0 and len(history) > 1:
            history.append({"event": "no round withstood more than trees grown on the plain samples"})
        parameters: dict[str, JSON] = {
            **scope(threat, train.box),
            "method": "trees",
            "rounds": self._training.rounds,
            "attacked": min(_ATTACKED, len(fit)),
            "starts": _STARTS,
        }
        return Hardened(
            model=spare if best is None else best[1].model,
            evidence=Evidence(
                check=self.id,
                version=self.version,
                parameters=parameters,
                n=len(fit),
                seed=seed,
                outcome={"held_out": len(held), "history": history, "chosen": best and best[0]},
                unit="share of the held-out samples",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=budget.cut,
            ),
        )

    def file(self, model: object) -> tuple[str, bytes]:
        """Suffix and content of the file of a model that `apply` made.

        Raises:
            ExtraMissing: what writes it is not installed.
        """
        if self._grower is None:
            raise AssertionError("a declined control makes no model")
        return self._grower.suffix, self._grower.document(model)


def _told(number: int, grove: Grove, samples: int, n: int) -> JSON:
    return {
        "round": number,
        "samples": samples,
        "right": grove.right / n,
        "standing": grove.standing / n,
    }


def divided(y: IntArray, most: int, *, seed: int) -> tuple[IntArray, IntArray]:
    """Positions to grow on and held-out ones: a fifth of each class, `most` in all, none of a lone sample."""
    random, held = np.random.default_rng(seed), []
    for label in np.unique(y):
        own = random.permutation(np.flatnonzero(y == label))
        held.append(own[: min(len(own) // 5, -(-most * len(own) // len(y)))])
    chosen = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), chosen), chosen


def trees_of(model: object, train: Dataset) -> Forest:
    """The trees of a live model.

    Raises:
        OperatorUnsupported: it has none that are read.
    """
    runtime, kind = live_runtime(model, {c.name: c.categories for c in train.columns if c.categories})
    if not isinstance(runtime, Grown):
        raise OperatorUnsupported(f"a {kind} has no trees that are read")
    return runtime.forest()


@final
class Ground:
    """Samples, their score columns, and what an attacker may make of them.

    Attributes:
        data: the samples.
        y: (n,) score column of each label.
    """

    def __init__(self, data: Dataset, y: IntArray, threat: Threat) -> None:
        self.data, self.y = data, y
        self._threat = threat
        self._within = reach(data, threat)
        self._unlimited = reach(data, Threat(threat.norm, float("inf")))

    def assessed(self, model: object, forest: Forest, budget: Meter) -> Grove | None:
        """How trees stand on these samples; null when the budget ended before that was known."""
        right = self._right(forest)
        turned = self._turned(forest, right, budget, starts=_STARTS)
        return None if turned is None else Grove(model, len(right), len(right) - len(turned))

    def more(self, number: int, forest: Forest, budget: Meter, *, seed: int) -> Found | None:
        """What to add after a round: moved copies after the first, then what the attack finds."""
        if number == 0:
            return self.copies(seed=seed)
        chosen = np.random.default_rng(seed).permutation(len(self.data))[:_ATTACKED]
        return self.witnesses(forest, np.sort(chosen), budget)

    def witnesses(self, forest: Forest, chosen: IntArray, budget: Meter) -> Found | None:
        """Inputs within the radius that the trees get wrong, each with the farthest one in its direction.

        Args:
            forest: the trees.
            chosen: positions to attack.
            budget: asked before every step.

        Returns:
            (m, d) of the samples' type and (m,) the position of each; null when the budget ended.
        """
        found = self._turned(forest, chosen, budget, starts=1)
        if found is None:
            return None
        index = np.array([i for i, _ in found], np.int64)
        if len(index) == 0:
            return self.data.x[:0], index
        x, plain = np.array([x for _, x in found]), self.data.x[index].astype(np.float64)
        moved = np.where(np.isnan(x) | np.isnan(plain), 0.0, x - plain)
        far = self._within.project(plain + _FAR * moved, index)
        near = x.astype(self.data.x.dtype)
        both, twice = np.concatenate([near, far.astype(near.dtype)]), np.concatenate([index, index])
        fine = self._within.admits(both, twice)
        return both[fine], twice[fine]

    def copies(self, *, seed: int) -> Found:
        """Each sample moved anywhere in its ball, several times; as `witnesses`."""
        index = np.tile(np.arange(len(self.data)), _COPIES)
        plain = self.data.x[index].astype(np.float64)
        random = np.random.default_rng(seed)
        moved = _FAR * self._within.scale * random.standard_normal(plain.shape)
        edge = self._within.project(plain + moved, index).astype(np.float64)
        # Copies on the edge alone would form clusters, which trees tell apart.
        part = np.where(np.isnan(plain), 0.0, edge - plain) * random.uniform(0, 1, plain.shape)
        far = self._within.project(plain + part, index).astype(self.data.x.dtype)
        fine = self._within.admits(far, index)
        return far[fine], index[fine]

    def _turned(
        self, forest: Forest, chosen: IntArray, budget: Meter, *, starts: int
    ) -> list[tuple[int, FloatArray]] | None:
        """The samples that descents turn, and the inputs; null when the budget ended."""
        costs, found = Costs(forest, self._unlimited), list[tuple[int, "FloatArray"]]()
        effort = Effort(states=0, take=_booking(budget))
        for i in chosen.tolist():
            x = descended(Point(costs, i, int(self.y[i])), self._threat.eps, effort, starts=starts)
            if budget.cut is not None:
                return None
            if x is not None:
                found.append((i, x))
        return found

    def _right(self, forest: Forest) -> IntArray:
        raw = raw_scores(forest, self.data.x.astype(np.float64))
        return np.flatnonzero(raw.argmax(axis=1) == self.y)


def _booking(budget: Meter) -> Callable[[int], bool]:
    return lambda samples: budget.take(forward=samples)
