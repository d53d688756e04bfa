import numpy as np
import pytest

from modelward.artifact.verdict import inspect

NUMBERS = np.random.default_rng(0).normal(size=4096).astype("<f4").tobytes()
NET = b'<?xml version="1.0"?>\n<net name="n" version="11"><layers></layers><edges></edges></net>\n'


@pytest.mark.parametrize(
    ("name", "partner", "content"),
    [("model.bin", "model.xml", NET), ("model.onnx.data", "model.onnx", None), ("w.data", "w.onnx", None)],
)
def test_numbers_that_a_graph_beside_them_describes(tmp_path, name, partner, content):
    (tmp_path / name).write_bytes(NUMBERS)
    assert inspect(tmp_path / name).verdict == "unproven"
    if content is None:
        onnx = pytest.importorskip("onnx")
        graph = onnx.helper.make_graph([], "g", [], [])
        content = onnx.helper.make_model(graph).SerializeToString()
    (tmp_path / partner).write_bytes(content)
    report = inspect(tmp_path / name)
    assert (report.format, report.verdict) == ("raw-numbers", None)
    (tmp_path / partner).write_bytes(b"")
    assert inspect(tmp_path / name).verdict == "unproven"
    (tmp_path / partner).write_bytes(b"something else\n")
    assert inspect(tmp_path / name).verdict == "unproven"


@pytest.mark.parametrize(("named", "verdict"), [(b"odd name.weights", None), (b"other", "unproven")])
def test_numbers_that_the_usual_graph_names(tmp_path, named, verdict):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4096], data_location=1)
    tensor.external_data.add(key="location", value=named.decode())
    graph = onnx.helper.make_graph([], "g", [], [], initializer=[tensor])
    (tmp_path / "model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "odd name.weights").write_bytes(NUMBERS)
    assert inspect(tmp_path / "odd name.weights").verdict == verdict


def test_a_name_alone_is_no_proof_and_a_pickle_stays_one(tmp_path):
    (tmp_path / "model.xml").write_bytes(NET)
    (tmp_path / "model.bin").write_bytes(b"cos\nsystem\n(Vid\ntR.")
    assert inspect(tmp_path / "model.bin").verdict == "dangerous"
    (tmp_path / "other.bin").write_bytes(NUMBERS)
    assert inspect(tmp_path / "other.bin").verdict == "unproven"


def test_records_of_tensorflow_are_data():
    # Known answer: the CRC-32C of "123456789" is 0xE3069283 (catalogue of parametrised CRC algorithms, CRC-32/ISCSI).
    from modelward.artifact.verdict import inspect_bytes

    def masked(block):
        crc = 0xFFFFFFFF
        for byte in block:
            crc ^= byte
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")

    assert masked(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(
        4, "little"
    )
    length = (3).to_bytes(8, "little")
    record = length + masked(length) + b"abc" + masked(b"abc")
    report = inspect_bytes(record * 2, "train.tfrecord")
    assert (report.format, report.verdict) == ("tfrecord", None)
    damaged = bytes([record[0] ^ 1]) + record[1:]
    assert inspect_bytes(damaged, "train.tfrecord").verdict == "unproven"


def test_compiled_python_is_no_model(tmp_path):
    import py_compile

    (tmp_path / "m.py").write_text("x = 1\n")
    path = py_compile.compile(str(tmp_path / "m.py"), cfile=str(tmp_path / "m.pyc"))
    report = inspect(path)
    assert (report.format, report.verdict) == ("python-bytecode", None)


def test_matrices_of_old_releases_are_arrays():
    from modelward.artifact.verdict import inspect_bytes

    stream = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy.matrixlib.defmatrix\nmatrix\n(I0\ntS'b'\ntR."
    assert inspect_bytes(stream, "m.pkl").verdict == "inert"
    assert inspect_bytes(stream.replace(b"\nmatrix\n", b"\nmatrix2\n"), "m.pkl").verdict == "unproven"
