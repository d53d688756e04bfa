"""Content that two loaders read as two different models: parsers of protocol buffers pass over unknown fields."""

import gzip
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import tensorflow
from modelward.artifact.formats.protobuf import BYTES, VARINT, Message
from modelward.artifact.reading import Malformed
from modelward.artifact.signs.hidden import within
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes


@pytest.fixture(scope="session")
def node(message):
    return lambda op, name="n": message((1, name), (2, op))


@pytest.fixture(scope="session")
def evil_graph(message, node):
    return message((1, node("Placeholder")), (1, node("ReadFile")))


@pytest.fixture(scope="session")
def evil_onnx(message):
    """Fields of a ModelProto with an operator of an unknown domain."""
    graph = message((1, message((1, "x"), (2, "y"), (4, "Op"), (7, "evil.ops"))), (2, "g"))
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 17))))


def dirty(data):
    return inspect_bytes(data, "m").verdict in {"unproven", "dangerous"}


def test_the_parts_alone_are_not_clean(evil_graph, evil_onnx):
    assert dirty(evil_graph)
    assert dirty(evil_onnx)


def test_only_fields_refuses_other_numbers_and_wire_types(message):
    data = message((1, 5), (2, "x"), (40, 7))
    parsed = Message(data, ((0, len(data)),), int)
    with pytest.raises(Malformed, match="field 2"):
        parsed.only_fields({1: VARINT}, beyond=26)
    with pytest.raises(Malformed, match="field 1"):
        parsed.only_fields({1: BYTES, 2: BYTES}, beyond=26)
    with pytest.raises(Malformed, match="field 40"):
        parsed.only_fields({1: VARINT, 2: BYTES})
    parsed.only_fields({1: VARINT, 2: BYTES}, beyond=26)


def test_a_graph_with_an_empty_library_is_a_graph(message, evil_graph, node):
    """The library stands where a MetaGraphDef has its graph, and an empty one is a graph too."""
    for data in (evil_graph + message((2, b"")), message((2, b"")) + evil_graph):
        assert sniff(data).format == "tensorflow-graph"
        assert inspect_bytes(data, "m").verdict == "dangerous"
    plain = message((1, node("Placeholder")), (2, b""))
    assert inspect_bytes(plain, "m").facts["operators"] == ["Placeholder"]


@pytest.mark.parametrize("count", [1, 70, 12_000])
def test_onnx_behind_the_nodes_of_a_graph(message, node, evil_onnx, count):
    """ModelProto's first field is a number, so that nodes of a GraphDef there are passed over."""
    assert dirty(message((1, node("Relu"))) * count + evil_onnx)
    assert dirty(evil_onnx + message((1, node("Relu"))) * count)


@pytest.mark.parametrize("extra", [[(2, 1)], [(2, 1), (9, b"\0" * 8)], [(2, 1), (14, 1)]])
def test_onnx_that_looks_like_a_tensor(message, evil_onnx, extra):
    """TensorProto's type is a number where ModelProto has the name of the producer."""
    assert dirty(evil_onnx + message(*extra))
    assert dirty(message(*extra) + evil_onnx)


def test_onnx_whose_graph_has_a_group_is_no_tensor(message, evil_onnx):
    """Parsers pass over groups, so that content which has some is a message as well."""
    graph = message((1, message((1, "x"), (2, "y"), (4, "Op"), (7, "evil.ops"))), (2, "g"))
    graph += b"\x9b\x06\x9c\x06"
    data = message((1, 8), (2, 1), (7, graph), (8, message((1, ""), (2, 17))))
    assert dirty(data)
    onnx = pytest.importorskip("onnx", reason="asks the library what it reads")
    assert onnx.load_model_from_string(data).graph.node[0].domain == "evil.ops"


def test_a_graph_of_many_fields_costs_nothing_to_tell_from_a_tensor(message):
    part = b"\x12\0" * 400_000 + b"\x07"
    data = message((2, 1), *((7, part),) * 40)
    start = process_time()
    sniff(data)
    assert process_time() - start < 3


def test_onnx_where_a_meta_graph_has_its_objects(message):
    """`onnx.load` asks for no version: what a SavedModel calls objects is the graph."""
    tensor = message((2, 1), (8, "w"), (13, message((1, "location"), (2, "/etc/passwd"))), (14, 1))
    assert dirty(message((1, b""), (2, b""), (7, message((5, tensor)))))


def test_a_tensor_of_packed_integers_is_a_tensor(message):
    data = message((1, 3), (2, 7), (7, b"\x01\x02\x03"), (8, "t"))
    report = inspect_bytes(data, "input_0.pb")
    assert (report.format, report.verdict) == ("onnx", "inert")


def test_a_saved_model_within_onnx(message, evil_graph):
    """Both start with a number, and the producer's name stands where a SavedModel has its graphs."""
    meta = message((1, message((4, "serve"))), (2, evil_graph))
    graph = message((1, message((1, "x"), (2, "y"), (4, "Relu"))), (2, "g"))
    assert dirty(message((1, 1), (2, meta), (7, graph), (8, message((1, ""), (2, 17)))))


