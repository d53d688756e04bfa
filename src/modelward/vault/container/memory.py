"""A whole sealed file, decrypted by all cores into memory that is asked of the kernel in bulk.

Where a gigabyte is written for the first time, being handed its pages one fault at a time costs more than AES
does; Linux 5.14 and newer hand out a range at once (madvise(2), MADV_POPULATE_WRITE). Without it all is the
same, only slower.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from modelward.vault.container.layout import SEGMENTS
from modelward.vault.tree.leaves import CHUNK
from modelward.vault.tree.pool import cores, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.vault.container.files import SealedFile
    from modelward.vault.tree.pool import Task

_POPULATE_WRITE: Final = 23
_ALIGNED: Final = 64


def private(size: int) -> memoryview:
    """Zeroed memory that begins on a page."""
    if not size:
        return memoryview(bytearray())
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def whole(file: SealedFile, begin: int) -> memoryview:
    """Decrypt a file, every segment straight into its place.

    Args:
        file: of at least one byte.
        begin: the offset whose memory is aligned to 64 bytes.

    Returns:
        The bytes of the file from there on, writable.

    Raises:
        SealDamaged: what is stored was cut, altered or moved.
        ContentChanged: it is not what was signed.
    """
    pad, length = -begin % _ALIGNED, file.record.length
    memory = private(pad + length)
    view = memory[pad:]
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    tasks = (_task(file, index, view, address) for index in range(file.segments))
    run(tasks, jobs=min(cores(), file.segments), buffer=SEGMENTS.segment)
    return view[begin:]


def _task(file: SealedFile, index: int, view: memoryview, address: int) -> Task:
    def task(buffer: memoryview) -> None:
        start, stop = index * CHUNK, min((index + 1) * CHUNK, len(view))
        _populate(address + start, stop - start)
        file.segment(index, buffer, view[start:stop])

    return task


def _populate(address: int, size: int) -> None:
    before = address % mmap.PAGESIZE
    advise = _madvise()
    if advise is not None:
        advise(address - before, size + before, _POPULATE_WRITE)  # a refusal leaves it to page faults


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """The system call, which lets other threads run while pages are cleared; Python's own does not."""
    if sys.platform != "linux":
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    found: Callable[[int, int, int], int] = call
    return found
