"""Files: damaged, foreign, with weights beside them; and which tensor holds the scores."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.adapters.onnx_import.graph import read_network
from modelward.adapters.onnx_import.importer import import_onnx
from modelward.errors import FileDamaged, FileMissing, ModelwardError, OperatorUnsupported, UnsafeArtifact

LINEAR = [("MatMul", ["x", "w"], ["a"], {}), ("Add", ["a", "b"], ["y"], {})]
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.ones(2, dtype=np.float32)}


def edited(path, change):
    """The file with its protobuf changed in place."""
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def outside(path, content, **info):
    """The file with tensor 'w' stored outside it, in `content` at `info`."""

    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in info.items():
            tensor.external_data.add(key=key, value=str(value))

    if content is not None:
        (path.parent / "weights.bin").write_bytes(content)
    return edited(path, change)


def test_weights_beside_the_model_are_read(save):
    raw = WEIGHTS["w"].tobytes()
    path = outside(
        save(LINEAR, WEIGHTS), b"12345678" + raw + b"rest", location="weights.bin", offset=8, length=len(raw)
    )
    x = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(import_onnx(path, samples=x).module(torch.from_numpy(x)), WEIGHTS["w"] + 1)


@pytest.mark.parametrize(
    "location",
    [
        "../weights.bin",
        "a/../../weights.bin",
        "/etc/passwd",
        "..\\weights.bin",
        "C:\\weights.bin",
        "",
        "a\0b",
    ],
)
def test_weights_outside_the_folder_are_refused(save, location):
    with pytest.raises(UnsafeArtifact, match="outside the model's folder"):
        read_network(outside(save(LINEAR, WEIGHTS), None, location=location))


def test_a_link_out_of_the_folder_is_refused(save, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.bin"
    secret.write_bytes(WEIGHTS["w"].tobytes())
    path = save(LINEAR, WEIGHTS)
    (path.parent / "link.bin").symlink_to(secret)
    with pytest.raises(UnsafeArtifact, match="reaches outside"):
        read_network(outside(path, None, location="link.bin"))


def test_external_weights_of_a_constant_node_are_guarded_too(save):
    def change(model):
        tensor = model.graph.node[0].attribute[0].t
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")

    value = onnx.numpy_helper.from_array(WEIGHTS["b"])
    nodes = [("Constant", [], ["k"], {"value": value}), ("Add", ["x", "k"], ["y"], {})]
    with pytest.raises(UnsafeArtifact):
        read_network(edited(save(nodes, shape=(None, 2)), change))


@pytest.mark.parametrize(
    ("info", "error"),
    [
        ({"location": "absent.bin"}, FileMissing),
        ({"location": "."}, FileMissing),
        ({"location": "weights.bin", "offset": 20}, FileDamaged),
        ({"location": "weights.bin", "offset": 99}, FileDamaged),
        ({"location": "weights.bin", "offset": -1}, FileDamaged),
        ({"location": "weights.bin", "length": 25}, FileDamaged),
        ({"location": "weights.bin", "length": "many"}, FileDamaged),
    ],
)
def test_external_weights_that_do_not_fit(save, info, error):
    with pytest.raises(error):
        read_network(outside(save(LINEAR, WEIGHTS), WEIGHTS["w"].tobytes(), **info))


def test_a_pipe_is_not_waited_for(save):
    path = save(LINEAR, WEIGHTS)
    os.mkfifo(path.parent / "pipe")
    with pytest.raises(FileMissing):
        read_network(outside(path, None, location="pipe"))
    with pytest.raises(FileMissing):
        read_network(path.parent / "pipe")


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello, world", b"PK\x03\x04" + bytes(40), b"\x80\x04N.", bytes(9)]
)
def test_other_files_are_damaged_onnx(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(FileDamaged, match=r"model\.onnx"):
        import_onnx(path, samples=None)


@pytest.mark.parametrize("name", [b"alpha", b"LeakyRelu", b"bias", b"label"])
def test_names_that_are_not_text(save, name):
    nodes = [("LeakyRelu", ["x"], ["m"], {"alpha": 0.5, "name": "label"}), ("Add", ["m", "bias"], ["y"], {})]
    path = save(nodes, {"bias": WEIGHTS["b"]}, (None, 2))
    path.write_bytes(path.read_bytes().replace(name, b"\x80" + name[1:]))
    with pytest.raises(FileDamaged, match="UTF-8"):
        import_onnx(path, samples=None)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileMissing):
        import_onnx(tmp_path / "absent.onnx", samples=None)
    with pytest.raises(FileMissing):
        import_onnx(tmp_path, samples=None)


def test_every_truncation_is_refused(save):
    path = save(LINEAR, WEIGHTS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            imported = import_onnx(path, samples=None)
        except ModelwardError:
            continue
        # what is cut off may be metadata only; the function must then be whole
        x = np.eye(3, dtype=np.float32)
        np.testing.assert_array_equal(imported.module(torch.from_numpy(x)), WEIGHTS["w"] + 1)


POOLED = [
    ("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1], "strides": [1, 1]}),
    ("Relu", ["c"], ["r"], {}),
    ("MaxPool", ["r"], ["m"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Pad", ["m", "p"], ["q"], {}),
    ("Reshape", ["q", "s"], ["f"], {}),
    ("Gemm", ["f", "g"], ["h"], {"alpha": 0.5}),
    ("Slice", ["h", "i", "j", "k"], ["n"], {}),
    ("Softmax", ["n"], ["y"], {"axis": 1}),
]
POOLED_WEIGHTS = {
    "w": np.ones((2, 1, 3, 3), dtype=np.float32),
    "b": np.ones(2, dtype=np.float32),
    "p": np.array([0, 0, 0, 1, 0, 0, 0, 0]),
    "s": np.array([0, -1]),
    "g": np.ones((12, 4), dtype=np.float32),
    "i": np.array([0]),
    "j": np.array([3]),
    "k": np.array([1]),
}


@given(
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 99),
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_work_or_are_refused(save, edits, cut):
    path = save(POOLED, POOLED_WEIGHTS, (None, 1, 4, 4))
    content = bytearray(path.read_bytes())
    for position, value in edits:
        content[position % len(content)] = value
    path.write_bytes(bytes(content[: len(content) - (cut if cut > 90 else 0)]))
    said = ""
    try:
        assert import_onnx(path, samples=None).measured_gap <= 1e-4
    except ModelwardError as refusal:
        said = str(refusal)
    assert "\n" not in said


def test_a_custom_domain_is_named(save):
    path = save([("com.evil::Shell", ["x"], ["y"], {})], domains=("com.evil",))
    with pytest.raises(OperatorUnsupported, match=r"Shell .*'com\.evil'"):
        import_onnx(path, samples=None)


def test_text_of_the_file_is_made_printable_in_messages(save):
    path = save([("Evil\n\x1b[2J" + "x" * 999, ["x"], ["y"], {})])
    with pytest.raises(OperatorUnsupported) as caught:
        import_onnx(path, samples=None)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_functions_defined_by_the_model_are_named(save):
    def change(model):
        model.functions.add(name="Own", domain="mine")

    with pytest.raises(OperatorUnsupported, match="mine::Own"):
        read_network(edited(save(LINEAR, WEIGHTS), change))


def test_sparse_weights_and_subgraphs_are_refused(save):
    def change(model):
        model.graph.sparse_initializer.add()

    with pytest.raises(OperatorUnsupported, match="sparse"):
        read_network(edited(save(LINEAR, WEIGHTS), change))
    branch = onnx.helper.make_graph([], "branch", [], [])
    path = save([("If", ["x"], ["y"], {"then_branch": branch, "else_branch": branch})])
    with pytest.raises(OperatorUnsupported, match=r"^operator If "):
        import_onnx(path, samples=None)


@pytest.mark.parametrize("opset", [6, 99])
def test_opsets_out_of_range(save, opset):
    with pytest.raises(OperatorUnsupported, match=f"opset {opset}"):
        read_network(save(LINEAR, WEIGHTS, opset=opset))


def test_an_input_too_large_to_be_meant(save):
    for shape in ((None, 2**40), (2**62, 3), (None, 2**62, 2**62)):
        with pytest.raises(OperatorUnsupported, match="too large"):
            import_onnx(save([("Relu", ["x"], ["y"], {})], shape=shape), samples=None)


def _takes_strings(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def test_inputs_other_than_one_float_tensor(save):
    with pytest.raises(OperatorUnsupported, match=r"2 inputs \(x, z\)"):
        read_network(edited(save(LINEAR, WEIGHTS), lambda model: model.graph.input.add(name="z")))
    with pytest.raises(OperatorUnsupported, match=r"'x' holds whole numbers .* no gradients are defined"):
        read_network(save([("Relu", ["x"], ["y"], {})], dtype="int64", output_type=1))
    strings = edited(save(LINEAR, WEIGHTS), _takes_strings)
    with pytest.raises(OperatorUnsupported, match="not a float32"):
        read_network(strings)
    with pytest.raises(OperatorUnsupported, match="no batch axis"):
        import_onnx(save([("Relu", ["x"], ["y"], {})], shape=(3,)), samples=None)


def test_old_files_list_weights_among_the_inputs(save):
    def change(model):
        model.graph.input.add(name="w")
        model.graph.input.add(name="b")

    assert read_network(edited(save(LINEAR, WEIGHTS), change)).input_name == "x"


def test_the_first_of_several_float_outputs_is_taken_and_said(save):
    nodes = [("Relu", ["x"], ["first"], {}), ("Tanh", ["x"], ["second"], {})]
    network = read_network(save(nodes, outputs=("first", "second")))
    assert network.score == "first"
    assert "first of 2 float outputs" in network.detection
    assert [node.operator for node in network.nodes] == ["Relu"]


def test_nodes_that_the_scores_do_not_need_are_not_looked_at(save):
    nodes = [("LSTM", ["x"], ["unused"], {}), *LINEAR]
    assert import_onnx(save(nodes, WEIGHTS), samples=None).output_name == "y"


def test_zipmap_is_looked_through(save):
    nodes = [
        ("Softmax", ["x"], ["p"], {}),
        ("ai.onnx.ml::ZipMap", ["p"], ["y"], {"classlabels_int64s": [0, 1, 2]}),
    ]
    network = read_network(save(nodes, domains=("ai.onnx.ml",)))
    assert (network.output_name, network.score, network.label_tail) == ("y", "p", "ZipMap")


def test_an_output_of_labels_without_scores_is_refused(save):
    path = save([("Shape", ["x"], ["y"], {})], output_type=7)
    with pytest.raises(OperatorUnsupported, match="Shape"):
        read_network(path)


def test_a_file_onnxruntime_rejects_is_damaged(save):
    path = save([("Relu", ["x"], ["y"], {}), ("Relu", ["x"], ["y"], {})])  # one name computed twice
    with pytest.raises(FileDamaged, match="onnxruntime does not accept"):
        import_onnx(path, samples=None)


def test_paths_may_be_relative(save, monkeypatch):
    path = outside(save(LINEAR, WEIGHTS), WEIGHTS["w"].tobytes(), location="weights.bin")
    monkeypatch.chdir(path.parent)
    assert read_network(Path("model.onnx")).constants["w"].shape == (3, 2)
