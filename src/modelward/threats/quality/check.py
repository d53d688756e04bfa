"""Asks the model about every labelled row once and counts what it got right."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.threats.asking import ask, label_trouble, probabilities, right, shuffled, targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

GROUPS = 1000
"""Scores are counted in at most this many groups of neighbours, so that evidence stays small."""

RANKED_CLASSES = 100
"""With more classes than this the ranking is not recorded."""


@final
class QualityCheck:
    """Counts per class, the ranking of rows by score, and stated confidence against outcome."""

    id = "quality"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._confidence = settings.confidence

    def declines(self, subjects: Subjects) -> str | None:
        """Labels that are not classes of the model cannot be compared with its answers."""
        model, data = subjects.model, subjects.data
        if model is None or data is None or len(data) == 0:
            return "there is no model or no row to ask it about"
        return label_trouble(model, data)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Ask about all rows in random order; a cut leaves a uniform sample."""
        model, data = subjects.model, subjects.data
        if model is None or data is None:
            return
        order = shuffled(len(data), seed)
        scores = ask(model, lambda part: data.x[order[part]], len(data), budget=budget)
        if len(scores) == 0:
            return
        kind, target = model.outputs.kind, targets(model, data)[order[: len(scores)]]
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={"confidence": self._confidence, "outputs": kind, "groups": GROUPS},
            n=len(scores),
            seed=seed,
            outcome=_outcome(scores, target, model.outputs.classes, kind=kind),
            unit="rows",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def _outcome(scores: FloatArray, target: IntArray, classes: tuple[str, ...], *, kind: str) -> dict[str, JSON]:
    k = len(classes)
    hit = right(scores, target)
    outcome: dict[str, JSON] = {
        "classes": list(classes),
        "truth": np.bincount(target, minlength=k).tolist(),
        "decided": np.bincount(scores.argmax(axis=1), minlength=k).tolist(),
        "hits": np.bincount(target[hit], minlength=k).tolist(),
    }
    if kind == "labels":  # a bare decision states no confidence and ranks nothing
        return outcome
    stated = probabilities(scores, kind)
    outcome["calibration"] = _confidences(stated.max(axis=1), hit)
    if k == 2:
        # Differences of logits keep apart what the softmax rounds to 1.
        score = scores[:, 1] - scores[:, 0] if kind == "logits" else stated[:, 1]
        outcome["ranking"] = {classes[1]: _ranking(score, target == 1, GROUPS)}
    elif k <= RANKED_CLASSES:
        limit = max(100, 4 * GROUPS // k)
        outcome["ranking"] = {
            name: _ranking(stated[:, i], target == i, limit) for i, name in enumerate(classes)
        }
    return outcome


def neighbours(values: FloatArray, limit: int) -> IntArray:
    """Number each value's group: groups ascend, equal values share one, at most `limit` groups of equal mass.

    Args:
        values: (n,), n >= 1.
        limit: most groups.

    Returns:
        (n,) group numbers from 0; not every number need occur. With at most `limit` distinct values each is a
        group of its own.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    if distinct.size <= limit:
        return np.asarray(inverse, np.int64)
    edges = np.sort(values)[np.arange(1, limit) * values.size // limit]
    return np.searchsorted(np.unique(edges), values, side="right").astype(np.int64)


def _ranking(score: FloatArray, positive: BoolArray, limit: int) -> JSON:
    """Positives and negatives per group of neighbouring scores, lowest first."""
    group = neighbours(score, limit)
    ups, downs = np.bincount(group[positive]), np.bincount(group[~positive])
    size = max(ups.size, downs.size)
    exact = bool(np.unique(score).size <= limit)
    return {
        "positives": np.pad(ups, (0, size - ups.size)).tolist(),
        "negatives": np.pad(downs, (0, size - downs.size)).tolist(),
        "exact": exact,
    }


def _confidences(stated: FloatArray, hit: BoolArray) -> JSON:
    """Rows, right answers and mean stated confidence per group of neighbouring confidences."""
    group = neighbours(stated, GROUPS)
    rows = np.bincount(group)
    filled = rows > 0
    total = np.bincount(group, stated)
    right_rows = np.bincount(group, hit)
    return {
        "rows": rows[filled].tolist(),
        "right": right_rows[filled].astype(np.int64).tolist(),
        "stated": (total[filled] / rows[filled]).tolist(),
    }
