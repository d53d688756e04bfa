"""ONNX: custom domains, functions, subgraphs, external data, metadata; and models of ONNX Runtime's own format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import onnx as reader
from modelward.artifact.formats import ort
from modelward.artifact.reading import Reading
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged

onnx = pytest.importorskip("onnx", reason="models are written with the library onnx")
np = pytest.importorskip("numpy")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def value(name, shape=(2,)):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def graph(*nodes, constants=(), sparse=()):
    return helper.make_graph(
        list(nodes), "g", [value("x")], [value("y")], list(constants), sparse_initializer=sparse
    )


def model(*nodes, constants=(), sparse=(), domains=(), functions=(), version=17, **options):
    sets = [helper.make_opsetid("", version), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = graph(*nodes, constants=constants, sparse=sparse)
    return helper.make_model(made, opset_imports=sets, functions=list(functions), **options)


def node(kind="Relu", domain="", **attributes):
    return helper.make_node(kind, ["x"], ["y"], domain=domain, **attributes)


def external(entries, name="w"):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


# --- operators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
    ],
)
def test_operators_of_the_standard_and_of_the_runtime_are_inert(verdict, domain):
    assert verdict(model(node(domain=domain)).SerializeToString()) == ("inert", set())


def test_an_operator_that_the_standard_will_have_one_day_is_inert(verdict):
    """A model that asks for a set which is newer than the list may use what is not on it; no other may."""
    assert verdict(model(node("NextYearsOperator"), version=999).SerializeToString())[0] == "inert"
    now = model(node("NextYearsOperator")).SerializeToString()
    assert verdict(now) == ("unproven", {"onnx.custom-operator"})
    own = model(node("Odd", "ai.onnx.ml"), domains=["ai.onnx.ml"]).SerializeToString()
    assert verdict(own) == ("unproven", {"onnx.custom-operator"})


@pytest.mark.parametrize(
    "name", ["DecodeBbox_TRT", "TRT_FP8QuantizeLinear", "CustomQKVToContextPluginDynamic"]
)
def test_plugins_that_tensorrt_brings_are_a_note(name):
    report = inspect_bytes(model(node(name)).SerializeToString(), "m.onnx")
    assert (report.verdict, report.findings[0].rule) == ("inert", "onnx.tensorrt")


@pytest.mark.parametrize("name", ["AzureTextToText", "AzureTritonInvoker"])
def test_operators_that_send_their_inputs_away_are_unproven(name):
    made = model(node(name, "com.microsoft.extensions", model_uri="https://evil.example"))
    report = inspect_bytes(made.SerializeToString(), "m.onnx")
    assert (report.verdict, report.findings[0].rule) == ("unproven", "onnx.host-operator")
    assert report.findings[0].call == f"{name}(https://evil.example)"


def test_the_list_of_operators_is_onnxs():
    assert {"Relu", "If", "Loop", "ImageScaler", "QLinearConv"} <= reader.listed().operators[""]
    assert reader.listed().versions[""] >= 24


@pytest.mark.parametrize(
    "domain", ["evil.ops", "org.acme", "com.microsoft.evil", "ai.onnx.evil", "AI.ONNX", " "]
)
def test_an_unknown_domain_is_unproven(verdict, domain):
    assert verdict(model(node("Op", domain)).SerializeToString()) == ("unproven", {"onnx.custom-operator"})


def test_a_domain_that_is_declared_and_not_used_is_inert(verdict):
    assert (
        verdict(model(node(), domains=["pkg.onnxscript.torch_lib.common"]).SerializeToString())[0] == "inert"
    )


def test_a_custom_operator_that_the_model_defines_as_a_function_is_inert(verdict):
    body = helper.make_node("Relu", ["a"], ["b"])
    made = helper.make_function("pkg.torch", "f", ["a"], ["b"], [body], [helper.make_opsetid("", 17)])
    assert verdict(model(node("f", "pkg.torch"), functions=[made]).SerializeToString())[0] == "inert"
    other = model(node("g", "pkg.torch"), functions=[made]).SerializeToString()
    assert verdict(other) == ("unproven", {"onnx.custom-operator"})


def test_the_body_of_a_function_is_walked(verdict):
    body = helper.make_node("Evil", ["a"], ["b"], domain="evil.ops")
    made = helper.make_function("pkg.torch", "f", ["a"], ["b"], [body], [helper.make_opsetid("evil.ops", 1)])
    assert verdict(model(node("f", "pkg.torch"), functions=[made]).SerializeToString())[0] == "unproven"


@pytest.mark.parametrize("depth", [1, 2, 20])
def test_subgraphs_are_walked(verdict, depth):
    inner = node("Evil", "evil.ops")
    for _ in range(depth):
        inner = node("If", then_branch=graph(inner), else_branch=graph(node()))
    assert verdict(model(inner).SerializeToString()) == ("unproven", {"onnx.custom-operator"})


def test_a_list_of_graphs_is_walked(verdict):
    held = node("Many")
    held.attribute.append(helper.make_attribute("graphs", [graph(node()), graph(node("Evil", "evil.ops"))]))
    assert verdict(model(held).SerializeToString())[0] == "unproven"


def test_the_training_part_is_walked(verdict):
    made = model(node())
    made.training_info.add().algorithm.CopyFrom(graph(node("Evil", "evil.ops")))
    assert verdict(made.SerializeToString())[0] == "unproven"


def test_python_operators_are_dangerous_and_show_what_they_call():
    made = model(node("PyOp", "pyopmulti_1", module="os", class_name="system", compute="x"))
    report = inspect_bytes(made.SerializeToString(), "m")
    assert report.verdict == "dangerous"
    assert report.findings[0].call == "os.system"


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("PyCustomOp", "ai.onnx.contrib", "dangerous"),
        ("PyOp", "com.microsoft.extensions", "dangerous"),
        ("BertTokenizer", "ai.onnx.contrib", "inert"),
        ("PythonOp", "com.microsoft", "unproven"),
        ("ATen", "org.pytorch.aten", "unproven"),
        ("TritonOp", "com.microsoft", "unproven"),
    ],
)
def test_operators_that_leave_the_runtime(verdict, name, domain, expected):
    assert verdict(model(node(name, domain)).SerializeToString())[0] == expected


@pytest.mark.parametrize(
    ("mode", "path", "expected"),
    [
        (0, "../../x.bin", "dangerous"),
        (0, "/etc/x", "dangerous"),
        (0, "x_ctx.bin", "unproven"),
        (1, "\x7fELF", "unproven"),
        (1, "/etc/x", "unproven"),
    ],
)
def test_compiled_parts(verdict, mode, path, expected):
    made = model(node("EPContext", "com.microsoft", embed_mode=mode, ep_cache_context=path))
    assert verdict(made.SerializeToString())[0] == expected


def test_the_type_of_an_attribute_says_what_it_is(verdict):
    made = model(node("EPContext", "com.microsoft", embed_mode=0, ep_cache_context="../../x.bin"))
    next(each for each in made.graph.node[0].attribute if each.name == "embed_mode").s = b"1"
    assert verdict(made.SerializeToString())[0] == "dangerous"


def test_a_compiled_part_may_name_the_model_it_is_refitted_from(verdict):
    made = model(node("EPContext", "com.microsoft", embed_mode=1, onnx_model_filename="/etc/passwd"))
    assert verdict(made.SerializeToString()) == ("dangerous", {"onnx.compiled-path", "onnx.compiled"})


def decoy(domain, name, overload=""):
    """A function that does nothing, under the name of an operator."""
    body = helper.make_node("Relu", ["a"], ["b"])
    made = helper.make_function(domain, name, ["a"], ["b"], [body], [helper.make_opsetid("", 17)])
    made.overload = overload
    return made


@pytest.mark.parametrize(
    ("domain", "name", "rule"),
    [
        ("com.microsoft", "EPContext", "onnx.compiled"),
        ("com.microsoft", "PythonOp", "onnx.host-operator"),
        ("ai.onnx.contrib", "PyCustomOp", "onnx.python"),
        ("custom", "PyOp", "onnx.python"),
    ],
)
def test_a_function_does_not_replace_an_operator_that_is_built_in(verdict, domain, name, rule):
    """ONNX Runtime asks its registry first, and takes functions for what it does not know."""
    assert rule in verdict(model(node(name, domain), functions=[decoy(domain, name)]).SerializeToString())[1]


def test_the_runtime_prefers_its_own_operator_to_a_function():
    runtime = pytest.importorskip("onnxruntime", reason="asks ONNX Runtime what it does")
    body = helper.make_node("Neg", ["a"], ["b"])
    made = helper.make_function("", "Relu", ["a"], ["b"], [body], [helper.make_opsetid("", 17)])
    whole = model(node(), functions=[made], ir_version=8).SerializeToString()
    session = runtime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([1, -2], np.float32)})[0].tolist() == [1, 0]


def test_a_function_of_another_overload_is_another_function(verdict):
    used = model(node("Op", "custom"), functions=[decoy("custom", "Op", "other")])
    assert verdict(used.SerializeToString()) == ("unproven", {"onnx.custom-operator"})
    used.graph.node[0].overload = "other"
    assert verdict(used.SerializeToString())[0] == "inert"


# --- external data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd", "../secret", "a/../../b", "..", "C:\\Windows\\win.ini", "C:x", "\\\\server\\share\\x",
        "..\\..\\x", "a\\b", "file:///etc/passwd", "https://evil.example/w.bin", "~/.ssh/id_rsa", "w\0.bin",
        "*/_ORT_MEM_ADDR_/*",
    ],
)  # fmt: skip
def test_external_data_outside_the_folder_is_dangerous(verdict, location):
    made = model(node(), constants=[external({"location": location})])
    assert verdict(made.SerializeToString()) == ("dangerous", {"onnx.external-path"})


def test_external_data_beside_is_inert_and_noted_once():
    entries = {"location": "weights/model.onnx.data", "offset": "0", "length": "8", "checksum": "ab"}
    made = model(node(), constants=[external(entries), external(entries, "v")])
    report = inspect_bytes(made.SerializeToString(), "m")
    assert report.verdict == "inert"
    assert [finding.rule for finding in report.findings] == ["onnx.external"]


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("text", ["-1", "0x10", "", "1e9", "1;"])
def test_odd_offsets_are_dangerous(verdict, key, text):
    made = model(node(), constants=[external({"location": "w.bin", key: text})])
    assert verdict(made.SerializeToString()) == ("dangerous", {"onnx.external-bounds"})


@pytest.mark.parametrize(("offset", "length", "level"), [
    ("9223372036854775807", "1", "dangerous"), ("9223372036854775808", "0", "dangerous"), ("1" * 400, "1", "dangerous"),
    ("0" * 30 + "9223372036854775807", "1", "dangerous"), ("1152921504606846976", "8", "unproven"), ("8", str(1 << 51), "unproven"),
    (str((1 << 50) - 8), "8", "inert"), ("0" * 30 + "8", "8", "inert"),
])  # fmt: skip
def test_no_file_reaches_so_far(offset, length, level):
    entries = {"location": "w.bin", "offset": offset, "length": length}
    made = model(node(), constants=[external(entries)]).SerializeToString()
    report = inspect_bytes(made, "m")
    assert report.verdict == level
    assert ("onnx.external-bounds" in {finding.rule for finding in report.findings}) is (level != "inert")


@pytest.mark.parametrize(
    ("offset", "length", "level"),
    [("56", "8", "inert"), ("57", "8", "unproven"), ("0" * 30 + "65", "0", "unproven")],
)
def test_tensors_end_within_the_file_beside(offset, length, level):
    made = model(node(), constants=[external({"location": "w.bin", "offset": offset, "length": length})])
    assert inspect_bytes(made.SerializeToString(), "m", beside=lambda _: bytes(64)).verdict == level


def test_external_data_is_found_wherever_tensors_are(verdict):
    bad = external({"location": "../x"})
    sparse = onnx.SparseTensorProto(values=bad, indices=external({"location": "ok"}), dims=[4])
    body = helper.make_node("Constant", [], ["b"])
    body.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=bad))
    listed = helper.make_node("LSTM", ["x"], ["y"])
    listed.attribute.append(onnx.AttributeProto(name="v", type=onnx.AttributeProto.TENSORS, tensors=[bad]))
    thin = helper.make_node("Constant", [], ["y"])
    thin.attribute.append(
        onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
    )
    made = helper.make_function("d", "f", [], ["b"], [body], [helper.make_opsetid("", 17)])
    for hostile in (
        model(node(), sparse=[sparse]),
        model(body),
        model(listed),
        model(thin),
        model(node(), functions=[made]),
        model(node("If", then_branch=graph(node(), constants=[bad]), else_branch=graph(node()))),
    ):
        assert verdict(hostile.SerializeToString()) == ("dangerous", {"onnx.external-path"})


def test_a_tensor_alone_is_read_as_well(verdict):
    inside = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    assert verdict(inside.SerializeToString()) == ("inert", set())
    assert verdict(external({"location": "/etc/passwd"}).SerializeToString())[0] == "dangerous"


# --- metadata -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__import__('os').system('id')", "dangerous"),
        ("{0: eval('1+1')}", "dangerous"),
        ("{0: 'person', 1: 'bicycle'}", "inert"),
        ("call eval(x) to evaluate, os.path is used", "inert"),
        ("YOLOv8n model trained on coco.yaml (see docs)", "inert"),
        ("[32, 32]", "inert"),
        ("(" * 3000 + "__import__", "inert"),
    ],
)
def test_metadata_that_is_code(verdict, text, expected):
    made = model(node())
    made.metadata_props.add(key="names", value=text)
    assert verdict(made.SerializeToString())[0] == expected


def test_very_much_metadata_is_not_clean(survives):
    made = model(node())
    for at in range(200):
        made.metadata_props.add(key=str(at), value="eval(" + "x," * 30_000)
    assert survives(reader.read, made.SerializeToString()) == "unproven"


def test_very_many_findings_are_counted():
    part = graph(*[node("Op", "evil.ops")] * 3_000)
    whole = helper.make_model(part, opset_imports=[helper.make_opsetid("", 17)])
    into = Reading()
    reader.read(whole.SerializeToString(), into)
    assert len(into.events) == 1_000
    assert sum(event.times for event in into.events) == 3_000


def test_html_in_metadata_is_a_note():
    made = model(node())
    made.metadata_props.add(key="about", value="<SCRIPT>alert(1)</SCRIPT>")
    report = inspect_bytes(made.SerializeToString(), "m")
    assert report.verdict == "inert"
    assert {finding.rule for finding in report.findings} == {"onnx.metadata-html"}


# --- facts, damage ------------------------------------------------------------------------------------------


def test_facts():
    weights = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    labels = numpy_helper.from_array(np.ones(4, np.int64), "n")
    made = model(
        node(),
        node("Gelu", "com.microsoft"),
        constants=[weights, labels],
        producer_name="torch",
        producer_version="2",
    )
    facts = inspect_bytes(made.SerializeToString(), "m").facts
    assert facts["framework"] == "onnx"
    assert facts["producer"] == "torch 2"
    assert (facts["tensors"], facts["parameters"]) == (2, 10)
    assert facts["dtypes"] == {"float32": 1, "int64": 1}
    assert facts["operators"] == ["Relu", "com.microsoft.Gelu"]
    assert (facts["inputs"], facts["outputs"]) == (["x"], ["y"])
    assert facts["opsets"] == {"ai.onnx": "17"}


def test_a_second_graph_field_is_merged_as_parsers_do(verdict):
    hostile = onnx.ModelProto(graph=graph(node("Evil", "evil.ops"))).SerializeToString()
    data = model(node()).SerializeToString() + hostile
    assert {each.op_type for each in onnx.load_from_string(data).graph.node} == {"Relu", "Evil"}
    assert verdict(data)[0] == "unproven"


def test_every_truncation_is_damaged_or_not_clean(survives):
    data = model(node(), constants=[numpy_helper.from_array(np.ones(3, np.float32), "w")]).SerializeToString()
    for end in range(1, len(data)):
        try:
            kind = sniff(data[:end]).format
        except FileDamaged:
            continue
        if kind == "onnx":
            assert survives(reader.read, data[:end]) in {"unproven", "dangerous", "inert"}


_SEED = model(
    node("If", then_branch=graph(node("Evil", "evil.ops")), else_branch=graph(node())),
    constants=[external({"location": "../x", "offset": "1"})],
).SerializeToString()
EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2), st.integers(0, 255)), max_size=6)


@given(EDITS)
def test_mutations_raise_nothing(survives, mutated, edits):
    survives(reader.read, mutated(_SEED, edits))


@given(st.binary(max_size=200))
def test_noise_raises_nothing(survives, data):
    survives(reader.read, data)
    survives(ort.read, data)


# --- ORT format ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """A model in ONNX Runtime's format, written by ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime writes its own format")
    weights = numpy_helper.from_array(np.ones(2, np.float32), "w")
    kept = helper.make_graph([helper.make_node("Sin", ["x"], ["y"])], "b", [], [value("y")])
    other = helper.make_graph([helper.make_node("Cos", ["x"], ["y"])], "c", [], [value("y")])
    flag = helper.make_tensor_value_info("f", TensorProto.BOOL, [1])
    made = helper.make_graph(
        [
            helper.make_node("If", ["f"], ["z"], then_branch=kept, else_branch=other),
            helper.make_node("MatMul", ["z", "w"], ["o"]),
        ],
        "g", [value("x"), flag], [value("o", [])], [weights],
    )  # fmt: skip
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(tmp_path_factory.mktemp("ort") / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    runtime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with open(options.optimized_model_filepath, "rb") as file:  # noqa: PTH123 - a path of the library
        return file.read()


def test_ort_operators_and_facts(converted):
    report = inspect_bytes(converted, "m")
    assert (report.format, report.verdict) == ("ort", "inert")
    assert sorted(report.facts["operators"]) == ["Cos", "If", "MatMul", "Sin"]
    assert report.facts["inputs"] == ["x", "f"]
    assert report.facts["parameters"] == 2


def test_an_ort_operator_renamed_in_a_subgraph_is_found(verdict, converted):
    """The strings of the flatbuffer are unique, so the operator and its domain share no bytes with others."""
    into = Reading()
    ort.read(converted.replace(b"\x03\0\0\0Sin\0", b"\x04\0\0\0PyOp"), into)
    assert [event.rule for event in into.events] == ["onnx.python"]
    assert verdict(converted.replace(b"\x03\0\0\0Sin\0", b"\x04\0\0\0PyOp"))[0] == "dangerous"


def test_ort_truncations_and_loops_raise_nothing(survives, converted):
    for end in range(0, len(converted), 7):
        assert survives(ort.read, converted[:end]) != "dangerous"


@given(EDITS)
def test_ort_mutations_raise_nothing(survives, mutated, converted, edits):
    survives(ort.read, mutated(converted, edits))


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [("0", "8", "inert"), ("8", "8", "unproven"), ("99999999999", "8", "unproven")],
)
def test_external_data_lies_within_its_file(offset, length, expected):
    made = model(node(), constants=[external({"location": "w.bin", "offset": offset, "length": length})])
    for content, verdict in ((b"\0" * 12, expected), (None, "inert")):
        beside = {"w.bin": content}.get
        assert inspect_bytes(made.SerializeToString(), "m.onnx", beside=beside).verdict == verdict
