"""Opcodes that the inner loop of the machine leaves to a function each, and the state they work on."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.artifact.events import Broken, Event
from modelward.artifact.pickle import arrays, runs
from modelward.artifact.pickle.memo import has, put
from modelward.artifact.pickle.rows import Rows
from modelward.artifact.pickle.values import Inert, Map, Obj, Seq

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.memo import Memo
    from modelward.artifact.pickle.values import Buffer, Value

    Handler: TypeAlias = "Callable[[State, int], int]"

DEPTH: Final = 4096
"""Most marks open at once."""


class Reached(Exception):
    """Something needs what was jumped over, in a way that only a walk without jumps can follow."""


@final
class State:
    """Stack, marks, memo and position of one stream.

    Attributes:
        stack: values above the last mark; `meta` holds the stacks below it, innermost last.
        memo: values by number.
        proto: protocol announced by the last PROTO opcode.
        limit: where the current frame ends, or `end`, where the walk does.
        aside: for each stretch jumped over, how many marks were open, the values below it in its frame, and
            the stretch; `stack` holds only what lies above the last one.
        jumped: whether there was one.
        next_jump: where a jump is tried next.
        rows: what was seen of rows that may repeat.
        joblib: array bodies follow their wrappers, as joblib reads the file; else as `pickle.load` does.
    """

    __slots__ = (
        "aside", "data", "end", "joblib", "judge", "jumped", "limit", "memo", "meta", "next_jump",
        "proto", "rows", "stack", "wrappers",
    )  # fmt: skip

    def __init__(self, data: Buffer, judge: Judge, *, joblib: bool = False) -> None:
        self.data = data
        self.judge = judge
        self.joblib = joblib
        self.stack: list[Value] = []
        self.meta: list[list[Value]] = []
        self.memo: Memo = []
        self.proto = 0
        self.limit = self.end = len(data)
        self.wrappers = 0
        self.aside: list[tuple[int, list[Value], Inert]] = []
        self.jumped = False
        self.next_jump = 0 if judge.jumps and len(data) >= runs.SMALL else len(data)
        self.rows = Rows()

    def fork(self) -> State:
        """A second reading from here on, as `pickle.load` would read it."""
        from modelward.artifact.pickle.memo import Sparse

        other = State(self.data, self.judge)
        other.stack, other.meta = list(self.stack), [list(part) for part in self.meta]
        other.memo, other.proto = Sparse(self.memo), self.proto
        other.aside, other.jumped, other.next_jump = list(self.aside), self.jumped, len(self.data)
        return other

    def restore(self) -> None:
        """Make the values of this frame that were jumped over: an opcode reaches for them."""
        while self.aside and self.aside[-1][0] == len(self.meta):
            _, below, passed = self.aside.pop()
            self.stack[:0] = below + passed.values()

    def pop_mark(self) -> list[Value]:
        """Values above the last mark, which is removed."""
        if not self.meta:
            raise Broken("an opcode needs a mark and there is none")
        self.restore()
        items = self.stack
        self.stack = self.meta.pop()
        return items

    def take(self, count: int) -> list[Value]:
        """The uppermost values of this frame."""
        if len(self.stack) < count:
            self.restore()
        if len(self.stack) < count:
            raise Broken("a tuple takes more values than there are")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_items(self, kind: Literal["list", "dict", "set"], pos: int) -> None:
        """Give the values above the last mark, which is removed, to the container below it."""
        passed: list[Inert] = []
        below = self.meta[-1] if self.meta else []
        if self.aside and self.aside[-1][0] == len(self.meta) and below and runs.takes(below[-1]) == kind:
            while self.aside and self.aside[-1][0] == len(self.meta):
                _, before, one = self.aside.pop()
                self.stack[:0] = before
                passed.insert(0, one)
        items = self.pop_mark()
        if not self.stack:
            self.restore()
        self.judge.items(self.stack[-1], kind, items, pos)
        if passed:
            runs.hold(self.stack[-1], passed)

    def line(self, pos: int) -> tuple[str, int]:
        """Text up to the newline, and the position after it."""
        end = self.data.find(b"\n", pos)
        if end < 0:  # as CPython does: the end of the data ends the line, and its last byte is dropped
            return self.data[pos : max(pos, len(self.data) - 1)].decode("utf-8", "replace"), len(self.data)
        return self.data[pos:end].decode("utf-8", "replace"), end + 1

    def bound(self, end: int) -> int:
        """The same position, if the buffer reaches it."""
        if end > len(self.data):
            raise Broken("a value reaches beyond the end of the data")
        return end


def _sized(size: struct.Struct) -> Handler:
    """A constant with a length before its bytes."""
    width = size.size

    def push(state: State, pos: int) -> int:
        state.bound(pos + 1 + width)
        length: int = size.unpack_from(state.data, pos + 1)[0]
        if length < 0:
            raise Broken("a length is negative")
        state.stack.append(pos)
        return state.bound(pos + 1 + width + length)

    return push


def _lined(state: State, pos: int) -> int:
    end = state.data.find(b"\n", pos + 1)
    if end < 0:
        raise Broken("a line of text does not end")
    state.stack.append(pos)
    return end + 1


def _proto(state: State, pos: int) -> int:
    state.proto = state.data[pos + 1]
    if state.proto > 5:
        raise Broken(f"protocol {state.proto} does not exist")
    return pos + 2


def _frame(state: State, pos: int) -> int:
    start = state.bound(pos + 9)
    end = start + int.from_bytes(state.data[pos + 1 : start], "little")
    if end > len(state.data) or state.limit not in {len(state.data), pos}:
        message = (
            "frames overlap or reach beyond the data: the C and the Python unpickler read them differently"
        )
        state.judge.record(Event("pickle.frame", "unproven", message, pos))
    state.limit = min(end, len(state.data))
    return start


def _pop(state: State, pos: int) -> int:
    if state.stack:
        state.stack.pop()
    else:
        state.pop_mark()
    return pos + 1


def _pop_mark(state: State, pos: int) -> int:
    state.pop_mark()
    return pos + 1


def _dup(state: State, pos: int) -> int:
    state.stack.append(state.stack[-1])
    return pos + 1


def _mark(state: State, pos: int) -> int:
    if len(state.meta) >= DEPTH:
        raise Broken(f"more than {DEPTH} marks are open")
    state.meta.append(state.stack)
    state.stack = []
    return pos + 1


def _list(state: State, pos: int) -> int:
    items = state.pop_mark()
    made = Seq("list", [])
    made.extend(items)
    state.stack.append(made)
    return pos + 1


def _dict(state: State, pos: int) -> int:
    items = state.pop_mark()
    state.judge.keys(items[0::2], pos)
    made = Map()
    made.update(items)
    state.stack.append(made)
    return pos + 1


def _tuple(state: State, pos: int) -> int:
    items = state.pop_mark()
    state.stack.append(Seq("tuple", items))
    return pos + 1


def _empty_set(state: State, pos: int) -> int:
    state.stack.append(Seq("set", []))
    return pos + 1


def _frozenset(state: State, pos: int) -> int:
    items = state.pop_mark()
    state.judge.keys(items, pos)
    state.stack.append(Seq("frozenset", items))
    return pos + 1


def _append(state: State, pos: int) -> int:
    value = state.stack.pop()
    state.judge.items(state.stack[-1], "list", [value], pos)
    return pos + 1


def _appends(state: State, pos: int) -> int:
    state.pop_items("list", pos)
    return pos + 1


def _additems(state: State, pos: int) -> int:
    state.pop_items("set", pos)
    return pos + 1


def _setitem(state: State, pos: int) -> int:
    value, key = state.stack.pop(), state.stack.pop()
    state.judge.items(state.stack[-1], "dict", [key, value], pos)
    return pos + 1


def _setitems(state: State, pos: int) -> int:
    state.pop_items("dict", pos)
    return pos + 1


def _global(state: State, pos: int) -> int:
    module, middle = state.line(pos + 1)
    name, end = state.line(middle)
    state.stack.append(state.judge.name(module, name, pos, state.proto))
    return end


def _stack_global(state: State, pos: int) -> int:
    name, module = state.stack.pop(), state.stack.pop()
    match = state.judge.match
    texts = match.text(module), match.text(name)
    if texts[0] is None or texts[1] is None:
        state.stack.append(state.judge.computed_name(module, name, pos))
    else:
        state.stack.append(state.judge.name(texts[0], texts[1], pos, state.proto))
    return pos + 1


def _reduce(state: State, pos: int) -> int:
    args, callee = state.stack.pop(), state.stack.pop()
    state.stack.append(state.judge.call(callee, args, pos))
    return pos + 1


def _newobj(state: State, pos: int) -> int:
    args, cls = state.stack.pop(), state.stack.pop()
    state.stack.append(state.judge.new(cls, args, pos))
    return pos + 1


def _newobj_ex(state: State, pos: int) -> int:
    kwargs, args, cls = state.stack.pop(), state.stack.pop(), state.stack.pop()
    state.stack.append(state.judge.new(cls, args, pos, kwargs))
    return pos + 1


def _instantiate(state: State, cls: Value, args: list[Value], pos: int) -> None:
    """`cls(*args)`; without arguments, a class is made by `cls.__new__(cls)`."""
    made = (
        state.judge.call(cls, Seq("tuple", args), pos)
        if args
        else state.judge.new(cls, Seq("tuple", []), pos)
    )
    state.stack.append(made)


def _inst(state: State, pos: int) -> int:
    module, middle = state.line(pos + 1)
    name, end = state.line(middle)
    cls = state.judge.name(module, name, pos, state.proto)  # before the mark, as Lib/pickle.py does
    _instantiate(state, cls, state.pop_mark(), pos)
    return end


def _obj(state: State, pos: int) -> int:
    items = state.pop_mark()
    if not items:
        raise Broken("an object is made of nothing")
    _instantiate(state, items[0], items[1:], pos)
    return pos + 1


def _build(state: State, pos: int) -> int:
    value = state.stack.pop()
    target = state.stack[-1]
    state.judge.build(target, value, pos)
    if not isinstance(target, Obj) or target.tag not in arrays.WRAPPERS:
        return pos + 1
    state.wrappers += 1
    if not state.joblib:
        return pos + 1
    end, state.stack[-1] = arrays.body(state, target, pos + 1)
    return end


def _get_text(state: State, pos: int) -> int:
    text, end = state.line(pos + 1)
    _get(state, _number(text))
    return end


def _get(state: State, key: int) -> None:
    if not has(state.memo, key):
        raise Broken(f"memo entry {key} is used before it is set")
    value = state.memo[key]
    state.stack.append(value.entry(key) if isinstance(value, Inert) else value)


def _put(state: State, key: int) -> None:
    if state.jumped and isinstance(state.memo, list) and key < len(state.memo):
        raise Reached  # a stretch that was jumped over may read back what this entry was
    state.memo = put(state.memo, key, state.stack[-1])


def _number(text: str) -> int:
    try:
        return int(text.split("\0", 1)[0])  # the C unpickler stops at a null character, the Python one raises
    except ValueError as error:
        raise Broken("a memo number is not a number") from error


def _put_text(state: State, pos: int) -> int:
    text, end = state.line(pos + 1)
    key = _number(text)
    if key < 0:
        raise Broken("a memo number is negative")
    _put(state, key)
    return end


def _binget(state: State, pos: int) -> int:
    _get(state, state.data[pos + 1])
    return pos + 2


def _long_binget(state: State, pos: int) -> int:
    _get(state, int.from_bytes(state.data[pos + 1 : pos + 5], "little"))
    return pos + 5


def _binput(state: State, pos: int) -> int:
    _put(state, state.data[pos + 1])
    return pos + 2


def _long_binput(state: State, pos: int) -> int:
    _put(state, int.from_bytes(state.data[pos + 1 : pos + 5], "little"))
    return pos + 5


def _persid(state: State, pos: int) -> int:
    _, end = state.line(pos + 1)
    state.stack.append(state.judge.persistent(Seq("list", []), pos))
    return end


def _binpersid(state: State, pos: int) -> int:
    state.stack.append(state.judge.persistent(state.stack.pop(), pos))
    return pos + 1


def _extension(width: int) -> Handler:
    def push(state: State, pos: int) -> int:
        end = state.bound(pos + 1 + width)
        code = int.from_bytes(state.data[pos + 1 : end], "little")
        message = f"extension code {code} stands for a name that only the loading program's registry knows"
        state.judge.record(Event("pickle.extension", "unproven", message, pos))
        state.stack.append(state.judge.unknown(pos))
        return end

    return push


def _next_buffer(state: State, pos: int) -> int:
    message = "the stream takes a buffer from outside the file"
    state.judge.record(Event("pickle.buffer", "unproven", message, pos))
    state.stack.append(state.judge.unknown(pos))
    return pos + 1


def _readonly_buffer(state: State, pos: int) -> int:
    if not state.stack:
        raise Broken("an opcode needs a value and the stack is empty")
    return pos + 1


SLOW: Final[dict[int, Handler]] = {
    **dict.fromkeys(b"FILSV", _lined),
    **{code: _sized(struct.Struct("<B")) for code in b"UC\x8c\x8a"},
    **{code: _sized(struct.Struct("<I")) for code in b"BX"},
    **{code: _sized(struct.Struct("<i")) for code in b"T\x8b"},
    **{code: _sized(struct.Struct("<Q")) for code in b"\x8d\x8e\x96"},
    0x80: _proto, 0x95: _frame, 0x30: _pop, 0x31: _pop_mark, 0x32: _dup, 0x28: _mark,
    0x74: _tuple, 0x6C: _list, 0x64: _dict, 0x8F: _empty_set, 0x91: _frozenset,
    0x61: _append, 0x65: _appends, 0x90: _additems, 0x73: _setitem, 0x75: _setitems,
    0x63: _global, 0x93: _stack_global, 0x52: _reduce, 0x81: _newobj, 0x92: _newobj_ex,
    0x69: _inst, 0x6F: _obj, 0x62: _build,
    0x67: _get_text, 0x68: _binget, 0x6A: _long_binget, 0x70: _put_text, 0x71: _binput, 0x72: _long_binput,
    0x50: _persid, 0x51: _binpersid,
    0x82: _extension(1), 0x83: _extension(2), 0x84: _extension(4),
    0x97: _next_buffer, 0x98: _readonly_buffer,
}  # fmt: skip
"""Opcode -> what it does; constants of fixed size, small tuples and STOP are the machine's own."""

NEEDS: Final = {
    **dict.fromkeys(b"02Qpqr\x98", 1), **dict.fromkeys(b"aRb\x81\x93", 2), **dict.fromkeys(b"s\x92", 3),
}  # fmt: skip
"""How many values of its frame an opcode takes or looks at, where it does not take all."""

MAKES: Final = frozenset(b"Rbas\x81")
"""Opcodes after which a value may be complete, besides those that change marks."""

VALID: Final = frozenset(SLOW) | frozenset(b"KMJGN\x88\x89().]}\x85\x86\x87\x94")
"""Every opcode of protocols 0 to 5."""
