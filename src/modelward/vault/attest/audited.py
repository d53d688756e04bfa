"""Audit evidence, `https://modelward.dev/evidence/v1`: one decision of a ledger, proven to be in it.

The decision stands there as the ledger has it. Its place and an RFC 6962 audit path lead from it to the head,
so that nobody can alter what was concluded without another head; what a reader believes is derived from the
decision's values, never from a status or a verdict that is stored beside them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.core.claim import Claim
from modelward.core.finding import Finding
from modelward.core.subject import Subject
from modelward.errors import ProofInvalid, SealDamaged
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import root_by_inclusion
from modelward.vault.attest.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EVIDENCE: Final = "https://modelward.dev/evidence/v1"

_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
_Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}\\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
_LEFT_OUT: Final = ("left out by --checks", "needs the extra")


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ledger's head: its root, 64 hexadecimal digits, and the number of its records."""

    head: _Hash
    size: _Count


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision of the ledger.

    Attributes:
        index: its place, from 0.
        path: hashes from its leaf to the head, hexadecimal.
        body: the record.
    """

    index: _Count
    path: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=64)]
    body: dict[str, JSON]


class AuditedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the sealed files was audited.

    Attributes:
        path: POSIX path within what is sealed.
        digest: of the file.
        whole: of the file and the files beside it that are part of it (external weights).
    """

    path: str
    digest: _Digest
    whole: _Digest


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check that was started, as far as admission asks."""

    check: str
    state: Literal["finished", "cut", "failed", "interrupted"]
    cut: str | None = None


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """One check that was not run, and why."""

    check: str
    reason: str


class Concluded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an audit as the ledger has it, as far as admission asks."""

    run: _Hash
    created: Moment
    complete: bool
    subjects: tuple[Subject, ...]
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    skipped: tuple[Left, ...] = ()


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["decision"]
    run: _Hash
    result: Concluded


class AuditEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The predicate.

    Attributes:
        ledger: the head that covers the decision.
        record: the decision.
        model: what was audited.
        seen: per finding of the decision, in order, when the ledger first recorded it of this model.
    """

    ledger: Head
    record: Record
    model: AuditedModel
    seen: tuple[Moment, ...] = ()


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """An audit whose evidence is sound.

    Attributes:
        evidence: the predicate.
        result: what was concluded; claims have no status.
    """

    evidence: AuditEvidence
    result: Concluded

    @property
    def moment(self) -> datetime:
        """When it ended."""
        return self.result.created

    @property
    def finished(self) -> tuple[str, ...]:
        """Checks that ran to their own end."""
        return tuple(check.check for check in self.result.checks if check.state == "finished")

    @property
    def missed(self) -> dict[str, str]:
        """Checks that were cut short or left out, and why."""
        missed = {
            left.check: left.reason for left in self.result.skipped if left.reason.startswith(_LEFT_OUT)
        }
        for check in self.result.checks:
            if check.state != "finished":
                missed[check.check] = f"was cut short ({check.cut or check.state})"
        return missed


def read_audit(predicate: Mapping[str, JSON]) -> Audit:
    """Read a predicate and hold it together.

    Args:
        predicate: decoded so that `canonical` gives the bytes of the record back.

    Raises:
        SealDamaged: it is none, or does not fit together.
        ProofInvalid: the decision is not in the ledger that is named.
    """
    try:
        evidence = msgspec.convert(predicate, AuditEvidence)
        decision = msgspec.convert(evidence.record.body, _Decision)
        leaf = leaf_hash(canonical(evidence.record.body))
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise SealDamaged(f"the audit evidence is not as its format has it: {str(error)[:200]}") from error
    path = [bytes.fromhex(text) for text in evidence.record.path]
    root = root_by_inclusion(leaf, evidence.record.index, evidence.ledger.size, path)
    if root.hex() != evidence.ledger.head:
        raise ProofInvalid("the recorded audit is not in the ledger whose head is attested")
    result, model = decision.result, evidence.model
    subjects = {(subject.kind, subject.digest) for subject in result.subjects if subject.identity == "digest"}
    if decision.run != result.run:
        raise SealDamaged("the recorded audit and its result are of two runs")
    if not {("artifact", model.digest), ("model", model.whole)} <= subjects:
        raise SealDamaged("the recorded audit is of another model than the evidence names")
    if len(evidence.seen) != len(result.findings):
        raise SealDamaged("the evidence does not say of every finding when it was first seen")
    if any(seen > result.created for seen in evidence.seen):
        raise SealDamaged("a finding is said to be first seen after the audit that reports it")
    for claim in result.claims:
        _check_claim(claim)
    bare = tuple(msgspec.structs.replace(claim, status=None) for claim in result.claims)
    return Audit(evidence=evidence, result=msgspec.structs.replace(result, claims=bare))


def _check_claim(claim: Claim) -> None:
    numbers = [claim.value]
    numbers += [claim.bracket.lower, claim.bracket.upper] if claim.bracket else []
    numbers += [claim.interval.lower, claim.interval.upper] if claim.interval else []
    if claim.n < 0 or not all(math.isfinite(number) for number in numbers if number is not None):
        raise SealDamaged(f"the claim {claim.id[:80]!r} holds a number that no claim has")
