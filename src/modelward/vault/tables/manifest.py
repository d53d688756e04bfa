"""The manifest of a table: its columns, its groups of rows and the root over both.

A manifest pins values: the same rows in another file, with another compression or encoding, have the same
row digests, and the same groups where they are cut alike. docs/formats/table-manifest.md specifies it.
"""

from __future__ import annotations

import hmac
import re
from itertools import groupby
from typing import TYPE_CHECKING, Final, final

import msgspec
import pyarrow as pa

from modelward.core.canonical import canonical, digest
from modelward.errors import ConfigInvalid, ContentChanged, FileDamaged, ProofInvalid, SealDamaged
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import inclusion_path, root_by_inclusion, tree_root
from modelward.vault.dsse import load
from modelward.vault.tables.reading import TableOptions, columns_of, open_table
from modelward.vault.tables.rows import EMPTY, root_of, row_digests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelward.core.canonical import JSON
    from modelward.vault.tables.reading import Piece, Table

FORMAT: Final = "modelward.table/1"
MAX_GROUPS: Final = 1 << 22
"""A manifest of more groups is refused."""

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES: Final = 1 << 30
_MOST_VALUES: Final = 4 * MAX_GROUPS


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of rows.

    Attributes:
        rows: how many.
        root: RFC 6962 root over the row digests, 64 hexadecimal digits.
    """

    rows: int
    root: str


class TableManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table holds.

    Attributes:
        columns: name and logical type, in order.
        groups: in order.
        options: how the file was read; another reader must read it alike.
        root: ``sha256:<hex>`` over the columns and the groups.
    """

    columns: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]
    options: TableOptions
    root: str

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(group.rows for group in self.groups)

    def first_row(self, group: int) -> int:
        """Place of a group's first row in the table."""
        return sum(part.rows for part in self.groups[:group])


class GroupProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a group of rows belongs to a table's root.

    Attributes:
        columns: digest of the columns, 64 hexadecimal digits.
        group: its place.
        groups: how many the table has.
        first: place of its first row in the table.
        rows: how many rows it has.
        root: over its row digests.
        path: the siblings from the group's leaf to the table's root, hexadecimal.
    """

    columns: str
    group: int
    groups: int
    first: int
    rows: int
    root: str
    path: tuple[str, ...]


def manifest(path: Path, options: TableOptions | None = None) -> TableManifest:
    """Read a parquet, Arrow or csv file once and digest its rows. Memory does not grow with the file.

    Args:
        path: the file.
        options: how it is read.

    Raises:
        InputError: the file cannot be read as a table (`FileMissing`, `FileDamaged`, `FormatUnknown`,
            `ConfigInvalid`, `ContentUnstable` say why), or a type has no canonical form.
    """
    options = options or TableOptions()
    with open_table(path, options) as table:
        columns = tuple(columns_of(table.schema))
        groups = tuple(_groups(path, table, None))
    if len(groups) > MAX_GROUPS:
        raise ConfigInvalid(
            f"{path}: {len(groups):,} groups are more than {MAX_GROUPS:,}",
            advice="State the rows of a group, so that there are fewer.",
        )
    return TableManifest(columns=columns, groups=groups, options=options, root=_root(columns, groups))


def verify_manifest(path: Path, expected: TableManifest) -> None:
    """Read a file and check that it holds exactly the rows of a manifest.

    Args:
        path: the file.
        expected: a manifest that is trusted (`read_signed` gives one).

    Raises:
        ContentChanged: a column, a group or the number of rows differs; the sentence names the first.
        InputError: the file cannot be read as a table.
    """
    with open_table(path, expected.options) as table:
        _require_columns(path, tuple(columns_of(table.schema)), expected.columns)
        found = 0
        for place, group in enumerate(_groups(path, table, None)):
            if place == len(expected.groups):
                raise ContentChanged(f"{path}: holds more than the {expected.rows:,} rows of its manifest")
            if group != expected.groups[place]:
                first = expected.first_row(place)
                last = first + expected.groups[place].rows - 1
                raise ContentChanged(
                    f"{path}: group {place} (rows {first:,} to {last:,}) is not that of its manifest"
                )
            found += 1
    if found != len(expected.groups):
        raise ContentChanged(
            f"{path}: ends after {found} of the {len(expected.groups)} groups of its manifest"
        )


def prove_group(pinned: TableManifest, group: int) -> GroupProof:
    """The proof of one group, for whoever has the root but not the manifest.

    Args:
        pinned: the manifest.
        group: the group's place, ``0 <= group < len(pinned.groups)``.

    Raises:
        IndexError: there is no such group.
    """
    leaves = _leaves(pinned.columns, pinned.groups)
    if group >= len(pinned.groups):
        raise IndexError(f"there is no group {group} among {len(pinned.groups)}")
    return GroupProof(
        columns=_columns_digest(pinned.columns),
        group=group,
        groups=len(pinned.groups),
        first=pinned.first_row(group),
        rows=pinned.groups[group].rows,
        root=pinned.groups[group].root,
        path=tuple(part.hex() for part in inclusion_path(leaves, group)),
    )


def verify_group(path: Path, proof: GroupProof, root: str, options: TableOptions | None = None) -> None:
    """Read one group of a file alone and check it against a table's root.

    Of parquet and of Arrow files nothing else is read; in csv and Arrow streams, and with `group_rows`, the
    rows before are parsed but not digested.

    Args:
        path: the file.
        proof: as `prove_group` gives it.
        root: ``sha256:<hex>``, trusted.
        options: those of the manifest.

    Raises:
        ProofInvalid: the proof does not lead to the root.
        ContentChanged: the group, or a column, is not the one that was pinned.
        InputError: the file cannot be read as a table.
    """
    if not all(_HEX.fullmatch(text) for text in (proof.columns, proof.root, *proof.path)):
        raise ProofInvalid("the proof holds what is no SHA-256")
    if not (0 <= proof.first < 2**53 and 0 <= proof.rows < 2**53):
        raise ProofInvalid(f"the proof speaks of {proof.rows} rows from row {proof.first} on")
    leaf = _leaf(proof.columns, proof.first, Group(proof.rows, proof.root))
    siblings = [bytes.fromhex(part) for part in proof.path]
    found = root_by_inclusion(leaf, proof.group, proof.groups, siblings)
    if not hmac.compare_digest(f"sha256:{found.hex()}", root):
        raise ProofInvalid(f"the proof of group {proof.group} does not lead to the root")
    with open_table(path, options or TableOptions()) as table:
        if _columns_digest(columns_of(table.schema)) != proof.columns:
            raise ContentChanged(f"{path}: has other columns than those that were pinned")
        groups = list(_groups(path, table, range(proof.group, proof.group + 1)))
    if groups != [Group(proof.rows, proof.root)]:
        raise ContentChanged(f"{path}: group {proof.group} is not the one that was pinned")


def encode(pinned: TableManifest) -> dict[str, JSON]:
    """The manifest as JSON values."""
    options: dict[str, JSON] = {}
    if pinned.options.group_rows is not None:
        options["group_rows"] = pinned.options.group_rows
    if pinned.options.types:
        options["types"] = dict(pinned.options.types)
    return {
        "format": FORMAT,
        "columns": [[name, kind] for name, kind in pinned.columns],
        "groups": [[group.rows, group.root] for group in pinned.groups],
        "options": options,
        "root": pinned.root,
        "rows": pinned.rows,
    }


def decode(value: JSON) -> TableManifest:
    """Read a manifest; its root is computed, not believed.

    Raises:
        SealDamaged: it is not what the format allows, or its root is not that of its groups.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise SealDamaged(f"the manifest is not of format {FORMAT}")
    try:
        document = msgspec.convert(value, _Document)
    except msgspec.ValidationError as error:
        raise SealDamaged(f"the manifest is not what its format allows: {str(error)[:200]}") from error
    groups = tuple(Group(rows, root) for rows, root in document.groups)
    if len(groups) > MAX_GROUPS or any(part.rows < 0 or not _HEX.fullmatch(part.root) for part in groups):
        raise SealDamaged("a group of the manifest has no rows or no root that could be")
    try:
        root = _root(document.columns, groups)
    except ValueError as error:  # a number beyond 2**53, half a surrogate pair
        raise SealDamaged(f"the manifest holds what has no canonical form: {str(error)[:200]}") from error
    found = TableManifest(columns=document.columns, groups=groups, options=document.options, root=root)
    if found.root != document.root:
        raise SealDamaged("the manifest's root is not that of its columns and groups")
    if found.rows != document.rows:
        raise SealDamaged(f"the manifest speaks of {document.rows:,} rows and lists {found.rows:,}")
    return found


def parse(data: bytes) -> TableManifest:
    """Read a manifest's file.

    Raises:
        SealDamaged: it is none.
    """
    if len(data) > _MAX_BYTES:
        raise SealDamaged(f"the manifest has {len(data):,} bytes, more than {_MAX_BYTES:,}")
    return decode(load(data, "the manifest", most=_MOST_VALUES))


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The manifest as it is written."""

    format: str
    columns: tuple[tuple[str, str], ...]
    groups: tuple[tuple[int, str], ...]
    options: TableOptions
    root: str
    rows: int


def _groups(path: Path, table: Table, groups: range | None) -> Iterator[Group]:
    try:
        for _, pieces in groupby(table.pieces(groups), key=lambda piece: piece.group):
            counted = _Counted(pieces)
            root = root_of(counted.digests())
            yield Group(counted.rows, root.hex())
    except pa.ArrowException as error:
        raise FileDamaged(f"{path}: holds a value that its type does not allow") from error


@final
class _Counted:
    """Digests rows and counts them."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self.rows = 0

    def digests(self) -> Iterator[list[bytes]]:
        for piece in self._pieces:
            self.rows += piece.rows
            yield row_digests(piece.columns, piece.rows)


def _require_columns(
    path: Path, found: tuple[tuple[str, str], ...], expected: tuple[tuple[str, str], ...]
) -> None:
    for place, (here, there) in enumerate(zip(found, expected, strict=False)):
        if here != there:
            raise ContentChanged(
                f"{path}: column {place + 1} is {here[0]!r} of type {here[1]}, pinned was {there[0]!r} of "
                f"type {there[1]}"
            )
    if len(found) != len(expected):
        raise ContentChanged(f"{path}: has {len(found)} columns, pinned were {len(expected)}")


def _columns_digest(columns: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    return digest([[name, kind] for name, kind in columns])


def _leaf(columns: str, first: int, group: Group) -> bytes:
    return leaf_hash(canonical({"columns": columns, "first": first, "root": group.root, "rows": group.rows}))


def _leaves(columns: tuple[tuple[str, str], ...], groups: tuple[Group, ...]) -> list[bytes]:
    """One leaf per group; one of no rows where there is no group, so that the columns are bound."""
    name, first, leaves = _columns_digest(columns), 0, []
    for group in groups or (Group(0, EMPTY.hex()),):
        leaves.append(_leaf(name, first, group))
        first += group.rows
    return leaves


def _root(columns: tuple[tuple[str, str], ...], groups: tuple[Group, ...]) -> str:
    return "sha256:" + tree_root(_leaves(columns, groups)).hex()
