"""Decrypt every file of a container into a folder, by as many threads as there are cores."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, final

from modelward.vault.container.layout import SEGMENTS
from modelward.vault.container.placing import create, write_all
from modelward.vault.tree.leaves import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from modelward.vault.container.files import SealedFile
    from modelward.vault.container.layout import Record
    from modelward.vault.tree.pool import Meter, Task

_BATCH: Final = 32
"""Small files that one thread takes at once."""


@final
class _Pair:
    """One file that is read and written at once."""

    def __init__(self, source: SealedFile, target: Path) -> None:
        self.source: Final = source
        self.left = source.segments
        self.handle: Final = create(target, 0o600)

    def close(self) -> None:
        self.source.close()
        os.close(self.handle)


@final
class Extraction:
    """The tasks of an extraction.

    Args:
        records: the files.
        opened: opens one by its path.
        folder: where they are written; exists and is empty.
        meter: is told of every segment.
        durable: each file is made durable when it is done.
    """

    def __init__(
        self,
        records: Sequence[Record],
        opened: Callable[[str], SealedFile],
        folder: Path,
        meter: Meter,
        *,
        durable: bool,
    ) -> None:
        self._records, self._opened, self._folder = records, opened, folder
        self._meter, self._durable = meter, durable
        self._lock = threading.Lock()
        self._open: set[_Pair] = set()

    def tasks(self) -> Iterator[Task]:
        """What is to be done; small files by the batch."""
        small: list[Record] = []
        for record in self._records:
            if record.length > CHUNK:
                yield from self._parts(record)
                continue
            small.append(record)
            if len(small) == _BATCH:
                yield self._batch(small)
                small = []
        if small:
            yield self._batch(small)

    def close(self) -> None:
        """Let go of files that were not finished."""
        while self._open:
            self._open.pop().close()

    def _batch(self, records: list[Record]) -> Task:
        def task(buffer: memoryview) -> None:
            for record in records:
                for part in self._parts(record):
                    part(buffer)

        return task

    def _parts(self, record: Record) -> Iterator[Task]:
        path = self._folder / record.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source = self._opened(record.path)
        try:
            pair = _Pair(source, path)
        except OSError:
            source.close()
            raise
        with self._lock:
            self._open.add(pair)
        for index in range(source.segments):
            yield self._segment(pair, index)

    def _segment(self, pair: _Pair, index: int) -> Task:
        def task(buffer: memoryview) -> None:
            sealed, plain = buffer[: SEGMENTS.segment], buffer[SEGMENTS.segment :]
            size = pair.source.segment(index, sealed, plain)
            write_all(pair.handle, plain[:size], index * CHUNK)
            self._meter.add(size)
            with self._lock:
                pair.left -= 1
                finished = not pair.left
            if finished:
                self._finish(pair)

        return task

    def _finish(self, pair: _Pair) -> None:
        if self._durable:
            os.fsync(pair.handle)
        with self._lock:
            self._open.discard(pair)
        pair.close()
