"""Symbolic values: what the machine knows of an object that loading would create.

A constant (number, string, bytes, None, bool) is not decoded: its value is the plain ``int`` offset of the
opcode that pushes it, so that a run of a million numbers costs a million small integers and nothing else.
Every other value is one of the four classes below.
"""

from __future__ import annotations

import ast
import mmap
import struct
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.artifact.events import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.pickle.built import Built
    from modelward.artifact.pickle.opcodes import State
    from modelward.artifact.pickle.rules import Entry

Buffer: TypeAlias = bytes | mmap.mmap

KEPT: Final = 64
"""How many constants of a list are kept; the others are only counted."""
KEYS_KEPT: Final = 4096
"""How many entries of a dictionary are kept before its keys count as unknown."""

_PIECE: Final = 1 << 17

Constant: TypeAlias = bool | int | float | str | bytes | bytearray | None
Kind: TypeAlias = Literal["none", "bool", "int", "float", "str", "bytes", "bytearray"]


@final
class Global:
    """A name that loading would import and look up.

    Attributes:
        module: as the unpickler would import it, after its Python 2 renaming.
        name: qualified name; dots descend into attributes from protocol 4 on.
        pos: offset of the opcode.
        entry: its allow-list entry, or None.
        danger: why it is on the list of known payloads and gadgets, or None.
    """

    __slots__ = ("danger", "entry", "module", "name", "pos")

    def __init__(self, module: str, name: str, pos: int, entry: Entry | None, danger: str | None) -> None:
        self.module = module
        self.name = name
        self.pos = pos
        self.entry = entry
        self.danger = danger

    @property
    def path(self) -> str:
        """`module.qualname`."""
        return f"{self.module}.{self.name}"


@final
class Seq:
    """A list, tuple, set or frozenset; `whole` is False once constants were dropped to bound memory."""

    __slots__ = ("items", "kind", "whole")

    def __init__(self, kind: Literal["list", "tuple", "set", "frozenset"], items: list[Value]) -> None:
        self.kind = kind
        self.items = items
        self.whole = True

    def extend(self, items: list[Value]) -> None:
        """Append; beyond `KEPT` items only values that are not constants are kept."""
        mine = self.items
        if len(mine) + len(items) <= KEPT:
            mine += items
            return
        self.whole = False
        if room := max(0, KEPT - len(mine)):
            mine += items[:room]
        mine += [item for item in items[room:] if type(item) is not int]


@final
class Map:
    """A dictionary as its list of keys and list of values, in order of insertion.

    `shared` is True once native code keeps the dictionary itself, so that a later item would change it there.
    """

    __slots__ = ("keys", "shared", "values", "whole")

    def __init__(self) -> None:
        self.shared = False
        self.keys: list[Value] = []
        self.values: list[Value] = []
        self.whole = True

    def update(self, items: list[Value]) -> None:
        """Set items given as key, value, key, value, ...

        Raises:
            Broken: a key has no value; every unpickler ends there.
        """
        if len(items) % 2:
            raise Broken("a dictionary gets an odd number of items")
        if len(self.keys) < KEYS_KEPT:
            self.keys += items[0::2]
            self.values += items[1::2]
            return
        self.whole = False
        self.values += [item for item in items if type(item) is not int]


@final
class Obj:
    """What a call, an instantiation, a persistent id or an unknown opcode leaves on the stack.

    Attributes:
        tag: path of the class it is known to be an instance of; "" when not known.
        entry: the allow-list entry that governs its state and items, or None.
        callee: what was called; None for persistent ids, buffers and extension codes.
        args: the arguments, or None when they are not a tuple of known length.
        state: the last value given to BUILD.
        held: items added to it that are not constants.
        loose: its attributes may be anything, so a method called on it may be a callable of the file.
        used: native code or another object was given it, so its memory layout must not change any more.
        tainted: it comes from a call on the list of known payloads and gadgets.
        built: what the file built here itself: code, a function, a class; None for anything else.
    """

    __slots__ = (
        "args",
        "built",
        "callee",
        "entry",
        "held",
        "loose",
        "pos",
        "state",
        "tag",
        "tainted",
        "used",
    )

    def __init__(
        self, tag: str, pos: int, callee: Value | None = None, args: Sequence[Value] | None = None
    ) -> None:
        self.tag = tag
        self.pos = pos
        self.callee = callee
        self.args = args
        self.entry: Entry | None = None
        self.state: Value | None = None
        self.held: list[Value] = []
        self.loose = False
        self.used = False
        self.tainted = False
        self.built: Built | None = None


