"""What the HTML shows, as plain values, cleaned, capped and ordered before a template sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelward.core.catalogue import CLAIMS
from modelward.core.evidence import Cost
from modelward.core.finding import SEVERITIES, severity_rank
from modelward.reporting.query_curve import pictures
from modelward.reporting.svg import bracket_chart, chart
from modelward.reporting.sweep import Step, fixed, series, sweep
from modelward.reporting.text import (
    bracket_words,
    claim_text,
    clean,
    cost_text,
    plural,
    samples_text,
    scope_text,
    seconds,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.canonical import JSON
    from modelward.core.claim import Claim, Status
    from modelward.core.evidence import Evidence
    from modelward.core.finding import Finding, Severity
    from modelward.core.policy import Outcome
    from modelward.core.subject import Subject
    from modelward.engine.outcome import CheckRun
    from modelward.reporting.result import AuditResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one page shows; the JSON holds all of it.

    Attributes:
        text: characters of one text.
        rows: entries of one list.
        cards: findings shown in full; the others are folded.
    """

    text: int = 600
    rows: int = 200
    cards: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A digest that may have a place on the page."""

    short: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """One finding, ready to print."""

    anchor: str
    severity: Severity
    confidence: str
    title: str
    message: str
    location: str
    remedy: str
    rule: str
    references: tuple[tuple[str, str], ...]
    evidence: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView:
    """A claim about a part of the samples; ``chart`` is SVG."""

    name: str
    n: str
    chart: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """Brackets that differ in their radius only; ``picture`` is SVG."""

    title: str
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim, ready to print; ``chart`` is SVG."""

    anchor: str
    label: str
    scope: str
    statement: str
    numbers: str
    words: tuple[str, ...]
    chart: str
    n: str
    facts: str
    basis: str
    status: Status | None
    note: str
    better: str
    parts: tuple[PartView, ...]
    evidence: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """Claims drawn on one axis: all brackets of one kind, or all single values."""

    title: str
    summary: str
    claims: tuple[ClaimView, ...]
    sweeps: tuple[SweepView, ...] = ()
    curves: tuple[SweepView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """One piece of evidence; never its outcome, which may hold rows of data."""

    anchor: str
    digest: str
    parameters: str
    n: str
    seed: str
    cost: str
    cut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One check that was started."""

    anchor: str
    check: str
    summary: str
    state: str
    cut: str
    cost: str
    resumed: bool
    feeds: tuple[tuple[str, str], ...]
    evidence: tuple[EvidenceView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectView:
    """One subject."""

    kind: str
    name: str
    digest: str
    asserted: bool
    format: str
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """One report page: lists are capped, counts are of everything."""

    title: str
    outcome: Outcome
    policy: str
    headline: str
    tally: str
    reasons: tuple[tuple[Status, str, str], ...]
    severities: tuple[tuple[Severity, int], ...]
    findings: tuple[FindingView, ...]
    cards: int
    groups: tuple[GroupView, ...]
    claims: int
    kinds: int
    skipped: tuple[tuple[str, str], ...]
    unfinished: tuple[RunView, ...]
    runs: tuple[RunView, ...]
    subjects: tuple[SubjectView, ...]
    found: int
    finished: int
    planned: int
    unseen: int
    cost: str
    seconds: str
    left_off: int
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    command: str
    complete: bool


HEADLINES: Mapping[Outcome, str] = {
    "pass": "Every requirement holds.",
    "fail": "At least one requirement is refuted.",
    "unknown": "Nothing is refuted, but not everything could be shown.",
}


def page_view(result: AuditResult, glossary: Mapping[str, str], limits: Limits) -> PageView:
    """Arrange a result for the page: worst first, lists capped by `limits`."""
    anchors = _evidence_anchors(result.checks, limits)
    claims = result.claims[: limits.rows]
    named = [(f"m{i}", claim) for i, claim in enumerate(claims)]
    runs = tuple(_run(i, run, named, limits) for i, run in enumerate(result.checks[: limits.rows]))
    findings = by_severity(result.findings)
    counts = [(s, sum(f.severity == s for f in findings)) for s in reversed(SEVERITIES)]
    finished = sum(run.state == "finished" for run in result.checks)
    verdict, total = result.verdict, sum((run.cost for run in result.checks), Cost())
    return PageView(
        title=clean(result.subjects[0].name, 160) if result.subjects else "audit",
        outcome=verdict.outcome,
        policy=clean(verdict.policy, 120),
        headline=HEADLINES[verdict.outcome],
        tally=reason_tally(result),
        reasons=tuple(
            (r.status, clean(r.requirement, min(200, limits.text)), clean(r.detail, min(300, limits.text)))
            for r in verdict.reasons[: limits.rows]
        ),
        severities=tuple((severity, count) for severity, count in counts if count),
        findings=tuple(
            _finding(i, finding, glossary, anchors, limits)
            for i, finding in enumerate(findings[: limits.rows])
        ),
        cards=limits.cards,
        groups=_groups(named, anchors, limits, clean_shares(result), curves(result)),
        claims=len(result.claims),
        kinds=len({claim.id for claim in result.claims}),
        skipped=tuple(
            (clean(s.check, 80), clean(s.reason, limits.text)) for s in result.skipped[: limits.rows]
        ),
        unfinished=tuple(run for run in runs if run.state != "finished"),
        runs=runs,
        subjects=tuple(_subject(subject, limits) for subject in result.subjects[: limits.rows]),
        found=len(findings),
        finished=finished,
        planned=len(result.checks) + len(result.skipped),
        unseen=len(result.checks) + len(result.skipped) - finished,
        cost=samples_text(total),
        seconds=seconds(total.seconds),
        left_off=_left_off(result, limits),
        facts=(
            ("Ledger head", clean(result.ledger_head, 80)),
            ("Run", clean(result.run, 80)),
            ("Seed", str(result.seed)),
            ("Created", clean(result.created, 40)),
        ),
        versions=tuple(
            (clean(k, 60), clean(v, 60)) for k, v in sorted(result.versions.items())[: limits.rows]
        ),
        command=clean(result.command, 2 * limits.text),
        complete=result.complete,
    )


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first, the surer first among equals, then by rule."""
    sure = ("high", "medium", "low")
    return sorted(findings, key=lambda f: (-severity_rank(f.severity), sure.index(f.confidence), f.rule))


def place(finding: Finding, limit: int = 80) -> str:
    """Where a finding was made, on one short line; empty where the message says it already."""
    return "" if finding.location in finding.message else clean(finding.location, limit)


def reason_tally(result: AuditResult) -> str:
    """How many requirements hold, are refuted or undecided, in one phrase."""
    statuses = [reason.status for reason in result.verdict.reasons]
    words = (("refuted", "refuted"), ("unknown", "undecided"), ("holds", "met"))
    parts = [f"{statuses.count(status)} {word}" for status, word in words if status in statuses]
    return f"{plural(len(statuses), 'requirement')}: {', '.join(parts)}" if parts else "no requirements"


def claim_title(claim_id: str) -> str:
    """``membership-auc`` -> ``Membership AUC``."""
    words = [word.upper() if word in {"auc", "tpr", "fpr"} else word for word in claim_id.split("-")]
    text = clean(" ".join(words), 80)
    return text[:1].upper() + text[1:]


def _left_off(result: AuditResult, limits: Limits) -> int:
    """Entries that the page does not show."""
    lists = (result.claims, result.findings, result.skipped, result.checks, result.subjects)
    return sum(max(0, len(entries) - limits.rows) for entries in lists)


def _evidence_anchors(runs: Sequence[CheckRun], limits: Limits) -> dict[str, str]:
    """Digest to the first place on the page where it stands."""
    anchors: dict[str, str] = {}
    for i, run in enumerate(runs[: limits.rows]):
        for j, evidence in enumerate(run.evidence[: limits.rows]):
            anchors.setdefault(evidence.digest, f"e{i}-{j}")
    return anchors


def _links(digests: Sequence[str], anchors: Mapping[str, str]) -> tuple[Link, ...]:
    return tuple(Link(short=clean(digest[:8], 8), anchor=anchors.get(digest, "")) for digest in digests[:12])


def _finding(
    index: int, finding: Finding, glossary: Mapping[str, str], anchors: Mapping[str, str], limits: Limits
) -> FindingView:
    references = [*finding.techniques, *finding.controls][:12]
    return FindingView(
        anchor=f"f{index}",
        severity=finding.severity,
        confidence=finding.confidence,
        title=clean(finding.title, min(160, limits.text)),
        message=clean(finding.message, limits.text),
        location=place(finding),
        remedy=clean(finding.remedy, limits.text),
        rule=clean(finding.rule, 80),
        references=tuple((clean(ref, 40), clean(glossary.get(ref, ""), 80)) for ref in references),
        evidence=_links(finding.evidence, anchors),
    )


def _groups(
    named: Sequence[tuple[str, Claim]],
    anchors: Mapping[str, str],
    limits: Limits,
    clean_share: Mapping[str, float],
    drawings: tuple[SweepView, ...],
) -> tuple[GroupView, ...]:
    """Brackets first, one group per kind; then every single value; in the catalogue's order."""
    summaries = {entry.id: entry.summary for entry in CLAIMS}
    known = list(summaries)
    ordered = sorted(
        named, key=lambda pair: known.index(pair[1].id) if pair[1].id in summaries else len(known)
    )
    brackets: dict[str, list[ClaimView]] = {}
    values: list[ClaimView] = []
    drawn: dict[str, tuple[SweepView, ...]] = {}
    for anchor, claim in ordered:
        row = _claim(anchor, claim, anchors, limits)
        (values if claim.bracket is None else brackets.setdefault(claim.id, [])).append(row)
        drawn[claim.id] = drawn.get(claim.id) or sweeps(
            [c for _, c in ordered if c.id == claim.id], clean_share
        )
    groups = [
        GroupView(
            title=claim_title(claim_id),
            summary=summaries.get(claim_id, ""),
            claims=tuple(rows),
            sweeps=drawn[claim_id],
            curves=drawings if claim_id == "robust-accuracy" else (),
        )
        for claim_id, rows in brackets.items()
    ]
    if values:
        about = "Single values, each with the interval that sampling allows."
        groups.append(GroupView(title="Measured values", summary=about, claims=tuple(values)))
    return tuple(groups)


def curves(result: AuditResult) -> tuple[SweepView, ...]:
    """Points broken over queries, one picture per check and norm."""
    drawn = pictures(item for run in result.checks for item in run.evidence)
    return tuple(SweepView(title=clean(title, 160), picture=picture) for title, picture in drawn)


def clean_shares(result: AuditResult) -> dict[str, float]:
    """Digest of evidence to the share of its points that are right unchanged, where it says so."""
    shares = {}
    for run in result.checks:
        for evidence in run.evidence:
            rows, correct = evidence.outcome.get("rows"), evidence.outcome.get("correct")
            if isinstance(rows, list) and isinstance(correct, list) and rows:
                shares[evidence.digest] = len(correct) / len(rows)
    return shares


def sweeps(claims: Sequence[Claim], clean_share: Mapping[str, float]) -> tuple[SweepView, ...]:
    """One picture for each set of brackets that differ in eps only, where there are two or more.

    Args:
        claims: of one kind.
        clean_share: digest of evidence to the share that is right unchanged.
    """
    views = []
    for index, members in enumerate(series(claims)):
        where = scope_text(fixed(members[0]))
        steps = [
            Step(float(str(claim.scope["eps"])), claim.bracket, claim.note)
            for claim in members
            if claim.bracket is not None
        ]
        known = [clean_share[name] for claim in members for name in claim.evidence if name in clean_share]
        title = f"{claim_title(members[0].id)} over eps, {clean(where, 160)}"
        ident = f"s{index}-{members[0].id}"
        picture = sweep(steps, min(known) if known else None, title=title, ident=ident)
        views.append(SweepView(title=clean(where, 160), picture=picture))
    return tuple(views)


def _claim(anchor: str, claim: Claim, anchors: Mapping[str, str], limits: Limits) -> ClaimView:
    named = ("norm", "eps") if claim.bracket is not None else ()
    first: dict[str, JSON] = {key: claim.scope[key] for key in named if key in claim.scope}
    rest: dict[str, JSON] = {key: value for key, value in claim.scope.items() if key not in first}
    facts = [] if claim.interval is None else [f"{100 * claim.interval.confidence:g} % interval"]
    said = claim.note.split("; ")
    # Which proofs stand is a fact; everything else in a note qualifies the numbers: a warning.
    facts += [clean(part, 160) for part in said if part.startswith("proved by ")]
    note = "; ".join(part for part in said if not part.startswith("proved by "))
    return ClaimView(
        anchor=anchor,
        label=clean(scope_text(first), min(240, limits.text)) or claim_title(claim.id),
        scope=clean(scope_text(rest), min(240, limits.text)),
        statement=clean(claim.statement, limits.text),
        numbers=claim_text(claim),
        words=bracket_words(claim.bracket) if claim.bracket is not None else (),
        chart=chart(claim, anchor),
        n=f"{claim.n:,}",
        facts=" · ".join([*facts, cost_text(claim.cost)]),
        basis=claim.basis,
        status=claim.status,
        note=clean(note, limits.text),
        better=claim.better,
        parts=tuple(
            PartView(
                name=clean(part.name, 60),
                n=f"{part.n:,}",
                chart=bracket_chart(part.bracket, part.n, title=clean(part.name, 60), ident=f"{anchor}-p{i}"),
                words=bracket_words(part.bracket),
            )
            for i, part in enumerate(claim.parts[: max(4, limits.rows // 8)])
        ),
        evidence=_links(claim.evidence, anchors),
    )


def _run(index: int, run: CheckRun, named: Sequence[tuple[str, Claim]], limits: Limits) -> RunView:
    own = {evidence.digest for evidence in run.evidence}
    feeds = [(anchor, claim) for anchor, claim in named if own & set(claim.evidence)]
    return RunView(
        anchor=f"c{index}",
        check=clean(run.check, 80),
        summary=clean(run.summary, min(300, limits.text)),
        state=run.state,
        cut=clean(run.cut or "", limits.text),
        cost=cost_text(run.cost),
        resumed=run.resumed,
        feeds=tuple((anchor, _feed(claim)) for anchor, claim in feeds[:12]),
        evidence=tuple(
            _evidence(f"e{index}-{j}", evidence, limits)
            for j, evidence in enumerate(run.evidence[: limits.rows])
        ),
    )


def _feed(claim: Claim) -> str:
    norm, eps = claim.scope.get("norm"), claim.scope.get("eps")
    where = "" if norm is None or eps is None else scope_text({"norm": norm, "eps": eps})
    return f"{claim_title(claim.id)}{f' ({clean(where, 60)})' if where else ''}"


def _evidence(anchor: str, evidence: Evidence, limits: Limits) -> EvidenceView:
    chosen = [f"{key} {value_text(value, 80)}" for key, value in sorted(evidence.parameters.items())]
    return EvidenceView(
        anchor=anchor,
        digest=evidence.digest,
        parameters=clean(" · ".join(chosen), limits.text) or "defaults",
        n=f"{evidence.n:,}",
        seed=str(evidence.seed),
        cost=cost_text(evidence.cost),
        cut=evidence.cut or "",
    )


def _subject(subject: Subject, limits: Limits) -> SubjectView:
    details = [(clean(k, 60), value_text(v, min(160, limits.text))) for k, v in subject.details.items()]
    return SubjectView(
        kind=subject.kind,
        name=clean(subject.name, min(240, limits.text)),
        digest=clean(subject.digest, 80),
        asserted=subject.identity == "asserted",
        format=clean(subject.format, 40),
        details=tuple(details[:24]),
    )
