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