def test_a_saved_model_within_coreml(message, evil_graph):
    meta = message((1, message((4, "serve"))), (2, evil_graph))
    for extra in ((900, b""), (500, b"")):
        assert dirty(message((1, 1), (2, meta), extra))


@pytest.mark.parametrize("count", [1, 70])
def test_a_graph_within_a_program_of_paddle(message, node, count):
    """Blocks stand where a GraphDef has its nodes."""
    block = message((1, 0), (2, 0), *[(3, b"")] * count) + node("ReadFile")
    assert dirty(message((1, block)))


@pytest.mark.parametrize("count", [1, 70])
def test_a_graph_behind_the_objects_of_keras(message, node, count):
    plain = message((2, 1), (3, "root"), (4, "_tf_keras_layer"), (5, "{}"))
    assert dirty(message((1, plain)) * count + message((1, node("ReadFile"))))


def test_a_saved_model_with_more_fields_is_not_clean(message, evil_graph, node):
    plain = message((1, message((4, "serve"))), (2, message((1, node("Relu")))))
    for extra in ((3, "x"), (100, 1)):
        assert dirty(message((1, 1), (2, plain), extra))
    many = message((1, 1)) + message((2, plain)) * 70 + message((2, message((1, b""), (2, evil_graph))))
    assert inspect_bytes(many, "m").verdict == "dangerous"


# --- text format --------------------------------------------------------------------------------------------

TEXT = """# a comment
saved_model_schema_version: 1
meta_graphs {
  meta_info_def { tags: "serve" tensorflow_version: '2.21.0' }
  graph_def: <
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "p" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING string_val: %s } } } }
    node { name: "y" op: %s input: "p" unknown_field { deep [1, 2.5e-3, true] } }
    versions { producer: 1882 }
    library { function { signature { name: "f" } node_def { name: "z" op: "Relu" } } }
  >
}
"""


@pytest.mark.parametrize(
    ("operator", "path", "expected"),
    [
        ('"Identity"', '"a"', "inert"), ('"f"', '"a"', "inert"), ('"ReadFile"', '"a"', "dangerous"),
        ("'ReadFile'", '"a"', "dangerous"), ('"Read" "File"', '"a"', "dangerous"),
        ('"\\122ead\\x46ile"', '"a"', "dangerous"), ('"\\u0052eadFile"', '"a"', "dangerous"),
        ('"Read" # comment\n  \'File\'', '"a"', "dangerous"), ('"Evil"', '"a"', "unproven"),
        ('"SaveV2"', '"/etc/cron.d/x"', "dangerous"), ('"SaveV2"', '"\\057etc"', "dangerous"),
        ('"SaveV2"', '"model"', "inert"),
    ],
)  # fmt: skip
def test_the_text_format(operator, path, expected):
    report = inspect_bytes((TEXT % (path, operator)).encode(), "saved_model.pbtxt")
    assert (report.format, report.verdict) == ("saved-model", expected)
    assert report.facts["producer"] == "tensorflow 2.21.0"
    assert all(finding.location.offset is None for finding in report.findings)


def test_a_graph_as_text():
    text = 'node {\n  name: "x"\n  op: "Placeholder"\n}\nnode { name: "r" op: "WriteFile" }\nlibrary {\n}\n'
    report = inspect_bytes(text.encode(), "graph.pbtxt")
    assert (report.format, report.verdict) == ("tensorflow-graph", "dangerous")


@pytest.mark.parametrize(
    "text",
    [
        "saved_model_schema_version: 1 meta_graphs [{ graph_def { BAD } }, {}]",
        "saved_model_schema_version: 0x1 meta_graphs: [ < graph_def { node [{ name: 'a' op: 'Relu' }, BARE] } > ]",
        "saved_model_schema_version: # comment\n1 meta_graphs { graph_def { BAD } }",
        "#" + "x" * 70_000 + "\nsaved_model_schema_version: 1 meta_graphs { graph_def { BAD } }",
        "saved_model_schema_version: 1\n#" + "x" * 70_000 + "\nmeta_graphs { graph_def { BAD } }",
        "\x0c\x0b saved_model_schema_version : 1 meta_graphs { graph_def { BAD } }",
        "node { #" + "x" * 70_000 + '\nname: "a" op: "ReadFile" }',
        'node: [{ name: "a" op: "Relu" }, { name: "b" op: "ReadFile" }]',
    ],
)
def test_texts_as_the_parser_of_protocol_buffers_takes_them(text):
    bare = '{ name: "r" op: "ReadFile" }'
    text = text.replace("BAD", "node " + bare).replace("BARE", bare)
    report = inspect_bytes(text.encode(), "saved_model.pbtxt")
    assert report.format in {"saved-model", "tensorflow-graph"}
    assert report.verdict == "dangerous"


@pytest.mark.parametrize("cut", [10, 50, 200, 400])
def test_a_text_that_is_cut_off_is_not_clean(survives, cut):
    text = (TEXT % ('"/etc/x"', '"SaveV2"')).encode()
    assert survives(tensorflow.read, text[:-cut]) == "unproven"


