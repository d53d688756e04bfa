"""Run an attack over every threat and record, point by point, what it broke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from modelward.core.evidence import Evidence
from modelward.threats.evasion.arena import arenas, examine, opened
from modelward.threats.evasion.threat import scope, threats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Check, Settings, Subjects
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.arena import Arena, Points


class Attack(Protocol):
    """Searches an arena for witnesses until it is done or the arena's share is spent."""

    def __call__(self, arena: Arena) -> None:
        """Attack every standing point."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a check runs.

    Attributes:
        check: whose evidence it is.
        settings: the user's choices.
        attack: the search.
        parameters: the search's own choices, as recorded.
        proved: what the search proved besides, for the outcome; null for a plain attack.
    """

    check: Check
    settings: Settings
    attack: Attack
    parameters: dict[str, JSON]
    proved: Callable[[Arena], dict[str, JSON]] | None = None


def run(plan: Plan, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
    """Attack all threats in turn; radii of one norm ascend, and each starts from what the last one broke."""
    points = examine(subjects, plan.settings, budget)
    if points is None:
        yield from unexamined(plan.check, plan.settings, subjects, budget=budget, seed=seed)
        return
    last: Arena | None = None
    for arena in arenas(points, plan.settings, budget=budget, seed=seed):
        same = last is not None and last.reach.threat.norm == arena.reach.threat.norm
        inherited = arena.adopt(last) if last is not None and same else 0
        plan.attack(arena)
        last = arena
        broken, rows = arena.broken, points.data.rows
        parameters: dict[str, JSON] = {
            **scope(arena.reach.threat, points.data.box),
            "limit": plan.settings.limit,
            "space": "continuous" if arena.reach.continuous else "mixed",
            **plan.parameters,
        }
        outcome: dict[str, JSON] = {
            **examined(points),
            **attacked(arena, inherited),
            **(plan.proved(arena) if plan.proved is not None else {}),
        }
        stored = {"witnesses": subjects.attachments.put(arena.witnesses())} if len(broken) else {}
        yield Evidence(
            check=plan.check.id,
            version=plan.check.version,
            parameters=parameters,
            n=len(rows),
            seed=seed,
            outcome=outcome,
            unit="row number",
            cost=budget.lap(),
            subjects=subjects.digests(),
            attachments=stored,
            cut=arena.share.cut,
        )


def unexamined(
    check: Check, settings: Settings, subjects: Subjects, *, budget: Meter, seed: int
) -> Iterator[Evidence]:
    """Evidence that nothing was examined, per threat: the budget ended before the clean answers."""
    _, data = opened(subjects)
    for threat in threats(settings, data.box):
        yield Evidence(
            check=check.id,
            version=check.version,
            parameters={**scope(threat, data.box), "limit": settings.limit},
            n=0,
            seed=seed,
            outcome={"rows": [], "correct": []},
            unit="row number",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def examined(points: Points) -> dict[str, JSON]:
    """The part of every outcome of this room: which rows, the label of each, and which are answered right."""
    data = points.data
    labels: list[JSON] = [] if data.y is None else [data.labels[code] for code in data.y]
    return {
        "rows": numbers(data.rows),
        "labels": labels,
        "correct": numbers(data.rows[points.correct]),
    }


def attacked(arena: Arena, inherited: int = 0) -> dict[str, JSON]:
    """Which rows an attack tried and broke, by how much, and how many a smaller ball gave it."""
    rows = arena.points.data.rows
    return {
        "attacked": numbers(rows[arena.points.correct & arena.tried]),
        "broken": numbers(rows[arena.broken]),
        "sizes": [float(size) for size in arena.sizes()],
        "inherited": inherited,
    }


def numbers(rows: IntArray) -> list[JSON]:
    """Row numbers as JSON."""
    return [int(row) for row in rows]
