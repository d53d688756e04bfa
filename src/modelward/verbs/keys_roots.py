"""The roots under which content may be signed: when all are revoked, it is refused however it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.errors import InputError
from modelward.vault.container.layout import DATA, HEADER
from modelward.vault.container.reading import Container
from modelward.vault.signing.signing import SigningOptions, hash_model
from modelward.vault.tree.hashing import TreeOptions, hash_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modelward.verbs.talk import Progress


def roots_of(path: Path, warn: Callable[[str], None], progress: Progress | None = None) -> tuple[str, ...]:
    """Every root by which seals and detached signatures of `modelward seal` name some content.

    Args:
        path: a file, a folder, or a sealed folder. Files are read five times, tables six.
        warn: is told where content is encrypted, so that it is named by this one seal alone.
        progress: called with (bytes done, bytes in all) of each reading.

    Returns:
        Different roots, ``sha256:<hex>`` or ``blake3:<hex>``: of the tree by both hash functions, of the list
        of whole files (OpenSSF) by all three, of a table that of its rows; of a sealed folder its own and
        those of what it holds in clear.

    Raises:
        FileMissing, PathUnsafe, ContentUnstable: it cannot be hashed.
        SealRefused: a sealed folder is damaged, or not what its own list says.
    """
    if not (path / HEADER).is_file():
        return _of_content(path, progress)
    container = Container.open(path)
    container.check_files(progress=progress)
    if not container.encrypted:
        return (container.index.root, *_of_content(path / DATA, progress))
    warn(f"{path}: is encrypted, so this seal alone is revoked; revoke the files in clear too, by their path")
    return (container.index.root,)


def _of_content(path: Path, progress: Progress | None) -> tuple[str, ...]:
    plain = TreeOptions(progress=progress)
    trees = [
        hash_tree(path, TreeOptions(algorithm=name, progress=progress)).root for name in ("sha256", "blake3")
    ]
    signed = [SigningOptions(algorithm=name, tree=plain) for name in ("sha256", "blake2b", "blake3")]
    lists = [f"sha256:{hash_model(path, options).digest}" for options in signed]
    return (*trees, *lists, *_of_rows(path))


def _of_rows(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    from modelward.vault.tables.manifest import manifest  # a library of tables, which few need

    try:
        return (manifest(path).root,)
    except InputError:  # it is no table, so nobody signed its rows
        return ()
