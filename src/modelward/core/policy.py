"""Policies: thresholds over claims and findings, and what must have been looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON
from modelward.core.claim import Claim
from modelward.core.finding import Finding, Severity, severity_rank
from modelward.errors import PolicyInvalid, PolicyRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.claim import Status

Outcome: TypeAlias = Literal["pass", "fail", "unknown"]

NOT_SHARES: Final = frozenset({"cost-inflation", "accounted-epsilon", "audited-epsilon"})
"""Claims whose values may be above 1: how many times as long, and losses of privacy."""


class Threshold(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What one claim must show.

    Attributes:
        claim: claim id.
        at_least: the smallest acceptable value.
        at_most: the largest acceptable value.
        min_n: the fewest samples it may rest on.
        scope: entries that a claim's scope must have for the threshold to name it.
    """

    claim: str
    at_least: float | None = None
    at_most: float | None = None
    min_n: int | None = None
    scope: dict[str, JSON] = {}

    def describe(self) -> str:
        """The threshold as one phrase."""
        where = ", ".join(f"{key} {_words(value)}" for key, value in sorted(self.scope.items()))
        parts = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        parts += [f"on at least {self.min_n} samples"] if self.min_n is not None else []
        return f"{self.claim}{f' ({where})' if where else ''} {' and '.join(parts)}"


