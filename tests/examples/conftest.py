"""The example models, trained once, and the example scripts as modules."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDED = ("torch", "safetensors", "onnx", "sklearn", "skops", "joblib", "xgboost", "lightgbm", "pandas")


def pytest_collection_modifyitems(items):
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        mark = pytest.mark.skip(reason=f"the examples need {', '.join(absent)}")
        for item in items:
            if Path(item.path).parent == Path(__file__).parent:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def train():
    """Run train.py of several examples at the same time, as a user would, with warnings as errors."""

    def run(folders: Sequence[str], out: Path) -> None:
        running = [
            subprocess.Popen(
                [sys.executable, "-W", "error", EXAMPLES / folder / "train.py", "--out", out / folder],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for folder in folders
        ]
        assert [process.wait(timeout=300) for process in running] == [0] * len(running)

    return run


@pytest.fixture(scope="session")
def trained(train, tmp_path_factory):
    """The folder that all examples were trained into."""
    out = tmp_path_factory.mktemp("demo")
    train(("medical", "images", "fraud", "text", "recommender"), out)
    return out


@pytest.fixture(scope="session")
def retrained(train, tmp_path_factory):
    """A second training of those that take seconds."""
    out = tmp_path_factory.mktemp("again")
    train(("medical", "fraud", "text", "recommender"), out)
    return out


@pytest.fixture
def script(monkeypatch):
    """Import a script of an example; what it imported from its own folder is forgotten afterwards."""
    known = set(sys.modules)

    def load(path: str):
        file = EXAMPLES / path
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in set(sys.modules) - known:
        source = getattr(sys.modules[name], "__file__", None)
        if source is not None and Path(source).is_relative_to(EXAMPLES):
            del sys.modules[name]
