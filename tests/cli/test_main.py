"""The shell around the verbs: exit codes, pipes, terminals."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from importlib.metadata import distributions

import click
import pytest

from modelward.cli import main as entry
from modelward.cli import progress
from modelward.cli.main import LazyGroup, main, root
from modelward.core.catalogue import CHECKS
from modelward.core.evidence import Cost
from modelward.engine.outcome import CheckRun
from modelward.errors import FileDamaged, PolicyRefused
from modelward.verbs.quiet import Quiet

AUDIT = ("audit", "linear.onnx", "--data", "test.npz", "--checks", "quality")


def exit_code(*words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


@pytest.fixture
def failing(monkeypatch):
    """Make every verb raise."""

    def failing(error):
        @click.command
        def command():
            raise error

        monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: command)

    return failing


def test_the_entry_point_is_the_one_that_is_installed():
    assert entry is main
    assert isinstance(root, LazyGroup)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FileDamaged("x.onnx: is\n  cut"), 2, "modelward: x.onnx: is cut\n  Write the file again"),
        (PolicyRefused("no"), 1, "modelward: no\n"),
        (KeyboardInterrupt(), 1, "modelward: interrupted"),
        (PermissionError(13, "Permission denied", "a.npz"), 2, "modelward: a.npz: Permission denied\n"),
        (OSError(28, "No space left on device"), 2, "modelward: the system: No space left on device\n"),
        (click.UsageError("what?"), 2, "Error: what?\n"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(failing, capsys, error, code, sentence):
    failing(error)
    assert exit_code("audit") == code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""


def test_a_defect_of_ours_is_not_hidden_and_is_no_verdict(failing, capsys):
    """What nobody foresaw must be seen, with its traceback, and never be taken for a refusing policy."""
    failing(ZeroDivisionError("ours"))
    assert exit_code("audit") == 2
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "ZeroDivisionError: ours" in captured.err
    assert captured.err.endswith("Please report it with the lines above.\n")
    assert captured.out == ""


def test_an_unknown_verb_is_refused(capsys):
    assert exit_code("soften") == 2
    assert "No such command 'soften'" in capsys.readouterr().err


@pytest.mark.skipif(not list(distributions(name="modelward")), reason="modelward is not installed")
def test_the_version_is_that_of_the_package(capsys):
    assert exit_code("--version") == 0
    assert re.fullmatch(r"modelward \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_without_a_verb_the_help_is_shown(capsys):
    exit_code()
    captured = capsys.readouterr()
    assert "Commands:" in captured.out + captured.err


def test_a_closed_pipe_is_no_error(start, files, tmp_path):
    for name in ("linear.onnx", "test.npz"):
        shutil.copy(files / name, tmp_path)
    process = start(*AUDIT)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def read_terminal(handle, process):
    """What a program wrote to its terminal, until it ends."""
    seen = b""
    while True:
        ready, _, _ = select.select([handle], [], [], 0.2)
        if ready:
            try:
                part = os.read(handle, 65536)
            except OSError:  # the other end is closed: Linux answers EIO
                return seen
            if not part:
                return seen
            seen += part
        elif process.poll() is not None:
            return seen


def test_a_terminal_gets_progress_and_a_pipe_does_not(files, tmp_path, root_folder):
    for name in ("linear.onnx", "test.npz"):
        shutil.copy(files / name, tmp_path)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from modelward.cli import main; main()", *AUDIT],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root_folder / "src"),
            "TERM": "xterm",
            "HOME": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        drawn = read_terminal(ours, process).decode()
        out = process.communicate(timeout=60)[0].decode()
    finally:
        os.close(ours)
    assert "quality" in drawn
    assert "\x1b[" in drawn
    assert "\x1b[" not in out
    assert "Accuracy" in out


def test_nothing_is_drawn_where_nobody_looks(capsys):
    with progress.observer() as watcher:
        assert isinstance(watcher, Quiet)
        watcher.started(CHECKS[0])
        watcher.progress(1, 2)
        watcher.ended(outcome())
    assert capsys.readouterr() == ("", "")


class Drawn:
    """Records what a progress display is told."""

    def __init__(self):
        self.tasks = []

    def add_task(self, name, **fields):
        self.tasks.append({"name": name, **fields})
        return len(self.tasks) - 1

    def update(self, task, **fields):
        self.tasks[task].update(fields)


def outcome(**changes):
    plain = {"check": "quality", "summary": "", "state": "finished", "cost": Cost(), "evidence": ()}
    return CheckRun(**{**plain, **changes})


def test_a_bar_moves_and_fills():
    drawn = Drawn()
    bars = progress.Bars(drawn)
    bars.progress(1, 2)  # before any check: nothing to move
    bars.noted("likewise")
    bars.started(CHECKS[1])
    bars.progress(3, 10)
    assert drawn.tasks == [{"name": "quality", "total": 10, "completed": 3, "note": ""}]
    bars.noted("linf 0.1: 3 of 9 broken")
    assert drawn.tasks[0]["note"] == "linf 0.1: 3 of 9 broken"
    bars.ended(outcome())
    assert drawn.tasks[0]["completed"] == drawn.tasks[0]["total"] == 1
    assert drawn.tasks[0]["note"] == ""


@pytest.mark.parametrize(
    ("changes", "note", "completed"),
    [
        ({}, "", 1),
        ({"resumed": True}, "found in the ledger", 1),
        ({"state": "cut", "cut": "seconds"}, "cut by seconds", 0),
        ({"state": "failed"}, "failed", 0),
        ({"state": "interrupted"}, "interrupted", 0),
    ],
)
def test_a_bar_says_what_is_not_plain(changes, note, completed):
    drawn = Drawn()
    progress.Bars(drawn).ended(outcome(**changes))
    assert (drawn.tasks[0]["note"], drawn.tasks[0]["completed"]) == (note, completed)


def test_a_program_that_ends_itself_while_a_model_is_built_is_no_pass(monkeypatch, capsys):
    def ends(*_arguments, **_options):
        raise SystemExit(0)

    monkeypatch.setattr(root, "main", ends)
    with pytest.raises(SystemExit) as ended:
        main(["audit", "net.pt"])
    assert ended.value.code == 2
    assert "nothing was judged" in capsys.readouterr().err
