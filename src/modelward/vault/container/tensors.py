"""Tensors of sealed files, decrypted straight into the memory that holds them.

A safetensors file is decrypted into one buffer whose views are its tensors, as the reference loader does with
a mapped file; a few tensors of it are decrypted into a buffer each. Source: safetensors 0.5, README "Format".
"""

from __future__ import annotations

import tokenize
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modelward.errors import FileDamaged, FormatUnknown, SealDamaged, UnsafeArtifact
from modelward.vault.container.memory import private, whole
from modelward.vault.tree.entries import LONGEST
from modelward.vault.tree.names import shown
from modelward.vault.tree.tensors import Place, header_end, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from modelward.vault.container.files import SealedFile

# Type of the format: bytes of an element, numpy's name of it, torch's name of it; empty where there is none.
_TYPES: Final = {
    "BOOL": (1, "bool", "bool"), "U8": (1, "uint8", "uint8"), "I8": (1, "int8", "int8"),
    "U16": (2, "<u2", "uint16"), "I16": (2, "<i2", "int16"), "F16": (2, "<f2", "float16"),
    "BF16": (2, "", "bfloat16"), "U32": (4, "<u4", "uint32"), "I32": (4, "<i4", "int32"),
    "F32": (4, "<f4", "float32"), "U64": (8, "<u8", "uint64"), "I64": (8, "<i8", "int64"),
    "F64": (8, "<f8", "float64"), "C64": (8, "<c8", "complex64"), "F8_E4M3": (1, "", "float8_e4m3fn"),
    "F8_E5M2": (1, "", "float8_e5m2"), "F8_E8M0": (1, "", "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (1, "", "float8_e4m3fnuz"), "F8_E5M2FNUZ": (1, "", "float8_e5m2fnuz"),
}  # fmt: skip


_DIMENSIONS: Final = 32
"""Of an array, at most; every version of numpy and torch holds so many."""

# What numpy raises on a header that is no literal: it parses Python.
_NO_HEADER: Final = (
    ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError, tokenize.TokenError
)  # fmt: skip


class Header(NamedTuple):
    """What a safetensors file says of itself.

    Attributes:
        end: where the tensors' bytes begin.
        places: of every tensor, in the file's own order.
    """

    end: int
    places: dict[str, Place]


class Piece(NamedTuple):
    """The bytes of one tensor.

    Attributes:
        name: of the tensor.
        place: its type and shape.
        buffer: writable memory.
        offset: where in it the tensor begins.
    """

    name: str
    place: Place
    buffer: memoryview
    offset: int


def is_safetensors(beginning: bytes, length: int) -> bool:
    """Whether a file of this length with these first nine bytes is of the format."""
    return (
        len(beginning) >= 9
        and beginning[8:9] == b"{"
        and int.from_bytes(beginning[:8], "little") <= length - 8
    )


def header_of(file: SealedFile) -> Header:
    """Read the header, and hold shapes to the bytes that they take.

    Raises:
        SealDamaged: it is not of the format.
    """
    length = file.record.length
    end = header_end(bytes(file.read(0, min(8, length))), length)
    places = read_header(bytes(file.read(0, end)), length)
    for name, place in places.items():
        known = _TYPES.get(place.dtype)
        if not _possible(place.shape):
            raise SealDamaged(f"{shown(name)}: has the shape {str(place.shape)[:80]}")
        if known is not None and prod(place.shape) * known[0] != place.stop - place.start:
            raise SealDamaged(
                f"{shown(name)}: {place.dtype} of shape {str(place.shape)[:80]} does not take "
                f"{place.stop - place.start} bytes"
            )
    return Header(end, places)


def pieces(file: SealedFile, header: Header, names: Sequence[str] | None) -> Iterator[Piece]:
    """Decrypt tensors into memory; segments that hold none of them are not touched.

    Args:
        file: the safetensors file.
        header: of that file.
        names: which tensors; null for all, which share one buffer.

    Raises:
        FileDamaged: there is no tensor of one of the names.
        SealDamaged: what is stored was cut, altered or moved.
        ContentChanged: it is not what was signed.
    """
    if names is None:
        buffer = whole(file, header.end)
        for name, place in header.places.items():
            yield Piece(name, place, buffer, place.start - header.end)
        return
    for name in names:
        found = header.places.get(name)
        if found is None:
            raise FileDamaged(
                f"{file.record.path}: has no tensor {shown(name)}",
                advice=f"Its tensors begin with {', '.join(map(shown, list(header.places)[:5])) or 'none'}.",
            )
        own = private(found.stop - found.start)
        file.read_into(found.start, own)
        yield Piece(name, found, own, 0)


def numpy_array(piece: Piece) -> NDArray[Any]:
    """The tensor as a writable array, without a copy.

    Raises:
        FormatUnknown: numpy has no such type.
    """
    import numpy as np

    size, name, _ = _TYPES.get(piece.place.dtype, (0, "", ""))
    if not name:
        raise FormatUnknown(
            f"{shown(piece.name)}: is of {piece.place.dtype[:20]}, for which numpy has no type",
            advice="Load it by `torch`, or read its bytes.",
        )
    count = (piece.place.stop - piece.place.start) // size
    if not count:
        return np.empty(piece.place.shape, name)
    return np.frombuffer(piece.buffer, name, count, piece.offset).reshape(piece.place.shape)


def torch_tensor(piece: Piece) -> torch.Tensor:
    """The tensor of torch, without a copy where its place in the file is aligned.

    Raises:
        FormatUnknown: torch has no such type.
    """
    import torch

    size, _, name = _TYPES.get(piece.place.dtype, (0, "", ""))
    kind = getattr(torch, name, None) if name else None
    if kind is None:
        raise FormatUnknown(
            f"{shown(piece.name)}: is of {piece.place.dtype[:20]}, for which torch has no type"
        )
    count = (piece.place.stop - piece.place.start) // size
    if not count:
        return torch.empty(piece.place.shape, dtype=kind)
    buffer, offset = piece.buffer, piece.offset
    if offset % size:
        buffer, offset = memoryview(bytearray(buffer[offset : offset + count * size])), 0
    return torch.frombuffer(buffer, dtype=kind, count=count, offset=offset).reshape(piece.place.shape)


def npy_array(file: SealedFile, stream: Callable[[], Any]) -> NDArray[Any]:
    """An array of a ``.npy`` file, decrypted into its own memory.

    Args:
        file: the sealed file.
        stream: opens the same file for its header.

    Raises:
        UnsafeArtifact: it holds Python objects, which only unpickling could give.
        FileDamaged: it is no such file.
    """
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with stream() as opened:
        try:
            version = np.lib.format.read_magic(opened)
            if version not in readers:
                raise FileDamaged(f"{file.record.path}: is a .npy of version {version}, which is not read")
            shape, fortran, dtype = readers[version](opened)
        except _NO_HEADER as error:
            raise FileDamaged(f"{file.record.path}: is no .npy: {str(error)[:120]}") from error
        begin = opened.tell()
    if dtype.hasobject:
        raise UnsafeArtifact(f"{file.record.path}: holds Python objects, so loading it could run code")
    size = file.record.length - begin
    if not _possible(shape) or prod(shape) * dtype.itemsize != size:
        raise FileDamaged(
            f"{file.record.path}: {dtype} of shape {str(shape)[:80]} does not take {size} bytes"
        )
    if not prod(shape) or not dtype.itemsize:
        return np.empty(shape, dtype)
    flat: NDArray[np.generic] = np.frombuffer(whole(file, begin), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _possible(shape: Sequence[int]) -> bool:
    """Whether an array can have this shape, though it may be one of no bytes."""
    return (
        len(shape) <= _DIMENSIONS and min(shape, default=0) >= 0 and prod(max(n, 1) for n in shape) < LONGEST
    )
