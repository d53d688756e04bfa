"""Sends unusual inputs through a probe and records what the model did with each."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.model import Probeable
from modelward.errors import ModelHung, ModelNonFinite, ModelRaised
from modelward.numeric.sampling import uniform_sample
from modelward.threats.robustness.cases import Case, cases
from modelward.threats.robustness.text_cases import text_cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.data import Dataset
    from modelward.core.model import ProbeAnswer

SECONDS = 10.0
"""Wall time allowed per question."""

ROWS = 2
"""Rows per question, except for the empty and the huge batch."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_PATH = re.compile(r"(?<![\w.])(?:/[^\s/:'\"]+){2,}")


@final
class InputsCheck:
    """NaN, infinite, extreme, empty, huge, misshapen and mistyped inputs, or odd texts; a question each."""

    id = "robustness.inputs"
    version = 1

    def __init__(self, settings: Settings) -> None:
        """The list of inputs is fixed; nothing in the settings changes it."""

    def declines(self, subjects: Subjects) -> str | None:
        """Only a model with a probe can be asked without risk to this process."""
        model, data = subjects.model, subjects.data
        if model is None or data is None or len(data) == 0:
            return "there is no model or no row to start from"
        if not isinstance(model, Probeable):
            return "the model offers no probe, so a crash or a hang would take this process with it"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Ask with unmodified rows first, then with every case; a cut leaves the first cases of the list.

        Raises:
            ModelRaised: the model raised or crashed on unmodified rows.
            ModelHung: it did not answer unmodified rows in time.
            ModelNonFinite: it answered NaN or an infinity to unmodified rows.
        """
        model, data = subjects.model, subjects.data
        if model is None or data is None or not isinstance(model, Probeable):
            return
        x = data.x[uniform_sample(len(data), ROWS, data.subject.digest)]
        listed = list(text_cases(x) if data.textual else cases(x, data.box, feature=_feature(x, seed)))
        probes: list[JSON] = []
        with warnings.catch_warnings(), model.probe(SECONDS) as probe:
            # A live model may warn about what it is sent; the answer is what counts.
            warnings.simplefilter("ignore", RuntimeWarning)
            if not budget.take(queries=len(x)):
                return
            _require_sound(probe.ask(x.copy()))
            for done, case in enumerate(listed):
                if not budget.take(queries=case.rows):
                    break
                sent = case.make()
                probes.append(_record(case, sent, probe.ask(sent)))
                budget.progress(done + 1, len(listed))
        if not probes:
            return
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={
                "seconds": SECONDS,
                "rows": len(x),
                "missing by design": _takes_missing(subjects, data),
            },
            n=len(probes),
            seed=seed,
            outcome={"planned": len(listed), "probes": probes},
            unit="probes",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def _feature(x: NDArray[np.generic], seed: int) -> int:
    return int(np.random.default_rng(seed).integers(max(1, x[0].size)))


def _takes_missing(subjects: Subjects, data: Dataset) -> bool:
    """Whether the model says so (boosted trees have a branch for NaN), or the data has gaps itself."""
    if subjects.model is not None and subjects.model.subject.details.get("takes_missing") is True:
        return True
    return bool(np.issubdtype(data.x.dtype, np.floating) and np.isnan(data.x).any())


def _require_sound(answer: ProbeAnswer) -> None:
    if answer.kind == "hung":
        raise ModelHung(f"the model did not answer unmodified rows within {SECONDS:g} s")
    if answer.kind != "answered":
        raise ModelRaised(f"the model {answer.kind} on unmodified rows ({_tidy(answer.detail)})")
    if answer.finite is False:
        raise ModelNonFinite("the model answered NaN or an infinity on unmodified rows")


def _record(case: Case, sent: NDArray[np.generic], answer: ProbeAnswer) -> JSON:
    return {
        "case": case.name,
        "family": case.family,
        "valid": case.valid,
        "shape": list(sent.shape),
        "dtype": sent.dtype.str,
        "answer": answer.kind,
        "detail": _tidy(answer.detail),
        "finite": answer.finite,
        "numbers": len(answer.scores),
    }


def _tidy(detail: str) -> str:
    """The first line, at most 200 characters, without what differs between machines (addresses, folders).

    Libraries print the offending rows below their first line; evidence must not hold them.
    """
    line = (detail.splitlines() or [""])[0]
    line = _PATH.sub("/…", _ADDRESS.sub("0x…", line))
    return line.encode("utf-8", "replace").decode()[:200]
