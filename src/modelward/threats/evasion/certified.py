"""The check `evasion.certified`: points that no change within the ball can make the model get wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.arena import differentiable, examine, opened, trouble
from modelward.threats.evasion.attack import numbers, unexamined
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import scope, threats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import fx, nn

    from modelward.core.budget import Meter
    from modelward.core.check import Settings, Subjects
    from modelward.numeric.types import BoolArray, IntArray
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.reach import Reach

_BATCH: Final = 64
_BATCH_NUMBERS: Final = 1 << 17  # of the input; activations in float64 are some ten times as many
_PASSES: Final = 2
"""Forward samples booked per point: a centre and a radius, each as dear as a forward pass."""


@final
@dataclass(frozen=True, slots=True)
class _Prover:
    """A traced copy and how far it may lie from the runtime.

    Attributes:
        module: what was traced.
        graph: the copy.
        tolerance: see `Differentiable.tolerance`.
    """

    module: nn.Module
    graph: fx.GraphModule
    tolerance: float

    def faithful(self, x: NDArray[np.generic]) -> bool:
        """Whether the module answers inside the bounds that its graph has at radius zero.

        Tracing does not see everything: a context such as autocast changes how the module computes and leaves
        no mark in the graph.

        Args:
            x: (m, *shape) points; missing values are taken as 0.
        """
        import torch

        from modelward.threats.evasion.bounds.enclosure import Enclosure
        from modelward.threats.evasion.bounds.propagate import propagate
        from modelward.threats.evasion.modules import as_evaluated

        point = torch.nan_to_num(torch.from_numpy(x.astype(np.float32)))
        with torch.no_grad(), as_evaluated(self.module):
            bounds = propagate(self.graph, Enclosure(point.double(), point.double()))
            seen = self.module(point).double()
            return bool(((bounds.lower <= seen) & (seen <= bounds.upper)).all())

    def certify(self, reach: Reach, index: IntArray, target: IntArray) -> BoolArray:
        """Which points provably keep their label.

        A point counts when every lower margin exceeds twice the tolerance in units of max(1, |score|): true
        score and rival may each be off by one tolerance in the original runtime.

        Args:
            reach: what may change.
            index: (m,) points.
            target: (m,) their columns.
        """
        import torch

        from modelward.threats.evasion.bounds.inputs import enclosed
        from modelward.threats.evasion.bounds.margins import lower_margins
        from modelward.threats.evasion.bounds.propagate import propagate

        with torch.no_grad():
            scores = propagate(self.graph, enclosed(reach, index))
            worst = lower_margins(scores, torch.from_numpy(target)).amin(dim=1)
            size = scores.largest.amax(dim=1).clamp_min(1.0)
            return np.asarray((worst > 2 * self.tolerance * size).numpy())


@final
class CertifiedCheck:
    """Interval bound propagation through the differentiable copy."""

    id = "evasion.certified"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be certified, or null; one point is tried, alone and twice."""
        if differentiable(subjects.model) is None:
            return "the model has no differentiable copy"
        reason = trouble(subjects)
        if reason is not None:
            return reason
        _, data = opened(subjects)
        first = reach(data.take(np.zeros(1, np.int64)), threats(self._settings, data.box)[0])
        try:
            prover = _prover(subjects)
            for rows in (1, 2):  # some graphs hold for one row only
                prover.certify(first, np.zeros(rows, np.int64), np.zeros(rows, np.int64))
            if not prover.faithful(first.points):
                return "the model answers outside the bounds of its traced graph, so these prove nothing"
        except OperatorUnsupported as error:
            return str(error)
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Bound every point that is answered right; one evidence per norm and eps. Nothing is random."""
        points = examine(subjects, self._settings, budget)
        if points is None:
            yield from unexamined(self, self._settings, subjects, budget=budget, seed=seed)
            return
        prover, rows = _prover(subjects), points.data.rows
        planned = threats(self._settings, points.data.box)
        for i, threat in enumerate(planned):
            if budget.cut is not None:
                return
            share = Share(budget, part=i, of=len(planned))
            bounded, certified = _bound(prover, points, reach(points.data, threat), share)
            yield Evidence(
                check=self.id,
                version=self.version,
                parameters={
                    **scope(threat, points.data.box),
                    "limit": self._settings.limit,
                    "method": "interval bound propagation",
                    "tolerance": prover.tolerance,
                    "rounding": "float32 errors bounded, computed in float64",
                },
                n=len(rows),
                seed=seed,
                outcome={
                    "rows": numbers(rows),
                    "correct": numbers(rows[points.correct]),
                    "bounded": numbers(rows[bounded]),
                    "certified": numbers(rows[certified]),
                },
                unit="row number",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=share.cut,
            )


def _prover(subjects: Subjects) -> _Prover:
    from modelward.threats.evasion.bounds.propagate import traced

    model = differentiable(subjects.model)
    if model is None:
        raise AssertionError("the engine runs this check only on models with gradients")
    module = model.module()
    return _Prover(module, traced(module), model.tolerance)


def _bound(prover: _Prover, points: Points, reach: Reach, share: Share) -> tuple[BoolArray, BoolArray]:
    """Masks of the points that were bounded and of those that were certified."""
    bounded = np.zeros(len(points.correct), np.bool_)
    certified = bounded.copy()
    values = points.data.x.reshape(len(bounded), -1).astype(np.float64)
    # A missing value has no interval: such a point is never certified.
    todo = np.flatnonzero(points.correct & np.isfinite(values).all(axis=1))
    room = max(1, min(_BATCH, _BATCH_NUMBERS // max(1, math.prod(reach.shape))))
    done = 0
    while done < len(todo):
        left = share.passes_left()
        size = room if left is None else max(1, min(room, left // _PASSES))
        index = todo[done : done + size]
        if not share.take(forward=_PASSES * len(index)):
            break
        bounded[index] = True
        certified[index] = prover.certify(reach, index, points.target[index])
        done += len(index)
        share.progress(done / len(todo))
    return bounded, certified
