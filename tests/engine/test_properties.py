"""The engine under any budget and any interruption: shares that never add up to more, runs that end alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.budget import Budget
from modelward.core.catalogue import CheckEntry
from modelward.core.check import Subjects
from modelward.core.evidence import Cost, Evidence
from modelward.engine.journal import Journal
from modelward.engine.plan import Plan
from modelward.engine.run import _share, run_plan
from modelward.errors import LedgerTampered
from modelward.ledger.store import Ledger
from modelward.verbs.quiet import Quiet

IDENTITY = {"seed": 1}


class Greedy:
    """Takes so many queries and passes a step, as long as it is let; stops or is interrupted at one step."""

    version = 1

    def __init__(self, name, steps, *, size=1, interrupted=None):
        self.id, self.steps, self.size, self.interrupted = name, steps, size, interrupted
        self.saw = None

    def declines(self, subjects):
        return None

    def run(self, subjects, *, budget, seed):
        self.saw = subjects.earlier
        for step in range(self.steps):
            if step == self.interrupted:
                raise KeyboardInterrupt
            if not budget.take(queries=self.size, forward=self.size, backward=1):
                return
            yield Evidence(
                check=self.id, version=1, parameters={}, n=1, seed=seed, outcome={"step": step}, unit="steps",
                cost=budget.lap(), subjects={},
            )  # fmt: skip


def entry(name, share=1):
    return CheckEntry(id=name, path="x:y", summary="s", needs=(), feeds=(), share=share)


def plan_of(checks, shares=None):
    shares = shares or [1] * len(checks)
    return Plan(tuple((entry(c.id, s), c) for c, s in zip(checks, shares, strict=True)), ())


def run(folder, plan, budget, *, fresh=False):
    ledger = Ledger.open(Path(folder))
    try:
        journal = Journal(ledger, IDENTITY, fresh=fresh)
        subjects = Subjects(attachments=None)
        return run_plan(plan, subjects, journal=journal, budget=budget, seed=3, observer=Quiet())
    finally:
        ledger.close()


STEPS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4)
LIMITS = st.none() | st.integers(0, 40)


@settings(max_examples=60, deadline=None)
@given(STEPS, LIMITS, LIMITS)
def test_no_budget_is_ever_overrun_and_what_was_not_cut_is_whole(steps, queries, passes):
    checks = [Greedy(f"c{i}", n, size=size) for i, (n, size, _) in enumerate(steps)]
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_of(checks, [share for *_, share in steps])
        outcomes = run(folder, plan, Budget(queries=queries, passes=passes))
    total = sum((outcome.cost for outcome in outcomes), Cost())
    assert queries is None or total.queries <= queries
    assert passes is None or total.passes <= passes
    for outcome, check in zip(outcomes, checks, strict=True):
        whole = len(outcome.evidence) == check.steps
        assert (outcome.state == "finished") == whole
        assert outcome.cut in ({None} if whole else {"queries", "passes"})
        assert sum(item.cost.queries for item in outcome.evidence) == outcome.cost.queries


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.integers(0, 10**6),
)  # fmt: skip
def test_shares_of_what_is_left_never_add_up_to_more(shares, limit, spent, passes):
    """The last check may have all that is left; before, each takes at most its part of it."""
    entries = [entry(f"c{i}", share) for i, share in enumerate(shares)]
    budget = Budget(queries=limit, passes=passes)
    gone = Cost(queries=spent, forward=spent // 2, bounds=spent // 3)
    left = max(0, limit - spent)
    first = _share(budget, gone, entries)
    assert 0 <= first.queries <= left
    assert first.queries == int(left * shares[0] / sum(shares))
    assert 0 <= first.passes <= max(0, passes - gone.passes)
    assert first.seconds is None
    assert _share(budget, gone, entries[-1:]).queries == left
    used = gone
    for position in range(len(entries)):
        part = _share(budget, used, entries[position:])
        used += Cost(queries=part.queries, bounds=part.passes)
    assert used.queries == max(limit, spent)
    assert used.passes == max(passes, gone.passes)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.data(), LIMITS)
def test_a_run_that_was_interrupted_anywhere_ends_as_if_it_had_not_been(steps, data, queries):
    budget = Budget(queries=queries)
    at = data.draw(st.integers(0, len(steps) - 1))
    when = data.draw(st.integers(0, max(0, steps[at][0] - 1)))

    def checks(interrupted=None):
        return [
            Greedy(f"c{i}", n, size=size, interrupted=interrupted if i == at else None)
            for i, (n, size, _) in enumerate(steps)
        ]

    shares = [share for *_, share in steps]
    with tempfile.TemporaryDirectory() as straight, tempfile.TemporaryDirectory() as parts:
        whole = run(straight, plan_of(checks(), shares), budget)
        run(parts, plan_of(checks(when), shares), budget)
        again = run(parts, plan_of(checks(), shares), budget)
        twice = run(parts, plan_of(checks(), shares), budget)

    def told(outcomes):
        return [(o.check, o.state, o.cut, [e.outcome for e in o.evidence], o.cost.queries) for o in outcomes]

    assert told(whole) == told(again) == told(twice)
    assert all(outcome.resumed for outcome in twice)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_a_check_sees_what_the_checks_before_it_recorded_and_nothing_else(steps):
    checks = [Greedy(f"c{i}", n) for i, (n, *_) in enumerate(steps)]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(folder, plan_of(checks), Budget())
    for position, check in enumerate(checks):
        earlier = tuple(item for outcome in outcomes[:position] for item in outcome.evidence)
        assert check.saw == earlier


def test_resumed_checks_show_their_evidence_to_the_next_one(tmp_path):
    run(tmp_path, plan_of([Greedy("a", 2)]), Budget())
    last = Greedy("b", 1)
    first, _ = run(tmp_path, plan_of([Greedy("a", 2), last]), Budget())
    assert first.resumed
    assert last.saw == first.evidence


def test_attempts_are_told_apart(tmp_path):
    """Evidence of an abandoned attempt is not that of the one that is continued."""
    run(tmp_path, plan_of([Greedy("a", 3, interrupted=2)]), Budget())
    run(tmp_path, plan_of([Greedy("a", 1)]), Budget(), fresh=True)
    (outcome,) = run(tmp_path, plan_of([Greedy("a", 9)]), Budget())
    assert outcome.resumed
    assert [item.outcome for item in outcome.evidence] == [{"step": 0}]
    ledger = Ledger.open(tmp_path)
    attempts = [record["attempt"] for record in ledger.records()]
    assert attempts == sorted(attempts)
    assert set(attempts) == {1, 2}


@pytest.mark.parametrize(
    "outcome",
    [
        {},
        {"check": "a"},
        {"check": "a", "summary": "s", "state": "asleep", "cost": {}, "evidence": []},
        {"check": "a", "summary": "s", "state": "finished", "cost": {"queries": "many"}, "evidence": []},
        {"check": 1, "summary": "s", "state": "finished", "cost": {}, "evidence": []},
        [],
        None,
    ],
)
def test_a_record_that_is_no_outcome_is_no_outcome(tmp_path, outcome):
    ledger = Ledger.open(tmp_path)
    journal = Journal(ledger, IDENTITY, fresh=False)
    ledger.append(
        {"kind": "check", "run": journal.run, "attempt": 1, "check": "a", "outcome": outcome, "evidence": []}
    )
    with pytest.raises(LedgerTampered, match="check a"):
        Journal(ledger, IDENTITY, fresh=False).finished(entry("a"))


def test_a_record_keeps_everything_of_an_outcome(tmp_path):
    (outcome,) = run(tmp_path, plan_of([Greedy("a", 3, size=2)]), Budget(queries=5))
    ledger = Ledger.open(tmp_path)
    found = Journal(ledger, IDENTITY, fresh=False).finished(entry("a"))
    assert found == msgspec.structs.replace(outcome, resumed=True)
    assert (found.state, found.cut, len(found.evidence)) == ("cut", "queries", 2)
    assert Journal(ledger, IDENTITY, fresh=False).finished(entry("b")) is None
