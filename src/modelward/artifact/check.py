"""The check `artifact.pickle`: what loading the file is proven to do, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from modelward.artifact.verdict import inspect
from modelward.core.evidence import Evidence, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.core.budget import Meter
    from modelward.core.check import Settings, Subjects


@final
class PickleCheck:
    """Reads what loading the artifact acts on, pickles opcode by opcode; nothing is loaded."""

    id = "artifact.pickle"
    version = 1

    def __init__(self, settings: Settings) -> None:
        del settings  # nothing about this check can be chosen

    def declines(self, subjects: Subjects) -> str | None:
        """A file that no loader takes as a model has nothing to prove."""
        if subjects.artifact is None:
            return "a live object has no file to inspect"
        report = inspect(subjects.artifact[0])
        if report.verdict is None:
            return f"no loader takes a file of format {report.format} as a model"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Yield one record for the file; static, so it consumes neither passes nor queries."""
        if subjects.artifact is None or not budget.take():
            return
        path, _ = subjects.artifact
        report = to_json(inspect(path))
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={},
            n=1,
            seed=seed,
            outcome={key: report[key] for key in ("format", "verdict", "coverage", "findings")},
            unit="files",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )
