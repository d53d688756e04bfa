"""The store: records, their order and their head change together or not at all."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

from modelward.core.canonical import JSON, canonical, parse
from modelward.errors import ContentUnstable, LedgerTampered
from modelward.ledger.merkle import Frontier
from modelward.ledger.place import is_database
from modelward.ledger.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


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

    def leaves(self) -> Iterator[tuple[object, object]]:
        """Place and body of every record, and of rows before 0, which no ledger has."""
        ...

    def leaf(self, index: int) -> object:
        """The body of one record; null where there is none."""
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
            ContentUnstable: the file was written to meanwhile, twice; what reads later raises it too.
            KeyServiceFailed: the database's server does not answer.
            ConfigInvalid: the URL cannot be used.
            ExtraMissing: the extra [postgres] is not installed.
        """
        try:
            return cls._verified(_connect(place, writing=False))
        except ContentUnstable:
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
            KeyServiceFailed: the server went away; where that was at the very end, they may be there.
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
            body = self._rows.leaf(index)
        if isinstance(body, bytes):
            return body
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
        for expected, (seq, body) in enumerate(self._rows.leaves()):
            if seq != expected or not isinstance(body, bytes):
                raise LedgerTampered(f"record {expected} is missing or damaged")
            yield body


def find_all(records: Sequence[dict[str, JSON]], **wanted: JSON) -> list[dict[str, JSON]]:
    """The records that have all the given entries, in order."""
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def _connect(place: str | Path, *, writing: bool) -> Rows:
    if is_database(place):
        from modelward.ledger.postgres import Postgres

        return Postgres.connect(str(place), writing=writing)
    return Sqlite.create(Path(place)) if writing else Sqlite.read(Path(place))


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
