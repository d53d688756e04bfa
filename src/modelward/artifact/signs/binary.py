"""Formats with magic numbers: GGUF, HDF5 behind a user block, flatbuffers, boosters, R data, msgpack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_OLD_GGML: Final = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt", b"algg": "ggla"}


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    for rule in (
        _ggml,
        _hdf5,
    ):
        found = rule(data, head)
        if found is not None:
            return found
    return None


def _ggml(data: Buffer, head: bytes) -> Sniffed | None:
    del data
    if head[:4] == b"GGUF":
        return Sniffed("gguf", "starts with GGUF")
    old = _OLD_GGML.get(head[:4])
    return Sniffed("ggml", f"starts with the magic number of {old}") if old and len(head) > 16 else None


def _hdf5(data: Buffer, head: bytes) -> Sniffed | None:
    from modelward.artifact.formats.hdf5.store import behind_user_block

    found = behind_user_block(data, head)
    return Sniffed("hdf5", "the signature of HDF5 behind a user block") if found else None
