"""The few bytes of each binary format that a malicious file needs, written by hand."""

from __future__ import annotations

import json
import struct

import flatbuffers


def pb(*fields: tuple[int, object]) -> bytes:
    """A protobuf message: an int is a varint, a float 32 bits, text and bytes (a message too) length-delimited."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value & (1 << 64) - 1)
        elif isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            raw = value.encode() if isinstance(value, str) else bytes(value)
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def gguf_text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    pairs: dict[str, str | int],
    *,
    tensors: bytes = b"",
    count: int = 0,
    keys: int | None = None,
    version: int = 3,
    tail: bytes = b"",
) -> bytes:
    """A GGUF file with text and 32-bit metadata and ready tensor descriptions."""
    out = b"GGUF" + struct.pack("<IQQ", version, count, len(pairs) if keys is None else keys)
    for key, value in pairs.items():
        kind = (
            struct.pack("<I", 8) + gguf_text(value)
            if isinstance(value, str)
            else struct.pack("<II", 4, value)
        )
        out += gguf_text(key) + kind
    out += tensors
    return out + b"\x00" * (-len(out) % 32) + tail


def gguf_tensor(
    name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0, dims: int | None = None
) -> bytes:
    return (
        gguf_text(name)
        + struct.pack("<I", len(shape) if dims is None else dims)
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


def safetensors(header: object, body: bytes = b"", size: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + body


def tflite(code: int, custom: str | None = None, *, offset: int = 0, size: int = 0) -> bytes:
    """A TFLite model of one subgraph with one operator of this builtin code (32 is custom)."""
    b = flatbuffers.Builder(256)
    name = b.CreateString(custom) if custom else 0
    b.StartObject(4)
    b.PrependInt8Slot(0, min(code, 127), 0)
    if custom:
        b.PrependUOffsetTRelativeSlot(1, name, 0)
    b.PrependInt32Slot(2, 1, 0)
    b.PrependInt32Slot(3, code, 0)
    opcode = b.EndObject()
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(opcode)
    codes = b.EndVector()
    b.StartObject(9)
    b.PrependUint32Slot(0, 0, 7)
    operator = b.EndObject()
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(operator)
    operators = b.EndVector()
    b.StartVector(4, 0, 4)
    tensors = b.EndVector()
    b.StartObject(5)
    b.PrependUOffsetTRelativeSlot(0, tensors, 0)
    b.PrependUOffsetTRelativeSlot(3, operators, 0)
    graph = b.EndObject()
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(graph)
    graphs = b.EndVector()
    b.StartObject(3)
    b.PrependUint64Slot(1, offset, 0)
    b.PrependUint64Slot(2, size, 0)
    buffer = b.EndObject()
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(buffer)
    buffers = b.EndVector()
    b.StartObject(8)
    b.PrependUint32Slot(0, 3, 0)
    b.PrependUOffsetTRelativeSlot(1, codes, 0)
    b.PrependUOffsetTRelativeSlot(2, graphs, 0)
    b.PrependUOffsetTRelativeSlot(4, buffers, 0)
    b.Finish(b.EndObject(), b"TFL3")
    return bytes(b.Output())


def rds(value: bytes, *, kind: bytes = b"X\n", magic: bytes = b"") -> bytes:
    """R's XDR serialisation, version 2, around one value; `RDX2` before it makes it a workspace."""
    return magic + kind + struct.pack(">3i", 2, 0x00040300, 0x00020300) + value


def r_symbol(name: str) -> bytes:
    return struct.pack(">i", 1) + r_char(name)


def r_char(value: str) -> bytes:
    return struct.pack(">2i", 0x00040009, len(value)) + value.encode()


def r_text(value: str) -> bytes:
    return struct.pack(">2i", 16, 1) + r_char(value)


def r_call(function: str, argument: str) -> bytes:
    """The language object `function("argument")`."""
    return (
        struct.pack(">i", 6)
        + r_symbol(function)
        + struct.pack(">i", 2)
        + r_text(argument)
        + struct.pack(">i", 254)
    )


def r_promise(expression: bytes, *, environment: int = 253) -> bytes:
    """A promise without a value: R evaluates it when it is touched (CVE-2024-27322)."""
    return struct.pack(">i", 5 | 0x400) + struct.pack(">i", environment) + struct.pack(">i", 252) + expression


def r_closure(expression: bytes) -> bytes:
    """A function without arguments and with this body."""
    return struct.pack(">i", 3 | 0x400) + struct.pack(">i", 253) + struct.pack(">i", 254) + expression
