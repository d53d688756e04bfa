"""Characters that look alike, that nobody sees, or that lie next to each other on a keyboard.

Sources: lookalikes are of the prototypes in Unicode Technical Standard 39, revision 30, section 4
(confusables.txt), chosen by script where usual fonts draw the two alike; invisible characters and
directional controls are those of Boucher, Shumailov, Anderson and Papernot 2021, "Bad Characters" (arXiv
2106.09898v2, section 4), of which UTS 39 calls the former default ignorable; keys are of the US layout.
"""

from __future__ import annotations

import unicodedata
from typing import Final


def _pairs(plain: str, alike: str) -> list[tuple[str, str]]:
    return list(zip(plain, alike, strict=True))


_ALIKE: Final = (
    # Cyrillic
    *_pairs(
        "aceopxysijhdqwlvb",
        "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0455\u0456\u0458\u04bb\u0501\u051b\u051d\u04cf\u0475\u042c",
    ),
    *_pairs(
        "ABCEHIJKMOPSTXYWQG",
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u04ae\u051c\u051a\u050c",
    ),
    *_pairs("3", "\u0417"),
    # Greek
    *_pairs(
        "ABEZHIKMNOPTXY",
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5",
    ),
    *_pairs("oviapujk", "\u03bf\u03bd\u03b9\u03b1\u03c1\u03c5\u03f3\u03ba"),
    # Armenian
    *_pairs("ounhgqSOLU", "\u0585\u057d\u0578\u0570\u0581\u0566\u054f\u0555\u053c\u054d"),
    # Cherokee
    *_pairs(
        "DRTWMHGZLPVSKCEAJ4",
        "\u13a0\u13a1\u13a2\u13b3\u13b7\u13bb\u13c0\u13c3\u13de\u13e2\u13d9\u13da\u13e6\u13df\u13ac\u13aa\u13ab\u13ce",
    ),
    # Latin letters and signs that are others
    *_pairs("iaglzwvoscum", "\u0131\u0251\u0261\u01c0\u1d22\u1d21\u1d20\u1d0f\ua731\u1d04\u1d1c\u1d0d"),
    *_pairs("!,-/:'", "\u01c3\u201a\u2010\u2215\u2236\u2019"),
    *_pairs("0", "\u3007"),
)

LOOKALIKES: Final[dict[str, tuple[str, ...]]] = {
    plain: tuple(other for key, other in _ALIKE if key == plain) for plain, _ in _ALIKE
}
"""ASCII character to others that look like it, none of which NFKC would turn into it."""

PROTOTYPE: Final[dict[str, str]] = {other: plain for plain, other in _ALIKE}
"""The way back."""

INVISIBLE: Final = (
    "\u200b",  # zero width space
    "\u200c",  # zero width non-joiner
    "\u200d",  # zero width joiner
    "\u2060",  # word joiner
    "\ufeff",  # zero width no-break space
    "\u00ad",  # soft hyphen
    "\u034f",  # combining grapheme joiner
    "\ufe0f",  # variation selector 16
    "\U000e0100",  # variation selector 17
    "\U000e0061",  # tag latin small letter a
    "\u180e",  # Mongolian vowel separator
    "\u3164",  # Hangul filler
)
"""What is drawn as nothing, or nearly."""

MARKS: Final = ("\u200e", "\u200f", "\u061c")
"""Directional marks: left-to-right, right-to-left, Arabic letter."""
LRE, RLE, PDF, LRO, RLO = "\u202a", "\u202b", "\u202c", "\u202d", "\u202e"
LRI, RLI, FSI, PDI = "\u2066", "\u2067", "\u2068", "\u2069"
CONTROLS: Final = frozenset((*MARKS, LRE, RLE, PDF, LRO, RLO, LRI, RLI, FSI, PDI))
"""Directional formatting characters (Unicode Standard Annex 9, revision 48, section 2)."""

SPACES: Final = ("\u00a0", "\u2009", "\t")
"""What a reader takes for a space."""

LEET: Final = dict(_pairs("aeiostlbgz", "4310571892"))
"""Letters as digits."""

_ROWS: Final = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    place = {key: (row, column) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    # Each row of keys is set off by half a key: the key below is at the same column or the one before.
    near = {(0, -1), (0, 1), (1, 0), (1, -1), (-1, 0), (-1, 1)}
    return {
        key: "".join(other for other, (r, c) in place.items() if (r - row, c - column) in near)
        for key, (row, column) in place.items()
    }


KEYBOARD: Final[dict[str, str]] = _neighbours()
"""Key to the keys around it."""


def ignorable(char: str) -> bool:
    """Whether a character is drawn as nothing: what strips of invisible characters take away.

    These are format characters (category Cf) but for directional controls, variation selectors, tags, fillers
    and the control characters that are no white space.
    """
    code = ord(char)
    if char in CONTROLS:
        return False
    if char in INVISIBLE or 0xFE00 <= code <= 0xFE0F or 0xE0000 <= code <= 0xE0FFF:
        return True
    if char in {"\u115f", "\u1160", "\uffa0"}:
        return True
    kind = unicodedata.category(char)
    return kind == "Cf" or (kind == "Cc" and not char.isspace())
