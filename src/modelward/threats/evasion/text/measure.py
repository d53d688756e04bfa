"""How far two texts are apart, and where they differ."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Final

_GRAM: Final = 3


def edits(left: str, right: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other.

    The optimal string alignment distance over code points (Damerau 1964, CACM 7(3); no character takes part
    in two edits), computed within a band (Ukkonen 1985, "Algorithms for approximate string matching").

    Args:
        left: a text.
        right: another.
        most: distances above it are not told apart, >= 0.

    Returns:
        The distance, or most + 1 where it is larger.
    """
    _, left, right = _middle(left, right)
    if abs(len(left) - len(right)) > most:
        return most + 1
    beyond = most + 1
    before: list[int] = []
    last = [j if j <= most else beyond for j in range(len(right) + 1)]
    for i, char in enumerate(left, 1):
        row = [beyond] * (len(right) + 1)
        if i <= most:
            row[0] = i
        for j in range(max(1, i - most), min(len(right), i + most) + 1):
            other = right[j - 1]
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != other))
            if i > 1 and j > 1 and char == right[j - 2] and other == left[i - 2]:
                best = min(best, before[j - 2] + 1)
            row[j] = min(best, beyond)
        before, last = last, row
    return last[-1]


def trigrams(left: str, right: str) -> float:
    """Share of character trigrams that two texts have in common: Dice's coefficient of their multisets.

    Source: Dice 1945, Ecology 26(3); the ends of each text count with two blanks.

    Returns:
        In [0, 1]; 1 for equal texts.
    """
    ours, theirs = _grams(left), _grams(right)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def changed(original: str, text: str) -> list[tuple[int, int]]:
    """Where a text differs from its original: spans [start, end) of it, empty where something is gone."""
    start, ours, theirs = _middle(original, text)
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    return [(start + j, start + end) for tag, _, _, j, end in matcher.get_opcodes() if tag != "equal"]


def _middle(left: str, right: str) -> tuple[int, str, str]:
    """Both without the start and then the end that they share, and how long that start is."""
    start, most = 0, min(len(left), len(right))
    while start < most and left[start] == right[start]:
        start += 1
    end = 0
    while end < most - start and left[-1 - end] == right[-1 - end]:
        end += 1
    return start, left[start : len(left) - end], right[start : len(right) - end]


def _grams(text: str) -> Counter[str]:
    padded = f"\0\0{text}\0\0"
    return Counter(padded[i : i + _GRAM] for i in range(len(padded) - _GRAM + 1))
