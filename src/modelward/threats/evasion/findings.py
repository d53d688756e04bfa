"""The rules that fire on robust accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from modelward.core.canonical import digest
from modelward.core.finding import Finding
from modelward.threats.evasion.group import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.finding import Severity
    from modelward.threats.evasion.group import Group

WHITE_BOX: Final = "AML.T0043.000"  # Craft Adversarial Data: White-Box Optimization
BLACK_BOX: Final = "AML.T0043.001"  # Craft Adversarial Data: Black-Box Optimization
EVADE: Final = "AML.T0015"  # Evade AI Model
CONTROLS: Final = ("ID.RA-01", "ID.RA-05", "riskModelEvasion", "controlAdversarialTrainingAndTesting")
SIGNIFICANCE: Final = 0.05
READERS: Final = frozenset({"evasion.gradient", "evasion.certified", "evasion.trees"})
"""Checks that break points by reading the model: its gradients, its graph, its trees."""


def contradiction(group: Group) -> Finding | None:
    """Fires when a point has both a proof and a witness."""
    if not group.contradicted:
        return None
    rows = ", ".join(str(row) for row in sorted(group.contradicted)[:5])
    return Finding(
        rule="evasion.contradiction",
        severity="critical",
        confidence="high",
        title="A proof and a witness contradict each other",
        message=(
            f"{len(group.contradicted)} of {len(group.rows)} points (rows {rows}) are proved to stay right "
            f"under any {group.where}, and the model gets a change within it wrong. No proved share stands."
        ),
        evidence=group.digests,
        remedy=(
            "Do not rely on certificates of this model. Either its differentiable copy differs from the "
            "runtime by more than its tolerance, or modelward has a soundness bug: please report it with the "
            "witnesses."
        ),
        controls=("ID.RA-01",),
    )


def fragile(groups: Sequence[Group]) -> list[Finding]:
    """One finding per norm over all radii that more than a tenth of the correct points fall to.

    High when less than half of them survive the largest radius, medium otherwise.
    """
    series: dict[str, list[Group]] = {}
    for group in groups:
        same = {name: group.scope[name] for name in ("norm", "unit", "box")}
        series.setdefault(digest({**same, "rows": [*sorted(group.correct)]}), []).append(group)
    found = [_fragile(sorted(members, key=lambda group: group.eps)) for members in series.values()]
    return [finding for finding in found if finding is not None]


def _fragile(groups: Sequence[Group]) -> Finding | None:
    fallen = [(group, len(group.correct & group.fallen)) for group in groups if group.correct]
    worst = [(group, count) for group, count in fallen if count > 0.1 * len(group.correct)]
    if not worst:
        return None
    n = len(worst[0][0].correct)
    severity: Severity = "high" if worst[-1][1] > 0.5 * n else "medium"
    broken = {name for group, _ in worst for name, rows in group.broken.items() if rows}
    techniques = [EVADE]
    techniques += [WHITE_BOX] if broken & READERS else []
    techniques += [BLACK_BOX] if broken & {"evasion.query", "evasion.text"} else []
    first, count = worst[0]
    others = ", ".join(f"{more} ({more / n:.1%}) at {group.eps:.4g}" for group, more in worst[1:])
    return Finding(
        rule="evasion.fragile",
        severity=severity,
        confidence="high",
        title="Small changes of the input defeat the model",
        message=(
            f"Of {n} points that the model gets right, {count} ({count / n:.1%}) have a witness: "
            f"a {first.where} that it gets wrong (n = {len(first.rows)}){'; ' + others if others else ''}."
        ),
        evidence=tuple(name for group, _ in worst for name in group.digests),
        remedy=(
            "Train on attacked inputs (adversarial training) or with certified bounds, and measure again. "
            "Until then do not let the model decide alone where somebody gains by changing its input: check "
            "inputs against their source, limit queries per client, and watch for many similar ones."
        ),
        techniques=tuple(techniques),
        controls=CONTROLS,
    )


def masked(group: Group) -> Finding | None:
    """Fires when gradients mislead: queries break what they do not, or their own diagnosis says so.

    The diagnosis is that of `evasion.gradient` (outcome ``masking``, ``reasons``).
    """
    found = [sentence for sentence in (_outdone(group), _diagnosed(group)) if sentence]
    if not found:
        return None
    return Finding(
        rule="evasion.masked-gradients",
        severity="medium",
        confidence="medium" if len(found) == 1 else "high",
        title="The model's gradients mislead",
        message=f"Under a {group.where}, {'; '.join(found)}. Gradient attacks understate the danger.",
        evidence=group.digests,
        remedy=(
            "Do not count this model as robust because gradient attacks fail. Remove what flattens or "
            "shatters its gradients (saturation, quantisation, random layers), or judge it by queries and "
            "proofs alone."
        ),
        techniques=(EVADE, BLACK_BOX),
        controls=CONTROLS,
    )


def _diagnosed(group: Group) -> str:
    """What the gradient attack itself noticed, in words; empty when nothing."""
    reasons: dict[str, None] = {}
    for item in group.attacks:
        noted = item.outcome.get("masking")
        named = noted.get("reasons") if isinstance(noted, dict) else None
        reasons |= dict.fromkeys(str(reason) for reason in named) if isinstance(named, list) else {}
    return "; ".join(reasons)


def _outdone(group: Group) -> str:
    """Says it when queries alone break significantly more points than gradients do.

    Over the points that both attacked, those broken by one attack only are counted; if both attacks were
    equally strong, each such point would fall to either with probability 1/2. The rule is the one-sided exact
    McNemar (sign) test at 5 % (McNemar 1947, Psychometrika 12(2)): five points to none are enough. It does
    not apply where whole numbers or switches keep gradients from searching everything that queries search,
    nor where the gradient attack was cut short: a point that it barely touched says nothing of gradients.
    """
    white = [item for item in group.attacks if item.check == "evasion.gradient"]
    black = [item for item in group.attacks if item.check == "evasion.query"]
    whole = all(item.parameters.get("space") == "continuous" and item.cut is None for item in white)
    if not white or not black or not whole:
        return ""
    attacked = [frozenset[int]().union(*(listed(i, "attacked") for i in items)) for items in (white, black)]
    both = attacked[0] & attacked[1]
    by_query = len((group.broken["evasion.query"] - group.broken["evasion.gradient"]) & both)
    by_gradient = len((group.broken["evasion.gradient"] - group.broken["evasion.query"]) & both)
    if sign_test(by_query, by_gradient) > SIGNIFICANCE:
        return ""
    return (
        f"queries alone break {by_query} points that gradients do not, and gradients break {by_gradient} "
        f"that queries do not (n = {len(both)})"
    )


def sign_test(more: int, less: int) -> float:
    """Probability of at least `more` heads in more + less tosses of a fair coin.

    Args:
        more: count >= 0.
        less: count >= 0.

    Returns:
        The one-sided p-value in (0, 1].
    """
    total = more + less
    return math.fsum(math.comb(total, k) / 2**total for k in range(more, total + 1))
