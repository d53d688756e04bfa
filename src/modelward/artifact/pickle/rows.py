"""Rows that repeat: once two were walked without a finding, others of their shape are matched, not walked.

A list of a hundred thousand dates is one call, written again and again with other numbers. Two rows have the
same shape when they differ in constants only, each of the same kind. What the machine finds in a row depends
on its shape alone, as long as no constant of it was decoded; the row that was walked then stands for all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias, final

import msgspec

from modelward.artifact.pickle.shapes import Shapes, sized
from modelward.artifact.pickle.values import Map, Obj, children

if TYPE_CHECKING:
    from modelward.artifact.pickle.opcodes import State
    from modelward.artifact.pickle.values import Buffer, Value

    Found: TypeAlias = "tuple[int, int, list[Value], list[Value]]"
    """End, memo entries made, values held, values taken from the stack."""

LEAST: Final = 200
"""Bytes below which a stretch is not worth a jump."""
MOST: Final = 1 << 16
"""Bytes of one stretch, which bounds what it costs to make its values after all."""
WIDEST: Final = 400
"""Bytes of a row that is still looked at."""
SHAPES: Final = 32
"""Most shapes that one stream may make expressions of."""
TEXT: Final = 64
"""Bytes of the longest text in a row."""
PARTS: Final = 200
"""Most values of a row that are looked at."""
SHORT: Final = 16
LONG: Final = 1 << 12
"""Least and most bytes walked after a try in vain."""

_CONSTANTS: Final[dict[int, tuple[int, str]]] = {
    0x4B: (2, r"(?:K.|M..|J.{4})"), 0x4D: (3, r"(?:K.|M..|J.{4})"), 0x4A: (5, r"(?:K.|M..|J.{4})"),
    0x47: (9, "G.{8}"), 0x4E: (1, "N"), 0x88: (1, r"[\x88\x89]"), 0x89: (1, r"[\x88\x89]"),
}  # fmt: skip
_TEXT: Final = {0x8C: 1, 0x43: 1, 0x8A: 1, 0x58: 4}
"""Constants with a length before their bytes: the bytes of that length."""
_PUT: Final = {0x71: (2, "(q.)"), 0x72: (5, "(r.{4})")}
_GET: Final = {0x68: 2, 0x6A: 5}
_TAKES: Final = {0x85: 1, 0x86: 2, 0x87: 3, 0x61: 2, 0x73: 3, 0x52: 2, 0x81: 2, 0x62: 2}
"""Opcodes that take values of their frame and leave one."""
_LEAVES: Final = frozenset([*_CONSTANTS, *_TEXT, *_GET, *b"]})\x8f"])
"""Opcodes that leave one more value."""
_CLOSES: Final = {0x74: 1, 0x91: 1, 0x65: 0, 0x75: 0, 0x90: 0}
"""Opcodes that take a mark and what lies above: how many values they leave."""


class Shape(msgspec.Struct, frozen=True):
    """What rows have in common.

    Attributes:
        pattern: the expression of one row.
        memos: how many memo entries it makes that are not numbered.
        puts: how many that are; each is a group of the expression.
    """

    pattern: str
    memos: int
    puts: int


@final
class Rows:
    """What was seen of the rows of one stream.

    Attributes:
        start, depth, height: where the row that is walked begins, and the marks and values below it.
        findings: how many findings and array wrappers there were before it.
        again: something before it was looked at as well.
        shape: of the row before it.
        known: expressions of many rows, and of one, by shape.
        plain: shapes of rows that were read ahead, by what they go into.
        skip: nothing is matched before this position, since a match there could not be used.
        fed: the container that is given its items one by one.
        patience: how far to walk after a try in vain.
    """

    __slots__ = (
        "again", "depth", "fed", "findings", "height", "known", "patience", "plain", "shape", "skip", "start",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start = self.depth = self.height = self.findings = -1
        self.again = False
        self.shape: Shape | None = None
        self.plain: dict[str, Shapes] = {}
        self.skip = 0
        self.fed: Value | None = None
        self.known: dict[Shape, tuple[re.Pattern[bytes], re.Pattern[bytes]]] = {}
        self.patience = SHORT

    def begin(self, state: State, pos: int, *, again: bool) -> None:
        """A row begins here; the next opcode may end it."""
        self.start, self.depth, self.height, self.again = pos, len(state.meta), len(state.stack), again
        self.findings = state.judge.findings + state.wrappers
        state.next_jump = pos + 1

    def wait(self, state: State, pos: int) -> None:
        """Walk on for a while before the next try."""
        self.start = -1
        state.next_jump = pos + self.patience
        self.patience = min(2 * self.patience, LONG)

    def clean(self, state: State, values: int) -> bool:
        """Whether what was found in the row that ends here depends on nothing but its shape."""
        judge = state.judge
        return (
            judge.findings + state.wrappers == self.findings
            and judge.match.decoded < self.start
            and not any(map(_remembered, state.stack[-values:]))
        )


def repeated(state: State, memo: list[Value], pos: int, values: int) -> Found | None:
    """The rows at `pos`, if they have the shape of the last two.

    Args:
        state: the stream.
        memo: its memo.
        pos: where a row may have ended.
        values: how many values a row leaves on the stack.
    """
    rows, height = state.rows, len(state.stack)
    near = rows.start >= 0 and rows.depth == len(state.meta) and pos - rows.start <= WIDEST
    if rows.start < 0 or (near and height <= rows.height and not rows.again):  # the last try was inside a row
        rows.begin(state, pos, again=rows.start >= 0)
        return None
    if near and height > rows.height and height != rows.height + values:
        state.next_jump = pos + 1  # inside of the row
        return None
    whole = near and height == rows.height + values and rows.clean(state, values)
    found = shape(state.data, rows.start, pos) if whole else None
    same, again, rows.shape = found == rows.shape, rows.again, found or rows.shape
    if found is not None and same:
        matched = _match(state, found, pos, len(memo))
        if matched is not None:
            rows.start = -1
            return (*matched, state.stack[-values:], [])
    elif found is not None and not again:
        rows.begin(state, pos, again=True)
        return None
    rows.wait(state, pos)
    return None


def _match(state: State, row: Shape, pos: int, base: int) -> tuple[int, int] | None:
    """End and memo entries of the rows of one shape at `pos`, when there are enough of them."""
    known = state.rows.known
    if row not in known:
        if len(known) == SHAPES:
            return None
        one = row.pattern.encode("latin-1")
        known[row] = re.compile(b"(?:%s)*+" % one, re.DOTALL), re.compile(one, re.DOTALL)
    many, single = known[row]
    found = many.match(state.data, pos, min(state.limit, pos + MOST))
    if found is None or found.end() - pos < LEAST:
        return None
    each: list[bytes] | list[tuple[bytes, ...]] = single.findall(state.data, pos, found.end())
    if not row.puts:
        return found.end(), len(each) * row.memos
    puts = [put for tokens in each for put in ((tokens,) if isinstance(tokens, bytes) else tokens)]
    if any(int.from_bytes(put[1:], "little") != number for number, put in enumerate(puts, base)):
        return None
    return found.end(), len(puts)


def _remembered(value: Value) -> bool:
    """Whether a value holds something whose later use is kept in mind, or holds too much to be sure."""
    stack = [value]
    for _ in range(PARTS):
        if not stack:
            return False
        item = stack.pop()
        if isinstance(item, Obj) and (
            item.tag.startswith("numpy.") or item.tainted or item.built is not None
        ):
            return True
        if isinstance(item, Map) and item.shared:
            return True
        stack += children(item)
    return True


def shape(data: Buffer, start: int, end: int) -> Shape | None:
    """The shape of a row; None when it has opcodes that rows seldom have, or takes what lies below it."""
    parts, heights, pos, memos, puts = [], [0], start, 0, 0
    while pos < end:
        code = data[pos]
        size, part = _piece(data, code, pos)
        pos += size
        parts.append(part)
        memos += code == 0x94
        puts += code in _PUT
        if code == 0x28:
            heights.append(0)
            continue
        if code in _CLOSES and len(heights) > 1:
            heights.pop()
            heights[-1] += _CLOSES[code]
        elif code in _LEAVES:
            heights[-1] += 1
        elif code in _TAKES and heights[-1] >= _TAKES[code]:
            heights[-1] += 1 - _TAKES[code]
        elif code != 0x94 and code not in _PUT:
            return None
        if heights[-1] < 1 or not part:
            return None
    return Shape("".join(parts), memos, puts) if len(heights) == 1 and pos == end else None


def _piece(data: Buffer, code: int, pos: int) -> tuple[int, str]:
    """Size and expression of one opcode; text that is too long has none."""
    if code in _CONSTANTS:
        return _CONSTANTS[code]
    if code in _PUT:
        return _PUT[code]
    if code in _TEXT:
        width = _TEXT[code]
        size = int.from_bytes(data[pos + 1 : pos + 1 + width], "little")
        return 1 + width + size, f"\\x{code:02x}{sized(width, TEXT)}" if size <= TEXT else ""
    size = _GET.get(code, 1)
    return size, "".join(f"\\x{byte:02x}" for byte in data[pos : pos + size])
