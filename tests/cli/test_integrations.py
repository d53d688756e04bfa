"""The hook and the action that other repositories name: they run the commands that exist, with flags that exist."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EVIL = b"cos\nsystem\n(Vid\ntR."


@pytest.fixture
def command(tmp_path):
    """`modelward` where the action installs it, and on the path."""
    folder = tmp_path / "runner" / "modelward" / "bin"
    folder.mkdir(parents=True)
    script = folder / "modelward"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from modelward.cli import main; main()" "$@"\n')
    script.chmod(0o755)
    return folder


def environment(command, **more):
    return {
        "PATH": f"{command}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "RUNNER_TEMP": str(command.parents[1]),
        **more,
    }


def test_the_hook_scans_the_files_that_it_is_given(command, tmp_path):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= set(hook)
    (tmp_path / "good.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "evil.pkl").write_bytes(EVIL)
    for names, code in ((["good.pkl"], 0), (["good.pkl", "evil.pkl"], 1)):
        done = subprocess.run(
            [*hook["entry"].split(), *names],
            cwd=tmp_path,
            env=environment(command),
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stderr


@pytest.mark.parametrize(
    ("path", "code"), [("good", 0), ("good evil", 1), ("$(touch injected)", 2), ("good;touch injected", 2)]
)
def test_the_action_scans_and_writes_sarif(command, tmp_path, path, code):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "scan")
    work = tmp_path / "work"
    for name, content in (("good", pickle.dumps([1])), ("evil", EVIL)):
        (work / name).mkdir(parents=True)
        (work / name / "model.pkl").write_bytes(content)
    given = {
        key: action["inputs"][value.removeprefix("${{ inputs.").removesuffix(" }}")]["default"]
        for key, value in step["env"].items()
    }
    given |= {"SCANNED": path, "GITHUB_OUTPUT": str(tmp_path / "output")}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=work,
        env=environment(command, **given),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert not (work / "injected").exists()
    assert (tmp_path / "output").read_text() == "sarif=modelward.sarif\n"
    if code < 2:
        results = json.loads((work / "modelward.sarif").read_text())["runs"][0]["results"]
        assert bool(results) == bool(code)


def test_every_input_of_the_action_is_used(command):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    text = (ROOT / "action.yml").read_text()
    assert all(f"inputs.{name} }}}}" in text for name in action["inputs"])
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
