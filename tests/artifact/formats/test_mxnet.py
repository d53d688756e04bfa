"""MXNet: symbols and lists of arrays, written by hand as MXNet writes them."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import mxnet as reader
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes


def symbol(*nodes, key="attrs"):
    made = [{"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": "fc_weight", "inputs": []}]
    made += [
        {"op": op, "name": f"n{at}", key: attributes, "inputs": [[0, 0, 0]]}
        for at, (op, attributes) in enumerate(nodes)
    ]
    return json.dumps(
        {"nodes": made, "arg_nodes": [0, 1], "node_row_ptr": [0, 1, 2], "heads": [[2, 0, 0]],
         "attrs": {"mxnet_version": ["int", 10900]}}, indent=2,
    ).encode()  # fmt: skip


FC = ("FullyConnected", {"num_hidden": "10"})


def test_a_symbol_is_inert_and_has_facts():
    report = inspect_bytes(symbol(FC, ("Activation", {"act_type": "relu"})), "m-symbol.json")
    assert (report.format, report.verdict) == ("mxnet", "inert")
    assert report.facts == {
        "framework": "mxnet", "format_version": "10900", "operators": ["FullyConnected", "Activation"],
        "inputs": ["data"],
    }  # fmt: skip


@pytest.mark.parametrize("operator", ["_Native", "_NDArray", "_CustomFunction", "_backward_CustomFunction"])
def test_operators_with_addresses_are_dangerous(verdict, operator):
    assert verdict(symbol(FC, (operator, {"info": "0x7fff0000"}))) == ("dangerous", {"mxnet.pointer"})


def test_a_python_class_is_unproven_and_named():
    report = inspect_bytes(symbol(("Custom", {"op_type": "evil_op"})), "m")
    assert report.verdict == "unproven"
    assert "evil_op" in report.findings[0].message


def test_an_operator_of_somebody_else_is_unproven(verdict):
    assert verdict(symbol(("my_gemm", {}))) == ("unproven", {"mxnet.custom-operator"})


@pytest.mark.parametrize("key", ["param", "attr", "attrs"])
@pytest.mark.parametrize("path", ["/tmp/libevil.so", "evil.dll", "x.so.1", "y.dylib"])
def test_libraries_in_attributes_are_dangerous(verdict, key, path):
    assert verdict(symbol(("Activation", {"lib": path}), key=key)) == ("dangerous", {"mxnet.library"})


def test_subgraphs_are_walked(verdict):
    inner = json.loads(symbol(("Custom", {"op_type": "evil"})))
    for _ in range(20):
        outer = json.loads(symbol(("_foreach", {})))
        outer["nodes"][-1]["subgraphs"] = [inner]
        inner = outer
    assert verdict(json.dumps(inner).encode()) == ("unproven", {"mxnet.custom"})


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"nodes": [', b'"nodes": [5, '), (b'"inputs": []', b'"inputs": []]'), (b'"op": "null"', b'"op": 7')],
)
def test_odd_symbols_are_unproven(verdict, old, new):
    assert verdict(symbol(FC).replace(old, new, 1))[0] == "unproven"


def test_the_list_of_operators_is_mxnets():
    known = reader.known()
    assert {
        "Convolution",
        "BatchNorm",
        "Pooling",
        "elemwise_add",
        "SoftmaxOutput",
        "Flatten",
        "_copy",
    } <= known
    assert not {"Custom", "_Native", "_NDArray", "_CustomFunction"} & known


# --- arrays -------------------------------------------------------------------------------------------------


def dims(*sizes):
    return struct.pack("<i", len(sizes)) + b"".join(struct.pack("<q", size) for size in sizes)


def dense(*sizes, kind=0, width=4, mark=0xF993FAC9):
    count = 1
    for size in sizes:
        count *= size
    start = struct.pack("<I", mark) + (struct.pack("<i", 0) if mark != 0xF993FAC8 else b"")
    return start + dims(*sizes) + struct.pack("<iii", 1, 0, kind) + b"\1" * (count * width)


def rows(stored, shape):
    start = struct.pack("<Ii", 0xF993FAC9, 1) + dims(*stored) + dims(*shape) + struct.pack("<iii", 1, 0, 0)
    return (
        start
        + struct.pack("<i", 6)
        + dims(stored[0])
        + b"\1" * (stored[0] * stored[1] * 4)
        + b"\0" * (8 * stored[0])
    )


def legacy(*sizes):
    start = (
        struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}I", *sizes) + struct.pack("<iii", 1, 0, 0)
    )
    return start + b"\1" * (4 * sizes[0] * sizes[1])


def params(*arrays, names=None):
    names = [f"arg:w{at}" for at in range(len(arrays))] if names is None else names
    out = struct.pack("<QQQ", 0x112, 0, len(arrays)) + b"".join(arrays) + struct.pack("<Q", len(names))
    return out + b"".join(struct.pack("<Q", len(name)) + name.encode() for name in names)


def test_arrays_of_every_version():
    data = params(
        dense(2, 3), dense(4, mark=0xF993FAC8), dense(5, kind=6, width=8, mark=0xF993FACA), rows((2, 3), (9, 3)),
        legacy(3, 3), struct.pack("<Ii", 0xF993FAC9, 0) + dims(),
    )  # fmt: skip
    report = inspect_bytes(data, "m-0000.params")
    assert (report.format, report.verdict) == ("mxnet-params", "inert")
    assert (report.facts["tensors"], report.facts["parameters"]) == (5, 6 + 4 + 5 + 27 + 9)
    assert report.facts["dtypes"] == {"float32": 4, "int64": 1}
    assert not report.findings


def test_trailing_bytes_are_a_note():
    report = inspect_bytes(params(dense(2)) + b"xx", "m")
    assert report.verdict == "inert"
    assert [finding.rule for finding in report.findings] == ["mxnet.trailing"]


@pytest.mark.parametrize(
    "array",
    [
        dense(1 << 20)[:-4],
        dense(2, kind=77),
        dims(1 << 62),
        struct.pack("<Ii", 0xF993FAC9, 9) + dims(1),
        dense(2)[:8] + dims(-4),
    ],
)
def test_impossible_arrays_are_unproven(verdict, array):
    data = params(array)[:60]
    assert sniff(data).format == "mxnet-params"
    assert verdict(data) == ("unproven", {"artifact.unread"})


def test_truncation_is_never_clean(survives):
    data = params(dense(2, 3), rows((2, 3), (9, 3)))
    for end in range(1, len(data)):
        assert survives(reader.read, data[:end]) == "unproven"
    text = symbol(FC)
    for end in range(1, len(text), 3):
        assert survives(reader.read, text[:end]) == "unproven"


EDITS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2), st.integers(0, 255)), max_size=5)


@given(EDITS, st.booleans())
def test_mutations_raise_nothing(survives, mutated, edits, pick):
    survives(
        reader.read,
        mutated(symbol(FC, ("Custom", {})) if pick else params(dense(2), rows((1, 2), (3, 2))), edits),
    )


@given(st.binary(max_size=100))
def test_noise_raises_nothing(survives, data):
    survives(reader.read, b"{" + data)
    survives(reader.read, struct.pack("<QQQ", 0x112, 0, 3) + data)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["nodes", "op", "attrs", "subgraphs", "arg_nodes", "mxnet_version"]),
                each,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_json_of_any_shape_raises_nothing(survives, document):
    survives(reader.read, json.dumps(document).encode())


# --- keys of JSON anywhere ----------------------------------------------------------------------------------

BAD = {
    "nodes": [{"op": "Custom", "name": "c", "attrs": {"op_type": "evil"}, "inputs": []}],
    "arg_nodes": [],
    "heads": [[0, 0, 0]],
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(BAD),
        "{" + " " * 80_000 + json.dumps(BAD)[1:],
        "\n" * 80_000 + json.dumps(BAD),
        "\ufeff" + json.dumps(BAD),
        json.dumps({"attrs": {"pad": "x" * 80_000}, **BAD}),
        json.dumps({"heads": [[0, 0, 0]] * 20_000, **BAD}),
        json.dumps(BAD).replace('"nodes"', '"n\\u006fdes"').replace('"heads"', '"\\u0068eads"'),
    ],
)
def test_a_symbol_is_known_wherever_its_keys_are(verdict, text):
    assert verdict(text.encode(), "model-symbol.json") == ("unproven", {"mxnet.custom"})


@pytest.mark.parametrize(
    "text", ['{"nodes": [], "heads": 1}', '{"arg_nodes": 1}', '{"a": "\\u0141\\u0007"}', "{"]
)
def test_other_json_is_left_alone(verdict, text):
    assert verdict(text.encode(), "x.json")[0] is None


@pytest.mark.parametrize(
    ("path", "expected"), [("/etc/passwd", "unproven"), ("../x.png", "unproven"), ("x.png", "inert")]
)
def test_a_picture_that_is_read(verdict, path, expected):
    node = {"op": "_cvimread", "name": "c", "attrs": {"filename": path}, "inputs": []}
    found, rules = verdict(json.dumps({**BAD, "nodes": [node]}).encode())
    assert found == expected
    assert rules == ({"mxnet.path"} if expected == "unproven" else set())


@pytest.mark.parametrize(
    ("operator", "rule"),
    [("_npi_Custom", "mxnet.custom"), ("_backward_Custom", "mxnet.custom"), ("_TensorRT", "mxnet.engine")],
)
def test_operators_that_leave_the_graph(operator, rule):
    report = inspect_bytes(symbol((operator, {"op_type": "evil_op"})), "m")
    assert (report.verdict, report.findings[0].rule) == ("unproven", rule)
