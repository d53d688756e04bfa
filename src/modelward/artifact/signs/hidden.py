"""Models behind the magic number of another format: parsers of protocol buffers pass over unknown fields.

A picture's signature, or the start of a pickle, is an unknown field to them, and the graph follows. ONNX
Runtime asks a flatbuffer for its identifier alone, at the fifth byte.

Sources: Protocol Buffers, Encoding ("unknown fields"); the schemas named in `graphs.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Format, Sniffed
from modelward.artifact.formats.protobuf import BYTES, VARINT
from modelward.artifact.reading import Malformed
from modelward.artifact.signs.graphs import top

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.artifact.formats.protobuf import Span
    from modelward.artifact.pickle.values import Buffer

GRAPHS: Final[frozenset[Format]] = frozenset(
    ("onnx", "ort", "saved-model", "tensorflow-graph", "coreml", "paddle")
)
"""Formats whose own readers refuse what another schema would read."""
_MOST: Final = 1 << 20
"""Fields looked at; content with more, as no other format has, counts as a graph."""
_PATHS: Final[dict[Format, tuple[tuple[int, ...], ...]]] = {
    "onnx": ((7, 1), (7, 5), (7, 15), (25, 7), (20, 1), (20, 2)),
    "saved-model": ((2, 2, 1, 2), (2, 2, 2, 1, 3, 2), (2, 6, 2), (2, 7, 1, 4)),
    "tensorflow-graph": ((1, 2), (2, 1, 2), (2, 1, 3, 2), (2, 2, 1, 3, 2), (6, 2)),
    "paddle": ((1, 4, 3),),
}
"""Numbers of the fields on the way to operators, files or objects: every model has one of them."""
_FOLLOWED: Final = 1 << 12
"""Fields of one number that are followed; more of them count as a graph too."""
_COREML: Final = range(200, 3001)


def within(data: Buffer) -> Sniffed | None:
    """What graph content of another format is as well, or None."""
    if data[4:8] == b"ORTM" and len(data) > 16:
        return Sniffed("ort", "the identifier ORTM behind the start of another format")
    parts = _parts(data, [(0, len(data))])
    if parts is None:
        return None
    if parts.pop(0, None):
        return Sniffed("tensorflow-graph", "a message of very many fields")
    for kind, paths in _PATHS.items():
        if any(_leads(data, parts, path) for path in paths):
            return Sniffed(kind, f"fields of {kind} behind the start of another format")
    if 2 in parts and -1 in parts and any(number in _COREML for number in parts):
        return Sniffed("coreml", "fields of a CoreML Model behind the start of another format")
    return None


def _parts(data: Buffer, spans: Iterable[Span]) -> dict[int, list[Span]] | None:
    """Length-delimited fields by number, -1 for a first one that is a number; None when it is no message.

    Field 0, which no message has, stands for more fields than are looked at.
    """
    parts: dict[int, list[Span]] = {}
    count = 0
    for span in spans:
        try:
            for number, wire, start, end in top(data, span, _MOST):
                count += 1
                if wire == BYTES and end <= span[1]:
                    parts.setdefault(number, []).append((start, end))
                elif end > span[1]:
                    return None
                elif number == 1 and wire == VARINT:
                    parts[-1] = []
        except Malformed:
            return None
    return {**parts, 0: [(0, 0)]} if count >= _MOST else parts


def _leads(data: Buffer, parts: dict[int, list[Span]], path: tuple[int, ...]) -> bool:
    """Whether there is a field at the end of the path."""
    spans = parts.get(path[0], [])
    if len(path) == 1 or len(spans) > _FOLLOWED:
        return bool(spans)
    found = (_parts(data, [span]) for span in spans)
    return any(inner is not None and _leads(data, inner, path[1:]) for inner in found)
