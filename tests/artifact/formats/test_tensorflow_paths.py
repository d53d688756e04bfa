"""Paths of TensorFlow's writers, however they reach them: functions, joins, placeholders, computed strings."""

import pytest

from modelward.artifact.formats import tensorflow as reader
from modelward.artifact.formats.protobuf import Message
from modelward.artifact.formats.tensorflow_paths import Scope, behind, strings
from modelward.artifact.reading import Malformed, Reading

TARGET = "/home/u/.bashrc"


def scope(tf, *nodes):
    data = b"".join(nodes)
    starts = [sum(map(len, nodes[:at])) for at in range(len(nodes))]
    spans = [(start, start + len(node)) for start, node in zip(starts, nodes, strict=True)]
    into = Reading()
    return Scope(None, [Message(data, (span,), into.spend) for span in spans], into)


# --- constants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "packed"])
def test_strings_in_both_encodings(tf, form):
    made = getattr(tf, form)("c", "a", "", "/etc/x")
    assert strings(scope(tf, made).nodes[0]) == (["a", "", "/etc/x"], True)


def test_numbers_are_no_strings(tf):
    tensor = tf.message((1, 1), (2, tf.message((2, tf.message((1, 1))))), (4, b"\x04/etc"))
    made = tf.node("c", "Const", value=tf.message((8, tensor)))
    assert strings(scope(tf, made).nodes[0]) == ([], True)
    assert strings(scope(tf, tf.node("c", "Const")).nodes[0]) == ([], True)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x80\x80"])
def test_strings_that_are_cut_off(tf, content):
    tensor = tf.message((1, 7), (2, tf.message((2, tf.message((1, 3))))), (4, content))
    made = tf.node("c", "Const", value=tf.message((8, tensor)))
    with pytest.raises(Malformed, match="cut off"):
        strings(scope(tf, made).nodes[0])


def test_too_many_strings_are_never_clean(tf, verdict):
    tensor = tf.message((1, 7), (2, tf.message((2, tf.message((1, 1 << 40))))), (4, b"\0" * 400))
    many = tf.node("p", "Const", value=tf.message((8, tensor)))
    assert verdict(tf.saved(many, tf.node("s", "SaveV2", "p")))[0] == "dangerous"


def test_a_writer_of_packed_strings_is_dangerous(tf, verdict):
    data = tf.saved(tf.packed("p", TARGET), tf.node("s", "SaveV2", "p"))
    assert verdict(data) == ("dangerous", {"tensorflow.path"})
    assert verdict(tf.saved(tf.packed("p", "model"), tf.node("s", "SaveV2", "p")))[0] == "inert"


# --- which input --------------------------------------------------------------------------------------------


def test_only_the_input_that_is_a_path_counts(tf, verdict):
    names = tf.text("names", "/layer/kernel", "../x")
    data = tf.saved(tf.node("p", "Placeholder"), names, tf.node("s", "SaveV2", "p", "names"))
    assert verdict(data)[0] == "inert"


def test_the_second_destination_of_a_merge_counts(tf, verdict):
    nodes = [tf.node("p", "Placeholder"), tf.text("t", TARGET)]
    assert verdict(tf.saved(*nodes, tf.node("m", "MergeV2Checkpoints", "p", "t")))[0] == "dangerous"
    assert verdict(tf.saved(*nodes, tf.node("m", "MergeV2Checkpoints", "p", "^t")))[0] == "inert"


# --- strings that are put together --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "separator", "expected"),
    [
        ((".", "./.ssh/x"), "", "dangerous"),
        (("..", "x"), "/", "dangerous"),
        (("", "etc/cron.d/x"), "/", "dangerous"),
        (("a", "b"), "", "inert"),
        (("a", ".."), "", "dangerous"),
    ],
)
def test_joins_of_constants(tf, verdict, parts, separator, expected):
    nodes = [tf.text(f"c{at}", part) for at, part in enumerate(parts)]
    join = tf.node("j", "StringJoin", "c0", "c1", separator=tf.message((2, separator)))
    assert verdict(tf.saved(*nodes, join, tf.node("s", "SaveV2", "j")))[0] == expected


