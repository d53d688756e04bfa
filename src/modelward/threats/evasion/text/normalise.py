"""Taking back what a reader does not see: the cheapest defence of a model that reads texts.

Every function is pure, keeps printable ASCII but where it says otherwise, and gives the same when applied
again. All but `compatible` never lengthen a text.

    normalised(chr(0x0421) + "all" + chr(0x200B) + " now")  # "Call now"
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from modelward.threats.evasion.text.characters import (
    CONTROLS,
    FSI,
    LRE,
    LRI,
    LRO,
    PDF,
    PDI,
    PROTOTYPE,
    RLE,
    RLI,
    RLO,
    ignorable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WORD: Final = re.compile(r"\w+")
_RUN: Final = re.compile(r"([^\W\d_])\1{2,}")
_OPENS: Final = {LRE: PDF, RLE: PDF, LRO: PDF, RLO: PDF, LRI: PDI, RLI: PDI, FSI: PDI}
_DEEPEST: Final = 125  # UAX 9, section 3.3.2: max_depth
_PASSES: Final = 8


def compatible(text: str) -> str:
    """Characters that are another in a costume (full width, mathematical, ligatures) become that other: NFKC.

    Unicode Standard Annex 15, section 1.2. A text can become up to 18 times as long.
    """
    return unicodedata.normalize("NFKC", text)


def visible(text: str) -> str:
    """Characters that are drawn as nothing go."""
    return text if text.isascii() and text.isprintable() else "".join(c for c in text if not ignorable(c))


def displayed(text: str) -> str:
    """The order that a reader sees, without directional controls.

    What stands in a right-to-left override is shown from its end (UAX 9, rules X1 to X8 and L2); an isolate
    or embedding inside it is moved as one piece. Text of right-to-left scripts is left as it is stored.
    """
    if not CONTROLS.intersection(text):
        return text
    # Each level: its closing control, whether it is reversed, and its pieces so far.
    levels: list[tuple[str, bool, list[str]]] = [("", False, [])]
    for char in text:
        if char in _OPENS and len(levels) < _DEEPEST:
            levels.append((_OPENS[char], char == RLO, []))
        elif char == PDF and levels[-1][0] == PDF:
            _close(levels)
        elif char == PDI and any(level[0] == PDI for level in levels):
            while _close(levels) != PDI:
                pass  # an isolate ends whatever was opened in it
        elif char not in CONTROLS:
            levels[-1][2].append(char)
    while len(levels) > 1:
        _close(levels)
    return "".join(levels[0][2])


def _close(levels: list[tuple[str, bool, list[str]]]) -> str:
    """End the innermost level, and give its closing control."""
    closing, backwards, pieces = levels.pop()
    levels[-1][2].append("".join(reversed(pieces) if backwards else pieces))
    return closing


def folded(text: str) -> str:
    """Lookalikes of ASCII characters become these, in words that are or look like ASCII.

    The skeleton of UTS 39, section 4, kept to words that hold an ASCII letter or digit, or nothing but
    lookalikes: a word of another script stays as it is, unless all of its letters have a Latin double.
    """
    if text.isascii():
        return text
    signs = "".join(PROTOTYPE[c] if c in PROTOTYPE and not PROTOTYPE[c].isalnum() else c for c in text)
    return _WORD.sub(lambda match: _folded_word(match[0]), signs)


def _folded_word(word: str) -> str:
    mixed = any(c.isascii() and c.isalnum() for c in word)
    if mixed or all(c in PROTOTYPE or c == "_" for c in word):
        return "".join(PROTOTYPE.get(c, c) for c in word)
    return word


def lowered(text: str) -> str:
    """Small letters; ASCII capitals change."""
    return "".join(lower if len(lower := c.lower()) == 1 else c for c in text)


def unrepeated(text: str) -> str:
    """A letter three times or more in a row stands twice: the spelling of typing with force."""
    return _RUN.sub(r"\1\1", text)


def spaced(text: str) -> str:
    """Each run of white space is one space, and none stands at the ends."""
    return " ".join(text.split())


DEFENCES: Final[dict[str, Callable[[str], str]]] = {
    "compatibility characters (NFKC)": compatible,
    "invisible characters stripped": visible,
    "directional controls resolved": displayed,
    "lookalikes folded": folded,
    "case ignored": lowered,
    "repeated letters shortened": unrepeated,
    "white space collapsed": spaced,
}
"""What can be taken back, one by one."""

HARMLESS: Final = tuple(list(DEFENCES)[:4])
"""Those that change nothing in printable ASCII."""


def normalised(text: str, defences: Iterable[str] = HARMLESS) -> str:
    """A text after several defences, repeated until nothing changes: one can uncover work for another.

    Args:
        text: any; lone surrogates stay.
        defences: keys of `DEFENCES`.

    Raises:
        KeyError: there is no such defence.
    """
    steps = [DEFENCES[name] for name in defences]
    for _ in range(_PASSES):
        before = text
        for step in steps:
            text = step(text)
        if text == before:
            break
    return text