@pytest.mark.parametrize("tail", [b"}", b"<" * 200, b"\x00", b'"open'])
def test_a_text_with_odd_ends_is_not_clean(survives, tail):
    assert survives(tensorflow.read, (TEXT % ('"a"', '"Relu"')).encode() + tail) == "unproven"


@pytest.mark.parametrize(
    "text", ["node: the server", "library {book}", "versions: 1", "nodes { op: 1 }", "node = 5"]
)
def test_other_texts_are_left_alone(text):
    assert sniff(text.encode()).format not in {"saved-model", "tensorflow-graph"}


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2), st.integers(0, 255)), max_size=5))
def test_mutations_of_texts_raise_nothing(survives, mutated, edits):
    survives(tensorflow.read, mutated((TEXT % ('"\\x41"', '"SaveV2"')).encode(), edits))


@given(st.text(alphabet='node{}<>:"\\opx1 \n[],;#', max_size=60))
def test_noise_in_texts_raises_nothing(survives, text):
    survives(tensorflow.read, b"node { " + text.encode())


# --- behind the start of another format ---------------------------------------------------------------------

STARTS = {
    "image": b"\x89PNG\r\n\x1a\n\0\0",
    "hdf5": b"\x89HDF\r\n\x1a\n\0\0",
    "pickle": b"\x80\x04\x88.",
    "compressed": b"\xfd7zXZ\0",
    "parquet": b"PAR1" + b"\0" * 49,
    "unknown": b"\xa0\x06\x01",
    "group": b"\x9b\x06\x08\x01\x9c\x06",
    "fixed": b"\x9d\x06\0\0\0\0",
}


@pytest.fixture(scope="session")
def behind(message):
    """Content after a start that is an unknown field, and before an end that is one."""
    return lambda start, data: STARTS[start] + data + message((99, b"PAR1"))


@pytest.mark.parametrize("start", sorted(STARTS))
def test_onnx_behind_the_start_of_another_format(behind, message, evil_onnx, start):
    report = inspect_bytes(behind(start, evil_onnx), "m")
    assert report.verdict in {"unproven", "dangerous"}
    assert "artifact.polyglot" in {finding.rule for finding in report.findings}
    onnx = pytest.importorskip("onnx", reason="asks the library what it reads")
    model = onnx.load_model_from_string(behind(start, evil_onnx))
    assert model.graph.node[0].domain == "evil.ops"


@pytest.mark.parametrize("start", sorted(STARTS))
@pytest.mark.parametrize(
    "layout", ["graph", "saved", "meta", "coreml", "paddle", "files", "tensors", "split"]
)
def test_other_graphs_behind_the_start_of_another_format(behind, message, evil_graph, start, layout):
    meta = message((1, message((4, "serve"))), (2, evil_graph))
    operator = message((4, message((3, "py_func"))))
    tensor = message((2, 1), (8, "w"), (13, message((1, "location"), (2, "/etc/passwd"))), (14, 1))
    made = {
        "graph": evil_graph,
        "saved": message((1, 1), (2, meta)),
        "meta": meta,
        "coreml": message((1, 4), (2, b""), (555, message((10, "Evil")))),
        "paddle": message((1, message((1, 0), (2, 0)) + operator)),
        "files": message((1, 1), (2, message((1, b""), (6, message((2, "../../x")))))),
        "tensors": message((1, 8), (7, message((5, tensor)))),
        "split": message((1, 8), *((7, b""),) * 5000, (7, message((5, tensor)))),
    }[layout]
    assert dirty(behind(start, made))


def test_content_of_very_many_fields_is_not_clean(evil_onnx):
    assert dirty(STARTS["image"] + b"\xa0\x06\x01" * (1 << 20) + evil_onnx)


def test_the_identifier_of_onnx_runtime_is_looked_for_behind_any_start():
    """A gzip header has room for it, in the time of change."""
    packed = gzip.compress(b"text " * 40_000, mtime=int.from_bytes(b"ORTM", "little"))
    assert packed[4:8] == b"ORTM"
    assert dirty(packed)


@pytest.mark.parametrize(
    "data",
    [
        b"hi", b"  " * 2000, b"x" * 5000, b"\n" * 120_000, b"\n" * 80_000 + b'{"nodes": []}', b"\n plain text of some length, as it is\n", b"a,b\n1,2\n3,4\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\2\0\0\0\x90wS\xde",
        b"SQLite format 3\0" + b"\0" * 100, b"\x80\x04K\x01.", b"\x80\x02]q\x00.", b'{"a": 1}',
    ],
)  # fmt: skip
def test_usual_content_is_no_graph(data):
    assert within(data) is None


@given(st.binary(max_size=200))
def test_noise_behind_a_start_raises_nothing(data):
    within(data)
    assert isinstance(inspect_bytes(STARTS["image"] + data, "m").findings, tuple)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2), st.integers(0, 255)), max_size=4))
def test_mutations_behind_a_start_raise_nothing(mutated, behind, evil_onnx, edits):
    inspect_bytes(mutated(behind("image", evil_onnx), edits), "m")
