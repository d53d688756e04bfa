"""Every rule on graphs by its name, with the level it has; and texts and messages that must be told the same of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import tensorflow
from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import Message, fields
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.formats.tensorflow_text import binary, is_text
from modelward.artifact.formats.xml import root
from modelward.artifact.reading import Malformed, Reading
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged


@pytest.fixture(scope="session")
def onnx(message):
    """A model of one node, with more fields of the model and of the node."""

    def write(kind="Relu", domain="", *more, node=()):
        part = message((1, "x"), (2, "y"), (4, kind), (7, domain), *node)
        return message((1, 8), (7, message((1, part), (2, "g"))), (8, message((1, ""), (2, 17))), *more)

    return write


@pytest.fixture(scope="session")
def contents(message, onnx):
    """Rule -> content of which it is told."""

    def attribute(name, text):
        return (5, message((1, name), (4, text), (20, 3)))

    def meta(*extra):
        graph = message((1, message((1, "n"), (2, "Relu"))))
        return message((1, 1), (2, message((1, message((4, "serve"))), (2, graph), *extra)))

    def coreml(number, content):
        return message((1, 6), (2, b""), (number, content))

    def paddle(kind, *attributes):
        return message((1, message((1, 0), (2, 0), (4, message((3, kind), *attributes)))))

    def linked(name, path):
        return message((1, message((1, message((1, name))), (2, message((1, path))))))

    def net(layer, data=""):
        return (
            f'<net name="n" version="11"><layers><layer id="0" {layer}>{data}</layer></layers></net>'.encode()
        )

    def pmml(inner, before=""):
        return f'{before}<PMML version="4.4">{inner}</PMML>'.encode()

    tensor = message((2, 1), (8, "w"), (13, message((1, "location"), (2, "../x"))), (14, 1))
    odd = message((2, 1), (8, "w"), (13, message((1, "offset"), (2, "-1"))), (14, 1))
    beside = message((2, 1), (8, "w"), (13, message((1, "location"), (2, "x"))), (14, 1))
    custom = message((1, message((1, "n"), (2, "Evil"))))
    module = message((1, "module"), (2, message((2, "xla_python_cpu_callback"))))
    callback = message((1, message((1, "n"), (2, "XlaCallModule"), (5, module))))
    engine = (4, message((1, "engine_serialized_data"), (2, 2), (5, "plan")))
    return {
        "onnx.python": onnx("PyOp", "ai.onnx.contrib"),
        "onnx.extensions": onnx("BertTokenizer", "ai.onnx.contrib"),
        "onnx.host-operator": onnx("ATen", "org.pytorch.aten"),
        "onnx.custom-operator": onnx("Op", "evil"),
        "onnx.compiled": onnx("EPContext", "com.microsoft"),
        "onnx.compiled-path": onnx(
            "EPContext", "com.microsoft", node=[attribute("onnx_model_filename", "/x")]
        ),
        "onnx.external-path": onnx("Relu", "", (7, message((5, tensor)))),
        "onnx.external-bounds": onnx("Relu", "", (7, message((5, odd)))),
        "onnx.external": onnx("Relu", "", (7, message((5, beside)))),
        "onnx.metadata-code": onnx("Relu", "", (14, message((1, "names"), (2, "eval('1')")))),
        "onnx.metadata-html": onnx("Relu", "", (14, message((1, "about"), (2, "<script>")))),
        "onnx.polyglot": onnx("Relu", "", (2, b"\x0a\x02\x01")),
        "tensorflow.operator": message((1, message((1, "n"), (2, "PyFunc")))),
        "tensorflow.host-operator": message((1, message((1, "n"), (2, "TRTEngineOp")))),
        "tensorflow.custom-operator": custom,
        "tensorflow.asset-path": meta((6, message((2, "../x")))),
        "tensorflow.callback": callback,
        "coreml.custom-model": coreml(555, message((10, "Evil"))),
        "coreml.custom-layer": coreml(500, message((1, message((1, "l"), (500, message((10, "Evil"))))))),
        "coreml.serialized": coreml(3000, message((1, "evil"))),
        "coreml.unknown": coreml(2999, b""),
        "coreml.linked": coreml(556, linked("m", ".")),
        "coreml.linked-path": coreml(556, linked("m", "/System:.")),
        "openvino.custom-layer": net('name="a" type="Evil" version="extension"'),
        "openvino.tokenizers": net('name="a" type="BPETokenizer" version="extension"'),
        "openvino.bounds": net('name="a" type="Const" version="opset1"', '<data offset="-1" size="1"/>'),
        "pmml.function": pmml('<Apply function="com.evil.Function"/>'),
        "pmml.class": pmml('<JavaModel className="com.evil.Model"/>'),
        "pmml.code": pmml("<Extension>Runtime.getRuntime()</Extension>"),
        "xml.doctype": pmml("", '<!DOCTYPE PMML PUBLIC "PMML 2.0" "http://www.dmg.org/v2-0/pmml_v2_0.dtd">'),
        "xml.external-doctype": pmml("", '<!DOCTYPE PMML SYSTEM "http://evil.example/x.dtd">'),
        "xml.external-entity": pmml("", '<!DOCTYPE PMML [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        "xml.entity-markup": pmml("", '<!DOCTYPE PMML [<!ENTITY e "<a/>">]>'),
        "xml.include": pmml('<xi:include href="/etc/passwd"/>'),
        "xml.stylesheet": pmml("", '<?xml-stylesheet href="a.xsl"?>'),
        "paddle.operator": paddle("py_func"),
        "paddle.engine": paddle("tensorrt_engine", engine),
        "paddle.path": paddle("save", (4, message((1, "file_path"), (2, 2), (5, "/x")))),
        "paddle.custom-operator": paddle("evil"),
    }


LEVELS = {
    "onnx.python": "dangerous", "onnx.extensions": "note", "onnx.host-operator": "unproven",
    "onnx.custom-operator": "unproven", "onnx.compiled": "unproven", "onnx.compiled-path": "dangerous",
    "onnx.external-path": "dangerous", "onnx.external-bounds": "dangerous", "onnx.external": "note",
    "onnx.metadata-code": "dangerous", "onnx.metadata-html": "note", "onnx.polyglot": "unproven",
    "tensorflow.operator": "dangerous", "tensorflow.host-operator": "unproven",
    "tensorflow.custom-operator": "unproven", "tensorflow.asset-path": "dangerous",
    "tensorflow.callback": "unproven", "coreml.custom-model": "unproven", "coreml.custom-layer": "unproven",
    "coreml.serialized": "unproven", "coreml.unknown": "unproven", "coreml.linked": "unproven",
    "coreml.linked-path": "dangerous", "openvino.custom-layer": "unproven", "openvino.tokenizers": "note",
    "openvino.bounds": "unproven", "pmml.function": "unproven", "pmml.class": "unproven",
    "pmml.code": "dangerous", "xml.doctype": "note", "xml.external-doctype": "dangerous",
    "xml.external-entity": "dangerous", "xml.entity-markup": "unproven", "xml.include": "dangerous",
    "xml.stylesheet": "note", "paddle.operator": "dangerous", "paddle.engine": "unproven",
    "paddle.path": "dangerous", "paddle.custom-operator": "unproven",
}  # fmt: skip
"""Rule -> how bad it is; nothing worse may be said of its content."""


def test_each_content_has_its_level(contents):
    assert contents.keys() == LEVELS.keys()


@pytest.mark.parametrize("rule", sorted(LEVELS))
def test_a_rule_is_told_with_its_level(contents, rule):
    report = inspect_bytes(contents[rule], "m")
    assert {finding.level for finding in report.findings if finding.rule == rule} == {LEVELS[rule]}
    worst = {"dangerous": "dangerous", "unproven": "unproven", "note": "inert"}[LEVELS[rule]]
    assert report.verdict == worst


@pytest.mark.parametrize("rule", sorted(LEVELS))
def test_content_that_is_cut_off_is_never_worse_than_whole(contents, rule):
    """A reader tells what it saw before the end; half a name is never another attack."""
    data = contents[rule]
    for end in range(1, len(data), max(1, len(data) // 24)):
        try:
            verdict = inspect_bytes(data[:end], "m").verdict
        except FileDamaged:
            continue
        if LEVELS[rule] != "dangerous":
            assert verdict != "dangerous"


# --- the text format says what the binary one says ----------------------------------------------------------

NAMES = st.sampled_from(["Relu", "ReadFile", "Const", "Evil", "SaveV2", "f"])
NODES = st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), NAMES), min_size=1, max_size=5)
QUOTED = st.sampled_from(['"{}"', "'{}'", '"" "{}"', "'' \"{}\" #x\n"])
GLUE = st.sampled_from([" ", "\n", " # comment {\n", "\t"])
BRACES = st.sampled_from([("{", "}"), ("<", ">"), (": {", "}"), (": <", ">")])


@given(NODES, QUOTED, GLUE, BRACES)
def test_a_graph_in_text_is_the_same_message(nodes, quoted, glue, braces):
    opened, closed = braces
    text = "".join(
        f"node{opened}{glue}name: {quoted.format(name)}{glue}op:{quoted.format(op)}{glue}{closed}{glue}"
        for name, op in nodes
    ).encode()
    assert is_text(text) == b"node"
    data = binary(text, {}, Reading())
    message = Message(data, ((0, len(data)),), int)
    assert [(part.text(1), part.text(2)) for part in message.each(1)] == nodes


@given(NODES)
def test_a_list_of_nodes_is_the_same_as_nodes(nodes):
    inner = ", ".join(f'{{ name: "{name}" op: "{op}" }}' for name, op in nodes)
    single = " ".join(f'node {{ name: "{name}" op: "{op}" }}' for name, op in nodes)
    assert binary(f"node: [{inner}]".encode(), {}, Reading()) == binary(single.encode(), {}, Reading())


@given(NODES)
def test_text_and_message_have_one_verdict(survives, message, nodes):
    data = b"".join(message((1, message((1, name), (2, op)))) for name, op in nodes)
    text = " ".join(f'node {{ name: "{name}" op: "{op}" }}' for name, op in nodes).encode()
    assert survives(tensorflow.read, data) == survives(tensorflow.read, text)


# --- parts --------------------------------------------------------------------------------------------------


@given(st.recursive(st.integers(1, 30), lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_groups_hide_what_they_hold_however_deep(message, tree):
    """A tree of groups, of which none but the fields outside are seen."""

    def write(part):
        if isinstance(part, int):
            return message((part, 1))
        return b"\x83\x02" + b"".join(map(write, part)) + b"\x84\x02"

    data = message((31, 5)) + write([tree]) + message((33, 6))
    assert [(field[0], field[2]) for field in fields(data, (0, len(data)), int)] == [(31, 5), (33, 6)]


@pytest.mark.parametrize("data", [b"\x83\x02", b"\x84\x02", b"\x83\x02\x8c\x02", b"\x83\x02\x0a\x05"])
def test_groups_that_do_not_close(data):
    with pytest.raises(Malformed):
        list(fields(data, (0, len(data)), int))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.bin", None), ("a.b/c..d", None), ("...", None), ("", None), ("a\0", "zero byte"), ("/a", "absolute"),
     ("C:a", "absolute"), ("\\\\h\\s", "absolute"), ("~/a", "home"), ("s3://b/k", "URL"), ("a/../b", "leads out"),
     ("..", "leads out"), ("a\\..\\b", "leads out"), ("file:/etc", "URL")],
)  # fmt: skip
def test_paths(path, expected):
    assert expected is None if escapes(path) is None else expected in escapes(path)


@given(st.lists(st.sampled_from(["a", "b.c", "...", "x y"]), min_size=1, max_size=5))
def test_paths_of_plain_names_stay_inside_until_one_leads_out(names):
    path = "/".join(names)
    assert escapes(path) is None
    assert escapes(path + "/../" + path) is not None
    assert escapes("/" + path) is not None


@given(st.text("abc<>/ ='\"?!-&;\n", max_size=80))
def test_the_root_of_anything_raises_nothing(text):
    found = root(text.encode())
    assert found is None or len(found) == 2
    assert root((text + "<net version='1'/>").encode()) in {None, found, ("net", "version")}


@pytest.mark.parametrize("code", ["utf-8", "utf-16", "latin-1"])
def test_the_root_in_any_encoding(code):
    text = f"<?xml version='1.0' encoding='{code}'?><!-- \u00e9 --><p:net xmlns:p='u' version='1'/>"
    assert root(text.encode(code)) == ("net", "xmlns:p version")


def test_a_tally_is_bounded():
    tally, into = Tally(), Reading()
    for at in range(3 * MOST):
        tally.operator(f"{at}" * 300)
    tally.tensor("float32", [1 << 62, 1 << 62, -5])
    tally.tensor("float32", [2, -3])
    tally.report(
        into, "x", producer="p" * 999, licence="", metadata={"a" * 999: "b" * 999}, inputs=["i"] * 999
    )
    assert len(into.facts["operators"]) == len(into.facts["inputs"]) == MOST
    assert into.facts["tensors"] == 2
    assert "licence" not in into.facts
    assert len(json.dumps(into.facts)) < 4 * MOST * MOST
