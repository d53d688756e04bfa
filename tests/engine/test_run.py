"""The engine on checks of the test's own making: budgets, resume, interruption, failure."""

from pathlib import Path

import msgspec
import pytest

from modelward.core.budget import Budget, parse_budget
from modelward.core.catalogue import CHECKS, CheckEntry
from modelward.core.check import Settings, Subjects
from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.engine.journal import Journal
from modelward.engine.plan import Plan, make_plan, select
from modelward.engine.run import run_plan
from modelward.errors import ConfigInvalid, LedgerTampered, ModelRaised, OperatorUnsupported
from modelward.ledger.store import Ledger, find_all
from modelward.verbs.quiet import Quiet

IDENTITY = {"subjects": {"model": "sha256:0"}, "seed": 1}


class NoAttachments:
    def put(self, arrays):
        raise AssertionError


class Steps:
    """Asks for one query a step and yields evidence for each."""

    version = 1

    def __init__(self, name, steps=3, fail=None):
        self.id, self.steps, self.fail, self.runs = name, steps, fail, 0

    def declines(self, subjects):
        return None

    def run(self, subjects, *, budget, seed):
        self.runs += 1
        for step in range(self.steps):
            if self.fail is not None and step == 1:
                raise self.fail
            if not budget.take(queries=1):
                return
            budget.progress(step, self.steps)
            yield Evidence(
                check=self.id, version=1, parameters={}, n=1, seed=seed, outcome={"step": step}, unit="steps",
                cost=budget.lap(), subjects={}, cut=None,
            )  # fmt: skip


class Watcher:
    def __init__(self):
        self.events = []

    def opening(self, what):
        self.events.append(("opening", what))

    def started(self, entry):
        self.events.append(("started", entry.id))

    def progress(self, done, total):
        self.events.append((done, total))

    def noted(self, text):
        self.events.append(("noted", text))

    def ended(self, outcome):
        self.events.append((outcome.state, outcome.check, outcome.resumed))


def entry(name, share=1):
    return CheckEntry(id=name, path="x:y", summary="s", needs=(), feeds=(), share=share)


def plan_of(*checks):
    return Plan(tuple((entry(check.id), check) for check in checks), ())


def run(folder, plan, *, budget=None, fresh=False, identity=IDENTITY, observer=None):
    ledger = Ledger.open(Path(folder))
    try:
        journal = Journal(ledger, identity, fresh=fresh)
        return run_plan(
            plan,
            Subjects(attachments=NoAttachments()),
            journal=journal,
            budget=budget or Budget(),
            seed=7,
            observer=observer or Quiet(),
        )
    finally:
        ledger.close()


def test_every_check_gets_its_own_child_seed(tmp_path):
    a, b = run(tmp_path, plan_of(Steps("a"), Steps("b")))
    assert {e.seed for e in a.evidence} == {child_seed(7, "a")}
    assert {e.seed for e in b.evidence} == {child_seed(7, "b")}


def test_finished_checks_are_not_repeated(tmp_path):
    first, second = Steps("a"), Steps("b")
    before = run(tmp_path, plan_of(first, second))
    after = run(tmp_path, plan_of(first, second))
    assert (first.runs, second.runs) == (1, 1)
    assert [o.resumed for o in after] == [True, True]
    assert [o.evidence for o in after] == [o.evidence for o in before]
    assert [o.cost for o in after] == [o.cost for o in before]


def test_fresh_starts_over(tmp_path):
    check = Steps("a")
    run(tmp_path, plan_of(check))
    (outcome,) = run(tmp_path, plan_of(check), fresh=True)
    assert check.runs == 2
    assert not outcome.resumed
    run(tmp_path, plan_of(check))
    assert check.runs == 2  # the fresh attempt is the one that is continued


def test_another_identity_is_another_run(tmp_path):
    check = Steps("a")
    run(tmp_path, plan_of(check))
    run(tmp_path, plan_of(check), identity={**IDENTITY, "seed": 2})
    assert check.runs == 2


def test_an_interrupted_check_is_partial_now_and_repeated_later(tmp_path):
    broken = Steps("b", fail=KeyboardInterrupt())
    a, b = run(tmp_path, plan_of(Steps("a"), broken, Steps("c")))
    assert (a.state, b.state) == ("finished", "interrupted")
    assert len(b.evidence) == 1
    whole = run(tmp_path, plan_of(Steps("a"), Steps("b"), Steps("c")))
    assert [(o.state, o.resumed) for o in whole] == [
        ("finished", True),
        ("finished", False),
        ("finished", False),
    ]
    assert len(whole[1].evidence) == 3


