"""Runs a plan, recording as it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import msgspec

from modelward.core.budget import Budget, Meter
from modelward.core.evidence import Cost
from modelward.core.seeds import child_seed
from modelward.engine.outcome import CheckRun, RunState
from modelward.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.catalogue import CheckEntry
    from modelward.core.check import Check, Subjects
    from modelward.core.evidence import Evidence
    from modelward.engine.journal import Journal
    from modelward.engine.plan import Plan


class Observer(Protocol):
    """Who watches a run."""

    def opening(self, what: str) -> None:
        """Data or a model is about to be read; `progress` follows for data."""
        ...

    def started(self, entry: CheckEntry) -> None:
        """A check begins."""
        ...

    def progress(self, done: int, total: int) -> None:
        """The check got this far."""
        ...

    def noted(self, text: str) -> None:
        """What the check is at, and what it found so far, in a few words."""
        ...

    def ended(self, outcome: CheckRun) -> None:
        """The check ended, or was found in the ledger."""
        ...


def run_plan(
    plan: Plan, subjects: Subjects, *, journal: Journal, budget: Budget, seed: int, observer: Observer
) -> tuple[CheckRun, ...]:
    """Run every check of a plan, or take it from the journal.

    A check's limit is its share of what is left, so what one check does not use, later ones may. Under limits
    on passes and queries the outcome depends on the seed alone; a limit on seconds is recorded where it cuts.

    Args:
        plan: checks in order.
        subjects: what they look at.
        journal: where evidence goes, and where finished checks are found.
        budget: of the whole run.
        seed: of the run; each check gets its own child seed.
        observer: told about progress.

    Returns:
        One outcome per check that was started; after Ctrl-C the last one is ``interrupted``.
    """
    spent = Cost()
    outcomes: list[CheckRun] = []
    for position, (entry, check) in enumerate(plan.checks):
        outcome = journal.finished(entry)
        if outcome is None:
            limit = _share(budget, spent, [later for later, _ in plan.checks[position:]])
            observer.started(entry)
            meter = Meter(limit, observe=observer.progress, note=observer.noted)
            known = replace(subjects, earlier=tuple(item for run in outcomes for item in run.evidence))
            outcome = _run_check(entry, check, known, (meter, journal, child_seed(seed, entry.id)))
        spent += outcome.cost
        outcomes.append(outcome)
        observer.ended(outcome)
        if outcome.state == "interrupted":
            break
    return tuple(outcomes)


def _run_check(
    entry: CheckEntry, check: Check, subjects: Subjects, means: tuple[Meter, Journal, int]
) -> CheckRun:
    meter, journal, seed = means
    collected: list[Evidence] = []
    state: RunState = "finished"
    cut: str | None = None
    try:
        for item in check.run(subjects, budget=meter, seed=seed):
            journal.evidence(item)
            collected.append(item)
        if meter.cut is not None:
            state, cut = "cut", meter.cut
    except Unsupported as error:
        state, cut = "failed", str(error)
    except KeyboardInterrupt:
        state, cut = "interrupted", "interrupted"
    outcome = CheckRun(
        check=entry.id,
        summary=entry.summary,
        state=state,
        cut=cut,
        cost=meter.cost,
        evidence=tuple(collected),
    )
    outcome = msgspec.structs.replace(
        outcome, cost=msgspec.structs.replace(outcome.cost, seconds=round(outcome.cost.seconds, 6))
    )
    if state != "interrupted":
        journal.check(outcome)
    return outcome


def _share(budget: Budget, spent: Cost, remaining: Sequence[CheckEntry]) -> Budget:
    """The first remaining check's part of what the run may still consume."""
    part = remaining[0].share / sum(entry.share for entry in remaining)
    passes, queries = budget.passes, budget.queries
    return Budget(
        seconds=None if budget.seconds is None else max(0.0, budget.seconds - spent.seconds) * part,
        passes=None if passes is None else int(max(0, passes - spent.passes) * part),
        queries=None if queries is None else int(max(0, queries - spent.queries) * part),
    )
