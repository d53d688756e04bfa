"""The report for a terminal, a pipe or a log: verdict first, and nothing that only colour could tell."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING

from modelward.core.evidence import Cost
from modelward.reporting.exhibit import units
from modelward.reporting.sweep import fixed, series
from modelward.reporting.text import (
    bracket_ends,
    bracket_words,
    claim_text,
    clean,
    cost_text,
    is_share,
    number,
    plural,
    scope_text,
)
from modelward.reporting.view import HEADLINES, by_severity, claim_title, place, reason_tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.text import Text

    from modelward.core.claim import Claim, Status
    from modelward.core.finding import Finding, Severity
    from modelward.core.policy import Outcome
    from modelward.reporting.exhibit import Exhibit
    from modelward.reporting.result import AuditResult

MIN_WIDTH = 40
"""Columns below which the report is not squeezed further."""
TOP = 5
"""Findings shown in full; the others are counted."""
_WIDE = 88

_OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    "pass": ("✔ PASS", "green"),
    "fail": ("✘ FAIL", "red"),
    "unknown": ("? UNKNOWN", "yellow"),
}
_STATUSES: Mapping[Status, tuple[str, str]] = {
    "holds": ("✔ holds", "green"),
    "refuted": ("✘ refuted", "red"),
    "unknown": ("? undecided", "yellow"),
}
_ASCII: dict[int, int | str] = {**str.maketrans("█▒·●├┤─✔✘→…╭╮╰╯│", "#:.o[]-+x>~++++|"), ord("∞"): "inf"}
_SEVERITIES: Mapping[Severity, str] = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "info": "dim",
}


def to_text(
    result: AuditResult, *, width: int = 80, color: bool = False, exhibits: Sequence[Exhibit] | None = None
) -> str:
    """The report as text ending in a newline.

    Args:
        result: the audit.
        width: columns; below `MIN_WIDTH` it is taken as `MIN_WIDTH`.
        color: whether to emit ANSI colours; the words are the same without.
        exhibits: witnesses to show; null shows no row of data.
    """
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=max(width, MIN_WIDTH),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    _print(console, result, exhibits)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def print_result(result: AuditResult, stream: TextIO) -> None:
    """Write the report as the stream can show it.

    A terminal gets its own width and colours (unless ``NO_COLOR`` is set, no-color.org); anything else gets
    80 columns without colours. Where the encoding lacks the drawing characters, ASCII stands in for them.
    """
    terminal = stream.isatty()
    width = shutil.get_terminal_size().columns if terminal else 80
    text = to_text(result, width=min(width, 120), color=terminal and not os.environ.get("NO_COLOR"))
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    stream.write(text)


def bar(claim: Claim, cells: int) -> str:
    """A claim on an axis from 0 to 1, drawn with ``cells`` characters.

    A bracket is ``█`` proved, ``▒`` undecided, ``·`` broken; a value is ``●`` inside its interval ``├─┤``.
    Whatever is larger than nothing gets at least one cell. Empty when the claim has no share to draw.
    """
    if not is_share(claim):
        return ""
    if claim.bracket is not None:
        return _bracket_bar(claim, cells)
    row = ["·"] * cells
    if claim.interval is not None:
        low, high = _cell(claim.interval.lower, cells), _cell(claim.interval.upper, cells)
        row[low : high + 1] = ["─"] * (high + 1 - low)
        row[low], row[high] = "├", "┤"
    if claim.value is not None:
        row[_cell(claim.value, cells)] = "●"
    return "".join(row)


def _cell(share: float, cells: int) -> int:
    return min(cells - 1, max(0, int(share * cells)))


def _bracket_bar(claim: Claim, cells: int) -> str:
    if claim.bracket is None:
        return ""
    lower, upper = bracket_ends(claim.bracket)
    shares = (("█", lower), ("▒", max(0.0, upper - lower)), ("·", 1 - upper))
    counts = {char: max(round(share * cells), 1 if share > 0 else 0) for char, share in shares}
    # Rounding may give a cell too many or too few; the longest part takes the difference.
    longest = max(counts, key=lambda char: counts[char])
    counts[longest] += cells - sum(counts.values())
    return "".join(char * count for char, count in counts.items())


def _print(console: Console, result: AuditResult, exhibits: Sequence[Exhibit] | None) -> None:
    for part in (
        _verdict(result),
        *_reasons(result),
        *_findings(result),
        *_claims(result, console.width),
        *_exhibits(exhibits),
        *_unseen(result),
        _footer(result),
    ):
        console.print(part)
    # Never broken over two lines, so that it can be copied out of a narrow terminal.
    console.print(_text(("ledger head ", "dim"), (clean(result.ledger_head, 80), "")), soft_wrap=True)


def _verdict(result: AuditResult) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    word, style = _OUTCOMES[result.verdict.outcome]
    name = clean(result.subjects[0].name, 120) if result.subjects else "nothing"
    text = Text()
    text.append(word, style=f"bold {style}")
    text.append(f"  {HEADLINES[result.verdict.outcome]}\n")
    text.append(f"{name}\n", style="bold")
    text.append(f"Policy {clean(result.verdict.policy, 60)}, {reason_tally(result)}.", style="dim")
    if not result.complete:
        text.append("\nNot every check ran to its end.", style="yellow")
    return Panel(text, border_style=style, padding=(0, 1))


def _heading(title: str) -> Text:
    from rich.text import Text

    return Text(f"\n{title}", style="bold")


def _line(*parts: tuple[str, str], indent: int = 2) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text.assemble(*parts), (0, 0, 0, indent), expand=False)


def _hang(label: tuple[str, str], lines: list[Text], width: int) -> RenderableType:
    """A label of ``width`` columns with lines that keep clear of it when they wrap."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(*label), Text("\n").join(lines))
    return Padding(grid, (0, 0, 0, 2))


