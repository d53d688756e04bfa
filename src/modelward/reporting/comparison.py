"""A model before and after a defence, side by side: from two audits to rows, text, JSON and HTML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.core.evidence import Cost, Evidence, to_json
from modelward.reporting.result import AuditResult
from modelward.reporting.text import clean, number, percent, plain, samples_text, scope_text, seconds

if TYPE_CHECKING:
    from modelward.core.canonical import JSON
    from modelward.core.claim import Claim

SCHEMA: Final = 1
"""Version of the JSON form; within it, fields are added and never changed."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One number of both models.

    Attributes:
        name: what it is.
        scope: under which threat, in words; empty where that says nothing.
        before: share in [0, 1] or an amount; null where it is not known.
        after: likewise, of the hardened model, on the same points.
        n: points that it speaks of.
        unit: ``share``, ``seconds`` or ``samples``.
    """

    name: str
    scope: str = ""
    before: float | None
    after: float | None
    n: int
    unit: str = "share"


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """A detector of adversarial inputs under one attack.

    Attributes:
        name: which detector, and whether the attack knew it.
        n: clean points that were attacked.
        passed: share of them that the attack turned without being detected, and its interval.
        auc: of attacked against clean inputs, and its interval; null where too few were turned.
        tpr: share of the turned ones that is detected, and its interval; null likewise.
        fpr: share of clean inputs that is refused.
    """

    name: str
    n: int
    passed: tuple[float, float, float]
    auc: tuple[float, float, float] | None
    tpr: tuple[float, float, float] | None
    fpr: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a defence changed, and what it cost.

    Attributes:
        method: of the defence.
        before: audit of the model as it was.
        after: audit of the hardened model, same data, points, threats and preset.
        defence: what was done; its numbers are of held-out training data.
        files: what was written, by kind.
        detectors: how each detector in front of the hardened model stands, attacked blindly and adaptively.
    """

    method: str
    before: AuditResult
    after: AuditResult
    defence: Evidence
    files: dict[str, str] = {}
    detectors: tuple[Detector, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Clean accuracy, attacked and certified shares per threat, and the cost of both audits."""
        found = [_accuracy(self.before, self.after)]
        for one, other in _paired(self.before, self.after):
            where = scope_text({key: one.scope[key] for key in ("norm", "eps", "unit") if key in one.scope})
            pairs = [(claim.bracket.upper, claim.bracket.lower) for claim in (one, other) if claim.bracket]
            found += [
                Row(name=name, scope=where, before=pairs[0][i], after=pairs[1][i], n=other.n)
                for i, name in enumerate(("right under every attack tried", "certified"))
            ]
        costs = [sum((run.cost for run in audit.checks), Cost()) for audit in (self.before, self.after)]
        passes = [float(cost.passes + cost.queries) for cost in costs]
        took = [cost.seconds for cost in costs]
        points = max((row.n for row in found), default=0)
        found.append(Row(name="audit, time", before=took[0], after=took[1], n=points, unit="seconds"))
        found.append(Row(name="audit, samples", before=passes[0], after=passes[1], n=points, unit="samples"))
        return tuple(found)


def to_json_bytes(found: Comparison) -> bytes:
    """The comparison as JSON, with the evidence of the defence and the runs of both audits."""
    rows: list[JSON] = [to_json(row) for row in found.rows]
    content: dict[str, JSON] = {
        "schema": SCHEMA,
        "method": found.method,
        "rows": rows,
        "defence": to_json(found.defence),
        "detectors": [to_json(detector) for detector in found.detectors],
        "files": dict(found.files),
        "before": _audit(found.before),
        "after": _audit(found.after),
    }
    return (json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_text(found: Comparison, *, width: int = 80) -> str:
    """The table for a terminal, a pipe or a log."""
    lines = [f"Hardened with {clean(found.method, 60)}", ""]
    table = [("", "before", "after", "change"), *(_cells(row) for row in found.rows)]
    sizes = [max(len(line[i]) for line in table) for i in range(4)]
    sizes[0] = max(20, min(sizes[0], width - sum(sizes[1:]) - 6))
    for name, *cells in table:
        shown = [cell.rjust(size) for cell, size in zip(cells, sizes[1:], strict=True)]
        lines.append("  ".join([_cut(name, sizes[0]).ljust(sizes[0]), *shown]).rstrip())
    lines += ["", f"Defence: {cost_words(found.defence)}"]
    lines += [f"Detector {clean(name)}: {said}" for name, said in detector_lines(found)]
    lines += [f"Note: {note}" for note in notes(found)]
    lines += [f"Wrote {kind}: {clean(path)}" for kind, path in found.files.items()]
    return "\n".join(lines) + "\n"


def to_html(found: Comparison) -> str:
    """One page that loads and runs nothing."""
    from modelward.reporting.html import render

    rows = [dict(zip(("name", "before", "after", "change"), _cells(row), strict=True)) for row in found.rows]
    return render(
        "comparison.html.j2",
        title=f"Hardened with {clean(found.method, 60)} · modelward",
        method=clean(found.method, 60),
        rows=rows,
        defence=cost_words(found.defence),
        detectors=detector_lines(found),
        notes=notes(found),
        commands=[clean(audit.command, 400) for audit in (found.before, found.after)],
        head=clean(found.after.ledger_head, 80),
    )


def detector_lines(found: Comparison) -> list[tuple[str, str]]:
    """Each detector and attack with its numbers in words; brackets hold 95 % intervals."""
    lines = []
    for item in found.detectors:
        parts = [f"{_with_ends(item.passed)} pass undetected (n = {item.n})"]
        parts += [f"AUC {item.auc[0]:.3f} [{item.auc[1]:.3f}, {item.auc[2]:.3f}]"] if item.auc else []
        parts += [f"{_with_ends(item.tpr)} detected"] if item.tpr else []
        lines.append((item.name, ", ".join([*parts, f"{percent(item.fpr)} of clean inputs refused"])))
    return lines


def _with_ends(share: tuple[float, float, float]) -> str:
    return f"{percent(share[0])} [{percent(share[1])}, {percent(share[2])}]"


def notes(found: Comparison) -> list[str]:
    """What a reader must know to not misread the table."""
    said = []
    if found.defence.cut is not None:
        said.append(f"the defence was cut short ({found.defence.cut})")
    history = found.defence.outcome.get("history", [])
    events = [item["event"] for item in history if isinstance(item, dict) and "event" in item] if isinstance(
        history, list
    ) else []  # fmt: skip
    said += [clean(str(event), 300) for event in events]
    if "chosen" in found.defence.outcome and found.defence.outcome["chosen"] is None:
        said.append("no epoch at the full radius was measured, so the last weights were kept")
    for name, audit in (("before", found.before), ("after", found.after)):
        said += [f"{name}: {clean(run.check)} was cut short ({run.cut})" for run in audit.checks if run.cut]
        said += [
            f"{name}: {clean(finding.message, 300)}" for finding in audit.findings if finding.rule in _WATCHED
        ]
    return said


_WATCHED: Final = ("evasion.masked-gradients", "evasion.contradiction")
"""Findings that make the numbers of a defence worthless; they stand beside the table."""


def cost_words(defence: Evidence) -> str:
    """What the defence took."""
    cost = defence.cost
    return f"{seconds(cost.seconds)} of CPU time, {samples_text(cost) or 'no samples'}"


def _accuracy(before: AuditResult, after: AuditResult) -> Row:
    found = [next((c for c in audit.claims if c.id == "accuracy"), None) for audit in (before, after)]
    values = [None if claim is None else claim.value for claim in found]
    n = max((claim.n for claim in found if claim is not None), default=0)
    return Row(name="clean accuracy", before=values[0], after=values[1], n=n)


def _paired(before: AuditResult, after: AuditResult) -> list[tuple[Claim, Claim]]:
    """Robust accuracies of equal scope and number of points."""
    brackets = [[c for c in audit.claims if c.bracket is not None] for audit in (before, after)]
    return [
        (one, other)
        for one in brackets[0]
        for other in brackets[1]
        if one.id == other.id and one.scope == other.scope and one.n == other.n
    ]


def _cells(row: Row) -> tuple[str, str, str, str]:
    name = ", ".join(part for part in (row.name, row.scope) if part)
    if row.unit == "share":
        name = f"{name} (n = {row.n:,})"
    change = ""
    if row.before is not None and row.after is not None:
        gain = row.after - row.before
        if row.unit == "share":
            change = f"{100 * gain:+.1f}"
        elif row.before > 0:
            change = f"x {row.after / row.before:.2g}"
    return name, _shown(row.before, row.unit), _shown(row.after, row.unit), change


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    return percent(value) if unit == "share" else seconds(value) if unit == "seconds" else number(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _audit(audit: AuditResult) -> dict[str, JSON]:
    subjects: list[JSON] = [to_json(subject) for subject in audit.subjects]
    claims: list[JSON] = [to_json(claim) for claim in audit.claims]
    findings: list[JSON] = [to_json(finding) for finding in audit.findings]
    return {
        "run": audit.run,
        "ledger_head": audit.ledger_head,
        "command": audit.command,
        "subjects": subjects,
        "claims": claims,
        "findings": findings,
        "verdict": audit.verdict.outcome,
        "complete": audit.complete,
    }
