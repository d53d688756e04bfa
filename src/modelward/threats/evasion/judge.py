"""From point-wise evidence to robust accuracy: proof from below, attack from above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.core.claim import Claim, Judgement
from modelward.core.evidence import Cost
from modelward.threats.evasion.findings import contradiction, fragile, masked
from modelward.threats.evasion.group import grouped, listed
from modelward.threats.evasion.text.findings import undone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.group import Group

CLAIM: Final = "robust-accuracy"


def judge_robust_accuracy(evidence: Sequence[Evidence]) -> Judgement:
    """One claim per norm, eps, box, set of points and pair of model and data; and what went wrong.

    The bracket holds shares of the examined points: its lower end counts those with a proof, its upper end
    those that no attack broke. Evidence is combined only where all of these agree; a point that was not tried
    counts as not broken and not proved, which keeps both ends valid when a check was cut short.

    Args:
        evidence: of `evasion.gradient`, `evasion.query` and `evasion.certified`, whole or partial.
    """
    groups = grouped(evidence)
    alone = [finding for group in groups for finding in (contradiction(group), masked(group)) if finding]
    findings = (*fragile(groups), *undone(groups), *alone)
    return Judgement(tuple(_claim(group) for group in groups), findings)


def _claim(group: Group) -> Claim:
    return Claim(
        id=CLAIM,
        statement=_statement(group),
        scope=group.scope,
        bracket=group.bracket,
        basis="measured" if group.attacks or not group.proofs else "proved",
        n=len(group.rows),
        cost=sum((item.cost for item in group.evidence), Cost()),
        evidence=group.digests,
        parts=group.parts,
        note=_note(group),
    )


def _statement(group: Group) -> str:
    n = len(group.rows)
    if n == 0:
        return f"No point was examined under a {group.where}."
    low, high = group.bracket.lower, group.bracket.upper
    proved = "nothing was tried to prove" if not group.proofs else "no proof stands" if low is None else ""
    proved = proved or f"{low:.1%} are proved to stay right"
    stand = "no attack was tried" if high is None else f"{high:.1%} stay right under every attack tried"
    return (
        f"Under any {group.where}, of {n} points {proved} and {stand}; "
        f"{len(group.correct) / n:.1%} are right unchanged."
    )


def _note(group: Group) -> str:
    parts = []
    if group.contradicted:
        share = len(group.certified & group.correct) / len(group.rows)
        parts.append(
            f"{len(group.contradicted)} points are both proved and broken, so the proved share of "
            f"{share:.1%} was withdrawn"
        )
    for item in group.evidence:
        if item.cut is not None and item.n == 0:
            parts.append(f"{item.check} was cut short ({item.cut}) before it examined a point")
        elif item.cut is not None:
            parts.append(f"{item.check} was cut short ({item.cut}){_reached(item, group)}")
        if str(item.parameters.get("guidance", "")).startswith("none"):
            parts.append(f"{item.check} had only the model's decisions to go by: a weak attack")
    if group.unstable:
        parts.append(
            f"{len(group.unstable)} points were answered differently when asked again unmodified; "
            "they count as wrong"
        )
    parts += [f"proved by {kinds}"] if (kinds := _proof_kinds(group)) else []
    if group.rows and not group.proofs:
        parts.append("no proof was attempted, so the lower end is unknown")
    if group.rows and not group.attacks:
        parts.append("no attack ran, so the upper end is unknown")
    return "; ".join(parts)


def _reached(item: Evidence, group: Group) -> str:
    """How far a check came: of the points that could fall, and of those left standing that it tried to prove.

    An attack that proves some points in passing, to spare them the rest, was cut as an attack: only a check
    that lists what it left undecided, or attacks nothing, set out to bound all that stand.
    """
    stand = group.correct - group.fallen
    attacks, proves = "attacked" in item.outcome, "certified" in item.outcome
    told, kinds = [], []
    if attacks:
        told.append(
            f"n_attacked = {len(listed(item, 'attacked') & group.correct)} of {len(group.correct)} points"
        )
        kinds.append("broken")
    if proves and (not attacks or "undecided" in item.outcome):
        told.append(f"n_bounded = {len(listed(item, 'bounded') & stand)} of {len(stand)} points that stand")
        kinds.append("proved")
    return f": {' and '.join(told)}, the others count as not {' and not '.join(kinds)} by it" if told else ""


def _proof_kinds(group: Group) -> str:
    """How many points each kind of proof secured, where the evidence says it; a point counts once."""
    found: dict[str, frozenset[int]] = {}
    for item in group.proofs:
        kinds = item.outcome.get("proofs")
        for kind, named in kinds.items() if isinstance(kinds, dict) else ():
            rows = named if isinstance(named, list) else []
            known = frozenset[int]().union(*found.values())
            new = frozenset(row for row in rows if isinstance(row, int)) & group.correct
            found[kind] = found.get(kind, frozenset()) | (new - known)
    return ", ".join(f"{kind}: {len(rows)}" for kind, rows in found.items() if rows)
