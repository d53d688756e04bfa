"""Asks the model about every row once and counts label against answer in every group."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, cast, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.threats.asking import ask, label_trouble, shuffled, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.data import Dataset, Grouping
    from modelward.core.model import Model
    from modelward.numeric.types import BoolArray, IntArray

DEPTH = 3
"""Most columns in one intersection."""

MINIMUM = 30
"""Rows a rate needs in a group before the group is compared."""

GROUP_LIMIT = 20_000
"""Most groups, over all sensitive columns together, that evidence holds."""


@final
class GroupsCheck:
    """One contingency table: levels of all sensitive columns, label, answer."""

    id = "bias.groups"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._confidence = settings.confidence

    def declines(self, subjects: Subjects) -> str | None:
        """Groups must exist, be few enough to count, and labels must be classes of the model."""
        model, data = subjects.model, subjects.data
        if model is None or data is None or len(data) == 0:
            return "there is no model or no row to ask it about"
        if not data.groupings:
            return "no column is marked as sensitive"
        possible = prod(len(grouping.levels) for grouping in data.groupings)
        if possible > GROUP_LIMIT and (possible >= 1 << 60 or len(_cells(data.groupings)[0]) > GROUP_LIMIT):
            return (
                f"the {len(data.groupings)} sensitive columns form more than {GROUP_LIMIT} groups: "
                "name fewer columns"
            )
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
        seen = data.take(order[: len(scores)])
        answer, truth = scores.argmax(axis=1), targets(model, seen)
        yes = positive_class(model, seen)
        yes_column = None if yes is None else model.outputs.classes.index(yes)
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={"confidence": self._confidence, "depth": DEPTH, "minimum": MINIMUM, "positive": yes},
            n=len(scores),
            seed=seed,
            outcome={
                "columns": [{"name": g.name, "levels": list(g.levels)} for g in seen.groupings],
                "cells": _table(seen.groupings, *_binary(truth, answer, yes_column)),
            },
            unit="rows",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def positive_class(model: Model, data: Dataset) -> str | None:
    """The class that counts as "yes": the second label of two; null with more classes (accuracy only)."""
    if len(model.outputs.classes) != 2:
        return None
    return data.labels[1] if len(data.labels) == 2 else model.outputs.classes[1]


def _binary(truth: IntArray, answer: IntArray, yes: int | None) -> tuple[BoolArray, BoolArray]:
    """Label and answer as yes and no; with more than two classes "yes" is being right."""
    if yes is None:
        return np.ones(truth.shape, np.bool_), np.asarray(truth == answer)
    return np.asarray(truth == yes), np.asarray(answer == yes)


def _cells(groupings: Sequence[Grouping]) -> tuple[IntArray, IntArray]:
    """The non-empty groups as levels (groups, columns), and each row's group (n,)."""
    key = np.zeros(len(groupings[0].codes), np.int64)
    for grouping in groupings:
        key = key * len(grouping.levels) + grouping.codes
    present, group = np.unique(key, return_inverse=True)
    levels = []
    for grouping in reversed(groupings):
        present, level = np.divmod(present, len(grouping.levels))
        levels.append(level)
    return np.column_stack(levels[::-1]), np.asarray(group)


def _table(groupings: Sequence[Grouping], yes: BoolArray, said_yes: BoolArray) -> JSON:
    """Rows per group: levels, and counts [no-no, no-yes, yes-no, yes-yes], the label before the answer."""
    levels, group = _cells(groupings)
    counts = np.bincount(group * 4 + 2 * yes + said_yes, minlength=4 * len(levels)).reshape(-1, 4)
    return {"levels": cast("JSON", levels.tolist()), "counts": cast("JSON", counts.tolist())}
