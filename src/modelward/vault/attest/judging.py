"""Whether a seal is admitted: what is attested of it, held against a policy.

A requirement holds only where something that verifies shows it. What nothing shows is unknown, and what is
unknown is not admitted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from modelward.core.finding import Finding, Severity, severity_rank
from modelward.core.policy import Reason, Verdict, conclude, hold, required_reason, severity_reason
from modelward.vault.attest.attestation import Attestations
from modelward.vault.attest.moments import parse_span, span_words
from modelward.vault.attest.provenance import STATED_CLAIMS, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modelward.core.claim import Claim
    from modelward.vault.attest.admission import Admission
    from modelward.vault.attest.attestation import Attested, Kind
    from modelward.vault.attest.audited import Audit
    from modelward.vault.attest.predicates import Release, Scan

FEWEST: Final = 50
"""Samples that a proven or attacked share must rest on where the policy does not say, as in the baseline."""
_AHEAD: Final = timedelta(minutes=5)
"""How far clocks may differ before something is dated in the future."""
_NO_AUDIT: Final = "no audit evidence is attested"
_NO_SCAN: Final = "no scan verdict is attested"
_PARTS: Final = frozenset(
    (
        "hf-config", "shard-index", "triton", "chat-template", "mlflow", "object-yaml", "model-json",
        "unknown",
    )
)  # fmt: skip
"""Formats that loaders act on, and that are no model of their own; the last may be a model's weights."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a seal when it is to be admitted.

    Attributes:
        root: of its tree, verified.
        signers: ids of the keys whose signature over the root was verified.
        moment: now, with a zone.
        attestations: what verifies over the root, as `read_attestations` gives it.
        recipients: ids under which it can be opened; empty where nothing is encrypted; null: not asked.
    """

    root: str
    signers: tuple[str, ...]
    moment: datetime
    attestations: Attestations = Attestations()
    recipients: tuple[str, ...] | None = None


def admit(policy: Admission, facts: Facts) -> Verdict:
    """Decide.

    Args:
        policy: as `read_admission` gives it.
        facts: what is known.

    Returns:
        The verdict: ``pass`` admits; every other outcome names what is refuted or missing, worst first.

    Raises:
        PolicyInvalid: the policy would admit everything, or nothing.
    """
    from modelward.vault.attest.admission import validate_admission  # costs start-up time

    validate_admission(policy)
    counted = _counted(policy, facts.attestations)
    audits = _newest(cast("Audit", one.content) for one in counted.of("evidence"))
    scans = _newest_scans([cast("Scan", one.content) for one in counted.of("scan")])
    provenances = [cast("Provenance", one.content) for one in counted.of("provenance")]
    held, judged = _held(policy, audits, [claim for stated in provenances for claim in stated.judged()])
    reasons = [
        *_identity_reasons(policy, facts),
        *_attested_reasons(policy, facts.attestations, counted),
        *(reason for audit in audits or (None,) for reason in _audit_reasons(policy, audit, facts.moment)),
        *_contradictions(audits, scans),
        *_unaudited_reasons(policy, audits, scans),
        *(reason for scan in scans or (None,) for reason in _scan_reasons(policy, scan, facts.moment)),
        *release_reasons(counted, facts, policy.release.environment if policy.release else None),
        *(reason if audits else _explained(reason) for reason in held),
    ]
    return conclude(policy.name, reasons, judged)


def attested_claims(attestations: Attestations) -> tuple[Claim, ...]:
    """What the newest audit of each model claims, then what provenance states, judged by nobody."""
    audits = _newest(cast("Audit", one.content) for one in attestations.of("evidence"))
    stated = [cast("Provenance", one.content) for one in attestations.of("provenance")]
    return tuple(
        claim
        for claims in (*(audit.result.claims for audit in audits), *(one.judged() for one in stated))
        for claim in claims
    )


def _held(
    policy: Admission, audits: Sequence[Audit], stated: Sequence[Claim]
) -> tuple[list[Reason], list[Claim]]:
    """Every model's own claims against the thresholds: what one of them shows does not speak for another."""
    reasons: list[Reason] = []
    judged: list[Claim] = []
    trained: Sequence[Claim] = stated
    for audit in audits or (None,):
        own = audit.result.claims if audit is not None else ()
        held, claims = hold(policy.require, [*own, *stated], fewest=FEWEST)
        if audit is not None and len(audits) > 1:
            where = audit.evidence.model.path
            held = [msgspec.structs.replace(one, detail=f"{where}: {one.detail}") for one in held]
        reasons += held
        judged += claims[: len(own)]
        trained = claims[len(own) :]
    return reasons, [*judged, *trained]


