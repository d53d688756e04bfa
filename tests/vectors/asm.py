"""An assembler of pickles, opcode by opcode, and the value that a vector is.

Every payload is inert by construction: it would run `true`, print a digit or touch a folder that does not exist.
Nothing here is ever loaded.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

COMMAND, CODE, PATH = "true", "print(1)", "/nonexistent/modelward"
STOP = b"."


class Vector(NamedTuple):
    """One malicious artifact.

    Attributes:
        label: the bypass class.
        name: what is particular about this one.
        file: name of the file or, when `data` is a dict, of the folder.
        data: the content, or the content of each file below the folder.
        expect: `dangerous` when loading would run the payload, `not-clean` when it can merely not be trusted.
    """

    label: str
    name: str
    file: str
    data: bytes | dict[str, bytes]
    expect: Literal["dangerous", "not-clean"] = "dangerous"


class Raw(bytes):
    """Opcodes that leave one value on the stack."""

    __slots__ = ()


def proto(version: int) -> bytes:
    return b"\x80" + bytes([version]) if version > 1 else b""


def text(value: str, version: int = 4) -> Raw:
    raw = value.encode("utf-8", "surrogatepass")
    if version == 0:
        return Raw(b"V" + value.encode("raw-unicode-escape") + b"\n")
    if version >= 4 and len(raw) < 256:
        return Raw(b"\x8c" + bytes([len(raw)]) + raw)
    return Raw(b"X" + struct.pack("<I", len(raw)) + raw)


def push(value: object, version: int = 4) -> Raw:
    """The opcodes for a constant, a container of constants, or ready opcodes."""
    if isinstance(value, Raw):
        return value
    if value is None or isinstance(value, bool):
        return Raw(
            {
                None: b"N",
                True: b"\x88" if version > 1 else b"I01\n",
                False: b"\x89" if version > 1 else b"I00\n",
            }[value]
        )
    if isinstance(value, int):
        return Raw(b"J" + struct.pack("<i", value) if version else b"I%d\n" % value)
    if isinstance(value, str):
        return text(value, version)
    if isinstance(value, bytes):
        return Raw(
            b"C" + bytes([len(value)]) + value
            if len(value) < 256
            else b"B" + struct.pack("<I", len(value)) + value
        )
    if isinstance(value, tuple):
        return Raw(b"(" + b"".join(push(item, version) for item in value) + b"t")
    if isinstance(value, list):
        return Raw(
            b"](" + b"".join(push(item, version) for item in value) + b"e"
            if version
            else b"(" + b"".join(push(item, 0) for item in value) + b"l"
        )
    if isinstance(value, dict):
        pairs = b"".join(push(key, version) + push(item, version) for key, item in value.items())
        return Raw(b"(" + pairs + b"d" if not version else b"}(" + pairs + b"u")
    raise TypeError(type(value))


def ref(path: str, version: int = 4) -> Raw:
    """A global `module:qualname`."""
    module, qualname = path.split(":")
    if version < 4:
        return Raw(f"c{module}\n{qualname}\n".encode())
    return Raw(text(module) + text(qualname) + b"\x93")


def call(path: str | Raw, *arguments: object, version: int = 4) -> Raw:
    """The call of a global with these positional arguments."""
    target = path if isinstance(path, Raw) else ref(path, version)
    return Raw(target + push(arguments, version) + b"R")


def obj(path: str | Raw, *arguments: object, state: object = None, version: int = 4) -> Raw:
    """`cls.__new__(cls, *arguments)`, then a state if there is one."""
    target = path if isinstance(path, Raw) else ref(path, version)
    made = target + push(arguments, version) + b"\x81"
    return Raw(made if state is None else made + push(state, version) + b"b")


def pickle(*body: bytes, version: int = 4) -> bytes:
    return proto(version) + b"".join(body) + STOP


def payload(version: int = 4) -> bytes:
    """The plainest of all: `os.system('true')`."""
    return pickle(call("os:system", COMMAND, version=version), version=version)


def benign(version: int = 4) -> bytes:
    """A stream that a reader would take for weights."""
    return pickle(push({"layer.weight": [1, 2, 3], "layer.bias": 4}, version), version=version)
