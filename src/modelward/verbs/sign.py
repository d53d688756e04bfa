"""The verb `seal --signature-only`: a detached signature over files, or over the rows of a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.core.files import open_plain
from modelward.errors import ConfigInvalid, FileMissing, OutputUnwritable
from modelward.ledger.blobs import write_atomically
from modelward.vault import bundle
from modelward.vault.keys.opening import open_signer
from modelward.vault.signing.signing import SHARD_SIZE, SigningOptions, hash_model
from modelward.vault.signing.tree_statement import tree_statement
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.walk import paths_in
from modelward.verbs.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.dsse import Statement
    from modelward.vault.keys.signer import Signer

KEYLESS: Final = "sigstore:"
"""Begins the reference to an identity that signs without a key of its own."""

_BUNDLE: Final = (
    b"application/vnd.dev.sigstore.bundle"  # near the beginning of every signature, whoever wrote it
)

StatementKind: TypeAlias = Literal["openssf", "tree", "rows"]
HashName: TypeAlias = Literal["sha256", "blake3", "blake2b"]


class SignOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed, and how.

    Attributes:
        statement: `openssf`: the list of files of OpenSSF Model Signing v1; `tree`: a Merkle root that binds
            names and lengths; `rows`: the rows of a table.
        hash: of file contents; blake2b for `openssf` alone.
        shards: digests of shards of 1 GB, not of whole files (`openssf`).
        excluded: paths that are left out.
        links: follow symbolic links that stay inside.
        jobs: threads; 0 for one per core.
        paranoid: hash everything, although a cache says that it did not change.
    """

    statement: StatementKind = "openssf"
    hash: HashName = "sha256"
    shards: bool = False
    excluded: tuple[str | Path, ...] = ()
    links: bool = False
    jobs: int = 0
    paranoid: bool = False


def sign(
    path: str | Path,
    keys: Sequence[str],
    output: str | Path,
    options: SignOptions | None = None,
    talk: Talk | None = None,
) -> bytes:
    """Sign a model or a data set where it lies.

    Args:
        path: file or folder.
        keys: references to private keys, as `modelward.vault.keys.opening.open_signer` reads them; or alone
            ``sigstore:``, the identity of the workflow that this runs in (extra [sigstore]).
        output: the bundle's file; it may lie in the folder, and is then left out of it.
        options: what is signed, and how.
        talk: whom to ask and tell.

    Returns:
        The bundle as written.

    Raises:
        ConfigInvalid: no key, options that exclude each other, or nothing there to leave out.
        FileMissing, PathUnsafe, ContentUnstable: the files cannot be hashed.
        KeyUnusable, KeyServiceFailed, ExtraMissing: a key cannot be used.
        OutputUnwritable: the bundle cannot be written, or what is there is no signature.
    """
    options, talk, source, target = options or SignOptions(), talk or Talk(), Path(path), Path(output)
    _check(source, options)
    _spare(target)
    keyless = [key for key in keys if key.startswith(KEYLESS)]
    if keyless and len(keys) > 1:
        raise ConfigInvalid(
            "a keyless signature stands alone", advice="Write another file with the other keys."
        )
    signers = [] if keyless else open_signers(keys, talk)
    statement = _statement(source, target, options, talk)
    data = _keyless(statement, keyless[0]) if keyless else bundle.make(statement, signers)
    try:
        write_atomically(target, data, mode=0o644, beside=_outside(source, target))
    except OSError as error:
        raise OutputUnwritable(f"{target}: cannot be written ({error.strerror})") from error
    return data


def open_signers(keys: Sequence[str], talk: Talk) -> list[Signer]:
    """The private keys, opened before anything long begins."""
    if not keys:
        raise ConfigInvalid(
            "no key was named to sign with", advice="Give --key; `modelward keys new` makes one."
        )
    return [open_signer(key, talk.passphrase, warn=talk.warn) for key in keys]


def _outside(source: Path, target: Path) -> Path | None:
    """Where an unfinished signature lies that will be in the model: outside, or it would be a part."""
    top = Path(os.path.realpath(source))
    return top.parent if top.is_dir() and Path(os.path.realpath(target)).is_relative_to(top) else None


def _spare(target: Path) -> None:
    """A signature may be written again; what is none may be the model itself, and stays."""
    if not target.is_file():
        return
    with open_plain(target) as stream:
        if _BUNDLE not in stream.read(1 << 8):
            raise OutputUnwritable(
                f"{target}: is there already, and is no signature", advice="Name another file for it."
            )


def _check(source: Path, options: SignOptions) -> None:
    if not source.exists():
        raise FileMissing(f"{source}: there is no such file")
    if options.statement != "openssf":
        if options.shards:
            raise ConfigInvalid("shards belong to --statement openssf", advice="Leave --shards out.")
        if options.hash == "blake2b":
            raise ConfigInvalid("blake2b belongs to --statement openssf", advice="Choose sha256 or blake3.")


def _keyless(statement: Statement, reference: str) -> bytes:
    """By the identity of a token: of a variable, or of the workflow that this runs in."""
    from modelward.vault.signing.keyless import sign_keyless

    source = reference.removeprefix(KEYLESS)
    if source and not source.startswith("env:"):
        raise ConfigInvalid(
            "a token is never an argument",
            advice="Write sigstore: or sigstore:env:NAME, a variable that holds it.",
        )
    name = source.removeprefix("env:")
    if name and name not in os.environ:
        raise ConfigInvalid(f"there is no variable {name} with a token", advice="Export it first.")
    return sign_keyless(statement, token=os.environ[name] if name else None)


def _statement(source: Path, target: Path, options: SignOptions, talk: Talk) -> Statement:
    name = source.resolve().name
    if options.statement == "rows":
        from modelward.vault.tables.manifest import manifest
        from modelward.vault.tables.signed import table_statement

        return table_statement(manifest(source), name=name)
    excluded = (*paths_in(source, options.excluded), target)
    tree = TreeOptions(
        jobs=options.jobs,
        excluded=excluded,
        links=options.links,
        progress=talk.progress,
        warn=talk.warn,
        cache=True,
        paranoid=options.paranoid,
    )
    if options.statement == "openssf":
        method: Literal["shards", "files"] = "shards" if options.shards else "files"
        signing = SigningOptions(method=method, algorithm=options.hash, shard_size=SHARD_SIZE, tree=tree)
        return hash_model(source, signing).statement()
    algorithm: Literal["blake3", "sha256"] = "blake3" if options.hash == "blake3" else "sha256"
    tree = msgspec.structs.replace(tree, algorithm=algorithm)
    return tree_statement(hash_tree(source, tree), name=name, listed=True)
