"""TensorFlow: operators of graphs and functions, paths, Keras objects; every message is written by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import tensorflow as reader
from modelward.artifact.formats import tensorflow_rules as rules
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes

PLAIN = ("x", "Placeholder")


def test_ordinary_operators_are_inert(tf, verdict):
    data = tf.saved(tf.node(*PLAIN), tf.node("y", "Relu", "x"), tf.variable("v", 2, 3), tf.text("s", "a"))
    report = inspect_bytes(data, "saved_model.pb")
    assert (report.format, report.verdict) == ("saved-model", "inert")
    assert report.facts["parameters"] == 6
    assert report.facts["dtypes"] == {"float32": 1}
    assert report.facts["producer"] == "tensorflow 2.21.0"
    assert report.facts["operators"] == ["Placeholder", "Relu", "VarHandleOp", "Const"]


def test_layouts(tf):
    graph = tf.graph(tf.node(*PLAIN), tf.node("y", "Relu", "x"))
    assert sniff(graph).format == "tensorflow-graph"
    assert sniff(tf.meta(graph)).format == "tensorflow-graph"
    assert sniff(tf.saved(tf.node(*PLAIN))).format == "saved-model"
    print_ = tf.message((1, (1 << 63) + 5), (2, 7), (3, 9), (4, 11), (6, "uuid"), (7, tf.message((1, 1))))
    assert inspect_bytes(print_, "fingerprint.pb").verdict == "inert"
    index = b"\0" * 40 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
    report = inspect_bytes(index, "variables.index")
    assert (report.format, report.verdict) == ("tensorflow-checkpoint", None)


@pytest.mark.parametrize("operator", sorted(rules.DANGEROUS))
def test_dangerous_operators(tf, verdict, operator):
    bad = tf.node("b", operator, "x")
    for data in (
        tf.saved(tf.node(*PLAIN), bad),
        tf.graph(tf.node(*PLAIN), bad),
        tf.meta(tf.graph(tf.node(*PLAIN), bad)),
        tf.saved(tf.node(*PLAIN), functions=[tf.function("f", [], bad)]),
        tf.graph(
            tf.node(*PLAIN), tf.node("c", "f"), functions=[tf.function("g", []), tf.function("f", [], bad)]
        ),
    ):
        assert verdict(data) == ("dangerous", {"tensorflow.operator"})


def test_rare_operators_are_unproven_whatever_their_path(tf, verdict):
    from modelward.artifact.formats import tensorflow_rules as rules

    assert rules.known() >= rules.RARE
    for operator in sorted(rules.RARE):
        found, seen = verdict(tf.saved(tf.node(*PLAIN), tf.node("y", operator)))
        assert (found, "tensorflow.rare-operator" in seen) == ("unproven", True), operator


def test_a_call_shows_its_constants(tf):
    data = tf.saved(
        tf.text("p", "/etc/passwd"), tf.node("i", "Identity", "p"), tf.node("r", "ReadFile", "i:0")
    )
    assert inspect_bytes(data, "m").findings[0].call == "ReadFile('/etc/passwd')"


def test_unknown_operators_are_unproven_unless_the_graph_defines_them(tf, verdict):
    used = tf.node("y", "my_function", "x")
    assert verdict(tf.saved(tf.node(*PLAIN), used)) == ("unproven", {"tensorflow.custom-operator"})
    defined = tf.saved(
        tf.node(*PLAIN), used, functions=[tf.function("my_function", [], tf.node("r", "Relu"))]
    )
    assert verdict(defined)[0] == "inert"


@pytest.mark.parametrize(
    ("operator", "package"),
    [
        ("WordpieceTokenizeWithOffsets", "tensorflow-text"),
        ("TFText>RoundRobinTrim", "tensorflow-text"),
        ("SimpleMLInferenceOpWithHandle", "tensorflow-decision-forests"),
        ("Addons>CorrelationCost", "tensorflow-addons"),
        ("IO>KafkaReadableInit", "tensorflow-io"),
    ],
)
def test_companions_are_named(tf, operator, package):
    report = inspect_bytes(tf.saved(tf.node(*PLAIN), tf.node("y", operator)), "m")
    assert report.verdict == "unproven"
    assert package in report.findings[0].message


def test_the_list_of_operators_is_tensorflows():
    known = rules.known()
    assert {"MatMul", "StatefulPartitionedCall", "SaveV2", "PyFunc", "ReadFile", "TRTEngineOp"} <= known
    assert len(known) > 1500
    assert known >= rules.DANGEROUS.keys() | rules.WRITERS | rules.READERS | rules.PASSED | rules.HOST.keys()
    assert not [name for name in known if rules.companion(name)]


# --- paths --------------------------------------------------------------------------------------------------


def test_the_savers_own_graph_is_inert(tf, verdict):
    """As every SavedModel holds it: the path comes from the caller, parts of it are constants."""
    nodes = [
        tf.node("p", "Placeholder"),
        tf.text("s3", ".part"),
        tf.text("tmp", "_temp/part"),
        tf.node("m", "StaticRegexFullMatch", "p", pattern=tf.message((2, "^s3://.*"))),
        tf.node("sel", "Select", "m", "s3", "tmp"),
        tf.node("join", "StringJoin", "p", "sel"),
        tf.text("names", "layer/kernel", "_CHECKPOINTABLE_OBJECT_GRAPH"),
        tf.node("save", "SaveV2", "join", "names"),
        tf.node("merge", "MergeV2Checkpoints", "join", "p"),
        tf.node("restore", "RestoreV2", "p", "names"),
    ]
    assert verdict(tf.saved(*nodes))[0] == "inert"


@pytest.mark.parametrize("operator", sorted(rules.WRITERS))
@pytest.mark.parametrize("path", ["/home/u/.bashrc", "../../x", "gs://bucket/x", "~/.ssh/authorized_keys"])
def test_writing_outside_is_dangerous(tf, verdict, operator, path):
    before = ["x"] * rules.PLACES[operator][0]
    data = tf.saved(tf.node(*PLAIN), tf.text("p", path), tf.node("w", operator, *before, "p"))
    assert verdict(data) == ("dangerous", {"tensorflow.path"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/etc/shadow", "dangerous"), ("/data/train.tfrecord", "unproven"), ("data/train.tfrecord", "inert"),
     ("/home/u/.aws/credentials", "dangerous"), ("http://169.254.169.254/x", "dangerous")],
)  # fmt: skip
def test_reading_outside(tf, verdict, path, expected):
    data = tf.saved(tf.text("p", path), tf.node("w", "TFRecordDatasetV2", "p"))
    assert verdict(data)[0] == expected


@pytest.mark.parametrize(
    ("path", "expected"), [("/etc/shadow", "dangerous"), ("/data/train.tfrecord", "inert")]
)
def test_names_of_files_in_a_queue(tf, verdict, path, expected):
    queue = [
        tf.node("q", "FIFOQueueV2"),
        tf.node("r", "WholeFileReaderV2"),
        tf.node("v", "ReaderReadV2", "r", "q"),
    ]
    data = tf.saved(tf.text("p", path), *queue, tf.node("e", "QueueEnqueueManyV2", "q", "p"))
    assert verdict(data)[0] == expected


@pytest.mark.parametrize("operator", sorted(rules.HOST))
def test_operators_that_leave_the_graph(tf, verdict, operator):
    assert verdict(tf.saved(tf.node(*PLAIN), tf.node("y", operator))) == (
        "unproven",
        {"tensorflow.host-operator"},
    )


def test_paths_are_followed_through_joins_and_within_functions(tf, verdict):
    nodes = [tf.text("a", "/etc/"), tf.text("b", "cron.d/x"), tf.node("j", "StringJoin", "a", "b")]
    nodes += [tf.node("r", "Reshape", "j:output:0"), tf.node("s", "SaveV2", "r", "^b")]
    assert verdict(tf.saved(tf.node(*PLAIN), functions=[tf.function("f", [], *nodes)]))[0] == "dangerous"


def test_loops_between_nodes_end(tf, verdict):
    data = tf.saved(tf.node("a", "Identity", "b"), tf.node("b", "Identity", "a"), tf.node("s", "SaveV2", "a"))
    assert verdict(data)[0] == "inert"


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("PrintV2", "stderr", "inert"),
        ("PrintV2", "file:///home/u/.bashrc", "dangerous"),
        ("ImmutableConst", "memmapped_package://w", "inert"),
        ("ImmutableConst", "/etc/passwd", "dangerous"),
        ("DecodeProtoV2", "local://", "inert"),
        ("DecodeProtoV2", "/etc/passwd", "dangerous"),
    ],
)
def test_attributes_that_name_files(tf, verdict, operator, value, expected):
    key = {"PrintV2": "output_stream", "ImmutableConst": "memory_region_name"}.get(
        operator, "descriptor_source"
    )
    data = tf.saved(tf.node(*PLAIN), tf.node("y", operator, "x", **{key: tf.message((2, value))}))
    assert verdict(data)[0] == expected


@pytest.mark.parametrize("url", ["grpc://evil.example:80", "file:///tmp/x"])
def test_debug_urls_are_lists(tf, verdict, url):
    urls = tf.message((1, tf.message((2, url))))
    data = tf.saved(tf.node(*PLAIN), tf.node("y", "DebugIdentityV2", "x", debug_urls=urls))
    assert verdict(data) == ("dangerous", {"tensorflow.operator"})
    assert verdict(tf.saved(tf.node(*PLAIN), tf.node("y", "DebugIdentityV2", "x")))[0] == "unproven"


@pytest.mark.parametrize(
    ("module", "expected"), [(b"ML\xefR add", "inert"), (b"ML\xefR xla_python_cpu_callback", "unproven")]
)
def test_compiled_modules(tf, verdict, module, expected):
    data = tf.saved(tf.node(*PLAIN), tf.node("y", "XlaCallModule", module=tf.message((2, module))))
    assert verdict(data)[0] == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("vocab.txt", "inert"), ("../../../etc/passwd", "dangerous"), ("/x", "dangerous")]
)
def test_assets(tf, verdict, name, expected):
    assert verdict(tf.saved(tf.node(*PLAIN), extra=[(6, tf.message((2, name)))]))[0] == expected


# --- Keras --------------------------------------------------------------------------------------------------

DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "relu"}}
LAMBDA = {
    "class_name": "Lambda",
    "config": {"name": "l", "function": ["4wEAAA==", None, None], "function_type": "lambda"},
}


@pytest.mark.parametrize(("config", "clean"), [(DENSE, True), (LAMBDA, False)])
def test_keras_objects(tf, verdict, config, clean):
    text = json.dumps(config)
    user = tf.message((1, "_tf_keras_layer"), (3, text))
    saved = tf.saved(tf.node(*PLAIN), extra=[(7, tf.message((1, tf.message((4, user)))))])
    beside = tf.message((1, tf.message((2, 1), (3, "root.layer-0"), (4, "_tf_keras_layer"), (5, text))))
    assert sniff(beside).format == "saved-model"
    for data in (saved, beside):
        assert (verdict(data)[0] == "inert") is clean


def test_keras_text_that_is_no_json_is_reported(tf, verdict):
    beside = tf.message((1, tf.message((2, 1), (3, "root"), (4, "_tf_keras_model"), (5, "{"))))
    assert verdict(beside) == ("unproven", {"artifact.unread"})


# --- damage -------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_never_inert(tf, survives):
    data = tf.saved(tf.text("p", "/etc/x"), tf.node("w", "ReadFile", "p"), tf.variable("v", 2))
    for end in range(len(data)):
        assert survives(reader.read, data[:end]) in {"unproven", "dangerous"}


EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2), st.integers(0, 255)), max_size=5)


@given(EDITS)
def test_mutations_raise_nothing(tf, survives, mutated, edits):
    attrs = {"debug_urls": tf.message((1, tf.message((2, "x"))))}
    user = tf.message((4, tf.message((1, "_tf_keras_layer"), (3, json.dumps(LAMBDA)))))
    data = tf.saved(
        tf.text("p", "/etc/x"), tf.node("w", "SaveV2", "p"), tf.node("d", "DebugIdentity", "p", **attrs),
        tf.variable("v", 2), functions=[tf.function("f", [], tf.node("w", "ReadFile", "p"))],
        extra=[(7, tf.message((1, user))), (6, tf.message((2, "a")))],
    )  # fmt: skip
    survives(reader.read, mutated(data, edits))


@given(st.binary(max_size=120))
def test_noise_raises_nothing(survives, data):
    survives(reader.read, data)


# --- what the registry holds -----------------------------------------------------------------------------------

HARMLESS = {
    "ExperimentalSetStatsAggregatorDataset", "SetStatsAggregatorDataset", "ReaderRestoreState",
    "ReaderRestoreStateV2", "RegexFullMatch", "RegexReplace", "StaticRegexFullMatch", "StaticRegexReplace",
    "ShardedFilename", "ShardedFilespec",
}  # fmt: skip
"""A prefix of counters, places within a reader, patterns of texts, and names that are only put together."""


def test_every_operator_that_is_given_a_place_is_known_for_it():
    """Each operator of the registry that has a text called like a place."""
    judged = rules.DANGEROUS.keys() | rules.HOST.keys() | rules.WRITERS | rules.READERS | rules.PASSED
    judged |= rules.FILES.keys() | rules.ADDRESSES.keys()
    assert rules.placed() - judged == HARMLESS
    assert len(rules.placed()) > 60


@pytest.mark.parametrize("operator", sorted(rules.FILES))
@pytest.mark.parametrize(
    ("path", "expected"), [("/etc/passwd", "dangerous"), ("/data/v.txt", "unproven"), ("v.txt", None)]
)
def test_files_that_an_attribute_names(tf, verdict, operator, path, expected):
    (key,) = rules.FILES[operator]
    data = tf.saved(tf.node(*PLAIN), tf.node("y", operator, "x", **{key: tf.message((2, path))}))
    assert verdict(data)[0] == (expected or ("unproven" if operator in rules.RARE else "inert"))
    left = tf.function("f", [], tf.node("y", operator, "x", **{key: tf.message((9, "who"))}))
    assert "tensorflow.computed-path" in verdict(tf.saved(tf.node(*PLAIN), functions=[left]))[1]


@pytest.mark.parametrize("operator", ["TextLineDataset", "RestoreV2", "InitializeTableFromTextFileV2"])
@pytest.mark.parametrize("builder", ["DecodeBase64", "StringFormat", "RegexReplace", "StringLower"])
def test_paths_of_readers_that_are_put_together(tf, verdict, operator, builder):
    built = [tf.text("c", "L2V0Yy9wYXNzd2Q"), tf.node("d", builder, "c")]
    assert verdict(tf.saved(*built, tf.node("r", operator, "d"))) == (
        "unproven", {"tensorflow.computed-path"},
    )  # fmt: skip
    assert verdict(tf.saved(tf.text("c", "v.txt"), tf.node("r", operator, "c")))[0] == "inert"
