"""Arrow streams, as `datasets.save_to_disk` writes them: every message is walked, a pickled type is found."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.arrow import read, starts
from modelward.artifact.reading import Malformed, Reading
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes

EVIL = b"\x80\x04cos\nsystem\n(S'true'\ntR."
END = b"\xff\xff\xff\xff\0\0\0\0"


def message(kind=1, body=b"", version=4, extra=b"", stated=None):
    """A Message: version, kind of header, an empty header and the length of the body; then text at will."""
    size = len(body) if stated is None else stated
    table = struct.pack("<iBBhiq", 12, kind, 0, version, 12, size)
    vtable = struct.pack("<HHHHHH", 12, 20, 6, 4, 8, 12)
    raw = struct.pack("<I", 18) + b"\0\0" + vtable + table + b"\x04\0\x04\0" + extra
    raw += b"\0" * (-len(raw) % 8)
    return b"\xff\xff\xff\xff" + struct.pack("<I", len(raw)) + raw + body


def judged(data):
    into = Reading()
    try:
        read(data, into)
    except Malformed:
        return "malformed"
    levels = {event.level for event in into.events}
    return next((level for level in ("dangerous", "unproven", "note") if level in levels), None)


STREAM = message() + message(3, b"\1" * 16) + END


def test_a_stream_is_passive():
    report = inspect_bytes(STREAM, "data-00000-of-00001.arrow")
    assert (report.format, report.verdict, report.findings) == ("arrow", None, ())
    assert inspect_bytes(STREAM[: -len(END)], "m").verdict is None


def test_a_stream_of_a_real_library():
    pa = pytest.importorskip("pyarrow", reason="pyarrow writes the streams")
    sink = pa.BufferOutputStream()
    table = pa.table({"text": ["a", "b"], "label": [0, 1], "kind": pa.array(["x", "y"]).dictionary_encode()})
    with pa.ipc.new_stream(sink, table.schema.with_metadata({"huggingface": "{}"})) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    report = inspect_bytes(data, "data.arrow")
    assert (report.format, report.verdict) == ("arrow", None)
    assert inspect_bytes(data + EVIL, "data.arrow").verdict != "inert"
    assert judged(data + EVIL) == "unproven"


def test_a_pickled_type_is_found():
    text = b"arrow.py_extension_type" + struct.pack("<I", len(EVIL)) + EVIL
    assert inspect_bytes(message(extra=text) + END, "m").verdict == "dangerous"
    assert judged(message(extra=b"arrow.py_extension_type") + END) == "unproven"
    assert judged(message() + message(3, body=text) + END) is None


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (STREAM + STREAM, "unproven"),
        (message() + message() + END, "unproven"),
        (STREAM + b"x", "unproven"),
        (message() + message(3, b"", stated=99) + END, "malformed"),
        (message() + message(3, b"", stated=-8) + END, "malformed"),
        (message() + message(9), "malformed"),
        (message() + b"PK\3\4" * 8, "malformed"),
    ],
)
def test_what_does_not_fit_is_not_passive(data, level):
    assert judged(data) == level
    assert inspect_bytes(data, "m").verdict == "unproven"


@pytest.mark.parametrize(
    "data", [message(3), message(version=7), b"\xff" * 64, message()[:20], message(body=b"12345678")]
)
def test_what_starts_otherwise_is_no_stream(data):
    assert not starts(data)
    assert sniff(data).format != "arrow"


def test_every_truncation_ends():
    for end in range(8, len(STREAM)):
        assert inspect_bytes(STREAM[:end], "m").verdict in {None, "unproven"}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=8))
def test_mutations_raise_nothing_else(at, patch):
    judged(STREAM[:at] + patch + STREAM[at + len(patch) :])
