"""Words by others that mean much the same, by the angle between their vectors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.text.moves import Move, Probe

if TYPE_CHECKING:
    from modelward.core.data import WordVectors

_WORD: Final = re.compile(r"\w+")


@final
class Neighbours:
    """Nearest words, found when first asked for.

    Args:
        vectors: the user's.
        least: smallest cosine of a neighbour.
    """

    def __init__(self, vectors: WordVectors, least: float) -> None:
        self._vectors = vectors
        self._least = least
        self._place = {word: i for i, word in enumerate(vectors.words)}
        self._found: dict[str, tuple[str, ...]] = {}

    def cosine(self, left: str, right: str) -> float:
        """Of two words in any case; -1 where one has no vector."""
        places = [self._place.get(word, self._place.get(word.lower())) for word in (left, right)]
        if places[0] is None or places[1] is None:
            return -1.0
        vectors = self._vectors.vectors
        return float(vectors[places[0]] @ vectors[places[1]])

    def of(self, word: str, most: int) -> tuple[str, ...]:
        """The nearest other words, nearest first, in the case of the word."""
        if word not in self._found:
            place = self._place.get(word, self._place.get(word.lower()))
            self._found[word] = () if place is None else tuple(self._near(word, place))
        return self._found[word][:most]

    def _near(self, word: str, place: int) -> list[str]:
        cosines = self._vectors.vectors @ self._vectors.vectors[place]
        order = np.argsort(-cosines, kind="stable")
        near = [self._vectors.words[i] for i in order[: int((cosines >= self._least).sum())]]
        cased = [_cased(other, word) for other in near if _WORD.fullmatch(other)]
        # The case of a word can turn one into another that has a vector of its own.
        return [
            other
            for other in dict.fromkeys(cased)
            if other != word and self.cosine(word, other) >= self._least
        ]


@final
class WordMoves:
    """Replaces one word at a time.

    Args:
        neighbours: what by.
        variety: at most so many for one word.
        places: at most so many words are probed.
    """

    def __init__(self, neighbours: Neighbours, *, variety: int, places: int) -> None:
        self._neighbours, self._variety, self._places = neighbours, variety, places

    def probes(self, text: str) -> list[Probe]:
        """The text without each word that has neighbours."""
        found = [match for match in _WORD.finditer(text) if self._neighbours.of(match[0], 1)]
        step = -(-len(found) // self._places) or 1
        return [Probe(text[: m.start()] + text[m.end() :], m.start(), m.end()) for m in found[::step]]

    def moves(self, text: str, probe: Probe, random: np.random.Generator) -> list[Move]:
        """The text with the word's neighbours in its place."""
        del random  # all are tried
        word = text[probe.start : probe.end]
        return [
            Move(text[: probe.start] + other + text[probe.end :], 1, "synonym")
            for other in self._neighbours.of(word, self._variety)
        ]


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
