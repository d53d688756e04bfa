"""Shapes of plain rows, read ahead: what a value looks like apart from its constants.

A list of a million records repeats a few shapes. The next values are parsed by a small stack of kinds, which
accepts only what the machine would accept without an event: constants, containers made in the row, memo
entries. The shapes found become one regular expression of rows, without a choice of opcodes where the data
has none, so that it passes over two million opcodes in a few hundredths of a second.
"""

from __future__ import annotations

import re
import struct
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, TypeAlias, final

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

    Row: TypeAlias = "tuple[tuple[str, ...], list[Choice]]"
    """Opcodes in turn, `_ANY` for each constant, and what stands in the place of the constants."""
    Choice: TypeAlias = "dict[str, set[int]]"
    """Kinds of a constant; of text its lengths, of memo entries read their numbers."""

AHEAD: Final = 2000
"""Bytes that are parsed for shapes."""
OPS: Final = 300
"""Opcodes that are parsed."""
SHAPES: Final = 12
"""Most shapes of one stream."""
GETS: Final = 8
"""Most memo entries that one place of a row reads."""
PATTERN: Final = 40_000
"""Longest expression of all shapes."""
TRIES: Final = 6
"""Tries inside of a row that is not complete."""
COMPILED: Final = 40
"""Most times that one stream makes an expression."""
BLOCK: Final = 32
_KINDS: Final = {
    **dict.fromkeys(b"KMJ", "int"), **dict.fromkeys(b"N\x88\x89", "fixed"), 0x47: "float",
    **dict.fromkeys(b"FILSV", "line"),
}  # fmt: skip
_WIDTHS: Final = {0x4B: 2, 0x4D: 3, 0x4A: 5, 0x4E: 1, 0x88: 1, 0x89: 1, 0x47: 9}
_PATTERNS: Final = {
    "int": r"K.|M..|J.{4}", "fixed": r"[N\x88\x89]", "float": "G.{8}", "line": r"[FILSV][^\n]*+\n"
}  # fmt: skip
_TEXT: Final = {0x8C: 1, 0x43: 1, 0x8A: 1, 0x55: 1, 0x58: 4, 0x42: 4}
_ANY: Final = "\0"
_MADE: Final = {0x5D: "list", 0x7D: "dict", 0x8F: "set", 0x29: "tuple"}
_TUPLES: Final = {0x85: 1, 0x86: 2, 0x87: 3}
_ITEMS: Final = {0x65: "list", 0x75: "dict", 0x90: "set"}
_MARKED: Final = {0x74: "tuple", 0x91: "frozenset", 0x6C: "list", 0x64: "dict"}
_ONE: Final = {0x61: ("list", 1), 0x73: ("dict", 2)}
_PUTS: Final = {"r": r"r(<put>.{4})", "p": r"p(<put>[0-9]++)\n"}


_NOTHING: Final = re.compile(b"(?!)")


class _End(Exception):
    """The opcode is none that a plain row has."""


