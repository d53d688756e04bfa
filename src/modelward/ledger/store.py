"""The store: records, their order and their head change together or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

from modelward.core.canonical import JSON, canonical, parse
from modelward.errors import FileMissing, LedgerTampered, LedgerUnwritable
from modelward.ledger.merkle import Frontier
from modelward.ledger.place import is_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

FILE_NAME = "ledger.db"
_SCHEMA = """
CREATE TABLE leaf (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, peaks BLOB NOT NULL) STRICT;
INSERT INTO head VALUES (0, 0, x'');
"""
_TABLES = {
    ("table", name, statement.removesuffix(";"))
    for name, statement in zip(("leaf", "head"), _SCHEMA.strip().splitlines(), strict=False)
}
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


class Rows(Protocol):
    """Two tables in which a ledger lies. What is read from them is not believed before it was verified."""

    def close(self) -> None:
        """Let go of it."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Say what the database raises in words of the ledger."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """One transaction that no other writer overlaps; it is rolled back when the block raises."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """One snapshot."""
        ...

    def heads(self) -> list[tuple[object, object]]:
        """Size and peaks in every row of the head's table; one row is right."""
        ...

    def leaves(self, start: int) -> Iterator[tuple[object, object]]:
        """Place and body of every record from a place on, and of rows before 0, which no ledger has."""
        ...

    def add(self, start: int, bodies: Sequence[bytes], size: int, peaks: bytes) -> None:
        """Insert records at their places and set the head."""
        ...


@final
class Ledger:
    """An append-only list of JSON records: a file in a folder, or a database.

    Opening reads and hashes every record, so what is read afterwards was verified against the stored head.
    Several processes may append at once; the write lock of the database orders them.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @classmethod
    def open(cls, place: str | Path) -> Ledger:
        """Open a ledger for appending; create it when absent (folder 0700, file 0600).

        Args:
            place: its folder, or the URL of a PostgreSQL database (`modelward.ledger.place`).

        Raises:
            LedgerUnwritable: the folder, file or database cannot be created, read or written.
            LedgerTampered: the records are not those that the stored head names.
            KeyServiceFailed: the database's server does not answer.
            ConfigInvalid: the URL cannot be used.
            ExtraMissing: the extra [postgres] is not installed.
        """
        return cls._verified(_connect(place, writing=True))

    @classmethod
    def open_read_only(cls, place: str | Path) -> Ledger:
        """Open an existing ledger without writing anything, also from a read-only folder.

        Raises:
            FileMissing: there is no ledger.
            LedgerTampered: the records are not those that the stored head names.
            KeyServiceFailed: the database's server does not answer.
            ConfigInvalid: the URL cannot be used.
            ExtraMissing: the extra [postgres] is not installed.
        """
        return cls._verified(_connect(place, writing=False))

    @classmethod
    def _verified(cls, rows: Rows) -> Ledger:
        whole = False
        try:
            ledger = cls(rows)
            ledger.verify()
            whole = True
        finally:
            if not whole:
                rows.close()
        return ledger

    def close(self) -> None:
        """Release the file or the connection."""
        self._rows.close()

    def head(self) -> Head:
        """The current head."""
        with self._rows.errors():
            frontier = self._frontier()
        return Head(frontier.size, frontier.root().hex())

    def append(self, *records: dict[str, JSON]) -> Head:
        """Add records at the end, all or none, durably.

        Args:
            records: JSON objects; each is stored as canonical JSON.

        Raises:
            LedgerUnwritable: the disk, folder or database refused; nothing was added.
            ValueError: a record is not canonicalisable (not finite, ...).
        """
        bodies = [canonical(record) for record in records]
        with self._rows.errors(), self._rows.writing():
            frontier = self._frontier()
            start = frontier.size
            for body in bodies:
                frontier.append(body)
            self._rows.add(start, bodies, frontier.size, b"".join(frontier.peaks))
        return Head(frontier.size, frontier.root().hex())

    def records(self) -> Iterator[dict[str, JSON]]:
        """All records, oldest first."""
        for body in self.bodies():
            yield decode(body)

    def bodies(self, count: int | None = None) -> Iterator[bytes]:
        """Canonical JSON of the records, oldest first: the leaves of the tree.

        Args:
            count: the first so many; null: all.
        """
        with self._rows.errors():
            yield from islice(self._bodies(), count)

    def body(self, index: int) -> bytes:
        """Canonical JSON of one record.

        Raises:
            LedgerTampered: it is not there.
        """
        with self._rows.errors():
            for seq, body in self._rows.leaves(index):
                if seq == index and isinstance(body, bytes):
                    return body
                break
        raise LedgerTampered(f"record {index} is missing or damaged")

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` records, 32 bytes.

        Raises:
            LedgerTampered: there are fewer.
        """
        frontier = Frontier()
        for body in self.bodies(size):
            frontier.append(body)
        if frontier.size != size:
            raise LedgerTampered(f"the ledger holds {frontier.size} records and once held {size}")
        return frontier.root()

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
        # One snapshot: a writer in another process must not move the head under the walk.
        with self._rows.errors(), self._rows.reading():
            stored = self._frontier()
            for body in self._bodies():
                frontier.append(body)  # covers the very bytes; they are parsed when they are read
                known = known or frontier.root().hex() == head
        if (frontier.size, frontier.peaks) != (stored.size, stored.peaks):
            raise LedgerTampered(
                f"the {frontier.size} records do not match the stored head of {stored.size}: "
                "a record was altered, removed, inserted or reordered"
            )
        if not known:
            raise LedgerTampered(f"no beginning of this ledger has the head {head}")
        return Head(frontier.size, frontier.root().hex())

    def _frontier(self) -> Frontier:
        rows = self._rows.heads()
        if len(rows) == 1:
            size, peaks = rows[0]
            if isinstance(size, int) and isinstance(peaks, bytes) and len(peaks) == 32 * size.bit_count():
                return Frontier(size, [peaks[i : i + 32] for i in range(0, len(peaks), 32)])
        raise LedgerTampered("the stored head is damaged")

    def _bodies(self) -> Iterator[bytes]:
        for expected, (seq, body) in enumerate(self._rows.leaves(0)):
            if seq != expected or not isinstance(body, bytes):
                raise LedgerTampered(f"record {expected} is missing or damaged")
            yield body


