"""Safetensors: what the reference loader refuses is not proven, what it writes is inert."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.safetensors import read
from modelward.artifact.reading import Malformed, Reading


def build(header, body=b"\0" * 16, *, raw=None):
    text = raw if raw is not None else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(start, end, dtype="F32", shape=None):
    return {
        "dtype": dtype,
        "shape": [(end - start) // 4] if shape is None else shape,
        "data_offsets": [start, end],
    }


GOOD = build({"a": entry(0, 8), "b": entry(8, 16), "__metadata__": {"format": "pt", "license": "mit"}})


def test_facts(verdict):
    assert verdict(GOOD) == ("inert", set())
    into = Reading()
    read(GOOD, into)
    assert into.facts == {
        "tensors": 2,
        "parameters": 4,
        "dtypes": {"F32": 2},
        "metadata": {"format": "pt", "license": "mit"},
        "licence": "mit",
        "framework": "pytorch",
    }


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({}, b""),
        ({"a": entry(0, 0, shape=[0, 7])}, b""),
        ({"a": entry(0, 4, shape=[])}, b"\0" * 4),
        ({"a": entry(0, 3, "U8", [3])}, b"\0" * 3),
        ({"a": entry(0, 2, "F4", [4])}, b"\0" * 2),
        ({"b": entry(4, 8), "a": entry(0, 4)}, b"\0" * 8),
        ({"ä": entry(0, 4), '"dtype"': entry(4, 8)}, b"\0" * 8),
    ],
)
def test_what_the_format_allows_is_inert(verdict, header, body):
    assert verdict(build(header, body)) == ("inert", set())


def test_padding_of_the_header_is_allowed(verdict):
    text = json.dumps({"a": entry(0, 16)}).encode() + b"     "
    assert verdict(build({}, raw=text))[0] == "inert"


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({"a": entry(0, 8), "b": entry(4, 16, shape=[3])}, "safetensors.overlap"),
        ({"a": entry(0, 4), "b": entry(8, 16)}, "safetensors.hole"),
        ({"a": entry(4, 16)}, "safetensors.hole"),
        ({"a": entry(0, 8)}, "safetensors.extent"),
        ({"a": entry(0, 32)}, "safetensors.extent"),
        ({"a": entry(0, 16, shape=[3])}, "safetensors.extent"),
        ({"a": entry(0, 16, shape=[1 << 62, 1 << 62])}, "safetensors.extent"),
        ({"a": entry(0, 16, "O", [4])}, "safetensors.dtype"),
        ({"a": entry(0, 16, "F32", [-2, -2])}, "safetensors.shape"),
        ({"a": entry(0, 16, "F32", [1] * 100)}, "safetensors.shape"),
        ({"a": entry(16, 0, "F32", [-4])}, "safetensors.shape"),
    ],
)
def test_a_layout_that_the_reference_refuses_is_unproven(verdict, header, rule):
    assert verdict(build(header)) == ("unproven", {rule}) or rule in verdict(build(header))[1]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}} x',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}{}',
        b'{"a":{"dtype":"F32","shape":"4","data_offsets":[0,16]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0]}}',
        b'{"a":{"dtype":"F32","data_offsets":[0,16]}}',
        b'{"a":7}',
        b'{"__metadata__":{"a":1}}',
        b'{"__metadata__":"a"}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},}',
        b'{"a',
        b"{\xff}",
        b"{" + b"[" * 5000,
    ],
)
def test_a_header_that_is_not_of_the_format_is_unproven(verdict, raw):
    assert verdict(build({}, raw=raw))[0] == "unproven"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        b'{"a":{"dtype":"F32","shape":[4],"shape":[4],"data_offsets":[0,16]}}',
    ],
)
def test_repeated_keys_are_unproven(verdict, raw):
    assert verdict(build({}, raw=raw)) == ("unproven", {"safetensors.repeated"})


def test_sizes_of_the_header_are_bounded():
    with pytest.raises(Malformed, match="header of"):
        read(struct.pack("<Q", 1 << 60) + b"{}", Reading())
    with pytest.raises(Malformed, match="no header"):
        read(b"\2\0\0", Reading())


def test_files_of_the_library(verdict):
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    dtypes = [
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "float16",
        "uint32",
        "int32",
        "float32",
        "int64",
        "float64",
    ]
    tensors = {name: numpy.ones((2, 3), name) for name in dtypes}
    tensors["empty"] = numpy.zeros((0, 3))
    tensors["scalar"] = numpy.array(1, "float32")
    data = library.save(tensors, metadata={"format": "np"})
    assert verdict(data) == ("inert", set())
    into = Reading()
    read(data, into)
    assert into.facts["parameters"] == 6 * len(dtypes) + 1


def test_the_reference_loader_agrees_on_layouts():
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    cases = [
        {"a": entry(0, 8), "b": entry(8, 16)},
        {"a": entry(0, 16)},
        {"b": entry(8, 16), "a": entry(0, 8)},
    ]
    bad = [
        {"a": entry(0, 8), "b": entry(4, 16, shape=[3])},
        {"a": entry(0, 8)},
        {"a": entry(0, 16, shape=[3])},
    ]
    for header in cases + bad:
        into = Reading()
        read(build(header), into)
        try:
            library.deserialize(build(header))
        except library.SafetensorError:
            assert into.events
        else:
            assert not into.events


def test_many_tensors_are_read():
    header = {f"layer.{at}": entry(4 * at, 4 * at + 4) for at in range(20_000)}
    into = Reading()
    read(build(header, b"\0" * 80_000), into)
    assert not into.events
    assert into.facts["tensors"] == 20_000


@pytest.mark.parametrize("end", range(0, len(GOOD), 3))
def test_truncation_is_never_inert(survives, end):
    assert survives(read, GOOD[:end]) == "unproven"


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_mutations(survives, mutated, edits):
    survives(read, mutated(GOOD, edits))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(survives, data):
    survives(read, data)
    survives(read, struct.pack("<Q", len(data)) + data)
