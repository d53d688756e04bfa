"""The models that checks ask: a runtime, the meaning of its answers, and the powers it really has."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.runtime import reason
from modelward.core.model import Outputs, ProbeAnswer
from modelward.errors import (
    InputError,
    ModelHung,
    ModelRaised,
    ModelwardError,
    SandboxFault,
    SandboxUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import nn

    from modelward.adapters.outputs import Reading
    from modelward.adapters.runtime import Runtime, RuntimeSpec
    from modelward.core.model import Probe
    from modelward.core.subject import Subject
    from modelward.core.trees import Forest


@final
class RuntimeModel:
    """A classifier asked through its own runtime.

    Attributes:
        subject: identity.
        outputs: meaning of the score columns.
        runtime: what answers.
        spec: how to open it again in the sandbox; null for a live object.
    """

    def __init__(
        self,
        subject: Subject,
        runtime: Runtime,
        reading: Reading,
        *,
        classes: tuple[str, ...],
        spec: RuntimeSpec | None,
    ) -> None:
        self.subject = subject
        self.runtime = runtime
        self.spec = spec
        self.outputs = Outputs(kind=reading.kind, classes=classes, origin=reading.origin)
        self._reading = reading

    def scores(self, x: NDArray[np.generic]) -> NDArray[np.float64]:
        """Ask the runtime; see `core.model.Model.scores`."""
        raw = _ask(self.runtime, x)
        if raw.ndim == 0 or len(raw) != len(x):
            raise ModelRaised(f"the model answered shape {raw.shape} to {len(x)} samples")
        return self._reading.scores(raw, self.outputs.classes)

    @contextmanager
    def probe(self, seconds: float) -> Iterator[Probe]:
        """A sandboxed copy for a file; the object itself, watched by a clock, when it is live."""
        if self.spec is None:
            yield LiveProbe(self.runtime, seconds)
            return
        from modelward.adapters.remote import RemoteProbe

        try:
            probe = RemoteProbe(self.spec, seconds)
        except (InputError, SandboxFault) as error:
            # It was opened here, so this says something of the sandbox and nothing of the model.
            raise SandboxUnavailable(f"the model cannot be opened in the sandbox: {error}") from error
        try:
            yield probe
        finally:
            probe.close()


class _Wrapped(ABC):
    """A model with a power of its own; it is asked and probed as the original."""

    @abstractmethod
    def __init__(self, model: RuntimeModel) -> None:
        self._model = model

    @property
    def subject(self) -> Subject:
        """Identity of the original."""
        return self._model.subject

    @property
    def outputs(self) -> Outputs:
        """Meaning of the original's score columns."""
        return self._model.outputs

    def scores(self, x: NDArray[np.generic]) -> NDArray[np.float64]:
        """Ask the original."""
        return self._model.scores(x)

    def probe(self, seconds: float) -> AbstractContextManager[Probe]:
        """Probe the original."""
        return self._model.probe(seconds)


@final
class DifferentiableModel(_Wrapped):
    """A model together with a differentiable copy of it.

    Attributes:
        tolerance: see `core.model.Differentiable`.
    """

    def __init__(self, model: RuntimeModel, module: nn.Module, tolerance: float) -> None:
        _Wrapped.__init__(self, model)
        self._module = module
        self.tolerance = tolerance

    def module(self) -> nn.Module:
        """The copy."""
        return self._module


@final
class TreeModel(_Wrapped):
    """A model together with its trees."""

    def __init__(self, model: RuntimeModel, forest: Forest) -> None:
        _Wrapped.__init__(self, model)
        self._forest = forest

    def forest(self) -> Forest:
        """The trees, which were compared with the original when it was opened."""
        return self._forest


@final
class LiveProbe:
    """Asks a live object; a call that outlives the clock is left in its thread and reported as hung."""

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        self._runtime, self._seconds = runtime, seconds

    def ask(self, x: NDArray[np.generic]) -> ProbeAnswer:
        """Send one batch as it is."""
        from modelward.adapters.remote import answered

        try:
            return answered(within(self._seconds, self._runtime, x))
        except ModelHung as error:
            return ProbeAnswer(kind="hung", detail=str(error))
        except ModelRaised as error:
            return ProbeAnswer(kind="raised", detail=str(error))


def within(seconds: float, runtime: Runtime, x: NDArray[np.generic]) -> NDArray[np.generic]:
    """Ask a runtime that cannot be stopped, and stop waiting instead.

    Raises:
        ModelHung: there was no answer in time.
        ModelRaised: it raised.
    """
    answers: list[NDArray[np.generic]] = []
    errors: list[ModelwardError] = []

    def work() -> None:
        try:
            answers.append(_ask(runtime, x))
        except ModelwardError as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ModelHung(f"the model did not answer within {seconds:g} s")
    if errors:
        raise errors[0]
    return answers[0]


def _ask(runtime: Runtime, x: NDArray[np.generic]) -> NDArray[np.generic]:
    try:
        return np.asarray(runtime.raw(x))
    except ModelwardError:
        raise
    except Exception as error:  # what it raises, whatever it is, is the model's: it is under examination
        raise ModelRaised(f"the model raised {type(error).__name__}: {reason(error)}") from error
