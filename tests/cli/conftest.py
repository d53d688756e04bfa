"""Small real model and data files, built once, and a way to run the command line on copies of them."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from modelward.cli import main; main()")
# File permissions bind root too once these two capabilities are gone (linux/capability.h, linux/prctl.h).
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24

FACTORIES = """
import os
import time
from pathlib import Path

import torch

class Faulty(torch.nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.fault = fault

    def forward(self, x):
        return self.fault(self.layer(x))

def slowly(y):
    if os.environ.get("SLOW"):
        Path("asked").touch()
        time.sleep(float(os.environ["SLOW"]))
    return y

def fail(y):
    raise RuntimeError("the weights are on strike")

def build():
    return Faulty(lambda y: y)

def slow():
    return Faulty(slowly)

def raising():
    return Faulty(fail)

def hanging():
    return Faulty(lambda y: time.sleep(1e6))

def not_a_number():
    return Faulty(lambda y: y * float("nan"))

def wide():
    return torch.nn.Linear(9, 2)

def listing():
    return [1, 2]
"""


class Payload:
    def __reduce__(self):
        return os.system, ("echo no",)


class Local:
    """Its class is on no allow-list, so loading it is not proven harmless."""


def write_onnx(path, weight, bias):
    from onnx import TensorProto, checker, helper, numpy_helper, save

    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, path)


def write_models(folder, x, y):
    import joblib
    import torch
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=5, min_samples_leaf=5, random_state=0).fit(x, y)
    joblib.dump(forest, folder / "forest.joblib")
    # Two clouds on the diagonal are told apart by the sign of the sum.
    weight = np.array([[-1, 1]] * 4, np.float32)
    bias = np.zeros(2, np.float32)
    write_onnx(folder / "linear.onnx", weight, bias)
    weights = {"layer.weight": torch.tensor(weight.T.copy()), "layer.bias": torch.tensor(bias)}
    torch.save(weights, folder / "net.pt")
    (folder / "net.py").write_text(FACTORIES, encoding="utf-8")
    (folder / "inert.pkl").write_bytes(pickle.dumps({"a": [1.5, "b"]}))
    (folder / "payload.pkl").write_bytes(pickle.dumps(Payload()))
    (folder / "unproven.pkl").write_bytes(pickle.dumps(Local()))


def write_data(folder, x, y):
    np.savez(folder / "train.npz", x=x[:150], y=y[:150])
    np.savez(folder / "test.npz", x=x[150:], y=y[150:])
    np.savez(folder / "wide.npz", x=np.ones((20, 7), np.float32), y=np.arange(20) % 2)
    np.savez(folder / "uneven.npz", x=x[:20], y=y[:19])
    np.savez(folder / "unlabelled.npz", x=x[150:])
    rows = ["a,b,c,sex,label"]
    for values, label in zip(x[150:], y[150:], strict=True):
        sex = "fm"[int(values[3] > 0.5)]
        rows.append(",".join([*(f"{v:.4f}" for v in values[:3]), sex, str(label)]))
    (folder / "test.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder of models and data: two clouds of points in four dimensions."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = (rng.normal(size=(300, 4)) + 2.0 * (2 * y[:, None] - 1)).astype(np.float32)
    write_models(folder, x, y)
    write_data(folder, x, y)
    return folder


def _bind_by_permissions():
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


@pytest.fixture
def start(tmp_path):
    """Start the command line in the test's folder, bound by permissions; `largest` bounds file sizes."""

    started = []

    def start(*words, largest=None, **variables):
        def prepare():
            # A shell that runs the tests in its background ignores Ctrl-C, and children inherit that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            _bind_by_permissions()
            if largest is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(tmp_path),
            "COLUMNS": "100",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=prepare,  # noqa: PLW1509 (no other thread runs while a test starts a command)
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def root_folder():
    """The top of the checkout."""
    return ROOT
