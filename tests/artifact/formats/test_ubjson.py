"""Universal binary JSON: a writer by the draft's tables is the independent route."""

import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import reading
from modelward.artifact.formats.ubjson import DEPTH, decode
from modelward.artifact.reading import Exhausted, Malformed, Reading


def read(data):
    return decode(data, Reading())


# UBJSON draft 12, "Type Reference"
SCALARS = [
    (b"Z", None),
    (b"T", True),
    (b"F", False),
    (b"i\x80", -128),
    (b"i\x7f", 127),
    (b"U\xff", 255),
    (b"I\x80\0", -32_768),
    (b"I\x01\x02", 258),
    (b"l\xff\xff\xff\xfe", -2),
    (b"L\x80\0\0\0\0\0\0\0", -(2**63)),
    (b"L\x7f\xff\xff\xff\xff\xff\xff\xff", 2**63 - 1),
    (b"d" + struct.pack(">f", -1.5), -1.5),
    (b"D" + struct.pack(">d", 0.1), 0.1),
    (b"Ca", "a"),
    (b"SU\x03abc", "abc"),
    (b"SI\0\x02\xc3\xa9", "é"),
    (b"Si\0", ""),
    (b"HU\x05123.5", "123.5"),
    (b"SU\x01\xff", "\\xff"),
    (b"NNNT", True),
]


@pytest.mark.parametrize(("data", "value"), SCALARS)
def test_scalars_of_the_draft(data, value):
    found = read(data)
    assert found == value
    assert type(found) is type(value)


CONTAINERS = [
    (b"[]", []),
    (b"{}", {}),
    (b"[TFZ]", [True, False, None]),
    (b"[[][[]]]", [[], [[]]]),
    (b"{U\x01aT}", {"a": True}),
    (b"{U\x01a{U\x01b[]}}", {"a": {"b": []}}),
    (b"[#U\x02TF", [True, False]),
    (b"[#i\0", []),
    (b"{#U\x01U\x01aZ", {"a": None}),
    (b"[$S#U\x02U\x01aU\x01b", ["a", "b"]),
    (b"{$U#U\x02U\x01a\x05U\x01b\x06", {"a": 5, "b": 6}),
    (b"[$T#U\x03", [True, True, True]),
    (b"{$Z#U\x02U\x01aU\x01b", {"a": None, "b": None}),
    (b"[$C#U\x02xy", ["x", "y"]),
    (b"[$[#U\x02]TF]", [[], [True, False]]),
    (b"[TNNF]", [True, False]),
    (b"{U\0T}", {"": True}),
]


@pytest.mark.parametrize(("data", "value"), CONTAINERS)
def test_containers_of_the_draft(data, value):
    assert read(data) == value


@pytest.mark.parametrize(("data", "value"), SCALARS + CONTAINERS)
def test_truncation_is_malformed_at_every_byte(data, value):
    for end in range(len(data)):
        with pytest.raises(Malformed):
            read(data[:end])


TYPED = [
    ("i", "b", [-128, 0, 127]),
    ("U", "B", [0, 255]),
    ("I", "h", [-32_768, 258]),
    ("l", "i", [-(2**31), 66_051]),
    ("L", "q", [-(2**63), 2**63 - 1]),
    ("d", "f", [-1.5, 0.0]),
    ("D", "d", [0.1, 1e300]),
]


@pytest.mark.parametrize(("mark", "code", "values"), TYPED)
def test_typed_arrays_stay_arrays(mark, code, values):
    found = read(
        f"[${mark}#U".encode() + bytes([len(values)]) + struct.pack(f">{len(values)}{code}", *values)
    )
    assert found == array(code, values)
    assert isinstance(found, array)


@pytest.mark.parametrize(("mark", "code", "values"), TYPED)
def test_typed_arrays_that_are_cut_off(mark, code, values):
    data = f"[${mark}#U".encode() + bytes([len(values)]) + struct.pack(f">{len(values)}{code}", *values)
    with pytest.raises(Malformed, match="bytes are needed"):
        read(data[:-1])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[$U]", "a type and no length"),
        (b"[#SU\x011", "a length of the type 'S'"),
        (b"Si\xff", "a length of -1"),
        (b"[#i\xff", "a length of -1"),
        (b"[#l\x7f\xff\xff\xff", "a container of 2147483647 values"),
        (b"{U\x01aTU\x01aF}", "the key 'a' stands twice"),
        (b"[T}", "the wrong mark"),
        (b"{U\x01aT]", "the wrong mark"),
        (b"TF", "1 bytes stand behind"),
        (b"[]Z", "1 bytes stand behind"),
        (b"x", "the unknown type 'x'"),
        (b"\x00", "the unknown type"),
        (b"[$L#U\x09" + b"\0" * 71, "72 bytes are needed"),
    ],
)
def test_damage_is_said(data, said):
    with pytest.raises(Malformed, match=said):
        read(data)


@pytest.mark.parametrize("mark", [b"T", b"F", b"Z"])
def test_constants_take_no_bytes_and_are_bounded_all_the_same(mark):
    assert len(read(b"[$" + mark + b"#I\x10\0")) == 4096
    with pytest.raises(Malformed, match="a container of 16777217 values"):
        read(b"[$" + mark + b"#l\x01\0\0\x01")


def test_depth_ends_at_its_limit():
    most = DEPTH - 1  # the value itself is the first level
    assert read(b"[" * most + b"]" * most) is not None
    with pytest.raises(Malformed, match="deeper than 64"):
        read(b"[" * (most + 1) + b"]" * (most + 1))


def test_values_are_steps(monkeypatch):
    monkeypatch.setattr(reading, "STEPS", 10)
    assert read(b"[TTTTTT]") == [True] * 6
    with pytest.raises(Exhausted):
        read(b"[TTTTTTTTTTTT]")


def write(value):
    """By the draft, in its widest forms."""
    if value is None or isinstance(value, bool):
        return {None: b"Z", True: b"T", False: b"F"}[value]
    if isinstance(value, int):
        return b"L" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"D" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"S" + length(value)
    if isinstance(value, list):
        return b"[" + b"".join(map(write, value)) + b"]"
    return b"{" + b"".join(length(key) + write(part) for key, part in value.items()) + b"}"


def length(text):
    raw = text.encode()
    return b"l" + struct.pack(">i", len(raw)) + raw


def counted(value):
    """The same with lengths in front of containers."""
    if isinstance(value, list):
        return b"[#l" + struct.pack(">i", len(value)) + b"".join(map(counted, value))
    if isinstance(value, dict):
        inside = b"".join(length(key) + counted(part) for key, part in value.items())
        return b"{#l" + struct.pack(">i", len(value)) + inside
    return write(value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_what_was_written_is_read_back(value):
    assert read(write(value)) == value
    assert read(counted(value)) == value


@settings(deadline=None)
@given(VALUES, st.integers(0, 400))
def test_what_is_cut_off_is_malformed(value, end):
    data = write(value)
    if end < len(data):
        with pytest.raises(Malformed):
            read(data[:end])


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b"[", b"]", b"{", b"}", b"$", b"#", b"U", b"\1", b"i", b"\xff", b"S", b"T", b"N", b"a"]
        ),
        max_size=20,
    )
)
def test_any_marks_are_a_value_or_malformed(marks):
    try:
        read(b"".join(marks))
    except Malformed:
        return
