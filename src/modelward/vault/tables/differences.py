"""Which rows of a table changed: groups first, where manifests are at hand, then rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec
import pyarrow as pa

from modelward.errors import FileDamaged, InputError
from modelward.vault.tables.alignment import Digests, Gap, gaps
from modelward.vault.tables.manifest import TableManifest
from modelward.vault.tables.reading import TableOptions, columns_of, open_table
from modelward.vault.tables.rows import row_digests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.vault.tables.reading import Table

LIMIT: Final = 10_000
"""Spans that are listed; all are counted."""


class Span(msgspec.Struct, frozen=True):
    """Rows that follow one another.

    Attributes:
        old: place of the first in the old table; of added rows, where they would stand.
        new: place of the first in the new table; of removed rows, where they would stand.
        rows: how many.
    """

    old: int
    new: int
    rows: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from one table to the next. Row numbers count from 0, without a header.

    Attributes:
        schema: sentences on columns that are not in both, or of another type; rows are then compared over
            the columns that both have.
        changed: rows of the old table in whose place other rows stand.
        removed: rows of the old table alone.
        added: rows of the new table alone.
        rows_changed: how many in all.
        rows_removed: how many in all.
        rows_added: how many in all.
        truncated: whether more spans exist than are listed.
    """

    schema: tuple[str, ...]
    changed: tuple[Span, ...]
    removed: tuple[Span, ...]
    added: tuple[Span, ...]
    rows_changed: int
    rows_removed: int
    rows_added: int
    truncated: bool

    @property
    def equal(self) -> bool:
        """Whether columns and rows are the same."""
        return not (self.schema or self.rows_changed or self.rows_removed or self.rows_added)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of two tables.

    Attributes:
        path: the file.
        options: how it is read; with a manifest, its own count.
        manifest: groups that both manifests list are believed to be equal and are not read.
    """

    path: Path
    options: TableOptions = TableOptions()
    manifest: TableManifest | None = None

    def reading(self) -> TableOptions:
        """How the file is read."""
        return self.options if self.manifest is None else self.manifest.options


def changed_groups(old: TableManifest, new: TableManifest) -> list[Gap]:
    """Groups that are not in both tables, from the manifests alone.

    Args:
        old: the manifest before.
        new: the manifest after.

    Returns:
        Ranges of groups ``old[a:b]`` in whose place ``new[c:d]`` stands, in order.
    """
    if old.columns != new.columns:
        return [Gap(0, len(old.groups), 0, len(new.groups))]
    with tempfile.TemporaryFile() as first, tempfile.TemporaryFile() as second:
        sides = Digests(first), Digests(second)
        for side, pinned in zip(sides, (old, new), strict=True):
            side.append([bytes.fromhex(group.root) for group in pinned.groups])
        return list(gaps(*sides))


def difference(old: Path | Side, new: Path | Side, *, limit: int = LIMIT) -> Difference:
    """Compare two tables row by row. An inserted row moves those after it and changes none of them.

    Rows that stand in one another's place are counted as changed, pairwise from the first; what is left over
    on one side is removed or added. A row that moved is removed and added.

    Args:
        old: the table before.
        new: the table after.
        limit: spans of each kind that are listed.

    Raises:
        InputError: a file cannot be read as a table.
    """
    old, new = _side(old), _side(new)
    found = _Found(limit)
    with open_table(old.path, old.reading()) as before, open_table(new.path, new.reading()) as after:
        schema, shared = _schemas(before, after)
        for part in _parts(old, new, before, after):
            firsts = _first(old, part.a), _first(new, part.c)
            with tempfile.TemporaryFile() as left, tempfile.TemporaryFile() as right:
                sides = Digests(left), Digests(right)
                _collect(old.path, before, range(part.a, part.b), shared, sides[0])
                _collect(new.path, after, range(part.c, part.d), shared, sides[1])
                for gap in gaps(*sides):
                    found.add(gap, firsts)
    return Difference(
        schema=schema,
        changed=tuple(found.changed),
        removed=tuple(found.removed),
        added=tuple(found.added),
        rows_changed=found.counts[0],
        rows_removed=found.counts[1],
        rows_added=found.counts[2],
        truncated=found.truncated,
    )


def _side(given: Path | Side) -> Side:
    return given if isinstance(given, Side) else Side(path=given)


@final
class _Found:
    """Collects spans up to a limit and counts all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.changed: list[Span] = []
        self.removed: list[Span] = []
        self.added: list[Span] = []
        self.counts = [0, 0, 0]
        self.truncated = False

    def add(self, gap: Gap, firsts: tuple[int, int]) -> None:
        old, new = gap.a + firsts[0], gap.c + firsts[1]
        pairs = min(gap.b - gap.a, gap.d - gap.c)
        sizes = pairs, gap.b - gap.a - pairs, gap.d - gap.c - pairs
        for place, (spans, rows) in enumerate(
            zip((self.changed, self.removed, self.added), sizes, strict=True)
        ):
            self.counts[place] += rows
            if rows and len(spans) < self._limit:
                skip = pairs if place else 0
                spans.append(Span(old + skip, new + skip, rows))
            elif rows:
                self.truncated = True


def _parts(old: Side, new: Side, before: Table, after: Table) -> Iterable[Gap]:
    """Ranges of groups that must be read; one after another is only worth it where each can be reached."""
    if old.manifest is None or new.manifest is None:
        return [Gap(0, -1, 0, -1)]
    found = changed_groups(old.manifest, new.manifest)
    if len(found) > 1 and not (before.direct and after.direct):
        return [Gap(found[0].a, found[-1].b, found[0].c, found[-1].d)]
    return found


def _first(side: Side, group: int) -> int:
    return 0 if side.manifest is None else side.manifest.first_row(group)


def _collect(path: Path, table: Table, groups: range, shared: list[str], into: Digests) -> None:
    places = [table.schema.get_field_index(name) for name in shared]
    try:
        for piece in table.pieces(None if groups.stop < 0 else groups):
            if piece.rows:
                into.append(row_digests([piece.columns[place] for place in places], piece.rows))
    except pa.ArrowException as error:
        raise FileDamaged(f"{path}: holds a value that its type does not allow") from error


def _schemas(before: Table, after: Table) -> tuple[tuple[str, ...], list[str]]:
    """What differs between the columns, and the names of those that do not."""
    old, new = dict(columns_of(before.schema)), dict(columns_of(after.schema))
    sentences = [f"column {name!r} was removed" for name in old if name not in new]
    sentences += [f"column {name!r} was added" for name in new if name not in old]
    sentences += [
        f"column {name!r} was {old[name]} and is {new[name]}"
        for name in old
        if name in new and old[name] != new[name]
    ]
    shared = [name for name, kind in old.items() if new.get(name) == kind]
    if not shared:
        raise InputError("the two tables have no column of the same name and type", advice="Compare others.")
    if not sentences and list(old) != list(new):
        sentences.append("the columns stand in another order")
    return tuple(sentences), shared
