"""Formats are recognised by content, whatever the file is called."""

import gzip
import io
import json
import pickle
import struct
import zipfile

import pytest

from modelward.artifact.sniff import compression, sniff
from modelward.errors import FileDamaged


def archive(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def safetensors(header=b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'):
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


LEGACY = b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + b"\x80\x02M\xe9\x03."
KNOWN = {
    "torch-zip": archive("m/data.pkl", "m/data/0"),
    "torchscript": archive("m/data.pkl", "m/code/x.py", "m/constants.pkl"),
    "torch-legacy": LEGACY,
    "npz": archive("a.npy", "b.npy"),
    "skops": archive("schema.json", "1.npy"),
    "zip": archive("readme.txt"),
    "npy": b"\x93NUMPY\x01\x00v\x00{",
    "safetensors": safetensors(),
    "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 90,
    "parquet": b"PAR1" + b"\0" * 20 + b"PAR1",
    "lightgbm": b"tree\nversion=v4\nnum_class=1\n",
    "xgboost-json": b'{"learner":{"attributes":{}},"version":[3,0,0]}',
    "catboost-json": b'{"features_info":{},"oblivious_trees":[],"scale_and_bias":[1,[0]]}',
    "json": b'[1, 2, {"a": null}]',
    "csv": b"a,b,c\n1,2,3\n4,5,6\n",
    "csv-compressed": gzip.compress(b"a;b\n1;2\n3;4\n"),
    "joblib-compressed": gzip.compress(b"\x80\x04}."),
    "compressed": gzip.compress(b"neither a table nor a model"),
    "unknown": b"\x00\x01\x02\x03 nothing known",
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_content(name):
    found = sniff(KNOWN[name])
    assert found.format == name
    assert found.reason


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        70_000,
        -5,
        2**90,
        1.5,
        "a",
        "text, with commas",
        b"ab",
        (),
        [],
        {},
        {"a": [1, (2, 3)]},
        {1, 2},
        [[[]]],
        ("a", 1),
    ],
)
def test_pickles_of_every_protocol(value, protocol):
    assert sniff(pickle.dumps(value, protocol)).format == "pickle"


@pytest.mark.parametrize(
    "text",
    [
        b"a,b\n1,2\n",
        b"cost,price\n1.5,2\n",
        b"I,S,V\n1,2,3\n",
        b"(a),b\n1,2\n",
        b'name;"x;y"\n1;2\n',
        b"col\tother\n1\t2\n",
    ],
)
def test_tables_are_not_taken_for_pickles(text):
    assert sniff(text).format == "csv"


@pytest.mark.parametrize("text", [
    b"import os\nos.system('id')\n", b"import subprocess\nsubprocess.run(['id'])\n", b"class A:\n    os.system\n", b"import os\nos.system\n", b"config: x\nos.system: y\n",
])  # fmt: skip
def test_source_is_not_taken_for_a_pickle(text):
    assert sniff(text).format == "text"


@pytest.mark.parametrize("text", [b"cos\nsystem\n(S'id'\ntR", b"N0cos\nsystem\n", b"(S'id'\nios\nsystem\nxx"])
def test_a_payload_before_a_broken_end_is_a_pickle(text):
    assert sniff(text).format == "pickle"


def test_real_files_of_the_libraries(tmp_path):
    np = pytest.importorskip("numpy")
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    X = np.random.default_rng(0).random((40, 3))
    y = (X[:, 0] > 0.5).astype(int)
    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, y)
    for suffix in ("json", "ubj"):
        model.save_model(tmp_path / f"m.{suffix}")
        assert sniff((tmp_path / f"m.{suffix}").read_bytes()).format == f"xgboost-{suffix}"
    lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, y).booster_.save_model(
        tmp_path / "m.txt"
    )
    assert sniff((tmp_path / "m.txt").read_bytes()).format == "lightgbm"


def test_onnx():
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [1])], [value("y", 1, [1])])
    data = onnx.helper.make_model(graph).SerializeToString()
    assert sniff(data).format == "onnx"
    with pytest.raises(FileDamaged, match="truncated"):
        sniff(data[:-8])


@pytest.mark.parametrize(
    "data", [b"", safetensors()[:30], b"PAR1aaaaaaaaaaaaaa", archive("m/data.pkl")[:-30]]
)
def test_empty_and_truncated(data):
    with pytest.raises(FileDamaged):
        sniff(data)


def test_compressions_by_magic_number():
    assert compression(b"\x1f\x8b\x08") == "gzip"
    assert compression(b"x\x9c") == "zlib"
    assert compression(b"x\x9d") is None
    assert compression(b"\x04\x22\x4d\x18") == "lz4"
    assert compression(json.dumps({}).encode()) is None
