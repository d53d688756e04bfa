"""Where attacks on texts meet the model: one bound, who still stands, and the witnesses that count."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from modelward.adapters.texts.texts import text_array
from modelward.threats.asking import each_alone, right
from modelward.threats.evasion.text.measure import changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.share import Share
    from modelward.threats.evasion.text.threat import TextThreat
    from modelward.threats.evasion.text.words import Neighbours

BATCH = 2048
"""Texts per question."""


class Candidate(NamedTuple):
    """A changed text of a point.

    Attributes:
        point: its position.
        text: the changed text.
        kinds: of the changes that led to it.
    """

    point: int
    text: str
    kinds: tuple[str, ...]


class Witness(NamedTuple):
    """A changed text that the model gets wrong.

    Attributes:
        text: the changed text.
        decision: score column that the model chose, -1 for none.
        kinds: of the changes.
    """

    text: str
    decision: int
    kinds: tuple[str, ...]


@final
class TextArena:
    """One bound, its points, and everything found under it.

    Attributes:
        points: what is attacked.
        threat: the bound.
        share: asked before every expense.
        tried: (n,) points that were attacked at least once.
        witnesses: position to witness.
    """

    def __init__(
        self, points: Points, threat: TextThreat, *, share: Share, neighbours: Neighbours | None = None
    ) -> None:
        self.points = points
        self.threat = threat
        self.share = share
        self.tried: BoolArray = np.zeros(len(points.correct), np.bool_)
        self.witnesses: dict[int, Witness] = {}
        self._neighbours = neighbours
        self._tell()

    @property
    def broken(self) -> IntArray:
        """Positions of the points with a witness, ascending."""
        return np.array(sorted(self.witnesses), np.int64)

    def stands(self, index: int) -> bool:
        """Whether a point is answered right and not broken."""
        return bool(self.points.correct[index]) and index not in self.witnesses

    def admits(self, index: int, text: str) -> bool:
        """Whether a text is what an attacker may make of a point."""
        return self.threat.admits(self.points.data.x[index], text, self._neighbours)

    def adopt(self, other: TextArena) -> int:
        """Take over the witnesses of another bound that hold here too; returns how many."""
        held = 0
        for index, witness in other.witnesses.items():
            if self.stands(index) and self.admits(index, witness.text):
                self.witnesses[index] = witness
                self.tried[index] = True
                held += 1
        return held

    def submit(self, candidates: Sequence[Candidate]) -> FloatArray:
        """Ask the model about changed texts of standing points, and keep the witnesses.

        Args:
            candidates: those of a point that broke on the way are left out.

        Returns:
            (len(candidates),) margin of the label over the best other class; NaN where nothing was asked or
            the model raised.
        """
        margins = np.full(len(candidates), np.nan)
        done = 0
        while done < len(candidates):
            end = min(done + BATCH, len(candidates))
            wanted = np.array([i for i in range(done, end) if self.stands(candidates[i].point)], np.int64)
            left = self.share.queries_left()
            asked = wanted if left is None else wanted[: max(1, left)]
            if len(asked):
                if not self.share.take(queries=len(asked)):
                    break
                margins[asked] = self._judge([candidates[i] for i in asked])
            done = end if len(asked) == len(wanted) else int(wanted[len(asked)])
        return margins

    def ask(self, texts: Sequence[str], index: IntArray) -> BoolArray | None:
        """Whether texts are answered right, without any of them becoming a witness; null when refused.

        Args:
            texts: any.
            index: (len(texts),) the point whose label each should get.
        """
        if not self.share.take(queries=len(texts)):
            return None
        return (
            right(self._scores(texts, index), self.points.target[index])
            if len(texts)
            else np.zeros(0, np.bool_)
        )

    def stored(self) -> dict[str, NDArray[np.generic]]:
        """The witnesses as arrays, with the meanings of `evasion.arena.Arena.witnesses`.

        ``x`` and ``original`` are texts, and ``changed`` (m,) JSON lists of the spans [start, end) of ``x``
        that differ. An array of fixed width cuts zero characters off the end of a text.
        """
        data, broken = self.points.data, self.broken
        names = {label: i for i, label in enumerate(data.labels)}
        classes = [*(names.get(name, -1) for name in self.points.model.outputs.classes), -1]
        texts = [self.witnesses[i].text for i in broken]
        spans = [json.dumps(changed(data.x[i], t)) for i, t in zip(broken, texts, strict=True)]
        return {
            "index": data.rows[broken],
            "x": np.array(texts, np.str_),
            "prediction": np.array([classes[self.witnesses[i].decision] for i in broken], np.int64),
            "original": np.array([data.x[i] for i in broken], np.str_),
            "label": data.y[broken] if data.y is not None else broken,
            "changed": np.array(spans, np.str_),
            "classes": np.array(data.labels, np.str_),
            "columns": np.array([], np.str_),
            "categories": np.array([], np.str_),
        }

    def _tell(self) -> None:
        total = int(self.points.correct.sum())
        self.share.note(f"{self.threat.kind} {self.threat.eps:.4g}: {len(self.witnesses)} of {total} broken")

    def _judge(self, candidates: Sequence[Candidate]) -> FloatArray:
        index = np.array([candidate.point for candidate in candidates], np.int64)
        self.tried[index] = True
        target = self.points.target[index]
        scores = self._scores([candidate.text for candidate in candidates], index)
        for i in np.flatnonzero(~right(scores, target)).tolist():
            found = candidates[i]
            if self.stands(found.point) and self.admits(found.point, found.text):
                decision = -1 if np.isnan(scores[i]).any() else int(scores[i].argmax())
                self.witnesses[found.point] = Witness(found.text, decision, found.kinds)
                self._tell()
        return margins(scores, target)

    def _scores(self, texts: Sequence[str], index: IntArray) -> FloatArray:
        """Answers; NaN where the model raises, the unmodified answer where it could not be asked alone."""
        take = self.share.take
        answers, own = each_alone(self.points.model, text_array(texts), lambda: take(queries=1))
        answers[own:] = self.points.scores[index[own:]]
        return answers


def margins(scores: FloatArray, target: IntArray) -> FloatArray:
    """(n,) how far the label's score lies above the best other one.

    Args:
        scores: (n, k).
        target: (n,) column of the label.
    """
    others = scores.copy()
    rows = np.arange(len(scores))
    others[rows, target] = -np.inf
    return np.asarray(scores[rows, target] - others.max(axis=1), np.float64)
