import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modelward.core.canonical import canonical
from modelward.errors import FileMissing, LedgerTampered, LedgerUnwritable, ModelwardError
from modelward.ledger import sqlite
from modelward.ledger.merkle import Frontier
from modelward.ledger.sqlite import FILE_NAME
from modelward.ledger.store import Ledger, decode

RECORDS = [{"kind": "evidence", "n": i, "text": "ü" * i, "large": 10.0 ** (14 + i)} for i in range(5)]


@pytest.fixture
def folder(tmp_path):
    ledger = Ledger.open(tmp_path / "store")
    ledger.append(*RECORDS)
    ledger.close()
    return tmp_path / "store"


def reopen(folder):
    return Ledger.open_read_only(folder)


def test_records_come_back_in_order(folder):
    assert list(reopen(folder).records()) == RECORDS


def test_head_does_not_depend_on_how_records_were_grouped(tmp_path):
    one = Ledger.open(tmp_path / "a").append(*RECORDS)
    ledger = Ledger.open(tmp_path / "b")
    for record in RECORDS:
        two = ledger.append(record)
    assert one == two
    assert one.size == 5


def test_files_are_private(folder):
    ledger = Ledger.open(folder)
    ledger.append({"more": 1})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert FILE_NAME in modes


def test_an_older_head_is_a_beginning(folder):
    old = reopen(folder).head()
    ledger = Ledger.open(folder)
    new = ledger.append({"more": 1})
    assert ledger.verify(old.root) == new
    assert ledger.verify(new.root) == new


def test_a_head_of_another_ledger_is_refused(folder):
    with pytest.raises(LedgerTampered, match="no beginning"):
        reopen(folder).verify("00" * 32)


@pytest.mark.parametrize("page", [None, 512])
def test_every_flipped_byte_is_refused_or_changes_no_record(folder, tmp_path, page):
    """Every byte of a file in small pages; of one as it is written, every byte that is not zero, and some that are."""
    path = folder / FILE_NAME
    if page is not None:
        db = sqlite3.connect(path)
        db.executescript(
            f"PRAGMA journal_mode = DELETE; PRAGMA page_size = {page}; VACUUM; PRAGMA journal_mode = WAL"
        )
        db.close()
    whole = path.read_bytes()
    refused = 0
    copy = tmp_path / "copy"
    copy.mkdir()
    for position in range(len(whole)):
        if page is None and not whole[position] and position % 16:
            continue
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        (copy / FILE_NAME).write_bytes(broken)
        try:
            ledger = Ledger.open_read_only(copy)
            assert list(ledger.records()) == RECORDS, position
            ledger.close()
        except ModelwardError:
            refused += 1
    assert refused > sum(len(str(r)) for r in RECORDS)  # at least each byte of each record


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaf SET body = replace(body, '3', '4') WHERE seq = 3",
        "UPDATE leaf SET body = cast('{\"a\": 1}' AS BLOB) WHERE seq = 3",
        "DELETE FROM leaf WHERE seq = 2",
        "DELETE FROM leaf WHERE seq = 4",
        "DELETE FROM leaf",
        "INSERT INTO leaf SELECT 5, body FROM leaf WHERE seq = 0",
        "UPDATE leaf SET seq = CASE seq WHEN 1 THEN -2 WHEN 2 THEN -1 ELSE seq END; UPDATE leaf SET seq = -seq - 0 WHERE seq < 0; ",
        "UPDATE head SET size = 4",
        "UPDATE head SET peaks = zeroblob(64)",
        "DELETE FROM head",
        "DROP TABLE leaf",
    ],
)
def test_every_edit_is_refused(folder, statement):
    db = sqlite3.connect(folder / FILE_NAME)
    statement = statement.replace(
        "replace(body, '3', '4')", "cast(replace(cast(body AS TEXT), '3', '4') AS BLOB)"
    )
    db.executescript(statement)
    db.commit()
    db.close()
    with pytest.raises(LedgerTampered):
        reopen(folder)
    with pytest.raises(LedgerTampered):
        Ledger.open(folder)


def test_a_tail_removed_by_an_expert_is_caught_by_the_head_alone(folder, tmp_path):
    head = reopen(folder).head()
    forged = Ledger.open(tmp_path / "forged")
    forged.append(*RECORDS[:3])  # a consistent, shorter store
    forged.verify()
    with pytest.raises(LedgerTampered, match="no beginning"):
        forged.verify(head.root)


def test_a_killed_writer_leaves_whole_transactions(tmp_path, kill_a_writer, assert_whole_pairs):
    kill_a_writer(tmp_path)
    ledger = Ledger.open(tmp_path)
    assert_whole_pairs(ledger)
    ledger.close()


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from modelward.errors import LedgerUnwritable
        from modelward.ledger.store import Ledger
        ledger = Ledger.open(Path(sys.argv[1]))
        for i in range(100):
            try:
                ledger.append({"i": i, "pad": "x" * 3000})
            except LedgerUnwritable as error:
                print(i, error)
                break
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    written = int(done.stdout.split()[0])
    assert 0 < written < 100
    assert "cannot be used" in done.stdout
    assert [record["i"] for record in Ledger.open(tmp_path).records()] == list(range(written))


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_a_read_only_folder_can_be_read_but_not_written(folder):
    reader = 65534
    for path in (folder, *folder.parents):
        if path.stat().st_uid == 0 and path.as_posix() != "/" and "pytest" in path.as_posix():
            path.chmod(0o755)
    (folder / FILE_NAME).chmod(0o644)
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            os.setuid(reader)
            assert len(list(Ledger.open_read_only(folder).records())) == 5
            try:
                Ledger.open(folder)
            except LedgerUnwritable:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_no_ledger_is_a_missing_file(tmp_path):
    with pytest.raises(FileMissing):
        Ledger.open_read_only(tmp_path)