def release_verdict(facts: Facts) -> Verdict | None:
    """Whether the release policies that are attested allow this opening; null where there are none.

    Args:
        facts: with the recipients' ids.
    """
    reasons = list(release_reasons(facts.attestations, facts, None))
    return conclude("release", reasons, ()) if reasons else None


def release_reasons(attestations: Attestations, facts: Facts, environment: str | None) -> Iterator[Reason]:
    """Every limit of every release policy that is attested, all of which must hold.

    Args:
        attestations: those that count.
        facts: the moment and the recipients.
        environment: where this is; null where the policy does not say.
    """
    releases = [cast("Release", one.content) for one in attestations.of("release")]
    if not releases and environment is not None:
        yield _reason(f"a release policy allows {environment}", "unknown", "no release policy is attested")
    for release in releases:
        if release.since is not None:
            early = facts.moment < release.since
            yield _reason(
                f"released from {_day(release.since)} on", "refuted" if early else "holds", _now(facts.moment)
            )
        if release.until is not None:
            late = facts.moment > release.until
            yield _reason(
                f"released until {_day(release.until)}", "refuted" if late else "holds", _now(facts.moment)
            )
        if release.environments:
            where = f"released for {', '.join(release.environments)}"
            if environment is None:
                yield _reason(where, "unknown", "nobody says where this is ([release] environment)")
            else:
                inside = environment in release.environments
                yield _reason(where, "holds" if inside else "refuted", f"this is {environment}")
        elif environment is not None:
            yield _reason(f"a release policy allows {environment}", "holds", "it names no environment")
        if release.recipients and facts.recipients is not None:
            named = bool(facts.recipients) and set(facts.recipients) <= set(release.recipients)
            yield _reason(
                f"released to {len(release.recipients)} recipients",
                "holds" if named else "refuted",
                f"opened by {', '.join(one[:24] for one in facts.recipients) or 'everybody'}",
            )


def _identity_reasons(policy: Admission, facts: Facts) -> Iterator[Reason]:
    if policy.roots:
        known = facts.root in policy.roots
        yield _reason("the root is one that is named", "holds" if known else "refuted", facts.root)
    if policy.signers is not None:
        keys, threshold = policy.signers.keys, policy.signers.threshold
        signed = [key for key in keys if key in facts.signers]
        missing = [key[:16] for key in keys if key not in facts.signers]
        detail = f"signed by {', '.join(key[:16] for key in signed) or 'none of them'}"
        enough = len(signed) >= threshold
        yield _reason(
            f"signed by {threshold} of {len(keys)} keys",
            "holds" if enough else "refuted",
            detail if enough else f"{detail}; missing {threshold - len(signed)} of {', '.join(missing)}",
        )


def _newest(audits: Iterable[Audit]) -> tuple[Audit, ...]:
    """The newest audit of each model in the seal; of several at once all, for nothing orders them."""
    newest: dict[str, list[Audit]] = {}
    for audit in audits:
        known = newest.setdefault(audit.evidence.model.path, [])
        if not known or _place(audit) > _place(known[0]):
            known[:] = [audit]
        elif _place(audit) == _place(known[0]) and audit not in known:
            known.append(audit)
    return tuple(audit for known in newest.values() for audit in known)


def _place(audit: Audit) -> tuple[datetime, int]:
    return audit.moment, audit.evidence.ledger.size


