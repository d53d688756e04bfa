"""The check `evasion.query`: witnesses found by asking the model, without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.threats.evasion.arena import differentiable, opened, trouble
from modelward.threats.evasion.attack import Plan, run
from modelward.threats.evasion.geometry import spatial
from modelward.threats.evasion.query.square import Squares
from modelward.threats.evasion.query.subsets import Subsets
from modelward.threats.evasion.query.walk import Schedule, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.arena import Arena

_QUERIES: Final = 500
_QUERIES_BESIDE_GRADIENTS: Final = 100
"""Where gradients exist the search is a cross-check: it tells whether they mislead."""
_PART: Final = 0.8
"""The Square attack's initial share in AutoAttack (Croce and Hein 2020, arXiv 2003.01690v2)."""


@final
class QueryCheck:
    """Square attack on images, the same search over feature subsets on tables."""

    id = "evasion.query"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be attacked, or null."""
        return trouble(subjects)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Attack every point under every threat; one evidence per norm and eps."""
        model, data = opened(subjects)
        squares = not data.columns and spatial(data.x.shape[1:])
        guided = model.outputs.kind != "labels"
        queries = _QUERIES if differentiable(model) is None else _QUERIES_BESIDE_GRADIENTS
        schedule = Schedule(queries=queries, part=_PART, guided=guided)

        def attack(arena: Arena) -> None:
            moves = (Squares if squares else Subsets)(arena.reach, arena.seed)
            walk(arena, moves, schedule)

        parameters: dict[str, JSON] = {
            "moves": "squares" if squares else "feature subsets",
            "queries": queries,
            "part": _PART,
            "guidance": "margin" if guided else "none: the model tells its decision only",
        }
        plan = Plan(check=self, settings=self._settings, attack=attack, parameters=parameters)
        return run(plan, subjects, budget=budget, seed=seed)
