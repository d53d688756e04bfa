"""PaddlePaddle: programs in protobuf and JSON, streams of parameters; all written by hand, as Paddle writes them."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import paddle as reader
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes


@pytest.fixture(scope="session")
def op(message):
    """An OpDesc; texts among the attributes are strings of it."""

    def write(kind, **attributes):
        attrs = [(4, message((1, name), (2, 2), (5, text))) for name, text in attributes.items()]
        given_, made = message((1, "X"), (2, "a")), message((1, "Out"), (2, "b"))
        return message((1, given_), (2, made), (3, kind), *attrs)

    return write


@pytest.fixture(scope="session")
def program(message):
    """A ProgramDesc of one block for each list of operators, and a parameter of 2 x 3."""

    def write(*blocks):
        dense = message((1, message((1, 5), (2, 2), (2, 3))))
        parameter = message((1, "w"), (2, message((1, 7), (3, dense))), (3, 1))
        local = message((1, "t"), (2, message((1, 7), (3, dense))))
        made = [
            message((1, index), (2, index - 1), (3, parameter), (3, local), *((4, each) for each in ops))
            for index, ops in enumerate(blocks)
        ]
        return message(*((1, block) for block in made), (4, message((1, 3_000_000))))

    return write


def test_a_program_is_inert_and_has_facts(op, program):
    data = program([op("feed"), op("matmul_v2"), op("relu"), op("fetch")])
    report = inspect_bytes(data, "m.pdmodel")
    assert (report.format, report.verdict) == ("paddle", "inert")
    assert report.facts == {
        "framework": "paddle", "format_version": "3000000", "tensors": 1, "parameters": 6,
        "dtypes": {"float32": 1}, "operators": ["feed", "matmul_v2", "relu", "fetch"],
        "inputs": ["b"], "outputs": ["a"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["py_func", "py_layer", "read_file", "listen_and_serv"])
def test_operators_that_act_are_dangerous_in_every_block(op, program, verdict, kind):
    for blocks in ([[op("relu"), op(kind)]], [[op("conditional_block")], [op("relu")], [op(kind)]]):
        assert verdict(program(*blocks)) == ("dangerous", {"paddle.operator"})


def test_an_operator_of_somebody_else_is_unproven(op, program, verdict):
    assert verdict(program([op("my_custom_relu")])) == ("unproven", {"paddle.custom-operator"})


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("save", "/home/u/.bashrc", "dangerous"), ("save_combine", "../x", "dangerous"), ("save", "w", "unproven"),
        ("load", "/etc/passwd", "dangerous"), ("load_combine", "params/w", "inert"),
    ],
)  # fmt: skip
def test_operators_on_files(op, program, kind, path, expected):
    assert inspect_bytes(program([op(kind, file_path=path)]), "m").verdict == expected


def test_the_call_shows_the_path(op, program):
    report = inspect_bytes(program([op("save", file_path="/home/u/.bashrc")]), "m")
    assert report.findings[0].call == "save('/home/u/.bashrc')"


def test_an_engine_is_unproven_and_dangerous_with_a_library(op, program, verdict):
    host = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HH", 3, 62) + b"\0" * 30
    gpu = host.replace(struct.pack("<H", 62), struct.pack("<H", 190))
    assert verdict(program([op("tensorrt_engine", engine_serialized_data=gpu)]))[0] == "unproven"
    assert verdict(program([op("tensorrt_engine", engine_serialized_data=host)]))[0] == "dangerous"


def test_the_list_of_operators_is_paddles():
    known = reader.known()
    assert len(known) > 1000
    assert {"conv2d", "matmul_v2", "feed", "fetch", "py_func", "conditional_block"} <= known


# --- JSON ---------------------------------------------------------------------------------------------------


def operation(name, /, **attributes):
    attrs = [{"N": key, "AT": {"#": "0.a_str", "D": text}} for key, text in attributes.items()]
    return {"#": name, "A": attrs, "I": [], "O": [], "OA": []}


def written(*operations):
    weights = {
        "#": "p",
        "A": [0, 1, 1, "w"],
        "O": {"%": 1, "TT": {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, [2, 3], "NCHW", [], 0]}},
    }
    blocks = [{"#": "block_0", "args": [], "ops": [weights, *operations]}]
    program = {"regions": [{"#": "region_0", "blocks": blocks}]}
    return json.dumps(
        {"base_code": {"magic": "pir", "trainable": True, "version": 4}, "program": program}
    ).encode()


def test_a_program_in_json_is_inert_and_has_facts():
    data = written(
        operation("1.data", name="x"), operation("1.relu"), operation("0.combine"), operation("2.yield")
    )
    report = inspect_bytes(data, "inference.json")
    assert (report.format, report.verdict) == ("paddle", "inert")
    assert report.facts["inputs"] == ["x"]
    assert report.facts["operators"] == ["data", "relu", "combine", "yield"]
    assert (report.facts["parameters"], report.facts["dtypes"]) == (6, {"f32": 1})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1.py_func", "dangerous"), ("pd_op.py_layer", "dangerous"), ("1.read_file", "dangerous"),
        ("3.evil", "unproven"), ("custom_op.evil", "unproven"), ("evil", "unproven"), ("9.relu", "unproven"),
        ("pd_op.relu", "inert"), ("cf.yield", "inert"), ("builtin.module", "inert"),
    ],
)  # fmt: skip
def test_dialects(verdict, name, expected):
    assert verdict(written(operation(name)))[0] == expected
    region = {**operation("1.if"), "regions": [{"blocks": [{"ops": [operation(name)]}]}]}
    assert verdict(written(region))[0] == expected


def test_paths_in_json(verdict):
    assert verdict(written(operation("1.load", file_path="/etc/passwd"))) == ("dangerous", {"paddle.path"})


def test_json_cut_off_is_unproven(verdict):
    assert verdict(written(operation("1.relu"))[:-2]) == ("unproven", {"artifact.unread"})


# --- parameters ---------------------------------------------------------------------------------------------


def tensor(message, kind, dims, size, levels=()):
    desc = message((1, kind), *((2, dim) for dim in dims))
    head = struct.pack("<IQ", 0, len(levels)) + b"".join(
        struct.pack("<Q", len(each)) + each for each in levels
    )
    return head + struct.pack("<Ii", 0, len(desc)) + desc + b"\1" * size


def test_parameters(message, verdict):
    data = (
        tensor(message, 5, [2, 3], 24)
        + tensor(message, 3, [4], 32, [b"\0" * 16])
        + tensor(message, 21, [], 1)
    )
    report = inspect_bytes(data, "m.pdiparams")
    assert (report.format, report.verdict) == ("paddle-params", "inert")
    assert (report.facts["tensors"], report.facts["parameters"]) == (3, 11)
    assert report.facts["dtypes"] == {"float32": 1, "int64": 1, "int8": 1}
    for bad in (data[:-1], data + b"\0", data[:30] + b"\1" + data[31:] + b"\2"):
        assert verdict(bad)[0] == "unproven"


@pytest.mark.parametrize(("kind", "dims"), [(5, [1 << 40, 1 << 40]), (5, [-1]), (99, [1]), (5, [1 << 62, 4])])
def test_impossible_tensors_are_unproven(message, verdict, kind, dims):
    data = tensor(message, kind, dims, 64)
    assert sniff(data).format == "paddle-params"
    assert verdict(data) == ("unproven", {"artifact.unread"})


# --- damage -------------------------------------------------------------------------------------------------


def test_a_truncated_program_is_never_clean(op, program, survives):
    data = program([op("relu"), op("py_func")])
    for end in range(1, len(data)):
        assert survives(reader.read, data[:end]) in {"unproven", "dangerous"}


EDITS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2), st.integers(0, 255)), max_size=5)


@given(EDITS, st.integers(0, 2))
def test_mutations_raise_nothing(op, program, message, survives, mutated, edits, pick):  # noqa: PLR0917 - fixtures
    seeds = [program([op("save", file_path="x")]), written(operation("1.load")), tensor(message, 5, [2], 8)]
    survives(reader.read, mutated(seeds[pick], edits))


@given(st.binary(max_size=100))
def test_noise_raises_nothing(survives, data):
    survives(reader.read, data)
    survives(reader.read, b"\0" * 12 + data)


# --- keys of JSON anywhere ----------------------------------------------------------------------------------

CALL = {
    "regions": [{"#": "r", "blocks": [{"#": "b", "ops": [{"#": "1.py_func", "I": [], "O": [], "A": []}]}]}]
}
BASE = {"magic": "pir", "version": 1}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"program": {"pad": "x" * 80_000, **CALL}, "base_code": BASE}),
        "{" + " " * 80_000 + json.dumps({"base_code": BASE, "program": CALL})[1:],
        json.dumps({"base_code": BASE, "program": CALL}).replace('"magic"', '"\\u006dagi\\u0063"'),
        json.dumps({"base_code": BASE, "program": CALL}).replace('"pir"', '"\\u0070ir"'),
    ],
)
def test_a_program_is_known_wherever_its_keys_are(verdict, text):
    assert verdict(text.encode(), "model.json") == ("dangerous", {"paddle.operator"})


@pytest.mark.parametrize("name", ["c_gen_nccl_id", "c_gen_xccl_id", "gen_nccl_id"])
def test_operators_that_meet_other_machines_are_not_clean(verdict, name):
    data = json.dumps({"base_code": BASE, "program": CALL}).replace("py_func", name)
    assert verdict(data.encode())[0] == "dangerous"


@pytest.mark.parametrize("name", ["send", "send_and_recv", "distributed_lookup_table", "push_dense"])
def test_servers_of_parameters_are_unproven(op, program, verdict, name):
    assert verdict(program([op("relu"), op(name)])) == ("unproven", {"paddle.operator"})
