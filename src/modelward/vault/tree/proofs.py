"""Proofs of a part of one file: its bytes, and hashes enough to reach the root of the tree.

Source: RFC 6962, section 2.1.1, with several neighbouring leaves in place of one; the form is written in
docs/formats/tree.md.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, final

import msgspec

from modelward.core.canonical import canonical
from modelward.errors import ContentChanged, FileMissing, PathUnsafe, ProofInvalid, SealDamaged
from modelward.ledger.proof import inclusion_path, tree_root
from modelward.vault.dsse import load
from modelward.vault.hazmat.hashing import Algorithm
from modelward.vault.tree.entries import Entry, Tree, parse_root
from modelward.vault.tree.hashing import hash_leaves, located
from modelward.vault.tree.leaves import CHUNK, Leaves, chunks_in, entry_leaf, node
from modelward.vault.tree.names import check_name, shown
from modelward.vault.tree.pool import cores, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from modelward.core.canonical import JSON
    from modelward.vault.tree.pool import Task

SCHEMA: Final = "modelward.range/1"
LONGEST: Final = 1 << 16
"""Bytes of a proof in JSON, at most."""
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_STEPS: Final = 128
_Whole = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class RangeProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That neighbouring chunks belong to a file, and the file to a tree.

    Attributes:
        algorithm: of the tree.
        path: of the file.
        length: of the file, in bytes.
        first: the first chunk.
        count: how many chunks, at least 1.
        file: roots of the subtrees beside the chunks, from left to right, 64 hexadecimal digits each.
        tree: from the file's leaf to the root: on which side a sibling stands, and its hash.
        schema: of this form.
    """

    algorithm: Algorithm
    path: str
    length: _Whole
    first: _Whole
    count: _Whole
    file: tuple[str, ...]
    tree: tuple[tuple[Literal["left", "right"], str], ...]
    schema: Literal["modelward.range/1"] = SCHEMA

    @property
    def start(self) -> int:
        """The first byte that is proven."""
        return self.first * CHUNK

    @property
    def stop(self) -> int:
        """The byte after the last one that is proven."""
        return min(self.length, (self.first + self.count) * CHUNK)

    def to_json(self) -> dict[str, JSON]:
        """As plain JSON values."""
        found: dict[str, JSON] = msgspec.to_builtins(self, builtin_types=())
        return found

    def encode(self) -> bytes:
        """Canonical JSON, the only form that is read back."""
        return canonical(self.to_json())


@final
class Prover:
    """Hashes one file of a tree and makes proofs of its parts.

    Args:
        path: the folder of the tree, or its one file.
        tree: as it was sealed.
        name: path of the file in the tree.
        jobs: threads; 0 for two per core.

    Raises:
        FileMissing: the tree has no such file, or it cannot be read.
        ContentChanged: the file is not the one in the tree.
        ContentUnstable: it changed while it was read.
    """

    def __init__(self, path: Path, tree: Tree, name: str, *, jobs: int = 0) -> None:
        index = next((at for at, entry in enumerate(tree.entries) if entry.path == name), None)
        if index is None:
            raise FileMissing(f"{shown(name)}: is not in the tree")
        self.entry: Final[Entry] = tree.entries[index]
        self.file: Final = located(path, name)
        self._algorithm: Final[Algorithm] = tree.algorithm
        self._leaves = hash_leaves(self.file, tree.algorithm, jobs=jobs)
        self._node = node(tree.algorithm)
        if tree_root(self._leaves, self._node).hex() != self.entry.root:
            raise ContentChanged(f"{shown(name)}: is not the file that was sealed")
        above = [entry_leaf(tree.algorithm, entry.path, entry.length, entry.root) for entry in tree.entries]
        siblings = inclusion_path(above, index, self._node)
        sides = _sides(index, len(above))
        self._tree = tuple((side, sibling.hex()) for side, sibling in zip(sides, siblings, strict=True))

    def range(self, start: int, stop: int) -> RangeProof:
        """The proof of the chunks that hold the bytes from `start` up to `stop`.

        Raises:
            ValueError: the file has no such bytes.
        """
        length = self.entry.length
        if not 0 <= start <= stop <= length:
            raise ValueError(f"{self.entry.path}: bytes {start} to {stop} of {length}")
        first, count = covering(start, stop, length)
        hashes = _beside(self._leaves, first, first + count, self._node)
        return RangeProof(
            algorithm=self._algorithm,
            path=self.entry.path,
            length=length,
            first=first,
            count=count,
            file=tuple(value.hex() for value in hashes),
            tree=self._tree,
        )


def prove_range(path: Path, tree: Tree, name: str, start: int, stop: int) -> RangeProof:
    """The proof of one range of bytes; `Prover` makes several with the file hashed once.

    Args:
        path: the folder of the tree, or its one file.
        tree: as it was sealed.
        name: path of the file in the tree.
        start: first byte.
        stop: byte after the last one.

    Raises:
        FileMissing: the tree has no such file, or it cannot be read.
        ContentChanged: the file is not the one in the tree.
        ValueError: the file has no such bytes.
    """
    return Prover(path, tree, name).range(start, stop)


