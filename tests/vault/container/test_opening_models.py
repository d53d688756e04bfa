"""Sealed models in torch and in ONNX Runtime: every type, tensors beside the graph, and graphs that are refused."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import (
    ExtraMissing,
    FileDamaged,
    FileMissing,
    FormatUnknown,
    SealDamaged,
    UnsafeArtifact,
)
from modelward.vault.container import memory, tensors
from modelward.vault.container.opening import open_sealed
from modelward.vault.container.writing import SealOptions, seal_folder

MIB = 1 << 20


@pytest.fixture
def of_folder(tmp_path, vendor, licensee):
    """Seals what lies in a folder, and opens it."""

    def seal(folder):
        target = tmp_path / "m.sealed"
        seal_folder(
            folder, target, SealOptions(recipients=(licensee.recipient,), signers=(vendor,), replace=True)
        )
        return open_sealed(target, [licensee.identity], verifiers=[vendor.public])

    return seal


# torch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def save(torch, path, found):
    from safetensors.torch import save_file

    save_file(found, path)
    return found


KINDS = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16",
    "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "complex64",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_torch(torch, tmp_path, of_folder, kind):
    dtype = getattr(torch, kind)
    raw = torch.randint(0, 2 if kind == "bool" else 120, (6 * 8 * dtype.itemsize,), dtype=torch.uint8)
    given = save(
        torch, tmp_path / "m.safetensors", {"t": raw.view(dtype).reshape(6, 8), "u": raw[:3].clone()}
    )
    found = of_folder(tmp_path / "m.safetensors").torch("m.safetensors")
    assert set(found) == {"t", "u"}
    assert found["t"].dtype == dtype
    assert found["t"].shape == (6, 8)
    assert torch.equal(found["t"].view(torch.uint8), given["t"].view(torch.uint8))
    assert torch.equal(found["u"], given["u"])


def test_large_tensors_as_the_reference_loads_them(torch, tmp_path, of_folder):
    from safetensors.torch import load_file

    torch.manual_seed(5)
    save(torch, tmp_path / "m.safetensors", {
        "a": torch.randn(1000, 777), "b": torch.randn(3, dtype=torch.float64), "c": torch.randn(2 * MIB // 4 + 1),
        "none": torch.empty(0, 5), "scalar": torch.tensor(4.5), "h": torch.randn(999).to(torch.bfloat16),
    })  # fmt: skip
    wanted, opened = load_file(tmp_path / "m.safetensors"), of_folder(tmp_path / "m.safetensors")
    for found in (opened.torch("m.safetensors"), opened.torch("m.safetensors", sorted(wanted))):
        assert set(found) == set(wanted)
        for name, tensor in wanted.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)
    assert torch.equal(opened.torch("m.safetensors", ["h"])["h"], wanted["h"])
    with pytest.raises(FileDamaged, match="has no tensor x"):
        opened.torch("m.safetensors", ["x"])


def test_tensors_are_views_of_one_buffer(torch, tmp_path, of_folder):
    save(torch, tmp_path / "m.safetensors", {"a": torch.ones(1000), "b": torch.zeros(1000)})
    opened = of_folder(tmp_path / "m.safetensors")
    found, places = opened.torch("m.safetensors"), opened._header("m.safetensors").places
    apart = found["b"].data_ptr() - found["a"].data_ptr()
    assert apart == places["b"].start - places["a"].start
    first = min(found.values(), key=lambda tensor: tensor.data_ptr())
    assert first.data_ptr() % 64 == 0
    found["a"] += 1
    assert found["a"].sum() == 2000
    assert found["b"].sum() == 0
    assert opened.torch("m.safetensors")["a"].sum() == 1000


def test_a_state_dict_goes_into_a_module(torch, tmp_path, of_folder):
    module = torch.nn.Linear(7, 3)
    save(
        torch,
        tmp_path / "m.safetensors",
        {name: value.clone() for name, value in module.state_dict().items()},
    )
    other = torch.nn.Linear(7, 3)
    other.load_state_dict(of_folder(tmp_path / "m.safetensors").torch("m.safetensors"), assign=True)
    x = torch.randn(4, 7)
    assert torch.equal(module(x), other(x))


def test_unaligned_places_are_copied(torch, tmp_path, of_folder):
    """The reference never writes such a file, and reads it."""
    import json

    header = json.dumps({
        "u": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "f": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    }).encode()  # fmt: skip
    data = bytes([1, 2, 3]) + np.array([1.5, -2], "<f4").tobytes()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    opened = of_folder(tmp_path / "m.safetensors")
    assert opened.torch("m.safetensors")["f"].tolist() == [1.5, -2]
    assert opened.torch("m.safetensors")["f"].data_ptr() % 4 == 0
    assert opened.numpy("m.safetensors")["f"].tolist() == [1.5, -2]
    assert opened.tensor("m.safetensors", "f").tolist() == [1.5, -2]


def test_what_torch_itself_saves_is_refused(torch, tmp_path, of_folder):
    folder = tmp_path / "models"
    folder.mkdir()
    torch.save({"a": torch.ones(3)}, folder / "new.pt")
    torch.save({"a": torch.ones(3)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    opened = of_folder(folder)
    for name in opened.names():
        for use in (opened.torch, opened.numpy, lambda n: opened.tensor(n, "a")):
            with pytest.raises(UnsafeArtifact, match="could run code") as refusal:
                use(name)
            assert "safetensors" in refusal.value.advice


def test_without_torch(tmp_path, of_folder, monkeypatch):
    (tmp_path / "m.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    opened = of_folder(tmp_path / "m.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExtraMissing, match="torch is not installed"):
        opened.torch("m.safetensors")
    assert opened.numpy("m.safetensors") == {}


# The readers alone, on bytes that nobody sealed


class Plain:
    """A file in clear in the place of a sealed one."""

    def __init__(self, content):
        self.content, self.record = content, SimpleNamespace(path="x", length=len(content))

    def read(self, offset, size):
        assert 0 <= offset <= offset + size <= len(self.content)
        return bytearray(self.content[offset : offset + size])

    segments = property(lambda self: max(1, -(-len(self.content) // MIB)))

    def segment(self, index, buffer, out):
        out[:] = self.read(index * MIB, len(out))


def small():
    from safetensors.numpy import save as encode

    return encode({"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array(7, "i8"), "c": np.ones(3, "?")})


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_safetensors_gives_arrays_or_a_sentence(data):
    content = bytearray(small())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = Plain(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        header = tensors.header_of(file)
        found = [tensors.numpy_array(piece) for piece in tensors.pieces(file, header, None)]
        assert all(array.nbytes <= len(content) for array in found)
    except (SealDamaged, FormatUnknown):
        pass


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_npy_gives_an_array_or_a_sentence(data):
    buffer = io.BytesIO()
    np.save(
        buffer, data.draw(st.sampled_from([np.arange(8.0), np.ones((2, 3), order="F"), np.array("text")]))
    )
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 90))] = data.draw(st.integers(0, 255))
    file = Plain(bytes(content[: data.draw(st.integers(8, len(content)))]))
    try:
        found = tensors.npy_array(file, lambda: io.BytesIO(file.content))
        assert found.nbytes <= len(content)
    except (FileDamaged, UnsafeArtifact):
        pass


@given(st.binary(max_size=40), st.integers(0, 60))
def test_what_safetensors_is_by_its_first_bytes(beginning, length):
    found = tensors.is_safetensors(beginning, length)
    assert found == (beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") + 8 <= length)


@pytest.mark.parametrize("begin", [0, 1, 63, 64, 4096, 3 * MIB + 5])
@pytest.mark.parametrize("populated", [True, False])
def test_a_whole_file_is_decrypted_into_its_place(monkeypatch, begin, populated):
    """With pages that the kernel hands out in bulk, and where it does not."""
    file = Plain(os.urandom(9 * MIB + 1234))
    if not populated:
        monkeypatch.setattr(memory, "_madvise", lambda: None)
    found = memory.whole(file, begin)
    assert found == file.content[begin:]
    assert ctypes.addressof(ctypes.c_char.from_buffer(found)) % 64 == 0
    found[0] ^= 1


def test_a_kernel_that_hands_out_nothing_in_bulk(monkeypatch):
    """It refuses the advice, and the memory is as good."""
    asked = []
    monkeypatch.setattr(memory, "_madvise", lambda: lambda *given: asked.append(given) or -1)
    file = Plain(os.urandom(5 * MIB))
    assert memory.whole(file, 100) == file.content[100:]
    assert len(asked) == 5
    assert all(address % mmap.PAGESIZE == 0 and advice == 23 for address, _, advice in asked)
    assert sum(size for _, size, _ in asked) >= 5 * MIB


def test_no_memory_is_no_bytes():
    assert bytes(memory.private(0)) == b""
    assert bytes(memory.private(5)) == bytes(5)


# ONNX Runtime


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx")


WEIGHTS = np.random.default_rng(1).normal(size=(4, 3000)).astype("f4")


def make(onnx, *, nodes=None, weights=WEIGHTS):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, [None, 4])],
        [helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def answer(session, x):
    return session.run(None, {"x": x})[0]


def test_a_session_answers_as_of_the_plain_file(onnx, tmp_path, of_folder):
    onnx.save(make(onnx), tmp_path / "m.onnx")
    x = np.random.default_rng(2).normal(size=(5, 4)).astype("f4")
    assert np.allclose(answer(of_folder(tmp_path / "m.onnx").onnx("m.onnx"), x), x @ WEIGHTS, atol=1e-4)


def external(onnx, folder, location="w.data"):
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        make(onnx), folder / "m.onnx", save_as_external_data=True, all_tensors_to_one_file=True,
        location=location, size_threshold=0,
    )  # fmt: skip
    assert (folder / location).stat().st_size >= WEIGHTS.nbytes
    return folder


@pytest.mark.parametrize("location", ["w.data", "deep/er/w.data"])
def test_tensors_beside_the_graph_come_from_the_container(onnx, tmp_path, of_folder, monkeypatch, location):
    """Also where the working folder holds another file of that name."""
    folder = external(onnx, tmp_path / "all" / "models", location).parent
    opened = of_folder(folder)
    trap = tmp_path / "trap" / location
    trap.parent.mkdir(parents=True)
    trap.write_bytes(bytes(WEIGHTS.nbytes))
    monkeypatch.chdir(tmp_path / "trap")
    x = np.ones((1, 4), "f4")
    assert np.allclose(answer(opened.onnx("models/m.onnx"), x), x @ WEIGHTS, atol=1e-4)


def test_tensors_beside_the_graph_must_be_sealed(onnx, tmp_path, of_folder, monkeypatch):
    folder = external(onnx, tmp_path / "model")
    monkeypatch.chdir(folder)
    content = (folder / "w.data").read_bytes()
    (folder / "w.data").rename(tmp_path / "w.data")
    opened = of_folder(folder)
    (folder / "w.data").write_bytes(content)
    with pytest.raises(FileMissing, match=r"w\.data"):
        opened.onnx("m.onnx")


@pytest.mark.parametrize("location", ["../w.data", "/etc/passwd", "C:\\w", "a\\..\\b", "*/_ORT_MEM_ADDR_/*"])
def test_tensors_are_not_read_from_elsewhere(onnx, tmp_path, of_folder, location):
    model = make(onnx)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location, 0, WEIGHTS.nbytes)
    tensor.ClearField("raw_data")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnsafeArtifact):
        of_folder(tmp_path / "m.onnx").onnx("m.onnx")


def test_too_many_files_beside_a_graph(onnx, tmp_path, of_folder):
    folder = tmp_path / "model"
    folder.mkdir()
    model = make(onnx)
    for index in range(20):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name = f"w{index}"
        onnx.external_data_helper.set_external_data(tensor, f"{index}.data", 0, WEIGHTS.nbytes)
        tensor.ClearField("raw_data")
        (folder / f"{index}.data").write_bytes(WEIGHTS.tobytes())
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnsafeArtifact, match="more than 14 files"):
        of_folder(folder).onnx("m.onnx")


@pytest.mark.parametrize(
    ("domain", "operator"), [("own", "Custom"), ("ai.onnx.contrib", "PyOp"), ("", "NoSuchOperator")]
)
def test_graphs_that_ask_for_more_are_refused(onnx, tmp_path, of_folder, domain, operator):
    node = onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)
    (tmp_path / "m.onnx").write_bytes(make(onnx, nodes=[node]).SerializeToString())
    with pytest.raises(UnsafeArtifact):
        of_folder(tmp_path / "m.onnx").onnx("m.onnx")


def test_what_is_no_graph(onnx, tmp_path, of_folder):
    good = make(onnx).SerializeToString()
    folder = tmp_path / "model"
    folder.mkdir()
    broken = {"cut": good[:-5], "text": b"hello, world", "random": bytes(range(7, 256)), "shape": None}
    nodes = [onnx.helper.make_node("MatMul", ["x", "x", "x", "x"], ["y"])]
    broken["shape"] = make(onnx, nodes=nodes).SerializeToString()
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    opened = of_folder(folder)
    for name in broken:
        with pytest.raises((FileDamaged, UnsafeArtifact)):
            opened.onnx(name)


def test_no_telemetry_is_begun(onnx, tmp_path, of_folder):
    """From 1.31 on, importing ONNX Runtime reports to its maker and writes to the home folder."""
    code = """
