"""Permutes features among rows, one at a time and all but one, and counts what stays right.

Source: Breiman (2001), Machine Learning 45(1), section 10 (one at a time); Fisher, Rudin and Dominici (2019),
JMLR 20(177), section 3 (on any fitted model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.numeric.sampling import uniform_sample
from modelward.threats.asking import ask, label_trouble, right, shuffled, targets
from modelward.threats.opacity.parts import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.model import Model
    from modelward.numeric.types import BoolArray, IntArray
    from modelward.threats.opacity.parts import Part

LIMIT = 1000
"""At most this many rows are asked about, fewer where the queries would not pay for one round."""

LEAST = 50
"""Not fewer rows than this, if there are as many."""

REPEATS = 5
"""Permutations of every feature."""


@final
class ImportanceCheck:
    """Permutation importance of every feature, and the accuracy that one feature alone keeps."""

    id = "opacity.importance"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._confidence = settings.confidence

    def declines(self, subjects: Subjects) -> str | None:
        """There must be two rows and two features, and labels that the model knows."""
        model, data = subjects.model, subjects.data
        if model is None or data is None or len(data) < 2:
            return "there is no model or fewer than two rows to permute"
        if data.textual:
            return "the data is texts, which have no features to permute"
        if len(parts(data)) < 2:
            return "a sample has a single feature, on which everything rests by definition"
        return label_trouble(model, data)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Round by round, so that a cut leaves every feature with fewer permutations.

        The first round measures every feature permuted and every feature alone, and chooses the strongest
        alone; the others permute every feature again and ask about the strongest alone.
        """
        model, data = subjects.model, subjects.data
        if model is None or data is None:
            return
        features = parts(data)
        rows = _rows(len(data), len(features), budget)
        index = uniform_sample(len(data), rows, data.subject.digest)
        index = index[shuffled(len(index), seed)]
        sample = _Sample(model, data.x, index, targets(model, data)[index], budget)
        whole = sample.right(None, index)
        if whole is None:
            return
        tally = _measure(sample, features, seed)
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={"confidence": self._confidence, "repeats": REPEATS, "limit": LIMIT},
            n=len(index),
            seed=seed,
            outcome=_outcome(tally, features, whole, sample.target),
            unit="rows",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def _rows(n: int, features: int, budget: Meter) -> int:
    left = budget.left().queries
    affordable = LIMIT if left is None else max(LEAST, left // (2 * features + REPEATS))
    return min(n, LIMIT, affordable)


@final
@dataclass(frozen=True, slots=True)
class _Sample:
    """The rows that are asked about, again and again."""

    model: Model
    x: NDArray[np.generic]
    index: IntArray
    target: IntArray
    budget: Meter

    def right(self, where: IntArray | None, donors: IntArray) -> BoolArray | None:
        """Which rows stay right with the given positions taken from other rows; null when cut before the end.

        Args:
            where: flat positions within a sample; null leaves the rows as they are.
            donors: (n,) rows of `x` they are taken from.
        """

        def gather(part: slice) -> NDArray[np.generic]:
            rows = self.x[self.index[part]]
            if where is not None:
                flat = rows.reshape(len(rows), -1)
                flat[:, where] = self.x[donors[part]].reshape(len(rows), -1)[:, where]
            return rows

        total = len(self.index)
        scores = ask(self.model, gather, total, budget=self.budget, modified=where is not None)
        return right(scores, self.target) if len(scores) == total else None

    def donors(self, seed: int, label: str) -> IntArray:
        """The same rows in a random order."""
        return np.asarray(self.index[shuffled(len(self.index), child_seed(seed, label))])


@final
@dataclass(slots=True)
class _Tally:
    """How often each row stayed right.

    Attributes:
        repeats: (features,) completed permutations of each.
        kept: (features, rows) permutations after which the row was right.
        alone_repeats: (features,) completed permutations of all others.
        alone: (features, rows) of them after which the row was right.
        strongest: the feature that keeps most alone, once all were asked.
    """

    repeats: IntArray
    kept: IntArray
    alone_repeats: IntArray
    alone: IntArray
    strongest: int | None = None


def _measure(sample: _Sample, features: tuple[Part, ...], seed: int) -> _Tally:
    n, m = len(sample.index), len(features)
    places = np.arange(sample.x[0].size)
    zeros, table = np.zeros(m, np.int64), np.zeros((m, n), np.int64)
    tally = _Tally(zeros, table, zeros.copy(), table.copy())
    for turn in range(REPEATS):
        for i, feature in enumerate(features):
            if turn == 0 or i == tally.strongest:
                others = np.setdiff1d(places, feature.where)
                hit = sample.right(others, sample.donors(seed, f"alone/{turn}/{i}"))
                if hit is None:
                    return tally
                tally.alone[i] += hit
                tally.alone_repeats[i] += 1
            hit = sample.right(feature.where, sample.donors(seed, f"permuted/{turn}/{i}"))
            if hit is None:
                return tally
            tally.kept[i] += hit
            tally.repeats[i] += 1
            sample.budget.progress(turn * m + i + 1, REPEATS * m)
        if turn == 0:
            tally.strongest = int(tally.alone.sum(axis=1).argmax())
    return tally


def _outcome(
    tally: _Tally, features: tuple[Part, ...], whole: BoolArray, target: IntArray
) -> dict[str, JSON]:
    common = int(np.bincount(target).argmax())
    majority = target == common
    listed: list[JSON] = []
    for i, feature in enumerate(features):
        if tally.repeats[i]:
            listed.append(
                {
                    "name": feature.name,
                    "sensitive": feature.sensitive,
                    "repeats": int(tally.repeats[i]),
                    # [row right before: no, yes][permutations after which it was right]
                    "kept": _count(whole, tally.kept[i], int(tally.repeats[i])),
                    "alone": int(tally.alone[i].sum()),
                    "alone repeats": int(tally.alone_repeats[i]),
                }
            )
    outcome: dict[str, JSON] = {
        "features": listed,
        "of": len(features),
        "right": int(whole.sum()),
        "majority": int(majority.sum()),
    }
    if tally.strongest is not None:
        best, repeats = features[tally.strongest], int(tally.alone_repeats[tally.strongest])
        kept = tally.alone[tally.strongest]
        outcome["strongest"] = {
            "name": best.name,
            "sensitive": best.sensitive,
            "repeats": repeats,
            # Once for rows of the majority class and once for the others, each as in `kept`.
            "majority": _count(whole[majority], kept[majority], repeats),
            "minority": _count(whole[~majority], kept[~majority], repeats),
        }
    return outcome


def _count(before: BoolArray, after: IntArray, repeats: int) -> JSON:
    key = before * (repeats + 1) + after
    return cast("JSON", np.bincount(key, minlength=2 * (repeats + 1)).reshape(2, -1).tolist())
