"""The check `evasion.text`: edits and words that turn a text classifier's answer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, final

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.threats.asking import label_trouble
from modelward.threats.evasion.arena import examine, opened
from modelward.threats.evasion.attack import examined, numbers
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.text.arena import TextArena
from modelward.threats.evasion.text.moves import CharacterMoves
from modelward.threats.evasion.text.search import Effort, Hunt
from modelward.threats.evasion.text.threat import text_scope, text_threats
from modelward.threats.evasion.text.undo import kept, removed
from modelward.threats.evasion.text.words import Neighbours, WordMoves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.text.moves import Moves
    from modelward.threats.evasion.text.threat import TextThreat

_SETS: Final = {
    "quick": (Effort(beam=1, spots=3), 1, 60),
    "standard": (Effort(beam=2, spots=8), 2, 200),
    "thorough": (Effort(beam=5, spots=24), 12, 800),
}
"""Preset to effort, variants of each kind at one place, and places probed."""
_SYNONYMS: Final = {"quick": 5, "standard": 15, "thorough": 50}


@final
class TextCheck:
    """Character edits, and words by others of much the same meaning where there are vectors."""

    id = "evasion.text"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be attacked, or null."""
        model, data = opened(subjects)
        if not data.textual:
            return f"{data.subject.name} holds numbers, and this check edits texts"
        if len(data) == 0:
            return f"{data.subject.name} has no rows"
        if any(eps >= 1 and eps != int(eps) for eps in self._settings.eps):
            return "an eps of texts is a whole number of edits, or a share of the characters below 1"
        return label_trouble(model, data)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Attack every point under every bound; one evidence each."""
        _, data = opened(subjects)
        planned = text_threats(self._settings, words=data.vectors is not None)
        points = examine(subjects, self._settings, budget)
        if points is None:
            yield from (self._unexamined(threat, subjects, budget, seed) for threat in planned)
            return
        neighbours = (
            None if data.vectors is None else Neighbours(data.vectors, self._settings.similarity.cosine)
        )
        hunts: dict[str, Hunt] = {}
        arenas: list[TextArena] = []
        clean: dict[str, JSON] | None = None
        for part, threat in enumerate(planned):
            share = Share(budget, part=part, of=len(planned))
            arena = TextArena(points, threat, share=share, neighbours=neighbours)
            inherited = sum(arena.adopt(other) for other in arenas if other.threat.kind == threat.kind)
            if threat.kind not in hunts:
                hunts[threat.kind] = self._hunt(points, neighbours if threat.kind == "words" else None, seed)
            hunts[threat.kind].deepen(arena)
            arenas.append(arena)
            clean = clean or kept(arena)
            share.progress(1.0)
            yield self._evidence(arena, subjects, (inherited, clean), budget=budget, seed=seed)
            if budget.cut is not None:
                return

    def _hunt(self, points: Points, neighbours: Neighbours | None, seed: int) -> Hunt:
        effort, variety, places = _SETS[self._settings.preset]
        moves: Moves = CharacterMoves(variety=variety, places=places)
        if neighbours is not None:
            moves = WordMoves(neighbours, variety=_SYNONYMS[self._settings.preset], places=places)
        kind = "edits" if neighbours is None else "words"
        guided = points.model.outputs.kind != "labels"
        return Hunt(points, moves, effort, seed=child_seed(seed, kind), guided=guided)

    def _evidence(
        self,
        arena: TextArena,
        subjects: Subjects,
        found: tuple[int, dict[str, JSON] | None],
        *,
        budget: Meter,
        seed: int,
    ) -> Evidence:
        points, threat, broken = arena.points, arena.threat, arena.broken
        rows = points.data.rows
        witnesses = [arena.witnesses[i] for i in broken]
        kinds = Counter(kind for witness in witnesses for kind in set(witness.kinds))
        guided = points.model.outputs.kind != "labels"
        effort, variety, places = _SETS[self._settings.preset]
        outcome: dict[str, JSON] = {
            **examined(points),
            "attacked": numbers(rows[points.correct & arena.tried]),
            "broken": numbers(rows[broken]),
            "sizes": [threat.size(points.data.x[i], w.text) for i, w in zip(broken, witnesses, strict=True)],
            "inherited": found[0],
            "kinds": dict(sorted(kinds.items())),
            "removed_by": removed(arena),
            "right_with": found[1],
        }
        return Evidence(
            check=self.id,
            version=self.version,
            parameters={
                **text_scope(threat),
                "limit": self._settings.limit,
                "preset": self._settings.preset,
                "beam": effort.beam,
                "spots": effort.spots,
                "variety": variety,
                "places": places,
                "guidance": "margin" if guided else "none: the model tells its decision only",
            },
            n=len(rows),
            seed=seed,
            outcome=outcome,
            unit="row number",
            cost=budget.lap(),
            subjects=subjects.digests(),
            attachments={"witnesses": subjects.attachments.put(arena.stored())} if witnesses else {},
            cut=arena.share.cut,
        )

    def _unexamined(self, threat: TextThreat, subjects: Subjects, budget: Meter, seed: int) -> Evidence:
        return Evidence(
            check=self.id,
            version=self.version,
            parameters={**text_scope(threat), "limit": self._settings.limit},
            n=0,
            seed=seed,
            outcome={"rows": [], "correct": []},
            unit="row number",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )
