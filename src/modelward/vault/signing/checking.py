"""Compare the files at hand with what a verified statement says about them."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from modelward.errors import ConfigInvalid, ContentChanged, FileMissing
from modelward.vault.dsse import Statement
from modelward.vault.signing import tree_statement
from modelward.vault.signing.openssf import ALONE, GIT, Manifest, Resource, read_manifest
from modelward.vault.signing.signing import excluding
from modelward.vault.signing.tree_statement import TreeStatement, read_tree_statement
from modelward.vault.tree.entries import Changes, differences, parse_root
from modelward.vault.tree.hashing import TreeOptions, hash_shards, hash_tree
from modelward.vault.tree.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

Found = TypeVar("Found")

SHOWN: Final = 10
"""Differences that a refusal names; the others are counted."""


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How strictly to compare.

    Attributes:
        partial: accept that signed files are missing, as after a partial download; at least one must be
            there, and the missing ones are reported.
        unsigned: accept files that were not signed; they are not looked at.
        tree: threads and progress; ``excluded`` must name the signature where it lies in the model. Its cache
            is not used: what is verified is read.
    """

    partial: bool = False
    unsigned: bool = False
    tree: TreeOptions = TreeOptions()


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared and found to be what was signed.

    Attributes:
        root: digest of the statement's subject, ``sha256:<hex>`` or ``blake3:<hex>``.
        files: how many files were compared.
        bytes: of these files.
        missing: files that are signed and absent, with `CheckOptions.partial`.
        unsigned: files and folders that are there and nobody signed: who signed left them out (as always what
            belongs to git), they are empty and shards do not cover them, or `CheckOptions.unsigned` accepts
            them.
    """

    root: str
    files: int
    bytes: int
    missing: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()


def read_files(statement: Statement) -> Manifest | TreeStatement:
    """What a statement of either predicate says about files.

    Raises:
        SealDamaged: the statement contradicts itself or says nothing about files.
    """
    if statement.predicate_type == tree_statement.PREDICATE:
        return read_tree_statement(statement)
    return read_manifest(statement)


def check_files(
    said: Statement | Manifest | TreeStatement, path: Path, options: CheckOptions | None = None
) -> Checked:
    """Hash what is at a path and compare it with what was signed.

    Args:
        said: the statement from `verify_bundle`; or what `read_files` makes of it, which takes less memory.
        path: a folder or a file.
        options: see `CheckOptions`.

    Raises:
        ContentChanged: a file is altered, missing, added or renamed, or no signed file is there; the sentence
            names up to ten.
        SealDamaged: the statement contradicts itself or says nothing about files.
        ConfigInvalid: a part is to be checked and the statement lists no files.
        FileMissing: there is nothing at the path, or it cannot be read.
        PathUnsafe: see `tree.walk`.
        ContentUnstable: a file changed while it was read.
    """
    chosen = options or CheckOptions()
    chosen = msgspec.structs.replace(chosen, tree=msgspec.structs.replace(chosen.tree, cache=False))
    read = read_files(said) if isinstance(said, Statement) else said
    if isinstance(read, TreeStatement):
        return _check_tree(read, path, chosen)
    return _check_manifest(read, path, chosen)


def refuse_changes(changes: Changes) -> None:
    """Raise when there is a difference.

    Raises:
        ContentChanged: there is; the sentence names up to ten files.
    """
    sentences = [shown(sentence) for sentence in changes.sentences()]
    if sentences:
        more = f" and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
        raise ContentChanged("; ".join(sentences[:SHOWN]) + more)


def _check_manifest(manifest: Manifest, path: Path, options: CheckOptions) -> Checked:
    _same_kind(path, single=manifest.single)
    signed = _by_path(manifest.resources)
    chosen, left_out = _tree_options(manifest, path, options)
    tree, unsigned = _without_unsigned(chosen, path, signed, options)
    count, length, size = len(signed), 0, manifest.shard_size
    others: dict[str, list[Resource]] = {}
    empty: list[str] = []
    shards = _present(path, tree, lambda: hash_shards(path, manifest.algorithm, size, tree))
    for file, parts in groupby(shards, key=attrgetter("path")):
        name, found = ALONE if manifest.single else file, list[Resource]()
        for part in parts:
            length += part.stop - part.start
            if part.stop or not size:
                found.append(Resource(name, part.start, part.stop if size else -1, part.digest))
        if not found:  # an empty file has no shard, so nobody signed that it is there
            empty.append(file)
        elif found == signed.get(name):
            del signed[name]
        else:
            others[name] = found
    if manifest.single and (signed or others):  # it has no name in the list, so here it is called by its own
        raise ContentChanged(f"{shown(path.name)}: altered")
    missing = _compared(_changes(signed, others), count, options)
    return Checked(
        root=f"sha256:{manifest.digest}",
        files=count - len(missing),
        bytes=length,
        missing=missing,
        unsigned=(*left_out, *unsigned, *empty),
    )


def _check_tree(said: TreeStatement, path: Path, options: CheckOptions) -> Checked:
    algorithm, _ = parse_root(said.root)
    if said.tree is None:
        if options.partial or options.unsigned:
            raise ConfigInvalid("the signature is over a root alone, so only the whole can be checked")
        found = hash_tree(path, msgspec.structs.replace(options.tree, algorithm=algorithm))
        if found.root != said.root:
            raise ContentChanged(
                f"{shown(str(path))}: {len(found.entries)} files of {found.length} bytes are not the "
                f"{said.files} of {said.bytes} bytes that were signed; which of them differ was not signed"
            )
        return Checked(root=said.root, files=said.files, bytes=said.bytes)
    signed = {entry.path for entry in said.tree.entries}
    tree, unsigned = _without_unsigned(options.tree, path, signed, options)
    tree = msgspec.structs.replace(tree, algorithm=algorithm)
    found = _present(path, tree, lambda: hash_tree(path, tree))
    missing = _compared(differences(said.tree, found), said.files, options)
    return Checked(
        root=said.root, files=len(found.entries), bytes=found.length, missing=missing, unsigned=unsigned
    )


def _compared(changes: Changes, signed: int, options: CheckOptions) -> tuple[str, ...]:
    """Refuse what differs; what may be missing is returned."""
    if not options.partial:
        refuse_changes(changes)
        return ()
    if len(changes.missing) == signed:
        raise ContentChanged(f"none of the {signed} signed files is there, so nothing can be verified")
    refuse_changes(msgspec.structs.replace(changes, missing=()))
    return changes.missing


def _same_kind(path: Path, *, single: bool) -> None:
    if single and path.is_dir():
        raise ContentChanged(f"{shown(str(path))}: is a folder, and the signature is over one file")
    if not single and path.is_file():
        raise ContentChanged(
            f"{shown(str(path))}: is one file, and the signature is over a folder",
            advice="Verify the folder that holds it; a part of the folder can be verified too.",
        )


def _tree_options(
    manifest: Manifest, path: Path, options: CheckOptions
) -> tuple[TreeOptions, tuple[str, ...]]:
    """What was left out when it was signed is left out again; what of it is there is given as well."""
    if manifest.single:
        return options.tree, ()
    kept = {resource.path for resource in manifest.resources}
    for name in tuple(kept):
        while name := name.rpartition("/")[0]:
            kept.add(name)
    ignored = [_inside(name) for name in (*GIT, *manifest.ignore_paths)]
    left_out = [name for name in ignored if name and name not in kept]
    tree = excluding(options.tree, path, left_out)
    found = _left_out(left_out, path, options.tree)
    return msgspec.structs.replace(tree, links=tree.links or manifest.links), found


def _left_out(names: Sequence[str], path: Path, tree: TreeOptions) -> tuple[str, ...]:
    """Whoever reads "verified" should know of what is there and was not signed, as its signer chose."""
    named = {each.parent.resolve() / each.name for each in tree.excluded}  # by the caller, who knows
    top = path.resolve()
    there = (name for name in dict.fromkeys(names) if os.path.lexists(top / name))
    found = tuple(name for name in there if top / name not in named)
    told = [shown(name) for name in found if name not in GIT]
    if told and tree.warn is not None:
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        tree.warn(f"left out by who signed, so not compared: {', '.join(told[:SHOWN])}{more}")
    return found


def _inside(name: str) -> str:
    """A path to ignore in one spelling; nothing where it leaves the model or no file can be named so."""
    path = PurePosixPath(name)
    nameable = "\0" not in name and name.encode(errors="replace").decode() == name
    if path.is_absolute() or ".." in path.parts or not nameable:
        return ""
    return "" if str(path) == "." else str(path)


def _without_unsigned(
    tree: TreeOptions, path: Path, signed: Collection[str], options: CheckOptions
) -> tuple[TreeOptions, tuple[str, ...]]:
    if not options.unsigned or not path.is_dir():
        return tree, ()
    entries = _present(path, tree, lambda: tree.walk(path))
    unsigned = tuple(entry.path for entry in entries if entry.path not in signed)
    return excluding(tree, path, unsigned), unsigned


def _present(path: Path, tree: TreeOptions, look: Callable[[], Found]) -> Found:
    """Look at files; a folder that holds none of them is one whose files are missing."""
    try:
        return look()
    except FileMissing as error:
        excluded = {each.parent.resolve() / each.name for each in tree.excluded}
        if path.is_dir() and not _holds_file(path.resolve(), excluded):
            raise ContentChanged(f"{shown(str(path))}: none of the signed files is there") from error
        raise


def _holds_file(top: Path, excluded: set[Path]) -> bool:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if Path(folder, name) not in excluded]
        if any(Path(folder, name) not in excluded for name in names):
            return True
    return False


def _by_path(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    parts: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        parts[resource.path].append(resource)
    for shards in parts.values():
        shards.sort(key=lambda resource: resource.start)
    return parts


def _changes(signed: Mapping[str, list[Resource]], found: Mapping[str, list[Resource]]) -> Changes:
    missing = [path for path in signed if path not in found]
    added = dict.fromkeys(path for path in found if path not in signed)
    by_content: dict[Hashable, list[str]] = defaultdict(list)
    for path in reversed(added):
        by_content[_content(found[path])].append(path)
    renamed = {path: same.pop() for path in missing if (same := by_content.get(_content(signed[path])))}
    for path in renamed.values():
        del added[path]
    return Changes(
        altered=tuple(path for path in signed if path in found and found[path] != signed[path]),
        missing=tuple(path for path in missing if path not in renamed),
        added=tuple(added),
        renamed=tuple(renamed.items()),
    )


def _content(parts: Iterable[Resource]) -> Hashable:
    return tuple((part.start, part.stop, part.digest) for part in parts)