def _reasons(result: AuditResult) -> list[RenderableType]:
    unmet = [reason for reason in result.verdict.reasons if reason.status != "holds"]
    if not unmet:
        return []
    lines: list[RenderableType] = [_heading("Requirements not met")]
    for reason in unmet:
        parts = ((clean(reason.requirement, 300), ""), (f": {clean(reason.detail, 300)}", "dim"))
        lines.append(_hang(_STATUSES[reason.status], [_text(*parts)], 11))
    return lines


def _findings(result: AuditResult) -> list[RenderableType]:
    ranked = by_severity(result.findings)
    lines: list[RenderableType] = [_heading(f"Top risks ({plural(len(ranked), 'finding')})")]
    if not ranked:
        lines.append(_line(("No rule fired; that is no proof that nothing is there.", "dim")))
    lines.extend(_finding(finding) for finding in ranked[:TOP])
    if len(ranked) > TOP:
        lines.append(_line((f"and {plural(len(ranked) - TOP, 'more', 'more')}, none of them worse", "dim")))
    return lines


def _finding(finding: Finding) -> RenderableType:
    style = _SEVERITIES[finding.severity]
    where = f"  {found}" if (found := place(finding)) else ""
    lines = [
        _text((clean(finding.title, 160), "bold"), (where, "dim")),
        _text((clean(finding.message), "")),
        _text(("→ ", style), (clean(finding.remedy), "")),
    ]
    return _hang((finding.severity.upper(), style), lines, 8)


def _claims(result: AuditResult, width: int) -> list[RenderableType]:
    lines: list[RenderableType] = [_heading(f"Claims ({len(result.claims)})")]
    if not result.claims:
        return [*lines, _line(("No claim was made: nothing was measured.", "dim"))]
    swept = series(result.claims)
    drawn = [id(claim) for members in swept for claim in members]
    single = [claim for claim in result.claims if id(claim) not in drawn]
    lines += _narrow(single, width) if width < _WIDE else _table(single)
    widths = _widths([claim for members in swept for claim in members])
    cells = min(60, width - 10 - sum(widths))
    for members in swept:
        lines.extend(_sweep(members, widths, cells))
    return [*lines, _key()]


def _narrow(claims: Sequence[Claim], width: int) -> list[RenderableType]:
    return [line for claim in claims for line in _narrow_claim(claim, width)]


def _table(claims: Sequence[Claim]) -> list[RenderableType]:
    from rich.table import Table

    if not claims:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("  claim", header_style="dim", ratio=3, overflow="fold")
    table.add_column("0 %             100 %", header_style="dim", width=21, no_wrap=True)
    table.add_column("known", header_style="dim", ratio=2, overflow="fold")
    table.add_column("n", header_style="dim", justify="right", no_wrap=True)
    table.add_column("policy", header_style="dim", no_wrap=True)
    for claim in claims:
        word, style = _STATUSES[claim.status] if claim.status else ("", "")
        name = _text((f"  {claim_title(claim.id)}", ""), (f"  {_where(claim)}", "dim"))
        table.add_row(name, _bar_text(claim, 21), claim_text(claim), f"{claim.n:,}", _text((word, style)))
    return [table]


def _widths(claims: Sequence[Claim]) -> tuple[int, int, int]:
    """Columns that radii, numbers and statuses of claims take."""
    words = [
        (_radius(claim), claim_text(claim), _STATUSES[claim.status][0] if claim.status else "")
        for claim in claims
    ]
    radius, known, status = (max((len(one[i]) for one in words), default=0) for i in range(3))
    return radius, known, status


