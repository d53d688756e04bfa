"""What the tests of the readers share: a writer of protocol buffers, and ways to read hostile content."""

import struct

import pytest

from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect_bytes


def _varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _message(*fields):
    """A message of (number, value): integers are varints, texts and bytes are length-delimited, reals fixed32."""
    out = b""
    for number, value in fields:
        if isinstance(value, bool | int):
            out += _varint(number << 3) + _varint(int(value))
        elif isinstance(value, float):
            out += _varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(raw)) + raw
    return out


@pytest.fixture(scope="session")
def message():
    """Write a message of (number, value) pairs."""
    return _message


@pytest.fixture(scope="session")
def verdict():
    """Verdict and rules above a note of some content, recognised like any file."""

    def inspected(data, name="model", **options):
        report = inspect_bytes(data, name, **options)
        rules = {finding.rule for finding in report.findings if finding.severity in {"critical", "medium"}}
        return report.verdict, rules

    return inspected


@pytest.fixture(scope="session")
def survives():
    """Read hostile content: nothing but the two errors of a reader may come out; gives the worst level."""

    def tried(read, data, name=""):
        into = Reading(name)
        try:
            read(data, into)
        except Malformed:
            into.missed("malformed")
        except Exhausted:
            into.missed("exhausted")
        levels = {event.level for event in into.events}
        worst = next((level for level in ("dangerous", "unproven") if level in levels), None)
        return worst or ("inert" if into.proven else None)

    return tried


@pytest.fixture(scope="session")
def mutated():
    """Content with some bytes replaced, some removed and some inserted: `edits` are (place, kind, byte)."""

    def apply(data, edits):
        out = bytearray(data)
        for place, kind, byte in edits:
            at = place % (len(out) + 1)
            if kind == 0 and at < len(out):
                out[at] = byte
            elif kind == 1:
                del out[at : at + 1 + byte % 8]
            else:
                out[at:at] = bytes([byte])
        return bytes(out)

    return apply


class TensorFlowWriter:
    """The messages of TensorFlow, by the field numbers of its schemas."""

    message = staticmethod(_message)

    def node(self, name, op, *inputs, **attributes):
        attrs = [(5, _message((1, key), (2, value))) for key, value in attributes.items()]
        return _message((1, name), (2, op), *((3, each) for each in inputs), *attrs)

    def text(self, name, *values):
        tensor = _message((1, 7), *((8, value) for value in values))
        return self.node(name, "Const", value=_message((8, tensor)), dtype=_message((6, 7)))

    def packed(self, name, *values):
        """As `tensor_content`: lengths, then bytes."""
        raw = [value.encode() for value in values]
        content = b"".join(bytes([len(each)]) for each in raw) + b"".join(raw)
        shape = _message((2, _message((1, len(raw)))))
        return self.node(name, "Const", value=_message((8, _message((1, 7), (2, shape), (4, content)))))

    def variable(self, name, *dims):
        shape = _message(*((2, _message((1, dim))) for dim in dims))
        return self.node(name, "VarHandleOp", dtype=_message((6, 1)), shape=_message((7, shape)))

    def call(self, function, **given):
        """AttrValue: a function and the attributes it is called with."""
        pairs = [(2, _message((1, key), (2, value))) for key, value in given.items()]
        return _message((10, _message((1, function), *pairs)))

    def function(self, name, arguments, *nodes):
        signature = _message((1, name), *((2, _message((1, each), (3, 7))) for each in arguments))
        return _message((1, signature), *((3, node) for node in nodes))

    def graph(self, *nodes, functions=()):
        library = [(2, _message(*((1, each) for each in functions)))] if functions else []
        return _message(*((1, node) for node in nodes), *library, (4, _message((1, 1882))))

    def meta(self, graph, *extra):
        return _message((1, _message((4, "serve"), (5, "2.21.0"))), (2, graph), *extra)

    def saved(self, *nodes, functions=(), extra=()):
        return _message((1, 1), (2, self.meta(self.graph(*nodes, functions=functions), *extra)))


@pytest.fixture(scope="session")
def tf():
    """Write graphs and models of TensorFlow."""
    return TensorFlowWriter()
