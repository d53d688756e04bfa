"""Where results and sentences go: never through a link's name, never in place of a device, never as escapes."""

import os
import stat
import threading

import numpy as np
import pytest

from modelward.cli.main import main
from modelward.errors import LedgerTampered, OutputUnwritable
from modelward.ledger.blobs import Blobs, write_atomically
from modelward.verbs.config import read_config
from modelward.verbs.init import init
from modelward.verbs.report import write_report


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_report(path, b"report")
    reader.join(10)
    assert read == [b"report"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_what_a_link_names_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


def test_a_full_device_is_a_sentence(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OutputUnwritable, match="No space"):
        write_report(tmp_path / "full", b"x" * 100)


def test_the_longest_name_is_a_name(tmp_path):
    write_report(tmp_path / ("r" * 255), b"report")
    assert (tmp_path / ("r" * 255)).read_bytes() == b"report"


def test_a_name_cannot_write_configuration(tmp_path, linear):
    evil = 'x\n[policy]\nmax-severity = "critical"\n#.onnx'
    for name in (evil, "y" + evil, "plain.onnx"):
        (tmp_path / name).write_bytes(linear.read_bytes())
    path, found = init(tmp_path)
    assert found == ["plain.onnx (onnx)"]
    assert 'max-severity = "critical"' not in path.read_text()
    assert read_config(path).model == tmp_path / "plain.onnx"


def test_a_name_does_not_steer_the_terminal(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["audit", "no\x1b[31m\u202esuch\x07.onnx"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "\\x1b[31m" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_any_damaged_attachment_is_refused_or_whole(tmp_path, at):
    blobs = Blobs(tmp_path)
    arrays = {"x": np.arange(50.0), "index": np.arange(5)}
    digest = blobs.put(arrays)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0xFF
    path.write_bytes(content)
    try:
        found = blobs.get(digest)
    except LedgerTampered:
        return
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
