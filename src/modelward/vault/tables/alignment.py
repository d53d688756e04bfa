"""Which rows of two tables are the same, from their digests alone, with memory that does not grow.

Equal beginnings and ends are set aside. In what is left, rows that occur once in both are anchors, and the
longest run of anchors that keep their order splits the tables (patience: Bram Cohen's method for texts). Of
long tables only rows whose digest ends in zero bits are looked at, ever fewer, so that the list of candidates
keeps its size; between two anchors the same is done again with all rows.

Longest increasing subsequence: Fredman (1975), "On computing the length of longest increasing subsequences".
"""

from __future__ import annotations

from bisect import bisect_left
from difflib import SequenceMatcher
from typing import IO, TYPE_CHECKING, Final, NamedTuple, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.uint64]
    Found = tuple[NDArray[np.uint64], NDArray[np.int64]]

WINDOW: Final = 1 << 17
"""Rows of each side held at a time, and the most candidates for anchors."""
WIDTH: Final = 16
"""Bytes of a digest that are compared."""

_SMALL: Final = 64
_DEPTH: Final = 24


class Gap(NamedTuple):
    """Rows ``old[a:b]`` have no equal among those that stand where ``new[c:d]`` stands, and the reverse."""

    a: int
    b: int
    c: int
    d: int


