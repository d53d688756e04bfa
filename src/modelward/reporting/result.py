"""What a report is made from: the whole outcome of one audit, as a value."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from modelward.core.claim import Claim
from modelward.core.evidence import Cost, Evidence
from modelward.core.finding import Finding
from modelward.core.policy import Verdict
from modelward.core.subject import Subject

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


class AuditResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one audit.

    Attributes:
        ledger_head: root of the ledger after the run, hexadecimal.
        run: run identity, hexadecimal.
        seed: the run's seed, ``0 <= seed < 2**53``.
        created: when the run ended, ISO 8601 in UTC; given by the caller, never read from a clock here.
        command: what reproduces the run.
        versions: library or component to version.
        subjects: what was examined.
        claims: the statements, with `Claim.status` set where a threshold names them.
        findings: the rules that fired.
        skipped: the checks that were not run.
        checks: the checks that were started.
        verdict: how the policy stands.
        complete: every planned check ran to its own end.
    """

    ledger_head: str
    run: str
    seed: int
    created: str
    command: str
    versions: dict[str, str]
    subjects: tuple[Subject, ...]
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    checks: tuple[CheckRun, ...]
    verdict: Verdict
    complete: bool
