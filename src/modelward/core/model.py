"""Models, as checks see them: one mandatory question, and optional powers as separate protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from modelward.core.canonical import JSON

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from modelward.core.subject import Subject
    from modelward.core.trees import Forest

OutputKind: TypeAlias = Literal["logits", "probabilities", "labels"]


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of `Model.scores` mean.

    Attributes:
        kind: ``logits`` (any real numbers), ``probabilities`` (rows sum to 1) or ``labels`` (one-hot rows:
            the model tells only its decision, so margins carry no information).
        classes: class labels as text, in column order.
        origin: how it is known: ``stated``, or what was seen.
    """

    kind: OutputKind
    classes: tuple[str, ...]
    origin: str


class Model(Protocol):
    """A classifier that can be asked."""

    @property
    def subject(self) -> Subject:
        """Identity."""
        ...

    @property
    def outputs(self) -> Outputs:
        """Meaning of the score columns."""
        ...

    def scores(self, x: NDArray[np.generic]) -> NDArray[np.float64]:
        """Ask the model's own runtime.

        Args:
            x: (n, *shape) inputs, n >= 1.

        Returns:
            (n, k) float64, k = len(outputs.classes) >= 2; the decision is the first largest column. Values
            may be NaN when the model answers NaN.

        Raises:
            ModelRaised: the model raised.
            ModelHung: it did not answer in time.
            ShapeMismatch: it does not take inputs of this shape.
        """
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model with a differentiable copy."""

    @property
    def tolerance(self) -> float:
        """How far the copy's scores may lie from the runtime's, in units of max(1, |score|); 0: the same."""
        ...

    def module(self) -> nn.Module:
        """The copy, in evaluation mode: (n, *shape) float32 -> (n, k) scores, largest column the decision."""
        ...


@runtime_checkable
class TreeEnsemble(Protocol):
    """A model whose trees are known, and answer as the model does."""

    def forest(self) -> Forest:
        """The trees; columns in the order of the model's score columns."""
        ...


class Recommender(Protocol):
    """Learns from ratings, and scores items for users; what the user's factory returns.

    Users and items are whole numbers from 0 on, all of which occur among the ratings.
    """

    def fit(self, users: NDArray[np.int64], items: NDArray[np.int64], ratings: NDArray[np.float64]) -> object:
        """Learn from scratch, forgetting earlier ratings.

        Args:
            users: (n,) who rated.
            items: (n,) what; no pair occurs twice.
            ratings: (n,) how.
        """
        ...

    def predict(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score every item for some users.

        Args:
            users: (m,).

        Returns:
            (m, items) predicted ratings, or scores whose order says what is recommended first.
        """
        ...


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model did with one unusual input.

    Attributes:
        kind: it ``answered``, ``raised`` an error, ``crashed`` its process or ``hung``.
        detail: the error's type and first line, or the signal.
        scores: flat list of the answer's numbers (at most 64), null for each that is not finite.
        finite: whether all the answer's numbers are finite; null when there was no answer.
    """

    kind: Literal["answered", "raised", "crashed", "hung"]
    detail: str = ""
    scores: list[JSON] = []
    finite: bool | None = None


class Probe(Protocol):
    """Asks a model with inputs that may break it."""

    def ask(self, x: NDArray[np.generic]) -> ProbeAnswer:
        """Send one batch as it is, of any type and shape; never raises because of what the model does."""
        ...


@runtime_checkable
class Probeable(Protocol):
    """A model that can be asked with inputs that may break it (file models: in a sandboxed child)."""

    def probe(self, seconds: float) -> AbstractContextManager[Probe]:
        """Open a probe.

        Args:
            seconds: wall time allowed per question.
        """
        ...
