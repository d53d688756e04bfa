"""The list of unusual texts, each made from a few valid ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.threats.robustness.cases import HUGE_BYTES, HUGE_ROWS, allow, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.threats.robustness.cases import Array, Case

LONG: Final = 100_000
"""Characters of the longest text and of the longest word."""
_MARKS: Final = 1_000
_BYTES_PER_CHARACTER: Final = 4
_ODD: Final[dict[str, Callable[[str], str]]] = {
    "empty texts": lambda _: "",
    "white space alone": lambda _: " \t\n\u00a0\u3000",
    "punctuation alone": lambda _: "?!... --- ;;; ()",
    "one letter": lambda _: "a",
    f"texts of {LONG:,} characters": lambda text: (f"{text} " * (LONG // (len(text) + 1) + 1))[:LONG],
    f"one word of {LONG:,} letters": lambda _: "a" * LONG,
    "zero characters inside": lambda text: "\0".join(text) + "\0",
    "control characters": lambda text: text + "".join(map(chr, (*range(1, 32), 127, *range(128, 160)))),
    "every kind of line end": lambda text: text.replace(" ", "\r\n\v\f\x1c\x85\u2028\u2029"),
    "a lone surrogate": lambda text: text + " \ud800",
    "the last code points": lambda text: text + " \ufffe\uffff\ue000\U000f0000\U0010ffff",
    f"{_MARKS:,} marks on one letter": lambda text: text + "\u0301" * _MARKS,
    "directional overrides": lambda text: f"\u202e{text}\u202c\u2066\u200f\u2069",
    "pictures joined to one": lambda text: (
        f"{text} \U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd\ufe0f"
    ),
    "markup and placeholders": lambda text: f"<b>{text}</b> %s%n {{0}} ${{x}} \\x41 &amp; ' -- ;",
}


def text_cases(x: Array) -> Iterator[Case]:
    """All cases, those that need most memory last.

    An odd text is a text: it may be refused or answered, soundly in both cases. What holds no texts, or not
    one text a sample, is to be refused.

    Args:
        x: (n,) objects that are all str, n >= 1; never changed.
    """
    n = len(x)
    for name, change in _ODD.items():
        yield allow(name, "text", partial(_changed, x, change), n)
    yield allow("texts as UTF-8 bytes", "type", lambda: _encoded(x), n)
    yield refuse("numbers", "type", lambda: np.arange(n, dtype=np.float64), n)
    yield refuse("a table of numbers", "type", lambda: np.zeros((n, 4)), n)
    yield refuse("two texts a sample", "shape", lambda: np.stack([x, x], axis=1), n)
    yield refuse("one axis too many", "shape", lambda: x[:, None], n)
    yield allow("no texts", "size", lambda: x[:0], 0)
    longest = max(1, *(len(str(text)) for text in x))
    huge = max(1, min(HUGE_ROWS, HUGE_BYTES // 8 // (_BYTES_PER_CHARACTER * longest)))
    yield allow(f"{huge} texts", "size", lambda: x[np.arange(huge) % n], huge)


def _changed(x: Array, change: Callable[[str], str]) -> Array:
    made = np.empty(len(x), dtype=object)
    made[:] = [change(str(text)) for text in x]
    return made


def _encoded(x: Array) -> Array:
    return np.array([str(text).encode("utf-8", "replace") or b" " for text in x], dtype=np.bytes_)
