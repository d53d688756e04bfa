"""From the contingency table to the largest differences between groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from modelward.core.claim import Claim, Interval, Judgement
from modelward.core.finding import Finding
from modelward.core.seeds import child_seed
from modelward.threats.bias.metrics import GroupOptions, group_gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence
    from modelward.threats.bias.metrics import Gap, Intersection

METRICS = ("demographic-parity", "equal-opportunity", "predictive-equality", "equalised-odds", "accuracy")
_FOUND = ("demographic-parity", "equal-opportunity", "predictive-equality", "accuracy")
"""Metrics with a finding of their own; equalised odds is the larger of two of them."""


def judge_gap(evidence: Sequence[Evidence]) -> Judgement:
    """Gaps per metric: of every single column, and the largest over all intersections.

    All intervals hold jointly. The finding ``bias.gap`` fires per metric when the largest lower end exceeds
    0.1 (medium) or 0.2 (high).

    Args:
        evidence: of the check ``bias.groups``, in any order.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    for item in sorted(evidence, key=lambda e: e.digest):
        report = _report(item)
        for metric in METRICS if item.parameters["positive"] is not None else METRICS[-1:]:
            found = [(part, gap) for part in report for gap in part.gaps if gap.metric == metric]
            claims += [_column(item, part, gap) for part, gap in found if len(part.columns) == 1]
            compared = {part.columns for part, _ in found}
            lone = [part for part in report if len(part.columns) == 1 and part.columns not in compared]
            claims += [_unknown(item, metric, part) for part in lone]
            # Where one column alone could be compared, the largest gap is its own.
            if len(compared) > 1:
                claims.append(_largest(item, found))
            if metric in _FOUND:
                findings += _gap_finding(item, found)
    return Judgement(tuple(claims), tuple(findings))


def _columns(item: Evidence) -> list[tuple[str, list[str]]]:
    columns = cast("list[dict[str, JSON]]", item.outcome["columns"])
    return [(cast("str", c["name"]), cast("list[str]", c["levels"])) for c in columns]


def _report(item: Evidence) -> tuple[Intersection, ...]:
    """Write the table out as rows again and compare the groups."""
    cells = cast("dict[str, list[list[int]]]", item.outcome["cells"])
    counts = np.array(cells["counts"], np.int64)
    levels = np.repeat(np.array(cells["levels"], np.int64), counts.sum(axis=1), axis=0)
    kind = np.repeat(np.tile(np.arange(4), len(counts)), counts.ravel())
    parameters = item.parameters
    options = GroupOptions(
        positive=None if parameters["positive"] is None else 1,
        minimum=cast("int", parameters["minimum"]),
        depth=cast("int", parameters["depth"]),
        confidence=cast("float", parameters["confidence"]),
        seed=child_seed(item.seed, "gaps"),
    )
    sizes = [len(texts) for _, texts in _columns(item)]
    return group_gaps(list(levels.T), sizes, kind // 2, kind % 2, options)


def _name(item: Evidence, columns: tuple[int, ...], levels: tuple[int, ...]) -> str:
    known = _columns(item)
    return ", ".join(f"{known[c][0]}={known[c][1][level]}" for c, level in zip(columns, levels, strict=True))


def _scope(item: Evidence, part: Intersection, gap: Gap, extent: str) -> dict[str, JSON]:
    scope: dict[str, JSON] = {
        "metric": gap.metric,
        "extent": extent,
        "columns": [_columns(item)[c][0] for c in part.columns],
        "highest": _name(item, part.columns, gap.highest),
        "lowest": _name(item, part.columns, gap.lowest),
    }
    if item.parameters["positive"] is not None:
        scope["positive"] = item.parameters["positive"]
    return scope


def _note(item: Evidence) -> str:
    parts = ["The intervals of all gaps hold jointly."]
    if item.parameters["positive"] is None:
        parts.append("With more than two classes only accuracy is compared.")
    if item.cut:
        parts.append(f"Cut short by {item.cut}: a uniform sample of the rows.")
    return " ".join(parts)


def _left_out(item: Evidence, part: Intersection, gap: Gap) -> str:
    """Who was not compared: a reader who recomputes the gap from all groups must not be surprised."""
    if not gap.too_small:
        return ""
    names = [_name(item, part.columns, levels) for levels in gap.too_small]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (
        f" Left out, with fewer than {item.parameters['minimum']} rows for this metric: "
        f"{'; '.join(names[:4])}{more}."
    )


def _claim(item: Evidence, part: Intersection, gap: Gap, *, extent: str, ends: tuple[float, float]) -> Claim:
    scope = _scope(item, part, gap, extent)
    return Claim(
        id="group-gap",
        statement=(
            f"{gap.metric.capitalize()} differs by {gap.value:.3g} between {scope['highest']} "
            f"and {scope['lowest']}.{_left_out(item, part, gap)}"
        ),
        scope=scope,
        value=gap.value,
        interval=Interval(*ends, cast("float", item.parameters["confidence"])),
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=_note(item),
    )


def _column(item: Evidence, part: Intersection, gap: Gap) -> Claim:
    return _claim(item, part, gap, extent="column", ends=(gap.lower, gap.upper))


def _largest(item: Evidence, found: list[tuple[Intersection, Gap]]) -> Claim:
    """The largest gap of all intersections; joint intervals bound the largest by their largest ends."""
    part, gap = max(found, key=lambda pair: pair[1].value)
    ends = max(g.lower for _, g in found), max(g.upper for _, g in found)
    return _claim(item, part, gap, extent="all intersections", ends=ends)


def _unknown(item: Evidence, metric: str, part: Intersection) -> Claim:
    column = _columns(item)[part.columns[0]][0]
    return Claim(
        id="group-gap",
        statement=f"How much {metric} differs between the groups of {column} is unknown.",
        scope={"metric": metric, "extent": "column", "columns": [column]},
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        better="lower",
        note=f"Fewer than two groups have {item.parameters['minimum']} rows for this metric. {_note(item)}",
    )


def _gap_finding(item: Evidence, found: list[tuple[Intersection, Gap]]) -> list[Finding]:
    part, gap = max(found, key=lambda pair: pair[1].lower, default=(None, None))
    if part is None or gap is None or gap.lower <= 0.1:
        return []
    return [
        Finding(
            rule="bias.gap",
            severity="high" if gap.lower > 0.2 else "medium",
            confidence="high",
            title=f"Groups differ in {gap.metric}",
            message=(
                f"{gap.metric.capitalize()} differs by {gap.value:.3g}, at least {gap.lower:.3g} with joint "
                f"confidence {item.parameters['confidence']:g}, between "
                f"{_name(item, part.columns, gap.highest)} (highest) and "
                f"{_name(item, part.columns, gap.lowest)} (lowest); n = {item.n}."
            ),
            location=", ".join(_columns(item)[c][0] for c in part.columns),
            evidence=(item.digest,),
            remedy=(
                "Find out whether the labels themselves are biased; then collect more rows of the "
                "disadvantaged group, weight the training rows, or choose decision thresholds per group "
                "where the law allows."
            ),
            controls=("GV.OC-03", "ID.RA-04", "controlRiskGovernance"),
        )
    ]