def _newest_scans(scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """The newest scan; of several at once all."""
    newest = max((scan.moment for scan in scans), default=None)
    return tuple(scan for scan in scans if scan.moment == newest)


def _contradictions(audits: Sequence[Audit], scans: Sequence[Scan]) -> Iterator[Reason]:
    """Audits and scans of one file must be of the same bytes, whoever signed them."""
    for model in (audit.evidence.model for audit in audits):
        seen = {file.digest for scan in scans for file in scan.files if file.path == model.path}
        if seen - {model.digest}:
            yield _reason("what was scanned was audited", "refuted", f"{model.path}: not the same bytes")


def _unaudited_reasons(policy: Admission, audits: Sequence[Audit], scans: Sequence[Scan]) -> Iterator[Reason]:
    """No model enters behind another one that was audited; which files are models, a scan says."""
    asked = policy.audit != type(policy.audit)() or "evidence" in policy.attestations.required
    if not audits or not (asked or any(one.claim not in STATED_CLAIMS for one in policy.require)):
        return
    spared = {*policy.audit.unsafe_unaudited, *(audit.evidence.model.path for audit in audits)}
    models = {
        file.path for scan in scans for file in scan.files if file.verdict and file.format not in _PARTS
    }
    if missed := sorted(models - spared):
        more = f" and {len(missed) - 5} more" if len(missed) > 5 else ""
        yield _reason("every model was audited", "unknown", f"not audited: {', '.join(missed[:5])}{more}")


def _counted(policy: Admission, attestations: Attestations) -> Attestations:
    keys = set(policy.attestations.keys)
    held = tuple(one for one in attestations.held if not keys or keys & set(one.signers))
    return Attestations(held=held, refused=attestations.refused)


def _attested_reasons(policy: Admission, given: Attestations, counted: Attestations) -> Iterator[Reason]:
    for kind in dict.fromkeys(policy.attestations.required):
        yield _required_attestation(kind, given, counted)
    # Who is not known may say what he likes; what is altered, forged or of another model may not lie here.
    broken = [one for one in given.refused if one.error != "SignerMissing"]
    if broken:
        detail = "; ".join(f"{one.file}: {one.reason}" for one in broken[:5])
        more = f" (and {len(broken) - 5} more)" if len(broken) > 5 else ""
        yield _reason("every attestation is sound", "refuted", detail + more)


def _required_attestation(kind: Kind, given: Attestations, counted: Attestations) -> Reason:
    requirement = f"{kind} is attested"
    found = counted.of(kind)
    if found:
        pinned = [one for one in found if not isinstance(one.content, Provenance) or one.content.pinned]
        if not pinned:
            return _reason(requirement, "unknown", "it names neither code nor data by digest")
        return _reason(requirement, "holds", "; ".join(_signed(one) for one in pinned))
    others = [f"{_signed(one)}, which does not count" for one in given.of(kind)]
    others += [f"{one.file} was refused: {one.reason}" for one in given.refused]
    return _reason(requirement, "unknown", "; ".join(["there is none", *others[:5]]))


def _signed(one: Attested) -> str:
    return f"{one.file} by {', '.join(key[:16] for key in one.signers)}"


def _audit_reasons(policy: Admission, audit: Audit | None, now: datetime) -> Iterator[Reason]:
    table = policy.audit
    if table.max_age is not None:
        yield _age_reason("audit", table.max_age, None if audit is None else audit.moment, now)
    elif audit is not None and audit.moment > now + _AHEAD:
        yield _reason("the audit is not dated in the future", "refuted", _dated(audit.moment, now))
    if audit is not None and any(check.state == "interrupted" for check in audit.result.checks):
        yield _reason("the audit was not stopped", "unknown", "it was interrupted")
    if table.data:
        yield _measured_on(table.data, audit)
    if table.max_severity is not None:
        yield _severity(table.max_severity, table.grace, audit, now)
    for prefix in table.required_checks:
        reason = required_reason(prefix, audit.finished if audit else (), audit.missed if audit else {})
        yield reason if audit else _explained(reason)


def _measured_on(named: Sequence[str], audit: Audit | None) -> Reason:
    requirement = "the audit used the data that is named"
    if audit is None:
        return _reason(requirement, "unknown", _NO_AUDIT)
    used = [one for one in audit.result.subjects if one.kind == "dataset"]
    others = [one.name for one in used if one.digest not in named or one.identity != "digest"]
    said = f"other data: {', '.join(others[:5])}" if others else f"{len(used)} of {len(named)} data sets"
    return _reason(requirement, "refuted" if others else "holds" if used else "unknown", said)


def _severity(limit: Severity, grace: str | None, audit: Audit | None, now: datetime) -> Reason:
    if audit is None:
        after = f" for longer than {span_words(parse_span(grace))}" if grace else ""
        return _reason(f"no finding worse than {limit}{after}", "unknown", _NO_AUDIT)
    if grace is None:
        return severity_reason(limit, audit.result.findings, audit.finished)
    allowed = parse_span(grace)
    requirement = f"no finding worse than {limit} for longer than {span_words(allowed)}"
    worse = [
        (now - seen, finding)
        for seen, finding in zip(audit.evidence.seen, audit.result.findings, strict=True)
        if severity_rank(finding.severity) > severity_rank(limit)
    ]
    old = [(age, finding) for age, finding in worse if age > allowed]
    if old:
        return _reason(requirement, "refuted", f"{len(old)} older: {_aged(old)}")
    if not audit.finished:
        return _reason(requirement, "unknown", "no check finished")
    return _reason(
        requirement, "holds", f"{len(worse)} younger: {_aged(worse)}" if worse else "none is worse"
    )


def _aged(findings: Sequence[tuple[timedelta, Finding]]) -> str:
    said = [f"{finding.rule} ({finding.severity}, {span_words(age)})" for age, finding in findings[:5]]
    return ", ".join(said) + (f" and {len(findings) - 5} more" if len(findings) > 5 else "")


def _scan_reasons(policy: Admission, scan: Scan | None, now: datetime) -> Iterator[Reason]:
    table = policy.scan
    if table.max_age is not None:
        yield _age_reason("scan", table.max_age, None if scan is None else scan.moment, now)
    elif scan is not None and scan.moment > now + _AHEAD:
        yield _reason("the scan is not dated in the future", "refuted", _dated(scan.moment, now))
    if table.verdict is not None:
        yield _inert(scan)
    if table.max_severity is not None:
        requirement = f"no finding of the scan worse than {table.max_severity}"
        if scan is None:
            yield _reason(requirement, "unknown", _NO_SCAN)
            return
        limit = severity_rank(table.max_severity)
        worse = [f.rule for file in scan.files for f in file.findings if severity_rank(f.severity) > limit]
        shown = f"{len(worse)} worse: {', '.join(sorted(set(worse))[:5])}"
        yield _reason(requirement, "refuted" if worse else "holds", shown if worse else "none is worse")


def _inert(scan: Scan | None) -> Reason:
    requirement = "loading is inert"
    if scan is None:
        return _reason(requirement, "unknown", _NO_SCAN)
    verdict = scan.verdict
    if verdict in {"inert", None}:
        loaded = sum(file.verdict is not None for file in scan.files)
        return _reason(requirement, "holds", f"{loaded} of {len(scan.files)} files are loaded as models")
    named = [file.path for file in scan.files if file.verdict not in {"inert", None}] or ["by its findings"]
    return _reason(
        requirement, "refuted" if verdict == "dangerous" else "unknown", f"{verdict}: {', '.join(named[:5])}"
    )


def _age_reason(what: str, limit: str, moment: datetime | None, now: datetime) -> Reason:
    allowed = parse_span(limit)
    requirement = f"the {what} is at most {span_words(allowed)} old"
    if moment is None:
        return _reason(requirement, "unknown", _NO_AUDIT if what == "audit" else _NO_SCAN)
    fresh = -_AHEAD <= now - moment <= allowed
    return _reason(requirement, "holds" if fresh else "refuted", _dated(moment, now))


def _explained(reason: Reason) -> Reason:
    """Where nothing was audited, say so and not that a claim is lacking."""
    if reason.status != "unknown":
        return reason
    return msgspec.structs.replace(reason, detail=f"{reason.detail}: {_NO_AUDIT}")


def _dated(moment: datetime, now: datetime) -> str:
    age = now - moment
    return f"{_day(moment)}, {span_words(age) + ' ago' if age >= -_AHEAD else 'which is in the future'}"


def _now(moment: datetime) -> str:
    return f"now it is {_day(moment)}"


def _day(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")


def _reason(requirement: str, status: Literal["holds", "refuted", "unknown"], detail: str) -> Reason:
    return Reason(requirement=requirement, status=status, detail=detail)
