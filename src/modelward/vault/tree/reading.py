"""Read the files of a tree once, in parts that threads share, and notice a file that changes meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, final, overload

from modelward.errors import ContentUnstable, FileMissing
from modelward.vault.tree.leaves import CHUNK
from modelward.vault.tree.names import shown
from modelward.vault.tree.pool import Meter, cores, run
from modelward.vault.tree.walk import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from modelward.vault.tree.pool import Task
    from modelward.vault.tree.walk import WalkEntry

    Read: TypeAlias = Callable[[int, int], memoryview]
    """Bytes of the file at hand by offset and size, at most 1 MiB, valid until the next call."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place never hangs
_ALONE: Final = 4 * CHUNK
"""Bytes below which starting threads costs more than they save."""
_TINY: Final = CHUNK // 32
"""Bytes of a mean file below which threads wait for the interpreter's lock more than they work."""
_BATCH: Final = 32
"""Small files that one thread takes at once."""


class Method(Protocol):
    """What is computed from a file's content."""

    def parts(self, entry: WalkEntry) -> Sequence[tuple[int, int]]:
        """The (start, stop) of parts that are computed each by one thread; at least one."""
        ...

    def part(self, entry: WalkEntry, start: int, stop: int, read: Read) -> bytes:
        """The result of one part."""
        ...


def read_all(
    entries: Sequence[WalkEntry],
    method: Method,
    done: Callable[[WalkEntry, list[bytes]], None],
    *,
    jobs: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compute something from every file.

    Args:
        entries: as `walk` gives them.
        method: what to compute.
        done: called with the results of a file's parts once it has been read whole and did not change; by
            any thread, for one file at a time.
        jobs: threads; 0 for two per core, so that some hash while others wait for the disk.
        progress: called with (bytes done, bytes in all).

    Raises:
        FileMissing: a file cannot be opened or read.
        ContentUnstable: a file changed since it was walked.
    """
    total = sum(entry.stat.st_size for entry in entries)
    plan = _Plan(method, done, Meter(total, progress))
    alone = total < max(_ALONE, _TINY * len(entries))
    try:
        run(plan.tasks(entries), jobs=1 if alone else jobs or 2 * cores(), buffer=CHUNK)
    finally:
        plan.close()


@final
class Spans(Sequence[tuple[int, int]]):
    """The (start, stop) of equal parts of a file, the last one shorter; an empty file has one empty part."""

    def __init__(self, length: int, size: int) -> None:
        self._length, self._size = length, size

    def __len__(self) -> int:
        return max(1, -(-self._length // self._size))

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        starts = range(0, max(1, self._length), self._size)
        if isinstance(index, slice):
            return [self._part(start) for start in starts[index]]
        return self._part(starts[index])

    def _part(self, start: int) -> tuple[int, int]:
        return start, min(start + self._size, self._length)


@final
class _File:
    """One file that is open, until its last part is computed."""

    def __init__(self, entry: WalkEntry, parts: int) -> None:
        self.entry: Final = entry
        self.results: Final = [b""] * parts
        self.left = parts
        try:
            self.handle = os.open(entry.absolute, _FLAGS)
        except OSError as error:
            raise FileMissing(
                f"{shown(entry.path)}: {(error.strerror or 'cannot be read').lower()}"
            ) from error
        self.check()

    def read(self, into: memoryview, offset: int, size: int) -> memoryview:
        view, at = into[:size], 0
        while at < size:
            try:
                got = os.preadv(self.handle, [view[at:]], offset + at)
            except OSError as error:
                text = (error.strerror or "cannot be read").lower()
                raise FileMissing(f"{shown(self.entry.path)}: {text} at byte {offset + at}") from error
            if not got:
                raise ContentUnstable(f"{shown(self.entry.path)}: became shorter while it was read")
            at += got
        return view

    def check(self) -> None:
        if stamp(os.fstat(self.handle)) != self.entry.stat:
            raise ContentUnstable(f"{shown(self.entry.path)}: changed while it was read")


@final
class _Plan:
    def __init__(self, method: Method, done: Callable[[WalkEntry, list[bytes]], None], meter: Meter) -> None:
        self._method, self._done, self._meter = method, done, meter
        self._lock = threading.Lock()
        self._open: set[_File] = set()

    def tasks(self, entries: Sequence[WalkEntry]) -> Iterator[Task]:
        small: list[WalkEntry] = []
        for entry in entries:
            if entry.stat.st_size <= CHUNK:
                small.append(entry)
                if len(small) == _BATCH:
                    yield self._batch(small)
                    small = []
            else:
                yield from self._parts(entry)
        yield self._batch(small)

    def close(self) -> None:
        for file in self._open:
            os.close(file.handle)
        self._open.clear()

    def _batch(self, entries: list[WalkEntry]) -> Task:
        def task(buffer: memoryview) -> None:
            for entry in entries:
                for part in self._parts(entry):
                    part(buffer)

        return task

    def _parts(self, entry: WalkEntry) -> Iterator[Task]:
        parts = self._method.parts(entry)
        file = _File(entry, len(parts))
        with self._lock:
            self._open.add(file)
        for index, (start, stop) in enumerate(parts):
            yield self._part(file, index, start, stop)

    def _part(self, file: _File, index: int, start: int, stop: int) -> Task:
        def task(buffer: memoryview) -> None:
            def read(offset: int, size: int) -> memoryview:
                view = file.read(buffer, offset, size)
                self._meter.add(size)  # and not once a part: that of a digest is the whole file
                return view

            file.results[index] = self._method.part(file.entry, start, stop, read)
            with self._lock:
                file.left -= 1
                if not file.left:
                    self._finish(file)

        return task

    def _finish(self, file: _File) -> None:
        file.check()
        self._open.discard(file)
        os.close(file.handle)
        self._done(file.entry, file.results)
