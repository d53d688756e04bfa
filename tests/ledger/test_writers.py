"""Several writers of one ledger, in a file and in a PostgreSQL server: nothing is lost, nobody gets in between."""

import itertools
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from modelward.errors import ContentUnstable, LedgerTampered
from modelward.ledger.sqlite import FILE_NAME, Sqlite
from modelward.ledger.store import Ledger, find_all

SPAWN = multiprocessing.get_context("spawn")
OVERLAPS = 4
APPEND = """
import sys
from modelward.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
ledger.append({"who": "another"})
ledger.close()
"""


@pytest.fixture(params=["folder", "database"])
def place(request, tmp_path):
    """Where there is no ledger yet."""
    return str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("url")


def append_elsewhere(place):
    subprocess.run([sys.executable, "-c", APPEND, place], check=True)


def _append_until_overlapped(place, me, start, overlaps):
    """Append until every writer has seen records of others between its own, so often that they did overlap."""
    start.wait(60)
    try:
        ledger = Ledger.open(place)
        size = i = 0
        while min(overlaps) < OVERLAPS:
            now = ledger.append({"who": me, "i": i}, {"who": me, "i": i + 1}).size
            overlaps[me] += bool(size) and now > size + 2
            size, i = now, i + 2
            time.sleep(0.003)  # SQLite lets whoever asks first, and who waits asks seldom
        ledger.close()
    finally:
        overlaps[:] = [OVERLAPS, OVERLAPS]  # who failed is not waited for


def test_processes_that_overlap_lose_nothing(place):
    """None has a ledger when it starts, so they also race for creating it."""
    start, overlaps = SPAWN.Barrier(2), SPAWN.Array("i", 2)
    writers = [
        SPAWN.Process(target=_append_until_overlapped, args=(place, me, start, overlaps)) for me in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    ledger = Ledger.open_read_only(place)
    records = list(ledger.records())
    ledger.close()
    for me in range(2):
        own = [record["i"] for record in find_all(records, who=me)]
        assert own == list(range(len(own)))
        assert len(own) > 2 * OVERLAPS
    pairs = [(a["who"], b["who"]) for a, b in zip(records[::2], records[1::2], strict=True)]
    assert all(a == b for a, b in pairs)  # what is appended at once lies together
    assert sum(a != b for a, b in itertools.pairwise(pairs)) > 2 * OVERLAPS


def _append_once_the_first_is_inside(place, ready, inside, done):
    ledger = Ledger.open(place)
    ready.set()
    inside.wait(60)
    ledger.append({"who": "second"})
    done.set()
    ledger.close()


def test_nobody_appends_between_the_head_that_is_read_and_the_one_that_is_written(place, monkeypatch):
    ready, inside, done = SPAWN.Event(), SPAWN.Event(), SPAWN.Event()
    second = SPAWN.Process(target=_append_once_the_first_is_inside, args=(place, ready, inside, done))
    second.start()
    assert ready.wait(60)
    ledger = Ledger.open(place)
    add = ledger._rows.add

    def slowly(*values):
        inside.set()
        assert not done.wait(1)
        add(*values)

    monkeypatch.setattr(ledger._rows, "add", slowly)
    ledger.append({"who": "first"})
    second.join(60)
    assert second.exitcode == 0
    assert [record["who"] for record in ledger.records()] == ["first", "second"]
    assert ledger.verify().size == 2
    ledger.close()


def test_two_ledgers_of_one_process_and_another_process_lose_nothing(place):
    """Closing any handle of a file drops the locks of the whole process; SQLite then forgets who reads along."""
    one, two = Ledger.open(place), Ledger.open(place)
    one.append({"who": "one"})
    two.close()
    append_elsewhere(place)
    one.append({"who": "one"})
    again = Ledger.open_read_only(place)
    assert [record["who"] for record in again.records()] == ["one", "another", "one"]
    again.close()
    one.close()


def test_a_file_that_somebody_else_is_about_to_make_is_waited_for(tmp_path):
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.2, other.execute, ["COMMIT"])
    ends.start()
    ledger = Ledger.open(tmp_path)
    assert ledger.append({"a": 1}).size == 1
    ledger.close()
    ends.join()
    other.close()


@pytest.fixture
def large(tmp_path):
    """More than SQLite keeps in memory, and nobody writes: there is no write-ahead log beside it."""
    ledger = Ledger.open(tmp_path)
    ledger.append(*({"i": i, "pad": "x" * 900} for i in range(4000)))
    ledger.close()
    return tmp_path


def test_what_is_written_while_a_ledger_is_opened_is_no_damage(large, monkeypatch):
    leaves, calls = Sqlite.leaves, []

    def disturbed(self):
        calls.append(self)
        for place, row in enumerate(leaves(self)):
            if place == 2000 and len(calls) == 1:
                append_elsewhere(large)
            yield row

    monkeypatch.setattr(Sqlite, "leaves", disturbed)
    assert Ledger.open_read_only(large).head().size == 4001
    assert len(calls) == 2


def test_what_is_written_after_a_ledger_was_opened_is_said_and_is_no_damage(large):
    reader = Ledger.open_read_only(large)
    append_elsewhere(large)
    for read in (reader.verify, lambda: list(reader.bodies()), lambda: reader.body(3999)):
        with pytest.raises(ContentUnstable, match="was written to while it was read") as refused:
            read()
        assert "run the command again" in refused.value.advice
    reader.close()
    assert Ledger.open_read_only(large).verify().size == 4001


def test_damage_of_a_file_that_nobody_writes_is_damage(large):
    path = large / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'{"i":77,', b'{"i":78,'))
    with pytest.raises(LedgerTampered, match="do not match"):
        Ledger.open_read_only(large)
