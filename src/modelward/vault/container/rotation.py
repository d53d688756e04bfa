"""Change who may open a container, or add a signature: one small document is written, and nothing else.

The master key stays. Who once opened the container, or kept a copy of the old header, can still open it:
taking a recipient away stops those who come later and find the new header alone. Sealing again, under a new
master key, is what keeps a former recipient from later versions.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import SealDamaged
from modelward.ledger.blobs import write_atomically
from modelward.ledger.lock import sync_folder
from modelward.vault.container import layout
from modelward.vault.container.placing import unwritable
from modelward.vault.container.recipients import wrap_for
from modelward.vault.signing.tree_statement import sign_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modelward.vault.container.layout import Header
    from modelward.vault.container.reading import Container
    from modelward.vault.container.recipients import Identity, Recipient, Stanza
    from modelward.vault.keys.signer import Signer


def rewrap(
    container: Container,
    identities: Sequence[Identity],
    *,
    add: Sequence[Recipient] = (),
    remove: Callable[[Stanza], bool] | None = None,
) -> Header:
    """Add recipients and take some away.

    Signatures stay valid: they are over what is stored, and the header is not.

    Args:
        container: encrypted.
        identities: one of them opens it.
        add: who may open it from now on.
        remove: called with each recipient's part of the header; those for which it is true are left out.

    Returns:
        The new header.

    Raises:
        RecipientWrong: none of the identities opens it, or nothing is encrypted.
        SealDamaged: the header was altered.
        KeyUnusable: nobody would be left who can open it, or there would be too many.
        KeyServiceFailed: a server does not wrap or unwrap.
        OutputUnwritable: the header cannot be written; the old one is still there.
    """
    header = container.header
    master = layout.master_of(header, identities)
    kept = [stanza for stanza in header.recipients if remove is None or not remove(stanza)]
    wrapped = wrap_for(add, master, header.id, kept=kept)
    changed = msgspec.structs.replace(header, recipients=tuple(wrapped))
    data = layout.encode_header(changed, master)
    changed = layout.parse_header(data)
    write_document(container.path, layout.HEADER, data)
    return changed


def cosign(
    container: Container,
    signers: Sequence[Signer],
    *,
    name: str,
    jobs: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Sign what a container stores, beside the signatures that it has.

    Every stored byte is hashed first, so that nobody signs a list that is not true.

    Args:
        container: as it was found.
        signers: at least one.
        name: of what is sealed, as the signature states it.
        jobs: threads; 0 for two per core.
        progress: called with (bytes hashed, bytes in all).

    Returns:
        The file of the new signature.

    Raises:
        ContentChanged: what is stored is not what the container lists.
        SealDamaged: it holds as many signatures as it may.
        OutputUnwritable: the signature cannot be written.
        KeyServiceFailed: a key's token or server does not sign.
        ValueError: there is no signer.
    """
    container.check_files(jobs=jobs, progress=progress)
    folder = container.path / layout.SIGNATURES
    for number in range(layout.MOST_SIGNATURES):
        path = folder / f"{number:08d}.json"
        if not path.exists():
            break
    else:
        raise SealDamaged(f"{container.path}: holds {layout.MOST_SIGNATURES} signatures already")
    data = sign_tree(container.index, signers, name=name, container=container.said)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    write_document(container.path, f"{layout.SIGNATURES}/{path.name}", data)
    return path


def write_document(container: Path, name: str, data: bytes) -> None:
    """Write one document of a container anew: the old one or the new one is there, never half.

    What a killed process leaves lies beside the container, which holds nothing but its own files.

    Args:
        container: the folder.
        name: of the document in it.
        data: all of it.

    Raises:
        OutputUnwritable: it cannot be written; the old one is still there.
    """
    path = container / name
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        write_atomically(path, data, mode=mode, beside=container.resolve().parent)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
