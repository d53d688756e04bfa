"""Budgets: how much a run may consume, and the meter that counts it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, final

import msgspec

from modelward.core.evidence import Cost, Cut
from modelward.errors import BudgetInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

_PART = re.compile(r"(?P<amount>\d+(?:\.\d+)?(?:[eE][+]?\d+)?)(?P<unit>[spq])")


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits; null means unlimited.

    Attributes:
        seconds: wall time.
        passes: samples sent forward and backward, and linear forms of proofs; see `Cost.passes`.
        queries: samples answered by the model's own runtime.
    """

    seconds: float | None = None
    passes: int | None = None
    queries: int | None = None


def parse_budget(text: str) -> Budget:
    """Read ``60s,1e6p,5000q``: seconds, passes and queries, each optional, in any order.

    Raises:
        BudgetInvalid: a part cannot be read, is zero, or is given twice.
    """
    values: dict[str, float] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise BudgetInvalid(f"budget part {part.strip()!r} is not a number followed by s, p or q")
        unit, amount = match["unit"], float(match["amount"])
        if unit in values:
            raise BudgetInvalid(f"budget {text!r} names {unit!r} twice")
        if not 0 < amount < 2**53:
            raise BudgetInvalid(f"budget part {part.strip()!r} must be above zero and below 2**53")
        values[unit] = amount
    if ("p" in values and values["p"] < 1) or ("q" in values and values["q"] < 1):
        raise BudgetInvalid(f"budget {text!r} allows less than one pass or query")
    passes, queries = values.get("p"), values.get("q")
    return Budget(
        seconds=values.get("s"),
        passes=None if passes is None else int(passes),
        queries=None if queries is None else int(queries),
    )


@final
class Meter:
    """Counts what one check consumes and says when to stop.

    A check asks `take` before it spends. Once `take` has answered False the check yields what it has, with
    `cut` as the reason, and ends.

    Attributes:
        cut: why the last `take` was refused; null while nothing was refused.
    """

    def __init__(
        self,
        limit: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[int, int], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.limit = limit or Budget()
        self.cut: Cut | None = None
        self._clock = clock
        self._observe = observe
        self._note = note
        self._start = clock()
        self._spent = Cost()
        self._lap = Cost()

    @property
    def cost(self) -> Cost:
        """Everything consumed since the start."""
        return msgspec.structs.replace(self._spent, seconds=self._clock() - self._start)

    def take(self, *, forward: int = 0, backward: int = 0, queries: int = 0, bounds: int = 0) -> bool:
        """Book samples if the budget allows all of them.

        Args:
            forward: samples about to be sent forward through a differentiable copy.
            backward: samples about to be differentiated.
            queries: samples about to be answered by the model's own runtime.
            bounds: linear forms that a proof is about to send backward.

        Returns:
            True and books them, or False, books nothing and sets `cut`.
        """
        then = self._spent + Cost(
            forward=forward, backward=backward, queries=queries, bounds=bounds or msgspec.UNSET
        )
        if self.limit.seconds is not None and self._clock() - self._start >= self.limit.seconds:
            self.cut = "seconds"
        elif self.limit.passes is not None and then.passes > self.limit.passes:
            self.cut = "passes"
        elif self.limit.queries is not None and then.queries > self.limit.queries:
            self.cut = "queries"
        else:
            self._spent = then
            return True
        return False

    def left(self) -> Budget:
        """What remains of each limited quantity."""
        limit, spent = self.limit, self.cost
        return Budget(
            seconds=None if limit.seconds is None else max(0.0, limit.seconds - spent.seconds),
            passes=None if limit.passes is None else max(0, limit.passes - spent.passes),
            queries=None if limit.queries is None else max(0, limit.queries - spent.queries),
        )

    def lap(self) -> Cost:
        """What was consumed since the previous lap: the cost of the evidence about to be yielded."""
        now, last = self.cost, self._lap
        self._lap = now
        return Cost(
            seconds=round(now.seconds - last.seconds, 6),
            forward=now.forward - last.forward,
            backward=now.backward - last.backward,
            queries=now.queries - last.queries,
            bounds=((now.bounds or 0) - (last.bounds or 0)) or msgspec.UNSET,
        )

    def progress(self, done: int, total: int) -> None:
        """Tell whoever watches how far the check is."""
        if self._observe is not None:
            self._observe(done, total)

    def note(self, text: str) -> None:
        """Tell whoever watches what the check is at, in a few words."""
        if self._note is not None:
            self._note(text)
