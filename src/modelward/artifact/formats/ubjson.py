"""Universal binary JSON as Python values; typed arrays stay arrays.

Source: UBJSON draft 12 (types, optimised containers), big-endian, as XGBoost 1.7 and later write it.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, Final, TypeAlias, final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

DEPTH: Final = 64
_NUMBERS: Final = {
    code: struct.Struct(">" + shape)
    for code, shape in {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}.items()
}
_ARRAYS: Final = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}
_CONSTANTS: Final = {"Z": None, "T": True, "F": False}

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | array[int] | array[float] | str | float | None"


@final
class _Reader:
    def __init__(self, data: Buffer, into: Reading) -> None:
        self.data = data
        self.into = into
        self.pos = 0
        self.end = len(data)

    def need(self, size: int) -> int:
        start = self.pos
        if size < 0 or size > self.end - start:
            raise Malformed(f"{size} bytes are needed at offset {start}, and {self.end - start} are left")
        self.pos = start + size
        return start

    def marker(self) -> str:
        code = "N"
        while code == "N":  # no-op
            code = chr(self.data[self.need(1)])
        return code

    def ahead(self) -> str:
        return chr(self.data[self.pos]) if self.pos < self.end else ""

    def count(self) -> int:
        code = self.marker()
        if code not in {"i", "U", "I", "l", "L"}:
            raise Malformed(f"a length of the type {code!r} at offset {self.pos}")
        size = int(self.number(code))
        if size < 0:
            raise Malformed(f"a length of {size} at offset {self.pos}")
        return size

    def number(self, code: str) -> float:
        shape = _NUMBERS[code]
        value: float = shape.unpack_from(self.data, self.need(shape.size))[0]
        return value

    def text(self) -> str:
        size = self.count()
        start = self.need(size)
        return bytes(self.data[start : start + size]).decode("utf-8", "backslashreplace")

    def scalar(self, code: str) -> Tree:
        if code in _NUMBERS:
            return self.number(code)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in {"S", "H"}:
            return self.text()
        if code == "C":
            return chr(self.data[self.need(1)])
        raise Malformed(f"the unknown type {code!r} at offset {self.pos}")

    def head(self) -> tuple[str, int]:
        """Type and length of an optimised container; "" and -1 where it states none."""
        kind, size = "", -1
        if self.ahead() == "$":
            self.pos += 1
            kind = self.marker()
        if self.ahead() == "#":
            self.pos += 1
            size = self.count()
        elif kind:
            raise Malformed(f"a container with a type and no length at offset {self.pos}")
        return kind, size

    def numbers(self, kind: str, size: int) -> array[int] | array[float]:
        made: array[int] | array[float] = array(_ARRAYS[kind])
        start = self.need(size * made.itemsize)
        made.frombytes(self.data[start : self.pos])
        if sys.byteorder == "little":
            made.byteswap()
        return made


@final
class _Frame:
    """A container that is being read."""

    def __init__(self, made: dict[str, Tree] | list[Tree], kind: str, left: int) -> None:
        self.made = made
        self.kind = kind
        self.left = left


def decode(data: Buffer, into: Reading) -> Tree:
    """The value of a file; nothing may stand behind it.

    Raises:
        Malformed: it is no UBJSON, or nested deeper than is read.
        Exhausted: it holds too many values.
    """
    reader = _Reader(data, into)
    root: list[Tree] = []
    stack = [_Frame(root, "", 1)]
    while stack:
        frame = stack[-1]
        into.spend()
        if frame.left == 0 or (frame.left < 0 and reader.ahead() in {"]", "}"}):
            if frame.left < 0 and reader.marker() != ("}" if isinstance(frame.made, dict) else "]"):
                raise Malformed(f"a container ends with the wrong mark at offset {reader.pos}")
            stack.pop()
            continue
        frame.left -= frame.left > 0
        key = reader.text() if isinstance(frame.made, dict) else ""
        if isinstance(frame.made, dict) and key in frame.made:
            raise Malformed(f"the key {key[:80]!r} stands twice, of which a reader takes the first")
        code = frame.kind or reader.marker()
        value: Tree
        if code in {"[", "{"}:
            kind, size = reader.head()
            if code == "[" and kind in _ARRAYS:
                value = reader.numbers(kind, size)
            else:
                value = [] if code == "[" else {}
                if size * (kind not in _CONSTANTS) > reader.end - reader.pos or size > 1 << 24:
                    raise Malformed(f"a container of {size} values at offset {reader.pos}")
                stack.append(_Frame(value, kind, size))
                if len(stack) > DEPTH:
                    raise Malformed(f"containers are nested deeper than {DEPTH} levels")
        else:
            value = reader.scalar(code)
        if isinstance(frame.made, dict):
            frame.made[key] = value
        else:
            frame.made.append(value)
    if reader.pos != reader.end:
        raise Malformed(f"{reader.end - reader.pos} bytes stand behind the value")
    return root[0]
