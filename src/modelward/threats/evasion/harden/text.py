"""The control `evasion.normalisation`: a model of texts that first takes back what a reader does not see."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final, final

import msgspec
import numpy as np

from modelward.adapters.texts.texts import is_texts, text_array
from modelward.core.control import Hardened
from modelward.core.evidence import Evidence
from modelward.errors import ConfigInvalid, FileDamaged, ShapeMismatch
from modelward.threats.evasion.text.normalise import DEFENCES, HARMLESS, normalised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Subjects
    from modelward.core.model import Model, Outputs

_SHOWN: Final = 2000
_SCHEMA: Final = 1


class Steps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of a normaliser.

    Attributes:
        schema: version of the form.
        defences: keys of `text.normalise.DEFENCES`, in order.
        unicode: version of the character tables they were written with.
    """

    schema: int
    defences: tuple[str, ...]
    unicode: str


def written(defences: Iterable[str]) -> bytes:
    """The steps of a normaliser as JSON; `read` gives them back."""
    steps = Steps(schema=_SCHEMA, defences=tuple(defences), unicode=unicodedata.unidata_version)
    return msgspec.json.format(msgspec.json.encode(steps), indent=2) + b"\n"


def read(document: bytes) -> tuple[str, ...]:
    """The defences of a file, for `Normalised`.

    Raises:
        FileDamaged: it is no such file, or names a defence that there is not.
    """
    try:
        steps = msgspec.json.decode(document, type=Steps)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileDamaged(f"the file of a normaliser cannot be read ({str(error)[:200]})") from error
    unknown = [name for name in steps.defences if name not in DEFENCES]
    if steps.schema != _SCHEMA or unknown or not steps.defences:
        what = f"the defence {unknown[0][:60]!r}" if unknown else f"schema {steps.schema} or no defence"
        raise FileDamaged(f"the file of a normaliser names {what}, which is not known here")
    return steps.defences


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

    @property
    def outputs(self) -> Outputs:
        """Meaning of the score columns: the model's own."""
        return self._model.outputs

    def labels(self, texts: Iterable[object]) -> NDArray[np.str_]:
        """(n,) texts -> (n,) names of the classes that are decided for."""
        names = self._model.outputs.classes
        return np.array([names[i] for i in self(texts).argmax(axis=1)], dtype=np.str_)


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
