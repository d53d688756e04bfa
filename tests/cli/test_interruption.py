"""An audit that is killed continues; one that is interrupted reports what it has."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest

from modelward.errors import LedgerError
from modelward.ledger.store import Ledger, find_all

WORDS = ("audit", "net.pt", "--factory", "net:slow", "--data", "test.npz", "--norm", "linf", "--eps", "0.5")
CHOICE = (*WORDS, "--limit", "10", "--checks", "artifact,quality,evasion.gradient")
PATIENCE = 60.0


def records(folder):
    """What is in the store by now; nothing while it is being made."""
    try:
        ledger = Ledger.open_read_only(folder / ".modelward")
    except (LedgerError, OSError):
        return []
    try:
        return list(ledger.records())
    finally:
        ledger.close()


def wait_for(process, condition):
    """Wait until something is true of the running audit."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def checks(folder):
    return [record["check"] for record in find_all(records(folder), kind="check")]


@pytest.fixture
def folder(files, tmp_path):
    for name in ("net.pt", "net.py", "test.npz"):
        shutil.copy(files / name, tmp_path)
    return tmp_path


def begin(start, folder):
    """An audit whose network takes half a second an answer, in the middle of its attack."""
    process = start(*CHOICE, SLOW="0.5")
    wait_for(process, lambda: (folder / ".modelward" / "ledger.db").exists() and "quality" in checks(folder))
    (folder / "asked").unlink(missing_ok=True)
    wait_for(process, (folder / "asked").exists)
    return process


def test_a_killed_audit_continues_and_repeats_no_finished_check(start, folder):
    process = begin(start, folder)
    process.kill()
    process.communicate()
    done = checks(folder)
    assert process.returncode == -signal.SIGKILL
    assert "quality" in done
    assert "evasion.gradient" not in done
    assert find_all(records(folder), kind="decision") == []

    again = start(*CHOICE, "--format", "json", "--output", "report.json")
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode in {0, 1}, err
    assert sorted(checks(folder)) == ["artifact.pickle", "evasion.gradient", "quality"]
    assert len(find_all(records(folder), kind="run")) == 1
    found = json.loads((folder / "report.json").read_text())
    assert found["complete"] is True
    assert {"accuracy", "robust-accuracy"} <= {claim["id"] for claim in found["claims"]}


def test_control_c_leaves_a_partial_report(start, folder):
    process = begin(start, folder)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "Accuracy" in out
    assert "ledger head" in out
    decision = find_all(records(folder), kind="decision")[-1]["result"]
    assert decision["complete"] is False
    assert [check["state"] for check in decision["checks"]] == ["finished", "finished", "interrupted"]
    assert decision["verdict"]["outcome"] == "unknown"

    again = start("report")
    shown, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 1, err
    assert "interrupted" in shown


def test_control_c_before_anything_was_measured_says_so(start, folder):
    process = start(*CHOICE, SLOW="30")
    wait_for(process, (folder / "asked").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert out == ""
    assert err.strip().startswith("modelward: interrupted")
    assert "Traceback" not in err
