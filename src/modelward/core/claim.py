"""Claims: statements about a model, each with a bracket or a value, its basis and its evidence."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON
from modelward.core.evidence import Cost
from modelward.core.finding import Finding

Basis: TypeAlias = Literal["proved", "measured", "attested", "asserted"]
Status: TypeAlias = Literal["holds", "refuted", "unknown"]


class Bracket(msgspec.Struct, frozen=True):
    """Shares of the n points examined: what a proof secures and what an attack left standing.

    Attributes:
        lower: share in [0, 1] that is proved; null where nothing was proved or tried.
        upper: share in [0, 1] that no attack broke; null where no attack ran.
    """

    lower: float | None
    upper: float | None


class Interval(msgspec.Struct, frozen=True):
    """Sampling uncertainty of a single value.

    Attributes:
        lower: lower end, in the value's unit.
        upper: upper end.
        confidence: coverage in (0, 1), for example 0.95.
    """

    lower: float
    upper: float
    confidence: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The same statement about a part of the samples.

    Attributes:
        name: which part: a class label, a group.
        n: its samples.
        bracket: shares of these n.
    """

    name: str
    n: int
    bracket: Bracket


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One statement.

    Attributes:
        id: the kind of claim, from the catalogue.
        statement: one sentence that a reader understands without the scope.
        scope: what it is limited to (norm, eps and its unit, box, columns, ...).
        value: the single value, or null where only a bracket exists.
        bracket: proof and attack, or null where the claim has a value.
        interval: sampling uncertainty of ``value``.
        basis: what the claim rests on.
        status: against the policy's thresholds; null when no threshold names it.
        n: samples examined.
        cost: total cost of the evidence.
        evidence: digests of the evidence it was derived from.
        parts: the same about each part of the samples, worst first; informative, no threshold names them.
        better: which direction is good, for thresholds and drawings.
        note: what a reader must know to not misread it (cut short, small n, saturated).
    """

    id: str
    statement: str
    scope: dict[str, JSON]
    value: float | None = None
    bracket: Bracket | None = None
    interval: Interval | None = None
    basis: Basis = "measured"
    status: Status | None = None
    n: int
    cost: Cost
    evidence: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    better: Literal["higher", "lower"] = "higher"
    note: str = ""


class Judgement(msgspec.Struct, frozen=True):
    """What a judge derives from evidence.

    Attributes:
        claims: the statements.
        findings: the rules that fired.
    """

    claims: tuple[Claim, ...] = ()
    findings: tuple[Finding, ...] = ()
