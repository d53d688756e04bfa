import math
import os
import struct
import threading
import time

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelward.sandbox import RawArray, wire

DTYPES = {
    "|b1": 1,
    "|i1": 1,
    "<i8": 8,
    ">u2": 2,
    "<f2": 2,
    "<f4": 4,
    "<f16": 16,
    "<c8": 8,
    "|S3": 3,
    "<U2": 8,
}


@st.composite
def arrays(draw):
    dtype, size = draw(st.sampled_from(sorted(DTYPES.items())))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    total = size * math.prod(shape)
    return RawArray(dtype, shape, draw(st.binary(min_size=total, max_size=total)))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
MESSAGES = st.recursive(
    SCALARS | arrays(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def split(frame):
    """What a reader would hand to the parser."""
    joined = b"".join(frame)
    structure, total = struct.unpack_from("<IQ", joined)
    assert len(joined) == 12 + structure + total
    return joined[12 : 12 + structure], memoryview(joined[12 + structure :])


def parsed(structure, data):
    try:
        return wire.parse_reply(structure, memoryview(data))
    except wire.MalformedFrame as error:
        return error


@given(MESSAGES)
def test_an_answer_round_trips(message):
    assert wire.parse_reply(*split(wire.answer_frame(message))) == message


@given(st.text(max_size=20), st.lists(MESSAGES, max_size=3))
def test_a_call_round_trips(method, arguments):
    assert wire.parse_call(*split(wire.call_frame(method, arguments))) == (method, arguments)


def test_a_failure_round_trips_without_control_characters():
    reply = wire.parse_reply(*split(wire.failure_frame(ValueError("a\x1b[0m\nb"))))
    assert reply == wire.Failure("ValueError", "a [0m b")


@given(st.binary(max_size=200), st.binary(max_size=40))
@example(b"\x92\x00\xd6\xff\x00\x00\x00\x00", b"")  # a msgpack timestamp
@example(b"\x92\x00\x81\x01\x02", b"")  # a key that is no string
@example(b"\x92\x00\x81\x80\x02", b"")  # a key that cannot be one
@example(b"\x92\x00\xd4\x07\x00", b"")  # an unknown extension
@example(b"\x92\x00\xc7\x05\x01\x92\xa3<f4\x90", b"abcd")  # an array, well formed
@example(b"\x92\x00\xc7\x05\x01\x92\xa3|O8\x90", b"abcdefgh")  # an array of objects
@example(b"\x92\x00\xa2\xff\xfe", b"")  # text that is no UTF-8
@example(b"\x92\x00\xdd\xff\xff\xff\xff", b"")  # a list of four billion, announced
@example(b"\x93\x01\xa1x\xa1y", b"z")  # bytes after a failure
def test_no_bytes_break_the_parser(structure, data):
    reply = parsed(structure, data)
    if isinstance(reply, wire.MalformedFrame):
        assert str(reply).isprintable()
    else:
        assert isinstance(reply, wire.Failure) or wire.answer_frame(reply)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 59), MESSAGES)
def test_no_damaged_frame_breaks_the_parser(noise, place, message):
    structure, data = split(wire.answer_frame(message))
    damaged = structure[:place] + noise + structure[place + len(noise) :]
    reply = parsed(damaged, data)
    assert isinstance(reply, wire.MalformedFrame | wire.Failure) or wire.answer_frame(reply)


@pytest.mark.parametrize(
    ("dtype", "shape", "data", "why"),
    [
        ("<f4", (2,), bytes(7), "need 8 bytes, and 7"),
        ("<f4", (-1,), b"", "not a shape"),
        ("<f4", (0,) * 65, b"", "65 axes"),
        ("|O8", (1,), bytes(8), "not the dtype"),
        ("<M8[ns]", (1,), bytes(8), "not the dtype"),
        ("f4", (1,), bytes(4), "not the dtype"),
        ("<f4,<f4", (1,), bytes(8), "not the dtype"),
        ("<f3", (1,), bytes(3), "no dtype"),
        ("|S0", (10**6,), b"", "no dtype"),
        ("<U0", (1,), b"", "no dtype"),
        ("|S000", (0,), b"", "no dtype"),
        ("<f8", (0, 2**31), b"", "not a shape"),
        ("<f8", (2**64 - 1, 0), b"", "not a shape"),
        ("<f8", (0, 2**30, 2**30), b"", "larger than any memory"),
        ("<U999999", (0, 2**30, 2**20), b"", "larger than any memory"),
        ("|V8", (1,), bytes(8), "not the dtype"),
        ("", (), b"", "not the dtype"),
        ("<f8", (2,), memoryview(bytes(16)).cast("d"), "need 16 bytes|not plain bytes"),
    ],
)
def test_an_array_must_fit_its_description(dtype, shape, data, why):
    with pytest.raises(ValueError, match=why):
        RawArray(dtype, shape, data)


