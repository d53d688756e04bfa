"""The control `evasion.normalisation`: a model of texts that first takes back what a reader does not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.adapters.texts.texts import is_texts, text_array
from modelward.core.control import Hardened
from modelward.core.evidence import Evidence
from modelward.errors import ConfigInvalid, ShapeMismatch
from modelward.threats.evasion.text.normalise import DEFENCES, HARMLESS, normalised

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Subjects
    from modelward.core.model import Model

_SHOWN: Final = 2000


@final
class Normalised:
    """A function of texts that asks a model about their normalised forms; audits take it as a live model.

    Attributes:
        defences: what is taken back, in order.
    """

    def __init__(self, model: Model, defences: Iterable[str] = HARMLESS) -> None:
        self.defences = tuple(defences)
        self._model = model

    def __call__(self, texts: Iterable[object]) -> NDArray[np.float64]:
        """(n,) texts -> (n, k) scores, in the order of the model's classes."""
        return self._model.scores(text_array(normalised(str(text), self.defences) for text in texts))


@final
class NormalisationControl:
    """Puts normalisation in front of a model of texts, and measures how many answers it changes.

    Args:
        defences: keys of `text.normalise.DEFENCES`.

    Raises:
        ConfigInvalid: there is no such defence, or none was named.
    """

    id = "evasion.normalisation"
    version = 1

    def __init__(self, defences: Iterable[str] = HARMLESS) -> None:
        self._defences = tuple(defences)
        unknown = [name for name in self._defences if name not in DEFENCES]
        if unknown or not self._defences:
            named = f"{unknown[0]!r} is no normalisation" if unknown else "no normalisation was named"
            raise ConfigInvalid(f"{named}; there are {', '.join(DEFENCES)}")

    def declines(self, subjects: Subjects) -> str | None:
        """Why there is nothing to normalise, or null."""
        if subjects.model is None or subjects.data is None:
            return "a model and data are needed"
        if not is_texts(subjects.data.x):
            return f"{subjects.data.subject.name} holds numbers, not texts"
        return None

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Wrap the model.

        Raises:
            ShapeMismatch: the subjects are declined.
        """
        reason = self.declines(subjects)
        model, data = subjects.model, subjects.data
        if reason is not None or model is None or data is None:
            raise ShapeMismatch(f"normalisation cannot be put in front of this model: {reason}")
        wrapped = Normalised(model, self._defences)
        x = data.x[:_SHOWN]
        outcome: dict[str, JSON] = {"changed_texts": None, "changed_answers": None}
        if budget.take(queries=2 * len(x)):
            outcome["changed_texts"] = sum(normalised(str(t), self._defences) != str(t) for t in x)
            answers = (model.scores(x).argmax(axis=1), wrapped(x).argmax(axis=1))
            outcome["changed_answers"] = int((answers[0] != answers[1]).sum())
        defences: list[JSON] = list(self._defences)
        evidence = Evidence(
            check=self.id,
            version=self.version,
            parameters={"defences": defences},
            n=len(x),
            seed=seed,
            outcome=outcome,
            unit="unmodified texts",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )
        return Hardened(model=wrapped, evidence=evidence)
