"""Greedy and beam search over changes of texts, all points side by side.

Ranking parts by what the model answers without them, then trying changes at the ranks' top, is the scheme of
DeepWordBug (Gao et al. 2018, arXiv 1801.04354v5) and TextFooler (Jin et al. 2020, arXiv 1907.11932v6); the
beam replaces their single path (as in Pruthi et al. 2019, arXiv 1905.11268v2, who search all characters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from modelward.threats.evasion.text.arena import Candidate

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.text.arena import TextArena
    from modelward.threats.evasion.text.moves import Moves, Probe

_PER_WORD = 2
"""Parts of one word that are changed at a time: a model of words answers the same for all of them."""


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to search.

    Attributes:
        beam: texts of a point that are changed further.
        spots: parts of each at which every kind of change is tried.
    """

    beam: int
    spots: int


class _State(NamedTuple):
    """A text on the way."""

    text: str
    cost: int
    margin: float
    kinds: tuple[str, ...]


@final
class Hunt:
    """A search that goes on from bound to bound: what was tried under a smaller one is not tried again.

    Args:
        points: what is attacked.
        moves: how texts are changed.
        effort: how hard.
        seed: of the random numbers.
        guided: whether the model's scores say more than its decision.
    """

    def __init__(
        self, points: Points, moves: Moves, effort: Effort, *, seed: int, guided: bool = True
    ) -> None:
        self._moves, self._effort, self._guided = moves, effort, guided
        self._random = np.random.default_rng(seed)
        self._beams = [[_State(text, 0, np.inf, ())] for text in points.data.x]

    def deepen(self, arena: TextArena) -> None:
        """Search until every point is broken or its room is used, or the arena's share is spent."""
        rooms = [arena.threat.room(text) for text in arena.points.data.x]
        deepest, rounds = max(rooms, default=0), 0
        while arena.share.cut is None:
            opened = [
                (i, state)
                for i, beam in enumerate(self._beams)
                if arena.stands(i)
                for state in beam
                if state.cost < rooms[i]
            ]
            if not opened:
                return
            self._expand(arena, opened, rooms)
            rounds += 1
            arena.share.progress(min(0.99, rounds / max(1, deepest)))

    def _expand(self, arena: TextArena, opened: list[tuple[int, _State]], rooms: list[int]) -> None:
        """Change all open texts once, and keep the most promising of each point."""
        probes = [(i, state, probe) for i, state in opened for probe in self._moves.probes(state.text)]
        single = "synonym" if arena.threat.kind == "words" else "deletion"
        asked = [Candidate(i, probe.text, (*state.kinds, single)) for i, state, probe in probes]
        drops = arena.submit(asked)
        found: dict[int, list[_State]] = {}
        by_state: dict[tuple[int, str], list[tuple[Probe, float]]] = {}
        for (i, state, probe), margin in zip(probes, drops, strict=True):
            by_state.setdefault((i, state.text), []).append((probe, float(margin)))
            if probe.end - probe.start == 1 and single == "deletion":
                found.setdefault(i, []).append(_after(state, probe.text, 1, margin, single))
        moved = []
        for i, state in opened:
            if not arena.stands(i):
                continue
            for probe in self._spots(state.text, by_state.get((i, state.text), [])):
                moved += [
                    (i, state, move)
                    for move in self._moves.moves(state.text, probe, self._random)
                    if state.cost + move.cost <= rooms[i]
                ]
        after = arena.submit([Candidate(i, move.text, (*s.kinds, move.kind)) for i, s, move in moved])
        for (i, state, move), margin in zip(moved, after, strict=True):
            found.setdefault(i, []).append(_after(state, move.text, move.cost, margin, move.kind))
        if arena.share.cut is not None:
            return
        for i in {i for i, _ in opened}:
            waiting = [state for state in self._beams[i] if state.cost >= rooms[i]]
            self._beams[i] = self._best(arena, i, waiting + found.get(i, []))

    def _spots(self, text: str, probed: list[tuple[Probe, float]]) -> list[Probe]:
        """The parts that count most, at most `_PER_WORD` of a word."""
        margins = np.array([margin for _, margin in probed])
        chosen: list[Probe] = []
        taken: dict[int, int] = {}
        for place in self._order(margins):
            probe = probed[place][0]
            word = text.count(" ", 0, probe.start + 1)
            if taken.get(word, 0) < _PER_WORD:
                taken[word] = taken.get(word, 0) + 1
                chosen.append(probe)
            if len(chosen) == self._effort.spots:
                break
        return chosen

    def _best(self, arena: TextArena, index: int, states: list[_State]) -> list[_State]:
        if not arena.stands(index):
            return []
        kept: dict[str, _State] = {}
        for place in self._order(np.array([state.margin for state in states])):
            state = states[place]
            if state.text not in kept and arena.admits(index, state.text):
                kept[state.text] = state
            if len(kept) == self._effort.beam:
                break
        return list(kept.values())

    def _order(self, margins: FloatArray) -> list[int]:
        """Smallest margin first; in random order where margins tie or say nothing, NaN last."""
        order = self._random.permutation(len(margins))
        if self._guided:
            order = order[np.argsort(margins[order], kind="stable")]
        return [int(place) for place in order]


def _after(state: _State, text: str, cost: int, margin: float, kind: str) -> _State:
    return _State(text, state.cost + cost, float(margin), (*state.kinds, kind))
