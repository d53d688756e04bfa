"""Where attacks meet the model: the points, who still stands, and the witnesses that count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.core.model import Differentiable
from modelward.core.seeds import child_seed
from modelward.numeric.sampling import uniform_sample
from modelward.threats.asking import ask, each_alone, label_trouble, right, targets
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import threats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.check import Settings, Subjects
    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach
    from modelward.threats.evasion.threat import Threat


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points that every check of this room examines, and how the model answers them unmodified.

    Attributes:
        data: the chosen samples.
        model: the original runtime.
        target: (n,) int64 score column of each label.
        correct: (n,) whether the unmodified point is answered right.
        scores: (n, k) float64 answers to the unmodified points.
    """

    data: Dataset
    model: Model
    target: IntArray
    correct: BoolArray
    scores: FloatArray


def differentiable(model: object) -> Differentiable | None:
    """The model, if it has a differentiable copy."""
    return model if isinstance(model, Differentiable) else None


def opened(subjects: Subjects) -> tuple[Model, Dataset]:
    """Model and data, which the catalogue's needs promise."""
    if subjects.model is None or subjects.data is None:
        raise AssertionError("the engine runs this check only with a model and data")
    return subjects.model, subjects.data


def trouble(subjects: Subjects) -> str | None:
    """Why no check of this room can measure these subjects, in one sentence; null when it can."""
    model, data = opened(subjects)
    if len(data) == 0:
        return f"{data.subject.name} has no rows"
    if data.textual:
        return f"{data.subject.name} holds texts, which have no distance in numbers: evasion.text edits them"
    if data.x.ndim < 2 or not np.issubdtype(data.x.dtype, np.number):
        return (
            f"{data.subject.name} holds {data.x.dtype} of shape {data.x.shape}, not one row of numbers each"
        )
    return label_trouble(model, data)


def choose(data: Dataset, limit: int) -> Dataset:
    """The points to examine: a uniform sample that depends on the data and the limit only.

    Every check must look at the same points, or their results could not be combined point by point.
    """
    return data.take(uniform_sample(len(data), limit, data.subject.digest))


