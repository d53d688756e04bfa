"""One sealed file as a Python file object that decrypts what is read."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, final

from modelward.vault.container.files import BUFFER
from modelward.vault.tree.leaves import CHUNK

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from modelward.vault.container.files import SealedFile

KEPT: Final = 8
"""Segments of 1 MiB that a stream keeps in clear."""


@final
class SealedStream(io.RawIOBase):
    """Read-only and seekable; every byte that it gives was held to the manifest. Threads may share it.

    Args:
        file: closed with the stream.
    """

    def __init__(self, file: SealedFile) -> None:
        self._file = file
        self._at = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._buffer = memoryview(bytearray(BUFFER - CHUNK))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, as of any file."""
        self._check_open()
        with self._lock:
            base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.record.length}.get(whence)
            if base is None:
                raise ValueError(f"whence {whence} is not 0, 1 or 2")
            if base + offset < 0:
                raise ValueError(f"position {base + offset} lies before the beginning")
            self._at = base + offset
            return self._at

    def readinto(self, out: WriteableBuffer, /) -> int:
        """Fill a buffer from where the stream stands, at least with one byte where there is one.

        Raises:
            SealDamaged: what is stored was cut, altered or moved.
            ContentChanged: it is not what was signed.
        """
        self._check_open()
        view = memoryview(out).cast("B")
        with self._lock:
            size = max(0, min(len(view), self._file.record.length - self._at))
            if size >= CHUNK:
                self._file.read_into(self._at, view[:size])
            elif size:
                index, start = divmod(self._at, CHUNK)
                segment = self._segment(index)
                size = min(size, len(segment) - start)
                view[:size] = segment[start : start + size]
            self._at += size
            return size

    def readall(self) -> bytes:
        """Everything from where the stream stands."""
        self._check_open()
        with self._lock:
            length = self._file.record.length
            begin, self._at = min(self._at, length), max(self._at, length)
            return bytes(self._file.read(begin, length - begin))

    def close(self) -> None:
        """Let the file go, and what was kept of it in clear."""
        if not self.closed:
            self._file.close()
            self._kept.clear()
        io.RawIOBase.close(self)

    def _segment(self, index: int) -> memoryview:
        found = self._kept.get(index)
        if found is None:
            found = memoryview(bytearray(min(CHUNK, self._file.record.length - index * CHUNK)))
            self._file.segment(index, self._buffer, found)
            self._kept[index] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return found

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
