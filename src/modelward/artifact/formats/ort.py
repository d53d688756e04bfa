"""Models in ONNX Runtime's own format: a flatbuffer, of which the operators are read.

Sources: onnxruntime/core/flatbuffers/schema/ort.fbs (ONNX Runtime 1.31); FlatBuffers, "FlatBuffer Internals"
(a table starts with the distance back to its vtable: two sizes, then an offset for each field).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.onnx import DTYPES, INT, Use, operator
from modelward.artifact.formats.tally import Tally
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_LONGEST: Final = 1 << 16


@final
class Table:
    """One table: its fields by number, in the order of the schema from 0."""

    __slots__ = ("_into", "_size", "_vtable", "data", "pos")

    def __init__(self, data: Buffer, pos: int, into: Reading) -> None:
        into.spend()
        self.data = data
        self.pos = pos
        self._into = into
        self._vtable = pos - Cursor(data, pos).number("i")
        if self._vtable < 0:
            raise Malformed(f"the table at offset {pos} has no description")
        self._size = Cursor(data, self._vtable).number("H")

    def place(self, field: int) -> int | None:
        """Where the value of a field stands, or None when it has none."""
        entry = 4 + 2 * field
        offset = Cursor(self.data, self._vtable + entry).number("H") if entry + 2 <= self._size else 0
        return self.pos + offset if offset else None

    def number(self, field: int, code: str) -> int:
        """An integer; 0 when there is none."""
        place = self.place(field)
        return 0 if place is None else Cursor(self.data, place).number(code)

    def target(self, field: int) -> int | None:
        """What an offset in a field points to."""
        place = self.place(field)
        return None if place is None else place + Cursor(self.data, place).number("I")

    def text(self, field: int) -> str:
        """A string; "" when there is none."""
        target = self.target(field)
        return "" if target is None else self._text(target)

    def _text(self, target: int) -> str:
        cursor = Cursor(self.data, target)
        return cursor.text(min(cursor.number("I"), _LONGEST, cursor.left))

    def table(self, field: int) -> Table | None:
        """A table; None when there is none."""
        target = self.target(field)
        return None if target is None else Table(self.data, target, self._into)

    def _targets(self, field: int) -> Iterator[int]:
        target = self.target(field)
        if target is not None:
            cursor = Cursor(self.data, target)
            for _ in range(cursor.number("I")):
                self._into.spend()
                here = cursor.pos
                yield here + cursor.number("I")

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector."""
        for target in self._targets(field):
            yield Table(self.data, target, self._into)

    def texts(self, field: int) -> list[str]:
        """The strings of a vector."""
        return [self._text(target) for target in self._targets(field)]

    def longs(self, field: int) -> list[int]:
        """The first 64 int64 of a vector."""
        target = self.target(field)
        if target is None:
            return []
        cursor = Cursor(self.data, target)
        return [cursor.number("q") for _ in range(min(cursor.number("I"), 64))]


def read(data: Buffer, into: Reading) -> None:
    """Walk the graph and its subgraphs."""
    session = Table(data, Cursor(data).number("I"), into)
    model = session.table(1)
    if model is None:
        raise Malformed("the session holds no model")
    tally = Tally()
    main = model.table(7)
    waiting = [main] if main is not None else []
    seen: set[int] = set()
    while waiting:
        graph = waiting.pop()
        if graph.pos in seen:
            continue
        seen.add(graph.pos)
        for tensor in graph.tables(0):
            kind = tensor.number(3, "i")
            tally.tensor(DTYPES[kind] if 0 <= kind < len(DTYPES) else str(kind), tensor.longs(2))
        for node in graph.tables(2):
            waiting += _node(node, tally, into)
    tally.report(
        into,
        "onnx",
        producer=f"{model.text(2)} {model.text(3)}".strip(),
        format_version=f"ORT {session.text(0)}",
        inputs=[] if main is None else main.texts(5),
        outputs=[] if main is None else main.texts(6),
    )
    into.proven = True


def _node(node: Table, tally: Tally, into: Reading) -> list[Table]:
    """Judge a node; returns its subgraphs."""
    domain, name = node.text(2), node.text(5)
    tally.operator(name if domain in {"", "ai.onnx"} else f"{domain}.{name}")
    given: dict[str, str] = {}
    graphs: list[Table] = []
    for attribute in node.tables(10):
        text = "" if attribute.number(2, "i") == INT else attribute.text(5)
        given[attribute.text(0)] = text or str(attribute.number(4, "q"))
        inner = attribute.table(7)
        graphs += [*([] if inner is None else [inner]), *attribute.tables(12)]
    operator(domain, name, given, Use(node.pos), into)
    return graphs
