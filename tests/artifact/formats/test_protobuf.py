"""The walker of protocol buffers, paths and the tally of facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import Message, fields, signed, varint
from modelward.artifact.formats.tally import Tally
from modelward.artifact.reading import Malformed, Reading


def free():
    pass


def parse(data, *spans):
    return Message(data, spans or ((0, len(data)),), free)


# The encodings of the specification: 150 is 96 01; field 1 = 150 is 08 96 01; field 2 = "testing" is 12 07 ...


def test_known_answers_of_the_specification():
    assert varint(b"\x96\x01", 0, 2) == (150, 2)
    assert list(fields(b"\x08\x96\x01", (0, 3), free)) == [(1, 0, 150, 3)]
    assert parse(b"\x12\x07testing").text(2) == "testing"
    assert parse(b"\x1a\x03\x08\x96\x01").only(3).number(1) == 150
    assert parse(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05").integers(6) == [3, 270, 86942]


def test_negative_numbers_take_ten_bytes():
    assert signed(varint(b"\xff" * 9 + b"\x01", 0, 10)[0]) == -1
    assert parse(b"\x08" + b"\xff" * 9 + b"\x01").number(1) == -1


def test_fixed_fields():
    data = b"\x0d\0\0\x80\x3f" + b"\x11" + b"\0" * 8 + b"\x18\x05"
    message = parse(data)
    assert message.real(1) == 1.0
    assert message.real(2) is None
    assert message.number(3) == 5
    assert message.numbers_present() == {1, 2, 3}


def test_the_last_of_a_singular_field_counts_and_messages_merge(message):
    data = message((1, "a"), (1, "b"), (2, 1), (2, 2), (3, message((1, 7))), (3, message((2, 8))))
    parsed = parse(data)
    assert parsed.text(1) == "b"
    assert parsed.texts(1) == ["a", "b"]
    assert parsed.number(2) == 2
    assert (parsed.only(3).number(1), parsed.only(3).number(2)) == (7, 8)
    assert [each.numbers_present() for each in parsed.each(3)] == [{1}, {2}]


def test_what_is_absent_has_a_default():
    empty = parse(b"")
    assert (empty.text(1), empty.number(1, -5), empty.integers(1), empty.texts(1)) == ("", -5, [], [])
    assert empty.only(4).text(1) == ""


def test_a_field_of_another_wire_type_is_ignored(message):
    assert parse(message((1, 5))).text(1) == ""
    assert parse(message((1, "five"))).number(1) == 0


def test_integers_of_unpacked_and_packed_fields_are_bounded(message):
    data = message((1, 3), (1, b"\x04\x05"), (1, 6))
    assert parse(data).integers(1) == [3, 4, 5, 6]
    assert parse(data).integers(1, 2) == [3, 4]
    assert len(parse(message((1, b"\x01" * 1000))).integers(1)) == 64


def test_bytes_that_are_no_text_are_escaped_and_long_texts_are_cut(message):
    assert parse(message((1, b"a\xff"))).text(1) == "a\\xff"
    assert len(parse(message((1, "x" * 70_000))).text(1)) == 1 << 16


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x12\x07test", b"\x12\xff", b"\x0b\x14", b"\x0b", b"\x0c", b"\x0f", b"\x00\x01", b"\x08" + b"\xff" * 10 + b"\x01",
     b"\x0d\0\0\0", b"\x11\0", b"\x12" + b"\xff" * 9 + b"\x01"],
)  # fmt: skip
def test_what_is_no_message(data):
    with pytest.raises(Malformed):
        parse(data)


def test_groups_are_passed_over_with_all_they_hold(message):
    group = b"\x53" + message((1, 7), (2, "hidden"), (3, 1.5)) + b"\x5b\x5c" + b"\x54"
    parsed = parse(message((1, 5)) + group + message((2, "seen")))
    assert (parsed.number(1), parsed.texts(2), parsed.numbers_present()) == (5, ["seen"], {1, 2})


def test_large_content_is_not_copied(message):
    data = message((9, b"\0" * 5_000_000), (1, "after"))
    assert parse(data).text(1) == "after"
    assert parse(data).places(9)[0][1] == 5_000_005


def test_each_field_is_counted():
    counted = []
    Message(b"\x08\x01" * 7, ((0, 14),), lambda: counted.append(1))
    assert len(counted) == 7


@given(st.binary(max_size=64))
def test_noise_is_a_message_or_malformed(data):
    try:
        parsed = parse(data)
    except Malformed:
        return
    for number in parsed.numbers_present():
        assert all(0 <= start <= end <= len(data) for start, end in parsed.places(number))
        parsed.text(number)


@given(st.integers(0, (1 << 64) - 1))
def test_varints_are_read_back(number):
    out, rest = bytearray(), number
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    assert varint(bytes(out), 0, len(out)) == (number, len(out))
    assert signed(number) % (1 << 64) == number


# --- paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "w.bin", "a/b.bin", "./w", "a..b/c", "...", "name with spaces", "f=1", "model:0"],
)
def test_paths_that_stay(path):
    assert escapes(path) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/passwd", "absolute"), ("\\x", "absolute"), ("C:\\x", "absolute"), ("c:x", "absolute"),
        ("../x", "folder"), ("a/../x", "folder"), ("a\\..\\x", "folder"), ("..", "folder"),
        ("http://x/y", "URL"), ("file:///x", "URL"), ("s3://b/k", "URL"), ("~/x", "home"), ("a\0b", "zero"),
    ],
)  # fmt: skip
def test_paths_that_leave(path, why):
    assert why in str(escapes(path))


# --- facts --------------------------------------------------------------------------------------------------


def test_the_tally_reports_what_it_counted_and_cuts_texts():
    into, tally = Reading(), Tally()
    tally.tensor("float32", [2, 3])
    tally.tensor("float32", [])
    tally.tensor("int8", [-1, 5])
    for name in ("A", "B", "A"):
        tally.operator(name)
    tally.report(
        into, "x", producer="p" * 500, inputs=["a" * 300], metadata={"k": "v" * 300}, outputs=[], licence=""
    )
    assert into.facts["tensors"] == 3
    assert into.facts["parameters"] == 7
    assert into.facts["dtypes"] == {"float32": 2, "int8": 1}
    assert into.facts["operators"] == ["A", "B"]
    assert len(str(into.facts["producer"])) == 200
    assert into.facts["inputs"] == ["a" * 200]
    assert into.facts["metadata"] == {"k": "v" * 200}
    assert not {"outputs", "licence"} & into.facts.keys()


def test_absurd_shapes_keep_numbers_that_json_holds_exactly():
    into, tally = Reading(), Tally()
    tally.tensor("float32", [1 << 62, 1 << 62])
    tally.report(into, "x")
    assert into.facts["parameters"] == (1 << 53) - 1
