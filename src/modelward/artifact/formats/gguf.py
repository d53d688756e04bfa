"""GGUF: key-value pairs, descriptions of tensors, tensors.

Loading reads numbers and texts; two things can do more: sizes that overflow the arithmetic of loaders in C,
and the chat template, which is a program in Jinja.
Source: ggml `docs/gguf.md` (versions 1 to 3), `ggml/src/gguf.cpp`, `ggml/src/ggml.c` (`type_traits`); for
what overflowed: CVE-2024-21802, -21825, -21836, -23496, -23605 (llama.cpp).
"""

from __future__ import annotations

import struct
from collections import Counter
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias, final

import msgspec

from modelward.artifact.formats.jinja import LONGEST, judge
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

DIMS: Final = 4
"""Most dimensions (`GGML_MAX_DIMS`)."""
MOST: Final = (1 << 53) - 1
"""Largest count that is stated (the integers of canonical JSON)."""
DEPTH: Final = 4
"""Deepest nesting of arrays that is read."""
_OVERFLOW: Final = 1 << 63
_KEPT: Final = 1 << 16
"""Most bytes of a text that are kept, unless it is a template."""
_TEMPLATE: Final = "tokenizer.chat_template"
TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 4: ("Q4_2", 16, 10),
    5: ("Q4_3", 16, 12), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 31: ("Q4_0_4_4", 32, 18),
    32: ("Q4_0_4_8", 32, 18), 33: ("Q4_0_8_8", 32, 18), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""Type number -> name, values per block, bytes per block."""
_SIZES: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_FACTS: Final = {
    "general.architecture": "architecture",
    "general.name": "name",
    "general.license": "licence",
    "general.quantized_by": "producer",
}

Scalar: TypeAlias = str | int | float | bool | None


class _Tensor(msgspec.Struct):
    """A description: `offset` counts from the start of the data, `size` is in bytes, -1 when not known."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


