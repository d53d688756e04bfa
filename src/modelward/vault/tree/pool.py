"""Threads that take tasks from one generator, each with its own buffer; the first error ends them all."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Task: TypeAlias = Callable[[memoryview], None]

MOST: Final = 64
"""Threads, at most."""


def cores() -> int:
    """Processor cores that this process may use."""
    return max(1, min(MOST, len(os.sched_getaffinity(0))))


def run(tasks: Iterator[Task], *, jobs: int, buffer: int) -> None:
    """Work off all tasks; the calling thread is one of the workers.

    The first error that a task or the generator raises is raised again here, once every thread has stopped.

    Args:
        tasks: advanced by one thread at a time; each task is called with a buffer that nobody else has.
        jobs: threads, at least 1.
        buffer: bytes of each thread's buffer.
    """
    work = _Work(tasks, buffer)
    others = min(jobs, MOST) - 1
    if others < 1:
        work.drain()
        return
    from concurrent.futures import ThreadPoolExecutor  # costs start-up time that a small tree does not need

    with ThreadPoolExecutor(others) as pool:
        futures = [pool.submit(work.drain) for _ in range(others)]
        work.drain()
        for future in futures:
            future.result()


@final
class Meter:
    """Tells how far the work is; threads may share it.

    Args:
        total: bytes to do.
        report: called with (bytes done, total), by one thread at a time.
    """

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._total, self._report, self._done = total, report, 0
        self._lock = threading.Lock()

    def add(self, done: int) -> None:
        """So many bytes more are done."""
        if self._report is not None:
            with self._lock:
                self._done += done
                self._report(self._done, self._total)


@final
class _Work:
    def __init__(self, tasks: Iterator[Task], buffer: int) -> None:
        self._tasks, self._buffer = tasks, buffer
        self._lock, self._over = threading.Lock(), False

    def drain(self) -> None:
        view = memoryview(bytearray(self._buffer))
        try:
            while (task := self._next()) is not None:
                task(view)
        finally:
            self._over = True  # nothing is left, or something failed

    def _next(self) -> Task | None:
        with self._lock:
            return None if self._over else next(self._tasks, None)
