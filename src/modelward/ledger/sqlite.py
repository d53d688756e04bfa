"""The records in one SQLite file, the default."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from modelward.errors import ContentUnstable, FileMissing, LedgerTampered, LedgerUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILE_NAME = "ledger.db"
_IMMUTABLE = "immutable=1"
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
_SECONDS = 30
_PAUSE = 0.01


@final
class Sqlite:
    """The tables in one file."""

    def __init__(self, path: Path, mode: str) -> None:
        self._path = path
        # SQLite does not notice that an `immutable` file is written to: what was read may then be a mixture.
        self._unwritten = _stamp(path) if mode == _IMMUTABLE else None
        with self.errors():
            self._db = sqlite3.connect(
                f"file:{_quoted(path)}?{mode}", uri=True, isolation_level=None, timeout=_SECONDS
            )
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
            _make(path)
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be opened for writing ({error.strerror})") from error
        opened = cls(path, "mode=rw")
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
        opened = cls(path, "mode=ro" if live else _IMMUTABLE)
        opened._checked()
        return opened

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say what SQLite raises in words of the ledger."""
        try:
            with self._words():
                yield
        except LedgerTampered:
            self._require_unwritten()
            raise
        self._require_unwritten()

    def _require_unwritten(self) -> None:
        if self._unwritten not in {None, _stamp(self._path)}:
            raise ContentUnstable(f"{self._path}: was written to while it was read")

    @contextmanager
    def _words(self) -> Iterator[None]:
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

    def leaves(self) -> Iterator[tuple[object, object]]:
        """Place and body of every record, and of rows before 0, which no ledger has."""
        return iter(self._db.execute("SELECT seq, body FROM leaf ORDER BY seq"))

    def leaf(self, index: int) -> object:
        """The body of one record; null where there is none."""
        row = self._db.execute("SELECT body FROM leaf WHERE seq = ?", (index,)).fetchone()
        return row[0] if row else None

    def add(self, start: int, bodies: Sequence[bytes], size: int, peaks: bytes) -> None:
        """Insert records at their places and set the head."""
        self._db.executemany("INSERT INTO leaf VALUES (?, ?)", enumerate(bodies, start))
        self._db.execute("UPDATE head SET size = ?, peaks = ? WHERE id = 0", (size, peaks))

    def _initialise(self) -> None:
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
            return
        self._use_log()
        with self._transaction("BEGIN IMMEDIATE"):
            # Another process may have been faster.
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _SCHEMA.strip().splitlines():
                    self._db.execute(statement)
                self._db.execute("PRAGMA user_version = 1")

    def _use_log(self) -> None:
        """Keep a write-ahead log. SQLite does not wait for somebody else who is making the same file."""
        until = time.monotonic() + _SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE)
            else:
                return

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
        finally:
            if self._db.in_transaction:  # else it was committed, or SQLite rolled back by itself (full disk)
                self._db.execute("ROLLBACK")


def _make(path: Path) -> None:
    """Create a file, 0600, unless it is there.

    One that is there is not opened: closing a handle of it would drop the locks that SQLite holds on it
    elsewhere in this process, and another process could remove the log below a ledger that is open here.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written to; null where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _quoted(path: Path) -> str:
    return path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")