class Policy(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What a model must satisfy.

    Attributes:
        name: how reports call it.
        max_severity: the worst finding that is accepted; null accepts every finding.
        required_checks: dotted prefixes; of each, at least one check must have finished whole, and none
            that applies may have been left out or cut short.
        require: thresholds.
    """

    name: str = "stated"
    max_severity: Severity | None = None
    required_checks: tuple[str, ...] = ()
    require: tuple[Threshold, ...] = ()


BASELINE = Policy(
    name="baseline",
    max_severity="medium",
    required_checks=("quality", "evasion", "robustness"),
    require=(Threshold(claim="robust-accuracy", min_n=50),),
)
"""Applies when no policy is stated: no high or critical finding, and the basic questions were asked."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement and how it stands.

    Attributes:
        requirement: the requirement in words.
        status: whether it holds.
        detail: what was seen.
    """

    requirement: str
    status: Literal["holds", "refuted", "unknown"]
    detail: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a policy stands.

    Attributes:
        outcome: ``fail`` when a requirement is refuted, else ``unknown`` when one is unknown, else ``pass``.
        policy: the policy's name.
        reasons: every requirement, worst first.
        claims: the claims, with `Claim.status` set where a threshold names them.
    """

    outcome: Outcome
    policy: str
    reasons: tuple[Reason, ...]
    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        unmet = [reason.requirement for reason in self.reasons if reason.status != "holds"]
        return f"{self.outcome} (policy {self.policy})" + (f": {'; '.join(unmet)}" if unmet else "")

    def enforce(self) -> None:
        """Return when the policy is satisfied.

        Raises:
            PolicyRefused: it is refuted or unknown; the message names the first unmet requirement.
        """
        if self.outcome != "pass":
            unmet = [reason for reason in self.reasons if reason.status != "holds"]
            raise PolicyRefused(
                f"policy {self.policy!r}: {len(unmet)} of {len(self.reasons)} requirements not met; "
                f"first: {unmet[0].requirement} ({unmet[0].detail})"
            )


def validate(policy: Policy, claim_ids: Sequence[str]) -> None:
    """Refuse a policy that could never refuse, or that names nothing.

    Raises:
        PolicyInvalid: it states no requirement, a threshold without a bound or with crossed bounds, or an
            unknown claim id.
    """
    # An empty list of requirements is satisfied by every model: the classic hole of policy engines.
    if policy.max_severity in {None, "critical"} and not policy.required_checks and not policy.require:
        raise PolicyInvalid(f"policy {policy.name!r} states no requirement, so it would accept every model")
    check_thresholds(policy.require, claim_ids)


def check_thresholds(thresholds: Sequence[Threshold], claim_ids: Sequence[str]) -> None:
    """Refuse a threshold that names nothing, or accepts all or nothing.

    Raises:
        PolicyInvalid: an unknown claim id; no bound; crossed, infinite or senseless bounds.
    """
    for threshold in thresholds:
        if threshold.claim not in claim_ids:
            from difflib import get_close_matches  # costs start-up time that a sound policy does not need

            near = get_close_matches(threshold.claim, claim_ids, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(claim_ids)}"
            raise PolicyInvalid(
                f"policy names the unknown claim {threshold.claim!r}; {hint}",
                advice=f"Claims: {', '.join(claim_ids)}.",
            )
        low, high = threshold.at_least, threshold.at_most
        if threshold.min_n is not None and threshold.min_n < 1:
            raise PolicyInvalid(f"the threshold on {threshold.claim!r} has min-n below 1")
        if not all(math.isfinite(limit) for limit in (low, high) if limit is not None):
            raise PolicyInvalid(f"a threshold on {threshold.claim!r} is not a finite number")
        if low is None and high is None and threshold.min_n is None:
            raise PolicyInvalid(f"the threshold on {threshold.claim!r} states no at-least, at-most or min-n")
        # Beyond [0, 1] a threshold on a share refuses all or nothing, a slip of percent.
        share = threshold.claim not in NOT_SHARES
        if share and ((low is not None and not 0 < low <= 1) or (high is not None and not 0 <= high < 1)):
            raise PolicyInvalid(
                f"the threshold on {threshold.claim!r} accepts all or nothing: shares lie between 0 and 1",
                advice="Write 0.9 for 90 percent; at-least must be above 0 and at-most below 1.",
            )
        if not share and ((low is not None and low <= 0) or (high is not None and high < 0)):
            raise PolicyInvalid(
                f"the threshold on {threshold.claim!r} accepts all or nothing: it is never below 0",
                advice="At-least must be above 0 and at-most at least 0.",
            )
        if low is not None and high is not None and low > high:
            raise PolicyInvalid(f"the threshold on {threshold.claim!r} has at-least above at-most")


def judge_policy(
    policy: Policy,
    claims: Sequence[Claim],
    findings: Sequence[Finding],
    finished: Sequence[str],
    *,
    missed: Mapping[str, str] | None = None,
    interrupted: bool = False,
) -> Verdict:
    """Hold claims and findings against a policy.

    Args:
        policy: already validated.
        claims: all claims of a run.
        findings: all findings of a run.
        finished: ids of the checks that ran to their own end.
        missed: checks that apply and did not: id to why (cut short, left out, failed).
        interrupted: the user stopped the run before all planned checks were started.
    """
    reasons: list[Reason] = []
    if interrupted:
        reasons.append(
            Reason(requirement="the run was not stopped", status="unknown", detail="it was interrupted")
        )
    if policy.max_severity is not None:
        reasons.append(severity_reason(policy.max_severity, findings, finished))
    reasons.extend(required_reason(prefix, finished, missed or {}) for prefix in policy.required_checks)
    held, judged = hold(policy.require, claims)
    return conclude(policy.name, [*reasons, *held], judged)


def hold(
    thresholds: Sequence[Threshold], claims: Sequence[Claim], *, fewest: int = 1
) -> tuple[list[Reason], tuple[Claim, ...]]:
    """Hold claims against thresholds.

    Args:
        thresholds: already checked.
        claims: every claim that fits a threshold is held to it.
        fewest: samples that a bracket must rest on where its threshold states no `min_n`: it speaks of its
            samples alone, and of one it is certain.

    Returns:
        One reason per threshold and claim, and the claims with their status.
    """
    reasons: list[Reason] = []
    judged = list(claims)
    for threshold in thresholds:
        named = [i for i, claim in enumerate(judged) if _names(threshold, claim)]
        if not named:
            made = [claim for claim in claims if claim.id == threshold.claim]
            reasons.append(
                Reason(requirement=threshold.describe(), status="unknown", detail=_not_made(threshold, made))
            )
        for i in named:
            status, detail = _threshold_status(threshold, judged[i], fewest)
            where = _distinction(judged[i], [judged[other] for other in named], threshold)
            reasons.append(
                Reason(
                    requirement=threshold.describe(),
                    status=status,
                    detail=f"{where}: {detail}" if where else detail,
                )
            )
            judged[i] = msgspec.structs.replace(judged[i], status=_worst([judged[i].status, status]))
    return reasons, tuple(judged)


def conclude(name: str, reasons: Sequence[Reason], claims: Sequence[Claim]) -> Verdict:
    """The verdict that reasons amount to.

    Args:
        name: of the policy.
        reasons: every requirement.
        claims: as `hold` gives them.
    """
    outcomes: dict[Status, Outcome] = {"holds": "pass", "refuted": "fail", "unknown": "unknown"}
    order = ("refuted", "unknown", "holds")
    return Verdict(
        outcome=outcomes[_worst([reason.status for reason in reasons])],
        policy=name,
        reasons=tuple(sorted(reasons, key=lambda reason: order.index(reason.status))),
        claims=tuple(claims),
    )


def _worst(statuses: Sequence[Status | None]) -> Status:
    if "refuted" in statuses:
        return "refuted"
    return "unknown" if "unknown" in statuses else "holds"


def _names(threshold: Threshold, claim: Claim) -> bool:
    return claim.id == threshold.claim and all(claim.scope.get(k) == v for k, v in threshold.scope.items())


def _words(value: JSON) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _not_made(threshold: Threshold, made: Sequence[Claim]) -> str:
    scopes = [
        ", ".join(f"{key} {_words(claim.scope.get(key))}" for key in sorted(threshold.scope))
        for claim in made
    ]
    known = "; ".join(dict.fromkeys(scopes[:5]))
    return f"no such claim was made, only {known}" if known else "no such claim was made"


def _distinction(claim: Claim, named: Sequence[Claim], threshold: Threshold) -> str:
    """The scope entries that tell a claim from others, and the radius, which a reader must always know."""
    shown = [
        key
        for key, value in claim.scope.items()
        if key not in threshold.scope
        and (key in {"norm", "eps"} or any(other.scope.get(key) != value for other in named))
    ]
    return ", ".join(f"{key} {_words(claim.scope[key])}" for key in sorted(shown) if key != "box")


def severity_reason(limit: Severity, findings: Sequence[Finding], finished: Sequence[str]) -> Reason:
    """Whether no finding is worse than a limit; unknown where no check finished."""
    above = [f for f in findings if severity_rank(f.severity) > severity_rank(limit)]
    requirement = f"no finding worse than {limit}"
    if above:
        detail = f"{len(above)} worse: {', '.join(sorted({f.rule for f in above}))}"
        return Reason(requirement=requirement, status="refuted", detail=detail)
    if not finished:  # "none" is only an answer when somebody looked
        return Reason(requirement=requirement, status="unknown", detail="no check finished")
    return Reason(requirement=requirement, status="holds", detail="none is worse")


def required_reason(prefix: str, finished: Sequence[str], missed: Mapping[str, str]) -> Reason:
    """Whether what is under a dotted prefix ran, and none of it was left out or cut short."""
    done = [check for check in finished if _under(check, prefix)]
    lacking = [f"{check} {why}" for check, why in missed.items() if _under(check, prefix)]
    detail = "; ".join(lacking) if lacking else ", ".join(done) if done else "none of it applies or ran"
    return Reason(
        requirement=f"check {prefix} ran",
        status="holds" if done and not lacking else "unknown",
        detail=detail,
    )


def _under(check: str, prefix: str) -> bool:
    return check == prefix or check.startswith(prefix + ".")


def _known_range(claim: Claim) -> tuple[float | None, float | None]:
    """The range the claimed quantity is known to lie in: the bracket, or the value's interval."""
    if claim.bracket is not None:
        return claim.bracket.lower, claim.bracket.upper
    if claim.interval is not None:
        return claim.interval.lower, claim.interval.upper
    return claim.value, claim.value


def _threshold_status(threshold: Threshold, claim: Claim, fewest: int) -> tuple[Status, str]:
    low, high = _known_range(claim)
    needed = threshold.min_n or (fewest if claim.bracket is not None else 1)
    enough = claim.n >= needed
    seen = f"{_known_words(low, high)}, n = {claim.n}" + ("" if enough else f", fewer than {needed}")
    least, most = threshold.at_least, threshold.at_most
    too_low = least is not None and high is not None and high < least
    too_high = most is not None and low is not None and low > most
    if too_low or too_high:
        return "refuted", seen
    low_ok = least is None or (low is not None and low >= least)
    high_ok = most is None or (high is not None and high <= most)
    return ("holds" if low_ok and high_ok and enough else "unknown"), seen


def _known_words(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "nothing is known"
    if low is None:
        return f"nothing proved, at most {high:.4g}"
    return f"at least {low:.4g}" if high is None else f"between {low:.4g} and {high:.4g}"
