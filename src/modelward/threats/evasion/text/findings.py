"""The rule that fires where normalising texts would undo an attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.core.canonical import digest
from modelward.core.finding import Finding
from modelward.threats.evasion.group import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.group import Group

_LEAST: Final = 0.1
_ALL: Final = "all together"


def undone(groups: Sequence[Group]) -> list[Finding]:
    """One finding per kind of change, under the bound with most witnesses, where a tenth of them would go."""
    series: dict[str, list[Group]] = {}
    for group in groups:
        if any(_counts(item) for item in group.evidence):
            series.setdefault(digest([group.scope["norm"], *sorted(group.rows)]), []).append(group)
    worst = [max(members, key=lambda group: (len(group.fallen), -group.eps)) for members in series.values()]
    return [finding for finding in map(_undone, worst) if finding is not None]


def _undone(group: Group) -> Finding | None:
    item = next(item for item in group.evidence if _counts(item))
    counts, broken = _counts(item), len(listed(item, "broken"))
    if counts.get(_ALL, 0) < max(1.0, _LEAST * broken):
        return None
    single = sorted(((n, name) for name, n in counts.items() if n and "together" not in name), reverse=True)
    each = "; ".join(f"{name}: {n}" for n, name in single)
    right = item.outcome.get("right_with")
    kept = right.get(_ALL) if isinstance(right, dict) else None
    clean = (
        f" Of {item.n} unmodified texts {len(listed(item, 'correct'))} are right now and {kept} would be."
        if isinstance(kept, int)
        else ""
    )
    return Finding(
        rule="evasion.text-normalisation",
        severity="medium",
        confidence="high",
        title="Normalising texts would undo part of the attack",
        message=(
            f"Of {broken} texts that a {group.where} turned, {counts[_ALL]} are answered right once they are "
            f"normalised before the model reads them ({each}).{clean}"
        ),
        evidence=(item.digest,),
        remedy=(
            "Normalise texts before training and before every answer: NFKC, strip invisible characters, "
            "resolve directional controls, fold lookalikes (modelward.threats.evasion.text.normalise). Then "
            "measure again: the attacker counted here did not know of it; one who does picks other edits, "
            "and may turn as many texts."
        ),
        techniques=("AML.T0015", "AML.T0043.001"),
        controls=("ID.RA-01", "riskModelEvasion", "controlInputValidationAndSanitization"),
    )


def _counts(item: Evidence) -> dict[str, int]:
    counts = item.outcome.get("removed_by")
    if not isinstance(counts, dict) or not item.outcome.get("broken"):
        return {}
    return {name: n for name, n in counts.items() if isinstance(n, int)}