def test_a_folder_that_is_a_file_is_unwritable(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerUnwritable):
        Ledger.open(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to look like one" * 30])
def test_a_file_that_is_no_ledger(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(LedgerTampered):
        Ledger.open_read_only(tmp_path)


def test_a_record_that_json_cannot_hold_adds_nothing(folder):
    ledger = Ledger.open(folder)
    with pytest.raises(ValueError, match=r"NaN|nan"):
        ledger.append({"ok": 1}, {"bad": float("nan")})
    assert ledger.head().size == 5


def test_odd_folder_names(tmp_path):
    odd = tmp_path / "a?b#c%20 ü"
    Ledger.open(odd).append({"a": 1})
    assert list(Ledger.open_read_only(odd).records()) == [{"a": 1}]
    shutil.rmtree(odd)


def test_bodies_are_the_canonical_records(folder):
    ledger = reopen(folder)
    assert list(ledger.bodies()) == [canonical(record) for record in RECORDS]
    assert list(ledger.bodies(2)) == [canonical(record) for record in RECORDS[:2]]
    assert list(ledger.bodies(0)) == []
    assert len(list(ledger.bodies(99))) == 5
    assert [ledger.body(i) for i in range(5)] == list(ledger.bodies())
    with pytest.raises(LedgerTampered, match="record 5 is missing"):
        ledger.body(5)


def test_the_root_of_every_beginning(folder):
    ledger = reopen(folder)
    frontier = Frontier()
    assert ledger.root_at(0) == frontier.root()
    for size, record in enumerate(RECORDS, 1):
        frontier.append(canonical(record))
        assert ledger.root_at(size) == frontier.root()
    assert ledger.root_at(5).hex() == ledger.head().root
    with pytest.raises(LedgerTampered, match="holds 5 records and once held 6"):
        ledger.root_at(6)


def test_a_folder_may_be_named_by_text(tmp_path):
    Ledger.open(str(tmp_path / "store")).append({"a": 1})
    assert list(Ledger.open_read_only(str(tmp_path / "store")).records()) == [{"a": 1}]


def test_what_is_raised_in_the_middle_of_an_append_adds_nothing(folder, monkeypatch):
    ledger = Ledger.open(folder)
    add = ledger._rows.add

    def broken(*values):
        add(*values)
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger._rows, "add", broken)
    with pytest.raises(KeyboardInterrupt):
        ledger.append({"new": 1}, {"new": 2})
    monkeypatch.undo()
    assert ledger.verify().size == 5
    assert ledger.append({"new": 1}).size == 6


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_record(body):
    with pytest.raises(LedgerTampered, match=r"not JSON|not a JSON object"):
        decode(body)


def test_an_opened_file_that_is_refused_is_closed_again(folder):
    """A handle that stays open would keep a restored backup from being put in its place."""
    path = folder / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"n":3', b'"n":4'))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(LedgerTampered):
            Ledger.open_read_only(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


STRANGE = {
    "a view that forges a record now and then": """
        ALTER TABLE leaf RENAME TO old;
        CREATE VIEW leaf AS SELECT seq, CASE WHEN seq = 1 AND random() % 2
            THEN cast('{"n": 9}' AS BLOB) ELSE body END AS body FROM old;
    """,
    "a view that never ends": """
        DROP TABLE leaf;
        CREATE VIEW leaf AS WITH RECURSIVE every(seq) AS (SELECT -5 UNION ALL SELECT seq FROM every)
            SELECT seq, x'00' AS body FROM every;
    """,
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON leaf BEGIN DELETE FROM leaf WHERE seq = 0; END;",
    "an index": "CREATE INDEX i ON leaf (body);",
    "another table": "CREATE TABLE more (a);",
    "a generated column": """
        DROP TABLE leaf;
        CREATE TABLE leaf (seq INTEGER PRIMARY KEY, body BLOB AS (zeroblob(1000000000)));
    """,
    "a type that does not sort": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = NULL WHERE name = 'leaf';
    """,
}


@pytest.mark.parametrize("statements", STRANGE.values(), ids=STRANGE)
def test_a_file_that_is_more_than_two_tables_is_refused(folder, statements):
    db = sqlite3.connect(folder / FILE_NAME)
    db.executescript(statements)
    db.commit()
    db.close()
    with pytest.raises(LedgerTampered):
        reopen(folder)
    with pytest.raises(LedgerTampered):
        Ledger.open(folder)


def test_the_tables_are_those_of_the_format(root):
    """A file made by other statements is refused, so the format must state these."""
    text = (root / "docs" / "formats" / "ledger.md").read_text(encoding="utf-8")
    for statement in sqlite._SCHEMA.strip().splitlines()[:2]:
        assert statement in text
