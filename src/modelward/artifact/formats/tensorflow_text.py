"""TensorFlow's graphs in the text format of protocol buffers, turned into the binary one.

`saved_model.pbtxt` is loaded like `saved_model.pb`. The fields that the reader of graphs looks at are kept,
all others are passed over.

Sources: Protocol Buffers, "Text Format Language Specification"; the
schemas named in `tensorflow.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 1 << 24
DEPTH: Final = 100
_SPACE: Final = rb"(?:\s++|#[^\n]*+\n)*+"
_START: Final = re.compile(
    _SPACE + rb"(?:(saved_model_schema_version)" + _SPACE + rb":" + _SPACE + rb"\d|"
    rb"(meta_graphs|meta_info_def|graph_def|node|library|versions)" + _SPACE + rb":?" + _SPACE + rb"\[?"
    + _SPACE + rb"[{<])"
)  # fmt: skip
_TOKEN: Final = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<name>[A-Za-z_][\w.]*)|"""
    r"""(?P<number>[-+]?[\w.]+(?:[-+]\d+)?|-\s*(?:inf|nan)\w*)|(?P<mark>[{}<>:\[\],;/-])""",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL
)
_SIMPLE: Final = {"n": 10, "r": 13, "t": 9, "a": 7, "b": 8, "f": 12, "v": 11}

Schema: TypeAlias = dict[str, tuple[int, str]]
_SCHEMAS: Final[dict[str, Schema]] = {
    "saved": {"saved_model_schema_version": (1, ""), "meta_graphs": (2, "meta")},
    "meta": {
        "meta_info_def": (1, "about"), "graph_def": (2, "graph"), "asset_file_def": (6, "asset"),
        "object_graph_def": (7, "objects"),
    },
    "about": {"tags": (4, ""), "tensorflow_version": (5, "")},
    "asset": {"filename": (2, "")},
    "objects": {"nodes": (1, "object")},
    "object": {"user_object": (4, "user")},
    "user": {"identifier": (1, ""), "metadata": (3, "")},
    "graph": {"node": (1, "node"), "library": (2, "library"), "versions": (4, "skipped")},
    "library": {"function": (1, "function")},
    "function": {"signature": (1, "signature"), "node_def": (3, "node")},
    "signature": {"name": (1, ""), "input_arg": (2, "argument")},
    "argument": {"name": (1, "")},
    "node": {"name": (1, ""), "op": (2, ""), "input": (3, ""), "device": (4, ""), "attr": (5, "entry")},
    "entry": {"key": (1, ""), "value": (2, "value")},
    "value": {
        "list": (1, "list"), "s": (2, ""), "type": (6, ""), "shape": (7, "shape"), "tensor": (8, "tensor"),
        "placeholder": (9, ""), "func": (10, "call"),
    },
    "list": {"s": (2, ""), "func": (9, "call")},
    "call": {"name": (1, "")},
    "tensor": {
        "dtype": (1, ""), "tensor_shape": (2, "shape"), "tensor_content": (4, ""), "string_val": (8, ""),
    },
    "shape": {"dim": (2, "dim")},
    "dim": {"size": (1, "")},
    "skipped": {},
}  # fmt: skip
"""Message -> its fields -> number and the message it holds; "" for a value."""


def is_text(data: Buffer) -> bytes | None:
    """The first field when content starts as such a text, or None."""
    found = _START.match(data)
    return None if found is None else found[1] or found[2]


def binary(data: Buffer, numbers: dict[str, int], into: Reading) -> bytes:
    """The same message in the binary format.

    Args:
        data: the text.
        numbers: names of enumeration values -> numbers.
        into: counts the tokens.

    Raises:
        Malformed: it is no message in text format, or too long or deep.
    """
    first = is_text(data)
    if first is None or len(data) > LONGEST:
        raise Malformed(f"{len(data)} bytes are no graph in text format, or too many")
    root = "saved" if first in {b"saved_model_schema_version", b"meta_graphs"} else "graph"
    root = "meta" if first in {b"meta_info_def", b"graph_def"} else root
    tokens = _tokens(bytes(data).decode("utf-8", "backslashreplace"), into)
    return _parse(tokens, root, numbers)


def _tokens(text: str, into: Reading) -> Iterator[tuple[str, str]]:
    pos = 0
    while pos < len(text):
        into.spend()
        found = _TOKEN.match(text, pos)
        if found is None:
            raise Malformed(f"no text format at character {pos}")
        pos = found.end()
        if found.lastgroup is not None:
            yield found.lastgroup, found[0]


def _parse(tokens: Iterator[tuple[str, str]], root: str, numbers: dict[str, int]) -> bytes:
    """Fields in order; what a name means depends on the message that is open."""
    stack: list[tuple[str, int, bytearray]] = [(root, 0, bytearray())]
    around: list[str] = []
    field, texts = "", b""
    waiting = False
    for kind, token in [*tokens, ("mark", "")]:
        if waiting and kind != "text":
            _value(stack[-1], field, texts)
            waiting, texts = False, b""
        if kind == "text":
            texts += _unescape(token[1:-1])
            waiting = True
        elif kind == "mark" and token in {"{", "<"}:
            number, inner = _SCHEMAS[stack[-1][0]].get(field, (0, "skipped"))
            stack.append((inner or "skipped", number, bytearray()))
            around.append(field)
            if len(stack) > DEPTH:
                raise Malformed(f"messages are nested deeper than {DEPTH} levels")
        elif kind == "mark" and token in {"}", ">"}:
            _, number, content = stack.pop()
            if not stack:
                raise Malformed("a message is closed that was not opened")
            field = around.pop()  # the next message of a list has no name of its own
            if number:
                _field(stack[-1][2], number, bytes(content))
        elif kind == "name" and field and token in numbers:
            _value(stack[-1], field, numbers[token])
        elif kind == "name":
            field = token
        elif kind == "number" and re.fullmatch(r"-?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,19})", token):
            _value(stack[-1], field, int(token, 16 if "x" in token.lower() else 10))
    if len(stack) != 1:
        raise Malformed(f"{len(stack) - 1} messages are not closed")
    return bytes(stack[0][2])


def _value(message: tuple[str, int, bytearray], field: str, value: bytes | int) -> None:
    number, inner = _SCHEMAS[message[0]].get(field, (0, ""))
    if number and not inner:
        _field(message[2], number, value)


def _field(out: bytearray, number: int, value: bytes | int) -> None:
    if isinstance(value, int):
        out += _varint(number << 3) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    else:
        out += _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _unescape(text: str) -> bytes:
    out, pos = b"", 0
    for found in _ESCAPE.finditer(text):
        octal, code, short, long, simple = found.groups()
        out += text[pos : found.start()].encode("utf-8", "backslashreplace")
        if octal or code:
            out += bytes([int(octal, 8) & 0xFF if octal else int(code, 16)])
        elif short or long:
            point = int(short or long, 16)
            out += chr(point).encode("utf-8", "backslashreplace") if point <= 0x10FFFF else b"?"
        else:
            out += (
                bytes([_SIMPLE[simple]]) if simple in _SIMPLE else simple.encode("utf-8", "backslashreplace")
            )
        pos = found.end()
    return out + text[pos:].encode("utf-8", "backslashreplace")
