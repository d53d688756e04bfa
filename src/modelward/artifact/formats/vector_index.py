"""Indices of vectors: numbers alone, but for lists that faiss keeps in another file.

Source: faiss 1.15, faiss/invlists/OnDiskInvertedLists.cpp (`ilod`: counts, then the name of a file).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_ON_DISK: Final = b"ilod"
_LISTS: Final = 1 << 28


def read(data: Buffer, into: Reading) -> None:
    """Look for lists that lie elsewhere; `read_index` opens their file by the name that stands here."""
    into.facts["framework"] = "faiss" if data[:1] == b"I" else "annoy"
    at = data.find(_ON_DISK) if data[:1] == b"I" else -1
    while at >= 0:
        into.spend()
        lists, size = (int.from_bytes(data[at + k : at + k + 8], "little") for k in (4, 12))
        if 0 < lists < _LISTS and 0 < size < _LISTS:
            message = f"{lists} lists of the index lie in another file, which is opened by its name"
            into.unproven("faiss.on-disk", message, pos=at)
            return
        at = data.find(_ON_DISK, at + 4)
