"""What is tried on the points that cheap searches left: the nearer one is to falling, the more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.threats.evasion.gradient.apgd import Apgd
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.fab import Fab
from modelward.threats.evasion.gradient.sparse import Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch

if TYPE_CHECKING:
    from modelward.threats.evasion.gradient.pool import Method, Pool

Kind: TypeAlias = Literal["descent", "margin", "entropy", "ratio", "border", "square", "refine"]
"""``descent``, FAB (``border``), Square, Square with smaller squares (``refine``), or APGD on a loss."""

TARGETS: Final = 9
"""Goals per point at most, as in AutoAttack (arXiv 2003.01690v2, section 5.1)."""
_EDGES: Final = ("corner", "blocks", "stripes")
_STARTS: Final = ("noise", *_EDGES)
_REFINED: Final = 0.3
"""Share of the pixels in the first squares where they improve on what gradients found."""
_QUERIES_PER_FEATURE: Final = 10
"""Of Square: a table of few features can use no more."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Searches for some points and goals.

    Attributes:
        name: as recorded for what it breaks.
        kind: of search.
        steps: of each.
        starts: where they begin, see `Task`; a search from each.
        goals: how many, those that came nearest first; 0 for one search without a goal.
        part: share of the standing points that are tried, those of least margin first.
        within: only those whose margin fell to this part of what it is unmodified.
        patient: go on although the margin hardly falls any more.
    """

    name: str
    kind: Kind
    steps: int
    starts: tuple[str, ...] = ("noise",)
    goals: int = 0
    part: float = 1.0
    within: float = math.inf
    patient: bool = False


FIRST: Final = Round(name="margin", kind="descent", steps=20, starts=("centre",))
"""Untargeted, from the point itself."""
PROBES: Final = Round(name="probe", kind="descent", steps=5, goals=TARGETS, patient=True)
"""A few steps towards every goal: the one that is nearest then is seldom the wrong one."""
NEXT: Final = Round(name="targeted margin", kind="descent", steps=30, starts=("corner",), goals=2, within=0.5)
LATE: Final = (
    Round(name="APGD-T", kind="ratio", steps=30, starts=("corner",), goals=4, part=1 / 2, within=0.2),
    Round(name="APGD-CE", kind="entropy", steps=30, part=1 / 4, within=0.2),
    Round(name="restart", kind="descent", steps=30, starts=_EDGES[1:], goals=1, part=1 / 4, within=0.1),
    Round(name="APGD-T", kind="ratio", steps=30, starts=_STARTS, goals=1, part=1 / 8, within=0.1),
    Round(name="FAB-T", kind="border", steps=40, starts=("centre",), goals=1, part=1 / 8, within=0.05),
    Round(name="APGD-T", kind="ratio", steps=50, starts=_STARTS, goals=2, part=1 / 16, within=0.05),
    Round(name="APGD-T", kind="ratio", steps=30, starts=_STARTS * 3, goals=1, part=1 / 16, within=0.04),
    Round(name="APGD-T", kind="ratio", steps=100, starts=_STARTS, goals=1, part=1 / 16, within=0.03),
    Round(name="refinement", kind="refine", steps=400, starts=("best",), part=1 / 16, within=0.1),
    Round(name="refinement", kind="refine", steps=1000, starts=("best",), part=1 / 16, within=0.02),
)
"""Each on fewer points than the one before, those of least margin."""
BLIND: Final = (
    Round(name="APGD-CE", kind="entropy", steps=100, patient=True),
    Round(name="APGD-T", kind="ratio", steps=100, goals=TARGETS, patient=True),
    Round(name="FAB-T", kind="border", steps=100, starts=("centre",), goals=TARGETS),
    Round(name="Square", kind="square", steps=5000, starts=("stripes",)),
)
"""Where slopes mislead, margins do too: AutoAttack's standard version on every point (section 5.1)."""
_LOSSES: Final[tuple[Kind, ...]] = ("margin", "ratio", "entropy", "margin", "ratio", "entropy")
MANY: Final = tuple(
    Round(name="many restarts", kind=kind, steps=60, starts=(_STARTS[number % 4],), goals=3, patient=True)
    for number, kind in enumerate(_LOSSES)
)
UNGRADED: Final = tuple(
    Round(name="restart", kind="descent", steps=40, starts=(start,), goals=1)
    for start in ("stripes", "blocks", "corner", "noise")
)
"""For norms that only count what is changed."""


def method(turn: Round, pool: Pool) -> Method:
    """The search of a round."""
    copy, ball, reach, steps = pool.copy, pool.ball, pool.arena.reach, turn.steps
    if turn.kind == "border":
        return Fab(copy, ball, steps=steps)
    queries = min(steps, _QUERIES_PER_FEATURE * int(reach.numeric.sum()))
    if turn.kind == "square":
        return SquareSearch(copy, ball, steps=queries)
    if turn.kind == "refine":
        return SquareSearch(copy, ball, steps=queries, part=_REFINED)
    if turn.kind != "descent":
        return Apgd(copy, ball, steps=steps, kind=turn.kind, patient=turn.patient)
    if ball.norm == "l0":
        return Swaps(copy, ball, reach, steps=steps)
    if ball.norm == "patch":
        return Windows(copy, ball, reach, steps=steps)
    return Descent(copy, ball, steps=steps, patient=turn.patient)
