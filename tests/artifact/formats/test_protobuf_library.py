"""Protocol buffers: the library of Google writes, and its reading of damaged content is compared with ours."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import protobuf
from modelward.artifact.formats.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    LONGEST,
    VARINT,
    Message,
    fields,
    signed,
    varint,
)
from modelward.artifact.reading import Exhausted, Malformed, Reading

library = pytest.importorskip("google.protobuf", reason="the library that writes messages is not installed")
from google.protobuf import descriptor_pb2  # noqa: E402  # there is a skip above
from google.protobuf.message import DecodeError  # noqa: E402  # the same


def free():
    """Spend nothing."""


def parse(data):
    return Message(data, ((0, len(data)),), free)


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
INT = st.integers(-(2**31), 2**31 - 1)


@settings(deadline=None)
@given(TEXT, TEXT, st.lists(TEXT, max_size=4), st.lists(INT, max_size=6), st.lists(TEXT, max_size=3))
def test_a_message_of_the_library(name, package, uses, public, kinds):
    """`FileDescriptorProto`: name 1, package 2, dependency 3, message_type 4, public_dependency 10 (not packed)."""
    written = descriptor_pb2.FileDescriptorProto(
        name=name, package=package, dependency=uses, public_dependency=public,
        message_type=[descriptor_pb2.DescriptorProto(name=kind) for kind in kinds],
    )  # fmt: skip
    found = parse(written.SerializeToString())
    assert (found.text(1), found.text(2)) == (name, package)
    assert found.texts(3) == uses
    assert found.texts(3, 1) == uses[:1]
    assert found.integers(10) == public
    assert [each.text(1) for each in found.each(4)] == kinds
    present = {field.number for field, _ in written.ListFields()}
    assert found.numbers_present() == present


@settings(deadline=None)
@given(st.lists(INT, max_size=20), st.lists(INT, max_size=8))
def test_packed_numbers_of_the_library(path, span):
    """`Location`: path 1 and span 2 are packed."""
    written = descriptor_pb2.SourceCodeInfo.Location(path=path, span=span)
    found = parse(written.SerializeToString())
    assert (found.integers(1), found.integers(2)) == (path, span)
    assert found.integers(1, 3) == path[:3]


@settings(deadline=None)
@given(
    TEXT,
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), -1),
    st.floats(allow_nan=False),
    st.binary(max_size=9),
)
def test_numbers_of_the_library(text, positive, negative, double, raw):
    """`UninterpretedOption`: identifier 3, positive 4, negative 5, double 6 (fixed64), bytes 7."""
    written = descriptor_pb2.UninterpretedOption(
        identifier_value=text, positive_int_value=positive, negative_int_value=negative, double_value=double, string_value=raw
    )  # fmt: skip
    data = written.SerializeToString()
    found = parse(data)
    assert found.text(3) == text
    assert found.number(4) % (1 << 64) == positive
    assert found.number(5) == negative
    assert found.real(6) is None
    ((_, wire, start, end),) = [field for field in fields(data, (0, len(data)), free) if field[0] == 6]
    assert (wire, struct.unpack("<d", data[start:end])) == (FIXED64, (double,))
    ((start, end),) = found.places(7)
    assert data[start:end] == raw


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, TEXT)
def test_concatenation_is_merging(one, two, three, four):
    first = descriptor_pb2.FileDescriptorProto(name=one, options={"java_package": two})
    second = descriptor_pb2.FileDescriptorProto(options={"go_package": three}, dependency=[four])
    data = first.SerializeToString() + second.SerializeToString()
    merged = descriptor_pb2.FileDescriptorProto.FromString(data)
    found = parse(data)
    assert found.text(1) == merged.name
    assert found.texts(3) == list(merged.dependency)
    assert found.only(8).text(1) == merged.options.java_package
    assert found.only(8).text(11) == merged.options.go_package


BASE = descriptor_pb2.FileDescriptorProto(
    name="a.proto", dependency=["b", "c"], public_dependency=[1, 300], message_type=[{"name": "M"}], options={"java_package": "p"}
).SerializeToString()  # fmt: skip


def accepted(data):
    try:
        descriptor_pb2.FileDescriptorProto.FromString(data)
    except DecodeError:
        return False
    return True


def deeply(data):
    """Read the message and the messages in it."""
    return [part.text(1) for number in (4, 8) for part in parse(data).each(number)]


def test_truncation_is_noticed_wherever_the_library_notices_it():
    cut = [BASE[:end] for end in range(len(BASE)) if not accepted(BASE[:end])]
    assert len(cut) > len(BASE) // 2
    for data in cut:
        with pytest.raises(Malformed):
            deeply(data)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3), st.binary(max_size=6))
def test_what_the_library_takes_is_taken(edits, behind):
    data = bytearray(BASE)
    for place, byte in edits:
        data[place % len(data)] = byte
    data += behind
    if accepted(bytes(data)):
        parse(bytes(data))


# --- the wire, by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value", "size"),
    [
        (b"\0", 0, 1),
        (b"\x7f", 127, 1),
        (b"\x80\x01", 128, 2),
        (b"\xac\x02", 300, 2),
        (b"\x80\0", 0, 2),
        (b"\xff\xff\xff\xff\x0f", 2**32 - 1, 5),
        (b"\xff" * 9 + b"\x01", 2**64 - 1, 10),
        (b"\x80" * 9 + b"\0", 0, 10),
        (b"\xff" * 9 + b"\x7f", 2**64 - 1, 10),
    ],
)
def test_varints(data, value, size):
    assert varint(b"\xff" + data, 1, 1 + len(data)) == (value, 1 + size)
    for end in range(len(data)):
        with pytest.raises(Malformed, match=f"a number is cut off at offset {end}"):
            varint(data, 0, end)


def test_a_number_of_eleven_bytes():
    with pytest.raises(Malformed, match="more than ten bytes"):
        varint(b"\x80" * 10 + b"\x01", 0, 11)


@pytest.mark.parametrize(
    ("bits", "value"), [(0, 0), (1, 1), (2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (2**64 - 1, -1)]
)
def test_signed_numbers(bits, value):
    assert signed(bits) == value


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x08\x05", [(1, VARINT, 5, 2)]),
        (b"\x0a\x02ab", [(1, BYTES, 2, 4)]),
        (b"\x0d1234", [(1, FIXED32, 1, 5)]),
        (b"\x0912345678", [(1, FIXED64, 1, 9)]),
        (b"\x0a\0\x10\x01", [(1, BYTES, 2, 2), (2, VARINT, 1, 4)]),
        (b"\x0a\x80\x01" + b"x" * 128, [(1, BYTES, 3, 131)]),
        (b"\x80\x01\x07", [(16, VARINT, 7, 3)]),
        (b"\xf8\xff\xff\xff\x0f\x01", [((1 << 29) - 1, VARINT, 1, 6)]),
        (b"\x0b\x10\x01\x0c\x18\x02", [(3, VARINT, 2, 6)]),
        (b"\x0b\x13\x14\x0c", []),
        (b"", []),
    ],
)
def test_fields_and_where_they_stand(data, found):
    assert list(fields(data, (0, len(data)), free)) == found
    moved = [(n, w, c + 3 * (w != VARINT), e + 3) for n, w, c, e in found]
    assert list(fields(b"xyz" + data, (3, 3 + len(data)), free)) == moved


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x00\x01", "field number 0 at offset 0"),
        (b"\x80\x80\x80\x80\x10\x01", "field number 536870912"),
        (b"\x0e", "wire type 6 at offset 0"),
        (b"\x08\x01\x17", "wire type 7 at offset 2"),
        (b"\x0c", "wire type 4 at offset 0"),
        (b"\x0b\x14", "wire type 4 at offset 1"),
        (b"\x0b", "1 groups are not closed"),
        (b"\x0b\x13", "2 groups are not closed"),
        (b"\x0a\x02a", "a field of 2 bytes at offset 2, where 1 are left"),
        (b"\x0d123", "a field of 4 bytes"),
        (b"\x091234567", "a field of 8 bytes"),
        (b"\x0a", "a number is cut off"),
        (b"\x80", "a number is cut off"),
    ],
)
def test_what_is_no_field(data, said):
    with pytest.raises(Malformed, match=said):
        list(fields(data, (0, len(data)), free))


def test_fields_of_another_schema_are_refused(message):
    found = parse(message((1, 5), (2, "x"), (900, 1)))
    found.only_fields({1: VARINT, 2: BYTES, 900: VARINT})
    found.only_fields({1: VARINT, 2: BYTES}, beyond=899)
    for known, beyond, number in (
        ({1: VARINT}, 1 << 29, 2),
        ({1: VARINT, 2: VARINT}, 1 << 29, 2),
        ({1: BYTES, 2: BYTES}, 899, 1),
        ({1: VARINT, 2: BYTES}, 900, 900),
    ):
        with pytest.raises(Malformed, match=f"field {number} is none of the format"):
            found.only_fields(known, beyond=beyond)


def test_one_field_of_another_type_among_good_ones_is_refused(message):
    with pytest.raises(Malformed):
        parse(message((1, 5), (1, "x"), (1, 6))).only_fields({1: VARINT})


def test_texts_are_cut_at_the_limit(message):
    for size in (LONGEST - 1, LONGEST, LONGEST + 1):
        assert len(parse(message((1, "x" * size))).text(1)) == min(size, LONGEST)


def test_steps_are_those_of_the_reading(monkeypatch):
    from modelward.artifact import reading

    monkeypatch.setattr(reading, "STEPS", 3)
    assert Message(b"\x08\1" * 3, ((0, 6),), Reading().spend).number(1) == 1
    with pytest.raises(Exhausted):
        Message(b"\x08\1" * 4, ((0, 8),), Reading().spend)


def test_a_message_of_no_span_is_empty():
    empty = Message(b"\x08\1", (), free)
    assert (empty.numbers_present(), empty.places(1), empty.number(1, 9)) == (set(), [], 9)
    assert list(empty.each(1)) == []
    assert protobuf.Message(b"", ((0, 0),), free).only(1).spans == ()
