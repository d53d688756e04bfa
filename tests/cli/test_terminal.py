"""What somebody at a terminal sees: a question that stays until it is answered, a result on a line of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from modelward.cli import main

PHRASE = b"correct horse battery staple"
PATIENCE = 60.0
STILL = 0.6  # seconds; a bar is drawn ten times a second


@pytest.fixture
def folder(tmp_path, monkeypatch, root_folder):
    """A model of four chunks and the keys that seal and open it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(root_folder / "src"))
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PHRASE.decode())
    for words in (["release.pem"], ["reader.pem", "--recipient"]):
        with pytest.raises(SystemExit) as ended:
            main(["keys", "new", *words])
        assert ended.value.code == 0
    monkeypatch.delenv("MODELWARD_PASSPHRASE")
    (tmp_path / "model.bin").write_bytes(bytes(4 << 20))
    return tmp_path


class Terminal:
    """The command line on a terminal of its own."""

    def __init__(self, *words):
        code = "from modelward.cli import main; main()"
        self.seen = b""
        self.master, end = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdin=end, stdout=end, stderr=end, start_new_session=True
        )
        os.close(end)

    def read(self, seconds):
        """What is printed within so long; null at its end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self.master, 1 << 16) or None
        except OSError:
            return None

    def until(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.seen:
            assert time.monotonic() < deadline, self.seen
            found = self.read(1.0)
            assert found is not None, self.seen
            self.seen += found

    def answer(self, line):
        os.write(self.master, line + b"\n")

    def end(self):
        """The exit code, and the lines that a person is left with."""
        while (found := self.read(PATIENCE)) is not None:
            self.seen += found
        os.close(self.master)
        return self.process.wait(PATIENCE), shown(self.seen.decode())


def shown(text):
    """Lines as a terminal shows them: what was erased or written over is not."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", text, re.DOTALL):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.startswith("\x1b["):
            row -= int(part[2:-1] or 1) if part.endswith("A") else 0
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def test_what_a_terminal_shows():
    assert shown("a\r\nbar\r\x1b[2Kb\x1b[31mc\r\n\x1b[1A\x1b[2K") == ["a"]
    assert shown("abc\rx") == ["xbc"]


def test_a_question_stays_until_it_is_answered(folder):
    terminal = Terminal("seal", "model.bin", "-o", "m.sealed", "--key", "release.pem")
    terminal.until(b"Passphrase: ")
    asked = terminal.seen
    time.sleep(STILL)
    assert (terminal.read(0.0) or b"") == b"", "something was drawn over the question"
    assert asked.rstrip(b" ").endswith(b"Passphrase:")
    terminal.answer(PHRASE)
    code, lines = terminal.end()
    assert code == 0
    assert lines[0].startswith("Passphrase:")
    assert lines[1].startswith("sealed: m.sealed, 1 file, 4,194,304 bytes")
    assert lines[2].startswith("blake3:")
    assert len(lines) == 3


def test_a_result_has_lines_of_its_own(folder, monkeypatch):
    monkeypatch.setenv("MODELWARD_PASSPHRASE", PHRASE.decode())
    sealing = ("seal", "model.bin", "-o", "m.sealed", "--key", "release.pem", "--recipient", "reader.pem.pub")
    trusted = ("--public-key", "release.pem.pub")
    seen = {}
    for words in (
        sealing,
        ("amend", "m.sealed", "--key", "release.pem", *trusted),
        ("open", "m.sealed", "-o", "opened", "--identity", "reader.pem", *trusted),
        ("verify", "m.sealed", *trusted),
    ):
        terminal = Terminal(*words)
        code, lines = terminal.end()
        assert code == 0, lines
        assert "MB" not in "".join(lines), lines
        seen[words[0]] = lines
        assert b"MB" in terminal.seen, "no bar was drawn"
    assert "--no-scan" in " ".join(seen["seal"][:-2])
    assert seen["seal"][-2].startswith("sealed: m.sealed")
    assert seen["open"] == ["opened: opened, signed by release.pem.pub"]
    assert seen["verify"][0].startswith("✔ VERIFIED")


def test_a_new_passphrase_is_asked_twice_and_by_its_name(folder):
    terminal = Terminal(
        "seal", "model.bin", "-o", "m.sealed", "--key", "release.pem", "--recipient", "passphrase"
    )
    terminal.until(b"Passphrase: ")
    terminal.answer(PHRASE)
    terminal.until(b"New passphrase, for who opens it: ")
    terminal.answer(b"of the content alone")
    terminal.until(b"Repeat for confirmation: ")
    terminal.answer(b"of the content alone")
    code, lines = terminal.end()
    assert code == 0
    assert "encrypted for 1 recipient" in "".join(lines)
