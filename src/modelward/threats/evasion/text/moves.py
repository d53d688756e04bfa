"""Single changes of a text: where they count, and what they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, final

from modelward.threats.evasion.text.characters import (
    INVISIBLE,
    KEYBOARD,
    LEET,
    LOOKALIKES,
    MARKS,
    PDF,
    RLO,
    SPACES,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

_WORD: Final = re.compile(r"\S+")
_REORDERING: Final = 3
"""Edits of a hidden swap: two controls and the swap."""


class Probe(NamedTuple):
    """A text without one part: how much the model's answer moves says how much the part counts.

    Attributes:
        text: without the part.
        start: of the part.
        end: likewise, exclusive.
    """

    text: str
    start: int
    end: int


class Move(NamedTuple):
    """A changed text.

    Attributes:
        text: the whole text.
        cost: edits or words that it took.
        kind: of the change, for the report.
    """

    text: str
    cost: int
    kind: str


class Moves(Protocol):
    """A way of changing texts."""

    def probes(self, text: str) -> list[Probe]:
        """The text without each of its parts."""
        ...

    def moves(self, text: str, probe: Probe, random: np.random.Generator) -> list[Move]:
        """Changes at one part."""
        ...


Maker: TypeAlias = "Callable[[str, int], Iterator[str]]"


def _deleted(text: str, i: int) -> Iterator[str]:
    yield text[:i] + text[i + 1 :]


def _swapped(text: str, i: int) -> Iterator[str]:
    if text[i] != text[i + 1 : i + 2] != "":
        yield text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _doubled(text: str, i: int) -> Iterator[str]:
    yield text[: i + 1] + text[i:]


def _mistyped(text: str, i: int) -> Iterator[str]:
    char = text[i]
    for key in KEYBOARD.get(char.lower(), ""):
        yield text[:i] + (key.upper() if char.isupper() else key) + text[i + 1 :]


def _alike(text: str, i: int) -> Iterator[str]:
    for other in LOOKALIKES.get(text[i], ()):
        yield text[:i] + other + text[i + 1 :]


def _costumed(text: str, i: int) -> Iterator[str]:
    char, code = text[i], ord(text[i])
    if 0x21 <= code <= 0x7E:
        yield text[:i] + chr(code - 0x21 + 0xFF01) + text[i + 1 :]  # full width
    if char.isascii() and char.isalpha():
        base = 0x1D5BA - ord("a") if char.islower() else 0x1D5A0 - ord("A")
        yield text[:i] + chr(code + base) + text[i + 1 :]  # mathematical sans-serif


def _hidden(text: str, i: int) -> Iterator[str]:
    for char in INVISIBLE:
        yield text[:i] + char + text[i:]


def _marked(text: str, i: int) -> Iterator[str]:
    for char in MARKS:
        yield text[:i] + char + text[i:]


def _reordered(text: str, i: int) -> Iterator[str]:
    if text[i] != text[i + 1 : i + 2] != "":
        yield f"{text[:i]}{RLO}{text[i + 1]}{text[i]}{PDF}{text[i + 2 :]}"


def _recased(text: str, i: int) -> Iterator[str]:
    if len(other := text[i].swapcase()) == 1 and other != text[i]:
        yield text[:i] + other + text[i + 1 :]


def _leet(text: str, i: int) -> Iterator[str]:
    if digit := LEET.get(text[i].lower()):
        yield text[:i] + digit + text[i + 1 :]


def _spaced(text: str, i: int) -> Iterator[str]:
    if text[i] == " ":
        for space in SPACES:
            yield text[:i] + space + text[i + 1 :]
    elif i and text[i - 1] != " ":
        yield f"{text[:i]} {text[i:]}"


MAKERS: Final[dict[str, tuple[Maker, int]]] = {
    "deletion": (_deleted, 1),
    "swap": (_swapped, 1),
    "doubled letter": (_doubled, 1),
    "neighbouring key": (_mistyped, 1),
    "lookalike": (_alike, 1),
    "compatibility character": (_costumed, 1),
    "invisible character": (_hidden, 1),
    "directional mark": (_marked, 1),
    "directional reordering": (_reordered, _REORDERING),
    "case": (_recased, 1),
    "digit for letter": (_leet, 1),
    "white space": (_spaced, 1),
}
"""Kind of edit to what makes it at one position, and how many edits it takes."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterMoves:
    """Edits of characters.

    Attributes:
        variety: at most so many variants of each kind at one position.
        places: at most so many parts of a text are probed; longer texts are probed by words, then by runs of
            words.
        kinds: of `MAKERS`.
    """

    variety: int
    places: int
    kinds: tuple[str, ...] = tuple(MAKERS)

    def probes(self, text: str) -> list[Probe]:
        """The text without each character, word or run of words."""
        spans = [(i, i + 1) for i in range(len(text))]
        if len(spans) > self.places:
            spans = _joined([match.span() for match in _WORD.finditer(text)], self.places)
        return [Probe(text[:start] + text[end:], start, end) for start, end in spans]

    def moves(self, text: str, probe: Probe, random: np.random.Generator) -> list[Move]:
        """Every kind of edit at the character, or at two random ones of a longer part."""
        positions: Sequence[int] = range(probe.start, probe.end)
        if len(positions) > 2:
            positions = sorted(random.choice(positions, 2, replace=False).tolist())
        found = []
        for i in positions:
            for kind in self.kinds:
                make, cost = MAKERS[kind]
                made = list(make(text, i))
                if len(made) > self.variety:
                    made = [made[j] for j in sorted(random.choice(len(made), self.variety, replace=False))]
                found += [Move(new, cost, kind) for new in made]
        return found


def _joined(spans: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Neighbouring spans joined, so that at most so many are left."""
    step = -(-len(spans) // most) or 1
    groups = [spans[i : i + step] for i in range(0, len(spans), step)]
    return [(group[0][0], group[-1][1]) for group in groups]
