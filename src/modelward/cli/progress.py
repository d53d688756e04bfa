"""Progress on standard error, when it is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from modelward.verbs.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from modelward.core.catalogue import CheckEntry
    from modelward.engine.outcome import CheckRun
    from modelward.engine.run import Observer


@final
class Bars:
    """One bar per check; finished ones stay."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._passing: TaskID | None = None

    def opening(self, what: str) -> None:
        """Open a bar that the next one replaces."""
        self._replace()
        self._task = self._passing = self._progress.add_task(f"opening {what}", total=None, note="")

    def started(self, entry: CheckEntry) -> None:
        """Open a bar."""
        self._replace()
        self._task = self._progress.add_task(entry.id, total=None, note="")

    def progress(self, done: int, total: int) -> None:
        """Move it."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def noted(self, text: str) -> None:
        """Write beside it what the check is at."""
        if self._task is not None:
            self._progress.update(self._task, note=text)

    def ended(self, outcome: CheckRun) -> None:
        """Fill it, and say what is not plain."""
        notes = {
            "finished": "",
            "cut": f"cut by {outcome.cut}",
            "failed": "failed",
            "interrupted": "interrupted",
        }
        self._replace()
        note = "found in the ledger" if outcome.resumed else notes[outcome.state]
        task = self._task if self._task is not None else self._progress.add_task(outcome.check, note="")
        self._progress.update(task, total=1, completed=1 if outcome.state == "finished" else 0, note=note)
        self._task = None

    def _replace(self) -> None:
        if self._passing is not None:
            self._progress.remove_task(self._passing)
            self._task = self._passing = None


@contextmanager
def observer() -> Iterator[Observer]:
    """An observer that draws on a terminal and says nothing elsewhere."""
    if not sys.stderr.isatty():
        yield Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
