"""Read one sealed file, all of it or any part, and hold every leaf to the manifest."""

from __future__ import annotations

import errno
import hmac
import os
import stat
from typing import TYPE_CHECKING, Final, final

from modelward.errors import ContentChanged, FileMissing, SealDamaged
from modelward.vault.container.layout import FLOE, SEGMENTS, Header, Record, data_aad, data_name
from modelward.vault.hazmat import floe
from modelward.vault.hazmat.floe import Floe
from modelward.vault.tree.leaves import CHUNK, Leaves
from modelward.vault.tree.pool import cores, run

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from modelward.vault.tree.pool import Task

BUFFER: Final = SEGMENTS.segment + CHUNK
"""Bytes that a thread needs to read segments: one encrypted and one in clear."""
_WORTH: Final = 8
"""Segments for which another thread is worth its start."""
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@final
class SealedFile:
    """One file of a container, open for reading; threads may share it. Close it, or use it in a `with`.

    Attributes:
        record: what the manifest says of it.
        segments: how many there are.
    """

    def __init__(self, folder: Path, header: Header, record: Record, index: int) -> None:
        """Open the stored file.

        Raises:
            SealDamaged: it has another length, or begins as another file.
            ContentChanged: it is missing.
            FileMissing: it cannot be read.
        """
        self.record: Final = record
        self.segments: Final = SEGMENTS.segments(record.length)
        self._leaves: Final = Leaves(header.hash, record.path, record.length)
        self._name: Final = data_name(header.encryption, index, record.path)
        self._handle = open_stored(folder / self._name, self._name)
        self._floe: Floe | None = None
        try:
            self._begin(header, index)
        except (SealDamaged, FileMissing):
            self.close()
            raise

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go; a second time does nothing."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def segment(self, index: int, buffer: memoryview, out: memoryview) -> int:
        """Read, decrypt and check one segment.

        Args:
            index: from 0.
            buffer: for the ciphertext, a full segment.
            out: takes the plaintext, at most 1 MiB, at its beginning.

        Returns:
            How many bytes were written.

        Raises:
            SealDamaged: it was cut, altered or moved.
            ContentChanged: it is not what was signed, though somebody with the key encrypted it.
        """
        size = self._leaves.size(index)
        if self._floe is None:
            self._fill(out[:size], index * CHUNK)
        else:
            sealed = buffer[: size + floe.OVERHEAD]
            self._fill(sealed, floe.HEADER + index * SEGMENTS.segment)
            self._floe.decrypt_segment(index, sealed, out, last=index + 1 == self.segments)
        if not hmac.compare_digest(self._leaves.leaf(index, out[:size]), self.record.leaf(index)):
            raise ContentChanged(f"{self.record.path}: is not what was signed, at byte {index * CHUNK}")
        return size

    def read(self, offset: int, size: int) -> bytearray:
        """A part of the plaintext; see `read_into`."""
        out = bytearray(size)
        self.read_into(offset, memoryview(out))
        return out

    def read_into(self, offset: int, out: memoryview, *, jobs: int = 0) -> None:
        """Read a part of the plaintext straight into a buffer. Other segments are not touched.

        Args:
            offset: first byte.
            out: writable bytes, as many as are wanted; what they hold after a refusal means nothing.
            jobs: threads; 0 for one per core where it is worth it.

        Raises:
            ValueError: the part does not lie in the file.
            SealDamaged: a segment was cut, altered or moved.
            ContentChanged: a segment is not what was signed.
        """
        view = out.cast("B")
        if not 0 <= offset <= offset + len(view) <= self.record.length:
            raise ValueError(f"{self.record.path}: bytes {offset} to {offset + len(view)} do not lie in it")
        if view:
            first, last = offset // CHUNK, -(-(offset + len(view)) // CHUNK)
            threads = jobs or min(cores(), -(-(last - first) // _WORTH))
            tasks = (self._piece(index, offset, view) for index in range(first, last))
            run(tasks, jobs=threads, buffer=BUFFER)

    def _piece(self, index: int, offset: int, view: memoryview) -> Task:
        def task(buffer: memoryview) -> None:
            sealed, plain = buffer[: SEGMENTS.segment], buffer[SEGMENTS.segment :]
            at, size = index * CHUNK - offset, self._leaves.size(index)
            if at >= 0 and at + size <= len(view):
                self.segment(index, sealed, view[at : at + size])
            else:
                self.segment(index, sealed, plain)
                start, stop = max(at, 0), min(at + size, len(view))
                view[start:stop] = plain[start - at : stop - at]

        return task

    def _begin(self, header: Header, index: int) -> None:
        length = os.fstat(self._handle).st_size
        sealed = header.encryption == FLOE
        wanted = SEGMENTS.sealed_length(self.record.length) if sealed else self.record.length
        if length != wanted:
            raise SealDamaged(f"{self._name}: {length} bytes long, not {wanted}")
        if sealed:
            begin = bytearray(floe.HEADER)
            self._fill(memoryview(begin), 0)
            self._floe = Floe.decrypting(self.record.key, data_aad(header, index), begin, SEGMENTS)

    def _fill(self, view: memoryview, offset: int) -> None:
        at = 0
        while at < len(view):
            try:
                got = os.preadv(self._handle, [view[at:]], offset + at)
            except OSError as error:
                raise FileMissing(f"{self._name}: {(error.strerror or 'cannot be read').lower()}") from error
            if not got:
                raise SealDamaged(f"{self._name}: ends at byte {offset + at}")
            at += got


def open_stored(path: Path, name: str) -> int:
    """Open a stored file.

    Args:
        path: of the file.
        name: for the sentence.

    Raises:
        ContentChanged: it is missing, or is no regular file.
        FileMissing: it cannot be read.
    """
    try:
        handle = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ContentChanged(f"{name}: is missing") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ContentChanged(f"{name}: is a link, no file") from error
        raise FileMissing(f"{name}: {(error.strerror or 'cannot be read').lower()}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ContentChanged(f"{name}: is no file")
    return handle
