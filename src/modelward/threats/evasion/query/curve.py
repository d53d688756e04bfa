"""What queries bought: how many each witness took, and how near decisions alone had come after how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelward.threats.evasion.query.frontier import CHECKPOINTS

if TYPE_CHECKING:
    from modelward.core.canonical import JSON
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.query.frontier import Frontier


def successes(arena: Arena) -> dict[str, JSON]:
    """Queries about each broken point until its first witness, in the order of ``broken``.

    A call may ask about several changes of one point at once: all of them count. A witness of a smaller
    radius counts with what it took there.
    """
    return {"queries_to_success": [int(count) for count in arena.success[arena.broken]]}


def distances(frontier: Frontier) -> dict[str, JSON]:
    """Size of the nearest wrong input of each attacked point, in the order of ``attacked``.

    ``after`` lists numbers of queries, ``sizes`` one list for each of them, null where no wrong input was
    known. A point is left alone when it is within the radius, so later sizes repeat.
    """
    arena = frontier.arena
    tried = np.flatnonzero(arena.points.correct & arena.tried)
    shown = [i for i, count in enumerate(CHECKPOINTS) if count <= frontier.queries]
    return {
        "distances": {
            "after": [CHECKPOINTS[i] for i in shown],
            "sizes": [
                [float(size) if np.isfinite(size) else None for size in frontier.sizes[i][tried]]
                for i in shown
            ],
        }
    }
