"""Models behind the magic number of another format: parsers of protocol buffers pass over unknown fields.

A picture's signature, or the start of a pickle, is an unknown field to them, and the graph follows. ONNX
Runtime asks a flatbuffer for its identifier alone, at the fifth byte.

Sources: Protocol Buffers, Encoding ("unknown fields"); the schemas named in `graphs.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.artifact.format import Format, Sniffed
from modelward.artifact.formats.protobuf import BYTES, VARINT, fields
from modelward.artifact.reading import Exhausted, Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.protobuf import Field, Span
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
_COREML: Final = range(200, 3001)


def within(data: Buffer) -> Sniffed | None:
    """What graph content of another format is as well, or None."""
    if data[4:8] == b"ORTM" and len(data) > 16:
        return Sniffed("ort", "the identifier ORTM behind the start of another format")
    into = _Fields(data)
    try:
        kind = into.kind((0, len(data)))
    except Malformed:
        return None
    except Exhausted:
        return Sniffed("tensorflow-graph", "a message of very many fields")
    return Sniffed(kind, f"fields of {kind} behind the start of another format") if kind else None


@final
class _Fields:
    """Fields that are looked at, and counted."""

    __slots__ = ("_data", "_left")

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = _MOST

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Exhausted

    def kind(self, span: Span) -> Format | None:
        found = list(fields(self._data, span, self._spend))
        for kind, paths in _PATHS.items():
            if any(self._leads(found, path) for path in paths):
                return kind
        present = {(number, wire) for number, wire, _, _ in found}
        described = {(1, VARINT), (2, BYTES)} <= present
        return "coreml" if described and any(number in _COREML for number, _ in present) else None

    def _leads(self, found: list[Field], path: tuple[int, ...]) -> bool:
        """Whether there is a field at the end of the path."""
        spans = [(start, end) for number, wire, start, end in found if number == path[0] and wire == BYTES]
        return bool(spans) if len(path) == 1 else any(self._within(span, path[1:]) for span in spans)

    def _within(self, span: Span, path: tuple[int, ...]) -> bool:
        try:
            return self._leads(list(fields(self._data, span, self._spend)), path)
        except Malformed:
            return False
