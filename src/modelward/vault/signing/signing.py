"""Sign a model as OpenSSF Model Signing v1 has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.errors import ConfigInvalid, FileMissing
from modelward.vault import bundle
from modelward.vault.hazmat.hashing import FileAlgorithm
from modelward.vault.signing.openssf import ALONE, GIT, Manifest, Method, Resource
from modelward.vault.tree.hashing import TreeOptions, hash_shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.keys.signer import Signer

SHARD_SIZE: Final = 1_000_000_000
"""Bytes of a shard, as the reference library has it."""


class SigningOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is written into the statement.

    Attributes:
        method: digests of whole files or of shards.
        algorithm: of the digests; shards have none by blake3. The reference library writes blake2b and does
            not verify it.
        shard_size: bytes of a shard.
        tree: threads, progress, cache; what is in ``excluded`` is left out and recorded, and so is ``links``.
    """

    method: Method = "files"
    algorithm: FileAlgorithm = "sha256"
    shard_size: int = SHARD_SIZE
    tree: TreeOptions = TreeOptions()


def sign_openssf(path: Path, signers: Sequence[Signer], options: SigningOptions | None = None) -> bytes:
    """Hash a model and sign the list of its files.

    Args:
        path: a folder or a file. In a folder, what belongs to git is left out.
        signers: at least one. The reference library looks at the first signature alone, and knows only
            those by elliptic keys.
        options: see `SigningOptions`.

    Returns:
        The bundle, JSON.

    Raises:
        FileMissing: a file does not exist or cannot be read, or none is left.
        PathUnsafe: see `tree.walk`.
        ContentUnstable: a file changed while it was read.
        ConfigInvalid: an option is one that this format cannot record.
        KeyServiceFailed: a key's token or server does not sign.
        ValueError: there is no signer.
    """
    return bundle.make(hash_model(path, options).statement(), signers)


def hash_model(path: Path, options: SigningOptions | None = None) -> Manifest:
    """What `sign_openssf` signs; raises what it raises."""
    chosen = options or SigningOptions()
    if chosen.tree.ignore:
        raise ConfigInvalid("this format records exact paths that were left out, and no patterns")
    if chosen.method == "shards" and chosen.algorithm == "blake3":
        raise ConfigInvalid(
            "the format has no shards by BLAKE3", advice="Sign whole files by blake3, or shards by sha256."
        )
    if not 1 <= chosen.shard_size < 1 << 53:
        raise ConfigInvalid(f"a shard of {chosen.shard_size} bytes is none")
    size = chosen.shard_size if chosen.method == "shards" else 0
    alone = path.is_file()
    ignored = () if alone else left_out(path, chosen.tree.excluded)
    tree = excluding(chosen.tree, path, ignored)
    found = [
        Resource(ALONE if alone else part.path, part.start, part.stop if size else -1, part.digest)
        for part in hash_shards(path, chosen.algorithm, size, tree)
        if part.stop or not size  # no shard is empty
    ]
    if not found:
        raise FileMissing(
            f"{path}: all files are empty, which shards do not cover", advice="Sign whole files."
        )
    return Manifest(
        name=path.name or path.resolve().name,
        method=chosen.method,
        algorithm=chosen.algorithm,
        shard_size=size,
        links=chosen.tree.links,
        ignore_paths=ignored or GIT,
        resources=tuple(found),
    )


def left_out(root: Path, excluded: Sequence[Path]) -> tuple[str, ...]:
    """The paths that are left out of a folder, relative to it and sorted: what is asked for, and git's."""
    top = Path(root).resolve()
    inside = []
    for path in excluded:
        relative = Path(os.path.relpath(path.parent.resolve() / path.name, top))
        if relative.parts and relative.parts[0] != "..":
            inside.append(relative.as_posix())
    return tuple(sorted({*inside, *GIT}))


def excluding(tree: TreeOptions, root: Path, paths: Sequence[str]) -> TreeOptions:
    """The options with more paths left out of a folder."""
    return msgspec.structs.replace(tree, excluded=(*tree.excluded, *(root / path for path in paths)))
