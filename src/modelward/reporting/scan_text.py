"""Scan results as a tree for a terminal."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from modelward.reporting.scan_report import place
from modelward.reporting.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.finding import Finding
    from modelward.artifact.verdict import ArtifactReport

    Tree = dict[str, "Tree | ArtifactReport"]

_MARKS: Final = {
    "inert": "inert",
    "dangerous": "DANGEROUS",
    "unproven": "unproven",
    "error": "error",
    None: "-",
}
_COLOURS: Final = {"inert": "32", "dangerous": "1;31", "unproven": "33", "error": "31", None: "2"}
_WHOLE: Final = 60
"""Up to so many files, every one is shown; beyond, those without a finding are counted per folder."""
_FINDINGS: Final = 12
"""Findings shown per file."""


def scan_text(reports: Sequence[ArtifactReport], *, color: bool = False) -> str:
    """The files as a tree, their findings below them, and one line that sums up.

    Args:
        reports: in the order of the scan.
        color: paint verdicts (ANSI); control characters of names and messages are made visible in any case.
    """
    lines = list(_branches(_tree(reports), "", whole=len(reports) <= _WHOLE, color=color))
    unsafe = sum(report.verdict in {"dangerous", "unproven", "error"} for report in reports)
    accepted = sum(finding.accepted is not None for report in reports for finding in report.findings)
    weak = sum(_matters(finding) and finding.level == "note" for r in reports for finding in r.findings)
    parts = [f"{len(reports)} file{'' if len(reports) == 1 else 's'}", f"{unsafe} not proven harmless"]
    parts += [f"{weak} other findings"] if weak else []
    parts += [f"{accepted} accepted"] if accepted else []
    return "\n".join([*lines, ", ".join(parts)])


def _tree(reports: Sequence[ArtifactReport]) -> Tree:
    """Reports by folder; folders that hold nothing but one folder are joined with it."""
    root: Tree = {}
    for report in reports:
        folder, name = ("", report.path) if "://" in report.path else os.path.split(report.path)
        here = root
        if folder:
            made = here.setdefault(folder + "/", {})
            here = made if isinstance(made, dict) else here
        here[name if name not in here else report.path] = report
    return root


def _branches(tree: Tree, indent: str, *, whole: bool, color: bool) -> Iterator[str]:
    hidden: Counter[str] = Counter()
    for name, node in tree.items():
        if isinstance(node, dict):
            yield f"{indent}{clean(name, 200)}"
            yield from _branches(node, indent + "  ", whole=whole, color=color)
        elif whole or node.verdict in {"dangerous", "unproven", "error"} or any(map(_matters, node.findings)):
            yield from _file(name, node, indent, color=color)
        else:
            hidden[node.verdict or "without a verdict"] += 1
    if hidden:
        counted = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(hidden.items()))
        yield f"{indent}… {counted}"


def _file(name: str, report: ArtifactReport, indent: str, *, color: bool) -> Iterator[str]:
    mark = f"{_MARKS.get(report.verdict, report.verdict):<10}"
    shown = f"\x1b[{_COLOURS[report.verdict]}m{mark}\x1b[0m" if color else mark
    yield f"{indent}{shown} {clean(name, 200)}  ({report.format})"
    for finding in report.findings[:_FINDINGS]:
        yield from _finding(finding, indent + "    ")
    if len(report.findings) > _FINDINGS:
        yield f"{indent}    … {len(report.findings) - _FINDINGS} more findings; --format json shows all"


def _finding(finding: Finding, indent: str) -> Iterator[str]:
    severity = "accepted" if finding.accepted is not None else finding.severity
    yield f"{indent}{severity}: {clean(finding.message, 300)}"
    where = clean(place(finding.location), 120)
    call = clean(finding.call, 200) if finding.call else ""
    if where or call:
        yield f"{indent}    " + ": ".join(part for part in (where, call) if part)
    if finding.accepted is not None:
        yield f"{indent}    {clean(finding.accepted, 200)}"
    elif finding.remedy:
        yield f"{indent}    → {clean(finding.remedy, 200)}"


def _matters(finding: Finding) -> bool:
    return finding.severity != "info" and finding.accepted is None
