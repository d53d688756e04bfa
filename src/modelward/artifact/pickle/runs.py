"""Stretches of plain data in a stream, which are jumped over: no object stands for what they would make.

Most opcodes of a large pickle push numbers and text and put them into tuples, lists and dictionaries. A
regular expression passes over whole values of that kind, many times faster than the machine steps. It matches
only what the machine would accept without an event: complete values, where no opcode takes more than is
there. Memo entries are counted, and an entry that is read back must be plain itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from modelward.artifact.pickle.values import KEPT, KEYS_KEPT, Inert, Map, Obj, Seq

if TYPE_CHECKING:
    from modelward.artifact.pickle.opcodes import State
    from modelward.artifact.pickle.values import Buffer, Value

LEAST: Final = 200
"""Bytes below which a stretch is not worth a jump."""
MOST: Final = 1 << 16
"""Bytes of one stretch, which bounds what it costs to make its values after all."""
LONGEST: Final = 24
"""Bytes of text inside a stretch; longer text ends it."""
PATIENCE: Final = 1 << 12
"""Most bytes walked after a try that found nothing."""
SMALL: Final = 1 << 20
"""Bytes of a buffer that is not worth compiling the expressions for."""


def _sized(width: int, longest: int) -> str:
    """A length of `width` bytes, and what is that long; eight lengths share a first look."""
    groups = []
    for low in range(0, longest + 1, 8):
        sizes = range(low, min(low + 8, longest + 1))
        choices = "|".join(f"\\x{size:02x}\\x00{{{width - 1}}}.{{{size}}}" for size in sizes)
        groups.append(f"(?=[\\x{sizes[0]:02x}-\\x{sizes[-1]:02x}])(?:{choices})")
    return f"(?:{'|'.join(groups)})"


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
    text = (
        rf"X{_sized(4, LONGEST)}|[\x8aU]{_sized(1, 8)}" if numbered else rf"[\x8c\x8aC]{_sized(1, LONGEST)}"
    )
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
    """Pass over the plain data at `pos`, if that is worth it; gives the position after it.

    Only items of a container are passed over, and only once it has dropped constants: from then on, nothing
    asks how many it has.
    """
    name = _content(state)
    if name is None or (name == "flat" and state.data[pos : pos + 144 : 9] == b"G" * 16):
        return pos  # floats alone are the machine's own
    found = _expression(name, numbered=state.proto < 4).match(state.data, pos, min(state.limit, pos + MOST))
    end = pos if found is None else _end(found, state.data)
    if end - pos < LEAST:
        state.next_jump = pos + state.patience
        state.patience = min(2 * state.patience, PATIENCE)
        return pos
    state.next_jump, state.patience = end, 16
    memo, stack = state.memo, state.stack
    made = _entries(state, pos, end)
    if made is None or not isinstance(memo, list):
        return pos
    count, refs = made
    first = stack[-1:] if name == "rows" else []
    del stack[len(stack) - len(first) :]
    passed = Inert(state, (pos, end), memo, refs, first)
    memo.extend([passed] * count)
    state.aside.append((len(state.meta), stack[:], passed))
    stack.clear()
    state.jumped = True
    return end


def _end(found: re.Match[bytes], data: Buffer) -> int:
    """The end of a stretch: without its last values, when an opcode that follows may take them."""
    end = found.end()
    if end < len(data) and data[end] in b"eu\x90":
        return end
    starts = (found.start(group) for group in range(1, found.re.groups + 1))
    return min((start for start in starts if start > end - LEAST), default=end)


def _content(state: State) -> str | None:
    """Which expression suits what the values of this frame go into; None where they must be walked."""
    if not state.meta or not state.meta[-1] or not isinstance(state.memo, list):
        return None
    stack, target = state.stack, state.meta[-1][-1]
    kind = takes(target)
    if isinstance(target, Seq):
        again = bool(state.aside) and state.aside[-1][0] == len(state.meta)
        if not again and len(target.items) + len(stack) - bool(stack) < KEPT:
            return None
    if kind == "dict":
        return None if len(stack) % 2 else "pairs"
    if kind is None or not stack:
        return kind and "flat"
    return "rows" if state.judge.match.plain(stack[-1]) else None


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


def _entries(state: State, pos: int, end: int) -> tuple[int, list[Value]] | None:
    """How many memo entries a stretch makes, and what containers it reads back; None unless all are plain."""
    memo, numbered = state.memo, state.proto < 4
    tokens: list[bytes] = _expression("memo", numbered=numbered).findall(state.data, pos, end)
    keys = {_key(token) for token in set(tokens) if token[:1] in {b"h", b"j"}}
    count = tokens.count(b"\x94")
    if numbered or max(keys, default=0) >= len(memo):
        in_order = _in_order(tokens, len(memo))
        if in_order is None:
            return None
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
        if len(token) == 5 and token[0] == 0x72:
            if token != b"r" + number.to_bytes(4, "little"):
                return None
            number += 1
        elif token == b"\x94":
            number += 1
        elif token[:1] == b"q":
            if _key(token) != number:
                return None
            number += 1
        elif token and _key(token) >= number:
            return None
    return number - base