@pytest.mark.parametrize(
    "operator",
    ["DecodeBase64", "Substr", "RegexReplace", "ReadVariableOp", "StringFormat", "LookupTableFindV2"],
)
def test_paths_that_are_computed_are_unproven(tf, verdict, operator):
    nodes = [tf.text("c", "L2V0Yy9wYXNzd2Q"), tf.node("d", operator, "c"), tf.node("s", "SaveV2", "d")]
    assert verdict(tf.saved(*nodes)) == ("unproven", {"tensorflow.computed-path"})


def test_what_is_saved_may_be_computed(tf, verdict):
    nodes = [tf.node("p", "Placeholder"), tf.text("n", "w"), tf.node("v", "ReadVariableOp", "h")]
    assert verdict(tf.saved(*nodes, tf.node("s", "SaveV2", "p", "n", "n", "v")))[0] == "inert"


def test_a_chain_that_is_too_long_is_unproven(tf, verdict):
    nodes = [tf.node(f"i{at}", "Identity", f"i{at + 1}") for at in range(400)]
    data = tf.saved(*nodes, tf.text("i400", TARGET), tf.node("s", "SaveV2", "i0"))
    assert verdict(data) == ("unproven", {"tensorflow.computed-path"})


# --- functions ----------------------------------------------------------------------------------------------


def saver(tf, place="b"):
    return tf.function("f", ["a", "b"], tf.node("i", "Identity", place), tf.node("s", "SaveV2", "i"))


@pytest.mark.parametrize(
    "operator", ["PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"]
)
def test_arguments_come_from_the_caller(tf, verdict, operator):
    nodes = [tf.text("good", "model"), tf.text("bad", TARGET)]
    for inputs, expected in ((("good", "bad"), "dangerous"), (("bad", "good"), "inert")):
        call = tf.node("c", operator, *inputs, f=tf.call("f"))
        assert verdict(tf.saved(*nodes, call, functions=[saver(tf)]))[0] == expected


@pytest.mark.parametrize("operator", ["If", "StatelessIf", "Case"])
def test_branches_have_their_condition_first(tf, verdict, operator):
    nodes = [tf.text("good", "model"), tf.text("bad", TARGET), tf.node("x", "Placeholder")]
    branches = tf.message((1, tf.message((9, tf.message((1, "f"))))))
    for inputs, expected in ((("x", "good", "bad"), "dangerous"), (("x", "bad", "good"), "inert")):
        call = tf.node("c", operator, *inputs, branches=branches)
        assert verdict(tf.saved(*nodes, call, functions=[saver(tf)]))[0] == expected


def test_a_function_may_be_an_operator(tf, verdict):
    data = tf.saved(
        tf.text("good", "m"), tf.text("bad", TARGET), tf.node("c", "f", "good", "bad"), functions=[saver(tf)]
    )
    assert verdict(data)[0] == "dangerous"


def test_any_other_caller_hands_over_any_of_its_inputs(tf, verdict):
    call = tf.node("c", "MapDataset", "x", "bad", f=tf.call("f"))
    data = tf.saved(tf.node("x", "Placeholder"), tf.text("bad", TARGET), call, functions=[saver(tf, "a")])
    assert verdict(data)[0] == "dangerous"


def test_callers_of_callers(tf, verdict):
    outer = tf.function("g", ["p"], tf.node("c", "PartitionedCall", "p", "p", f=tf.call("f")))
    call = tf.node("c", "PartitionedCall", "bad", f=tf.call("g"))
    assert verdict(tf.saved(tf.text("bad", TARGET), call, functions=[saver(tf), outer]))[0] == "dangerous"
    assert verdict(tf.saved(tf.text("bad", "m"), call, functions=[saver(tf), outer]))[0] == "inert"


