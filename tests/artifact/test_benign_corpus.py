"""Real artifacts of real libraries, written anew in each run: none is dangerous, and none is merely unproven.

The benchmark's corpus is larger; this is the part that the tests' own libraries can write.
"""

import collections
import io
import json
import os
import pickle
import warnings

import pytest

from modelward.artifact.verdict import inspect

np = pytest.importorskip("numpy", reason="all of these libraries stand on numpy")
WRITERS = {}


def writes(file, *libraries):
    """Register a writer of one artifact; it is skipped, with the reason, where a library is missing."""

    def register(writer):
        WRITERS[writer.__name__.replace("_", " ")] = (file, libraries, writer)
        return writer

    return register


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(0).uniform(0.1, 2, size=(60, 4))
    return x, (x.sum(1) > 4).astype(int)


def clean(report):
    return report.verdict in {"inert", None} and not [
        f for f in report.findings if f.severity in {"critical", "medium"}
    ]


@writes("weights.npy")
def numpy_array(path, rows):
    np.save(path, rows[0])


@writes("labels.npy")
def numpy_objects(path, rows):
    np.save(path, np.array([{"a": 1}, None, "x"], dtype=object), allow_pickle=True)


@writes("weights.npz")
def numpy_npz_with_objects(path, rows):
    np.savez_compressed(path, a=rows[0], b=np.array([[1, 2], "x"], dtype=object))


@writes("data.pkl")
def plain_pickle_of_protocol_0(path, rows):
    path.write_bytes(pickle.dumps({"a": collections.Counter("aab"), "x": rows[0]}, 0))


@writes("data.pkl")
def pickle_of_the_pure_python_pickler(path, rows):
    path.write_bytes(pickle._dumps({"a": collections.OrderedDict(b=1), "x": rows[0]}, 4))


@writes("frame.pkl", "pandas")
def pandas_frame(path, rows):
    import pandas as pd

    pd.DataFrame(
        {
            "a": rows[0][:, 0],
            "b": pd.Categorical(list("xy") * 30),
            "c": pd.date_range("2024-01-01", periods=60),
        }
    ).to_pickle(path)


@writes("frame.parquet", "pandas", "pyarrow")
def pandas_parquet(path, rows):
    import pandas as pd

    pd.DataFrame({"a": rows[0][:, 0]}).to_parquet(path)


@writes("model.pt", "torch")
def torch_state_dict(path, rows):
    import torch

    torch.save(torch.nn.Linear(4, 2).state_dict(), path)


@writes("model.pth", "torch")
def torch_legacy_checkpoint(path, rows):
    import torch

    net = torch.nn.Linear(4, 2)
    torch.save(
        {"net": net.state_dict(), "adam": torch.optim.Adam(net.parameters()).state_dict()},
        path,
        _use_new_zipfile_serialization=False,
    )


@writes("model.pt", "torch")
def torch_whole_module(path, rows):
    import torch

    torch.save(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.GELU()), path)


@writes("model.pt", "torch")
def torchscript(path, rows):
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())), str(path))


@writes("model.pt2", "torch")
def torch_exported_program(path, rows):
    import torch

    torch.export.save(torch.export.export(torch.nn.Linear(4, 2), (torch.zeros(1, 4),)), str(path))


@writes("model.safetensors", "safetensors")
def safetensors(path, rows):
    from safetensors.numpy import save_file

    save_file({"a": rows[0], "b": rows[0][:0].copy()}, path, {"format": "np"})


@writes("model.json", "xgboost")
def xgboost_json(path, rows):
    import xgboost

    xgboost.XGBClassifier(n_estimators=2).fit(*rows).save_model(path)


@writes("model.ubj", "xgboost")
def xgboost_ubj(path, rows):
    import xgboost

    xgboost.XGBClassifier(n_estimators=2).fit(*rows).save_model(path)


@writes("model.pkl", "xgboost")
def xgboost_pickle(path, rows):
    import xgboost

    path.write_bytes(pickle.dumps(xgboost.XGBRegressor(n_estimators=2).fit(*rows)))


@writes("model.txt", "lightgbm")
def lightgbm_text(path, rows):
    import lightgbm

    lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(*rows).booster_.save_model(path)


