"""The check `evasion.certified`: points that no change within the ball can make the model get wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.arena import Arena, differentiable, examine, opened, trouble
from modelward.threats.evasion.attack import attacked, examined, numbers, unexamined
from modelward.threats.evasion.earlier import earlier
from modelward.threats.evasion.modules import elsewhere
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import scope, threats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import fx, nn

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.numeric.types import BoolArray, IntArray
    from modelward.threats.evasion.bounds.cascade import Cascade, Spend
    from modelward.threats.evasion.reach import Reach

_BATCH: Final = 64
_BATCH_NUMBERS: Final = 1 << 17  # of the input; activations in float64 are some ten times as many
_DEAR: Final = 4
"""How many times smaller batches are where intermediate values are bounded backward."""
_PASSES: Final = 2
"""Forward samples booked per point: a centre and a radius, each as dear as a forward pass."""
_METHOD: Final[dict[Preset, str]] = {
    "quick": "interval bound propagation, CROWN",
    "standard": "interval bound propagation, CROWN, alpha-CROWN",
    "thorough": "interval bound propagation, CROWN, alpha-CROWN, branch and bound",
}
_EFFORT: Final = 4096
"""Domains of branch and bound per point, at most."""


@final
@dataclass(frozen=True, slots=True)
class Prover:
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

    def enclose(self, reach: Reach, index: IntArray) -> None:
        """Bound the scores of some points by intervals.

        Raises:
            OperatorUnsupported: names the operation without a sound rule.
        """
        import torch

        from modelward.threats.evasion.bounds.inputs import enclosed
        from modelward.threats.evasion.bounds.propagate import propagate

        with torch.no_grad():
            propagate(self.graph, enclosed(reach, index))

    def cascade(self, reach: Reach, target: IntArray, settings: Settings, spend: Spend) -> Cascade:
        """What proves points, from cheap to dear.

        Args:
            reach: what may change.
            target: (n,) columns of all points.
            settings: the user's choices.
            spend: asked before every expense.
        """
        import torch

        from modelward.threats.evasion.bounds.cascade import Cascade, Method
        from modelward.threats.evasion.bounds.inputs import enclosed

        method = Method(graph=self.graph, tolerance=self.tolerance, preset=settings.preset, spend=spend)
        return Cascade(
            method, lambda index: enclosed(reach, np.asarray(index.numpy())), torch.from_numpy(target)
        )


@final
class CertifiedCheck:
    """Bounds on the differentiable copy: intervals, linear relaxation, branch and bound."""

    id = "evasion.certified"
    version = 3

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
                prover.enclose(first, np.zeros(rows, np.int64))
            if not prover.faithful(first.points):
                return "the model answers outside the bounds of its traced graph, so these prove nothing"
        except OperatorUnsupported as error:
            return str(error)
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Bound the points answered right that nothing decided before; one evidence per norm and eps.

        Nothing is random.
        """
        points = examine(subjects, self._settings, budget)
        if points is None:
            yield from unexamined(self, self._settings, subjects, budget=budget, seed=seed)
            return
        prover = _prover(subjects)
        planned = threats(self._settings, points.data.box)
        for i, threat in enumerate(planned):
            if budget.cut is not None:
                return
            share = Share(budget, part=i, of=len(planned))
            arena = Arena(points, threat, share=share, seed=seed)
            open_points = points.correct & ~earlier(subjects, points, threat).decided
            proofs = _prove(prover, arena, self._settings, open_points)
            yield self._evidence(prover, arena, proofs, subjects=subjects, budget=budget)

    def _evidence(
        self, prover: Prover, arena: Arena, proofs: Cascade, *, subjects: Subjects, budget: Meter
    ) -> Evidence:
        from modelward.threats.evasion.bounds.cascade import KINDS

        points, rows = arena.points, arena.points.data.rows
        kind = proofs.proved.numpy()
        outcome: dict[str, JSON] = {
            **examined(points),
            "bounded": numbers(rows[proofs.bounded.numpy()]),
            "certified": numbers(rows[kind >= 0]),
            "proofs": {name: numbers(rows[kind == i]) for i, name in enumerate(KINDS)},
        }
        stored = {}
        if len(arena.broken):
            outcome |= attacked(arena)
            stored = {"witnesses": subjects.attachments.put(arena.witnesses())}
        return Evidence(
            check=self.id,
            version=self.version,
            parameters={
                **scope(arena.reach.threat, points.data.box),
                "limit": self._settings.limit,
                "preset": self._settings.preset,
                "method": _METHOD[self._settings.preset],
                "tolerance": prover.tolerance,
                "rounding": "float32 errors of the model and of the bounds' own coefficients bounded",
                "space": "continuous" if arena.reach.continuous else "mixed",
            },
            n=len(rows),
            seed=arena.seed,
            outcome=outcome,
            unit="row number",
            cost=budget.lap(),
            subjects=subjects.digests(),
            attachments=stored,
            cut=arena.share.cut,
        )


def _prover(subjects: Subjects) -> Prover:
    from modelward.threats.evasion.bounds.propagate import traced

    model = differentiable(subjects.model)
    if model is None:
        raise AssertionError("the engine runs this check only on models with gradients")
    module = model.module()
    away = elsewhere(module)
    if away is not None:  # another device rounds in its own way, about which these bounds say nothing
        raise OperatorUnsupported(f"the model is on {away}, and bounds hold for models on the CPU alone")
    return Prover(module, traced(module), model.tolerance)


def _prove(prover: Prover, arena: Arena, settings: Settings, wanted: BoolArray) -> Cascade:
    """Prove what can be proved of some points, cheap methods on all before dear ones on what they leave."""
    import torch

    points, reach, share = arena.points, arena.reach, arena.share
    cascade = prover.cascade(reach, points.target, settings, share.take)
    values = points.data.x.reshape(len(points.correct), -1).astype(np.float64)
    # A missing value has no interval: such a point is never certified.
    todo = np.flatnonzero(wanted & np.isfinite(values).all(axis=1))
    room = max(1, min(_BATCH, _BATCH_NUMBERS // max(1, math.prod(reach.shape))))
    with torch.no_grad():
        done = 0
        while done < len(todo):
            left = share.passes_left()
            size = room if left is None else max(1, min(room, left // _PASSES))
            if not cascade.cheap(torch.from_numpy(todo[done : done + size])):
                return cascade
            done += size
            share.progress(min(done / len(todo), 1.0) / 2)
        _dear(cascade, arena, settings, max(1, room // _DEAR))
    return cascade


def _dear(cascade: Cascade, arena: Arena, settings: Settings, size: int) -> None:
    import torch

    from modelward.threats.evasion.bounds.branch import Effort

    open_points = torch.from_numpy(arena.points.correct) & cascade.bounded & (cascade.proved < 0)
    kept = []
    left = open_points.nonzero()[:, 0]
    for index in torch.split(left, size) if len(left) else ():
        margins = cascade.dear(index)
        if margins is None:
            return
        if settings.preset == "thorough":
            kept.append((margins, index))
    for i, (margins, index) in enumerate(kept):
        for position, x in cascade.search(margins, index, Effort(domains=_EFFORT)):
            arena.submit(x[None].numpy(), np.array([position]))
        arena.share.progress((1 + (i + 1) / len(kept)) / 2)
