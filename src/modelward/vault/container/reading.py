"""Open a container: verify it without keys, list it, decrypt it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from modelward.errors import (
    ContentChanged,
    ContentUnstable,
    FileMissing,
    PathUnsafe,
    SealDamaged,
    SignerMissing,
)
from modelward.vault.container import layout
from modelward.vault.container.extraction import Extraction
from modelward.vault.container.files import BUFFER, SealedFile, open_stored
from modelward.vault.container.layout import FLOE, MANIFEST, SEGMENTS, Header, Manifest
from modelward.vault.container.placing import placed, sync_everything, unwritable
from modelward.vault.hazmat import floe
from modelward.vault.signing.tree_statement import read_tree_statement
from modelward.vault.signing.verification import Verified, verify_bundle
from modelward.vault.tree.entries import compare
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.pool import Meter, cores, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from modelward.core.canonical import JSON
    from modelward.vault.container.recipients import Identity
    from modelward.vault.keys.signer import Verifier
    from modelward.vault.tree.entries import Tree

    Progress = Callable[[int, int], None] | None

_LARGEST_SIGNATURE: Final = 1 << 22
_MANY: Final = 256


@final
class Container:
    """A sealed folder, as it was found. Nothing of it is believed before `verify` or `check_signatures`.

    Attributes:
        path: where it lies.
        header: who may open it, and how.
        index: the tree of what is stored, as the container itself lists it.
    """

    def __init__(self, path: Path) -> None:
        """Read the documents of a container; `open` says the same with a name."""
        self.path: Final = path
        if not path.exists():
            raise FileMissing(f"{path}: does not exist")
        self._found: Final = path.stat()
        if not any(os.path.lexists(path / name) for name in (layout.HEADER, layout.INDEX)):
            raise FileMissing(
                f"{path}: is no sealed folder",
                advice="Give the folder that `modelward seal` wrote, or --signature with a detached one.",
            )
        if not (path / layout.HEADER).is_file():
            raise SealDamaged(f"{path}: is no container, it has no {layout.HEADER}")
        self.header: Final[Header] = layout.parse_header(
            read_stored(path, layout.HEADER, layout.LARGEST_HEADER)
        )
        self.index: Final[Tree] = layout.parse_index(read_stored(path, layout.INDEX, layout.LARGEST_LIST))
        self._manifest: Final = read_stored(path, MANIFEST[self.header.encryption], layout.LARGEST_LIST)
        if self.index.algorithm != self.header.hash:
            raise SealDamaged(f"{path}: {layout.HEADER} and {layout.INDEX} are of two hash functions")
        self._check_names()

    @classmethod
    def open(cls, path: Path) -> Container:
        """Read a container's documents.

        Raises:
            FileMissing: it does not exist, is no sealed folder, or cannot be read.
            SealDamaged: it is no container of this version of the format, or holds something else too.
            ContentChanged: one of its documents is missing.
        """
        return cls(path)

    @property
    def encrypted(self) -> bool:
        """Whether an identity is needed."""
        return self.header.encryption == FLOE

    @property
    def said(self) -> dict[str, JSON]:
        """What a signed statement says of this container."""
        return self.header.signed(layout.manifest_entry(self.header, self._manifest).root)

    def check_signatures(self, verifiers: Sequence[Verifier], threshold: int = 1) -> Verified:
        """Verify who signed this container, and that its lists and its manifest are what they signed.

        The files themselves are not read. That is enough before reading some of them through `unlock`, which
        holds every byte to the signed manifest; storage uses `verify`.

        Args:
            verifiers: keys that are trusted.
            threshold: how many of them must have signed.

        Raises:
            SignerMissing: too few of them did.
            SignatureInvalid: a signature by one of them is not over what it states.
            SealDamaged: a signature is malformed, or speaks of another format, container or encryption.
            ContentChanged: the manifest or the list of files is not the one that was signed.
            ValueError: the threshold is below 1.
        """
        if threshold < 1:
            raise ValueError(f"a threshold of {threshold} keys would be met by nobody's signature")
        said = self.said
        signers: dict[str, None] = {}
        statement = None
        for data in self._signatures():
            try:
                found = verify_bundle(data, verifiers)
            except SignerMissing:
                continue  # by somebody else
            _check_statement(found, self.index, said)
            signers.update(dict.fromkeys(found.signers))
            statement = statement or found.statement
        if statement is None or len(signers) < threshold:
            raise SignerMissing(f"{len(signers)} of the {len(verifiers)} keys given signed; {threshold} must")
        return Verified(statement=statement, signers=tuple(signers))

    def verify(
        self,
        verifiers: Sequence[Verifier],
        threshold: int = 1,
        *,
        jobs: int = 0,
        progress: Progress = None,
    ) -> Verified:
        """Verify signatures and every stored byte; nothing is decrypted and no identity is needed.

        Args:
            verifiers: keys that are trusted.
            threshold: how many of them must have signed.
            jobs: threads; 0 for one per core.
            progress: called with (bytes done, bytes in all).

        Raises:
            ContentChanged: a file was altered, is missing, or was added.
            SealRefused: see `check_signatures`.
            FileMissing: a file cannot be read.
        """
        verified = self.check_signatures(verifiers, threshold)
        self.check_files(jobs=jobs, progress=progress)
        return verified

    def check_files(self, *, jobs: int = 0, progress: Progress = None) -> None:
        """Hash every stored file and compare with the container's own list; who signed is not asked.

        Raises:
            ContentChanged: a file was altered, is missing, or was added.
            ContentUnstable: another container took the place of this one meanwhile.
            FileMissing: a file cannot be read.
        """
        beside = (layout.HEADER, layout.INDEX, layout.SIGNATURES, layout.ATTESTATIONS)
        excluded = tuple(self.path / name for name in beside)
        options = TreeOptions(algorithm=self.header.hash, jobs=jobs, excluded=excluded, progress=progress)
        try:
            found = hash_tree(self.path, options)
        except PathUnsafe as error:
            raise ContentChanged(f"{self.path}: {error}") from error
        if found.root != self.index.root:
            if not os.path.samestat(self.path.stat(), self._found):
                raise ContentUnstable(f"{self.path}: was replaced while it was read")
            changes = compare(self.index, found)
            more = f" (and {len(changes) - 5} more)" if len(changes) > 5 else ""
            raise ContentChanged("; ".join(changes[:5]) + more)

    def unlock(self, identities: Sequence[Identity] = ()) -> Opened:
        """Decrypt the manifest.

        Args:
            identities: tried in their order; none where nothing is encrypted.

        Raises:
            RecipientWrong: none of them is a recipient's.
            SealDamaged: the header or the manifest was altered.
            KeyServiceFailed: a server that unwraps does not.
        """
        data = self._manifest
        if self.encrypted:
            master = layout.master_of(self.header, identities)
            key, aad = layout.manifest_key(self.header, master), layout.manifest_aad(self.header)
            plain = floe.decrypt(key, aad, SEGMENTS, len(data), lambda at, size: data[at : at + size])
            data = bytes(plain)
        return Opened(self.path, self.header, layout.parse_manifest(data, self.header))

    def _signatures(self) -> Iterator[bytes]:
        folder = self.path / layout.SIGNATURES
        names = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
        if len(names) > layout.MOST_SIGNATURES:
            raise SealDamaged(f"{layout.SIGNATURES}: more than {layout.MOST_SIGNATURES} files")
        for name in names:
            yield read_stored(self.path, f"{layout.SIGNATURES}/{name}", _LARGEST_SIGNATURE)

    def _check_names(self) -> None:
        known = {
            layout.HEADER, layout.INDEX, layout.DATA, layout.SIGNATURES, layout.ATTESTATIONS,
            MANIFEST[self.header.encryption],
        }  # fmt: skip
        try:
            found = list(self.path.iterdir())
        except OSError as error:
            raise FileMissing(f"{self.path}: {(error.strerror or 'cannot be read').lower()}") from error
        # Through a link to a folder, what is added to a container would be written elsewhere.
        strange = sorted(item.name for item in found if item.name not in known or item.is_symlink())
        if strange:
            raise SealDamaged(f"{self.path}: holds {strange[0][:80]!a}, which is no part of a container")


@final
class Opened:
    """A container whose manifest was read. What it gives was held to the manifest, leaf by leaf.

    Attributes:
        manifest: the files, with their keys.
        tree: of the plaintext.
    """

    def __init__(self, path: Path, header: Header, manifest: Manifest) -> None:
        self.manifest: Final = manifest
        self.tree: Final = manifest.tree
        self._path, self._header = path, header
        self._places = {record.path: index for index, record in enumerate(manifest.files)}

    def __repr__(self) -> str:  # keys never show in a traceback or a log
        return f"Opened({self._path.name!r}, {len(self._places)} files)"

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in the order of the tree."""
        return tuple(self._places)

    def file(self, path: str) -> SealedFile:
        """Open one file for reading; close it, or use it in a `with`.

        Raises:
            FileMissing: nothing was sealed under this path.
            SealDamaged: it has another length, or begins as another file.
            ContentChanged: it is missing from the container.
        """
        index = self._places.get(path)
        if index is None:
            raise FileMissing(f"{path!r}: no such file was sealed")
        return SealedFile(self._path, self._header, self.manifest.files[index], index)

    def extract(
        self,
        directory: Path,
        *,
        jobs: int = 0,
        progress: Progress = None,
        accept: Callable[[Path], None] | None = None,
    ) -> None:
        """Decrypt everything into a new folder, readable by its owner alone; it is there whole or not at all.

        Args:
            directory: where; its parent exists. An empty folder may be there.
            jobs: threads; 0 for one per core.
            progress: called with (bytes done, bytes in all).
            accept: called with the whole folder before it is put in its place; what it raises leaves nothing.

        Raises:
            OutputUnwritable: the directory is there and not empty, or cannot be written.
            SealDamaged: a file was cut or altered, or files changed places.
            ContentChanged: a file is missing, or is not what was signed.
        """
        meter = Meter(self.tree.length, progress)
        with placed(directory, mode=0o700) as folder:
            extraction = Extraction(
                self.manifest.files, self.file, folder, meter, durable=len(self._places) <= _MANY
            )
            try:
                run(extraction.tasks(), jobs=jobs or cores(), buffer=BUFFER)
                if len(self._places) > _MANY:
                    sync_everything(folder)
            except OSError as error:
                raise unwritable(directory, error) from error
            finally:
                extraction.close()
            if accept is not None:
                accept(folder)


def read_stored(folder: Path, name: str, most: int) -> bytes:
    """Read a document of a container.

    Args:
        folder: the container.
        name: of the document in it.
        most: bytes that it may have.

    Raises:
        SealDamaged: it is longer.
        ContentChanged: it is missing, or is no regular file.
        FileMissing: it cannot be read.
    """
    handle = open_stored(folder / name, name)
    try:
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(min(os.fstat(handle).st_size, most) + 1)  # room is made for what is asked
    except OSError as error:
        raise FileMissing(f"{name}: {(error.strerror or 'cannot be read').lower()}") from error
    if len(data) > most:
        raise SealDamaged(f"{name}: more than {most} bytes")
    return data


def _check_statement(found: Verified, index: Tree, said: dict[str, JSON]) -> None:
    statement = read_tree_statement(found.statement)
    if statement.container != said:
        if statement.container is not None and {**statement.container, "manifest": said["manifest"]} == said:
            raise ContentChanged("the manifest is not the one that was signed")
        raise SealDamaged("a signature speaks of another container, or of another encryption than this one's")
    if statement.root != index.root:
        raise ContentChanged("the list of files is not the one that was signed")
