"""The records in PostgreSQL, so that many machines append to one ledger.

Tables ``modelward_leaf (seq, body)`` and ``modelward_head (id, size, peaks)``, as in SQLite. A writer locks
the head's row until it commits, so appends come one after the other; a reader sees one snapshot.
"""

from __future__ import annotations

import ssl
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, final

from modelward.errors import (
    ExtraMissing,
    FileMissing,
    KeyServiceFailed,
    LedgerTampered,
    LedgerUnwritable,
    ModelwardError,
)
from modelward.ledger.place import Server, server_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pg8000.native import Connection

_LOCK: Final = 0x6D6F64656C776172  # "modelwar": creating the tables, one process at a time
_BATCH: Final = 1000
_SECONDS: Final = 60
_SCHEMA: Final = (
    "CREATE TABLE modelward_leaf (seq bigint PRIMARY KEY, body bytea NOT NULL)",
    (
        "CREATE TABLE modelward_head"
        " (id int PRIMARY KEY CHECK (id = 0), size bigint NOT NULL, peaks bytea NOT NULL)"
    ),
    "INSERT INTO modelward_head VALUES (0, 0, '')",
)
_SHAPE: Final = """
SELECT c.relname::text, c.relkind::text, c.relpersistence::text,
 c.relhassubclass OR c.relispartition OR c.relrowsecurity
  OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid)
  OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid),
 (SELECT string_agg(
   a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attgenerated::text, ',' ORDER BY a.attnum
  ) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
 (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.contype)
  FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'),
 (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid)
FROM pg_class c WHERE c.oid IN (to_regclass('modelward_leaf'), to_regclass('modelward_head')) ORDER BY 1
"""
"""Kind and persistence of both tables, whether anything hangs on them, columns, constraints, indexes."""
_TABLES: Final = [
    [
        *("modelward_head", "r", "p", False, "id integer,size bigint,peaks bytea"),
        *("CHECK ((id = 0)),PRIMARY KEY (id)", 1),
    ],
    ["modelward_leaf", "r", "p", False, "seq bigint,body bytea", "PRIMARY KEY (seq)", 1],
]
# What the driver lets through where a server speaks another protocol, or this one wrongly.
_NONSENSE: Final = (LookupError, ValueError, TypeError, AttributeError, OverflowError, struct.error)
# SQLSTATE, or its first two digits: what cannot be reached, and what must not or cannot be written.
_AWAY: Final = ("08", "28", "3D", "57P", "53300")
_UNWRITABLE: Final = ("25006", "40", "42501", "53", "55P03", "57014")