@writes("model.cbm", "catboost")
def catboost_cbm(path, rows):
    import catboost

    catboost.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(*rows).save_model(
        str(path)
    )


@writes("model.onnx", "skl2onnx", "sklearn")
def onnx_by_skl2onnx(path, rows):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = rows[0].astype("f4")
    path.write_bytes(to_onnx(LogisticRegression().fit(x, rows[1]), x).SerializeToString())


@writes("model.skops", "skops", "sklearn")
def skops_pipeline(path, rows):
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(*rows), path)


@writes("weights.h5", "h5py")
def h5py_file(path, rows):
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("a/kernel", data=rows[0], compression="gzip", chunks=True)
        file["soft"] = h5py.SoftLink("/a/kernel")


@writes("model.gguf", "gguf")
def gguf_file(path, rows):
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_token_list(["<s>", "a"])
    writer.add_chat_template(
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] | trim }}{% endfor %}"
    )
    writer.add_tensor("w", rows[0].astype("f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@writes("params.msgpack", "msgpack")
def msgpack_parameters(path, rows):
    import msgpack

    path.write_bytes(msgpack.packb({"dense": {"kernel": rows[0].tobytes(), "shape": [60, 4]}}))


@writes("data.pkl", "dill")
def dill_of_plain_values(path, rows):
    import dill

    path.write_bytes(dill.dumps({"x": rows[0], "names": ["a"]}))


@writes("data.pkl", "cloudpickle")
def cloudpickle_of_plain_values(path, rows):
    import cloudpickle

    path.write_bytes(cloudpickle.dumps({"x": rows[0], "names": ["a"]}))


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_a_library_writes_is_clean(name, rows, tmp_path):
    file, libraries, writer = WRITERS[name]
    for library in libraries:
        pytest.importorskip(library, reason=f"{library} writes this artifact")
    path = tmp_path / file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer(path, rows)
    report = inspect(path)
    assert clean(report), (report.format, report.verdict, [finding.message for finding in report.findings])


@pytest.mark.parametrize("codec", [None, "zlib", "gzip", "bz2", "xz", "lzma", "lz4"])
def test_joblib_in_every_codec_is_inert(codec, rows, tmp_path):
    joblib = pytest.importorskip("joblib", reason="joblib writes this artifact")
    if codec == "lz4":
        pytest.importorskip("lz4", reason="joblib needs it for this codec")
    path = tmp_path / "data.joblib"
    joblib.dump(
        {"x": rows[0], "objects": np.array(["a", None], dtype=object)},
        path,
        compress=(codec, 3) if codec else 0,
    )
    assert inspect(path).verdict == "inert"


@pytest.mark.parametrize("file", ["model.keras", "model.h5", "model.weights.h5"])
def test_keras_is_clean(file, tmp_path):
    keras = _keras()
    layers = keras.layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = keras.Sequential(
            [
                layers.Input((8, 1)),
                layers.Conv1D(2, 3, activation="relu"),
                layers.LSTM(3),
                layers.Dropout(0.1),
                layers.Dense(1),
            ]
        )
        path = tmp_path / file
        if file.endswith(".weights.h5"):
            made.save_weights(path)
        else:
            made.save(path)
    report = inspect(path)
    assert clean(report), [finding.message for finding in report.findings]


def _keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="keras writes these artifacts", exc_type=ImportError)


def test_a_hub_folder_is_clean(tmp_path):
    files = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 32,
            "torch_dtype": "float16",
        },
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2},
        "tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer",
            "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        },
        "model.safetensors.index.json": {
            "metadata": {"total_size": 4},
            "weight_map": {"w": "model-00001-of-00001.safetensors"},
        },
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
        report = inspect(tmp_path / name)
        assert clean(report), (name, [finding.message for finding in report.findings])


def test_several_pickles_in_one_file_are_inert(tmp_path):
    out = io.BytesIO()
    for epoch in range(3):
        pickle.dump({"epoch": epoch}, out)
    (tmp_path / "history.pkl").write_bytes(out.getvalue())
    assert inspect(tmp_path / "history.pkl").verdict == "inert"
