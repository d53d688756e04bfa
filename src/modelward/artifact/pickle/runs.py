"""Stretches of plain data in a stream, which are jumped over: no object stands for what they would make.

Most opcodes of a large pickle push numbers and text and put them into tuples, lists and dictionaries. A
regular expression passes over whole values of that kind, many times faster than the machine steps. It matches
only what the machine would accept without an event: complete values, where no opcode takes more than is
there. Memo entries are counted, and an entry that is read back must be plain itself.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Final

from modelward.artifact.pickle import rows
from modelward.artifact.pickle.rows import SHORT
from modelward.artifact.pickle.shapes import AHEAD, Ahead, Shapes, sized
from modelward.artifact.pickle.values import KEPT, KEYS_KEPT, Inert, Map, Obj, Seq

if TYPE_CHECKING:
    from modelward.artifact.pickle.opcodes import State
    from modelward.artifact.pickle.values import Buffer, Value

LONGEST: Final = 24
"""Bytes of text inside a stretch; longer text ends it."""
DEEPEST: Final = 3000
"""Marks open beyond which everything is walked, since the machine bounds them and a row may open more."""
SMALL: Final = 1 << 20
"""Bytes of a buffer that is not worth compiling the expressions for."""
_DEEPER: Final = frozenset(b"]}()\x8f\x86\x87")
"""Opcodes at which what is flat may end and a row go on."""
_APART: Final = frozenset(
    bytes([code]) for code in b"eut\x90\x91ld(KMJGN\x88\x89\x8c\x8aXUC]})\x8fhjgIFLSVc\x95."
)
"""Opcodes that take no value of their frame, or all of them."""
_CLOSING: Final = frozenset(b"eu\x90")
VAIN: Final = 8
"""Tries at shapes in vain, with plain data ahead, before the expressions of irregular data are made."""
_PUT: Final = struct.Struct("<cI")
_PUTS: Final = frozenset({b"q", b"r"})


@lru_cache(maxsize=8)
def _expression(name: str, *, numbered: bool) -> re.Pattern[bytes]:
    """One of four expressions, for protocols 1 to 3, whose memo entries are numbered, or for 4 and 5.

    Args:
        name: `flat`, constants and small tuples of them; `rows`, values of two levels of containers, where a
            value lies below them on the stack; `pairs`, keys and values in turn; `memo`, the next opcode that
            puts or reads a memo entry, or the end.
        numbered: how memo entries are put.
    """
    put, m = (r"q.|r.{4}", "(?:r.{4}|q.)?+") if numbered else (r"\x94", r"\x94?+")
    text = rf"X{sized(4, LONGEST)}|[\x8aU]{sized(1, 8)}" if numbered else rf"[\x8c\x8aC]{sized(1, LONGEST)}"
    constant = rf"K.|M..|{text}|G.{{8}}|[N\x88\x89]|J.{{4}}"
    a = rf"(?:(?:h.|{constant}|j.{{4}}){m})"
    three = rf"{a}++(?:[\x85\x87]{m}|\x86{m}(?:\x86{m})?+)?+"
    small = rf"{a}(?:\x85{m}|{a}(?:[\x85\x86]{m}|{three})?+)?+"  # one value or more
    one = rf"(?>{a}(?:\x85{m}|{a}(?:\x86{m}|{a}\x87{m}))?)"  # exactly one
    inner = (
        rf"\}}{m}(?>\((?:{a}{a})*+u|{a}{a}s|(?!\())|\]{m}(?>\((?:{small})*+e|{a}a|(?!\())"
        rf"|\((?:{small})*+[t\x91]{m}|\){m}|\x8f{m}(?>\((?:{small})*+\x90|(?!\())"
    )
    outer = rf"\}}{m}\((?:{a}(?:{one}|{inner}))*+u|\]{m}\((?:{small}|{inner})*+e"
    row = rf"(?:(?:{small}|{inner}|{outer})(?:\x85{m})*+)"
    pattern = {
        "flat": f"({small})*+",
        "rows": rf"((?:({row})){{2,}}+(?:[\x86\x87]{m})?+|{row}(?:\x86{m})?+)*+",
        "pairs": f"(?:(?:{a}{a})*+(?=u)|({a}(?:{one}|{inner}))*+)",
        "memo": rf"(?:{constant}|[\x85-\x87()te\]}}u\x8f-\x91as])*+({put}|h.|j.{{4}}|\Z)",
    }[name]
    return re.compile(pattern.encode("latin-1"), re.DOTALL)


def jump(state: State, pos: int) -> int:
    """Pass over plain data at `pos`, or over rows of a known shape; gives the position after them.

    Only items of a container are passed over, and only once it has dropped constants: from then on, nothing
    asks how many it has.
    """
    memo = state.memo
    if not isinstance(memo, list) or pos < state.rows.skip or len(state.meta) > DEEPEST:
        return pos
    if (into := _below(state, pos)) is not None and (end := _fed(state, memo, pos, into)) > pos:
        return end
    if state.meta and state.meta[-1] and state.meta[-1][-1] is state.rows.fed:
        return pos  # inside a row of it
    kind = _kind(state)
    if kind is None:
        fed = len(state.stack) > 1 and takes(state.stack[-2]) is not None
        if into is None and not fed and not state.meta and state.data[pos : pos + 1] != b"(":
            state.next_jump = pos + rows.LEAST  # no items follow
        return pos
    found = _items(state, memo, pos, kind)
    if found is None:
        return pos
    end, count, held, first = found
    state.next_jump, state.rows.patience = end, SHORT
    stack = state.stack
    del stack[len(stack) - len(first) :]
    passed = Inert(state, (pos, end), memo, held, first)
    memo.extend([passed] * count)
    state.aside.append((len(state.meta), stack[:], passed))
    stack.clear()
    state.jumped = True
    return end


def _items(state: State, memo: list[Value], pos: int, kind: str) -> rows.Found | None:
    """What can be passed over at `pos` of the items of a container."""
    values = 2 if kind == "dict" else 1
    shapes = state.rows.plain.setdefault("pairs" if values == 2 else "items", Shapes())
    found = _shaped(state, memo, pos, (shapes, None, values))
    if found is None and shapes.vain >= VAIN and pos >= state.rows.skip:
        found = _plain(state, memo, pos, kind)
    return found or rows.repeated(state, memo, pos, values)


def _below(state: State, pos: int) -> str | None:
    """What item opcodes may give the uppermost value one by one, as protocol 0 does: list, dict, or none."""
    if not state.stack or pos < 1 or state.data[pos - 1] not in b"as":
        return None
    target = state.stack[-1]
    if isinstance(target, Seq) and len(target.items) < KEPT:
        return None
    kind = takes(target)
    if kind not in {"list", "dict"}:
        return None
    state.rows.fed = target
    return kind


def _fed(state: State, memo: list[Value], pos: int, into: str) -> int:
    """Pass over rows at `pos` that are given to the uppermost value one by one; gives the end."""
    shapes, target = state.rows.plain.setdefault(into, Shapes()), state.stack[-1]
    while (found := _shaped(state, memo, pos, (shapes, into, 1))) is not None:
        end, count, held, _ = found
        passed = Inert(
            state, (pos, end), memo, held, [Seq("list", []) if into == "list" else Map()], fed=True
        )
        memo.extend([passed] * count)
        hold(target, [passed])
        state.next_jump, state.jumped, pos = end, True, end
    return pos


def _shaped(
    state: State, memo: list[Value], pos: int, how: tuple[Shapes, str | None, int]
) -> rows.Found | None:
    """Plain rows of few shapes at `pos`: their end, their memo entries, and what they hold.

    Args:
        state: the stream.
        memo: its memo.
        pos: where a row begins.
        how: the shapes, what takes each row by an opcode of its own, and how many values make a row.
    """
    shapes, into, values = how
    data, limit = state.data, min(state.limit, pos + rows.MOST)
    if data[pos : pos + 144 : 9] == b"G" * 16:
        return None  # floats alone are the machine's own
    end = shapes.match(data, pos, limit)
    if end - pos < rows.LEAST:
        if pos < shapes.later or limit - end < rows.LEAST or (end > pos and data[end] in _CLOSING):
            return None
        ahead = Ahead(bytes(data[pos : min(limit, pos + AHEAD)]), into, values)
        if shapes.learn(ahead.rows):
            end = shapes.match(data, pos, limit)
        if end - pos < rows.LEAST:
            shapes.fail(pos, ahead, rows.MOST)
            shapes.vain += ahead.end >= rows.LEAST
            return None
    if into is None and data[end : end + 1] not in _APART:
        end = shapes.before(data, pos, end, 3)
    if end - pos < rows.LEAST:
        return None
    held = _held(state, memo, shapes.keys)
    count = None if held is None else shapes.entries(data, pos, end, len(memo))
    if held is None or count is None:
        state.rows.skip = pos + shapes.patience
        shapes.patience = min(2 * shapes.patience, rows.MOST)
        return None
    shapes.patience, shapes.tries = SHORT, 0
    return end, count, held, []


def _held(state: State, memo: list[Value], keys: set[int]) -> list[Value] | None:
    """The containers that memo entries are; None unless all are plain."""
    held: dict[int, Value] = {}
    for key in keys:
        value = memo[key] if key < len(memo) else None
        if value is None or not (isinstance(value, int) or state.judge.match.plain(value)):
            return None
        if not isinstance(value, int):
            held[id(value)] = value
    return list(held.values())


def _kind(state: State) -> str | None:
    """What the values of this frame go into; None where they must be walked."""
    if not state.meta or not state.meta[-1]:
        return None
    height, target = len(state.stack), state.meta[-1][-1]
    kind = takes(target)
    if isinstance(target, Seq):
        again = bool(state.aside) and state.aside[-1][0] == len(state.meta)
        if not again and len(target.items) + height - bool(height) < KEPT:
            return None
    return None if kind == "dict" and height % 2 else kind


def _plain(state: State, memo: list[Value], pos: int, kind: str) -> rows.Found | None:
    """The plain data at `pos`: its end, its memo entries, what it holds, and what it takes from the stack."""
    stack, data, numbered = state.stack, state.data, state.proto < 4
    limit, stop = min(state.limit, pos + rows.MOST), pos
    for name in ("pairs",) if kind == "dict" else ("flat", "rows") if stack else ("flat",):
        if name == "rows" and (data[stop] not in _DEEPER or not state.judge.match.plain(stack[-1])):
            continue
        found = _expression(name, numbered=numbered).match(data, pos, limit)
        end = pos if found is None else _end(found, data)
        if end - pos >= rows.LEAST:
            made = _entries(state, memo, pos, end)
            state.rows.skip = 0 if made else end
            return None if made is None else (end, *made, stack[-1:] if name == "rows" else [])
        stop = pos if found is None else min(found.end(), limit - 1)
    return None


def _end(found: re.Match[bytes], data: Buffer) -> int:
    """The end of a stretch: without its last values, when an opcode that follows may take them."""
    end = found.end()
    if end < len(data) and data[end] in _CLOSING:
        return end
    starts = (found.start(group) for group in range(1, found.re.groups + 1))
    return min((start for start in starts if start > end - rows.LEAST), default=end)


def takes(target: Value) -> str | None:
    """Which item opcodes may give a container values that were jumped over: list, set, dict, or none."""
    if isinstance(target, Seq):
        return target.kind if target.kind in {"list", "set"} else None
    if isinstance(target, Map):
        return "dict" if len(target.keys) >= KEYS_KEPT and not target.shared else None
    if isinstance(target, Obj) and target.entry is not None and not target.loose:
        return target.entry.items or None
    return None


def hold(target: Value, passed: list[Inert]) -> None:
    """Give a container values that were jumped over."""
    if isinstance(target, Seq):
        target.items += passed
        target.whole = False
    elif isinstance(target, Map):
        target.values += passed
        target.whole = False
    elif isinstance(target, Obj):
        target.held += passed


def _entries(state: State, memo: list[Value], pos: int, end: int) -> tuple[int, list[Value]] | None:
    """How many memo entries a stretch makes, and what containers it reads back; None unless all are plain."""
    numbered = state.proto < 4
    tokens: list[bytes] = _expression("memo", numbered=numbered).findall(state.data, pos, end)
    keys = {_key(token) for token in set(tokens) if token[:1] in {b"h", b"j"}}
    early = max(keys, default=0) < len(memo)
    if early and not numbered:
        count = tokens.count(b"\x94")
    elif early and len(memo) > 255:
        puts = [token for token in tokens if token[:1] in _PUTS]
        count = len(puts)
        if puts != list(map(_PUT.pack, repeat(b"r"), range(len(memo), len(memo) + count))):
            return None
    elif (in_order := _in_order(tokens, len(memo))) is None:
        return None
    else:
        count = in_order
    refs: dict[int, Value] = {}
    for key in keys:
        value = memo[key] if key < len(memo) else 0
        if not isinstance(value, int) and id(value) not in refs:
            if not state.judge.match.plain(value):
                return None
            refs[id(value)] = value
    return count, list(refs.values())


def _key(token: bytes) -> int:
    return int.from_bytes(token[1:], "little")


def _in_order(tokens: list[bytes], base: int) -> int | None:
    """How many entries are made, when each is numbered in turn and none is read before; else None."""
    number = base
    for token in tokens:
        if token[:1] == b"r" or token[:1] == b"q":
            if _key(token) != number:
                return None
            number += 1
        elif token == b"\x94":
            number += 1
        elif token and _key(token) >= number:
            return None
    return number - base
