"""Code objects that a Lambda layer carries: their names and texts, read from the marshalled bytes.

A layer whose function is a Python lambda stores its code object, marshalled and in base64. Loading makes a
function of it, and building the model calls it. The bytes are parsed here, never unmarshalled.

Source: CPython Python/marshal.c (formats 2 to 5) with the fields of code objects of Python 2.7, 3.0 to 3.7,
3.8 to 3.10 and 3.11 to 3.14; keras/src/utils/python_utils.py (func_load).
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, TypeAlias, final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

_NODES: Final = 100_000
_DEPTH: Final = 60
_LAYOUTS: Final = (
    (5, "code consts names localsplusnames localspluskinds filename name qualname", True),
    (6, "code consts names varnames freevars cellvars filename name", False),
    (5, "code consts names varnames freevars cellvars filename name", False),
    (4, "code consts names varnames freevars cellvars filename name", False),
)
"""Numbers in front, values, and whether a table of exceptions ends the object; newest Python first."""
_SINGLE: Final = {"N": None, "F": False, "T": True, "S": StopIteration, ".": Ellipsis, "0": None}
_IDENTIFIER: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{2,40}")

Value: TypeAlias = object
"""A marshalled value: a number, a text, bytes, a tuple, a `Code`, or a mark of another kind."""


class Code(msgspec.Struct, frozen=True):
    """A code object.

    Attributes:
        names: globals and attributes that it asks for.
        texts: text constants.
        inner: code objects among its constants.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    inner: tuple[Code, ...]


def decode(text: str) -> bytes:
    """The bytes that Keras takes a text for: base64 (other characters left out), else the characters."""
    try:
        return binascii.a2b_base64(text.encode("ascii"))
    except (ValueError, binascii.Error):
        return text.encode("raw_unicode_escape", "replace")


def parse(raw: bytes) -> Code | None:
    """Read a marshalled code object; None when it is none that any Python writes."""
    for numbers, fields, exceptions in _LAYOUTS:
        try:
            found = _Unmarshal(raw, numbers, tuple(fields.split()), exceptions=exceptions).value(0)
        except (Malformed, UnicodeError):
            continue
        if isinstance(found, Code):
            return found
    return None


def everything(code: Code) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and texts of a code object and of those inside it, each once, in order."""
    names: dict[str, None] = {}
    texts: dict[str, None] = {}
    stack = [code]
    while stack:
        item = stack.pop()
        names.update(dict.fromkeys(item.names))
        texts.update(dict.fromkeys(item.texts))
        stack += reversed(item.inner)
    return tuple(names), tuple(texts)


def guessed(raw: bytes) -> tuple[str, ...]:
    """Words in bytes that cannot be read as a code object."""
    return tuple(dict.fromkeys(found.decode("ascii") for found in _IDENTIFIER.findall(raw[: 1 << 20])))[:50]


@final
class _Unmarshal:
    """Reads marshalled values for one layout of code objects."""

    def __init__(self, raw: bytes, numbers: int, fields: tuple[str, ...], *, exceptions: bool) -> None:
        self.cursor = Cursor(raw)
        self.numbers = numbers
        self.fields = fields
        self.exceptions = exceptions
        self.refs: list[Value] = []
        self.interned: list[Value] = []
        self.left = _NODES

    def value(self, depth: int) -> Value:
        """The next value; containers hold values."""
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            raise Malformed("the code is too large or too deep")
        head = self.cursor.number("B")
        slot = -1
        if head & 0x80:
            slot = len(self.refs)
            self.refs.append(None)
        made = self._made(chr(head & 0x7F), depth)
        if slot >= 0:
            self.refs[slot] = made
        return made

    def _made(self, kind: str, depth: int) -> Value:
        read: dict[str, Callable[[], Value]] = {
            "i": lambda: self.cursor.number("i"),
            "I": lambda: self.cursor.number("q"),
            "l": self._long,
            "f": lambda: self._raw(self.cursor.number("B")),
            "g": lambda: self._raw(8),
            "x": lambda: (self._raw(self.cursor.number("B")), self._raw(self.cursor.number("B"))),
            "y": lambda: self._raw(16),
            "s": lambda: self._raw(self.cursor.number("I")),
            "t": self._interned,
            "R": lambda: self._ref(self.interned),
            "r": lambda: self._ref(self.refs),
            "u": lambda: self._raw(self.cursor.number("I")).decode("utf-8", "surrogatepass"),
            "a": lambda: self._raw(self.cursor.number("I")).decode("latin-1"),
            "A": lambda: self._raw(self.cursor.number("I")).decode("latin-1"),
            "z": lambda: self._raw(self.cursor.number("B")).decode("latin-1"),
            "Z": lambda: self._raw(self.cursor.number("B")).decode("latin-1"),
        }
        if kind in _SINGLE:
            return _SINGLE[kind]
        if kind in read:
            return read[kind]()
        if kind == "c":
            return self._code(depth)
        if kind in "([<>)":
            count = self.cursor.number("B") if kind == ")" else self.cursor.number("I")
            if count > self.cursor.left:
                raise Malformed("a container is cut off")
            return tuple(self.value(depth + 1) for _ in range(count))
        if kind == ":":
            return tuple(self.value(depth + 1) for _ in range(3))
        raise Malformed(f"no marshalled value starts with {kind!r}")

    def _raw(self, size: int) -> bytes:
        return self.cursor.take(size)

    def _long(self) -> Value:
        self._raw(2 * abs(self.cursor.number("i")))
        return 0

    def _interned(self) -> Value:
        made = self._raw(self.cursor.number("I"))
        self.interned.append(made)
        return made

    def _ref(self, table: list[Value]) -> Value:
        index = self.cursor.number("I")
        if index >= len(table):
            raise Malformed("a reference leads nowhere")
        return table[index]

    def _code(self, depth: int) -> Code:
        self._raw(4 * self.numbers)
        values = {name: self.value(depth + 1) for name in self.fields}
        self._raw(4)
        self.value(depth + 1)
        if self.exceptions and not isinstance(self.value(depth + 1), bytes):
            raise Malformed("a code object has no table of exceptions")
        consts, names = values["consts"], values["names"]
        if not isinstance(consts, tuple) or not isinstance(names, tuple):
            raise Malformed("a code object has no constants or names")
        if not isinstance(values["code"], bytes) or _text(values["filename"]) is None:
            raise Malformed("a code object has no code or file name")
        asked = [_text(name) for name in names]
        if None in asked:
            raise Malformed("a name is no text")
        texts, inner = _constants(consts)
        return Code(tuple(name for name in asked if name is not None), texts, inner)


def _text(value: Value) -> str | None:
    return (
        value if isinstance(value, str) else (value.decode("latin-1") if isinstance(value, bytes) else None)
    )


def _constants(consts: tuple[Value, ...]) -> tuple[tuple[str, ...], tuple[Code, ...]]:
    texts: list[str] = []
    inner: list[Code] = []
    stack = list(reversed(consts))
    for _ in range(_NODES):
        if not stack:
            break
        item = stack.pop()
        if isinstance(item, tuple):
            stack += reversed(item)
        elif isinstance(item, Code):
            inner.append(item)
        elif (text := _text(item)) is not None:
            texts.append(text)
    return tuple(texts), tuple(inner)