@final
class Sqlite:
    """The tables in one file."""

    def __init__(self, path: Path, uri: str) -> None:
        self._path = path
        with self.errors():
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
            self._db.execute("PRAGMA synchronous = FULL")

    @classmethod
    def create(cls, folder: Path) -> Sqlite:
        """Open the file of a folder for appending; create both when absent.

        Raises:
            LedgerUnwritable: the folder or file cannot be created, read or written.
            LedgerTampered: the file is no database.
        """
        path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be opened for writing ({error.strerror})") from error
        opened = cls(path, f"file:{_quoted(path)}?mode=rw")
        with opened.errors():
            opened._initialise()
        opened._checked()
        return opened

    @classmethod
    def read(cls, folder: Path) -> Sqlite:
        """Open an existing file without writing anything.

        Raises:
            FileMissing: there is none.
            LedgerTampered: the file is no database.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise FileMissing(
                f"{path}: there is no ledger", advice="Run `modelward audit` first, or give its folder."
            )
        # A write-ahead log must be replayed; without one, `immutable` spares SQLite its lock files.
        live = path.with_name(path.name + "-wal").exists()
        opened = cls(path, f"file:{_quoted(path)}?{'mode=ro' if live else 'immutable=1'}")
        opened._checked()
        return opened

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say what SQLite raises in words of the ledger."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is not None and (code & 0xFF) in _UNWRITABLE:
                raise LedgerUnwritable(f"{self._path}: cannot be used ({error})") from error
            raise LedgerTampered(f"{self._path}: is not a ledger as modelward writes it ({error})") from error
        except (OverflowError, UnicodeDecodeError, ValueError) as error:
            raise LedgerTampered(f"{self._path}: holds values no ledger holds ({error})") from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that no other writer overlaps; it is rolled back when the block raises."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One snapshot."""
        with self._transaction("BEGIN"):
            yield

    def heads(self) -> list[tuple[object, object]]:
        """Every row of the head's table; one is right."""
        return self._db.execute("SELECT size, peaks FROM head").fetchall()

    def leaves(self, start: int) -> Iterator[tuple[object, object]]:
        """Place and body of every record from a place on, and of rows before 0, which no ledger has."""
        first = start or -(2**63)
        return iter(self._db.execute("SELECT seq, body FROM leaf WHERE seq >= ? ORDER BY seq", (first,)))

    def add(self, start: int, bodies: Sequence[bytes], size: int, peaks: bytes) -> None:
        """Insert records at their places and set the head."""
        self._db.executemany("INSERT INTO leaf VALUES (?, ?)", enumerate(bodies, start))
        self._db.execute("UPDATE head SET size = ?, peaks = ? WHERE id = 0", (size, peaks))

    def _initialise(self) -> None:
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        with self._transaction("BEGIN IMMEDIATE"):
            # Another process may have been faster.
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _SCHEMA.strip().splitlines():
                    self._db.execute(statement)
                self._db.execute("PRAGMA user_version = 1")

    def _checked(self) -> None:
        """Hold the file to the two tables that `_initialise` makes.

        A view in place of a table may give other records after they were verified, or never end; a trigger
        may change what is appended.
        """
        whole = False
        try:
            with self.errors():
                found = self._db.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(3)
            if len(found) != len(_TABLES) or set(found) != _TABLES:
                raise LedgerTampered(f"{self._path}: holds something else than the tables of a ledger")
            whole = True
        finally:
            if not whole:
                self._db.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._db.execute(begin)
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


def _connect(place: str | Path, *, writing: bool) -> Rows:
    if is_database(place):
        from modelward.ledger.postgres import Postgres

        return Postgres.connect(str(place), writing=writing)
    return Sqlite.create(Path(place)) if writing else Sqlite.read(Path(place))


def _quoted(path: Path) -> str:
    return path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def decode(body: bytes) -> dict[str, JSON]:
    """The record that a body holds.

    Raises:
        LedgerTampered: it holds none.
    """
    try:
        record = parse(body)
    except (ValueError, RecursionError) as error:
        raise LedgerTampered("a record is not JSON") from error
    if not isinstance(record, dict):
        raise LedgerTampered("a record is not a JSON object")
    return record