@final
class Digests:
    """Digests of rows in a file that is not kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.count = 0

    def append(self, digests: Sequence[bytes]) -> None:
        """Add digests of at least `WIDTH` bytes."""
        self._stream.seek(self.count * WIDTH)
        self._stream.write(b"".join(digest[:WIDTH] for digest in digests))
        self.count += len(digests)

    def read(self, start: int, stop: int) -> NDArray[np.uint64]:
        """(stop - start, 2) of the rows asked for."""
        self._stream.seek(start * WIDTH)
        data = self._stream.read((stop - start) * WIDTH)
        return np.frombuffer(data, np.dtype("<u8")).reshape(-1, 2)


def gaps(old: Digests, new: Digests) -> Iterator[Gap]:
    """What differs, in order; two gaps never touch.

    Args:
        old: digests of the rows before.
        new: digests of the rows after.
    """
    waiting: Gap | None = None
    for gap in _split(old, new, Gap(0, old.count, 0, new.count), depth=0):
        if waiting is not None and waiting.b == gap.a and waiting.d == gap.c:
            waiting = Gap(waiting.a, gap.b, waiting.c, gap.d)
            continue
        if waiting is not None:
            yield waiting
        waiting = gap
    if waiting is not None:
        yield waiting


def _split(old: Digests, new: Digests, gap: Gap, depth: int) -> Iterator[Gap]:
    """Of any length: anchors among a sample, or window by window."""
    gap = _trim(old, new, gap)
    a, b, c, d = gap
    if a == b or c == d:
        if b - a + d - c:
            yield gap
        return
    if max(b - a, d - c) <= WINDOW:
        yield from _local(old.read(a, b), new.read(c, d), (a, c), depth)
        return
    anchors = _ordered(*_sample(old, new, gap)) if depth < _DEPTH else []
    if anchors:
        for part in _between(anchors, gap):
            yield from _split(old, new, part, depth + 1)
        return
    while a < b or c < d:
        part = Gap(a, min(b, a + WINDOW), c, min(d, c + WINDOW))
        yield from _local(old.read(part.a, part.b), new.read(part.c, part.d), (part.a, part.c), depth)
        a, c = part.b, part.d


def _local(before: Rows, after: Rows, origin: tuple[int, int], depth: int) -> Iterator[Gap]:
    """Of at most a window, in memory."""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    before, after = before[start : len(before) - end], after[start : len(after) - end]
    a, c = origin[0] + start, origin[1] + start
    gap = Gap(a, a + len(before), c, c + len(after))
    if not len(before) or not len(after):
        if len(before) + len(after):
            yield gap
        return
    for span in (1, 4, 32) if depth < _DEPTH else ():  # rows that repeat are told apart by those that follow
        anchors = [
            (a + i, c + j)
            for i, j in _ordered(_unique(_shingles(before, span)), _unique(_shingles(after, span)))
            if before[i, 1] == after[j, 1] and before[i, 0] == after[j, 0]
        ]
        if anchors:
            for part in _between(anchors, gap):
                pair = before[part.a - a : part.b - a], after[part.c - c : part.d - c]
                yield from _local(*pair, (part.a, part.c), depth + 1)
            return
    if len(before) <= _SMALL and len(after) <= _SMALL:
        words = [[tuple(row) for row in side.tolist()] for side in (before, after)]
        codes = SequenceMatcher(None, words[0], words[1], autojunk=False)
        for tag, i, j, k, m in codes.get_opcodes():
            if tag != "equal":
                yield Gap(a + i, a + j, c + k, c + m)
    else:
        yield from _in_place(before, after, gap)


def _in_place(before: Rows, after: Rows, gap: Gap) -> Iterator[Gap]:
    """Where nothing tells rows apart: those that are equal in the same place are not changed."""
    size = min(len(before), len(after))
    different = (before[:size] != after[:size]).any(axis=1)
    edges = np.flatnonzero(np.diff(different, prepend=False, append=False)).tolist()
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield Gap(gap.a + start, gap.a + stop, gap.c + start, gap.c + stop)
    if len(before) != len(after):
        yield Gap(gap.a + size, gap.b, gap.c + size, gap.d)


def _trim(old: Digests, new: Digests, gap: Gap) -> Gap:
    """Without the rows at both ends that are equal."""
    a, b, c, d = gap
    while size := min(b - a, d - c, WINDOW):
        same = _common(old.read(a, a + size), new.read(c, c + size))
        a, c = a + same, c + same
        if same < size:
            break
    while size := min(b - a, d - c, WINDOW):
        same = _common(old.read(b - size, b)[::-1], new.read(d - size, d)[::-1])
        b, d = b - same, d - same
        if same < size:
            break
    return Gap(a, b, c, d)


def _common(before: Rows, after: Rows) -> int:
    """How many rows at the beginning are equal."""
    size = min(len(before), len(after))
    different = (before[:size] != after[:size]).any(axis=1)
    return int(different.argmax()) if different.any() else size


def _sample(old: Digests, new: Digests, gap: Gap) -> tuple[Found, Found]:
    """Fingerprints and places of rows that occur once, among those whose digests end alike."""
    bits, sides = 0, [_Kept(old, gap.a, gap.b), _Kept(new, gap.c, gap.d)]
    for side in sides:
        bits = side.fill(bits)
    return _unique_of(*sides[0].ending(bits)), _unique_of(*sides[1].ending(bits))


@final
class _Kept:
    """Candidates of one side: fingerprint and place."""

    def __init__(self, digests: Digests, start: int, stop: int) -> None:
        self._digests, self._start, self._stop = digests, start, stop
        self._marks = np.zeros(0, np.uint64)
        self._places = np.zeros(0, np.int64)

    def fill(self, bits: int) -> int:
        """Read all rows; more trailing bits must be zero whenever there are too many candidates."""
        for start in range(self._start, self._stop, WINDOW):
            marks = self._digests.read(start, min(self._stop, start + WINDOW))[:, 0]
            places = np.arange(start, start + len(marks))
            chosen = _zeros(marks, bits)
            self._marks = np.concatenate([self._marks, marks[chosen]])
            self._places = np.concatenate([self._places, places[chosen]])
            while len(self._marks) > WINDOW and bits < 63:
                bits += 1
                self._marks, self._places = self.ending(bits)
        return bits

    def ending(self, bits: int) -> Found:
        """Those whose fingerprints end in so many zero bits."""
        chosen = _zeros(self._marks, bits)
        return self._marks[chosen], self._places[chosen]


def _zeros(marks: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    ending: NDArray[np.bool_] = (marks & np.uint64((1 << bits) - 1)) == 0
    return ending


def _shingles(rows: Rows, span: int) -> NDArray[np.uint64]:
    """One fingerprint of each row and the rows that follow it, `span` in all."""
    marks = rows[:, 0]
    if span == 1 or len(marks) < span:
        return marks[: len(marks) if span == 1 else 0]
    count, mixed = len(marks) - span + 1, np.zeros(len(marks) - span + 1, np.uint64)
    for shift in range(span):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + marks[shift : shift + count]
    return mixed


def _unique(marks: NDArray[np.uint64]) -> Found:
    return _unique_of(marks, np.arange(len(marks)))


def _unique_of(marks: NDArray[np.uint64], places: NDArray[np.int64]) -> Found:
    """Those that occur once, sorted by fingerprint."""
    values, first, counts = np.unique(marks, return_index=True, return_counts=True)
    return values[counts == 1], places[first[counts == 1]]


def _ordered(old: Found, new: Found) -> list[tuple[int, int]]:
    """The longest run of common fingerprints whose places grow on both sides."""
    _, mine, theirs = np.intersect1d(old[0], new[0], assume_unique=True, return_indices=True)
    left, right = old[1][mine], new[1][theirs]
    order = np.argsort(left)
    left, right = left[order], right[order]
    if not (np.diff(right) > 0).all():
        chosen = _increasing(right.tolist())
        left, right = left[chosen], right[chosen]
    return list(zip(left.tolist(), right.tolist(), strict=True))


def _increasing(values: list[int]) -> list[int]:
    """Places of a longest increasing subsequence of distinct values."""
    tops: list[int] = []
    tails: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values):
        at = bisect_left(tops, value)
        before.append(tails[at - 1] if at else -1)
        if at == len(tops):
            tops.append(value)
            tails.append(place)
        else:
            tops[at], tails[at] = value, place
    chosen: list[int] = []
    place = tails[-1] if tails else -1
    while place >= 0:
        chosen.append(place)
        place = before[place]
    return chosen[::-1]


def _between(anchors: list[tuple[int, int]], gap: Gap) -> Iterator[Gap]:
    """What lies between anchors that do not follow one another."""
    a, c = gap.a, gap.c
    for i, j in [*anchors, (gap.b, gap.d)]:
        if i > a or j > c:
            yield Gap(a, i, c, j)
        a, c = i + 1, j + 1
