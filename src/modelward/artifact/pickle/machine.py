"""The pickle machine: walks every opcode of protocols 0 to 5 with symbolic values.

It follows CPython's two unpicklers (Modules/_pickle.c and Lib/pickle.py) opcode by opcode: stack, marks,
memo, frames. Where they are known to differ, or an object would raise, the machine goes on, so that what it
reports covers what each of them would do. The names that both look up on mutated streams are compared with
those judged here, by the tests on the running Python; the same was done by hand for 3.12 and 3.13.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Broken, Event
from modelward.artifact.pickle import runs
from modelward.artifact.pickle.opcodes import MAKES, NEEDS, SLOW, VALID, Reached, State
from modelward.artifact.pickle.undo import Journal
from modelward.artifact.pickle.values import Inert, Map, Seq, children

if TYPE_CHECKING:
    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.values import Value

_STEP: Final = [0] * 256
for _code, _size in {0x47: 9, 0x4B: 2, 0x4D: 3, 0x4A: 5, 0x4E: 1, 0x88: 1, 0x89: 1}.items():
    _STEP[_code] = _size
_RUN: Final = {
    code: re.compile(b"(?:" + re.escape(bytes([code])) + b".{%d})++" % (step - 1), re.DOTALL)
    for code, step in enumerate(_STEP)
    if step
}
"""Per opcode of a number, None or a bool: a run of the same opcode, which costs one match however long."""
STREAMS: Final = 10_000
"""Most streams walked in one buffer."""
SECOND_READING: Final = 1 << 20
"""Bytes that second readings of array bodies may walk besides four times the buffer."""


class Walk(msgspec.Struct, frozen=True):
    """How far one stream was walked.

    Attributes:
        start: offset of its first opcode.
        end: offset after STOP, or where the walk ended.
        broken: why it ended without STOP, or None.
        wrappers: number of joblib array wrappers met.
    """

    start: int
    end: int
    broken: str | None
    wrappers: int


def walk(judge: Judge, start: int = 0, *, joblib: bool = False) -> Walk:
    """Walk one stream of `judge.data` from `start` to its STOP.

    Args:
        judge: judges every effect and keeps the events.
        start: offset of the first opcode.
        joblib: array bodies follow their wrappers.
    """
    state = State(judge.data, judge, joblib=joblib)
    return _walk(state, start)


def _walk(state: State, start: int) -> Walk:
    cursor = [start]
    broken: str | None = None
    try:
        _run(state, start, cursor)
        state.judge.kept(state.stack[-1], cursor[0] - 1)
    except (Broken, IndexError) as error:
        if state.jumped:
            raise Reached from error
        broken = "the stream ends early, or takes more values from its stack than it has"
        if isinstance(error, Broken):
            broken = str(error)
    return Walk(start, cursor[0], broken, state.wrappers)


def _run(state: State, pos: int, cursor: list[int]) -> None:
    """The inner loop; frequent opcodes are written out, the others are functions of `SLOW`."""
    data, step_of, run_of, slow = state.data, _STEP, _RUN, SLOW.get
    try:
        while True:
            if pos >= state.next_jump:
                pos = _jump(state, pos)
            stack, memo, limit = state.stack, state.memo, state.limit
            push, memoize = stack.append, memo.append
            while pos < limit:
                op = data[pos]
                if step := step_of[op]:
                    push(pos)
                    pos += step
                    if pos < limit and data[pos] == op and (run := run_of[op].match(data, pos, limit)):
                        stack.extend(range(pos, run.end(), step))
                        pos = run.end()
                elif op == 0x94:
                    memoize(stack[-1])
                    pos += 1
                elif op == 0x8C:
                    push(pos)
                    pos += 2 + data[pos + 1]
                    if pos < limit and data[pos] == 0x94:
                        memoize(stack[-1])
                        pos += 1
                elif op == 0x68 and type(memo) is list:
                    value = memo[data[pos + 1]]
                    push(value.entry(data[pos + 1]) if type(value) is Inert else value)
                    pos += 2
                elif 0x85 <= op <= 0x87:
                    push(Seq("tuple", state.take(op - 0x84)))
                    pos += 1
                    if pos >= state.next_jump:
                        break
                elif op in {0x29, 0x5D}:
                    push(Seq("tuple" if op == 0x29 else "list", []))
                    pos += 1
                elif op == 0x7D:
                    push(Map())
                    pos += 1
                elif op == 0x2E:
                    pos += 1
                    return
                elif (handler := slow(op)) is not None:
                    if state.aside and len(stack) < NEEDS.get(op, 0):
                        state.restore()
                    pos = handler(state, pos)
                    if state.limit != limit or state.stack is not stack or state.memo is not memo:
                        break
                    if pos >= state.next_jump and op in MAKES:
                        break
                else:
                    raise Broken(f"byte 0x{op:02x} is no opcode")
            else:
                pos = _frame_end(state, pos)
    finally:
        cursor[0] = min(pos, len(data))


def _jump(state: State, pos: int) -> int:
    """Jump over plain data, after the memo entry of what was just made."""
    code = state.data[pos] if pos < state.limit else 0
    if code == 0x94:
        state.memo.append(state.stack[-1])
        pos += 1
    elif code in {0x71, 0x72}:
        pos = SLOW[code](state, pos)
    return runs.jump(state, pos)


def _frame_end(state: State, pos: int) -> int:
    """The current frame is used up: exactly, or an opcode reaches over its end."""
    if state.limit == state.end:
        raise Broken("the data ends before STOP")
    if pos > state.limit:
        message = (
            "an opcode reaches over the end of its frame: the C and the Python unpickler read it differently"
        )
        state.judge.record(Event("pickle.frame", "unproven", message, pos))
    state.limit = len(state.data)
    return pos


def walk_again(passed: Inert) -> tuple[list[Value], list[Value]]:
    """The values and the memo entries of a stretch that was jumped over."""
    start, end = passed.span
    state = State(passed.state.data, passed.state.judge)
    state.limit = state.end = end
    state.next_jump, state.proto = len(state.data), passed.state.proto
    state.stack, memo = list(passed.first), passed.memo[: passed.base]
    state.memo = memo
    with suppress(Broken):  # at its end
        _run(state, start, [start])
    values = list(children(passed.first[0])) if passed.fed else state.stack
    return values, memo[passed.base :]


def nested(outer: State, pos: int) -> tuple[int, Value]:
    """Walk the pickle of an array of objects inside a joblib stream; gives where it ends, and its value.

    Raises:
        Broken: it has no end.
    """
    state = State(outer.data, outer.judge)
    inner = _walk(state, pos)
    if inner.broken is not None:
        raise Broken(f"in an array of objects: {inner.broken}")
    return inner.end, state.stack[-1]


def second_reading(state: State, pos: int) -> None:
    """Walk array bytes as opcodes, as `pickle.load` would; it usually ends at the first byte.

    A payload found this way counts. An unknown name does not: the pickle of a harmless array of objects
    refers to its own memo, and in this reading picks up unrelated text instead.
    """
    judge = state.judge
    if pos >= len(state.data) or state.data[pos] not in VALID:
        return
    copied = len(state.stack) + sum(map(len, state.meta))
    if judge.second_bytes + copied > 4 * len(state.data) + SECOND_READING:
        message = "array bytes that pickle.load would read as opcodes were not all walked"
        judge.record(Event("pickle.budget", "unproven", message, pos))
        return
    kept, judge.events, judge.journal = judge.events, {}, Journal()
    found = _walk(state.fork(), pos)
    for changed in judge.journal.undo():
        judge.match.layouts.pop(id(changed), None)
    seen, judge.events, judge.journal = judge.events, kept, None
    judge.second_bytes += copied + found.end - pos + 64
    for (_, subject), event in seen.items():
        if event.level == "unproven":
            event.level = "note"
            event.message = f"if pickle.load instead of joblib.load read the file: {event.message}"
        judge.record(event, subject if event.level == "dangerous" else "")