def covering(start: int, stop: int, length: int) -> tuple[int, int]:
    """(first, count) of the chunks that hold a range of bytes; at least one chunk."""
    first = min(start // CHUNK, chunks_in(length) - 1)
    return first, max(-(-stop // CHUNK) - first, 1)


def parse_range(data: bytes) -> RangeProof:
    """Read a proof; only the canonical form is one.

    Raises:
        SealDamaged: it is none.
    """
    if len(data) > LONGEST:
        raise SealDamaged(f"a proof of {len(data)} bytes; the format allows {LONGEST}")
    proof = range_from_json(load(data, "the proof"))
    if proof.encode() != data:
        raise SealDamaged("the proof is not in canonical form")
    return proof


def range_from_json(value: JSON) -> RangeProof:
    """Read a proof from plain JSON values.

    Raises:
        SealDamaged: it is none.
    """
    try:
        proof = msgspec.convert(value, RangeProof)
        check_name(proof.path)
    except (msgspec.ValidationError, PathUnsafe) as error:
        raise SealDamaged(f"the proof is not of its format: {str(error)[:200]}") from error
    hashes = [*proof.file, *(text for _, text in proof.tree)]
    if len(hashes) > 2 * _STEPS or not all(_HEX.fullmatch(text) for text in hashes):
        raise SealDamaged("the proof holds too many hashes, or something that is none")
    if not proof.count or proof.first + proof.count > chunks_in(proof.length):
        raise SealDamaged(f"the proof speaks of chunks that a file of {proof.length} bytes does not have")
    return proof


def verify_range(proof: RangeProof, root: str, data: bytes | bytearray | memoryview) -> memoryview:
    """Check the bytes of a range against the root of the tree, and nothing else of it.

    Args:
        proof: of these bytes.
        root: of the tree, from a source that is trusted, ``sha256:<hex>`` or ``blake3:<hex>``.
        data: the bytes from ``proof.start`` up to ``proof.stop``.

    Returns:
        The same bytes, to be used instead of what was given.

    Raises:
        ProofInvalid: the bytes are not those, or the proof does not lead to the root.
        SealDamaged: `root` is no root.
    """
    algorithm, trusted = parse_root(root)
    view = memoryview(data).cast("B")
    if proof.algorithm != algorithm:
        raise ProofInvalid(f"the proof is of {proof.algorithm}, the root of {algorithm}")
    if len(view) != proof.stop - proof.start:
        raise ProofInvalid(f"{len(view)} bytes; the proof is of {proof.stop - proof.start}")
    join = node(algorithm)
    beside = [bytes.fromhex(text) for text in proof.file]
    leaves = _hash_chunks(proof, view)
    file_root = _root_by_range(leaves, proof.first, chunks_in(proof.length), beside, join)
    value = entry_leaf(algorithm, proof.path, proof.length, file_root.hex())
    for side, text in proof.tree:
        sibling = bytes.fromhex(text)
        value = join(sibling, value) if side == "left" else join(value, sibling)
    if not hmac.compare_digest(value, trusted):
        raise ProofInvalid(f"{shown(proof.path)}: bytes {proof.start} to {proof.stop} are not those sealed")
    return view.toreadonly()


def _hash_chunks(proof: RangeProof, view: memoryview) -> list[bytes]:
    leaves = Leaves(proof.algorithm, proof.path, proof.length)
    found = [b""] * proof.count

    def chunk(at: int) -> Task:
        def task(_buffer: memoryview) -> None:
            piece = view[at * CHUNK : (at + 1) * CHUNK]
            found[at] = leaves.leaf(proof.first + at, piece)

        return task

    run(map(chunk, range(proof.count)), jobs=min(cores(), -(-proof.count // 4)), buffer=0)
    return found


def _sides(index: int, size: int) -> Iterator[Literal["left", "right"]]:
    """On which side each hash of an audit path stands."""
    last = size - 1
    while last:
        if index & 1:
            yield "left"
        elif index < last:
            yield "right"
        index, last = index >> 1, last >> 1


def _split(low: int, high: int) -> int:
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _beside(
    leaves: Sequence[bytes], start: int, stop: int, join: Callable[[bytes, bytes], bytes]
) -> list[bytes]:
    """Roots of the largest subtrees without a leaf of the range, from left to right."""
    found: list[bytes] = []

    def visit(low: int, high: int) -> None:
        if high <= start or stop <= low:
            found.append(tree_root(leaves[low:high], join))
        elif not (start <= low and high <= stop):
            middle = _split(low, high)
            visit(low, middle)
            visit(middle, high)

    visit(0, len(leaves))
    return found


def _root_by_range(
    leaves: Sequence[bytes],
    start: int,
    size: int,
    beside: Sequence[bytes],
    join: Callable[[bytes, bytes], bytes],
) -> bytes:
    """The root that a range of leaves leads to; recursion is as deep as the tree, 33 levels at most."""
    stop = start + len(leaves)
    rest = iter(beside)

    def visit(low: int, high: int) -> bytes:
        if high <= start or stop <= low:
            value = next(rest, None)
            if value is None:
                raise ProofInvalid(f"the proof has fewer hashes than {len(leaves)} of {size} chunks need")
            return value
        if start <= low and high <= stop:
            return tree_root(leaves[low - start : high - start], join)
        middle = _split(low, high)
        left = visit(low, middle)
        return join(left, visit(middle, high))

    root = visit(0, size)
    if next(rest, None) is not None:
        raise ProofInvalid(f"the proof has more hashes than {len(leaves)} of {size} chunks need")
    return root
