"""Inference of the runtimes that modelward serves works under the lock, and gives the same numbers."""

import contextlib
import pickle

import numpy as np
import pytest

from modelward import errors
from modelward.sandbox import RawArray, Sandbox

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)


def predict(entry, path, x, *preload):
    with Sandbox.start(f"runtimes_inside:{entry}", readable=[path], preload=preload) as box:
        raw = box.call("predict", RawArray(x.dtype.str, x.shape, x.tobytes()))
        return np.frombuffer(raw.data, dtype=raw.dtype).reshape(raw.shape)


def test_numpy_linear_algebra(tmp_path):
    weights = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "w.npy", weights)
    got = predict("numpy_matrix", tmp_path / "w.npy", X, "numpy")
    np.testing.assert_allclose(got, np.linalg.qr(X @ weights)[1], rtol=1e-6)


@pytest.mark.parametrize("preload", [("sklearn.ensemble",), ("numpy",)], ids=["preloaded", "imported-locked"])
def test_sklearn_forest(tmp_path, preload):
    ensemble = pytest.importorskip("sklearn.ensemble")
    model = ensemble.RandomForestClassifier(20, random_state=0, n_jobs=2).fit(X, LABELS)
    path = tmp_path / "forest.pkl"
    path.write_bytes(pickle.dumps(model))
    np.testing.assert_array_equal(predict("sklearn_pickle", path, X, *preload), model.predict_proba(X))


TOUCH = "'touch', '{marker}'"


@pytest.mark.parametrize(
    ("payload", "inside", "outside"),
    [
        ("__import__('os').system('touch {marker}')", None, None),
        ("open('{marker}', 'w').close()", "PermissionError", None),
        (f"__import__('subprocess').check_call([{TOUCH}])", "PermissionError", None),
        ("__import__('socket').create_connection(('127.0.0.1', 9))", "PermissionError", ConnectionError),
    ],
    ids=["shell", "write", "process", "network"],
)
def test_a_hostile_pickle_is_contained(tmp_path, payload, inside, outside):
    marker = tmp_path / "marker"
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Payload(payload.format(marker=marker))))
    with contained(inside), Sandbox.start("runtimes_inside:any_pickle", readable=[path]) as box:
        assert box.call("value") != "0"  # the status of os.system, which could start nothing
    assert not marker.exists()

    # the control: the same pickle does what it says where nothing contains it
    with pytest.raises(outside) if outside else contextlib.nullcontext():
        pickle.loads(path.read_bytes())
    assert marker.exists() is (outside is None)


def contained(outcome):
    return pytest.raises(errors.SandboxFault, match=outcome) if outcome else contextlib.nullcontext()


class Payload:
    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


def test_onnxruntime_session(tmp_path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones((4, 3), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(model.SerializeToString())
    want = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]
    np.testing.assert_array_equal(predict("onnx_session", path, X, "numpy", "onnxruntime"), want)


def test_lightgbm_booster(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    parameters = {"objective": "binary", "min_data_in_leaf": 2, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(X, LABELS), 10)
    path = tmp_path / "model.txt"
    booster.save_model(path)
    np.testing.assert_array_equal(predict("lightgbm_text", path, X, "lightgbm"), booster.predict(X))


def test_xgboost_booster(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(X, LABELS), 10)
    path = tmp_path / "model.json"
    booster.save_model(path)
    want = booster.predict(xgboost.DMatrix(X))
    np.testing.assert_array_equal(predict("xgboost_json", path, X, "xgboost"), want)


def test_torch_module(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    path = tmp_path / "state.pt"
    torch.save(layer.state_dict(), path)
    want = layer(torch.from_numpy(X)).detach().numpy()
    got = predict("torch_state", path, X, "torch")
    np.testing.assert_allclose(got, want, atol=1e-6)
