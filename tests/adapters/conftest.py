"""Real model files of every kind, made once from one small table and one small set of images."""

import pickle
from pathlib import Path

import numpy as np
import pytest

FACTORY = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def one_logit():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 1))


def wrong():
    return nn.Linear(3, 3)


def no_module():
    return 3


def needs(x):
    return x


def raises():
    raise ValueError("out of order")
"""


@pytest.fixture(scope="session")
def table():
    """(x, y): 120 rows of four features; the first decides, with a little noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float64)
    y = (x[:, 0] + 0.1 * rng.normal(size=120) > 0).astype(np.int64)
    return x, y


@pytest.fixture(scope="session")
def files(tmp_path_factory, table):
    """Folder with csv, npz, weights, ONNX and tree models."""
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("models")
    x, y = table
    names = ["a", "b", "c", "d"]
    lines = [",".join([*names, "label"])] + [
        ",".join(map(str, [*row, "yes" if t else "no"])) for row, t in zip(x, y, strict=True)
    ]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    np.savez(folder / "table.npz", x=x, y=y)
    rng = np.random.default_rng(1)
    np.savez(folder / "images.npz", x=rng.random((30, 1, 4, 4), dtype=np.float32), y=np.arange(30) % 3)
    (folder / "factory_module.py").write_text(FACTORY)
    (folder / "factory_broken.py").write_text("def build(:\n")
    _trees(folder, x, y, joblib)
    _torch(folder)
    return folder


def _trees(folder, x, y, joblib):
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    words = np.where(y == 1, "yes", "no")
    forest = RandomForestClassifier(8, random_state=0).fit(x, words)
    joblib.dump(forest, folder / "forest.joblib")
    joblib.dump(forest, folder / "forest.joblib.z", compress=3)
    (folder / "forest.pkl").write_bytes(pickle.dumps(forest))
    joblib.dump(LinearSVC(random_state=0).fit(x, y), folder / "margin.joblib")
    frame = pd.DataFrame(x, columns=["d", "c", "b", "a"])  # another order than the file's columns
    joblib.dump(LogisticRegression().fit(frame, words), folder / "named.joblib")
    joblib.dump({"no": "model"}, folder / "dict.joblib")


def _torch(folder):
    torch = pytest.importorskip("torch")
    import importlib.util

    spec = importlib.util.spec_from_file_location("factory_module_for_tests", folder / "factory_module.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.save(module.build().state_dict(), folder / "net.pt")
    torch.save(module.one_logit().state_dict(), folder / "logit.pt")
    torch.save(module.build(), folder / "whole_module.pt")
    try:
        from safetensors.torch import save_file
    except ImportError:
        return
    save_file(module.build().state_dict(), folder / "net.safetensors")


@pytest.fixture(scope="session")
def payload(tmp_path_factory):
    """A pickle that would create a file; it is never loaded."""
    folder = tmp_path_factory.mktemp("payload")
    canary = folder / "canary"
    path = folder / "evil.pkl"
    path.write_bytes(b"cos\nsystem\n(V" + f"touch {canary}".encode() + b"\ntR.")
    return path, Path(canary)
