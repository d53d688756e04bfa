"""The check `evasion.trees`: for every point, a witness, a proof that there is none, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.model import TreeEnsemble
from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.arena import opened, trouble
from modelward.threats.evasion.attack import Plan, numbers, run
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat, threats
from modelward.threats.evasion.trees.costs import Costs
from modelward.threats.evasion.trees.distance import Distance, measured, polished, smallest
from modelward.threats.evasion.trees.leaves import leaves
from modelward.threats.evasion.trees.search import Effort, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.evidence import Evidence
    from modelward.core.trees import Forest
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.arena import Arena

_STATES: Final = {"quick": 300, "standard": 3_000, "thorough": 60_000}
"""Partial choices of leaves per point, radius and rival class."""
_NARROWING: Final = {"quick": 0, "standard": 500, "thorough": 10_000}
"""The same for every question that narrows a smallest change."""
_STARTS: Final = {"quick": 2, "standard": 6, "thorough": 30}
"""Descents per point, radius and rival class, before the search."""
_AT_ONCE: Final = 64


@final
class TreesCheck:
    """Branch and bound over the leaves of a tree ensemble."""

    id = "evasion.trees"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be searched, or null."""
        model = ensemble(subjects.model)
        if model is None:
            return "the model is no tree ensemble that is read"
        reason = trouble(subjects)
        if reason is not None:
            return reason
        _, data = opened(subjects)
        planned = threats(self._settings, data.box)
        one = reach(data.take(np.zeros(1, np.int64)), Threat("linf", float("inf")))
        if all(_unsearchable(threat.norm, one.shape) for threat in planned):
            return "none of the norms asked for is searched on trees: linf, l2, l1 and l0 are"
        try:
            leaves(model.forest(), one)
        except OperatorUnsupported as error:
            return str(error)
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Search every point under every threat; one evidence per norm and eps. Nothing is random."""
        model = ensemble(subjects.model)
        if model is None:
            raise AssertionError("the engine runs this check only on models with trees")
        preset = self._settings.preset
        hunt = _Hunt(model.forest(), preset)
        plan = Plan(
            check=self,
            settings=self._settings,
            attack=hunt.search,
            parameters={
                "method": "branch and bound over leaves",
                "preset": preset,
                "states": _STATES[preset],
                "states_narrowing": _NARROWING[preset],
                "starts": _STARTS[preset],
                "trees": len(model.forest().roots),
                "slack": model.forest().slack,
            },
            proved=hunt.proved,
        )
        return run(plan, subjects, budget=budget, seed=seed)


def ensemble(model: object) -> TreeEnsemble | None:
    """The model, if its trees are known."""
    return model if isinstance(model, TreeEnsemble) else None


def _unsearchable(norm: str, shape: tuple[int, ...]) -> bool:
    """Patches are no sum over features; with several colours L0 counts pixels and not features."""
    return norm == "patch" or (norm == "l0" and len(shape) == 3 and 1 not in {shape[0], shape[-1]})


@final
class _Hunt:
    """The searches of one run; what is known of a point under a norm serves every radius."""

    def __init__(self, forest: Forest, preset: Preset) -> None:
        self._forest = forest
        self._states, self._narrowing, self._starts = _STATES[preset], _NARROWING[preset], _STARTS[preset]
        self._norm = ""
        self._costs: Costs | None = None
        self._points: dict[int, Point] = {}
        self._known: dict[int, Distance] = {}
        self._searched: set[int] = set()

    def search(self, arena: Arena) -> None:
        """Decide every standing point at the arena's radius, then narrow the smallest changes."""
        threat = arena.reach.threat
        if threat.norm != self._norm:
            self._norm, self._points, self._known, self._searched = threat.norm, {}, {}, set()
            searchable = not _unsearchable(threat.norm, arena.reach.shape)
            unlimited = Threat(threat.norm, float("inf"))
            self._costs = Costs(self._forest, reach(arena.points.data, unlimited)) if searchable else None
        if self._costs is None:
            return
        standing = np.flatnonzero(arena.standing)
        waiting: list[int] = []
        for done, i in enumerate(standing.tolist()):
            if not arena.share.take(forward=0):
                break
            if self._decide(arena, i):
                waiting.append(i)
            if len(waiting) == _AT_ONCE:
                self._ask(arena, waiting)
                waiting = []
            arena.share.progress(0.9 * (done + 1) / len(standing))
        self._ask(arena, waiting)
        self._narrow(arena)

    def _decide(self, arena: Arena, i: int) -> bool:
        """Search one point; True when there is an input to ask the model about."""
        eps, known = arena.reach.threat.eps, self._known.get(i, Distance(0.0, float("inf")))
        if self._excluded(known, eps):
            arena.tried[i] = True
            return False
        point = self._point(arena, i)
        answer = point.decide(eps, Effort(states=self._states, take=_booking(arena), starts=self._starts))
        if arena.share.cut is not None and answer.verdict == "open":
            return False
        arena.tried[i] |= point.known
        self._searched.add(i)
        if answer.verdict == "none":
            self._known[i] = Distance(
                max(known.lower, eps + 1 if self._norm == "l0" else eps), known.upper, known.x
            )
        if answer.x is None:
            return False
        x = polished(point, answer.x) if point.wrong(answer.x[None])[0] else answer.x
        self._known[i] = Distance(known.lower, measured(point, x), x)
        return True

    def _excluded(self, known: Distance, eps: float) -> bool:
        return known.lower > eps if self._norm == "l0" else known.lower >= eps

    def _point(self, arena: Arena, i: int) -> Point:
        if self._costs is None:
            raise AssertionError("asked for a point of a norm that is not searched")
        if i not in self._points:
            self._points[i] = Point(self._costs, i, int(arena.points.target[i]))
        return self._points[i]

    def _ask(self, arena: Arena, index: list[int]) -> None:
        """Ask the model itself; what it answers right after all is forgotten."""
        found = [self._known[i].x for i in index]
        x = np.array([one for one in found if one is not None])
        if len(x) == 0:
            return
        answer = arena.submit(x.reshape(-1, *arena.reach.shape), np.array(index))
        for i, broken in zip(index, [False] * len(index) if answer is None else answer.broken, strict=True):
            if not broken:
                self._known[i] = Distance(self._known[i].lower, float("inf"))

    def _narrow(self, arena: Arena) -> None:
        """Bring the bounds of the smallest change of each broken point together."""
        if not self._narrowing:
            return
        effort = Effort(states=self._narrowing, take=_booking(arena))
        better: list[int] = []
        for i in arena.broken.tolist():
            known = self._known.get(i)
            if known is None or known.x is None or known.exact or not arena.share.take(forward=0):
                continue
            found = smallest(self._point(arena, i), effort, known, arena.reach.threat.eps)
            self._known[i] = found
            if found.upper < known.upper:
                better.append(i)
        for at in range(0, len(better), _AT_ONCE):
            self._ask(arena, better[at : at + _AT_ONCE])

    def proved(self, arena: Arena) -> dict[str, JSON]:
        """Points with a proof, points that neither fell nor have one, and bounds of every smallest change."""
        rows, eps = arena.points.data.rows, arena.reach.threat.eps
        right: IntArray = np.flatnonzero(arena.points.correct)
        nothing = Distance(0.0, float("inf"))
        known = [self._known.get(int(i), nothing) for i in right]
        safe = np.array([self._excluded(one, eps) for one in known], np.bool_)
        certified = right[safe & arena.standing[right]] if len(right) else right
        bounded = np.union1d(np.array(sorted(self._searched), np.int64), certified)
        open_ = np.setdiff1d(np.flatnonzero(arena.standing), certified)
        return {
            "bounded": numbers(rows[bounded]),
            "certified": numbers(rows[certified]),
            "proofs": {"tree search": numbers(rows[certified])},
            "undecided": numbers(rows[open_]),
            "distances": {
                "rows": numbers(rows[right]),
                "lower": [float(one.lower) for one in known],
                "upper": [float(one.upper) if np.isfinite(one.upper) else None for one in known],
            },
        }


def _booking(arena: Arena) -> Callable[[int], bool]:
    """Books forward samples with an arena's share."""
    return lambda samples: arena.share.take(forward=samples)
