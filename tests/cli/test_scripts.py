"""The command line as scripts: what is typed, and what must be seen.

A script is a text file. Lines before the first file section:

    copy NAME...            copies of the built files
    cut NAME BYTES          keep the beginning of a file
    mode OCTAL NAME         change permissions
    mkdir NAME
    $ modelward WORDS       run it; `largest=BYTES` before the words bounds the size of files it may write
    exit CODE               of the last command
    out|err REGEX           found in what it printed
    !out|!err REGEX         not found there
    python                  the next lines, up to one that says `end`, run here in the script's folder

and then files, each after a line `-- NAME --`. A bad job (exit 2) must always give one sentence, nothing on
standard output and no traceback; after each script the ledger, if there is one, must verify.
"""

from __future__ import annotations

import re
import shlex
import shutil
import stat
from pathlib import Path

import pytest

from modelward.verbs.report import verify_store

SCRIPTS = sorted(Path(__file__).parent.glob("scripts/*.txt"))


def read_script(path):
    """The steps and the files of a script."""
    steps, *sections = re.split(r"^-- (.+) --$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in steps.splitlines() if line.strip() and not line.startswith("#")]
    return lines, {name: body.lstrip("\n") for name, body in zip(sections[::2], sections[1::2], strict=True)}


class Runner:
    def __init__(self, folder, files, start):
        self.folder, self.files, self.start = folder, files, start
        self.code, self.out, self.err = None, "", ""

    def do(self, line):
        verb, _, rest = line.strip().partition(" ")
        if verb == "$":
            self.run(shlex.split(rest))
        elif verb == "copy":
            for name in rest.split():
                shutil.copy(self.files / name, self.folder)
        elif verb == "cut":
            name, size = rest.split()
            with (self.folder / name).open("r+b") as file:
                file.truncate(int(size))
        elif verb == "mode":
            octal, name = rest.split()
            (self.folder / name).chmod(int(octal, 8))
        elif verb == "mkdir":
            (self.folder / rest).mkdir()
        else:
            self.expect(verb, rest)

    def run(self, words):
        largest = int(words.pop(0).partition("=")[2]) if words[0].startswith("largest=") else None
        assert words[0] == "modelward"
        process = self.start(*words[1:], largest=largest)
        self.out, self.err = process.communicate(timeout=300)
        self.code = process.returncode
        assert "Traceback" not in self.out + self.err, self.err
        assert self.code in {0, 1, 2}, self.err
        if self.code == 2:
            self.require_one_sentence()

    def require_one_sentence(self):
        lines = self.err.splitlines()
        assert self.out == "", self.out
        if lines[0].startswith("Usage: "):
            assert lines[-1].startswith("Error: ")
            return
        assert lines[0].startswith("modelward: "), lines
        assert len(lines) <= 2, lines
        assert all(line.startswith("  ") for line in lines[1:]), lines
        assert len(lines[0]) < 400

    def expect(self, verb, rest):
        seen = f"exit {self.code}\n{self.out}\n{self.err}"
        if verb == "exit":
            assert self.code == int(rest), seen
            return
        wanted, stream = not verb.startswith("!"), verb.removeprefix("!")
        text = {"out": self.out, "err": self.err}[stream]
        assert (re.search(rest, text, re.MULTILINE) is not None) == wanted, f"{verb} {rest}\n{seen}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path, files, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines, sections = read_script(path)
    for name, body in sections.items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    runner = Runner(tmp_path, files, start)
    steps = iter(lines)
    for line in steps:
        if line.strip() == "python":
            source = "\n".join(iter(lambda: next(steps), "end"))
            exec(compile(source, path.name, "exec"), {"__name__": path.stem})  # noqa: S102 (our own script)
        else:
            runner.do(line)
    assert runner.code is not None, "the script ran nothing"
    store = tmp_path / ".modelward"
    if (store / "ledger.db").exists():
        store.chmod(stat.S_IRWXU)
        verify_store(store)


def test_scripts_are_found():
    assert len(SCRIPTS) >= 25
