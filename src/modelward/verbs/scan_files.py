"""The files of a folder, inspected on all cores, reported in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelward.artifact.finding import Finding, Location
from modelward.artifact.format import Sniffed
from modelward.artifact.verdict import ArtifactReport, Coverage, inspect
from modelward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH: Final = 16
"""Files handed to a process at once; one message per file would cost more than a small file."""
_AHEAD: Final = 4
"""Batches per process that are under way while the caller works on the first."""
PASSED_OVER: Final = frozenset({".git", ".hg", ".svn", ".modelward"})
"""Folders that no loader looks into."""
_MARKERS: Final = frozenset(
    {"", ".typed", ".keep", ".txt", ".md", ".rst", ".cfg", ".ini", ".log", ".csv", ".json"}
)
"""Suffixes of files that are often empty on purpose."""
_FEW: Final = 8
"""As many files are inspected in this process: starting others would take longer."""


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted within each folder, as they are found.

    A link to a file is read, since reading is all that happens; a link to a folder is not followed. Folders
    of version control and modelward's own store are passed over.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if entry.name in PASSED_OVER:
                continue
            yield from files_below(Path(entry.path))
        elif not entry.is_dir():
            yield Path(entry.path)


def inspect_all(files: Iterator[Path], jobs: int) -> Iterator[ArtifactReport]:
    """Reports in the order of the files; one bad file never ends the scan.

    Args:
        files: paths; taken as processes become free.
        jobs: processes; 1 means none but this one.
    """
    first = list(islice(files, _FEW))
    every = chain(first, files)
    yield from _spread(every, jobs) if jobs > 1 and len(first) == _FEW else map(inspect_member, every)


def inspect_member(path: Path) -> ArtifactReport:
    """One file among many: what cannot be read is a report as well."""
    try:
        if path.is_file() and not path.stat().st_size and (empty := _empty(path)):
            return empty
        if path.exists() and not path.is_file():
            return _unread(path, "is neither a file nor a folder, and was not opened")
        return inspect(path)
    except (InputError, OSError) as error:
        return _unread(path, str(error))


def _empty(path: Path) -> ArtifactReport | None:
    """An empty text such as `__init__.py` is no damaged model."""
    from modelward.artifact.around.kinds import refine
    from modelward.artifact.format import AROUND

    kind = refine(Sniffed("text", "empty"), path.name, b"").format
    marker = path.suffix in _MARKERS or path.name.startswith(".")
    if kind not in AROUND and not marker:
        return None
    return ArtifactReport(str(path), kind, None, Coverage(0, 0, 0, 0, ()), ())


def _unread(path: Path, message: str) -> ArtifactReport:
    finding = Finding("file.unreadable", "medium", message, Location("", None), level="unproven")
    nothing = Coverage(0, 0, 0, 0, ("the whole file",))
    return ArtifactReport(str(path), "unknown", "error", nothing, (finding,))


# --- several processes --------------------------------------------------------------------------------------


def _spread(files: Iterator[Path], jobs: int) -> Iterator[ArtifactReport]:
    pool = _pool(jobs)
    waiting: deque[tuple[list[Path], Future[list[ArtifactReport]]]] = deque()
    try:
        while True:
            while len(waiting) < jobs * _AHEAD and (batch := list(islice(files, _BATCH))):
                waiting.append((batch, pool.submit(_inspect_batch, batch)))
            if not waiting:
                return
            batch, future = waiting.popleft()
            try:
                yield from future.result()
            except BrokenProcessPool:
                pool.shutdown()
                yield from _one_by_one([batch, *(late for late, _ in waiting)])
                waiting.clear()
                pool = _pool(jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(batches: list[list[Path]]) -> Iterator[ArtifactReport]:
    """A process died: each file that was under way gets one of its own, so that the culprit is known."""
    for path in (path for batch in batches for path in batch):
        with _pool(1) as alone:
            try:
                yield from alone.submit(_inspect_batch, [path]).result()
            except BrokenProcessPool:
                yield _unread(path, "the process that read it died (memory, or the file changed meanwhile)")


def _pool(jobs: int) -> ProcessPoolExecutor:
    # A fork is nearly free, and safe while this is the only thread.
    way = "fork" if threading.active_count() == 1 else "forkserver"
    return ProcessPoolExecutor(jobs, mp_context=get_context(way), initializer=_ignore_interrupt)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches the whole group; the parent alone decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _inspect_batch(paths: list[Path]) -> list[ArtifactReport]:
    return list(map(inspect_member, paths))