@final
class Inert:
    """A stretch of plain data that was jumped over; its values are made when one of them is asked for.

    Attributes:
        state: the stream it is in.
        span: offsets of its first opcode and of its end.
        memo: the memo, whose entries below `base` it may read back, and whose next entries are its own.
        base: number of its first memo entry.
        refs: values made outside that it holds.
        first: the value below it on the stack, if it took that in.
        fed: its values go one by one into a container, which `first` is a copy of without items.
        made: the values it leaves on the stack, and its memo entries, once they were asked for.
    """

    __slots__ = ("base", "fed", "first", "made", "memo", "refs", "span", "state")

    def __init__(
        self,
        state: State,
        span: tuple[int, int],
        memo: list[Value],
        refs: list[Value],
        first: list[Value],
        *,
        fed: bool = False,
    ) -> None:
        self.state = state
        self.span = span
        self.memo = memo
        self.base = len(memo)
        self.refs = first + refs
        self.first = first
        self.fed = fed
        self.made: tuple[list[Value], list[Value]] | None = None

    def values(self) -> list[Value]:
        """The values it leaves on the stack."""
        return self._make()[0]

    def entry(self, key: int) -> Value:
        """The memo entry of this number."""
        return self._make()[1][key - self.base]

    def inside(self) -> list[Value]:
        """What it holds, as far as that was made."""
        return self.refs if self.made is None else self.refs + self.made[0]

    def _make(self) -> tuple[list[Value], list[Value]]:
        if self.made is not None:
            return self.made
        from modelward.artifact.pickle.machine import walk_again

        todo, found = [self], set[Inert]()
        while todo:  # those it reads back come first: without recursion, however long the chain
            one = todo.pop()
            if one.made is None and one not in found:
                found.add(one)
                todo += [ref for ref in one.refs if isinstance(ref, Inert)]
        made: tuple[list[Value], list[Value]] = [], []
        for one in sorted(found, key=lambda one: one.span):
            one.made = made = walk_again(one)
        return made  # this stretch is the last of them


Value: TypeAlias = int | Global | Seq | Map | Obj | Inert

_KINDS: Final[dict[int, Kind]] = {
    **dict.fromkeys(b"N", "none"),
    **dict.fromkeys(b"\x88\x89", "bool"),
    **dict.fromkeys(b"IKMJL\x8a\x8b", "int"),
    **dict.fromkeys(b"FG", "float"),
    **dict.fromkeys(b"SUTVX\x8c\x8d", "str"),
    **dict.fromkeys(b"BC\x8e", "bytes"),
    **dict.fromkeys(b"\x96", "bytearray"),
}
_PREFIX: Final[dict[int, struct.Struct]] = {
    **{code: struct.Struct("<B") for code in b"UC\x8c\x8a"},
    **{code: struct.Struct("<I") for code in b"TXB\x8b"},
    **{code: struct.Struct("<Q") for code in b"\x8d\x8e\x96"},
}
_FIXED: Final[dict[int, Constant]] = {0x4E: None, 0x88: True, 0x89: False}
_BOOL_LINES: Final[dict[bytes, bool]] = {b"00": False, b"01": True}
PYTHON2_STRINGS: Final = frozenset(b"STU")


def holds(data: Buffer, words: tuple[bytes, ...], start: int = 0) -> bool:
    """Whether one of the words stands in a buffer from `start` on; by pieces, since a map searches slowly."""
    if isinstance(data, bytes):
        return any(data.find(word, start) >= 0 for word in words)
    more = max(map(len, words)) - 1
    for pos in range(start, len(data), _PIECE):
        piece = data[pos : pos + _PIECE + more]
        if any(word in piece for word in words):
            return True
    return False


def kind(data: Buffer, pos: int) -> Kind:
    """Kind of the constant pushed at `pos`."""
    if data[pos] == 0x49 and data[pos + 1 : pos + 4] in {b"00\n", b"01\n"}:
        return "bool"
    return _KINDS[data[pos]]


def _line(data: Buffer, pos: int) -> bytes:
    end = data.find(b"\n", pos)
    return data[pos : end if end >= 0 else len(data)]


