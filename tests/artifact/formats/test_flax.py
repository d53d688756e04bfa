"""Flax parameters in MessagePack, and Arrow files whose column types are pickles."""

import io
import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import flax, msgpack
from modelward.artifact.reading import Malformed, Reading
from modelward.artifact.sniff import sniff


def pack(value):
    """MessagePack of dictionaries, lists, texts, bytes, small integers and (code, bytes) as extensions."""
    if isinstance(value, dict):
        return b"\xde" + struct.pack(">H", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    if isinstance(value, str):
        return b"\xda" + struct.pack(">H", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, tuple):
        return b"\xc8" + struct.pack(">H", len(value[1])) + bytes([value[0]]) + value[1]
    if value is None:
        return b"\xc0"
    return b"\xcb" + struct.pack(">d", value) if isinstance(value, float) else struct.pack("B", value)


def array(shape, dtype, raw, code=1):
    return (code, pack([list(shape), dtype, raw]))


KERNEL = array((2, 3), "float32", b"\0" * 24)
GOOD = pack(
    {"params": {"Dense_0": {"kernel": KERNEL, "bias": array((3,), "bfloat16", b"\0" * 6)}}, "step": 3}
)


def test_facts(verdict):
    assert verdict(GOOD) == ("inert", set())
    into = Reading()
    flax.read(GOOD, into)
    assert into.facts["tensors"] == 2
    assert into.facts["parameters"] == 9
    assert into.facts["dtypes"] == {"bfloat16": 1, "float32": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (array((), "float32", b"\0" * 4, 3), ("inert", set())),
        (array((2,), "str32", b"\0" * 8), ("inert", set())),
        (array((0, 4), "int64", b""), ("inert", set())),
        (array((8,), "float8_e4m3fn", b"\0" * 8), ("inert", set())),
        ((2, pack([1.0, 2.0])), ("inert", set())),
        (array((1,), "object", b"\0" * 8), ("dangerous", {"flax.object"})),
        (array((1,), "O", b"\0" * 8), ("dangerous", {"flax.object"})),
        (array((1,), "|O8", b"\0" * 8), ("dangerous", {"flax.object"})),
        (array((1,), "object", b"\0" * 8, 3), ("dangerous", {"flax.object"})),
        (array((1,), "strange", b"\0" * 8), ("unproven", {"flax.type"})),
        (array((4,), "float32", b"\0" * 8), ("unproven", {"flax.extent"})),
        (array((-1,), "float32", b"") if False else (1, b"\x93\x91\xff\xa7float32\xc4\0"), ("unproven", {"artifact.unread"})),
        ((1, b"\x01"), ("unproven", {"artifact.unread"})),
        ((1, b""), ("unproven", {"artifact.unread"})),
        ((2, b"\xc0"), ("unproven", {"artifact.unread"})),
    ],
)  # fmt: skip
def test_extensions(verdict, value, expected):
    assert verdict(pack({"params": KERNEL, "x": value})) == expected


def test_an_unknown_extension_is_unproven(survives):
    assert survives(flax.read, pack({"params": KERNEL, "x": (77, b"abc")})) == "unproven"


def test_trailing_bytes_are_unproven(verdict):
    assert verdict(GOOD + b"more")[0] == "unproven"


def test_bombs_end(survives):
    assert survives(flax.read, b"\xdf\xff\xff\xff\xff") == "unproven"
    assert survives(flax.read, b"\x81\xa1a" * 5000) == "unproven"
    assert survives(flax.read, b"\x91" * 5000) == "unproven"
    assert survives(flax.read, b"\x81\xa1a\xc6\xff\xff\xff\xff") == "unproven"
    assert survives(flax.read, b"\x81\xa1a\xc1") == "unproven"


@pytest.mark.parametrize(
    "data",
    [b"\x81", b"\x81\xa1\xff\x01", b"\x81\xa1a", b"\x82\xa1a\x01 not the end of it, as text follows", b"\x80."],
)  # fmt: skip
def test_what_begins_like_a_map_is_no_flax(data):
    assert msgpack.begins(data) is None
    assert sniff(data).format != "flax-msgpack"


def test_pickles_are_not_taken_for_maps():
    for protocol in range(6):
        assert sniff(pickle.dumps({"a": [1, 2, 3]}, protocol)).format == "pickle"


