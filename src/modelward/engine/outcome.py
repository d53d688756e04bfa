"""What became of each planned check."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from modelward.core.evidence import Cost, Evidence

RunState: TypeAlias = Literal["finished", "cut", "failed", "interrupted"]


class Skipped(msgspec.Struct, frozen=True):
    """One check that was not run.

    Attributes:
        check: id of the check.
        reason: why, in one sentence.
    """

    check: str
    reason: str


class CheckRun(msgspec.Struct, frozen=True, kw_only=True):
    """One check that was started.

    Attributes:
        check: id of the check.
        summary: what it does, one line.
        state: ``finished`` to its own end; ``cut`` by the budget; ``failed`` with an error; ``interrupted``
            by the user.
        cut: what stopped it, or why it failed, in a few words; null when it finished.
        cost: what it consumed, all evidence together.
        evidence: what it recorded, in order.
        resumed: its evidence was taken from the ledger and not measured again.
    """

    check: str
    summary: str
    state: RunState
    cut: str | None = None
    cost: Cost
    evidence: tuple[Evidence, ...]
    resumed: bool = False
