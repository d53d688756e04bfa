"""What works where an extra is not installed, and what is said about the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import modelward
from modelward.adapters.onnx_import import importer
from modelward.errors import ExtraMissing

onnx = pytest.importorskip("onnx", reason="an ONNX file is written with the library onnx")


@pytest.fixture
def path(tmp_path):
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [None, 2])],
        [onnx.numpy_helper.from_array(np.array([[-1, 1]] * 3, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "linear.onnx")
    return tmp_path / "linear.onnx"


def test_an_onnx_model_is_audited_by_queries_without_torch(path, points, options, monkeypatch):
    def absent(*_arguments, **_options):
        raise ExtraMissing("torch", "torch")

    monkeypatch.setattr(importer, "import_onnx", absent)
    x, y = points
    result = modelward.audit(path, (x.astype(np.float32), y), options(checks=("quality", "evasion")))
    by_queries = {"evasion.query", "evasion.corruption", "evasion.cost"}
    assert {outcome.check for outcome in result.checks} == {"quality", *by_queries}
    reasons = {s.check: s.reason for s in result.skipped if s.reason != "left out by --checks"}
    assert "0 tree ensembles" in reasons.pop("evasion.trees")
    for check, word in (("smoothing", "L2"), ("text", "text"), ("profiles", "recommender")):
        assert word.lower() in reasons.pop(f"evasion.{check}").lower(), check
    assert set(reasons) == {"evasion.gradient", "evasion.certified"}
    assert all("torch is not installed" in reason for reason in reasons.values())


BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from modelward.cli import main
main()
"""


def test_the_command_line_audits_an_onnx_model_where_torch_cannot_be_imported(path, points, tmp_path):
    """In a process of its own, where no import of torch can succeed, whichever module asks for it."""
    x, y = points
    np.savez(tmp_path / "test.npz", x=x.astype(np.float32), y=y)
    words = f"{path} --data {tmp_path / 'test.npz'} --store {tmp_path / 'store'} --limit 6 --preset quick"
    done = subprocess.run(  # our own program
        [sys.executable, "-c", BARE, "audit", *words.split(), "--norm", "linf", "--eps", "0.1"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}, done.stderr
    assert "torch is not installed" in done.stdout
    assert "Robust accuracy" in done.stdout


def test_gradients_are_not_prepared_where_no_check_wants_them(path, points, options, monkeypatch):
    def surprised(*_arguments, **_options):
        raise AssertionError("the graph was imported")

    monkeypatch.setattr(importer, "import_onnx", surprised)
    x, y = points
    result = modelward.audit(path, (x.astype(np.float32), y), options(checks=("quality",)))
    assert result.complete
