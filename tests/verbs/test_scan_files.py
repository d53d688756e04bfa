import os
import pickle
import signal

import pytest

from modelward import scan
from modelward.reporting.scan_text import scan_text
from modelward.verbs import scan_files
from modelward.verbs.scan import ScanOptions

EVIL = b"cos\nsystem\n(Vid\ntR."


@pytest.fixture
def many(tmp_path):
    for index in range(90):
        folder = tmp_path / f"d{index % 3}"
        folder.mkdir(exist_ok=True)
        content = EVIL if index == 37 else pickle.dumps(list(range(index)))
        (folder / f"f{index:03}.pkl").write_bytes(content)
    return tmp_path


def test_several_processes_give_the_same_in_the_same_order(many):
    alone, together = scan(many), scan(many, options=ScanOptions(jobs=3))
    assert alone == together
    assert len(alone) == 90
    assert [report.path for report in alone] == sorted(report.path for report in alone)
    assert [report.verdict for report in alone].count("dangerous") == 1


def test_reports_come_while_files_are_read(many):
    found = scan_files.inspect_all(scan_files.files_below(many), 2)
    assert next(found).verdict == "inert"
    found.close()


def test_a_process_that_dies_costs_one_file(many, monkeypatch):
    victim = many / "d0" / "f000.pkl"
    real = scan_files.inspect

    def dies(path):
        if path == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path)

    monkeypatch.setattr(scan_files, "inspect", dies)
    monkeypatch.setattr("threading.active_count", lambda: 1)  # forked, so that the children see the patch
    reports = scan(many, options=ScanOptions(jobs=2))
    assert len(reports) == 90
    assert {report.verdict for report in reports} == {"inert", "dangerous", "error"}
    (lost,) = [report for report in reports if report.verdict == "error"]
    assert lost.path == str(victim)
    assert "died" in lost.findings[0].message


def test_links_are_read_where_they_point_to_files(tmp_path):
    store, folder = tmp_path / "blobs", tmp_path / "snapshot"
    store.mkdir()
    folder.mkdir()
    (store / "abc").write_bytes(EVIL)
    (folder / "model.pkl").symlink_to(store / "abc")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.pkl").symlink_to(store / "absent")
    os.mkfifo(folder / "pipe.pkl")
    verdicts = {report.path.rsplit("/", 1)[-1]: report.verdict for report in scan(folder)}
    assert verdicts == {"model.pkl": "dangerous", "gone.pkl": "error", "pipe.pkl": "error"}


def test_an_empty_source_file_is_no_damaged_model(tmp_path):
    (tmp_path / "__init__.py").touch()
    (tmp_path / "model.pt").touch()
    for name in ("py.typed", ".gitkeep", "REQUESTED"):
        (tmp_path / name).touch()
    verdicts = {report.path.rsplit("/", 1)[-1]: report.verdict for report in scan(tmp_path)}
    assert verdicts == {
        "__init__.py": None,
        "model.pt": "error",
        "py.typed": None,
        ".gitkeep": None,
        "REQUESTED": None,
    }


def test_a_long_list_shows_what_matters(many):
    lines = scan_text(scan(many)).splitlines()
    assert len([line for line in lines if ".pkl" in line]) == 1
    assert sum("30 inert" in line or "29 inert" in line for line in lines) == 3
    assert "\x1b[1;31m" in scan_text(scan(many), color=True)


def test_standard_input(monkeypatch, tmp_path):
    class Input:
        buffer = (tmp_path / "x").open("w+b")

    for content, verdict in ((EVIL, "dangerous"), (pickle.dumps([1]), "inert")):
        Input.buffer.seek(0)
        Input.buffer.truncate()
        Input.buffer.write(content)
        Input.buffer.seek(0)
        monkeypatch.setattr("sys.stdin", Input)
        (report,) = scan("-")
        assert (report.path, report.verdict) == ("-", verdict)
    Input.buffer.close()