@final
class Postgres:
    """One connection.

    Attributes:
        name: how sentences call it; never holds the password.
    """

    def __init__(self, server: Server, connection: Connection) -> None:
        self.name = server.name
        self._db = connection

    @classmethod
    def connect(cls, place: str, *, writing: bool) -> Postgres:
        """Connect, and create the tables when they are absent and are to be written.

        Args:
            place: a URL, or ``env:NAME``.
            writing: else nothing is created, and the server refuses any write.

        Raises:
            ConfigInvalid: the URL cannot be used.
            KeyServiceFailed: the server does not answer, or lets nobody in by these credentials.
            FileMissing: there is no ledger in the database and none is to be created.
            LedgerUnwritable: the tables cannot be created.
            ExtraMissing: the extra [postgres] is not installed.
        """
        try:
            from pg8000.native import Connection
        except ImportError as error:
            raise ExtraMissing("pg8000", "postgres") from error
        server, secret = server_of(place)
        socket = f"{server.host}/.s.PGSQL.{server.port}" if server.host.startswith("/") else None
        context = _tls(server.roots) if server.secured else None
        with _errors(server.name):
            connection = Connection(
                server.user,
                host=server.host,
                port=server.port,
                database=server.database,
                password=secret or "",  # the driver fails on null when it is asked
                unix_sock=socket,
                ssl_context=context,
                timeout=_SECONDS,
                application_name="modelward",
            )
        opened, whole = cls(server, connection), False
        try:
            with opened.errors():
                opened._prepare(writing=writing)
            whole = True
        finally:
            if not whole:
                opened.close()
        return opened

    def close(self) -> None:
        """Disconnect; a connection that is gone already is no fault."""
        try:
            with _errors(self.name):
                self._db.close()
        except KeyServiceFailed:
            return

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say what the driver raises in words of the ledger."""
        with _errors(self.name):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that no other writer overlaps; it is rolled back when the block raises."""
        with self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED"):
            self._db.run("SELECT size FROM modelward_head WHERE id = 0 FOR UPDATE")
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One snapshot."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            yield

    def heads(self) -> list[tuple[object, object]]:
        """Every row of the head's table; one is right."""
        return [(size, peaks) for size, peaks in self._db.run("SELECT size, peaks FROM modelward_head")]

    def leaves(self) -> Iterator[tuple[object, object]]:
        """Place and body of every record, and of rows before 0, which no ledger has."""
        query = "SELECT seq, body FROM modelward_leaf WHERE seq > :last ORDER BY seq LIMIT :count"
        last = -(2**63)
        while rows := self._db.run(query, last=last, count=_BATCH):
            yield from ((seq, body) for seq, body in rows)
            last = rows[-1][0]

    def leaf(self, index: int) -> object:
        """The body of one record; null where there is none."""
        rows = self._db.run("SELECT body FROM modelward_leaf WHERE seq = :index", index=index)
        return rows[0][0] if rows else None

    def add(self, start: int, bodies: Sequence[bytes], size: int, peaks: bytes) -> None:
        """Insert records at their places and set the head."""
        for seq, body in enumerate(bodies, start):
            self._db.run("INSERT INTO modelward_leaf VALUES (:seq, :body)", seq=seq, body=body)
        self._db.run(
            "UPDATE modelward_head SET size = :size, peaks = :peaks WHERE id = 0", size=size, peaks=peaks
        )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._db.run(begin)
        whole = False
        try:
            yield
            self._db.run("COMMIT")
            whole = True
        finally:
            if not whole:
                self._roll_back()

    def _roll_back(self) -> None:
        """End what was begun; where the connection is gone the server has done so."""
        try:
            with _errors(self.name):
                self._db.run("ROLLBACK")
        except ModelwardError:
            return

    def _prepare(self, *, writing: bool) -> None:
        self._db.run("SET lock_timeout = '30s'")
        self._db.run("SET synchronous_commit = on")
        if writing:
            self._create()
        else:
            self._db.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            if not self._exists():
                raise FileMissing(
                    f"{self.name}: there is no ledger",
                    advice="Run `modelward audit` first, or name its database.",
                )
        self._check()

    def _create(self) -> None:
        with self._transaction("BEGIN"):
            self._db.run("SELECT pg_advisory_xact_lock(:key)", key=_LOCK)
            if not self._exists():
                for statement in _SCHEMA:
                    self._db.run(statement)

    def _check(self) -> None:
        """Hold the database to the two tables that `_create` makes.

        A trigger, a rule, a view or a check may change what is appended and read, and what it calls runs with
        this user's rights.
        """
        if self._db.run(_SHAPE) != _TABLES:
            raise LedgerTampered(f"{self.name}: holds something else than the tables of a ledger")

    def _exists(self) -> bool:
        [[found]] = self._db.run("SELECT to_regclass('modelward_head') IS NOT NULL")
        return bool(found)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    from pg8000.exceptions import DatabaseError, InterfaceError
    from scramp import ScramException

    try:
        yield
    except (ScramException, *_NONSENSE) as error:
        raise KeyServiceFailed(
            f"{name}: the server does not answer as PostgreSQL does ({str(error)[:80]})"
        ) from error
    except (DatabaseError, InterfaceError, OSError) as error:
        told: BaseException | None = error
        # A server that refuses a login hangs up, and the driver then fails to say goodbye.
        while told is not None and not isinstance(told, DatabaseError):
            told = told.__context__
        if told is None:
            raise KeyServiceFailed(
                f"{name}: the server does not answer ({error.__cause__ or error})"
            ) from error
        state, sentence = _said(told.args)
        if state.startswith(_AWAY):
            raise KeyServiceFailed(f"{name}: {sentence}") from error
        if state.startswith(_UNWRITABLE):
            raise LedgerUnwritable(f"{name}: cannot be used ({sentence})") from error
        raise LedgerTampered(f"{name}: is not a ledger as modelward writes it ({sentence})") from error


def _tls(roots: str | None) -> ssl.SSLContext:
    """What verifies the server's certificate and name."""
    try:
        return ssl.create_default_context(cafile=roots)
    except OSError as error:  # so are errors of ssl
        raise FileMissing(f"{roots}: holds no certificates to verify the server by ({error})") from error


def _said(args: tuple[object, ...]) -> tuple[str, str]:
    """SQLSTATE and sentence of a server's error, which the driver hands over as its fields."""
    fields = args[0] if args else None
    if isinstance(fields, dict):
        return str(fields.get("C", "")), str(fields.get("M", ""))
    return "", str(fields)
