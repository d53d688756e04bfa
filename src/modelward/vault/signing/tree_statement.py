"""modelward's own statement: the root of a Merkle tree that binds names and lengths of all files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.core.canonical import JSON
from modelward.errors import SealDamaged
from modelward.vault import bundle
from modelward.vault.dsse import Statement
from modelward.vault.tree.entries import Tree, parse_root, tree_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.vault.keys.signer import Signer

PREDICATE: Final = "https://modelward.dev/tree/v1"


class TreeStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a tree.

    Attributes:
        name: of the model; it says nothing.
        root: ``sha256:<hex>`` or ``blake3:<hex>``.
        files: how many.
        bytes: of all of them.
        container: format, id and encryption of the container that the tree is of; null of a plain model.
        tree: all entries, where the statement lists them; without them what differs cannot be named.
    """

    name: str
    root: str
    files: int
    bytes: int
    container: dict[str, JSON] | None = None
    tree: Tree | None = None


def sign_tree(
    tree: Tree,
    signers: Sequence[Signer],
    *,
    name: str,
    container: Mapping[str, JSON] | None = None,
    listed: bool = False,
) -> bytes:
    """Sign the root of a tree.

    Args:
        tree: as `hash_tree` gives it.
        signers: at least one.
        name: of the model; it is informative.
        container: what is said about the container that the tree is of.
        listed: write every file into the statement, so that a verifier can name what differs and can check
            a part; about 120 bytes a file.

    Returns:
        The bundle, JSON.

    Raises:
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
    """
    return bundle.make(tree_statement(tree, name=name, container=container, listed=listed), signers)


def tree_statement(
    tree: Tree, *, name: str, container: Mapping[str, JSON] | None = None, listed: bool = False
) -> Statement:
    """The statement that `sign_tree` signs."""
    predicate: dict[str, JSON] = {
        "algorithm": tree.algorithm,
        "root": tree.root,
        "files": len(tree.entries),
        "bytes": tree.length,
    }
    if container is not None:
        predicate["container"] = dict(container)
    if listed:
        predicate["entries"] = tree.to_json()["entries"]
    return Statement(subjects=((name, tree.digest),), predicate_type=PREDICATE, predicate=predicate)


def read_tree_statement(statement: Statement) -> TreeStatement:
    """Read and check what a statement says about a tree; verify its signatures first.

    Raises:
        SealDamaged: it is of another predicate, or contradicts itself.
    """
    if statement.predicate_type != PREDICATE or len(statement.subjects) != 1:
        raise SealDamaged("the statement is not one of a single tree")
    try:
        said = msgspec.convert(statement.predicate, _Predicate)
    except msgspec.ValidationError as error:
        raise SealDamaged(f"the statement about a tree is none: {str(error)[:200]}") from error
    algorithm, raw = parse_root(said.root)
    name, digest = statement.subjects[0]
    if said.algorithm != algorithm or digest != {algorithm: raw.hex()}:
        raise SealDamaged("the statement's subject, root and algorithm are not of one tree")
    tree = _tree(said)
    if tree is not None and (len(tree.entries), tree.length) != (said.files, said.bytes):
        raise SealDamaged("the statement counts other files than it lists")
    return TreeStatement(
        name=name, root=said.root, files=said.files, bytes=said.bytes, container=said.container, tree=tree
    )


class _Predicate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    algorithm: str
    root: str
    files: int
    bytes: int
    container: dict[str, JSON] | None = None
    entries: list[JSON] | None = None


def _tree(said: _Predicate) -> Tree | None:
    if said.entries is None:
        return None
    return tree_from_json({"algorithm": said.algorithm, "entries": said.entries, "root": said.root})