@final
class _File:
    """The file behind its magic number, in its byte order; nothing is read outside it."""

    def __init__(self, data: Buffer, into: Reading) -> None:
        self.data = data
        self.into = into
        self.end = len(data)
        self.pos = 8
        if self.end < 8:
            raise Malformed("the header is cut off")
        self.order = "<" if int.from_bytes(data[4:6], "little") else ">"
        self.version = int.from_bytes(data[4:8], "little" if self.order == "<" else "big")
        self.count = struct.Struct(self.order + ("I" if self.version == 1 else "Q"))

    def room(self, size: int, what: str) -> int:
        """Step over so many bytes; where they start."""
        start = self.pos
        if size > self.end - start:
            if size >= _OVERFLOW:
                raise _Overflow(f"{what} of {size} bytes, whose end overflows 64 bits")
            raise Malformed(f"{what} at byte {start} needs {size} bytes, and {self.end - start} are left")
        self.pos = start + size
        return start

    def number(self, code: str) -> int:
        shape = struct.Struct(self.order + code)
        return int(shape.unpack_from(self.data, self.room(shape.size, "a number"))[0])

    def length(self) -> int:
        """A count or length: 64 bits wide since version 2."""
        return int(self.count.unpack_from(self.data, self.room(self.count.size, "a count"))[0])

    def text(self, most: int = _KEPT) -> str:
        size = self.length()
        start = self.room(size, "a text")
        return bytes(self.data[start : start + min(size, most)]).decode("utf-8", "backslashreplace")

    def scalar(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self.text(LONGEST * 4 + 1)
        shape = struct.Struct(self.order + _SIZES[kind])
        value: Scalar = shape.unpack_from(self.data, self.room(shape.size, "a value"))[0]
        return value

    def skip(self, depth: int = 0) -> str:
        """Step over an array; how it may be shown."""
        kind, count = self.number("I"), self.length()
        if kind in _SIZES:
            self.room(count * struct.calcsize("<" + _SIZES[kind]), "an array")
        elif kind == _STRING:
            self._texts(count)
        elif kind == _ARRAY and depth < DEPTH:
            self.within(count, 12, "an array")
            for _ in range(count):
                self.into.spend()
                self.skip(depth + 1)
        else:
            raise Malformed(f"an array at byte {self.pos} of type {kind}, nested {depth} deep")
        return f"{count} values"

    def within(self, count: int, least: int, what: str) -> None:
        """A count that the rest of the file can hold, each thing taking at least so many bytes."""
        if count * least > self.end - self.pos:
            if count * 48 >= _OVERFLOW:
                raise _Overflow(f"{what} of {count} entries, whose memory overflows 64 bits")
            raise Malformed(f"{what} of {count} entries, which {self.end - self.pos} bytes cannot hold")

    def _texts(self, count: int) -> None:
        width = self.count.size
        self.within(count, width, "an array of texts")
        self.into.spend(count)
        pos, end, unpack = self.pos, self.end, self.count.unpack_from
        for _ in range(count):
            if pos > end - width:
                raise Malformed("an array of texts is cut off")
            (size,) = unpack(self.data, pos)
            if size >= _OVERFLOW:
                raise _Overflow(f"a text of {size} bytes, whose end overflows 64 bits")
            pos += width + size
        self.pos = pos
        self.room(0 if pos <= end else pos - end, "an array of texts")
        if pos > end:
            raise Malformed("an array of texts is cut off")


@final
class _Overflow(Malformed):
    """A size that no honest writer writes and that overflowed in loaders."""


def read(data: Buffer, into: Reading) -> None:
    """Read every pair and description, and compare the places of the tensors with the file."""
    file = _File(data, into)
    if not 1 <= file.version <= 3:
        raise Malformed(f"version {file.version} of GGUF; 1 to 3 are read")
    try:
        _read(file, into)
    except _Overflow as error:
        into.dangerous(
            "gguf.overflow", f"{error}: loaders have written past their memory there", pos=file.pos
        )


def _read(file: _File, into: Reading) -> None:
    tensors, pairs = file.length(), file.length()
    file.within(tensors, 24 if file.version > 1 else 20, "a list of tensors")
    file.within(pairs, 9, "a list of pairs")
    into.facts["format_version"] = str(file.version)
    values = _pairs(file, pairs, into)
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        into.unproven("gguf.alignment", f"an alignment of {alignment!r}, which is no power of two")
        alignment = 32
    found = [_tensor(file, into) for _ in range(tensors)]
    _places(file, found, alignment, into)
    into.facts["tensors"] = len(found)
    into.facts["parameters"] = min(sum(prod(tensor.shape) for tensor in found), MOST)
    names = Counter(TYPES.get(tensor.kind, (f"type {tensor.kind}", 0, 0))[0] for tensor in found)
    into.facts["dtypes"] = dict(sorted(names.items()))
    into.facts["framework"] = "ggml"
    into.proven = True


def _pairs(file: _File, count: int, into: Reading) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    shown: dict[str, JSON] = {}
    for _ in range(count):
        into.spend()
        key, kind = file.text(1 << 16), file.number("I")
        if key in values:
            into.unproven("gguf.repeated", f"the key {key[:80]!r} stands in the file more than once")
        if kind == _ARRAY:
            values[key] = None
            if key.startswith(_TEMPLATE):
                _templates(file, key, into)
            shown[key[:200]] = file.skip()
            continue
        if kind != _STRING and kind not in _SIZES:
            raise Malformed(f"the key {key[:80]!r} has the unknown type {kind}")
        value = file.scalar(kind)
        values[key] = value if key == "general.alignment" else None
        if isinstance(value, str) and key.startswith(_TEMPLATE):
            judge(value, into, key[:100])
        elif key.startswith("general.") and isinstance(value, str):
            shown[key[:200]] = value[:200]
        if key in _FACTS and isinstance(value, str):
            into.facts[_FACTS[key]] = value[:200]
    into.facts["metadata"] = dict(list(shown.items())[:100])
    return values


def _templates(file: _File, key: str, into: Reading) -> None:
    """An array of templates: readers take the only text of one, or write it out."""
    start = file.pos
    if file.number("I") == _STRING:
        for _ in range(file.length()):
            into.spend()
            judge(file.text(LONGEST * 4 + 1), into, key[:100])
    file.pos = start


def _tensor(file: _File, into: Reading) -> _Tensor:
    into.spend(16)
    name, dims = file.text(1 << 16), file.number("I")
    if dims > DIMS:
        raise _Overflow(f"the tensor {name[:80]!r} has {dims} dimensions of at most {DIMS}")
    shape = tuple(file.length() for _ in range(dims))
    kind, offset = file.number("I"), file.number("Q")
    if max(prod(max(size, 1) for size in shape) * 8, offset) >= _OVERFLOW:
        raise _Overflow(f"the tensor {name[:80]!r} of shape {shape} at {offset} overflows 64 bits")
    known = TYPES.get(kind)
    if known is None:
        into.unproven("gguf.type", f"the tensor {name[:80]!r} has the unknown type {kind}")
        return _Tensor(name, shape, kind, offset, -1)
    _, block, width = known
    if shape and shape[0] % block:
        into.unproven("gguf.shape", f"rows of {name[:80]!r} have {shape[0]} values, in blocks of {block}")
    return _Tensor(name, shape, kind, offset, prod(shape) // block * width)


def _places(file: _File, found: list[_Tensor], alignment: int, into: Reading) -> None:
    start = -(-file.pos // alignment) * alignment
    room = file.end - start
    if len({tensor.name for tensor in found}) != len(found):
        into.unproven("gguf.repeated", "two tensors have the same name")
    for tensor in found:
        if tensor.offset % alignment:
            into.unproven(
                "gguf.offset", f"the tensor {tensor.name[:80]!r} is not aligned to {alignment} bytes"
            )
        elif tensor.offset + max(tensor.size, 0) > max(room, 0):
            into.unproven(
                "gguf.extent",
                f"the tensor {tensor.name[:80]!r} ends behind the {max(room, 0)} bytes of data",
            )
        else:
            continue
        break
    filled = sorted((tensor for tensor in found if tensor.size > 0), key=lambda tensor: tensor.offset)
    for one, other in pairwise(filled):
        if one.offset + one.size > other.offset:
            into.unproven("gguf.overlap", f"the tensors {one.name[:80]!r} and {other.name[:80]!r} overlap")
            break
