"""The records in a real PostgreSQL server: the same ledger as in a file, for several processes at once."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from pg8000.native import Connection

from modelward.errors import (
    ConfigInvalid,
    ExtraMissing,
    FileMissing,
    KeyServiceFailed,
    LedgerTampered,
    LedgerUnwritable,
)
from modelward.ledger.store import Ledger

RECORDS = [{"kind": "evidence", "n": i, "text": "ü\x00" * i, "large": 10.0 ** (14 + i)} for i in range(5)]


@pytest.fixture
def ledger(url):
    ledger = Ledger.open(url)
    ledger.append(*RECORDS)
    yield ledger
    ledger.close()


@pytest.fixture
def sql(server, database):
    connection = server.connect(database)
    yield connection.run
    connection.close()


def test_records_come_back_in_order(ledger, url):
    assert list(ledger.records()) == RECORDS
    reader = Ledger.open_read_only(url)
    assert list(reader.records()) == RECORDS
    assert reader.head() == ledger.head()
    reader.close()


def test_the_head_is_that_of_a_file_with_the_same_records(ledger, tmp_path):
    assert ledger.head() == Ledger.open(tmp_path).append(*RECORDS)
    assert list(ledger.bodies()) == list(Ledger.open_read_only(tmp_path).bodies())


def test_what_was_appended_is_there_when_it_is_opened_again(ledger, url):
    ledger.close()
    again = Ledger.open(url)
    head = again.append({"more": 1}, {"more": 2})
    assert head.size == 7
    assert again.verify(head.root) == head
    again.close()


def test_an_older_head_is_a_beginning(ledger):
    old = ledger.head()
    new = ledger.append({"more": 1})
    assert ledger.verify(old.root) == new
    assert ledger.root_at(5).hex() == old.root
    with pytest.raises(LedgerTampered, match="no beginning"):
        ledger.verify("00" * 32)
    with pytest.raises(LedgerTampered, match="once held 9"):
        ledger.root_at(9)


def test_many_records_are_read_in_batches(url):
    ledger = Ledger.open(url)
    ledger.append(*({"i": i} for i in range(2345)))
    assert [record["i"] for record in ledger.records()] == list(range(2345))
    assert len(list(ledger.bodies(1001))) == 1001
    assert ledger.body(0) == b'{"i":0}'
    assert ledger.body(2222) == b'{"i":2222}'
    assert ledger.verify().size == 2345
    ledger.close()


def test_one_record_is_one_row(url, monkeypatch):
    ledger = Ledger.open(url)
    ledger.append(*({"i": i} for i in range(30)))
    fetched = []
    run = Connection.run

    def counting(self, sql, *args, **kwargs):
        rows = run(self, sql, *args, **kwargs)
        fetched.append(len(rows or ()))
        return rows

    monkeypatch.setattr(Connection, "run", counting)
    assert ledger.body(3) == b'{"i":3}'
    assert fetched == [1]
    for absent in (-1, 30):
        with pytest.raises(LedgerTampered, match="is missing"):
            ledger.body(absent)
    ledger.close()


def test_a_long_record(url):
    ledger = Ledger.open(url)
    ledger.append({"pad": "x" * 3_000_000})
    assert len(next(ledger.bodies())) == 3_000_010
    ledger.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE modelward_leaf SET body = set_byte(body, 9, 66) WHERE seq = 3",
        "UPDATE modelward_leaf SET body = '{}' WHERE seq = 3",
        "DELETE FROM modelward_leaf WHERE seq = 2",
        "DELETE FROM modelward_leaf WHERE seq = 4",
        "DELETE FROM modelward_leaf",
        "INSERT INTO modelward_leaf SELECT 5, body FROM modelward_leaf WHERE seq = 0",
        "INSERT INTO modelward_leaf SELECT -1, body FROM modelward_leaf WHERE seq = 0",
        "UPDATE modelward_leaf SET seq = 103 - seq WHERE seq IN (1, 2);UPDATE modelward_leaf SET seq = seq - 100 WHERE seq > 9",
        "UPDATE modelward_head SET size = 4",
        "UPDATE modelward_head SET size = -5",
        "UPDATE modelward_head SET peaks = set_byte(peaks, 0, get_byte(peaks, 0) # 1)",
        "UPDATE modelward_head SET peaks = ''",
        "DELETE FROM modelward_head",
        "DROP TABLE modelward_leaf",
        "ALTER TABLE modelward_leaf RENAME COLUMN body TO other",
        "ALTER TABLE modelward_head ALTER COLUMN size TYPE text",
        "ALTER TABLE modelward_leaf ALTER COLUMN body TYPE text USING encode(body, 'hex')",
    ],
)
def test_every_edit_is_refused(ledger, url, sql, statement):
    for part in statement.split(";"):
        sql(part)
    with pytest.raises(LedgerTampered):
        Ledger.open_read_only(url)
    with pytest.raises(LedgerTampered):
        Ledger.open(url)


def test_every_byte_of_every_record_and_of_the_head_counts(ledger, url, sql):
    for seq, length in sql("SELECT seq, length(body) FROM modelward_leaf"):
        for place in range(0, length, 7):
            flip = "UPDATE modelward_leaf SET body = set_byte(body, :at, get_byte(body, :at) # 1) WHERE seq = :seq"
            sql(flip, at=place, seq=seq)
            with pytest.raises(LedgerTampered, match="do not match"):
                ledger.verify()
            sql(flip, at=place, seq=seq)
    for place in range(64):
        flip = "UPDATE modelward_head SET peaks = set_byte(peaks, :at, get_byte(peaks, :at) # 128)"
        sql(flip, at=place)
        with pytest.raises(LedgerTampered):
            ledger.verify()
        sql(flip, at=place)
    assert ledger.verify().size == 5


def test_a_writer_waits_for_the_other_one(ledger, url, server, database):
    """While somebody holds the head, an append neither fails nor goes in between."""
    other = server.connect(database)
    other.run("BEGIN")
    other.run("SELECT 1 FROM modelward_head WHERE id = 0 FOR UPDATE")
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_append_one, args=(url,))
    worker.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :d"
    watch = server.connect()
    while watch.run(waiting, d=database) == [[0]]:
        assert worker.is_alive()
    watch.close()
    assert ledger.verify().size == 5  # readers do not wait
    other.run("COMMIT")
    other.close()
    worker.join(60)
    assert worker.exitcode == 0
    assert ledger.verify().size == 6


def _append_one(url):
    ledger = Ledger.open(url)
    ledger.append({"i": 0})
    ledger.close()


def test_a_lock_that_is_never_let_go_is_one_sentence(ledger, url, server, database):
    other = server.connect(database)
    other.run("BEGIN")
    other.run("SELECT 1 FROM modelward_head WHERE id = 0 FOR UPDATE")
    ledger._rows._db.run("SET lock_timeout = '50ms'")
    with pytest.raises(LedgerUnwritable, match="lock timeout"):
        ledger.append({"i": 0})
    other.close()
    assert ledger.append({"i": 0}).size == 6


def test_a_killed_writer_leaves_whole_transactions(url, kill_a_writer, assert_whole_pairs):
    kill_a_writer(url)
    ledger = Ledger.open(url)
    assert_whole_pairs(ledger)
    ledger.close()


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_connection_lost_at_any_statement_leaves_the_old_records(ledger, url, server, database, stop):
    """The server ends the session after that many statements of an append of two records."""
    own = ledger._rows._db
    run, killer = own.run, server.connect()
    [[process]] = own.run("SELECT pg_backend_pid()")
    said = []

    def counted(statement, **values):
        said.append(statement)
        if len(said) == stop + 1:
            killer.run("SELECT pg_terminate_backend(:process)", process=process)
        return run(statement, **values)

    own.run = counted
    with pytest.raises(KeyServiceFailed):
        ledger.append({"new": 1}, {"new": 2})
    killer.close()
    reader = Ledger.open_read_only(url)
    assert list(reader.records()) == RECORDS
    reader.close()
    assert len(said) > stop


def test_what_is_raised_in_the_middle_is_rolled_back(ledger, sql):
    sql("ALTER TABLE modelward_leaf ADD CHECK (seq < 6)")
    with pytest.raises(LedgerTampered, match="check constraint"):
        ledger.append({"new": 1}, {"new": 2})
    assert ledger.verify().size == 5
    assert ledger.append({"new": 1}).size == 6


def test_a_record_that_json_cannot_hold_adds_nothing(ledger):
    with pytest.raises(ValueError, match=r"NaN|nan"):
        ledger.append({"ok": 1}, {"bad": float("nan")})
    assert ledger.head().size == 5


def test_no_ledger_in_the_database(url, sql):
    with pytest.raises(FileMissing, match="there is no ledger"):
        Ledger.open_read_only(url)
    assert sql("SELECT to_regclass('modelward_head')") == [[None]]  # reading created nothing


def test_reading_cannot_write(ledger, url):
    reader = Ledger.open_read_only(url)
    with pytest.raises(LedgerUnwritable, match="read-only"):
        reader.append({"i": 0})
    assert reader.verify().size == 5
    reader.close()


def test_who_may_not_write_is_told(ledger, server, database, sql):
    sql("CREATE ROLE reader LOGIN")
    sql("GRANT SELECT ON modelward_leaf, modelward_head TO reader")
    url = server.url(database).replace("//audit@", "//reader@")
    reader = Ledger.open_read_only(url)
    assert list(reader.records()) == RECORDS
    reader.close()
    writer = Ledger.open(url)
    with pytest.raises(LedgerUnwritable, match="permission denied"):
        writer.append({"i": 0})
    writer.close()
    sql("DROP OWNED BY reader")
    sql("DROP ROLE reader")


def test_passwords_by_the_network(server, database, monkeypatch, tmp_path):
    secret = server.secret
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    url = server.by_network(database)
    with pytest.raises(KeyServiceFailed) as refused:
        Ledger.open(url)
    assert "does not answer" in str(refused.value) or "password" in str(refused.value)
    monkeypatch.setenv("PGPASSWORD", "wrong " + secret)
    with pytest.raises(KeyServiceFailed, match="password authentication failed") as refused:
        Ledger.open(url)
    assert "sesame" not in str(refused.value)
    monkeypatch.setenv("PGPASSWORD", secret)
    Ledger.open(url).close()
    monkeypatch.delenv("PGPASSWORD")
    path = tmp_path / "passwords"
    path.write_text(
        f"127.0.0.1:{server.port}:*:audit:" + secret.replace("\\", "\\\\").replace(":", "\\:") + "\n"
    )
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    Ledger.open(url).close()
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("STORE", server.by_network(database, secret))
    Ledger.open("env:STORE").close()
    with pytest.raises(ConfigInvalid, match="holds a password"):
        Ledger.open(server.by_network(database, secret))


def test_a_server_without_tls_is_not_spoken_to_where_tls_is_asked_for(server, database, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "x")
    with pytest.raises(KeyServiceFailed, match="does not answer"):
        Ledger.open(server.by_network(database, sslmode="verify-full"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileMissing, match="holds no certificates"):
        Ledger.open(f"postgresql://audit@db.example/x?sslrootcert={path}")


def test_no_server_and_no_database(server, tmp_path):
    with pytest.raises(KeyServiceFailed, match="does not answer"):
        Ledger.open(f"postgresql://audit@/x?host={tmp_path}")
    with pytest.raises(KeyServiceFailed, match='"nowhere" does not exist'):
        Ledger.open(server.url("nowhere"))


def test_without_the_driver_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pg8000.native", None)
    with pytest.raises(ExtraMissing, match="pg8000") as refused:
        Ledger.open("postgresql://audit@localhost/x")
    assert "modelward[postgres]" in refused.value.advice


def test_the_tables_are_those_of_the_format(root):
    from modelward.ledger import postgres

    text = (root / "docs" / "formats" / "ledger.md").read_text(encoding="utf-8")
    for statement in postgres._SCHEMA[:2]:
        assert f"{statement};" in text
    assert f"lock {postgres._LOCK}." in text


def test_the_driver_is_not_imported_for_a_folder(tmp_path):
    code = "import sys; from modelward.ledger.store import Ledger; Ledger.open(sys.argv[1]); print('pg8000' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert Path(tmp_path / "s" / "ledger.db").is_file()


def test_an_audit_leaves_its_evidence_in_the_database(url, tmp_path, monkeypatch):
    """The verbs take a URL in the folder's place; arrays that evidence refers to stay in a folder here."""
    import msgspec
    import numpy as np

    import modelward
    from modelward.verbs.report import report, verify_store

    def model(x):
        return (x.sum(1) > 0).astype(int)

    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    options = modelward.AuditOptions(
        checks=("evasion.query",), eps=(0.5,), limit=20, database=url, bounds=(-3.0, 3.0)
    )
    data = (points, (points.sum(1) > 0).astype(int))
    result = modelward.audit(model, data, options)
    assert verify_store(url).root == result.ledger_head
    again = report(url)
    assert again.claims == result.claims
    named = msgspec.structs.replace(options, database=None, store=url)  # the same, in the folder's place
    assert [check.resumed for check in modelward.audit(model, data, named).checks] == [False]
    assert not (tmp_path / "postgresql:").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {".modelward"}