@final
class Ahead:
    """Parses plain values from a position on.

    Attributes:
        rows: the shapes of the complete rows.
        end: how many bytes were parsed.
        inside: the parse ended since a tuple takes what lies below, so that the position was inside a row.

    Args:
        data: the bytes to look at, from the first opcode of a row on.
        into: kind of the container below that takes each row by APPEND or SETITEM; None when rows stay on
            the stack.
        values: how many values make a row.
    """

    __slots__ = ("_choices", "_data", "_ends", "_frames", "_into", "_ops", "end", "inside", "rows")

    def __init__(self, data: bytes, into: str | None, values: int) -> None:
        self._data = data
        self._into = into
        self._ops: list[str] = []
        self._choices: list[Choice | None] = []
        self._frames: list[list[tuple[int, str]]] = [[(0, into)] if into else []]
        self._ends: list[int] = [0]
        self.end = 0
        self.inside = False
        try:
            while (
                self.end < len(data) and len(self._ops) < OPS and (into is None or len(self._frames[0]) < 5)
            ):
                self.end = self._step(self.end)
        except (_End, IndexError):
            pass
        starts = [start for start, _ in self._frames[0][::values]]
        bounds = self._ends if into else starts[:-2]  # the last values may go into a tuple
        self.rows: list[Row] = [self._row(*pair) for pair in pairwise(bounds)]

    def _row(self, start: int, end: int) -> Row:
        return tuple(self._ops[start:end]), [part for part in self._choices[start:end] if part is not None]

    def _step(self, pos: int) -> int:
        code, frame = self._data[pos], self._frames[-1]
        if (found := self._constant(code, pos)) is not None:
            kind, size, number = found
            frame.append((len(self._ops), "constant"))
            self._note(_ANY, {kind: set() if number is None else {number}})
            return pos + size
        if code in _MADE:
            frame.append((len(self._ops), _MADE[code]))
        elif code in _TUPLES:
            self._replace(frame, _TUPLES[code], "tuple")
        elif code == 0x28:
            self._frames.append([])
        elif code in _ITEMS or code in _MARKED:
            self._close(code)
        elif code in _ONE:
            return self._give(*_ONE[code], pos)
        else:
            return self._memo(code, pos)
        self._note(chr(code))
        return pos + 1

    def _note(self, op: str, choice: Choice | None = None) -> None:
        self._ops.append(op)
        self._choices.append(choice)

    def _constant(self, code: int, pos: int) -> tuple[str, int, int | None] | None:
        """Kind, size and length or number of a constant or a memo entry read back."""
        data = self._data
        if code in _WIDTHS:
            return _KINDS[code], _WIDTHS[code], None
        if code in _KINDS:
            if (end := data.find(b"\n", pos)) < 0:
                raise _End
            return "line", end + 1 - pos, None
        if code in _TEXT:
            start = pos + 1 + _TEXT[code]
            size = int.from_bytes(data[pos + 1 : start], "little")
            if size > 255:
                raise _End
            return chr(code), start + size - pos, size
        if code == 0x68:
            return "h", 2, data[pos + 1]
        if code == 0x6A:
            return "j", 5, int.from_bytes(data[pos + 1 : pos + 5], "little")
        if code == 0x67 and (line := re.compile(rb"g(0|[1-9][0-9]{0,8})\n").match(data, pos)):
            return "g", line.end() - pos, int(line[1])
        return None

    def _replace(self, frame: list[tuple[int, str]], count: int, kind: str) -> None:
        """A value takes those above it; the container below all rows is no value of theirs."""
        if len(frame) - (self._into is not None and len(self._frames) == 1) < count:
            self.inside = len(self._frames) == 1
            raise _End
        start = frame[-count][0]
        frame[-count:] = [(start, kind)]

    def _close(self, code: int) -> None:
        if len(self._frames) < 2:
            raise _End
        items, below = self._frames[-1], self._frames[-2]
        odd = len(items) % 2 and code in {0x75, 0x64}
        if odd or (code in _ITEMS and (not below or below[-1][1] != _ITEMS[code])):
            raise _End
        if code in _ITEMS and self._into and len(self._frames) == 2 and len(below) == 1:
            raise _End  # into the container below all rows
        self._frames.pop()
        if code in _MARKED:
            mark = items[0][0] - 1 if items else len(self._ops) - 1
            below.append((mark, _MARKED[code]))

    def _give(self, kind: str, count: int, pos: int) -> int:
        frame = self._frames[-1]
        if len(frame) < count + 1 or frame[-count - 1][1] != kind:
            raise _End
        del frame[-count:]
        self._note(chr(self._data[pos]))
        if self._into and len(self._frames) == 1 and len(frame) == 1:
            self._ends.append(len(self._ops))
        return pos + 1

    def _memo(self, code: int, pos: int) -> int:
        if len(self._frames[-1]) <= (self._into is not None and len(self._frames) == 1):
            raise _End  # of what lies below
        if code == 0x94:
            self._note("\x94")
            return pos + 1
        if code == 0x72:
            self._note("r")
            return pos + 5
        if code == 0x70 and (line := re.compile(rb"p[0-9]+\n").match(self._data, pos)):
            self._note("p")
            return line.end()
        raise _End


