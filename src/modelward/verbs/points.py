"""What became of every point, as a table."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

from modelward.core.catalogue import CHECKS
from modelward.threats.evasion.group import grouped
from modelward.verbs.report import STORED, write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelward.core.evidence import Evidence
    from modelward.reporting.result import AuditResult
    from modelward.threats.evasion.group import Group

HEADER: Final = ("row", "label", "norm", "eps", "unit", "state", "size", "found_by", "proof", "queries")
_FORMULA: Final = re.compile(r"^\s*[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?")


def save_points(result: AuditResult, path: Path) -> int:
    """Write a CSV file, 0600, with one line per point, norm and eps.

    Columns: ``row`` in the data file, ``label``, ``norm``, ``eps``, ``unit``; ``state``: ``broken``,
    ``certified``, ``undecided``, ``wrong`` (not right even unmodified), ``unstable`` (answered differently
    when asked again) or ``contradicted`` (broken and certified: one of the two is an error); ``size`` of the
    smallest change that breaks it; ``found_by``, checks; ``proof``, its kinds; ``queries`` until the first
    witness, where a check counted them.

    Returns:
        The number of lines below the header.

    Raises:
        OutputUnwritable: the file cannot be written.
    """
    feeding = {entry.id for entry in CHECKS if "robust-accuracy" in entry.feeds}
    evidence = [item for run in result.checks if run.check in feeding for item in run.evidence]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    count = 0
    for group in grouped(evidence):
        for line in _lines(group):
            writer.writerow(line)
            count += 1
    write_report(path, buffer.getvalue().encode("utf-8", "backslashreplace"), advice=STORED)
    return count


def _lines(group: Group) -> Iterator[tuple[object, ...]]:
    scope = group.scope
    sizes, queries = _smallest(group.attacks, "sizes"), _smallest(group.attacks, "queries_to_success")
    kinds = _kinds(group.proofs)
    for row in sorted(group.rows):
        found_by = sorted(check for check, rows in group.broken.items() if row in rows)
        yield (
            row,
            _harmless(group.labels.get(row, "")),
            scope["norm"],
            scope["eps"],
            scope["unit"],
            _state(group, row),
            sizes.get(row, ""),
            " ".join(found_by),
            "; ".join(kinds.get(row, ["certified"] if row in group.certified else [])),
            queries.get(row, ""),
        )


def _state(group: Group, row: int) -> str:
    if row in group.unstable:
        return "unstable"
    if row not in group.correct:
        return "wrong"
    if row in group.contradicted:
        return "contradicted"
    return "broken" if row in group.fallen else "certified" if row in group.certified else "undecided"


def _smallest(evidence: tuple[Evidence, ...], name: str) -> dict[int, float]:
    """Of the numbers that outcomes list in the order of ``broken``, the smallest one of each row."""
    found: dict[int, float] = {}
    for item in evidence:
        rows, numbers = item.outcome.get("broken"), item.outcome.get(name)
        if isinstance(rows, list) and isinstance(numbers, list) and len(rows) == len(numbers):
            for row, number in zip(rows, numbers, strict=True):
                if isinstance(row, int) and isinstance(number, int | float) and number >= 0:
                    found[row] = min(number, found.get(row, number))
    return found


def _kinds(evidence: tuple[Evidence, ...]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for item in evidence:
        kinds = item.outcome.get("proofs")
        for kind, rows in kinds.items() if isinstance(kinds, dict) else ():
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, int) and kind not in found.setdefault(row, []):
                    found[row].append(kind)
    return found


def _harmless(text: str) -> str:
    """A label that a spreadsheet does not take for a formula; numbers stay as they are."""
    return "'" + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