def constant(data: Buffer, pos: int, limit: int = 1 << 20) -> Constant:
    """Decode the constant pushed at `pos`, as CPython's unpickler would.

    Args:
        data: the stream.
        pos: offset of the opcode.
        limit: longest string or byte string decoded, in bytes; longer ones are cut.

    Raises:
        ValueError: a literal is malformed; the unpickler would raise as well.
    """
    code = data[pos]
    if code in _FIXED:
        return _FIXED[code]
    if code == 0x4B:
        return data[pos + 1]
    if code == 0x4D:
        return int.from_bytes(data[pos + 1 : pos + 3], "little")
    if code == 0x4A:
        return int.from_bytes(data[pos + 1 : pos + 5], "little", signed=True)
    if code == 0x47:
        return float(struct.unpack_from(">d", data, pos + 1)[0])
    if code in b"IFLSV":
        return _text(code, _line(data, pos + 1)[:limit])
    prefix = _PREFIX[code]
    start = pos + 1 + prefix.size
    size: int = prefix.unpack_from(data, pos + 1)[0]
    body = data[start : start + min(size, limit)]
    if code in b"\x8a\x8b":
        return int.from_bytes(body, "little", signed=True)
    if code in b"BC\x8e":
        return body
    if code == 0x96:
        return bytearray(body)
    return (
        body.decode("utf-8", "surrogatepass" if size <= limit else "replace")
        if code not in PYTHON2_STRINGS
        else body.decode("latin-1")
    )


def _text(code: int, line: bytes) -> Constant:
    """Decode the argument line of INT, FLOAT, LONG, STRING or UNICODE (protocol 0)."""
    if code == 0x49:
        return _BOOL_LINES[line] if line in _BOOL_LINES else int(line, 0)
    if code == 0x46:
        return float(line)
    if code == 0x4C:
        return int(line.removesuffix(b"L"), 0)
    if code == 0x56:
        return line.decode("raw-unicode-escape")
    text = line.strip(b" \t\r")
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in {b"'", b'"'}:
        raise ValueError("a STRING opcode has no quotes")
    try:
        value: bytes = ast.literal_eval("b" + text.decode("latin-1"))
    except SyntaxError as error:
        raise ValueError("a STRING opcode has a malformed literal") from error
    return value.decode("latin-1")


def children(value: Value) -> Iterator[Value]:
    """Values directly inside a container, or given to an object."""
    if isinstance(value, Seq):
        yield from value.items
    elif isinstance(value, Map):
        yield from value.keys
        yield from value.values
    elif isinstance(value, Obj):
        yield from value.args or ()
        yield from value.held
        if value.state is not None:
            yield value.state
    elif isinstance(value, Inert):
        yield from value.inside()


def flat(items: list[Value]) -> Iterator[Value]:
    """Items of a container, with those that were jumped over in the place of what stands for them."""
    for item in items:
        if isinstance(item, Inert):
            yield from item.values()
        else:
            yield item


_BRACKETS: Final = {"list": ("[", "]"), "tuple": ("(", ")"), "set": ("{", "}"), "frozenset": ("{", "}")}


def render(data: Buffer, value: Value, depth: int = 3) -> str:
    """Python-like text of a value, at most about 200 characters per level.

    Args:
        data: the stream the value's constants lie in.
        value: what to write.
        depth: how many levels of nesting are written out.
    """
    if isinstance(value, int):
        return _short(_decoded(data, value))
    if isinstance(value, Global):
        return value.path.removeprefix("builtins.")
    if depth == 0 or isinstance(value, Inert):
        return "..."
    if isinstance(value, Seq):
        inner = ", ".join(render(data, item, depth - 1) for item in value.items[:6])
        more = (
            ", ..."
            if len(value.items) > 6
            else ","
            if value.kind == "tuple" and len(value.items) == 1
            else ""
        )
        left, right = _BRACKETS[value.kind]
        return left + inner + more + right
    if isinstance(value, Map):
        pairs = zip(value.keys[:4], value.values[:4], strict=False)
        inner = ", ".join(f"{render(data, k, depth - 1)}: {render(data, v, depth - 1)}" for k, v in pairs)
        return "{" + inner + (", ..." if len(value.keys) > 4 else "") + "}"
    return (
        call_text(data, value.callee, value.args, depth)
        if value.callee is not None
        else f"<{value.tag or 'unknown'}>"
    )


def call_text(data: Buffer, callee: Value, args: Sequence[Value] | None, depth: int = 3) -> str:
    """`os.system('id')`: the call as a line of Python, cut to 300 characters."""
    inner = "*?" if args is None else ", ".join(render(data, item, depth - 1) for item in args[:8])
    return _cut(f"{render(data, callee, depth)}({inner}{', ...' if args and len(args) > 8 else ''})", 300)


def _decoded(data: Buffer, pos: int) -> str:
    try:
        return repr(constant(data, pos, 400))
    except ValueError:
        return "<malformed>"


def _short(text: str) -> str:
    return _cut(text, 200)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