def test_files_of_the_library(verdict):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    raw = library.packb(((2, 2), "float32", b"\0" * 16), use_bin_type=True)
    tree = {
        "p": {"k": library.ExtType(1, raw)},
        "i": [1, -1, 70_000, -70_000, 2**40, -(2**40)],
        "f": [1.5, None, True],
    }
    big = {
        f"layer{at}": {"kernel": library.ExtType(1, raw), "text": "x" * 300, "raw": b"y" * 70_000}
        for at in range(3)
    }
    assert verdict(library.packb(tree)) == ("inert", set())
    assert verdict(library.packb(big)) == ("inert", set())
    assert verdict(library.packb({"a": {"b": [1, 2]}})) == ("inert", set())


@pytest.mark.parametrize("end", range(1, len(GOOD), 2))
def test_truncation_is_never_inert(survives, end):
    assert survives(flax.read, GOOD[:end]) == "unproven"


@settings(max_examples=250, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_mutations(survives, mutated, edits):
    data = mutated(GOOD, edits)
    survives(flax.read, data)
    msgpack.begins(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes(survives, data):
    survives(flax.read, data)
    msgpack.begins(data)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.text(max_size=40)
        | st.binary(max_size=40),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
        max_leaves=20,
    )
)
def test_the_walk_ends_where_the_library_ends(value):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    walk = msgpack.Walk(library.packb(value))
    list(walk.items(None))
    assert walk.pos == walk.end
    if walk.end > 1:
        with pytest.raises(Malformed):
            list(msgpack.Walk(walk.data[:-1]).items(None))


# --- Arrow --------------------------------------------------------------------------------------------------


def arrow_file(name=b"", payload=b""):
    """A file whose schema metadata names an extension type."""
    pa = pytest.importorskip("pyarrow")
    ipc = pytest.importorskip("pyarrow.ipc")
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": payload} if name else None
    schema = pa.schema([pa.field("a", pa.int64(), metadata=metadata)])
    buffer = io.BytesIO()
    with ipc.new_file(buffer, schema) as writer:
        writer.write_table(pa.table([[1, 2]], schema=schema))
    return buffer.getvalue()


def parquet_file(name=b"", payload=b""):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": payload} if name else None
    schema = pa.schema([pa.field("a", pa.int64(), metadata=metadata)])
    buffer = io.BytesIO()
    pq.write_table(pa.table([[1, 2]], schema=schema), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [arrow_file, parquet_file])
def test_tables_have_no_verdict(verdict, write):
    assert verdict(write()) == (None, set())
    assert verdict(write(b"arrow.json", b"")) == (None, set())


@pytest.mark.parametrize("write", [arrow_file, parquet_file])
def test_a_type_that_is_a_pickle_is_found(verdict, write):
    """CVE-2023-47248: pyarrow before 14.0.1 unpickles the type of the column."""
    payload = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
    level, rules = verdict(write(b"arrow.py_extension_type", payload))
    assert level == "dangerous"
    assert {"arrow.extension", "pickle.payload"} <= rules
    assert verdict(write(b"arrow.py_extension_type", b"x"))[0] == "unproven"


# --- bytes that are another format ---------------------------------------------------------------------------------

EVIL = b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R."
OLD = b"cposix\nsystem\n(S'id'\ntR."


def _packed(value):
    library = pytest.importorskip("msgpack", reason="msgpack is not installed")
    return library.packb(value)


def test_weights_of_pytorch_inside_are_read(verdict):
    inner = _packed({"config": {}, "state": EVIL})
    for data in (_packed({"a": 1, "shims": [EVIL]}), _packed({"a": 1, "shims": [inner]})):
        assert verdict(data)[0] == "dangerous"
    assert (
        verdict(_packed({"a": 1, "shims": [_packed({"config": {}, "state": b"\x80\x04K\x01."})]}))[0]
        == "inert"
    )


@pytest.mark.parametrize("payload", [EVIL, OLD])
def test_arrays_of_objects_are_pickles(verdict, payload):
    """As msgpack-numpy reads them: a map with `nd`, `kind` and `data`."""
    whole = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": payload}
    assert verdict(_packed(whole))[0] == "dangerous"
    assert verdict(_packed({"x": {key.decode(): value for key, value in whole.items()}}))[0] == "dangerous"
    plain = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [1], b"data": b"\0\0\x80?"}
    assert verdict(_packed({"w": plain}))[0] == "inert"


def test_rows_of_vectors_are_inert(verdict):
    data = _packed({2**63 + 5: [0, None], 7: [1, 2.5]})
    assert verdict(data) == ("inert", set())
    assert sniff(data).format == "msgpack"
