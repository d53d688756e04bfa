"""One process at a time, also after one was killed."""

import multiprocessing
import os
import stat
import subprocess
import sys

import pytest

from modelward.errors import LedgerUnwritable
from modelward.ledger.lock import exclusive, sync_folder


def _count(path, lock, rounds):
    for _ in range(rounds):
        with exclusive(lock):
            number = int(path.read_text())
            path.write_text(str(number + 1))


def test_no_count_is_lost(tmp_path):
    path, lock = tmp_path / "number", tmp_path / "lock"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count, args=(path, lock, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert path.read_text() == "150"


def test_who_is_killed_lets_go(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from modelward.ledger.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    child.kill()
    child.wait()
    child.stdout.close()
    with exclusive(tmp_path / "lock"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_an_error_inside_lets_go(tmp_path):
    def fail():
        with exclusive(tmp_path / "lock"):
            raise ValueError("inside")

    for _ in range(2):
        with pytest.raises(ValueError, match="inside"):
            fail()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(LedgerUnwritable, match="cannot be created"), exclusive(tmp_path / "none" / "lock"):
        pass


def test_a_folder_is_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), real(handle)))
    sync_folder(tmp_path)
    assert synced == [tmp_path.stat().st_ino]
    with pytest.raises(OSError, match="No such file"):
        sync_folder(tmp_path / "none")
