"""What an attacker may do to a text: so many edits, or so many words, and no more than a reader overlooks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.core.check import Similarity
from modelward.threats.evasion.text.measure import edits, trigrams

if TYPE_CHECKING:
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings
    from modelward.threats.evasion.text.words import Neighbours

Kind: TypeAlias = Literal["edits", "words"]

DEFAULT_EPS: Final = (1.0, 2.0, 5.0)
"""One slip of a finger, two, and as many as Boucher et al. 2021 (arXiv 2106.09898v2, figure 3) examine."""
_USUAL: Final = Similarity()
_SLACK: Final = 1e-9
_WORDS: Final = re.compile(r"\w+")


@final
@dataclass(frozen=True, slots=True)
class TextThreat:
    """One bound on changes.

    Attributes:
        kind: ``edits`` counts characters inserted, deleted, replaced, or swapped with the next; ``words``
            counts words replaced by others of much the same meaning.
        eps: so many, whole and at least 1; or a share of the text's characters, below 1.
        floors: how alike the texts, or the words, must stay.
    """

    kind: Kind
    eps: float
    floors: Similarity = _USUAL

    def room(self, text: str) -> int:
        """How many edits or words are worth trying on this text, >= 0; `admits` decides in the end."""
        if self.kind == "words":
            return int(self.eps)
        # An insertion also lengthens the text; the limit of similarity is for the longer of the two.
        floor = max(self.floors.levenshtein, _SLACK)
        return min(self._most(text), int((1 - floor) / floor * len(text) + _SLACK))

    def size(self, original: str, text: str) -> float:
        """How large an admissible change is, in the unit of eps."""
        if self.kind == "words":
            return float(words_replaced(original, text) or 0)
        found = edits(original, text, self._most(original))
        return float(found) if self.eps >= 1 else found / max(1, len(original))

    def _most(self, text: str) -> int:
        return int(self.eps) if self.eps >= 1 else int(self.eps * len(text) + _SLACK)

    def admits(self, original: str, text: str, neighbours: Neighbours | None = None) -> bool:
        """Whether a text is what an attacker may make of the original, checked by the definitions alone.

        Args:
            original: the unmodified text.
            text: the changed one.
            neighbours: which words mean much the same; for the kind ``words``.
        """
        if self.kind == "words":
            count = words_replaced(original, text)
            pairs = zip(_WORDS.findall(original), _WORDS.findall(text), strict=False)
            alike = neighbours is not None and all(
                old == new or neighbours.cosine(old, new) >= self.floors.cosine for old, new in pairs
            )
            return count is not None and count <= self.eps and alike
        floors, longer = self.floors, max(len(original), len(text))
        most = min(self._most(original), int((1 - floors.levenshtein) * longer + _SLACK))
        return edits(original, text, most) <= most and trigrams(original, text) >= floors.trigrams


def words_replaced(original: str, text: str) -> int | None:
    """How many words differ, where nothing but words does; null otherwise."""
    if _WORDS.split(original) != _WORDS.split(text):
        return None
    pairs = [*zip(_WORDS.findall(original), _WORDS.findall(text), strict=True)]
    return len([None for old, new in pairs if old != new])


def text_threats(settings: Settings, *, words: bool) -> tuple[TextThreat, ...]:
    """All bounds to examine: whole numbers ascending, then shares ascending, then words.

    Args:
        settings: the user's eps, without any `DEFAULT_EPS`, and what texts must keep.
        words: whether there are word vectors.
    """
    given = sorted(set(settings.eps)) or [*DEFAULT_EPS]
    whole = [eps for eps in given if eps >= 1]
    floors = settings.similarity
    found = [TextThreat("edits", eps, floors) for eps in (*whole, *(eps for eps in given if eps < 1))]
    if words:
        found += [TextThreat("words", eps, floors) for eps in whole]
    return tuple(found)


def text_scope(threat: TextThreat) -> dict[str, JSON]:
    """What evidence must agree on to speak of the same thing."""
    floors = threat.floors
    similarity: dict[str, JSON] = (
        {"levenshtein": floors.levenshtein, "trigrams": floors.trigrams}
        if threat.kind == "edits"
        else {"cosine": floors.cosine}
    )
    unit = threat.kind if threat.eps >= 1 else "of the characters"
    return {"norm": threat.kind, "eps": threat.eps, "unit": unit, "box": {"similarity": similarity}}
