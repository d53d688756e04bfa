"""Seal a folder: one pass that hashes and encrypts, then the documents, the signature, and the place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from modelward.errors import OutputUnwritable
from modelward.vault.container import layout
from modelward.vault.container.layout import FLOE, PLAIN, SEGMENTS, Header, Manifest
from modelward.vault.container.placing import placed, sync_everything, unwritable, write_file
from modelward.vault.container.recipients import Recipient, wrap_for
from modelward.vault.container.recipients.wrapping import MASTER
from modelward.vault.container.sealing import Sealing
from modelward.vault.hazmat.floe import HEADER, Floe
from modelward.vault.hazmat.hashing import Algorithm
from modelward.vault.keys.signer import Signer
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.tree.entries import Entry, Tree, tree_of
from modelward.vault.tree.leaves import CHUNK
from modelward.vault.tree.pool import cores
from modelward.vault.tree.reading import read_all
from modelward.vault.tree.walk import WalkOptions, walk

_MANY: Final = 256
"""Files, above which they are made durable together and not one by one."""
_ENDING: Final = re.compile(r"\.sealed$")


class SealOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to seal.

    Attributes:
        recipients: who may open it; where there is nobody, nothing is encrypted.
        signers: whose signatures it carries; it can be signed later too.
        algorithm: of all trees.
        name: of what is sealed, as the signature states it; else the target's, without ``.sealed``.
        replace: a container that is there already is exchanged for the new one.
        jobs: threads; 0 for one per core.
        walk: which files are left out, and whether links are followed.
        progress: called with (bytes done, bytes in all), by one thread at a time.
        attest: called with the header, the root that is signed and the name, before anything is in its place;
            gives the attestations, file name to bundle. What it raises leaves everything as it was.
    """

    recipients: tuple[Recipient, ...] = ()
    signers: tuple[Signer, ...] = ()
    algorithm: Algorithm = "blake3"
    name: str = ""
    replace: bool = False
    jobs: int = 0
    walk: WalkOptions = WalkOptions()
    progress: Callable[[int, int], None] | None = None
    attest: Callable[[Header, str, str], Mapping[str, bytes]] | None = None


class SealedInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What was sealed.

    Attributes:
        path: of the container.
        header: its header; nothing in it is secret.
        content: the tree of what was sealed; secret where it is encrypted.
        stored: the tree of what is stored, whose root is signed.
        name: as the signature states it.
    """

    path: Path
    header: Header
    content: Tree
    stored: Tree
    name: str


def seal_folder(source: Path, target: Path, options: SealOptions | None = None) -> SealedInfo:
    """Seal a folder or a file into a container.

    The container is there whole or not at all: see `placing`.

    Args:
        source: a folder or a file.
        target: where the container will be, a folder; its parent exists.
        options: see `SealOptions`.

    Raises:
        FileMissing: a file does not exist or cannot be read.
        PathUnsafe: see `walk`.
        ContentUnstable: a file changed while it was sealed.
        OutputUnwritable: the target exists and is no container or is not to be replaced, it lies in the
            source, or nothing can be written there.
        KeyUnusable: nothing can be wrapped for a recipient.
        KeyServiceFailed: a key's token or server does not wrap or sign.
    """
    chosen = options or SealOptions()
    _check_place(source, target, replace=chosen.replace)
    name = chosen.name or _ENDING.sub("", Path(os.path.realpath(target)).name)
    master = os.urandom(MASTER) if chosen.recipients else b""
    header = Header(
        container=os.urandom(16).hex(), encryption=FLOE if master else PLAIN, hash=chosen.algorithm
    )
    if master:
        wrapped = wrap_for(chosen.recipients, master, header.id)
        header = msgspec.structs.replace(header, recipients=tuple(wrapped))
    with placed(target, replace=chosen.replace) as folder:
        try:
            manifest, stored = _seal_files(folder, header, source, chosen)
            entry = _write_manifest(folder, header, master, manifest)
            tree = tree_of([*stored, entry], header.hash)
            write_file(folder / layout.INDEX, layout.encode_index(tree))
            document = layout.encode_header(header, master)
            layout.parse_header(document)  # so large a header as nobody would read is not written
            write_file(folder / layout.HEADER, document)
            (folder / layout.SIGNATURES).mkdir()
            if chosen.signers:
                data = sign_tree(tree, chosen.signers, name=name, container=header.signed(entry.root))
                write_file(folder / layout.SIGNATURES / "00000000.json", data)
            _attest(folder, header, tree.root, name, chosen)
            if len(manifest.files) > _MANY:
                sync_everything(folder)
        except OSError as error:
            raise unwritable(target, error) from error
    return SealedInfo(path=target, header=header, content=manifest.tree, stored=tree, name=name)


def _attest(folder: Path, header: Header, root: str, name: str, options: SealOptions) -> None:
    made = {} if options.attest is None else options.attest(header, root, name)
    if made:
        (folder / layout.ATTESTATIONS).mkdir()
    for file, data in made.items():
        write_file(folder / layout.ATTESTATIONS / file, data)


def _check_place(source: Path, target: Path, *, replace: bool) -> None:
    where = Path(os.path.realpath(target))
    if replace and where.exists() and not (where / layout.HEADER).is_file():
        raise OutputUnwritable(
            f"{target}: is no container, so it is not replaced", advice="Name another path."
        )
    if where.is_relative_to(os.path.realpath(source)):
        raise OutputUnwritable(f"{target}: lies in what is to be sealed", advice="Name a path beside it.")


def _seal_files(
    folder: Path, header: Header, source: Path, options: SealOptions
) -> tuple[Manifest, list[Entry]]:
    entries = walk(source, options.walk)
    (folder / layout.DATA).mkdir()
    order = {entry.path: index for index, entry in enumerate(entries)}
    sealing = Sealing(folder, header, order, durable=len(entries) <= _MANY)
    try:
        jobs = options.jobs or cores()  # more would wait for one another where they write
        read_all(entries, sealing, sealing.done, jobs=jobs, progress=options.progress)
    finally:
        sealing.close()
    del entries  # half of the memory that a hundred thousand files take
    records = tuple(sealing.records[path] for path in order)
    content = tree_of((Entry(r.path, r.length, r.root) for r in records), header.hash)
    return Manifest(
        container=header.container, files=records, hash=header.hash, root=content.root
    ), sealing.entries


def _write_manifest(folder: Path, header: Header, master: bytes, manifest: Manifest) -> Entry:
    data, name = layout.encode_manifest(manifest), layout.MANIFEST[header.encryption]
    if len(data) > layout.LARGEST_LIST:
        raise OutputUnwritable(f"{folder}: {len(manifest.files)} files are too many for one container")
    if master:
        data = encrypt_manifest(header, master, data)
    write_file(folder / name, data)
    return layout.manifest_entry(header, data)


def encrypt_manifest(header: Header, master: bytes, data: bytes) -> bytes:
    """The manifest as it is stored."""
    floe = Floe.encrypting(layout.manifest_key(header, master), layout.manifest_aad(header), SEGMENTS)
    out = bytearray(SEGMENTS.sealed_length(len(data)))
    out[:HEADER] = floe.header
    view, count, at = memoryview(out), SEGMENTS.segments(len(data)), HEADER
    for index in range(count):
        piece = memoryview(data)[index * CHUNK : (index + 1) * CHUNK]
        at += floe.encrypt_segment(index, piece, view[at:], last=index + 1 == count)
    return bytes(out)
