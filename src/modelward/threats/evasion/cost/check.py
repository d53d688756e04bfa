"""The check `evasion.cost`: inputs that take a model longer, or keep more of it busy, than ordinary ones."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, final

import msgspec
import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.errors import ModelRaised
from modelward.threats.evasion.arena import choose, differentiable, opened
from modelward.threats.evasion.attack import numbers
from modelward.threats.evasion.cost.search import Numbers, Texts, evolve
from modelward.threats.evasion.cost.timing import interleaved
from modelward.threats.evasion.share import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.data import Dataset
    from modelward.core.evidence import Cut
    from modelward.core.model import Differentiable, Model

_EVALUATIONS: Final[dict[Preset, int]] = {"quick": 100, "standard": 300, "thorough": 1500}
_REPEATS: Final = 3
"""Calls per input in the search; the shortest counts, because noise only ever adds."""
_PAIRS: Final[dict[Preset, int]] = {"quick": 30, "standard": 60, "thorough": 200}
_WARM: Final = 3
_DENSE: Final = 16


@final
class CostCheck:
    """Searches dear inputs by the time of each call, then measures the dearest anew beside ordinary ones.

    Args:
        settings: the user's choices.
        clock: seconds; of the wall, since the model may answer from another process.
    """

    id = "evasion.cost"
    version = 1

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._settings, self._clock = settings, clock

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be measured, or null."""
        _, data = opened(subjects)
        if len(data) == 0:
            return f"{data.subject.name} has no rows"
        if not _textual(data) and not np.issubdtype(data.x.dtype, np.number):
            return f"{data.subject.name} holds {data.x.dtype}, neither numbers nor texts"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Activations first where there are gradients: the inputs found join the search by time."""
        model, data = opened(subjects)
        data = choose(data, self._settings.limit)
        copy = None if _textual(data) else differentiable(model)

        def told(measure: str, n: int, outcome: dict[str, JSON], cut: Cut | None) -> Evidence:
            return Evidence(
                check=self.id,
                version=self.version,
                parameters={**self._parameters(), "measure": measure},
                n=n,
                seed=seed,
                outcome=outcome,
                unit="seconds per call" if measure == "time" else "share of activations that are not zero",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=cut,
            )

        dense: NDArray[np.generic] | None = None
        if copy is not None:
            share = Share(budget, part=0, of=4)
            dense, n, outcome = _activations(copy, data, share)
            if outcome or share.cut is not None:
                yield told("activations", n, outcome, share.cut)
            if budget.cut is not None:
                return
        share = Share(budget)
        timing, kept = self._time(model, data, dense, random=_random(seed), share=share)
        item = told("time", len(data) if timing else 0, {"timing": timing}, share.cut)
        if kept is not None:
            ordinary = data.x[: len(kept)]
            stored = {"x": kept, "ordinary": ordinary}
            if _textual(data):  # objects are not stored
                stored = {name: array.astype(np.str_) for name, array in stored.items()}
            digest = subjects.attachments.put(stored)
            item = msgspec.structs.replace(item, attachments={"inputs": digest})
        yield item

    def _parameters(self) -> dict[str, JSON]:
        preset = self._settings.preset
        return {
            "confidence": self._settings.confidence,
            "evaluations": _EVALUATIONS[preset],
            "repeats": _REPEATS,
            "pairs": _PAIRS[preset],
        }

    def _time(
        self,
        model: Model,
        data: Dataset,
        dense: NDArray[np.generic] | None,
        *,
        random: np.random.Generator,
        share: Share,
    ) -> tuple[dict[str, JSON], NDArray[np.generic] | None]:
        """Costs of pairs: the dearest input beside ordinary ones, and ordinary ones beside one another."""
        preset = self._settings.preset
        pairs = _PAIRS[preset]
        once = partial(self._seconds, model)

        def fitness(x: NDArray[np.generic]) -> float | None:
            left = share.queries_left()
            spare = left is None or left >= _REPEATS + 4 * pairs  # what the comparison needs is kept
            if not share.take(queries=_REPEATS if spare or left is None else left + 1):
                return None
            return min(once(x) for _ in range(_REPEATS))

        if not share.take(queries=_WARM):
            return {}, None
        for _ in range(_WARM):
            once(data.x[:1])
        breed = (Texts if _textual(data) else Numbers)(data, random)
        inputs, _ = evolve(
            breed, fitness, evaluations=_EVALUATIONS[preset], random=random, extra=_cut(dense, data)
        )
        if len(inputs) == 0 or not share.take(queries=4 * pairs):
            return {}, None
        ordinary = [data.x[i : i + 1] for i in random.integers(0, len(data), 3 * pairs)]
        measures = [partial(once, x) for x in ordinary]
        dear = interleaved([partial(once, inputs[:1])] * pairs, measures[:pairs])
        plain = interleaved(measures[pairs : 2 * pairs], measures[2 * pairs :])
        return {
            "dear": [_pair(*pair) for pair in zip(*dear, strict=True)],
            "plain": [_pair(*pair) for pair in zip(*plain, strict=True)],
        }, inputs[:1]

    def _seconds(self, model: Model, x: NDArray[np.generic]) -> float:
        """Seconds of one call; one that raises took its time too."""
        start = self._clock()
        try:
            model.scores(x)
        except ModelRaised:
            return self._clock() - start
        return self._clock() - start


def _activations(
    copy: Differentiable, data: Dataset, share: Share
) -> tuple[NDArray[np.generic] | None, int, dict[str, JSON]]:
    """Denser inputs, their number, and the shares before and after; nothing where nothing rectifies."""
    from modelward.threats.evasion.cost.density import denser

    x = data.x[:_DENSE]
    found = denser(copy.module(), x, data.box, lambda n: share.take(forward=n, backward=n))
    if found is None:
        return None, 0, {}
    inputs, before, after = found
    outcome: dict[str, JSON] = {
        "rows": numbers(data.rows[:_DENSE]),
        "before": [float(value) for value in before],
        "after": [float(value) for value in after],
    }
    return inputs, len(x), outcome


def _cut(dense: NDArray[np.generic] | None, data: Dataset) -> NDArray[np.generic] | None:
    """Inputs with whole numbers where columns hold nothing else."""
    if dense is None or not data.columns:
        return dense
    whole = np.array([column.kind != "real" for column in data.columns])
    return np.where(whole, np.rint(dense.astype(np.float64)), dense).astype(data.x.dtype)


def _pair(dear: float, plain: float) -> list[JSON]:
    return [float(dear), float(plain)]


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(child_seed(seed, "time"))


def _textual(data: Dataset) -> bool:
    return data.x.dtype.kind == "O"