def examine(subjects: Subjects, settings: Settings, budget: Meter) -> Points | None:
    """Choose the points and ask the model about them unmodified.

    Returns:
        The points, or null when the budget does not cover one query each.

    Raises:
        ModelNonFinite: the model answers NaN or an infinity on an unmodified point.
    """
    model, data = opened(subjects)
    data = choose(data, settings.limit)
    left = budget.left().queries
    if left is not None and left < len(data):
        budget.take(queries=len(data))  # refused, which records the cut; a part would not be a uniform sample
        return None
    scores = ask(model, lambda part: data.x[part], len(data), budget=budget)
    if len(scores) < len(data):
        return None
    target = targets(model, data)
    return Points(data=data, model=model, target=target, correct=right(scores, target), scores=scores)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to candidates.

    Attributes:
        index: (m,) int64 the point of each candidate.
        x: (m, *shape) the admissible inputs that were asked, of the points' type.
        scores: (m, k) float64; NaN where the model raised.
        broken: (m,) whether the input is a witness.
    """

    index: IntArray
    x: NDArray[np.generic]
    scores: FloatArray
    broken: BoolArray


@final
class Arena:
    """One threat, its points, and everything an attack has found so far.

    Attributes:
        points: what is attacked.
        reach: what may be done to them.
        share: asked before every expense.
        seed: of this threat's random numbers.
        tried: (n,) points that were attacked at least once.
        standing: (n,) points answered right and not broken.
        asked: (n,) questions about each point so far.
        success: (n,) `asked` when the point was first broken, -1 while it is not.
    """

    def __init__(self, points: Points, threat: Threat, *, share: Share, seed: int) -> None:
        self.points = points
        self.reach: Reach = reach(points.data, threat)
        self.share = share
        self.seed = seed
        n = len(points.correct)
        self.tried = np.zeros(n, np.bool_)
        self.standing: BoolArray = points.correct.copy()
        self.asked = np.zeros(n, np.int64)
        self.success = np.full(n, -1, np.int64)
        self._witness = points.data.x.copy()
        self._prediction = np.full(n, -1, np.int64)
        self._tell()

    @property
    def broken(self) -> IntArray:
        """Positions of the points with a witness, ascending."""
        return np.flatnonzero(self.points.correct & ~self.standing)

    def submit(
        self, candidates: NDArray[np.generic], index: IntArray, *, within: Reach | None = None
    ) -> Answer | None:
        """Ask the original runtime about candidates, and keep those that are witnesses.

        Args:
            candidates: (m, *shape) any numbers; they are made admissible first.
            index: (m,) int64 the point of each; a point may occur several times.
            within: what they are made admissible to, where an attack starts outside the ball; null: the
                arena's own reach, which decides in any case what is a witness.

        Returns:
            The answers, or null when the budget refused (nothing was asked).
        """
        if len(index) == 0 or not self.share.take(queries=len(index)):
            return None
        x = (within or self.reach).project(candidates, index)
        self.tried[index] = True
        np.add.at(self.asked, index, 1)
        scores = self._ask(x, index)
        answered = right(scores, self.points.target[index])
        broken = ~answered & self.reach.admits(x, index)
        decision = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
        self._keep(x[broken], index[broken], decision[broken])
        return Answer(index=index, x=x, scores=scores, broken=broken)

    def adopt(self, smaller: Arena) -> int:
        """Take over witnesses of a smaller ball around the same points; returns how many hold here too."""
        index = smaller.broken
        x = smaller.witnesses()["x"]
        holds = self.reach.admits(x, index)
        self.tried[index[holds]] = True
        self._keep(x[holds], index[holds], smaller.decisions(index[holds]))
        self.success[index[holds]] = smaller.success[index[holds]]
        return int(holds.sum())

    def sizes(self) -> FloatArray:
        """(m,) size of each witness's change in the threat's norm, in the order of `broken`."""
        return self.reach.size(self._witness[self.broken], self.broken)

    def decisions(self, index: IntArray) -> IntArray:
        """Score column that the model chose on the witnesses of some points, -1 for none."""
        return self._prediction[index]

    def witnesses(self) -> dict[str, NDArray[np.generic]]:
        """The witnesses in the order of `broken`, as `stored` describes them."""
        broken = self.broken
        return stored(self.points, broken, self._witness[broken], self._prediction[broken])

    def _keep(self, x: NDArray[np.generic], index: IntArray, decision: IntArray) -> None:
        index, first = np.unique(index, return_index=True)
        self._witness[index] = x[first]
        self._prediction[index] = decision[first]
        self.success[index] = np.where(self.standing[index], self.asked[index], self.success[index])
        self.standing[index] = False
        if len(index):
            self._tell()

    def _tell(self) -> None:
        threat, total = self.reach.threat, int(self.points.correct.sum())
        fallen = total - int(self.standing.sum())
        self.share.note(f"{threat.norm} {threat.eps:.4g}: {fallen} of {total} broken")

    def _ask(self, x: NDArray[np.generic], index: IntArray) -> FloatArray:
        """Answers; NaN where the model raises, the unmodified answer where it could not be asked alone."""
        answers, own = each_alone(self.points.model, x, lambda: self.share.take(queries=1))
        answers[own:] = self.points.scores[index[own:]]
        return answers


def stored(
    points: Points, index: IntArray, x: NDArray[np.generic], decision: IntArray
) -> dict[str, NDArray[np.generic]]:
    """Row numbers in the file, inputs, what the model took them for, and what is needed to read them.

    Args:
        points: what the witnesses were made of.
        index: (m,) positions of the points.
        x: (m, *shape) the witness of each.
        decision: (m,) score column that the model chose, -1 for none.

    Returns:
        ``index`` (m,) int64 row numbers; ``x`` and ``original`` (m, *shape), the changed and the plain
        input; ``label`` and ``prediction`` (m,) int64 index into ``classes``, the prediction -1 where the
        model answered NaN, raised, or chose a class without a label; ``classes`` (k,) texts; ``scale``
        (*shape) float64 the size of one unit of eps; for tables ``columns`` (d,) names and ``categories``
        (d,) JSON lists of the texts that the codes stand for.
    """
    data = points.data
    names = {label: i for i, label in enumerate(data.labels)}
    labels = np.array([*(names.get(name, -1) for name in points.model.outputs.classes), -1], np.int64)
    return {
        "index": data.rows[index],
        "x": x,
        "prediction": labels[decision],
        "original": data.x[index],
        "label": data.y[index] if data.y is not None else index,
        "classes": np.array(data.labels, dtype=np.str_),
        "scale": np.broadcast_to(data.box.scale, data.x.shape[1:]).astype(np.float64),
        "columns": np.array([column.name for column in data.columns], dtype=np.str_),
        "categories": np.array([json.dumps(column.categories) for column in data.columns], dtype=np.str_),
    }


def arenas(points: Points, settings: Settings, *, budget: Meter, seed: int) -> Iterator[Arena]:
    """One arena per threat, each with its share of what is left; ends when the budget refused."""
    planned = threats(settings, points.data.box)
    for i, threat in enumerate(planned):
        if budget.cut is not None:
            return
        share = Share(budget, part=i, of=len(planned))
        yield Arena(points, threat, share=share, seed=child_seed(seed, f"{threat.norm}/{threat.eps!r}"))
        share.progress(1.0)