import os, sys
import modelward.vault.container.opening as opening
opening.Sealed.onnx
class Fake:
    tree = type("T", (), {"root": ""})()
    paths = ("m",)
    def file(self, name): raise KeyError(name)
try:
    opening.Sealed(Fake(), ()).onnx("m")
except KeyError:
    pass
import onnxruntime
print(os.environ.get("ORT_DISABLE_TELEMETRY"), os.path.exists(os.environ["HOME"] + "/.cache/Microsoft"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == ["1", "False"]


IMPOSSIBLE = [(0, 2**52, 2**52), (1,) * 33, (0, *(2,) * 60), (0, 2**52 + 1, 3)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plain").mkdir()
    return tmp_path / "plain"


@pytest.mark.parametrize("shape", IMPOSSIBLE)
def test_shapes_that_no_array_has(folder, of_folder, shape):
    """They take no bytes, so that they fit; numpy and torch end in a ValueError and a RuntimeError."""
    count = int(np.prod(shape, dtype=object))
    header = f'{{"a":{{"dtype":"U8","shape":{list(shape)},"data_offsets":[0,{count}]}}}}'.encode()
    (folder / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(count))
    write_npy(folder / "a.npy", shape, count)
    opened = of_folder(folder)
    with pytest.raises(SealDamaged, match="shape"):
        opened.numpy("a.safetensors")
    with pytest.raises(SealDamaged, match="shape"):
        opened.torch("a.safetensors")
    with pytest.raises(FileDamaged, match="shape"):
        opened.numpy("a.npy")


@pytest.mark.parametrize("shape", [(-1, -1), (-2, -3), (-1,)])
def test_npy_of_negative_size(folder, of_folder, shape):
    write_npy(folder / "a.npy", shape, max(0, int(np.prod(shape))))
    with pytest.raises(FileDamaged):
        of_folder(folder).numpy("a.npy")


def write_npy(path, shape, count):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(count))


def test_an_npz_that_states_more_than_there_is_memory(folder, of_folder):
    write_npy(folder / "a.npy", (1 << 62,), 10)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.write(folder / "a.npy", "a.npy")
    with pytest.raises(FileDamaged, match=r"is no \.npz"):
        of_folder(folder).numpy("a.npz")