def _radius(claim: Claim) -> str:
    return f"eps {number(float(str(claim.scope['eps'])))}"


def _sweep(members: Sequence[Claim], widths: tuple[int, int, int], cells: int) -> list[RenderableType]:
    """One line per radius: what is proved, undecided and broken."""
    first = members[0]
    n = f"  n = {first.n:,}" if len({claim.n for claim in members}) == 1 else ""
    where = clean(scope_text({k: v for k, v in fixed(first).items() if k != "box"}), 100)
    lines: list[RenderableType] = [_line((claim_title(first.id), "bold"), (f"  {where}{n}", "dim"))]
    wide, told, _ = widths
    for claim in members:
        word, style = _STATUSES[claim.status] if claim.status else ("", "")
        drawn = f"{bar(claim, cells)}  " if cells >= 6 else ""
        known = f"{claim_text(claim):<{told}}  "
        lines.append(
            _line((f"{_radius(claim):<{wide}}  ", ""), (drawn, "blue"), (known, ""), (word, style), indent=4)
        )
    return lines


def _narrow_claim(claim: Claim, width: int) -> list[RenderableType]:
    word, style = _STATUSES[claim.status] if claim.status else ("", "")
    where = _where(claim)
    words = ", ".join(bracket_words(claim.bracket)) if claim.bracket is not None else claim_text(claim)
    lines = [
        _line((claim_title(claim.id), "bold"), (f"  {where}" if where else "", "dim"), (f"  {word}", style))
    ]
    if drawn := bar(claim, min(40, width - 6)):
        lines.append(_line((drawn, "blue"), indent=4))
    lines.append(_line((f"{words}; n = {claim.n:,}", ""), indent=4))
    return lines


def _text(*parts: tuple[str, str]) -> Text:
    from rich.text import Text

    return Text.assemble(*parts)


def _bar_text(claim: Claim, cells: int) -> Text:
    return _text((bar(claim, cells), "blue"))


def _where(claim: Claim) -> str:
    """The part of the scope that tells claims of one kind apart: all but the box."""
    return clean(scope_text({key: value for key, value in claim.scope.items() if key != "box"}), 100)


def _key() -> RenderableType:
    return _line(("█ proved  ▒ undecided  · broken    ├●┤ value in its interval", "dim"))


def _exhibits(exhibits: Sequence[Exhibit] | None) -> list[RenderableType]:
    """Witnesses in words: changed cells and texts; of pictures only how much of them changed."""
    if exhibits is None:
        return []
    lines: list[RenderableType] = [_heading(f"Worst witnesses ({len(exhibits)})")]
    for exhibit in exhibits:
        lines.append(_line((exhibit.title, "bold"), (f"  {exhibit.facts}", "dim")))
        for cell in exhibit.cells:
            values = f"{clean(cell.before, 80)} → {clean(cell.after, 80)}"
            amount = f"  {units(cell)} of the range" if cell.units is not None else ""
            lines.append(
                _line((f"{clean(cell.column, 80)}  ", ""), (values, "red"), (amount, "dim"), indent=4)
            )
        for sign, text in (("- ", exhibit.before), ("+ ", exhibit.after)):
            marked = [(f"[{p.text}]", "bold red") if p.changed else (p.text, "") for p in text]
            lines.extend([_line((sign, "dim"), *marked, indent=4)] if text else [])
    return lines


def _unseen(result: AuditResult) -> list[RenderableType]:
    lines: list[RenderableType] = [_heading("Not looked at")]
    for run in result.checks:
        if run.state != "finished":
            reason = f": {clean(run.cut)}" if run.cut else ""
            lines.append(_line((clean(run.check, 60), "bold"), (f"  {run.state}{reason}", "yellow")))
    lines.extend(
        _line((clean(skipped.check, 60), "bold"), (f"  {clean(skipped.reason)}", "dim"))
        for skipped in result.skipped
    )
    if len(lines) == 1:
        nothing = (
            "Every planned check ran to its own end."
            if result.checks
            else "Everything: no check was planned."
        )
        lines.append(_line((nothing, "dim")))
    return lines


def _footer(result: AuditResult) -> RenderableType:
    done = sum(run.state == "finished" for run in result.checks)
    total = cost_text(sum((run.cost for run in result.checks), Cost()))
    planned = len(result.checks) + len(result.skipped)
    return _text(("\n", ""), (f"{done} of {planned} checks finished · {total} · seed {result.seed}", "dim"))
