"""Asking a model in batches: booked before, cut where the budget ends, refused where it answers NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelward.errors import ModelNonFinite, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

BATCH = 4096
"""Rows per question, fewer where rows are large."""

_BATCH_BYTES = 1 << 26


def label_trouble(model: Model, data: Dataset) -> str | None:
    """Why the labels cannot be compared with the model's answers, in one sentence; null when they can."""
    if data.y is None:
        return f"{data.subject.name} has no labels"
    unknown = [label for label in data.labels if label not in model.outputs.classes]
    if unknown:
        shown = ", ".join(repr(label) for label in unknown[:3])
        return f"label {shown} of {data.subject.name} is not a class of the model"
    return None


def targets(model: Model, data: Dataset) -> IntArray:
    """The score column of each row's label, matched by name.

    Returns:
        (n,) int64, index into ``model.outputs.classes``.

    Raises:
        ShapeMismatch: the data has no labels, or one that is not a class of the model.
    """
    trouble = label_trouble(model, data)
    if trouble is not None or data.y is None:
        raise ShapeMismatch(trouble or "the data has no labels")
    columns = np.array([model.outputs.classes.index(label) for label in data.labels], np.int64)
    return np.asarray(columns[data.y])


def shuffled(n: int, seed: int) -> IntArray:
    """All positions in a random order, so that whatever was asked before a cut is a uniform sample."""
    return np.random.default_rng(seed).permutation(n)


def ask(
    model: Model,
    gather: Callable[[slice], NDArray[np.generic]],
    total: int,
    *,
    budget: Meter,
    modified: bool = False,
) -> FloatArray:
    """Ask about as many rows as the budget allows, from the first on.

    Args:
        model: what is asked.
        gather: gives the rows at a slice of positions, (b, *shape).
        total: number of rows wanted.
        budget: every row is booked as one query before it is sent.
        modified: the rows were changed on purpose, so a NaN answer is a result and not an error.

    Returns:
        (m, k) float64 scores of the first m <= total rows; ``budget.cut`` says why m < total.

    Raises:
        ModelNonFinite: the model answered NaN or an infinity on unmodified rows.
    """
    parts = [np.empty((0, len(model.outputs.classes)))]
    batch = _batch_rows(gather(slice(0, 1)))
    done = 0
    while done < total:
        size = min(batch, total - done)
        left = budget.left().queries
        if left is not None:
            size = max(1, min(size, left))
        if not budget.take(queries=size):
            break
        scores = np.asarray(model.scores(gather(slice(done, done + size))), np.float64)
        wrong = int((~np.isfinite(scores)).any(axis=1).sum())
        if wrong and not modified:
            raise ModelNonFinite(
                f"the model answered NaN or an infinity on {wrong} of {size} unmodified rows"
            )
        parts.append(scores)
        done += size
        if not modified:
            budget.progress(done, total)
    return np.concatenate(parts)


def each_alone(model: Model, x: NDArray[np.generic], again: Callable[[], bool]) -> tuple[FloatArray, int]:
    """Answers to changed inputs; where the model raises on a batch, each input alone.

    Args:
        model: what is asked.
        x: (n, *shape), already booked.
        again: books one more query; False ends the asking.

    Returns:
        (n, k) float64, NaN where the model raises on the input itself or it was not asked alone any more; and
        how many of the first inputs have an answer of their own.
    """
    try:
        return np.asarray(model.scores(x), np.float64), len(x)
    except ModelRaised:
        answers = np.full((len(x), len(model.outputs.classes)), np.nan)
    for i in range(len(x) if len(x) > 1 else 0):
        if not again():
            return answers, i
        try:
            answers[i] = np.asarray(model.scores(x[i : i + 1]), np.float64)[0]
        except ModelRaised:
            continue
    return answers, len(x)


def _batch_rows(row: NDArray[np.generic]) -> int:
    return max(1, min(BATCH, _BATCH_BYTES // max(1, row.nbytes)))


def right(scores: FloatArray, target: IntArray) -> BoolArray:
    """Whether the decision, the first largest column, is the label; never where an answer is NaN.

    Args:
        scores: (n, k).
        target: (n,) column of the label.
    """
    return np.asarray((scores.argmax(axis=1) == target) & ~np.isnan(scores).any(axis=1))


def probabilities(scores: FloatArray, kind: str) -> FloatArray:
    """Scores as probabilities: the softmax of logits, anything else as it is, cut to [0, 1].

    Args:
        scores: (n, k) finite.
        kind: `Outputs.kind`.
    """
    if kind != "logits":
        return np.asarray(np.clip(scores, 0.0, 1.0))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