def test_what_is_unsupported_fails_alone(tmp_path):
    a, b = run(tmp_path, plan_of(Steps("a", fail=OperatorUnsupported("no Foo")), Steps("b")))
    assert (a.state, a.cut) == ("failed", "no Foo")
    assert b.state == "finished"


def test_a_model_fault_ends_the_run_with_the_ledger_intact(tmp_path):
    with pytest.raises(ModelRaised):
        run(tmp_path, plan_of(Steps("a"), Steps("b", fail=ModelRaised("broken"))))
    (a, b) = run(tmp_path, plan_of(Steps("a"), Steps("b")))
    assert (a.resumed, b.resumed) == (True, False)


def test_queries_are_shared_and_what_is_left_flows_on(tmp_path):
    small, large = Steps("a", steps=1), Steps("b", steps=50)
    a, b = run(tmp_path, plan_of(small, large), budget=parse_budget("20q"))
    assert (a.cost.queries, a.state) == (1, "finished")
    assert (b.cost.queries, b.state, b.cut) == (19, "cut", "queries")


def test_a_resumed_run_spends_what_the_first_one_left(tmp_path):
    budget = parse_budget("20q")
    whole = run(tmp_path / "whole", plan_of(Steps("a", steps=50), Steps("b", steps=50)), budget=budget)
    run(
        tmp_path / "parts", plan_of(Steps("a", steps=50), Steps("b", fail=KeyboardInterrupt())), budget=budget
    )
    parts = run(tmp_path / "parts", plan_of(Steps("a", steps=50), Steps("b", steps=50)), budget=budget)
    strip = lambda outcomes: [[e.outcome for e in o.evidence] for o in outcomes]  # noqa: E731
    assert strip(whole) == strip(parts)


def test_no_seconds_left_is_a_recorded_cut(tmp_path):
    (a,) = run(tmp_path, plan_of(Steps("a")), budget=Budget(seconds=1e-9))
    assert (a.state, a.cut, a.evidence) == ("cut", "seconds", ())


def test_the_observer_hears_everything(tmp_path):
    watcher = Watcher()
    run(tmp_path, plan_of(Steps("a", steps=2)), observer=watcher)
    assert watcher.events == [("started", "a"), (0, 2), (1, 2), ("finished", "a", False)]


def test_evidence_is_in_the_ledger_as_it_happened(tmp_path):
    (a,) = run(tmp_path, plan_of(Steps("a")))
    records = list(Ledger.open(tmp_path).records())
    stored = [msgspec.convert(r["evidence"], Evidence) for r in find_all(records, kind="evidence")]
    assert tuple(stored) == a.evidence
    assert [r["kind"] for r in records] == ["run", "evidence", "evidence", "evidence", "check"]


def test_a_check_record_without_its_evidence_is_refused(tmp_path):
    ledger = Ledger.open(tmp_path)
    journal = Journal(ledger, IDENTITY, fresh=False)
    ledger.append(
        {"kind": "check", "run": journal.run, "attempt": 1, "check": "a", "outcome": {}, "evidence": ["00"]}
    )
    with pytest.raises(LedgerTampered, match="evidence"):
        Journal(ledger, IDENTITY, fresh=False).finished(entry("a"))


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("evasion", sum(entry.id.startswith("evasion.") for entry in CHECKS)),
        ("evasion.gradient", 1),
        ("quality", 1),
        ("bias", 1),
    ],
)
def test_prefixes_select(prefix, expected):
    assert len(select([prefix])) == expected


def test_no_prefix_selects_all_and_a_wrong_one_is_refused():
    assert select([]) == CHECKS
    with pytest.raises(ConfigInvalid, match="did you mean 'evasion'"):
        select(["evasoin"])


def test_a_plan_says_why_a_check_is_skipped():
    plan = make_plan(
        Subjects(attachments=NoAttachments()), Settings(), absent={"model": "the model was not opened: bad"}
    )
    reasons = {s.check: s.reason for s in plan.skipped}
    assert plan.checks == ()
    assert reasons["quality"] == "the model was not opened: bad"
    assert "live object" in reasons["artifact.pickle"]
    assert len(reasons) == len(CHECKS)
