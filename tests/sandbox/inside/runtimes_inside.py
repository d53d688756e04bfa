"""Entry points that load real models inside the sandbox; each answers `predict(array) -> array`."""

import pickle


def _methods(predict):
    import numpy as np

    from modelward.sandbox import RawArray

    def call(raw):
        x = np.frombuffer(raw.data, dtype=raw.dtype).reshape(raw.shape)
        y = np.ascontiguousarray(predict(x))
        return RawArray(y.dtype.str, y.shape, y.tobytes())

    return {"predict": call}


def numpy_matrix(paths):
    import numpy as np

    weights = np.load(paths[0])
    return _methods(lambda x: np.linalg.qr(x @ weights)[1])


def sklearn_pickle(paths):
    with paths[0].open("rb") as file:
        model = pickle.load(file)
    return _methods(model.predict_proba)


def any_pickle(paths):
    with paths[0].open("rb") as file:
        value = pickle.load(file)
    return {"value": lambda: repr(value)}


def onnx_session(paths):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2  # threads must work under the lock
    session = onnxruntime.InferenceSession(str(paths[0]), options, providers=["CPUExecutionProvider"])
    return _methods(lambda x: session.run(None, {"x": x})[0])


def lightgbm_text(paths):
    import lightgbm

    booster = lightgbm.Booster(model_file=str(paths[0]))
    return _methods(booster.predict)


def xgboost_json(paths):
    import xgboost

    booster = xgboost.Booster(model_file=str(paths[0]))
    return _methods(lambda x: booster.predict(xgboost.DMatrix(x)))


def torch_state(paths):
    import torch

    layer = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    layer.load_state_dict(torch.load(paths[0], weights_only=True))
    torch.set_num_threads(2)
    return _methods(lambda x: layer(torch.from_numpy(x.copy())).detach().numpy())
