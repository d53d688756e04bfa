"""What was inspected is what is loaded."""

import os
import pickle
import shutil

import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.examine import examine
from modelward.adapters.opening import ModelOptions, open_file
from modelward.adapters.runtime import RuntimeSpec
from modelward.adapters.runtimes.sklearn_file import load
from modelward.core.digest import file_digest
from modelward.errors import FileDamaged, FileMissing, UnsafeArtifact


@pytest.mark.parametrize("name", ["forest.joblib", "forest.pkl", "net.pt"])
def test_the_digest_is_that_of_the_file(files, name):
    found = examine(files / name)
    assert found.digest == found.whole == file_digest(files / name)
    assert found.beside == ()
    found.require_unchanged(files / name)


def test_a_file_that_changed_is_refused(files, tmp_path):
    path = shutil.copy(files / "net.pt", tmp_path / "net.pt")
    found = examine(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(FileDamaged, match="changed while"):
        found.require_unchanged(path)


@pytest.mark.parametrize("name", ["forest.joblib", "forest.joblib.z", "forest.pkl"])
def test_a_pickle_put_in_place_of_the_inspected_one_is_never_loaded(files, payload, tmp_path, name):
    evil, canary = payload
    path = shutil.copy(files / name, tmp_path / "model")
    found = examine(path)
    shutil.copy(evil, path)
    spec = RuntimeSpec(path=str(path), format=found.report.format, digest=found.digest)
    with pytest.raises(UnsafeArtifact, match="is not the file that was inspected"):
        load(spec)
    assert not canary.exists()


def test_the_exchange_is_refused_from_the_sandbox_too(files, tmp_path):
    path = shutil.copy(files / "forest.pkl", tmp_path / "model")
    found = examine(path)
    path.write_bytes(pickle.dumps({"another": "file"}))
    samples = open_data(files / "table.npz", DataOptions())
    with pytest.raises(UnsafeArtifact, match="is not the file that was inspected"):
        open_file(path, found, samples, None, ModelOptions())


def test_a_folder_a_pipe_and_nothing(tmp_path):
    with pytest.raises(FileMissing, match="is a folder"):
        examine(tmp_path)
    with pytest.raises(FileMissing, match="there is no such file"):
        examine(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileMissing, match="is not a regular file"):
        examine(tmp_path / "pipe")