def test_huge_shapes_are_refused_without_allocating():
    for shape, why in (((2**63, 2**63), "not a shape"), ((2**30,), "announced"), ((2**20,) * 3, "memory")):
        header = msgspec.msgpack.encode(("<f8", shape))
        value = msgspec.msgpack.Ext(1, header)
        structure = msgspec.msgpack.encode([0, value])
        with pytest.raises(wire.MalformedFrame, match=why):
            wire.parse_reply(structure, memoryview(b""))


AXES = st.integers(-(2**65), 2**65) | st.integers(0, 3) | st.sampled_from([2**31 - 1, 2**31, 2**32, 2**62])
ANY_DTYPE = st.builds(
    "{}{}{}".format,
    st.sampled_from("<>|="),
    st.sampled_from("biufcSUOVMm"),
    st.integers(0, 20) | st.sampled_from([999_999, 1_000_000]),
)


@given(ANY_DTYPE | st.text(max_size=6), st.lists(AXES, max_size=5).map(tuple), st.binary(max_size=16))
@example("<f8", (0, 2**62, 4), b"")
@example("|S0", (10**12,), b"")
@example("<f8", (0, 2**64 - 1), b"")
@example("<f8", (1,) * 64, bytes(8))
def test_numpy_makes_an_array_of_all_that_is_let_through(dtype, shape, data):
    """What the stdlib side accepts is what the other side can hold, without an error and at no cost."""
    try:
        header = msgspec.msgpack.encode((dtype, shape))
    except OverflowError:
        header = msgspec.msgpack.encode((dtype, [-1]))
    structure = msgspec.msgpack.encode([0, msgspec.msgpack.Ext(1, header)])
    try:
        found = wire.parse_reply(structure, memoryview(data))
    except wire.MalformedFrame:
        return
    array = np.frombuffer(found.data, np.dtype(found.dtype)).reshape(found.shape)
    assert array.shape == shape
    assert array.nbytes == len(data) <= 16


@pytest.mark.parametrize(
    "value",
    [{1}, object(), 1 << 64, -(1 << 63) - 1, {1: 2}, range(3), 1j, [[{0}]]],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_message_is_refused(value):
    with pytest.raises(wire.MalformedFrame, match="is no message"):
        wire.answer_frame(value)


def test_depth_is_bounded_on_both_sides():
    value = None
    for _ in range(32):
        value = [value]
    assert wire.parse_reply(*split(wire.answer_frame(value))) == value
    with pytest.raises(wire.MalformedFrame, match="32 deep"):
        wire.answer_frame([value])
    with pytest.raises(wire.MalformedFrame, match="32 deep"):
        wire.parse_reply(b"\x92\x00" + b"\x91" * 33 + b"\xc0", memoryview(b""))


def test_the_structure_is_bounded():
    with pytest.raises(wire.MalformedFrame, match="send them as arrays"):
        wire.answer_frame("x" * (1 << 20))
    assert wire.answer_frame(RawArray("|u1", (2 << 20,), bytes(2 << 20)))


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    yield reader, writer
    for handle in (reader, writer):
        try:
            os.close(handle)
        except OSError:
            continue


def test_a_frame_larger_than_the_pipe_crosses(pipe):
    reader, writer = pipe
    frame = wire.answer_frame(RawArray("|u1", (1 << 21,), os.urandom(1 << 21)))
    deadline = time.monotonic() + 10
    thread = threading.Thread(target=wire.write, args=(writer, frame, deadline))
    thread.start()
    structure, data = wire.read(reader, 1 << 21, deadline)
    thread.join()
    assert (structure, bytes(data)) == (frame[1], frame[2])
    assert data.readonly


def test_reading_and_writing_stop_at_the_deadline(pipe):
    reader, writer = pipe
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        wire.read(reader, 10, begun + 0.05)
    with pytest.raises(TimeoutError):
        wire.write(writer, [bytes(1 << 20)], begun + 0.1)
    with pytest.raises(TimeoutError):
        wire.read(reader, 10, begun)  # what has passed is not waited for, even with bytes there
    assert time.monotonic() - begun < 5


def test_a_closed_pipe_is_the_end_of_the_stream(pipe):
    reader, writer = pipe
    os.write(writer, b"\x00" * 5)
    os.close(writer)
    with pytest.raises(wire.EndOfStream):
        wire.read(reader, 10, time.monotonic() + 5)
    os.close(reader)
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(wire.EndOfStream):
        wire.write(writer, [b"x"], time.monotonic() + 5)
    os.close(writer)


@pytest.mark.parametrize("header", [(wire.STRUCTURE_BYTES + 1, 0), (0, 11), (0, 2**64 - 1)])
def test_a_frame_over_the_limit_is_refused_by_its_header(pipe, header):
    reader, writer = pipe
    os.write(writer, struct.pack("<IQ", *header))
    with pytest.raises(wire.MalformedFrame, match="over the limit"):
        wire.read(reader, 10, time.monotonic() + 5)
