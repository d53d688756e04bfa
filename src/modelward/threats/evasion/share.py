"""Splitting one check's budget over its threats, so that a tight budget still says something on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from modelward.core.budget import Meter
    from modelward.core.evidence import Cut


@final
class Share:
    """A part of what a meter has left. What one share does not use goes to the next.

    Args:
        meter: the check's budget.
        part: number of this share, from 0.
        of: number of shares; the last one takes everything that is left.

    Attributes:
        cut: why the last `take` was refused, by this share or by the whole budget; null while none was.
    """

    def __init__(self, meter: Meter, *, part: int = 0, of: int = 1) -> None:
        left, spent, parts = meter.left(), meter.cost, of - part
        self.cut: Cut | None = None
        self._meter = meter
        self._part, self._of = part, of
        self._start = spent
        self._seconds = None if left.seconds is None else left.seconds / parts
        self._passes = None if left.passes is None else left.passes // parts
        self._queries = None if left.queries is None else left.queries // parts

    def take(self, *, forward: int = 0, backward: int = 0, queries: int = 0, bounds: int = 0) -> bool:
        """Book samples with the meter if this share covers them; see `Meter.take`."""
        if self._of - self._part > 1:
            self.cut = self._over(forward + backward + bounds, queries)
            if self.cut is not None:
                return False
        if self._meter.take(forward=forward, backward=backward, queries=queries, bounds=bounds):
            return True
        self.cut = self._meter.cut
        return False

    def passes_left(self) -> int | None:
        """Passes this share still covers, see `Cost.passes`; null when unlimited."""
        used = self._meter.cost.passes - self._start.passes
        return None if self._passes is None else max(0, self._passes - used)

    def queries_left(self) -> int | None:
        """Queries this share still covers; null when unlimited."""
        used = self._meter.cost.queries - self._start.queries
        return None if self._queries is None else max(0, self._queries - used)

    def seconds_left(self) -> float | None:
        """Seconds this share still covers; null when unlimited."""
        used = self._meter.cost.seconds - self._start.seconds
        return None if self._seconds is None else max(0.0, self._seconds - used)

    def progress(self, fraction: float) -> None:
        """Tell whoever watches how far this share's work is, in [0, 1]."""
        self._meter.progress(round(1000 * (self._part + fraction)), 1000 * self._of)

    def note(self, text: str) -> None:
        """Tell whoever watches what this share is spent on, in a few words."""
        self._meter.note(text)

    def _over(self, passes: int, queries: int) -> Cut | None:
        if self._seconds is not None and self._meter.cost.seconds - self._start.seconds >= self._seconds:
            return "seconds"
        left = self.passes_left()
        if left is not None and passes > left:
            return "passes"
        left = self.queries_left()
        if left is not None and queries > left:
            return "queries"
        return None
