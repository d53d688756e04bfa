"""What a report is made from: the whole outcome of one audit, as a value."""

from __future__ import annotations

import msgspec

from modelward.core.claim import Claim
from modelward.core.finding import Finding
from modelward.core.policy import Verdict
from modelward.core.subject import Subject
from modelward.engine.outcome import CheckRun, Skipped


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