def test_functions_that_call_themselves_end(tf, verdict):
    inner = [tf.node("c", "PartitionedCall", "a", "b", f=tf.call("f")), tf.node("s", "SaveV2", "b")]
    assert verdict(tf.saved(functions=[tf.function("f", ["a", "b"], *inner)]))[0] == "inert"


def test_the_description_of_a_checkpoint_is_no_path(tf, verdict):
    """A string with zero bytes that the caller hands over; in the function itself it is one."""
    call = tf.node("c", "PartitionedCall", "p", "d", f=tf.call("f"))
    described = tf.text("d", b"\n\x0b\x12\0\x08model")
    assert (
        verdict(tf.saved(tf.node("p", "Placeholder"), described, call, functions=[saver(tf)]))[0] == "inert"
    )


# --- attributes that the caller fills -----------------------------------------------------------------------


def test_an_attribute_left_to_the_caller_is_unproven(tf, verdict):
    """As TensorFlow runs it: the caller's attribute `os` becomes the stream that is printed to."""
    printing = tf.node("p", "PrintV2", "a", output_stream=tf.message((9, "os")))
    call = tf.node("c", "PartitionedCall", "m", f=tf.call("f", os=tf.message((2, "file:///tmp/x"))))
    data = tf.saved(tf.text("m", "text"), call, functions=[tf.function("f", ["a"], printing)])
    assert verdict(data) == ("unproven", {"tensorflow.computed-path"})


def test_a_constant_left_to_the_caller_is_unproven(tf, verdict):
    path = tf.node("p", "Const", value=tf.message((9, "path")))
    function = tf.function("f", [], path, tf.node("s", "SaveV2", "p"))
    assert verdict(tf.saved(functions=[function])) == ("unproven", {"tensorflow.computed-path"})


# --- work ---------------------------------------------------------------------------------------------------


def test_a_hub_of_many_inputs_is_not_walked_for_each_writer(tf, survives):
    hub = tf.node("h", "Pack", *["x"] * 60_000)
    writers = [tf.node(f"s{at}", "SaveV2", "h") for at in range(2_000)]
    assert survives(reader.read, tf.saved(hub, *writers)) == "unproven"


def test_behind_tells_nothing_of_inputs_that_are_missing(tf):
    start = scope(tf, tf.node("s", "SaveV2", "gone:0", "^p"), tf.text("p", TARGET))
    assert behind(start.nodes[0], (0, 1, 7), start, [start]) == ([], "", "")
    assert behind(start.nodes[0], None, start, [start]) == ([], "", "")


# --- the same in text ---------------------------------------------------------------------------------------

CALLED = """
node {{ name: "c" op: "Const" attr {{ key: "value" value {{ tensor {{ dtype: DT_STRING {path} }} }} }} }}
node {{ name: "p" op: "PartitionedCall" input: "c" attr {{ key: "f" value {{ {call} }} }} }}
library {{ function {{ signature {{ name: "f" input_arg {{ name: "a" type: DT_STRING }} }}
  node_def {{ name: "s" op: "{operator}" {inputs} }} }} }}
"""
PRINTED = 'attr { key: "output_stream" value { placeholder: "os" } }'
SHAPE = "tensor_shape { dim { size: 1 } }"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"path": 'string_val: "/home/u/.bashrc"'}, "dangerous"),
        ({"path": 'string_val: "model"'}, "inert"),
        ({"path": SHAPE + ' tensor_content: "\\017/home/u/.bashrc"'}, "dangerous"),
        ({"call": 'list { func { name: "f" } }'}, "dangerous"),
        ({"call": 'func { name: "g" }'}, "inert"),
        ({"operator": "PrintV2", "inputs": PRINTED}, "unproven"),
    ],
)
def test_paths_in_the_text_format(verdict, given, expected):
    usual = {
        "path": 'string_val: "/home/u/.bashrc"', "call": 'func { name: "f" }', "operator": "SaveV2",
        "inputs": 'input: "a"',
    }  # fmt: skip
    assert verdict(CALLED.format(**{**usual, **given}).encode())[0] == expected