@final
class Shapes:
    """The shapes of plain rows that one stream has.

    Attributes:
        numbering: how its rows put memo entries: by MEMOIZE, LONG_BINPUT or PUT; "" while none does.
        later: where shapes may be read next.
        tries: how often they were, inside of a row that was not complete.
        patience: how far to walk after that was in vain.
        vain: how often it was, with plain data ahead.
    """

    __slots__ = (
        "_block", "_full", "_known", "_many", "_memos", "_one", "compiled", "keys", "later", "numbering",
        "patience", "tries", "vain",
    )  # fmt: skip

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], list[Choice]] = {}
        self._many: re.Pattern[bytes] = _NOTHING
        self._one: re.Pattern[bytes] = _NOTHING
        self._block: re.Pattern[bytes] | None = None
        self._memos: list[int] = []
        self._full = False
        self.keys = set[int]()
        self.numbering = ""
        self.compiled = self.later = self.tries = self.vain = 0
        self.patience = 32

    def learn(self, rows: list[Row]) -> bool:
        """Take in shapes of which rows follow each other; whether one was new."""
        new = False
        for row in rows if not self._full else []:
            new = self._add(*row) or new
        if new:
            self._compile()
        return new

    def _add(self, ops: tuple[str, ...], choices: list[Choice]) -> bool:
        styles = {op for op in ops if op in "\x94rp"}
        if len(styles | ({self.numbering} - {""})) > 1 or (
            ops not in self._known and len(self._known) >= SHAPES
        ):
            return False
        known = self._known.setdefault(ops, choices)
        if any(len(_keys(mine) | _keys(other)) > GETS for mine, other in zip(known, choices, strict=True)):
            return False
        self.numbering = self.numbering or "".join(styles)
        new = known is choices
        for mine, other in zip(known, choices, strict=True):
            for kind, numbers in other.items():
                longer = kind in "hjg" and not numbers <= mine.get(kind, set())
                longer = longer or (len(kind) == 1 and _longest(numbers) > _longest(mine.get(kind, set())))
                new = new or kind not in mine or longer
                mine[kind] = mine.get(kind, set()) | numbers
        return new

    def _compile(self) -> None:
        ordered = sorted(self._known, key=len, reverse=True)
        parts = [_expression(ops, self._known[ops]) for ops in ordered]
        if sum(map(len, parts)) > PATTERN or self.compiled >= COMPILED:
            self._full = True  # the last ones stay in use
            return
        self.compiled += 1
        self.keys = {key for found in self._known.values() for part in found for key in _keys(part)}
        self._memos = [ops.count("\x94") for ops in ordered]
        plain = "|".join(part.replace("<put>", "?:") for part in parts)
        self._many = re.compile(f"(?:{plain})*+".encode("latin-1"), re.DOTALL)
        self._block = None
        if len(set(self._memos)) == 1:
            self._block = re.compile(f"(?:{plain}){{{BLOCK}}}+".encode("latin-1"), re.DOTALL)
        ends = "|".join(part.replace("<put>", "") + "()" * ("<put>" not in part) for part in parts)
        self._one = re.compile(ends.encode("latin-1"), re.DOTALL)

    def fail(self, pos: int, ahead: Ahead, most: int) -> None:
        """Wait before the next try; only until what is made here is complete, when this was inside a row."""
        if ahead.inside and self.tries < TRIES:
            self.tries, self.later = self.tries + 1, pos + ahead.end + 1
        else:
            self.tries, self.later, self.patience = 0, pos + self.patience, min(2 * self.patience, most)

    def match(self, data: Buffer, pos: int, limit: int) -> int:
        """Where the rows of known shapes that start here end."""
        found = self._many.match(data, pos, limit)
        return pos if found is None else found.end()

    def before(self, data: Buffer, pos: int, end: int, count: int) -> int:
        """Where the last rows of a stretch start."""
        starts = [found.start() for found in self._one.finditer(data, pos, end)]
        return starts[-count] if len(starts) >= count else pos

    def entries(self, data: Buffer, pos: int, end: int, base: int) -> int | None:
        """How many memo entries the rows make; None when they are not numbered in turn from `base` on."""
        if self.numbering in _PUTS:
            found = self._one.findall(data, pos, end)
            puts: list[bytes] = list(
                filter(None, chain.from_iterable(found) if self._one.groups > 1 else found)
            )
            if self.numbering == "p":
                wanted = " ".join(map(str, range(base, base + len(puts)))).encode()
                return len(puts) if b" ".join(puts) == wanted else None
            numbers = struct.pack(f"<{len(puts)}I", *range(base, base + len(puts)))
            return len(puts) if b"".join(puts) == numbers else None
        if not any(self._memos):
            return 0
        if self._block is None:
            rows = self._one.finditer(data, pos, end)
            return sum(self._memos[(row.lastindex or 0) - 1] for row in rows)
        count = 0
        while block := self._block.match(data, pos, end):
            pos, count = block.end(), count + BLOCK
        return self._memos[0] * (count + len(self._one.findall(data, pos, end)))


def _keys(part: Choice) -> set[int]:
    return {key for kind in "hjg" for key in part.get(kind, ())}


def _longest(lengths: set[int]) -> int:
    return min(255, max(lengths, default=0) // 8 * 8 + 7)


def _expression(ops: tuple[str, ...], choices: list[Choice]) -> str:
    """The expression of one shape, where `(<put>` starts a group for each memo entry that is numbered."""
    left = iter(choices)
    return "".join(
        _PUTS[op] if op in _PUTS else _choice(next(left)) if op == _ANY else _byte(op) for op in ops
    )


def _choice(part: Choice) -> str:
    found = [pattern for kind, pattern in _PATTERNS.items() if kind in part]
    for kind, numbers in part.items():
        if kind in "hjg":
            found += [_get(kind, number) for number in sorted(numbers)]
        elif len(kind) == 1:
            found.append(_byte(kind) + sized(_TEXT[ord(kind)], _longest(numbers)))
    return found[0] if len(found) == 1 and "|" not in found[0] else f"(?:{'|'.join(found)})"


def _get(kind: str, number: int) -> str:
    if kind == "g":
        return f"g{number}\\n"
    return kind + "".join(map(_byte, map(chr, number.to_bytes(1 if kind == "h" else 4, "little"))))


def _byte(char: str) -> str:
    return f"\\x{ord(char):02x}"


def sized(width: int, longest: int) -> str:
    """A length of `width` bytes, and what is that long; eight lengths share a first look."""
    groups = []
    for low in range(0, longest + 1, 8):
        sizes = range(low, min(low + 8, longest + 1))
        choices = "|".join(f"\\x{size:02x}\\x00{{{width - 1}}}.{{{size}}}" for size in sizes)
        groups.append(f"(?=[\\x{sizes[0]:02x}-\\x{sizes[-1]:02x}])(?:{choices})")
    return f"(?:{'|'.join(groups)})"
