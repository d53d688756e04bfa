"""A linear rule on two clouds of points, as a function."""

from __future__ import annotations

import numpy as np
import pytest

import modelward
from modelward.vault.container.recipients import generate_identity
from modelward.vault.hazmat import asymmetric
from modelward.verbs.talk import Talk


@pytest.fixture(scope="session")
def points():
    """(60, 3) float64 and labels 0 or 1; the sign of the sum tells them apart."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    return rng.normal(size=(60, 3)) + 2.0 * (2 * y[:, None] - 1), y


@pytest.fixture
def rule():
    """Scores of the two classes; counts the rows it was asked about."""

    def rule(x):
        rule.asked += len(x)
        total = rule.sign * np.asarray(x, dtype=np.float64).sum(axis=1)
        return np.stack([-total, total], axis=1)

    rule.asked = 0
    rule.sign = 1.0
    return rule


@pytest.fixture(scope="session")
def linear(tmp_path_factory):
    """The same rule as an ONNX file."""
    return write_linear(tmp_path_factory.mktemp("linear") / "linear.onnx")


def write_linear(path, weights=((-1.0, 1.0),) * 3, external=None):
    """x W for weights (features, classes), inside the file or in one beside it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.array(weights, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    beside = (
        {} if external is None else {"save_as_external_data": True, "location": external, "size_threshold": 0}
    )
    onnx.save_model(model, path, **beside)
    return path


@pytest.fixture
def onnx_file():
    """Writes a linear model."""
    return write_linear


@pytest.fixture
def options(tmp_path):
    """Two cheap checks, in a store of the test's own."""

    def options(**changes):
        stated = {"checks": ("quality", "evasion.query"), "limit": 5, "norm": ("linf",), "eps": (0.1,)}
        return modelward.AuditOptions(**{**stated, "store": tmp_path / ".modelward", **changes})

    return options


@pytest.fixture(scope="session")
def talk():
    """Somebody who knows the passphrase of every key that `write_key` writes."""
    return Talk(passphrase=lambda: b"correct horse battery staple")


@pytest.fixture(scope="session")
def write_key(talk):
    """Write a pair of signing keys, the private one encrypted; gives both paths."""

    def write(folder, name, algorithm="ed25519"):
        key = asymmetric.generate(algorithm)
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        private.write_bytes(asymmetric.private_pem(key, talk.passphrase()))
        private.chmod(0o600)
        public.write_bytes(asymmetric.public_pem(key))
        return private, public

    return write


@pytest.fixture(scope="session")
def write_identity(talk):
    """Write a recipient's pair of keys, the private one encrypted; gives both paths."""

    def write(folder, name, kind):
        pair = generate_identity(kind, talk.passphrase())
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        private.write_bytes(pair.private)
        private.chmod(0o600)
        public.write_bytes(pair.public)
        return private, public

    return write
