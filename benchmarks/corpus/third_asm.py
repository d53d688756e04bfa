# ruff: noqa: E501 - tables of what others write
"""A small pickle assembler: trees of globals, calls and plain values are written in any protocol and spelling."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import Any

MARK = "third-mark"


@dataclass(frozen=True)
class Item:
    """One artifact: how it is filed, what it holds, how it is proven."""

    label: str
    name: str
    file: str
    data: Any  # bytes, or a mapping from a path in the folder `file` to bytes
    check: str = "pickle"  # the loader that third_confirm.py uses
    proof: str = "mark"  # `mark`: the marker file appears; otherwise a prefix of an audit event
    expect: str = "dangerous"


@dataclass(frozen=True)
class G:
    """A global."""

    module: str
    name: str


@dataclass(frozen=True)
class C:
    """A call, and with `state` a BUILD after it; `how` is the opcode that calls."""

    func: Any
    args: Any = ()
    how: str = "reduce"
    state: Any = None
    extra: Any = None  # keyword arguments of NEWOBJ_EX


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    code: bytes


@dataclass
class Style:
    """How values are spelled."""

    protocol: int = 2
    seed: int = 0
    memo: str = "none"  # none, put (after every value), memoize
    header: bool = True
    mixed: bool = False  # spell strings and numbers in changing ways
    rng: random.Random = field(init=False)
    count: int = field(init=False, default=0)

    def __post_init__(self):
        self.rng = random.Random(self.seed)


def text(value, style):
    data = value.encode("utf-8", "surrogatepass")
    spell = 0 if style.protocol == 0 else 1
    if style.mixed:
        spell = style.rng.choice([0, 1, 2, 3] if style.protocol >= 4 else [0, 1])
    if spell == 0:
        return (
            b"V"
            + value.replace("\\", "\\u005c").replace("\n", "\\u000a").encode("raw-unicode-escape")
            + b"\n"
        )
    if spell == 2 and len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    if spell == 3:
        return b"\x8d" + struct.pack("<Q", len(data)) + data
    if style.protocol >= 4 and not style.mixed and len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    return b"X" + struct.pack("<I", len(data)) + data


def number(value, style):
    if style.protocol == 0 or (style.mixed and style.rng.random() < 0.3):
        return b"I%d\n" % value
    if style.mixed and style.rng.random() < 0.3:
        data = value.to_bytes(9, "little", signed=True)
        return b"\x8a\x09" + data
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def octets(value, style):
    if style.protocol >= 3:
        return (
            b"C" + bytes([len(value)]) if len(value) < 256 else b"B" + struct.pack("<I", len(value))
        ) + value
    return emit(C(G("_codecs", "encode"), (value.decode("latin-1"), "latin-1")), style)


def plain(value, style):
    old = style.protocol == 0
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return (b"I01\n" if value else b"I00\n") if style.protocol < 2 else (b"\x88" if value else b"\x89")
    if isinstance(value, int):
        return number(value, style)
    if isinstance(value, float):
        return b"F" + repr(value).encode() + b"\n" if old else b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return text(value, style)
    if isinstance(value, bytes):
        return octets(value, style)
    if isinstance(value, tuple):
        inner = [emit(part, style) for part in value]
        if style.protocol >= 2 and 1 <= len(value) <= 3:
            return b"".join(inner) + b"\x85\x86\x87"[len(value) - 1 : len(value)]
        if not inner and not old:
            return b")"
        return b"(" + b"".join(inner) + b"t"
    if isinstance(value, list):
        if old:
            return b"(l" + b"".join(emit(part, style) + b"a" for part in value)
        return b"](" + b"".join(emit(part, style) for part in value) + b"e"
    if isinstance(value, dict):
        pairs = [emit(key, style) + emit(part, style) for key, part in value.items()]
        if old:
            return b"(d" + b"".join(pair + b"s" for pair in pairs)
        return b"}(" + b"".join(pairs) + b"u"
    raise TypeError(type(value))


def find(node, style):
    if style.protocol >= 4 or (style.protocol == 3 and style.mixed):
        return text(node.module, style) + text(node.name, style) + b"\x93"
    return b"c" + node.module.encode() + b"\n" + node.name.encode() + b"\n"


def call(node, style):
    if node.how == "inst":
        parts = b"".join(emit(part, style) for part in node.args)
        code = b"(" + parts + b"i" + node.func.module.encode() + b"\n" + node.func.name.encode() + b"\n"
    elif node.how == "obj":
        code = b"(" + emit(node.func, style) + b"".join(emit(part, style) for part in node.args) + b"o"
    elif node.how == "newobj":
        code = emit(node.func, style) + emit(node.args, style) + b"\x81"
    elif node.how == "newobj_ex":
        code = emit(node.func, style) + emit(node.args, style) + emit(node.extra or {}, style) + b"\x92"
    else:
        code = emit(node.func, style) + emit(node.args, style) + b"R"
    if node.state is not None:
        code += emit(node.state, style) + b"b"
    return code


def emit(node, style):
    if isinstance(node, Raw):
        return node.code
    if isinstance(node, G):
        code = find(node, style)
    elif isinstance(node, C):
        code = call(node, style)
    else:
        code = plain(node, style)
    if style.memo == "put":
        style.count += 1
        code += b"p%d\n" % style.count if style.protocol == 0 else b"r" + struct.pack("<I", style.count)
    elif style.memo == "memoize" and style.protocol >= 4:
        code += b"\x94"
    return code


def dump(node, style=None):
    """The whole stream: header, frame when the protocol has one, body, STOP."""
    style = style or Style()
    body = emit(node, style) + b"."
    if style.protocol >= 4 and style.header:
        body = b"\x95" + struct.pack("<Q", len(body)) + body
    return (b"\x80" + bytes([style.protocol]) if style.protocol >= 2 and style.header else b"") + body


def system(command=f"touch {MARK}"):
    return C(G("os", "system"), (command,))


def bound(object_, name, *args):
    """A method of an object, called: getattr(object, name)(*args)."""
    return C(C(G("builtins", "getattr"), (object_, name)), args)
