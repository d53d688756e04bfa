"""The check `evasion.query`: witnesses found by asking the model, without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.threats.evasion.arena import differentiable, opened, trouble
from modelward.threats.evasion.attack import Plan, run
from modelward.threats.evasion.geometry import spatial
from modelward.threats.evasion.query.curve import distances, successes
from modelward.threats.evasion.query.decision import decide
from modelward.threats.evasion.query.frontier import Frontier
from modelward.threats.evasion.query.sparse import Cells, Patches
from modelward.threats.evasion.query.square import Squares
from modelward.threats.evasion.query.subsets import Subsets
from modelward.threats.evasion.query.walk import Schedule, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.query.walk import Moves
    from modelward.threats.evasion.reach import Reach

_QUERIES: Final[dict[Preset, int]] = {"quick": 200, "standard": 1000, "thorough": 5000}
_BESIDE_GRADIENTS: Final[dict[Preset, int]] = {"quick": 100, "standard": 100, "thorough": 5000}
"""Where gradients exist the search is a cross-check: it tells whether they mislead."""
_PART: Final = 0.8
"""The Square attack's initial share in AutoAttack (Croce and Hein 2020, arXiv 2003.01690v2)."""
_PART_OF_CELLS: Final = 0.3
"""Sparse-RS's initial share (arXiv 2006.12834v3, table 6)."""


@final
class QueryCheck:
    """Random search on the model's scores; boundary search where it tells only its decision."""

    id = "evasion.query"
    version = 2

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be attacked, or null."""
        return trouble(subjects)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Attack every point under every threat; one evidence per norm and eps."""
        model, data = opened(subjects)
        image = not data.columns and spatial(data.x.shape[1:])
        guided = model.outputs.kind != "labels"
        preset = self._settings.preset
        queries = (_QUERIES if differentiable(model) is None else _BESIDE_GRADIENTS)[preset]
        nearest: dict[int, Frontier] = {}

        def attack(arena: Arena) -> None:
            if guided or arena.reach.threat.norm == "patch":
                moves, part = _moves(arena.reach, image=image)
                schedule = Schedule(queries=queries, part=part, guided=guided)
                walk(arena, moves(arena.reach, arena.seed), schedule)
            else:
                nearest[id(arena)] = Frontier(arena, queries, arena.seed)
                decide(nearest[id(arena)])

        def told(arena: Arena) -> dict[str, JSON]:
            found = nearest.get(id(arena))
            return {**successes(arena), **(distances(found) if found is not None else {})}

        parameters: dict[str, JSON] = {
            "queries": queries,
            "inputs": "images" if image else "rows",
            "guidance": "margin" if guided else "none: the model tells its decision only",
        }
        plan = Plan(check=self, settings=self._settings, attack=attack, parameters=parameters, proved=told)
        return run(plan, subjects, budget=budget, seed=seed)


def _moves(reach: Reach, *, image: bool) -> tuple[Callable[[Reach, int], Moves], float]:
    """The kind of change that suits a norm, and the share of the features that the first ones touch."""
    if reach.threat.norm == "l0":
        return Cells, _PART_OF_CELLS
    if reach.threat.norm == "patch":
        return Patches, _PART
    return (Squares if image else Subsets), _PART
