"""The SQLite store: records, their order and their head change together or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, final

from modelward.core.canonical import JSON, canonical, parse
from modelward.errors import FileMissing, LedgerTampered, LedgerUnwritable
from modelward.ledger.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILE_NAME = "ledger.db"
_SCHEMA = """
CREATE TABLE leaf (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, peaks BLOB NOT NULL) STRICT;
INSERT INTO head VALUES (0, 0, x'');
"""
# What the disk or the folder refused; any other error of SQLite means that the file is not what was written.
_UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}


class Head(NamedTuple):
    """What identifies every record of a ledger and their order.

    Attributes:
        size: number of records.
        root: RFC 6962 root, 64 hexadecimal digits.
    """

    size: int
    root: str


@final
class Ledger:
    """An append-only list of JSON records in one folder.

    Opening reads and hashes every record, so what is read afterwards was verified against the stored head.
    Several processes may append at once; SQLite's write lock orders them.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> Ledger:
        """Open the ledger in a folder for appending; create both (folder 0700, file 0600) when absent.

        Raises:
            LedgerUnwritable: the folder or file cannot be created, read or written.
            LedgerTampered: the records are not those that the stored head names.
        """
        path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be opened for writing ({error.strerror})") from error
        with _sqlite_errors(path):
            ledger = cls(folder, _connect(f"file:{_quoted(path)}?mode=rw"))
            ledger._initialise()
            ledger.verify()
        return ledger

    @classmethod
    def open_read_only(cls, folder: Path) -> Ledger:
        """Open an existing ledger without writing anything, also from a read-only folder.

        Raises:
            FileMissing: there is no ledger.
            LedgerTampered: the records are not those that the stored head names.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise FileMissing(
                f"{path}: there is no ledger", advice="Run `modelward audit` first, or give its folder."
            )
        # A write-ahead log must be replayed; without one, `immutable` spares SQLite its lock files.
        live = path.with_name(path.name + "-wal").exists()
        with _sqlite_errors(path):
            ledger = cls(folder, _connect(f"file:{_quoted(path)}?{'mode=ro' if live else 'immutable=1'}"))
            ledger.verify()
        return ledger

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def head(self) -> Head:
        """The current head."""
        with _sqlite_errors(self.folder / FILE_NAME):
            frontier = self._frontier()
        return Head(frontier.size, frontier.root().hex())

    def append(self, *records: dict[str, JSON]) -> Head:
        """Add records at the end, all or none, durably.

        Args:
            records: JSON objects; each is stored as canonical JSON.

        Raises:
            LedgerUnwritable: the disk or folder refused; nothing was added.
            ValueError: a record is not canonicalisable (not finite, ...).
        """
        bodies = [canonical(record) for record in records]
        with _sqlite_errors(self.folder / FILE_NAME), self._transaction():
            frontier = self._frontier()
            for body in bodies:
                self._db.execute("INSERT INTO leaf VALUES (?, ?)", (frontier.size, body))
                frontier.append(body)
            self._db.execute(
                "UPDATE head SET size = ?, peaks = ? WHERE id = 0", (frontier.size, b"".join(frontier.peaks))
            )
        return Head(frontier.size, frontier.root().hex())

    def records(self) -> Iterator[dict[str, JSON]]:
        """All records, oldest first."""
        with _sqlite_errors(self.folder / FILE_NAME):
            for body in self._bodies():
                yield _decode(body)

    def verify(self, head: str | None = None) -> Head:
        """Hash everything again.

        Args:
            head: a root that was printed earlier; the ledger may have grown since, but must still begin with
                exactly the records that this root names.

        Returns:
            The current head.

        Raises:
            LedgerTampered: a record was altered, removed, inserted or reordered, or `head` names no beginning
                of this ledger.
        """
        frontier = Frontier()
        known = head is None or frontier.root().hex() == head
        with _sqlite_errors(self.folder / FILE_NAME):
            # One read transaction: a writer in another process must not move the head under the walk.
            self._db.execute("BEGIN")
            try:
                stored = self._frontier()
                for body in self._bodies():
                    frontier.append(body)  # covers the very bytes; they are parsed when they are read
                    known = known or frontier.root().hex() == head
            finally:
                self._db.execute("ROLLBACK")
        if (frontier.size, frontier.peaks) != (stored.size, stored.peaks):
            raise LedgerTampered(
                f"the {frontier.size} records do not match the stored head of {stored.size}: "
                "a record was altered, removed, inserted or reordered"
            )
        if not known:
            raise LedgerTampered(f"no beginning of this ledger has the head {head}")
        return Head(frontier.size, frontier.root().hex())

    def _initialise(self) -> None:
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        with self._transaction():
            # Another process may have been faster.
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _SCHEMA.strip().splitlines():
                    self._db.execute(statement)
                self._db.execute("PRAGMA user_version = 1")

    def _frontier(self) -> Frontier:
        row = self._db.execute("SELECT size, peaks FROM head").fetchall()
        if len(row) != 1 or not isinstance(row[0][1], bytes) or len(row[0][1]) != 32 * row[0][0].bit_count():
            raise LedgerTampered("the stored head is damaged")
        size, peaks = row[0]
        return Frontier(size, [peaks[i : i + 32] for i in range(0, len(peaks), 32)])

    def _bodies(self) -> Iterator[bytes]:
        for expected, (seq, body) in enumerate(self._db.execute("SELECT seq, body FROM leaf ORDER BY seq")):
            if seq != expected or not isinstance(body, bytes):
                raise LedgerTampered(f"record {expected} is missing or damaged")
            yield body

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself (full disk).
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def find_all(records: Sequence[dict[str, JSON]], **wanted: JSON) -> list[dict[str, JSON]]:
    """The records that have all the given entries, in order."""
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _quoted(path: Path) -> str:
    return path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _decode(body: bytes) -> dict[str, JSON]:
    try:
        record = parse(body)
    except (ValueError, RecursionError) as error:
        raise LedgerTampered("a record is not JSON") from error
    if not isinstance(record, dict):
        raise LedgerTampered("a record is not a JSON object")
    return record


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and (code & 0xFF) in _UNWRITABLE:
            raise LedgerUnwritable(f"{path}: cannot be used ({error})") from error
        raise LedgerTampered(f"{path}: is not a ledger as modelward writes it ({error})") from error
    except (OverflowError, UnicodeDecodeError, ValueError) as error:
        raise LedgerTampered(f"{path}: holds values no ledger holds ({error})") from error
