"""What a model's answer means: logits, probabilities, labels, or one number for two classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import numpy as np

from modelward.adapters.runtime import class_text
from modelward.errors import ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.adapters.runtime import Facts
    from modelward.core.model import OutputKind

Statement: TypeAlias = Literal["logits", "probabilities", "labels", "logit", "probability"]
"""What a user can state; the singular forms are one number for two classes."""


class OutputOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user states about the outputs.

    Attributes:
        outputs: meaning; null detects it.
        classes: class labels in output order; empty detects them.
    """

    outputs: Statement | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a raw answer becomes score columns.

    Attributes:
        statement: what the answer is.
        origin: how that is known.
        columns: number of classes; 0 for labels, where the answer does not tell.
    """

    statement: Statement
    origin: str
    columns: int

    @property
    def kind(self) -> OutputKind:
        """Meaning of the score columns."""
        if self.statement == "logit":
            return "logits"
        return "probabilities" if self.statement == "probability" else self.statement

    def scores(self, raw: NDArray[np.generic], classes: tuple[str, ...]) -> NDArray[np.float64]:
        """Turn a raw answer into (n, k) scores.

        Raises:
            ModelRaised: a label was answered that is none of the classes, or the answer changed its shape.
        """
        if self.statement == "labels":
            return _one_hot(raw, classes)
        if raw.dtype.kind not in "fiub":
            raise ModelRaised(f"the model answered values of type {raw.dtype} after answering numbers")
        values = raw.astype(np.float64)
        if self.statement in {"logit", "probability"}:
            flat = values.reshape(len(values), -1)
            if flat.shape[1] != 1:
                raise ModelRaised(f"the model answered {flat.shape[1]} numbers a row after answering one")
            first = 1 - flat if self.statement == "probability" else np.zeros_like(flat)
            return np.hstack([first, flat])
        if values.ndim != 2 or values.shape[1] != self.columns:
            raise ModelRaised(
                f"the model answered shape {values.shape} after answering {self.columns} columns"
            )
        return values


def read_outputs(raw: NDArray[np.generic], rows: int, facts: Facts, options: OutputOptions) -> Reading:
    """Recognise what a model's first answer means.

    Args:
        raw: answer to `rows` unmodified samples.
        rows: how many were asked.
        facts: what the model says about itself.
        options: what the user states; it wins.

    Raises:
        ShapeMismatch: the answer is no classification of the samples.
    """
    if raw.ndim == 0 or len(raw) != rows or raw.ndim > 2:
        raise ShapeMismatch(
            f"the model answered shape {raw.shape} to {rows} samples; a classifier answers one row a sample",
            advice="Give a classifier that returns (n,), (n, 1) or (n, classes).",
        )
    columns = 1 if raw.ndim == 1 else raw.shape[1]
    if not columns:
        raise ShapeMismatch(f"the model answered shape {raw.shape}, which holds no scores")
    stated = options.outputs
    if stated is not None:
        _fits(stated, columns)
        if stated != "labels" and raw.dtype.kind not in "fiub":
            raise ShapeMismatch(
                f"outputs were stated as {stated}, but the model answers values of type {raw.dtype}"
            )
        return Reading(stated, "stated", columns)
    if raw.dtype.kind not in "fc" and columns == 1:
        return Reading("labels", f"answers are of type {raw.dtype}", 0)
    if raw.dtype.kind not in "fiub":
        raise ShapeMismatch(f"the model answered {columns} columns of type {raw.dtype}, which are no scores")
    if facts.kind is not None and (columns > 1 or facts.kind != "labels"):
        one: dict[OutputKind, Statement] = {"logits": "logit", "probabilities": "probability"}
        return Reading(one.get(facts.kind, facts.kind) if columns == 1 else facts.kind, facts.origin, columns)
    return _guess(raw.astype(np.float64).reshape(rows, columns), columns)


def _guess(values: NDArray[np.float64], columns: int) -> Reading:
    within = bool(np.all((values >= 0) & (values <= 1)))
    if columns > 1:
        sums = bool(np.all(np.abs(values.sum(axis=1) - 1) < 1e-3))
        if within and sums:
            return Reading("probabilities", "rows lie in [0, 1] and sum to 1", columns)
        return Reading("logits", "rows do not sum to 1", columns)
    if bool(np.all(values == np.round(values))) and len(values) > 1:
        return Reading("labels", "one whole number a row", 0)
    if within:
        return Reading("probability", "one number in [0, 1] a row", 1)
    return Reading("logit", "one unbounded number a row", 1)


def _fits(stated: Statement, columns: int) -> None:
    single = stated in {"labels", "logit", "probability"}
    if single != (columns == 1):
        raise ShapeMismatch(f"outputs were stated as {stated}, but the model answers {columns} columns")


def _one_hot(raw: NDArray[np.generic], classes: tuple[str, ...]) -> NDArray[np.float64]:
    if raw.size != len(raw):
        raise ModelRaised(f"the model answered shape {raw.shape} after answering one label a row")
    index = {name: i for i, name in enumerate(classes)}
    scores = np.zeros((len(raw), len(classes)))
    for row, value in enumerate(raw.reshape(len(raw)).tolist()):
        position = index.get(class_text(value))
        if position is None:
            raise ModelRaised(
                f"the model answered the label {class_text(value)[:40]!r}, which is none of its classes"
            )
        scores[row, position] = 1.0
    return scores
