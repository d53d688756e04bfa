"""One tensor of a safetensors file, proven without the rest of the file.

The header says where a tensor lies, so the header must be proven as well: a place that is only claimed could
point at other bytes of the right file. Source: safetensors 0.5, README "Format".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import msgspec

from modelward.artifact.formats.safetensors import LONGEST as LONGEST_HEADER
from modelward.core.canonical import canonical
from modelward.errors import FileMissing, ProofInvalid, SealDamaged
from modelward.vault.dsse import load
from modelward.vault.tree.names import shown
from modelward.vault.tree.proofs import LONGEST, RangeProof, covering, range_from_json, verify_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.core.canonical import JSON
    from modelward.vault.tree.proofs import Prover

SCHEMA: Final = "modelward.tensor/1"
_Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Place(msgspec.Struct, frozen=True):
    """What a header says of one tensor.

    Attributes:
        dtype: as the format names it, such as ``F32``.
        shape: of the tensor.
        start: its first byte in the file.
        stop: the byte after its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Tensor(NamedTuple):
    """A tensor whose bytes are proven.

    Attributes:
        place: its type, shape and place, as the proven header says.
        data: its bytes, little-endian, in C order.
    """

    place: Place
    data: memoryview


class TensorProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Proofs of a file's header and of one tensor; which tensor it is, the reader says.

    Attributes:
        header: of the chunks that hold the header.
        tensor: of the chunks that hold the tensor.
        schema: of this form.
    """

    header: RangeProof
    tensor: RangeProof
    schema: Literal["modelward.tensor/1"] = SCHEMA

    def encode(self) -> bytes:
        """Canonical JSON, the only form that is read back."""
        return canonical(
            {"header": self.header.to_json(), "schema": self.schema, "tensor": self.tensor.to_json()}
        )


def prove_tensor(prover: Prover, name: str) -> TensorProof:
    """The proof of one tensor.

    Args:
        prover: of the safetensors file.
        name: of the tensor.

    Raises:
        FileMissing: the file cannot be read any more.
        SealDamaged: the file's header is not of the format.
        ProofInvalid: the file has no such tensor.
    """
    length = prover.entry.length
    try:
        with Path(prover.file.absolute).open("rb") as stream:
            end = header_end(stream.read(8), length)
            stream.seek(0)
            places = read_header(stream.read(end), length)
    except OSError as error:
        raise FileMissing(
            f"{shown(prover.entry.path)}: {(error.strerror or 'cannot be read').lower()}"
        ) from error
    place = _place(places, name)
    return TensorProof(header=prover.range(0, end), tensor=prover.range(place.start, place.stop))


def parse_tensor(data: bytes) -> TensorProof:
    """Read a proof; only the canonical form is one.

    Raises:
        SealDamaged: it is none.
    """
    if len(data) > 2 * LONGEST:
        raise SealDamaged(f"a proof of {len(data)} bytes; the format allows {2 * LONGEST}")
    value = load(data, "the proof")
    if not isinstance(value, dict) or value.keys() != {"header", "schema", "tensor"}:
        raise SealDamaged("the proof is not an object of header, schema and tensor")
    if value["schema"] != SCHEMA:
        raise SealDamaged(f"the proof is not of {SCHEMA}")
    proof = TensorProof(header=range_from_json(value["header"]), tensor=range_from_json(value["tensor"]))
    if proof.encode() != data:
        raise SealDamaged("the proof is not in canonical form")
    return proof


def verify_tensor(
    proof: TensorProof, root: str, name: str, read: Callable[[int, int], bytes | bytearray | memoryview]
) -> Tensor:
    """Check one tensor against the root of the tree, and nothing else of the file but its header.

    Args:
        proof: of this tensor.
        root: of the tree, from a source that is trusted.
        name: of the tensor.
        read: gives bytes of the file, ``read(start, stop)``; their source need not be trusted.

    Raises:
        ProofInvalid: header or tensor are not those that were sealed, or the header has no such tensor.
        SealDamaged: the header is not of the format.
    """
    header, tensor = proof.header, proof.tensor
    if (header.path, header.length, header.first) != (tensor.path, tensor.length, 0):
        raise ProofInvalid("header and tensor are proven of two files, or the header not from its start")
    proven = verify_range(header, root, read(header.start, header.stop))
    end = header_end(bytes(proven[:8]), header.length)
    if end > len(proven):
        raise ProofInvalid(f"the header has {end} bytes; {len(proven)} are proven")
    place = _place(read_header(bytes(proven[:end]), header.length), name)
    if (tensor.first, tensor.count) != covering(place.start, place.stop, tensor.length):
        raise ProofInvalid(f"{shown(name)}: the proof is of other bytes than the header says")
    data = verify_range(tensor, root, read(tensor.start, tensor.stop))
    return Tensor(place, data[place.start - tensor.start : place.stop - tensor.start])


def read_tensor(path: Path, proof: TensorProof, root: str, name: str) -> Tensor:
    """Read one tensor from a file and check it; of the file, only its chunks and the header's are read.

    Raises:
        FileMissing: the file cannot be read.
        ProofInvalid: header or tensor are not those that were sealed, or the header has no such tensor.
        SealDamaged: the header is not of the format.
    """
    try:
        with Path(path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size

            def read(start: int, stop: int) -> memoryview:
                found = bytearray(max(0, min(stop, size) - start))
                stream.seek(start)
                return memoryview(found)[: stream.readinto(found)]

            return verify_tensor(proof, root, name, read)
    except OSError as error:
        raise FileMissing(f"{shown(str(path))}: {(error.strerror or 'cannot be read').lower()}") from error


def header_end(beginning: bytes, length: int) -> int:
    """Where the header of a file of so many bytes ends, from the file's first eight bytes.

    Raises:
        SealDamaged: there is no such header.
    """
    size = int.from_bytes(beginning, "little")
    if len(beginning) != 8 or size > min(LONGEST_HEADER, length - 8):
        raise SealDamaged(f"a header of {size} bytes in a file of {length} is not safetensors")
    return 8 + size


def read_header(data: bytes, length: int) -> dict[str, Place]:
    """The places of all tensors.

    Args:
        data: the file from its beginning to the end of the header.
        length: of the whole file.

    Raises:
        SealDamaged: the header is not of the format, or a tensor lies outside the file.
    """
    value = load(data[8:], "the header")
    if not isinstance(value, dict):
        raise SealDamaged("the header is no JSON object")
    return {name: _said(name, said, len(data), length) for name, said in value.items() if name != _METADATA}


_METADATA: Final = "__metadata__"


class _Said(msgspec.Struct):
    dtype: str
    shape: tuple[_Size, ...]
    data_offsets: tuple[_Size, _Size]


def _said(name: str, value: JSON, begin: int, length: int) -> Place:
    try:
        said = msgspec.convert(value, _Said)
    except msgspec.ValidationError as error:
        raise SealDamaged(f"{shown(name)}: the header is not of the format: {str(error)[:100]}") from error
    start, stop = said.data_offsets
    if not start <= stop <= length - begin:
        raise SealDamaged(f"{shown(name)}: lies at {start} to {stop}, outside the file")
    return Place(dtype=said.dtype, shape=said.shape, start=begin + start, stop=begin + stop)


def _place(places: dict[str, Place], name: str) -> Place:
    place = places.get(name)
    if place is None:
        raise ProofInvalid(f"{shown(name)}: the header names no such tensor")
    return place
