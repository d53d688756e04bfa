from __future__ import annotations

import pickle
import stat
import tomllib

import numpy as np
import pytest

import modelward
from modelward.core.policy import BASELINE
from modelward.errors import ConfigInvalid, FileMissing, OutputUnwritable
from modelward.verbs.config import read_config
from modelward.verbs.init import init
from modelward.verbs.options import AuditOptions


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([1, 2]))
    np.savez(tmp_path / "a_train.npz", x=np.ones((2, 2)), y=[0, 1])
    np.savez(tmp_path / "test.npz", x=np.ones((2, 2)), y=[0, 1])
    (tmp_path / "notes.md").write_text("# notes", encoding="utf-8")
    (tmp_path / ".hidden.npz").write_bytes((tmp_path / "test.npz").read_bytes())
    return tmp_path


def test_files_are_recognised_by_content(folder):
    (folder / "model.pkl").rename(folder / "model.onnx")
    path, found = init(folder)
    assert path == folder / "modelward.toml"
    assert found == ["model.onnx (pickle)", "test.npz (npz)", "a_train.npz (npz)"]


def test_held_out_data_is_preferred(folder):
    path, _ = init(folder)
    plan = read_config(path)
    assert plan.model == folder / "model.pkl"
    assert plan.data == str(folder / "test.npz")


def test_the_defaults_written_down_are_the_defaults(folder):
    """Every commented value, uncommented, is what an empty file means; the policy is the baseline."""
    path, _ = init(folder)
    plan = read_config(path)
    stated = plan.options
    assert (stated.policy.max_severity, stated.policy.required_checks) == (
        BASELINE.max_severity,
        BASELINE.required_checks,
    )
    plain = AuditOptions()
    section = (
        path.read_text(encoding="utf-8").partition("[audit]")[2].partition("\n#\n")[0].partition("\n\n")[0]
    )
    shown = tomllib.loads(
        "\n".join(line.removeprefix("# ") for line in section.splitlines() if line.startswith("# "))
    )
    assert tuple(shown["norm"]) == plain.norm
    assert tuple(shown["checks"]) == plain.checks
    assert tuple(shown["eps"]) == plain.eps
    assert (shown["limit"], shown["seed"]) == (plain.limit, plain.seed)


def test_an_empty_folder_gets_a_template(tmp_path):
    path, found = init(tmp_path)
    assert found == []
    plan = read_config(path)
    assert (plan.model, plan.data) == (None, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_names_are_quoted(tmp_path):
    name = 'we"ird\\.npz'
    np.savez(tmp_path / "x.npz", x=np.ones((2, 2)), y=[0, 1])
    (tmp_path / "x.npz").rename(tmp_path / name)
    path, _ = init(tmp_path)
    assert read_config(path).data == str(tmp_path / name)


def test_an_existing_file_is_kept(folder):
    init(folder)
    (folder / "modelward.toml").write_text("# mine\n", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="is there already"):
        modelward.init(folder)
    assert (folder / "modelward.toml").read_text(encoding="utf-8") == "# mine\n"
    modelward.init(folder, overwrite=True)
    assert "[policy]" in (folder / "modelward.toml").read_text(encoding="utf-8")


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(FileMissing, match="is not a folder"):
        init(tmp_path / "nowhere")
    (tmp_path / "modelward.toml").mkdir()
    with pytest.raises((OutputUnwritable, ConfigInvalid)):
        init(tmp_path, overwrite=True)
