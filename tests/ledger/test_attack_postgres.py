"""A database whose other users put something in place of the ledger's tables: it is not read and not written.

What a trigger, a rule, a view or a check calls runs with the rights of whoever appends or reads.
"""

import pytest

from modelward.errors import LedgerTampered
from modelward.ledger.store import Ledger

TABLES = (
    "CREATE TABLE modelward_leaf (seq bigint PRIMARY KEY, body bytea NOT NULL)",
    (
        "CREATE TABLE modelward_head (id int PRIMARY KEY CHECK (id = 0), size bigint NOT NULL, "
        "peaks bytea NOT NULL)"
    ),
    "INSERT INTO modelward_head VALUES (0, 0, '')",
)
SPY = (
    "CREATE TABLE IF NOT EXISTS stolen (who text)",
    (
        "CREATE OR REPLACE FUNCTION spy() RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO stolen VALUES (current_user); RETURN true; END $$"
    ),
    (
        "CREATE OR REPLACE FUNCTION spying() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO stolen VALUES (current_user); RETURN NEW; END $$"
    ),
)
PUT = {
    "trigger": ["CREATE TRIGGER t BEFORE INSERT ON modelward_leaf FOR EACH ROW EXECUTE FUNCTION spying()"],
    "trigger on the head": [
        "CREATE TRIGGER t BEFORE UPDATE ON modelward_head FOR EACH STATEMENT EXECUTE FUNCTION spying()"
    ],
    "rule": ["CREATE RULE r AS ON INSERT TO modelward_leaf DO ALSO INSERT INTO stolen VALUES (current_user)"],
    "check": ["ALTER TABLE modelward_leaf ADD CHECK (spy())"],
    "index": ["CREATE INDEX i ON modelward_leaf (substr(body, 1, 4))"],
    "generated column": ["ALTER TABLE modelward_leaf ADD twice bigint GENERATED ALWAYS AS (2 * seq) STORED"],
    "rows for some": [
        "ALTER TABLE modelward_leaf ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON modelward_leaf USING (spy())",
    ],
    "child": ["CREATE TABLE child () INHERITS (modelward_leaf)"],
    "view": [
        "ALTER TABLE modelward_leaf RENAME TO hidden_leaf",
        "CREATE VIEW modelward_leaf AS SELECT seq, body FROM hidden_leaf WHERE spy()",
    ],
    "view of the head": [
        "ALTER TABLE modelward_head RENAME TO hidden_head",
        "CREATE VIEW modelward_head AS SELECT id, size, peaks FROM hidden_head, generate_series(1, 1000000)",
    ],
    "unlogged": ["ALTER TABLE modelward_leaf SET UNLOGGED"],
}


@pytest.fixture
def sql(server, database):
    connection = server.connect(database)
    yield connection.run
    for name in ("modelward_leaf", "modelward_head"):
        kind = connection.run("SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)", name=name)
        if kind == [["v"]]:
            connection.run(f"DROP VIEW {name}")
    connection.run(
        "DROP TABLE IF EXISTS child, hidden_leaf, hidden_head, modelward_leaf, modelward_head, stolen"
    )
    connection.run("DROP FUNCTION IF EXISTS spy, spying CASCADE")
    connection.close()


@pytest.mark.parametrize("put", PUT.values(), ids=PUT.keys())
def test_what_is_not_the_two_tables_is_neither_read_nor_written(url, sql, put):
    for statement in (*TABLES, *SPY, *put):
        sql(statement)
    for opening in (Ledger.open, Ledger.open_read_only):
        with pytest.raises(LedgerTampered, match="something else than the tables of a ledger"):
            opening(url)
    assert sql("SELECT count(*) FROM stolen") == [[0]]


def test_the_tables_alone_are_a_ledger_whoever_made_them(url, sql):
    for statement in TABLES:
        sql(statement)
    ledger = Ledger.open(url)
    assert ledger.append({"n": 1}).size == 1
    ledger.close()
